/*
 * Stable Diffusion XL, small, against diffusers' pipelines (tests/tools/make_sdxl_golden.py): both
 * text encoders, the vector beside the time step, whole runs, the inpainting model.
 */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIMIT 1e-5
#define LIMIT_RUN 1e-4 /* of some guided steps */
#define STEPS 6
#define SIDE 128
#define HANDED_OVER 0.6
#define N_LATENT (4 * 16 * 16)

/* As make_sdxl_golden.py's. */
static const char *const prompts[] = {"a red boat on a lake",
                                      "A castle at sunset, oil painting; 2 moons"};
#define NEGATIVE "blurry, ugly"

static const struct {
    const char *name, *backend, *suffix; /* of the model's path: "" is a folder */
    bool configured;
} setups[] = {
    {"reference, folder", "reference", ""},
    {"cpu, folder", "cpu", ""},
    {"reference, file", "reference", ".safetensors"},
    {"cpu, file", "cpu", ".safetensors"},
    {"cpu, file, config", "cpu", ".safetensors", true},
};
#define N_SETUPS ((int)(sizeof(setups) / sizeof(setups[0])))

/* False: the test has nothing to do. */
static bool open_xl(golden *g, int setup, const char *model) {
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    char path[4096], vocab[4096], config[4096];
    cp.backend = golden_backend(setups[setup].backend);
    if (!cp.backend)
        return false;
    cp.n_threads = golden_threads(2);
    must(sd_context_new(&cp, &g->ctx));
    snprintf(path, sizeof path, "%s/%s%s", getenv("SD_XL_MODELS"), model, setups[setup].suffix);
    snprintf(vocab, sizeof vocab, "%s/tokenizer", getenv("SD_TINY_FOLDER"));
    mp.vocab = *setups[setup].suffix ? vocab : NULL; /* a folder has two of its own */
    snprintf(config, sizeof config, "%s/sdxl/%s.yaml", getenv("SD_GOLDEN_DATA"), model);
    mp.config = setups[setup].configured ? config : NULL;
    mp.strict = 1;
    mp.precision = SD_PRECISION_FULL;
    must(sd_model_load(g->ctx, path, &mp, &g->model));
    return true;
}

static sd_tensor *part_of(const sd_cond *cond, const char *name) {
    sd_tensor *t;
    must(sd_cond_get(cond, name, &t));
    return t;
}

/* Each seventh token of a context, which is freed. */
static sd_tensor *thinned(const golden *g, sd_tensor *context) {
    const int64_t *d = sd_tensor_dims(context), dims[] = {d[0], (d[1] + 6) / 7, d[2]};
    sd_tensor *out;
    must(sd_tensor_new(g->ctx, 3, dims, NULL, &out));
    float *to = sd_tensor_data_mut(out);
    for (int64_t i = 0; i < d[0]; i++)
        for (int64_t k = 0; k < d[1]; k += 7, to += d[2])
            memcpy(to, sd_tensor_data(context) + (i * d[1] + k) * d[2], (size_t)d[2] * sizeof *to);
    sd_tensor_free(context);
    return out;
}

static void check_same(sd_cond *a, sd_cond *b, const char *name) {
    sd_tensor *x = part_of(a, name), *y = part_of(b, name);
    size_t n = (size_t)sd_tensor_n_elements(x);
    ck_assert_int_eq(sd_tensor_n_elements(y), (int64_t)n);
    ck_assert_mem_eq(sd_tensor_data(x), sd_tensor_data(y), n * sizeof(float));
    sd_tensor_free(x);
    sd_tensor_free(y);
}

/* Ids of both prompts for each encoder, and what they are encoded to. */
static sd_cond *check_text(const golden *g, const char *setup, const char *kind, int n_encoders) {
    char name[64];
    sd_cond *cond, *of_texts;
    const int32_t *lists[2];
    snprintf(name, sizeof name, "sdxl/%s-ids", kind);
    npy ids = golden_array(name);
    ck_assert_int_eq(ids.type, NPY_I32);
    ck_assert_int_eq(ids.dims[0], n_encoders);
    for (int i = 0; i < n_encoders; i++) {
        lists[i] = ids.i32 + i * 2 * 77;
        for (int k = 0; k < 2; k++) {
            int32_t got[77];
            must(sd_tokenize(g->model, i, prompts[k], got, 77, NULL));
            ck_assert_mem_eq(got, lists[i] + k * 77, sizeof got);
        }
    }
    must(sd_encode_tokens(g->model, lists, n_encoders, 2, NULL, &cond));
    snprintf(name, sizeof name, "sdxl/%s-text", kind);
    golden_check(setup, name, thinned(g, part_of(cond, "context")), LIMIT);
    snprintf(name, sizeof name, "sdxl/%s-pooled", kind);
    golden_check(setup, name, part_of(cond, "pooled"), LIMIT);
    must(sd_encode_text(g->model, prompts, 2, NULL, &of_texts));
    check_same(cond, of_texts, "context");
    check_same(cond, of_texts, "pooled");
    sd_cond_free(of_texts);
    npy_free(&ids);
    return cond;
}

static void check_skip(const golden *g, const char *setup, const char *kind) {
    sd_text_params text = SD_TEXT_PARAMS_INIT;
    char name[64];
    sd_cond *cond;
    text.clip_skip = 2; /* diffusers' 1 */
    must(sd_encode_text(g->model, prompts, 1, &text, &cond));
    snprintf(name, sizeof name, "sdxl/%s-skip", kind);
    golden_check(setup, name, thinned(g, part_of(cond, "context")), LIMIT);
    sd_cond_free(cond);
}

/* The texts of `cond` with sizes of the test's own; what is 0 is the run's. */
static sd_cond *with_sizes(const golden *g, const sd_cond *cond, int n, const float *sizes) {
    static const char *const names[] = {"sizes", "context", "pooled"};
    const int64_t dims[] = {2, n};
    sd_tensor *parts[3] = {NULL, part_of(cond, "context"), part_of(cond, "pooled")};
    sd_cond *out;
    must(sd_tensor_new(g->ctx, 2, dims, sizes, &parts[0]));
    must(sd_cond_new(g->ctx, names, (const sd_tensor *const *)parts, 3, &out));
    for (int i = 0; i < 3; i++)
        sd_tensor_free(parts[i]);
    return out;
}

static void check_unet(const golden *g, const char *setup, const char *kind, const sd_cond *cond) {
    static const double t[] = {951.0, 16.5};
    char name[64];
    snprintf(name, sizeof name, "sdxl/%s-unet-in", kind);
    sd_tensor *x = golden_tensor(g, name, 0, 0), *out;
    must(sd_unet_predict(g->model, x, t, cond, &out));
    snprintf(name, sizeof name, "sdxl/%s-unet", kind);
    golden_check(setup, name, out, LIMIT);
    sd_tensor_free(x);
}

static void check_info(const golden *g, int setup, const char *family, int encoders, int width,
                       int sizes) {
    sd_model_info info = SD_MODEL_INFO_INIT;
    must(sd_model_get_info(g->model, &info));
    ck_assert_str_eq(info.family, family);
    ck_assert_str_eq(info.layout, *setups[setup].suffix ? "original" : "diffusers");
    ck_assert_str_eq(info.prediction, "epsilon");
    ck_assert_str_eq(info.default_method, "euler");
    ck_assert_int_eq(info.default_spacing, SD_SPACING_LEADING);
    ck_assert(info.default_guidance == 5.0 && info.default_steps == 50);
    ck_assert(info.n_encoders == encoders && info.text_width == width && info.text_tokens == 77);
    ck_assert(info.pooled_width == 64 && info.n_sizes == sizes && info.has_vocabulary);
    ck_assert(info.latent_scale == 0.13025);
    ck_assert_int_eq(info.default_width, setups[setup].configured ? 1024 : SIDE);
    ck_assert_int_eq(info.n_unexpected, 0);
}

START_TEST(networks_of_the_base) {
    static const float sizes[] = {200, 300, 16, 8, 128, 192, 0, 0, 0, 0, 0, 0};
    const char *name = setups[_i].name;
    golden g;
    if (!open_xl(&g, _i, "tiny-xl"))
        return;
    check_info(&g, _i, "Stable Diffusion XL", 2, 192, 6);
    sd_cond *text = check_text(&g, name, "base", 2), *cond = with_sizes(&g, text, 6, sizes);
    check_skip(&g, name, "base");
    check_unet(&g, name, "base", cond);
    sd_tensor *z = golden_tensor(&g, "sdxl/latent", 0, 0), *out;
    must(sd_vae_decode(g.model, z, NULL, &out));
    golden_check(name, "sdxl/decoded", out, LIMIT);
    sd_tensor_free(z);
    sd_cond_free(cond);
    sd_cond_free(text);
    golden_close(&g);
}
END_TEST

START_TEST(networks_of_the_refiner) {
    static const float sizes[] = {200, 300, 16, 8, 6.5f, 0, 0, 0, 0, 2.0f};
    const char *name = setups[_i].name;
    golden g;
    if (!open_xl(&g, _i, "tiny-xl-refiner"))
        return;
    check_info(&g, _i, "Stable Diffusion XL refiner", 1, 128, 5);
    sd_cond *text = check_text(&g, name, "refiner", 1), *cond = with_sizes(&g, text, 5, sizes);
    check_skip(&g, name, "refiner");
    check_unet(&g, name, "refiner", cond);
    sd_cond_free(cond);
    sd_cond_free(text);
    golden_close(&g);
}
END_TEST

/* ------------------------------------------------------------------------------------ runs */

static int32_t keep_latent(void *user, const sd_progress *progress) {
    sd_tensor **latent = user;
    sd_tensor_free(*latent); /* of another model of the run */
    *latent = NULL;
    if (progress->step == progress->total)
        must(sd_sampler_latent(progress->sampler, latent));
    return 0;
}

/* The latent that sd_generate decodes, against row `row` of a fixture. */
static void check_picture(const golden *g, const char *setup, sd_generate_params *p,
                          sd_sampler_params *sampling, const char *fixture, int row) {
    char what[128];
    sd_tensor *latent = NULL, *want = golden_tensor(g, fixture, row, 1);
    sd_image *image;
    sampling->progress = keep_latent;
    sampling->progress_user = &latent;
    p->sampling = sampling;
    p->prompt = prompts[0];
    must(sd_generate(g->model, p, &image, 1));
    snprintf(what, sizeof what, "%s %s %d", setup, fixture, row);
    ck_assert(check_error(what, sd_tensor_data(latent), sd_tensor_data(want), N_LATENT, LIMIT_RUN));
    sd_tensor_free(latent);
    sd_tensor_free(want);
    sd_image_free(image);
}

/* Runs take their time: by the processor's backend, and once for each way to load. */
static bool open_for_run(golden *g, int setup, const char *model) {
    return strcmp(setups[setup].backend, "reference") && open_xl(g, setup, model);
}

START_TEST(text_to_image) {
    golden g;
    sd_text_params text = SD_TEXT_PARAMS_INIT;
    if (!open_for_run(&g, _i, "tiny-xl"))
        return;
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sampling.steps = STEPS;
    sampling.width = sampling.height = SIDE;
    check_picture(&g, setups[_i].name, &p, &sampling, "sdxl/runs", 0);

    text.original_height = 200;
    text.original_width = 300;
    text.crop_top = 16;
    text.crop_left = 8;
    text.target_height = 256;
    text.target_width = 512;
    sampling.guidance_scale = 3.0;
    p.negative_prompt = NEGATIVE;
    p.text = &text;
    check_picture(&g, setups[_i].name, &p, &sampling, "sdxl/runs", 1);

    p = (sd_generate_params)SD_GENERATE_PARAMS_INIT;
    sampling.method = "euler_a"; /* Turbo */
    sampling.spacing = SD_SPACING_TRAILING;
    sampling.steps = 2;
    sampling.guidance_scale = 1.0; /* diffusers' 0 */
    check_picture(&g, setups[_i].name, &p, &sampling, "sdxl/runs", 2);
    golden_close(&g);
}
END_TEST

/* The first prompt, and zeros in place of a text, both of a run of the model's own. */
static void encode_run(const golden *g, sd_cond **cond, sd_cond **uncond) {
    static const char *const names[] = {"context", "pooled"};
    sd_tensor *zeros[2];
    must(sd_encode_text(g->model, prompts, 1, NULL, cond));
    for (int i = 0; i < 2; i++) {
        sd_tensor *like = part_of(*cond, names[i]);
        must(sd_tensor_new(g->ctx, sd_tensor_n_dims(like), sd_tensor_dims(like), NULL, &zeros[i]));
        sd_tensor_free(like);
    }
    must(sd_cond_new(g->ctx, names, (const sd_tensor *const *)zeros, 2, uncond));
    sd_tensor_free(zeros[0]);
    sd_tensor_free(zeros[1]);
}

static void check_run(const golden *g, const char *setup, const sd_run_params *run,
                      const char *fixture) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    sd_sampler *sampler;
    sd_tensor *latent;
    p.steps = STEPS;
    p.guidance_scale = run->concat ? 7.5 : 5.0;
    must(sd_sampler_new(g->model, &p, &sampler));
    must(sd_sample(sampler, run, &latent));
    golden_check(setup, fixture, latent, LIMIT_RUN);
    sd_sampler_free(sampler);
}

START_TEST(image_to_image) {
    golden g;
    sd_cond *cond, *uncond;
    if (setups[_i].configured || !open_for_run(&g, _i, "tiny-xl"))
        return;
    sd_tensor *init = golden_tensor(&g, "sdxl/init", 0, 0);
    encode_run(&g, &cond, &uncond);
    check_run(&g, setups[_i].name, GIVEN(run_at(0.7, run_of(cond, uncond, init, NULL))),
              "sdxl/img2img");
    sd_tensor_free(init);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    golden_close(&g);
}
END_TEST

/* The first chunk of `plain` times the weight of its token `at`, the mean of each encoder's columns
 * restored. */
static void weigh(float *y, int width, int at, float weight, int first, int n) {
    double before = 0, after = 0;
    for (int i = 0; i < 77; i++)
        for (int j = first; j < first + n; j++) {
            before += (double)y[i * width + j];
            y[i * width + j] *= i == at ? weight : 1.0f;
            after += (double)y[i * width + j];
        }
    for (int i = 0; i < 77; i++)
        for (int j = first; j < first + n; j++)
            y[i * width + j] *= (float)(before / after);
}

/* Weights are each encoder's own, chunks lie side by side, and the text's vector is the first's. */
START_TEST(weighted_prompts) {
    static const char *const text[] = {"a (boat:1.3) BREAK lake"}, *const plain[] = {"a boat",
                                                                                     "lake"};
    enum { WIDTH = 192, CHUNK = 77 * WIDTH };
    sd_text_params p = SD_TEXT_PARAMS_INIT;
    golden g;
    sd_cond *cond, *parts;
    if (!open_xl(&g, 1, "tiny-xl"))
        return;
    p.weighted = 1;
    must(sd_encode_text(g.model, text, 1, &p, &cond));
    must(sd_encode_text(g.model, plain, 2, NULL, &parts));
    sd_tensor *got = part_of(cond, "context"), *want = part_of(parts, "context");
    ck_assert_int_eq(sd_tensor_dims(got)[1], 2 * 77);
    float *y = sd_tensor_data_mut(want);
    weigh(y, WIDTH, 2, 1.3f, 0, 64);
    weigh(y, WIDTH, 2, 1.3f, 64, 128);
    ck_assert(check_error("weighted", sd_tensor_data(got), y, 2 * CHUNK, 1e-6));
    sd_tensor *pooled = part_of(cond, "pooled"), *first = part_of(parts, "pooled");
    ck_assert(check_error("pooled", sd_tensor_data(pooled), sd_tensor_data(first), 64, 1e-6));
    sd_tensor *const all[] = {got, want, pooled, first};
    for (int i = 0; i < 4; i++)
        sd_tensor_free(all[i]);
    sd_cond_free(cond);
    sd_cond_free(parts);
    golden_close(&g);
}
END_TEST

/* A model beside the context's, with the embeddings of a file; SD_OK or what loading says. */
static sd_status load_word(const golden *g, int setup, const char *model, const char *file,
                           sd_model **out) {
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    sd_adapter_use use = SD_ADAPTER_USE_INIT;
    const sd_adapter_use *uses[] = {&use};
    char path[4096], vocab[4096], word[4096];
    snprintf(path, sizeof path, "%s/%s%s", getenv("SD_XL_MODELS"), model, setups[setup].suffix);
    snprintf(vocab, sizeof vocab, "%s/tokenizer", getenv("SD_TINY_FOLDER"));
    snprintf(word, sizeof word, "%s/%s", getenv("SD_GOLDEN_DATA"), file);
    mp.vocab = *setups[setup].suffix ? vocab : NULL;
    mp.precision = SD_PRECISION_FULL;
    use.path = word;
    mp.adapters = uses;
    mp.n_adapters = 1;
    return sd_model_load(g->ctx, path, &mp, out);
}

/* Textual inversion: a word has as many rows for both encoders. */
START_TEST(a_word) {
    static const char *const text[] = {"a photograph of zzlake, at sunset"};
    golden g;
    sd_model *model;
    sd_cond *cond;
    if (setups[_i].configured || !open_xl(&g, _i, "tiny-xl"))
        return;
    golden with = {g.ctx, NULL};
    must(load_word(&g, _i, "tiny-xl", "sdxl/zzlake.safetensors", &with.model));
    must(sd_encode_text(with.model, text, 1, NULL, &cond));
    golden_check(setups[_i].name, "sdxl/word-text", thinned(&with, part_of(cond, "context")),
                 LIMIT);
    sd_cond_free(cond);
    sd_model_free(with.model);
    must(load_word(&g, _i, "tiny-xl-refiner", "sdxl/zzlake.safetensors", &model));
    sd_model_free(model);
    ck_assert_int_eq(load_word(&g, _i, "tiny-xl", "lake.pt", &model), SD_ERROR_MODEL);
    ck_assert_msg(strstr(sd_last_error(), "no tensor 'clip_l'") != NULL, "%s", sd_last_error());
    golden_close(&g);
}
END_TEST

/* Another model of the same context. */
static sd_model *open_beside(const golden *g, int setup, const char *model) {
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    char path[4096], vocab[4096];
    sd_model *out;
    snprintf(path, sizeof path, "%s/%s%s", getenv("SD_XL_MODELS"), model, setups[setup].suffix);
    snprintf(vocab, sizeof vocab, "%s/tokenizer", getenv("SD_TINY_FOLDER"));
    mp.vocab = *setups[setup].suffix ? vocab : NULL;
    mp.precision = SD_PRECISION_FULL;
    must(sd_model_load(g->ctx, path, &mp, &out));
    return out;
}

static sd_run_params between(double start, double end, sd_run_params p) {
    p.denoising_start = start;
    p.denoising_end = end;
    return p;
}

/* The refiner's part of the run, from the base's latent. */
static void check_last_part(const golden *g, const char *setup) {
    static const char *const nothing[] = {""};
    sd_text_params text = SD_TEXT_PARAMS_INIT;
    sd_tensor *latent = golden_tensor(g, "sdxl/handed-over", 0, 0);
    sd_cond *cond, *uncond;
    must(sd_encode_text(g->model, prompts, 1, NULL, &cond));
    text.aesthetic_score = 2.5;
    must(sd_encode_text(g->model, nothing, 1, &text, &uncond));
    check_run(g, setup, GIVEN(between(HANDED_OVER, 0.0, run_of(cond, uncond, latent, NULL))),
              "sdxl/refined");
    sd_tensor_free(latent);
    sd_cond_free(cond);
    sd_cond_free(uncond);
}

/* Two models share a run: each part, and both in one call. */
START_TEST(refining) {
    golden g;
    sd_cond *cond, *uncond;
    if (setups[_i].configured || !open_for_run(&g, _i, "tiny-xl"))
        return;
    golden refiner = {g.ctx, open_beside(&g, _i, "tiny-xl-refiner")};
    encode_run(&g, &cond, &uncond);
    check_run(&g, setups[_i].name,
              GIVEN(between(0.0, HANDED_OVER, run_of(cond, uncond, NULL, NULL))),
              "sdxl/handed-over");
    check_last_part(&refiner, setups[_i].name);

    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sampling.steps = STEPS;
    p.refiner = refiner.model;
    p.refiner_start = HANDED_OVER;
    check_picture(&g, setups[_i].name, &p, &sampling, "sdxl/refined", 0);

    sd_image *none;
    p.prompt = NULL;
    p.cond = cond;
    ck_assert_int_eq(sd_generate(g.model, &p, &none, 1), SD_ERROR_ARGUMENT);
    ck_assert(strstr(sd_last_error(), "has refiner and cond"));
    p.cond = NULL;
    p.refiner = NULL;
    ck_assert_int_eq(sd_generate(g.model, &p, &none, 1), SD_ERROR_ARGUMENT);
    ck_assert(strstr(sd_last_error(), "refiner is NULL"));
    sd_cond_free(cond);
    sd_cond_free(uncond);
    sd_model_free(refiner.model);
    golden_close(&g);
}
END_TEST

/* What a share of a run does not go with. */
START_TEST(shares_are_checked) {
    static const struct {
        double start, end;
        const char *part;
    } bad[] = {{0.5, 0.5, "denoising_end are 0.5 and 0.5"},
               {1.0, 0.0, "are 1 and 0"},
               {-0.1, 0.0, "are -0.1 and 0"},
               {0.0, 1.5, "are 0 and 1.5"},
               {0.5, 0.0, "denoising_start is 0.5 and init is NULL"}};
    golden g;
    sd_cond *cond, *uncond;
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    sd_sampler *sampler;
    sd_tensor *none;
    if (!open_xl(&g, 1, "tiny-xl"))
        return;
    p.steps = STEPS;
    encode_run(&g, &cond, &uncond);
    must(sd_sampler_new(g.model, &p, &sampler));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sd_run_params run = between(bad[i].start, bad[i].end, run_of(cond, uncond, NULL, NULL));
        ck_assert_int_eq(sd_sample(sampler, &run, &none), SD_ERROR_ARGUMENT);
        ck_assert_msg(strstr(sd_last_error(), bad[i].part) != NULL, "%s", sd_last_error());
    }
    sd_sampler_free(sampler);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    golden_close(&g);
}
END_TEST

/* A disc of a picture, by the model that sees 9 channels. */
static void make_scene(const golden *g, sd_tensor **pixels, sd_tensor **mask) {
    const int64_t dims[] = {1, 3, SIDE, SIDE}, mask_dims[] = {1, 1, SIDE, SIDE};
    must(sd_tensor_new(g->ctx, 4, dims, NULL, pixels));
    must(sd_tensor_new(g->ctx, 4, mask_dims, NULL, mask));
    float *to = sd_tensor_data_mut(*pixels), *m = sd_tensor_data_mut(*mask);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int at = y * SIDE + x;
            to[at] = (float)x / 64 - 1;
            to[SIDE * SIDE + at] = (float)y / 64 - 1;
            to[2 * SIDE * SIDE + at] = (float)((x / 16 + y / 16) % 2 * 2) - 1;
            m[at] = (x - 40) * (x - 40) + (y - 80) * (y - 80) < 45 * 45;
        }
}

START_TEST(inpainting) {
    const int64_t dims[] = {1, 4, SIDE / 8, SIDE / 8};
    golden g;
    sd_cond *cond, *uncond;
    sd_tensor *pixels, *mask, *posterior, *concat;
    if (setups[_i].configured || !open_for_run(&g, _i, "tiny-xl-inpaint"))
        return;
    make_scene(&g, &pixels, &mask);
    must(sd_randn(g.ctx, SD_RNG_CPU, GOLDEN_SEED, 4, dims, &posterior));
    sd_vae_params vae = SD_VAE_PARAMS_INIT;
    vae.noise = posterior;
    must(sd_inpaint_concat(g.model, pixels, mask, &vae, &concat));
    sd_tensor *noise = golden_tensor(&g, "sdxl/inpaint-noise", 0, 0);
    encode_run(&g, &cond, &uncond);
    check_run(&g, setups[_i].name, GIVEN(with_concat(concat, run_of(cond, uncond, NULL, noise))),
              "sdxl/inpaint");
    sd_tensor *const all[] = {pixels, mask, posterior, concat, noise};
    for (int i = 0; i < 5; i++)
        sd_tensor_free(all[i]);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    golden_close(&g);
}
END_TEST

/* ---------------------------------------------------------------------------------- configs */

/* tiny-xl.yaml with `from` replaced by `to`, and what is said of it. */
static const struct {
    const char *from, *to;
    sd_status status;
    const char *part;
} configs[] = {
    {"num_classes: sequential", "num_classes: timestep", SD_ERROR_UNSUPPORTED, "num_classes"},
    {"adm_in_channels: 1600", "adm_in_channels: 1601", SD_ERROR_MODEL, "1601"},
    {"layer_idx: 2", "layer_idx: 1", SD_ERROR_UNSUPPORTED, "layer_idx"},
    {"layer: hidden", "layer: last", SD_ERROR_UNSUPPORTED, "layer"},
    {"legacy: False", "legacy: True", SD_ERROR_UNSUPPORTED, "legacy"},
    {"layer: penultimate", "layer: last", SD_ERROR_UNSUPPORTED, "penultimate"},
    {"crop_coords_top_left", "fps_id", SD_ERROR_UNSUPPORTED, "emb_models"},
    {"outdim: 256", "outdim: 128", SD_ERROR_UNSUPPORTED, "outdim"},
    {"num_idx: 1000", "num_idx: 500", SD_ERROR_MODEL, "num_idx"},
    {"EpsScaling", "EDMScaling", SD_ERROR_UNSUPPORTED, "EDMScaling"},
    {"LegacyDDPMDiscretization", "EDMDiscretization", SD_ERROR_UNSUPPORTED, "EDMDiscretization"},
    {"context_dim: 192", "context_dim: 190", SD_ERROR_MODEL, "190"},
    {"transformer_depth: [1, 1, 2]", "transformer_depth: [1, 1]", SD_ERROR_FORMAT, "list of 3"},
};
#define N_CONFIGS ((int)(sizeof(configs) / sizeof(configs[0])))

static void write_changed(const char *path, const char *from, const char *to) {
    static char text[16384];
    char source[4096];
    snprintf(source, sizeof source, "%s/sdxl/tiny-xl.yaml", getenv("SD_GOLDEN_DATA"));
    FILE *f = fopen(source, "rb");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    char *at = strstr(text, from);
    ck_assert_msg(at != NULL, "%s", from);
    f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    fprintf(f, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    fclose(f);
}

START_TEST(refuses_other_configs) {
    char config[] = "/tmp/sd-sdxl-XXXXXX", path[4096];
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    sd_context *ctx;
    sd_model *model;
    int fd = mkstemp(config);
    ck_assert_int_ge(fd, 0);
    close(fd);
    write_changed(config, configs[_i].from, configs[_i].to);
    snprintf(path, sizeof path, "%s/tiny-xl.safetensors", getenv("SD_XL_MODELS"));
    cp.backend = "cpu";
    must(sd_context_new(&cp, &ctx));
    mp.config = config;
    sd_status status = sd_model_load(ctx, path, &mp, &model);
    ck_assert_msg(status == configs[_i].status && strstr(sd_last_error(), configs[_i].part),
                  "%s: %d, %s", configs[_i].to, (int)status, sd_last_error());
    sd_context_free(ctx);
    unlink(config);
}
END_TEST

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    const golden_test tests[] = {{networks_of_the_base, 0, N_SETUPS},
                                 {networks_of_the_refiner, 0, N_SETUPS},
                                 {text_to_image, 0, N_SETUPS},
                                 {image_to_image, 0, N_SETUPS},
                                 {refining, 0, N_SETUPS},
                                 {shares_are_checked, 0, 1},
                                 {weighted_prompts, 0, 1},
                                 {a_word, 1, N_SETUPS},
                                 {inpainting, 0, N_SETUPS},
                                 {refuses_other_configs, 0, N_CONFIGS}};
    return golden_main("sdxl", tests, (int)(sizeof tests / sizeof *tests));
}
