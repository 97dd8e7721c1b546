/* Scales of float8 weights, and tables of the numbers that codes mean. */
#include "io/float8.h"

#include "core/tensor.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------- scales */

#define WEIGHT ".weight"

/* The scale beside a tensor, or NULL. */
static sd_status find_scale(const sd_context *ctx, const sd_weights *w, const sd_entry *entry,
                            const sd_entry **out) {
    size_t n = strlen(entry->name);
    char *name = sdi_format(ctx, "%s_scale", entry->name);
    if (!name)
        return SD_ERROR_MEMORY;
    *out = sdi_weights_find(w, name);
    sdi_free(ctx, name);
    if (*out || !sdi_ends_with(entry->name, n, WEIGHT))
        return SD_OK;
    name = sdi_format(ctx, "%.*s.scale_weight", (int)(n - strlen(WEIGHT)), entry->name);
    if (!name)
        return SD_ERROR_MEMORY;
    *out = sdi_weights_find(w, name);
    sdi_free(ctx, name);
    return SD_OK;
}

static sd_status fail_scale(const sd_context *ctx, const sd_weights *w, const sd_entry *scale,
                            int rows) {
    char shape[128];
    return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                    "%s: tensor '%s' is of type %s and shape %s; the scale of float8 weights must "
                    "be one floating-point number, or one for each of their %d rows",
                    sdi_weights_path(w, scale), scale->name, sdi_entry_type_name(scale),
                    sdi_shape_text(shape, sizeof shape, scale->n_dims, scale->dims), rows);
}

/* 1, or `rows`: [rows] or [rows, 1, ...]; else 0. */
static size_t count_scales(const sd_entry *scale, int rows) {
    size_t size = sdi_dtype_size(scale->type), n = size ? scale->size / size : 0;
    bool by_row = scale->n_dims > 0 && scale->dims[0] == rows && n == (size_t)rows;
    return !sdi_dtype_is_weight(scale->type) ? 0 : n == 1 || by_row ? n : 0;
}

static sd_status read_scales(const sd_weights *w, const sd_entry *scale, size_t n, float *scales) {
    uint8_t element[8];
    size_t size = sdi_dtype_size(scale->type);
    for (size_t i = 0; i < n; i++) {
        sd_status status = sdi_weights_read(w, scale, i * size, element, size);
        if (status)
            return sdi_weights_fail(w, scale, status);
        scales[i] = (float)sdi_dtype_value(scale->type, element);
    }
    return SD_OK;
}

/* ------------------------------------------------------------------------- numbers */

static void fill_tables(sd_float8 *f, sd_dtype type) {
    float scale = f->n_scales ? 1.0f : f->scales[0];
    for (int i = 0; i < 256; i++) {
        uint8_t code = (uint8_t)i;
        f->values[i] = scale * (float)sdi_dtype_value(type, &code);
        f->halves[i] = sdi_half_of((double)f->values[i]);
    }
}

/*
 * Scaled numbers are rounded to float16, as they would be in a checkpoint of that type, unless the
 * largest would be beyond its range or so small that its rounding steps of 2^-24 are coarse.
 */
static sd_dtype choose_type(const sd_float8 *f, sd_dtype type, size_t n) {
    float largest = 0.0f;
    for (int i = 0; i < 256; i++) {
        uint8_t code = (uint8_t)i;
        float x = (float)sdi_dtype_value(type, &code);
        largest = isfinite(x) && x > largest ? x : largest;
    }
    for (size_t i = 0; i < n; i++) {
        float x = largest * fabsf(f->scales[i]);
        if (!(x >= 0x1p-6f && x <= 65504.0f))
            return SD_DTYPE_F32;
    }
    return SD_DTYPE_F16;
}

static sd_status refuse_scales(const sd_context *ctx, const sd_weights *w, const sd_entry *entry,
                               const sd_entry *scale) {
    double one = 0.0;
    bool is;
    sd_status status = sdi_weights_number(w, scale, &one, &is);
    if (status || (is && one == 1.0))
        return status;
    return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                    "%s: tensor '%s' scales '%s', which is of type %s; scales are known for float8 "
                    "weights alone",
                    sdi_weights_path(w, scale), scale->name, entry->name,
                    sdi_entry_type_name(entry));
}

sd_status sdi_float8_new(sd_context *ctx, const sd_weights *w, const sd_entry *entry, int rows,
                         sd_float8 **out) {
    const sd_entry *scale;
    *out = NULL;
    sd_status status = find_scale(ctx, w, entry, &scale);
    if (status)
        return status;
    if (!sdi_dtype_is_float8(entry->type))
        return scale ? refuse_scales(ctx, w, entry, scale) : SD_OK;
    size_t n = scale ? count_scales(scale, rows) : 1;
    if (n == 0)
        return fail_scale(ctx, w, scale, rows);
    sd_float8 *f = sdi_zalloc(ctx, sizeof *f + n * sizeof *f->scales);
    if (!f)
        return SD_ERROR_MEMORY;
    f->scales[0] = 1.0f;
    status = scale ? read_scales(w, scale, n, f->scales) : SD_OK;
    if (status) {
        sdi_free(ctx, f);
        return status;
    }
    f->row_size = entry->size / (size_t)(rows > 0 ? rows : 1);
    f->n_scales = n > 1 ? n : 0;
    f->type = scale ? choose_type(f, entry->type, n) : SD_DTYPE_F16;
    fill_tables(f, entry->type);
    *out = f;
    return SD_OK;
}

/* The codes lie at the end of dst, so that no number is written where a code is still to be read.
 */
static void expand_halves(const uint16_t *table, size_t n, uint8_t *dst) {
    const uint8_t *codes = dst + n;
    for (size_t i = 0; i < n; i++)
        memcpy(dst + 2 * i, &table[codes[i]], 2);
}

static void expand_floats(const float *table, size_t n, uint8_t *dst) {
    const uint8_t *codes = dst + 3 * n;
    for (size_t i = 0; i < n; i++)
        memcpy(dst + 4 * i, &table[codes[i]], 4);
}

/* Widens codes with the scale of each element's row. */
static void expand_rows(const sd_float8 *f, size_t first, size_t n, uint8_t *dst) {
    size_t size = f->type == SD_DTYPE_F16 ? 2 : 4;
    const uint8_t *codes = dst + (size - 1) * n;
    size_t row = first / f->row_size, left = f->row_size - first % f->row_size;
    for (size_t i = 0; i < n; i++, left--) {
        if (left == 0) {
            row++;
            left = f->row_size;
        }
        float x = f->scales[row] * f->values[codes[i]];
        uint16_t half = sdi_half_of((double)x);
        if (size == 2)
            memcpy(dst + 2 * i, &half, 2);
        else
            memcpy(dst + 4 * i, &x, 4);
    }
}

void sdi_float8_expand(const sd_float8 *f, size_t first, size_t n, void *dst) {
    if (f->n_scales)
        expand_rows(f, first, n, dst);
    else if (f->type == SD_DTYPE_F16)
        expand_halves(f->halves, n, dst);
    else
        expand_floats(f->values, n, dst);
}
