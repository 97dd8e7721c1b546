/* Operations that latent diffusion models other than Stable Diffusion need, and that samplers do to
 * latents besides sums. */
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

static void blend_row(void *arg, int row, int worker) {
    const sdb_blend *op = arg;
    (void)worker;
    for (int column = 0; column < op->y.w; column++) {
        int64_t pixel = (int64_t)row * op->y.w + column;
        double m = ref_get(&op->m, pixel, 0);
        for (int c = 0; c < op->y.c; c++) {
            double a = ref_get(&op->a, pixel, c), b = ref_get(&op->b, pixel, c);
            ref_set(&op->y, pixel, c, m * a + (1.0 - m) * b);
        }
    }
}

sd_status ref_blend(sdb_queue *q, const sdb_blend *op) {
    sd_status status = ref_check_types(q, "blend", &op->a, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, blend_row, (void *)op) : status;
}

static void clamp_row(void *arg, int row, int worker) {
    const sdb_clamp *op = arg;
    (void)worker;
    for (int column = 0; column < op->y.w; column++) {
        int64_t pixel = (int64_t)row * op->y.w + column;
        for (int c = 0; c < op->y.c; c++) {
            double x = fmax(ref_get(&op->x, pixel, c), (double)op->low);
            ref_set(&op->y, pixel, c, fmin(x, (double)op->high));
        }
    }
}

sd_status ref_clamp(sdb_queue *q, const sdb_clamp *op) {
    sd_status status = ref_check_types(q, "clamp", &op->x, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, clamp_row, (void *)op) : status;
}

/* The standard deviation of image n. */
static double spread(const sdb_tensor *t, int n) {
    int64_t pixels = (int64_t)t->h * t->w, first = n * pixels;
    double count = (double)pixels * t->c, mean = 0.0, sum = 0.0;
    for (int64_t pixel = first; pixel < first + pixels; pixel++)
        for (int c = 0; c < t->c; c++)
            mean += ref_get(t, pixel, c);
    mean /= count;
    for (int64_t pixel = first; pixel < first + pixels; pixel++)
        for (int c = 0; c < t->c; c++) {
            double d = ref_get(t, pixel, c) - mean;
            sum += d * d;
        }
    return sqrt(sum / count);
}

static void rescale_image(void *arg, int n, int worker) {
    const sdb_rescale *op = arg;
    int64_t pixels = (int64_t)op->y.h * op->y.w, first = n * pixels;
    double own = spread(&op->x, n), phi = (double)op->phi;
    double factor = own > 0.0 ? phi * spread(&op->like, n) / own + 1.0 - phi : 1.0;
    (void)worker;
    for (int64_t pixel = first; pixel < first + pixels; pixel++)
        for (int c = 0; c < op->y.c; c++)
            ref_set(&op->y, pixel, c, factor * ref_get(&op->x, pixel, c));
}

sd_status ref_rescale(sdb_queue *q, const sdb_rescale *op) {
    const sdb_host *host = q->dev->host;
    sd_status status = ref_check_types(q, "rescale", &op->x, &op->y);
    if (status == SD_OK && !q->planning)
        host->parallel_for(host->user, op->y.n, rescale_image, (void *)op);
    return status;
}
