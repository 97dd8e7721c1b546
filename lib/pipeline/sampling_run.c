/* A run of struct sd_sampler: its beginning and its steps. */
#include "core/os.h"
#include "pipeline/sampling.h"

#include <math.h>
#include <string.h>

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

sd_status sd_sampling_check_latent(const sd_sampler *s, const sd_tensor *t, const char *what,
                                   bool one_is_fine) {
    int64_t dims[] = {s->n, s->c, s->h, s->w};
    if (one_is_fine && t->n_dims == 4 && t->dims[0] == 1)
        dims[0] = 1;
    return sd_expect_shape(t, what, 4, dims);
}

static sd_status check_inputs(const sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                              const sd_tensor *init_latent, const sd_tensor *noise) {
    sd_status status = check_embeddings(s, cond, "cond");
    if (!status && s->extra > 0 && !s->has_concat)
        status = sd_fail(s->model->ctx, SD_ERROR_STATE,
                         "the UNet takes %d channels beside the latent's %d, and none were set: "
                         "sd_inpaint or sd_sampler_set_concat",
                         s->extra, s->c);
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
    if (!status && s->run.method->inverse && s->has_mask)
        status = sd_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                         "the sampling method \"%s\" takes no mask", s->run.method->name);
    if (!status && init_latent)
        status = sd_sampling_check_latent(s, init_latent, "init", true);
    if (!status && noise)
        status = sd_sampling_check_latent(s, noise, "noise", false);
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

/* The seeds' first draw of a run, into [n, c, h, w]. */
static void first_noise(const sd_sampler *s, sd_noise *noise, float *out) {
    sd_noise_restart(noise);
    for (int i = 0; i <= s->skip_draws; i++)
        sd_noise_draw(noise, out, (int64_t)s->c * s->h * s->w);
}

/* The sampler is as before its first run. */
static void reset(sd_sampler *s) {
    s->total = s->run.done = 0;
    s->run.touched = s->ahead = false;
    s->has_latent = s->has_x0 = false;
    s->inter.count = 0;
}

/* The guidance scale for a UNet that is told it; a row for each picture. */
static void upload_scale(sd_sampler *s) {
    int width = sd_unet_guidance_dim(s->model->unet);
    float *row = width > 0 ? sd_alloc_array(s->model->ctx, (size_t)width, sizeof *row) : NULL;
    if (width > 0 && !row)
        sd_exec_fail(s->e, SD_ERROR_MEMORY);
    if (!row)
        return;
    sd_unet_guidance(s->model->unet, (double)s->params.guidance_scale, row);
    for (int i = 0; i < s->scale.n; i++)
        sd_exec_upload(s->e, sd_view_batch(s->scale, i, 1), row);
    sd_free(s->model->ctx, row);
}

/* What a run needs besides its latent. */
static void prepare(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond) {
    float scale = s->params.guidance_scale;
    float guidance[2] = {1.0f - scale, scale};
    sd_sampling_enter(s);
    sd_run_upload(&s->run);
    sd_exec_upload(s->e, s->guidance, guidance);
    upload_scale(s);
    sd_sampling_encode_prompts(s, cond, uncond);
    first_noise(s, &s->noise, s->nchw);
}

/* The run begins at what is in s->nchw. */
static sd_status start(sd_sampler *s) {
    sd_sampling_upload(s, s->run.x, s->nchw);
    if (s->e->status) {
        s->total = 0;
        return s->e->status;
    }
    s->has_latent = true;
    sd_inter_begin(s, s->nchw);
    return SD_OK;
}

static sd_status begin(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                       const sd_tensor *init_latent, const sd_tensor *noise) {
    reset(s);
    sd_status status = check_inputs(s, cond, uncond, init_latent, noise);
    if (status)
        return status;
    prepare(s, cond, uncond);
    double alpha = start_of(s, init_latent != NULL);
    if (noise) /* replaces the first draw; later draws stay what they are */
        memcpy(s->nchw, noise->data, (size_t)noise->n_elements * sizeof *s->nchw);
    start_latent(s, init_latent, alpha);
    return start(s);
}

/* Encoding and decoding know one direction of time. */
static sd_status check_forward(const sd_sampler *s, const char *function) {
    if (!s->run.method->inverse)
        return SD_OK;
    return sd_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                   "%s: the sampling method \"%s\" goes from x_0 to noise", function,
                   s->run.method->name);
}

static sd_status begin_decode(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                              const sd_tensor *latent, int t_start) {
    int64_t each = (int64_t)s->c * s->h * s->w;
    reset(s);
    sd_status status = check_forward(s, "sd_sampler_decode");
    if (!status)
        status = check_inputs(s, cond, uncond, NULL, NULL);
    if (!status)
        status = sd_sampling_check_latent(s, latent, "latent", true);
    if (status)
        return status;
    if (t_start < 0 || t_start > s->run.times.count)
        return sd_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                       "sd_sampler_decode: t_start is %d; 0 to %d was expected", t_start,
                       s->run.times.count);
    prepare(s, cond, uncond);
    for (int i = 0; i < s->n; i++)
        memcpy(s->nchw + i * each, latent->data + (latent->dims[0] == 1 ? 0 : i * each),
               (size_t)each * sizeof *s->nchw);
    s->total = t_start;
    s->next = t_start - 1;
    return start(s);
}

/* The run's own generators stay where they are, so that this may come between two steps. */
static sd_status draw_apart(const sd_sampler *s, float *out) {
    sd_noise noise = s->noise;
    noise.generators =
        sd_alloc_array(s->model->ctx, (size_t)noise.n_generators, sizeof *noise.generators);
    if (!noise.generators)
        return SD_ERROR_MEMORY;
    first_noise(s, &noise, out);
    sd_free(s->model->ctx, noise.generators);
    return SD_OK;
}

sd_status sd_sampling_stochastic_encode(sd_sampler *s, const sd_tensor *x0, int t,
                                        const sd_tensor *noise, sd_tensor **latent) {
    const int64_t dims[] = {s->n, s->c, s->h, s->w}, each = dims[1] * dims[2] * dims[3];
    sd_tensor *out;
    *latent = NULL;
    sd_status status = check_forward(s, "sd_sampler_stochastic_encode");
    if (!status)
        status = sd_sampling_check_latent(s, x0, "x0", true);
    if (!status && noise)
        status = sd_sampling_check_latent(s, noise, "noise", false);
    if (status)
        return status;
    if (t < 0 || t >= s->run.times.count)
        return sd_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                       "sd_sampler_stochastic_encode: t is %d; 0 to %d was expected", t,
                       s->run.times.count - 1);
    status = sd_tensor_create(s->model->ctx, 4, dims, &out);
    if (status)
        return status;
    if (noise)
        memcpy(out->data, noise->data, (size_t)noise->n_elements * sizeof *out->data);
    else
        status = draw_apart(s, out->data);
    if (status) {
        sd_tensor_destroy(out);
        return status;
    }
    for (int i = 0; i < s->n; i++) {
        float *x = out->data + i * each;
        sd_q_sample(sd_run_alpha(&s->run, t), x0->data + (x0->dims[0] == 1 ? 0 : i * each), x, x,
                    each);
    }
    *latent = out;
    return SD_OK;
}

double sd_sampling_timestep(const sd_sampler *s, int i) {
    return i >= 0 && i < s->run.times.count ? s->run.times.times[i] : (double)NAN;
}

static sd_status refuse_in_callback(const sd_sampler *s, const char *function) {
    if (!s->busy)
        return SD_OK;
    return sd_fail(s->model->ctx, SD_ERROR_STATE, "%s was called from a run's callback", function);
}

sd_status sd_sampling_begin(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                            const sd_tensor *init_latent, const sd_tensor *noise) {
    sd_status status = refuse_in_callback(s, "sd_sampler_begin");
    return status ? status : begin(s, cond, uncond, init_latent, noise);
}

sd_status sd_sampling_begin_decode(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                                   const sd_tensor *latent, int t_start) {
    sd_status status = refuse_in_callback(s, "sd_sampler_begin_decode");
    return status ? status : begin_decode(s, cond, uncond, latent, t_start);
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
    sd_sampling_compute(s, i);
    if (!s->e->status)
        sd_exec_fail(s->e, s->e->api->sync(s->e->queue));
    sd_status status = s->e->status;
    if (!status) {
        s->next--;
        s->run.done++;
        s->run.touched = false;
        s->has_x0 = true;
        sd_inter_step(s);
        status = s->e->status;
    }
    if (!status)
        status = report_progress(s, i, sd_clock_seconds() - start);
    if (status)
        reset(s);
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
    sd_sampling_enter(s);
    s->busy = true;
    status = step(s);
    s->busy = false;
    return status;
}

/* The steps of a run that `status` says was begun. */
static sd_status run_to_end(sd_sampler *s, sd_status status, sd_tensor **latent) {
    s->busy = true;
    while (!status && sd_sampling_remaining(s) > 0)
        status = step(s);
    if (!status)
        status = sd_sampling_latent(s, latent);
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
    return run_to_end(s, begin(s, cond, uncond, init_latent, noise), latent);
}

sd_status sd_sampling_decode(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                             const sd_tensor *latent, int t_start, sd_tensor **decoded) {
    *decoded = NULL;
    sd_status status = refuse_in_callback(s, "sd_sampler_decode");
    if (status)
        return status;
    return run_to_end(s, begin_decode(s, cond, uncond, latent, t_start), decoded);
}
