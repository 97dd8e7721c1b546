/* A linear layer as a cuda_gemm of one tap. */
#include "gemm.h"

#include <string.h>

extern "C" sd_status cuda_linear(sdb_queue *q, const sdb_linear *op) {
    const sdb_weight *w = op->weight;
    if (op->y.type != op->x.type || w->type != op->x.type ||
        (op->residual.c > 0 && op->residual.type != op->x.type))
        return cuda_refuse_types(q, "linear", op->x.type, op->y.type);
    cuda_gemm g;
    memset(&g, 0, sizeof g);
    g.x = op->x.data;
    g.type = op->x.type;
    g.n = g.h = 1; /* pixels and images follow each other without gaps */
    g.w = op->x.n * op->x.h * op->x.w;
    g.c = op->x.c;
    g.x_ld = op->x.ld;
    g.oh = 1;
    g.ow = g.w;
    g.kh = g.kw = g.stride = g.phases = g.y_step = 1;
    g.weight = w->data;
    g.n_rows = w->n;
    g.k = w->k;
    g.y = op->y.data;
    g.y_ld = op->y.ld;
    g.y_h = 1;
    g.y_w = g.w;
    g.n_out = w->out;
    g.bias = w->bias;
    if (op->residual.c > 0) {
        g.residual = op->residual.data;
        g.residual_ld = op->residual.ld;
    }
    g.act = op->act;
    g.geglu = w->kind == SDB_WEIGHT_GEGLU;
    g.scale = op->scale;
    g.stats = (float2 *)op->stats.data;
    g.stats_pixels = op->y.h * op->y.w;
    return cuda_gemm_run(q, &g, "linear");
}
