#include "io/pixel_format.h"

#include <string.h>

/* Where a pixel's bytes are; alpha -1: there is none. Grey has all its colours in one. */
typedef struct layout {
    int channels, red, green, blue, alpha;
} layout;

static const layout layouts[] = {
    [SD_PIXELS_RGB8] = {3, 0, 1, 2, -1},
    [SD_PIXELS_RGBA8] = {4, 0, 1, 2, 3},
    [SD_PIXELS_BGRA8] = {4, 2, 1, 0, 3},
    [SD_PIXELS_GREY8] = {1, 0, 0, 0, -1},
};

sd_pixel_format sdi_pixels_format_of(const sd_image *image) {
    return image->channels == 1   ? SD_PIXELS_GREY8
           : image->channels == 3 ? SD_PIXELS_RGB8
                                  : SD_PIXELS_RGBA8;
}

int sdi_pixels_channels(sd_pixel_format format) {
    return layouts[format].channels;
}

sd_status sdi_pixels_check(const sd_context *ctx, const char *what, const sd_pixels *pixels) {
    if (pixels->format < 0 || pixels->format >= (sd_pixel_format)SD_COUNT(layouts))
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "%s.format is %d; a value of sd_pixel_format was expected", what,
                        (int)pixels->format);
    if (pixels->reserved != 0)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED, "%s.reserved is %d; 0 was expected", what,
                        (int)pixels->reserved);
    if (pixels->width < 1 || pixels->height < 1 || pixels->width > SD_MAX_IMAGE_SIDE ||
        pixels->height > SD_MAX_IMAGE_SIDE)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "%s: %d x %d pixels; 1 to %d a side were expected",
                        what, (int)pixels->width, (int)pixels->height, SD_MAX_IMAGE_SIDE);
    int64_t row = (int64_t)pixels->width * layouts[pixels->format].channels;
    int64_t most = PTRDIFF_MAX / SD_MAX_IMAGE_SIDE;
    bool fits = pixels->stride == 0 || (pixels->stride >= row && pixels->stride <= most) ||
                (pixels->stride <= -row && pixels->stride >= -most);
    if (!fits)
        return sdi_fail(
            ctx, SD_ERROR_ARGUMENT,
            "%s.stride is %lld; 0 or at least the %lld bytes of a row, or as much below "
            "0, was expected",
            what, (long long)pixels->stride, (long long)row);
    return SD_OK;
}

static uint8_t *row_of(const sd_pixels *pixels, int y) {
    int64_t tight = (int64_t)pixels->width * layouts[pixels->format].channels;
    return (uint8_t *)pixels->data + y * (pixels->stride ? pixels->stride : tight);
}

static void convert_row(const uint8_t *from, const layout *a, uint8_t *to, const layout *b, int n) {
    if (a == b) {
        memcpy(to, from, (size_t)n * (size_t)a->channels);
        return;
    }
    for (int x = 0; x < n; x++, from += a->channels, to += b->channels) {
        if (b->channels == 1) {
            *to = sdi_grey(from[a->red], from[a->green], from[a->blue]);
            continue;
        }
        to[b->red] = from[a->red];
        to[b->green] = from[a->green];
        to[b->blue] = from[a->blue];
        if (b->alpha >= 0)
            to[b->alpha] = a->alpha >= 0 ? from[a->alpha] : 255;
    }
}

void sdi_image_put_pixels(sd_image *image, const sd_pixels *from) {
    const layout *own = &layouts[sdi_pixels_format_of(image)];
    size_t row = (size_t)image->width * (size_t)own->channels;
    for (int y = 0; y < image->height; y++)
        convert_row(row_of(from, y), &layouts[from->format], image->pixels + (size_t)y * row, own,
                    image->width);
}

void sdi_image_get_pixels(const sd_image *image, const sd_pixels *to) {
    const layout *own = &layouts[sdi_pixels_format_of(image)];
    size_t row = (size_t)image->width * (size_t)own->channels;
    for (int y = 0; y < image->height; y++)
        convert_row(image->pixels + (size_t)y * row, own, row_of(to, y), &layouts[to->format],
                    image->width);
}
