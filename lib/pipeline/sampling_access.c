/* What is read from struct sd_sampler and set in it, between steps. */
#include "pipeline/pixels.h"
#include "pipeline/sampling_internal.h"
#include "pipeline/vae.h"

#include <string.h>

static sd_status no_latent(const sd_sampler *s, const char *what) {
    return sd_fail(s->model->ctx, SD_ERROR_STATE, "the sampler has no %s: no run was begun%s", what,
                   s->has_latent ? " or made a step" : "");
}

/* Pictures first .. first + n - 1 of a latent on the device. */
static sd_status copy_latent(sd_sampler *s, sdb_tensor src, int first, int n, sd_tensor **out) {
    int64_t dims[] = {n, s->c, s->h, s->w};
    sd_tensor *copy;
    if (s->e->status) /* in a callback, after a call that saw that the run is to end */
        return sd_fail(s->model->ctx, s->e->status, "the run is ending: %s",
                       sd_status_text(s->e->status));
    sd_status status = sd_tensor_create(s->model->ctx, 4, dims, &copy);
    if (status)
        return status;
    sd_exec_download(s->e, s->nhwc, sd_view_batch(src, first, n));
    status = s->e->status;
    if (status) {
        sd_tensor_destroy(copy);
        return status;
    }
    sd_nhwc_to_nchw(copy->data, s->nhwc, n, s->c, s->h, s->w);
    *out = copy;
    return SD_OK;
}

sd_status sd_sampling_latent(sd_sampler *s, sd_tensor **latent) {
    *latent = NULL;
    if (!s->has_latent)
        return no_latent(s, "latent");
    sd_sampling_enter(s);
    return copy_latent(s, s->run.x, 0, s->n, latent);
}

sd_status sd_sampling_pred_x0(sd_sampler *s, sd_tensor **latent) {
    *latent = NULL;
    if (!s->has_x0)
        return no_latent(s, "predicted x_0");
    sd_sampling_enter(s);
    return copy_latent(s, s->run.pred_x0, 0, s->n, latent);
}

sd_status sd_sampling_set_latent(sd_sampler *s, const sd_tensor *latent) {
    if (!s->has_latent)
        return no_latent(s, "latent");
    sd_status status = sd_sampling_check_latent(s, latent, "latent", false);
    if (status)
        return status;
    sd_sampling_enter(s);
    sd_sampling_upload(s, s->run.x, latent->data);
    s->run.touched = true;
    return s->e->status;
}

static void copy_rows(float *out, const sd_tensor *t, int n) {
    int64_t each = t->n_elements / t->dims[0];
    for (int i = 0; i < n; i++)
        memcpy(out + i * each, t->data + (t->dims[0] == 1 ? 0 : i * each),
               (size_t)each * sizeof *out);
}

sd_status sd_sampling_set_mask(sd_sampler *s, const sd_tensor *mask, const sd_tensor *x0) {
    int64_t dims[] = {mask && mask->n_dims == 4 && mask->dims[0] == 1 ? 1 : s->n, 1, s->h, s->w};
    sd_status status = mask ? sd_expect_shape(mask, "mask", 4, dims) : SD_OK;
    if (!status && mask)
        status = sd_expect_finite(mask, "mask");
    if (!status && mask)
        status = sd_sampling_check_latent(s, x0, "x0", true);
    if (status)
        return status;
    s->has_mask = false;
    if (!mask)
        return SD_OK;
    sd_sampling_enter(s);
    copy_rows(s->nhwc, mask, s->n); /* one channel: in this order either way */
    sd_exec_upload(s->e, s->mask, s->nhwc);
    copy_rows(s->nchw, x0, s->n);
    sd_sampling_upload(s, s->known, s->nchw);
    s->has_mask = s->e->status == SD_OK;
    return s->e->status;
}

sd_status sd_sampling_preview(sd_sampler *s, int index, sd_image **out) {
    sd_tensor *latent = NULL, *pixels;
    *out = NULL;
    if (!s->has_x0)
        return no_latent(s, "predicted x_0");
    if (index < 0 || index >= s->n)
        return sd_fail(s->model->ctx, SD_ERROR_ARGUMENT, "picture %d of %d; 0 to %d was expected",
                       index, s->n, s->n - 1);
    sd_sampling_enter(s);
    sd_status status = copy_latent(s, s->run.pred_x0, index, 1, &latent);
    if (status)
        return status;
    status = sd_stage_vae_decode(s->model, latent, &pixels);
    sd_tensor_destroy(latent);
    if (status)
        return status;
    status = sd_pixels_to_image(pixels, 0, out);
    sd_tensor_destroy(pixels);
    return status;
}
