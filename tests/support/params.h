/* Parameters of calls in the middle of a line. */
#ifndef SD_TESTS_SUPPORT_PARAMS_H
#define SD_TESTS_SUPPORT_PARAMS_H

#include <sd/profile.h>

/* Of the VAE. An overlap of 0 is none here. */
#define VAE(...) (&(const sd_vae_params){.struct_size = sizeof(sd_vae_params), __VA_ARGS__})
#define NOISE(tensor) VAE(.noise = (tensor))
#define TILES(side, shared) VAE(.tile = (side), .overlap = (shared) ? (shared) : -1)
#define UNQUANTIZED VAE(.unquantized = 1)

#define TEXT(...) (&(const sd_text_params){.struct_size = sizeof(sd_text_params), __VA_ARGS__})
#define MASKING(...)                                                                               \
    (&(const sd_mask_params){.struct_size = sizeof(sd_mask_params), .padding = 32, __VA_ARGS__})
#define PREVIEW(...)                                                                               \
    (&(const sd_preview_params){.struct_size = sizeof(sd_preview_params), __VA_ARGS__})
#define TILED(run, tiles)                                                                          \
    (&(const sd_estimate_params){                                                                  \
        .struct_size = sizeof(sd_estimate_params), .sampling = (run), .vae = (tiles)})
#define ESTIMATE(run)                                                                              \
    (&(const sd_estimate_params){.struct_size = sizeof(sd_estimate_params), .sampling = (run)})

#endif
