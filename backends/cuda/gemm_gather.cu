/*
 * A product whose x cannot be copied in 16-byte chunks: views at odd channels, or so few channels
 * that a tap would fill a fraction of a slice. K runs over taps * c without gaps, BK at a time.
 * Each thread gathers one column of both operands, V at a time: four channels where x allows it,
 * otherwise one element.
 */
#include "gemm_mma.cuh"

template <int BK> using gather_tile = gemm_tile<64, 64, BK, 32, 32, 1, 4, false>;

/* Columns k0 .. k0 + BK - 1 of both operands to shared memory; the k that are too many are zero.
 * A batch is read before it is written, to wait for memory once. */
template <typename C, typename V>
__device__ __forceinline__ void gather(const cuda_gemm &g, const input_row *rows, char *stage,
                                       int k0, int n0, int phase) {
    constexpr int VEC = sizeof(V) / 2, STEP = C::THREADS * VEC / C::BK, N = C::BM / STEP;
    constexpr int BATCH = N < 8 ? N : 8;
    int column = (int)threadIdx.x * VEC % C::BK, k = k0 + column;
    int tap = k / g.c, channel = k - tap * g.c, first = (int)threadIdx.x * VEC / C::BK;
    bool inside = tap < g.kh * g.kw;
    const uint16_t *x =
        (const uint16_t *)g.x + channel + (int64_t)(tap / g.kw * g.w + tap % g.kw) * g.x_ld;
    int64_t row_size = (int64_t)g.kh * g.kw * g.k;
    const uint16_t *w = (const uint16_t *)g.weight + ((int64_t)phase * g.n_rows + n0) * row_size +
                        (int64_t)tap * g.k + channel;
    for (int start = 0; start < N; start += BATCH) {
        V a[BATCH], b[BATCH];
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            int row = first + (start + i) * STEP;
            a[i] = b[i] = V();
            if (inside && (rows[row].taps >> tap & 1))
                a[i] = __ldg((const V *)(x + rows[row].from));
            if (inside && n0 + row < g.n_rows)
                b[i] = __ldg((const V *)(w + row * row_size));
        }
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            int row = first + (start + i) * STEP;
            char *to = stage + row * C::ROW + C::place(row, column / 8) * 16 + column % 8 * 2;
            *(V *)to = a[i];
            *(V *)(to + C::BM * C::ROW) = b[i];
        }
    }
}

template <typename T, typename C, typename V>
__global__ void __launch_bounds__(C::THREADS, C::BLOCKS)
    gather_kernel(const __grid_constant__ cuda_gemm g, const __grid_constant__ gemm_work work) {
    __shared__ __align__(128) char stage[C::SHARED];
    __shared__ input_row rows[C::BM];
    int m0 = (int)(blockIdx.x / (unsigned)work.n_tiles) * C::BM;
    int n0 = (int)(blockIdx.x % (unsigned)work.n_tiles) * C::BN;
    int phase = (int)blockIdx.z;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int a_row = warp / C::WARPS_N * C::WM + lane % 16;
    int b_row = warp % C::WARPS_N * C::WN + (lane & 7) + (lane >> 4 << 3);
    if (threadIdx.x < C::BM)
        rows[threadIdx.x] = input_row_of(g, work.m, m0 + (int)threadIdx.x, phase);
    float acc[C::MT][C::NT][4] = {};
    for (int slice = 0; slice < work.slices; slice++) {
        __syncthreads();
        gather<C, V>(g, rows, stage, slice * C::BK, n0, phase);
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < C::BK / 16; kk++) {
            fragments<C> f;
            f.load(shared_address(stage), a_row, b_row, kk);
            f.template multiply<T>(acc);
        }
    }
    store_tile<T, C>(g, work, (float *)stage, m0, n0, phase, acc);
}

template <typename T, typename C, typename V> static void launch(sdb_queue *q, const cuda_gemm *g) {
    gemm_work work = {};
    work.m = g->n * g->oh * g->ow;
    work.n_tiles = (g->n_rows + C::BN - 1) / C::BN;
    work.slices = (g->kh * g->kw * g->c + C::BK - 1) / C::BK;
    work.aligned = epilogue_is_aligned(g);
    dim3 grid((unsigned)((work.m + C::BM - 1) / C::BM * work.n_tiles), 1, (unsigned)g->phases);
    gather_kernel<T, C, V><<<grid, C::THREADS, 0, q->stream>>>(*g, work);
}

template <typename T> static void launch_for(sdb_queue *q, const cuda_gemm *g) {
    /* A picture's three channels make 27 products, a latent's four 36. */
    if (g->c % 4 == 0 && g->x_ld % 4 == 0 && (uintptr_t)g->x % 8 == 0)
        launch<T, gather_tile<64>, uint2>(q, g);
    else
        launch<T, gather_tile<32>, uint16_t>(q, g);
}

extern "C" sd_status cuda_gemm_gather(sdb_queue *q, const cuda_gemm *g) {
    if (q->planning)
        return SD_OK;
    if (g->type == SDB_F16)
        launch_for<__half>(q, g);
    else
        launch_for<__nv_bfloat16>(q, g);
    return CUDA_LAUNCHED(q, "gathered matrix product");
}
