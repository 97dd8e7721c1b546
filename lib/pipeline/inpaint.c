/* A part of a picture painted anew: scripts/inpaint.py of latent-diffusion, inpaint_st.py of
 * runwayml's stable-diffusion, and DDIMSampler's mask for models that know no masks. */
#include "describe/family.h"
#include "io/image.h"
#include "pipeline/mask.h"
#include "pipeline/stage.h"

#include <string.h>

/* ----------------------------------------------------------- what an inpainting model sees */

/*
 * LatentDiffusion's `concat` is inpaint.py: what is to be painted becomes black, the mask is -1 or
 * 1 and comes last. `hybrid` is inpaint_st.py: grey, 0 or 1, and first.
 */
static bool is_concat(const sd_model *model) {
    return model->desc->condition_key == SD_CONDITION_CONCAT;
}

static bool is_wide(const sd_model *model) {
    return model->desc->unet.in_channels > model->desc->vae.latent_channels;
}

static sd_status check_inpaint(const sd_model *model, const sd_tensor *pixels,
                               const sd_tensor *mask) {
    const sd_description *desc = model->desc;
    int c = desc->vae.latent_channels;
    int64_t pixel_dims[] = {-1, desc->vae.in_channels, -1, -1};
    sd_status status = sd_need_unet(model, "sd_inpaint_concat");
    if (!status && desc->unet.in_channels != 2 * c + 1) {
        const char *kind = sd_family_of_channels(desc->unet.in_channels, c);
        status = sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                         "%s is no inpainting model%s%s: its UNet takes %d channels; %d were "
                         "expected, a latent, a mask and the latent of a picture",
                         desc->path, kind ? ", " : "", kind ? kind : "", desc->unet.in_channels,
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
    status = sd_expect_shape(mask, "mask", 4, mask_dims);
    return status ? status : sd_expect_finite(mask, "mask");
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

/* Whether any pixel of a square is white, or, without `any`, its first. */
static bool is_white(const float *square, size_t stride, int scale, bool any) {
    bool white = square[0] >= 0.5f;
    for (int i = 1; any && !white && i < scale * scale; i++)
        white = square[(size_t)(i / scale) * stride + (size_t)(i % scale)] >= 0.5f;
    return white;
}

/* The mask at the size of latents [h, w] by torch's interpolate, whose default takes the nearest
 * pixel: of each square the first. */
static void shrink_mask(const float *mask, int h, int w, int scale, bool any, float off, float on,
                        float *out) {
    size_t stride = (size_t)(w * scale);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const float *square = mask + (size_t)(y * scale) * stride + (size_t)(x * scale);
            *out++ = is_white(square, stride, scale, any) ? on : off;
        }
}

/* Mask and latent side by side, in the model's order. */
static sd_status join(const sd_model *model, const sd_tensor *z, const sd_tensor *mask,
                      bool any_pixel, sd_tensor **out) {
    int scale = sd_model_downscale(model), h = (int)z->dims[2], w = (int)z->dims[3];
    int64_t c = z->dims[1], area = (int64_t)h * w, dims[] = {z->dims[0], c + 1, h, w};
    bool concat = is_concat(model);
    /* get_learned_conditioning does not scale what it encodes */
    float factor = concat ? (float)(1.0 / model->desc->vae.scaling_factor) : 1.0f;
    sd_status status = sd_tensor_create(model->ctx, 4, dims, out);
    for (int64_t i = 0; !status && i < dims[0]; i++) {
        float *row = (*out)->data + i * (c + 1) * area, *latent = row + (concat ? 0 : area);
        shrink_mask(mask_row(mask, i), h, w, scale, any_pixel, concat ? -1.0f : 0.0f, 1.0f,
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
                                  bool any_pixel, sd_tensor **concat) {
    sd_tensor *cut = NULL, *z = NULL;
    *concat = NULL;
    sd_status status = check_inpaint(model, pixels, mask);
    if (!status)
        status = cut_out(model, pixels, mask, &cut);
    if (!status)
        status = encode_cut(model, cut, is_concat(model) ? NULL : noise, tiles, &z);
    if (!status)
        status = join(model, z, mask, any_pixel, concat);
    sd_tensor_destroy(cut);
    sd_tensor_destroy(z);
    return status;
}

/* ------------------------------------------------------------------- pictures in one call */

typedef struct inpaint {
    sd_model *model;
    const sd_inpaint_params *params;
    sd_sampler_params p;
    sd_image *grey;                   /* the mask at init's size */
    bool soft;                        /* it has greys */
    sd_rect from, to;                 /* only_masked: of init, of the run's size */
    sd_image *init, *mask;            /* at the run's size */
    sd_tensor *pixels, *white;        /* [1, 3, height, width], [1, 1, height, width]: 1 to paint */
    sd_tensor *known, *keep, *concat; /* latents; NULL where the model does not need them */
    sd_tensor *cond, *uncond;
    int draws; /* taken from the seeds before the sampler's first */
} inpaint;

/* Sides that nobody named: the picture's; the model's own, where a part is painted at full size. */
static void fill_sides(const inpaint *job, sd_sampler_params *p) {
    int side = job->model->desc->unet.sample_size * sd_model_downscale(job->model);
    if (!job->params->only_masked) {
        sd_fill_sides(job->model, job->params->init, p);
        return;
    }
    p->width = p->width ? p->width : side;
    p->height = p->height ? p->height : side;
}

/* Both pictures at the run's size. A mask that nothing was done to is resized in its colours. */
static sd_status resize(inpaint *job) {
    const sd_inpaint_params *params = job->params;
    const sd_sampler_params *p = &job->p;
    bool own = params->mask->channels == 4 || params->mask_invert || params->mask_blur > 0;
    const sd_image *mask = own || params->only_masked ? job->grey : params->mask;
    sd_status status;
    if (!params->only_masked) {
        status = sd_image_lanczos(params->init, p->width, p->height, &job->init);
        return status ? status : sd_image_lanczos(mask, p->width, p->height, &job->mask);
    }
    job->from = sd_mask_region(job->grey, params->mask_padding, p->width, p->height);
    job->to = sd_rect_fit(job->from.w, job->from.h, p->width, p->height);
    status = sd_image_lay(params->init, job->from, job->to, p->width, p->height, &job->init);
    return status ? status
                  : sd_image_lay(mask, job->from, job->to, p->width, p->height, &job->mask);
}

/* Both pictures as tensors; the mask is 0 or 1 (make_batch). */
static sd_status load(inpaint *job) {
    const sd_image *init = job->params->init, *mask = job->params->mask;
    sd_context *ctx = job->model->ctx;
    sd_sampler_params *p = &job->p;
    if (mask->width != init->width || mask->height != init->height)
        return sd_fail(ctx, SD_ERROR_ARGUMENT,
                       "sd_inpaint_params.mask is %dx%d; %dx%d was expected, the size of init",
                       mask->width, mask->height, init->width, init->height);
    fill_sides(job, p);
    int64_t dims[] = {1, 1, p->height, p->width};
    sd_status status = sd_mask_prepare(job->params, &job->grey);
    if (!status)
        status = resize(job);
    if (!status)
        status = sd_image_to_pixels(job->init, &job->pixels);
    if (!status)
        status = sd_tensor_create(ctx, 4, dims, &job->white);
    for (int64_t i = 0; !status && i < job->white->n_elements; i++)
        job->white->data[i] = sd_image_grey(job->mask, (size_t)i) >= SD_MASK_WHITE ? 1.0f : 0.0f;
    if (status)
        return status;
    job->soft = sd_mask_is_soft(job->grey);
    sd_mask_warn(job->grey, job->white->data, p->height, p->width, sd_model_downscale(job->model),
                 job->params->mask_any_pixel != 0);
    return SD_OK;
}

/* What an inpainting model sees; its posterior is sampled for each picture, with the first noise
 * that is drawn from the seeds. */
static sd_status make_concat(inpaint *job) {
    const sd_tile_params *tiles = job->params->tiles;
    sd_tensor *noise = NULL;
    bool sampled = !is_concat(job->model) && job->model->desc->vae.kind == SD_FIRST_STAGE_KL;
    sd_status status = sampled ? sd_posterior_noise(job->model, &job->p, &noise) : SD_OK;
    if (!status)
        status = sd_stage_inpaint_concat(job->model, job->pixels, job->white, noise, tiles,
                                         job->params->mask_any_pixel != 0, &job->concat);
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
        shrink_mask(job->white->data, (int)dims[2], (int)dims[3], scale,
                    job->params->mask_any_pixel != 0, 1.0f, 0.0f, job->keep->data);
    return status;
}

static sd_status encode(inpaint *job) {
    const sd_tile_params *tiles = job->params->tiles;
    bool wide = is_wide(job->model);
    sd_status status = wide ? make_concat(job) : make_keep(job);
    if (!status && (!wide || job->p.strength < 1.0))
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
                                 job->p.strength < 1.0 ? job->known : NULL, NULL, latent);
    sd_sampling_free(sampler);
    return status;
}

/* How much of each pixel is painted, 0 .. 255: the mask's grey; a hard mask's edge stays hard where
 * it was resized. Free with sd_free. */
static uint8_t *amounts(const inpaint *job, const sd_image *mask) {
    size_t n = (size_t)mask->width * (size_t)mask->height;
    uint8_t *out = sd_alloc(job->model->ctx, n);
    for (size_t i = 0; out && i < n; i++) {
        int v = sd_image_grey(mask, i);
        out[i] = (uint8_t)(job->soft ? v : v >= SD_MASK_WHITE ? 255 : 0);
    }
    return out;
}

/* A part that was painted at full size, as large as it was and in its place: the painted picture
 * takes init's size. */
static sd_status put_back(const inpaint *job, sd_image **painted) {
    const sd_image *init = job->params->init;
    sd_image *part = NULL, *cut = NULL, *whole = NULL;
    sd_status status = sd_image_cut(*painted, job->to, &cut);
    if (!status)
        status = sd_image_lanczos(cut, job->from.w, job->from.h, &part);
    if (!status)
        status = sd_image_create(job->model->ctx, init->width, init->height, 3, &whole);
    if (!status) {
        memset(whole->pixels, 0, (size_t)init->width * (size_t)init->height * 3);
        for (int y = 0; y < job->from.h; y++)
            memcpy(whole->pixels +
                       ((size_t)(job->from.y + y) * (size_t)init->width + (size_t)job->from.x) * 3,
                   part->pixels + (size_t)y * (size_t)job->from.w * 3, (size_t)job->from.w * 3);
        sd_image_destroy(*painted);
        *painted = whole;
    }
    sd_image_destroy(cut);
    sd_image_destroy(part);
    return status;
}

/* inpaint.py: "inpainted = (1-mask)*image+mask*predicted_image". */
static sd_status keep_outside(const inpaint *job, sd_image **images) {
    bool part = job->params->only_masked != 0;
    const sd_image *under = part ? job->params->init : job->init;
    uint8_t *amount = amounts(job, part ? job->grey : job->mask);
    sd_status status = amount ? SD_OK : SD_ERROR_MEMORY;
    for (int i = 0; i < job->p.batch && !status; i++) {
        if (part)
            status = put_back(job, &images[i]);
        if (!status)
            sd_image_blend(under, amount, images[i]);
    }
    sd_free(job->model->ctx, amount);
    return status;
}

static void end(inpaint *job) {
    sd_tensor *const tensors[] = {job->pixels, job->white, job->known, job->keep,
                                  job->concat, job->cond,  job->uncond};
    for (size_t i = 0; i < SD_COUNT(tensors); i++)
        sd_tensor_destroy(tensors[i]);
    sd_image_destroy(job->grey);
    sd_image_destroy(job->init);
    sd_image_destroy(job->mask);
}

sd_status sd_pipeline_inpaint(sd_model *model, const sd_inpaint_params *params,
                              const sd_sampler_params *sampling, sd_image **images) {
    inpaint job = {.model = model, .params = params, .p = *sampling};
    sd_text_params text = {sizeof text, params->weighted_prompts, params->clip_skip,
                           params->clean_prompts};
    sd_tensor *latent = NULL;
    job.p.strength = params->strength;
    sd_status status = load(&job);
    if (!status)
        status = sd_encode_prompts(model, params->prompt, params->prompts, params->negative_prompt,
                                   &text, &job.p, &job.cond, &job.uncond);
    if (!status)
        status = encode(&job);
    if (!status)
        status = sd_check_interrupt(model->ctx);
    if (!status)
        status = sample(&job, &latent);
    if (!status)
        status = sd_check_interrupt(model->ctx);
    if (!status)
        status = sd_decode_images(model, latent, params->tiles, images);
    if (!status && (status = keep_outside(&job, images)))
        for (int i = 0; i < job.p.batch; i++) {
            sd_image_destroy(images[i]);
            images[i] = NULL;
        }
    sd_tensor_destroy(latent);
    end(&job);
    return status;
}
