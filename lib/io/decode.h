/*
 * The numbers of a tensor, whatever type its file has them in, as one of the three types that
 * devices take: float16 and bfloat16 as they are, float32 and float64 as float32, float8 as float16
 * (float8.h). A type of file format more is a row of the table in decode.c.
 */
#ifndef SD_IO_DECODE_H
#define SD_IO_DECODE_H

#include "io/weights.h"

struct sd_float8;

typedef struct sd_decoder {
    const sd_weights *weights;
    const sd_entry *entry;
    sd_dtype type; /* of what comes out: F32, F16 or BF16 */
    struct sd_float8 *float8;
    sd_status (*read)(const struct sd_decoder *d, size_t first, size_t n, void *dst);
} sd_decoder;

/* Whether there are numbers in the entry that can be decoded: else SD_ERROR_UNSUPPORTED with a
 * sentence. */
sd_status sdi_decoder_check(const sd_context *ctx, const sd_weights *weights,
                            const sd_entry *entry);
/* For an entry, which was checked, of `rows` rows; it lives as long as the weights. */
sd_status sdi_decoder_open(sd_context *ctx, const sd_weights *weights, const sd_entry *entry,
                           int rows, sd_decoder *d);
void sdi_decoder_close(const sd_context *ctx, sd_decoder *d);
/* Elements first .. first + n - 1. Any thread, with no sentence of a failure: sdi_weights_read. */
sd_status sdi_decoder_read(const sd_decoder *d, size_t first, size_t n, void *dst);

#endif
