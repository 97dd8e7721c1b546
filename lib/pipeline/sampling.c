/* struct sd_sampler: a run's memory on the device. */
#include "pipeline/sampling.h"
#include "core/call.h"
#include "pipeline/sampling_internal.h"
#include "pipeline/text.h"

#include <float.h>
#include <math.h>

static void quantize(void *user, sdb_tensor x) {
    sd_sampler *s = user;
    sd_vae_quantize_forward(s->e, sd_model_vae(s->model), x, sd_no_tensor(), x);
}

/* ---------------------------------------------------------------------------------- memory */

/* The tensors of a run, above the network's memory, wherever the method keeps what: so the
 * network's are at the same places for the next sampler of its shape, which replays at once. */
static void layout(sd_sampler *s) {
    sd_exec *e = s->e;
    s->guidance = sd_exec_tensor_typed(e, SDB_F32, 1, 1, 1, 2);
    s->mask = sd_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, 1);
    s->known = sd_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, s->c);
    s->mask_noise = sd_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, s->c);
    s->run.eps = sd_view_batch(s->unet.io[SD_UNET_Y], 0, s->n);
    s->beside = sd_no_tensor();
    if (s->extra > 0)
        s->beside = sd_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, s->extra);
    sd_run_layout(&s->run, e);
}

static void measure(sd_sampler *s) {
    if (sd_stage_plan(&s->unet))
        return;
    layout(s);
    sd_sampling_compute_measured(s);
}

/* Takes its place in the executor's memory. */
static sd_status settle(sd_sampler *s) {
    s->e->stop = &s->stop;
    s->unet.e = s->e;
    measure(s);
    sd_status status = sd_stage_commit(&s->unet);
    if (!status)
        layout(s);
    else
        s->unet.e = NULL; /* so that the next run tries again */
    return status;
}

sd_status sd_sampling_plan(sd_sampler *s, int tokens) {
    if (s->unet.e && s->unet.tokens == tokens)
        return SD_OK;
    s->unet.tokens = tokens;
    return settle(s);
}

void sd_sampling_enter(sd_sampler *s) {
    if (s->busy)
        return;
    sd_exec_begin(s->e);
}

/* What these parameters ask of the model. */
static sd_status check_options(const sd_model *model, const sd_sampler_params *params) {
    const sd_description *desc = model->desc;
    if (params->original->quantize_denoised && !sd_vae_has_codebook(sd_model_vae(model)))
        return sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                       "%s: sd_original_params.quantize_denoised is set; the first stage has no "
                       "codebook, as VQ models have",
                       desc->path);
    if (params->original->score_corrector && desc->schedule.prediction != SD_PREDICT_EPSILON)
        return sd_fail(
            model->ctx, SD_ERROR_UNSUPPORTED,
            "%s: sd_original_params.score_corrector is set; the model predicts %s, noise "
            "was expected",
            desc->path, desc->schedule.prediction == SD_PREDICT_V ? "v" : "x_0");
    return SD_OK;
}

static sd_status new_latent(const sd_sampler *s, sd_tensor **out) {
    const int64_t dims[] = {s->n, s->c, s->h, s->w};
    return sd_tensor_create_raw(s->model->ctx, 4, dims, out);
}

/* All but the executor's memory. */
static sd_status init(sd_sampler *s, const sd_model *model, const sd_sampler_params *params) {
    sd_context *ctx = model->ctx;
    int scale = sd_model_downscale(model);
    s->model = model;
    s->params = *params;
    s->params.method = NULL; /* the caller's strings and arrays are not kept */
    s->params.seeds = NULL;
    s->original = *params->original;
    s->params.original = &s->original;
    s->skip_draws = params->original->skip_draws;
    s->n = params->batch;
    s->h = params->height / scale;
    s->w = params->width / scale;
    s->c = model->desc->vae.latent_channels;
    s->extra = model->desc->unet.in_channels - s->c;
    s->halves = sd_is_guided(model, params) ? 2 : 1;
    sd_prediction prediction = model->desc->schedule.prediction;
    sd_status status;
    if ((status = check_options(model, params)) ||
        (status = sd_run_init(&s->run, ctx, &model->schedule, prediction, params)) ||
        (status = sd_noise_init(&s->noise, ctx, params)))
        return status;
    s->run.user = s;
    s->run.denoise = sd_sampling_denoise;
    s->run.quantize = params->original->quantize_denoised ? quantize : NULL;
    bool told = sd_unet_guidance_dim(sd_model_unet(model)) > 0;
    s->unet = (sd_stage){.type = &sd_unet_stage,
                         .model = model,
                         .n = s->halves * s->n,
                         .h = s->h,
                         .w = s->w,
                         .tokens = sd_model_context_tokens(model),
                         .options = told};
    status = new_latent(s, &s->host);
    for (int i = 0; i < 2 && !status && params->original->score_corrector; i++)
        status = new_latent(s, &s->score[i]);
    return status;
}

/* What init made. */
static void free_host(sd_sampler *s) {
    sd_run_free(&s->run);
    sd_noise_free(&s->noise, s->model->ctx);
    sd_tensor_destroy(s->host);
    for (int i = 0; i < 2; i++)
        sd_tensor_destroy(s->score[i]);
}

/* (1 - s) e_uncond + s e_cond is e_uncond in float32. */
static void warn_of_guidance(const sd_sampler *s) {
    if (s->halves == 2 && fabs(s->params.guidance_scale) < (double)FLT_EPSILON / 2)
        sd_log(s->model->ctx, SD_LOG_LEVEL_WARN,
               "guidance scale %g: the prompt is not used, the picture follows the negative prompt "
               "alone; 1 is the prompt alone, which 0 means in diffusers",
               s->params.guidance_scale);
}

static void destroy(void *handle) {
    sd_sampler *s = handle;
    const sd_model *model = s->model;
    sd_handle_release(s->token);
    sd_execs_give(model, s->e);
    sd_inter_free(s);
    free_host(s);
    sd_free(model->ctx, s);
    sd_handle_release(model);
}

sd_status sd_sampling_new(const sd_model *model, const sd_sampler_params *params,
                          sd_sampler **out) {
    *out = NULL;
    sd_sampler *s = sd_zalloc(model->ctx, sizeof *s);
    if (!s)
        return SD_ERROR_MEMORY;
    sd_handle_retain(model);
    sd_handle_init(&s->handle, model->ctx, destroy);
    atomic_store(&s->handle.freed, true);
    atomic_store(&s->owner, sd_thread_identity());
    sd_status status;
    if ((status = init(s, model, params)) || (status = sd_inter_new(s)) ||
        (status = sd_execs_take(model, &s->e)) || (status = settle(s))) {
        sd_sampling_free(s);
        return status;
    }
    warn_of_guidance(s);
    *out = s;
    return SD_OK;
}

void sd_sampling_free(sd_sampler *s) {
    sd_handle_release(s);
}

void sd_sampling_give(sd_sampler *s) {
    atomic_store(&s->handle.freed, false);
    atomic_store(&s->owner, 0);
}

void sd_sampling_end(sd_sampler *s) {
    atomic_store(&s->stop, true);
    sd_handle_free(s);
}

sd_status sd_sampling_claim(sd_sampler *s) {
    const sd_context *ctx = s->model->ctx;
    const char *call = sd_call_current()->name;
    switch (sd_call_claim(&s->owner)) {
    case SD_CLAIM_TAKEN:
        return sd_fail(ctx, SD_ERROR_STATE,
                       "%s: another thread is using this sampler, which serves one at a time; "
                       "several samplers of one model may run at once",
                       call);
    case SD_CLAIM_NESTED:
        return s->busy
                   ? SD_OK
                   : sd_fail(ctx, SD_ERROR_STATE,
                             "%s was called from a callback of another call of this sampler", call);
    default:
        return SD_OK;
    }
}

sd_status sd_sampling_estimate(const sd_model *model, const sd_sampler_params *params, int tokens,
                               sd_cost *cost) {
    sd_sampler s = {0};
    sd_status status = init(&s, model, params);
    s.unet.tokens = tokens;
    if (!status)
        status = sd_exec_new(model->ctx, model->act, &s.e);
    if (!status) {
        s.unet.e = s.e;
        measure(&s);
        cost->flops = s.e->flops;
        cost->bytes = sd_exec_abandon(s.e);
        status = s.e->status;
    }
    sd_exec_free(s.e);
    free_host(&s);
    return status;
}

const sd_model *sd_sampling_model(const sd_sampler *s) {
    return s->model;
}

const char *sd_sampling_method(int i) {
    const sd_method *method = sd_method_at(i);
    return method ? method->name : NULL;
}

void sd_sampling_skip(sd_sampler *s, int draws) {
    s->skip_draws = s->original.skip_draws + draws;
}

/* --------------------------------------------------------------------------------- latents */

sd_status sd_sampling_check_latent(const sd_sampler *s, const sd_tensor *t, const char *what,
                                   bool one_is_fine) {
    bool one = one_is_fine && t->n_dims == 4 && t->dims[0] == 1;
    const int64_t dims[] = {one ? 1 : s->n, s->c, s->h, s->w};
    return sd_expect_tensor(t, what, 4, dims);
}

sd_status sd_sampling_copy(sd_sampler *s, sdb_tensor from, sd_tensor **out) {
    const int64_t dims[] = {from.n, s->c, s->h, s->w};
    sd_tensor *copy;
    *out = NULL;
    sd_sampling_enter(s);
    if (s->e->status) /* in a callback, after a call that saw that the run is to end */
        return sd_fail(s->model->ctx, s->e->status, "the run is ending: %s",
                       sd_status_text(s->e->status));
    sd_status status = sd_tensor_create_raw(s->model->ctx, 4, dims, &copy);
    if (status)
        return status;
    sd_exec_get(s->e, copy, 0, from);
    return sd_tensor_give(s->e->status, copy, out);
}

sd_status sd_sampling_latent(sd_sampler *s, sd_tensor **latent) {
    *latent = NULL;
    return s->has_latent ? sd_sampling_copy(s, s->run.x, latent)
                         : sd_sampling_fail_none(s, "latent");
}

sd_status sd_sampling_fail_none(const sd_sampler *s, const char *what) {
    return sd_fail(s->model->ctx, SD_ERROR_STATE, "the sampler has no %s: no run was begun%s", what,
                   s->has_latent ? " or made a step" : "");
}
