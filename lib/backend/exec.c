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

size_t sd_type_size(sdb_type type) {
    static const uint8_t sizes[SDB_N_TYPES] = {
        [SDB_F32] = 4, [SDB_F16] = 2, [SDB_BF16] = 2, [SDB_I32] = 4,
        [SDB_I64] = 8, [SDB_F64] = 8, [SDB_U8] = 1,
    };
    return sizes[type];
}

sdb_tensor sd_exec_tensor_typed(sd_exec *e, sdb_type type, int n, int h, int w, int c) {
    sdb_tensor t = {NULL, type, n, h, w, c, c};
    size_t size = (size_t)n * (size_t)h * (size_t)w * (size_t)c * sd_type_size(type);
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
    if (t.data)
        t.data = (uint8_t *)t.data + elements * (int64_t)sd_type_size(t.type);
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

static size_t packed_size(sdb_tensor t) {
    return (size_t)t.n * (size_t)t.h * (size_t)t.w * (size_t)t.c * sd_type_size(t.type);
}

static bool is_packed(sd_exec *e, sdb_tensor t) {
    if (t.ld == t.c)
        return true;
    sd_exec_fail(e, sd_fail(e->ctx, SD_ERROR_INTERNAL, "a packed tensor was expected"));
    return false;
}

void sd_exec_upload(sd_exec *e, sdb_tensor dst, const void *src) {
    if (sd_exec_ready(e) && !e->measuring && is_packed(e, dst))
        sd_exec_fail(e, e->api->upload(e->queue, dst.data, src, packed_size(dst)));
}

void sd_exec_download(sd_exec *e, void *dst, sdb_tensor src) {
    if (sd_exec_ready(e) && !e->measuring && is_packed(e, src))
        sd_exec_fail(e, e->api->download(e->queue, dst, src.data, packed_size(src)));
}

/* What an operation is in numbers, and where it began where a profile is wanted. */
typedef struct watched {
    sd_op_kind kind;
    double flops, bytes;
    sd_mark begin;
    bool profiled;
} watched;

/* Two for each multiply-add of every element of y with `depth` terms. */
static double products(sdb_tensor y, double depth) {
    return 2.0 * y.n * y.h * y.w * y.c * depth;
}

static double bytes_of(sdb_tensor t) {
    return (double)packed_size(t); /* 0 of no tensor */
}

static double weight_bytes(const sd_exec *e, const sdb_weight *w) {
    return w && !e->measuring ? (double)e->api->weight_size(w) : 0.0;
}

/* True when an operation is to be called. */
static bool begins(sd_exec *e, watched *op) {
    if (e->measuring)
        e->flops += op->flops;
    if (!sd_exec_ready(e))
        return false;
    op->profiled = !e->measuring && sd_profiling(e->ctx);
    if (op->profiled)
        sd_exec_fail(e, sd_mark_now(e->ctx->device, e->queue, &op->begin));
    if (!e->measuring && !e->status)
        sd_threads_watch((sd_watch){is_ended, e});
    return !e->status;
}

/* An operation that was cancelled within is not whole, so this looks once more. */
static void ends(sd_exec *e, const watched *op, sd_status status) {
    sd_threads_watch((sd_watch){NULL, NULL});
    sd_exec_fail(e, status);
    sd_exec_ready(e);
    if (!op->profiled)
        return;
    sd_mark end = {0};
    if (!e->status)
        sd_exec_fail(e, sd_mark_now(e->ctx->device, e->queue, &end));
    bool counted = !e->status && (!e->api->mark_new || end.mark); /* none within a recording */
    if (counted)
        sd_exec_fail(
            e, sd_profiler_add(e->ctx->device, op->kind, op->flops, op->bytes, op->begin, end));
    else
        sd_mark_free(e->ctx->device, op->begin);
}

static float or_one(float scale) {
    return scale == 0.0f ? 1.0f : scale;
}

void sd_op_conv2d(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w, sd_conv_args args) {
    sdb_conv2d op = {
        .x = x,
        .y = y,
        .weight = w,
        .emb = args.emb,
        .residual = args.residual,
        .stride = args.stride ? args.stride : 1,
        .pad_before = args.pad_end ? 0 : 1,
        .upsample = args.upsample,
        .act = args.act,
        .scale = or_one(args.scale),
        .stats = args.stats,
    };
    watched o = {SD_OP_CONV2D, products(y, 9.0 * x.c),
                 bytes_of(x) + bytes_of(y) + bytes_of(args.residual) + weight_bytes(e, w)};
    if (begins(e, &o))
        ends(e, &o, e->api->run[SDB_OP_conv2d](e->queue, &(sdb_op){SDB_OP_conv2d, {.conv2d = op}}));
}

static void linear(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w, sd_linear_args args,
                   int halves) {
    sdb_linear op = {x, y, w, args.residual, args.act, or_one(args.scale), args.stats};
    watched o = {SD_OP_LINEAR, halves * products(y, x.c),
                 bytes_of(x) + bytes_of(y) + bytes_of(args.residual) + weight_bytes(e, w)};
    if (begins(e, &o))
        ends(e, &o, e->api->run[SDB_OP_linear](e->queue, &(sdb_op){SDB_OP_linear, {.linear = op}}));
}

void sd_op_linear(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w,
                  sd_linear_args args) {
    linear(e, y, x, w, args, 1);
}

void sd_op_geglu(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w) {
    linear(e, y, x, w, (sd_linear_args){0}, 2); /* value and gate */
}

void sd_op_group_norm(sd_exec *e, sdb_tensor y, sd_features x, const sdb_weight *w, int groups,
                      float eps, sdb_act act) {
    sdb_group_norm op = {x.x, y, w, groups, eps, act, {x.stats[0], x.stats[1]}};
    watched o = {SD_OP_GROUP_NORM, 0.0, bytes_of(x.x) + bytes_of(y)};
    if (begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_group_norm](e->queue,
                                            &(sdb_op){SDB_OP_group_norm, {.group_norm = op}}));
}

void sd_op_layer_norm(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w, float eps) {
    sdb_layer_norm op = {x, y, w, eps};
    watched o = {SD_OP_LAYER_NORM, 0.0, bytes_of(x) + bytes_of(y)};
    if (begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_layer_norm](e->queue,
                                            &(sdb_op){SDB_OP_layer_norm, {.layer_norm = op}}));
}

void sd_op_attention(sd_exec *e, sdb_tensor y, sdb_tensor q, sdb_tensor k, sdb_tensor v, int heads,
                     bool causal, float scale) {
    sdb_attention op = {q, k, v, y, heads, causal, scale};
    watched o = {SD_OP_ATTENTION, products(y, 2.0 * k.h * k.w), /* q k^T and its product with v */
                 bytes_of(q) + bytes_of(k) + bytes_of(v) + bytes_of(y)};
    if (begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_attention](e->queue,
                                           &(sdb_op){SDB_OP_attention, {.attention = op}}));
}

void sd_op_embed(sd_exec *e, sdb_tensor y, sdb_tensor ids, const sdb_weight *token,
                 const sdb_weight *position) {
    sdb_embed op = {ids, y, token, position};
    watched o = {SD_OP_OTHER, 0.0, 2.0 * bytes_of(y)};
    if (begins(e, &o))
        ends(e, &o, e->api->run[SDB_OP_embed](e->queue, &(sdb_op){SDB_OP_embed, {.embed = op}}));
}

void sd_op_timestep_embedding(sd_exec *e, sdb_tensor y, sdb_tensor t) {
    sdb_timestep_embedding op = {t, y};
    watched o = {SD_OP_OTHER, 0.0, bytes_of(y)};
    if (begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_timestep_embedding](
                 e->queue, &(sdb_op){SDB_OP_timestep_embedding, {.timestep_embedding = op}}));
}

void sd_op_combine(sd_exec *e, sdb_tensor y, int n_terms, const sdb_tensor *x, sdb_tensor coef) {
    sdb_combine op = {.n_terms = n_terms, .coef = coef, .y = y};
    if (n_terms < 1 || n_terms > SDB_MAX_TERMS) {
        sd_exec_fail(e, sd_fail(e->ctx, SD_ERROR_INTERNAL, "a sum of %d terms", n_terms));
        return;
    }
    memcpy(op.x, x, (size_t)n_terms * sizeof *x);
    watched o = {SD_OP_COMBINE, 0.0, bytes_of(y)};
    for (int i = 0; i < n_terms; i++)
        o.bytes += bytes_of(x[i]);
    if (begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_combine](e->queue, &(sdb_op){SDB_OP_combine, {.combine = op}}));
}

void sd_op_copy(sd_exec *e, sdb_tensor y, sdb_tensor x) {
    sd_op_combine(e, y, 1, &x, sd_no_tensor());
}

void sd_op_activation(sd_exec *e, sdb_tensor y, sdb_tensor x, sdb_act act) {
    sdb_activation op = {x, y, act};
    watched o = {SD_OP_OTHER, 0.0, bytes_of(x) + bytes_of(y)};
    if (begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_activation](e->queue,
                                            &(sdb_op){SDB_OP_activation, {.activation = op}}));
}

void sd_op_posterior(sd_exec *e, sdb_tensor y, sdb_tensor moments, sdb_tensor noise, float scale) {
    sdb_posterior op = {moments, noise, y, scale};
    watched o = {SD_OP_OTHER, 0.0, bytes_of(moments) + bytes_of(y)};
    if (begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_posterior](e->queue,
                                           &(sdb_op){SDB_OP_posterior, {.posterior = op}}));
}

/* Operations that a backend may leave out. */
static bool offers(sd_exec *e, bool there, const char *name) {
    if (!there && !e->status)
        e->status = sd_fail(e->ctx, SD_ERROR_UNSUPPORTED,
                            "the backend %s cannot compute this: it has no %s", e->api->name, name);
    return there;
}

void sd_op_resample(sd_exec *e, sdb_tensor y, sdb_tensor x) {
    sdb_resample op = {x, y};
    watched o = {SD_OP_OTHER, 0.0, bytes_of(x) + bytes_of(y)};
    if (offers(e, e->api->run[SDB_OP_resample] != NULL, "resample") && begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_resample](e->queue, &(sdb_op){SDB_OP_resample, {.resample = op}}));
}

void sd_op_modulate(sd_exec *e, sdb_tensor y, sdb_tensor x, sdb_tensor scale, sdb_tensor shift,
                    sdb_act act) {
    sdb_modulate op = {x, scale, shift, y, act};
    watched o = {SD_OP_OTHER, 0.0, bytes_of(x) + bytes_of(y)};
    if (offers(e, e->api->run[SDB_OP_modulate] != NULL, "modulate") && begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_modulate](e->queue, &(sdb_op){SDB_OP_modulate, {.modulate = op}}));
}

void sd_op_quantize(sd_exec *e, sdb_tensor y, sdb_tensor ids, sdb_tensor x,
                    const sdb_weight *codebook) {
    sdb_quantize op = {x, y, ids, codebook};
    watched o = {SD_OP_OTHER, 0.0, bytes_of(x) + bytes_of(y)};
    if (offers(e, e->api->run[SDB_OP_quantize] != NULL, "quantize") && begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_quantize](e->queue, &(sdb_op){SDB_OP_quantize, {.quantize = op}}));
}

void sd_op_blend(sd_exec *e, sdb_tensor y, sdb_tensor m, sdb_tensor a, sdb_tensor b) {
    sdb_blend op = {m, a, b, y};
    watched o = {SD_OP_OTHER, 0.0, bytes_of(m) + bytes_of(a) + bytes_of(b) + bytes_of(y)};
    if (offers(e, e->api->run[SDB_OP_blend] != NULL, "blend") && begins(e, &o))
        ends(e, &o, e->api->run[SDB_OP_blend](e->queue, &(sdb_op){SDB_OP_blend, {.blend = op}}));
}

void sd_op_clamp(sd_exec *e, sdb_tensor y, sdb_tensor x, float low, float high) {
    sdb_clamp op = {x, y, low, high};
    watched o = {SD_OP_OTHER, 0.0, bytes_of(x) + bytes_of(y)};
    if (offers(e, e->api->run[SDB_OP_clamp] != NULL, "clamp") && begins(e, &o))
        ends(e, &o, e->api->run[SDB_OP_clamp](e->queue, &(sdb_op){SDB_OP_clamp, {.clamp = op}}));
}

void sd_op_rescale(sd_exec *e, sdb_tensor y, sdb_tensor x, sdb_tensor like, float phi) {
    sdb_rescale op = {x, like, y, phi};
    watched o = {SD_OP_OTHER, 0.0, bytes_of(x) + bytes_of(like) + bytes_of(y)};
    if (offers(e, e->api->run[SDB_OP_rescale] != NULL, "rescale") && begins(e, &o))
        ends(e, &o,
             e->api->run[SDB_OP_rescale](e->queue, &(sdb_op){SDB_OP_rescale, {.rescale = op}}));
}
