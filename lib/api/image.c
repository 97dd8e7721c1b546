/* Images: section 5 of sd.h. */
#include "io/image.h"
#include "api/check.h"
#include "core/os.h"
#include "pipeline/pixels.h"

#include <string.h>

#define MAX_IMAGE_FILE ((size_t)1 << 30)
#define JPEG_QUALITY 95

SD_PUBLIC(sd_image_new, (ctx, width, height, channels, pixels, out), (ctx), sd_context *ctx,
          int width, int height, int channels, const uint8_t *pixels, sd_image **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    sd_status status = sd_image_create(ctx, width, height, channels, out);
    if (!status && pixels)
        memcpy((*out)->pixels, pixels, (size_t)width * (size_t)height * (size_t)channels);
    return status;
}

void sd_image_free(sd_image *image) {
    sd_handle_free(image);
}

int sd_image_width(const sd_image *image) {
    return image ? image->width : 0;
}

int sd_image_height(const sd_image *image) {
    return image ? image->height : 0;
}

int sd_image_channels(const sd_image *image) {
    return image ? image->channels : 0;
}

uint8_t *sd_image_pixels(sd_image *image) {
    return image ? image->pixels : NULL;
}

SD_PUBLIC(sd_image_load_with, (ctx, path, params, out), (ctx), sd_context *ctx, const char *path,
          const sd_image_load_params *params, sd_image **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, path);
    sd_image_load_params p = SD_IMAGE_LOAD_PARAMS_INIT;
    uint8_t *bytes;
    size_t size;
    sd_status status = sd_read_params(ctx, "sd_image_load_params", &p, sizeof p, params);
    if (!status)
        status = sd_read_file(ctx, path, MAX_IMAGE_FILE, &bytes, &size);
    if (status)
        return status;
    status = sd_image_decode_with(ctx, path, bytes, size, &p, out);
    sd_free(ctx, bytes);
    return status;
}

sd_status sd_image_load(sd_context *ctx, const char *path, sd_image **out) {
    return sd_image_load_with(ctx, path, NULL, out);
}

SD_PUBLIC(sd_image_load_memory_with, (ctx, bytes, n_bytes, params, out), (ctx), sd_context *ctx,
          const void *bytes, size_t n_bytes, const sd_image_load_params *params, sd_image **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, bytes);
    sd_image_load_params p = SD_IMAGE_LOAD_PARAMS_INIT;
    sd_status status = sd_read_params(ctx, "sd_image_load_params", &p, sizeof p, params);
    return status ? status : sd_image_decode_with(ctx, "image in memory", bytes, n_bytes, &p, out);
}

sd_status sd_image_load_memory(sd_context *ctx, const void *bytes, size_t n_bytes, sd_image **out) {
    return sd_image_load_memory_with(ctx, bytes, n_bytes, NULL, out);
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

/* What a path asks for. */
static sd_status format_of(const sd_context *ctx, const char *path, bool *jpeg) {
    const char *extension = extension_of(path);
    *jpeg = same_word(extension, ".jpg") || same_word(extension, ".jpeg");
    if (*jpeg || !*extension || same_word(extension, ".png"))
        return SD_OK;
    return sd_fail(ctx, SD_ERROR_UNSUPPORTED,
                   "%s: %s files are not written; .png, .jpg or .jpeg was expected", path,
                   extension);
}

SD_PUBLIC(sd_image_save_with, (image, path, params), (image), const sd_image *image,
          const char *path, const sd_image_save_params *params) {
    SD_REQUIRE_PTR(NULL, image);
    sd_context *ctx = image->ctx;
    SD_REQUIRE_PTR(ctx, path);
    sd_image_save_params p = SD_IMAGE_SAVE_PARAMS_INIT;
    sd_image_file file = {.quality = JPEG_QUALITY};
    uint8_t *bytes;
    size_t size;
    sd_status status = sd_read_params(ctx, "sd_image_save_params", &p, sizeof p, params);
    if (!status)
        status = format_of(ctx, path, &file.jpeg);
    file.parameters = p.parameters;
    if (!status)
        status = sd_image_encode(image, &file, &bytes, &size);
    if (status)
        return status;
    status = p.only_new ? sd_write_new_file(ctx, path, bytes, size)
                        : sd_write_file(ctx, path, bytes, size);
    sd_free(ctx, bytes);
    return status;
}

sd_status sd_image_save(const sd_image *image, const char *path, const char *parameters) {
    sd_image_save_params params = SD_IMAGE_SAVE_PARAMS_INIT;
    params.parameters = parameters;
    return sd_image_save_with(image, path, &params);
}

SD_PUBLIC(sd_image_resize, (image, width, height, out), (image), const sd_image *image, int width,
          int height, sd_image **out) {
    SD_REQUIRE_PTR(image ? image->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, image);
    return sd_image_lanczos(image, width, height, out);
}

SD_PUBLIC(sd_image_from_tensor, (pixels, index, out), (pixels), const sd_tensor *pixels, int index,
          sd_image **out) {
    SD_REQUIRE_PTR(pixels ? pixels->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, pixels);
    return sd_stage_to_image(pixels, index, out);
}

SD_PUBLIC(sd_image_to_tensor, (image, out), (image), const sd_image *image, sd_tensor **out) {
    SD_REQUIRE_PTR(image ? image->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, image);
    return sd_image_to_pixels(image, out);
}
