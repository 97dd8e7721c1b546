/* Convolutions: the choice of a way for each (winograd.c, direct.c, a product of gathered pixels),
 * and what these share. */
#include "conv.h"

#include <string.h>

static const float zeros[CPU_KC] = {0};

const float *conv_pixel(const sdb_conv2d *op, int n, int y, int x, int c) {
    const sdb_tensor *t = &op->x;
    int up = op->upsample ? 1 : 0;
    int h = up ? op->y.h : t->h, w = up ? op->y.w : t->w;
    if (y < 0 || x < 0 || y >= h || x >= w)
        return zeros;
    int64_t at = ((int64_t)n * t->h + (y >> up)) * t->w + (x >> up);
    return (const float *)t->data + at * t->ld + c;
}

void conv_bias(const sdb_conv2d *op, int nr, int panel, int n, float *add) {
    const sdb_weight *w = op->weight;
    int first = panel * nr, cols = w->n - first < nr ? w->n - first : nr;
    if (w->bias)
        memcpy(add, w->bias + first, (size_t)nr * sizeof *add);
    else
        memset(add, 0, (size_t)nr * sizeof *add);
    if (op->emb.c > 0) {
        const float *emb = (const float *)op->emb.data + n * op->emb.ld + first;
        for (int j = 0; j < cols; j++)
            add[j] += emb[j];
    }
}

void conv_store(const sdb_conv2d *op, const cpu_kernels *k, int panel, const float *add, int n,
                int y, int x, int rows, const float *c) {
    int first = panel * k->nr, cols = op->y.c - first < k->nr ? op->y.c - first : k->nr;
    int64_t at = ((int64_t)n * op->y.h + y) * op->y.w + x;
    cpu_epilogue e = {
        .bias = add,
        .y = (float *)op->y.data + at * op->y.ld + first,
        .y_ld = (size_t)op->y.ld,
        .act = op->act,
        .scale = op->scale,
    };
    if (op->residual.c > 0) {
        e.residual = (const float *)op->residual.data + at * op->residual.ld + first;
        e.residual_ld = (size_t)op->residual.ld;
    }
    k->epilogue(&e, rows, cols, c, (size_t)k->nr);
}

/* Vector operations for each input channel: Winograd has 36 for a tile and vector of outputs, about
 * 120 more to transform the vector's weights, and 16 to transform a tile's input, which all outputs
 * share; it transforms whole vectors of channels, so it needs 16. */
static bool winograd_is_better(const sdb_conv2d *op, int nr) {
    if (op->stride != 1 || op->x.c < 16)
        return false;
    int64_t tiles = (int64_t)op->y.n * ((op->y.h + 3) / 4) * ((op->y.w + 3) / 4);
    int64_t pixels = (int64_t)op->y.n * op->y.h * op->y.w;
    int64_t vectors = (op->y.c + nr - 1) / nr * 2;
    return vectors * (36 * tiles + 120) + 16 * tiles < vectors * (10 * pixels + 20);
}

sd_status cpu_conv2d(sdb_queue *q, const sdb_conv2d *op) {
    const sdb_host *host = q->dev->host;
    if (op->x.type != SDB_F32 || op->y.type != SDB_F32) {
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "the cpu backend convolves float32 only");
    }
    return winograd_is_better(op, q->dev->k->nr) ? conv_winograd(q, op) : conv_direct(q, op);
}
