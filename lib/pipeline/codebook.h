/* The codebook of a VQ first stage. */
#ifndef SD_PIPELINE_CODEBOOK_H
#define SD_PIPELINE_CODEBOOK_H

#include "pipeline/stage.h"

/* The nearest codes of a latent: their ids [n, h, w], their rows as a latent, or both; the other is
 * NULL. */
sd_status sdi_codes_of_latent(const sd_model *model, const sd_tensor *latent, int32_t *ids,
                              sd_tensor **quantized);
sd_status sdi_latent_of_codes(const sd_model *model, const int32_t *ids, int n, int h, int w,
                              sd_tensor **latent);

#endif
