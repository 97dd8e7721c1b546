/* Scaled dot-product attention (Vaswani et al. 2017, equation 1), a row of scores at a time. */
#include "reference.h"

#include <math.h>

typedef struct attention_task {
    const sdb_attention *op;
    char *scratch;
    size_t stride; /* doubles of scratch for a worker: tk scores, then one head's output */
} attention_task;

/* scores[j] = scale * q_i . k_j, for the tokens j < n_keys that token i may see */
static void score(double *scores, const sdb_attention *op, int64_t query, int64_t first_key,
                  int n_keys, int channel, int dim) {
    for (int j = 0; j < n_keys; j++) {
        double dot = 0;
        for (int d = 0; d < dim; d++)
            dot +=
                ref_get(&op->q, query, channel + d) * ref_get(&op->k, first_key + j, channel + d);
        scores[j] = (double)op->scale * dot;
    }
}

static void softmax(double *scores, int n) {
    double max = -(double)INFINITY, sum = 0;
    for (int j = 0; j < n; j++)
        max = fmax(max, scores[j]);
    for (int j = 0; j < n; j++)
        sum += scores[j] = exp(scores[j] - max);
    for (int j = 0; j < n; j++)
        scores[j] /= sum;
}

/* One query token of one image, all heads. */
static void attention_token(void *arg, int token, int worker) {
    const attention_task *task = arg;
    const sdb_attention *op = task->op;
    int tq = op->q.h * op->q.w, tk = op->k.h * op->k.w, dim = op->q.c / op->heads;
    int i = token % tq, n_keys = op->causal && i + 1 < tk ? i + 1 : tk;
    int64_t first_key = (int64_t)(token / tq) * tk;
    double *scores = (double *)task->scratch + (size_t)worker * task->stride;
    double *out = scores + tk;

    for (int head = 0; head < op->heads; head++) {
        int channel = head * dim;
        score(scores, op, token, first_key, n_keys, channel, dim);
        softmax(scores, n_keys);
        for (int d = 0; d < dim; d++)
            out[d] = 0;
        for (int j = 0; j < n_keys; j++)
            for (int d = 0; d < dim; d++)
                out[d] += scores[j] * ref_get(&op->v, first_key + j, channel + d);
        for (int d = 0; d < dim; d++)
            ref_set(&op->y, token, channel + d, out[d]);
    }
}

sd_status ref_attention(sdb_queue *q, const sdb_attention *op) {
    const sdb_host *host = q->dev->host;
    attention_task task = {op, NULL, (size_t)op->k.h * (size_t)op->k.w + (size_t)op->q.c};
    sd_status status = ref_check_types(q, "attention", &op->q, &op->y);
    if (status == SD_OK)
        status = ref_scratch(q, task.stride * sizeof(double), &task.scratch);
    if (status == SD_OK && !q->planning)
        host->parallel_for(host->user, op->q.n * op->q.h * op->q.w, attention_token, &task);
    return status;
}
