/* Turns pixels into 8-bit images and back. */
#include "io/pixels.h"
#include "core/expect.h"

#include <math.h>

/* diffusers: (x / 2 + 0.5), clamped, times 255, rounded half to even. NaN gives 0. */
static uint8_t to_byte(float x) {
    float v = x * 0.5f + 0.5f;
    if (!(v > 0.0f))
        return 0;
    return v < 1.0f ? (uint8_t)lrintf(v * 255.0f) : 255;
}

sd_status sdi_pixels_to_image(const sd_tensor *pixels, int index, sd_image **out) {
    int64_t dims[] = {-1, 3, -1, -1};
    *out = NULL;
    sd_status status = sdi_expect_shape(pixels, "pixels", 4, dims);
    if (!status)
        status = sdi_expect_multiple(pixels, "pixels", 1, SD_MAX_IMAGE_SIDE);
    if (status)
        return status;
    if (index < 0 || index >= pixels->dims[0])
        return sdi_fail(pixels->ctx, SD_ERROR_ARGUMENT,
                        "picture %d of %lld; 0 to %lld was expected", index,
                        (long long)pixels->dims[0], (long long)pixels->dims[0] - 1);
    int height = (int)pixels->dims[2], width = (int)pixels->dims[3];
    status = sdi_image_new(pixels->ctx, width, height, 3, out);
    if (status)
        return status;
    size_t plane = (size_t)height * (size_t)width;
    const float *src = pixels->data + (size_t)index * 3 * plane;
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < plane; i++)
            (*out)->pixels[i * 3 + c] = to_byte(src[c * plane + i]);
    return SD_OK;
}

sd_status sdi_pixels_to_finite_image(const sd_tensor *pixels, int index, sd_image **out) {
    sd_status status = sdi_pixels_to_image(pixels, index, out);
    if (status || (status = sdi_expect_finite(pixels, "pixels")) == SD_OK)
        return status;
    sdi_image_free(*out);
    *out = NULL;
    return status;
}

/* Grey becomes three equal channels; alpha is dropped, as PIL's convert("RGB") does. */
sd_status sdi_image_to_pixels(const sd_image *image, sd_tensor **out) {
    int64_t dims[] = {1, 3, image->height, image->width};
    sd_status status = sdi_tensor_new(image->ctx, 4, dims, out);
    if (status)
        return status;
    size_t plane = (size_t)image->height * (size_t)image->width;
    size_t channels = (size_t)image->channels;
    for (size_t c = 0; c < 3; c++) {
        const uint8_t *src = image->pixels + (channels == 1 ? 0 : c);
        float *dst = (*out)->data + c * plane;
        for (size_t i = 0; i < plane; i++)
            dst[i] = 2.0f * ((float)src[i * channels] / 255.0f) - 1.0f;
    }
    return SD_OK;
}
