/*
 * DPM-Solver++(2S) with ancestral noise: k-diffusion's sample_dpmpp_2s_ancestral; Lu et al. 2022b,
 * algorithm 1 with r 1/2, down to sigma_down of Euler ancestral, where noise comes to it. With
 * ancestral_eta 0 it is DPM-Solver++(2S). The last step, which ends at sigma 0, is Euler's and
 * draws none.
 */
#include "sampler/middle.h"

static sd_middle middle_of(const sd_run *run, int i) {
    sd_middle m = sdi_middle_ancestral(run, i);
    m.of_x0 = true;
    return m;
}

static void dpmpp_2s_a_coefs(const sd_run *run, int i, double *coefs) {
    sdi_middle_coefs(run, i, middle_of(run, i), coefs);
}

static void dpmpp_2s_a_step(sd_run *run, int i) {
    sdi_middle_step(run, i, middle_of(run, i));
}

const sd_method sdi_method_dpmpp_2s_a = {
    .name = "dpmpp_2s_a",
    .twice = true,
    .n_coefs = SD_MIDDLE_N_COEFS,
    .n_history = 1,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_TO_ZERO | SD_TIMES_SCALE_NOISE,
    .coefs = dpmpp_2s_a_coefs,
    .noisy = sdi_run_ancestral_noisy,
    .step = dpmpp_2s_a_step,
};
