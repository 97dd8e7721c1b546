/*
 * y = scale * act(x W^T + bias) + residual as a blocked matrix product (Goto and van de Geijn 2008).
 *
 * Output is cut into tiles of `mc` rows by `nc` panels, by shape alone; a tile is one task. Within
 * a tile, for each `kc` columns of x: the rows of x are packed once, then a panel's kc rows of
 * weights at a time are widened to float32 (in the first-level cache) and multiplied with all
 * rows. Sums over more than one block of k wait in scratch memory, because y may be the residual.
 *
 * OpenBLAS is not used here: its thread count is process-wide state that belongs to the host, its
 * sums depend on that count, and it would need the weights in float32 and y's epilogue in a pass
 * of its own.
 */
#include "cpu.h"
#include "kernels.h"

enum {
    ROWS_OF_TILE = 168,    /* with KC_MAX floats each: a third of a 1 MB second-level cache */
    KC_MAX = 256,          /* a panel's kc rows and a few rows of x stay in the first level */
    TILES_WANTED = 64,     /* for many threads, and for an even end */
    C_BYTES = 256 * 1024,  /* scratch for sums over blocks of k */
    PANELS_OF_TILE = 20
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
    uint8_t *scratch;
    size_t worker_size; /* bytes */
    size_t b_at, c_at;  /* floats from the start of a worker's scratch */
} linear_job;

static int div_up(int64_t a, int64_t b) {
    return (int)((a + b - 1) / b);
}

static void plan_tiles(linear_job *job) {
    int mr = job->k->mr, nr = job->k->nr;
    job->n_k = div_up((int64_t)job->depth, KC_MAX);
    job->kc = (size_t)div_up((int64_t)job->depth, job->n_k);
    job->n_m = div_up((int64_t)job->rows, ROWS_OF_TILE);
    job->mc = div_up(div_up((int64_t)job->rows, job->n_m), mr) * mr;
    job->n_m = div_up((int64_t)job->rows, job->mc);

    int nc_max = PANELS_OF_TILE;
    if (job->n_k > 1) {
        int fit = C_BYTES / (int)sizeof(float) / (job->mc * nr);
        nc_max = fit < 1 ? 1 : fit < nc_max ? fit : nc_max;
    }
    job->n_n = div_up(job->panels, nc_max);
    if (job->n_m * job->n_n < TILES_WANTED) {
        job->n_n = div_up(TILES_WANTED, job->n_m);
    }
    job->n_n = job->n_n < job->panels ? job->n_n : job->panels;
    job->nc = div_up(job->panels, job->n_n);
    job->n_n = div_up(job->panels, job->nc);
}

static void plan_scratch(linear_job *job) {
    size_t mc = (size_t)job->mc, nr = (size_t)job->k->nr;
    size_t a = mc * job->kc;
    size_t c = job->n_k > 1 ? mc * (size_t)job->nc * nr : (size_t)job->k->mr * nr;
    job->b_at = (a + 15) / 16 * 16;
    job->c_at = job->b_at + job->kc * nr;
    job->worker_size = ((job->c_at + c) * sizeof(float) + 4095) / 4096 * 4096;
}

static void finish_tile(const linear_job *job, size_t row, int rows, int panel, const float *c) {
    const sdb_linear *op = job->op;
    size_t column = (size_t)panel * (size_t)job->panel_columns;
    int columns = job->columns - (int)column;
    columns = columns < job->panel_columns ? columns : job->panel_columns;
    cpu_epilogue e = {
        .y = (float *)op->y.data + row * (size_t)op->y.ld + column,
        .y_ld = (size_t)op->y.ld,
        .act = op->act,
        .geglu = job->w->kind == SDB_WEIGHT_GEGLU,
        .scale = op->scale,
    };
    if (job->w->bias) {
        e.bias = job->w->bias + (size_t)panel * (size_t)job->k->nr;
    }
    if (op->residual.c) {
        e.residual = (const float *)op->residual.data + row * (size_t)op->residual.ld + column;
        e.residual_ld = (size_t)op->residual.ld;
    }
    job->k->epilogue(&e, rows, columns, c, (size_t)job->k->nr);
}

typedef struct linear_tile {
    size_t row;      /* first */
    int rows;
    int panel, panels;
    float *a, *b, *c;
} linear_tile;

/* Adds k0 .. k0 + kc to the tile's sums; the last block goes on to y. */
static void multiply_block(const linear_job *job, const linear_tile *t, int block) {
    const cpu_kernels *k = job->k;
    size_t nr = (size_t)k->nr, mr = (size_t)k->mr, k0 = (size_t)block * job->kc;
    size_t kc = job->depth - k0 < job->kc ? job->depth - k0 : job->kc;
    const float *x = (const float *)job->op->x.data + t->row * (size_t)job->op->x.ld + k0;
    const uint8_t *w = job->w->data;
    size_t type_size = job->w->type == SDB_F32 ? 4 : 2;
    bool last = block == job->n_k - 1;

    for (int i = 0; i < t->rows; i += (int)mr) {
        int rows = t->rows - i < (int)mr ? t->rows - i : (int)mr;
        k->pack_rows(t->a + (size_t)i * kc, x + (size_t)i * (size_t)job->op->x.ld,
                     (size_t)job->op->x.ld, rows, kc);
    }
    for (int p = 0; p < t->panels; p++) {
        size_t at = ((size_t)(t->panel + p) * job->depth + k0) * nr;
        k->widen[job->w->type](t->b, w + at * type_size, kc * nr);
        for (int i = 0; i < t->rows; i += (int)mr) {
            int rows = t->rows - i < (int)mr ? t->rows - i : (int)mr;
            float *c = t->c;
            if (job->n_k > 1) {
                c += ((size_t)p * (size_t)job->mc + (size_t)i) * nr;
            }
            k->gemm(rows, kc, t->a + (size_t)i * kc, mr, t->b, c, nr, block > 0);
            if (last) {
                finish_tile(job, t->row + (size_t)i, rows, t->panel + p, c);
            }
        }
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
    t.panels = job->panels - t.panel < job->nc ? job->panels - t.panel : job->nc;
    for (int block = 0; block < job->n_k; block++) {
        multiply_block(job, &t, block);
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
    if (job.rows == 0) {
        return SD_OK;
    }
    job.panels = div_up(job.columns, job.panel_columns);
    plan_tiles(&job);
    plan_scratch(&job);
    job.scratch = cpu_scratch(q, job.worker_size * (size_t)q->dev->n_threads);
    if (!job.scratch) {
        return q->planning ? SD_OK : SD_ERROR_MEMORY;
    }
    cpu_parallel(q, job.n_m * job.n_n, linear_task, &job);
    return SD_OK;
}
