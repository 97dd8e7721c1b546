/* PNG and JPEG, in memory, and PIL's resampling. */
#ifndef SD_IO_IMAGE_H
#define SD_IO_IMAGE_H

#include "core/tensor.h"

/* `name` is for error sentences (the path). RGB8 whatever the file holds, upright. */
sd_status sdi_image_decode(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                           sd_image **out);
sd_status sdi_image_decode_with(sd_context *ctx, const char *name, const uint8_t *bytes,
                                size_t size, const sd_image_load_params *params, sd_image **out);

/* The kind of file that an image becomes. */
typedef struct sd_image_file {
    bool jpeg;              /* or PNG */
    int quality;            /* of JPEG, 1 .. 100 */
    const char *parameters; /* kept in a text chunk or a comment; or NULL */
} sd_image_file;

/* Allocated bytes of such a file. */
sd_status sdi_image_encode(const sd_image *image, const sd_image_file *file, uint8_t **bytes,
                           size_t *size);

/* PIL.Image.resize((width, height), LANCZOS), bit for bit. */
sd_status sdi_image_lanczos(const sd_image *image, int width, int height, sd_image **out);

#endif
