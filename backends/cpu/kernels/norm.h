/* Sums for group normalisation, and the two normalisations. */

#define SD_HALF (SD_VL / 2)

typedef double vd __attribute__((vector_size(4 * SD_VL))); /* SD_HALF doubles */
typedef float vhf __attribute__((vector_size(2 * SD_VL))); /* SD_HALF floats */

SD_INLINE vd v_load_double(const double *p) {
    vd v;
    memcpy(&v, p, sizeof v);
    return v;
}

SD_INLINE void v_store_double(double *p, vd v) {
    memcpy(p, &v, sizeof v);
}

SD_INLINE vd v_widen_double(const float *p) {
    vhf v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vd);
}

/* 4 * SD_HALF channels of a few pixels. */
SD_INLINE void channel_sums_4(double *sum, double *squares, const float *x, size_t ld, int rows) {
    vd s[4], q[4];
    SD_UNROLL(4)
    for (int j = 0; j < 4; j++) {
        s[j] = v_load_double(sum + j * SD_HALF);
        q[j] = v_load_double(squares + j * SD_HALF);
    }
    for (int r = 0; r < rows; r++, x += ld) {
        SD_UNROLL(4)
        for (int j = 0; j < 4; j++) {
            vd v = v_widen_double(x + j * SD_HALF);
            s[j] += v;
            q[j] += v * v;
        }
    }
    SD_UNROLL(4)
    for (int j = 0; j < 4; j++) {
        v_store_double(sum + j * SD_HALF, s[j]);
        v_store_double(squares + j * SD_HALF, q[j]);
    }
}

/* In double, squares of floats are exact and the variance keeps its digits beside a large mean; the
 * pass waits for memory anyway. 16 pixels at a time keep the reads near each other. */
static void channel_sums(double *sum, double *squares, const float *x, size_t ld, int rows, int c) {
    for (int first = 0; first < rows; first += 16, x += 16 * ld) {
        int now = rows - first < 16 ? rows - first : 16, i = 0;
        for (; i + 4 * SD_HALF <= c; i += 4 * SD_HALF)
            channel_sums_4(sum + i, squares + i, x + i, ld, now);
        for (; i < c; i++) {
            for (int r = 0; r < now; r++) {
                double v = (double)x[(size_t)r * ld + (size_t)i];
                sum[i] += v;
                squares[i] += v * v;
            }
        }
    }
}

SD_INLINE void normalise_act(const cpu_normalise *o, const sdb_act act, int rows, float *y,
                             const float *x) {
    for (int r = 0; r < rows; r++, x += o->x_ld, y += o->y_ld) {
        int i = 0;
        for (; i + SD_VL <= o->c; i += SD_VL) {
            vf v = (v_load(x + i) - v_load(o->mean + i)) * v_load(o->scale + i);
            v_store(y + i, v_act(act, v + v_load(o->shift + i)));
        }
        if (i < o->c) {
            size_t n = (size_t)(o->c - i);
            vf v = (v_load_n(x + i, n) - v_load_n(o->mean + i, n)) * v_load_n(o->scale + i, n);
            v_store_n(y + i, v_act(act, v + v_load_n(o->shift + i, n)), n);
        }
    }
}

static void normalise(const cpu_normalise *o, int rows, float *y, const float *x) {
    if (o->silu)
        normalise_act(o, SDB_ACT_SILU, rows, y, x);
    else
        normalise_act(o, SDB_ACT_NONE, rows, y, x);
}

/* Sum over c values of (x - mean)^power, power 1 or 2. */
SD_INLINE float centred_sum(const float *x, int c, float mean, const int power) {
    vf s[4] = {{0}, {0}, {0}, {0}};
    int i = 0;
    for (; i + 4 * SD_VL <= c; i += 4 * SD_VL) {
        SD_UNROLL(4)
        for (int j = 0; j < 4; j++) {
            vf d = v_load(x + i + j * SD_VL) - mean;
            s[j] += power == 2 ? d * d : d;
        }
    }
    for (; i + SD_VL <= c; i += SD_VL) {
        vf d = v_load(x + i) - mean;
        s[0] += power == 2 ? d * d : d;
    }
    float tail = 0.0f;
    for (; i < c; i++) {
        float d = x[i] - mean;
        tail += power == 2 ? d * d : d;
    }
    return v_sum((s[0] + s[1]) + (s[2] + s[3])) + tail;
}

/* The mean is taken twice: `rest` is what the first one, rounded to float, left over. */
static void layer_norm(float *y, const float *x, int c, const float *gamma, const float *beta,
                       float eps) {
    float n = (float)c;
    float mean = centred_sum(x, c, 0.0f, 1) / n;
    float rest = centred_sum(x, c, mean, 1) / n;
    float variance = centred_sum(x, c, mean, 2) / n - rest * rest;
    float scale = 1.0f / __builtin_sqrtf((variance > 0.0f ? variance : 0.0f) + eps);
    int i = 0;
    for (; i + SD_VL <= c; i += SD_VL) {
        vf v = ((v_load(x + i) - mean) - rest) * scale * v_load(gamma + i);
        v_store(y + i, beta ? v + v_load(beta + i) : v);
    }
    for (; i < c; i++) {
        float v = ((x[i] - mean) - rest) * scale * gamma[i];
        y[i] = beta ? v + beta[i] : v;
    }
}
