/* Shared by the kernels of a cuda_gemm: where outputs read and write, and the epilogue of gemm.h
 * for eight neighbouring outputs of a pixel at a time. */
#ifndef SD_CUDA_GEMM_COMMON_CUH
#define SD_CUDA_GEMM_COMMON_CUH

#include "convert.cuh"
#include "gemm.h"
#include "launch.cuh"

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

__device__ __forceinline__ void read8(const float *from, float (&v)[8]) {
    float4 lo = *(const float4 *)from, hi = *(const float4 *)(from + 4);
    v[0] = lo.x, v[1] = lo.y, v[2] = lo.z, v[3] = lo.w;
    v[4] = hi.x, v[5] = hi.y, v[6] = hi.z, v[7] = hi.w;
}

/* A cuda_gemm with what a launch adds to it. */
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

/* A kernel of tiles, for launch_tiles. */
struct tile_kernel {
    const void *kernel; /* of a cuda_gemm and a gemm_work */
    int bm, bn, bk, threads, shared;
};

/* Launches it with K in `splits` parts, and adds the parts up. While planning it notes the scratch
 * that those take. */
static inline sd_status launch_tiles(sdb_queue *q, const cuda_gemm *g, const tile_kernel *t,
                                     int splits) {
    gemm_work work = {};
    work.m = g->n * g->oh * g->ow;
    work.n_tiles = cuda_divide_up(g->n_rows, t->bn);
    work.slices = g->kh * g->kw * cuda_divide_up(g->c, t->bk);
    work.split_slices = cuda_divide_up(work.slices, splits);
    work.splits = cuda_divide_up(work.slices, work.split_slices);
    work.aligned = epilogue_is_aligned(g);
    work.n_pad = cuda_divide_up(g->n_rows, 8) * 8;
    unsigned layers = (unsigned)(g->phases * work.splits);
    if (work.splits > 1) {
        void *scratch;
        size_t outputs = (size_t)work.m * (size_t)work.n_pad;
        sd_status status = cuda_scratch(q, sizeof(float) * outputs * layers, &scratch);
        if (status != SD_OK)
            return status;
        work.partial = (float *)scratch;
    }
    if (q->planning)
        return SD_OK;
    cuda_grid grid = {};
    grid.blocks = dim3((unsigned)(cuda_divide_up(work.m, t->bm) * work.n_tiles), 1, layers);
    grid.threads = (unsigned)t->threads;
    grid.shared = (size_t)t->shared;
    void *args[] = {(void *)g, &work};
    sd_status status = cuda_check(q->dev, cuda_launch_kernel(q, t->kernel, &grid, args),
                                  "launch of a matrix product");
    if (status != SD_OK || work.splits == 1)
        return status;
    return cuda_gemm_reduce(q, g, work.partial, work.splits);
}

/* The place that output `at` reads. */
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

/* Eight neighbours as they lie in memory; those past n are zero. */
template <typename T> struct eight { uint4 bits[sizeof(T) / 2]; };

template <typename T>
__device__ __forceinline__ eight<T> load8(const T *from, bool aligned, int n) {
    eight<T> e;
    if (aligned && n >= 8) {
#pragma unroll
        for (int i = 0; i < (int)sizeof(T) / 2; i++)
            e.bits[i] = ((const uint4 *)from)[i];
        return e;
    }
    T *to = (T *)&e;
#pragma unroll
    for (int i = 0; i < 8; i++)
        to[i] = i < n ? from[i] : cuda_round<T>(0.0f);
    return e;
}

__device__ __forceinline__ void load_bias8(const cuda_gemm &g, bool aligned, int row,
                                           float (&bias)[8]) {
    if (g.bias && aligned && row + 8 <= g.n_rows) {
        read8(g.bias + row, bias);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        bias[i] = g.bias && row + i < g.n_rows ? g.bias[row + i] : 0.0f;
}

/* Where eight outputs go and what is added to them there: read ahead of their sums, because memory
 * is far. */
template <typename T> struct output8 {
    int64_t pixel;
    eight<T> emb, residual;
};

/* Eight channels of output m; rows row .. row + 7 of weights are channels at .. at + 7 of y. */
template <typename T>
__device__ __forceinline__ output8<T> output8_of(const cuda_gemm &g, bool aligned, int m, int phase,
                                                 int row, int at) {
    output8<T> out = {};
    output_place place = place_of(g, m, phase);
    out.pixel = place.pixel;
    if (g.emb)
        out.emb = load8((const T *)g.emb + place.image * g.emb_ld + row, aligned, g.n_rows - row);
    if (g.residual)
        out.residual =
            load8((const T *)g.residual + place.pixel * g.residual_ld + at, aligned, g.n_out - at);
    return out;
}

/* y[pixel][at ..] = scale * v + residual */
template <typename T>
__device__ __forceinline__ void store8(const cuda_gemm &g, bool aligned, const output8<T> &out,
                                       int at, float (&v)[8]) {
    T *y = (T *)g.y + out.pixel * g.y_ld + at;
    const T *residual = (const T *)&out.residual;
    int n = g.n_out - at;
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] = fmaf(g.scale, v[i], cuda_float(residual[i])); /* zeros where there is none */
    if (aligned && n >= 8) {
        cuda_store(y, v);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i < n)
            y[i] = cuda_round<T>(v[i]);
}

/* The epilogue of rows row .. row + 7; row is a multiple of 8. */
template <typename T>
__device__ __forceinline__ void finish8(const cuda_gemm &g, bool aligned, const output8<T> &out,
                                        int row, const float (&bias)[8], float (&v)[8]) {
    const T *emb = (const T *)&out.emb;
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] += bias[i] + cuda_float(emb[i]);
    if (g.act != SDB_ACT_NONE) {
#pragma unroll
        for (int i = 0; i < 8; i++)
            v[i] = cuda_activate(g.act, v[i]);
    }
    store8<T>(g, aligned, out, row, v);
}

/* Eight channels with the gates' sums: v's rows are row .. row + 7 and the gates' the next eight;
 * row is a multiple of 16. */
template <typename T>
__device__ __forceinline__ void finish8_geglu(const cuda_gemm &g, bool aligned,
                                              const output8<T> &out, int row,
                                              const float (&bias)[8], const float (&gate_bias)[8],
                                              float (&v)[8], float (&gate)[8]) {
#pragma unroll
    for (int i = 0; i < 8; i++)
        v[i] = (v[i] + bias[i]) * cuda_activate(SDB_ACT_GELU, gate[i] + gate_bias[i]);
    store8<T>(g, aligned, out, row / 2, v);
}

/* A tile's sums wait in shared memory [BM][BN], groups of eight permuted against bank conflicts, so
 * that threads write whole groups of y. */
template <typename C> __device__ __forceinline__ float *staged8(float *sums, int row, int group) {
    return sums + row * C::BN + (group ^ (row & 3)) * 8;
}

/* A thread keeps to one group of channels, so that it reads their bias once, and reads what
 * belongs to the outputs of a few rows before it comes to the first. */
template <typename T, typename C>
__device__ __forceinline__ void finish_tile(const cuda_gemm &g, const gemm_work &work, float *sums,
                                            int m0, int n0, int phase) {
    constexpr int AHEAD = sizeof(T) == 2 ? 4 : 1;
    int rows = g.geglu ? 16 : 8, groups = C::BN / rows, step = C::THREADS / groups;
    int r = (int)threadIdx.x / groups, group = (int)threadIdx.x % groups;
    int row = n0 + group * rows, at = g.geglu ? row / 2 : row;
    if (r >= step || row >= g.n_rows)
        return;
    int end = min(C::BM, work.m - m0);
    float bias[8], gate_bias[8];
    load_bias8(g, work.aligned, row, bias);
    if (g.geglu)
        load_bias8(g, work.aligned, row + 8, gate_bias);
    for (; r < end; r += AHEAD * step) {
        output8<T> out[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
            if (r + i * step < end)
                out[i] = output8_of<T>(g, work.aligned, m0 + r + i * step, phase, row, at);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            int place = r + i * step;
            if (place >= end)
                break;
            float v[8], gate[8];
            if (g.geglu) {
                read8(staged8<C>(sums, place, 2 * group), v);
                read8(staged8<C>(sums, place, 2 * group + 1), gate);
                finish8_geglu<T>(g, work.aligned, out[i], row, bias, gate_bias, v, gate);
            } else {
                read8(staged8<C>(sums, place, group), v);
                finish8<T>(g, work.aligned, out[i], row, bias, v);
            }
        }
    }
}

#endif
