/* Checks of what a caller gives: shapes. */
#ifndef SD_PIPELINE_SHAPES_H
#define SD_PIPELINE_SHAPES_H

#include "pipeline/model.h"

/* `dims` has -1 where any size is fine. */
sd_status sd_expect_shape(const sd_tensor *t, const char *what, int n_dims, const int64_t *dims);
/* And its numbers finite. */
sd_status sd_expect_tensor(const sd_tensor *t, const char *what, int n_dims, const int64_t *dims);
sd_status sd_expect_multiple(const sd_tensor *t, const char *what, int multiple, int max_side);
/* What the VAE encodes: [n, channels, h, w], its sides multiples of the latent's pixel. */
sd_status sd_expect_pixels(const sd_model *model, const sd_tensor *pixels);
/* What the VAE decodes: [n, latent_channels, h, w], finite. */
sd_status sd_expect_latent(const sd_model *model, const sd_tensor *latent);

/* 1 to max_size / multiple times `multiple`: what is nearest to `size`. */
int64_t sd_nearest_multiple(int64_t size, int multiple, int max_size);

#endif
