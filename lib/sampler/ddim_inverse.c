/*
 * DDIM inversion: DDIM's equation (Song et al. 2021, eq. 14) run from x_0 to x_T; diffusers'
 * DDIMInverseScheduler with set_alpha_to_one false. The network is asked at the time that a step
 * leads to, as there. Strength s stops after int(s * steps) of the steps.
 */
#include "sampler/sampler.h"

#include <math.h>

/* pred_x0 = COEF_X0 . (x, eps); x' = COEF_NEXT . (pred_x0, eps) */
enum { COEF_X0 = 0, COEF_NEXT = 2, N_COEFS = 4 };

/* Steps count down as everywhere, so the times are turned round: step i leads to times[i]. */
static sd_status inverse_times(sd_times *t, const sd_context *ctx, const sd_schedule *s,
                               const sd_sampler_params *params) {
    sd_status status = sdi_times_fill(t, ctx, s, SD_TIMES_ORIGINAL, "ddim_inverse", params);
    for (int i = 0, j = t->count - 1; i < j && !status; i++, j--) {
        double time = t->times[i], alpha = t->alphas[i];
        t->times[i] = t->times[j];
        t->alphas[i] = t->alphas[j];
        t->times[j] = time;
        t->alphas[j] = alpha;
    }
    return status;
}

static void inverse_coefs(const sd_run *run, int i, double *coefs) {
    bool first = i == run->times.count - 1;
    double a = first ? run->schedule->alphas_cumprod[0] : sdi_run_alpha(run, i + 1);
    double a_next = sdi_run_alpha(run, i);
    coefs[COEF_X0] = 1.0 / sqrt(a);
    coefs[COEF_X0 + 1] = -sqrt(1.0 - a) / sqrt(a);
    coefs[COEF_NEXT] = sqrt(a_next);
    coefs[COEF_NEXT + 1] = sqrt(1.0 - a_next);
}

static void inverse_step(sd_run *run, int i) {
    sdi_run_predict(run, run->x, i);
    sdb_tensor x0_terms[] = {run->x, run->eps};
    sdi_run_combine(run, run->pred_x0, i, COEF_X0, 2, x0_terms);
    sdb_tensor terms[] = {run->pred_x0, run->eps};
    sdi_run_combine(run, run->x, i, COEF_NEXT, 2, terms);
}

const sd_method sdi_method_ddim_inverse = {
    .name = "ddim_inverse",
    .n_coefs = N_COEFS,
    .inverse = true,
    .fill_times = inverse_times,
    .coefs = inverse_coefs,
    .step = inverse_step,
};
