/* Pictures of a latent while it is made. */
#ifndef SD_PIPELINE_PREVIEW_H
#define SD_PIPELINE_PREVIEW_H

#include "pipeline/model.h"

/* The method that SD_PREVIEW_AUTO is. */
sd_preview_method sdi_preview_default(const sd_model *model);
/* Of latent [1, c, h, w], as a sampler has it; `how` is whole. */
sd_status sdi_preview(const sd_model *model, const sd_tensor *latent, sd_preview_method method,
                      const sd_vae_params *how, sd_image **out);

#endif
