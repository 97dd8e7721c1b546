/* The first stage on whole pictures. */
#ifndef SD_PIPELINE_VAE_H
#define SD_PIPELINE_VAE_H

#include "pipeline/stage.h"

sd_status sd_stage_vae_encode(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                              sd_tensor **latent);
sd_status sd_stage_vae_decode(sd_model *model, const sd_tensor *latent, sd_tensor **pixels);
sd_status sd_stage_vae_decode_unquantized(sd_model *model, const sd_tensor *latent,
                                          sd_tensor **pixels);

/* z = latent / scale + shift in place, as diffusers' pipelines have it (the original has
 * no shift), or latent * std / scale + mean of each channel; n values of NHWC. */
void sd_latent_unscale(const sd_vae_config *config, float *z, int64_t n);
/* Of what the encoder made of these pixels: sd_check_computed, unless they are at fault. */
sd_status sd_check_encoded(const sd_model *model, const sd_tensor *pixels, const sd_tensor *latent);
/* What is left to be done to z * scale, for its inverse. */
void sd_latent_shift(const sd_vae_config *config, float *z, int64_t n);

/* One picture is encoded, and its posterior is sampled with each of the noises [n, c, h, w]; in
 * tiles where `tiles` is not NULL. */
sd_status sd_vae_encode_one(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                            const sd_tile_params *tiles, sd_tensor **latent);
/* Decodes picture by picture into images[0 .. n - 1]. After a failure some may be set. */
sd_status sd_decode_images(sd_model *model, const sd_tensor *latent, const sd_tile_params *tiles,
                           sd_image **images);
sd_status sd_vae_decode_estimate(sd_model *model, int n, int h, int w, sd_cost *cost);
sd_status sd_vae_encode_estimate(sd_model *model, int n, int h, int w, sd_cost *cost);

#endif
