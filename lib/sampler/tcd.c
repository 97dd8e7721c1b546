/*
 * Trajectory consistency distillation: Zheng et al. 2024, strategic stochastic sampling (algorithm
 * 4); diffusers' TCDScheduler. A step goes from t to s = floor((1 - eta) t'), t' being where it
 * ends, and noise takes it from there to t'; eta is the paper's gamma, 0 deterministic and 1 a new
 * noise in each step. Times are those of LCM. The last step ends at alphas_cumprod[0] and draws
 * none.
 */
#include "sampler/lcm.h"

#include <math.h>

/* x' = COEFS . (pred_x0, eps, noise) */
#define N_COEFS 3

static sd_status tcd_check(const sd_context *ctx, const sd_sampler_params *params) {
    if (params->eta <= 1.0)
        return SD_OK;
    return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                    "sd_sampler_params.eta is %g; \"tcd\" takes 0 to 1, its gamma", params->eta);
}

static void tcd_coefs(const sd_run *run, int i, double *coefs) {
    const double *alphas = run->schedule->alphas_cumprod;
    double to = i > 0 ? run->times.times[i - 1] : 0.0;
    double a_prev = i > 0 ? sdi_run_alpha(run, i - 1) : alphas[0];
    double a_s = run->eta > 0.0 ? fmax(alphas[(int)((1.0 - run->eta) * to)], a_prev) : a_prev;
    coefs[0] = sqrt(a_prev);
    coefs[1] = sqrt(a_prev / a_s * (1.0 - a_s));
    coefs[2] = sqrt(1.0 - a_prev / a_s) * run->temperature;
}

static bool tcd_noisy(const sd_run *run, int i) {
    return i > 0 && run->eta > 0.0 && run->temperature > 0.0;
}

static void tcd_step(sd_run *run, int i) {
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdb_tensor terms[] = {run->pred_x0, run->eps, run->noise};
    sdi_run_combine(run, run->x, i, 0, tcd_noisy(run, i) ? 3 : 2, terms);
}

const sd_method sdi_method_tcd = {
    .name = "tcd",
    .n_coefs = N_COEFS,
    .at_zero = true,
    .check = tcd_check,
    .fill_times = sdi_lcm_times,
    .coefs = tcd_coefs,
    .noisy = tcd_noisy,
    .step = tcd_step,
};
