/* What a run keeps on the way: x_inter and pred_x0 of DDIMSampler.ddim_sampling, and the lists of
 * p_sample_loop (x) and progressive_denoising (pred_x0, from entry 1 on). */
#include "pipeline/sampling_internal.h"

#include <string.h>

static size_t latent_size(const sd_sampler *s) {
    return (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
}

sd_status sd_inter_new(sd_sampler *s) {
    const sd_context *ctx = s->model->ctx;
    int every = s->params.log_every_t;
    if (every == 0)
        return SD_OK;
    /* x_T, the first step, and the multiples of `every` below it */
    size_t capacity = 3 + (size_t)((s->run.times.count - 1) / every);
    s->inter.x = sd_alloc_array(ctx, capacity * latent_size(s), sizeof *s->inter.x);
    s->inter.x0 = sd_alloc_array(ctx, capacity * latent_size(s), sizeof *s->inter.x0);
    return s->inter.x && s->inter.x0 ? SD_OK : SD_ERROR_MEMORY;
}

void sd_inter_free(sd_sampler *s) {
    sd_free(s->model->ctx, s->inter.x);
    sd_free(s->model->ctx, s->inter.x0);
}

void sd_inter_begin(sd_sampler *s, const float *x) {
    if (!s->inter.x)
        return;
    memcpy(s->inter.x, x, latent_size(s) * sizeof *x);
    memcpy(s->inter.x0, x, latent_size(s) * sizeof *x);
    s->inter.count = 1;
}

void sd_inter_step(sd_sampler *s) {
    int index = s->total - s->run.done; /* of the step just made: total - 1 down to 0 */
    if (!s->inter.x || (index % s->params.log_every_t != 0 && index != s->total - 1))
        return;
    size_t at = (size_t)s->inter.count * latent_size(s);
    sd_nhwc_to_nchw(s->inter.x + at, s->nhwc, s->n, s->c, s->h, s->w);
    sd_exec_download(s->e, s->nhwc, s->run.pred_x0);
    if (s->e->status)
        return;
    sd_nhwc_to_nchw(s->inter.x0 + at, s->nhwc, s->n, s->c, s->h, s->w);
    s->inter.count++;
}

int sd_sampling_n_inter(const sd_sampler *s) {
    return s->inter.count;
}

static sd_status copy_entry(const sd_sampler *s, const float *list, int i, sd_tensor **latent) {
    const sd_context *ctx = s->model->ctx;
    const int64_t dims[] = {s->n, s->c, s->h, s->w};
    *latent = NULL;
    if (!list)
        return sd_fail(ctx, SD_ERROR_STATE,
                       "the sampler keeps no intermediates: sd_sampler_params.log_every_t is 0");
    if (s->inter.count == 0)
        return sd_fail(ctx, SD_ERROR_STATE, "the sampler has no intermediates: no run was begun");
    if (i < 0 || i >= s->inter.count)
        return sd_fail(ctx, SD_ERROR_ARGUMENT, "intermediate %d of %d; 0 to %d was expected", i,
                       s->inter.count, s->inter.count - 1);
    sd_status status = sd_tensor_create(s->model->ctx, 4, dims, latent);
    if (!status)
        memcpy((*latent)->data, list + (size_t)i * latent_size(s), latent_size(s) * sizeof *list);
    return status;
}

sd_status sd_sampling_x_inter(const sd_sampler *s, int i, sd_tensor **latent) {
    return copy_entry(s, s->inter.x, i, latent);
}

sd_status sd_sampling_pred_x0_inter(const sd_sampler *s, int i, sd_tensor **latent) {
    return copy_entry(s, s->inter.x0, i, latent);
}
