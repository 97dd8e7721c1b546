/* Sampling: section 8 of sd.h. */
#include "pipeline/sampling.h"
#include "api/check.h"
#include "core/expect.h"
#include "pipeline/estimate.h"
#include "sampler/names.h"

#include <math.h>
#include <string.h>

#define MAX_BATCH 1024
#define MAX_SKIP 1000000

/* Beyond these alphas_cumprod or what is left of it is nothing in float32. */
#define SIGMA_MOST 4000.0
#define SIGMA_LEAST 1e-4

static sd_status check_side(const sd_model *model, const char *name, int side) {
    int multiple = sdi_model_size_multiple(model);
    SD_REQUIRE(model->ctx,
               side == 0 || (side > 0 && side <= SD_MAX_RUN_SIDE && side % multiple == 0),
               "sd_sampler_params.%s is %d; a multiple of %d up to %d was expected: the nearest is "
               "%d",
               name, side, multiple, SD_MAX_RUN_SIDE,
               (int)sdi_nearest_multiple(side, multiple, SD_MAX_RUN_SIDE));
    return SD_OK;
}

static sd_status check_numbers(const sd_model *model, const sd_sampler_params *p) {
    const sd_context *ctx = model->ctx;
    SD_REQUIRE(ctx, p->steps >= 1 && p->steps <= model->schedule.n,
               "sd_sampler_params.steps is %d; 1 to %d was expected", p->steps, model->schedule.n);
    SD_REQUIRE(ctx, isfinite(p->eta) && p->eta >= 0,
               "sd_sampler_params.eta is %g; a number from 0 upward was expected", p->eta);
    SD_REQUIRE(ctx, isfinite(p->ancestral_eta) && p->ancestral_eta >= 0,
               "sd_sampler_params.ancestral_eta is %g; a number from 0 upward was expected",
               p->ancestral_eta);
    SD_REQUIRE(ctx, isfinite(p->guidance_scale),
               "sd_sampler_params.guidance_scale is %g; a finite number was expected",
               p->guidance_scale);
    SD_REQUIRE(ctx, p->batch >= 1 && p->batch <= MAX_BATCH,
               "sd_sampler_params.batch is %d; 1 to %d was expected", p->batch, MAX_BATCH);
    SD_REQUIRE(ctx, sdi_sampler_spacing(p->spacing),
               "sd_sampler_params.spacing is %d; a value of sd_timestep_spacing was expected",
               (int)p->spacing);
    SD_REQUIRE(ctx, p->guidance_rescale >= 0 && p->guidance_rescale <= 1,
               "sd_sampler_params.guidance_rescale is %g; 0 to 1 was expected",
               p->guidance_rescale);
    SD_REQUIRE(ctx, p->rng == SD_RNG_CPU || p->rng == SD_RNG_CUDA,
               "sd_sampler_params.rng is %d; a value of sd_rng was expected", (int)p->rng);
    return SD_OK;
}

static sd_status check_variation(const sd_model *model, const sd_sampler_params *p) {
    const sd_context *ctx = model->ctx;
    int width = p->seed_resize_width, height = p->seed_resize_height;
    int least = sdi_model_downscale(model);
    SD_REQUIRE(ctx, p->subseed_strength >= 0 && p->subseed_strength <= 1,
               "sd_sampler_params.subseed_strength is %g; 0 to 1 was expected",
               p->subseed_strength);
    SD_REQUIRE(ctx,
               (width == 0 && height == 0) ||
                   (width >= least && height >= least && width <= SD_MAX_RUN_SIDE &&
                    height <= SD_MAX_RUN_SIDE),
               "sd_sampler_params.seed_resize_width and seed_resize_height are %d and %d; %d to %d "
               "was expected, or 0 for both",
               width, height, least, SD_MAX_RUN_SIDE);
    bool varied = p->eta_noise_seed_delta != 0 || p->subseed_strength != 0 || width > 0;
    SD_REQUIRE(ctx, !varied || !p->original->one_stream,
               "sd_original_params.one_stream is set; it does not go with subseed_strength, "
               "eta_noise_seed_delta and seed_resize_width");
    return SD_OK;
}

/* The caller's own times: `count` numbers, each below the one before, from `top` down to `bottom`.
 */
static sd_status check_list(const sd_context *ctx, const char *name, const double *list, int count,
                            double top, double bottom) {
    for (int i = 0; i < count; i++) {
        SD_REQUIRE(ctx, list[i] <= top && list[i] >= bottom,
                   "sd_sampler_params.%s[%d] is %g; %g to %g was expected", name, i, list[i], top,
                   bottom);
        SD_REQUIRE(ctx, i == 0 || list[i] < list[i - 1],
                   "sd_sampler_params.%s[%d] is %g, after %g; they go downward", name, i, list[i],
                   list[i - 1]);
    }
    return SD_OK;
}

static sd_status check_count(const sd_context *ctx, const char *name, const void *list, int count,
                             int least, int most) {
    SD_REQUIRE(ctx, list ? count >= least && count <= most : count == 0,
               "sd_sampler_params.n_%s is %d; %d to %d was expected, or 0 without %s", name, count,
               least, most, name);
    return SD_OK;
}

static sd_status check_sigmas(const sd_context *ctx, const double *sigmas, int count) {
    if (!sigmas)
        return SD_OK;
    SD_REQUIRE(ctx, sigmas[count - 1] == 0.0,
               "sd_sampler_params.sigmas ends with %g; 0 was expected, where the last step ends",
               sigmas[count - 1]);
    return check_list(ctx, "sigmas", sigmas, count - 1, SIGMA_MOST, SIGMA_LEAST);
}

/* Of the given parameters, before defaults are filled in. */
static sd_status check_given_times(const sd_model *model, const sd_sampler_params *p) {
    const sd_context *ctx = model->ctx;
    int n = model->schedule.n, steps = p->timesteps ? p->n_timesteps : p->n_sigmas - 1;
    sd_status status;
    if ((status = check_count(ctx, "timesteps", p->timesteps, p->n_timesteps, 1, n)) ||
        (status = check_count(ctx, "sigmas", p->sigmas, p->n_sigmas, 2, n + 1)))
        return status;
    if (!p->timesteps && !p->sigmas)
        return SD_OK;
    SD_REQUIRE(ctx, !p->timesteps || !p->sigmas,
               "sd_sampler_params.timesteps and sigmas are given; one of them was expected");
    SD_REQUIRE(ctx, p->steps == 0 || p->steps == steps,
               "sd_sampler_params.steps is %d, and %s has %d; leave steps 0", p->steps,
               p->timesteps ? "timesteps" : "sigmas", steps);
    SD_REQUIRE(ctx, p->spacing == SD_SPACING_AUTO,
               "sd_sampler_params.spacing is %d, and %s say the times; leave it SD_SPACING_AUTO",
               (int)p->spacing, p->timesteps ? "timesteps" : "sigmas");
    SD_REQUIRE(ctx, !p->original->use_original_steps,
               "sd_original_params.use_original_steps is set; it does not go with timesteps or "
               "sigmas");
    if (p->timesteps)
        return check_list(ctx, "timesteps", p->timesteps, steps, n - 1, 0.0);
    return check_sigmas(ctx, p->sigmas, p->n_sigmas);
}

static sd_status read_original(const sd_context *ctx, const sd_original_params *given,
                               sd_original_params *p) {
    *p = (sd_original_params)SD_ORIGINAL_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_original_params", p, sizeof *p, given);
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
    return sdi_check_reserved(ctx, "sd_original_params", p->reserved);
}

/* The method that the caller's name stands for, and its spacing where no other and no times are
 * given. */
static sd_status resolve_method(const sd_context *ctx, sd_sampler_params *p) {
    sd_timestep_spacing spacing;
    if (!p->method)
        return SD_OK;
    sd_status status = sdi_sampler_find(ctx, p->method, &p->method, &spacing);
    if (!status && p->spacing == SD_SPACING_AUTO && !p->timesteps && !p->sigmas)
        p->spacing = spacing;
    return status;
}

/* Fills in what the caller did not say. The spacing of the folder's scheduler stays
 * SD_SPACING_AUTO, which has all of its rules. */
static void fill_defaults(const sd_model *model, sd_sampler_params *p) {
    const sd_scheduler_config *c = &model->desc->scheduler;
    if (!p->method)
        p->method = c->method;
    if (p->timesteps || p->sigmas)
        p->steps = p->timesteps ? p->n_timesteps : p->n_sigmas - 1;
    else if (p->steps == 0)
        p->steps = c->steps < model->schedule.n ? c->steps : model->schedule.n;
    if (p->guidance_scale <= SD_AUTO)
        p->guidance_scale = c->guidance;
    if (c->folder && p->spacing == sdi_model_spacing(model, p->method))
        p->spacing = SD_SPACING_AUTO;
    if (!c->folder && p->spacing == SD_SPACING_AUTO)
        p->spacing = SD_SPACING_UNIFORM;
}

sd_status sdi_read_sampling(const sd_model *model, const sd_sampler_params *given,
                            sd_sampler_params *full, sd_original_params *original) {
    *full = (sd_sampler_params)SD_SAMPLER_PARAMS_INIT;
    sd_status status = sdi_need_unet(model, "a sampler");
    if (!status)
        status = sdi_read_params(model->ctx, "sd_sampler_params", full, sizeof *full, given);
    if (status)
        return status;
    status = read_original(model->ctx, full->original, original);
    if (status)
        return status;
    full->original = original;
    if ((status = check_given_times(model, full)) || (status = resolve_method(model->ctx, full)))
        return status;
    fill_defaults(model, full);
    if (original->use_original_steps) {
        full->steps = model->schedule.n;
        full->spacing = SD_SPACING_UNIFORM;
    }
    status = check_numbers(model, full);
    if (!status)
        status = check_variation(model, full);
    if (!status)
        status = check_side(model, "width", full->width);
    if (!status)
        status = check_side(model, "height", full->height);
    return status;
}

const char *sd_sampler_method(int32_t i) {
    return i < 0 ? NULL : sdi_sampler_method(i);
}

const char *sd_sampler_label(int32_t i) {
    return sdi_method_label(i);
}

SD_PUBLIC(sd_sampler_find, (name, method, spacing), (NULL), const char *name, const char **method,
          sd_timestep_spacing *spacing) {
    SD_REQUIRE_PTR(NULL, method);
    *method = NULL;
    SD_REQUIRE_PTR(NULL, spacing);
    *spacing = SD_SPACING_AUTO;
    SD_REQUIRE_PTR(NULL, name);
    return sdi_sampler_find(NULL, name, method, spacing);
}

const char *sd_sampler_spacing(int32_t i) {
    return sdi_sampler_spacing(i);
}

SD_PUBLIC(sd_sampler_new, (model, params, out), (model), const sd_model *model,
          const sd_sampler_params *params, sd_sampler **out) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, model);
    sd_sampler_params p;
    sd_original_params original;
    sd_status status = sdi_read_sampling(model, params, &p, &original);
    if (status)
        return status;
    sdi_fill_default_sides(model, &p);
    status = sdi_sampler_new(model, &p, out);
    if (!status)
        sdi_sampler_give(*out);
    return status;
}

void sd_sampler_free(sd_sampler *sampler) {
    if (sampler)
        sdi_sampler_end(sampler);
}

/* Returns from the calling function unless the sampler is this thread's. */
#define SD_USE_SAMPLER(sampler)                                                                    \
    do {                                                                                           \
        SD_REQUIRE_PTR(NULL, sampler);                                                             \
        sd_status claimed = sdi_sampler_claim(sampler);                                            \
        if (claimed)                                                                               \
            return claimed;                                                                        \
    } while (0)

static const sd_context *context_of(const sd_sampler *sampler) {
    return sampler ? sdi_sampler_model(sampler)->ctx : NULL;
}

/* The caller's inputs of a run with defaults filled in; what does not depend on the sampler is
 * checked. The call uses its handles. */
static sd_status read_run(const sd_context *ctx, const sd_run_params *given, sd_run_params *p) {
    *p = (sd_run_params)SD_RUN_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_run_params", p, sizeof *p, given);
    if (status)
        return status;
    const void *const handles[] = {p->cond, p->uncond,  p->init,  p->noise,
                                   p->mask, p->mask_x0, p->concat};
    for (size_t i = 0; i < SD_COUNT(handles); i++)
        sdi_call_use(handles[i]);
    sdi_call_heed(p->stop);
    SD_REQUIRE(ctx, p->strength >= 0 && p->strength <= 1,
               "sd_run_params.strength is %g; 0 to 1 was expected", p->strength);
    SD_REQUIRE(ctx, !p->mask == !p->mask_x0,
               "sd_run_params.%s is NULL and %s is not; both or neither",
               p->mask ? "mask_x0" : "mask", p->mask ? "mask" : "mask_x0");
    SD_REQUIRE(ctx,
               p->denoising_start >= 0 && p->denoising_start < 1 && p->denoising_end >= 0 &&
                   p->denoising_end <= 1 &&
                   (p->denoising_end == 0 || p->denoising_end > p->denoising_start),
               "sd_run_params.denoising_start and denoising_end are %g and %g; shares from 0 to 1 "
               "were expected, the end's above the start's or 0",
               p->denoising_start, p->denoising_end);
    return sdi_check_reserved(ctx, "sd_run_params", p->reserved);
}

SD_PUBLIC(sd_sample, (sampler, params, latent), (sampler), sd_sampler *sampler,
          const sd_run_params *params, sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    sd_run_params p;
    sd_status status = read_run(context_of(sampler), params, &p);
    return status ? status : sdi_sampler_run(sampler, &p, latent);
}

SD_PUBLIC(sd_sampler_begin, (sampler, params), (sampler), sd_sampler *sampler,
          const sd_run_params *params) {
    SD_USE_SAMPLER(sampler);
    sd_run_params p;
    sd_status status = read_run(context_of(sampler), params, &p);
    return status ? status : sdi_sampler_begin(sampler, &p);
}

SD_PUBLIC(sd_sampler_step, (sampler), (sampler), sd_sampler *sampler) {
    SD_USE_SAMPLER(sampler);
    return sdi_sampler_step(sampler);
}

int32_t sd_sampler_remaining(const sd_sampler *sampler) {
    return sampler ? sdi_sampler_remaining(sampler) : 0;
}

double sd_sampler_timestep(const sd_sampler *sampler, int32_t i) {
    return sampler ? sdi_sampler_timestep(sampler, i) : (double)NAN;
}

SD_PUBLIC(sd_sampler_stochastic_encode, (sampler, x0, t, noise, latent), (sampler, x0, noise),
          sd_sampler *sampler, const sd_tensor *x0, int32_t t, const sd_tensor *noise,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    SD_REQUIRE_PTR(context_of(sampler), x0);
    return sdi_sampler_stochastic_encode(sampler, x0, t, noise, latent);
}

SD_PUBLIC(sd_sampler_latent, (sampler, latent), (sampler), sd_sampler *sampler,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    return sdi_sampler_latent(sampler, latent);
}

SD_PUBLIC(sd_sampler_pred_x0, (sampler, latent), (sampler), sd_sampler *sampler,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    return sdi_sampler_pred_x0(sampler, latent);
}

int32_t sd_sampler_n_intermediates(const sd_sampler *sampler) {
    return sampler ? sdi_sampler_n_inter(sampler) : 0;
}

SD_PUBLIC(sd_sampler_x_inter, (sampler, i, latent), (sampler), sd_sampler *sampler, int32_t i,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    return sdi_sampler_x_inter(sampler, i, latent);
}

SD_PUBLIC(sd_sampler_pred_x0_inter, (sampler, i, latent), (sampler), sd_sampler *sampler, int32_t i,
          sd_tensor **latent) {
    SD_REQUIRE_PTR(context_of(sampler), latent);
    *latent = NULL;
    SD_USE_SAMPLER(sampler);
    return sdi_sampler_pred_x0_inter(sampler, i, latent);
}

SD_PUBLIC(sd_sampler_set_latent, (sampler, latent), (sampler, latent), sd_sampler *sampler,
          const sd_tensor *latent) {
    SD_USE_SAMPLER(sampler);
    SD_REQUIRE_PTR(context_of(sampler), latent);
    return sdi_sampler_set_latent(sampler, latent);
}

SD_PUBLIC(sd_sampler_set_mask, (sampler, mask, x0), (sampler, mask, x0), sd_sampler *sampler,
          const sd_tensor *mask, const sd_tensor *x0) {
    SD_USE_SAMPLER(sampler);
    SD_REQUIRE(context_of(sampler), !mask == !x0, "%s is NULL and %s is not; both or neither",
               mask ? "x0" : "mask", mask ? "mask" : "x0");
    return sdi_sampler_set_mask(sampler, mask, x0);
}

SD_PUBLIC(sd_sampler_set_concat, (sampler, concat), (sampler, concat), sd_sampler *sampler,
          const sd_tensor *concat) {
    SD_USE_SAMPLER(sampler);
    return sdi_sampler_set_concat(sampler, concat);
}

SD_PUBLIC(sd_sampler_preview, (sampler, params, out), (sampler), sd_sampler *sampler,
          const sd_preview_params *params, sd_image **out) {
    const sd_context *ctx = context_of(sampler);
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_USE_SAMPLER(sampler);
    sd_preview_params p = SD_PREVIEW_PARAMS_INIT;
    sd_vae_params vae;
    sd_status status = sdi_read_params(ctx, "sd_preview_params", &p, sizeof p, params);
    if (status)
        return status;
    SD_REQUIRE(ctx, p.method >= SD_PREVIEW_AUTO && p.method <= SD_PREVIEW_TINY,
               "sd_preview_params.method is %d; a value of sd_preview_method was expected",
               (int)p.method);
    status = sdi_read_vae(ctx, p.vae, false, &vae);
    return status ? status : sdi_sampler_preview(sampler, p.index, p.method, &vae, out);
}
