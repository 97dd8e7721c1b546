/* Softmax over rows, with queries in columns: no sum or maximum across lanes is needed. */

#define SD_MASKED (-1e30f)

/* Element (row, column j) with row > last + j is masked. */
static void mask_rows(float *s, int rows, int64_t last) {
    for (int64_t i = last < -1 ? 0 : last + 1; i < rows; i++) {
        int64_t first = i - last; /* columns below are masked */
        vi limit = v_set_i(first > SD_NR ? SD_NR : (int32_t)first);
        for (int h = 0; h < 2; h++) {
            float *p = s + i * SD_NR + h * SD_VL;
            vi column = v_iota() + h * SD_VL;
            v_store(p, v_select(column < limit, v_set(SD_MASKED), v_load(p)));
        }
    }
}

static void softmax(float *s, int rows, int64_t last, float *max, float *sum, float *o, size_t dim,
                    bool first) {
    if (last < rows - 1)
        mask_rows(s, rows, last);
    vf old0 = first ? v_set(SD_MASKED) : v_load(max);
    vf old1 = first ? v_set(SD_MASKED) : v_load(max + SD_VL);
    vf max0 = old0, max1 = old1;
    for (int i = 0; i < rows; i++) {
        max0 = v_max(max0, v_load(s + (size_t)i * SD_NR));
        max1 = v_max(max1, v_load(s + (size_t)i * SD_NR + SD_VL));
    }
    vf sum0 = {0}, sum1 = {0};
    for (int i = 0; i < rows; i++) {
        float *p = s + (size_t)i * SD_NR;
        vf e0 = v_exp2(v_load(p) - max0), e1 = v_exp2(v_load(p + SD_VL) - max1);
        v_store(p, e0);
        v_store(p + SD_VL, e1);
        sum0 += e0;
        sum1 += e1;
    }
    if (!first) {
        vf scale0 = v_exp2(old0 - max0), scale1 = v_exp2(old1 - max1);
        sum0 += v_load(sum) * scale0;
        sum1 += v_load(sum + SD_VL) * scale1;
        for (size_t d = 0; d < dim; d++) {
            float *p = o + d * SD_NR;
            v_store(p, v_load(p) * scale0);
            v_store(p + SD_VL, v_load(p + SD_VL) * scale1);
        }
    }
    v_store(max, max0);
    v_store(max + SD_VL, max1);
    v_store(sum, sum0);
    v_store(sum + SD_VL, sum1);
}

static void finish_attention(float *y, size_t ld, int cols, const float *o, size_t dim,
                             const float *sum) {
    for (int first = 0; first < cols; first += SD_VL) {
        vf scale = 1.0f / v_load(sum + first);
        for (size_t d = 0; d < dim; d += SD_VL) {
            size_t n = dim - d < SD_VL ? dim - d : SD_VL;
            vf t[SD_VL];
            SD_UNROLL(16)
            for (size_t i = 0; i < SD_VL; i++)
                t[i] = i < n ? v_load(o + (d + i) * SD_NR + first) * scale : (vf){0};
            v_transpose(t);
            SD_UNROLL(16)
            for (int i = 0; i < SD_VL; i++) {
                if (first + i >= cols)
                    continue;
                if (n == SD_VL)
                    v_store(y + (size_t)(first + i) * ld + d, t[i]);
                else
                    v_store_n(y + (size_t)(first + i) * ld + d, t[i], n);
            }
        }
    }
}
