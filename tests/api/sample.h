/* The fixture of tests that sample: the tiny model, a prompt's conditioning, and small runs. */
#ifndef SD_TESTS_SAMPLE_H
#define SD_TESTS_SAMPLE_H

#include "../support/cond.h"
#include "api.h"

static sd_context *ctx;
static sd_model *model;
static sd_cond *cond, *uncond;

static inline void set_up(void) {
    const char *texts[] = {"a lake", ""};
    ctx = open_context(1);
    model = open_model(ctx);
    ck_ok(sd_encode_text(model, texts, 1, NULL, &cond));
    ck_ok(sd_encode_text(model, texts + 1, 1, NULL, &uncond));
}

static inline void tear_down(void) {
    sd_cond_free(cond);
    sd_cond_free(uncond);
    sd_model_free(model);
    sd_context_free(ctx);
}

static inline sd_sampler_params noisy_run(sd_progress_fn progress) {
    sd_sampler_params p = small_run();
    p.eta = 1;
    p.progress = progress;
    return p;
}

static inline sd_tensor *sample(sd_sampler *s, const sd_tensor *init, const sd_tensor *noise) {
    sd_tensor *latent;
    ck_ok(sd_sample(s, RUN(cond, uncond, init, noise), &latent));
    return latent;
}

static inline bool same(sd_tensor *a, sd_tensor *b) {
    return !memcmp(sd_tensor_data(a), sd_tensor_data(b),
                   (size_t)sd_tensor_n_elements(a) * sizeof(float));
}

#endif
