/*
 * DPM2: k-diffusion's sample_dpm_2, after DPM-Solver-2 (Lu et al. 2022, algorithm 1) and Karras et
 * al. 2022, algorithm 2; diffusers' KDPM2DiscreteScheduler (steps_offset 1). The second of a step's
 * two evaluations is at the geometric mean of its sigmas, at a time between the train timesteps.
 * The last step, which ends at sigma 0, is Euler's.
 */
#include "sampler/sampler.h"

#include <math.h>

/* Numbers of the middle: time and epsilon, x from (x, eps); then x' = COEF_NEXT . (x, eps of the
 * middle) */
enum { COEF_TIME = 0, COEF_MIDDLE = 3, COEF_NEXT = 5, N_COEFS = 7 };

static void dpm2_coefs(const sd_run *run, int i, double *coefs) {
    double a = sdi_run_alpha(run, i), a_prev = sdi_run_alpha(run, i - 1);
    double sigma = sqrt(sdi_run_sigma(run, i) * sdi_run_sigma(run, i - 1));
    double a_middle = i > 0 ? 1.0 / (1.0 + sigma * sigma) : a; /* unused at the last step */
    double time = i > 0 ? sdi_time_of_sigma(run->schedule, sigma) : 0.0;
    sdi_run_time_coefs(run, time, a_middle, coefs + COEF_TIME);
    sdi_flow_coefs(a, a_middle, coefs + COEF_MIDDLE);
    sdi_flow_coefs(a, a_prev, coefs + COEF_NEXT);
}

static void dpm2_step(sd_run *run, int i) {
    sdb_tensor terms[] = {run->x, run->eps}, middle = run->history[0];
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    if (i > 0) {
        sdi_run_combine(run, middle, i, COEF_MIDDLE, 2, terms);
        sdi_run_predict_between(run, middle, i, COEF_TIME);
    }
    sdi_run_combine(run, run->x, i, COEF_NEXT, 2, terms);
}

const sd_method sdi_method_dpm2 = {
    .name = "dpm2",
    .twice = true,
    .n_coefs = N_COEFS,
    .n_history = 1,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_WHOLE_KARRAS | SD_TIMES_TO_ZERO |
             SD_TIMES_SCALE_NOISE,
    .coefs = dpm2_coefs,
    .step = dpm2_step,
};
