/* 3x3 convolution as a cuda_gemm. */
#include "gemm.h"

#include <string.h>

static bool types_match(const sdb_conv2d *op) {
    sdb_type type = op->x.type;
    return op->y.type == type && op->weight->type == type &&
           (op->emb.c == 0 || op->emb.type == type) &&
           (op->residual.c == 0 || op->residual.type == type);
}

extern "C" sd_status cuda_conv2d(sdb_queue *q, const sdb_conv2d *op) {
    if (!types_match(op))
        return cuda_refuse_types(q, "conv2d", op->x.type, op->y.type);
    const sdb_weight *w = op->weight;
    cuda_gemm g;
    memset(&g, 0, sizeof g);
    g.x = op->x.data;
    g.type = op->x.type;
    g.n = op->x.n;
    g.h = op->x.h;
    g.w = op->x.w;
    g.c = op->x.c;
    g.x_ld = op->x.ld;
    g.stride = op->stride;
    g.phases = w->phases;
    if (op->upsample) { /* the pads are each phase's own */
        g.oh = op->x.h;
        g.ow = op->x.w;
        g.kh = g.kw = 2;
        g.y_step = 2;
    } else {
        g.oh = op->y.h;
        g.ow = op->y.w;
        g.kh = g.kw = 3;
        g.pad_y = g.pad_x = op->pad_before;
        g.y_step = 1;
    }
    g.weight = w->data;
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
    return cuda_gemm_run(q, &g, "conv2d");
}
