#include "pipeline/sampling_internal.h"

#include <string.h>

/*
 * What DiffusionWrapper's `concat` and `hybrid` put beside the latent: torch.cat([x] + c_concat,
 * dim=1) of ldm/models/diffusion/ddpm.py. Both halves of guidance see the same. It is laid into
 * x_in once; a step writes the latent's channels alone.
 */

/* x_in, [halves * n, h, w, c + extra], with 0 for the latent. */
static void fill(const sd_sampler *s, const sd_tensor *concat, float *x_in) {
    size_t area = (size_t)s->h * (size_t)s->w, extra = (size_t)s->extra,
           wide = (size_t)s->c + extra;
    memset(x_in, 0, (size_t)(s->halves * s->n) * area * wide * sizeof *x_in);
    for (size_t i = 0; i < (size_t)(s->halves * s->n); i++) {
        const float *from = concat->data + i % (size_t)concat->dims[0] * extra * area;
        float *to = x_in + i * area * wide + s->c;
        for (size_t j = 0; j < area; j++)
            for (size_t k = 0; k < extra; k++)
                to[j * wide + k] = from[k * area + j];
    }
}

sd_status sd_sampling_set_concat(sd_sampler *s, const sd_tensor *concat) {
    sd_context *ctx = s->model->ctx;
    if (!concat) {
        s->has_concat = false;
        return SD_OK;
    }
    if (s->extra == 0)
        return sd_fail(ctx, SD_ERROR_ARGUMENT,
                       "concat is given; this UNet takes the latent alone, NULL was expected");
    int64_t dims[] = {concat->n_dims == 4 && concat->dims[0] == 1 ? 1 : s->n, s->extra, s->h, s->w};
    sd_status status = sd_expect_shape(concat, "concat", 4, dims);
    if (!status)
        status = sd_expect_finite(concat, "concat");
    if (status)
        return status;
    size_t pixels = (size_t)(s->halves * s->n) * (size_t)s->h * (size_t)s->w;
    float *x_in = sd_alloc_array(ctx, pixels * (size_t)(s->c + s->extra), sizeof *x_in);
    if (!x_in)
        return SD_ERROR_MEMORY;
    fill(s, concat, x_in);
    sd_sampling_enter(s);
    sd_exec_upload(s->e, s->x_in, x_in);
    sd_free(ctx, x_in);
    s->has_concat = s->e->status == SD_OK;
    return s->e->status;
}
