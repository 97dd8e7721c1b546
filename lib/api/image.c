/* Images: section 5 of sd.h. */
#include "io/image.h"
#include "api/check.h"
#include "core/os.h"
#include "pipeline/pipeline.h"

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

SD_PUBLIC(sd_image_load, (ctx, path, out), (ctx), sd_context *ctx, const char *path,
          sd_image **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, path);
    uint8_t *bytes;
    size_t size;
    sd_status status = sd_read_file(ctx, path, MAX_IMAGE_FILE, &bytes, &size);
    if (status)
        return status;
    status = sd_image_decode(ctx, path, bytes, size, out);
    sd_free(ctx, bytes);
    return status;
}

SD_PUBLIC(sd_image_load_memory, (ctx, bytes, n_bytes, out), (ctx), sd_context *ctx,
          const void *bytes, size_t n_bytes, sd_image **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, bytes);
    return sd_image_decode(ctx, "image in memory", bytes, n_bytes, out);
}

/* ".jpg" against the end of a path, whatever its case. */
static bool ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    if (n < m)
        return false;
    for (size_t i = 0; i < m; i++) {
        char c = path[n - m + i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if (c != ending[i])
            return false;
    }
    return true;
}

SD_PUBLIC(sd_image_save, (image, path, parameters), (image), const sd_image *image,
          const char *path, const char *parameters) {
    SD_REQUIRE_PTR(NULL, image);
    SD_REQUIRE_PTR(image->ctx, path);
    bool jpeg = ends_with(path, ".jpg") || ends_with(path, ".jpeg");
    uint8_t *bytes;
    size_t size;
    sd_status status = jpeg ? sd_jpeg_encode(image, JPEG_QUALITY, parameters, &bytes, &size)
                            : sd_png_encode(image, parameters, &bytes, &size);
    if (status)
        return status;
    status = sd_write_file(image->ctx, path, bytes, size);
    sd_free(image->ctx, bytes);
    return status;
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
