/* struct sd_sampler: a run's memory on the device, and the network. */
#include "pipeline/sampling.h"

#include "backend/region.h"

#include <math.h>

/* ------------------------------------------------------------------------------ the network */

/* out = UNet(x_in, t), then e = (1 - s) e_uncond + s e_cond: Ho and Salimans 2022, eq. 6. */
static void guided_network(sd_exec *e, void *sampler) {
    const sd_sampler *s = sampler;
    size_t mark = sd_exec_mark(e);
    sd_unet_forward(e, s->model->unet, s->out, s->x_in, s->t, s->kv);
    if (s->halves == 2) {
        sdb_tensor terms[] = {sd_view_batch(s->out, 0, s->n), sd_view_batch(s->out, s->n, s->n)};
        sd_op_combine(e, s->run.eps, 2, terms, s->guidance);
    }
    sd_exec_release(e, mark);
}

/* Lin et al. 2024, eq. 15 and 16: the spread of the conditional half given back, by phi. */
static void rescale_guidance(sd_sampler *s) {
    size_t each = (size_t)s->c * (size_t)s->h * (size_t)s->w;
    sd_exec_download(s->e, s->nchw, sd_view_batch(s->out, s->n, s->n)); /* in no order here */
    sd_exec_download(s->e, s->nhwc, s->run.eps);
    if (s->e->status)
        return;
    for (int i = 0; i < s->n; i++)
        sd_rescale(s->nhwc + (size_t)i * each, s->nchw + (size_t)i * each, each,
                   (double)s->params.guidance_rescale);
    sd_exec_upload(s->e, s->run.eps, s->nhwc);
}

/* All that changes from step to step lies in device memory at fixed places, so a backend that can
 * records the network once. */
static void evaluate(sd_sampler *s) {
    sd_exec *e = s->e;
    if (!sd_exec_can_record(e)) {
        guided_network(e, s);
        return;
    }
    if (!s->graph)
        sd_exec_record(e, guided_network, s, &s->graph);
    sd_exec_replay(e, s->graph);
}

/* Lets the host change epsilon: score_corrector of DDIMSampler. */
static void correct_score(sd_sampler *s, sdb_tensor x) {
    sd_exec *e = s->e;
    size_t size = (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
    float t = 0.0f, *e_t = s->score, *x_t = s->score + size;
    sd_exec_download(e, &t, sd_view_batch(s->t, 0, 1));
    sd_exec_download(e, s->nhwc, x);
    if (!e->status)
        sd_nhwc_to_nchw(x_t, s->nhwc, s->n, s->c, s->h, s->w);
    sd_exec_download(e, s->nhwc, s->run.eps);
    if (e->status)
        return;
    sd_nhwc_to_nchw(e_t, s->nhwc, s->n, s->c, s->h, s->w);
    const sd_score score = {sizeof score, s->n, s->c, s->h, s->w, (double)t, x_t, e_t};
    if (s->params.score_corrector(s->params.corrector_user, &score))
        sd_exec_fail(e, sd_fail(s->model->ctx, SD_ERROR_CANCELLED,
                                "cancelled by the score corrector at timestep %g", (double)t));
    else
        sd_sampling_upload(s, s->run.eps, e_t);
}

static void denoise(void *user, sdb_tensor x, sdb_tensor time) {
    sd_sampler *s = user;
    sd_exec *e = s->e;
    for (int i = 0; i < s->halves; i++)
        sd_op_copy(e, sd_view_channels(sd_view_batch(s->x_in, i * s->n, s->n), 0, s->c), x);
    sd_op_copy(e, s->t, time);
    evaluate(s);
    if (s->halves == 2 && s->params.guidance_rescale > 0.0f && !e->measuring)
        rescale_guidance(s);
    if (s->params.score_corrector && !e->measuring)
        correct_score(s, x);
}

void sd_sampling_upload(sd_sampler *s, sdb_tensor dst, const float *nchw) {
    sd_nchw_to_nhwc(s->nhwc, nchw, s->n, s->c, s->h, s->w);
    sd_exec_upload(s->e, dst, s->nhwc);
}

static void draw(void *user) {
    sd_sampler *s = user;
    if (s->e->measuring || s->e->status)
        return;
    sd_noise_draw(&s->noise, s->nchw, (int64_t)s->c * s->h * s->w);
    sd_noise_dropout(&s->noise, s->nchw, (int64_t)s->c * s->h * s->w,
                     (double)s->params.noise_dropout);
    sd_sampling_upload(s, s->run.noise, s->nchw);
}

static void clip(void *user, sdb_tensor x) {
    sd_sampler *s = user;
    size_t size = (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
    if (s->e->measuring)
        return;
    sd_exec_download(s->e, s->nhwc, x);
    for (size_t i = 0; i < size && !s->e->status; i++)
        s->nhwc[i] = fminf(fmaxf(s->nhwc[i], -1.0f), 1.0f);
    sd_exec_upload(s->e, x, s->nhwc);
}

static void quantize(void *user, sdb_tensor x) {
    sd_sampler *s = user;
    sd_vae_quantize_forward(s->e, s->model->vae, x, sd_no_tensor(), x);
}

/* ---------------------------------------------------------------------------------- memory */

/* The tensors that live for the whole run, at the bottom of the executor's stack: at the same
 * place each time. */
static void layout(sd_sampler *s) {
    sd_exec *e = s->e;
    int n = s->halves * s->n, tokens = s->params.text_tokens;
    sd_run_layout(&s->run, e, s->n, s->h, s->w, s->c);
    s->x_in = sd_exec_tensor_typed(e, SDB_F32, n, s->h, s->w, s->c + s->extra);
    s->out = s->halves == 2 ? sd_exec_tensor_typed(e, SDB_F32, n, s->h, s->w, s->c) : s->run.eps;
    s->t = sd_exec_tensor_typed(e, SDB_F32, n, 1, 1, 1);
    s->guidance = sd_exec_tensor_typed(e, SDB_F32, 1, 1, 1, 2);
    s->kv = sd_no_tensor();
    if (tokens > 0)
        s->kv = sd_exec_tensor(e, n, tokens, 1, sd_unet_kv_width(s->model->unet));
}

/* Rows of cond or uncond into images first .. first + n - 1 of the context. */
static void upload_rows(sd_sampler *s, sdb_tensor context, int first, const sd_tensor *rows) {
    int64_t row = rows->dims[1] * rows->dims[2];
    for (int i = 0; i < s->n; i++)
        sd_exec_upload(s->e, sd_view_batch(context, first + i, 1),
                       rows->data + (rows->dims[0] == 1 ? 0 : i * row));
}

void sd_sampling_encode_prompts(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond) {
    const sd_source *source = s->model->source;
    size_t mark = sd_exec_mark(s->e);
    int tokens = s->params.text_tokens;
    if (tokens == 0)
        return;
    sdb_tensor context =
        sd_exec_tensor_typed(s->e, SDB_F32, s->halves * s->n, tokens, 1, source->unet.context_dim);
    if (s->halves == 2 && uncond)
        upload_rows(s, context, 0, uncond);
    if (cond)
        upload_rows(s, context, (s->halves - 1) * s->n, cond);
    sd_unet_kv(s->e, s->model->unet, s->kv, context);
    sd_exec_release(s->e, mark);
}

static void measure(sd_sampler *s) {
    sd_exec_measure(s->e);
    layout(s);
    sd_sampling_encode_prompts(s, NULL, NULL);
    s->e->flops = 0; /* of a step alone, one from the middle of a run */
    s->run.done = 1;
    s->run.method->step(&s->run, s->run.times.count > 1 ? 1 : 0);
    s->run.done = 0;
}

void sd_sampling_enter(sd_sampler *s) {
    if (s->busy)
        return;
    sd_exec_begin(s->e);
    layout(s);
}

/* What these parameters ask of the model. */
static sd_status check_options(const sd_model *model, const sd_sampler_params *params) {
    const sd_source *source = model->source;
    if (params->quantize_denoised && !sd_vae_has_codebook(model->vae))
        return sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                       "%s: sd_sampler_params.quantize_denoised is set; the first stage has no "
                       "codebook, as VQ models have",
                       source->path);
    if (params->score_corrector && source->schedule.prediction != SD_PREDICT_EPSILON)
        return sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                       "%s: sd_sampler_params.score_corrector is set; the model predicts %s, noise "
                       "was expected",
                       source->path, source->schedule.prediction == SD_PREDICT_V ? "v" : "x_0");
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
    s->c = model->source->vae.latent_channels;
    s->extra = model->source->unet.in_channels - s->c;
    /* without a condition there is nothing to be guided to */
    bool guided = params->guidance_scale != 1.0f && sd_model_context_tokens(model) > 0;
    s->halves = guided ? 2 : 1;
    sd_status status = check_options(model, params);
    if (!status)
        status =
            sd_run_init(&s->run, ctx, &model->schedule, model->source->schedule.prediction, params);
    if (status)
        return status;
    s->run.user = s;
    s->run.denoise = denoise;
    s->run.draw = draw;
    s->run.clip = clip;
    s->run.quantize = params->quantize_denoised ? quantize : NULL;
    status = sd_noise_init(&s->noise, ctx, params);
    if (status)
        return status;
    size_t size = (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
    s->nchw = sd_alloc_array(ctx, size, sizeof *s->nchw);
    s->nhwc = sd_alloc_array(ctx, size, sizeof *s->nhwc);
    if (params->score_corrector)
        s->score = sd_alloc_array(ctx, 2 * size, sizeof *s->score);
    return s->nchw && s->nhwc && (s->score || !params->score_corrector) ? SD_OK : SD_ERROR_MEMORY;
}

sd_status sd_sampling_new(sd_model *model, const sd_sampler_params *params, sd_sampler **out) {
    *out = NULL;
    sd_sampler *s = sd_zalloc(model->ctx, sizeof *s);
    if (!s)
        return SD_ERROR_MEMORY;
    sd_model_retain(model);
    sd_status status = init(s, model, params);
    if (!status)
        status = sd_inter_new(s);
    if (!status)
        status = sd_execs_take(model, &s->e);
    if (!status) {
        measure(s);
        status = sd_exec_commit(s->e);
        sd_exec_fail(s->e, status);
    }
    if (status)
        sd_sampling_free(s);
    else
        *out = s;
    return status;
}

void sd_sampling_free(sd_sampler *s) {
    if (!s)
        return;
    sd_model *model = s->model;
    if (s->graph)
        s->e->api->graph_free(s->e->queue, s->graph);
    sd_execs_give(model, s->e);
    sd_run_free(&s->run);
    sd_inter_free(s);
    sd_noise_free(&s->noise, model->ctx);
    sd_free(model->ctx, s->nchw);
    sd_free(model->ctx, s->nhwc);
    sd_free(model->ctx, s->score);
    sd_free(model->ctx, s->mask);
    sd_free(model->ctx, s->masked);
    sd_free(model->ctx, s);
    sd_model_release(model);
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
    sd_run_free(&s.run);
    sd_noise_free(&s.noise, model->ctx);
    sd_free(model->ctx, s.nchw);
    sd_free(model->ctx, s.nhwc);
    sd_free(model->ctx, s.score);
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
