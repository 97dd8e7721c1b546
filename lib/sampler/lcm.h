/* The times of models that were distilled on some of the timesteps: lcm.c and tcd.c. */
#ifndef SD_SAMPLER_LCM_H
#define SD_SAMPLER_LCM_H

#include "sampler/sampler.h"

sd_status sdi_lcm_times(sd_times *t, const sd_context *ctx, const sd_schedule *s,
                        const sd_sampler_params *params);

#endif
