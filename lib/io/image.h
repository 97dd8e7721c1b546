/* PNG and JPEG, in memory, and PIL's resampling. */
#ifndef SD_IO_IMAGE_H
#define SD_IO_IMAGE_H

#include "core/tensor.h"

/* `name` is for error sentences (the path). RGB8 whatever the file holds, upright. */
sd_status sd_image_decode(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                          sd_image **out);
sd_status sd_image_decode_with(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                               const sd_image_load_params *params, sd_image **out);
/* Allocated bytes of a PNG / JPEG file. `parameters` may be NULL. */
sd_status sd_png_encode(const sd_image *image, const char *parameters, uint8_t **bytes,
                        size_t *size);
sd_status sd_jpeg_encode(const sd_image *image, int quality, const char *comment, uint8_t **bytes,
                         size_t *size);
/* PIL.Image.resize((width, height), LANCZOS), bit for bit. */
sd_status sd_image_lanczos(const sd_image *image, int width, int height, sd_image **out);

#endif
