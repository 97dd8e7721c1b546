/* Section 5 of sd/sd.h, tensors: float32 arrays in and out. */
#ifndef SD_TENSOR_H
#define SD_TENSOR_H

#include <sd/context.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SD_MAX_DIMS 5

/*
 * A dense float32 array in the C (row-major) order, at host memory. Latents are
 * [n, channels, h, w], a context [n, tokens, width], pixels [n, 3, h, w] in [-1, 1]: as in
 * PyTorch. `data` NULL makes zeros; else it is copied.
 * Thread-safety of sd_tensor: reads from any number of threads; one thread when it changes.
 */
LIBSD_API sd_status sd_tensor_new(sd_context *ctx, int32_t n_dims, const int64_t *dims,
                                  const float *data, sd_tensor **out);
LIBSD_API void sd_tensor_free(sd_tensor *tensor);
LIBSD_API int32_t sd_tensor_n_dims(const sd_tensor *tensor);
LIBSD_API const int64_t *sd_tensor_dims(const sd_tensor *tensor);
LIBSD_API int64_t sd_tensor_n_elements(const sd_tensor *tensor);
/* Valid as long as the tensor; the second for writing. */
LIBSD_API const float *sd_tensor_data(const sd_tensor *tensor);
LIBSD_API float *sd_tensor_data_mut(sd_tensor *tensor);

#ifdef __cplusplus
}
#endif

#endif
