/*
 * Mean and squared differences of groups, robust against a mean that is large beside the deviation
 * and against outliers: a thread takes differences from its first element, and what threads and
 * blocks found is merged by Chan, Golub and LeVeque's (1983) formula in an order that depends on
 * the shape alone.
 */
#ifndef SD_CUDA_NORM_CUH
#define SD_CUDA_NORM_CUH

#include "convert.cuh"
#include "norm.h"

typedef struct norm_moments {
    float mean, m2; /* m2: sum of the squared differences from the mean */
} norm_moments;

/* How a block's threads lie over a slab. */
typedef struct norm_slab {
    int groups, per_group; /* groups of a slab, channels of a group */
    int columns;           /* vectors of a slab's pixel */
    int step, lanes;       /* columns and pixels that the block reads at a time. step < columns only
                              where the slab is one group: threads then take several columns */
} norm_slab;

/* One thread's running sums for the channels of its column. */
template <int WIDTH> struct norm_sums {
    float base[WIDTH], sum[WIDTH], squares[WIDTH];
    int count;

    __device__ __forceinline__ norm_sums() : base{}, sum{}, squares{}, count(0) {}
    __device__ __forceinline__ void add(const float (&v)[WIDTH]) {
#pragma unroll
        for (int j = 0; j < WIDTH; j++)
            base[j] = count == 0 ? v[j] : base[j];
        add_to_base(v);
        count++;
    }
    /* Adds a vector that is not the first; the caller counts. */
    __device__ __forceinline__ void add_to_base(const float (&v)[WIDTH]) {
#pragma unroll
        for (int j = 0; j < WIDTH; j++) {
            float d = v[j] - base[j];
            sum[j] += d;
            squares[j] = fmaf(d, d, squares[j]);
        }
    }

    /* The moments of channels first .. end - 1 together. */
    __device__ __forceinline__ norm_moments fold(int first, int end) const {
        if (count == 0 || first >= end)
            return {0.0f, 0.0f};
        float inverse = 1.0f / (float)count, mean = 0.0f, spread = 0.0f, m2 = 0.0f;
#pragma unroll
        for (int j = 0; j < WIDTH; j++)
            if (j >= first && j < end)
                mean += base[j] + sum[j] * inverse;
        mean /= (float)(end - first);
#pragma unroll
        for (int j = 0; j < WIDTH; j++)
            if (j >= first && j < end) {
                float d = base[j] + sum[j] * inverse - mean;
                spread = fmaf(d, d, spread);
                m2 += fmaxf(squares[j] - sum[j] * sum[j] * inverse, 0.0f);
            }
        return {mean, fmaf(spread, (float)count, m2)};
    }
};

/* Channels of a column's vector that belong to its first group; the rest are of the next. */
template <int WIDTH>
static __device__ __forceinline__ int norm_split(const norm_slab &s, int column) {
    int left = s.per_group - column * WIDTH % s.per_group;
    return left < WIDTH ? left : WIDTH;
}

/* Elements of each channel that the threads of `lane` and `column` saw of `pixels`. */
static __device__ __forceinline__ int norm_count(const norm_slab &s, int pixels, int lane,
                                                 int column) {
    int n = lane < pixels ? (pixels - lane + s.lanes - 1) / s.lanes : 0;
    return n * ((s.columns - column + s.step - 1) / s.step);
}

template <int THREADS, int MAX_GROUPS> struct norm_shared {
    norm_moments part[2][THREADS]; /* of a column's first group and of its second */
    float sums[3][THREADS / 32];
    norm_moments group[MAX_GROUPS];
};

static __device__ __forceinline__ float norm_warp_sum(float value) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

/* The weighted sums over what one group's threads found; this thread takes each stride-th of them.
 * `base` is near the mean: sums of squares of differences from it lose nothing. */
template <int WIDTH>
static __device__ __forceinline__ void norm_gather(const norm_slab &s, const norm_moments *part,
                                                   int second, int group, int pixels, int first,
                                                   int stride, float (&sums)[3], float base) {
    bool one = s.groups == 1;
    int begin = one ? 0 : group * s.per_group / WIDTH;
    int end = one ? s.step : ((group + 1) * s.per_group - 1) / WIDTH + 1;
    int columns = end - begin, total = columns * s.lanes;
    for (int i = first; i < total; i += stride) {
        int lane = i / columns, column = begin + i % columns;
        int split = norm_split<WIDTH>(s, column), own = column * WIDTH / s.per_group == group;
        int channels = one || own ? (one ? WIDTH : split) : WIDTH - split;
        float w = (float)(norm_count(s, pixels, lane, column) * channels);
        norm_moments m = part[(one || own ? 0 : second) + lane * s.step + column];
        float d = w > 0.0f ? m.mean - base : 0.0f;
        sums[0] = fmaf(w, d, sums[0]);
        sums[1] = fmaf(w * d, d, sums[1]);
        sums[2] += m.m2;
    }
}

/* The moments of the slab's groups over the block's `pixels` pixels into shared->group; to be
 * synchronised before they are read. */
template <int WIDTH, int THREADS, int MAX_GROUPS>
static __device__ void norm_block(norm_shared<THREADS, MAX_GROUPS> *shared, const norm_slab &s,
                                  const norm_sums<WIDTH> &mine, int pixels) {
    const int warps = THREADS / 32;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, column = threadIdx.x % s.step;
    bool one = s.groups == 1;
    int split = one ? WIDTH : norm_split<WIDTH>(s, column);
    shared->part[0][threadIdx.x] = mine.fold(0, split);
    if (split < WIDTH)
        shared->part[1][threadIdx.x] = mine.fold(split, WIDTH);
    __syncthreads();

    const norm_moments *part = shared->part[0]; /* and THREADS further on, the second */
    int at_once = s.groups < warps ? s.groups : warps, share = warps / at_once;
    for (int first = 0; first < s.groups; first += at_once) {
        int group = first + warp % at_once;
        float sums[3] = {};
        bool busy = warp < at_once * share && group < s.groups;
        int column0 = one ? 0 : group * s.per_group / WIDTH;
        bool own = one || column0 * WIDTH / s.per_group == group;
        float base = busy ? part[(own ? 0 : THREADS) + column0].mean : 0.0f;
        if (busy)
            norm_gather<WIDTH>(s, part, THREADS, group, pixels, warp / at_once * 32 + lane,
                               share * 32, sums, base);
#pragma unroll
        for (int i = 0; i < 3; i++) {
            float sum = norm_warp_sum(sums[i]);
            if (lane == 0)
                shared->sums[i][warp] = sum;
        }
        __syncthreads();
        if (warp < at_once && lane == 0 && busy) {
            float all[3] = {};
            for (int i = 0; i < share; i++)
                for (int k = 0; k < 3; k++)
                    all[k] += shared->sums[k][i * at_once + warp];
            float total = (float)pixels * (float)s.per_group, shift = all[0] / total;
            shared->group[group] = {base + shift, fmaxf(all[1] - shift * all[0], 0.0f) + all[2]};
        }
        if (first + at_once < s.groups)
            __syncthreads();
    }
}

static __device__ __forceinline__ float norm_finish_exact(float x, sdb_act act) {
    return act == SDB_ACT_SILU ? x / (1.0f + expf(-x)) : x;
}

#endif
