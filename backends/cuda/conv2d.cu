/* 3x3 convolution as a cuda_gemm. */
#include "convert.cuh"
#include "gemm.h"

#include <string.h>

static bool types_match(const sdb_conv2d *op) {
    sdb_type type = op->x.type;
    return op->y.type == type && op->weight->type == type &&
           (op->emb.c == 0 || op->emb.type == type) &&
           (op->residual.c == 0 || op->residual.type == type);
}

/* All but x, the weights and their grid. */
static cuda_gemm gemm_of(const sdb_conv2d *op) {
    const sdb_weight *w = op->weight;
    cuda_gemm g;
    memset(&g, 0, sizeof g);
    g.type = op->x.type;
    g.n_rows = w->n;
    g.k = w->k;
    g.y = op->y.data;
    g.y_ld = op->y.ld;
    g.y_h = op->y.h;
    g.y_w = op->y.w;
    g.n_out = w->n;
    g.bias = w->bias;
    if (op->emb.c > 0) {
        g.emb = op->emb.data;
        g.emb_ld = op->emb.ld;
    }
    if (op->residual.c > 0) {
        g.residual = op->residual.data;
        g.residual_ld = op->residual.ld;
    }
    g.act = op->act;
    g.scale = op->scale;
    g.stats = (float2 *)op->stats.data;
    g.stats_pixels = op->y.h * op->y.w;
    return g;
}

static void set_x(cuda_gemm *g, const sdb_tensor *x) {
    g->x = x->data;
    g->n = x->n;
    g->h = x->h;
    g->w = x->w;
    g->c = x->c;
    g->x_ld = x->ld;
}

/* The plain kernel over x, its weights [n][9][k]. */
static sd_status run_plain(sdb_queue *q, const sdb_conv2d *op, const sdb_tensor *x,
                           const void *weight) {
    cuda_gemm g = gemm_of(op);
    set_x(&g, x);
    g.weight = weight;
    g.stride = op->stride;
    g.phases = g.y_step = 1;
    g.oh = op->y.h;
    g.ow = op->y.w;
    g.kh = g.kw = 3;
    g.pad_y = g.pad_x = op->pad_end ? 0 : 1;
    return cuda_gemm_run(q, &g, "conv2d");
}

/* The doubled picture whole: the pads are each phase's own. */
static sd_status run_phases(sdb_queue *q, const sdb_conv2d *op) {
    cuda_gemm g = gemm_of(op);
    set_x(&g, &op->x);
    g.weight = op->weight->data;
    g.stride = 1;
    g.phases = op->weight->phases;
    g.oh = op->x.h;
    g.ow = op->x.w;
    g.kh = g.kw = 2;
    g.y_step = 2;
    return cuda_gemm_run(q, &g, "conv2d");
}

/* ------------------------------------------------------ the doubled picture, cut to an odd size */

/*
 * Beyond a cut the phases' sums have a tap too many. The 3x3 kernel is found again in their 2x2
 * ones (see struct sdb_weight): along an axis a is the first phase's 0, c the second's 1, and b is
 * the first's 1, b + c, less c. One thread for an input of a row; src [4][n][4][k], dst [n][9][k].
 */
template <typename T> static __global__ void undo_phases(T *dst, const T *src, int n, int k) {
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, all = (int64_t)n * k;
    if (at >= all)
        return;
    int64_t row = at / k, i = at % k;
    auto tap = [&](int phase, int t) {
        return cuda_float(src[((phase * (int64_t)n + row) * 4 + t) * k + i]);
    };
    float aa = tap(0, 0), ac = tap(1, 1), ca = tap(2, 2), cc = tap(3, 3);
    float ab = tap(0, 1) - ac, ba = tap(0, 2) - ca, bc = tap(1, 3) - cc, cb = tap(2, 3) - cc;
    float bb = tap(0, 3) - bc - cb - cc;
    const float v[9] = {aa, ab, ac, ba, bb, bc, ca, cb, cc};
#pragma unroll
    for (int t = 0; t < 9; t++)
        dst[(row * 9 + t) * k + i] = cuda_round<T>(v[t]);
}

template <typename T> static void launch_undo(sdb_queue *q, void *dst, const sdb_weight *w) {
    unsigned blocks = (unsigned)cuda_divide_up((int64_t)w->n * w->k, 256);
    undo_phases<T><<<blocks, 256, 0, q->stream>>>((T *)dst, (const T *)w->data, w->n, w->k);
}

static sd_status undo_weight(sdb_queue *q, void *dst, const sdb_weight *w) {
    if (w->type == SDB_F16)
        launch_undo<__half>(q, dst, w);
    else if (w->type == SDB_BF16)
        launch_undo<__nv_bfloat16>(q, dst, w);
    else
        launch_undo<float>(q, dst, w);
    return CUDA_LAUNCHED(q, "kernel of a doubled picture");
}

static size_t round_up(size_t size) {
    return (size + 255) / 256 * 256;
}

/* Rare and small, so that neither its picture nor its kernel is kept beyond the operation. */
static sd_status run_cut(sdb_queue *q, const sdb_conv2d *op) {
    const sdb_weight *w = op->weight;
    size_t element = sdb_type_size(w->type);
    sdb_tensor x = op->y;
    x.c = op->x.c;
    x.ld = (x.c + 7) / 8 * 8;
    size_t picture = round_up((size_t)x.n * x.h * x.w * x.ld * element);
    size_t kernel = round_up((size_t)w->n * 9 * w->k * element);
    sd_status status = cuda_scratch(q, picture + kernel, &x.data);
    if (status != SD_OK)
        return status;
    void *weight = q->planning ? NULL : (char *)x.data + picture;
    sdb_resample resample = {op->x, x};
    status = cuda_resample(q, &resample);
    if (status == SD_OK && !q->planning)
        status = undo_weight(q, weight, w);
    if (status != SD_OK)
        return status;
    q->kept = picture + kernel;
    status = run_plain(q, op, &x, weight);
    q->kept = 0;
    return status;
}

extern "C" sd_status cuda_conv2d(sdb_queue *q, const sdb_conv2d *op) {
    if (!types_match(op))
        return cuda_refuse_types(q, "conv2d", op->x.type, op->y.type);
    if (!op->upsample)
        return run_plain(q, op, &op->x, op->weight->data);
    bool whole = op->y.h == 2 * op->x.h && op->y.w == 2 * op->x.w;
    return whole ? run_phases(q, op) : run_cut(q, op);
}
