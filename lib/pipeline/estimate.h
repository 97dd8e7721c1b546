/* The memory and arithmetic that a run takes, before it runs. */
#ifndef SD_PIPELINE_ESTIMATE_H
#define SD_PIPELINE_ESTIMATE_H

#include "pipeline/model.h"

#include <sd/profile.h>

/* Parameters are whole; `tokens` of the conditioning, of which `terms` are combined. */
sd_status sdi_pipeline_memory(const sd_model *model, const sd_sampler_params *params, int tokens,
                              int terms, const sd_vae_params *how, sd_memory_info *memory);
/* Arithmetic: the VAE's on whole pictures. */
sd_status sdi_pipeline_work(const sd_model *model, const sd_sampler_params *params, int tokens,
                            int terms, sd_work_info *work);

#endif
