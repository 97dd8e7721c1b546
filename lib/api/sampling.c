/* Sampling, and pictures in one call: sections 4 and 8 of sd.h. */
#include "pipeline/sampling.h"
#include "api/check.h"
#include "core/expect.h"
#include "pipeline/estimate.h"
#include "pipeline/generate.h"

#include <math.h>
#include <string.h>

#define MAX_BATCH 1024
#define MAX_SKIP 1000000
#define MAX_BLUR 512

static sd_status check_method(const sd_context *ctx, const char *method) {
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; sd_sampling_method(i); i++) {
        const char *name = sd_sampling_method(i);
        if (!strcmp(name, method))
            return SD_OK;
        if (used + strlen(name) + 3 < sizeof known) {
            if (used)
                known[used++] = ' ';
            memcpy(known + used, name, strlen(name) + 1);
            used += strlen(name);
        }
    }
    return sd_fail(ctx, SD_ERROR_ARGUMENT,
                   "sd_sampler_params.method is \"%s\"; one of these was expected: %s", method,
                   known);
}

static sd_status check_side(const sd_model *model, const char *name, int side) {
    int multiple = sd_model_size_multiple(model);
    SD_REQUIRE(model->ctx,
               side == 0 || (side > 0 && side <= SD_MAX_RUN_SIDE && side % multiple == 0),
               "sd_sampler_params.%s is %d; a multiple of %d up to %d was expected: the nearest is "
               "%d",
               name, side, multiple, SD_MAX_RUN_SIDE,
               (int)sd_nearest_multiple(side, multiple, SD_MAX_RUN_SIDE));
    return SD_OK;
}

static sd_status check_numbers(const sd_model *model, const sd_sampler_params *p) {
    const sd_context *ctx = model->ctx;
    SD_REQUIRE(ctx, p->steps >= 1 && p->steps <= model->schedule.n,
               "sd_sampler_params.steps is %d; 1 to %d was expected", p->steps, model->schedule.n);
    SD_REQUIRE(ctx, isfinite(p->eta) && p->eta >= 0,
               "sd_sampler_params.eta is %g; a number from 0 upward was expected", p->eta);
    SD_REQUIRE(ctx, isfinite(p->guidance_scale),
               "sd_sampler_params.guidance_scale is %g; a finite number was expected",
               p->guidance_scale);
    SD_REQUIRE(ctx, p->batch >= 1 && p->batch <= MAX_BATCH,
               "sd_sampler_params.batch is %d; 1 to %d was expected", p->batch, MAX_BATCH);
    SD_REQUIRE(ctx, p->spacing >= SD_SPACING_AUTO && p->spacing <= SD_SPACING_BETA,
               "sd_sampler_params.spacing is %d; a value of sd_timestep_spacing was expected",
               (int)p->spacing);
    SD_REQUIRE(ctx, p->guidance_rescale >= 0 && p->guidance_rescale <= 1,
               "sd_sampler_params.guidance_rescale is %g; 0 to 1 was expected",
               p->guidance_rescale);
    SD_REQUIRE(ctx, p->rng == SD_RNG_CPU || p->rng == SD_RNG_CUDA,
               "sd_sampler_params.rng is %d; a value of sd_rng was expected", (int)p->rng);
    return SD_OK;
}

static sd_status read_original(const sd_context *ctx, const sd_original_params *given,
                               sd_original_params *p) {
    *p = (sd_original_params)SD_ORIGINAL_PARAMS_INIT;
    sd_status status = sd_read_params(ctx, "sd_original_params", p, sizeof *p, given);
    if (status)
        return status;
    SD_REQUIRE(ctx, isfinite(p->temperature) && p->temperature >= 0,
               "sd_original_params.temperature is %g; a number from 0 upward was expected",
               p->temperature);
    SD_REQUIRE(ctx, p->noise_dropout >= 0 && p->noise_dropout <= 1,
               "sd_original_params.noise_dropout is %g; 0 to 1 was expected", p->noise_dropout);
    SD_REQUIRE(ctx, p->skip_draws >= 0 && p->skip_draws <= MAX_SKIP,
               "sd_original_params.skip_draws is %d; 0 to %d was expected", (int)p->skip_draws,
               MAX_SKIP);
    SD_REQUIRE(ctx, p->log_every_t >= 0,
               "sd_original_params.log_every_t is %d; a number from 0 upward was expected",
               (int)p->log_every_t);
    SD_REQUIRE(ctx, p->reserved == 0, "sd_original_params.reserved is %d; 0 was expected",
               (int)p->reserved);
    return SD_OK;
}

/* What the caller did not say. The spacing of the folder's scheduler stays SD_SPACING_AUTO, which
 * has all of its rules. */
static void fill_defaults(const sd_model *model, sd_sampler_params *p) {
    const sd_scheduler_config *c = &model->desc->scheduler;
    if (!p->method)
        p->method = c->method;
    if (p->steps == 0)
        p->steps = c->steps < model->schedule.n ? c->steps : model->schedule.n;
    if (p->guidance_scale <= SD_GUIDANCE_AUTO)
        p->guidance_scale = c->guidance;
    if (c->folder && p->spacing == sd_model_spacing(model, p->method))
        p->spacing = SD_SPACING_AUTO;
    if (!c->folder && p->spacing == SD_SPACING_AUTO)
        p->spacing = SD_SPACING_UNIFORM;
}

/* The caller's parameters with defaults filled in and every range checked; full->original is then
 * `original`. */
static sd_status read_sampling(const sd_model *model, const sd_sampler_params *given,
                               sd_sampler_params *full, sd_original_params *original) {
    *full = (sd_sampler_params)SD_SAMPLER_PARAMS_INIT;
    sd_status status = sd_need_unet(model, "a sampler");
    if (!status)
        status = sd_read_params(model->ctx, "sd_sampler_params", full, sizeof *full, given);
    if (status)
        return status;
    status = read_original(model->ctx, full->original, original);
    if (status)
        return status;
    full->original = original;
    fill_defaults(model, full);
    if (original->use_original_steps) {
        full->steps = model->schedule.n;
        full->spacing = SD_SPACING_UNIFORM;
    }
    status = check_method(model->ctx, full->method);
    if (!status)
        status = check_numbers(model, full);
    if (!status)
        status = check_side(model, "width", full->width);
    if (!status)
        status = check_side(model, "height", full->height);
    return status;
}

const char *sd_sampler_method(int i) {
    return i < 0 ? NULL : sd_sampling_method(i);
}

SD_PUBLIC(sd_sampler_new, (model, params, out), (model), sd_model *model,
          const sd_sampler_params *params, sd_sampler **out) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, model);
    sd_sampler_params p;
    sd_original_params original;
    sd_status status = read_sampling(model, params, &p, &original);
    if (status)
        return status;
    sd_fill_default_sides(model, &p);
    status = sd_sampling_new(model, &p, out);
    if (!status)
        sd_sampling_give(*out);
    return status;
}

void sd_sampler_free(sd_sampler *sampler) {
    if (sampler)
        sd_sampling_end(sampler);
}

/* Returns from the calling function unless the sampler is this thread's. */
#define SD_USE_SAMPLER(sampler)                                                                    \
    do {                                                                                           \
        SD_REQUIRE_PTR(NULL, sampler);                                                             \
        sd_status claimed = sd_sampling_claim(sampler);                                            \
        if (claimed)                                                                               \
            return claimed;                                                                        \
    } while (0)

static const sd_context *context_of(const sd_sampler *sampler) {
    return sampler ? sd_sampling_model(sampler)->ctx : NULL;
}

/* The caller's inputs of a run with defaults filled in; what does not depend on the sampler is
 * checked. The call uses its handles. */
static sd_status read_run(const sd_context *ctx, const sd_run_params *given, sd_run_params *p) {
    *p = (sd_run_params)SD_RUN_PARAMS_INIT;
    sd_status status = sd_read_params(ctx, "sd_run_params", p, sizeof *p, given);
    if (status)
        return status;
    const void *const handles[] = {p->cond, p->uncond,  p->init,  p->noise,
                                   p->mask, p->mask_x0, p->concat};
    for (size_t i = 0; i < SD_COUNT(handles); i++)
        sd_call_use(handles[i]);
    sd_call_heed(p->stop);
    SD_REQUIRE(ctx, p->strength >= 0 && p->strength <= 1,
               "sd_run_params.strength is %g; 0 to 1 was expected", p->strength);
    SD_REQUIRE(ctx, !p->mask == !p->mask_x0,
               "sd_run_params.%s is NULL and %s is not; both or neither",
               p->mask ? "mask_x0" : "mask", p->mask ? "mask" : "mask_x0");
    SD_REQUIRE(ctx, p->reserved == 0, "sd_run_params.reserved is %d; 0 was expected",
               (int)p->reserved);
    return SD_OK;
}

SD_PUBLIC(sd_sample, (sampler, params, latent), (sampler), sd_sampler *sampler,
          const sd_run_params *params, sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    sd_run_params p;
    sd_status status = read_run(context_of(sampler), params, &p);
    return status ? status : sd_sampling_run(sampler, &p, latent);
}

SD_PUBLIC(sd_sampler_begin, (sampler, params), (sampler), sd_sampler *sampler,
          const sd_run_params *params) {
    SD_USE_SAMPLER(sampler);
    sd_run_params p;
    sd_status status = read_run(context_of(sampler), params, &p);
    return status ? status : sd_sampling_begin(sampler, &p);
}

SD_PUBLIC(sd_sampler_step, (sampler), (sampler), sd_sampler *sampler) {
    SD_USE_SAMPLER(sampler);
    return sd_sampling_step(sampler);
}

int sd_sampler_remaining(const sd_sampler *sampler) {
    return sampler ? sd_sampling_remaining(sampler) : 0;
}

double sd_sampler_timestep(const sd_sampler *sampler, int i) {
    return sampler ? sd_sampling_timestep(sampler, i) : (double)NAN;
}

SD_PUBLIC(sd_sampler_stochastic_encode, (sampler, x0, t, noise, latent), (sampler, x0, noise),
          sd_sampler *sampler, const sd_tensor *x0, int t, const sd_tensor *noise,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    SD_REQUIRE_PTR(context_of(sampler), x0);
    return sd_sampling_stochastic_encode(sampler, x0, t, noise, latent);
}

SD_PUBLIC(sd_sampler_latent, (sampler, latent), (sampler), sd_sampler *sampler,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    return sd_sampling_latent(sampler, latent);
}

SD_PUBLIC(sd_sampler_pred_x0, (sampler, latent), (sampler), sd_sampler *sampler,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    return sd_sampling_pred_x0(sampler, latent);
}

int sd_sampler_n_intermediates(const sd_sampler *sampler) {
    return sampler ? sd_sampling_n_inter(sampler) : 0;
}

SD_PUBLIC(sd_sampler_x_inter, (sampler, i, latent), (sampler), sd_sampler *sampler, int i,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    return sd_sampling_x_inter(sampler, i, latent);
}

SD_PUBLIC(sd_sampler_pred_x0_inter, (sampler, i, latent), (sampler), sd_sampler *sampler, int i,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    return sd_sampling_pred_x0_inter(sampler, i, latent);
}

SD_PUBLIC(sd_sampler_set_latent, (sampler, latent), (sampler, latent), sd_sampler *sampler,
          const sd_tensor *latent) {
    SD_USE_SAMPLER(sampler);
    SD_REQUIRE_PTR(context_of(sampler), latent);
    return sd_sampling_set_latent(sampler, latent);
}

SD_PUBLIC(sd_sampler_set_mask, (sampler, mask, x0), (sampler, mask, x0), sd_sampler *sampler,
          const sd_tensor *mask, const sd_tensor *x0) {
    SD_USE_SAMPLER(sampler);
    SD_REQUIRE(context_of(sampler), !mask == !x0, "%s is NULL and %s is not; both or neither",
               mask ? "x0" : "mask", mask ? "mask" : "x0");
    return sd_sampling_set_mask(sampler, mask, x0);
}

SD_PUBLIC(sd_sampler_set_concat, (sampler, concat), (sampler, concat), sd_sampler *sampler,
          const sd_tensor *concat) {
    SD_USE_SAMPLER(sampler);
    return sd_sampling_set_concat(sampler, concat);
}

SD_PUBLIC(sd_sampler_preview, (sampler, index, out), (sampler), sd_sampler *sampler, int index,
          sd_image **out) {
    SD_REQUIRE_PTR(context_of(sampler), out);
    *out = NULL;
    SD_USE_SAMPLER(sampler);
    return sd_sampling_preview(sampler, index, out);
}

static sd_status estimate_memory(sd_model *model, const sd_sampler_params *params,
                                 const sd_tile_params *tiles, sd_memory_info *memory) {
    sd_sampler_params p;
    sd_original_params original;
    sd_status status = read_sampling(model, params, &p, &original);
    if (status)
        return status;
    sd_fill_default_sides(model, &p);
    sd_memory_info full = SD_MEMORY_INFO_INIT;
    status = sd_pipeline_memory(model, &p, tiles, &full);
    return status ? status
                  : sd_write_struct(model->ctx, "sd_memory_info", memory, &full, sizeof full);
}

SD_PUBLIC(sd_memory_estimate, (model, params, memory), (model), sd_model *model,
          const sd_sampler_params *params, sd_memory_info *memory) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, memory);
    return estimate_memory(model, params, NULL, memory);
}

SD_PUBLIC(sd_memory_estimate_tiled, (model, params, tiles, memory), (model), sd_model *model,
          const sd_sampler_params *params, const sd_tile_params *tiles, sd_memory_info *memory) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, memory);
    sd_tile_params full;
    sd_status status = sd_read_tiles(model->ctx, tiles, &full);
    return status ? status : estimate_memory(model, params, &full, memory);
}

SD_PUBLIC(sd_work_estimate, (model, params, work), (model), sd_model *model,
          const sd_sampler_params *params, sd_work_info *work) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, work);
    sd_sampler_params p;
    sd_original_params original;
    sd_status status = read_sampling(model, params, &p, &original);
    if (status)
        return status;
    sd_fill_default_sides(model, &p);
    sd_work_info full = SD_WORK_INFO_INIT;
    status = sd_pipeline_work(model, &p, &full);
    return status ? status : sd_write_struct(model->ctx, "sd_work_info", work, &full, sizeof full);
}

/* ------------------------------------------------------------------ pictures in one call */

/* What the three calls' parameters have in common, `name` the struct's. Tiles that are NULL are
 * none, not the defaults. */
static sd_status read_picture(const sd_model *model, const char *name,
                              const sd_sampler_params *given, const sd_tile_params *tiles,
                              sd_tile_params *own_tiles, sd_request *request) {
    sd_status status = read_sampling(model, given, &request->sampling, &request->original);
    if (!status)
        status = sd_check_clip_skip(model, name, request->text.clip_skip);
    if (status || !tiles)
        return status;
    request->tiles = own_tiles;
    return sd_read_tiles(model->ctx, tiles, own_tiles);
}

static sd_text_params text_params(int weighted, int clip_skip, int clean) {
    return (sd_text_params){.struct_size = sizeof(sd_text_params),
                            .weighted = weighted,
                            .clip_skip = clip_skip,
                            .clean = clean};
}

static sd_status generate(sd_model *model, const sd_request *request, sd_image **images) {
    memset(images, 0, (size_t)request->sampling.batch * sizeof *images);
    return sd_pipeline_generate(model, request, images);
}

SD_PUBLIC(sd_txt2img, (model, params, images), (model), sd_model *model,
          const sd_txt2img_params *params, sd_image **images) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, images);
    *images = NULL;
    SD_REQUIRE_PTR(model->ctx, params);
    sd_txt2img_params p = SD_TXT2IMG_PARAMS_INIT;
    sd_tile_params tiles;
    sd_status status = sd_read_params(model->ctx, "sd_txt2img_params", &p, sizeof p, params);
    if (status)
        return status;
    sd_request request = {p.prompt, p.negative_prompt, p.prompts};
    request.text = text_params(p.weighted_prompts, p.clip_skip, p.clean_prompts);
    status = read_picture(model, "sd_txt2img_params", p.sampling, p.tiles, &tiles, &request);
    return status ? status : generate(model, &request, images);
}

SD_PUBLIC(sd_img2img, (model, params, images), (model), sd_model *model,
          const sd_img2img_params *params, sd_image **images) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, images);
    *images = NULL;
    SD_REQUIRE_PTR(model->ctx, params);
    sd_img2img_params p = SD_IMG2IMG_PARAMS_INIT;
    sd_tile_params tiles;
    sd_status status = sd_read_params(model->ctx, "sd_img2img_params", &p, sizeof p, params);
    if (status)
        return status;
    SD_REQUIRE(model->ctx, p.init, "sd_img2img_params.init is NULL");
    SD_REQUIRE(model->ctx, p.strength >= 0 && p.strength <= 1,
               "sd_img2img_params.strength is %g; 0 to 1 was expected", p.strength);
    sd_call_use(p.init);
    sd_request request = {p.prompt, p.negative_prompt, p.prompts, p.init};
    request.strength = p.strength;
    request.text = text_params(p.weighted_prompts, p.clip_skip, p.clean_prompts);
    status = read_picture(model, "sd_img2img_params", p.sampling, p.tiles, &tiles, &request);
    return status ? status : generate(model, &request, images);
}

SD_PUBLIC(sd_inpaint, (model, params, images), (model), sd_model *model,
          const sd_inpaint_params *params, sd_image **images) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, images);
    *images = NULL;
    SD_REQUIRE_PTR(model->ctx, params);
    sd_inpaint_params p = SD_INPAINT_PARAMS_INIT;
    sd_tile_params tiles;
    sd_status status = sd_read_params(model->ctx, "sd_inpaint_params", &p, sizeof p, params);
    if (status)
        return status;
    SD_REQUIRE(model->ctx, p.init, "sd_inpaint_params.init is NULL");
    SD_REQUIRE(model->ctx, p.mask, "sd_inpaint_params.mask is NULL");
    sd_call_use(p.init);
    sd_call_use(p.mask);
    SD_REQUIRE(model->ctx, p.strength >= 0 && p.strength <= 1,
               "sd_inpaint_params.strength is %g; 0 to 1 was expected", p.strength);
    SD_REQUIRE(model->ctx, p.mask_blur >= 0 && p.mask_blur <= MAX_BLUR,
               "sd_inpaint_params.mask_blur is %g; 0 to %d was expected", p.mask_blur, MAX_BLUR);
    SD_REQUIRE(model->ctx, p.mask_padding >= 0 && p.mask_padding <= SD_MAX_IMAGE_SIDE,
               "sd_inpaint_params.mask_padding is %d; 0 to %d was expected", p.mask_padding,
               SD_MAX_IMAGE_SIDE);
    sd_request request = {p.prompt, p.negative_prompt, p.prompts, p.init, p.mask};
    request.text = text_params(p.weighted_prompts, p.clip_skip, p.clean_prompts);
    request.masking = (sd_masking){p.mask_blur, p.mask_invert != 0, p.mask_any_pixel != 0,
                                   p.only_masked != 0, p.mask_padding};
    status = read_picture(model, "sd_inpaint_params", p.sampling, p.tiles, &tiles, &request);
    request.strength = p.strength;
    return status ? status : generate(model, &request, images);
}
