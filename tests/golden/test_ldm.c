/*
 * The YAML configs of the original: each of data/ldm/NAME.yaml with a checkpoint of random weights,
 * whose names and shapes are the reference's (NAME.tsv), against tests/tools/make_ldm_golden.py.
 */
#include "ldm.h"

#include "../support/image.h"
#include "../support/params.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const backends[] = {"reference", "cpu", "cpu:1", "cpu:2"};
#define N_BACKENDS ((int)(sizeof(backends) / sizeof(backends[0])))

static void check_info(const subject *s, const char *prediction) {
    const ldm_case *c = s->c;
    sd_model_info info = SD_MODEL_INFO_INIT;
    must(sd_model_get_info(s->g.model, &info));
    ck_assert_int_eq(info.conditioning, c->conditioning);
    ck_assert_int_eq(info.n_classes, c->n_classes);
    ck_assert_int_eq(info.unet_channels, c->unet_channels);
    ck_assert_int_eq(info.latent_channels, c->latent_channels);
    ck_assert_int_eq(info.latent_downscale, c->downscale);
    ck_assert_int_eq(info.size_multiple, c->downscale << c->halvings);
    ck_assert_int_eq(info.text_tokens, c->tokens);
    if (c->unet_channels)
        ck_assert_str_eq(info.prediction, prediction);
    else
        ck_assert_ptr_null(info.prediction);
}

static void check_first_stage(const subject *s) {
    sd_tensor *pixels = fixture_tensor(s, "pixels", 0, 0), *z = fixture_tensor(s, "z", 0, 0), *out;
    must(sd_vae_encode(s->g.model, pixels, NULL, &out));
    check_fixture(s, "latent", out, LIMIT);
    must(sd_vae_decode(s->g.model, z, NULL, &out));
    check_fixture(s, "decoded", out, LIMIT);
    must(sd_vae_decode(s->g.model, z, UNQUANTIZED, &out));
    check_fixture(s, s->c->vq ? "unquantized" : "decoded", out, LIMIT);
    sd_tensor_free(pixels);
    sd_tensor_free(z);
}

enum { MAX_CODES = 128 };

static void check_ids(const subject *s, const char *what, const int32_t *ids) {
    char name[64];
    npy want = golden_array(fixture(s, what, name));
    ck_assert_uint_le(want.n, MAX_CODES);
    for (size_t i = 0; i < want.n; i++)
        ck_assert_int_eq(ids[i], (int32_t)want.f32[i]);
    printf("%-20s %s: all %d\n", s->label, name, (int)want.n);
    npy_free(&want);
}

/* The codebook by indices, and what is refused. */
static void check_codes(const subject *s) {
    sd_tensor *pixels = fixture_tensor(s, "pixels", 0, 0), *z = fixture_tensor(s, "z", 0, 0), *out;
    const int64_t *dims = sd_tensor_dims(z);
    int h = (int)dims[2], w = (int)dims[3], n = h * w;
    sd_model_info info = SD_MODEL_INFO_INIT;
    int32_t ids[MAX_CODES];
    must(sd_model_get_info(s->g.model, &info));
    must(sd_vae_encode_ids(s->g.model, pixels, NULL, ids, n));
    check_ids(s, "pixel-codes", ids);
    must(sd_vae_quantize(s->g.model, z, ids, n, &out));
    check_ids(s, "codes", ids);
    check_fixture(s, "quantized", out, LIMIT);
    must(sd_vae_quantize(s->g.model, z, NULL, 0, &out));
    check_fixture(s, "quantized", out, LIMIT);
    must(sd_vae_decode_ids(s->g.model, ids, 1, h, w, NULL, &out));
    check_fixture(s, "decoded", out, LIMIT);
    ck_assert_int_eq(sd_vae_quantize(s->g.model, z, ids, n - 1, &out), SD_ERROR_ARGUMENT);
    ck_assert_int_eq(sd_vae_quantize(s->g.model, z, NULL, n, NULL), SD_ERROR_ARGUMENT);
    ck_assert_int_eq(sd_vae_quantize(s->g.model, pixels, ids, 0, NULL), SD_ERROR_ARGUMENT);
    ck_assert_int_eq(sd_vae_encode_ids(s->g.model, pixels, NULL, ids, n - 1), SD_ERROR_ARGUMENT);
    ck_assert_int_eq(sd_vae_decode_ids(s->g.model, ids, 1, 0, w, NULL, &out), SD_ERROR_ARGUMENT);
    ids[n - 1] = info.n_codes;
    ck_assert_int_eq(sd_vae_decode_ids(s->g.model, ids, 1, h, w, NULL, &out), SD_ERROR_ARGUMENT);
    ck_assert_ptr_null(out);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "0 to "));
    ids[n - 1] = -1;
    ck_assert_int_eq(sd_vae_decode_ids(s->g.model, ids, 1, h, w, NULL, &out), SD_ERROR_ARGUMENT);
    sd_tensor_free(pixels);
    sd_tensor_free(z);
}

static void take_same(sd_tensor *a, sd_tensor *b) {
    size_t size = (size_t)sd_tensor_n_elements(b) * sizeof(float);
    ck_assert_int_eq(memcmp(sd_tensor_data(a), sd_tensor_data(b), size), 0);
    sd_tensor_free(a);
    sd_tensor_free(b);
}

/* celeba's first stage as a VQModel: its encode quantises, and its decode does not. */
START_TEST(vq_model) {
    subject s;
    sd_model *vq;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    char path[PATH_SIZE], config[PATH_SIZE];
    if (!subject_open(&s, &ldm_cases[0], backends[_i], true))
        return;
    mp.config = data_path("vqmodel", ".yaml", config);
    mp.precision = SD_PRECISION_FULL;
    must(sd_model_load(s.g.ctx, checkpoint_path("celeba", path), &mp, &vq));
    sd_tensor *pixels = fixture_tensor(&s, "pixels", 0, 0), *z = fixture_tensor(&s, "z", 0, 0),
              *out, *want;
    must(sd_vae_encode(s.g.model, pixels, NULL, &out));
    must(sd_vae_quantize(s.g.model, out, NULL, 0, &want));
    sd_tensor_free(out);
    must(sd_vae_encode(vq, pixels, NULL, &out));
    take_same(out, want);
    must(sd_vae_decode(vq, z, NULL, &out));
    check_fixture(&s, "unquantized", out, LIMIT);
    must(sd_vae_encode(vq, pixels, TILES(4, 1), &out));
    must(sd_vae_quantize(vq, out, NULL, 0, &want));
    take_same(out, want);
    sd_tensor_free(pixels);
    sd_tensor_free(z);
    sd_model_free(vq);
    golden_close(&s.g);
}
END_TEST

/* Both rows; NULL where there are none. */
static sd_cond *check_context(const subject *s) {
    char name[64];
    int32_t ids[2 * 77];
    sd_cond *cond;
    sd_tensor *out;
    if (s->c->tokens == 0)
        return NULL;
    npy given = golden_array(fixture(s, "ids", name));
    ck_assert_int_eq((int)given.n, 2 * s->c->tokens);
    for (size_t i = 0; i < given.n; i++)
        ids[i] = (int32_t)given.f32[i];
    npy_free(&given);
    if (s->c->conditioning == SD_CONDITIONING_CLASS)
        must(sd_encode_class(s->g.model, ids, 2, &cond));
    else
        must(sd_encode_tokens(s->g.model, (const int32_t *[]){ids}, 1, 2, NULL, &cond));
    must(context_of(SD_OK, cond, &out));
    check_fixture(s, "context", out, LIMIT);
    return fixture_cond(s, 0, 0);
}

static void check_unet(const subject *s, const sd_cond *context) {
    static const double t[2] = {951.0, 16.5};
    sd_tensor *x = fixture_tensor(s, "unet-in", 0, 0), *out;
    must(sd_unet_predict(s->g.model, x, t, context, &out));
    check_fixture(s, "unet", out, LIMIT);
    sd_tensor_free(x);
}

static void check_ddim(const subject *s, bool quantized) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    sd_tensor *out;
    p.steps = STEPS;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.quantize_denoised = quantized;
    scene v = scene_open(s, &p);
    must(sd_sample(v.sampler, GIVEN(run_from(&v, NULL, v.noise)), &out));
    check_fixture(s, quantized ? "ddim-quantized" : "ddim", out, LIMIT_DDIM);
    scene_close(&v);
}

static void check_all(const ldm_case *c, const char *backend, bool with_config) {
    subject s;
    if (!subject_open(&s, c, backend, with_config))
        return;
    /* of the random networks that are asked none predicts v */
    check_info(&s, with_config ? c->prediction : "epsilon");
    check_first_stage(&s);
    if (c->unet_channels) {
        sd_cond *context = check_context(&s);
        check_unet(&s, context);
        sd_cond_free(context);
    }
    if (c->unet_channels && with_config)
        check_ddim(&s, false);
    if (c->vq) {
        check_codes(&s);
        check_ddim(&s, true);
    }
    golden_close(&s.g);
}

START_TEST(models) {
    check_all(&ldm_cases[_i % N_CASES], backends[_i / N_CASES], true);
}
END_TEST

/* Stable Diffusion 2.x, and the inpainting model, by their tensors alone. */
START_TEST(without_config) {
    if (ldm_cases[_i].bare)
        check_all(&ldm_cases[_i], "cpu", false);
}
END_TEST

/* Adds to the float32 values of one tensor of a .safetensors file. */
static void add_to_tensor(const char *path, const char *name, float delta) {
    char text[128], *header;
    uint64_t n = 0, begin, end;
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fread(&n, 8, 1, f), 1);
    header = calloc(n + 1, 1);
    ck_assert_ptr_nonnull(header);
    ck_assert_uint_eq(fread(header, 1, n, f), n);
    snprintf(text, sizeof text, "\"%s\"", name);
    const char *at = strstr(header, text);
    ck_assert_ptr_nonnull(at);
    at = strchr(strstr(at, "data_offsets"), '[');
    ck_assert_int_eq(sscanf(at, "[%" SCNu64 ",%" SCNu64, &begin, &end), 2);
    for (uint64_t i = 8 + n + begin; i < 8 + n + end; i += sizeof(float)) {
        float value;
        ck_assert(fseek(f, (long)i, SEEK_SET) == 0 && fread(&value, sizeof value, 1, f) == 1);
        value += delta;
        ck_assert(fseek(f, (long)i, SEEK_SET) == 0 && fwrite(&value, sizeof value, 1, f) == 1);
    }
    ck_assert_int_eq(fclose(f), 0);
    free(header);
}

/* Mean of what the UNet adds to 0.5 everywhere at the last timestep. */
static double mean_of_probe(const subject *s, int context_dim) {
    static const double t = 999.0;
    float x[4 * 8 * 8], context[2 * 128];
    const int64_t x_dims[] = {1, 4, 8, 8}, context_dims[] = {1, 2, context_dim};
    sd_tensor *in, *embeddings, *out;
    double sum = 0.0;
    for (size_t i = 0; i < sizeof(x) / sizeof(x[0]); i++)
        x[i] = 0.5f;
    for (size_t i = 0; i < sizeof(context) / sizeof(context[0]); i++)
        context[i] = 0.5f;
    must(sd_tensor_new(s->g.ctx, 4, x_dims, x, &in));
    must(sd_tensor_new(s->g.ctx, 3, context_dims, context, &embeddings));
    sd_cond *cond = cond_of(s->g.ctx, embeddings);
    must(sd_unet_predict(s->g.model, in, &t, cond, &out));
    for (int64_t i = 0; i < sd_tensor_n_elements(out); i++)
        sum += (double)sd_tensor_data(out)[i] - 0.5;
    double mean = sum / (double)sd_tensor_n_elements(out);
    sd_tensor_free(in);
    sd_tensor_free(embeddings);
    sd_cond_free(cond);
    sd_tensor_free(out);
    return mean;
}

/* Whether a 2.x model predicts noise or v is asked of its network, on both sides of the limit. */
START_TEST(prediction_is_asked_for) {
    static const struct {
        double mean;
        const char *prediction;
        int width; /* 64 or 96 latents of 2 pixels */
    } sides[] = {{-0.9, "epsilon", 128}, {-1.1, "v", 192}};
    const ldm_case *c = &ldm_cases[N_CASES - 1];
    char path[PATH_SIZE];
    ck_assert_str_eq(c->name, "sd2");
    for (int i = 0; i < 2; i++) {
        subject s;
        sd_model_info info = SD_MODEL_INFO_INIT;
        ck_assert(subject_open(&s, c, "cpu", false));
        double mean = mean_of_probe(&s, 128);
        golden_close(&s.g);
        add_to_tensor(checkpoint_path(c->name, path), "model.diffusion_model.out.2.bias",
                      (float)(sides[i].mean - mean));
        ck_assert(subject_open(&s, c, "cpu", false));
        must(sd_model_get_info(s.g.model, &info));
        printf("mean %.4f, then %.4f: %s\n", mean, mean_of_probe(&s, 128), info.prediction);
        ck_assert_str_eq(info.prediction, sides[i].prediction);
        ck_assert_int_eq(info.default_width, sides[i].width);
        golden_close(&s.g);
    }
    ck_assert(write_checkpoint(c->name));
}
END_TEST

/* A sentence says that a model does not have a part. */
START_TEST(refusals) {
    const ldm_case *c = &ldm_cases[_i];
    subject s;
    sd_cond *cond;
    sd_tensor *out;
    sd_sampler *sampler;
    const char *text = "a cat";
    const int32_t none = c->n_classes;
    sd_image *image = NULL;
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    p.prompt = text;
    ck_assert(subject_open(&s, c, "cpu", true));
    if (c->conditioning != SD_CONDITIONING_TEXT) {
        ck_assert_int_eq(sd_encode_text(s.g.model, &text, 1, NULL, &cond), SD_ERROR_UNSUPPORTED);
        ck_assert_int_eq(sd_generate(s.g.model, &p, &image, 1), SD_ERROR_UNSUPPORTED);
        ck_assert_ptr_null(image);
    }
    sd_status expected =
        c->conditioning == SD_CONDITIONING_CLASS ? SD_ERROR_ARGUMENT : SD_ERROR_UNSUPPORTED;
    ck_assert_int_eq(sd_encode_class(s.g.model, &none, 1, &cond), expected);
    if (!c->vq) {
        const int64_t dims[] = {1, c->latent_channels, 8, 8};
        sd_tensor *z;
        must(sd_randn(s.g.ctx, SD_RNG_CPU, 1, 4, dims, &z));
        sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
        sampling.original = &original;
        original.quantize_denoised = 1;
        ck_assert_int_eq(sd_vae_quantize(s.g.model, z, NULL, 0, &out), SD_ERROR_UNSUPPORTED);
        ck_assert_int_eq(sd_vae_decode_ids(s.g.model, &none, 1, 1, 1, NULL, &out),
                         SD_ERROR_UNSUPPORTED);
        ck_assert_int_eq(sd_sampler_new(s.g.model, &sampling, &sampler), SD_ERROR_UNSUPPORTED);
        sd_tensor_free(z);
    }
    if (!c->unet_channels)
        ck_assert_int_eq(sd_sampler_new(s.g.model, NULL, &sampler), SD_ERROR_UNSUPPORTED);
    printf("%s: %s\n", c->name, sd_last_error());
    golden_close(&s.g);
}
END_TEST

/* With quantize_denoised the predicted x_0 is made of rows of the codebook. */
START_TEST(quantized_x0) {
    static const char *const methods[] = {"ddim", "plms", "ddpm"};
    subject s;
    sd_tensor *out, *x0, *rows;
    ck_assert(subject_open(&s, &ldm_cases[0], "cpu", true));
    ck_assert(s.c->vq);
    for (int i = 0; i < 3; i++) {
        sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
        p.method = methods[i];
        p.steps = STEPS;
        sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
        p.original = &original;
        original.quantize_denoised = 1;
        scene v = scene_open(&s, &p);
        must(sd_sample(v.sampler, RUN(NULL, NULL, NULL, v.noise), &out));
        must(sd_sampler_pred_x0(v.sampler, &x0));
        must(sd_vae_quantize(s.g.model, x0, NULL, 0, &rows));
        ck_assert_mem_eq(sd_tensor_data(x0), sd_tensor_data(rows),
                         (size_t)sd_tensor_n_elements(x0) * sizeof(float));
        sd_tensor_free(out);
        sd_tensor_free(x0);
        sd_tensor_free(rows);
        scene_close(&v);
    }
    golden_close(&s.g);
}
END_TEST

/* A prompt-less picture of an unconditional model, in one call. */
START_TEST(unconditional_picture) {
    subject s;
    sd_image *image = NULL;
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sampling.steps = 2;
    p.sampling = &sampling;
    ck_assert(subject_open(&s, &ldm_cases[0], "cpu", true));
    must(sd_generate(s.g.model, &p, &image, 1));
    ck_assert_int_eq(sd_image_width(image), 32);
    sd_image_free(image);
    golden_close(&s.g);
}
END_TEST

int main(void) {
    golden_test tests[7 + MAX_BESIDE] = {
        {models, 0, N_CASES * N_BACKENDS}, {without_config, 0, N_CASES},
        {prediction_is_asked_for, 0, 1},   {refusals, 0, N_CASES},
        {vq_model, 0, N_BACKENDS},         {quantized_x0, 0, 1},
        {unconditional_picture, 0, 1}};
    int n_tests = 7 + ldm_beside_tests(tests + 7);
    char path[PATH_SIZE];
    bool ok = mkdtemp(ldm_folder) != NULL;
    for (int i = 0; i < N_CASES && ok; i++) {
        ok = write_checkpoint(ldm_cases[i].name);
        if (!ok)
            fprintf(stderr, "%s: no checkpoint could be made\n", ldm_cases[i].name);
    }
    int status = ok ? golden_main("ldm", tests, n_tests) : EXIT_FAILURE;
    for (int i = 0; i < N_CASES; i++)
        unlink(checkpoint_path(ldm_cases[i].name, path));
    rmdir(ldm_folder);
    return status;
}
