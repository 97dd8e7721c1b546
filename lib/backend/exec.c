#include "backend/exec.h"

#include "backend/profile.h"
#include "backend/region.h"
#include "core/threads.h"

#include <string.h>

#define ALIGNMENT 256

sd_status sd_exec_new(sd_context *ctx, sdb_type act, sd_exec **out) {
    *out = NULL;
    sd_exec *e = sd_zalloc(ctx, sizeof *e);
    if (!e)
        return SD_ERROR_MEMORY;
    e->ctx = ctx;
    e->api = ctx->device->api;
    e->dev = ctx->device->dev;
    e->act = act;
    sd_status status = e->api->queue_new(e->dev, &e->queue);
    if (status) {
        sd_free(ctx, e);
        return status;
    }
    sd_exec_begin(e);
    *out = e;
    return SD_OK;
}

void sd_exec_free(sd_exec *e) {
    if (!e)
        return;
    sd_exec_forget_stages(e);
    e->api->queue_free(e->queue);
    e->api->buffer_free(e->dev, e->arena);
    sd_free(e->ctx, e->turning);
    sd_free(e->ctx, e);
}

void sd_exec_fail(sd_exec *e, sd_status status) {
    if (!e->status)
        e->status = status;
}

void sd_exec_measure(sd_exec *e) {
    sd_exec_begin(e);
    e->measuring = true;
    e->stage = NULL;
    e->peak = 0;
    e->flops = 0;
    sd_exec_fail(e, e->api->queue_plan(e->queue, true));
}

static sd_status grow_arena(sd_exec *e) {
    if (e->peak <= e->capacity)
        return SD_OK;
    void *arena;
    e->api->buffer_free(e->dev, e->arena);
    e->arena = NULL;
    e->capacity = 0;
    sd_status status = e->api->buffer_alloc(e->dev, e->peak, &arena);
    if (status)
        return status;
    e->arena = arena;
    e->capacity = e->peak;
    return SD_OK;
}

sd_status sd_exec_commit(sd_exec *e) {
    sd_status status = e->status;
    size_t scratch = e->api->queue_scratch(e->queue);
    e->measuring = false;
    e->top = 0;
    if (e->peak > e->capacity || scratch > e->scratch)
        sd_exec_forget_stages(e); /* their regions name memory that goes */
    e->scratch = scratch;
    sd_status planned = e->api->queue_plan(e->queue, false);
    if (!status)
        status = planned;
    if (!status)
        status = grow_arena(e);
    return status;
}

size_t sd_exec_abandon(sd_exec *e) {
    e->measuring = false;
    e->top = 0;
    return e->peak + e->api->queue_scratch(e->queue);
}

void sd_exec_begin(sd_exec *e) {
    e->status = SD_OK;
    e->top = 0;
    e->interrupt = sd_interrupt_now(e->ctx);
}

/* ---------------------------------------------------------------------------------- tensors */

sdb_tensor sd_exec_tensor_typed(sd_exec *e, sdb_type type, int n, int h, int w, int c) {
    sdb_tensor t = {.type = type, .n = n, .h = h, .w = w, .c = c, .ld = c};
    if (e->building) {
        sd_exec_fail(e, sd_program_tensor(e->building, type, n, h, w, c, &t));
        return t;
    }
    size_t size = (size_t)n * (size_t)h * (size_t)w * (size_t)c * sdb_type_size(type);
    size_t start = (e->top + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    e->top = start + size;
    if (e->top > e->peak)
        e->peak = e->top;
    if (e->measuring || e->status)
        return t;
    if (e->top > e->capacity) {
        sd_exec_fail(e, sd_fail(e->ctx, SD_ERROR_INTERNAL,
                                "a network takes %zu bytes of activations, %zu were measured",
                                e->top, e->capacity));
        return t;
    }
    t.data = e->arena + start;
    return t;
}

void sd_exec_build(sd_exec *e, sd_program *p) {
    e->building = p;
}

sdb_tensor sd_concat(sd_exec *e, sdb_tensor a, sdb_tensor b) {
    sdb_tensor y;
    sd_exec_fail(e, sd_program_join(e->building, a, b, &y));
    return y;
}

sdb_tensor sd_exec_tensor(sd_exec *e, int n, int h, int w, int c) {
    return sd_exec_tensor_typed(e, e->act, n, h, w, c);
}

sdb_tensor sd_exec_stats(sd_exec *e, sdb_tensor x) {
    const sdb_backend *api = e->api;
    int parts = api->stats_parts && x.c % 2 == 0 ? api->stats_parts(e->dev, x.type, x.h, x.w) : 0;
    return parts ? sd_exec_tensor_typed(e, SDB_F32, x.n, parts, x.c / 2, 2) : sd_no_tensor();
}

sd_features sd_exec_features(sd_exec *e, int n, int h, int w, int c) {
    sd_features f = {.x = sd_exec_tensor(e, n, h, w, c)};
    f.stats[0] = sd_exec_stats(e, f.x);
    return f;
}

size_t sd_exec_mark(const sd_exec *e) {
    return e->top;
}

void sd_exec_release(sd_exec *e, size_t mark) {
    e->top = mark;
}

static sdb_tensor offset(sdb_tensor t, int64_t elements) {
    if (t.data || t.buffer)
        t.data = (uint8_t *)t.data + elements * (int64_t)sdb_type_size(t.type);
    return t;
}

sdb_tensor sd_view_channels(sdb_tensor t, int first, int c) {
    t = offset(t, first);
    t.c = c;
    return t;
}

sdb_tensor sd_view_batch(sdb_tensor t, int first, int n) {
    t = offset(t, (int64_t)first * t.h * t.w * t.ld);
    t.n = n;
    return t;
}

sdb_tensor sd_view_shape(sdb_tensor t, int n, int h, int w) {
    t.n = n;
    t.h = h;
    t.w = w;
    return t;
}

/* -------------------------------------------------------------------------------- operations */

static bool is_stopped(const sd_exec *e) {
    return e->stop && atomic_load_explicit(e->stop, memory_order_relaxed);
}

static bool is_ended(const void *user) {
    const sd_exec *e = user;
    return sd_interrupted(&e->interrupt) || is_stopped(e);
}

bool sd_exec_ready(sd_exec *e) {
    if (!e->status && !e->measuring && is_ended(e))
        e->status = sd_fail(e->ctx, SD_ERROR_CANCELLED,
                            is_stopped(e) ? "the sampler was freed while it sampled"
                                          : "the run was cancelled");
    return !e->status;
}

static bool is_packed(sd_exec *e, sdb_tensor t) {
    if (t.ld == t.c)
        return true;
    sd_exec_fail(e, sd_fail(e->ctx, SD_ERROR_INTERNAL, "a packed tensor was expected"));
    return false;
}

void sd_exec_upload(sd_exec *e, sdb_tensor dst, const void *src) {
    if (sd_exec_ready(e) && !e->measuring && is_packed(e, dst))
        sd_exec_fail(e, e->api->upload(e->queue, dst.data, src, sd_packed_size(dst)));
}

void sd_exec_download(sd_exec *e, void *dst, sdb_tensor src) {
    if (sd_exec_ready(e) && !e->measuring && is_packed(e, src))
        sd_exec_fail(e, e->api->download(e->queue, dst, src.data, sd_packed_size(src)));
}

static bool is_offered(sd_exec *e, const sdb_op *op) {
    if (!e->api->run[op->kind])
        sd_exec_fail(e, sd_fail(e->ctx, SD_ERROR_UNSUPPORTED,
                                "the backend %s cannot compute this: it has no %s", e->api->name,
                                sd_op_name(op->kind)));
    return !e->status;
}

/* An operation that was cancelled within is not whole, so this looks once more. */
static void run(sd_exec *e, const sdb_op *op) {
    sd_threads_watch((sd_watch){is_ended, e});
    sd_exec_fail(e, e->api->run[op->kind](e->queue, op));
    sd_threads_watch((sd_watch){NULL, NULL});
    sd_exec_ready(e);
}

static void run_profiled(sd_exec *e, const sdb_op *op) {
    struct sd_device_slot *slot = e->ctx->device;
    sd_mark begin = {0}, end = {0};
    sd_exec_fail(e, sd_mark_now(slot, e->queue, &begin));
    if (!e->status)
        run(e, op);
    if (!e->status)
        sd_exec_fail(e, sd_mark_now(slot, e->queue, &end));
    bool counted = !e->status && (!e->api->mark_new || end.mark); /* none within a recording */
    if (counted)
        sd_exec_fail(e, sd_profiler_add(slot, op, begin, end));
    else
        sd_mark_free(slot, begin);
}

void sd_exec_op(sd_exec *e, sdb_op op) {
    sd_op_complete(&op);
    if (!sd_exec_ready(e) || !is_offered(e, &op))
        return;
    if (e->building) {
        sd_exec_fail(e, sd_program_add(e->building, &op));
    } else if (e->measuring) {
        e->flops += sd_op_flops(&op);
        sd_exec_fail(e, e->api->run[op.kind](e->queue, &op));
    } else if (sd_profiling(e->ctx)) {
        run_profiled(e, &op);
    } else {
        run(e, &op);
    }
}

void sd_op_sum(sd_exec *e, sdb_tensor y, int n_terms, const sdb_tensor *x, sdb_tensor coef) {
    sdb_combine op = {.n_terms = n_terms, .coef = coef, .y = y};
    if (n_terms < 1 || n_terms > SDB_MAX_TERMS) {
        sd_exec_fail(e, sd_fail(e->ctx, SD_ERROR_INTERNAL, "a sum of %d terms", n_terms));
        return;
    }
    memcpy(op.x, x, (size_t)n_terms * sizeof *x);
    sd_op_combine(e, op);
}

void sd_op_copy(sd_exec *e, sdb_tensor y, sdb_tensor x) {
    sd_op_combine(e, (sdb_combine){.n_terms = 1, .x = {x}, .y = y});
}
