/* What a run takes, before it runs. */
#ifndef SD_PIPELINE_ESTIMATE_H
#define SD_PIPELINE_ESTIMATE_H

#include "pipeline/model.h"

/* `tiles` NULL: the VAE on whole pictures. */
sd_status sd_pipeline_memory(sd_model *model, const sd_sampler_params *params,
                             const sd_tile_params *tiles, sd_memory_info *memory);
sd_status sd_pipeline_work(sd_model *model, const sd_sampler_params *params, sd_work_info *work);

#endif
