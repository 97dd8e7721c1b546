/*
 * A step of struct sd_sampler. Outside of what a backend records are the draw of its noise, on the
 * host, and the upload of that; its numbers are moved to where the method finds them. All else is
 * one region of operations on the device, from the mask over the network to the method's update,
 * recorded once for each kind of step.
 */
#include "pipeline/sampling.h"

#include "backend/region.h"

/* ------------------------------------------------------------------------------ the network */

/* out = UNet(x_in, t), then e = (1 - s) e_uncond + s e_cond: Ho and Salimans 2022, eq. 6. */
static void guided_network(sd_sampler *s) {
    sd_exec *e = s->e;
    size_t mark = sd_exec_mark(e);
    sd_unet_forward(e, sd_model_unet(s->model), s->out, s->x_in, s->t, s->kv, s->scale);
    sd_exec_release(e, mark);
    if (s->halves == 1)
        return;
    sdb_tensor cond = sd_view_batch(s->out, s->n, s->n);
    sdb_tensor terms[] = {sd_view_batch(s->out, 0, s->n), cond};
    sd_op_sum(e, s->run.eps, 2, terms, s->guidance);
    if (s->params.guidance_rescale > 0.0f) /* the spread of the conditional half given back */
        sd_op_rescale(e, (sdb_rescale){.x = s->run.eps,
                                       .like = cond,
                                       .y = s->run.eps,
                                       .phi = s->params.guidance_rescale});
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
    guided_network(s);
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

/* --------------------------------------------------------------------------------- the region */

/* What the mask holds is the known x_0 at the step's time, noised anew: DDIMSampler's mask. */
static void hold(sd_sampler *s) {
    sd_run_q_sample(&s->run, s->mask_noise, s->known, s->mask_noise);
    sd_op_blend(s->e, (sdb_blend){.m = s->mask, .a = s->mask_noise, .b = s->run.x, .y = s->run.x});
}

static void region(sd_exec *e, void *sampler) {
    sd_sampler *s = sampler;
    (void)e;
    if (s->has_mask)
        hold(s);
    s->run.method->step(&s->run, s->run.at);
}

/* Which of s->kinds step i of `run` is. */
static int kind_of(const sd_sampler *s, const sd_run *run, int i) {
    return 4 * sd_run_kind(run, i) + 2 * sd_run_noisy(run, i) + s->has_mask;
}

/* Whether the kind of the step that is being made will be seen again: later in the run, or, as it
 * was not new to this one, in the next. */
static bool comes_again(const sd_sampler *s, int kind) {
    sd_run run = s->run;
    if (s->kinds[kind].made > 1)
        return true;
    while (++run.done < s->total) {
        run.touched = s->has_mask;
        if (kind_of(s, &run, --run.at) == kind)
            return true;
    }
    return false;
}

/* The first step of a kind is launched as it stands and recorded while the device is busy with it,
 * which hides what recording costs: as long as half a step. */
static void run_region(sd_sampler *s) {
    sd_exec *e = s->e;
    int kind = kind_of(s, &s->run, s->run.at);
    sdb_graph **graph = &s->kinds[kind].graph;
    bool can = sd_exec_can_record(e) && !s->params.score_corrector;
    s->kinds[kind].made++;
    if (can && *graph) {
        sd_exec_replay(e, *graph);
        return;
    }
    region(e, s);
    if (can && comes_again(s, kind))
        sd_exec_record(e, region, s, graph);
}

void sd_sampling_compute(sd_sampler *s, int i) {
    s->run.touched = s->run.touched || s->has_mask;
    take_noise(s, i);
    sd_run_begin_step(&s->run, i);
    run_region(s);
    if (!s->e->status && s->run.done + 1 < s->total)
        draw_ahead(s, i - 1);
}

void sd_sampling_compute_measured(sd_sampler *s) {
    s->run.done = 1;
    sd_run_begin_step(&s->run, s->run.times.count > 1 ? 1 : 0);
    region(s->e, s);
    s->run.done = 0;
}

void sd_sampling_free_graphs(sd_sampler *s) {
    for (size_t i = 0; i < SD_COUNT(s->kinds); i++)
        if (s->kinds[i].graph)
            s->e->api->graph_free(s->e->queue, s->kinds[i].graph);
}
