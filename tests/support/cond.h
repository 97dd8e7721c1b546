/* Conditioning and the inputs of runs, as tests give them and look at them. */
#ifndef SD_SUPPORT_COND_H
#define SD_SUPPORT_COND_H

#include <sd/original.h>

/* On a context [n, tokens, width]; NULL where that is, and on failure. */
static inline sd_cond *cond_of(sd_context *ctx, const sd_tensor *context) {
    static const char *const names[] = {"context"};
    sd_cond *cond = NULL;
    if (context)
        sd_cond_new(ctx, names, &context, 1, &cond);
    return cond;
}

/* The context of `cond`, which is freed: for what gave it with `status`. */
static inline sd_status context_of(sd_status status, sd_cond *cond, sd_tensor **context) {
    *context = NULL;
    if (!status)
        status = sd_cond_get(cond, "context", context);
    sd_cond_free(cond);
    return status;
}

/* Prompts to their context. */
static inline sd_status encode_context(sd_model *model, const char *const *texts, int n,
                                       const sd_text_params *params, sd_tensor **context) {
    sd_cond *cond;
    sd_status status = sd_encode_text(model, texts, n, params, &cond);
    return context_of(status, cond, context);
}

static inline sd_run_params run_of(const sd_cond *cond, const sd_cond *uncond,
                                   const sd_tensor *init, const sd_tensor *noise) {
    sd_run_params p = SD_RUN_PARAMS_INIT;
    p.cond = cond;
    p.uncond = uncond;
    p.init = init;
    p.noise = noise;
    return p;
}

static inline sd_run_params run_at(double strength, sd_run_params p) {
    p.strength = strength;
    return p;
}

static inline sd_run_params last_of(int n, sd_run_params p) {
    p.last_steps = n;
    return p;
}

static inline sd_run_params with_mask(const sd_tensor *mask, const sd_tensor *x0, sd_run_params p) {
    p.mask = mask;
    p.mask_x0 = x0;
    return p;
}

static inline sd_run_params with_concat(const sd_tensor *concat, sd_run_params p) {
    p.concat = concat;
    return p;
}

/* The address of such parameters, in one call. */
#define GIVEN(params) ((sd_run_params[]){params})
#define RUN(...) GIVEN(run_of(__VA_ARGS__))

#endif
