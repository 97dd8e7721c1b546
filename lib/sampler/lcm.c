/*
 * Multistep sampling of latent consistency models: Luo et al. 2023, algorithm 3; diffusers'
 * LCMScheduler with original_inference_steps 50, timestep_scaling 10 where no folder says others.
 * Each step predicts x_0 by f = c_skip x + c_out x_0 (eq. 7, sigma_data 0.5) and noises it anew to
 * the next time; the last step's f is the result. Uniform spacing takes its times, from the top
 * down, out of the 50 that the models were distilled on.
 */
#include "sampler/lcm.h"

#include <math.h>

/* f = COEF_F . (x, pred_x0); x' = COEF_NEXT . (f, noise) */
enum { COEF_F = 0, COEF_NEXT = 2, N_COEFS = 4 };

#define ORIGINAL_STEPS 50
#define TIME_SCALE 10.0
#define SIGMA_DATA 0.5

sd_status sdi_lcm_times(sd_times *t, const sd_context *ctx, const sd_schedule *s,
                        const sd_sampler_params *params) {
    int original = s->folder ? s->folder->original_inference_steps : ORIGINAL_STEPS;
    int steps = params->steps;
    original = s->n < original ? s->n : original;
    if (sdi_times_are_given(params) ||
        (params->spacing != SD_SPACING_UNIFORM && params->spacing != SD_SPACING_LEADING &&
         params->spacing != SD_SPACING_AUTO))
        return sdi_times_fill(t, ctx, s, SD_TIMES_TO_ZERO, params->method, params);
    if (steps > original)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "steps is %d; \"%s\" has %d times in uniform spacing, others have more",
                        steps, params->method, original);
    t->count = steps;
    t->final_alpha = 1.0;
    for (int i = 0; i < steps; i++) { /* numpy.linspace(0, 50, steps, endpoint=False), floored */
        int from_top = (int)((steps - 1 - i) * ((double)original / steps));
        sdi_times_set(t, s, i, (double)(original - from_top) * (s->n / original) - 1.0);
    }
    return SD_OK;
}

static void lcm_coefs(const sd_run *run, int i, double *coefs) {
    const sd_scheduler_config *folder = run->schedule->folder;
    double t = run->times.times[i] * (folder ? folder->timestep_scaling : TIME_SCALE);
    double a_prev = sdi_run_alpha(run, i - 1);
    coefs[COEF_F] = SIGMA_DATA * SIGMA_DATA / (t * t + SIGMA_DATA * SIGMA_DATA);
    coefs[COEF_F + 1] = t / sqrt(t * t + SIGMA_DATA * SIGMA_DATA);
    coefs[COEF_NEXT] = sqrt(a_prev);
    coefs[COEF_NEXT + 1] = sqrt(1.0 - a_prev) * run->temperature;
}

static bool lcm_noisy(const sd_run *run, int i) {
    return i > 0 && run->temperature > 0.0;
}

static void lcm_step(sd_run *run, int i) {
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdi_run_clip_x0(run);
    sdb_tensor f_terms[] = {run->x, run->pred_x0};
    sdi_run_combine(run, run->x, i, COEF_F, 2, f_terms);
    if (i == 0)
        return;
    sdb_tensor terms[] = {run->x, run->noise};
    sdi_run_combine(run, run->x, i, COEF_NEXT, lcm_noisy(run, i) ? 2 : 1, terms);
}

const sd_method sdi_method_lcm = {
    .name = "lcm",
    .n_coefs = N_COEFS,
    .at_zero = true,
    .fill_times = sdi_lcm_times,
    .coefs = lcm_coefs,
    .noisy = lcm_noisy,
    .step = lcm_step,
};
