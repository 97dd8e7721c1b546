/* Makes host tensors and images and checks their shapes. */
#include "core/tensor.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MAX_ELEMENTS ((int64_t)1 << 40)

const char *sdi_shape_text(char *text, size_t size, int n_dims, const int64_t *dims) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < n_dims && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s%lld", i ? ", " : "", (long long)dims[i]);
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}

/* Number of elements, or -1 where the shape is not one of a tensor. */
static int64_t count_elements(int n_dims, const int64_t *dims) {
    if (n_dims < 1 || n_dims > SD_MAX_DIMS)
        return -1;
    int64_t n = 1;
    for (int i = 0; i < n_dims; i++) {
        if (dims[i] < 1 || dims[i] > MAX_ELEMENTS / n)
            return -1;
        n *= dims[i];
    }
    return n;
}

static void free_tensor(void *handle) {
    sd_tensor *t = handle;
    sd_context *ctx = t->ctx;
    sdi_free(ctx, t->data);
    sdi_free(ctx, t);
    sdi_context_release(ctx);
}

sd_status sdi_tensor_new_raw(sd_context *ctx, int n_dims, const int64_t *dims, sd_tensor **out) {
    *out = NULL;
    int64_t n = count_elements(n_dims, dims);
    if (n < 0) {
        char shape[128];
        int shown = n_dims < 0 ? 0 : n_dims > SD_MAX_DIMS ? SD_MAX_DIMS : n_dims;
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "tensor of %d dimensions %s: 1 to %d dimensions, each at least 1, were "
                        "expected",
                        n_dims, sdi_shape_text(shape, sizeof shape, shown, dims), SD_MAX_DIMS);
    }
    sd_tensor *t = sdi_zalloc(ctx, sizeof *t);
    size_t size = (uint64_t)n > SIZE_MAX / sizeof(float) ? SIZE_MAX : (size_t)n * sizeof(float);
    float *data = t ? sdi_alloc(ctx, size) : NULL;
    if (!data) {
        sdi_free(ctx, t);
        return SD_ERROR_MEMORY;
    }
    sdi_context_retain(ctx);
    *t = (sd_tensor){.ctx = ctx, .n_dims = n_dims, .n_elements = n, .data = data};
    memcpy(t->dims, dims, (size_t)n_dims * sizeof *dims);
    sdi_handle_init(&t->handle, ctx, free_tensor);
    *out = t;
    return SD_OK;
}

sd_status sdi_tensor_new(sd_context *ctx, int n_dims, const int64_t *dims, sd_tensor **out) {
    sd_status status = sdi_tensor_new_raw(ctx, n_dims, dims, out);
    if (!status)
        memset((*out)->data, 0, (size_t)(*out)->n_elements * sizeof *(*out)->data);
    return status;
}

void sdi_tensor_free(sd_tensor *t) {
    sdi_handle_release(t);
}

sd_status sdi_tensor_give(sd_status status, sd_tensor *t, sd_tensor **out) {
    if (status)
        sdi_tensor_free(t);
    *out = status ? NULL : t;
    return status;
}

static void free_image(void *handle) {
    sd_image *image = handle;
    sd_context *ctx = image->ctx;
    sdi_free(ctx, image->pixels);
    sdi_free(ctx, image);
    sdi_context_release(ctx);
}

sd_status sdi_image_new(sd_context *ctx, int width, int height, int channels, sd_image **out) {
    *out = NULL;
    if (width < 1 || height < 1 || width > SD_MAX_IMAGE_SIDE || height > SD_MAX_IMAGE_SIDE)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "image of %d x %d pixels: 1 to %d a side were expected", width, height,
                        SD_MAX_IMAGE_SIDE);
    if (channels != 1 && channels != 3 && channels != 4)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "image of %d channels: 1, 3 or 4 were expected",
                        channels);
    sd_image *image = sdi_zalloc(ctx, sizeof *image);
    uint8_t *pixels =
        image ? sdi_alloc_array(ctx, (size_t)width * (size_t)height, (size_t)channels) : NULL;
    if (!pixels) {
        sdi_free(ctx, image);
        return SD_ERROR_MEMORY;
    }
    sdi_context_retain(ctx);
    *image = (sd_image){
        .ctx = ctx, .width = width, .height = height, .channels = channels, .pixels = pixels};
    sdi_handle_init(&image->handle, ctx, free_image);
    *out = image;
    return SD_OK;
}

void sdi_image_free(sd_image *image) {
    sdi_handle_release(image);
}
