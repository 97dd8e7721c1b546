/* A part of a picture painted anew: an inpainting model sees the mask (inpaint.c), any other model
 * has its latents kept outside of it (the mask of DDIMSampler). */
#include "io/image.h"
#include "io/pixels.h"
#include "pipeline/generate.h"
#include "pipeline/inpaint.h"

/* Sides that nobody named: the picture's; the model's own, where a part is painted at full size. */
static void fill_sides(sd_generation *g) {
    int side = g->model->desc->unet.sample_size * sdi_model_downscale(g->model);
    sd_sampler_params *p = &g->sampling;
    if (!g->request->masking.only_masked) {
        sdi_init_sides(g->model, g->request->init, p);
        return;
    }
    p->width = p->width ? p->width : side;
    p->height = p->height ? p->height : side;
}

/* Init and mask at the run's size. A mask that nothing was done to is resized in its colours. */
static sd_status resize(sd_generation *g) {
    const sd_masking *how = &g->request->masking;
    const sd_image *init = g->request->init, *mask = g->request->mask;
    sd_painting *p = &g->painting;
    int width = g->sampling.width, height = g->sampling.height;
    sd_status status;
    if (mask->channels == 4 || how->invert || how->blur > 0 || how->only_masked)
        mask = p->grey;
    if (!how->only_masked) {
        status = sdi_image_lanczos(init, width, height, &p->init);
        return status ? status : sdi_image_lanczos(mask, width, height, &p->mask);
    }
    p->from = sdi_mask_region(p->grey, how->padding, width, height);
    p->to = sdi_rect_fit(p->from.w, p->from.h, width, height);
    status = sdi_image_lay(init, p->from, p->to, width, height, &p->init);
    return status ? status : sdi_image_lay(mask, p->from, p->to, width, height, &p->mask);
}

/* The mask as 0 or 1 (make_batch). */
static sd_status make_white(sd_generation *g) {
    int64_t dims[] = {1, 1, g->sampling.height, g->sampling.width};
    sd_painting *p = &g->painting;
    sd_status status = sdi_tensor_new(g->model->ctx, 4, dims, &p->white);
    for (int64_t i = 0; !status && i < p->white->n_elements; i++)
        p->white->data[i] = sdi_image_grey(p->mask, (size_t)i) >= SD_MASK_WHITE ? 1.0f : 0.0f;
    return status;
}

sd_status sdi_paint_load(sd_generation *g) {
    const sd_request *request = g->request;
    const sd_image *init = request->init, *mask = request->mask;
    sd_painting *p = &g->painting;
    if (mask->width != init->width || mask->height != init->height)
        return sdi_fail(g->model->ctx, SD_ERROR_ARGUMENT,
                        "sd_generate_params.mask is %dx%d; %dx%d was expected, the size of init",
                        mask->width, mask->height, init->width, init->height);
    fill_sides(g);
    sd_status status;
    if ((status = sdi_mask_prepare(mask, &request->masking, &p->grey)) || (status = resize(g)) ||
        (status = sdi_image_to_pixels(p->init, &g->pixels)) || (status = make_white(g)))
        return status;
    p->soft = sdi_mask_is_soft(p->grey);
    sdi_mask_warn(p->grey, p->white->data, g->sampling.height, g->sampling.width,
                  sdi_model_downscale(g->model), request->masking.any_pixel);
    return SD_OK;
}

/* The posterior of what an inpainting model sees is sampled for each picture, with the first noise
 * that is drawn from the seeds. */
static sd_status make_concat(sd_generation *g) {
    const sd_request *request = g->request;
    sd_tensor *noise = NULL;
    bool sampled = !sdi_is_concat(g->model) && g->model->desc->vae.kind == SD_FIRST_STAGE_KL;
    sd_status status = sampled ? sdi_posterior_noise(g->model, &g->sampling, &noise) : SD_OK;
    if (!status)
        status = sdi_stage_inpaint_concat(g->model, g->pixels, g->painting.white, noise,
                                          &request->vae, request->masking.any_pixel, &g->concat);
    g->draws = sampled ? sdi_posterior_draws(&g->sampling) : 0;
    sdi_tensor_free(noise);
    return status;
}

/* For a model that knows no masks: where its latents are kept. */
static sd_status make_keep(sd_generation *g) {
    int scale = sdi_model_downscale(g->model);
    int64_t dims[] = {1, 1, g->sampling.height / scale, g->sampling.width / scale};
    sd_status status = sdi_tensor_new(g->model->ctx, 4, dims, &g->keep);
    if (!status)
        sdi_shrink_mask(g->painting.white->data, (int)dims[2], (int)dims[3], scale,
                        g->request->masking.any_pixel, 1.0f, 0.0f, g->keep->data);
    return status;
}

sd_status sdi_paint_encode(sd_generation *g) {
    bool wide = sdi_is_wide(g->model), seen = g->request->strength < 1.0;
    sd_status status = wide ? make_concat(g) : make_keep(g);
    if (!status && (!wide || seen))
        status = sdi_encode_known(g->model, g->pixels, NULL, &g->request->vae, &g->known);
    g->begin = seen ? g->known : NULL;
    sdi_handle_retain(g->begin);
    return status;
}

/* How much of each pixel is painted, 0 .. 255: the mask's grey; a hard mask's edge stays hard where
 * it was resized. Free with sdi_free. */
static uint8_t *amounts(const sd_generation *g, const sd_image *mask) {
    size_t n = (size_t)mask->width * (size_t)mask->height;
    uint8_t *out = sdi_alloc(g->model->ctx, n);
    for (size_t i = 0; out && i < n; i++) {
        int v = sdi_image_grey(mask, i);
        out[i] = (uint8_t)(g->painting.soft ? v : v >= SD_MASK_WHITE ? 255 : 0);
    }
    return out;
}

/* A part that was painted at full size, as large as it was and in its place: the painted picture
 * takes init's size. */
static sd_status put_back(const sd_generation *g, sd_image **painted) {
    const sd_image *init = g->request->init;
    sd_image *whole;
    sd_status status = sdi_image_lay(*painted, g->painting.to, g->painting.from, init->width,
                                     init->height, &whole);
    if (status)
        return status;
    sdi_image_free(*painted);
    *painted = whole;
    return SD_OK;
}

/* inpaint.py: "inpainted = (1-mask)*image+mask*predicted_image". */
sd_status sdi_paint_finish(sd_generation *g) {
    bool part = g->request->masking.only_masked;
    const sd_painting *p = &g->painting;
    const sd_image *under = part ? g->request->init : p->init;
    uint8_t *amount = amounts(g, part ? p->grey : p->mask);
    sd_status status = amount ? SD_OK : SD_ERROR_MEMORY;
    for (int i = 0; i < g->sampling.batch && !status; i++) {
        if (part)
            status = put_back(g, &g->images[i]);
        if (!status)
            sdi_image_blend(under, amount, g->images[i]);
    }
    sdi_free(g->model->ctx, amount);
    return status;
}

void sdi_painting_free(sd_painting *painting) {
    sdi_tensor_free(painting->white);
    sdi_image_free(painting->grey);
    sdi_image_free(painting->init);
    sdi_image_free(painting->mask);
}
