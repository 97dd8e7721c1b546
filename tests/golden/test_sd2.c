/*
 * Stable Diffusion 2.x as a diffusers folder, small, against diffusers and transformers
 * (tests/tools/make_sd2_golden.py). The original layout is in test_ldm.c.
 */
#include "golden.h"
#include "listed.h"

#include <stdlib.h>
#include <unistd.h>

#define LIMIT 1e-5
#define LIMIT_DDIM 1e-4 /* four guided steps */
#define STEPS 4
#define SCALE 3.0f

static const char *const backends[] = {"reference", "cpu", "cpu:1", "cpu:2"};
#define N_BACKENDS ((int)(sizeof(backends) / sizeof(backends[0])))

static char folder[] = "/tmp/sd-sd2-XXXXXX";

static const char *const configs[] = {"model_index.json", "text_encoder/config.json",
                                      "unet/config.json", "vae/config.json",
                                      "scheduler/scheduler_config.json"};
static const struct {
    const char *part, *list, *file;
} weights[] = {
    {"text_encoder", "text_encoder.tsv", "text_encoder/model.safetensors"},
    {"unet", "unet.tsv", "unet/diffusion_pytorch_model.safetensors"},
    {"vae", "vae.tsv", "vae/diffusion_pytorch_model.safetensors"},
    {"scheduler", NULL, NULL},
};
#define N_CONFIGS (sizeof(configs) / sizeof(configs[0]))
#define N_WEIGHTS (sizeof(weights) / sizeof(weights[0]))

/* The configs as links to the fixtures', and weights by the lists. */
static bool write_folder(void) {
    char data[PATH_SIZE], from[PATH_SIZE], to[PATH_SIZE];
    bool ok = mkdtemp(folder) && join_path(data, getenv("SD_GOLDEN_DATA"), "sd2");
    for (size_t i = 0; ok && i < N_WEIGHTS; i++) {
        ok = join_path(to, folder, weights[i].part) && make_folder(to);
        if (ok && weights[i].list)
            ok = join_path(from, data, weights[i].list) && join_path(to, folder, weights[i].file) &&
                 listed_write(from, to);
    }
    for (size_t i = 0; ok && i < N_CONFIGS; i++)
        ok = join_path(from, data, configs[i]) && join_path(to, folder, configs[i]) &&
             symlink(from, to) == 0;
    return ok;
}

static void remove_folder(void) {
    char path[PATH_SIZE];
    for (size_t i = 0; i < N_CONFIGS; i++)
        if (join_path(path, folder, configs[i]))
            unlink(path);
    for (size_t i = 0; i < N_WEIGHTS; i++) {
        if (weights[i].file && join_path(path, folder, weights[i].file))
            unlink(path);
        if (join_path(path, folder, weights[i].part))
            rmdir(path);
    }
    rmdir(folder);
}

static bool open_model(golden *g, const char *backend) {
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    cp.backend = backend;
    cp.n_threads = golden_threads(2);
    if (sd_context_new(&cp, &g->ctx) == SD_ERROR_BACKEND)
        return false;
    mp.strict = 1;
    mp.precision = SD_PRECISION_FULL;
    must(sd_model_load(g->ctx, folder, &mp, &g->model));
    return true;
}

static void check_info(const golden *g) {
    sd_model_info info = SD_MODEL_INFO_INIT;
    must(sd_model_get_info(g->model, &info));
    ck_assert_str_eq(info.family, "Stable Diffusion 2.x");
    ck_assert_str_eq(info.layout, "diffusers");
    ck_assert_str_eq(info.prediction, "v");
    ck_assert_int_eq(info.default_width, 24); /* 12 latents */
    ck_assert_int_eq(info.text_width, 128);
}

static void check_text(const golden *g, const char *backend) {
    int32_t ids[2 * 77];
    npy given = golden_array("sd2/ids");
    sd_cond *cond;
    sd_tensor *out;
    ck_assert_int_eq((int)given.n, 2 * 77);
    for (size_t i = 0; i < given.n; i++)
        ids[i] = (int32_t)given.f32[i];
    npy_free(&given);
    must(sd_encode_tokens(g->model, (const int32_t *[]){ids}, 1, 2, NULL, &cond));
    must(context_of(SD_OK, cond, &out));
    golden_check(backend, "sd2/text", out, LIMIT);
}

static void check_unet(const golden *g, const char *backend) {
    static const double t[2] = {951.0, 16.5};
    sd_tensor *x = golden_tensor(g, "sd2/unet-in", 0, 0), *out;
    sd_cond *context = golden_cond(g, "sd2/text", 0, 0);
    must(sd_unet_predict(g->model, x, t, context, &out));
    golden_check(backend, "sd2/unet", out, LIMIT);
    sd_tensor_free(x);
    sd_cond_free(context);
}

static void check_first_stage(const golden *g, const char *backend) {
    sd_tensor *pixels = golden_tensor(g, "sd2/pixels", 0, 0), *out;
    sd_tensor *z = golden_tensor(g, "sd2/z", 0, 0);
    must(sd_vae_encode(g->model, pixels, NULL, &out));
    golden_check(backend, "sd2/latent", out, LIMIT);
    must(sd_vae_decode(g->model, z, NULL, &out));
    golden_check(backend, "sd2/decoded", out, LIMIT);
    sd_tensor_free(pixels);
    sd_tensor_free(z);
}

static void check_ddim(const golden *g, const char *backend) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    sd_sampler *sampler;
    sd_tensor *noise = golden_tensor(g, "sd2/noise", 0, 0), *out;
    sd_cond *uncond = golden_cond(g, "sd2/text", 0, 1);
    sd_cond *cond = golden_cond(g, "sd2/text", 1, 1);
    p.steps = STEPS;
    p.guidance_scale = SCALE;
    p.width = p.height = 16;
    must(sd_sampler_new(g->model, &p, &sampler));
    must(sd_sample(sampler, RUN(cond, uncond, NULL, noise), &out));
    golden_check(backend, "sd2/ddim", out, LIMIT_DDIM);
    sd_sampler_free(sampler);
    sd_tensor_free(noise);
    sd_cond_free(uncond);
    sd_cond_free(cond);
}

START_TEST(diffusers_folder) {
    const char *backend = backends[_i];
    golden g;
    if (!open_model(&g, backend))
        return;
    check_info(&g);
    check_text(&g, backend);
    check_unet(&g, backend);
    check_first_stage(&g, backend);
    check_ddim(&g, backend);
    golden_close(&g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {{diffusers_folder, 0, N_BACKENDS}};
    bool ok = write_folder();
    if (!ok)
        fprintf(stderr, "the folder %s could not be made\n", folder);
    int status = ok ? golden_main("sd2", tests, 1) : EXIT_FAILURE;
    remove_folder();
    return status;
}
