/* Large pictures through the first stage, tile by tile. */
#ifndef SD_PIPELINE_TILES_H
#define SD_PIPELINE_TILES_H

#include "pipeline/stage.h"

/* Parameters were validated by lib/api. */
sd_status sd_stage_vae_encode_tiled(sd_model *model, const sd_tensor *pixels,
                                    const sd_tensor *noise, const sd_tile_params *params,
                                    sd_tensor **latent);
sd_status sd_stage_vae_decode_tiled(sd_model *model, const sd_tensor *latent,
                                    const sd_tile_params *params, sd_tensor **pixels);
sd_status sd_vae_encode_one_tiled(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                                  const sd_tile_params *tiles, sd_tensor **latent);
/* Memory alone: one tile's. */
sd_status sd_vae_decode_tiled_estimate(sd_model *model, int h, int w, const sd_tile_params *tiles,
                                       sd_cost *cost);
sd_status sd_vae_encode_tiled_estimate(sd_model *model, int h, int w, const sd_tile_params *tiles,
                                       sd_cost *cost);

#endif
