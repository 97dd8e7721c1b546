/* Pixels in the host's memory, in its formats and at its strides, to images and back. */
#ifndef SD_IO_PIXEL_FORMAT_H
#define SD_IO_PIXEL_FORMAT_H

#include "core/tensor.h"

/* PIL's convert("L") of one pixel. */
static inline uint8_t sdi_grey(int red, int green, int blue) {
    return (uint8_t)((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16);
}

/* Fails unless format and stride are ones that there are, and the sides those of an image. `what`
 * names it in sentences. */
sd_status sdi_pixels_check(const sd_context *ctx, const char *what, const sd_pixels *pixels);
/* Channels of the format that an image keeps: BGRA is RGBA there. */
int sdi_pixels_channels(sd_pixel_format format);
sd_pixel_format sdi_pixels_format_of(const sd_image *image);
/* Checked pixels with data, as large as the image. */
void sdi_image_put_pixels(sd_image *image, const sd_pixels *from);
void sdi_image_get_pixels(const sd_image *image, const sd_pixels *to);

#endif
