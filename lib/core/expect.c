/*
 * Checks of host tensors. What a caller gives is refused by its name; numbers that are none most of
 * all: a NaN spreads through every group norm, and the picture that it ends as is black.
 */
#include "core/expect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------------------------- shapes */

/* "[1, 4, any, any]" */
static const char *expected_text(char *text, size_t size, int n_dims, const int64_t *dims) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < n_dims && used < size; i++) {
        const char *comma = i ? ", " : "";
        used += (size_t)(dims[i] < 0 ? snprintf(text + used, size - used, "%sany", comma)
                                     : snprintf(text + used, size - used, "%s%lld", comma,
                                                (long long)dims[i]));
    }
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}

sd_status sdi_expect_shape(const sd_tensor *t, const char *what, int n_dims, const int64_t *dims) {
    bool fits = t->n_dims == n_dims;
    for (int i = 0; fits && i < n_dims; i++)
        fits = dims[i] < 0 || t->dims[i] == dims[i];
    if (fits)
        return SD_OK;
    char found[128], expected[128];
    return sdi_fail(t->ctx, SD_ERROR_ARGUMENT, "%s is %s; %s was expected", what,
                    sdi_shape_text(found, sizeof found, t->n_dims, t->dims),
                    expected_text(expected, sizeof expected, n_dims, dims));
}

int64_t sdi_nearest_multiple(int64_t size, int multiple, int max_size) {
    int64_t most = max_size / multiple,
            n = size < max_size ? (size + multiple / 2) / multiple : most;
    return (n < 1 ? 1 : n > most ? most : n) * multiple;
}

sd_status sdi_expect_multiple(const sd_tensor *t, const char *what, int multiple, int max_side) {
    int64_t h = t->dims[2], w = t->dims[3];
    if (h % multiple == 0 && w % multiple == 0 && h <= max_side && w <= max_side &&
        t->dims[0] <= 65536)
        return SD_OK;
    char found[128];
    return sdi_fail(
        t->ctx, SD_ERROR_ARGUMENT,
        "%s is %s; height and width up to %d that are multiples of %d were expected: the "
        "nearest are %lld and %lld",
        what, sdi_shape_text(found, sizeof found, t->n_dims, t->dims), max_side, multiple,
        (long long)sdi_nearest_multiple(h, multiple, max_side),
        (long long)sdi_nearest_multiple(w, multiple, max_side));
}

/* --------------------------------------------------------------------------------- numbers */

/* Values at a time, so that the loop over them has a fixed length and becomes SIMD. */
#define BLOCK 256

/* All bits of the exponent of infinities and NaNs are set: one more carries into the sign. */
static bool block_is_finite(const float *x) {
    uint32_t all = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        all |= (bits & 0x7fffffffu) + 0x00800000u;
    }
    return all >> 31 == 0;
}

int64_t sdi_find_not_finite(const float *x, int64_t n) {
    int64_t i = 0;
    while (n - i >= BLOCK && block_is_finite(x + i))
        i += BLOCK;
    while (i < n && isfinite(x[i]))
        i++;
    return i < n ? i : -1;
}

const char *sdi_element_text(char *text, size_t size, const sd_tensor *t, int64_t at) {
    int64_t index[SD_MAX_DIMS];
    char where[128];
    float value = t->data[at];
    for (int k = t->n_dims - 1; k >= 0; k--) {
        index[k] = at % t->dims[k];
        at /= t->dims[k];
    }
    snprintf(text, size, "%s at %s",
             isnan(value)   ? "nan"
             : value > 0.0f ? "inf"
                            : "-inf",
             sdi_shape_text(where, sizeof where, t->n_dims, index));
    return text;
}

sd_status sdi_expect_finite(const sd_tensor *t, const char *what) {
    int64_t at = sdi_find_not_finite(t->data, t->n_elements);
    char text[160];
    if (at < 0)
        return SD_OK;
    return sdi_fail(t->ctx, SD_ERROR_ARGUMENT, "%s has %s; finite numbers were expected", what,
                    sdi_element_text(text, sizeof text, t, at));
}

sd_status sdi_expect_tensor(const sd_tensor *t, const char *what, int n_dims, const int64_t *dims) {
    sd_status status = sdi_expect_shape(t, what, n_dims, dims);
    return status ? status : sdi_expect_finite(t, what);
}
