/* Images of so many channels, as tests write and look at them. */
#ifndef SD_TESTS_SUPPORT_IMAGE_H
#define SD_TESTS_SUPPORT_IMAGE_H

#include <sd/sd.h>

/* Of 1, 3 or 4 channels; `pixels` NULL: black. */
static inline sd_status new_image(sd_context *ctx, int width, int height, int channels,
                                  const uint8_t *pixels, sd_image **out) {
    static const sd_pixel_format formats[] = {
        [1] = SD_PIXELS_GREY8, [3] = SD_PIXELS_RGB8, [4] = SD_PIXELS_RGBA8};
    sd_pixels host = {.data = (void *)pixels, .width = width, .height = height};
    host.format = formats[channels];
    return sd_image_new(ctx, &host, out);
}

static inline int image_channels(const sd_image *image) {
    sd_pixel_format format = sd_image_format(image);
    return format == SD_PIXELS_GREY8 ? 1 : format == SD_PIXELS_RGB8 ? 3 : 4;
}

#endif
