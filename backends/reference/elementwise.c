/* Operations that look at one element, or gather rows. */
#include "reference.h"

#include <math.h>

static double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}

double ref_act(sdb_act act, double x) {
    switch (act) {
    case SDB_ACT_SILU:
        return x * sigmoid(x);
    case SDB_ACT_QUICK_GELU:
        return x * sigmoid(1.702 * x);
    case SDB_ACT_GELU:
        return 0.5 * x * (1.0 + erf(x * 0.70710678118654752440)); /* 1 / sqrt(2) */
    case SDB_ACT_RELU:
        return x < 0.0 ? 0.0 : x;
    default:
        return x;
    }
}

static void embed_row(void *arg, int row, int worker) {
    const sdb_embed *op = arg;
    int tokens = op->y.h * op->y.w;
    (void)worker;
    for (int x = 0; x < op->y.w; x++) {
        int64_t i = (int64_t)row * op->y.w + x;
        int32_t id = ((const int32_t *)op->ids.data)[i * op->ids.ld];
        const float *token = op->token->data + (int64_t)id * op->token->in;
        const float *position =
            op->position ? op->position->data + i % tokens * op->position->in : NULL;
        for (int c = 0; c < op->y.c; c++)
            ref_set(&op->y, i, c, (double)token[c] + (position ? (double)position[c] : 0.0));
    }
}

sd_status ref_embed(sdb_queue *q, const sdb_embed *op) {
    sd_status status = ref_check_types(q, "embed", &op->y, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, embed_row, (void *)op) : status;
}

static void timestep_embedding_image(void *arg, int n, int worker) {
    const sdb_timestep_embedding *op = arg;
    int half = op->y.c / 2;
    double t = ref_get(&op->t, n, 0);
    (void)worker;
    for (int i = 0; i < half; i++) {
        double frequency = exp(-log(10000.0) * i / half);
        ref_set(&op->y, n, i, cos(t * frequency));
        ref_set(&op->y, n, half + i, sin(t * frequency));
    }
    if (op->y.c % 2)
        ref_set(&op->y, n, op->y.c - 1, 0.0);
}

sd_status ref_timestep_embedding(sdb_queue *q, const sdb_timestep_embedding *op) {
    sd_status status = ref_check_types(q, "timestep_embedding", &op->t, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, timestep_embedding_image, (void *)op) : status;
}

static void combine_row(void *arg, int row, int worker) {
    const sdb_combine *op = arg;
    int64_t image = (int64_t)op->y.h * op->y.w;
    (void)worker;
    for (int x = 0; x < op->y.w; x++) {
        int64_t pixel = (int64_t)row * op->y.w + x;
        for (int c = 0; c < op->y.c; c++) {
            double sum = 0;
            for (int i = 0; i < op->n_terms; i++) {
                const sdb_tensor *term = &op->x[i];
                double coef = op->coef.data ? ref_get(&op->coef, 0, i) : 1.0;
                sum += coef * ref_get(term, term->n == 1 ? pixel % image : pixel, c);
            }
            ref_set(&op->y, pixel, c, sum);
        }
    }
}

sd_status ref_combine(sdb_queue *q, const sdb_combine *op) {
    sd_status status = ref_check_types(q, "combine", &op->y, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, combine_row, (void *)op) : status;
}

static void activation_row(void *arg, int row, int worker) {
    const sdb_activation *op = arg;
    (void)worker;
    for (int x = 0; x < op->y.w; x++) {
        int64_t pixel = (int64_t)row * op->y.w + x;
        for (int c = 0; c < op->y.c; c++)
            ref_set(&op->y, pixel, c, ref_act(op->act, ref_get(&op->x, pixel, c)));
    }
}

sd_status ref_activation(sdb_queue *q, const sdb_activation *op) {
    sd_status status = ref_check_types(q, "activation", &op->x, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, activation_row, (void *)op) : status;
}

static void posterior_row(void *arg, int row, int worker) {
    const sdb_posterior *op = arg;
    (void)worker;
    for (int x = 0; x < op->y.w; x++) {
        int64_t pixel = (int64_t)row * op->y.w + x;
        for (int c = 0; c < op->y.c; c++) {
            double value = ref_get(&op->moments, pixel, c);
            if (op->noise.c) {
                double logvar = ref_get(&op->moments, pixel, op->y.c + c);
                logvar = fmin(fmax(logvar, -30.0), 20.0);
                value += exp(0.5 * logvar) * ref_get(&op->noise, pixel, c);
            }
            ref_set(&op->y, pixel, c, (double)op->scale * value);
        }
    }
}

sd_status ref_posterior(sdb_queue *q, const sdb_posterior *op) {
    sd_status status = ref_check_types(q, "posterior", &op->moments, &op->y);
    return status == SD_OK ? ref_for_rows(q, &op->y, posterior_row, (void *)op) : status;
}
