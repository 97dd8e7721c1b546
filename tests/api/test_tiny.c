/* Small autoencoders (TAESD) beside a model's VAE and in its place, and previews. */
#include "../support/params.h"
#include "api.h"

#include <math.h>
#include <sd/profile.h>
#include <unistd.h>

static sd_context *ctx;
static sd_model *plain, *with; /* the tiny model without one, and with one of a file */

#define TINY VAE(.tiny = 1)
#define PATH 1024

static const char *taesd(const char *layout) {
    char name[64];
    snprintf(name, sizeof name, "SD_TEST_TAESD_%s", layout);
    const char *path = getenv(name);
    ck_assert_ptr_nonnull(path);
    return path;
}

static const char *half(char path[PATH], const char *which) {
    snprintf(path, PATH, "%s/taesd_%s.safetensors", taesd("HALVES"), which);
    return path;
}

static sd_status load(const char *path, const char *small, sd_model **model) {
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    p.taesd = small;
    return sd_model_load(ctx, path, &p, model);
}

static void setup(void) {
    ctx = open_context(2);
    ck_ok(load(tiny_folder(), NULL, &plain));
    ck_ok(load(tiny_folder(), taesd("FILE"), &with));
}

static void teardown(void) {
    sd_model_free(plain);
    sd_model_free(with);
    sd_context_free(ctx);
}

static sd_tensor *latent(int64_t h, int64_t w) {
    const int64_t dims[] = {1, 4, h, w};
    sd_tensor *t;
    ck_ok(sd_randn(ctx, SD_RNG_CPU, 1, 4, dims, &t));
    return t;
}

static sd_tensor *decoded(const sd_model *model, const sd_vae_params *how) {
    sd_tensor *z = latent(5, 6), *pixels;
    ck_ok(sd_vae_decode(model, z, how, &pixels));
    ck_assert_int_eq(sd_tensor_dims(pixels)[2], 40);
    ck_assert_int_eq(sd_tensor_dims(pixels)[3], 48);
    sd_tensor_free(z);
    return pixels;
}

static bool equal(sd_tensor *a, sd_tensor *b) {
    size_t n = (size_t)sd_tensor_n_elements(a) * sizeof(float);
    bool same = !memcmp(sd_tensor_data(a), sd_tensor_data(b), n);
    sd_tensor_free(a);
    sd_tensor_free(b);
    return same;
}

START_TEST(stands_beside_the_vae) {
    ck_assert(equal(decoded(plain, NULL), decoded(with, NULL)));
    ck_assert(!equal(decoded(with, TINY), decoded(with, NULL)));
}
END_TEST

/* A model's part like any other. */
START_TEST(is_a_part) {
    const char *name = "taesd";
    const sd_model *from = with;
    sd_model *made;
    sd_model_info a = SD_MODEL_INFO_INIT, b = SD_MODEL_INFO_INIT;
    ck_ok(sd_model_combine(plain, &name, &from, 1, &made));
    ck_assert(equal(decoded(made, TINY), decoded(with, TINY)));
    ck_ok(sd_model_get_info(made, &a));
    ck_ok(sd_model_get_info(plain, &b));
    ck_assert_int_gt(a.n_parameters, b.n_parameters);
    ck_assert_int_eq(a.n_unexpected, 0);
    sd_model_free(made);
}
END_TEST

/* Where the VAE is small itself, the flag changes nothing. */
START_TEST(is_the_vae) {
    sd_model *model;
    ck_ok(load(taesd("VAE"), NULL, &model));
    ck_assert(equal(decoded(model, TINY), decoded(model, NULL)));
    ck_assert(equal(decoded(model, NULL), decoded(with, TINY)));
    sd_model_free(model);
}
END_TEST

/* Tiles fade into each other over what the convolutions see of their surroundings. */
START_TEST(in_tiles) {
    sd_tensor *z = latent(12, 9), *pixels, *whole, *back;
    ck_ok(sd_vae_decode(with, z, TINY, &whole));
    ck_ok(sd_vae_decode(with, z, VAE(.tiny = 1, .tile = 8), &pixels));
    ck_assert_int_eq(sd_tensor_dims(pixels)[2], 96);
    ck_assert_int_eq(sd_tensor_dims(pixels)[3], 72);
    ck_assert_float_eq_tol(*sd_tensor_data(pixels), *sd_tensor_data(whole), 0.01f);
    ck_ok(sd_vae_encode(with, whole, VAE(.tiny = 1, .tile = 8), &back));
    ck_assert_int_eq(sd_tensor_dims(back)[2], 12);
    ck_assert(!equal(back, z));
    sd_tensor_free(pixels);
    sd_tensor_free(whole);
}
END_TEST

START_TEST(takes_less_memory) {
    sd_sampler_params run = small_run();
    sd_memory_info vae = SD_MEMORY_INFO_INIT, small = SD_MEMORY_INFO_INIT;
    ck_ok(sd_memory_estimate(with, TILED(&run, NULL), &vae));
    ck_ok(sd_memory_estimate(with, TILED(&run, TINY), &small));
    ck_assert_uint_lt(small.decode, vae.decode);
    ck_assert_uint_lt(small.encode, vae.encode);
    ck_status(sd_memory_estimate(plain, TILED(&run, TINY), &small), SD_ERROR_UNSUPPORTED,
              "no small autoencoder");
}
END_TEST

/* ------------------------------------------------------------------------------- previews */

/* A sampler that has made one step without guidance. */
static sd_sampler *stepped(const sd_model *model) {
    const char *const text[] = {"a lake"};
    sd_sampler_params p = small_run();
    sd_run_params run = SD_RUN_PARAMS_INIT;
    sd_cond *cond;
    sd_sampler *s;
    p.guidance_scale = 1;
    ck_ok(sd_encode_text(model, text, 1, NULL, &cond));
    ck_ok(sd_sampler_new(model, &p, &s));
    run.cond = cond;
    ck_ok(sd_sampler_begin(s, &run));
    ck_ok(sd_sampler_step(s));
    sd_cond_free(cond);
    return s;
}

static sd_image *preview(sd_sampler *s, sd_preview_method method) {
    sd_image *image;
    ck_ok(sd_sampler_preview(s, PREVIEW(.method = method), &image));
    return image;
}

static bool same_picture(sd_image *a, sd_image *b) {
    int width = sd_image_width(a), height = sd_image_height(a);
    bool same = width == sd_image_width(b) && height == sd_image_height(b) &&
                !memcmp(sd_image_pixels(a), sd_image_pixels(b), 3 * (size_t)width * (size_t)height);
    sd_image_free(a);
    sd_image_free(b);
    return same;
}

static sd_image *picture_of(const sd_model *model, sd_sampler *s, const sd_vae_params *how) {
    sd_tensor *x0, *pixels;
    sd_image *image;
    ck_ok(sd_sampler_pred_x0(s, &x0));
    ck_ok(sd_vae_decode(model, x0, how, &pixels));
    ck_ok(sd_image_from_tensor(pixels, 0, &image));
    sd_tensor_free(x0);
    sd_tensor_free(pixels);
    return image;
}

START_TEST(by_networks) {
    sd_sampler *s = stepped(with);
    ck_assert(same_picture(preview(s, SD_PREVIEW_VAE), picture_of(with, s, NULL)));
    ck_assert(same_picture(preview(s, SD_PREVIEW_TINY), picture_of(with, s, TINY)));
    ck_assert(same_picture(preview(s, SD_PREVIEW_AUTO), preview(s, SD_PREVIEW_TINY)));
    sd_sampler_free(s);
}
END_TEST

static int byte_of(double x) {
    double v = x / 2 + 0.5;
    return (int)lrint(255 * (v < 0 ? 0 : v > 1 ? 1 : v));
}

/* The factors that were published for Stable Diffusion 1: a picture of the latent's size. */
START_TEST(by_factors) {
    static const double factors[4][3] = {{0.298, 0.207, 0.208},
                                         {0.187, 0.286, 0.173},
                                         {-0.158, 0.189, 0.264},
                                         {-0.184, -0.271, -0.473}};
    sd_sampler *s = stepped(plain);
    sd_image *image = preview(s, SD_PREVIEW_AUTO), *none;
    sd_tensor *x0;
    ck_ok(sd_sampler_pred_x0(s, &x0));
    int area = (int)sd_tensor_dims(x0)[2] * (int)sd_tensor_dims(x0)[3];
    ck_assert_int_eq(sd_image_width(image), 8);
    ck_assert_int_eq(sd_image_height(image), 8);
    for (int i = 0; i < 3 * area; i++) {
        double sum = 0;
        for (int c = 0; c < 4; c++)
            sum += factors[c][i % 3] * (double)sd_tensor_data(x0)[c * area + i / 3];
        ck_assert_int_le(abs(byte_of(sum) - sd_image_pixels(image)[i]), 1);
    }
    ck_status(sd_sampler_preview(s, PREVIEW(.method = SD_PREVIEW_TINY), &none),
              SD_ERROR_UNSUPPORTED, "no small autoencoder");
    ck_status(sd_sampler_preview(s, PREVIEW(.method = 4), &none), SD_ERROR_ARGUMENT, "is 4");
    sd_tensor_free(x0);
    sd_image_free(image);
    sd_sampler_free(s);
}
END_TEST

/* Of a VAE that is small itself it is not known whose latents they are. */
START_TEST(by_what_there_is) {
    sd_model *model;
    sd_image *none;
    ck_ok(load(taesd("VAE"), NULL, &model));
    sd_sampler *s = stepped(model);
    ck_status(sd_sampler_preview(s, PREVIEW(.method = SD_PREVIEW_MATRIX), &none),
              SD_ERROR_UNSUPPORTED, "sd.latent_rgb");
    ck_assert(same_picture(preview(s, SD_PREVIEW_AUTO), preview(s, SD_PREVIEW_VAE)));
    sd_sampler_free(s);
    sd_model_free(model);
}
END_TEST

START_TEST(halves) {
    char path[PATH], alone[] = "/tmp/taesd-XXXXXX", copy[PATH];
    sd_model *model;
    sd_tensor *pixels, *z;
    ck_assert_ptr_nonnull(mkdtemp(alone));
    snprintf(copy, sizeof copy, "%s/taesd_decoder.safetensors", alone);
    ck_assert_int_eq(symlink(half(path, "decoder"), copy), 0);
    ck_ok(load(tiny_folder(), half(path, "encoder"), &model)); /* the decoder lies beside it */
    ck_assert(equal(decoded(model, TINY), decoded(with, TINY)));
    sd_model_free(model);
    ck_ok(load(tiny_folder(), copy, &model)); /* a decoder alone */
    pixels = decoded(model, TINY);
    ck_status(sd_vae_encode(model, pixels, TINY, &z), SD_ERROR_UNSUPPORTED, "a decoder alone");
    ck_ok(sd_vae_encode(model, pixels, NULL, &z));
    sd_tensor_free(pixels);
    sd_tensor_free(z);
    sd_model_free(model);
    remove(copy);
    snprintf(copy, sizeof copy, "%s/taesd_encoder.safetensors", alone);
    ck_assert_int_eq(symlink(half(path, "encoder"), copy), 0);
    ck_status(load(tiny_folder(), copy, &model), SD_ERROR_MODEL, "its decoder was expected");
    remove(copy);
    remove(alone);
}
END_TEST

START_TEST(refused) {
    sd_model *model;
    sd_tensor *z = latent(2, 2), *pixels;
    ck_status(sd_vae_decode(plain, z, TINY, &pixels), SD_ERROR_UNSUPPORTED, "--taesd");
    ck_status(load(tiny_folder(), "/nowhere.safetensors", &model), SD_ERROR_IO, "/nowhere");
    ck_status(load(tiny_folder(), tiny_file(), &model), SD_ERROR_MODEL, "no small autoencoder");
    ck_status(load(tiny_folder(), "/tmp", &model), SD_ERROR_IO, "/tmp");
    sd_tensor_free(z);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tiny");
    TCase *tc = tcase_create("tiny");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, stands_beside_the_vae);
    tcase_add_test(tc, is_a_part);
    tcase_add_test(tc, is_the_vae);
    tcase_add_test(tc, in_tiles);
    tcase_add_test(tc, takes_less_memory);
    tcase_add_test(tc, by_networks);
    tcase_add_test(tc, by_factors);
    tcase_add_test(tc, by_what_there_is);
    tcase_add_test(tc, halves);
    tcase_add_test(tc, refused);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
