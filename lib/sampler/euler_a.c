/*
 * Euler's method with ancestral noise: k-diffusion's sample_euler_ancestral; diffusers'
 * EulerAncestralDiscreteScheduler (steps_offset 1) is its eta 1. Of a step from sigma to sigma',
 * sigma_up^2 = eta^2 sigma'^2 (sigma^2 - sigma'^2) / sigma^2 is noise anew, as in DDPM's posterior,
 * and Euler's step goes down to sigma_down^2 = sigma'^2 - sigma_up^2. The last step ends at 0 and
 * draws none.
 */
#include "sampler/sampler.h"

#include <math.h>

/* x' = COEFS . (x, eps, noise) */
#define N_COEFS 3

static void euler_a_coefs(const sd_run *run, int i, double *coefs) {
    sd_ancestral to = sdi_run_ancestral(run, i);
    double scale = sqrt(sdi_run_alpha(run, i - 1));
    coefs[0] = scale / sqrt(sdi_run_alpha(run, i));
    coefs[1] = scale * (to.down - sdi_run_sigma(run, i));
    coefs[2] = scale * to.up * run->temperature;
}

static void euler_a_step(sd_run *run, int i) {
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdb_tensor terms[] = {run->x, run->eps, run->noise};
    sdi_run_combine(run, run->x, i, 0, sdi_run_ancestral_noisy(run, i) ? 3 : 2, terms);
}

const sd_method sdi_method_euler_a = {
    .name = "euler_a",
    .n_coefs = N_COEFS,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_TO_ZERO | SD_TIMES_SCALE_NOISE,
    .coefs = euler_a_coefs,
    .noisy = sdi_run_ancestral_noisy,
    .step = euler_a_step,
};
