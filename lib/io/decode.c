/* The table of types, and how each is read. */
#include "io/decode.h"

#include "io/float8.h"

sd_status sdi_decoder_check(const sd_context *ctx, const sd_weights *weights,
                            const sd_entry *entry) {
    if (sdi_dtype_is_weight(entry->type))
        return SD_OK;
    return sdi_fail(
        ctx, SD_ERROR_UNSUPPORTED,
        "%s: tensor '%s' is of type %s; weights must be F64, F32, F16, BF16, F8_E4M3 or "
        "F8_E5M2 (of a quantised checkpoint take the F16 one)",
        sdi_weights_path(weights, entry), entry->name, sdi_entry_type_name(entry));
}

static sd_status read_plain(const sd_decoder *d, size_t first, size_t n, void *dst) {
    size_t size = sdi_dtype_size(d->type);
    return sdi_weights_read(d->weights, d->entry, first * size, dst, n * size);
}

/* Elements that are read at a time where they take more room than what they become; a worker's
 * stack may be small. */
#define CHUNK 1024

/* float64 as float32, rounded as C and torch do it. */
static sd_status read_doubles(const sd_decoder *d, size_t first, size_t n, void *dst) {
    double chunk[CHUNK];
    float *x = dst;
    sd_status status = SD_OK;
    for (size_t i = 0; i < n && !status; i += CHUNK) {
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        status = sdi_weights_read(d->weights, d->entry, (first + i) * sizeof *chunk, chunk,
                                  m * sizeof *chunk);
        for (size_t j = 0; j < m && !status; j++)
            x[i + j] = (float)chunk[j];
    }
    return status;
}

/* Codes, and in their place numbers. */
static sd_status read_float8(const sd_decoder *d, size_t first, size_t n, void *dst) {
    size_t size = sdi_dtype_size(d->type);
    sd_status status =
        sdi_weights_read(d->weights, d->entry, first, (uint8_t *)dst + (size - 1) * n, n);
    if (!status)
        sdi_float8_expand(d->float8, first, n, dst);
    return status;
}

/* The types that devices take, and how others become one. float8 with scales may become another. */
static const struct {
    sd_dtype from, to;
    sd_status (*read)(const sd_decoder *d, size_t first, size_t n, void *dst);
} rows[] = {
    {SD_DTYPE_F64, SD_DTYPE_F32, read_doubles},
    {SD_DTYPE_F32, SD_DTYPE_F32, read_plain},
    {SD_DTYPE_F16, SD_DTYPE_F16, read_plain},
    {SD_DTYPE_BF16, SD_DTYPE_BF16, read_plain},
    {SD_DTYPE_F8_E4M3, SD_DTYPE_F16, read_float8},
    {SD_DTYPE_F8_E5M2, SD_DTYPE_F16, read_float8},
    {SD_DTYPE_F8_E4M3FNUZ, SD_DTYPE_F16, read_float8},
    {SD_DTYPE_F8_E5M2FNUZ, SD_DTYPE_F16, read_float8},
};

sd_status sdi_decoder_open(sd_context *ctx, const sd_weights *weights, const sd_entry *entry,
                           int n_rows, sd_decoder *d) {
    *d = (sd_decoder){.weights = weights, .entry = entry};
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        if (rows[i].from == entry->type) {
            d->type = rows[i].to;
            d->read = rows[i].read;
        }
    sd_status status = sdi_float8_new(ctx, weights, entry, n_rows, &d->float8);
    if (d->float8)
        d->type = d->float8->type;
    return status;
}

void sdi_decoder_close(const sd_context *ctx, sd_decoder *d) {
    sdi_free(ctx, d->float8);
    d->float8 = NULL;
}

sd_status sdi_decoder_read(const sd_decoder *d, size_t first, size_t n, void *dst) {
    return d->read(d, first, n, dst);
}
