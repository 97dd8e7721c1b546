/* The planes that an inpainting model sees beside the latent. */
#ifndef SD_PIPELINE_INPAINT_H
#define SD_PIPELINE_INPAINT_H

#include "pipeline/model.h"

/* `any_pixel`: see sd_mask_params. */
sd_status sdi_stage_inpaint_concat(const sd_model *model, const sd_tensor *pixels,
                                   const sd_tensor *mask, const sd_tensor *noise,
                                   const sd_vae_params *how, bool any_pixel, sd_tensor **concat);
/* The UNet takes more than the latent. */
bool sdi_is_wide(const sd_model *model);
/* `concat` models of the original; else `hybrid` ones. */
bool sdi_is_concat(const sd_model *model);
/* `noise` may have many rows for one picture, and be NULL. */
sd_status sdi_encode_known(const sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                           const sd_vae_params *how, sd_tensor **latent);

#endif
