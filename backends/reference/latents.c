/* What latent diffusion models other than Stable Diffusion need besides. */
#include "reference.h"

#include <math.h>

static void resample_row(void *arg, int row, int worker) {
    const sdb_resample *op = arg;
    const sdb_tensor *x = &op->x, *y = &op->y;
    int64_t image = row / y->h, line = row % y->h;
    (void)worker;
    for (int column = 0; column < y->w; column++) {
        int64_t pixel = (int64_t)row * y->w + column;
        if (y->h > x->h) {
            int64_t source = (image * x->h + line / 2) * x->w + column / 2;
            for (int c = 0; c < y->c; c++)
                ref_set(y, pixel, c, ref_get(x, source, c));
            continue;
        }
        int64_t source = (image * x->h + 2 * line) * x->w + 2 * column;
        for (int c = 0; c < y->c; c++) {
            double sum = ref_get(x, source, c) + ref_get(x, source + 1, c);
            sum += ref_get(x, source + x->w, c) + ref_get(x, source + x->w + 1, c);
            ref_set(y, pixel, c, 0.25 * sum);
        }
    }
}

sd_status ref_resample(sdb_queue *q, const sdb_resample *op) {
    sd_status status = ref_check_types(q, "resample", &op->x, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, resample_row, (void *)op) : status;
}

static void modulate_row(void *arg, int row, int worker) {
    const sdb_modulate *op = arg;
    int n = row / op->y.h;
    (void)worker;
    for (int column = 0; column < op->y.w; column++) {
        int64_t pixel = (int64_t)row * op->y.w + column;
        for (int c = 0; c < op->y.c; c++) {
            double value = (1.0 + ref_get(&op->scale, n, c)) * ref_get(&op->x, pixel, c);
            ref_set(&op->y, pixel, c, ref_act(op->act, value + ref_get(&op->shift, n, c)));
        }
    }
}

sd_status ref_modulate(sdb_queue *q, const sdb_modulate *op) {
    sd_status status = ref_check_types(q, "modulate", &op->x, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, modulate_row, (void *)op) : status;
}

/* The index of the nearest row of the codebook. */
static int nearest(const sdb_quantize *op, int64_t pixel) {
    const sdb_weight *book = op->codebook;
    double least = INFINITY;
    int found = 0;
    for (int i = 0; i < book->n; i++) {
        double distance = 0.0;
        for (int c = 0; c < op->x.c; c++) {
            double d = ref_get(&op->x, pixel, c) - (double)book->data[(int64_t)i * book->in + c];
            distance += d * d;
        }
        if (distance < least) {
            least = distance;
            found = i;
        }
    }
    return found;
}

static void quantize_row(void *arg, int row, int worker) {
    const sdb_quantize *op = arg;
    (void)worker;
    for (int column = 0; column < op->y.w; column++) {
        int64_t pixel = (int64_t)row * op->y.w + column;
        int found = nearest(op, pixel);
        const float *code = op->codebook->data + (int64_t)found * op->codebook->in;
        for (int c = 0; c < op->y.c; c++)
            ref_set(&op->y, pixel, c, (double)code[c]);
        if (op->ids.c)
            ((int32_t *)op->ids.data)[pixel * op->ids.ld] = found;
    }
}

sd_status ref_quantize(sdb_queue *q, const sdb_quantize *op) {
    sd_status status = ref_check_types(q, "quantize", &op->x, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, quantize_row, (void *)op) : status;
}
