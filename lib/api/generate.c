/* Pictures in one call: section 3 of sd.h. */
#include "pipeline/generate.h"

#include "api/check.h"

#define MAX_BLUR 512
#define REFINER_START 0.8

static sd_status read_masking(const sd_context *ctx, const sd_mask_params *given,
                              sd_masking *masking) {
    sd_mask_params p = SD_MASK_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_mask_params", &p, sizeof p, given);
    if (status)
        return status;
    SD_REQUIRE(ctx, p.blur >= 0 && p.blur <= MAX_BLUR,
               "sd_mask_params.blur is %g; 0 to %d was expected", p.blur, MAX_BLUR);
    SD_REQUIRE(ctx, p.padding >= 0 && p.padding <= SD_MAX_IMAGE_SIDE,
               "sd_mask_params.padding is %d; 0 to %d was expected", p.padding, SD_MAX_IMAGE_SIDE);
    *masking = (sd_masking){p.blur, p.invert != 0, p.any_pixel != 0, p.only_masked != 0, p.padding};
    return SD_OK;
}

/* Text or conditioning, not both. */
static sd_status check_prompts(const sd_context *ctx, const sd_generate_params *p) {
    SD_REQUIRE(ctx, !p->cond || (!p->prompt && !p->prompts),
               "sd_generate_params has cond and %s; one of them was expected",
               p->prompt ? "prompt" : "prompts");
    SD_REQUIRE(ctx, !p->uncond || !p->negative_prompt,
               "sd_generate_params has uncond and negative_prompt; one of them was expected");
    return SD_OK;
}

/* SD_AUTO is a quarter of init kept, and nothing of what a mask has painted. */
static sd_status read_strength(const sd_context *ctx, const sd_generate_params *p,
                               double *strength) {
    *strength = p->strength == SD_AUTO ? (p->mask ? 1.0 : 0.75) : p->strength;
    SD_REQUIRE(ctx, *strength >= 0 && *strength <= 1,
               "sd_generate_params.strength is %g; 0 to 1, or SD_AUTO, was expected", *strength);
    return SD_OK;
}

/* A refiner goes on with the model's latents. */
static sd_status read_refiner(const sd_model *model, const sd_generate_params *p,
                              sd_request *request) {
    const sd_context *ctx = model->ctx;
    const sd_model *refiner = p->refiner;
    SD_REQUIRE(ctx, p->refiner_start >= 0 && p->refiner_start < 1,
               "sd_generate_params.refiner_start is %g; a share from 0 to 1 was expected",
               p->refiner_start);
    SD_REQUIRE(ctx, refiner || p->refiner_start == 0,
               "sd_generate_params.refiner_start is %g and refiner is NULL", p->refiner_start);
    if (!refiner)
        return SD_OK;
    sdi_call_use(refiner);
    SD_REQUIRE(ctx, refiner->ctx == ctx,
               "sd_generate_params.refiner is of another context; the model's was expected");
    SD_REQUIRE(ctx, !p->cond && !p->uncond,
               "sd_generate_params has refiner and %s; the refiner encodes the prompts itself, and "
               "prompts were expected",
               p->cond ? "cond" : "uncond");
    const sd_vae_config *own = &refiner->desc->vae, *latents = &model->desc->vae;
    if (refiner->desc->first_stage_only || own->latent_channels != latents->latent_channels ||
        refiner->desc->unet.in_channels != own->latent_channels ||
        own->scaling_factor != latents->scaling_factor ||
        sdi_model_downscale(refiner) != sdi_model_downscale(model))
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "sd_generate_params.refiner, %s, is no model that takes the latents of %s "
                        "alone",
                        refiner->desc->path, model->desc->path);
    request->refiner = refiner;
    request->refiner_start = p->refiner_start > 0 ? p->refiner_start : REFINER_START;
    return SD_OK;
}

/* All that a request has, whole and checked. The call uses its handles and heeds its tokens. */
static sd_status read_request(const sd_model *model, const sd_generate_params *p,
                              sd_request *request) {
    const sd_context *ctx = model->ctx;
    const void *const handles[] = {p->cond, p->uncond, p->init, p->mask};
    for (size_t i = 0; i < SD_COUNT(handles); i++)
        sdi_call_use(handles[i]);
    sdi_call_heed(p->stop);
    *request = (sd_request){p->prompt, p->negative_prompt, p->prompts, p->cond, p->uncond, p->init,
                            p->mask};
    SD_REQUIRE(ctx, p->init || !p->mask, "sd_generate_params.mask is given and init is NULL");
    sd_status status;
    if ((status = check_prompts(ctx, p)) ||
        (status = sdi_read_sampling(model, p->sampling, &request->sampling, &request->original)) ||
        (status = sdi_read_text(model, p->text, &request->text)) ||
        (status = sdi_read_vae(ctx, p->vae, false, &request->vae)) ||
        (status = read_masking(ctx, p->masking, &request->masking)) ||
        (status = read_refiner(model, p, request)))
        return status;
    return read_strength(ctx, p, &request->strength);
}

SD_PUBLIC(sd_generate, (model, params, images, n_images), (model), const sd_model *model,
          const sd_generate_params *params, sd_image **images, int32_t n_images) {
    for (int32_t i = 0; images && i < n_images; i++)
        images[i] = NULL;
    SD_REQUIRE_PTR(NULL, model);
    const sd_context *ctx = model->ctx;
    SD_REQUIRE_PTR(ctx, images);
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sd_request request;
    sd_status status = sdi_read_params(ctx, "sd_generate_params", &p, sizeof p, params);
    if (!status)
        status = read_request(model, &p, &request);
    if (status)
        return status;
    SD_REQUIRE(ctx, n_images == request.sampling.batch,
               "sd_generate: n_images is %d; %d was expected, sd_sampler_params.batch",
               (int)n_images, (int)request.sampling.batch);
    return sdi_pipeline_generate(model, &request, images);
}
