/* What the kernels of a cuda_gemm share: where outputs read and write, and the epilogue of gemm.h
 * for eight neighbouring outputs of a pixel at a time. */
#ifndef SD_CUDA_GEMM_COMMON_CUH
#define SD_CUDA_GEMM_COMMON_CUH

#include "convert.cuh"
#include "gemm.h"

#include <stdint.h>

/* Whether eight outputs can go as 16 bytes (float32: 32), and the residual and the rest come so. */
static inline bool epilogue_is_aligned(const cuda_gemm *g) {
    uintptr_t low = (uintptr_t)g->y | (uintptr_t)g->bias;
    int64_t ld = g->y_ld;
    if (g->residual) {
        low |= (uintptr_t)g->residual;
        ld |= g->residual_ld;
    }
    if (g->emb) {
        low |= (uintptr_t)g->emb;
        ld |= g->emb_ld;
    }
    return low % 16 == 0 && ld % 8 == 0;
}

/*
 * On compute capability 9.0 a small kernel may be launched while the one before it still runs: it
 * fetches weights, which nothing writes, and calls wait_for_previous before anything else.
 * launch_early does so where the code that will run has that wait in it.
 */
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

static inline cudaError_t launch_early(sdb_queue *q, const void *kernel, unsigned blocks,
                                       unsigned threads, size_t shared, void **args) {
    cudaFuncAttributes about;
    cudaError_t error = cudaFuncGetAttributes(&about, kernel);
    if (error != cudaSuccess)
        return error;
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = q->stream;
    config.attrs = &early;
    config.numAttrs = about.ptxVersion >= 90 ? 1 : 0;
    return cudaLaunchKernelExC(&config, kernel, args);
}

__device__ __forceinline__ void read8(const float *from, float (&v)[8]) {
    float4 lo = *(const float4 *)from, hi = *(const float4 *)(from + 4);
    v[0] = lo.x, v[1] = lo.y, v[2] = lo.z, v[3] = lo.w;
    v[4] = hi.x, v[5] = hi.y, v[6] = hi.z, v[7] = hi.w;
}

/* What a launch adds to its cuda_gemm. */
struct gemm_work {
    int m;            /* outputs of a phase: n * oh * ow */
    int n_tiles;      /* of weight rows; blockIdx.x = m tile * n_tiles + n tile */
    int slices;       /* of BK: taps * ceil(c / BK) */
    int splits;       /* blockIdx.z = phase * splits + split */
    int split_slices; /* of one split, the last may have fewer */
    bool aligned;     /* epilogue_is_aligned */
    float *partial;   /* splits > 1: [phase][split][m][n_pad] */
    int n_pad;
};

/* What output `at` reads. */
struct input_row {
    int64_t from;  /* the element of x at tap 0, channel 0; outside of x where that tap is */
    unsigned taps; /* bit tap: it is in the image; none where there is no such output */
};

__device__ __forceinline__ input_row input_row_of(const cuda_gemm &g, int m, int at, int phase) {
    unsigned line = (unsigned)at / (unsigned)g.ow, ox = (unsigned)at - line * (unsigned)g.ow;
    unsigned image = line / (unsigned)g.oh, oy = line - image * (unsigned)g.oh;
    int pad_y = g.phases == 4 ? 1 - (phase >> 1) : g.pad_y;
    int pad_x = g.phases == 4 ? 1 - (phase & 1) : g.pad_x;
    int y = (int)oy * g.stride - pad_y, left = (int)ox * g.stride - pad_x;
    input_row row = {(((int64_t)image * g.h + y) * g.w + left) * g.x_ld, 0};
    if (at < m)
        for (int t = 0, ty = 0; ty < g.kh; ty++)
            for (int tx = 0; tx < g.kw; tx++, t++)
                if (y + ty >= 0 && y + ty < g.h && left + tx >= 0 && left + tx < g.w)
                    row.taps |= 1u << t;
    return row;
}

/* Where output m of a phase is: gemm.h. */
struct output_place {
    int64_t pixel;
    int image;
};

__device__ __forceinline__ output_place place_of(const cuda_gemm &g, int m, int phase) {
    if (g.y_step == 1 && !g.emb && g.y_w == g.ow && g.y_h == g.oh)
        return {m, 0};
    unsigned row = (unsigned)m / (unsigned)g.ow, x = (unsigned)m - row * (unsigned)g.ow;
    unsigned image = row / (unsigned)g.oh, y = row - image * (unsigned)g.oh;
    int64_t out_row = (int64_t)image * g.y_h + (int)y * g.y_step + (phase >> 1);
    return {out_row * g.y_w + (int)x * g.y_step + (phase & 1), (int)image};
}

/* v += bias[row ..] + emb[image][row ..]; n of them are there. */
template <typename T>
__device__ __forceinline__ void add_bias8(const cuda_gemm &g, bool aligned, int image, int row,
                                          float (&v)[8]) {
    int n = g.n_rows - row;
    if (aligned && n >= 8) {
        if (g.bias) {
            const float4 *bias = (const float4 *)(g.bias + row);
            float4 lo = __ldg(bias), hi = __ldg(bias + 1);
            v[0] += lo.x, v[1] += lo.y, v[2] += lo.z, v[3] += lo.w;
            v[4] += hi.x, v[5] += hi.y, v[6] += hi.z, v[7] += hi.w;
        }
        if (g.emb) {
            float e[8];
            cuda_load(e, (const T *)g.emb + image * g.emb_ld + row);
#pragma unroll
            for (int i = 0; i < 8; i++)
                v[i] += e[i];
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (i >= n)
            continue;
        if (g.bias)
            v[i] += g.bias[row + i];
        if (g.emb)
            v[i] += cuda_float(((const T *)g.emb)[image * g.emb_ld + row + i]);
    }
}

/* y[pixel][at ..] = scale * v + residual */
template <typename T>
__device__ __forceinline__ void store8(const cuda_gemm &g, bool aligned, int64_t pixel, int at,
                                       float (&v)[8]) {
    T *y = (T *)g.y + pixel * g.y_ld + at;
    const T *residual = (const T *)g.residual + pixel * g.residual_ld + at;
    int n = g.n_out - at;
    if (aligned && n >= 8) {
        float r[8] = {};
        if (g.residual)
            cuda_load(r, residual);
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[i] = fmaf(g.scale, v[i], r[i]);
        cuda_store(y, v);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i < n) {
            float r = g.residual ? cuda_float(residual[i]) : 0.0f;
            y[i] = cuda_round<T>(fmaf(g.scale, v[i], r));
        }
}

/* The epilogue of rows row .. row + 7 at output m; row is a multiple of 8. */
template <typename T>
__device__ __forceinline__ void finish8(const cuda_gemm &g, bool aligned, int m, int phase, int row,
                                        float (&v)[8]) {
    output_place place = place_of(g, m, phase);
    add_bias8<T>(g, aligned, place.image, row, v);
    if (g.act != SDB_ACT_NONE) {
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[i] = cuda_activate(g.act, v[i]);
    }
    store8<T>(g, aligned, place.pixel, row, v);
}

/* The same with the gates' sums: v's rows are row .. row + 7 and the gates' the next eight; row is
 * a multiple of 16. */
template <typename T>
__device__ __forceinline__ void finish8_geglu(const cuda_gemm &g, bool aligned, int m, int row,
                                              float (&v)[8], float (&gate)[8]) {
    output_place place = place_of(g, m, 0);
    add_bias8<T>(g, aligned, place.image, row, v);
    add_bias8<T>(g, aligned, place.image, row + 8, gate);
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] *= cuda_activate(SDB_ACT_GELU, gate[i]);
    store8<T>(g, aligned, place.pixel, row / 2, v);
}

/* A tile's sums wait in shared memory [BM][BN], groups of eight permuted against bank conflicts, so
 * that threads write whole groups of y. */
template <typename C> __device__ __forceinline__ float *staged8(float *sums, int row, int group) {
    return sums + row * C::BN + (group ^ (row & 3)) * 8;
}

template <typename T, typename C>
__device__ __forceinline__ void finish_tile(const cuda_gemm &g, const gemm_work &work, float *sums,
                                            int m0, int n0, int phase) {
    int per_row = g.geglu ? C::BN / 16 : C::BN / 8;
    for (int at = (int)threadIdx.x; at < C::BM * per_row; at += C::THREADS) {
        int r = at / per_row, c = at - r * per_row;
        if (m0 + r >= work.m || n0 + c * (g.geglu ? 16 : 8) >= g.n_rows)
            continue;
        float v[8], gate[8];
        if (g.geglu) {
            read8(staged8<C>(sums, r, 2 * c), v);
            read8(staged8<C>(sums, r, 2 * c + 1), gate);
            finish8_geglu<T>(g, work.aligned, m0 + r, n0 + c * 16, v, gate);
        } else {
            read8(staged8<C>(sums, r, c), v);
            finish8<T>(g, work.aligned, m0 + r, phase, n0 + c * 8, v);
        }
    }
}

#endif
