/* Numbers that are none, in what is given and in what was computed. */
#ifndef SD_PIPELINE_FINITE_H
#define SD_PIPELINE_FINITE_H

#include "pipeline/model.h"

/* Where the first value is that is infinite or no number; -1: nowhere. */
int64_t sd_find_not_finite(const float *x, int64_t n);
/* Of an argument: SD_ERROR_ARGUMENT by its name. */
sd_status sd_expect_finite(const sd_tensor *t, const char *what);
/* Of what `stage` ("the UNet") made of finite numbers: SD_ERROR_MODEL, with a way out. */
sd_status sd_check_computed(const sd_model *model, const char *stage, const sd_tensor *t);
/* Its sentence, for element `at`, where it was found. */
sd_status sd_fail_not_finite(const sd_model *model, const char *stage, float value, int n_dims,
                             const int64_t *dims, int64_t at);

#endif
