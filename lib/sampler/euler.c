/*
 * Euler's method on dx/dsigma = eps: Karras et al. 2022, algorithm 1 without its correction and
 * without churn; k-diffusion's sample_euler, diffusers' EulerDiscreteScheduler (steps_offset 1,
 * final_sigmas_type zero, interpolation linear).
 */
#include "sampler/sampler.h"

#include <math.h>

/* x' = COEFS . (x, eps) */
#define N_COEFS 2

static void euler_coefs(const sd_run *run, int i, double *coefs) {
    double end = sdi_run_alpha(run, i - 1);
    sdi_flow_coefs(sdi_run_alpha(run, i), end, coefs);
    for (int k = 0; k < N_COEFS && i == 0; k++) /* a result with noise left is not scaled */
        coefs[k] /= sqrt(end);
}

static void euler_step(sd_run *run, int i) {
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdb_tensor terms[] = {run->x, run->eps};
    sdi_run_combine(run, run->x, i, 0, 2, terms);
}

const sd_method sdi_method_euler = {
    .name = "euler",
    .n_coefs = N_COEFS,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_TO_ZERO | SD_TIMES_SCALE_NOISE |
             SD_TIMES_SIGMA_MIN,
    .coefs = euler_coefs,
    .step = euler_step,
};
