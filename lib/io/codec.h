/* Shared by image.c, png.c, jpeg.c and exif.c. codec.c has what is not of one format. */
#ifndef SD_IO_CODEC_H
#define SD_IO_CODEC_H

#include "core/tensor.h"

#define SD_MAX_PIXELS ((uint64_t)1 << 28)

/* RGBA where the file has transparency and `keep_alpha` is set. */
sd_status sdi_png_decode(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                         bool keep_alpha, sd_image **out);
sd_status sdi_jpeg_decode(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                          sd_image **out);

/* exif.c: turns what was decoded of a file as its EXIF data say. *image is NULL after a failure. */
sd_status sdi_exif_upright(const char *name, const uint8_t *bytes, size_t size, sd_image **image);

/* Before memory is taken: sides, pixels, and that a file of `size` bytes can hold so many when
 * each byte gives at most `pixels_per_byte`. */
sd_status sdi_check_image_file(const sd_context *ctx, const char *name, uint64_t width,
                               uint64_t height, size_t size, uint64_t pixels_per_byte);

/* A buffer that grows. */
typedef struct sd_sink {
    const sd_context *ctx;
    uint8_t *bytes;
    size_t size, capacity;
} sd_sink;

/* Append a file, or a part of one before a failure, to `sink`. Texts may be NULL. */
sd_status sdi_png_encode(const sd_image *image, const char *parameters, sd_sink *sink);
sd_status sdi_jpeg_encode(const sd_image *image, int quality, const char *comment, sd_sink *sink);

/* False where there is no memory. */
bool sdi_sink_reserve(sd_sink *sink, size_t capacity);
bool sdi_sink_write(sd_sink *sink, const void *bytes, size_t n);

#endif
