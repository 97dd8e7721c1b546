/*
 * The YAML configs of the original: each of data/ldm/NAME.yaml with a checkpoint of random weights,
 * whose names and shapes are the reference's (NAME.tsv), against tests/tools/make_ldm_golden.py.
 */
#include "../support/image.h"
#include "../support/params.h"
#include "golden.h"
#include "listed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* docs/numerics: 1e-4 is right; what is measured is near 1e-6. */
#define LIMIT 1e-5
#define LIMIT_DDIM 1e-4 /* four guided steps */
#define STEPS 4
#define SCALE 3.0f

typedef struct ldm_case {
    const char *name;
    sd_conditioning conditioning;
    int n_classes, unet_channels, latent_channels, downscale, tokens;
    bool vq, bare; /* bare: known without its config too */
    const char *prediction;
    int halvings; /* that a UNet without convolutions for them makes: sizes must be whole */
} ldm_case;

static const ldm_case cases[] = {
    {"celeba", SD_CONDITIONING_NONE, 0, 3, 3, 4, 0, true, false, "epsilon"},
    {"churches", SD_CONDITIONING_NONE, 0, 4, 4, 8, 0, false, false, "epsilon", 2},
    {"cin", SD_CONDITIONING_CLASS, 10, 4, 4, 2, 1, true, false, "epsilon"},
    {"inpaint", SD_CONDITIONING_TEXT, 0, 9, 4, 2, 77, false, true, "epsilon"},
    {"kl", SD_CONDITIONING_NONE, 0, 0, 4, 8, 0, false, false, NULL},
    {"masked", SD_CONDITIONING_NONE, 0, 7, 3, 4, 0, true, false, "epsilon", 2},
    {"options", SD_CONDITIONING_NONE, 0, 3, 3, 4, 0, false, false, "sample", 1},
    {"pixels", SD_CONDITIONING_TEXT, 0, 3, 3, 1, 77, false, false, "epsilon"},
    {"sd2", SD_CONDITIONING_TEXT, 0, 4, 4, 2, 77, false, true, "v"},
};
#define N_CASES ((int)(sizeof(cases) / sizeof(cases[0])))

static const char *const backends[] = {"reference", "cpu", "cpu:1", "cpu:2"};
#define N_BACKENDS ((int)(sizeof(backends) / sizeof(backends[0])))

static char folder[] = "/tmp/sd-ldm-XXXXXX";

static const char *checkpoint_path(const char *name, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "%s/%s.safetensors", folder, name);
    return path;
}

static const char *data_path(const char *name, const char *ending, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "%s/ldm/%s%s", getenv("SD_GOLDEN_DATA"), name, ending);
    return path;
}

/* Outside of tests: Check's macros do not work here. */
static bool write_checkpoint(const char *name) {
    char list[PATH_SIZE], path[PATH_SIZE];
    return listed_write(data_path(name, ".tsv", list), checkpoint_path(name, path));
}

static void print_log(void *user, sd_log_level level, const char *message) {
    (void)user, (void)level;
    if (!strstr(message, "vocab"))
        printf("%s\n", message);
}

typedef struct subject {
    golden g;
    const ldm_case *c;
    char label[64];
} subject;

static bool subject_open(subject *s, const ldm_case *c, const char *backend, bool with_config) {
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    char path[PATH_SIZE], config[PATH_SIZE];
    cp.backend = golden_backend(backend);
    if (!cp.backend)
        return false;
    cp.n_threads = golden_threads(2);
    cp.log = print_log;
    s->c = c;
    snprintf(s->label, sizeof s->label, "%s%s", backend, with_config ? "" : ", no config");
    if (sd_context_new(&cp, &s->g.ctx) == SD_ERROR_BACKEND)
        return false;
    mp.strict = 1;
    mp.precision = SD_PRECISION_FULL;
    if (with_config)
        mp.config = data_path(c->name, ".yaml", config);
    must(sd_model_load(s->g.ctx, checkpoint_path(c->name, path), &mp, &s->g.model));
    return true;
}

static const char *fixture(const subject *s, const char *what, char name[64]) {
    snprintf(name, 64, "ldm/%s-%s", s->c->name, what);
    return name;
}

static sd_tensor *tensor(const subject *s, const char *what, int64_t first, int64_t n) {
    char name[64];
    return golden_tensor(&s->g, fixture(s, what, name), first, n);
}

static void check(const subject *s, const char *what, sd_tensor *got, double limit) {
    char name[64];
    golden_check(s->label, fixture(s, what, name), got, limit);
}

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
    sd_tensor *pixels = tensor(s, "pixels", 0, 0), *z = tensor(s, "z", 0, 0), *out;
    must(sd_vae_encode(s->g.model, pixels, NULL, &out));
    check(s, "latent", out, LIMIT);
    must(sd_vae_decode(s->g.model, z, NULL, &out));
    check(s, "decoded", out, LIMIT);
    must(sd_vae_decode(s->g.model, z, UNQUANTIZED, &out));
    check(s, s->c->vq ? "unquantized" : "decoded", out, LIMIT);
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
    sd_tensor *pixels = tensor(s, "pixels", 0, 0), *z = tensor(s, "z", 0, 0), *out;
    const int64_t *dims = sd_tensor_dims(z);
    int h = (int)dims[2], w = (int)dims[3], n = h * w;
    sd_model_info info = SD_MODEL_INFO_INIT;
    int32_t ids[MAX_CODES];
    must(sd_model_get_info(s->g.model, &info));
    must(sd_vae_encode_ids(s->g.model, pixels, NULL, ids, n));
    check_ids(s, "pixel-codes", ids);
    must(sd_vae_quantize(s->g.model, z, ids, n, &out));
    check_ids(s, "codes", ids);
    check(s, "quantized", out, LIMIT);
    must(sd_vae_quantize(s->g.model, z, NULL, 0, &out));
    check(s, "quantized", out, LIMIT);
    must(sd_vae_decode_ids(s->g.model, ids, 1, h, w, NULL, &out));
    check(s, "decoded", out, LIMIT);
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
    if (!subject_open(&s, &cases[0], backends[_i], true))
        return;
    mp.config = data_path("vqmodel", ".yaml", config);
    mp.precision = SD_PRECISION_FULL;
    must(sd_model_load(s.g.ctx, checkpoint_path("celeba", path), &mp, &vq));
    sd_tensor *pixels = tensor(&s, "pixels", 0, 0), *z = tensor(&s, "z", 0, 0), *out, *want;
    must(sd_vae_encode(s.g.model, pixels, NULL, &out));
    must(sd_vae_quantize(s.g.model, out, NULL, 0, &want));
    sd_tensor_free(out);
    must(sd_vae_encode(vq, pixels, NULL, &out));
    take_same(out, want);
    must(sd_vae_decode(vq, z, NULL, &out));
    check(&s, "unquantized", out, LIMIT);
    must(sd_vae_encode(vq, pixels, TILES(4, 1), &out));
    must(sd_vae_quantize(vq, out, NULL, 0, &want));
    take_same(out, want);
    sd_tensor_free(pixels);
    sd_tensor_free(z);
    sd_model_free(vq);
    golden_close(&s.g);
}
END_TEST

/* Rows first .. first + n - 1 of the fixture; n 0: all. */
static sd_cond *conditioning(const subject *s, int64_t first, int64_t n) {
    sd_tensor *context = tensor(s, "context", first, n);
    sd_cond *cond = cond_of(s->g.ctx, context);
    ck_assert_ptr_nonnull(cond);
    sd_tensor_free(context);
    return cond;
}

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
    check(s, "context", out, LIMIT);
    return conditioning(s, 0, 0);
}

static void check_unet(const subject *s, const sd_cond *context) {
    static const double t[2] = {951.0, 16.5};
    sd_tensor *x = tensor(s, "unet-in", 0, 0), *out;
    must(sd_unet_predict(s->g.model, x, t, context, &out));
    check(s, "unet", out, LIMIT);
    sd_tensor_free(x);
}

/* A sampler of 8 x 8 latents, and all that it takes. */
typedef struct scene {
    sd_sampler *sampler;
    sd_cond *cond, *uncond;
    sd_tensor *noise, *concat;
} scene;

static scene scene_open(const subject *s, const sd_sampler_params *params) {
    bool any = s->c->tokens > 0, wide = s->c->unet_channels > s->c->latent_channels;
    sd_sampler_params p = *params;
    scene v = {.cond = any ? conditioning(s, 1, 1) : NULL,
               .uncond = any ? conditioning(s, 0, 1) : NULL,
               .noise = tensor(s, "noise", 0, 0),
               .concat = wide ? tensor(s, "concat", 0, 0) : NULL};
    p.guidance_scale = SCALE;
    p.width = p.height = 8 * s->c->downscale;
    must(sd_sampler_new(s->g.model, &p, &v.sampler));
    return v;
}

static void scene_close(scene *v) {
    sd_sampler_free(v->sampler);
    sd_cond_free(v->cond);
    sd_cond_free(v->uncond);
    sd_tensor_free(v->noise);
    sd_tensor_free(v->concat);
}

/* A run of the scene, from `init` or from `noise`, either of which may be NULL. */
static sd_run_params run_from(const scene *v, const sd_tensor *init, const sd_tensor *noise) {
    return with_concat(v->concat, run_of(v->cond, v->uncond, init, noise));
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
    check(s, quantized ? "ddim-quantized" : "ddim", out, LIMIT_DDIM);
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
    check_all(&cases[_i % N_CASES], backends[_i / N_CASES], true);
}
END_TEST

/* Stable Diffusion 2.x, and the inpainting model, by their tensors alone. */
START_TEST(without_config) {
    if (cases[_i].bare)
        check_all(&cases[_i], "cpu", false);
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
    const ldm_case *c = &cases[N_CASES - 1];
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
    const ldm_case *c = &cases[_i];
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
    ck_assert(subject_open(&s, &cases[0], "cpu", true));
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

/* The inpainting model by every method. */
START_TEST(wide_methods) {
    subject s;
    sd_tensor *out;
    ck_assert(subject_open(&s, &cases[3], "cpu", true));
    for (int i = 0; sd_sampler_method(i); i++) {
        sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
        p.method = sd_sampler_method(i);
        p.steps = GOLDEN_STEPS;
        scene v = scene_open(&s, &p);
        bool inverse = strcmp(p.method, "ddim_inverse") == 0;
        sd_tensor *init = inverse ? tensor(&s, "init", 0, 0) : NULL;
        sd_tensor *want = tensor(&s, "methods", i, 1);
        must(sd_sample(v.sampler, GIVEN(run_at(1, run_from(&v, init, NULL))), &out));
        ck_assert_msg(check_error(p.method, sd_tensor_data(out), sd_tensor_data(want),
                                  (size_t)sd_tensor_n_elements(out), LIMIT_DDIM),
                      "%s: beyond the limit", p.method);
        sd_tensor_free(init);
        sd_tensor_free(want);
        sd_tensor_free(out);
        scene_close(&v);
    }
    golden_close(&s.g);
}
END_TEST

/* A batch whose pictures have each their own, another between two steps, and none. */
START_TEST(concat_of_a_batch) {
    enum { N = 2, C = 4, MORE = 5, EACH = C * 64 };
    static const int64_t dims[] = {N, MORE, 8, 8}, noise_dims[] = {N, C, 8, 8};
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    subject s;
    sd_tensor *out, *one, *random, *noises;
    p.steps = STEPS;
    ck_assert(subject_open(&s, &cases[3], "cpu", true));
    scene v = scene_open(&s, &p);
    must(sd_sample(v.sampler, GIVEN(run_from(&v, NULL, v.noise)), &one));
    sd_sampler_free(v.sampler);
    p.batch = N;
    p.guidance_scale = SCALE;
    p.width = p.height = 16;
    must(sd_sampler_new(s.g.model, &p, &v.sampler));
    must(sd_randn(s.g.ctx, SD_RNG_CPU, 8, 4, dims, &random));
    must(sd_tensor_new(s.g.ctx, 4, noise_dims, NULL, &noises));
    for (size_t i = 0; i < N; i++)
        memcpy(sd_tensor_data_mut(noises) + i * EACH, sd_tensor_data(v.noise),
               EACH * sizeof(float));
    memcpy(sd_tensor_data_mut(random) + MORE * 64, sd_tensor_data(v.concat),
           MORE * 64 * sizeof(float));

    sd_run_params run = run_of(v.cond, v.uncond, NULL, noises);
    ck_assert_int_eq(sd_sample(v.sampler, &run, &out), SD_ERROR_ARGUMENT); /* without any */
    run.concat = noises;
    ck_assert_int_eq(sd_sample(v.sampler, &run, &out), SD_ERROR_ARGUMENT);
    ck_assert_int_eq(sd_sampler_set_concat(v.sampler, random), SD_ERROR_STATE);
    run.concat = random;
    must(sd_sample(v.sampler, &run, &out));
    const float *first = sd_tensor_data(out);
    ck_assert(check_error("second of a batch", first + EACH, sd_tensor_data(one), EACH, LIMIT));
    ck_assert_msg(memcmp(first, first + EACH, EACH * sizeof *first) != 0, "one concat for both");
    sd_tensor_free(out);

    must(sd_sampler_begin(v.sampler, &run));
    must(sd_sampler_set_concat(v.sampler, v.concat)); /* for both */
    for (int i = 0; i < STEPS; i++)
        must(sd_sampler_step(v.sampler));
    must(sd_sampler_latent(v.sampler, &out));
    ck_assert(
        check_error("set within a run", sd_tensor_data(out), sd_tensor_data(one), EACH, LIMIT));
    ck_assert_int_eq(sd_sampler_set_concat(v.sampler, NULL), SD_ERROR_ARGUMENT);
    sd_tensor *const all[] = {out, one, random, noises};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        sd_tensor_free(all[i]);
    scene_close(&v);
    golden_close(&s.g);
}
END_TEST

/* The input of inpainting models is made of a picture and its mask. */
START_TEST(beside_the_latent) {
    subject s;
    sd_tensor *out;
    ck_assert(subject_open(&s, &cases[_i], "cpu", true));
    sd_tensor *pixels = tensor(&s, "pixels", 0, 0), *mask = tensor(&s, "mask", 0, 0);
    must(sd_inpaint_concat(s.g.model, pixels, mask, NULL, &out));
    check(&s, "beside", out, LIMIT);
    sd_tensor_free(pixels);
    sd_tensor_free(mask);
    golden_close(&s.g);
}
END_TEST

/* Picture i of `t`, upside down where `flipped`. */
static sd_tensor *picture_of(const subject *s, sd_tensor *t, int64_t i, bool flipped) {
    const int64_t *d = sd_tensor_dims(t), dims[] = {1, d[1], d[2], d[3]}, n = d[1] * d[2] * d[3];
    sd_tensor *one;
    must(sd_tensor_new(s->g.ctx, 4, dims, sd_tensor_data(t) + i * n, &one));
    for (int64_t j = 0; j < n && flipped; j++)
        sd_tensor_data_mut(one)[j] = sd_tensor_data(t)[i * n + n - 1 - j];
    return one;
}

/* Two pictures, as `t` and upside down. */
static sd_tensor *two_of(const subject *s, sd_tensor *t) {
    const int64_t *d = sd_tensor_dims(t), dims[] = {2, d[1], d[2], d[3]}, n = d[1] * d[2] * d[3];
    sd_tensor *both;
    must(sd_tensor_new(s->g.ctx, 4, dims, NULL, &both));
    for (int64_t j = 0; j < n; j++) {
        sd_tensor_data_mut(both)[j] = sd_tensor_data(t)[j];
        sd_tensor_data_mut(both)[n + j] = sd_tensor_data(t)[n - 1 - j];
    }
    return both;
}

/* Each picture of a batch has its own mask, in either order of mask and latent. */
START_TEST(beside_the_latents_of_a_batch) {
    subject s;
    sd_tensor *both, *alone;
    ck_assert(subject_open(&s, &cases[_i], "cpu", true));
    sd_tensor *pixels = tensor(&s, "pixels", 0, 1), *mask = tensor(&s, "mask", 0, 1);
    sd_tensor *pictures = two_of(&s, pixels), *masks = two_of(&s, mask);
    must(sd_inpaint_concat(s.g.model, pictures, masks, NULL, &both));
    for (int i = 0; i < 2; i++) {
        sd_tensor *p = picture_of(&s, pixels, 0, i == 1), *m = picture_of(&s, mask, 0, i == 1),
                  *got = picture_of(&s, both, i, false);
        must(sd_inpaint_concat(s.g.model, p, m, NULL, &alone));
        ck_assert_mem_eq(sd_tensor_data(got), sd_tensor_data(alone),
                         (size_t)sd_tensor_n_elements(alone) * sizeof(float));
        sd_tensor *const rows[] = {p, m, got, alone};
        for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
            sd_tensor_free(rows[k]);
    }
    sd_tensor *const all[] = {pixels, mask, pictures, masks, both};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        sd_tensor_free(all[i]);
    golden_close(&s.g);
}
END_TEST

/* scripts/inpaint.py in one call, without a prompt. */
START_TEST(inpaint_script) {
    enum { SIDE = 32, N = 3 * SIDE * SIDE };
    subject s;
    sd_image *init, *mask, *got;
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    ck_assert(subject_open(&s, &cases[_i], "cpu", true));
    npy picture = golden_array("ldm/masked-picture"), white = golden_array("ldm/masked-white");
    npy want = golden_array("ldm/masked-painted");
    must(new_image(s.g.ctx, SIDE, SIDE, 3, NULL, &init));
    must(new_image(s.g.ctx, SIDE, SIDE, 1, NULL, &mask));
    for (int i = 0; i < N; i++)
        sd_image_pixels_mut(init)[i] = (uint8_t)picture.f32[i];
    for (int i = 0; i < N / 3; i++)
        sd_image_pixels_mut(mask)[i] = white.f32[i] != 0 ? 255 : 0;
    sampling.steps = STEPS;
    sampling.width = sampling.height = SIDE;
    p.init = init;
    p.mask = mask;
    p.sampling = &sampling;
    must(sd_generate(s.g.model, &p, &got, 1));
    int worst = 0;
    for (int i = 0; i < N; i++) {
        int d = abs(sd_image_pixels(got)[i] - (int)want.f32[i]);
        worst = d > worst ? d : worst;
        if (white.f32[i / 3] == 0)
            ck_assert_int_eq(sd_image_pixels(got)[i], sd_image_pixels(init)[i]);
    }
    printf("masked: inpaint.py's picture: largest difference %d of 255\n", worst);
    ck_assert_int_le(worst, 1);
    npy_free(&picture);
    npy_free(&white);
    npy_free(&want);
    sd_image_free(init);
    sd_image_free(mask);
    sd_image_free(got);
    golden_close(&s.g);
}
END_TEST

/* The latent alone is all that most models take. */
START_TEST(no_concat) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    subject s;
    ck_assert(subject_open(&s, &cases[0], "cpu", true));
    scene v = scene_open(&s, &p);
    sd_tensor *out;
    sd_run_params run = with_concat(v.noise, run_from(&v, NULL, NULL));
    ck_assert_int_eq(sd_sample(v.sampler, &run, &out), SD_ERROR_ARGUMENT);
    printf("%s\n", sd_last_error());
    scene_close(&v);
    golden_close(&s.g);
}
END_TEST

/* Mean squares of y - noise, [c, h, w] each. */
static double mean_square(const float *y, const float *noise, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)y[i] - (double)noise[i]) * ((double)y[i] - (double)noise[i]);
    return sum / (double)n;
}

/* The training objective of a UNet that takes more than the latent, from the parts of the API. */
START_TEST(loss_with_concat) {
    enum { C = 4, MORE = 5, T = 300 };
    static const int32_t timesteps[2] = {T, T};
    static const double t[2] = {T, T};
    subject s;
    sd_tensor *given, *x0, *noise, *concat, *noisy, *y, *samples;
    sd_loss_params p = SD_LOSS_PARAMS_INIT;
    sd_loss_info loss = SD_LOSS_INFO_INIT;
    ck_assert(subject_open(&s, &cases[3], "cpu", true));
    given = tensor(&s, "unet-in", 0, 0);
    sd_cond *context = conditioning(&s, 0, 0);
    int64_t dims[4], more[4];
    memcpy(dims, sd_tensor_dims(given), sizeof dims);
    ck_assert_int_eq(dims[0], 2);
    ck_assert_int_eq(dims[1], C + MORE);
    size_t plane = (size_t)(dims[2] * dims[3]), each = C * plane;
    dims[1] = C;
    memcpy(more, dims, sizeof more);
    more[1] = MORE;
    must(sd_randn(s.g.ctx, SD_RNG_CPU, 31, 4, dims, &x0));
    must(sd_randn(s.g.ctx, SD_RNG_CPU, 32, 4, dims, &noise));
    must(sd_randn(s.g.ctx, SD_RNG_CPU, 33, 4, more, &concat));
    must(sd_add_noise(s.g.model, x0, noise, T, &noisy));
    for (size_t i = 0; i < 2; i++) {
        float *row = sd_tensor_data_mut(given) + i * (C + MORE) * plane;
        memcpy(row, sd_tensor_data(noisy) + i * each, each * sizeof *row);
        memcpy(row + each, sd_tensor_data(concat) + i * MORE * plane, MORE * plane * sizeof *row);
    }
    must(sd_unet_predict(s.g.model, given, t, context, &y));
    ck_assert_int_eq(
        sd_training_loss(s.g.model, x0, noise, timesteps, context, NULL, &loss, &samples),
        SD_ERROR_ARGUMENT);
    p.concat = concat;
    must(sd_training_loss(s.g.model, x0, noise, timesteps, context, &p, &loss, &samples));
    for (size_t i = 0; i < 2; i++) {
        double want =
            mean_square(sd_tensor_data(y) + i * each, sd_tensor_data(noise) + i * each, each);
        double got = (double)sd_tensor_data(samples)[3 * i];
        printf("inpaint: loss %.6f, relative error %.2e\n", got, fabs(got / want - 1.0));
        ck_assert_double_le(fabs(got / want - 1.0), LIMIT);
    }
    sd_cond_free(context);
    sd_tensor *const all[] = {given, x0, noise, concat, noisy, y, samples};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        sd_tensor_free(all[i]);
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
    ck_assert(subject_open(&s, &cases[0], "cpu", true));
    must(sd_generate(s.g.model, &p, &image, 1));
    ck_assert_int_eq(sd_image_width(image), 32);
    sd_image_free(image);
    golden_close(&s.g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {{models, 0, N_CASES * N_BACKENDS},
                                 {without_config, 0, N_CASES},
                                 {prediction_is_asked_for, 0, 1},
                                 {refusals, 0, N_CASES},
                                 {vq_model, 0, N_BACKENDS},
                                 {quantized_x0, 0, 1},
                                 {wide_methods, 0, 1},
                                 {concat_of_a_batch, 0, 1},
                                 {no_concat, 0, 1},
                                 {beside_the_latent, 3, 4},
                                 {beside_the_latent, 5, 6},
                                 {beside_the_latents_of_a_batch, 3, 4},
                                 {beside_the_latents_of_a_batch, 5, 6},
                                 {inpaint_script, 5, 6},
                                 {loss_with_concat, 0, 1},
                                 {unconditional_picture, 0, 1}};
    char path[PATH_SIZE];
    bool ok = mkdtemp(folder) != NULL;
    for (int i = 0; i < N_CASES && ok; i++) {
        ok = write_checkpoint(cases[i].name);
        if (!ok)
            fprintf(stderr, "%s: no checkpoint could be made\n", cases[i].name);
    }
    int status = ok ? golden_main("ldm", tests, sizeof(tests) / sizeof(tests[0])) : EXIT_FAILURE;
    for (int i = 0; i < N_CASES; i++)
        unlink(checkpoint_path(cases[i].name, path));
    rmdir(folder);
    return status;
}
