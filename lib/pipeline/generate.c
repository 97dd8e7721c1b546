#include "pipeline/generate.h"

#include "pipeline/sampling.h"
#include "pipeline/text.h"
#include "pipeline/vae.h"

/* ------------------------------------------------------------------------------- its stages */

static sd_status load(sd_generation *g) {
    const sd_request *request = g->request;
    if (request->mask)
        return sdi_paint_load(g);
    if (request->init)
        return sdi_init_load(g);
    sdi_fill_default_sides(g->model, &g->sampling);
    return SD_OK;
}

static void drop_cond(sd_generation *g) {
    sdi_cond_free(g->cond);
    sdi_cond_free(g->uncond);
    g->cond = g->uncond = NULL;
}

/* Conditioning that is given is taken, and encoded where it is missing. */
static sd_status condition(sd_generation *g) {
    const sd_request *r = g->request;
    bool guided = sdi_is_guided(g->model, &g->sampling);
    sd_text_params text = r->text;
    if (text.steps == 0)
        text.steps = sdi_sampler_evaluations(&g->sampling);
    g->cond = (sd_cond *)r->cond;
    g->uncond = guided ? (sd_cond *)r->uncond : NULL;
    sdi_handle_retain(g->cond);
    sdi_handle_retain(g->uncond);
    const sd_prompts prompts = {.prompt = r->prompt,
                                .prompts = r->prompts,
                                .negative = r->negative_prompt,
                                .tokens = g->cond ? sdi_cond_context(g->cond)->dims[1] : 0};
    return sdi_encode_prompts(g->model, &prompts, &text, g->sampling.batch,
                              g->cond ? NULL : &g->cond, guided && !g->uncond ? &g->uncond : NULL);
}

static sd_status encode(sd_generation *g) {
    return g->request->mask ? sdi_paint_encode(g) : g->pixels ? sdi_init_encode(g) : SD_OK;
}

/* A run from `begin`, whose noise comes after `draws` of the seeds. */
static sd_status run(sd_generation *g, const sd_run_params *shares, const sd_tensor *begin,
                     int draws) {
    sd_run_params p = *shares;
    p.cond = g->cond;
    p.uncond = g->uncond;
    p.init = begin;
    p.mask = g->keep;
    p.mask_x0 = g->keep ? g->known : NULL;
    p.strength = g->request->strength;
    sd_tensor *latent = NULL;
    sd_sampler *sampler;
    sd_status status = sdi_sampler_new(g->model, &g->sampling, &sampler);
    if (status)
        return status;
    sdi_sampler_skip(sampler, draws);
    status = sdi_sampler_run(sampler, &p, &latent);
    sdi_sampler_free(sampler);
    if (!status) {
        sdi_tensor_free(g->latent);
        g->latent = latent;
    }
    return status;
}

static sd_status sample(sd_generation *g) {
    sd_run_params p = SD_RUN_PARAMS_INIT;
    p.concat = g->concat;
    p.denoising_end = g->request->refiner ? g->request->refiner_start : 0.0;
    return run(g, &p, g->begin, g->draws);
}

/* The last steps by another model, which reads the prompts anew. Noise that steps draw is not what
 * the first model's drew. */
static sd_status refine(sd_generation *g) {
    sd_run_params p = SD_RUN_PARAMS_INIT;
    if (!g->request->refiner)
        return SD_OK;
    p.denoising_start = g->request->refiner_start;
    drop_cond(g);
    g->model = g->request->refiner;
    sd_status status = condition(g);
    return status ? status : run(g, &p, g->latent, g->draws + g->sampling.steps);
}

static sd_status decode(sd_generation *g) {
    return sdi_decode_images(g->base, g->latent, &g->request->vae, g->images);
}

static sd_status finish(sd_generation *g) {
    return g->request->mask ? sdi_paint_finish(g) : SD_OK;
}

/* --------------------------------------------------------------------------- and their order */

static void end(sd_generation *g) {
    sd_tensor *const tensors[] = {g->pixels, g->begin, g->keep, g->known, g->concat, g->latent};
    for (size_t i = 0; i < SD_COUNT(tensors); i++)
        sdi_tensor_free(tensors[i]);
    drop_cond(g);
    sdi_painting_free(&g->painting);
}

/* scripts/txt2img.py, img2img.py and inpaint.py of the original. Each stage's memory is given back
 * before the next begins, but for tensors on the host. */
sd_status sdi_pipeline_generate(const sd_model *model, const sd_request *request,
                                sd_image **images) {
    static sd_status (*const stages[])(sd_generation *) = {load,   condition, encode, sample,
                                                           refine, decode,    finish};
    sd_generation g = {.base = model,
                       .model = model,
                       .request = request,
                       .sampling = request->sampling,
                       .images = images};
    sd_status status = SD_OK;
    for (size_t i = 0; i < SD_COUNT(stages) && !status; i++) {
        status = sdi_check_interrupt(model->ctx);
        if (!status)
            status = stages[i](&g);
    }
    for (int i = 0; i < g.sampling.batch && status; i++) {
        sdi_image_free(images[i]);
        images[i] = NULL;
    }
    end(&g);
    return status;
}
