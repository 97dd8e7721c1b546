/* Operations that latent diffusion models other than Stable Diffusion need, and that samplers do to
 * latents besides sums; little time is spent here, so plain loops do. */
#include "cpu.h"
#include "kernels.h"

#include <math.h>
#include <string.h>

static sd_status need_f32(sdb_queue *q, const char *name, const sdb_tensor *x,
                          const sdb_tensor *y) {
    const sdb_host *host = q->dev->host;
    if (x->type == SDB_F32 && y->type == SDB_F32)
        return SD_OK;
    return host->error(host->user, SD_ERROR_UNSUPPORTED,
                       "the cpu backend's %s takes float32 tensors, not types %d and %d", name,
                       (int)x->type, (int)y->type);
}

static const float *pixel_of(const sdb_tensor *t, int64_t pixel) {
    return (const float *)t->data + pixel * t->ld;
}

static float *output_of(const sdb_tensor *t, int64_t pixel) {
    return (float *)t->data + pixel * t->ld;
}

/* ------------------------------------------------------------------------------- resample */

/* One row of y. */
static void resample_task(void *arg, int row, int worker) {
    const sdb_resample *op = arg;
    const sdb_tensor *x = &op->x, *y = &op->y;
    int64_t image = row / y->h, line = row % y->h;
    (void)worker;
    for (int column = 0; column < y->w; column++) {
        float *out = output_of(y, (int64_t)row * y->w + column);
        if (y->h > x->h) {
            memcpy(out, pixel_of(x, (image * x->h + line / 2) * x->w + column / 2),
                   (size_t)y->c * sizeof *out);
            continue;
        }
        const float *a = pixel_of(x, (image * x->h + 2 * line) * x->w + 2 * column);
        const float *b = a + (int64_t)x->w * x->ld;
        for (int c = 0; c < y->c; c++)
            out[c] = 0.25f * ((a[c] + a[x->ld + c]) + (b[c] + b[x->ld + c]));
    }
}

sd_status cpu_resample(sdb_queue *q, const sdb_resample *op) {
    sd_status status = need_f32(q, "resample", &op->x, &op->y);
    if (status == SD_OK && !q->planning)
        cpu_parallel(q, op->y.n * op->y.h, resample_task, (void *)op);
    return status;
}

/* ------------------------------------------------------------------------------- modulate */

typedef struct modulate {
    const sdb_modulate *op;
    const cpu_kernels *k;
} modulate;

/* One row of y. */
static void modulate_task(void *arg, int row, int worker) {
    const modulate *m = arg;
    const sdb_modulate *op = m->op;
    const float *scale = pixel_of(&op->scale, row / op->y.h);
    const float *shift = pixel_of(&op->shift, row / op->y.h);
    (void)worker;
    for (int column = 0; column < op->y.w; column++) {
        int64_t pixel = (int64_t)row * op->y.w + column;
        const float *x = pixel_of(&op->x, pixel);
        float *y = output_of(&op->y, pixel);
        for (int c = 0; c < op->y.c; c++)
            y[c] = (1.0f + scale[c]) * x[c] + shift[c];
        if (op->act != SDB_ACT_NONE)
            m->k->activate(op->act, y, y, (size_t)op->y.c);
    }
}

sd_status cpu_modulate(sdb_queue *q, const sdb_modulate *op) {
    sd_status status = need_f32(q, "modulate", &op->x, &op->y);
    if (status == SD_OK)
        status = need_f32(q, "modulate", &op->scale, &op->shift);
    if (status == SD_OK && !q->planning) {
        modulate m = {op, q->dev->k};
        cpu_parallel(q, op->y.n * op->y.h, modulate_task, &m);
    }
    return status;
}

/* ------------------------------------------------------------------------------- quantize */

enum { CODES = 1024, PIXELS = 64 }; /* floats of codes, and pixels, that are held at a time */

typedef struct quantize {
    const sdb_quantize *op;
    const cpu_kernels *k;
} quantize;

typedef struct nearest {
    float least;
    int id;
} nearest;

/* Compares `count` pixels with codes first .. first + n - 1, which are `codes` [n, c]. */
static void compare(const sdb_quantize *op, int64_t pixel, int count, const float *codes, int first,
                    int n, nearest *found) {
    int c = op->x.c;
    for (int p = 0; p < count; p++) {
        const float *x = pixel_of(&op->x, pixel + p);
        for (int i = 0; i < n; i++) {
            const float *code = codes + (int64_t)i * c;
            float distance = 0.0f;
            for (int j = 0; j < c; j++) {
                float d = x[j] - code[j];
                distance += d * d;
            }
            if (distance < found[p].least)
                found[p] = (nearest){distance, first + i};
        }
    }
}

static const void *code_row(const sdb_weight *book, int row) {
    return (const uint8_t *)book->data +
           (int64_t)row * book->k * (int64_t)sdb_type_size(book->type);
}

/* PIXELS pixels of all. */
static void quantize_task(void *arg, int task, int worker) {
    const quantize *job = arg;
    const sdb_quantize *op = job->op;
    const sdb_weight *book = op->codebook;
    int64_t first = (int64_t)task * PIXELS, total = (int64_t)op->y.n * op->y.h * op->y.w;
    int count = total - first < PIXELS ? (int)(total - first) : PIXELS;
    int step = CODES / book->k;
    float codes[CODES];
    nearest found[PIXELS];
    (void)worker;
    for (int p = 0; p < count; p++)
        found[p] = (nearest){INFINITY, 0};
    for (int row = 0; row < book->n; row += step) {
        int n = book->n - row < step ? book->n - row : step;
        job->k->widen[book->type](codes, code_row(book, row), (size_t)n * (size_t)book->k);
        compare(op, first, count, codes, row, n, found);
    }
    for (int p = 0; p < count; p++) {
        job->k->widen[book->type](output_of(&op->y, first + p), code_row(book, found[p].id),
                                  (size_t)book->k);
        if (op->ids.c > 0)
            ((int32_t *)op->ids.data)[(first + p) * op->ids.ld] = found[p].id;
    }
}

sd_status cpu_quantize(sdb_queue *q, const sdb_quantize *op) {
    const sdb_host *host = q->dev->host;
    sd_status status = need_f32(q, "quantize", &op->x, &op->y);
    if (status != SD_OK)
        return status;
    if (op->x.c > CODES) {
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "the cpu backend's quantize takes codes of up to %d channels, not %d",
                           CODES, op->x.c);
    }
    if (!q->planning) {
        quantize job = {op, q->dev->k};
        int64_t pixels = (int64_t)op->y.n * op->y.h * op->y.w;
        cpu_parallel(q, cpu_divide_up(pixels, PIXELS), quantize_task, &job);
    }
    return SD_OK;
}

/* ------------------------------------------------------------------------- blend and clamp */

/* One row of y. */
static void blend_task(void *arg, int row, int worker) {
    const sdb_blend *op = arg;
    (void)worker;
    for (int column = 0; column < op->y.w; column++) {
        int64_t pixel = (int64_t)row * op->y.w + column;
        const float *a = pixel_of(&op->a, pixel), *b = pixel_of(&op->b, pixel);
        float m = *pixel_of(&op->m, pixel), *y = output_of(&op->y, pixel);
        for (int c = 0; c < op->y.c; c++)
            y[c] = m * a[c] + (1.0f - m) * b[c];
    }
}

sd_status cpu_blend(sdb_queue *q, const sdb_blend *op) {
    sd_status status = need_f32(q, "blend", &op->m, &op->y);
    if (status == SD_OK)
        status = need_f32(q, "blend", &op->a, &op->b);
    if (status == SD_OK && !q->planning)
        cpu_parallel(q, op->y.n * op->y.h, blend_task, (void *)op);
    return status;
}

static void clamp_task(void *arg, int row, int worker) {
    const sdb_clamp *op = arg;
    (void)worker;
    for (int column = 0; column < op->y.w; column++) {
        int64_t pixel = (int64_t)row * op->y.w + column;
        const float *x = pixel_of(&op->x, pixel);
        float *y = output_of(&op->y, pixel);
        for (int c = 0; c < op->y.c; c++)
            y[c] = fminf(fmaxf(x[c], op->low), op->high);
    }
}

sd_status cpu_clamp(sdb_queue *q, const sdb_clamp *op) {
    sd_status status = need_f32(q, "clamp", &op->x, &op->y);
    if (status == SD_OK && !q->planning)
        cpu_parallel(q, op->y.n * op->y.h, clamp_task, (void *)op);
    return status;
}

/* -------------------------------------------------------------------------------- rescale */

/* The standard deviation of image n. */
static double spread(const sdb_tensor *t, int n) {
    int64_t pixels = (int64_t)t->h * t->w, first = n * pixels;
    double count = (double)pixels * t->c, mean = 0.0, sum = 0.0;
    for (int64_t pixel = first; pixel < first + pixels; pixel++)
        for (int c = 0; c < t->c; c++)
            mean += (double)pixel_of(t, pixel)[c];
    mean /= count;
    for (int64_t pixel = first; pixel < first + pixels; pixel++) {
        for (int c = 0; c < t->c; c++) {
            double d = (double)pixel_of(t, pixel)[c] - mean;
            sum += d * d;
        }
    }
    return sqrt(sum / count);
}

/* One image. */
static void rescale_task(void *arg, int n, int worker) {
    const sdb_rescale *op = arg;
    int64_t pixels = (int64_t)op->y.h * op->y.w, first = n * pixels;
    double own = spread(&op->x, n), phi = (double)op->phi;
    float factor = own > 0.0 ? (float)(phi * spread(&op->like, n) / own + 1.0 - phi) : 1.0f;
    (void)worker;
    for (int64_t pixel = first; pixel < first + pixels; pixel++) {
        const float *x = pixel_of(&op->x, pixel);
        float *y = output_of(&op->y, pixel);
        for (int c = 0; c < op->y.c; c++)
            y[c] = factor * x[c];
    }
}

sd_status cpu_rescale(sdb_queue *q, const sdb_rescale *op) {
    sd_status status = need_f32(q, "rescale", &op->x, &op->y);
    if (status == SD_OK)
        status = need_f32(q, "rescale", &op->like, &op->y);
    if (status == SD_OK && !q->planning)
        cpu_parallel(q, op->y.n, rescale_task, (void *)op);
    return status;
}
