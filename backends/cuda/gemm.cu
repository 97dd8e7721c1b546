/* Which kernel computes a cuda_gemm, and the end of split products. */
#include "gemm_common.cuh"

static bool is_16_bits(sdb_type type) {
    return type == SDB_F16 || type == SDB_BF16;
}

/* Rows of x in whole 16 bytes; while planning x is NULL. */
static bool x_is_aligned(const cuda_gemm *g) {
    return (uintptr_t)g->x % 16 == 0 && g->x_ld % 8 == 0;
}

static sd_status run_portable(sdb_queue *q, const cuda_gemm *g) {
    /* A slice of 64 channels would be nearly empty. */
    bool few_channels = g->kh * g->kw > 1 && g->c <= 8;
    if (!x_is_aligned(g) || few_channels)
        return cuda_gemm_gather(q, g);
    return cuda_gemm_mma(q, g);
}

extern "C" sd_status cuda_gemm_run(sdb_queue *q, const cuda_gemm *g, const char *what) {
    sd_status status = SD_OK;
    bool made = false; /* the statistics */
    if (!is_16_bits(g->type)) {
        status = cuda_gemm_f32(q, g);
    } else if (q->planning) {
        /* Where the tensors will be is not known yet: room for any choice. */
        if (cuda_gemm_hopper_fits(q->dev, g))
            status = cuda_gemm_hopper(q, g);
        if (status == SD_OK)
            status = run_portable(q, g);
    } else if (cuda_gemm_narrow_fits(q->dev, g)) {
        status = cuda_gemm_narrow(q, g);
    } else if (cuda_gemm_hopper_fits(q->dev, g)) {
        status = cuda_gemm_hopper(q, g);
        made = cuda_gemm_hopper_has_stats(q->dev, g);
    } else if (cuda_gemm_few_fits(g)) {
        status = cuda_gemm_few(q, g);
    } else {
        status = run_portable(q, g);
    }
    if (status != SD_OK || q->planning)
        return status;
    status = CUDA_LAUNCHED(q, what);
    return status == SD_OK && g->stats && !made ? cuda_gemm_stats(q, g) : status;
}

/* ---------------------------------------------------------------------------- split products */

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
