/* A part of a picture painted anew: scripts/inpaint.py of latent-diffusion, inpaint_st.py of
 * runwayml's stable-diffusion, and DDIMSampler's mask for models that know no masks. */
#include "io/family.h"
#include "io/image.h"
#include "pipeline/stage.h"

#include <string.h>

/* ----------------------------------------------------------- what an inpainting model sees */

/*
 * LatentDiffusion's `concat` is inpaint.py: what is to be painted becomes black, the mask is -1 or
 * 1 and comes last. `hybrid` is inpaint_st.py: grey, 0 or 1, and first.
 */
static bool is_concat(const sd_model *model) {
    return model->source->condition_key == SD_CONDITION_CONCAT;
}

static bool is_wide(const sd_model *model) {
    return model->source->unet.in_channels > model->source->vae.latent_channels;
}

static sd_status check_inpaint(const sd_model *model, const sd_tensor *pixels,
                               const sd_tensor *mask) {
    const sd_source *source = model->source;
    int c = source->vae.latent_channels;
    int64_t pixel_dims[] = {-1, source->vae.in_channels, -1, -1};
    sd_status status = sd_need_unet(model, "sd_inpaint_concat");
    if (!status && source->unet.in_channels != 2 * c + 1) {
        const char *kind = sd_family_of_channels(source->unet.in_channels, c);
        status = sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                         "%s is no inpainting model%s%s: its UNet takes %d channels; %d were "
                         "expected, a latent, a mask and the latent of a picture",
                         source->path, kind ? ", " : "", kind ? kind : "", source->unet.in_channels,
                         2 * c + 1);
    }
    if (!status)
        status = sd_expect_shape(pixels, "pixels", 4, pixel_dims);
    if (!status)
        status = sd_expect_multiple(pixels, "pixels", sd_model_downscale(model), SD_MAX_IMAGE_SIDE);
    if (status)
        return status;
    int64_t n = mask->n_dims == 4 && mask->dims[0] == 1 ? 1 : pixels->dims[0];
    int64_t mask_dims[] = {n, 1, pixels->dims[2], pixels->dims[3]};
    return sd_expect_shape(mask, "mask", 4, mask_dims);
}

/* The values of picture i's mask. */
static const float *mask_row(const sd_tensor *mask, int64_t i) {
    return mask->data + (mask->dims[0] == 1 ? 0 : i * mask->dims[2] * mask->dims[3]);
}

/* The pixels without what is to be painted. */
static sd_status cut_out(const sd_model *model, const sd_tensor *pixels, const sd_tensor *mask,
                         sd_tensor **out) {
    int64_t area = pixels->dims[2] * pixels->dims[3], c = pixels->dims[1];
    float hole = is_concat(model) ? -1.0f : 0.0f;
    sd_status status = sd_tensor_create(model->ctx, 4, pixels->dims, out);
    for (int64_t i = 0; !status && i < pixels->dims[0] * c; i++) {
        const float *m = mask_row(mask, i / c), *from = pixels->data + i * area;
        float *to = (*out)->data + i * area;
        for (int64_t j = 0; j < area; j++)
            to[j] = m[j] >= 0.5f ? hole : from[j];
    }
    return status;
}

/* The mask at the size of latents [h, w] by torch's interpolate, whose default takes the nearest
 * pixel: of each square the first. */
static void shrink_mask(const float *mask, int h, int w, int scale, float off, float on,
                        float *out) {
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            size_t at = (size_t)(y * scale) * (size_t)(w * scale) + (size_t)(x * scale);
            *out++ = mask[at] >= 0.5f ? on : off;
        }
}

/* Mask and latent side by side, in the model's order. */
static sd_status join(const sd_model *model, const sd_tensor *z, const sd_tensor *mask,
                      sd_tensor **out) {
    int scale = sd_model_downscale(model), h = (int)z->dims[2], w = (int)z->dims[3];
    int64_t c = z->dims[1], area = (int64_t)h * w, dims[] = {z->dims[0], c + 1, h, w};
    bool concat = is_concat(model);
    /* get_learned_conditioning does not scale what it encodes */
    float factor = concat ? (float)(1.0 / model->source->vae.scaling_factor) : 1.0f;
    sd_status status = sd_tensor_create(model->ctx, 4, dims, out);
    for (int64_t i = 0; !status && i < dims[0]; i++) {
        float *row = (*out)->data + i * (c + 1) * area, *latent = row + (concat ? 0 : area);
        shrink_mask(mask_row(mask, i), h, w, scale, concat ? -1.0f : 0.0f, 1.0f,
                    row + (concat ? c * area : 0));
        for (int64_t j = 0; j < c * area; j++)
            latent[j] = factor * z->data[i * c * area + j];
    }
    return status;
}

/* `noise` may have many rows for one picture. */
static sd_status encode_cut(sd_model *model, const sd_tensor *cut, const sd_tensor *noise,
                            const sd_tile_params *tiles, sd_tensor **z) {
    if (noise && cut->dims[0] == 1 && noise->n_dims == 4)
        return sd_vae_encode_one(model, cut, noise, tiles, z);
    return tiles ? sd_stage_vae_encode_tiled(model, cut, noise, tiles, z)
                 : sd_stage_vae_encode(model, cut, noise, z);
}

sd_status sd_stage_inpaint_concat(sd_model *model, const sd_tensor *pixels, const sd_tensor *mask,
                                  const sd_tensor *noise, const sd_tile_params *tiles,
                                  sd_tensor **concat) {
    sd_tensor *cut = NULL, *z = NULL;
    *concat = NULL;
    sd_status status = check_inpaint(model, pixels, mask);
    if (!status)
        status = cut_out(model, pixels, mask, &cut);
    if (!status)
        status = encode_cut(model, cut, is_concat(model) ? NULL : noise, tiles, &z);
    if (!status)
        status = join(model, z, mask, concat);
    sd_tensor_destroy(cut);
    sd_tensor_destroy(z);
    return status;
}

/* ------------------------------------------------------------------- pictures in one call */

typedef struct inpaint {
    sd_model *model;
    const sd_inpaint_params *params;
    sd_sampler_params p;
    sd_image *init, *mask;            /* at the run's size */
    sd_tensor *pixels, *white;        /* [1, 3, height, width], [1, 1, height, width]: 1 to paint */
    sd_tensor *known, *keep, *concat; /* latents; NULL where the model does not need them */
    sd_tensor *cond, *uncond;
    int draws; /* taken from the seeds before the sampler's first */
} inpaint;

/* PIL's convert("L"). */
static int grey(const sd_image *image, size_t i) {
    const uint8_t *p = image->pixels + i * (size_t)image->channels;
    return image->channels == 1 ? p[0] : (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16;
}

/* Both pictures at the run's size, as tensors; the mask is 0 or 1 (make_batch). */
static sd_status load(inpaint *job) {
    const sd_image *init = job->params->init, *mask = job->params->mask;
    sd_context *ctx = job->model->ctx;
    sd_sampler_params *p = &job->p;
    if (mask->width != init->width || mask->height != init->height)
        return sd_fail(ctx, SD_ERROR_ARGUMENT,
                       "sd_inpaint_params.mask is %dx%d; %dx%d was expected, the size of init",
                       mask->width, mask->height, init->width, init->height);
    sd_fill_sides(job->model, init, p);
    int64_t dims[] = {1, 1, p->height, p->width};
    sd_status status = sd_image_lanczos(init, p->width, p->height, &job->init);
    if (!status)
        status = sd_image_lanczos(mask, p->width, p->height, &job->mask);
    if (!status)
        status = sd_image_to_pixels(job->init, &job->pixels);
    if (!status)
        status = sd_tensor_create(ctx, 4, dims, &job->white);
    for (int64_t i = 0; !status && i < job->white->n_elements; i++)
        job->white->data[i] = grey(job->mask, (size_t)i) >= 128 ? 1.0f : 0.0f;
    return status;
}

/* What an inpainting model sees; its posterior is sampled for each picture, with the first noise
 * that is drawn from the seeds. */
static sd_status make_concat(inpaint *job) {
    const sd_tile_params *tiles = job->params->tiles;
    sd_tensor *noise = NULL;
    bool sampled = !is_concat(job->model) && job->model->source->vae.kind == SD_FIRST_STAGE_KL;
    sd_status status = sampled ? sd_posterior_noise(job->model, &job->p, &noise) : SD_OK;
    if (!status)
        status = sd_stage_inpaint_concat(job->model, job->pixels, job->white, noise, tiles,
                                         &job->concat);
    job->draws = sampled ? sd_posterior_draws(&job->p) : 0;
    sd_tensor_destroy(noise);
    return status;
}

/* For a model that knows no masks: where its latents are kept. */
static sd_status make_keep(inpaint *job) {
    int scale = sd_model_downscale(job->model);
    int64_t dims[] = {1, 1, job->p.height / scale, job->p.width / scale};
    sd_status status = sd_tensor_create(job->model->ctx, 4, dims, &job->keep);
    if (!status)
        shrink_mask(job->white->data, (int)dims[2], (int)dims[3], scale, 1.0f, 0.0f,
                    job->keep->data);
    return status;
}

static sd_status encode(inpaint *job) {
    const sd_tile_params *tiles = job->params->tiles;
    bool wide = is_wide(job->model);
    sd_status status = wide ? make_concat(job) : make_keep(job);
    if (!status && (!wide || job->p.strength < 1.0f))
        status = encode_cut(job->model, job->pixels, NULL, tiles, &job->known);
    return status;
}

static sd_status sample(const inpaint *job, sd_tensor **latent) {
    sd_sampler *sampler;
    sd_status status = sd_sampling_new(job->model, &job->p, &sampler);
    if (status)
        return status;
    sd_sampling_skip(sampler, job->draws);
    status = job->concat ? sd_sampling_set_concat(sampler, job->concat)
                         : sd_sampling_set_mask(sampler, job->keep, job->known);
    if (!status)
        status = sd_sampling_run(sampler, job->cond, job->uncond,
                                 job->p.strength < 1.0f ? job->known : NULL, NULL, latent);
    sd_sampling_free(sampler);
    return status;
}

/* inpaint.py: "inpainted = (1-mask)*image+mask*predicted_image". */
static void keep_outside(const inpaint *job, sd_image *painted) {
    size_t n = (size_t)painted->width * (size_t)painted->height;
    size_t channels = (size_t)job->init->channels;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 3 && job->white->data[i] == 0.0f; k++)
            painted->pixels[3 * i + k] = job->init->pixels[channels * i + (channels == 1 ? 0 : k)];
}

static void end(inpaint *job) {
    sd_tensor *const tensors[] = {job->pixels, job->white, job->known, job->keep,
                                  job->concat, job->cond,  job->uncond};
    for (size_t i = 0; i < SD_COUNT(tensors); i++)
        sd_tensor_destroy(tensors[i]);
    sd_image_destroy(job->init);
    sd_image_destroy(job->mask);
}

sd_status sd_pipeline_inpaint(sd_model *model, const sd_inpaint_params *params,
                              const sd_sampler_params *sampling, sd_image **images) {
    inpaint job = {.model = model, .params = params, .p = *sampling};
    sd_text_params text = {sizeof text, params->weighted_prompts, params->clip_skip};
    unsigned epoch = sd_cancel_epoch(model->ctx);
    sd_tensor *latent = NULL;
    job.p.strength = params->strength;
    sd_status status = load(&job);
    if (!status)
        status = sd_encode_prompts(model, params->prompt, params->negative_prompt, &text, &job.p,
                                   &job.cond, &job.uncond);
    if (!status)
        status = encode(&job);
    if (!status)
        status = sd_check_cancel(model->ctx, epoch);
    if (!status)
        status = sample(&job, &latent);
    if (!status)
        status = sd_check_cancel(model->ctx, epoch);
    if (!status)
        status = sd_decode_images(model, latent, params->tiles, epoch, images);
    for (int i = 0; i < job.p.batch && !status; i++)
        keep_outside(&job, images[i]);
    sd_tensor_destroy(latent);
    end(&job);
    return status;
}
