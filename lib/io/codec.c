/* Limits of pictures, and a buffer that grows: for the readers and writers of each format. */
#include "io/codec.h"

#include <string.h>

sd_status sdi_check_image_file(const sd_context *ctx, const char *name, uint64_t width,
                               uint64_t height, size_t size, uint64_t pixels_per_byte) {
    if (width < 1 || height < 1 || width > SD_MAX_IMAGE_SIDE || height > SD_MAX_IMAGE_SIDE ||
        width * height > SD_MAX_PIXELS)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: the image has %llu x %llu pixels; 1 to %d a side and at most %llu in "
                        "all were expected",
                        name, (unsigned long long)width, (unsigned long long)height,
                        SD_MAX_IMAGE_SIDE, (unsigned long long)SD_MAX_PIXELS);
    if (width * height / pixels_per_byte > size)
        return sdi_fail(ctx, SD_ERROR_FORMAT,
                        "%s: %zu bytes cannot hold an image of %llu x %llu pixels (a download that "
                        "was cut short?)",
                        name, size, (unsigned long long)width, (unsigned long long)height);
    return SD_OK;
}

bool sdi_sink_reserve(sd_sink *sink, size_t capacity) {
    if (capacity <= sink->capacity)
        return true;
    uint8_t *grown = sdi_realloc(sink->ctx, sink->bytes, capacity);
    if (!grown)
        return false;
    sink->bytes = grown;
    sink->capacity = capacity;
    return true;
}

bool sdi_sink_write(sd_sink *sink, const void *bytes, size_t n) {
    if (n > SIZE_MAX / 4 - sink->size)
        return false;
    size_t need = sink->size + n;
    if (need > sink->capacity && !sdi_sink_reserve(sink, need * 2 > 16384 ? need * 2 : 16384))
        return false;
    memcpy(sink->bytes + sink->size, bytes, n);
    sink->size = need;
    return true;
}
