/*
 * 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3); kernels/winograd.h has the transforms.
 *
 * The transformed input of a block of tiles is shared by all output panels and should stay in the
 * last-level cache. Weights are transformed on the fly, a chunk of channels at a time, into the
 * worker's own cache: a transformed copy would take 4 times the memory of the weights, or 8 times
 * that of float16. The order of sums in every element (chunk by chunk, channels upwards) depends
 * on the number of channels only, so the cut into tasks does not show in the result.
 */
#include "conv.h"

enum {
    BLOCK_BYTES = 16 << 20, /* of transformed input */
    MIN_BLOCK = 96,         /* tiles: 36 * 96 products hide the transform of a weight */
    PART = 256,             /* tiles of a task */
    INPUT_PART = 16         /* tiles of a task that transforms input */
};

typedef struct winograd {
    const sdb_conv2d *op;
    const cpu_kernels *k;
    int tiles_y, tiles_x;
    int first, tiles; /* the present block */
    int parts;        /* of the block, for panel_task */
    int chunks;       /* of input channels */
    int lda;          /* floats of a chunk in v */
    float *v;         /* [chunks][36][block][lda] */
    float *workers;   /* u, m */
    size_t v_stride, u_stride, m_stride, worker_size;
} winograd;

/* Strides between frequencies, in floats: 64 bytes off the powers of two, which would all meet in
 * one set of the cache. */
static size_t frequency_stride(size_t rows, size_t row) {
    return rows * row + 16;
}

typedef struct tile_place {
    int n, y, x; /* of the first output */
} tile_place;

static tile_place place_of(const winograd *w, int tile) {
    int row = tile / w->tiles_x;
    return (tile_place){row / w->tiles_y, row % w->tiles_y * 4, tile % w->tiles_x * 4};
}

static void input_task(void *arg, int task, int worker) {
    const winograd *w = arg;
    const sdb_conv2d *op = w->op;
    (void)worker;
    int chunk = task % w->chunks, from = task / w->chunks * INPUT_PART;
    int to = from + INPUT_PART < w->tiles ? from + INPUT_PART : w->tiles;
    int c0 = conv_chunk(op->x.c, chunk), c1 = conv_chunk(op->x.c, chunk + 1);
    float *v = w->v + (size_t)chunk * 36 * w->v_stride;
    for (int t = from; t < to; t++) {
        tile_place p = place_of(w, w->first + t);
        const float *pixel[36];
        for (int i = 0; i < 36; i++) {
            pixel[i] =
                conv_pixel(op, p.n, p.y - !op->pad_end + i / 6, p.x - !op->pad_end + i % 6, c0);
        }
        w->k->winograd_input(pixel, c1 - c0, v + (size_t)t * (size_t)w->lda, w->v_stride);
    }
}

static int at_most_4(int n) {
    return n < 4 ? n : 4;
}

static void store_tiles(const winograd *w, int panel, int from, int to, const float *m) {
    const sdb_conv2d *op = w->op;
    float add[CPU_MAX_NR], out[16 * CPU_MAX_NR];
    int image = -1;
    for (int t = from; t < to; t++, m += w->k->nr) {
        tile_place p = place_of(w, w->first + t);
        if (p.n != image) {
            image = p.n;
            conv_bias(op, w->k->nr, panel, image, add);
        }
        w->k->winograd_output(m, w->m_stride, out);
        int rows = at_most_4(op->y.h - p.y), columns = at_most_4(op->y.w - p.x);
        for (int i = 0; i < rows; i++)
            conv_store(op, w->k, panel, add, p.n, p.y + i, p.x, columns, out + i * 4 * w->k->nr);
    }
}

static void panel_task(void *arg, int task, int worker) {
    const winograd *w = arg;
    const sdb_weight *weight = w->op->weight;
    int panel = task / w->parts, part = task % w->parts, cin = weight->k, nr = w->k->nr;
    int from = (int)((int64_t)w->tiles * part / w->parts);
    int to = (int)((int64_t)w->tiles * (part + 1) / w->parts);
    float *u = w->workers + (size_t)worker * w->worker_size, *m = u + 36 * w->u_stride;
    for (int chunk = 0; chunk < w->chunks; chunk++) {
        int c0 = conv_chunk(cin, chunk), kc = conv_chunk(cin, chunk + 1) - c0;
        size_t at = ((size_t)panel * (size_t)cin + (size_t)c0) * 9 * (size_t)nr;
        const uint8_t *g = (const uint8_t *)weight->data + at * sdb_type_size(weight->type);
        w->k->winograd_weights(weight->type, g, kc, u, w->u_stride);
        const float *v = w->v + (size_t)chunk * 36 * w->v_stride + (size_t)from * (size_t)w->lda;
        for (size_t f = 0; f < 36; f++) {
            w->k->conv_gemm(to - from, w->lda, v + f * w->v_stride, u + f * w->u_stride, kc,
                            m + f * w->m_stride, chunk > 0);
        }
    }
    store_tiles(w, panel, from, to, m);
}

sd_status conv_winograd(sdb_queue *q, const sdb_conv2d *op) {
    const cpu_kernels *k = q->dev->k;
    winograd w = {.op = op, .k = k, .chunks = conv_n_chunks(op->x.c)};
    w.tiles_y = cpu_divide_up(op->y.h, 4);
    w.tiles_x = cpu_divide_up(op->y.w, 4);
    int total = op->y.n * w.tiles_y * w.tiles_x;
    int fitting = BLOCK_BYTES / (36 * (int)sizeof(float)) / op->x.c;
    int blocks = cpu_divide_up(total, fitting > MIN_BLOCK ? fitting : MIN_BLOCK);
    int block = cpu_divide_up(total, blocks);
    w.parts = cpu_divide_up(block, PART);

    w.lda = op->x.c <= w.chunks * CPU_KC_SMALL ? CPU_KC_SMALL : CPU_KC;
    w.v_stride = frequency_stride((size_t)block, (size_t)w.lda);
    w.u_stride = frequency_stride((size_t)w.lda, (size_t)k->nr);
    w.m_stride = frequency_stride((size_t)cpu_divide_up(block, w.parts), (size_t)k->nr);
    w.worker_size = 36 * (w.u_stride + w.m_stride);
    size_t v_size = (size_t)w.chunks * 36 * w.v_stride;
    w.v = cpu_scratch(q, (v_size + (size_t)q->dev->n_threads * w.worker_size) * sizeof(float));
    if (!w.v)
        return q->planning ? SD_OK : SD_ERROR_MEMORY;
    w.workers = w.v + v_size;
    for (w.first = 0; w.first < total; w.first += block) {
        w.tiles = total - w.first < block ? total - w.first : block;
        cpu_parallel(q, cpu_divide_up(w.tiles, INPUT_PART) * w.chunks, input_task, &w);
        cpu_parallel(q, cpu_divide_up(op->y.c, k->nr) * w.parts, panel_task, &w);
    }
    return SD_OK;
}
