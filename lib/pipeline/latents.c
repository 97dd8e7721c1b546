/* The scale of latents and of pixels, in float32 as torch has it. */
#include "pipeline/latents.h"

#include <math.h>

void sdi_latent_unscale(const sd_vae_config *config, const sd_tensor *latent, int64_t i,
                        sd_tensor *z) {
    float scale = (float)config->scaling_factor, shift = (float)config->shift_factor;
    int64_t area = latent->dims[2] * latent->dims[3];
    const float *from = latent->data + i * latent->dims[1] * area;
    for (int64_t k = 0; k < z->n_elements; k++) {
        int64_t c = k / area;
        float x = from[k];
        if (config->latents_std[0] > 0.0f)
            x = x * config->latents_std[c] + config->latents_mean[c] * scale;
        z->data[k] = x / scale + shift;
    }
    for (int64_t k = 0; k < z->n_elements && config->kind == SD_FIRST_STAGE_TINY; k++)
        z->data[k] = tanhf(z->data[k] / 3.0f) * 3.0f;
}

void sdi_pixels_of_network(const sd_vae_config *config, sd_tensor *pixels) {
    for (int64_t i = 0; i < pixels->n_elements && config->kind == SD_FIRST_STAGE_TINY; i++)
        pixels->data[i] = 2.0f * pixels->data[i] - 1.0f;
}

void sdi_pixels_for_network(const sd_tensor *pixels, int64_t i, sd_tensor *unit) {
    const float *from = pixels->data + i * unit->n_elements;
    for (int64_t k = 0; k < unit->n_elements; k++)
        unit->data[k] = (from[k] + 1.0f) / 2.0f;
}

void sdi_latent_shift(const sd_vae_config *config, sd_tensor *z) {
    float scale = (float)config->scaling_factor;
    float shift = (float)(config->shift_factor * config->scaling_factor);
    int64_t area = z->dims[2] * z->dims[3];
    for (int64_t i = 0; i < z->n_elements && config->shift_factor != 0.0; i++)
        z->data[i] -= shift;
    for (int64_t i = 0; i < z->n_elements && config->latents_std[0] > 0.0f; i++) {
        int64_t c = i / area % z->dims[1];
        z->data[i] = (z->data[i] - config->latents_mean[c] * scale) / config->latents_std[c];
    }
}

void sdi_latent_scale(const sd_vae_config *config, sd_tensor *z) {
    float scale = (float)config->scaling_factor, shift = (float)config->shift_factor;
    for (int64_t i = 0; i < z->n_elements; i++)
        z->data[i] = (z->data[i] - shift) * scale;
}
