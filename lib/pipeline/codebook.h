/* The codebook of a VQ first stage. */
#ifndef SD_PIPELINE_CODEBOOK_H
#define SD_PIPELINE_CODEBOOK_H

#include "pipeline/model.h"

/* `ids` or `quantized` may be NULL. */
sd_status sd_stage_vae_quantize(sd_model *model, const sd_tensor *latent, int32_t *ids,
                                int64_t capacity, sd_tensor **quantized);
sd_status sd_stage_vae_encode_ids(sd_model *model, const sd_tensor *pixels, int32_t *ids,
                                  int64_t capacity);
sd_status sd_stage_vae_decode_ids(sd_model *model, const int32_t *ids, int n, int h, int w,
                                  sd_tensor **pixels);
/* What becomes of a latent that was encoded, with `status`: a VQModel takes the nearest codes. */
sd_status sd_vae_encoded(sd_model *model, sd_status status, sd_tensor **latent);

#endif
