/*
 * sd_arithmetic for one instruction set. Whoever includes this defines SET, the name; TARGET, the
 * attribute of functions; LANES, floats of a vector; VECTORS, of a tile of four rows, so that all
 * sums of a tile are in registers; and where there are instructions for float16 WIDEN_HALF(y, x)
 * and NARROW_HALF(y, x), which take HALF_LANES numbers at any alignment.
 */
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAME(name) JOIN(name, SET)
#define TILE_ROWS 4

typedef float NAME(vf) __attribute__((vector_size(LANES * sizeof(float))));
#define vf NAME(vf)

/* `rows` rows of so many whole vectors; both are constants where this is expanded. */
TARGET static inline __attribute__((always_inline)) void
NAME(tile)(const int rows, const int vectors, float *y, size_t y_row, const float *a, size_t a_row,
           const float *b, size_t b_row, int k) {
    vf sum[TILE_ROWS][VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = (vf){0};
    for (int p = 0; p < k; p++) {
        for (int v = 0; v < vectors; v++) {
            vf bv;
            memcpy(&bv, b + (size_t)p * b_row + v * LANES, sizeof bv);
            for (int r = 0; r < rows; r++)
                sum[r][v] += a[(size_t)r * a_row + (size_t)p] * bv;
        }
    }
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            vf yv;
            float *at = y + (size_t)r * y_row + v * LANES;
            memcpy(&yv, at, sizeof yv);
            yv += sum[r][v];
            memcpy(at, &yv, sizeof yv);
        }
    }
}

/* The last n columns, fewer than a vector, of one row. */
TARGET static void NAME(rest)(float *y, const float *a, const float *b, size_t b_row, size_t n,
                              int k) {
    vf sum = {0}, yv = {0};
    for (int p = 0; p < k; p++) {
        vf bv = {0};
        memcpy(&bv, b + (size_t)p * b_row, n * sizeof *b);
        sum += a[p] * bv;
    }
    memcpy(&yv, y, n * sizeof *y);
    yv += sum;
    memcpy(y, &yv, n * sizeof *y);
}

TARGET static void NAME(multiply_rows)(const int rows, float *y, size_t y_row, const float *a,
                                       size_t a_row, const float *b, size_t b_row, size_t n,
                                       int k) {
    size_t i = 0;
    for (; rows == TILE_ROWS && i + VECTORS * LANES <= n; i += VECTORS * LANES)
        NAME(tile)(TILE_ROWS, VECTORS, y + i, y_row, a, a_row, b + i, b_row, k);
    for (; rows == TILE_ROWS && i + LANES <= n; i += LANES)
        NAME(tile)(TILE_ROWS, 1, y + i, y_row, a, a_row, b + i, b_row, k);
    for (int r = 0; r < rows; r++) {
        size_t j = i;
        float *yr = y + (size_t)r * y_row;
        for (; j + VECTORS * LANES <= n; j += VECTORS * LANES)
            NAME(tile)(1, VECTORS, yr + j, 0, a + (size_t)r * a_row, 0, b + j, b_row, k);
        for (; j + LANES <= n; j += LANES)
            NAME(tile)(1, 1, yr + j, 0, a + (size_t)r * a_row, 0, b + j, b_row, k);
        if (j < n)
            NAME(rest)(yr + j, a + (size_t)r * a_row, b + j, b_row, n - j, k);
    }
}

TARGET static void NAME(multiply_add)(float *y, size_t y_row, const float *a, size_t a_row,
                                      const float *b, size_t b_row, int rows, size_t n, int k) {
    for (; rows > 0; rows -= TILE_ROWS, y += TILE_ROWS * y_row, a += TILE_ROWS * a_row)
        NAME(multiply_rows)
    (rows < TILE_ROWS ? rows : TILE_ROWS, y, y_row, a, a_row, b, b_row, n, k);
}

/* Plain loops with no branch, of which the compiler makes vectors. */
#define WIDEN(name, one)                                                                           \
    TARGET static void NAME(name)(float *y, const void *x, size_t n) {                             \
        uint16_t half[CHUNK];                                                                      \
        for (size_t i = 0; i < n; i += CHUNK) {                                                    \
            size_t m = n - i < CHUNK ? n - i : CHUNK;                                              \
            memcpy(half, (const uint8_t *)x + 2 * i, m * sizeof *half);                            \
            for (size_t j = 0; j < m; j++)                                                         \
                y[i + j] = one(half[j]);                                                           \
        }                                                                                          \
    }
#define NARROW(name, one)                                                                          \
    TARGET static void NAME(name)(void *y, const float *x, size_t n) {                             \
        uint16_t half[CHUNK];                                                                      \
        for (size_t i = 0; i < n; i += CHUNK) {                                                    \
            size_t m = n - i < CHUNK ? n - i : CHUNK;                                              \
            for (size_t j = 0; j < m; j++)                                                         \
                half[j] = one(x[i + j]);                                                           \
            memcpy((uint8_t *)y + 2 * i, half, m * sizeof *half);                                  \
        }                                                                                          \
    }
#ifdef HALF_LANES
TARGET static void NAME(widen_f16)(float *y, const void *x, size_t n) {
    const uint16_t *half = x;
    size_t i = 0;
    for (; i + HALF_LANES <= n; i += HALF_LANES)
        WIDEN_HALF(y + i, half + i);
    for (; i < n; i++)
        y[i] = f16_to_float(half[i]);
}

TARGET static void NAME(narrow_f16)(void *y, const float *x, size_t n) {
    uint16_t *half = y;
    size_t i = 0;
    for (; i + HALF_LANES <= n; i += HALF_LANES)
        NARROW_HALF(half + i, x + i);
    for (; i < n; i++)
        half[i] = float_to_f16(x[i]);
}
#else
WIDEN(widen_f16, f16_to_float)
NARROW(narrow_f16, float_to_f16)
#endif
WIDEN(widen_bf16, bf16_to_float)
NARROW(narrow_bf16, float_to_bf16)

static void NAME(widen)(float *y, const void *x, sdb_type type, size_t n) {
    if (type == SDB_F16)
        NAME(widen_f16)(y, x, n);
    else if (type == SDB_BF16)
        NAME(widen_bf16)(y, x, n);
    else
        memcpy(y, x, n * sizeof *y);
}

static void NAME(narrow)(void *y, const float *x, sdb_type type, size_t n) {
    if (type == SDB_F16)
        NAME(narrow_f16)(y, x, n);
    else if (type == SDB_BF16)
        NAME(narrow_bf16)(y, x, n);
    else
        memcpy(y, x, n * sizeof *x);
}

static const sd_arithmetic NAME(arithmetic) = {NAME(multiply_add), NAME(widen), NAME(narrow)};

#undef vf
#undef WIDEN
#undef HALF_LANES
#undef WIDEN_HALF
#undef NARROW_HALF
#undef NARROW
#undef TILE_ROWS
#undef NAME
#undef JOIN
#undef JOIN_
#undef SET
#undef TARGET
#undef LANES
#undef VECTORS
