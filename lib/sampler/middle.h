/* Steps with a second evaluation in their middle, for the methods that choose where that is and how
 * much noise goes there: dpm2_a.c, dpmpp_2s_a.c, dpmpp_sde.c. */
#ifndef SD_SAMPLER_MIDDLE_H
#define SD_SAMPLER_MIDDLE_H

#include "sampler/sampler.h"

/* A step from sigma goes to the middle: from x along epsilon to `down`, and `up` of noise comes to
 * it, so that it has `sigma`. From there, with the epsilon found there, x goes to `end_down`, and
 * `end_up` of noise comes to it. */
typedef struct sd_middle {
    double sigma, down, up; /* sigma 0: there is no middle, the step is Euler's */
    double end_down, end_up;
    bool of_x0; /* the end goes by the middle's predicted x_0, not by its epsilon */
} sd_middle;

/* A method of this step has one latent of history. */
#define SD_MIDDLE_N_COEFS 10

void sdi_middle_coefs(const sd_run *run, int i, sd_middle m, double *coefs);
void sdi_middle_step(sd_run *run, int i, sd_middle m);

/* The middle of steps whose noise comes at their end: on the geometric mean of sigma and of where
 * epsilon leads to. */
sd_middle sdi_middle_ancestral(const sd_run *run, int i);

#endif
