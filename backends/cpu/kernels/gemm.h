/*
 * The matrix product's micro-kernel. A tile of SD_MR x SD_NR sums stays in registers; each step
 * loads two vectors of B and one element of each row of A (van Zee and van de Geijn 2015, "BLIS").
 */

SD_INLINE void gemm_tile(const int rows, size_t k, const float *a, size_t lda, const float *b,
                         float *c, size_t ldc, bool accumulate) {
    vf sum[SD_MR][2];
    SD_UNROLL(16)
    for (int i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = (vf){0};
    for (size_t p = 0; p < k; p++) {
        vf b0 = v_load(b), b1 = v_load(b + SD_VL);
        SD_UNROLL(16)
        for (int i = 0; i < rows; i++) {
            vf ai = v_set(a[i]);
            sum[i][0] += ai * b0;
            sum[i][1] += ai * b1;
        }
        a += lda;
        b += SD_NR;
    }
    if (accumulate) {
        SD_UNROLL(16)
        for (int i = 0; i < rows; i++) {
            sum[i][0] += v_load(c + i * ldc);
            sum[i][1] += v_load(c + i * ldc + SD_VL);
        }
    }
    SD_UNROLL(16)
    for (int i = 0; i < rows; i++) {
        v_store(c + i * ldc, sum[i][0]);
        v_store(c + i * ldc + SD_VL, sum[i][1]);
    }
}

#define SD_TILE(rows)                                                                              \
    case rows:                                                                                     \
        gemm_tile(rows, k, a, lda, b, c, ldc, accumulate);                                         \
        break;

static void gemm(int rows, size_t k, const float *a, size_t lda, const float *b, float *c,
                 size_t ldc, bool accumulate) {
    switch (rows) {
        SD_TILE(1)
        SD_TILE(2)
        SD_TILE(3)
        SD_TILE(4)
#if SD_MR > 4
        SD_TILE(5)
        SD_TILE(6)
#endif
#if SD_MR > 6
        SD_TILE(7)
        SD_TILE(8)
        SD_TILE(9)
        SD_TILE(10)
        SD_TILE(11)
        SD_TILE(12)
        SD_TILE(13)
        SD_TILE(14)
#endif
    default:
        break;
    }
}

static void widen_f16(float *dst, const void *src, size_t n) {
    const uint16_t *s = src;
    size_t i = 0;
    for (; i + SD_VL <= n; i += SD_VL)
        v_store(dst + i, v_from_f16(s + i));
    if (i < n) {
        uint16_t tail[SD_VL] = {0};
        memcpy(tail, s + i, (n - i) * sizeof *s);
        v_store_n(dst + i, v_from_f16(tail), n - i);
    }
}

static void widen_bf16(float *dst, const void *src, size_t n) {
    const uint16_t *s = src;
    size_t i = 0;
    for (; i + SD_VL <= n; i += SD_VL)
        v_store(dst + i, v_from_bf16(s + i));
    if (i < n) {
        uint16_t tail[SD_VL] = {0};
        memcpy(tail, s + i, (n - i) * sizeof *s);
        v_store_n(dst + i, v_from_bf16(tail), n - i);
    }
}

static void widen_f32(float *dst, const void *src, size_t n) {
    memcpy(dst, src, n * sizeof *dst);
}

/* Loads SD_VL columns of `rows` <= SD_VL rows (fewer columns: n) and transposes the square. */
SD_INLINE void load_transposed(vf out[SD_VL], const float *src, size_t ld, int rows, size_t n) {
    SD_UNROLL(16)
    for (int i = 0; i < SD_VL; i++)
        if (i >= rows)
            out[i] = (vf){0};
        else if (n >= SD_VL)
            out[i] = v_load(src + (size_t)i * ld);
        else
            out[i] = v_load_n(src + (size_t)i * ld, n);
    v_transpose(out);
}

static void pack_rows(float *dst, const float *src, size_t ld, int rows, size_t k) {
    for (size_t p = 0; p < k; p += SD_VL) {
        size_t n = k - p < SD_VL ? k - p : SD_VL;
        vf t[SD_VL];
        load_transposed(t, src + p, ld, rows, n);
        /* The rows of the next call, most likely; harmless where there are none. */
        for (int i = 0; i < rows; i++)
            __builtin_prefetch((const void *)((uintptr_t)src + 4 * ((rows + i) * ld + p)));
        /* In order: each store's lanes past SD_MR are overwritten by the next one's first, but
         * nothing is written past the end. */
        SD_UNROLL(16)
        for (size_t i = 0; i < SD_VL; i++)
            if (p + i + 1 < k)
                v_store(dst + (p + i) * SD_MR, t[i]);
            else if (p + i + 1 == k)
                v_store_n(dst + (p + i) * SD_MR, t[i], SD_MR);
    }
}

static void pack_slices(float *dst, const float *src, size_t ld, int rows, size_t k) {
    for (size_t p = 0; p < k; p++) {
        if (rows == SD_MR) {
            memcpy(dst + p * SD_MR, src + p * ld, SD_MR * sizeof *dst);
        } else {
            memset(dst + p * SD_MR, 0, SD_MR * sizeof *dst);
            memcpy(dst + p * SD_MR, src + p * ld, (size_t)rows * sizeof *dst);
        }
    }
}

static void pack_columns(float *dst, const float *src, size_t ld, int rows, size_t k, float scale) {
    for (int half = 0; half < 2; half++) {
        int first = half * SD_VL < rows ? half * SD_VL : rows;
        for (size_t p = 0; p < k; p += SD_VL) {
            size_t n = k - p < SD_VL ? k - p : SD_VL;
            vf t[SD_VL];
            load_transposed(t, src + (size_t)first * ld + p, ld, rows - first, n);
            SD_UNROLL(16)
            for (size_t i = 0; i < SD_VL; i++)
                if (i < n)
                    v_store(dst + (p + i) * SD_NR + half * SD_VL, t[i] * scale);
        }
    }
}
