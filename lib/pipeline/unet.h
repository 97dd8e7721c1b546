/* One evaluation of the UNet. */
#ifndef SD_PIPELINE_UNET_H
#define SD_PIPELINE_UNET_H

#include "pipeline/model.h"

/* `embeddings` may be NULL where the UNet looks at none. */
sd_status sd_stage_unet(sd_model *model, const sd_tensor *x, const float *timesteps,
                        const sd_tensor *embeddings, sd_tensor **out);

/* Whatever comes out: for a model whose weights are not known to be right. */
sd_status sd_unet_evaluate(sd_model *model, const sd_tensor *x, const float *timesteps,
                           const sd_tensor *embeddings, sd_tensor **out);

#endif
