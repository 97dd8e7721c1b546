/*
 * The halves of AutoencoderTiny (TAESD: Ollin Boer Bohan's tiny autoencoders of Stable Diffusion's
 * latents), of which a first stage of that kind is made: model/vae.c.
 */
#ifndef SD_MODEL_TINY_H
#define SD_MODEL_TINY_H

#include "model/builder.h"

typedef struct sd_tiny_block {
    const sdb_weight *convs[3];
} sd_tiny_block;

typedef struct sd_tiny_level {
    const sdb_weight *resample; /* what brings the level before to this one's size; NULL: first */
    int n_blocks;
    sd_tiny_block *blocks;
} sd_tiny_level;

typedef struct sd_tiny {
    bool decoder;
    int width, n_levels;
    const sdb_weight *conv_in, *conv_out;
    sd_tiny_level levels[SD_MAX_LEVELS];
} sd_tiny;

/* Nothing where the description has no such half. */
void sdi_tiny_build(sd_builder *b, sd_tiny *m, const sd_vae_config *c, bool decoder);
/* x of the type of activations, the latent or the pixels in [0, 1], to y of SDB_F32: pixels in [0,
 * 1], or the latent. */
void sdi_tiny_forward(sd_exec *e, const sd_tiny *m, sdb_tensor y, sdb_tensor x);

#endif
