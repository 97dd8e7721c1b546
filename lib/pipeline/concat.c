#include "describe/family.h"
#include "pipeline/sampling_internal.h"

/*
 * The planes that DiffusionWrapper's `concat` and `hybrid` put beside the latent: torch.cat([x] +
 * c_concat, dim=1) of ldm/models/diffusion/ddpm.py. Both halves of guidance see the same. It is
 * laid beside the latent once; a step writes the latent's channels alone.
 */

static sd_status fail_no_concat(const sd_sampler *s) {
    const char *kind = sdi_family_of_channels(s->c + s->extra, s->c);
    return sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                    "%s: %s; its UNet takes %d channels beside the latent's %d, and concat is NULL",
                    s->model->desc->path, kind ? kind : "this model is conditioned on pictures",
                    s->extra, s->c);
}

sd_status sdi_sampler_check_concat(const sd_sampler *s, const sd_tensor *concat) {
    if (!concat)
        return s->extra > 0 ? fail_no_concat(s) : SD_OK;
    if (s->extra == 0)
        return sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                        "concat is given; this UNet takes the latent alone, NULL was expected");
    const bool one = concat->n_dims == 4 && concat->dims[0] == 1;
    const int64_t dims[] = {one ? 1 : s->n, s->extra, s->h, s->w};
    return sdi_expect_tensor(concat, "concat", 4, dims);
}

void sdi_sampler_put_concat(sd_sampler *s, const sd_tensor *concat) {
    sdi_exec_put(s->e, s->beside, concat, 0);
    for (int i = 0; i < sdi_sampler_parts(s); i++) {
        sdb_tensor part = sdi_view_batch(s->unet.io[SD_UNET_X], i * s->n, s->n);
        sdi_op_copy(s->e, sdi_view_channels(part, s->c, s->extra), s->beside);
    }
}
