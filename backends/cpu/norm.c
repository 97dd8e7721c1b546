/* Group norms and layer norms: statistics in tasks by shape alone, then the kernels. */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { MAX_BLOCKS = 64, MIN_PIXELS = 32, LAYER_ROWS = 32 };

/* Pixels of an image are cut into blocks by its size only, so that sums are the same whatever the
 * number of threads. */
typedef struct group_norm {
    const sdb_group_norm *op;
    const cpu_kernels *k;
    int64_t pixels; /* of an image */
    int block, blocks;
    double *partial;             /* [n][blocks][groups][2]: sum, sum of squares */
    double *channels;            /* [workers][2][c] */
    float *mean, *scale, *shift; /* [n][c]; scale and shift include gamma and beta */
} group_norm;

static const float *pixel_of(const sdb_tensor *t, int64_t pixel) {
    return (const float *)t->data + pixel * t->ld;
}

static int rows_of(const group_norm *g, int block) {
    int64_t left = g->pixels - (int64_t)block * g->block;
    return left < g->block ? (int)left : g->block;
}

static void sums_task(void *arg, int task, int worker) {
    const group_norm *g = arg;
    const sdb_tensor *x = &g->op->x;
    int image = task / g->blocks, block = task % g->blocks, c = x->c, groups = g->op->groups;
    double *sum = g->channels + (size_t)worker * 2 * (size_t)c, *squares = sum + c;
    memset(sum, 0, 2 * (size_t)c * sizeof *sum);
    const float *first = pixel_of(x, image * g->pixels + (int64_t)block * g->block);
    g->k->channel_sums(sum, squares, first, (size_t)x->ld, rows_of(g, block), c);
    double *out = g->partial + (size_t)task * 2 * (size_t)groups;
    for (int i = 0; i < groups; i++, out += 2) {
        out[0] = out[1] = 0.0;
        for (int j = c / groups * i; j < c / groups * (i + 1); j++) {
            out[0] += sum[j];
            out[1] += squares[j];
        }
    }
}

/* From a group's sums to its channels' numbers. y = (x - mean) scale + shift with the mean rounded
 * to float; what the rounding took is in shift. */
static void finish_group(const group_norm *g, int image, int group) {
    const sdb_group_norm *op = g->op;
    int size = op->x.c / op->groups;
    double sum = 0.0, squares = 0.0, count = (double)g->pixels * size;
    for (int b = 0; b < g->blocks; b++) {
        size_t at = ((size_t)image * (size_t)g->blocks + (size_t)b) * (size_t)op->groups;
        const double *p = g->partial + (at + (size_t)group) * 2;
        sum += p[0];
        squares += p[1];
    }
    double mean = sum / count, variance = squares / count - mean * mean;
    double rstd = 1.0 / sqrt((variance > 0.0 ? variance : 0.0) + (double)op->eps);
    const float *gamma = op->weight->data, *beta = op->weight->bias;
    for (int j = size * group; j < size * (group + 1); j++) {
        size_t at = (size_t)image * (size_t)op->x.c + (size_t)j;
        double scale = rstd * (double)gamma[j];
        g->mean[at] = (float)mean;
        g->scale[at] = (float)scale;
        double rest = mean - (double)g->mean[at];
        g->shift[at] = (float)((beta ? (double)beta[j] : 0.0) - rest * scale);
    }
}

static void normalise_task(void *arg, int task, int worker) {
    const group_norm *g = arg;
    const sdb_group_norm *op = g->op;
    (void)worker;
    int image = task / g->blocks, block = task % g->blocks;
    int64_t first = image * g->pixels + (int64_t)block * g->block;
    size_t at = (size_t)image * (size_t)op->x.c;
    cpu_normalise n = {
        .x_ld = (size_t)op->x.ld,
        .y_ld = (size_t)op->y.ld,
        .c = op->x.c,
        .mean = g->mean + at,
        .scale = g->scale + at,
        .shift = g->shift + at,
        .silu = op->act == SDB_ACT_SILU,
    };
    g->k->normalise(&n, rows_of(g, block), (float *)op->y.data + first * op->y.ld,
                    pixel_of(&op->x, first));
}

sd_status cpu_group_norm(sdb_queue *q, const sdb_group_norm *op) {
    const sdb_host *host = q->dev->host;
    if (op->x.type != SDB_F32 || op->y.type != SDB_F32) {
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "the cpu backend normalises float32 only");
    }
    group_norm g = {.op = op, .k = q->dev->k, .pixels = (int64_t)op->x.h * op->x.w};
    int64_t block = cpu_divide_up(g.pixels, MAX_BLOCKS);
    g.block = block > MIN_PIXELS ? (int)block : MIN_PIXELS;
    g.blocks = cpu_divide_up(g.pixels, g.block);
    size_t tasks = (size_t)op->x.n * (size_t)g.blocks, c = (size_t)op->x.c;
    size_t partial = tasks * 2 * (size_t)op->groups;
    size_t channels = (size_t)q->dev->n_threads * 2 * c, values = (size_t)op->x.n * c;
    g.partial = cpu_scratch(q, (partial + channels) * sizeof(double) + 3 * values * sizeof(float));
    if (!g.partial)
        return q->planning ? SD_OK : SD_ERROR_MEMORY;
    g.channels = g.partial + partial;
    g.mean = (float *)(g.channels + channels);
    g.scale = g.mean + values;
    g.shift = g.scale + values;
    cpu_parallel(q, (int)tasks, sums_task, &g);
    for (int image = 0; image < op->x.n; image++)
        for (int group = 0; group < op->groups; group++)
            finish_group(&g, image, group);
    cpu_parallel(q, (int)tasks, normalise_task, &g);
    return SD_OK;
}

typedef struct layer_norm {
    const sdb_layer_norm *op;
    const cpu_kernels *k;
    int64_t pixels;
} layer_norm;

static void layer_task(void *arg, int task, int worker) {
    const layer_norm *l = arg;
    const sdb_layer_norm *op = l->op;
    (void)worker;
    int64_t from = (int64_t)task * LAYER_ROWS;
    int64_t to = from + LAYER_ROWS < l->pixels ? from + LAYER_ROWS : l->pixels;
    for (int64_t p = from; p < to; p++) {
        l->k->layer_norm((float *)op->y.data + p * op->y.ld, pixel_of(&op->x, p), op->x.c,
                         op->weight->data, op->weight->bias, op->eps);
    }
}

sd_status cpu_layer_norm(sdb_queue *q, const sdb_layer_norm *op) {
    const sdb_host *host = q->dev->host;
    if (op->x.type != SDB_F32 || op->y.type != SDB_F32) {
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "the cpu backend normalises float32 only");
    }
    if (q->planning)
        return SD_OK;
    layer_norm l = {op, q->dev->k, (int64_t)op->x.n * op->x.h * op->x.w};
    cpu_parallel(q, cpu_divide_up(l.pixels, LAYER_ROWS), layer_task, &l);
    return SD_OK;
}
