/* DDIM: Song et al. 2021; ldm/models/diffusion/ddim.py of the original. */
#include "sampler/sampler.h"

#include <math.h>

/* x' = COEFS . (pred_x0, eps, noise) */
#define N_COEFS 3

/* Eq. 12, with sigma of eq. 16. The noise of the last step is added too, as in the original. */
static void ddim_coefs(const sd_run *run, int i, double *coefs) {
    double a = sdi_run_alpha(run, i);
    double a_prev = sdi_run_end(run, i);
    double ratio = a_prev > a ? 1.0 - a / a_prev : 0.0; /* equal where two timesteps are */
    double sigma = run->eta * sqrt((1.0 - a_prev) / (1.0 - a)) * sqrt(ratio);
    double direction = 1.0 - a_prev - sigma * sigma; /* below 0 only for an eta far above 1 */
    coefs[0] = sqrt(a_prev);
    coefs[1] = direction > 0.0 ? sqrt(direction) : 0.0;
    coefs[2] = sigma * run->temperature;
}

static bool ddim_noisy(const sd_run *run, int i) {
    (void)i;
    return run->eta > 0.0 && run->temperature > 0.0;
}

/* noise_like of p_sample_ddim, whatever sigma is. */
static int ddim_draws(int done) {
    (void)done;
    return 1;
}

static void ddim_step(sd_run *run, int i) {
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdi_run_clip_x0(run);
    sdi_run_quantize_x0(run);
    sdb_tensor terms[] = {run->pred_x0, run->eps, run->noise};
    sdi_run_combine(run, run->x, i, 0, ddim_noisy(run, i) ? 3 : 2, terms);
}

const sd_method sdi_method_ddim = {
    .name = "ddim",
    .n_coefs = N_COEFS,
    .original = true,
    .at_zero = true,
    .times = SD_TIMES_ORIGINAL,
    .encode_above = true,
    .coefs = ddim_coefs,
    .noisy = ddim_noisy,
    .draws = ddim_draws,
    .step = ddim_step,
};
