/*
 * A step of struct sd_sampler: its noise, drawn on the host, the mask, and the method, which asks
 * for the network. That alone is recorded and replayed; the rest is some arithmetic on latents,
 * given to the device while it computes the network.
 */
#include "pipeline/sampling_internal.h"

/* ------------------------------------------------------------------------------ the network */

/* e = (1 - s) e_uncond + s e_cond: Ho and Salimans 2022, eq. 6. */
static void guide(sd_sampler *s) {
    sd_exec *e = s->e;
    sdb_tensor cond = sdi_view_batch(s->unet.io[SD_UNET_Y], s->n, s->n);
    sdb_tensor eps = s->run.eps, terms[] = {eps, cond};
    sdi_op_sum(e, eps, 2, terms, s->guidance);
    if (s->params.guidance_rescale > 0.0) /* the spread of the conditional half given back */
        sdi_op_rescale(
            e, (sdb_rescale){
                   .x = eps, .like = cond, .y = eps, .phi = (float)s->params.guidance_rescale});
}

/* Puts epsilon as the score corrector left it. */
static void put_score(sd_sampler *s, float t) {
    const sd_tensor *e_t = s->score[1];
    int64_t at = sdi_find_not_finite(e_t->data, e_t->n_elements);
    if (at < 0)
        sdi_exec_put(s->e, s->run.eps, e_t, 0);
    else
        sdi_exec_fail(s->e, sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                                     "the score corrector left %g in e_t[%lld] at timestep %g; "
                                     "finite numbers were expected",
                                     (double)e_t->data[at], (long long)at, (double)t));
}

/* Lets the host change epsilon: score_corrector of DDIMSampler. */
static void correct_score(sd_sampler *s, sdb_tensor x) {
    sd_exec *e = s->e;
    float t = 0.0f;
    sdi_exec_download(e, &t, sdi_view_batch(s->unet.io[SD_UNET_T], 0, 1));
    sdi_exec_get(e, s->score[0], 0, x);
    sdi_exec_get(e, s->score[1], 0, s->run.eps);
    if (e->status)
        return;
    const sd_score_info score = {.struct_size = sizeof score,
                                 .x = s->score[0]->data,
                                 .e_t = s->score[1]->data,
                                 .timestep = (double)t,
                                 .batch = s->n,
                                 .channels = s->c,
                                 .height = s->h,
                                 .width = s->w};
    if (s->original.score_corrector(s->original.corrector_user, &score))
        sdi_exec_fail(e, sdi_fail(s->model->ctx, SD_ERROR_CANCELLED,
                                  "cancelled by the score corrector at timestep %g", (double)t));
    else
        put_score(s, t);
}

void sdi_sampler_denoise(void *user, sdb_tensor x, sdb_tensor time) {
    sd_sampler *s = user;
    sd_exec *e = s->e;
    if (!e->planning)
        sdi_sampler_look(s);
    for (int i = 0; i < sdi_sampler_parts(s); i++) {
        sdb_tensor part = sdi_view_batch(s->unet.io[SD_UNET_X], i * s->n, s->n);
        sdi_op_copy(e, sdi_view_channels(part, 0, s->c), x);
    }
    sdi_op_copy(e, s->unet.io[SD_UNET_T], time);
    sdi_stage_compute(&s->unet);
    sdi_sampler_mix(s);
    if (s->guided)
        guide(s);
    if (s->original.score_corrector && !e->planning)
        correct_score(s, x);
}

/* -------------------------------------------------------------------------------------- noise */

/* The noises of a step. As many times as DROPPED is in it, the original draws some more, which it
 * multiplies by 0. */
enum { OF_MASK = 1, OF_STEP = 2, MORE_OF_STEP = 4, DROPPED = 8 };

/* The noises of step i, `done` steps after the run's first. Without a mask nothing comes after the
 * noises that are multiplied by 0, so that they need not be drawn. */
static unsigned noises_of(const sd_sampler *s, int i, int done) {
    const sd_method *method = s->run.method;
    unsigned noises = (unsigned)sdi_run_noises(&s->run, i);
    unsigned all = s->has_mask && method->draws ? (unsigned)method->draws(done) : noises;
    return (s->has_mask ? OF_MASK : 0) | (noises > 0 ? OF_STEP : 0) |
           (noises > 1 ? MORE_OF_STEP : 0) | (all - noises) * DROPPED;
}

/* A step's own noise, on the host. */
static void draw_step(sd_sampler *s) {
    int64_t each = s->host->n_elements / s->n;
    sdi_noise_draw(&s->noise, s->host->data, each);
    sdi_noise_dropout(&s->noise, s->host->data, each, s->original.noise_dropout);
}

/* Draws and puts on the device, in the order of DDIMSampler: what the mask holds is noised first.
 */
static void draw(sd_sampler *s, unsigned noises) {
    if (noises & OF_MASK) {
        sdi_noise_draw(&s->noise, s->host->data, s->host->n_elements / s->n);
        sdi_exec_put(s->e, s->mask_noise, s->host, 0);
    }
    if (noises & OF_STEP) {
        draw_step(s);
        sdi_exec_put(s->e, s->run.noise, s->host, 0);
    }
    if (noises & MORE_OF_STEP) {
        draw_step(s);
        sdi_exec_put(s->e, s->run.second_noise, s->host, 0);
    }
    for (unsigned i = 0; i < noises / DROPPED; i++)
        draw_step(s);
}

/* The next step's noise, while the device is busy with this one, after which it is put there. */
static void draw_ahead(sd_sampler *s, int i) {
    s->ahead_of = noises_of(s, i, s->run.done + 1);
    s->ahead = s->ahead_of != 0;
    if (!s->ahead)
        return;
    sdi_noise_keep(&s->noise);
    draw(s, s->ahead_of);
}

/* Step i's noise is on the device. */
static void take_noise(sd_sampler *s, int i) {
    unsigned noises = noises_of(s, i, s->run.done);
    if (s->ahead && s->ahead_of != noises) { /* a mask was set or taken away since */
        sdi_noise_go_back(&s->noise);
        s->ahead = false;
    }
    if (!s->ahead)
        draw(s, noises);
    s->ahead = false;
}

/* --------------------------------------------------------------------------------------- step */

/* The mask holds the known x_0 at the step's time, noised anew: DDIMSampler's mask. */
static void hold(sd_sampler *s, int i) {
    sdi_run_q_sample(&s->run, i, s->mask_noise, s->known, s->mask_noise);
    sdi_op_blend(s->e, (sdb_blend){.m = s->mask, .a = s->mask_noise, .b = s->run.x, .y = s->run.x});
}

void sdi_sampler_compute(sd_sampler *s, int i) {
    s->run.touched = s->run.touched || s->has_mask;
    take_noise(s, i);
    if (s->has_mask)
        hold(s, i);
    s->run.method->step(&s->run, i);
    if (!s->e->status && s->run.done + 1 < s->run.total)
        draw_ahead(s, i - 1);
}

void sdi_sampler_compute_measured(sd_sampler *s) {
    s->run.done = 1;
    s->run.method->step(&s->run, s->run.times.count > 1 ? 1 : 0);
    s->run.done = 0;
}
