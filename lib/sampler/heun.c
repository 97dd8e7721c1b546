/*
 * Heun's method: Karras et al. 2022, algorithm 1 without churn; k-diffusion's sample_heun,
 * diffusers' HeunDiscreteScheduler (steps_offset 1). Two evaluations a step, at its ends; the last
 * step, which ends at sigma 0, is Euler's.
 */
#include "sampler/sampler.h"

/* Euler's x' = COEF_EULER . (x, eps); x' = COEF_HEUN . (x, eps, eps at Euler's x') */
enum { COEF_EULER = 0, COEF_HEUN = 2, N_COEFS = 5 };
enum { EULER_X = 0, FIRST_EPS = 1, N_HISTORY };

static void heun_coefs(const sd_run *run, int i, double *coefs) {
    sdi_flow_coefs(sdi_run_alpha(run, i), sdi_run_alpha(run, i - 1), coefs + COEF_EULER);
    coefs[COEF_HEUN] = coefs[COEF_EULER];
    coefs[COEF_HEUN + 1] = coefs[COEF_HEUN + 2] = coefs[COEF_EULER + 1] / 2.0;
}

static void heun_step(sd_run *run, int i) {
    sdb_tensor *h = run->history;
    sdb_tensor terms[] = {run->x, run->eps};
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    if (i == 0) {
        sdi_run_combine(run, run->x, i, COEF_EULER, 2, terms);
        return;
    }
    sdi_run_combine(run, h[EULER_X], i, COEF_EULER, 2, terms);
    sdi_op_copy(run->e, h[FIRST_EPS], run->eps);
    sdi_run_predict(run, h[EULER_X], i - 1);
    sdb_tensor both[] = {run->x, h[FIRST_EPS], run->eps};
    sdi_run_combine(run, run->x, i, COEF_HEUN, 3, both);
}

const sd_method sdi_method_heun = {
    .name = "heun",
    .twice = true,
    .n_coefs = N_COEFS,
    .n_history = N_HISTORY,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_TO_ZERO | SD_TIMES_SCALE_NOISE,
    .coefs = heun_coefs,
    .step = heun_step,
};
