/*
 * Large pictures through a network tile by tile, as tiled_decode and _tiled_encode of diffusers'
 * AutoencoderKL: tiles overlap, and each fades in over what lies above, then over what lies to its
 * left. A tile that its neighbour covers whole is left out, where diffusers makes one of the few
 * rows or columns that remain.
 */
#ifndef SD_PIPELINE_TILES_H
#define SD_PIPELINE_TILES_H

#include "core/tensor.h"

typedef struct sd_tiling {
    int tile, overlap; /* latents */
    int in, out;       /* pixels of a side that one latent has in what goes in and what comes out */
    /* A tile [1, c, h, w] to *out [1, c', h', w']. */
    sd_status (*compute)(const void *user, const sd_tensor *tile, sd_tensor **out);
    const void *user;
} sd_tiling;

/* Pictures of `from` [.., c, h, w], from `first` on, into all of `to` [n, c', h', w']. */
sd_status sdi_tiles_run(const sd_tiling *t, const sd_tensor *from, int64_t first, sd_tensor *to);

#endif
