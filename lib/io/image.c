/* A picture by the format of its file: PNG or JPEG. */
#include "io/image.h"

#include "io/codec.h"
#include "io/sniff.h"

#include <string.h>

static sd_status not_an_image(const sd_context *ctx, const char *name, const uint8_t *bytes,
                              size_t size) {
    const char *what = sdi_sniff_image(bytes, size);
    if (what)
        return sdi_fail(
            ctx, SD_ERROR_FORMAT,
            "%s: a PNG or JPEG image was expected, this is %s; convert it to one of them", name,
            what);
    sd_status status = sdi_sniff(ctx, name, bytes, size, "a PNG or JPEG image");
    return status ? status : sdi_fail(ctx, SD_ERROR_FORMAT, "%s: not a PNG or JPEG image", name);
}

sd_status sdi_image_decode_with(sd_context *ctx, const char *name, const uint8_t *bytes,
                                size_t size, const sd_image_load_params *params, sd_image **out) {
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
    sd_status status;
    *out = NULL;
    if (size >= sizeof png && memcmp(bytes, png, sizeof png) == 0)
        status = sdi_png_decode(ctx, name, bytes, size, params->keep_alpha != 0, out);
    else if (size >= sizeof jpeg && memcmp(bytes, jpeg, sizeof jpeg) == 0)
        status = sdi_jpeg_decode(ctx, name, bytes, size, out);
    else
        status = not_an_image(ctx, name, bytes, size);
    return status || params->as_stored ? status : sdi_exif_upright(name, bytes, size, out);
}

sd_status sdi_image_decode(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                           sd_image **out) {
    const sd_image_load_params defaults = SD_IMAGE_LOAD_PARAMS_INIT;
    return sdi_image_decode_with(ctx, name, bytes, size, &defaults, out);
}

sd_status sdi_image_encode(const sd_image *image, const sd_image_file *file, uint8_t **bytes,
                           size_t *size) {
    sd_sink sink = {.ctx = image->ctx};
    sd_status status = file->jpeg ? sdi_jpeg_encode(image, file->quality, file->parameters, &sink)
                                  : sdi_png_encode(image, file->parameters, &sink);
    if (status)
        sdi_free(image->ctx, sink.bytes);
    *bytes = status ? NULL : sink.bytes;
    *size = status ? 0 : sink.size;
    return status;
}
