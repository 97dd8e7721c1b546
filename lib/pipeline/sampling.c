/* struct sd_sampler: a run's memory on the device, and the step loop. */
#include "core/os.h"
#include "pipeline/stage.h"
#include "sampler/sampler.h"

#include <math.h>
#include <string.h>

struct sd_sampler {
    sd_model *model; /* retained */
    sd_sampler_params params;
    int n, h, w, c; /* the latents: [n, c, h, w] in public, [n, h, w, c] on the device */
    int halves;     /* 2 with guidance: unconditional, then conditional */
    sd_noise noise;
    int skip_draws;
    float *nchw, *nhwc; /* one batch of latents each, on the host */
    sd_run run;

    sd_exec *e;
    sdb_tensor x_in;     /* [halves * n, h, w, c] */
    sdb_tensor out;      /* of the same shape; run.eps itself without guidance */
    sdb_tensor t;        /* [halves * n, 1, 1, 1] */
    sdb_tensor guidance; /* [1, 1, 1, 2]: 1 - s, s */
    sdb_tensor kv;       /* keys and values of the prompts */
    sdb_graph *graph;    /* the recorded network with its guidance, or NULL */

    float *mask, *masked; /* [n, h, w] and [n, c, h, w] on the host, or NULL: no mask */

    int next;  /* index of the next step */
    int total; /* steps of the run; run.done of them were made */
    bool has_latent, has_x0;
    bool busy; /* within sd_sampling_run or _step: a callback may be calling */
};

/* ------------------------------------------------------------------------------ the network */

/* out = UNet(x_in, t), then e = (1 - s) e_uncond + s e_cond: Ho and Salimans 2022, eq. 6. */
static void guided_network(sd_sampler *s) {
    size_t mark = sd_exec_mark(s->e);
    sd_unet_forward(s->e, s->model->unet, s->out, s->x_in, s->t, s->kv);
    if (s->halves == 2) {
        sdb_tensor terms[] = {sd_view_batch(s->out, 0, s->n), sd_view_batch(s->out, s->n, s->n)};
        sd_op_combine(s->e, s->run.eps, 2, terms, s->guidance);
    }
    sd_exec_release(s->e, mark);
}

/* All that changes from step to step lies in device memory at fixed places, so a backend that can
 * records the network once. Recording does not compute. */
static void record_network(sd_sampler *s) {
    sd_exec *e = s->e;
    sdb_graph *graph = NULL;
    sd_status status = e->api->record_begin(e->queue);
    if (status) {
        sd_exec_fail(e, status);
        return;
    }
    guided_network(s);
    if (e->status) {
        e->api->record_end(e->queue, NULL);
        return;
    }
    sd_exec_fail(e, e->api->record_end(e->queue, &graph));
    s->graph = graph;
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

static void evaluate(sd_sampler *s) {
    sd_exec *e = s->e;
    if (e->measuring || !e->api->record_begin) {
        guided_network(s);
        return;
    }
    if (!e->status && !s->graph)
        record_network(s);
    if (!e->status)
        sd_exec_fail(e, e->api->graph_replay(e->queue, s->graph));
}

static void denoise(void *user, sdb_tensor x, sdb_tensor time) {
    sd_sampler *s = user;
    sd_exec *e = s->e;
    for (int i = 0; i < s->halves; i++)
        sd_op_copy(e, sd_view_batch(s->x_in, i * s->n, s->n), x);
    sd_op_copy(e, s->t, time);
    evaluate(s);
    if (s->halves == 2 && s->params.guidance_rescale > 0.0f && !e->measuring)
        rescale_guidance(s);
}

static void upload_latent(sd_sampler *s, sdb_tensor dst, const float *nchw) {
    sd_nchw_to_nhwc(s->nhwc, nchw, s->n, s->c, s->h, s->w);
    sd_exec_upload(s->e, dst, s->nhwc);
}

static void draw(void *user) {
    sd_sampler *s = user;
    if (s->e->measuring || s->e->status)
        return;
    sd_noise_draw(&s->noise, s->nchw, (int64_t)s->c * s->h * s->w);
    upload_latent(s, s->run.noise, s->nchw);
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

/* What the mask holds is the known x_0 at step i's time, noised anew: DDIMSampler's mask. */
static void apply_mask(sd_sampler *s, int i) {
    int64_t area = (int64_t)s->h * s->w, each = s->c * area;
    sd_noise_draw(&s->noise, s->nchw, each);
    sd_q_sample(sd_run_alpha(&s->run, i), s->masked, s->nchw, s->nchw, s->n * each);
    sd_exec_download(s->e, s->nhwc, s->run.x);
    if (s->e->status)
        return;
    for (int64_t j = 0; j < s->n * each; j++) {
        int64_t pixel = j / s->c;
        float mask = s->mask[pixel];
        float known = s->nchw[pixel / area * each + j % s->c * area + pixel % area];
        s->nhwc[j] = known * mask + (1.0f - mask) * s->nhwc[j];
    }
    sd_exec_upload(s->e, s->run.x, s->nhwc);
    s->run.touched = true;
}

/* ---------------------------------------------------------------------------------- memory */

/* The tensors that live for the whole run, at the bottom of the executor's stack: at the same
 * place each time. */
static void layout(sd_sampler *s) {
    sd_exec *e = s->e;
    int n = s->halves * s->n, tokens = s->params.text_tokens;
    sd_run_layout(&s->run, e, s->n, s->h, s->w, s->c);
    s->x_in = sd_exec_tensor_typed(e, SDB_F32, n, s->h, s->w, s->c);
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

/* Both NULL while measuring. */
static void encode_prompts(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond) {
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
    encode_prompts(s, NULL, NULL);
    s->e->flops = 0; /* of a step alone, one from the middle of a run */
    s->run.done = 1;
    s->run.method->step(&s->run, s->run.times.count > 1 ? 1 : 0);
    s->run.done = 0;
}

/* A call begins; inside a run's callback it is part of the run. */
static void enter(sd_sampler *s) {
    if (s->busy)
        return;
    sd_exec_begin(s->e);
    layout(s);
}

static sd_status check_model(const sd_model *model) {
    const sd_source *source = model->source;
    sd_status status = sd_need_unet(model, "a sampler");
    if (status || source->unet.in_channels == source->vae.latent_channels)
        return status;
    return sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                   "%s: the UNet takes %d channels; a sampler can give it the %d of the latents",
                   source->path, source->unet.in_channels, source->vae.latent_channels);
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
    /* without a condition there is nothing to be guided to */
    bool guided = params->guidance_scale != 1.0f && sd_model_context_tokens(model) > 0;
    s->halves = guided ? 2 : 1;
    sd_status status = check_model(model);
    if (!status)
        status =
            sd_run_init(&s->run, ctx, &model->schedule, model->source->schedule.prediction, params);
    if (status)
        return status;
    s->run.user = s;
    s->run.denoise = denoise;
    s->run.draw = draw;
    s->run.clip = clip;
    status = sd_noise_init(&s->noise, ctx, params);
    if (status)
        return status;
    size_t size = (size_t)s->n * (size_t)s->c * (size_t)s->h * (size_t)s->w;
    s->nchw = sd_alloc_array(ctx, size, sizeof *s->nchw);
    s->nhwc = sd_alloc_array(ctx, size, sizeof *s->nhwc);
    return s->nchw && s->nhwc ? SD_OK : SD_ERROR_MEMORY;
}

sd_status sd_sampling_new(sd_model *model, const sd_sampler_params *params, sd_sampler **out) {
    *out = NULL;
    sd_sampler *s = sd_zalloc(model->ctx, sizeof *s);
    if (!s)
        return SD_ERROR_MEMORY;
    sd_model_retain(model);
    sd_status status = init(s, model, params);
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
    sd_noise_free(&s->noise, model->ctx);
    sd_free(model->ctx, s->nchw);
    sd_free(model->ctx, s->nhwc);
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

/* -------------------------------------------------------------------------------- beginning */

static sd_status check_embeddings(const sd_sampler *s, const sd_tensor *t, const char *what) {
    const sd_source *source = s->model->source;
    int64_t dims[] = {s->n, s->params.text_tokens, source->unet.context_dim};
    if (dims[1] == 0)
        return t ? sd_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                           "%s is given; the model is unconditional, NULL was expected", what)
                 : SD_OK;
    if (!t)
        return sd_fail(s->model->ctx, SD_ERROR_ARGUMENT, "%s is NULL", what);
    if (t->n_dims == 3 && t->dims[0] == 1)
        dims[0] = 1;
    return sd_expect_shape(t, what, 3, dims);
}

static sd_status check_latent(const sd_sampler *s, const sd_tensor *t, const char *what,
                              bool one_is_fine) {
    int64_t dims[] = {s->n, s->c, s->h, s->w};
    if (one_is_fine && t->n_dims == 4 && t->dims[0] == 1)
        dims[0] = 1;
    return sd_expect_shape(t, what, 4, dims);
}

static sd_status check_inputs(const sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                              const sd_tensor *init_latent, const sd_tensor *noise) {
    sd_status status = check_embeddings(s, cond, "cond");
    if (!status && s->halves == 2 && !uncond)
        status = sd_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                         "uncond is NULL; the guidance scale %g needs its embeddings",
                         (double)s->params.guidance_scale);
    if (!status && s->halves == 2)
        status = check_embeddings(s, uncond, "uncond");
    if (!status && s->run.method->inverse && !init_latent)
        status = sd_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                         "init is NULL; the sampling method \"%s\" begins at a latent",
                         s->run.method->name);
    if (!status && s->run.method->inverse && s->mask)
        status = sd_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                         "the sampling method \"%s\" takes no mask", s->run.method->name);
    if (!status && init_latent)
        status = check_latent(s, init_latent, "init", true);
    if (!status && noise)
        status = check_latent(s, noise, "noise", false);
    return status;
}

/*
 * Sets total and next, and returns alphas_cumprod at which the init latent is noised: 0 where
 * nothing of it is left, 1 where no noise comes to it. That is the alpha of the first step. The
 * original's stochastic_encode takes the DDIM alpha of index t_enc while its first step is that of
 * t_enc - 1; at strength 1 it would index past the end, and nothing is left of the init latent
 * here ("full destruction of information", as its --strength says).
 */
static double start_of(sd_sampler *s, bool from_init) {
    const sd_method *method = s->run.method;
    int count = s->run.times.count;
    s->total = count;
    s->next = count - 1;
    if (!from_init)
        return 0.0;
    /* 0.7f is 0.699999988, but int(0.7 * 50) must be 35 as in Python: back to the decimal. */
    double strength = round((double)s->params.strength * 1e6) / 1e6;
    int t_enc = (int)(strength * s->params.steps);
    bool all = t_enc >= s->params.steps;
    if (!all)
        s->total = t_enc;
    if (method->inverse)
        return 1.0;
    if (all)
        return 0.0;
    s->next = t_enc - 1;
    if (t_enc == 0)
        return 1.0;
    return sd_run_alpha(&s->run, method->encode_above ? t_enc : t_enc - 1);
}

/* x of the first step into s->nchw, where its noise is already. */
static void start_latent(sd_sampler *s, const sd_tensor *init_latent, double alpha) {
    int64_t each = (int64_t)s->c * s->h * s->w;
    float scale = (float)s->run.times.noise_scale;
    for (int64_t i = 0; i < s->n * each && alpha == 0.0; i++)
        s->nchw[i] *= scale;
    for (int i = 0; i < s->n && alpha > 0.0; i++) {
        const float *z0 = init_latent->data + (init_latent->dims[0] == 1 ? 0 : i * each);
        float *x = s->nchw + i * each;
        if (alpha == 1.0)
            memcpy(x, z0, (size_t)each * sizeof *x);
        else
            sd_q_sample(alpha, z0, x, x, each);
    }
}

/* The seeds' first draw of this run; `noise` replaces it, and later draws stay what they are. */
static void first_noise(sd_sampler *s, const sd_tensor *noise) {
    int64_t each = (int64_t)s->c * s->h * s->w;
    sd_noise_restart(&s->noise);
    for (int i = 0; i <= s->skip_draws; i++)
        sd_noise_draw(&s->noise, s->nchw, each);
    if (noise)
        memcpy(s->nchw, noise->data, (size_t)noise->n_elements * sizeof *s->nchw);
}

static sd_status begin(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                       const sd_tensor *init_latent, const sd_tensor *noise) {
    s->total = s->run.done = 0;
    s->run.touched = false;
    s->has_latent = s->has_x0 = false;
    sd_status status = check_inputs(s, cond, uncond, init_latent, noise);
    if (status)
        return status;
    float scale = s->params.guidance_scale;
    float guidance[2] = {1.0f - scale, scale};
    enter(s);
    sd_run_upload(&s->run);
    sd_exec_upload(s->e, s->guidance, guidance);
    encode_prompts(s, cond, uncond);
    double alpha = start_of(s, init_latent != NULL);
    first_noise(s, noise);
    start_latent(s, init_latent, alpha);
    upload_latent(s, s->run.x, s->nchw);
    if (s->e->status) {
        s->total = 0;
        return s->e->status;
    }
    s->has_latent = true;
    return SD_OK;
}

static sd_status refuse_in_callback(const sd_sampler *s, const char *function) {
    if (!s->busy)
        return SD_OK;
    return sd_fail(s->model->ctx, SD_ERROR_STATE, "%s was called from a run's progress callback",
                   function);
}

sd_status sd_sampling_begin(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                            const sd_tensor *init_latent, const sd_tensor *noise) {
    sd_status status = refuse_in_callback(s, "sd_sampler_begin");
    return status ? status : begin(s, cond, uncond, init_latent, noise);
}

int sd_sampling_remaining(const sd_sampler *s) {
    return s->total - s->run.done;
}

/* ------------------------------------------------------------------------------------ steps */

static sd_status report_progress(sd_sampler *s, int step, double seconds) {
    sd_progress progress = {
        .struct_size = sizeof progress,
        .step = s->run.done,
        .total = s->total,
        .timestep = (int)rint(s->run.times.times[step]),
        .seconds = seconds,
        .sampler = s,
    };
    if (s->params.progress && s->params.progress(s->params.progress_user, &progress))
        return sd_fail(s->model->ctx, SD_ERROR_CANCELLED,
                       "cancelled by the progress callback after step %d of %d", s->run.done,
                       s->total);
    return SD_OK;
}

/* One step, with s->busy set. A failure, or cancelling, ends the run: the sampler is as before
 * begin. */
static sd_status step(sd_sampler *s) {
    double start = sd_clock_seconds();
    int i = s->next;
    if (s->mask)
        apply_mask(s, i);
    s->run.method->step(&s->run, i);
    if (!s->e->status)
        sd_exec_fail(s->e, s->e->api->sync(s->e->queue));
    sd_status status = s->e->status;
    if (!status) {
        s->next--;
        s->run.done++;
        s->run.touched = false;
        s->has_x0 = true;
        status = report_progress(s, i, sd_clock_seconds() - start);
    }
    if (status) {
        s->total = s->run.done = 0;
        s->has_latent = s->has_x0 = false;
    }
    return status;
}

sd_status sd_sampling_step(sd_sampler *s) {
    sd_status status = refuse_in_callback(s, "sd_sampler_step");
    if (status)
        return status;
    if (sd_sampling_remaining(s) == 0)
        return sd_fail(s->model->ctx, SD_ERROR_STATE,
                       s->has_latent ? "the run has no steps left"
                                     : "sd_sampler_step was called before sd_sampler_begin");
    enter(s);
    s->busy = true;
    status = step(s);
    s->busy = false;
    return status;
}

sd_status sd_sampling_run(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                          const sd_tensor *init_latent, const sd_tensor *noise,
                          sd_tensor **latent) {
    *latent = NULL;
    sd_status status = refuse_in_callback(s, "sd_sample");
    if (status)
        return status;
    status = begin(s, cond, uncond, init_latent, noise);
    s->busy = true;
    while (!status && sd_sampling_remaining(s) > 0)
        status = step(s);
    if (!status)
        status = sd_sampling_latent(s, latent);
    s->busy = false;
    return status;
}

/* ----------------------------------------------------------------------------------- access */

static sd_status no_latent(const sd_sampler *s, const char *what) {
    return sd_fail(s->model->ctx, SD_ERROR_STATE, "the sampler has no %s: no run was begun%s", what,
                   s->has_latent ? " or made a step" : "");
}

/* Pictures first .. first + n - 1 of a latent on the device. */
static sd_status copy_latent(sd_sampler *s, sdb_tensor src, int first, int n, sd_tensor **out) {
    int64_t dims[] = {n, s->c, s->h, s->w};
    sd_tensor *copy;
    sd_status status = sd_tensor_create(s->model->ctx, 4, dims, &copy);
    if (status)
        return status;
    sd_exec_download(s->e, s->nhwc, sd_view_batch(src, first, n));
    status = s->e->status;
    if (status) {
        sd_tensor_destroy(copy);
        return status;
    }
    sd_nhwc_to_nchw(copy->data, s->nhwc, n, s->c, s->h, s->w);
    *out = copy;
    return SD_OK;
}

sd_status sd_sampling_latent(sd_sampler *s, sd_tensor **latent) {
    *latent = NULL;
    if (!s->has_latent)
        return no_latent(s, "latent");
    enter(s);
    return copy_latent(s, s->run.x, 0, s->n, latent);
}

sd_status sd_sampling_pred_x0(sd_sampler *s, sd_tensor **latent) {
    *latent = NULL;
    if (!s->has_x0)
        return no_latent(s, "predicted x_0");
    enter(s);
    return copy_latent(s, s->run.pred_x0, 0, s->n, latent);
}

sd_status sd_sampling_set_latent(sd_sampler *s, const sd_tensor *latent) {
    if (!s->has_latent)
        return no_latent(s, "latent");
    sd_status status = check_latent(s, latent, "latent", false);
    if (status)
        return status;
    enter(s);
    upload_latent(s, s->run.x, latent->data);
    s->run.touched = true;
    return s->e->status;
}

static void copy_rows(float *out, const sd_tensor *t, int n) {
    int64_t each = t->n_elements / t->dims[0];
    for (int i = 0; i < n; i++)
        memcpy(out + i * each, t->data + (t->dims[0] == 1 ? 0 : i * each),
               (size_t)each * sizeof *out);
}

sd_status sd_sampling_set_mask(sd_sampler *s, const sd_tensor *mask, const sd_tensor *x0) {
    sd_context *ctx = s->model->ctx;
    int64_t dims[] = {mask && mask->n_dims == 4 && mask->dims[0] == 1 ? 1 : s->n, 1, s->h, s->w};
    sd_status status = mask ? sd_expect_shape(mask, "mask", 4, dims) : SD_OK;
    if (!status && mask)
        status = check_latent(s, x0, "x0", true);
    if (status)
        return status;
    size_t area = (size_t)s->n * (size_t)s->h * (size_t)s->w;
    float *values = mask ? sd_alloc_array(ctx, area, sizeof *values) : NULL;
    float *known = mask ? sd_alloc_array(ctx, area * (size_t)s->c, sizeof *known) : NULL;
    if (mask && (!values || !known)) {
        sd_free(ctx, values);
        sd_free(ctx, known);
        return SD_ERROR_MEMORY;
    }
    sd_free(ctx, s->mask);
    sd_free(ctx, s->masked);
    s->mask = values;
    s->masked = known;
    if (mask) {
        copy_rows(s->mask, mask, s->n);
        copy_rows(s->masked, x0, s->n);
    }
    return SD_OK;
}

sd_status sd_sampling_preview(sd_sampler *s, int index, sd_image **out) {
    sd_tensor *latent, *pixels;
    *out = NULL;
    if (!s->has_x0)
        return no_latent(s, "predicted x_0");
    if (index < 0 || index >= s->n)
        return sd_fail(s->model->ctx, SD_ERROR_ARGUMENT, "picture %d of %d; 0 to %d was expected",
                       index, s->n, s->n - 1);
    enter(s);
    sd_status status = copy_latent(s, s->run.pred_x0, index, 1, &latent);
    if (status)
        return status;
    status = sd_stage_vae_decode(s->model, latent, &pixels);
    sd_tensor_destroy(latent);
    if (status)
        return status;
    status = sd_pixels_to_image(pixels, 0, out);
    sd_tensor_destroy(pixels);
    return status;
}
