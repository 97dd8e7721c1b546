/*
 * y = softmax(scale q k^T) v with blocks of scores that never leave the cache (Dao et al. 2022).
 *
 * Everything is transposed: scores are S^T = K Q^T with nr queries in the columns of a panel, so
 * maxima, sums and exponentials run down the columns without crossing lanes, P^T is already a
 * panel for O^T = V^T P^T, and a head size like 40 lies along the tile's rows, where the
 * micro-kernel serves any number without padding.
 *
 * First K and V of all heads are packed, then each task takes some panels of queries of one head
 * through all the keys.
 */
#include "cpu.h"
#include "kernels.h"

#include <string.h>

enum {
    KEYS_OF_BLOCK = 128, /* their scores, [128][nr], fit the first-level cache */
    PANELS_OF_TASK = 4,  /* of queries; they share a block of K and V in the second level */
    TASKS_WANTED = 64,
    KEYS_OF_PACK_TASK = 512
};

typedef struct attention_job {
    const cpu_kernels *k;
    const sdb_attention *op;
    size_t dim, tq, tk;
    size_t key_block;               /* keys; a multiple of mr */
    size_t pack_keys;               /* keys of a packing task; a multiple of mr */
    size_t pack_tasks, query_tasks; /* of a head */
    size_t task_panels;             /* panels of a task */
    size_t v_panels;                /* ceil(dim / mr) */
    float *packed;                  /* for each image and head: K, then V */
    size_t k_size, head_size;       /* floats */
    float *workers;
    size_t worker_size; /* floats */
} attention_job;

static size_t div_up(size_t a, size_t b) {
    return (a + b - 1) / b;
}

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Row `token` of head `head` of image `image`. */
static float *head_at(const sdb_tensor *t, size_t tokens, size_t image, size_t head, size_t dim,
                      size_t token) {
    return (float *)t->data + (image * tokens + token) * (size_t)t->ld + head * dim;
}

/* K as [ceil(tk / mr)][dim][mr], V as [ceil(dim / mr)][tk][mr]. */
static void pack_task(void *arg, int task, int worker) {
    const attention_job *job = arg;
    const sdb_attention *op = job->op;
    size_t mr = (size_t)job->k->mr, heads = (size_t)op->heads;
    size_t group = (size_t)task / job->pack_tasks;
    size_t begin = (size_t)task % job->pack_tasks * job->pack_keys;
    size_t end = min_size(begin + job->pack_keys, job->tk);
    float *packed_k = job->packed + group * job->head_size, *packed_v = packed_k + job->k_size;
    const float *k = head_at(&op->k, job->tk, group / heads, group % heads, job->dim, 0);
    const float *v = head_at(&op->v, job->tk, group / heads, group % heads, job->dim, 0);
    size_t k_ld = (size_t)op->k.ld, v_ld = (size_t)op->v.ld;
    (void)worker;
    for (size_t i = begin; i < end; i += mr) {
        job->k->pack_rows(packed_k + i * job->dim, k + i * k_ld, k_ld, (int)min_size(mr, end - i),
                          job->dim);
    }
    for (size_t d = 0; d < job->dim; d += mr) {
        job->k->pack_slices(packed_v + (d / mr * job->tk + begin) * mr, v + begin * v_ld + d, v_ld,
                            (int)min_size(mr, job->dim - d), end - begin);
    }
}

typedef struct query_panel {
    float *q, *o;     /* [dim][nr] */
    float *max, *sum; /* [nr] */
} query_panel;

static query_panel panel_at(const attention_job *job, float *scratch, size_t i) {
    size_t nr = (size_t)job->k->nr, square = job->dim * nr;
    float *p = scratch + i * 2 * (square + nr);
    return (query_panel){p, p + square, p + 2 * square, p + 2 * square + nr};
}

/* One panel of queries, from `query` on, against keys k0 .. k0 + keys. */
static void attend_block(const attention_job *job, const query_panel *p, const float *packed,
                         size_t query, size_t k0, size_t keys, float *s) {
    const cpu_kernels *k = job->k;
    size_t nr = (size_t)k->nr, mr = (size_t)k->mr, dim = job->dim;
    for (size_t i = 0; i < keys; i += mr) {
        k->gemm((int)min_size(mr, keys - i), dim, packed + (k0 + i) * dim, mr, p->q, s + i * nr, nr,
                false);
    }
    int64_t last = job->op->causal ? (int64_t)query - (int64_t)k0 : (int64_t)keys;
    k->softmax(s, (int)keys, last, p->max, p->sum, p->o, dim, k0 == 0);
    const float *v = packed + job->k_size;
    for (size_t d = 0; d < dim; d += mr) {
        k->gemm((int)min_size(mr, dim - d), keys, v + (d / mr * job->tk + k0) * mr, mr, s,
                p->o + d * nr, nr, k0 > 0);
    }
}

static void query_task(void *arg, int task, int worker) {
    const attention_job *job = arg;
    const sdb_attention *op = job->op;
    size_t nr = (size_t)job->k->nr, heads = (size_t)op->heads;
    size_t group = (size_t)task / job->query_tasks;
    size_t begin = (size_t)task % job->query_tasks * job->task_panels * nr;
    size_t end = min_size(begin + job->task_panels * nr, job->tq);
    size_t panels = div_up(end - begin, nr);
    const float *packed = job->packed + group * job->head_size;
    float *s = job->workers + (size_t)worker * job->worker_size;
    float *panel_scratch = s + job->key_block * nr;

    for (size_t i = 0; i < panels; i++) {
        query_panel p = panel_at(job, panel_scratch, i);
        size_t row = begin + i * nr;
        const float *q = head_at(&op->q, job->tq, group / heads, group % heads, job->dim, row);
        job->k->pack_columns(p.q, q, (size_t)op->q.ld, (int)min_size(nr, end - row), job->dim,
                             op->scale * 1.44269504f);
    }
    for (size_t k0 = 0; k0 < job->tk; k0 += job->key_block) {
        size_t keys = min_size(job->key_block, job->tk - k0);
        for (size_t i = 0; i < panels; i++) {
            size_t row = begin + i * nr;
            if (op->causal && k0 >= row + nr)
                continue;
            query_panel p = panel_at(job, panel_scratch, i);
            attend_block(job, &p, packed, row, k0, keys, s);
        }
    }
    for (size_t i = 0; i < panels; i++) {
        query_panel p = panel_at(job, panel_scratch, i);
        size_t row = begin + i * nr;
        float *y = head_at(&op->y, job->tq, group / heads, group % heads, job->dim, row);
        job->k->finish_attention(y, (size_t)op->y.ld, (int)min_size(nr, end - row), p.o, job->dim,
                                 p.sum);
    }
}

static void plan_attention(attention_job *job) {
    size_t nr = (size_t)job->k->nr, mr = (size_t)job->k->mr;
    size_t groups = (size_t)job->op->q.n * (size_t)job->op->heads;
    job->key_block = KEYS_OF_BLOCK / mr * mr;
    job->pack_keys = KEYS_OF_PACK_TASK / mr * mr;
    job->pack_tasks = div_up(job->tk, job->pack_keys);
    size_t panels = div_up(job->tq, nr);
    job->task_panels = PANELS_OF_TASK;
    while (job->task_panels > 1 && groups * div_up(panels, job->task_panels) < TASKS_WANTED)
        job->task_panels /= 2;
    job->query_tasks = div_up(panels, job->task_panels);
    job->v_panels = div_up(job->dim, mr);
    job->k_size = div_up(div_up(job->tk, mr) * mr * job->dim, 16) * 16;
    job->head_size = job->k_size + div_up(job->v_panels * job->tk * mr, 16) * 16;
    size_t worker = (job->key_block + job->task_panels * 2 * (job->dim + 1)) * nr;
    job->worker_size = div_up(worker, 1024) * 1024;
}

static bool is_served(const sdb_attention *op) {
    return op->q.type == SDB_F32 && op->k.type == SDB_F32 && op->v.type == SDB_F32 &&
           op->y.type == SDB_F32 && op->heads > 0 && op->q.c % op->heads == 0;
}

sd_status cpu_attention(sdb_queue *q, const sdb_attention *op) {
    const sdb_host *host = q->dev->host;
    if (!is_served(op)) {
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "cpu: attention takes float32 tensors and channels (%d) that its %d "
                           "heads divide",
                           op->q.c, op->heads);
    }
    attention_job job = {
        .k = q->dev->k,
        .op = op,
        .dim = (size_t)(op->q.c / op->heads),
        .tq = (size_t)op->q.h * (size_t)op->q.w,
        .tk = (size_t)op->k.h * (size_t)op->k.w,
    };
    size_t groups = (size_t)op->q.n * (size_t)op->heads;
    if (groups == 0 || job.tq == 0 || job.tk == 0)
        return SD_OK;
    plan_attention(&job);
    size_t packed = groups * job.head_size;
    size_t workers = (size_t)q->dev->n_threads * job.worker_size;
    job.packed = cpu_scratch(q, (packed + workers) * sizeof(float));
    if (!job.packed)
        return q->planning ? SD_OK : SD_ERROR_MEMORY;
    job.workers = job.packed + packed;
    cpu_parallel(q, (int)(groups * job.pack_tasks), pack_task, &job);
    cpu_parallel(q, (int)(groups * job.query_tasks), query_task, &job);
    return SD_OK;
}
