#include "pipeline/shapes.h"
#include "pipeline/finite.h"

#include <stdio.h>

/* "[1, 4, any, any]" */
static const char *expected_text(char *text, size_t size, int n_dims, const int64_t *dims) {
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < n_dims && used < size; i++) {
        const char *comma = i ? ", " : "";
        used += (size_t)(dims[i] < 0 ? snprintf(text + used, size - used, "%sany", comma)
                                     : snprintf(text + used, size - used, "%s%lld", comma,
                                                (long long)dims[i]));
    }
    if (used < size)
        snprintf(text + used, size - used, "]");
    return text;
}

sd_status sd_expect_shape(const sd_tensor *t, const char *what, int n_dims, const int64_t *dims) {
    bool fits = t->n_dims == n_dims;
    for (int i = 0; fits && i < n_dims; i++)
        fits = dims[i] < 0 || t->dims[i] == dims[i];
    if (fits)
        return SD_OK;
    char found[128], expected[128];
    return sd_fail(t->ctx, SD_ERROR_ARGUMENT, "%s is %s; %s was expected", what,
                   sd_shape_text(found, sizeof found, t->n_dims, t->dims),
                   expected_text(expected, sizeof expected, n_dims, dims));
}

sd_status sd_expect_tensor(const sd_tensor *t, const char *what, int n_dims, const int64_t *dims) {
    sd_status status = sd_expect_shape(t, what, n_dims, dims);
    return status ? status : sd_expect_finite(t, what);
}

int64_t sd_nearest_multiple(int64_t size, int multiple, int max_size) {
    int64_t most = max_size / multiple,
            n = size < max_size ? (size + multiple / 2) / multiple : most;
    return (n < 1 ? 1 : n > most ? most : n) * multiple;
}

/* Height and width of a [n, c, h, w] tensor. */
sd_status sd_expect_multiple(const sd_tensor *t, const char *what, int multiple, int max_side) {
    int64_t h = t->dims[2], w = t->dims[3];
    if (h % multiple == 0 && w % multiple == 0 && h <= max_side && w <= max_side &&
        t->dims[0] <= 65536)
        return SD_OK;
    char found[128];
    return sd_fail(
        t->ctx, SD_ERROR_ARGUMENT,
        "%s is %s; height and width up to %d that are multiples of %d were expected: the "
        "nearest are %lld and %lld",
        what, sd_shape_text(found, sizeof found, t->n_dims, t->dims), max_side, multiple,
        (long long)sd_nearest_multiple(h, multiple, max_side),
        (long long)sd_nearest_multiple(w, multiple, max_side));
}

sd_status sd_expect_pixels(const sd_model *model, const sd_tensor *pixels) {
    int64_t dims[] = {-1, model->desc->vae.in_channels, -1, -1};
    sd_status status = sd_expect_shape(pixels, "pixels", 4, dims);
    return status
               ? status
               : sd_expect_multiple(pixels, "pixels", sd_model_downscale(model), SD_MAX_IMAGE_SIDE);
}

sd_status sd_expect_latent(const sd_model *model, const sd_tensor *latent) {
    int64_t dims[] = {-1, model->desc->vae.latent_channels, -1, -1};
    int max_side = SD_MAX_IMAGE_SIDE / sd_model_downscale(model);
    sd_status status = sd_expect_shape(latent, "latent", 4, dims);
    if (!status)
        status = sd_expect_multiple(latent, "latent", 1, max_side);
    return status ? status : sd_expect_finite(latent, "latent");
}
