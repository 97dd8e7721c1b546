/* Group and layer normalisation: mean and variance in two passes, as their definitions read. */
#include "reference.h"

#include <math.h>

/* Mean and 1 / sqrt(variance + eps) of channels first .. first + c - 1 over a range of pixels. The
 * variance is the biased one, as in torch. */
typedef struct moments {
    double mean, rstd;
} moments;

static moments measure(const sdb_tensor *x, int64_t pixel, int64_t n_pixels, int first, int c,
                       double eps) {
    double count = (double)n_pixels * c, sum = 0, squares = 0;
    for (int64_t p = pixel; p < pixel + n_pixels; p++)
        for (int i = first; i < first + c; i++)
            sum += ref_get(x, p, i);
    double mean = sum / count;
    for (int64_t p = pixel; p < pixel + n_pixels; p++)
        for (int i = first; i < first + c; i++) {
            double d = ref_get(x, p, i) - mean;
            squares += d * d;
        }
    return (moments){mean, 1.0 / sqrt(squares / count + eps)};
}

static double normalise(double x, moments m, const sdb_weight *w, int channel) {
    double beta = w->bias ? (double)w->bias[channel] : 0.0;
    return (x - m.mean) * m.rstd * (double)w->data[channel] + beta;
}

static void group_norm_group(void *arg, int task, int worker) {
    const sdb_group_norm *op = arg;
    int c = op->x.c / op->groups, first = task % op->groups * c;
    int64_t n_pixels = (int64_t)op->x.h * op->x.w, pixel = task / op->groups * n_pixels;
    moments m = measure(&op->x, pixel, n_pixels, first, c, (double)op->eps);
    (void)worker;
    for (int64_t p = pixel; p < pixel + n_pixels; p++)
        for (int i = first; i < first + c; i++)
            ref_set(&op->y, p, i,
                    ref_act(op->act, normalise(ref_get(&op->x, p, i), m, op->weight, i)));
}

sd_status ref_group_norm(sdb_queue *q, const sdb_group_norm *op) {
    const sdb_host *host = q->dev->host;
    sd_status status = ref_check_types(q, "group_norm", &op->x, &op->y);
    if (status == SD_OK && !q->planning)
        host->parallel_for(host->user, op->x.n * op->groups, group_norm_group, (void *)op);
    return status;
}

static void layer_norm_row(void *arg, int row, int worker) {
    const sdb_layer_norm *op = arg;
    (void)worker;
    for (int x = 0; x < op->y.w; x++) {
        int64_t pixel = (int64_t)row * op->y.w + x;
        moments m = measure(&op->x, pixel, 1, 0, op->x.c, (double)op->eps);
        for (int i = 0; i < op->x.c; i++)
            ref_set(&op->y, pixel, i, normalise(ref_get(&op->x, pixel, i), m, op->weight, i));
    }
}

sd_status ref_layer_norm(sdb_queue *q, const sdb_layer_norm *op) {
    sd_status status = ref_check_types(q, "layer_norm", &op->x, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, layer_norm_row, (void *)op) : status;
}
