/* Lays pictures out as torchvision's make_grid does. */
#include "grid.h"

#include <string.h>

#define PADDING 2

sd_status grid_make(sd_context *ctx, sd_image *const *images, int n, int columns, sd_image **out) {
    int width = sd_image_width(images[0]), height = sd_image_height(images[0]);
    int channels = sd_image_channels(images[0]);
    if (n == 1)
        return sd_image_new(ctx, width, height, channels, sd_image_pixels(images[0]), out);
    int across = columns < n ? columns : n;
    int down = (n + across - 1) / across;
    int pitch_x = width + PADDING, pitch_y = height + PADDING;
    sd_status status = sd_image_new(ctx, pitch_x * across + PADDING, pitch_y * down + PADDING,
                                    channels, NULL, out);
    if (status)
        return status;
    size_t line = (size_t)sd_image_width(*out) * (size_t)channels;
    size_t each = (size_t)width * (size_t)channels;
    for (int i = 0; i < n; i++) {
        int left = i % across * pitch_x + PADDING, top = i / across * pitch_y + PADDING;
        uint8_t *to = sd_image_pixels(*out) + (size_t)top * line + (size_t)(left * channels);
        const uint8_t *from = sd_image_pixels(images[i]);
        for (int y = 0; y < height; y++)
            memcpy(to + (size_t)y * line, from + (size_t)y * each, each);
    }
    return SD_OK;
}
