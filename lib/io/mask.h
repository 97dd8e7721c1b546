/* The mask of a picture, before it becomes latents: 8-bit grey, 255 where all is painted. */
#ifndef SD_IO_MASK_H
#define SD_IO_MASK_H

#include "core/tensor.h"

#define SD_MASK_WHITE 128 /* from here on a pixel is painted */

/* PIL's convert("L") of pixel i. */
int sdi_image_grey(const sd_image *image, size_t i);

/* The wishes about a mask. */
typedef struct sd_masking {
    double blur; /* sigma, in pixels of the mask */
    bool invert;
    bool any_pixel;   /* of a latent's square: see sdi_shrink_mask */
    bool only_masked; /* that part alone is painted, at the run's size */
    int padding;      /* pixels around that part */
} sd_masking;

/* The mask at its own size in one channel: from its alpha channel where its colour says nothing,
 * inverted and blurred. */
sd_status sdi_mask_prepare(const sd_image *mask, const sd_masking *how, sd_image **grey);

/* Whether there is anything between black and white, which is then blended by. */
bool sdi_mask_is_soft(const sd_image *grey);

typedef struct sd_rect {
    int x, y, w, h;
} sd_rect;

/*
 * The part of a picture that is painted with only_masked: the mask's rectangle, `padding` pixels
 * around it, and as much more as gives it the sides' proportion, where the picture has so much. The
 * whole picture where the mask is black.
 */
sd_rect sdi_mask_region(const sd_image *grey, int padding, int width, int height);
/* Where a region of w x h pixels lies when it is fitted into width x height, in the middle. */
sd_rect sdi_rect_fit(int w, int h, int width, int height);

/* Copies a rectangle. */
sd_status sdi_image_cut(const sd_image *image, sd_rect rect, sd_image **out);
/* Cuts out `from`, resizes it to `to`, and lays it into an image of width x height; around it the
 * edges go on. */
sd_status sdi_image_lay(const sd_image *image, sd_rect from, sd_rect to, int width, int height,
                        sd_image **out);

/* PIL's paste with a mask: out becomes `over` where `amount`, one value a pixel, is 255. `out` has
 * 3 channels, `under` 1, 3 or 4. */
void sdi_image_blend(const sd_image *under, const uint8_t *amount, sd_image *out);

/* Says in the log that a mask paints nothing or everything, and that parts of what it has at the
 * run's size ([h, w], 1 to paint) reach no latent; the latter unless `any_pixel`. */
void sdi_mask_warn(const sd_image *grey, const float *white, int h, int w, int scale,
                   bool any_pixel);

/* The mask [h * scale, w * scale] at the size of latents [h, w], `on` where it is white. */
void sdi_shrink_mask(const float *mask, int h, int w, int scale, bool any, float off, float on,
                     float *out);

#endif
