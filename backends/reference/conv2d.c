/* 3x3 convolution with its epilogue. */
#include "reference.h"

/* sum[o] += x[pixel, i] * weight[tap][i][o] over all inputs i */
static void add_tap(double *sum, const sdb_tensor *x, int64_t pixel, const sdb_weight *w, int tap) {
    const float *row = w->data + (size_t)tap * (size_t)w->in * (size_t)w->n;
    for (int i = 0; i < w->in; i++, row += w->n) {
        double value = ref_get(x, pixel, i);
        for (int o = 0; o < w->n; o++)
            sum[o] += value * (double)row[o];
    }
}

/* sum[o] = the convolution at output (y, x) of image n; outside of the image there are zeros. */
static void convolve(double *sum, const sdb_conv2d *op, int n, int y, int x) {
    int zoom = op->upsample ? 2 : 1; /* nearest: pixel (y, x) of the large image is (y/2, x/2) */
    int height = op->upsample ? op->y.h : op->x.h, width = op->upsample ? op->y.w : op->x.w;
    for (int o = 0; o < op->weight->n; o++)
        sum[o] = 0;
    for (int tap = 0; tap < 9; tap++) {
        int in_y = y * op->stride - !op->pad_end + tap / 3;
        int in_x = x * op->stride - !op->pad_end + tap % 3;
        if (in_y < 0 || in_y >= height || in_x < 0 || in_x >= width)
            continue;
        int64_t pixel = ((int64_t)n * op->x.h + in_y / zoom) * op->x.w + in_x / zoom;
        add_tap(sum, &op->x, pixel, op->weight, tap);
    }
}

typedef struct conv2d_task {
    const sdb_conv2d *op;
    char *scratch;
} conv2d_task;

static void conv2d_row(void *arg, int row, int worker) {
    const conv2d_task *task = arg;
    const sdb_conv2d *op = task->op;
    const sdb_weight *w = op->weight;
    double *sum = (double *)task->scratch + (size_t)worker * (size_t)w->n;
    int n = row / op->y.h, y = row % op->y.h;

    for (int x = 0; x < op->y.w; x++) {
        int64_t pixel = (int64_t)row * op->y.w + x;
        convolve(sum, op, n, y, x);
        for (int o = 0; o < w->n; o++) {
            double value = sum[o];
            if (w->bias)
                value += (double)w->bias[o];
            if (op->emb.c)
                value += ref_get(&op->emb, n, o);
            value = (double)op->scale * ref_act(op->act, value);
            if (op->residual.c)
                value += ref_get(&op->residual, pixel, o);
            ref_set(&op->y, pixel, o, value);
        }
    }
}

sd_status ref_conv2d(sdb_queue *q, const sdb_conv2d *op) {
    conv2d_task task = {op, NULL};
    sd_status status = ref_check_types(q, "conv2d", &op->x, &op->y);
    if (status == SD_OK)
        status = ref_scratch(q, (size_t)op->weight->n * sizeof(double), &task.scratch);
    return status == SD_OK ? ref_for_rows(q, &op->y, conv2d_row, &task) : status;
}
