/*
 * The matrix product inside the convolutions: m[rows][SD_NR] (+)= a[rows][lda] b[kc][SD_NR].
 * Unlike gemm.h's, A is not interleaved by rows: rows are a constant distance apart, so that one
 * pointer reaches them all and the transforms store whole vectors of channels. The block's sum is
 * formed apart and then added, which keeps the error of long sums small.
 *
 * A comes from the last-level cache, rows one after another: step k asks for a part of the next
 * tile's rows, so that all of them are near when their turn comes.
 */
#define CPU_LINE 16 /* floats */

SD_INLINE void conv_tile(const int rows, const int lda, const float *a, const float *b, int kc,
                         float *m, bool add) {
    vf sum[SD_MR][2];
    for (int i = 0; i < rows * SD_NR; i += CPU_LINE)
        __builtin_prefetch(m + i, 1);
    SD_UNROLL(16)
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = (vf){0};
    for (int k = 0; k < kc; k++) {
        __builtin_prefetch(a + rows * lda + k * rows);
        vf b0 = v_load(b + (size_t)k * SD_NR), b1 = v_load(b + (size_t)k * SD_NR + SD_VL);
        SD_UNROLL(16)
        for (int r = 0; r < rows; r++) {
            vf ar = v_set(a[r * lda + k]);
            sum[r][0] += ar * b0;
            sum[r][1] += ar * b1;
        }
    }
    if (add) {
        SD_UNROLL(16)
        for (int r = 0; r < rows; r++) {
            sum[r][0] += v_load(m + r * SD_NR);
            sum[r][1] += v_load(m + r * SD_NR + SD_VL);
        }
    }
    SD_UNROLL(16)
    for (int r = 0; r < rows; r++) {
        v_store(m + r * SD_NR, sum[r][0]);
        v_store(m + r * SD_NR + SD_VL, sum[r][1]);
    }
}

#define SD_CONV_TILE(rows)                                                                         \
    case rows:                                                                                     \
        conv_tile(rows, lda, a, b, kc, m, add);                                                    \
        break;

SD_INLINE void conv_rows(int rows, const int lda, const float *a, const float *b, int kc, float *m,
                         bool add) {
    switch (rows) {
        SD_CONV_TILE(1)
        SD_CONV_TILE(2)
        SD_CONV_TILE(3)
        SD_CONV_TILE(4)
#if SD_MR > 4
        SD_CONV_TILE(5)
        SD_CONV_TILE(6)
#endif
#if SD_MR > 6
        SD_CONV_TILE(7)
        SD_CONV_TILE(8)
        SD_CONV_TILE(9)
        SD_CONV_TILE(10)
        SD_CONV_TILE(11)
        SD_CONV_TILE(12)
#endif
#if SD_MR > 12
        SD_CONV_TILE(13)
        SD_CONV_TILE(14)
#endif
    default:
        break;
    }
}

SD_INLINE void conv_tiles(int rows, const int lda, const float *a, const float *b, int kc, float *m,
                          bool add) {
    for (int tiles = (rows + SD_MR - 1) / SD_MR; tiles > 0; tiles--) {
        int now = (rows + tiles - 1) / tiles;
        conv_rows(now, lda, a, b, kc, m, add);
        a += (size_t)now * (size_t)lda;
        m += (size_t)now * SD_NR;
        rows -= now;
    }
}

/* Any number of rows, split as evenly as SD_MR allows: 32 rows are 3 tiles, not 2 and a rest. */
static void conv_gemm(int rows, int lda, const float *a, const float *b, int kc, float *m,
                      bool add) {
    if (lda == CPU_KC_SMALL)
        conv_tiles(rows, CPU_KC_SMALL, a, b, kc, m, add);
    else
        conv_tiles(rows, CPU_KC, a, b, kc, m, add);
}
