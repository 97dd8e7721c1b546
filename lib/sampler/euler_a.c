/*
 * Euler's method with ancestral noise: k-diffusion's sample_euler_ancestral with eta 1, diffusers'
 * EulerAncestralDiscreteScheduler (steps_offset 1). Of a step from sigma to sigma', sigma_up^2 =
 * sigma'^2 (sigma^2 - sigma'^2) / sigma^2 is noise anew, as in DDPM's posterior, and Euler's step
 * goes down to sigma_down^2 = sigma'^2 - sigma_up^2. The last step ends at 0 and draws none.
 */
#include "sampler/sampler.h"

#include <math.h>

/* x' = COEFS . (x, eps, noise) */
#define N_COEFS 3

static void euler_a_coefs(const sd_run *run, int i, double *coefs) {
    double from = sdi_run_sigma(run, i), to = sdi_run_sigma(run, i - 1);
    double up_squared = to * to * (from * from - to * to) / (from * from);
    double down = sqrt(fmax(to * to - up_squared, 0.0));
    double scale = sqrt(sdi_run_alpha(run, i - 1));
    coefs[0] = scale / sqrt(sdi_run_alpha(run, i));
    coefs[1] = scale * (down - from);
    coefs[2] = scale * sqrt(fmax(up_squared, 0.0)) * run->temperature;
}

static bool euler_a_noisy(const sd_run *run, int i) {
    return i > 0 && run->temperature > 0.0;
}

static void euler_a_step(sd_run *run, int i) {
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdb_tensor terms[] = {run->x, run->eps, run->noise};
    sdi_run_combine(run, run->x, i, 0, euler_a_noisy(run, i) ? 3 : 2, terms);
}

const sd_method sdi_method_euler_a = {
    .name = "euler_a",
    .n_coefs = N_COEFS,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_TO_ZERO | SD_TIMES_SCALE_NOISE,
    .coefs = euler_a_coefs,
    .noisy = euler_a_noisy,
    .step = euler_a_step,
};
