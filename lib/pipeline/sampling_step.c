/*
 * A step of struct sd_sampler: its noise, drawn on the host, the mask, and the method, which asks
 * for the network. That alone is recorded and replayed; the rest is some arithmetic on latents,
 * given to the device while it computes the network.
 */
#include "pipeline/sampling_internal.h"

/* ------------------------------------------------------------------------------ the network */

/* out = UNet(x_in, t), in the part of the stack that is the network's. */
static void network(sd_exec *e, void *sampler) {
    sd_sampler *s = sampler;
    sd_exec_release(e, s->workspace);
    sd_unet_forward(e, sd_model_unet(s->model), s->out, s->x_in, s->t, s->kv, s->scale);
    sd_exec_release(e, s->top);
}

void sd_sampling_network(sd_sampler *s) {
    sd_exec_region(s->e, network, s);
}

sd_stage_key sd_sampling_network_key(const sd_sampler *s) {
    return (sd_stage_key){network, s->x_in.n, s->h, s->w, s->params.text_tokens, 0};
}

/* e = (1 - s) e_uncond + s e_cond: Ho and Salimans 2022, eq. 6. */
static void guide(sd_sampler *s) {
    sd_exec *e = s->e;
    sdb_tensor eps = s->run.eps, cond = sd_view_batch(s->out, s->n, s->n), terms[] = {eps, cond};
    sd_op_sum(e, eps, 2, terms, s->guidance);
    if (s->params.guidance_rescale > 0.0f) /* the spread of the conditional half given back */
        sd_op_rescale(
            e, (sdb_rescale){.x = eps, .like = cond, .y = eps, .phi = s->params.guidance_rescale});
}

/* What the score corrector left of epsilon. */
static void upload_score(sd_sampler *s, float t) {
    int64_t at = sd_find_not_finite(s->score, (int64_t)s->n * s->c * s->h * s->w);
    if (at < 0)
        sd_sampling_upload(s, s->run.eps, s->score);
    else
        sd_exec_fail(s->e, sd_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                                   "the score corrector left %g in e_t[%lld] at timestep %g; "
                                   "finite numbers were expected",
                                   (double)s->score[at], (long long)at, (double)t));
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
        upload_score(s, t);
}

void sd_sampling_denoise(void *user, sdb_tensor x, sdb_tensor time) {
    sd_sampler *s = user;
    sd_exec *e = s->e;
    for (int i = 0; i < s->halves; i++)
        sd_op_copy(e, sd_view_channels(sd_view_batch(s->x_in, i * s->n, s->n), 0, s->c), x);
    sd_op_copy(e, s->t, time);
    sd_sampling_network(s);
    if (s->halves == 2)
        guide(s);
    if (s->params.score_corrector && !e->measuring)
        correct_score(s, x);
}

/* -------------------------------------------------------------------------------------- noise */

/* And so many times DROPPED: noises that the original draws and multiplies by 0. */
enum { OF_MASK = 1, OF_STEP = 2, DROPPED = 4 };

/* Of step i, `done` steps after the run's first. Without a mask nothing comes after the noises that
 * are multiplied by 0, so that they need not be drawn. */
static unsigned noises_of(const sd_sampler *s, int i, int done) {
    const sd_method *method = s->run.method;
    unsigned noisy = sd_run_noisy(&s->run, i);
    unsigned all = s->has_mask && method->draws ? (unsigned)method->draws(done) : noisy;
    return (s->has_mask ? OF_MASK : 0) | (noisy ? OF_STEP : 0) | (all - noisy) * DROPPED;
}

/* In the order of DDIMSampler: what the mask holds is noised first. */
static void draw(sd_sampler *s, unsigned noises) {
    int64_t each = (int64_t)s->c * s->h * s->w;
    if (noises & OF_MASK) {
        sd_noise_draw(&s->noise, s->nchw, each);
        sd_nchw_to_nhwc(s->drawn[0], s->nchw, s->n, s->c, s->h, s->w);
    }
    if (noises & OF_STEP) {
        sd_noise_draw(&s->noise, s->nchw, each);
        sd_noise_dropout(&s->noise, s->nchw, each, (double)s->params.noise_dropout);
        sd_nchw_to_nhwc(s->drawn[1], s->nchw, s->n, s->c, s->h, s->w);
    }
    for (unsigned i = 0; i < noises / DROPPED; i++) {
        sd_noise_draw(&s->noise, s->nchw, each);
        sd_noise_dropout(&s->noise, s->nchw, each, (double)s->params.noise_dropout);
    }
}

/* The next step's noise, while the device is busy with this one. */
static void draw_ahead(sd_sampler *s, int i) {
    s->ahead_of = noises_of(s, i, s->run.done + 1);
    s->ahead = s->ahead_of != 0;
    if (!s->ahead)
        return;
    sd_noise_keep(&s->noise);
    draw(s, s->ahead_of);
}

/* Puts step i's noise on the device. */
static void take_noise(sd_sampler *s, int i) {
    unsigned noises = noises_of(s, i, s->run.done);
    if (s->ahead && s->ahead_of != noises) { /* a mask was set or taken away since */
        sd_noise_go_back(&s->noise);
        s->ahead = false;
    }
    if (!s->ahead)
        draw(s, noises);
    s->ahead = false;
    if (noises & OF_MASK)
        sd_exec_upload(s->e, s->mask_noise, s->drawn[0]);
    if (noises & OF_STEP)
        sd_exec_upload(s->e, s->run.noise, s->drawn[1]);
}

/* --------------------------------------------------------------------------------------- step */

/* What the mask holds is the known x_0 at the step's time, noised anew: DDIMSampler's mask. */
static void hold(sd_sampler *s, int i) {
    sd_run_q_sample(&s->run, i, s->mask_noise, s->known, s->mask_noise);
    sd_op_blend(s->e, (sdb_blend){.m = s->mask, .a = s->mask_noise, .b = s->run.x, .y = s->run.x});
}

void sd_sampling_compute(sd_sampler *s, int i) {
    s->run.touched = s->run.touched || s->has_mask;
    take_noise(s, i);
    if (s->has_mask)
        hold(s, i);
    s->run.method->step(&s->run, i);
    if (!s->e->status && s->run.done + 1 < s->total)
        draw_ahead(s, i - 1);
}

void sd_sampling_compute_measured(sd_sampler *s) {
    s->run.done = 1;
    s->run.method->step(&s->run, s->run.times.count > 1 ? 1 : 0);
    s->run.done = 0;
}
