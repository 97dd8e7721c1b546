/*
 * Group normalisation's statistics for 16-bit tensors: sums of differences from one element of the
 * group, which all blocks know, and of their squares, in float32. They simply add up, over threads,
 * blocks and clusters, always in the same order; what a mean far from zero would cost is gone with
 * the base. (norm.cuh has the more careful way that float32 needs.)
 */
#ifndef SD_CUDA_NORM_SUMS_CUH
#define SD_CUDA_NORM_SUMS_CUH

#include "convert.cuh"
#include "norm.h"

#define NORM_WIDTH 8 /* channels of a vector: 16 bytes */

/* How a block's threads lie over a slab: see norm.h. */
typedef struct sums_slab {
    int groups, per_group; /* groups of a slab, channels of a group */
    int columns, lanes;    /* vectors of a slab's pixel; pixels that the block reads at a time */
} sums_slab;

/* The sums of differences and of their squares. */
typedef float2 norm_pair;

static __device__ __forceinline__ norm_pair operator+(norm_pair a, norm_pair b) {
    return make_float2(a.x + b.x, a.y + b.y);
}

/* Channels of a column's vector that belong to its first group; the rest are of the next. */
static __device__ __forceinline__ int sums_split(const sums_slab &s, int column) {
    int left = s.per_group - column * NORM_WIDTH % s.per_group;
    return left < NORM_WIDTH ? left : NORM_WIDTH;
}

/* One thread's column: its groups' bases and running sums. */
template <typename T> struct column_sums {
    int first_group, split; /* within the slab */
    float base[2];
    float sum[NORM_WIDTH], squares[NORM_WIDTH];

    /* `slab`: the image's first pixel, at the slab's first channel */
    __device__ __forceinline__ column_sums(const sums_slab &s, int column, const T *slab)
        : first_group(column * NORM_WIDTH / s.per_group),
          split(sums_split(s, column)), sum{}, squares{} {
        base[0] = cuda_float(slab[first_group * s.per_group]);
        base[1] = split < NORM_WIDTH ? cuda_float(slab[(first_group + 1) * s.per_group]) : 0.0f;
    }
    __device__ __forceinline__ void add(const uint4 &raw) {
        float v[NORM_WIDTH];
        cuda_load(v, reinterpret_cast<const T *>(&raw));
#pragma unroll
        for (int j = 0; j < NORM_WIDTH; j++) {
            float d = v[j] - (j < split ? base[0] : base[1]);
            sum[j] += d;
            squares[j] = fmaf(d, d, squares[j]);
        }
    }
    __device__ __forceinline__ norm_pair fold(int first, int end) const {
        norm_pair all = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int j = 0; j < NORM_WIDTH; j++)
            if (j >= first && j < end)
                all = all + make_float2(sum[j], squares[j]);
        return all;
    }
};

static __device__ __forceinline__ norm_pair warp_sum(norm_pair p) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        p.x += __shfl_xor_sync(0xffffffffu, p.x, step);
        p.y += __shfl_xor_sync(0xffffffffu, p.y, step);
    }
    return p;
}

/* The block's sums of each of the slab's groups into total[]. All threads call it; those with
 * lane >= s.lanes count nothing. total is to be synchronised before it is read. */
template <int THREADS, typename T>
static __device__ void block_sums(norm_pair (&part)[2][THREADS], norm_pair *total,
                                  const sums_slab &s, const column_sums<T> &mine, int column,
                                  int lane) {
    if (lane < s.lanes) {
        part[0][column * s.lanes + lane] = mine.fold(0, mine.split);
        part[1][column * s.lanes + lane] = mine.fold(mine.split, NORM_WIDTH);
    }
    __syncthreads();
    for (int g = threadIdx.x / 32; g < s.groups; g += THREADS / 32) {
        int first = g * s.per_group / NORM_WIDTH;
        int last = ((g + 1) * s.per_group - 1) / NORM_WIDTH;
        bool second = first * NORM_WIDTH / s.per_group != g; /* group of its first vector */
        norm_pair sums = make_float2(0.0f, 0.0f);
        for (int c = first; c <= last; c++) {
            const norm_pair *row = &part[c == first && second][c * s.lanes];
            for (int i = threadIdx.x % 32; i < s.lanes; i += 32)
                sums = sums + row[i];
        }
        sums = warp_sum(sums);
        if (threadIdx.x % 32 == 0)
            total[g] = sums;
    }
}

/* Mean and 1 / sqrt(variance + eps) from the sums over `count` elements. */
static __device__ __forceinline__ float2 statistics(norm_pair sums, float base, float count,
                                                    float eps) {
    float shift = sums.x / count;
    float variance = fmaxf(sums.y / count - shift * shift, 0.0f);
    return make_float2(base + shift, rsqrtf(variance + eps));
}

/* x / (1 + exp(-x)) of two numbers, with one reciprocal: the special functions bound this. Below
 * -40, where nothing is left of 16 bits, the exponential stays within float32 squared. */
static __device__ __forceinline__ void silu_pair(float &x, float &y) {
    float a = 1.0f + __expf(-fmaxf(x, -40.0f)), b = 1.0f + __expf(-fmaxf(y, -40.0f));
    float inverse = __fdividef(1.0f, a * b);
    x *= inverse * b;
    y *= inverse * a;
}

/* y = act(x factor + offset) of a vector. */
template <typename T>
static __device__ __forceinline__ void finish(T *y, const uint4 &raw,
                                              const float (&factor)[NORM_WIDTH],
                                              const float (&offset)[NORM_WIDTH], bool silu) {
    float v[NORM_WIDTH];
    cuda_load(v, reinterpret_cast<const T *>(&raw));
#pragma unroll
    for (int j = 0; j < NORM_WIDTH; j++)
        v[j] = fmaf(v[j], factor[j], offset[j]);
    if (silu)
#pragma unroll
        for (int j = 0; j < NORM_WIDTH; j += 2)
            silu_pair(v[j], v[j + 1]);
    cuda_store(y, v);
}

/* gamma and beta of a column. */
static __device__ __forceinline__ void load_affine(float (&gamma)[NORM_WIDTH],
                                                   float (&beta)[NORM_WIDTH], const cuda_norm &g,
                                                   int channel) {
    cuda_load(gamma, g.gamma + channel);
#pragma unroll
    for (int j = 0; j < NORM_WIDTH; j++)
        beta[j] = 0.0f;
    if (g.beta)
        cuda_load(beta, g.beta + channel);
}

/* gamma becomes factor = gamma rstd and beta offset = beta - mean factor, for the channels of a
 * column whose first `split` are of the first group. */
static __device__ __forceinline__ void affine(float (&gamma)[NORM_WIDTH], float (&beta)[NORM_WIDTH],
                                              int split, float2 first, float2 second) {
#pragma unroll
    for (int j = 0; j < NORM_WIDTH; j++) {
        gamma[j] *= j < split ? first.y : second.y;
        beta[j] = fmaf(-(j < split ? first.x : second.x), gamma[j], beta[j]);
    }
}

static __device__ __forceinline__ uint4 load_vector(const void *p) {
    return *static_cast<const uint4 *>(p);
}

#endif
