/*
 * DPM2 with ancestral noise: k-diffusion's sample_dpm_2_ancestral, diffusers'
 * KDPM2AncestralDiscreteScheduler (steps_offset 1), which is its eta 1. DPM2's step goes down to
 * sigma_down of Euler ancestral, and noise comes to it. The last step, which ends at sigma 0, is
 * Euler's and draws none.
 */
#include "sampler/middle.h"

static void dpm2_a_coefs(const sd_run *run, int i, double *coefs) {
    sdi_middle_coefs(run, i, sdi_middle_ancestral(run, i), coefs);
}

static void dpm2_a_step(sd_run *run, int i) {
    sdi_middle_step(run, i, sdi_middle_ancestral(run, i));
}

const sd_method sdi_method_dpm2_a = {
    .name = "dpm2_a",
    .twice = true,
    .n_coefs = SD_MIDDLE_N_COEFS,
    .n_history = 1,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_WHOLE_KARRAS | SD_TIMES_TO_ZERO |
             SD_TIMES_SCALE_NOISE,
    .coefs = dpm2_a_coefs,
    .noisy = sdi_run_ancestral_noisy,
    .step = dpm2_a_step,
};
