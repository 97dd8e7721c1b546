/* Lays pictures out as torchvision's make_grid does. */
#include "grid.h"

#define PADDING 2

sd_status grid_make(sd_context *ctx, sd_image *const *images, int n, int columns, sd_image **out) {
    int width = sd_image_width(images[0]), height = sd_image_height(images[0]);
    int border = n > 1 ? PADDING : 0, across = columns < n ? columns : n;
    int down = (n + across - 1) / across;
    sd_pixels grid = {.width = across * (width + border) + border,
                      .height = down * (height + border) + border,
                      .format = SD_PIXELS_RGB8};
    sd_status status = sd_image_new(ctx, &grid, out);
    for (int i = 0; i < n && !status; i++) { /* each picture is read into its place */
        int left = i % across * (width + border) + border;
        int top = i / across * (height + border) + border;
        sd_pixels place = {.width = width, .height = height, .format = SD_PIXELS_RGB8};
        place.stride = (int64_t)3 * grid.width;
        place.data = sd_image_pixels_mut(*out) + top * place.stride + (int64_t)3 * left;
        status = sd_image_read(images[i], &place);
    }
    return status;
}
