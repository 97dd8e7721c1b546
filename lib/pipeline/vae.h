/* The first stage: pictures to latents and back. */
#ifndef SD_PIPELINE_VAE_H
#define SD_PIPELINE_VAE_H

#include "pipeline/stage.h"

/* Encoding and decoding go picture by picture, so that the memory does not depend on their number,
 * and tile by tile where how->tile is not 0. `how` is whole, as lib/api leaves it: its overlap is
 * below its tile. */

sd_status sdi_vae_expect_pixels(const sd_model *model, const sd_tensor *pixels);
/* Each picture's posterior is sampled `draws` times, with noise [n * draws, c, h, w], or its mean
 * is taken where `noise` is NULL. */
sd_status sdi_stage_vae_encode(const sd_model *model, const sd_tensor *pixels,
                               const sd_tensor *noise, int draws, const sd_vae_params *how,
                               sd_tensor **latent);
sd_status sdi_stage_vae_decode(const sd_model *model, const sd_tensor *latent,
                               const sd_vae_params *how, sd_tensor **pixels);
/* Decodes picture by picture into images[0 .. n - 1]; after a failure some may be set. */
sd_status sdi_decode_images(const sd_model *model, const sd_tensor *latent,
                            const sd_vae_params *how, sd_image **images);

/* VQ models alone. The nearest codes of a latent: `ids` or `quantized` may be NULL. */
sd_status sdi_stage_vae_quantize(const sd_model *model, const sd_tensor *latent, int32_t *ids,
                                 int64_t capacity, sd_tensor **quantized);
sd_status sdi_stage_vae_encode_ids(const sd_model *model, const sd_tensor *pixels,
                                   const sd_vae_params *how, int32_t *ids, int64_t capacity);
sd_status sdi_stage_vae_decode_ids(const sd_model *model, const int32_t *ids, int n, int h, int w,
                                   const sd_vae_params *how, sd_tensor **pixels);

/* Arithmetic is all pictures', memory that of one, or of a tile. */
sd_status sdi_vae_decode_estimate(const sd_model *model, int n, int h, int w,
                                  const sd_vae_params *how, sd_cost *cost);
sd_status sdi_vae_encode_estimate(const sd_model *model, int h, int w, const sd_vae_params *how,
                                  sd_cost *cost);

#endif
