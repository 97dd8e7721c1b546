/* Checks of host tensors: SD_ERROR_ARGUMENT, with a sentence that names the argument. */
#ifndef SD_CORE_EXPECT_H
#define SD_CORE_EXPECT_H

#include "core/tensor.h"

/* `dims` has -1 where any size is fine. */
sd_status sdi_expect_shape(const sd_tensor *t, const char *what, int n_dims, const int64_t *dims);
/* Height and width of [n, c, h, w]. */
sd_status sdi_expect_multiple(const sd_tensor *t, const char *what, int multiple, int max_side);
sd_status sdi_expect_finite(const sd_tensor *t, const char *what);
/* Shape and numbers. */
sd_status sdi_expect_tensor(const sd_tensor *t, const char *what, int n_dims, const int64_t *dims);

/* 1 to max_size / multiple times `multiple`: what is nearest to `size`. */
int64_t sdi_nearest_multiple(int64_t size, int multiple, int max_size);
/* Where the first value is that is infinite or no number; -1: nowhere. */
int64_t sdi_find_not_finite(const float *x, int64_t n);
/* Writes what element `at` is and where, "nan at [0, 3, 17, 5]", into `text`, which is returned. */
const char *sdi_element_text(char *text, size_t size, const sd_tensor *t, int64_t at);

#endif
