/* Host tensors and images: the structs behind the public handles. */
#ifndef SD_CORE_TENSOR_H
#define SD_CORE_TENSOR_H

#include "core/context.h"

struct sd_tensor {
    sd_handle handle;
    sd_context *ctx; /* retained */
    int n_dims;
    int64_t dims[SD_MAX_DIMS];
    int64_t n_elements;
    float *data;
};

struct sd_image {
    sd_handle handle;
    sd_context *ctx; /* retained */
    int width, height, channels;
    uint8_t *pixels;
};

/* Zeros. */
sd_status sdi_tensor_new(sd_context *ctx, int n_dims, const int64_t *dims, sd_tensor **out);
/* Not cleared: for what is written from end to end, or destroyed. */
sd_status sdi_tensor_new_raw(sd_context *ctx, int n_dims, const int64_t *dims, sd_tensor **out);
/* Lets go of it. */
void sdi_tensor_free(sd_tensor *t);
/* The end of a function that made `t`: *out = t, or after a failure NULL, and t goes. */
sd_status sdi_tensor_give(sd_status status, sd_tensor *t, sd_tensor **out);

/* Pixels of a side: of any picture, and of one that a run paints. */
#define SD_MAX_IMAGE_SIDE 32768
#define SD_MAX_RUN_SIDE 16384
sd_status sdi_image_new(sd_context *ctx, int width, int height, int channels, sd_image **out);
void sdi_image_free(sd_image *image);

/* "[1, 4, 64, 64]" into `text`, which is returned. */
const char *sdi_shape_text(char *text, size_t size, int n_dims, const int64_t *dims);

#endif
