/*
 * Statistics of y for the group norm that reads it (backend.h), made by the epilogue from the tile
 * of y in shared memory. A part is the 64 pixels of a warpgroup.
 *
 * The sums over pixels are products: of a matrix whose first 8 rows are 8 columns of y, transposed,
 * and whose last 8 are ones, with those 8 columns. The diagonal of its upper half is the columns'
 * sums of squares, each row of its lower half their sums. Each column has the value in its first
 * pixel taken away before, so that a mean far from zero costs no accuracy, and is halved, so that
 * the difference cannot leave float16's range.
 */
#ifndef SD_CUDA_GEMM_HOPPER_STATS_CUH
#define SD_CUDA_GEMM_HOPPER_STATS_CUH

static __device__ __forceinline__ uint32_t two_ones(__half) {
    return 0x3c003c00u;
}

static __device__ __forceinline__ uint32_t two_ones(__nv_bfloat16) {
    return 0x3f803f80u;
}

/* (a - base) / 2 for two numbers of y; base: the same number twice. */
static __device__ __forceinline__ uint32_t half_difference(uint32_t a, uint32_t base, __half) {
    const __half2 half = __float2half2_rn(0.5f);
    const __half2 d = __hfma2(*(const __half2 *)&a, half, __hmul2(*(const __half2 *)&base, -half));
    return *(const uint32_t *)&d;
}

static __device__ __forceinline__ uint32_t half_difference(uint32_t a, uint32_t base,
                                                           __nv_bfloat16) {
    const __nv_bfloat162 half = __float2bfloat162_rn(0.5f);
    const __nv_bfloat162 d = __hfma2(*(const __nv_bfloat162 *)&a, half,
                                     __hmul2(*(const __nv_bfloat162 *)&base, __hneg2(half)));
    return *(const uint32_t *)&d;
}

/* d += a b: a [16][16], b [16][8], in the fragments of the PTX ISA's m16n8k16. */
static __device__ __forceinline__ void multiply_small(float (&d)[4], const uint32_t (&a)[4],
                                                      uint32_t b0, uint32_t b1, __half) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

static __device__ __forceinline__ void multiply_small(float (&d)[4], const uint32_t (&a)[4],
                                                      uint32_t b0, uint32_t b1, __nv_bfloat16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The sums of one group of 16 columns over a part: the product's fragments, 8 columns each. */
struct group_sums {
    uint32_t base[2];
    float d[2][4];
};

/* r: the part's rows 16 i .. 16 i + 15 of the group, transposed. */
template <class T>
static __device__ __forceinline__ void sum_group(group_sums &s, const uint32_t (&r)[4][4]) {
    const int lane = (int)threadIdx.x % 32;
    /* the first row of the 8 columns is with the first of each four lanes */
#pragma unroll
    for (int b = 0; b < 2; b++) {
        s.base[b] = __byte_perm(__shfl_sync(~0u, r[0][b], lane / 4 * 4), 0, 0x1010);
        s.d[b][0] = s.d[b][1] = s.d[b][2] = s.d[b][3] = 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int b = 0; b < 2; b++) {
            const uint32_t low = half_difference(r[i][b], s.base[b], T());
            const uint32_t high = half_difference(r[i][b + 2], s.base[b], T());
            const uint32_t a[4] = {low, two_ones(T()), high, two_ones(T())};
            multiply_small(s.d[b], a, low, high, T());
        }
}

/* Whether this lane has a diagonal element, c0 or c1 of column lane / 4, and so with the sums of
 * that column all that there is to know of it. */
static __device__ __forceinline__ bool on_diagonal(int lane) {
    return lane / 8 == lane % 4;
}

/* Lanes 0, 9, 18 and 27 return the statistics of columns lane / 4 and lane / 4 + 1 of the b-th 8:
 * merged by Chan, Golub and LeVeque's (1983) formula with what the lane 4 further on has. */
template <class T>
static __device__ __forceinline__ float2 finish_sums(const group_sums &s, int b) {
    const float n = (float)CUDA_PART;
    const bool odd = threadIdx.x / 4 % 2;
    const float sum = 2.0f * (odd ? s.d[b][3] : s.d[b][2]);
    const float squares = 4.0f * (odd ? s.d[b][1] : s.d[b][0]);
    const float shift = sum / n, mean = unpack(s.base[b], T()).x + shift;
    const float m2 = fmaxf(squares - shift * sum, 0.0f);
    const float d = __shfl_xor_sync(~0u, mean, 4) - mean;
    return make_float2(mean + 0.5f * d, m2 + __shfl_xor_sync(~0u, m2, 4) + 0.5f * n * d * d);
}

/*
 * The statistics of one group of 16 columns over 64 rows in shared memory, row_bytes apart, by one
 * warp. at: this lane's address of the first 16 rows' matrices: row lane / 16 * 8 + lane % 8,
 * columns lane / 8 % 2 * 8 on. `to`: of the group's first column; `columns`: that there are of it.
 */
template <class T>
static __device__ __forceinline__ void group_stats(float2 *to, int columns, uint32_t at,
                                                   int row_bytes) {
    const int lane = (int)threadIdx.x % 32;
    uint32_t r[4][4];
    group_sums s;
#pragma unroll
    for (int i = 0; i < 4; i++)
        load_matrices_transposed(r[i], at + i * 16 * row_bytes);
    sum_group<T>(s, r);
#pragma unroll
    for (int b = 0; b < 2; b++) {
        const float2 v = finish_sums<T>(s, b);
        const int c = 8 * b + lane / 4;
        if (on_diagonal(lane) && lane / 4 % 2 == 0 && c < columns)
            to[c / 2] = v;
    }
}

/* Where the statistics of a half of a box begin; `half`: 2 times the box plus its half. */
static __device__ __forceinline__ float2 *stats_of_half(const hopper_params &p, int half,
                                                        int phase) {
    const int image = p.phased ? divide(half, p.halves) : 0; /* an image has 4 times its halves */
    const int64_t part = half + (3 * image + phase) * p.halves.by;
    return p.stats + part * (p.n_out / 2);
}

/*
 * The statistics of `groups` groups of 16 columns, from column `column` of y on, over the 64 rows
 * that the four warps of a warpgroup staged row_bytes apart. All four call it once the rows are
 * there. (Each warp's groups side by side wait less and win 0.3 us where a kernel runs again and
 * again, but not within a network, where their code has to be fetched.)
 */
template <class T>
static __device__ __forceinline__ void column_stats(const hopper_params &p, float2 *to, int column,
                                                    int groups, uint32_t staging, int row_bytes) {
    const int warp = (int)threadIdx.x / 32 % 4, lane = (int)threadIdx.x % 32;
    const uint32_t first = staging + (lane / 16 * 8 + lane % 8) * row_bytes + lane / 8 % 2 * 16;
#pragma unroll 1
    for (int g = warp; g < groups; g += 4) {
        const int c = column + 16 * g;
        group_stats<T>(to + c / 2, p.n_out - c, first + g * 32, row_bytes);
    }
}

/* Until a warpgroup's four warps are here. */
static __device__ __forceinline__ void warpgroup_sync() {
    if (threadIdx.x < 128) /* a barrier known at compile time takes no more than itself */
        asm volatile("bar.sync 1, 128;" ::: "memory");
    else
        asm volatile("bar.sync 2, 128;" ::: "memory");
}

#endif
