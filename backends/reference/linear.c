/* Linear layers (1x1 convolutions are the same) with their epilogue. */
#include "reference.h"

typedef struct linear_task {
    const sdb_linear *op;
    char *scratch;
} linear_task;

/* sum[o] = bias[o] + sum over i of x[pixel, i] * weight[i][o] */
static void multiply(double *sum, const sdb_tensor *x, int64_t pixel, const sdb_weight *w) {
    const float *row = w->data;
    for (int o = 0; o < w->n; o++)
        sum[o] = w->bias ? (double)w->bias[o] : 0.0;
    for (int i = 0; i < w->in; i++, row += w->n) {
        double value = ref_get(x, pixel, i);
        for (int o = 0; o < w->n; o++)
            sum[o] += value * (double)row[o];
    }
}

static void linear_row(void *arg, int row, int worker) {
    const linear_task *task = arg;
    const sdb_linear *op = task->op;
    const sdb_weight *w = op->weight;
    double *sum = (double *)task->scratch + (size_t)worker * (size_t)w->n;
    bool geglu = w->kind == SDB_WEIGHT_GEGLU; /* values in the first half, gates in the second */
    int n_out = geglu ? w->n / 2 : w->n;

    for (int x = 0; x < op->y.w; x++) {
        int64_t pixel = (int64_t)row * op->y.w + x;
        multiply(sum, &op->x, pixel, w);
        for (int o = 0; o < n_out; o++) {
            double value =
                geglu ? sum[o] * ref_act(SDB_ACT_GELU, sum[n_out + o]) : ref_act(op->act, sum[o]);
            value *= (double)op->scale;
            if (op->residual.c)
                value += ref_get(&op->residual, pixel, o);
            ref_set(&op->y, pixel, o, value);
        }
    }
}

sd_status ref_linear(sdb_queue *q, const sdb_linear *op) {
    linear_task task = {op, NULL};
    sd_status status = ref_check_types(q, "linear", &op->x, &op->y);
    if (status == SD_OK)
        status = ref_scratch(q, (size_t)op->weight->n * sizeof(double), &task.scratch);
    return status == SD_OK ? ref_for_rows(q, &op->y, linear_row, &task) : status;
}
