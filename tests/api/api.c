/* The tiny model, and runs of it, for the tests of the public API. */
#include "api.h"

#include "../support/cond.h"
#include "../tools/suite.h"

static const char *from_environment(const char *name) {
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "%s is not set; run the tests with meson test\n", name);
        exit(99);
    }
    return value;
}

const char *tiny_folder(void) {
    return from_environment("SD_TEST_TINY_FOLDER");
}

const char *tiny_file(void) {
    return from_environment("SD_TEST_TINY_FILE");
}

sd_context *open_context(int n_threads) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    const char *backend = getenv("SD_TEST_BACKEND");
    params.backend = backend ? backend : "cpu";
    params.n_threads = n_threads;
    sd_context *ctx;
    ck_ok(sd_context_new(&params, &ctx));
    return ctx;
}

sd_model *open_model(sd_context *ctx) {
    sd_model *model;
    ck_ok(sd_model_load(ctx, tiny_folder(), NULL, &model));
    return model;
}

sd_sampler_params small_run(void) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.width = 64;
    p.height = 64;
    p.steps = 4; /* divides 1000: exactly as many steps are run */
    return p;
}

int run_suite(Suite *suite) {
    return suite_run(suite, CK_NOFORK);
}

sd_tensor *sampled(const sd_model *model, int steps) {
    const char *const text[] = {"a red boat"}, *const empty[] = {""};
    sd_sampler_params p = small_run();
    sd_cond *cond, *uncond;
    sd_sampler *s;
    sd_tensor *latent;
    p.steps = steps;
    ck_ok(sd_encode_text(model, text, 1, NULL, &cond));
    ck_ok(sd_encode_text(model, empty, 1, NULL, &uncond));
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_ok(sd_sample(s, RUN(cond, uncond, NULL, NULL), &latent));
    sd_cond_free(cond);
    sd_cond_free(uncond);
    sd_sampler_free(s);
    return latent;
}

sd_tensor *painted(const sd_model *model) {
    sd_tensor *latent = sampled(model, 1), *pixels;
    ck_ok(sd_vae_decode(model, latent, NULL, &pixels));
    sd_tensor_free(latent);
    return pixels;
}
