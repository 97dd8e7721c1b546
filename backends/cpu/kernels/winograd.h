/*
 * Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016): a 6x6 tile d of the input gives
 * 4x4 outputs, y = A^T [ (G g G^T) * (B^T d B) ] A. Summed over input channels, the element-wise
 * product is one matrix product for each of the 36 elements ("frequencies").
 *
 * The points are 0, a, -a, b, -b and infinity. a = 5/8 and b = 3/2 halve the error of the usual 1
 * and 2 (compare Barabasz et al. 2020, "Error analysis and improving the accuracy of Winograd
 * convolution"), and B^T and A^T stay exact in float32.
 *
 * Blocks in scratch, of kc <= CPU_KC channels; a frequency is `stride` floats from the next:
 *   u: [36][kc][SD_NR]      transformed weights of one panel
 *   v: [36][tiles][lda]     transformed input
 *   m: [36][tiles][SD_NR]   products
 */

#define SD_A 0.625f
#define SD_B 1.5f
#define SD_A2 (SD_A * SD_A)
#define SD_B2 (SD_B * SD_B)

/* o = B^T d */
SD_INLINE void winograd_input_1d(vf o[6], const vf d[6]) {
    vf p = d[4] - SD_B2 * d[2], q = d[3] - SD_B2 * d[1];
    vf r = d[4] - SD_A2 * d[2], s = d[3] - SD_A2 * d[1];
    o[0] = SD_A2 * SD_B2 * d[0] + (d[4] - (SD_A2 + SD_B2) * d[2]);
    o[1] = p + SD_A * q;
    o[2] = p - SD_A * q;
    o[3] = r + SD_B * s;
    o[4] = r - SD_B * s;
    o[5] = SD_A2 * SD_B2 * d[1] + (d[5] - (SD_A2 + SD_B2) * d[3]);
}

/* One vector of channels of one tile. */
SD_INLINE void winograd_input_vector(const float *const pixel[36], int c, float *v, size_t stride) {
    vf t[6][6];
    SD_UNROLL(6)
    for (int j = 0; j < 6; j++) {
        vf d[6], o[6];
        SD_UNROLL(6)
        for (int i = 0; i < 6; i++)
            d[i] = v_load(pixel[6 * i + j] + c);
        winograd_input_1d(o, d);
        SD_UNROLL(6)
        for (int i = 0; i < 6; i++)
            t[i][j] = o[i];
    }
    SD_UNROLL(6)
    for (int i = 0; i < 6; i++) {
        vf o[6];
        winograd_input_1d(o, t[i]);
        SD_UNROLL(6)
        for (int j = 0; j < 6; j++)
            v_store(v + (size_t)(6 * i + j) * stride + c, o[j]);
    }
}

/* One tile; pixel[] points to kc >= SD_VL channels of each. The last vector may overlap the one
 * before it. */
static void winograd_input(const float *const pixel[36], int kc, float *v, size_t stride) {
    int c = 0;
    for (; c + SD_VL <= kc; c += SD_VL)
        winograd_input_vector(pixel, c, v, stride);
    if (c < kc)
        winograd_input_vector(pixel, kc - SD_VL, v, stride);
}

/* o = G g */
SD_INLINE void winograd_weights_1d(vf o[6], const vf g[3]) {
    const float na = 0.5f / (SD_A2 * (SD_A2 - SD_B2)), nb = 0.5f / (SD_B2 * (SD_B2 - SD_A2));
    vf s = na * g[0] + SD_A2 * na * g[2], p = nb * g[0] + SD_B2 * nb * g[2];
    o[0] = g[0] * (1.0f / (SD_A2 * SD_B2));
    o[1] = s + SD_A * na * g[1];
    o[2] = s - SD_A * na * g[1];
    o[3] = p + SD_B * nb * g[1];
    o[4] = p - SD_B * nb * g[1];
    o[5] = g[2];
}

SD_INLINE vf load_weights(const sdb_type type, const void *w, size_t at) {
    return type == SDB_F16    ? v_from_f16((const uint16_t *)w + at)
           : type == SDB_BF16 ? v_from_bf16((const uint16_t *)w + at)
                              : v_load((const float *)w + at);
}

/* One vector of outputs of one input channel: 9 taps SD_NR apart. */
SD_INLINE void winograd_weights_vector(const sdb_type type, const void *w, size_t at, float *u,
                                       size_t stride) {
    vf t[6][3];
    SD_UNROLL(3)
    for (int j = 0; j < 3; j++) {
        vf g[3], o[6];
        SD_UNROLL(3)
        for (int i = 0; i < 3; i++)
            g[i] = load_weights(type, w, at + (size_t)(3 * i + j) * SD_NR);
        winograd_weights_1d(o, g);
        SD_UNROLL(6)
        for (int i = 0; i < 6; i++)
            t[i][j] = o[i];
    }
    SD_UNROLL(6)
    for (int i = 0; i < 6; i++) {
        vf o[6];
        winograd_weights_1d(o, t[i]);
        SD_UNROLL(6)
        for (int j = 0; j < 6; j++)
            v_store(u + (size_t)(6 * i + j) * stride, o[j]);
    }
}

SD_INLINE void winograd_weights_type(const sdb_type type, const void *w, int kc, float *u,
                                     size_t stride) {
    for (size_t k = 0; k < (size_t)kc; k++)
        for (size_t j = 0; j < SD_NR; j += SD_VL)
            winograd_weights_vector(type, w, k * 9 * SD_NR + j, u + k * SD_NR + j, stride);
}

/* w: kc channels of a panel, [kc][9][SD_NR] of `type` */
static void winograd_weights(sdb_type type, const void *w, int kc, float *u, size_t stride) {
    if (type == SDB_F16)
        winograd_weights_type(SDB_F16, w, kc, u, stride);
    else if (type == SDB_BF16)
        winograd_weights_type(SDB_BF16, w, kc, u, stride);
    else
        winograd_weights_type(SDB_F32, w, kc, u, stride);
}

/* o = A^T m */
SD_INLINE void winograd_output_1d(vf o[4], const vf m[6]) {
    vf p = m[1] + m[2], q = m[1] - m[2], r = m[3] + m[4], s = m[3] - m[4];
    o[0] = m[0] + p + r;
    o[1] = SD_A * q + SD_B * s;
    o[2] = SD_A2 * p + SD_B2 * r;
    o[3] = SD_A2 * SD_A * q + (SD_B2 * SD_B * s + m[5]);
}

/* One tile; out: [4][4][SD_NR] */
static void winograd_output(const float *m, size_t stride, float *out) {
    for (int v = 0; v < SD_NR; v += SD_VL) {
        vf t[4][6];
        SD_UNROLL(6)
        for (int j = 0; j < 6; j++) {
            vf c[6], o[4];
            SD_UNROLL(6)
            for (int i = 0; i < 6; i++)
                c[i] = v_load(m + (size_t)(6 * i + j) * stride + v);
            winograd_output_1d(o, c);
            SD_UNROLL(4)
            for (int i = 0; i < 4; i++)
                t[i][j] = o[i];
        }
        SD_UNROLL(4)
        for (int i = 0; i < 4; i++) {
            vf o[4];
            winograd_output_1d(o, t[i]);
            SD_UNROLL(4)
            for (int j = 0; j < 4; j++)
                v_store(out + (4 * i + j) * SD_NR + v, o[j]);
        }
    }
}
