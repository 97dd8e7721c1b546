/* Combinations, activations, embeddings and posteriors, run by run over rows that lie together. */
#include "kernels.h"

#include <math.h>
#include <string.h>

enum { RUN = 1024, TASK_RUNS = 16 }; /* elements at a time; runs of a task */

/* The widest rows in which all of these tensors are contiguous: an image where they are packed, or
 * else a pixel. */
typedef struct rows {
    int64_t n_images, per_image; /* rows */
    int64_t width;               /* elements of a row */
    bool packed;
} rows;

static rows rows_of(const sdb_tensor *y, const sdb_tensor *x, int n_x) {
    bool packed = y->ld == y->c;
    for (int i = 0; i < n_x; i++)
        packed = packed && x[i].ld == x[i].c;
    int64_t pixels = (int64_t)y->h * y->w;
    return packed ? (rows){y->n, 1, pixels * y->c, true} : (rows){y->n, pixels, y->c, false};
}

/* Where row `row` of image `n` begins, in elements; n = 1 is broadcast. */
static int64_t row_offset(const rows *r, const sdb_tensor *t, int64_t n, int64_t row) {
    int64_t image = t->n == 1 ? 0 : n, pixels = (int64_t)t->h * t->w;
    return (image * pixels + (r->packed ? 0 : row)) * t->ld;
}

static uint8_t *address(const sdb_tensor *t, int64_t element) {
    return (uint8_t *)t->data + element * (int64_t)sdb_type_size(t->type);
}

/* A task is TASK_RUNS runs of up to RUN elements. */
typedef struct runs {
    rows rows;
    int64_t per_row, total;
} runs;

static runs runs_of(const sdb_tensor *y, const sdb_tensor *x, int n_x) {
    runs r = {.rows = rows_of(y, x, n_x)};
    r.per_row = cpu_divide_up(r.rows.width, RUN);
    r.total = r.rows.n_images * r.rows.per_image * r.per_row;
    return r;
}

typedef struct run {
    int64_t image, row, first; /* element of the row */
    size_t count;
} run;

static run run_at(const runs *r, int64_t i) {
    int64_t row = i / r->per_row, first = i % r->per_row * RUN, left = r->rows.width - first;
    return (run){row / r->rows.per_image, row % r->rows.per_image, first,
                 (size_t)(left < RUN ? left : RUN)};
}

static uint8_t *run_address(const runs *r, const run *at, const sdb_tensor *t) {
    return address(t, row_offset(&r->rows, t, at->image, at->row) + at->first);
}

static void for_runs(sdb_queue *q, const runs *r, void (*fn)(void *, int, int), void *arg) {
    cpu_parallel(q, cpu_divide_up(r->total, TASK_RUNS), fn, arg);
}

static int64_t last_run(const runs *r, int task) {
    int64_t end = ((int64_t)task + 1) * TASK_RUNS;
    return end < r->total ? end : r->total;
}

static sd_status wrong_type(sdb_queue *q, const char *op, const sdb_tensor *t) {
    const sdb_host *host = q->dev->host;
    return host->error(host->user, SD_ERROR_UNSUPPORTED,
                       "the cpu backend's %s takes float tensors, not type %d", op, (int)t->type);
}

/* ------------------------------------------------------------------------------- combine */

/* Round to nearest, ties to even. NaN stays NaN. */
static uint16_t bf16_from(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static uint16_t f16_from(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    uint32_t sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x47800000u) /* 2^16 and more */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000u) { /* below 2^-14: the sum's last bits count 2^-24 */
        float sum;
        memcpy(&sum, &magnitude, sizeof sum);
        sum += 0.5f;
        uint32_t bits;
        memcpy(&bits, &sum, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    magnitude += 0xfff + (magnitude >> 13 & 1); /* may carry into infinity, as it should */
    return (uint16_t)(sign | (magnitude - (112u << 23)) >> 13);
}

static void narrow(void *dst, sdb_type type, const float *src, size_t n) {
    uint16_t *half = dst;
    for (size_t i = 0; i < n; i++)
        half[i] = type == SDB_F16 ? f16_from(src[i]) : bf16_from(src[i]);
}

typedef struct combine {
    const sdb_combine *op;
    const cpu_kernels *k;
    runs runs;
} combine;

static void combine_run(const combine *c, const run *at) {
    const sdb_combine *op = c->op;
    uint8_t *y = run_address(&c->runs, at, &op->y);
    if (op->n_terms == 1 && !op->coef.data && op->x[0].type == op->y.type) {
        memmove(y, run_address(&c->runs, at, &op->x[0]), at->count * sdb_type_size(op->y.type));
        return;
    }
    float sum[RUN], wide[RUN];
    for (int i = 0; i < op->n_terms; i++) {
        const void *x = run_address(&c->runs, at, &op->x[i]);
        if (op->x[i].type != SDB_F32) {
            c->k->widen[op->x[i].type](wide, x, at->count);
            x = wide;
        }
        float coef = op->coef.data ? ((const float *)op->coef.data)[i] : 1.0f;
        c->k->scale_add(sum, x, at->count, coef, i > 0);
    }
    if (op->y.type == SDB_F32)
        memcpy(y, sum, at->count * sizeof *sum);
    else
        narrow(y, op->y.type, sum, at->count);
}

static void combine_task(void *arg, int task, int worker) {
    const combine *c = arg;
    (void)worker;
    for (int64_t i = (int64_t)task * TASK_RUNS; i < last_run(&c->runs, task); i++) {
        run at = run_at(&c->runs, i);
        combine_run(c, &at);
    }
}

sd_status cpu_combine(sdb_queue *q, const sdb_combine *op) {
    const cpu_kernels *k = q->dev->k;
    for (int i = 0; i < op->n_terms; i++)
        if (!k->widen[op->x[i].type])
            return wrong_type(q, "combine", &op->x[i]);
    if (!k->widen[op->y.type])
        return wrong_type(q, "combine", &op->y);
    if (!q->planning) {
        combine c = {op, k, runs_of(&op->y, op->x, op->n_terms)};
        for_runs(q, &c.runs, combine_task, &c);
    }
    return SD_OK;
}

/* ---------------------------------------------------------------------------- activation */

typedef struct activation {
    const sdb_activation *op;
    const cpu_kernels *k;
    runs runs;
} activation;

static void activation_task(void *arg, int task, int worker) {
    const activation *a = arg;
    (void)worker;
    for (int64_t i = (int64_t)task * TASK_RUNS; i < last_run(&a->runs, task); i++) {
        run at = run_at(&a->runs, i);
        a->k->activate(a->op->act, (float *)run_address(&a->runs, &at, &a->op->y),
                       (const float *)run_address(&a->runs, &at, &a->op->x), at.count);
    }
}

sd_status cpu_activation(sdb_queue *q, const sdb_activation *op) {
    if (op->x.type != SDB_F32 || op->y.type != SDB_F32)
        return wrong_type(q, "activation", op->x.type != SDB_F32 ? &op->x : &op->y);
    if (!q->planning) {
        activation a = {op, q->dev->k, runs_of(&op->y, &op->x, 1)};
        for_runs(q, &a.runs, activation_task, &a);
    }
    return SD_OK;
}

/* ------------------------------------------------------------- embeddings and the posterior */

typedef struct embed {
    const sdb_embed *op;
    const cpu_kernels *k;
} embed;

static const void *row_of(const sdb_weight *w, int64_t row, int first) {
    return (const uint8_t *)w->data + (row * w->k + first) * (int64_t)sdb_type_size(w->type);
}

/* One token; ids are [n, t, 1]. */
static void embed_task(void *arg, int task, int worker) {
    const embed *e = arg;
    const sdb_embed *op = e->op;
    (void)worker;
    float *y = (float *)op->y.data + task * op->y.ld, wide[RUN];
    int32_t id = ((const int32_t *)op->ids.data)[task * op->ids.ld];
    int position = task % (op->ids.h * op->ids.w);
    for (int first = 0; first < op->y.c; first += RUN) {
        size_t n = op->y.c - first < RUN ? (size_t)(op->y.c - first) : RUN;
        e->k->widen[op->token->type](y + first, row_of(op->token, id, first), n);
        if (op->position) {
            e->k->widen[op->position->type](wide, row_of(op->position, position, first), n);
            e->k->scale_add(y + first, wide, n, 1.0f, true);
        }
    }
}

sd_status cpu_embed(sdb_queue *q, const sdb_embed *op) {
    if (op->y.type != SDB_F32)
        return wrong_type(q, "embed", &op->y);
    if (!q->planning) {
        embed e = {op, q->dev->k};
        cpu_parallel(q, op->ids.n * op->ids.h * op->ids.w, embed_task, &e);
    }
    return SD_OK;
}

/* Frequencies and angles are rounded to float32 where torch rounds them: at t = 999 one unit in the
 * last place of a frequency is 6e-5 in the cosine. */
sd_status cpu_timestep_embedding(sdb_queue *q, const sdb_timestep_embedding *op) {
    if (op->y.type != SDB_F32 || op->t.type != SDB_F32)
        return wrong_type(q, "timestep_embedding", op->y.type != SDB_F32 ? &op->y : &op->t);
    if (q->planning)
        return SD_OK;
    int half = op->y.c / 2;
    for (int n = 0; n < op->y.n; n++) {
        float t = ((const float *)op->t.data)[n * op->t.ld];
        float *y = (float *)op->y.data + n * op->y.ld;
        for (int i = 0; i < half; i++) {
            float exponent = -9.210340371976184f * (float)i / (float)half;
            float angle = t * (float)exp((double)exponent);
            y[i] = (float)cos((double)angle);
            y[half + i] = (float)sin((double)angle);
        }
        if (op->y.c % 2 != 0)
            y[op->y.c - 1] = 0.0f;
    }
    return SD_OK;
}

static void posterior_task(void *arg, int task, int worker) {
    const sdb_posterior *op = arg;
    (void)worker;
    int64_t first = (int64_t)task * op->y.w;
    for (int64_t p = first; p < first + op->y.w; p++) {
        const float *mean = (const float *)op->moments.data + p * op->moments.ld;
        float *y = (float *)op->y.data + p * op->y.ld;
        for (int i = 0; i < op->y.c; i++) {
            float z = mean[i];
            if (op->noise.c > 0) {
                float logvar = fminf(fmaxf(mean[op->y.c + i], -30.0f), 20.0f);
                const float *noise = (const float *)op->noise.data + p * op->noise.ld;
                z += expf(0.5f * logvar) * noise[i];
            }
            y[i] = op->scale * z;
        }
    }
}

sd_status cpu_posterior(sdb_queue *q, const sdb_posterior *op) {
    if (op->moments.type != SDB_F32 || op->y.type != SDB_F32 ||
        (op->noise.c > 0 && op->noise.type != SDB_F32))
        return wrong_type(q, "posterior", &op->moments);
    if (!q->planning)
        cpu_parallel(q, op->y.n * op->y.h, posterior_task, (void *)op);
    return SD_OK;
}
