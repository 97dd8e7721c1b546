/* The scale of latents and pixels: samplers' and hosts' on the one side, the first stage's on the
 * other. */
#ifndef SD_PIPELINE_LATENTS_H
#define SD_PIPELINE_LATENTS_H

#include "core/tensor.h"
#include "describe/description.h"

/* z = latent / scale + shift of picture i, as diffusers' pipelines have it (the original has no
 * shift), or latent * std / scale + mean of each channel; of AutoencoderTiny 3 tanh(z / 3), which
 * its decoder begins with. z: [1, c, h, w]. */
void sdi_latent_unscale(const sd_vae_config *config, const sd_tensor *latent, int64_t i,
                        sd_tensor *z);
/* The inverse's second half, in place: latent = z * scale is there, and the shift is missing. */
void sdi_latent_shift(const sd_vae_config *config, sd_tensor *latent);
/* latent = (z - shift) * scale, in place: of codes, whose models have no means. */
void sdi_latent_scale(const sd_vae_config *config, sd_tensor *z);
/* AutoencoderTiny's pixels are in [0, 1]: what its decoder gave to [-1, 1], in place (of others
 * nothing is to be done); and picture i of `pixels` for its encoder, [1, 3, h, w]. */
void sdi_pixels_of_network(const sd_vae_config *config, sd_tensor *pixels);
void sdi_pixels_for_network(const sd_tensor *pixels, int64_t i, sd_tensor *unit);

#endif
