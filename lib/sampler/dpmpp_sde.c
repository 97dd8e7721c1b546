/*
 * SDE-DPM-Solver++ with two evaluations a step: k-diffusion's sample_dpmpp_sde with r 1/2. Noise
 * comes to the middle, which is half of the step in lambda, and to the end; both are drawn, in this
 * order, from the pictures' generators, where k-diffusion and diffusers' DPMSolverSDEScheduler take
 * them from a Brownian tree (torchsde), whose numbers are its own. The last step, which ends at
 * sigma 0, is Euler's and draws none.
 */
#include "sampler/middle.h"

#include <math.h>

static sd_middle middle_of(const sd_run *run, int i) {
    double sigma = sqrt(sdi_run_sigma(run, i) * sdi_run_sigma(run, i - 1));
    sd_ancestral half = sdi_ancestral(sdi_run_sigma(run, i), sigma, run->ancestral_eta);
    sd_ancestral end = sdi_run_ancestral(run, i);
    return (sd_middle){.sigma = sigma,
                       .down = half.down,
                       .up = half.up,
                       .end_down = end.down,
                       .end_up = end.up,
                       .of_x0 = true};
}

static void dpmpp_sde_coefs(const sd_run *run, int i, double *coefs) {
    sdi_middle_coefs(run, i, middle_of(run, i), coefs);
}

static void dpmpp_sde_step(sd_run *run, int i) {
    sdi_middle_step(run, i, middle_of(run, i));
}

const sd_method sdi_method_dpmpp_sde = {
    .name = "dpmpp_sde",
    .twice = true,
    .n_coefs = SD_MIDDLE_N_COEFS,
    .n_history = 1,
    .n_noises = 2,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_TO_ZERO | SD_TIMES_SCALE_NOISE,
    .coefs = dpmpp_sde_coefs,
    .noisy = sdi_run_ancestral_noisy,
    .step = dpmpp_sde_step,
};
