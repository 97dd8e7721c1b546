/* The step of DPM-Solver++(2M), for the methods that choose its times and orders: dpmpp_2m.c has it
 * as diffusers does, dpm_solver.c as the original. */
#ifndef SD_SAMPLER_DPMPP_2M_H
#define SD_SAMPLER_DPMPP_2M_H

#include "sampler/sampler.h"

/* A method of this step has one latent of history. */
#define SD_DPMPP_2M_N_COEFS 5

void sdi_dpmpp_2m_coefs(const sd_run *run, int i, double *coefs);
/* A step, of order 2 where `second` says so, which takes a step before. */
void sdi_dpmpp_2m_step(sd_run *run, int i, bool second);

#endif
