/*
 * The tile of the portable tensor-core product: BM outputs by BN rows of weights, K in slices of
 * BK channels of one tap. Slices come by cp.async into a ring of STAGES buffers; where a tap falls
 * outside the image or a slice reaches past the channels, nothing is read and the copy writes
 * zeros. Each of the warps keeps WM x WN sums in registers.
 *
 * In shared memory a row's 16-byte chunks are permuted by XOR with the row's number, so that both
 * the copies and ldmatrix (eight rows at one chunk) use all banks.
 */
#ifndef SD_CUDA_GEMM_MMA_CUH
#define SD_CUDA_GEMM_MMA_CUH

#include "gemm_common.cuh"
#include "mma.cuh"

template <int BM_, int BN_, int BK_, int WM_, int WN_, int STAGES_, int BLOCKS_, bool AHEAD_ = true>
struct gemm_tile {
    static constexpr int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, STAGES = STAGES_;
    static constexpr int BLOCKS = BLOCKS_; /* of a multiprocessor: bounds the registers */
    static constexpr bool AHEAD = AHEAD_;  /* fragments are loaded one step of 16 ahead */
    static constexpr int WARPS_N = BN / WN, THREADS = 32 * (BM / WM) * WARPS_N;
    static constexpr int MT = WM / 16, NT = WN / 8; /* fragments of a warp */
    static constexpr int CHUNKS = BK / 8;           /* of 16 bytes in a row */
    static constexpr int ROW = BK * 2;              /* bytes */
    static constexpr int ROWS = THREADS / CHUNKS;   /* that one round of copies brings */
    static constexpr int A_ROUNDS = BM / ROWS, B_ROUNDS = BN / ROWS;
    /* Compiled for compute capability 9.0, too, whose own kernel leaves little to do. */
    static constexpr bool BESIDE_WGMMA = BN == 64 || BN == 128;
    static constexpr int STAGE = (BM + BN) * ROW;
    static constexpr int SHARED =
        STAGES * STAGE > BM *BN * 4 ? STAGES *STAGE : BM *BN * 4; /* sums are staged there */
    static_assert(BM % ROWS == 0 && BN % ROWS == 0 && ROWS % 8 == 0 && NT % 2 == 0, "tile");

    /* The chunk's place in its row. */
    static __device__ __forceinline__ int place(int row, int chunk) {
        return CHUNKS == 8 ? chunk ^ (row & 7) : chunk ^ (row >> 1 & 3);
    }
};

/* One thread's share of the copies: chunk `chunk` of rows row, row + ROWS, ... of A and B. */
template <typename C> struct tile_loader {
    unsigned at;                  /* in a stage's A and B */
    int a_from[C::A_ROUNDS];      /* of tap 0's chunk in x, in 16 bytes */
    unsigned a_taps[C::A_ROUNDS]; /* bit i: the i-th tap from now is in the image */
    int b_from, b_rows;           /* of the next chunk in w; rows that are there */
    int a_step;                   /* from tap 0, channel 0 to the next slice */
    int tap_x, channel;           /* the next slice */

    __device__ __forceinline__ void init(const cuda_gemm &g, int m, int m0, int n0, int phase,
                                         int slice) {
        int row = (int)threadIdx.x / C::CHUNKS, chunk = (int)threadIdx.x % C::CHUNKS;
        int per_tap = (g.c + C::BK - 1) / C::BK, tap = slice / per_tap;
        at = (unsigned)(row * C::ROW + C::place(row, chunk) * 16);
#pragma unroll
        for (int i = 0; i < C::A_ROUNDS; i++) {
            input_row r = input_row_of(g, m, m0 + row + i * C::ROWS, phase);
            a_from[i] = (int)(r.from / 8) + chunk;
            a_taps[i] = r.taps >> tap;
        }
        channel = (slice - tap * per_tap) * C::BK;
        tap_x = tap % g.kw;
        a_step = (tap / g.kw * g.w + tap_x) * (int)(g.x_ld / 8) + channel / 8;
        b_from = (phase * g.n_rows + n0 + row) * (g.kh * g.kw * g.k / 8) + chunk;
        b_from += (tap * g.k + channel) / 8;
        b_rows = g.n_rows - n0 - row;
    }

    /* Brings the next slice. */
    __device__ __forceinline__ void next(const cuda_gemm &g, unsigned stage) {
        int chunk = (int)threadIdx.x % C::CHUNKS;
        int bytes = min(16, max(0, (g.c - channel - chunk * 8) * 2));
#pragma unroll
        for (int i = 0; i < C::A_ROUNDS; i++) {
            bool inside = a_taps[i] & 1;
            int64_t from = inside ? (int64_t)(a_from[i] + a_step) * 16 : 0;
            copy_async16(stage + at + i * C::ROWS * C::ROW, (const char *)g.x + from,
                         inside ? bytes : 0);
        }
        int row_size = g.kh * g.kw * g.k / 8;
        stage += C::BM * C::ROW;
#pragma unroll
        for (int i = 0; i < C::B_ROUNDS; i++) {
            bool inside = i * C::ROWS < b_rows;
            int64_t from = inside ? (int64_t)(b_from + i * C::ROWS * row_size) * 16 : 0;
            copy_async16(stage + at + i * C::ROWS * C::ROW, (const char *)g.weight + from,
                         inside ? 16 : 0);
        }
        advance(g);
    }

    __device__ __forceinline__ void advance(const cuda_gemm &g) {
        channel += C::BK;
        a_step += C::CHUNKS;
        b_from += C::CHUNKS;
        if (channel < g.c)
            return;
        a_step += (int)(g.x_ld / 8) - channel / 8;
        b_from += (g.k - channel) / 8;
        channel = 0;
        if (++tap_x == g.kw) {
            tap_x = 0;
            a_step += (g.w - g.kw) * (int)(g.x_ld / 8);
        }
#pragma unroll
        for (int i = 0; i < C::A_ROUNDS; i++)
            a_taps[i] >>= 1;
    }
};

template <typename C> struct fragments {
    uint32_t a[C::MT][4], b[C::NT / 2][4];

    /* Columns 16 kk .. of a stage. a_row, b_row: this lane's rows for ldmatrix. */
    __device__ __forceinline__ void load(unsigned stage, int a_row, int b_row, int kk) {
        int lane = (int)threadIdx.x % 32;
        unsigned a_at = (unsigned)(C::place(a_row, 2 * kk + (lane >> 4)) * 16);
        unsigned b_at = (unsigned)(C::place(b_row, 2 * kk + (lane >> 3 & 1)) * 16);
#pragma unroll
        for (int i = 0; i < C::MT; i++)
            load_matrix4(a[i], stage + (unsigned)((a_row + 16 * i) * C::ROW) + a_at);
        stage += C::BM * C::ROW;
#pragma unroll
        for (int j = 0; j < C::NT / 2; j++)
            load_matrix4(b[j], stage + (unsigned)((b_row + 16 * j) * C::ROW) + b_at);
    }

    template <typename T>
    __device__ __forceinline__ void multiply(float (&acc)[C::MT][C::NT][4]) const {
#pragma unroll
        for (int i = 0; i < C::MT; i++)
#pragma unroll
            for (int j = 0; j < C::NT; j++)
                mma16816<T>(acc[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
};

/* acc += the product over n_slices slices. */
template <typename T, typename C>
__device__ __forceinline__ void multiply_slices(const cuda_gemm &g, tile_loader<C> &loader,
                                                unsigned shared, int n_slices,
                                                float (&acc)[C::MT][C::NT][4]) {
    constexpr int STEPS = C::BK / 16, FIRST = C::AHEAD ? 1 : 0;
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int a_row = warp / C::WARPS_N * C::WM + lane % 16;
    int b_row = warp % C::WARPS_N * C::WN + (lane & 7) + (lane >> 4 << 3);
    int loaded = 0;
#pragma unroll
    for (; loaded < C::STAGES - 1; loaded++) {
        if (loaded < n_slices)
            loader.next(g, shared + (unsigned)(loaded * C::STAGE));
        copy_commit();
    }
    unsigned read = 0, write = (C::STAGES - 1) * C::STAGE;
    fragments<C> f[1 + FIRST];
    if (C::AHEAD) {
        copy_wait<C::STAGES - 2>();
        __syncthreads();
        f[0].load(shared, a_row, b_row, 0);
    }
    for (int slice = 0; slice < n_slices; slice++) {
#pragma unroll
        for (int kk = FIRST; kk < STEPS + FIRST; kk++) {
            if (kk % STEPS == 0) { /* the step begins a stage */
                copy_wait<C::STAGES - 2>();
                __syncthreads();
                if (C::AHEAD)
                    read = read == (C::STAGES - 1) * C::STAGE ? 0 : read + C::STAGE;
            }
            f[kk % (1 + FIRST)].load(shared + read, a_row, b_row, kk % STEPS);
            if (kk == FIRST) {
                if (loaded++ < n_slices)
                    loader.next(g, shared + write);
                copy_commit();
                write = write == (C::STAGES - 1) * C::STAGE ? 0 : write + C::STAGE;
            }
            f[(kk - FIRST) % (1 + FIRST)].template multiply<T>(acc);
        }
        if (!C::AHEAD)
            read = read == (C::STAGES - 1) * C::STAGE ? 0 : read + C::STAGE;
    }
    copy_wait<0>();
}

/* Sums to work.partial[phase][split], from where cuda_gemm_reduce takes them. */
template <typename C>
__device__ __forceinline__ void store_partial(const gemm_work &work, int m0, int n0,
                                              const float (&acc)[C::MT][C::NT][4]) {
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int row = m0 + warp / C::WARPS_N * C::WM + lane / 4;
    int column = n0 + warp % C::WARPS_N * C::WN + lane % 4 * 2;
    float *to = work.partial + (int64_t)blockIdx.z * work.m * work.n_pad;
#pragma unroll
    for (int i = 0; i < 2 * C::MT; i++) {
        int m = row + 8 * i;
        if (m >= work.m)
            continue;
#pragma unroll
        for (int j = 0; j < C::NT; j++)
            if (column + 8 * j < work.n_pad)
                *(float2 *)(to + (int64_t)m * work.n_pad + column + 8 * j) =
                    make_float2(acc[i / 2][j][i % 2 * 2], acc[i / 2][j][i % 2 * 2 + 1]);
    }
}

template <typename T, typename C>
__device__ __forceinline__ void store_tile(const cuda_gemm &g, const gemm_work &work, float *sums,
                                           int m0, int n0, int phase,
                                           const float (&acc)[C::MT][C::NT][4]) {
    int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    int row = warp / C::WARPS_N * C::WM + lane / 4, group = warp % C::WARPS_N * (C::WN / 8);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 2 * C::MT; i++)
#pragma unroll
        for (int j = 0; j < C::NT; j++)
            *(float2 *)(staged8<C>(sums, row + 8 * i, group + j) + lane % 4 * 2) =
                make_float2(acc[i / 2][j][i % 2 * 2], acc[i / 2][j][i % 2 * 2 + 1]);
    __syncthreads();
    finish_tile<T, C>(g, work, sums, m0, n0, phase);
}

template <typename T, typename C>
__global__ void __launch_bounds__(C::THREADS, C::BLOCKS)
    gemm_mma_kernel(const __grid_constant__ cuda_gemm g, const __grid_constant__ gemm_work work) {
#if __CUDA_ARCH__ >= 900
    if (!C::BESIDE_WGMMA)
        return; /* never launched there; not worth its size */
#endif
    extern __shared__ __align__(128) char shared[];
    int m0 = (int)(blockIdx.x / (unsigned)work.n_tiles) * C::BM;
    int n0 = (int)(blockIdx.x % (unsigned)work.n_tiles) * C::BN;
    int phase = (int)blockIdx.z / work.splits, split = (int)blockIdx.z - phase * work.splits;
    int first = split * work.split_slices;

    tile_loader<C> loader;
    loader.init(g, work.m, m0, n0, phase, first);
    float acc[C::MT][C::NT][4] = {};
    multiply_slices<T, C>(g, loader, shared_address(shared),
                          min(work.split_slices, work.slices - first), acc);
    if (work.splits > 1)
        store_partial<C>(work, m0, n0, acc);
    else
        store_tile<T, C>(g, work, (float *)shared, m0, n0, phase, acc);
}

#endif
