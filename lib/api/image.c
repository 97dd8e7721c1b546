/* Images: section 4 of sd.h. */
#include "io/image.h"

#include "api/check.h"
#include "core/files.h"
#include "core/os.h"
#include "io/pixel_format.h"
#include "io/pixels.h"

#include <string.h>

#define MAX_IMAGE_FILE ((size_t)1 << 30)

SD_PUBLIC(sd_image_new, (ctx, pixels, out), (ctx), sd_context *ctx, const sd_pixels *pixels,
          sd_image **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, pixels);
    sd_status status = sdi_pixels_check(ctx, "sd_pixels", pixels);
    if (!status)
        status = sdi_image_new(ctx, pixels->width, pixels->height,
                               sdi_pixels_channels(pixels->format), out);
    if (!status && pixels->data)
        sdi_image_put_pixels(*out, pixels);
    return status;
}

void sd_image_free(sd_image *image) {
    sdi_handle_free(image);
}

int32_t sd_image_width(const sd_image *image) {
    return image ? image->width : 0;
}

int32_t sd_image_height(const sd_image *image) {
    return image ? image->height : 0;
}

sd_pixel_format sd_image_format(const sd_image *image) {
    return image ? sdi_pixels_format_of(image) : SD_PIXELS_RGB8;
}

const uint8_t *sd_image_pixels(const sd_image *image) {
    return image ? image->pixels : NULL;
}

uint8_t *sd_image_pixels_mut(sd_image *image) {
    return image ? image->pixels : NULL;
}

SD_PUBLIC(sd_image_read, (image, to), (image), const sd_image *image, const sd_pixels *to) {
    SD_REQUIRE_PTR(NULL, image);
    sd_context *ctx = image->ctx;
    SD_REQUIRE_PTR(ctx, to);
    SD_REQUIRE(ctx, to->data, "sd_image_read: to->data is NULL");
    sd_status status = sdi_pixels_check(ctx, "sd_pixels", to);
    if (status)
        return status;
    SD_REQUIRE(ctx, to->width == image->width && to->height == image->height,
               "sd_image_read: to is %d x %d; %d x %d was expected, the size of the image",
               to->width, to->height, image->width, image->height);
    sdi_image_get_pixels(image, to);
    return SD_OK;
}

SD_PUBLIC(sd_image_load, (ctx, path, params, out), (ctx), sd_context *ctx, const char *path,
          const sd_image_load_params *params, sd_image **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, path);
    sd_image_load_params p = SD_IMAGE_LOAD_PARAMS_INIT;
    uint8_t *bytes;
    size_t size;
    sd_status status = sdi_read_params(ctx, "sd_image_load_params", &p, sizeof p, params);
    if (!status)
        status = sdi_read_file(ctx, path, MAX_IMAGE_FILE, &bytes, &size);
    if (status)
        return status;
    status = sdi_image_decode_with(ctx, path, bytes, size, &p, out);
    sdi_free(ctx, bytes);
    return status;
}

SD_PUBLIC(sd_image_load_memory, (ctx, bytes, n_bytes, params, out), (ctx), sd_context *ctx,
          const void *bytes, size_t n_bytes, const sd_image_load_params *params, sd_image **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, bytes);
    sd_image_load_params p = SD_IMAGE_LOAD_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_image_load_params", &p, sizeof p, params);
    return status ? status : sdi_image_decode_with(ctx, "image in memory", bytes, n_bytes, &p, out);
}

/* The extension of a path with its dot, "" where there is none. */
static const char *extension_of(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    return dot && dot != name ? dot : "";
}

/* Two short ASCII texts, whatever their case. */
static bool same_word(const char *a, const char *lower) {
    for (; *a; a++, lower++)
        if ((*a >= 'A' && *a <= 'Z' ? *a - 'A' + 'a' : *a) != *lower)
            return false;
    return !*lower;
}

/* SD_FORMAT_AUTO becomes what the path asks for; NULL asks for nothing. */
static sd_status choose_format(const sd_context *ctx, const char *path, int32_t *format) {
    const char *extension = path ? extension_of(path) : "";
    if (*format != SD_FORMAT_AUTO)
        return SD_OK;
    *format = same_word(extension, ".jpg") || same_word(extension, ".jpeg") ? SD_FORMAT_JPEG
                                                                            : SD_FORMAT_PNG;
    if (*format == SD_FORMAT_JPEG || !*extension || same_word(extension, ".png"))
        return SD_OK;
    return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                    "%s: %s files are not written; .png, .jpg or .jpeg was expected, or a format",
                    path, extension);
}

static sd_status read_save_params(const sd_context *ctx, const char *path,
                                  const sd_image_save_params *given, sd_image_save_params *p) {
    *p = (sd_image_save_params)SD_IMAGE_SAVE_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_image_save_params", p, sizeof *p, given);
    if (status)
        return status;
    SD_REQUIRE(ctx, p->format >= SD_FORMAT_AUTO && p->format <= SD_FORMAT_JPEG,
               "sd_image_save_params.format is %d; a value of sd_file_format was expected",
               p->format);
    SD_REQUIRE(ctx, p->quality >= 1 && p->quality <= 100,
               "sd_image_save_params.quality is %d; 1 to 100 was expected", p->quality);
    status = sdi_check_reserved(ctx, "sd_image_save_params", p->reserved);
    return status ? status : choose_format(ctx, path, &p->format);
}

/* The bytes of the file that is to be written, and the caller's parameters into *p. */
static sd_status encode(const sd_image *image, const char *path, const sd_image_save_params *given,
                        sd_image_save_params *p, uint8_t **bytes, size_t *size) {
    sd_status status = read_save_params(image->ctx, path, given, p);
    if (status)
        return status;
    const sd_image_file file = {p->format == SD_FORMAT_JPEG, p->quality, p->parameters};
    return sdi_image_encode(image, &file, bytes, size);
}

SD_PUBLIC(sd_image_save, (image, path, params), (image), const sd_image *image, const char *path,
          const sd_image_save_params *params) {
    SD_REQUIRE_PTR(NULL, image);
    sd_context *ctx = image->ctx;
    SD_REQUIRE_PTR(ctx, path);
    sd_image_save_params p;
    uint8_t *bytes;
    size_t size;
    sd_status status = encode(image, path, params, &p, &bytes, &size);
    if (status)
        return status;
    status = p.only_new ? sdi_write_new_file(ctx, path, bytes, size)
                        : sdi_write_file(ctx, path, bytes, size);
    sdi_free(ctx, bytes);
    return status;
}

/* The whole file is there before the host's function is called, which may leave as it likes
 * without a frame of libpng or libjpeg below it. */
SD_PUBLIC(sd_image_write, (image, params, write, user), (image), const sd_image *image,
          const sd_image_save_params *params, sd_write_fn write, void *user) {
    SD_REQUIRE_PTR(NULL, image);
    sd_context *ctx = image->ctx;
    SD_REQUIRE_PTR(ctx, write);
    sd_image_save_params p;
    uint8_t *bytes;
    size_t size;
    sd_status status = encode(image, NULL, params, &p, &bytes, &size);
    if (status)
        return status;
    int32_t refused = write(user, bytes, size);
    sdi_free(ctx, bytes);
    return refused ? sdi_fail(ctx, SD_ERROR_IO, "sd_image_write: write returned %d", refused)
                   : SD_OK;
}

SD_PUBLIC(sd_image_resize, (image, width, height, out), (image), const sd_image *image,
          int32_t width, int32_t height, sd_image **out) {
    SD_REQUIRE_PTR(image ? image->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, image);
    return sdi_image_lanczos(image, width, height, out);
}

SD_PUBLIC(sd_image_from_tensor, (pixels, index, out), (pixels), const sd_tensor *pixels,
          int32_t index, sd_image **out) {
    SD_REQUIRE_PTR(pixels ? pixels->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, pixels);
    return sdi_pixels_to_finite_image(pixels, index, out);
}

SD_PUBLIC(sd_image_to_tensor, (image, out), (image), const sd_image *image, sd_tensor **out) {
    SD_REQUIRE_PTR(image ? image->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, image);
    return sdi_image_to_pixels(image, out);
}
