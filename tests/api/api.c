/* The tiny model, and runs of it, for the tests of the public API. */
#include "api.h"

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
