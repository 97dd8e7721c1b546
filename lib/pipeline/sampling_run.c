/* A run of struct sd_sampler: its beginning and its steps. */
#include "core/call.h"
#include "core/os.h"
#include "pipeline/sampling.h"
#include "pipeline/sampling_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* -------------------------------------------------------------------------------- beginning */

/* Encoding and decoding know one direction of time. */
static sd_status check_forward(const sd_sampler *s, const char *what) {
    if (!s->run.method->inverse)
        return SD_OK;
    return sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                    "%s: the sampling method \"%s\" goes from x_0 to noise", what,
                    s->run.method->name);
}

static sd_status check_last_steps(const sd_sampler *s, const sd_run_params *given) {
    const sd_context *ctx = s->model->ctx;
    int last = given->last_steps, count = s->run.times.count;
    if (last == 0)
        return SD_OK;
    if (last < 0 || last > count)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "last_steps is %d; 0 to %d was expected", last,
                        count);
    if (!given->init || given->noise)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "%s; a run of the last steps begins at init as it is",
                        given->init ? "noise is given with last_steps" : "init is NULL");
    return check_forward(s, "last_steps");
}

/* Where a run is but a share of one. */
static sd_status check_shares(const sd_sampler *s, const sd_run_params *given) {
    const sd_context *ctx = s->model->ctx;
    bool starts = given->denoising_start > 0.0;
    if (!starts && given->denoising_end == 0.0)
        return SD_OK;
    if (starts && (!given->init || given->noise || given->last_steps > 0))
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "denoising_start is %g and %s; a run that goes on begins at init as it is",
                        given->denoising_start,
                        !given->init   ? "init is NULL"
                        : given->noise ? "noise is given"
                                       : "last_steps is too");
    return check_forward(s, starts ? "denoising_start" : "denoising_end");
}

static sd_status check_init(const sd_sampler *s, const sd_tensor *init) {
    if (init)
        return sdi_sampler_check_latent(s, init, "init", true);
    if (!s->run.method->inverse)
        return SD_OK;
    return sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                    "init is NULL; the sampling method \"%s\" begins at a latent",
                    s->run.method->name);
}

static sd_status check_inputs(const sd_sampler *s, const sd_run_params *given) {
    sd_status status;
    if ((status = sdi_sampler_check_conds(s, given)) ||
        (status = sdi_sampler_check_concat(s, given->concat)) ||
        (given->mask && (status = sdi_sampler_check_mask(s, given->mask, given->mask_x0))) ||
        (status = check_init(s, given->init)) ||
        (given->noise && (status = sdi_sampler_check_latent(s, given->noise, "noise", false))))
        return status;
    status = check_last_steps(s, given);
    return status ? status : check_shares(s, given);
}

/*
 * Sets total and next, and returns alphas_cumprod at which the init latent is noised: 0 where
 * nothing of it is left, 1 where no noise comes to it. That is the alpha of the first step, as in
 * diffusers. scripts/img2img.py takes the DDIM alpha of index t_enc while its first step is that of
 * t_enc - 1, so that noise is left in the picture; original_encode is that rule. Without a step
 * both noise to index 0. At strength 1 the original would index past the end, and nothing is left
 * of the init latent here ("full destruction of information", as its --strength says).
 */
#define MUCH_NOISE 1.5 /* times what the first step takes away */

static double start_of(sd_sampler *s, const sd_run_params *given) {
    const sd_method *method = s->run.method;
    int count = s->run.times.count;
    s->run.total = count;
    s->run.next = count - 1;
    if (!given->init)
        return 0.0;
    int t_enc = (int)(given->strength * s->params.steps); /* int(strength * ddim_steps) */
    bool all = t_enc >= s->params.steps;
    if (!all)
        s->run.total = t_enc;
    if (method->inverse)
        return 1.0;
    if (all)
        return 0.0;
    s->run.next = t_enc - 1;
    if (t_enc == 0)
        return sdi_run_alpha(&s->run, 0);
    if (!method->encode_above || !s->original.original_encode)
        return sdi_run_alpha(&s->run, t_enc - 1);
    if (sdi_run_sigma(&s->run, t_enc) > MUCH_NOISE * sdi_run_sigma(&s->run, t_enc - 1))
        sdi_log(
            s->model->ctx, SD_LOG_LEVEL_WARN,
            "strength %g noises to timestep %g and takes the noise of timestep %g away, as the "
            "original does: coloured blocks are left; without original_encode (sd-img2img: with "
            "--diffusers_strength) there are none",
            given->strength, s->run.times.times[t_enc], s->run.times.times[t_enc - 1]);
    return sdi_run_alpha(&s->run, t_enc);
}

/* Steps whose times are below what a share of the train timesteps leaves: diffusers rounds that as
 * Python does, to the even number. */
static int steps_after(const sd_sampler *s, double share) {
    double n = s->model->schedule.n, cutoff = rint(n - share * n);
    int steps = 0;
    while (steps < s->run.times.count && s->run.times.times[steps] < cutoff)
        steps++;
    return steps;
}

/* A run of the last n steps, that begins at init as it is. */
static void take_last_steps(sd_sampler *s, int n) {
    s->run.total = n;
    s->run.next = n - 1;
}

/* A run that another one begins: programs go on where that one ended. */
static void go_on(sd_sampler *s, double share) {
    int n = steps_after(s, share);
    take_last_steps(s, n);
    s->evaluations = sdi_method_evaluations(s->run.method, s->run.times.count - n);
}

/* Leaves out the steps after the share. */
static void end_before(sd_sampler *s, double share) {
    int left = s->run.next + 1 - steps_after(s, share);
    if (left < s->run.total)
        s->run.total = left > 0 ? left : 0;
}

/* The seeds' first draw of a run, into [n, c, h, w]. */
static sd_status first_noise(const sd_sampler *s, sd_noise *noise, float *out) {
    return sdi_noise_first(noise, s->model->ctx, s->skip_draws + 1, s->c, s->h, s->w, out);
}

/* The sampler is as before its first run. */
static void reset(sd_sampler *s) {
    s->run.total = s->run.done = 0;
    atomic_store(&s->left, 0);
    s->run.touched = s->ahead = false;
    s->has_latent = s->has_x0 = s->has_mask = false;
    s->inter.count = 0;
}

/* The guidance scale for a UNet that is told it; a row for each picture. */
static void upload_scale(sd_sampler *s) {
    int width = sdi_unet_guidance_dim(sdi_model_unet(s->model));
    float *row = width > 0 ? sdi_alloc_array(s->model->ctx, (size_t)width, sizeof *row) : NULL;
    if (width > 0 && !row)
        sdi_exec_fail(s->e, SD_ERROR_MEMORY);
    if (!row)
        return;
    sdi_unet_guidance(sdi_model_unet(s->model), s->params.guidance_scale, row);
    for (int i = 0; i < s->unet.n; i++)
        sdi_exec_upload(s->e, sdi_view_batch(s->unet.io[SD_UNET_SCALE], i, 1), row);
    sdi_free(s->model->ctx, row);
}

/* Uploads what a run needs besides its latent; the seeds' first draw into s->host. */
static void prepare(sd_sampler *s, const sd_run_params *given) {
    float scale = (float)s->params.guidance_scale;
    float guidance[2] = {1.0f - scale, scale};
    sdi_sampler_enter(s);
    sdi_run_upload(&s->run);
    sdi_exec_upload(s->e, s->guidance, guidance);
    upload_scale(s);
    if (given->mask)
        sdi_sampler_put_mask(s, given->mask, given->mask_x0);
    if (given->concat)
        sdi_sampler_put_concat(s, given->concat);
    sdi_exec_fail(s->e, first_noise(s, &s->noise, s->host->data));
}

/* The run's token ends its steps too, which are calls of their own. */
static void keep_token(sd_sampler *s, const sd_stop *token) {
    sdi_handle_retain(token);
    sdi_handle_release(s->token);
    s->token = token;
}

/* The run begins at what is in s->host. */
static sd_status start(sd_sampler *s) {
    sdi_exec_put(s->e, s->run.x, s->host, 0);
    if (s->e->status) {
        s->run.total = 0;
        return s->e->status;
    }
    atomic_store(&s->left, s->run.total);
    s->has_latent = true;
    sdi_inter_begin(s);
    return SD_OK;
}

/* The latent of the first step into s->host, where its noise is, and which step that is. */
static void begin_latent(sd_sampler *s, const sd_run_params *given) {
    double alpha = 1.0;
    if (given->last_steps > 0)
        take_last_steps(s, given->last_steps);
    else if (given->denoising_start > 0.0)
        go_on(s, given->denoising_start);
    else
        alpha = start_of(s, given);
    if (given->denoising_end > 0.0)
        end_before(s, given->denoising_end);
    if (given->noise) /* replaces the first draw; later draws stay what they are */
        memcpy(s->host->data, given->noise->data,
               (size_t)given->noise->n_elements * sizeof *given->noise->data);
    if (alpha > 0.0)
        sdi_noise_latents(alpha, given->init, s->host);
    for (int64_t i = 0; i < s->host->n_elements && alpha == 0.0; i++)
        s->host->data[i] *= (float)s->run.times.noise_scale;
}

static sd_status begin(sd_sampler *s, const sd_run_params *given) {
    const sd_tensor *context = sdi_cond_context(given->cond);
    reset(s);
    sd_status status = check_inputs(s, given);
    if (!status)
        status = sdi_sampler_plan(s, context ? (int)context->dims[1] : 0,
                                  context ? sdi_cond_terms(given->cond) : 1);
    if (status)
        return status;
    keep_token(s, given->stop);
    sdi_sampler_keep_conds(s, given->cond, given->uncond);
    prepare(s, given);
    begin_latent(s, given);
    return start(s);
}

/* The run's own generators stay where they are, so that this may come between two steps. */
static sd_status draw_apart(const sd_sampler *s, float *out) {
    sd_noise noise = s->noise;
    noise.generators =
        sdi_alloc_array(s->model->ctx, (size_t)noise.n_generators, sizeof *noise.generators);
    if (!noise.generators)
        return SD_ERROR_MEMORY;
    sd_status status = first_noise(s, &noise, out);
    sdi_free(s->model->ctx, noise.generators);
    return status;
}

static sd_status check_index(const sd_sampler *s, int t) {
    if (t >= 0 && t < s->run.times.count)
        return SD_OK;
    return sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                    "sd_sampler_stochastic_encode: t is %d; 0 to %d was expected", t,
                    s->run.times.count - 1);
}

sd_status sdi_sampler_stochastic_encode(sd_sampler *s, const sd_tensor *x0, int t,
                                        const sd_tensor *noise, sd_tensor **latent) {
    const int64_t dims[] = {s->n, s->c, s->h, s->w};
    sd_tensor *out;
    sd_status status;
    *latent = NULL;
    if ((status = check_forward(s, "sd_sampler_stochastic_encode")) ||
        (status = sdi_sampler_check_latent(s, x0, "x0", true)) ||
        (noise && (status = sdi_sampler_check_latent(s, noise, "noise", false))) ||
        (status = check_index(s, t)) || (status = sdi_tensor_new_raw(s->model->ctx, 4, dims, &out)))
        return status;
    if (noise)
        memcpy(out->data, noise->data, (size_t)noise->n_elements * sizeof *out->data);
    else
        status = draw_apart(s, out->data);
    if (status == SD_OK)
        sdi_noise_latents(sdi_run_alpha(&s->run, t), x0, out);
    return sdi_tensor_give(status, out, latent);
}

double sdi_sampler_timestep(const sd_sampler *s, int i) {
    return i >= 0 && i < s->run.times.count ? s->run.times.times[i] : (double)NAN;
}

static sd_status refuse_in_callback(const sd_sampler *s, const char *function) {
    if (!s->busy)
        return SD_OK;
    return sdi_fail(s->model->ctx, SD_ERROR_STATE, "%s was called from a run's callback", function);
}

sd_status sdi_sampler_begin(sd_sampler *s, const sd_run_params *params) {
    sd_status status = refuse_in_callback(s, "sd_sampler_begin");
    return status ? status : begin(s, params);
}

int sdi_sampler_remaining(const sd_sampler *s) {
    return atomic_load(&s->left);
}

/* ------------------------------------------------------------------------------------ steps */

static sd_status report_progress(sd_sampler *s, int step, double seconds) {
    sd_progress progress = {
        .struct_size = sizeof progress,
        .sampler = s,
        .seconds = seconds,
        .timestep = s->run.times.times[step],
        .stage = SD_STAGE_SAMPLE,
        .step = s->run.done,
        .total = s->run.total,
    };
    bool stop = s->params.progress && s->params.progress(s->params.progress_user, &progress);
    if (atomic_load(&s->stop))
        return sdi_fail(s->model->ctx, SD_ERROR_CANCELLED,
                        "the sampler was freed while it sampled");
    if (stop)
        return sdi_fail(s->model->ctx, SD_ERROR_CANCELLED,
                        "cancelled by the progress callback after step %d of %d", s->run.done,
                        s->run.total);
    return SD_OK;
}

/* Whether it has such numbers, which are looked at as the device has them. */
static bool has_not_finite(sd_sampler *s, sdb_tensor x) {
    sdi_exec_download(s->e, s->host->data, x);
    return !s->e->status && sdi_find_not_finite(s->host->data, s->host->n_elements) >= 0;
}

static sd_status fail_not_finite(sd_sampler *s, int i, sdb_tensor x) {
    char stage[160];
    sdi_print(stage, sizeof stage, "step %d of %d (timestep %g, guidance scale %g)",
              s->run.done + 1, s->run.total, s->run.times.times[i], s->params.guidance_scale);
    sdi_exec_get(s->e, s->host, 0, x);
    return s->e->status ? s->e->status : sdi_check_computed(s->model, stage, s->host);
}

/*
 * Whether step i, which the device may still be making, left finite numbers. They are copied to the
 * host where it waits anyway. Clamping and the codebook make finite numbers of any, and so the
 * prediction before these is looked at too.
 */
static sd_status check_step(sd_sampler *s, int i) {
    bool hidden = s->original.clip_denoised || s->original.quantize_denoised;
    if (hidden && has_not_finite(s, s->run.eps))
        return fail_not_finite(s, i, s->run.eps);
    if (has_not_finite(s, s->run.x))
        return fail_not_finite(s, i, s->run.x);
    return s->e->status;
}

/* The step was made. */
static void advance(sd_sampler *s) {
    s->run.next--;
    s->run.done++;
    atomic_store(&s->left, s->run.total - s->run.done);
    s->run.touched = false;
    s->has_x0 = true;
    sdi_inter_step(s);
}

static sd_status make_step(sd_sampler *s, int i) {
    double start = sdi_clock_seconds();
    sdi_sampler_compute(s, i);
    sd_status status = check_step(s, i);
    if (status)
        return status;
    advance(s);
    return s->e->status ? s->e->status : report_progress(s, i, sdi_clock_seconds() - start);
}

/* One step, with s->busy set. A failure, or cancelling, ends the run: the sampler is as before
 * begin. */
static sd_status step(sd_sampler *s) {
    sd_status status = make_step(s, s->run.next);
    if (status)
        reset(s);
    return status;
}

sd_status sdi_sampler_step(sd_sampler *s) {
    sd_status status = refuse_in_callback(s, "sd_sampler_step");
    if (status)
        return status;
    if (sdi_sampler_remaining(s) == 0)
        return sdi_fail(s->model->ctx, SD_ERROR_STATE,
                        s->has_latent ? "the run has no steps left"
                                      : "sd_sampler_step was called before sd_sampler_begin");
    sdi_call_heed(s->token);
    sdi_sampler_enter(s);
    s->busy = true;
    status = step(s);
    s->busy = false;
    return status;
}

sd_status sdi_sampler_run(sd_sampler *s, const sd_run_params *params, sd_tensor **latent) {
    *latent = NULL;
    sd_status status = refuse_in_callback(s, "sd_sample");
    if (status)
        return status;
    status = begin(s, params);
    s->busy = true;
    while (!status && sdi_sampler_remaining(s) > 0)
        status = step(s);
    if (!status)
        status = sdi_sampler_latent(s, latent);
    s->busy = false;
    return status;
}
