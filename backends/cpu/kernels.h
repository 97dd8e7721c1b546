/*
 * The table of kernels, one for each instruction set. All matrices are float32, row-major.
 * `nr` = 2 * vl columns make a panel: B[k][nr] of a matrix product, one after another in memory.
 */
#ifndef SD_CPU_KERNELS_H
#define SD_CPU_KERNELS_H

#include "cpu.h"

#include <stddef.h>

/* The way of a tile of a matrix product to y. `bias` is the panel's, or NULL;
 * `residual` is at the tile's place, or NULL, and may be y. `geglu`: the first nr / 2 columns are
 * values, the others their gates, and y gets value * gelu(gate). */
typedef struct cpu_epilogue {
    const float *bias;
    const float *residual;
    size_t residual_ld;
    float *y;
    size_t y_ld;
    sdb_act act;
    bool geglu;
    float scale;
} cpu_epilogue;

/* y = (x - mean) scale + shift, then SiLU if asked for; mean, scale, shift: [c] */
typedef struct cpu_normalise {
    size_t x_ld, y_ld;
    int c;
    const float *mean, *scale, *shift;
    bool silu;
} cpu_normalise;

#define CPU_MAX_NR 32 /* of any instruction set */
#define CPU_KC 160    /* input channels that a convolution takes at a time */
#define CPU_KC_SMALL 128

struct cpu_kernels {
    const char *name; /* "avx512" */
    int vl;           /* floats in a vector */
    int mr, nr;       /* tile of the micro-kernel; mr <= vl */

    /*
     * C[rows][nr] = A B, or += A B; rows <= mr. A is packed: a[p * lda + i] is row i, column p
     * (lda is mr where pack_rows made it). B is one panel, b[p * nr + j]. The sum runs from p = 0
     * up in one chain of fused multiply-adds for each element, so it does not depend on `rows`.
     */
    void (*gemm)(int rows, size_t k, const float *a, size_t lda, const float *b, float *c,
                 size_t ldc, bool accumulate);

    /* dst[i] = (float)src[i] for n elements of F32, F16 or BF16. NULL for other types. */
    void (*widen[SDB_N_TYPES])(float *dst, const void *src, size_t n);

    /* A for gemm: src[rows][ld], k columns -> dst[k][mr]; rows <= mr, the others become zero. */
    void (*pack_rows)(float *dst, const float *src, size_t ld, int rows, size_t k);

    /* A for gemm from its transpose: src[k][ld], `rows` columns -> dst[k][mr]. */
    void (*pack_slices)(float *dst, const float *src, size_t ld, int rows, size_t k);

    /* A panel from rows: dst[k][nr] = scale * src[rows][ld] transposed; rows <= nr, the others
     * become zero. */
    void (*pack_columns)(float *dst, const float *src, size_t ld, int rows, size_t k, float scale);

    /* y[rows][cols] from the tile c[rows][ldc]; cols <= nr (nr / 2 with geglu). */
    void (*epilogue)(const cpu_epilogue *e, int rows, int cols, const float *c, size_t ldc);

    /*
     * Online softmax (Milakov and Gimelshein 2018) of s[rows][nr], a block of base-2 logits for nr
     * queries in columns: max[nr] and sum[nr] are updated, s becomes 2^(s - max), and the `dim`
     * rows of o[dim][nr] so far are scaled to the new maximum. `first`: max, sum and o start here.
     * Elements of column j with row > last + j are masked.
     */
    void (*softmax)(float *s, int rows, int64_t last, float *max, float *sum, float *o, size_t dim,
                    bool first);

    /* m[rows][nr] = a[rows][lda] b[kc][nr], or += ; any number of rows; lda is CPU_KC or
     * CPU_KC_SMALL. */
    void (*conv_gemm)(int rows, int lda, const float *a, const float *b, int kc, float *m,
                      bool add);

    /* The transforms of F(4x4, 3x3); kernels/winograd.h has their layouts. */
    void (*winograd_input)(const float *const pixel[36], int kc, float *v, size_t stride);
    void (*winograd_weights)(sdb_type type, const void *w, int kc, float *u, size_t stride);
    void (*winograd_output)(const float *m, size_t stride, float *out);

    /* sum[c] += and squares[c] += over rows of x[rows][ld]. */
    void (*channel_sums)(double *sum, double *squares, const float *x, size_t ld, int rows, int c);
    void (*normalise)(const cpu_normalise *op, int rows, float *y, const float *x);
    /* One row; beta may be NULL. In place is fine. */
    void (*layer_norm)(float *y, const float *x, int c, const float *gamma, const float *beta,
                       float eps);

    /* y[n] = coef x, or += ; y[n] = act(x) */
    void (*scale_add)(float *y, const float *x, size_t n, float coef, bool add);
    void (*activate)(sdb_act act, float *y, const float *x, size_t n);

    /* y[cols][ld] = (o[dim][nr] / sum[nr]) transposed; cols <= nr. */
    void (*finish_attention)(float *y, size_t ld, int cols, const float *o, size_t dim,
                             const float *sum);
};

/* Instruction sets of this build; NULL where the processor cannot run it, or there is none. */
const cpu_kernels *cpu_kernels_by_index(int index);

extern const cpu_kernels cpu_kernels_portable, cpu_kernels_avx2, cpu_kernels_avx512;

#endif
