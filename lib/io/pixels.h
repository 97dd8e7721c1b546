/* Images and pixels. */
#ifndef SD_IO_PIXELS_H
#define SD_IO_PIXELS_H

#include "core/tensor.h"

/* 8-bit images <-> pixels [n, 3, h, w] in [-1, 1]. sdi_pixels_to_finite_image fails where these are
 * not finite. */
sd_status sdi_pixels_to_image(const sd_tensor *pixels, int index, sd_image **out);
sd_status sdi_pixels_to_finite_image(const sd_tensor *pixels, int index, sd_image **out);
sd_status sdi_image_to_pixels(const sd_image *image, sd_tensor **out);

#endif
