/*
 * Numbers that are none. What a caller gives is refused by its name, and what a network made of
 * finite numbers ends the call by the stage's name: a NaN spreads through every group norm, and the
 * picture that it ends as is black.
 */
#include "pipeline/finite.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Values at a time, so that the loop over them has a fixed length and becomes SIMD. */
#define BLOCK 256

/* Of infinities and NaNs all bits of the exponent are set: one more carries into the sign. */
static bool block_is_finite(const float *x) {
    uint32_t all = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        all |= (bits & 0x7fffffffu) + 0x00800000u;
    }
    return all >> 31 == 0;
}

int64_t sd_find_not_finite(const float *x, int64_t n) {
    int64_t i = 0;
    while (n - i >= BLOCK && block_is_finite(x + i))
        i += BLOCK;
    while (i < n && isfinite(x[i]))
        i++;
    return i < n ? i : -1;
}

/* "nan at [0, 3, 17, 5]" */
static const char *place(char *text, size_t size, float value, int n_dims, const int64_t *dims,
                         int64_t at) {
    int64_t index[SD_MAX_DIMS];
    char where[128];
    for (int k = n_dims - 1; k >= 0; k--) {
        index[k] = at % dims[k];
        at /= dims[k];
    }
    snprintf(text, size, "%s at %s",
             isnan(value)   ? "nan"
             : value > 0.0f ? "inf"
                            : "-inf",
             sd_shape_text(where, sizeof where, n_dims, index));
    return text;
}

sd_status sd_expect_finite(const sd_tensor *t, const char *what) {
    int64_t at = sd_find_not_finite(t->data, t->n_elements);
    char text[160];
    if (at < 0)
        return SD_OK;
    return sd_fail(t->ctx, SD_ERROR_ARGUMENT, "%s has %s; finite numbers were expected", what,
                   place(text, sizeof text, t->data[at], t->n_dims, t->dims, at));
}

sd_status sd_fail_not_finite(const sd_model *model, const char *stage, float value, int n_dims,
                             const int64_t *dims, int64_t at) {
    char text[160];
    const char *advice =
        model->act == SDB_F32
            ? "the weights may be damaged, or what is given too large"
            : "the 16 bits of its numbers may not suffice; SD_PRECISION_FULL (--precision full) "
              "has 32";
    return sd_fail(model->ctx, SD_ERROR_MODEL, "%s: what %s computed is not finite (%s): %s",
                   model->desc->path, stage, place(text, sizeof text, value, n_dims, dims, at),
                   advice);
}

sd_status sd_check_computed(const sd_model *model, const char *stage, const sd_tensor *t) {
    int64_t at = sd_find_not_finite(t->data, t->n_elements);
    if (at < 0)
        return SD_OK;
    return sd_fail_not_finite(model, stage, t->data[at], t->n_dims, t->dims, at);
}
