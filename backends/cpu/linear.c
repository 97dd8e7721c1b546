/*
 * y = scale * act(x W^T + bias) + residual as a blocked matrix product (Goto and van de Geijn
 * 2008).
 *
 * Output is cut into tiles of `mc` rows by `nc` panels; a tile is one task. How it is cut depends
 * on the number of threads, but no element does: its sum runs over blocks of `kc` in order. Within
 * a tile, for each `kc` columns of x: the rows of x are packed, then a panel's kc rows of weights
 * at a time are widened to float32 (in the first-level cache) and multiplied with all rows. Sums
 * over more than one block of k wait in scratch memory, because y may be the residual. Where
 * several tiles share rows of an x that is not large, x is packed once before.
 *
 * Where the processor has kernels of ours, OpenBLAS is not used: its thread count is process-wide
 * state that belongs to the host, its sums may depend on that count, and it would need the weights
 * in float32 and y's epilogue in a pass of its own. The portable code leaves large products to it
 * (blas.c).
 */
#include "cpu.h"
#include "kernels.h"

enum {
    BLAS_ROWS = 32,       /* from here on widening the weights pays */
    ROWS_OF_TILE = 252,   /* with KC_MAX floats each: a third of a 1 MB cache */
    KC_MAX = 320,         /* a panel's kc rows and a few rows of x stay in the first level */
    TILES_OF_THREAD = 12, /* wanted, for an even end */
    C_BYTES = 384 * 1024, /* scratch for sums over blocks of k */
    PANELS_OF_TILE = 20,
    SHARED_BYTES = 24 << 20, /* an x up to this size is packed once for all tiles */
    LINE = 64                /* bytes that one prefetch brings */
};

typedef struct linear_job {
    const cpu_kernels *k;
    const sdb_linear *op;
    const sdb_weight *w;
    size_t rows, depth; /* of x */
    int columns;        /* of y */
    int panels, panel_columns;
    size_t kc;
    int n_k;            /* blocks of k */
    int mc, nc;         /* rows and panels of a tile */
    int n_m, n_n;       /* tiles */
    float *shared;      /* x packed: [n_k][ceil(rows / mr)][kc][mr]; NULL: each tile packs */
    size_t shared_size; /* floats */
    uint8_t *scratch;
    size_t worker_size; /* bytes */
    size_t b_at, c_at;  /* floats from the start of a worker's scratch */
} linear_job;

static int min_int(int a, int b) {
    return a < b ? a : b;
}

static void plan_tiles(linear_job *job, int n_threads) {
    int mr = job->k->mr, nr = job->k->nr;
    job->n_k = cpu_divide_up((int64_t)job->depth, KC_MAX);
    job->kc = (size_t)cpu_divide_up((int64_t)job->depth, job->n_k);
    job->n_m = cpu_divide_up((int64_t)job->rows, ROWS_OF_TILE);
    job->mc = cpu_divide_up(cpu_divide_up((int64_t)job->rows, job->n_m), mr) * mr;
    job->n_m = cpu_divide_up((int64_t)job->rows, job->mc);

    int nc_max = PANELS_OF_TILE;
    if (job->n_k > 1) {
        nc_max = min_int(nc_max, C_BYTES / (int)sizeof(float) / (job->mc * nr));
        nc_max = nc_max < 1 ? 1 : nc_max;
    }
    job->n_n = cpu_divide_up(job->panels, nc_max);
    int wanted = TILES_OF_THREAD * min_int(n_threads, 256);
    if (job->n_m * job->n_n < wanted)
        job->n_n = min_int(cpu_divide_up(wanted, job->n_m), job->panels);
    size_t packed_rows = (size_t)cpu_divide_up((int64_t)job->rows, mr) * (size_t)mr;
    if (job->n_n > 1 && packed_rows * job->depth <= SHARED_BYTES / sizeof(float))
        job->shared_size = packed_rows * job->depth;
    else
        job->n_n = min_int(job->n_n, cpu_divide_up(job->panels, 4)); /* each tile packs x anew */
    job->nc = cpu_divide_up(job->panels, job->n_n);
    job->n_n = cpu_divide_up(job->panels, job->nc);
}

static void plan_scratch(linear_job *job) {
    size_t mc = (size_t)job->mc, nr = (size_t)job->k->nr;
    size_t a = job->shared_size ? 0 : mc * job->kc;
    size_t c = job->n_k > 1 ? mc * (size_t)job->nc * nr : (size_t)job->k->mr * nr;
    job->b_at = (a + 15) / 16 * 16;
    job->c_at = job->b_at + job->kc * nr;
    job->worker_size = ((job->c_at + c) * sizeof(float) + 4095) / 4096 * 4096;
    job->shared_size = (job->shared_size + 1023) / 1024 * 1024;
}

static size_t block_depth(const linear_job *job, int block) {
    size_t k0 = (size_t)block * job->kc;
    return job->depth - k0 < job->kc ? job->depth - k0 : job->kc;
}

/* Packs `rows` rows of x from `row` on, the columns of one block of k. */
static void pack(const linear_job *job, float *dst, size_t row, int rows, int block) {
    int mr = job->k->mr;
    size_t ld = (size_t)job->op->x.ld, kc = block_depth(job, block);
    const float *x = (const float *)job->op->x.data + row * ld + (size_t)block * job->kc;
    for (int i = 0; i < rows; i += mr)
        job->k->pack_rows(dst + (size_t)i * kc, x + (size_t)i * ld, ld, min_int(mr, rows - i), kc);
}

/* The place in job->shared of row `row` (a multiple of mr). */
static float *shared_at(const linear_job *job, size_t row, int block) {
    size_t mr = (size_t)job->k->mr,
           rows = (size_t)cpu_divide_up((int64_t)job->rows, (int64_t)mr) * mr;
    return job->shared + (size_t)block * job->kc * rows + row * block_depth(job, block);
}

static void pack_task(void *arg, int task, int worker) {
    const linear_job *job = arg;
    int mr = job->k->mr;
    size_t row = (size_t)task * (size_t)mr;
    int rows = job->rows - row < (size_t)mr ? (int)(job->rows - row) : mr;
    (void)worker;
    for (int block = 0; block < job->n_k; block++)
        pack(job, shared_at(job, row, block), row, rows, block);
}

static cpu_epilogue epilogue_at(const linear_job *job, size_t row, int panel) {
    const sdb_linear *op = job->op;
    size_t column = (size_t)panel * (size_t)job->panel_columns;
    cpu_epilogue e = {
        .y = (float *)op->y.data + row * (size_t)op->y.ld + column,
        .y_ld = (size_t)op->y.ld,
        .act = op->act,
        .geglu = job->w->kind == SDB_WEIGHT_GEGLU,
        .scale = op->scale,
    };
    if (job->w->bias)
        e.bias = job->w->bias + (size_t)panel * (size_t)job->k->nr;
    if (op->residual.c) {
        e.residual = (const float *)op->residual.data + row * (size_t)op->residual.ld + column;
        e.residual_ld = (size_t)op->residual.ld;
    }
    return e;
}

/* y's lines and the residual's arrive while the product is computed. Inlined by force: GCC 12 takes
 * a function that only prefetches for one without effect, and drops the call. */
__attribute__((always_inline)) static inline void prefetch_output(const cpu_epilogue *e, int rows,
                                                                  int columns) {
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j += LINE / (int)sizeof(float)) {
            __builtin_prefetch(e->y + (size_t)i * e->y_ld + j);
            if (e->residual && e->residual != e->y)
                __builtin_prefetch(e->residual + (size_t)i * e->residual_ld + j);
        }
    }
}

typedef struct linear_tile {
    size_t row; /* first */
    int rows;
    int panel, panels;
    float *a, *b, *c;
} linear_tile;

/* Weights of panel `panel`, rows of one block of k. */
static const uint8_t *panel_at(const linear_job *job, int panel, int block) {
    size_t at = (size_t)panel * job->depth + (size_t)block * job->kc;
    return (const uint8_t *)job->w->data +
           at * (size_t)job->k->nr * (job->w->type == SDB_F32 ? 4 : 2);
}

/* Multiplies one panel with all rows of the tile; the last block goes on to y. Part by part, the
 * next panel's weights are called into the second-level cache. */
static void multiply_panel(const linear_job *job, const linear_tile *t, int p, int block) {
    const cpu_kernels *k = job->k;
    size_t nr = (size_t)k->nr, kc = block_depth(job, block);
    int mr = k->mr,
        columns = min_int(job->panel_columns, job->columns - (t->panel + p) * job->panel_columns);
    const uint8_t *w = panel_at(job, t->panel + p, block);
    const uint8_t *next = p + 1 < t->panels ? panel_at(job, t->panel + p + 1, block) : NULL;
    size_t bytes = kc * nr * (job->w->type == SDB_F32 ? 4 : 2);
    size_t part = bytes / (size_t)cpu_divide_up(t->rows, mr) + 1;

    k->widen[job->w->type](t->b, w, kc * nr);
    for (int i = 0; i < t->rows; i += mr) {
        int rows = min_int(mr, t->rows - i);
        float *c = job->n_k == 1 ? t->c : t->c + ((size_t)p * (size_t)job->mc + (size_t)i) * nr;
        bool last = block == job->n_k - 1;
        cpu_epilogue e = epilogue_at(job, t->row + (size_t)i, t->panel + p);
        if (last)
            prefetch_output(&e, rows, columns);
        for (size_t n = 0; next && n < part; n += LINE)
            __builtin_prefetch(next + (size_t)(i / mr) * part + n, 0, 2);
        k->gemm(rows, kc, t->a + (size_t)i * kc, (size_t)mr, t->b, c, nr, block > 0);
        if (last)
            k->epilogue(&e, rows, columns, c, nr);
    }
}

static void linear_task(void *arg, int task, int worker) {
    const linear_job *job = arg;
    float *scratch = (float *)(void *)(job->scratch + (size_t)worker * job->worker_size);
    linear_tile t = {
        .row = (size_t)(task / job->n_n) * (size_t)job->mc,
        .panel = task % job->n_n * job->nc,
        .a = scratch,
        .b = scratch + job->b_at,
        .c = scratch + job->c_at,
    };
    size_t rows = job->rows - t.row;
    t.rows = rows < (size_t)job->mc ? (int)rows : job->mc;
    t.panels = min_int(job->panels - t.panel, job->nc);
    for (int block = 0; block < job->n_k; block++) {
        if (job->shared)
            t.a = shared_at(job, t.row, block);
        else
            pack(job, t.a, t.row, t.rows, block);
        for (int p = 0; p < t.panels; p++)
            multiply_panel(job, &t, p, block);
    }
}

static bool is_served(const sdb_linear *op) {
    bool kind = op->weight->kind == SDB_WEIGHT_LINEAR || op->weight->kind == SDB_WEIGHT_GEGLU;
    bool types = op->x.type == SDB_F32 && op->y.type == SDB_F32 &&
                 (!op->residual.c || op->residual.type == SDB_F32);
    return kind && types && op->x.c == op->weight->k;
}

sd_status cpu_linear(sdb_queue *q, const sdb_linear *op) {
    const sdb_host *host = q->dev->host;
    const sdb_weight *w = op->weight;
    if (!is_served(op)) {
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "cpu: linear takes float32 activations and a linear weight of x's %d "
                           "channels",
                           op->x.c);
    }
    bool geglu = w->kind == SDB_WEIGHT_GEGLU;
    int nr = q->dev->k->nr;
    linear_job job = {
        .k = q->dev->k,
        .op = op,
        .w = w,
        .rows = (size_t)op->x.n * (size_t)op->x.h * (size_t)op->x.w,
        .depth = (size_t)w->k,
        .columns = geglu ? w->n / 2 : w->n,
        .panel_columns = geglu ? nr / 2 : nr,
    };
    if (job.rows == 0)
        return SD_OK;
#ifdef SD_USE_OPENBLAS
    if (job.k == &cpu_kernels_portable && job.rows >= BLAS_ROWS && cpu_has_blas(q->dev))
        return cpu_linear_blas(q, op);
#endif
    job.panels = cpu_divide_up(job.columns, job.panel_columns);
    plan_tiles(&job, q->dev->n_threads);
    plan_scratch(&job);
    size_t shared_bytes = job.shared_size * sizeof(float);
    uint8_t *scratch = cpu_scratch(q, shared_bytes + job.worker_size * (size_t)q->dev->n_threads);
    if (!scratch)
        return q->planning ? SD_OK : SD_ERROR_MEMORY;
    job.scratch = scratch + shared_bytes;
    if (job.shared_size) {
        job.shared = (float *)(void *)scratch;
        cpu_parallel(q, cpu_divide_up((int64_t)job.rows, job.k->mr), pack_task, &job);
    }
    cpu_parallel(q, job.n_m * job.n_n, linear_task, &job);
    return SD_OK;
}
