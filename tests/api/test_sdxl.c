/* Stable Diffusion XL through the public API: what its calls refuse, and those that golden tests do
 * not make. */
#include "../support/cond.h"
#include "../support/params.h"
#include "api.h"

#include <sd/profile.h>

static sd_context *ctx;
static sd_model *xl, *sd1;
static char warning[512];

static void keep_warning(void *user, sd_log_level level, const char *message) {
    (void)user;
    if (level <= SD_LOG_LEVEL_WARN)
        snprintf(warning, sizeof warning, "%s", message);
}

static void set_up(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = getenv("SD_TEST_BACKEND");
    params.n_threads = 2;
    params.log = keep_warning;
    ck_ok(sd_context_new(&params, &ctx));
    ck_ok(sd_model_load(ctx, getenv("SD_TEST_XL_FOLDER"), NULL, &xl));
    ck_ok(sd_model_load(ctx, tiny_folder(), NULL, &sd1));
}

static void tear_down(void) {
    sd_model_free(xl);
    sd_model_free(sd1);
    sd_context_free(ctx);
}

static const char *const text[] = {"a red boat"};

static sd_cond *encode(const sd_model *model) {
    sd_cond *cond;
    ck_ok(sd_encode_text(model, text, 1, NULL, &cond));
    return cond;
}

static sd_tensor *tensor(int n_dims, const int64_t *dims) {
    sd_tensor *t;
    ck_ok(sd_randn(ctx, SD_RNG_CPU, 1, n_dims, dims, &t));
    return t;
}

/* ------------------------------------------------------------------------ what is refused */

/* The context of `cond` with other parts. */
static sd_cond *with(const sd_cond *cond, const char *name, int64_t n, int64_t width) {
    const char *names[] = {"context", name};
    const int64_t dims[] = {n, width};
    sd_tensor *parts[2] = {NULL, NULL};
    sd_cond *out;
    ck_ok(sd_cond_get(cond, "context", &parts[0]));
    if (name)
        parts[1] = tensor(2, dims);
    ck_ok(sd_cond_new(ctx, names, (const sd_tensor *const *)parts, name ? 2 : 1, &out));
    sd_tensor_free(parts[0]);
    sd_tensor_free(parts[1]);
    return out;
}

START_TEST(conditioning_is_checked) {
    const int64_t dims[] = {1, 4, 8, 8};
    const double t = 500;
    sd_tensor *x = tensor(4, dims), *none;
    sd_cond *whole = encode(xl), *of_sd1 = encode(sd1);
    const struct {
        const sd_model *model;
        sd_cond *cond;
        const char *part;
    } bad[] = {
        {xl, with(whole, NULL, 0, 0), "cond (\"pooled\") is missing"},
        {xl, with(whole, "pooled", 1, 63), "cond (\"pooled\") is [1, 63]; [1, 64] was expected"},
        {xl, of_sd1, "cond is [1, 77, 128]; [1, any, 192] was expected"},
        {sd1, with(of_sd1, "pooled", 1, 64), "cond (\"pooled\") is given, which this UNet"},
        {sd1, with(of_sd1, "sizes", 1, 6), "cond (\"sizes\") is given, which this UNet"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_status(sd_unet_predict(bad[i].model, x, &t, bad[i].cond, &none), SD_ERROR_ARGUMENT,
                  bad[i].part);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        sd_cond_free(bad[i].cond);
    sd_cond_free(whole);
    sd_tensor_free(x);
}
END_TEST

START_TEST(text_parameters_are_checked) {
    static const int32_t ids[77] = {998, 1, 2, 999};
    sd_text_params p = SD_TEXT_PARAMS_INIT;
    sd_cond *cond;
    p.original_width = -1;
    ck_status(sd_encode_text(xl, text, 1, &p, &cond), SD_ERROR_ARGUMENT, "original_width is -1");
    p.original_width = 0;
    p.crop_left = 65537;
    ck_status(sd_encode_text(xl, text, 1, &p, &cond), SD_ERROR_ARGUMENT, "crop_left is 65537");
    p.crop_left = 0;
    p.aesthetic_score = 11;
    ck_status(sd_encode_text(xl, text, 1, &p, &cond), SD_ERROR_ARGUMENT, "aesthetic_score");
    p.aesthetic_score = 6;
    p.clip_skip = 4;
    ck_status(sd_encode_text(xl, text, 1, &p, &cond), SD_ERROR_ARGUMENT, "0 to 3 was expected");
    ck_status(sd_encode_tokens(xl, (const int32_t *[]){ids}, 1, 1, NULL, &cond), SD_ERROR_ARGUMENT,
              "n_encoders is 1; 2 was expected");
    ck_status(sd_encode_tokens(xl, (const int32_t *[]){ids, NULL}, 2, 1, NULL, &cond),
              SD_ERROR_ARGUMENT, "ids[1] is NULL");
    int32_t odd[77] = {1000};
    ck_status(sd_encode_tokens(xl, (const int32_t *[]){ids, odd}, 2, 1, NULL, &cond),
              SD_ERROR_ARGUMENT, "ids[1][0] is 1000; 0 to 999 was expected");
    ck_status(sd_tokenize(xl, 2, "a", odd, 77, NULL), SD_ERROR_ARGUMENT, "encoder is 2; 0 to 1");
    ck_assert_str_eq(sd_token_text(xl, 1, 999), "<|endoftext|>");
    ck_assert_ptr_null(sd_token_text(xl, 2, 999));
    p = (sd_text_params)SD_TEXT_PARAMS_INIT;
    p.target_width = 512;
    warning[0] = 0;
    ck_ok(sd_encode_text(sd1, text, 1, &p, &cond));
    ck_assert_msg(strstr(warning, "which this model is not told") != NULL, "%s", warning);
    sd_cond_free(cond);
}
END_TEST

/* What is told of a picture is in the conditioning, and 0 is the run's size. */
START_TEST(sizes_are_conditioning) {
    sd_text_params p = SD_TEXT_PARAMS_INIT;
    const float want[] = {0, 300, 16, 0, 512, 0};
    sd_cond *cond;
    sd_tensor *sizes;
    p.original_width = 300;
    p.crop_top = 16;
    p.target_height = 512;
    ck_ok(sd_encode_text(xl, text, 1, &p, &cond));
    ck_ok(sd_cond_get(cond, "sizes", &sizes));
    ck_assert_int_eq(sd_tensor_n_elements(sizes), 6);
    ck_assert_mem_eq(sd_tensor_data(sizes), want, sizeof want);
    sd_tensor_free(sizes);
    sd_cond_free(cond);
}
END_TEST

/* Sizes that are left out, those of 0, and those of the run's own numbers are the same. */
START_TEST(sizes_of_the_run) {
    const int64_t dims[] = {1, 4, 8, 16}, size_dims[] = {1, 6};
    const float own[] = {64, 128, 0, 0, 64, 128};
    const char *names[] = {"context", "pooled", "sizes"};
    const double t = 500;
    sd_tensor *x = tensor(4, dims), *parts[3], *first = NULL;
    sd_cond *cond = encode(xl);
    ck_ok(sd_cond_get(cond, "context", &parts[0]));
    ck_ok(sd_cond_get(cond, "pooled", &parts[1]));
    for (int i = 0; i < 4; i++) {
        sd_cond *given;
        sd_tensor *y;
        float scaled[6];
        for (int k = 0; k < 6; k++)
            scaled[k] = i == 1 ? 0 : i == 2 ? own[k] : 2 * own[k];
        ck_ok(sd_tensor_new(ctx, 2, size_dims, scaled, &parts[2]));
        ck_ok(sd_cond_new(ctx, names, (const sd_tensor *const *)parts, i ? 3 : 2, &given));
        ck_ok(sd_unet_predict(xl, x, &t, given, &y));
        size_t n = (size_t)sd_tensor_n_elements(y) * sizeof(float);
        bool same = !first || !memcmp(sd_tensor_data(y), sd_tensor_data(first), n);
        ck_assert_msg(same == (i < 3), "%d", i);
        if (i)
            sd_tensor_free(y);
        else
            first = y;
        sd_tensor_free(parts[2]);
        sd_cond_free(given);
    }
    sd_tensor_free(first);
    sd_tensor_free(parts[0]);
    sd_tensor_free(parts[1]);
    sd_tensor_free(x);
    sd_cond_free(cond);
}
END_TEST

/* ---------------------------------------------------------------------------- other calls */

static int32_t look(void *user, const sd_progress *progress) {
    sd_image *image;
    ck_ok(sd_sampler_preview(progress->sampler, PREVIEW(.method = SD_PREVIEW_VAE), &image));
    ck_assert_int_eq(sd_image_width(image), 64);
    sd_image_free(image);
    ++*(int *)user;
    return 0;
}

/* A mask over a model that knows none, previews, and the VAE in tiles, in a batch. */
START_TEST(a_masked_picture_in_tiles) {
    const sd_pixels pixels = {.width = 64, .height = 64};
    int n_previews = 0;
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sd_sampler_params sampling = small_run();
    sd_vae_params vae = SD_VAE_PARAMS_INIT;
    sd_image *init, *mask, *images[2];
    ck_ok(sd_image_new(ctx, &pixels, &init));
    ck_ok(sd_image_new(ctx, &pixels, &mask));
    memset(sd_image_pixels_mut(mask), 255, (size_t)64 * 32 * 3);
    sampling.batch = 2;
    sampling.progress = look;
    sampling.progress_user = &n_previews;
    vae.tile = 4;
    p.prompt = text[0];
    p.init = init;
    p.mask = mask;
    p.sampling = &sampling;
    p.vae = &vae;
    ck_ok(sd_generate(xl, &p, images, 2));
    ck_assert_int_eq(n_previews, sampling.steps);
    for (int i = 0; i < 2; i++)
        sd_image_free(images[i]);
    sd_image_free(init);
    sd_image_free(mask);
}
END_TEST

START_TEST(estimates_count_both_encoders) {
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    sd_work_info work = SD_WORK_INFO_INIT;
    sd_model_info info = SD_MODEL_INFO_INIT;
    ck_ok(sd_model_get_info(xl, &info));
    ck_ok(sd_memory_estimate(xl, NULL, &memory));
    ck_ok(sd_work_estimate(xl, NULL, &work));
    ck_assert_uint_eq(memory.weights, info.weight_bytes);
    /* 77 tokens through two layers of the first, whose last nobody looks at, and three of the
     * second: 4 w^2 + 2 w mlp multiply-adds a token; attention and the projection come to that */
    double layers =
        77.0 * 2 * (2 * (4 * 64 * 64 + 2 * 64 * 128) + 3 * (4 * 128 * 128 + 2 * 128 * 256));
    printf("text: %g FLOP, %g of them in layers\n", work.text, layers);
    ck_assert(work.text > layers && work.text < 1.3 * layers);
    ck_assert(memory.text > 0 && memory.unet > memory.text && memory.peak > memory.weights);
}
END_TEST

START_TEST(the_objective_of_training) {
    const int64_t dims[] = {1, 4, 8, 8};
    const int32_t t = 300;
    sd_loss_info loss = SD_LOSS_INFO_INIT;
    sd_tensor *x = tensor(4, dims);
    sd_cond *cond = encode(xl);
    ck_ok(sd_training_loss(xl, x, x, &t, cond, NULL, &loss, NULL));
    ck_assert(loss.simple > 0);
    sd_cond_free(cond);
    sd_tensor_free(x);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sdxl");
    TCase *tests = tcase_create("sdxl");
    tcase_set_timeout(tests, 60);
    tcase_add_unchecked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, conditioning_is_checked);
    tcase_add_test(tests, text_parameters_are_checked);
    tcase_add_test(tests, sizes_are_conditioning);
    tcase_add_test(tests, sizes_of_the_run);
    tcase_add_test(tests, a_masked_picture_in_tiles);
    tcase_add_test(tests, estimates_count_both_encoders);
    tcase_add_test(tests, the_objective_of_training);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
