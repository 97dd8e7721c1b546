/*
 * Linear layers of up to eight tokens: the time embedding and what hangs on it. Reading the weights
 * is the work. A block computes eight rows for all tokens; its warps share out k, each lane taking
 * eight neighbours at a time, and the sums meet in shared memory in a fixed order.
 */
#include "gemm_common.cuh"

enum { FEW_WARPS = 4, FEW_TOKENS = 8, FEW_ROWS = 8 };

template <typename T> __device__ __forceinline__ void widen8(uint4 bits, float (&out)[8]) {
    const T *e = (const T *)&bits;
#pragma unroll
    for (int i = 0; i < 8; i++)
        out[i] = cuda_float(e[i]);
}

template <typename T>
__device__ __forceinline__ void load_rows(const cuda_gemm &g, int row, int k,
                                          uint4 (&rows)[FEW_ROWS]) {
    const T *w = (const T *)g.weight + (int64_t)row * g.k + k;
#pragma unroll
    for (int i = 0; i < FEW_ROWS; i++)
        rows[i] = row + i < g.n_rows && k < g.c ? __ldg((const uint4 *)(w + (int64_t)i * g.k))
                                                : make_uint4(0, 0, 0, 0);
}

/* sums[token][row] of this lane's share of k; the next weights come while these are multiplied. */
template <typename T, int TOKENS>
__device__ __forceinline__ void multiply_share(const cuda_gemm &g, int row,
                                               float (&sums)[TOKENS][FEW_ROWS]) {
    uint4 rows[FEW_ROWS];
    int k = (int)threadIdx.x * 8;
    load_rows<T>(g, row, k, rows);
    cuda_let_next_start();
    cuda_wait_for_previous();
    while (k < g.c) {
        float x[TOKENS][8];
#pragma unroll
        for (int t = 0; t < TOKENS; t++) {
            uint4 v = make_uint4(0, 0, 0, 0);
            if (t < g.ow)
                v = *(const uint4 *)((const T *)g.x + t * g.x_ld + k);
            widen8<T>(v, x[t]);
        }
        uint4 next[FEW_ROWS];
        k += FEW_WARPS * 32 * 8;
        load_rows<T>(g, row, k, next);
#pragma unroll
        for (int i = 0; i < FEW_ROWS; i++) {
            float weights[8];
            widen8<T>(rows[i], weights);
            rows[i] = next[i];
#pragma unroll
            for (int t = 0; t < TOKENS; t++)
#pragma unroll
                for (int j = 0; j < 8; j++)
                    sums[t][i] = fmaf(weights[j], x[t][j], sums[t][i]);
        }
    }
}

template <typename T, int TOKENS>
__global__ void __launch_bounds__(FEW_WARPS * 32, 2)
    few_kernel(const __grid_constant__ cuda_gemm g, bool aligned) {
    __shared__ float shared[FEW_WARPS][TOKENS][FEW_ROWS];
    int row = (int)blockIdx.x * FEW_ROWS, warp = (int)threadIdx.x / 32;
    float sums[TOKENS][FEW_ROWS] = {};
    multiply_share<T, TOKENS>(g, row, sums);
#pragma unroll
    for (int t = 0; t < TOKENS; t++)
#pragma unroll
        for (int i = 0; i < FEW_ROWS; i++) {
#pragma unroll
            for (int far = 16; far > 0; far /= 2)
                sums[t][i] += __shfl_xor_sync(0xffffffff, sums[t][i], far);
            if (threadIdx.x % 32 == 0)
                shared[warp][t][i] = sums[t][i];
        }
    __syncthreads();
    int token = (int)threadIdx.x;
    if (token >= g.ow)
        return;
    float v[8];
    read8(shared[0][token], v);
    for (int i = 1; i < FEW_WARPS; i++)
        for (int j = 0; j < 8; j++)
            v[j] += shared[i][token][j];
    float bias[8];
    load_bias8(g, aligned, row, bias);
    finish8<T>(g, aligned, output8_of<T>(g, aligned, token, 0, row, row), row, bias, v);
}

extern "C" bool cuda_gemm_few_fits(const cuda_gemm *g) {
    return g->type != SDB_F32 && g->n * g->oh == 1 && g->ow <= FEW_TOKENS && g->kh * g->kw == 1 &&
           g->ow == g->w && !g->geglu && g->c % 8 == 0 && (uintptr_t)g->x % 16 == 0 &&
           g->x_ld % 8 == 0;
}

template <typename T> static cudaError_t launch(sdb_queue *q, const cuda_gemm *g) {
    cuda_grid grid = cuda_early(cuda_divide_up(g->n_rows, FEW_ROWS), FEW_WARPS * 32);
    bool aligned = epilogue_is_aligned(g);
    return g->ow <= 2 ? cuda_launch(q, few_kernel<T, 2>, grid, *g, aligned)
                      : cuda_launch(q, few_kernel<T, FEW_TOKENS>, grid, *g, aligned);
}

extern "C" sd_status cuda_gemm_few(sdb_queue *q, const cuda_gemm *g) {
    if (q->planning)
        return SD_OK;
    cudaError_t error = g->type == SDB_F16 ? launch<__half>(q, g) : launch<__nv_bfloat16>(q, g);
    return cuda_check(q->dev, error, "launch of a product with few tokens");
}
