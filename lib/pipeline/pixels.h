/* Images and pixels. */
#ifndef SD_PIPELINE_PIXELS_H
#define SD_PIPELINE_PIXELS_H

#include "core/tensor.h"

/* 8-bit images <-> pixels [n, 3, h, w] in [-1, 1], which sdi_stage_to_image expects to be
 * finite */
sd_status sdi_pixels_to_image(const sd_tensor *pixels, int index, sd_image **out);
sd_status sdi_stage_to_image(const sd_tensor *pixels, int index, sd_image **out);
sd_status sdi_image_to_pixels(const sd_image *image, sd_tensor **out);

#endif
