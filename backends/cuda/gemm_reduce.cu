/* The end of split products: the sum of the splits, then the epilogue. */
#include "gemm_common.cuh"

__device__ __forceinline__ void sum8(const float *from, int64_t step, int splits, float (&v)[8]) {
    read8(from, v);
#pragma unroll 4
    for (int s = 1; s < splits; s++) {
        float more[8];
        read8(from + s * step, more);
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[i] += more[i];
    }
}

enum { REDUCE_THREADS = 128 };

/* One thread for 8 outputs of a pixel; blockIdx.y is the phase. */
template <typename T>
__global__ void __launch_bounds__(REDUCE_THREADS)
    reduce_kernel(const __grid_constant__ cuda_gemm g, const float *partial, int splits, int m,
                  int n_pad, bool aligned) {
    int rows = g.geglu ? 16 : 8, per_m = n_pad / rows;
    int64_t at = (int64_t)blockIdx.x * REDUCE_THREADS + threadIdx.x;
    if (at >= (int64_t)m * per_m)
        return;
    int pixel = (int)(at / per_m), row = (int)(at - (int64_t)pixel * per_m) * rows;
    int64_t step = (int64_t)m * n_pad;
    const float *from =
        partial + (int64_t)blockIdx.y * splits * step + (int64_t)pixel * n_pad + row;
    output8<T> out =
        output8_of<T>(g, aligned, pixel, (int)blockIdx.y, row, g.geglu ? row / 2 : row);
    float v[8], gate[8], bias[8], gate_bias[8];
    load_bias8(g, aligned, row, bias);
    sum8(from, step, splits, v);
    if (g.geglu) {
        load_bias8(g, aligned, row + 8, gate_bias);
        sum8(from + 8, step, splits, gate);
        finish8_geglu<T>(g, aligned, out, row, bias, gate_bias, v, gate);
    } else {
        finish8<T>(g, aligned, out, row, bias, v);
    }
}

extern "C" sd_status cuda_gemm_reduce(sdb_queue *q, const cuda_gemm *g, const float *partial,
                                      int splits) {
    int m = g->n * g->oh * g->ow, n_pad = (g->n_rows + 7) / 8 * 8;
    int64_t threads = (int64_t)m * (n_pad / (g->geglu ? 16 : 8));
    dim3 grid((unsigned)((threads + REDUCE_THREADS - 1) / REDUCE_THREADS), (unsigned)g->phases);
    bool aligned = epilogue_is_aligned(g);
    if (g->type == SDB_F16)
        reduce_kernel<__half>
            <<<grid, REDUCE_THREADS, 0, q->stream>>>(*g, partial, splits, m, n_pad, aligned);
    else if (g->type == SDB_BF16)
        reduce_kernel<__nv_bfloat16>
            <<<grid, REDUCE_THREADS, 0, q->stream>>>(*g, partial, splits, m, n_pad, aligned);
    else
        reduce_kernel<float>
            <<<grid, REDUCE_THREADS, 0, q->stream>>>(*g, partial, splits, m, n_pad, aligned);
    return CUDA_LAUNCHED(q, "sum of a split product");
}
