/*
 * Colours of a latent without its decoder: pixel = latent * factors + bias, a picture of the
 * latent's size. Who trains a VAE fits the factors (tests/tools/fit_latent_rgb.py) and keeps them
 * with it: "_latent_rgb" in a folder's vae/config.json, where diffusers passes over what begins so,
 * or "sd.latent_rgb" in a checkpoint's metadata.
 */
#include "describe/config.h"

#include <math.h>
#include <string.h>

static void read_row(sd_reader *r, const char *key, const json_t *row, float out[3]) {
    bool ok = json_is_array(row) && json_array_size(row) == 3;
    for (size_t i = 0; ok && i < 3; i++) {
        const json_t *item = json_array_get(row, i);
        double x = json_number_value(item);
        ok = json_is_number(item) && fabs(x) <= 1e6;
        out[i] = (float)x;
    }
    if (!ok)
        sdi_reader_wrong(r, key, row, "a list of three numbers, red, green and blue,");
}

void sdi_read_latent_rgb(sd_reader *r, const char *key, sd_vae_config *c) {
    const json_t *v = sdi_reader_get(r, key);
    size_t rows = json_array_size(v), channels = (size_t)c->latent_channels;
    if (!v)
        return;
    if (!json_is_array(v) || (rows != channels && rows != channels + 1) ||
        channels > SD_MAX_LATENT_STATS) {
        sdi_reader_wrong(r, key, v,
                         "a list of [r, g, b] for each latent channel, 64 at most, and perhaps one "
                         "that is added,");
        return;
    }
    for (size_t i = 0; i < rows; i++)
        read_row(r, key, json_array_get(v, i), c->latent_rgb[i]);
    c->has_latent_rgb = true;
}

/* A VAE is known by the scale of its latents. */
static const struct {
    double scaling_factor;
    float rows[5][3];
} published[] = {
    /* Kevin Turner (keturn), "Decoding latents to RGB without upscaling", forum of Hugging Face,
     * 2022: for Stable Diffusion 1.4, and 2.x has its latents. */
    {0.18215,
     {{0.298f, 0.207f, 0.208f},
      {0.187f, 0.286f, 0.173f},
      {-0.158f, 0.189f, 0.264f},
      {-0.184f, -0.271f, -0.473f}}},
    /* ComfyUI's latent formats: Stable Diffusion XL. */
    {0.13025,
     {{0.3651f, 0.4232f, 0.4341f},
      {-0.2533f, -0.0042f, 0.1068f},
      {0.1076f, 0.1111f, -0.0362f},
      {-0.3165f, -0.2492f, -0.2188f},
      {0.1084f, -0.0175f, -0.0011f}}},
};

void sdi_complete_latent_rgb(sd_vae_config *c) {
    bool shape = c->kind == SD_FIRST_STAGE_KL && c->n_levels == 4 && c->latent_channels == 4 &&
                 c->latents_std[0] == 0.0f;
    for (size_t i = 0; i < SD_COUNT(published) && shape && !c->has_latent_rgb; i++)
        if (fabs(c->scaling_factor - published[i].scaling_factor) < 1e-6) {
            memcpy(c->latent_rgb, published[i].rows, sizeof published[i].rows);
            c->has_latent_rgb = true;
        }
}
