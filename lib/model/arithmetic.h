/*
 * The arithmetic of changed weights: float32 products and the types of weights, in the widest
 * instructions that this processor has. An element is the same bits however a product is cut into
 * calls: its sum goes up in one order, by the same instructions everywhere in a row.
 */
#ifndef SD_MODEL_ARITHMETIC_H
#define SD_MODEL_ARITHMETIC_H

#include "backend/backend.h"
#include "io/dtype.h"

typedef struct sd_arithmetic {
    /* y[rows][n] += a[rows][k] b[k][n]; neighbouring rows of each are y_row, a_row, b_row apart. */
    void (*multiply_add)(float *y, size_t y_row, const float *a, size_t a_row, const float *b,
                         size_t b_row, int rows, size_t n, int k);
    /* y = n numbers of a type, aligned to it, as float32. */
    void (*widen)(float *y, const void *x, sdb_type type, size_t n);
    /* y = n float32 rounded to the type, to nearest even. */
    void (*narrow)(void *y, const float *x, sdb_type type, size_t n);
} sd_arithmetic;

const sd_arithmetic *sdi_arithmetic(void);

/* A decoder's type (io/decode.h) as devices name it. */
static inline sdb_type sdi_decoded_type(sd_dtype type) {
    return type == SD_DTYPE_F16 ? SDB_F16 : type == SD_DTYPE_BF16 ? SDB_BF16 : SDB_F32;
}

#endif
