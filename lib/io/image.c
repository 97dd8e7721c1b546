#include "io/image.h"

#include "io/codec.h"
#include "io/sniff.h"

#include <string.h>

sd_status sd_check_image_file(const sd_context *ctx, const char *name, uint64_t width,
                              uint64_t height, size_t size, uint64_t pixels_per_byte) {
    if (width < 1 || height < 1 || width > SD_MAX_IMAGE_SIDE || height > SD_MAX_IMAGE_SIDE ||
        width * height > SD_MAX_PIXELS)
        return sd_fail(ctx, SD_ERROR_UNSUPPORTED,
                       "%s: the image has %llu x %llu pixels; 1 to %d a side and at most %llu in "
                       "all were expected",
                       name, (unsigned long long)width, (unsigned long long)height,
                       SD_MAX_IMAGE_SIDE, (unsigned long long)SD_MAX_PIXELS);
    if (width * height / pixels_per_byte > size)
        return sd_fail(ctx, SD_ERROR_FORMAT,
                       "%s: %zu bytes cannot hold an image of %llu x %llu pixels (a download that "
                       "was cut short?)",
                       name, size, (unsigned long long)width, (unsigned long long)height);
    return SD_OK;
}

bool sd_sink_reserve(sd_sink *sink, size_t capacity) {
    if (capacity <= sink->capacity)
        return true;
    uint8_t *grown = sd_realloc(sink->ctx, sink->bytes, capacity);
    if (!grown)
        return false;
    sink->bytes = grown;
    sink->capacity = capacity;
    return true;
}

bool sd_sink_write(sd_sink *sink, const void *bytes, size_t n) {
    if (n > SIZE_MAX / 4 - sink->size)
        return false;
    size_t need = sink->size + n;
    if (need > sink->capacity && !sd_sink_reserve(sink, need * 2 > 16384 ? need * 2 : 16384))
        return false;
    memcpy(sink->bytes + sink->size, bytes, n);
    sink->size = need;
    return true;
}

sd_status sd_image_encode(const sd_image *image, const sd_image_file *file, uint8_t **bytes,
                          size_t *size) {
    sd_sink sink = {.ctx = image->ctx};
    sd_status status = file->jpeg ? sd_jpeg_encode(image, file->quality, file->parameters, &sink)
                                  : sd_png_encode(image, file->parameters, &sink);
    if (status)
        sd_free(image->ctx, sink.bytes);
    *bytes = status ? NULL : sink.bytes;
    *size = status ? 0 : sink.size;
    return status;
}

static sd_status not_an_image(const sd_context *ctx, const char *name, const uint8_t *bytes,
                              size_t size) {
    const char *what = sd_sniff_image(bytes, size);
    if (what)
        return sd_fail(
            ctx, SD_ERROR_FORMAT,
            "%s: a PNG or JPEG image was expected, this is %s; convert it to one of them", name,
            what);
    sd_status status = sd_sniff(ctx, name, bytes, size, "a PNG or JPEG image");
    return status ? status : sd_fail(ctx, SD_ERROR_FORMAT, "%s: not a PNG or JPEG image", name);
}

sd_status sd_image_decode_with(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                               const sd_image_load_params *params, sd_image **out) {
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
    sd_status status;
    *out = NULL;
    if (size >= sizeof png && memcmp(bytes, png, sizeof png) == 0)
        status = sd_png_decode(ctx, name, bytes, size, params->keep_alpha != 0, out);
    else if (size >= sizeof jpeg && memcmp(bytes, jpeg, sizeof jpeg) == 0)
        status = sd_jpeg_decode(ctx, name, bytes, size, out);
    else
        status = not_an_image(ctx, name, bytes, size);
    return status || params->as_stored ? status : sd_exif_upright(name, bytes, size, out);
}

sd_status sd_image_decode(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                          sd_image **out) {
    const sd_image_load_params defaults = SD_IMAGE_LOAD_PARAMS_INIT;
    return sd_image_decode_with(ctx, name, bytes, size, &defaults, out);
}
