/* struct sd_sampler: a run's memory on the device. */
#include "core/call.h"
#include "pipeline/sampling_internal.h"
#include "pipeline/text.h"

#include <float.h>
#include <math.h>

void sd_sampling_upload(sd_sampler *s, sdb_tensor dst, const float *nchw) {
    sd_nchw_to_nhwc(s->nhwc, nchw, s->n, s->c, s->h, s->w);
    sd_exec_upload(s->e, dst, s->nhwc);
}

static void quantize(void *user, sdb_tensor x) {
    sd_sampler *s = user;
    sd_vae_quantize_forward(s->e, sd_model_vae(s->model), x, sd_no_tensor(), x);
}

/* ---------------------------------------------------------------------------------- memory */

/* The tensors that the network names, at the bottom of the executor's stack: at the same places for
 * each sampler of its key, so that a region that was recorded for one serves the next. */
static void layout_network(sd_sampler *s) {
    sd_exec *e = s->e;
    int n = s->halves * s->n, tokens = s->params.text_tokens;
    int width = sd_unet_guidance_dim(sd_model_unet(s->model));
    s->x_in = sd_exec_tensor_typed(e, SDB_F32, n, s->h, s->w, s->c + s->extra);
    s->out = sd_exec_tensor_typed(e, SDB_F32, n, s->h, s->w, s->c);
    s->t = sd_exec_tensor_typed(e, SDB_F32, n, 1, 1, 1);
    s->scale = width > 0 ? sd_exec_tensor_typed(e, SDB_F32, n, 1, 1, width) : sd_no_tensor();
    s->kv = sd_no_tensor();
    if (tokens > 0)
        s->kv = sd_exec_tensor(e, n, tokens, 1, sd_unet_kv_width(sd_model_unet(s->model)));
    s->workspace = sd_exec_mark(e);
}

/* And above what the network computes between, which ends at `above`, the run's. */
static void layout_run(sd_sampler *s, size_t above) {
    sd_exec *e = s->e;
    sd_exec_release(e, above);
    s->guidance = sd_exec_tensor_typed(e, SDB_F32, 1, 1, 1, 2);
    s->mask = sd_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, 1);
    s->known = sd_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, s->c);
    s->mask_noise = sd_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, s->c);
    s->run.eps = sd_view_batch(s->out, 0, s->n);
    sd_run_layout(&s->run, e);
    s->top = sd_exec_mark(e);
}

/* Rows of cond or uncond into images first .. first + n - 1 of the context. */
static void upload_rows(sd_sampler *s, sdb_tensor context, int first, const sd_tensor *rows) {
    int64_t row = rows->dims[1] * rows->dims[2];
    for (int i = 0; i < s->n; i++)
        sd_exec_upload(s->e, sd_view_batch(context, first + i, 1),
                       rows->data + (rows->dims[0] == 1 ? 0 : i * row));
}

void sd_sampling_encode_prompts(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond) {
    const sd_description *desc = s->model->desc;
    int tokens = s->params.text_tokens;
    if (tokens == 0)
        return;
    sd_exec_release(s->e, s->workspace);
    sdb_tensor context =
        sd_exec_tensor_typed(s->e, SDB_F32, s->halves * s->n, tokens, 1, desc->unet.context_dim);
    if (s->halves == 2 && uncond)
        upload_rows(s, context, 0, uncond);
    if (cond)
        upload_rows(s, context, (s->halves - 1) * s->n, cond);
    sd_unet_kv(s->e, sd_model_unet(s->model), s->kv, context);
    sd_exec_release(s->e, s->top);
}

/* Where the network's memory ends. */
static size_t measure(sd_sampler *s) {
    sd_exec_measure(s->e);
    layout_network(s);
    sd_sampling_encode_prompts(s, NULL, NULL);
    sd_sampling_network(s);
    size_t above = s->e->peak;
    layout_run(s, above);
    s->e->flops = 0; /* of a step alone, one from the middle of a run */
    sd_sampling_compute_measured(s);
    return above;
}

/* Takes the executor's memory, where the network may have run before. */
static sd_status settle(sd_sampler *s) {
    size_t above = measure(s);
    sd_status status = sd_exec_commit(s->e);
    if (status)
        return status;
    layout_network(s);
    layout_run(s, above);
    sd_stage_key key = sd_sampling_network_key(s);
    if (!sd_exec_find_stage(s->e, &key))
        sd_exec_add_stage(s->e, &key);
    return s->e->status;
}

void sd_sampling_enter(sd_sampler *s) {
    if (s->busy)
        return;
    sd_exec_begin(s->e);
    sd_exec_release(s->e, s->top);
}

/* What these parameters ask of the model. */
static sd_status check_options(const sd_model *model, const sd_sampler_params *params) {
    const sd_description *desc = model->desc;
    if (params->quantize_denoised && !sd_vae_has_codebook(sd_model_vae(model)))
        return sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                       "%s: sd_sampler_params.quantize_denoised is set; the first stage has no "
                       "codebook, as VQ models have",
                       desc->path);
    if (params->score_corrector && desc->schedule.prediction != SD_PREDICT_EPSILON)
        return sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                       "%s: sd_sampler_params.score_corrector is set; the model predicts %s, noise "
                       "was expected",
                       desc->path, desc->schedule.prediction == SD_PREDICT_V ? "v" : "x_0");
    return SD_OK;
}

/* All but the executor's memory. */
static sd_status init(sd_sampler *s, sd_model *model, const sd_sampler_params *params) {
    sd_context *ctx = model->ctx;
    int scale = sd_model_downscale(model);
    s->model = model;
    s->params = *params;
    s->params.method = NULL; /* the caller's strings and arrays are not kept */
    s->params.seeds = NULL;
    s->skip_draws = params->skip_draws;
    s->n = params->batch;
    s->h = params->height / scale;
    s->w = params->width / scale;
    s->c = model->desc->vae.latent_channels;
    s->extra = model->desc->unet.in_channels - s->c;
    s->halves = sd_is_guided(model, params) ? 2 : 1;
    sd_status status = check_options(model, params);
    if (!status)
        status =
            sd_run_init(&s->run, ctx, &model->schedule, model->desc->schedule.prediction, params);
    if (status)
        return status;
    s->run.user = s;
    s->run.denoise = sd_sampling_denoise;
    s->run.quantize = params->quantize_denoised ? quantize : NULL;
    status = sd_noise_init(&s->noise, ctx, params);
    if (status)
        return status;
    size_t size = (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
    s->nchw = sd_alloc_array(ctx, size, sizeof *s->nchw);
    s->nhwc = sd_alloc_array(ctx, size, sizeof *s->nhwc);
    for (int i = 0; i < 2; i++)
        s->drawn[i] = sd_alloc_array(ctx, size, sizeof *s->drawn[i]);
    if (params->score_corrector)
        s->score = sd_alloc_array(ctx, 2 * size, sizeof *s->score);
    bool all = s->nchw && s->nhwc && s->drawn[0] && s->drawn[1];
    return all && (s->score || !params->score_corrector) ? SD_OK : SD_ERROR_MEMORY;
}

/* What init made. */
static void free_host(sd_sampler *s) {
    const sd_context *ctx = s->model->ctx;
    sd_run_free(&s->run);
    sd_noise_free(&s->noise, ctx);
    sd_free(ctx, s->nchw);
    sd_free(ctx, s->nhwc);
    sd_free(ctx, s->drawn[0]);
    sd_free(ctx, s->drawn[1]);
    sd_free(ctx, s->score);
}

/* (1 - s) e_uncond + s e_cond is e_uncond in float32. */
static void warn_of_guidance(const sd_sampler *s) {
    if (s->halves == 2 && fabsf(s->params.guidance_scale) < FLT_EPSILON / 2)
        sd_log(s->model->ctx, SD_LOG_WARN,
               "guidance scale %g: the prompt is not used, the picture follows the negative prompt "
               "alone; 1 is the prompt alone, which 0 means in diffusers",
               (double)s->params.guidance_scale);
}

static void destroy(void *handle) {
    sd_sampler *s = handle;
    sd_model *model = s->model;
    sd_execs_give(model, s->e);
    sd_inter_free(s);
    free_host(s);
    sd_free(model->ctx, s);
    sd_model_release(model);
}

sd_status sd_sampling_new(sd_model *model, const sd_sampler_params *params, sd_sampler **out) {
    *out = NULL;
    sd_sampler *s = sd_zalloc(model->ctx, sizeof *s);
    if (!s)
        return SD_ERROR_MEMORY;
    sd_model_retain(model);
    sd_handle_init(&s->handle, model->ctx, destroy);
    atomic_store(&s->handle.freed, true);
    atomic_store(&s->owner, sd_thread_identity());
    sd_status status = init(s, model, params);
    if (!status)
        status = sd_inter_new(s);
    if (!status)
        status = sd_execs_take(model, &s->e);
    if (!status) {
        s->e->stop = &s->stop;
        status = settle(s);
        sd_exec_fail(s->e, status);
    }
    if (status) {
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

sd_status sd_sampling_estimate(sd_model *model, const sd_sampler_params *params, sd_cost *cost) {
    sd_sampler s = {0};
    sd_status status = init(&s, model, params);
    if (!status)
        status = sd_exec_new(model->ctx, model->act, &s.e);
    if (!status) {
        measure(&s);
        cost->flops = s.e->flops;
        cost->bytes = sd_exec_abandon(s.e);
        status = s.e->status;
    }
    sd_exec_free(s.e);
    free_host(&s);
    return status;
}

sd_model *sd_sampling_model(const sd_sampler *s) {
    return s->model;
}

const char *sd_sampling_method(int i) {
    const sd_method *method = sd_method_at(i);
    return method ? method->name : NULL;
}

void sd_sampling_skip(sd_sampler *s, int draws) {
    s->skip_draws = s->params.skip_draws + draws;
}
