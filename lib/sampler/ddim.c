/* DDIM: Song et al. 2021; ldm/models/diffusion/ddim.py of the original. */
#include "sampler/sampler.h"

#include <math.h>

/* pred_x0 = COEF_X0 . (x, eps); x' = COEF_NEXT . (pred_x0, eps, noise) */
enum { COEF_X0 = 0, COEF_NEXT = 2, N_COEFS = 5 };

/* Eq. 12, with sigma of eq. 16. The noise of the last step is added too, as in the original. */
static void ddim_coefs(const sd_run *run, int i, double *coefs) {
    double a = sd_run_alpha(run, i);
    double a_prev = sd_run_alpha(run, i - 1);
    double ratio = a_prev > a ? 1.0 - a / a_prev : 0.0; /* equal where two timesteps are */
    double sigma = run->eta * sqrt((1.0 - a_prev) / (1.0 - a)) * sqrt(ratio);
    double direction = 1.0 - a_prev - sigma * sigma; /* below 0 only for an eta far above 1 */
    coefs[COEF_X0] = 1.0 / sqrt(a);
    coefs[COEF_X0 + 1] = -sqrt(1.0 - a) / sqrt(a);
    coefs[COEF_NEXT] = sqrt(a_prev);
    coefs[COEF_NEXT + 1] = direction > 0.0 ? sqrt(direction) : 0.0;
    coefs[COEF_NEXT + 2] = sigma * run->temperature;
}

static void ddim_step(sd_run *run, int i) {
    sd_run_predict(run, run->x, i);
    sdb_tensor x0_terms[] = {run->x, run->eps};
    sd_op_combine(run->e, run->pred_x0, 2, x0_terms, sd_run_coefs(run, i, COEF_X0, 2));

    sdb_tensor terms[] = {run->pred_x0, run->eps, run->noise};
    bool noisy = run->eta > 0.0 && run->temperature > 0.0;
    if (noisy)
        run->draw(run->user);
    int n = noisy ? 3 : 2;
    sd_op_combine(run->e, run->x, n, terms, sd_run_coefs(run, i, COEF_NEXT, n));
}

const sd_method sd_method_ddim = {
    .name = "ddim",
    .n_coefs = N_COEFS,
    .timesteps = sd_ddim_timesteps,
    .coefs = ddim_coefs,
    .step = ddim_step,
};
