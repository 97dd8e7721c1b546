/* Reads of an input, with their sentences. */
#include "core/input.h"

sd_status sdi_input_check(const sd_context *ctx, const sd_input *in, const char *name) {
    return in->check ? in->check(in->user, ctx, name) : SD_OK;
}

sd_status sdi_input_fail(const sd_context *ctx, const sd_input *in, const char *name,
                         sd_status status) {
    sd_status reason = sdi_input_check(ctx, in, name);
    return reason ? reason : sdi_fail(ctx, status, "%s: cannot be read", name);
}

sd_status sdi_input_read(const sd_context *ctx, const sd_input *in, const char *name,
                         uint64_t offset, void *dst, size_t n) {
    if (offset > in->size || n > in->size - offset)
        return sdi_fail(ctx, SD_ERROR_FORMAT,
                        "%s: %zu bytes at %llu were expected, but it has only %llu in all", name, n,
                        (unsigned long long)offset, (unsigned long long)in->size);
    sd_status status = n ? in->read(in->user, offset, dst, n) : SD_OK;
    return status ? sdi_input_fail(ctx, in, name, status) : SD_OK;
}

sd_status sdi_input_peek(const sd_context *ctx, const sd_input *in, const char *name, void *dst,
                         size_t n, size_t *got) {
    *got = in->size < n ? (size_t)in->size : n;
    return sdi_input_read(ctx, in, name, 0, dst, *got);
}

void sdi_input_close(const sd_context *ctx, sd_input *in) {
    if (in->close)
        in->close(in->user, ctx);
    *in = (sd_input){0};
}
