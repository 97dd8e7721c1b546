/*
 * The reference backend: every operation of backend.h as plain loops with double accumulators.
 * It is what the other backends are tested against, and how an operation's meaning is read up.
 * Speed comes second; rows are shared among the host's threads only because results cannot
 * depend on that.
 *
 * Activations may be float32, float16 or bfloat16 (and float64 where an operation converts).
 * Arithmetic is float64 throughout, and each output is rounded once, to nearest even.
 */
#ifndef SD_REFERENCE_REFERENCE_H
#define SD_REFERENCE_REFERENCE_H

#include "backend/backend.h"

struct sdb_device {
    const sdb_host *host;
};

struct sdb_queue {
    sdb_device *dev;
    bool planning;
    size_t noted; /* the largest scratch of one operation seen while planning */
    void *scratch;
    size_t capacity;
};

/*
 * Weights as float32, with the outputs innermost so that one input meets a row of them:
 *   LINEAR, GEGLU  [in][n]
 *   CONV3X3        [ky][kx][in][n]
 *   VECTOR         [n]
 *   EMBEDDING      [n][in]
 * n counts all rows of all parts (GEGLU: 2 * out). bias is [n]; NULL where no part has one.
 */
struct sdb_weight {
    sdb_weight_kind kind;
    int n, in;
    float *data, *bias;
    size_t size;
};

/* --- convert.c: element i of an array of `type`, and its rounding. --- */
double ref_load(const void *data, sdb_type type, int64_t i);
void ref_store(void *data, sdb_type type, int64_t i, double value);

/* --- reference.c --- */
/* Scratch for one operation, `size` bytes for each worker; worker w's part begins at
 * *out + w * size. While planning it only notes the size. */
sd_status ref_scratch(sdb_queue *q, size_t size, char **out);
/* SD_ERROR_UNSUPPORTED with a sentence unless both are of types that ref_store can write. */
sd_status ref_check_types(sdb_queue *q, const char *op, const sdb_tensor *x, const sdb_tensor *y);
/* Runs fn for each image row of y (tensors of tokens: each token). */
sd_status ref_for_rows(sdb_queue *q, const sdb_tensor *y, void (*fn)(void *, int, int), void *arg);

/* Element c of pixel `pixel`, counted through all images and rows. */
static inline double ref_get(const sdb_tensor *t, int64_t pixel, int c) {
    int64_t i = pixel * t->ld + c;
    return t->type == SDB_F32 ? (double)((const float *)t->data)[i] : ref_load(t->data, t->type, i);
}
static inline void ref_set(const sdb_tensor *t, int64_t pixel, int c, double value) {
    ref_store(t->data, t->type, pixel * t->ld + c, value);
}

/* --- elementwise.c --- */
double ref_act(sdb_act act, double x);

sd_status ref_weight_prepare(sdb_device *dev, const sdb_weight_desc *desc, sdb_weight **out);
void ref_weight_free(sdb_device *dev, sdb_weight *weight);
size_t ref_weight_size(const sdb_weight *weight);

#define X(name) sd_status ref_##name(sdb_queue *q, const sdb_##name *op);
SDB_OPERATIONS(X)
#undef X

#endif
