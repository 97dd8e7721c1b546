/* The end of a matrix product, while the tile is in the first-level cache. */

SD_INLINE void epilogue_act(const cpu_epilogue *e, const sdb_act act, int rows, int cols,
                            const float *c, size_t ldc) {
    vf scale = v_set(e->scale);
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < cols; j += SD_VL) {
            int n = cols - j < SD_VL ? cols - j : SD_VL;
            vf x = v_load(c + i * ldc + j);
            if (e->bias)
                x += v_load(e->bias + j);
            x = v_act(act, x) * scale;
            float *y = e->y + i * e->y_ld + j;
            const float *r = e->residual ? e->residual + i * e->residual_ld + j : NULL;
            if (n == SD_VL)
                v_store(y, r ? x + v_load(r) : x);
            else
                v_store_n(y, r ? x + v_load_n(r, (size_t)n) : x, (size_t)n);
        }
    }
}

static void epilogue_geglu(const cpu_epilogue *e, int rows, int cols, const float *c, size_t ldc) {
    vf scale = v_set(e->scale);
    for (int i = 0; i < rows; i++) {
        vf value = v_load(c + i * ldc), gate = v_load(c + i * ldc + SD_VL);
        if (e->bias) {
            value += v_load(e->bias);
            gate += v_load(e->bias + SD_VL);
        }
        vf x = value * v_gelu(gate) * scale;
        float *y = e->y + i * e->y_ld;
        const float *r = e->residual ? e->residual + i * e->residual_ld : NULL;
        if (cols == SD_VL)
            v_store(y, r ? x + v_load(r) : x);
        else
            v_store_n(y, r ? x + v_load_n(r, (size_t)cols) : x, (size_t)cols);
    }
}

static void epilogue(const cpu_epilogue *e, int rows, int cols, const float *c, size_t ldc) {
    if (e->geglu) {
        epilogue_geglu(e, rows, cols, c, ldc);
        return;
    }
    switch (e->act) {
    case SDB_ACT_SILU:
        epilogue_act(e, SDB_ACT_SILU, rows, cols, c, ldc);
        break;
    case SDB_ACT_QUICK_GELU:
        epilogue_act(e, SDB_ACT_QUICK_GELU, rows, cols, c, ldc);
        break;
    case SDB_ACT_GELU:
        epilogue_act(e, SDB_ACT_GELU, rows, cols, c, ldc);
        break;
    case SDB_ACT_RELU:
        epilogue_act(e, SDB_ACT_RELU, rows, cols, c, ldc);
        break;
    default:
        epilogue_act(e, SDB_ACT_NONE, rows, cols, c, ldc);
        break;
    }
}
