/* The planes that an inpainting model sees beside the latent: scripts/inpaint.py of
 * latent-diffusion and inpaint_st.py of runwayml's stable-diffusion. */
#include "pipeline/inpaint.h"

#include "core/expect.h"
#include "describe/family.h"
#include "io/mask.h"
#include "pipeline/vae.h"

/*
 * LatentDiffusion's `concat` is inpaint.py: what is to be painted becomes black, the mask is -1 or
 * 1 and comes last. `hybrid` is inpaint_st.py: grey, 0 or 1, and first.
 */
bool sdi_is_concat(const sd_model *model) {
    return model->desc->condition_key == SD_CONDITION_CONCAT;
}

bool sdi_is_wide(const sd_model *model) {
    return model->desc->unet.in_channels > model->desc->vae.latent_channels;
}

static sd_status check_channels(const sd_model *model) {
    int c = model->desc->vae.latent_channels, channels = model->desc->unet.in_channels;
    const char *kind = sdi_family_of_channels(channels, c);
    if (channels == 2 * c + 1)
        return SD_OK;
    return sdi_fail(
        model->ctx, SD_ERROR_UNSUPPORTED,
        "%s is no inpainting model%s%s: its UNet takes %d channels; %d were expected, a "
        "latent, a mask and the latent of a picture",
        model->desc->path, kind ? ", " : "", kind ? kind : "", channels, 2 * c + 1);
}

static sd_status check_mask(const sd_tensor *mask, const sd_tensor *pixels) {
    bool one = mask->n_dims == 4 && mask->dims[0] == 1;
    const int64_t dims[] = {one ? 1 : pixels->dims[0], 1, pixels->dims[2], pixels->dims[3]};
    return sdi_expect_tensor(mask, "mask", 4, dims);
}

/* The values of picture i's mask. */
static const float *mask_row(const sd_tensor *mask, int64_t i) {
    return mask->data + (mask->dims[0] == 1 ? 0 : i * mask->dims[2] * mask->dims[3]);
}

/* The pixels without what is to be painted. */
static sd_status cut_out(const sd_model *model, const sd_tensor *pixels, const sd_tensor *mask,
                         sd_tensor **out) {
    int64_t area = pixels->dims[2] * pixels->dims[3], c = pixels->dims[1];
    float hole = sdi_is_concat(model) ? -1.0f : 0.0f;
    sd_status status = sdi_tensor_new(model->ctx, 4, pixels->dims, out);
    for (int64_t i = 0; !status && i < pixels->dims[0] * c; i++) {
        const float *m = mask_row(mask, i / c), *from = pixels->data + i * area;
        float *to = (*out)->data + i * area;
        for (int64_t j = 0; j < area; j++)
            to[j] = m[j] >= 0.5f ? hole : from[j];
    }
    return status;
}

/* Mask and latent side by side, in the model's order. */
static sd_status join(const sd_model *model, const sd_tensor *z, const sd_tensor *mask,
                      bool any_pixel, sd_tensor **out) {
    int scale = sdi_model_downscale(model), h = (int)z->dims[2], w = (int)z->dims[3];
    int64_t c = z->dims[1], area = (int64_t)h * w, dims[] = {z->dims[0], c + 1, h, w};
    bool concat = sdi_is_concat(model);
    /* get_learned_conditioning does not scale what it encodes */
    float factor = concat ? (float)(1.0 / model->desc->vae.scaling_factor) : 1.0f;
    sd_status status = sdi_tensor_new(model->ctx, 4, dims, out);
    for (int64_t i = 0; !status && i < dims[0]; i++) {
        float *row = (*out)->data + i * (c + 1) * area, *latent = row + (concat ? 0 : area);
        sdi_shrink_mask(mask_row(mask, i), h, w, scale, any_pixel, concat ? -1.0f : 0.0f, 1.0f,
                        row + (concat ? c * area : 0));
        for (int64_t j = 0; j < c * area; j++)
            latent[j] = factor * z->data[i * c * area + j];
    }
    return status;
}

sd_status sdi_encode_known(const sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                           const sd_vae_params *how, sd_tensor **latent) {
    bool many = noise && pixels->dims[0] == 1 && noise->n_dims == 4;
    return sdi_stage_vae_encode(model, pixels, noise, many ? (int)noise->dims[0] : 1, how, latent);
}

sd_status sdi_stage_inpaint_concat(const sd_model *model, const sd_tensor *pixels,
                                   const sd_tensor *mask, const sd_tensor *noise,
                                   const sd_vae_params *how, bool any_pixel, sd_tensor **concat) {
    sd_tensor *cut, *z;
    *concat = NULL;
    sd_status status;
    if ((status = sdi_need_unet(model, "sd_inpaint_concat")) || (status = check_channels(model)) ||
        (status = sdi_vae_expect_pixels(model, pixels)) || (status = check_mask(mask, pixels)) ||
        (status = cut_out(model, pixels, mask, &cut)))
        return status;
    status = sdi_encode_known(model, cut, sdi_is_concat(model) ? NULL : noise, how, &z);
    sdi_tensor_free(cut);
    if (status)
        return status;
    status = join(model, z, mask, any_pixel, concat);
    sdi_tensor_free(z);
    return status;
}
