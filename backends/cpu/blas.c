/*
 * y = scale * act(x W^T + bias) + residual by OpenBLAS, for processors that have no kernels of our
 * own: the portable code is plain C, and OpenBLAS has tuned kernels for most of what it runs on.
 *
 * It is opened when the first large product comes, and nowhere else: at load it would start
 * threads, take address space and thread-local memory of every host (OpenBLAS#5289). Without enough
 * address space it waits for ever, so it is then left alone. Where there is none, products go the
 * way of the small ones.
 *
 * A block of panels at a time is widened to a float32 matrix, multiplied by one call from the
 * calling thread (OpenBLAS brings its own threads, whose number is the host's to choose), and
 * finished by the same epilogue as elsewhere. Results do not depend on the context's threads; they
 * may depend on OpenBLAS's.
 */
#include "cpu.h"
#include "kernels.h"

#include <string.h>

/* cblas.h's, with 32-bit integers; libraries with 64-bit ones have other names. */
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111 };
typedef void (*sgemm_fn)(int order, int transpose_a, int transpose_b, int m, int n, int k,
                         float alpha, const float *a, int lda, const float *b, int ldb, float beta,
                         float *c, int ldc);

static const char *const libraries[] = {"libopenblas.so.0", "libopenblas.so", "libopenblas.dylib"};

/* For each core OpenBLAS makes a thread with a buffer, and the C library a stack and an arena. */
#define ROOM (sizeof(void *) > 4 ? (size_t)320 << 20 : (size_t)48 << 20)

static const char no_sgemm[1]; /* its address: there is none */

static void *look_for_sgemm(const sdb_host *host) {
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        void *found = host->find_function(host->user, libraries[i], "cblas_sgemm", ROOM);
        if (found) {
            host->log(host->user, SD_LOG_LEVEL_INFO, "large products by %s", libraries[i]);
            return found;
        }
    }
    host->log(host->user, SD_LOG_LEVEL_WARN,
              "OpenBLAS (%s) was not found, or there are too few addresses for it: products take "
              "the portable code, which is several times slower",
              libraries[0]);
    return (void *)no_sgemm;
}

/* Threads that come first at once each look, and find the same. */
static sgemm_fn find_sgemm(sdb_device *dev) {
    sgemm_fn fn = NULL;
    void *found = __atomic_load_n(&dev->sgemm, __ATOMIC_RELAXED);
    if (!found) {
        found = look_for_sgemm(dev->host);
        __atomic_store_n(&dev->sgemm, found, __ATOMIC_RELAXED);
    }
    if (found != (void *)no_sgemm)
        memcpy(&fn, &found, sizeof fn);
    return fn;
}

enum {
    BLOCK_COLUMNS = 512,
    ROWS_OF_TASK = 32,
};

typedef struct blas_job {
    const cpu_kernels *k;
    const sdb_linear *op;
    size_t rows, depth;
    int columns, panel_columns; /* of y */
    int panel, panels;          /* the present block */
    size_t ld;                  /* of b and c: all columns of a block */
    float *b, *c;
} blas_job;

static void widen_task(void *arg, int task, int worker) {
    const blas_job *job = arg;
    const sdb_weight *w = job->op->weight;
    size_t nr = (size_t)job->k->nr, element = w->type == SDB_F32 ? 4 : 2;
    const uint8_t *src =
        (const uint8_t *)w->data + (size_t)(job->panel + task) * job->depth * nr * element;
    float *dst = job->b + (size_t)task * nr;
    (void)worker;
    for (size_t i = 0; i < job->depth; i++)
        job->k->widen[w->type](dst + i * job->ld, src + i * nr * element, nr);
}

static void epilogue_task(void *arg, int task, int worker) {
    const blas_job *job = arg;
    const sdb_linear *op = job->op;
    size_t row = (size_t)task * ROWS_OF_TASK, nr = (size_t)job->k->nr;
    size_t left = job->rows - row;
    int rows = left < ROWS_OF_TASK ? (int)left : ROWS_OF_TASK;
    (void)worker;
    for (int p = 0; p < job->panels; p++) {
        int column = (job->panel + p) * job->panel_columns, cols = job->columns - column;
        cpu_epilogue e = {
            .bias = op->weight->bias ? op->weight->bias + (size_t)(job->panel + p) * nr : NULL,
            .y = (float *)op->y.data + row * (size_t)op->y.ld + column,
            .y_ld = (size_t)op->y.ld,
            .act = op->act,
            .geglu = op->weight->kind == SDB_WEIGHT_GEGLU,
            .scale = op->scale,
        };
        if (op->residual.c) {
            e.residual = (const float *)op->residual.data + row * (size_t)op->residual.ld + column;
            e.residual_ld = (size_t)op->residual.ld;
        }
        job->k->epilogue(&e, rows, cols < job->panel_columns ? cols : job->panel_columns,
                         job->c + row * job->ld + (size_t)p * nr, job->ld);
    }
}

bool cpu_has_blas(sdb_device *dev) {
    return find_sgemm(dev) != NULL;
}

/* The product of a block goes to c first, since y may be the residual. */
sd_status cpu_linear_blas(sdb_queue *q, const sdb_linear *op) {
    const sdb_weight *w = op->weight;
    bool geglu = w->kind == SDB_WEIGHT_GEGLU;
    int nr = q->dev->k->nr;
    blas_job job = {
        .k = q->dev->k,
        .op = op,
        .rows = (size_t)op->x.n * (size_t)op->x.h * (size_t)op->x.w,
        .depth = (size_t)w->k,
        .columns = geglu ? w->n / 2 : w->n,
        .panel_columns = geglu ? nr / 2 : nr,
    };
    int all = cpu_divide_up(job.columns, job.panel_columns);
    int block = BLOCK_COLUMNS / nr < all ? BLOCK_COLUMNS / nr : all;
    job.ld = (size_t)block * (size_t)nr;
    job.b = cpu_scratch(q, (job.depth + job.rows) * job.ld * sizeof(float));
    if (!job.b)
        return q->planning ? SD_OK : SD_ERROR_MEMORY;
    job.c = job.b + job.depth * job.ld;
    for (job.panel = 0; job.panel < all; job.panel += block) {
        job.panels = all - job.panel < block ? all - job.panel : block;
        cpu_parallel(q, job.panels, widen_task, &job);
        find_sgemm(q->dev)(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, (int)job.rows, job.panels * nr,
                           (int)job.depth, 1.0f, op->x.data, (int)op->x.ld, job.b, (int)job.ld,
                           0.0f, job.c, (int)job.ld);
        cpu_parallel(q, cpu_divide_up(job.rows, ROWS_OF_TASK), epilogue_task, &job);
    }
    return SD_OK;
}
