/*
 * DDPM's ancestral sampling: Ho et al. 2020, eq. 7 and algorithm 2; p_sample of
 * ldm/models/diffusion/ddpm.py with v_posterior 0: the posterior's mean from the predicted x_0, and
 * its variance, clipped at 1e-20. With as many steps as train timesteps it is the original's loop;
 * with fewer the posterior is that between the timesteps kept (Nichol and Dhariwal 2021, section
 * 4; diffusers' DDPMScheduler, variance_type fixed_small). The last step adds no noise.
 */
#include "sampler/sampler.h"

#include <math.h>

/* x' = COEFS . (pred_x0, x, noise) */
#define N_COEFS 3
#define MIN_VARIANCE 1e-20

static void ddpm_coefs(const sd_run *run, int i, double *coefs) {
    double a = sdi_run_alpha(run, i);
    double a_prev = sdi_run_alpha(run, i - 1);
    double beta = 1.0 - a / a_prev;
    double variance = beta * (1.0 - a_prev) / (1.0 - a);
    coefs[0] = sqrt(a_prev) * beta / (1.0 - a);
    coefs[1] = sqrt(a / a_prev) * (1.0 - a_prev) / (1.0 - a);
    coefs[2] = sqrt(fmax(variance, MIN_VARIANCE)) * run->temperature;
}

static bool ddpm_noisy(const sd_run *run, int i) {
    return i > 0 && run->temperature > 0.0;
}

static void ddpm_step(sd_run *run, int i) {
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    if (run->clip_denoised)
        sdi_op_clamp(run->e, (sdb_clamp){run->pred_x0, run->pred_x0, -1.0f, 1.0f});
    else
        sdi_run_clip_x0(run);
    sdi_run_quantize_x0(run);
    sdb_tensor terms[] = {run->pred_x0, run->x, run->noise};
    sdi_run_combine(run, run->x, i, 0, ddpm_noisy(run, i) ? 3 : 2, terms);
}

const sd_method sdi_method_ddpm = {
    .name = "ddpm",
    .n_coefs = N_COEFS,
    .original = true,
    .at_zero = true,
    .times = SD_TIMES_TO_ZERO,
    .coefs = ddpm_coefs,
    .noisy = ddpm_noisy,
    .step = ddpm_step,
};
