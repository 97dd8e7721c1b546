/* Pictures to begin from: their size, their latents. */
#include "io/image.h"
#include "pipeline/generate.h"
#include "pipeline/noise.h"
#include "pipeline/pixels.h"
#include "pipeline/vae.h"

/* load_img of scripts/img2img.py: "resize to integer multiple of 64". */
static int image_side(int side, int multiple) {
    int step = 64 % multiple == 0 ? 64 : multiple;
    int cut = side / step * step;
    return cut > 0 ? cut : step;
}

void sd_init_sides(const sd_model *model, const sd_image *init, sd_sampler_params *p) {
    int multiple = sd_model_size_multiple(model);
    if (!p->width)
        p->width = image_side(init->width, multiple);
    if (!p->height)
        p->height = image_side(init->height, multiple);
}

sd_status sd_init_load(sd_generation *g) {
    const sd_image *init = g->request->init;
    sd_image *resized = NULL;
    sd_init_sides(g->model, init, &g->sampling);
    int width = g->sampling.width, height = g->sampling.height;
    if (init->width != width || init->height != height) {
        sd_status status = sd_image_lanczos(init, width, height, &resized);
        if (status)
            return status;
    }
    sd_status status = sd_image_to_pixels(resized ? resized : init, &g->pixels);
    sd_image_destroy(resized);
    return status;
}

/* DiagonalGaussianDistribution.sample has torch.randn(shape).to(device): the CPU's generator, also
 * where all other noise is the GPU's. */
static bool posterior_is_apart(const sd_sampler_params *p) {
    return p->original->one_stream && p->rng == SD_RNG_CUDA;
}

int sd_posterior_draws(const sd_sampler_params *p) {
    return posterior_is_apart(p) ? 0 : 1;
}

sd_status sd_posterior_noise(const sd_model *model, const sd_sampler_params *p, sd_tensor **out) {
    int scale = sd_model_downscale(model);
    int64_t dims[] = {p->batch, model->desc->vae.latent_channels, p->height / scale,
                      p->width / scale};
    sd_noise noise;
    sd_status status = sd_tensor_create(model->ctx, 4, dims, out);
    if (status)
        return status;
    sd_sampler_params drawn = *p;
    if (posterior_is_apart(p))
        drawn.rng = SD_RNG_CPU;
    status = sd_noise_init(&noise, model->ctx, &drawn);
    if (status) {
        sd_tensor_destroy(*out);
        *out = NULL;
        return status;
    }
    sd_noise_draw(&noise, (*out)->data, (*out)->n_elements / p->batch);
    sd_noise_free(&noise, model->ctx);
    return SD_OK;
}

/* The posterior's sample for each picture of the batch, [batch, c, h, w]. */
sd_status sd_init_encode(sd_generation *g) {
    sd_tensor *noise;
    sd_status status = sd_posterior_noise(g->model, &g->sampling, &noise);
    if (status)
        return status;
    status = sd_stage_vae_encode(g->model, g->pixels, noise, g->sampling.batch, &g->request->vae,
                                 &g->begin);
    g->draws = sd_posterior_draws(&g->sampling);
    sd_tensor_destroy(noise);
    return status;
}
