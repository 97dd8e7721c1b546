/* Previews: by the VAE, by a small autoencoder, or by factors alone. */
#include "pipeline/preview.h"

#include "io/pixels.h"
#include "pipeline/vae.h"

/* A VAE that is small itself is as good a preview as there is. */
sd_preview_method sdi_preview_default(const sd_model *model) {
    const sd_vae_config *vae = &model->desc->vae;
    return model->parts[SD_PART_TINY]         ? SD_PREVIEW_TINY
           : vae->kind == SD_FIRST_STAGE_TINY ? SD_PREVIEW_VAE
           : vae->has_latent_rgb              ? SD_PREVIEW_MATRIX
                                              : SD_PREVIEW_VAE;
}

/* pixels[k] = bias[k] + sum_c latent[c] factors[c][k], at each place */
static void multiply(const sd_vae_config *c, const sd_tensor *latent, sd_tensor *pixels) {
    int64_t area = latent->dims[2] * latent->dims[3];
    for (int k = 0; k < 3; k++) {
        float *to = pixels->data + k * area;
        for (int64_t i = 0; i < area; i++)
            to[i] = c->latent_rgb[c->latent_channels][k];
        for (int j = 0; j < c->latent_channels; j++)
            for (int64_t i = 0; i < area; i++)
                to[i] += c->latent_rgb[j][k] * latent->data[j * area + i];
    }
}

static sd_status by_matrix(const sd_model *model, const sd_tensor *latent, sd_tensor **pixels) {
    const sd_vae_config *c = &model->desc->vae;
    const int64_t dims[] = {1, 3, latent->dims[2], latent->dims[3]};
    if (!c->has_latent_rgb)
        return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: nothing says what colours its latents have (SD_PREVIEW_MATRIX): "
                        "\"_latent_rgb\" in vae/config.json, or \"sd.latent_rgb\" in a "
                        "checkpoint's metadata, was expected",
                        model->desc->path);
    sd_status status = sdi_tensor_new_raw(model->ctx, 4, dims, pixels);
    if (!status)
        multiply(c, latent, *pixels);
    return status;
}

static sd_status to_pixels(const sd_model *model, const sd_tensor *latent, sd_preview_method method,
                           sd_vae_params how, sd_tensor **pixels) {
    if (method == SD_PREVIEW_AUTO)
        method = sdi_preview_default(model);
    if (method == SD_PREVIEW_MATRIX)
        return by_matrix(model, latent, pixels);
    how.tiny = how.tiny || method == SD_PREVIEW_TINY;
    return sdi_stage_vae_decode(model, latent, &how, pixels);
}

sd_status sdi_preview(const sd_model *model, const sd_tensor *latent, sd_preview_method method,
                      const sd_vae_params *how, sd_image **out) {
    sd_tensor *pixels;
    sd_status status = to_pixels(model, latent, method, *how, &pixels);
    if (status)
        return status;
    status = sdi_pixels_to_image(pixels, 0, out);
    sdi_tensor_free(pixels);
    return status;
}
