/* Reading from struct sd_sampler, and setting in it, between steps. */
#include "pipeline/preview.h"
#include "pipeline/sampling.h"
#include "pipeline/sampling_internal.h"

sd_status sdi_sampler_pred_x0(sd_sampler *s, sd_tensor **latent) {
    *latent = NULL;
    return s->has_x0 ? sdi_sampler_copy(s, s->run.pred_x0, latent)
                     : sdi_sampler_fail_none(s, "predicted x_0");
}

sd_status sdi_sampler_set_latent(sd_sampler *s, const sd_tensor *latent) {
    if (!s->has_latent)
        return sdi_sampler_fail_none(s, "latent");
    sd_status status = sdi_sampler_check_latent(s, latent, "latent", false);
    if (status)
        return status;
    sdi_sampler_enter(s);
    sdi_exec_put(s->e, s->run.x, latent, 0);
    s->run.touched = true;
    return s->e->status;
}

sd_status sdi_sampler_check_mask(const sd_sampler *s, const sd_tensor *mask, const sd_tensor *x0) {
    bool one = mask->n_dims == 4 && mask->dims[0] == 1;
    const int64_t dims[] = {one ? 1 : s->n, 1, s->h, s->w};
    if (s->run.method->inverse)
        return sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                        "mask is given; the sampling method \"%s\" takes none",
                        s->run.method->name);
    sd_status status = sdi_expect_tensor(mask, "mask", 4, dims);
    return status ? status : sdi_sampler_check_latent(s, x0, "mask_x0", true);
}

void sdi_sampler_put_mask(sd_sampler *s, const sd_tensor *mask, const sd_tensor *x0) {
    sdi_exec_put(s->e, s->mask, mask, 0);
    sdi_exec_put(s->e, s->known, x0, 0);
    s->has_mask = s->e->status == SD_OK;
}

sd_status sdi_sampler_set_mask(sd_sampler *s, const sd_tensor *mask, const sd_tensor *x0) {
    if (!s->has_latent)
        return sdi_sampler_fail_none(s, "latent");
    sd_status status = mask ? sdi_sampler_check_mask(s, mask, x0) : SD_OK;
    if (status)
        return status;
    s->has_mask = false;
    if (!mask)
        return SD_OK;
    sdi_sampler_enter(s);
    sdi_sampler_put_mask(s, mask, x0);
    return s->e->status;
}

sd_status sdi_sampler_set_concat(sd_sampler *s, const sd_tensor *concat) {
    if (!s->has_latent)
        return sdi_sampler_fail_none(s, "latent");
    sd_status status = sdi_sampler_check_concat(s, concat);
    if (status || !concat)
        return status;
    sdi_sampler_enter(s);
    sdi_sampler_put_concat(s, concat);
    return s->e->status;
}

sd_status sdi_sampler_preview(sd_sampler *s, int index, sd_preview_method method,
                              const sd_vae_params *how, sd_image **out) {
    sd_tensor *latent = NULL;
    *out = NULL;
    if (!s->has_x0)
        return sdi_sampler_fail_none(s, "predicted x_0");
    if (index < 0 || index >= s->n)
        return sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT, "picture %d of %d; 0 to %d was expected",
                        index, s->n, s->n - 1);
    sd_status status = sdi_sampler_copy(s, sdi_view_batch(s->run.pred_x0, index, 1), &latent);
    if (status)
        return status;
    status = sdi_preview(s->model, latent, method, how, out);
    sdi_tensor_free(latent);
    return status;
}
