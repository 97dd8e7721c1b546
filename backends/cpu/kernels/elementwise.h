/* Element by element over runs of floats. */

/* y = coef * x, or y += coef * x */
static void scale_add(float *y, const float *x, size_t n, float coef, bool add) {
    size_t i = 0;
    for (; i + SD_VL <= n; i += SD_VL) {
        vf v = coef * v_load(x + i);
        v_store(y + i, add ? v_load(y + i) + v : v);
    }
    for (; i < n; i++) {
        float v = coef * x[i];
        y[i] = add ? y[i] + v : v;
    }
}

SD_INLINE void activate_act(const sdb_act act, float *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + SD_VL <= n; i += SD_VL)
        v_store(y + i, v_act(act, v_load(x + i)));
    if (i < n)
        v_store_n(y + i, v_act(act, v_load_n(x + i, n - i)), n - i);
}

static void activate(sdb_act act, float *y, const float *x, size_t n) {
    switch (act) {
    case SDB_ACT_SILU:
        activate_act(SDB_ACT_SILU, y, x, n);
        break;
    case SDB_ACT_QUICK_GELU:
        activate_act(SDB_ACT_QUICK_GELU, y, x, n);
        break;
    case SDB_ACT_GELU:
        activate_act(SDB_ACT_GELU, y, x, n);
        break;
    case SDB_ACT_RELU:
        activate_act(SDB_ACT_RELU, y, x, n);
        break;
    default:
        activate_act(SDB_ACT_NONE, y, x, n);
        break;
    }
}
