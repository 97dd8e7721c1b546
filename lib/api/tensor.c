/* Tensors: section 6 of sd.h. */
#include "core/tensor.h"
#include "api/check.h"

#include <string.h>

SD_PUBLIC(sd_tensor_new, (ctx, n_dims, dims, data, out), (ctx), sd_context *ctx, int32_t n_dims,
          const int64_t *dims, const float *data, sd_tensor **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, dims);
    sd_status status = sdi_tensor_new(ctx, n_dims, dims, out);
    if (!status && data)
        memcpy((*out)->data, data, (size_t)(*out)->n_elements * sizeof *data);
    return status;
}

void sd_tensor_free(sd_tensor *tensor) {
    sdi_handle_free(tensor);
}

int32_t sd_tensor_n_dims(const sd_tensor *tensor) {
    return tensor ? tensor->n_dims : 0;
}

const int64_t *sd_tensor_dims(const sd_tensor *tensor) {
    return tensor ? tensor->dims : NULL;
}

int64_t sd_tensor_n_elements(const sd_tensor *tensor) {
    return tensor ? tensor->n_elements : 0;
}

const float *sd_tensor_data(const sd_tensor *tensor) {
    return tensor ? tensor->data : NULL;
}

float *sd_tensor_data_mut(sd_tensor *tensor) {
    return tensor ? tensor->data : NULL;
}
