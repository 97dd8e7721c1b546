/* The latents that a run keeps on the way: x_inter and pred_x0 of DDIMSampler.ddim_sampling, and
 * the lists of p_sample_loop (x) and progressive_denoising (pred_x0, from entry 1 on). */
#include "pipeline/sampling.h"
#include "pipeline/sampling_internal.h"

#include <string.h>

sd_status sdi_inter_new(sd_sampler *s) {
    int every = s->original.log_every_t;
    if (every == 0)
        return SD_OK;
    /* x_T, the first step, and the multiples of `every` below it */
    int64_t entries = 3 + (s->run.times.count - 1) / every;
    const int64_t dims[] = {entries * s->n, s->c, s->h, s->w};
    sd_status status = sdi_tensor_new_raw(s->model->ctx, 4, dims, &s->inter.x);
    return status ? status : sdi_tensor_new_raw(s->model->ctx, 4, dims, &s->inter.x0);
}

void sdi_inter_free(sd_sampler *s) {
    sdi_tensor_free(s->inter.x);
    sdi_tensor_free(s->inter.x0);
}

void sdi_inter_begin(sd_sampler *s) {
    size_t size = (size_t)s->host->n_elements * sizeof *s->host->data;
    if (!s->inter.x)
        return;
    memcpy(s->inter.x->data, s->host->data, size);
    memcpy(s->inter.x0->data, s->host->data, size);
    s->inter.count = 1;
}

void sdi_inter_step(sd_sampler *s) {
    int index = s->run.total - s->run.done; /* of the step just made: total - 1 down to 0 */
    if (!s->inter.x || (index % s->original.log_every_t != 0 && index != s->run.total - 1))
        return;
    sdi_exec_get(s->e, s->inter.x, (int64_t)s->inter.count * s->n, s->run.x);
    sdi_exec_get(s->e, s->inter.x0, (int64_t)s->inter.count * s->n, s->run.pred_x0);
    if (!s->e->status)
        s->inter.count++;
}

int sdi_sampler_n_inter(const sd_sampler *s) {
    return s->inter.count;
}

static sd_status copy_entry(const sd_sampler *s, const sd_tensor *list, int i, sd_tensor **latent) {
    sd_context *ctx = s->model->ctx;
    const int64_t dims[] = {s->n, s->c, s->h, s->w};
    *latent = NULL;
    if (!list)
        return sdi_fail(ctx, SD_ERROR_STATE,
                        "the sampler keeps no intermediates: sd_original_params.log_every_t is 0");
    if (s->inter.count == 0)
        return sdi_fail(ctx, SD_ERROR_STATE, "the sampler has no intermediates: no run was begun");
    if (i < 0 || i >= s->inter.count)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "intermediate %d of %d; 0 to %d was expected", i,
                        s->inter.count, s->inter.count - 1);
    sd_status status = sdi_tensor_new_raw(ctx, 4, dims, latent);
    if (!status)
        memcpy((*latent)->data, list->data + i * (*latent)->n_elements,
               (size_t)(*latent)->n_elements * sizeof *list->data);
    return status;
}

sd_status sdi_sampler_x_inter(const sd_sampler *s, int i, sd_tensor **latent) {
    return copy_entry(s, s->inter.x, i, latent);
}

sd_status sdi_sampler_pred_x0_inter(const sd_sampler *s, int i, sd_tensor **latent) {
    return copy_entry(s, s->inter.x0, i, latent);
}
