/* How work with an executor begins; tensors and views, transfers, operations one by one. */
#include "backend/exec.h"

#include "backend/profile.h"
#include "core/threads.h"

#include <string.h>

#define ALIGNMENT 256

void sdi_exec_fail(sd_exec *e, sd_status status) {
    if (!e->status)
        e->status = status;
}

void sdi_exec_begin(sd_exec *e) {
    e->status = SD_OK;
    e->interrupt = sdi_interrupt_now(e->ctx);
}

void sdi_exec_build(sd_exec *e, sd_program *p) {
    e->building = p;
}

/* ---------------------------------------------------------------------------------- tensors */

static sdb_tensor take_buffer(sd_exec *e, sdb_type type, int n, int h, int w, int c) {
    sdb_tensor t;
    sdi_exec_fail(e, sdi_program_tensor(e->building, type, n, h, w, c, &t));
    return t;
}

sdb_tensor sdi_exec_tensor_typed(sd_exec *e, sdb_type type, int n, int h, int w, int c) {
    sdb_tensor t = {.type = type, .n = n, .h = h, .w = w, .c = c, .ld = c};
    if (e->building)
        return take_buffer(e, type, n, h, w, c);
    size_t start = (e->top + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    e->top = start + sdi_packed_size(t);
    if (e->top > e->peak)
        e->peak = e->top;
    if (e->planning || e->status)
        return t;
    if (e->top > e->capacity) {
        sdi_exec_fail(e, sdi_fail(e->ctx, SD_ERROR_INTERNAL,
                                  "tensors take %zu bytes of memory, %zu were planned", e->top,
                                  e->capacity));
        return t;
    }
    t.data = e->arena + start;
    return t;
}

sdb_tensor sdi_exec_tensor(sd_exec *e, int n, int h, int w, int c) {
    return sdi_exec_tensor_typed(e, e->act, n, h, w, c);
}

sdb_tensor sdi_concat(sd_exec *e, sdb_tensor a, sdb_tensor b) {
    sdb_tensor y;
    sdi_exec_fail(e, sdi_program_join(e->building, a, b, &y));
    return y;
}

static sdb_tensor offset(sdb_tensor t, int64_t elements) {
    if (t.data || t.buffer)
        t.data = (uint8_t *)t.data + elements * (int64_t)sdb_type_size(t.type);
    return t;
}

sdb_tensor sdi_view_channels(sdb_tensor t, int first, int c) {
    t = offset(t, first);
    t.c = c;
    return t;
}

sdb_tensor sdi_view_batch(sdb_tensor t, int first, int n) {
    t = offset(t, (int64_t)first * t.h * t.w * t.ld);
    t.n = n;
    return t;
}

sdb_tensor sdi_view_shape(sdb_tensor t, int n, int h, int w) {
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
    return sdi_interrupted(&e->interrupt) || is_stopped(e);
}

bool sdi_exec_ready(sd_exec *e) {
    if (!e->status && !e->planning && is_ended(e))
        e->status = sdi_fail(e->ctx, SD_ERROR_CANCELLED,
                             is_stopped(e) ? "the sampler was freed while it sampled"
                                           : "the run was cancelled");
    return !e->status;
}

static bool is_packed(sd_exec *e, sdb_tensor t) {
    if (t.ld == t.c)
        return true;
    sdi_exec_fail(e, sdi_fail(e->ctx, SD_ERROR_INTERNAL, "a packed tensor was expected"));
    return false;
}

void sdi_exec_upload(sd_exec *e, sdb_tensor dst, const void *src) {
    if (sdi_exec_ready(e) && !e->planning && is_packed(e, dst))
        sdi_exec_fail(e, e->api->upload(e->queue, dst.data, src, sdi_packed_size(dst)));
}

void sdi_exec_download(sd_exec *e, void *dst, sdb_tensor src) {
    if (sdi_exec_ready(e) && !e->planning && is_packed(e, src))
        sdi_exec_fail(e, e->api->download(e->queue, dst, src.data, sdi_packed_size(src)));
}

static bool is_offered(sd_exec *e, const sdb_op *op) {
    if (!e->api->run[op->kind])
        sdi_exec_fail(e, sdi_fail(e->ctx, SD_ERROR_UNSUPPORTED,
                                  "the backend %s cannot compute this: it has no %s", e->api->name,
                                  sdi_op_name(op->kind)));
    return !e->status;
}

/* An operation that was cancelled within is not whole, so this looks once more. */
static void run(sd_exec *e, const sdb_op *op) {
    sdi_threads_watch((sd_watch){is_ended, e});
    sdi_exec_fail(e, e->api->run[op->kind](e->queue, op));
    sdi_threads_watch((sd_watch){NULL, NULL});
    sdi_exec_ready(e);
}

static void run_profiled(sd_exec *e, const sdb_op *op) {
    struct sd_device_slot *slot = e->ctx->device;
    sd_mark begin = {0}, end = {0};
    sdi_exec_fail(e, sdi_mark_now(slot, e->queue, &begin));
    if (!e->status)
        run(e, op);
    if (!e->status)
        sdi_exec_fail(e, sdi_mark_now(slot, e->queue, &end));
    bool counted = !e->status && (!e->api->mark_new || end.mark); /* none within a recording */
    if (counted)
        sdi_exec_fail(e, sdi_profiler_add(slot, op, begin, end));
    else
        sdi_mark_free(slot, begin);
}

void sdi_exec_op(sd_exec *e, sdb_op op) {
    sdi_op_complete(&op);
    if (!sdi_exec_ready(e) || !is_offered(e, &op))
        return;
    if (e->building)
        sdi_exec_fail(e, sdi_program_add(e->building, &op));
    else if (e->planning)
        sdi_exec_fail(e, e->api->run[op.kind](e->queue, &op));
    else if (sdi_profiling(e->ctx))
        run_profiled(e, &op);
    else
        run(e, &op);
}

void sdi_op_sum(sd_exec *e, sdb_tensor y, int n_terms, const sdb_tensor *x, sdb_tensor coef) {
    sdb_combine op = {.n_terms = n_terms, .coef = coef, .y = y};
    if (n_terms < 1 || n_terms > SDB_MAX_TERMS) {
        sdi_exec_fail(e, sdi_fail(e->ctx, SD_ERROR_INTERNAL, "a sum of %d terms", n_terms));
        return;
    }
    memcpy(op.x, x, (size_t)n_terms * sizeof *x);
    sdi_op_combine(e, op);
}

void sdi_op_copy(sd_exec *e, sdb_tensor y, sdb_tensor x) {
    sdi_op_combine(e, (sdb_combine){.n_terms = 1, .x = {x}, .y = y});
}
