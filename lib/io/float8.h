/*
 * Weights of one byte each. They become float16, which holds every number of these types exactly. A
 * checkpoint may have scales beside them, one for a tensor or one for each of its rows, by which
 * the numbers are to be multiplied: "X.scale_weight" or "X.weight_scale" of "X.weight", as ComfyUI
 * writes them.
 */
#ifndef SD_IO_FLOAT8_H
#define SD_IO_FLOAT8_H

#include "io/weights.h"

typedef struct sd_float8 {
    sd_dtype type;     /* F16; F32 where float16 has no room for the scaled numbers */
    float values[256]; /* of each code */
    uint16_t halves[256];
    size_t row_size; /* elements */
    size_t n_scales; /* rows, or 0: one scale is in `values` and `halves` already */
    float scales[];
} sd_float8;

/* For an entry of such a type with `rows` rows. For any other type *out is NULL, and scales beside
 * it that are not 1 are refused. */
sd_status sdi_float8_new(sd_context *ctx, const sd_weights *w, const sd_entry *entry, int rows,
                         sd_float8 **out);
/* Elements first .. first + n - 1 as numbers of `type`: dst has their codes as its last n bytes. */
void sdi_float8_expand(const sd_float8 *f, size_t first, size_t n, void *dst);

#endif
