#include "io/image.h"
#include "pipeline/stage.h"

/* load_img of scripts/img2img.py: "resize to integer multiple of 64". */
static int image_side(int side, int multiple) {
    int step = 64 % multiple == 0 ? 64 : multiple;
    int cut = side / step * step;
    return cut > 0 ? cut : step;
}

void sd_fill_sides(const sd_model *model, const sd_image *init, sd_sampler_params *p) {
    int multiple = sd_model_size_multiple(model);
    if (!p->width)
        p->width = image_side(init->width, multiple);
    if (!p->height)
        p->height = image_side(init->height, multiple);
}

/* The init image as pixels [1, 3, height, width]. */
static sd_status load_pixels(const sd_image *init, const sd_sampler_params *p, sd_tensor **out) {
    sd_image *resized = NULL;
    if (init->width != p->width || init->height != p->height) {
        sd_status status = sd_image_lanczos(init, p->width, p->height, &resized);
        if (status)
            return status;
    }
    sd_status status = sd_image_to_pixels(resized ? resized : init, out);
    sd_image_destroy(resized);
    return status;
}

/* DiagonalGaussianDistribution.sample has torch.randn(shape).to(device): the CPU's generator, also
 * where all other noise is the GPU's. */
static bool posterior_is_apart(const sd_sampler_params *p) {
    return p->one_stream && p->rng == SD_RNG_CUDA;
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
static sd_status encode(sd_model *model, const sd_sampler_params *p, const sd_tensor *pixels,
                        const sd_tile_params *tiles, sd_tensor **latent) {
    sd_tensor *noise;
    sd_status status = sd_posterior_noise(model, p, &noise);
    if (status)
        return status;
    status = sd_vae_encode_one(model, pixels, noise, tiles, latent);
    sd_tensor_destroy(noise);
    return status;
}

sd_status sd_pipeline_img2img(sd_model *model, const sd_img2img_params *params,
                              const sd_sampler_params *sampling, sd_image **images) {
    sd_tensor *cond = NULL, *uncond = NULL, *pixels = NULL, *init = NULL, *latent = NULL;
    sd_sampler *sampler = NULL;
    sd_sampler_params p = *sampling;
    sd_text_params text = {sizeof text, params->weighted_prompts, params->clip_skip,
                           params->clean_prompts};
    sd_fill_sides(model, params->init, &p);
    sd_status status = load_pixels(params->init, &p, &pixels);
    if (!status)
        status = sd_encode_prompts(model, params->prompt, params->prompts, params->negative_prompt,
                                   &text, &p, &cond, &uncond);
    if (!status)
        status = encode(model, &p, pixels, params->tiles, &init);
    if (!status)
        status = sd_check_interrupt(model->ctx);
    if (!status)
        status = sd_sampling_new(model, &p, &sampler);
    if (!status) {
        sd_sampling_skip(sampler, sd_posterior_draws(&p));
        status = sd_sampling_run(sampler, cond, uncond, init, NULL, &latent);
    }
    sd_sampling_free(sampler);
    if (!status)
        status = sd_check_interrupt(model->ctx);
    if (!status)
        status = sd_decode_images(model, latent, params->tiles, images);
    sd_tensor_destroy(latent);
    sd_tensor_destroy(init);
    sd_tensor_destroy(pixels);
    sd_tensor_destroy(uncond);
    sd_tensor_destroy(cond);
    return status;
}
