/*
 * 3x3 convolution as a matrix product with gathered rows, for stride 2, few channels and the
 * smallest images: for each tap and chunk of input channels, the part's input pixels are copied
 * side by side and multiplied with the tap's weights. No more than one such block exists.
 */
#include "conv.h"

#include <string.h>

enum {
    PART = 256,               /* output pixels of a task */
    GROUP = 4,                /* panels of a task, which share the gathered rows */
    FEW_TASKS = 16,           /* fewer tasks than this: smaller groups */
    FEW_CHANNELS = CPU_KC / 9 /* up to here one block holds all nine taps */
};

typedef struct direct {
    const sdb_conv2d *op;
    const cpu_kernels *k;
    int pixels, parts, panels, group;
    float *workers; /* a [part][CPU_KC], b [CPU_KC][nr], m [group][part][nr] */
    size_t a_size, b_size, m_size, worker_size;
} direct;

/* One block: taps x channels. Its row of A is [taps][c1 - c0]. */
typedef struct block {
    int tap0, tap1, c0, c1;
} block;

static void gather(const direct *d, block b, int from, int to, float *a) {
    const sdb_conv2d *op = d->op;
    size_t count = (size_t)(b.c1 - b.c0);
    for (int p = from; p < to; p++, a += CPU_KC) {
        int x = p % op->y.w, row = p / op->y.w, y = row % op->y.h, n = row / op->y.h;
        float *dst = a;
        for (int tap = b.tap0; tap < b.tap1; tap++, dst += count) {
            const float *src = conv_pixel(op, n, y * op->stride - !op->pad_end + tap / 3,
                                          x * op->stride - !op->pad_end + tap % 3, b.c0);
            memcpy(dst, src, count * sizeof *dst);
        }
    }
}

/* dst[taps][c1 - c0][nr] from the panel's [k][9][nr] */
static void widen_block(const direct *d, block b, int panel, float *dst) {
    const sdb_weight *w = d->op->weight;
    size_t nr = (size_t)d->k->nr, size = sdb_type_size(w->type);
    const uint8_t *src = (const uint8_t *)w->data + (size_t)panel * (size_t)w->k * 9 * nr * size;
    for (int tap = b.tap0; tap < b.tap1; tap++)
        for (int c = b.c0; c < b.c1; c++, dst += nr)
            d->k->widen[w->type](dst, src + ((size_t)c * 9 + (size_t)tap) * nr * size, nr);
}

/* Runs of pixels in one row of y. */
static void store_pixels(const direct *d, int panel, int from, int to, const float *m) {
    const sdb_conv2d *op = d->op;
    float add[CPU_MAX_NR];
    int image = -1;
    while (from < to) {
        int x = from % op->y.w, row = from / op->y.w, n = row / op->y.h;
        int run = op->y.w - x < to - from ? op->y.w - x : to - from;
        if (n != image) {
            image = n;
            conv_bias(op, d->k->nr, panel, n, add);
        }
        conv_store(op, d->k, panel, add, n, row % op->y.h, x, run, m);
        m += (size_t)run * (size_t)d->k->nr;
        from += run;
    }
}

static void direct_task(void *arg, int task, int worker) {
    const direct *d = arg;
    int part = task % d->parts, cin = d->op->x.c;
    int panel0 = task / d->parts * d->group;
    int panel1 = panel0 + d->group < d->panels ? panel0 + d->group : d->panels;
    int from = (int)((int64_t)d->pixels * part / d->parts);
    int to = (int)((int64_t)d->pixels * (part + 1) / d->parts);
    float *a = d->workers + (size_t)worker * d->worker_size;
    float *b = a + d->a_size, *m = b + d->b_size;
    int taps = cin <= FEW_CHANNELS ? 9 : 1;
    for (int chunk = 0; chunk < conv_n_chunks(cin); chunk++) {
        block k = {.c0 = conv_chunk(cin, chunk), .c1 = conv_chunk(cin, chunk + 1)};
        for (k.tap0 = 0; k.tap0 < 9; k.tap0 += taps) {
            k.tap1 = k.tap0 + taps;
            gather(d, k, from, to, a);
            for (int p = panel0; p < panel1; p++) {
                widen_block(d, k, p, b);
                d->k->conv_gemm(to - from, CPU_KC, a, b, taps * (k.c1 - k.c0),
                                m + (size_t)(p - panel0) * d->m_size, chunk + k.tap0 > 0);
            }
        }
    }
    for (int p = panel0; p < panel1; p++)
        store_pixels(d, p, from, to, m + (size_t)(p - panel0) * d->m_size);
}

sd_status conv_direct(sdb_queue *q, const sdb_conv2d *op) {
    const cpu_kernels *k = q->dev->k;
    direct d = {.op = op, .k = k, .pixels = op->y.n * op->y.h * op->y.w};
    d.parts = cpu_divide_up(d.pixels, PART);
    d.panels = cpu_divide_up(op->y.c, k->nr);
    int64_t group = (int64_t)d.parts * d.panels / FEW_TASKS;
    d.group = group < 1 ? 1 : group < GROUP ? (int)group : GROUP;
    d.a_size = (size_t)PART * CPU_KC;
    d.b_size = (size_t)CPU_KC * (size_t)k->nr;
    d.m_size = (size_t)PART * (size_t)k->nr;
    d.worker_size = d.a_size + d.b_size + GROUP * d.m_size;
    d.workers = cpu_scratch(q, (size_t)q->dev->n_threads * d.worker_size * sizeof(float));
    if (!d.workers)
        return q->planning ? SD_OK : SD_ERROR_MEMORY;
    cpu_parallel(q, cpu_divide_up(d.panels, d.group) * d.parts, direct_task, &d);
    return SD_OK;
}
