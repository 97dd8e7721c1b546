/*
 * The matrix product inside the convolutions: m[rows][SD_NR] (+)= a[rows][CPU_KC] b[kc][SD_NR].
 * Unlike gemm.h's, A is not interleaved by rows: rows are a constant distance apart, so that one
 * pointer reaches them all and the transforms store whole vectors of channels. The block's sum is
 * formed apart and then added, which keeps the error of long sums small.
 */

SD_INLINE void conv_tile(const int rows, const float *a, const float *b, int kc, float *m,
                         bool add) {
    vf sum[SD_MR][2];
    SD_UNROLL(16)
    for (int r = 0; r < rows; r++) {
        sum[r][0] = sum[r][1] = (vf){0};
    }
    for (int k = 0; k < kc; k++) {
        vf b0 = v_load(b + (size_t)k * SD_NR), b1 = v_load(b + (size_t)k * SD_NR + SD_VL);
        SD_UNROLL(16)
        for (int r = 0; r < rows; r++) {
            vf ar = v_set(a[r * CPU_KC + k]);
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
        conv_tile(rows, a, b, kc, m, add);                                                         \
        break;

static void conv_rows(int rows, const float *a, const float *b, int kc, float *m, bool add) {
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

/* Any number of rows, split as evenly as SD_MR allows: 32 rows are 3 tiles, not 2 and a rest. */
static void conv_gemm(int rows, const float *a, const float *b, int kc, float *m, bool add) {
    for (int tiles = (rows + SD_MR - 1) / SD_MR; tiles > 0; tiles--) {
        int now = (rows + tiles - 1) / tiles;
        conv_rows(now, a, b, kc, m, add);
        a += (size_t)now * CPU_KC;
        m += (size_t)now * SD_NR;
        rows -= now;
    }
}
