/* struct sd_sampler: a run's memory on the device. */
#include "pipeline/sampling.h"
#include "core/call.h"
#include "pipeline/sampling_internal.h"
#include "pipeline/text.h"

#include <float.h>
#include <math.h>

static void quantize(void *user, sdb_tensor x) {
    sd_sampler *s = user;
    sdi_vae_quantize_forward(s->e, sdi_model_vae(s->model), x, sdi_no_tensor(), x);
}

/* ---------------------------------------------------------------------------------- memory */

/* The tensors of a run, above the network's memory, wherever the method keeps what: so the
 * network's are at the same places for the next sampler of its shape, which replays at once. */
static void layout(sd_sampler *s) {
    sd_exec *e = s->e;
    s->guidance = sdi_exec_tensor_typed(e, SDB_F32, 1, 1, 1, 2);
    s->mixing = sdi_exec_tensor_typed(e, SDB_F32, s->n, 1, 1, sdi_sampler_parts(s));
    s->mask = sdi_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, 1);
    s->known = sdi_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, s->c);
    s->mask_noise = sdi_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, s->c);
    s->run.eps = sdi_view_batch(s->unet.io[SD_UNET_Y], 0, s->n);
    s->beside = sdi_no_tensor();
    if (s->extra > 0)
        s->beside = sdi_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, s->extra);
    sdi_run_layout(&s->run, e);
}

static void measure(sd_sampler *s) {
    if (sdi_stage_plan(&s->unet))
        return;
    layout(s);
    sdi_sampler_compute_measured(s);
}

/* Takes its place in the executor's memory. */
static sd_status settle(sd_sampler *s) {
    s->e->stop = &s->stop;
    s->unet.e = s->e;
    measure(s);
    sd_status status = sdi_stage_commit(&s->unet);
    if (!status)
        layout(s);
    else
        s->unet.e = NULL; /* so that the next run tries again */
    return status;
}

static void set_shape(sd_sampler *s, int tokens, int terms) {
    s->terms = terms;
    s->unet.tokens = tokens;
    s->unet.n = sdi_sampler_parts(s) * s->n;
}

sd_status sdi_sampler_plan(sd_sampler *s, int tokens, int terms) {
    if (s->unet.e && s->unet.tokens == tokens && s->terms == terms)
        return SD_OK;
    set_shape(s, tokens, terms);
    return settle(s);
}

void sdi_sampler_enter(sd_sampler *s) {
    if (s->busy)
        return;
    sdi_exec_begin(s->e);
}

/* The model has all that these parameters ask of it. */
static sd_status check_options(const sd_model *model, const sd_sampler_params *params) {
    const sd_description *desc = model->desc;
    if (params->original->quantize_denoised && !sdi_vae_has_codebook(sdi_model_vae(model)))
        return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: sd_original_params.quantize_denoised is set; the first stage has no "
                        "codebook, as VQ models have",
                        desc->path);
    if (params->original->score_corrector && desc->schedule.prediction != SD_PREDICT_EPSILON)
        return sdi_fail(
            model->ctx, SD_ERROR_UNSUPPORTED,
            "%s: sd_original_params.score_corrector is set; the model predicts %s, noise "
            "was expected",
            desc->path, desc->schedule.prediction == SD_PREDICT_V ? "v" : "x_0");
    return SD_OK;
}

static sd_status new_latent(const sd_sampler *s, sd_tensor **out) {
    const int64_t dims[] = {s->n, s->c, s->h, s->w};
    return sdi_tensor_new_raw(s->model->ctx, 4, dims, out);
}

/* All but the executor's memory. */
static sd_status init(sd_sampler *s, const sd_model *model, const sd_sampler_params *params) {
    sd_context *ctx = model->ctx;
    int scale = sdi_model_downscale(model);
    s->model = model;
    s->params = *params;
    s->params.method = NULL; /* the caller's strings and arrays are not kept */
    s->params.seeds = NULL;
    s->params.timesteps = s->params.sigmas = NULL;
    s->original = *params->original;
    s->params.original = &s->original;
    s->skip_draws = params->original->skip_draws;
    s->n = params->batch;
    s->h = params->height / scale;
    s->w = params->width / scale;
    s->c = model->desc->vae.latent_channels;
    s->extra = model->desc->unet.in_channels - s->c;
    s->guided = sdi_is_guided(model, params);
    sd_prediction prediction = model->desc->schedule.prediction;
    sd_status status;
    if ((status = check_options(model, params)) ||
        (status = sdi_run_init(&s->run, ctx, &model->schedule, prediction, params)) ||
        (status = sdi_noise_init(&s->noise, ctx, params)))
        return status;
    s->noise.variation = (sd_variation){.subseed = params->subseed,
                                        .strength = params->subseed_strength,
                                        .h = params->seed_resize_height / scale,
                                        .w = params->seed_resize_width / scale,
                                        .delta = (uint64_t)params->eta_noise_seed_delta};
    s->run.user = s;
    s->run.denoise = sdi_sampler_denoise;
    s->run.quantize = params->original->quantize_denoised ? quantize : NULL;
    bool told = sdi_unet_guidance_dim(sdi_model_unet(model)) > 0;
    s->unet =
        (sd_stage){.type = &sdi_unet_stage, .model = model, .h = s->h, .w = s->w, .options = told};
    set_shape(s, sdi_model_context_tokens(model), 1);
    status = new_latent(s, &s->host);
    for (int i = 0; i < 2 && !status && params->original->score_corrector; i++)
        status = new_latent(s, &s->score[i]);
    return status;
}

/* Frees all that init made. */
static void free_host(sd_sampler *s) {
    sdi_run_free(&s->run);
    sdi_noise_free(&s->noise, s->model->ctx);
    sdi_tensor_free(s->host);
    for (int i = 0; i < 2; i++)
        sdi_tensor_free(s->score[i]);
}

/* (1 - s) e_uncond + s e_cond is e_uncond in float32. */
static void warn_of_guidance(const sd_sampler *s) {
    if (s->guided && fabs(s->params.guidance_scale) < (double)FLT_EPSILON / 2)
        sdi_log(
            s->model->ctx, SD_LOG_LEVEL_WARN,
            "guidance scale %g: the prompt is not used, the picture follows the negative prompt "
            "alone; 1 is the prompt alone, which 0 means in diffusers",
            s->params.guidance_scale);
}

static void destroy(void *handle) {
    sd_sampler *s = handle;
    const sd_model *model = s->model;
    sdi_handle_release(s->token);
    sdi_sampler_keep_conds(s, NULL, NULL);
    sdi_execs_give(model->execs, s->e);
    sdi_inter_free(s);
    free_host(s);
    sdi_free(model->ctx, s);
    sdi_handle_release(model);
}

sd_status sdi_sampler_new(const sd_model *model, const sd_sampler_params *params,
                          sd_sampler **out) {
    *out = NULL;
    sd_sampler *s = sdi_zalloc(model->ctx, sizeof *s);
    if (!s)
        return SD_ERROR_MEMORY;
    sdi_handle_retain(model);
    sdi_handle_init(&s->handle, model->ctx, destroy);
    atomic_store(&s->handle.freed, true);
    atomic_store(&s->owner, sdi_thread_identity());
    sd_status status;
    if ((status = init(s, model, params)) || (status = sdi_inter_new(s)) ||
        (status = sdi_execs_take(model->execs, &s->e)) || (status = settle(s))) {
        sdi_sampler_free(s);
        return status;
    }
    warn_of_guidance(s);
    *out = s;
    return SD_OK;
}

void sdi_sampler_free(sd_sampler *s) {
    sdi_handle_release(s);
}

void sdi_sampler_give(sd_sampler *s) {
    atomic_store(&s->handle.freed, false);
    atomic_store(&s->owner, 0);
}

void sdi_sampler_end(sd_sampler *s) {
    atomic_store(&s->stop, true);
    sdi_handle_free(s);
}

sd_status sdi_sampler_claim(sd_sampler *s) {
    const sd_context *ctx = s->model->ctx;
    const char *call = sdi_call_current()->name;
    switch (sdi_call_claim(&s->owner)) {
    case SD_CLAIM_TAKEN:
        return sdi_fail(ctx, SD_ERROR_STATE,
                        "%s: another thread is using this sampler, which serves one at a time; "
                        "several samplers of one model may run at once",
                        call);
    case SD_CLAIM_NESTED:
        return s->busy ? SD_OK
                       : sdi_fail(ctx, SD_ERROR_STATE,
                                  "%s was called from a callback of another call of this sampler",
                                  call);
    default:
        return SD_OK;
    }
}

sd_status sdi_sampler_estimate(const sd_model *model, const sd_sampler_params *params, int tokens,
                               int terms, sd_cost *cost) {
    sd_sampler s = {0};
    sd_status status = init(&s, model, params);
    set_shape(&s, tokens, terms);
    if (!status)
        status = sdi_exec_new(model->ctx, model->act, &s.e);
    if (!status) {
        s.unet.e = s.e;
        measure(&s);
        cost->flops = s.e->flops;
        cost->bytes = sdi_exec_abandon(s.e);
        status = s.e->status;
    }
    sdi_exec_free(s.e);
    free_host(&s);
    return status;
}

const sd_model *sdi_sampler_model(const sd_sampler *s) {
    return s->model;
}

const char *sdi_sampler_spacing(int i) {
    return sdi_spacing_name(i);
}

const char *sdi_sampler_method(int i) {
    const sd_method *method = sdi_method_at(i);
    return method ? method->name : NULL;
}

int sdi_sampler_evaluations(const sd_sampler_params *params) {
    return sdi_method_evaluations(sdi_method_find(params->method), params->steps);
}

void sdi_sampler_skip(sd_sampler *s, int draws) {
    s->skip_draws = s->original.skip_draws + draws;
}

/* --------------------------------------------------------------------------------- latents */

sd_status sdi_sampler_check_latent(const sd_sampler *s, const sd_tensor *t, const char *what,
                                   bool one_is_fine) {
    bool one = one_is_fine && t->n_dims == 4 && t->dims[0] == 1;
    const int64_t dims[] = {one ? 1 : s->n, s->c, s->h, s->w};
    return sdi_expect_tensor(t, what, 4, dims);
}

sd_status sdi_sampler_copy(sd_sampler *s, sdb_tensor from, sd_tensor **out) {
    const int64_t dims[] = {from.n, s->c, s->h, s->w};
    sd_tensor *copy;
    *out = NULL;
    sdi_sampler_enter(s);
    if (s->e->status) /* in a callback, after a call that saw that the run is to end */
        return sdi_fail(s->model->ctx, s->e->status, "the run is ending: %s",
                        sdi_status_text(s->e->status));
    sd_status status = sdi_tensor_new_raw(s->model->ctx, 4, dims, &copy);
    if (status)
        return status;
    sdi_exec_get(s->e, copy, 0, from);
    return sdi_tensor_give(s->e->status, copy, out);
}

sd_status sdi_sampler_latent(sd_sampler *s, sd_tensor **latent) {
    *latent = NULL;
    return s->has_latent ? sdi_sampler_copy(s, s->run.x, latent)
                         : sdi_sampler_fail_none(s, "latent");
}

sd_status sdi_sampler_fail_none(const sd_sampler *s, const char *what) {
    return sdi_fail(s->model->ctx, SD_ERROR_STATE, "the sampler has no %s: no run was begun%s",
                    what, s->has_latent ? " or made a step" : "");
}
