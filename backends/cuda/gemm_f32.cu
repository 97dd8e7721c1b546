/*
 * The float32 product: multiply-adds, no TF32. Tiles of BM outputs by BN rows of weights, K in
 * slices of 16 channels of one tap, by cp.async into a ring of shared memory. A thread computes
 * R x R sums, rows and columns 16 apart; it reads its operands four k at a time. Rows are 20 floats
 * apart in shared memory, so that a warp's reads of 16 rows spread over all banks.
 */
#include "gemm_common.cuh"
#include "mma.cuh"

template <int R_> struct f32_tile {
    static constexpr int R = R_, BM = 16 * R, BN = 16 * R, BK = 16, THREADS = 256;
    static constexpr int PITCH = 20, STAGES = 3;
    static constexpr int STAGE = (BM + BN) * PITCH; /* floats */
    static constexpr int RING = STAGES * STAGE > BM *BN ? STAGES *STAGE : BM *BN;
    static constexpr int SHARED = RING * 4 + BM * (int)sizeof(input_row);
};

/* A slice of both operands. VEC floats of x come at once: 4 where x is aligned. */
template <typename C, int VEC>
__device__ __forceinline__ void load_slice(const cuda_gemm &g, const input_row *rows, float *stage,
                                           int slice, int n0, int phase) {
    int per_tap = (g.c + C::BK - 1) / C::BK, tap = slice / per_tap;
    int channel = (slice - tap * per_tap) * C::BK;
    int64_t tap_from = (int64_t)(tap / g.kw * g.w + tap % g.kw) * g.x_ld + channel;
    constexpr int PER_ROW = C::BK / VEC, STEP = C::THREADS / PER_ROW;
    int column = (int)threadIdx.x % PER_ROW * VEC;
    int bytes = min(4 * VEC, max(0, (g.c - channel - column) * 4));
#pragma unroll
    for (int i = 0; i < C::BM / STEP; i++) {
        int row = (int)threadIdx.x / PER_ROW + i * STEP;
        input_row r = rows[row];
        bool inside = (r.taps >> tap & 1) && bytes > 0;
        const float *src = (const float *)g.x + (inside ? r.from + tap_from + column : 0);
        unsigned dst = shared_address(stage + row * C::PITCH + column);
        if (VEC == 4)
            copy_async16(dst, src, inside ? bytes : 0);
        else
            copy_async4(dst, src, inside ? bytes : 0);
    }
    stage += C::BM * C::PITCH;
    int64_t row_size = (int64_t)g.kh * g.kw * g.k;
    column = (int)threadIdx.x % 4 * 4;
    int64_t from = (int64_t)tap * g.k + channel + column;
    for (int row = (int)threadIdx.x / 4; row < C::BN; row += C::THREADS / 4) {
        bool inside = n0 + row < g.n_rows;
        const float *src = (const float *)g.weight;
        if (inside)
            src += ((int64_t)phase * g.n_rows + n0 + row) * row_size + from;
        copy_async16(shared_address(stage + row * C::PITCH + column), src, inside ? 16 : 0);
    }
}

template <typename C>
__device__ __forceinline__ void multiply_slice(const float *stage, float (&acc)[C::R][C::R]) {
    const float *a = stage + (int)threadIdx.x / 16 * C::PITCH;
    const float *b = stage + (C::BM + (int)threadIdx.x % 16) * C::PITCH;
#pragma unroll 2 /* reading further ahead would take more registers than there are */
    for (int k = 0; k < C::BK; k += 2) {
        float2 bs[C::R];
#pragma unroll
        for (int j = 0; j < C::R; j++)
            bs[j] = *(const float2 *)(b + 16 * j * C::PITCH + k);
#pragma unroll
        for (int i = 0; i < C::R; i++) {
            float2 as = *(const float2 *)(a + 16 * i * C::PITCH + k);
#pragma unroll
            for (int j = 0; j < C::R; j++) {
                acc[i][j] = fmaf(as.x, bs[j].x, acc[i][j]);
                acc[i][j] = fmaf(as.y, bs[j].y, acc[i][j]);
            }
        }
    }
}

template <typename C>
__device__ __forceinline__ void store_partial(const gemm_work &work, int m0, int n0,
                                              const float (&acc)[C::R][C::R]) {
    int row = m0 + (int)threadIdx.x / 16, column = n0 + (int)threadIdx.x % 16;
    float *to = work.partial + (int64_t)blockIdx.z * work.m * work.n_pad;
#pragma unroll
    for (int i = 0; i < C::R; i++)
#pragma unroll
        for (int j = 0; j < C::R; j++)
            if (row + 16 * i < work.m && column + 16 * j < work.n_pad)
                to[(int64_t)(row + 16 * i) * work.n_pad + column + 16 * j] = acc[i][j];
}

template <typename C, int VEC>
__global__ void __launch_bounds__(C::THREADS, C::R == 8 ? 2 : 3)
    f32_kernel(const __grid_constant__ cuda_gemm g, const __grid_constant__ gemm_work work) {
    extern __shared__ __align__(16) float shared[];
    input_row *rows = (input_row *)(shared + C::RING);
    int m0 = (int)(blockIdx.x / (unsigned)work.n_tiles) * C::BM;
    int n0 = (int)(blockIdx.x % (unsigned)work.n_tiles) * C::BN;
    int phase = (int)blockIdx.z / work.splits, split = (int)blockIdx.z - phase * work.splits;
    int slice = split * work.split_slices, end = min(work.slices, slice + work.split_slices);
    if (threadIdx.x < C::BM)
        rows[threadIdx.x] = input_row_of(g, work.m, m0 + (int)threadIdx.x, phase);
    __syncthreads();

    float acc[C::R][C::R] = {};
    for (int i = 0; i < C::STAGES - 1; i++) {
        if (slice + i < end)
            load_slice<C, VEC>(g, rows, shared + i * C::STAGE, slice + i, n0, phase);
        copy_commit();
    }
    for (int at = 0; slice < end; slice++, at = at + 1 == C::STAGES ? 0 : at + 1) {
        copy_wait<C::STAGES - 2>();
        __syncthreads();
        int next = at == 0 ? C::STAGES - 1 : at - 1; /* multiplied before the barrier */
        if (slice + C::STAGES - 1 < end)
            load_slice<C, VEC>(g, rows, shared + next * C::STAGE, slice + C::STAGES - 1, n0, phase);
        copy_commit();
        multiply_slice<C>(shared + at * C::STAGE, acc);
    }
    copy_wait<0>();
    if (work.splits > 1) {
        store_partial<C>(work, m0, n0, acc);
        return;
    }
    __syncthreads();
    int row = (int)threadIdx.x / 16, column = (int)threadIdx.x % 16;
#pragma unroll
    for (int i = 0; i < C::R; i++)
#pragma unroll
        for (int j = 0; j < C::R; j++)
            staged8<C>(shared, row + 16 * i, column / 8 + 2 * j)[column % 8] = acc[i][j];
    __syncthreads();
    finish_tile<float, C>(g, work, shared, m0, n0, phase);
}

template <typename C> static sd_status launch(sdb_queue *q, const cuda_gemm *g, int splits) {
    bool vectors = (uintptr_t)g->x % 16 == 0 && g->x_ld % 4 == 0;
    const void *kernel = vectors ? (const void *)f32_kernel<C, 4> : (const void *)f32_kernel<C, 1>;
    tile_kernel tile = {kernel, C::BM, C::BN, C::BK, C::THREADS, C::SHARED};
    return launch_tiles(q, g, &tile, splits);
}

/* Microseconds of tiles of 16 R on an H200, whose multiprocessors take 2 for a slice of the large
 * tile; only the ratios matter. */
static float time_of(const sdb_device *dev, const cuda_gemm *g, int r, int splits) {
    int64_t m = (int64_t)g->n * g->oh * g->ow;
    int slices = g->kh * g->kw * cuda_divide_up(g->c, 16), depth = cuda_divide_up(slices, splits);
    int64_t blocks =
        (int64_t)cuda_divide_up(m, 16 * r) * cuda_divide_up(g->n_rows, 16 * r) * g->phases;
    int each = cuda_divide_up(blocks * cuda_divide_up(slices, depth), dev->n_sms);
    float time = (float)each * (float)depth * (r == 8 ? 2.0f : 0.75f);
    if (splits > 1)
        time += 1e-6f * (float)m * (float)g->n_rows * (float)(g->phases * (splits + 1));
    return time;
}

extern "C" sd_status cuda_gemm_f32(sdb_queue *q, const cuda_gemm *g) {
    enum { SLICES_OF_SPLIT = 16, MAX_SPLITS = 16 };
    int slices = g->kh * g->kw * cuda_divide_up(g->c, 16), best_r = 8, best_splits = 1;
    float best = time_of(q->dev, g, 8, 1);
    for (int r = 8; r >= 4; r -= 4)
        for (int s = 1; s <= MAX_SPLITS && (s == 1 || s * SLICES_OF_SPLIT <= slices); s++) {
            float time = time_of(q->dev, g, r, s);
            if (time < best) {
                best = time;
                best_r = r;
                best_splits = s;
            }
        }
    if (best_r == 8)
        return launch<f32_tile<8>>(q, g, best_splits);
    return launch<f32_tile<4>>(q, g, best_splits);
}
