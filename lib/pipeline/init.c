/* Pictures to begin from: their size, their latents. */
#include "io/image.h"
#include "io/pixels.h"
#include "pipeline/generate.h"
#include "pipeline/vae.h"
#include "sampler/noise.h"

/* load_img of scripts/img2img.py: "resize to integer multiple of 64". */
static int image_side(int side, int multiple) {
    int step = 64 % multiple == 0 ? 64 : multiple;
    int cut = side / step * step;
    return cut > 0 ? cut : step;
}

void sdi_init_sides(const sd_model *model, const sd_image *init, sd_sampler_params *p) {
    int multiple = sdi_model_size_multiple(model);
    if (!p->width)
        p->width = image_side(init->width, multiple);
    if (!p->height)
        p->height = image_side(init->height, multiple);
}

sd_status sdi_init_load(sd_generation *g) {
    const sd_image *init = g->request->init;
    sd_image *resized = NULL;
    sdi_init_sides(g->model, init, &g->sampling);
    int width = g->sampling.width, height = g->sampling.height;
    if (init->width != width || init->height != height) {
        sd_status status = sdi_image_lanczos(init, width, height, &resized);
        if (status)
            return status;
    }
    sd_status status = sdi_image_to_pixels(resized ? resized : init, &g->pixels);
    sdi_image_free(resized);
    return status;
}

/* DiagonalGaussianDistribution.sample has torch.randn(shape).to(device): the CPU's generator, also
 * where all other noise is the GPU's. */
static bool posterior_is_apart(const sd_sampler_params *p) {
    return p->original->one_stream && p->rng == SD_RNG_CUDA;
}

int sdi_posterior_draws(const sd_sampler_params *p) {
    return posterior_is_apart(p) ? 0 : 1;
}

sd_status sdi_posterior_noise(const sd_model *model, const sd_sampler_params *p, sd_tensor **out) {
    int scale = sdi_model_downscale(model);
    int64_t dims[] = {p->batch, model->desc->vae.latent_channels, p->height / scale,
                      p->width / scale};
    sd_noise noise;
    sd_status status = sdi_tensor_new(model->ctx, 4, dims, out);
    if (status)
        return status;
    sd_sampler_params drawn = *p;
    if (posterior_is_apart(p))
        drawn.rng = SD_RNG_CPU;
    status = sdi_noise_init(&noise, model->ctx, &drawn);
    if (status) {
        sdi_tensor_free(*out);
        *out = NULL;
        return status;
    }
    sdi_noise_draw(&noise, (*out)->data, (*out)->n_elements / p->batch);
    sdi_noise_free(&noise, model->ctx);
    return SD_OK;
}

/* The posterior's sample for each picture of the batch, [batch, c, h, w]. */
sd_status sdi_init_encode(sd_generation *g) {
    sd_tensor *noise;
    sd_status status = sdi_posterior_noise(g->model, &g->sampling, &noise);
    if (status)
        return status;
    status = sdi_stage_vae_encode(g->model, g->pixels, noise, g->sampling.batch, &g->request->vae,
                                  &g->begin);
    g->draws = sdi_posterior_draws(&g->sampling);
    sdi_tensor_free(noise);
    return status;
}
