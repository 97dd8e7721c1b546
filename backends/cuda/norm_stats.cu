/*
 * Group normalisation of a 16-bit tensor that came with its statistics (backend.h): one pass over
 * it. Each block merges the parts of its groups as its first pixels are on their way; where there
 * are many parts a small launch does that before, once for all blocks.
 */
#include "gemm.h"
#include "launch.cuh"
#include "norm_sums.cuh"

#define MAP_THREADS 320 /* at most */
#define MERGE_THREADS 1024
#define BATCH 8        /* vectors, or parts, that a thread has under way */
#define MAX_COLUMNS 64 /* of a slab: four threads for each, one for each pair of channels */
#define MAX_GROUPS 64  /* of a slab */
#define MAX_PARTS 128  /* that each block merges itself */
#define BLOCKS_OF_SM 2 /* their registers */

typedef struct stats_args {
    cuda_norm g;
    sums_slab slab;
    int pairs;              /* of two channels, in a slab */
    int parts;              /* of an image */
    const float2 *stats[2]; /* [n][parts][own] */
    int own[2];             /* pairs of each half of a concatenation; own[1] may be 0 */
    float2 *result;         /* [n][groups]: mean and rstd */
    int per_chunk;          /* pixels of a block */
} stats_args;

template <int THREADS> struct stats_shared {
    norm_pair part[THREADS]; /* [pairs][lanes] */
    float base[MAX_GROUPS];
    float2 result[MAX_GROUPS]; /* mean and rstd */
};

/* The statistics of the image's pair `pair` in part 0; `step`: to the next part. */
static __device__ __forceinline__ const float2 *stats_of(const stats_args &a, int image, int pair,
                                                         int *step) {
    bool second = pair >= a.own[0];
    *step = second ? a.own[1] : a.own[0];
    return (second ? a.stats[1] : a.stats[0]) + (int64_t)image * a.parts * *step +
           (second ? pair - a.own[0] : pair);
}

/*
 * Merges the parts of the slab's groups by Chan, Golub and LeVeque's (1983) formula for parts of
 * one size: squared differences add up, and so do those of the means, here taken from the group's
 * first one. s->result is to be synchronised before it is read.
 */
template <int THREADS>
static __device__ __forceinline__ void merge_parts(const stats_args &a, stats_shared<THREADS> *s,
                                                   int first_group, int image) {
    int pairs_of_group = a.slab.per_group / 2, lanes = blockDim.x / a.pairs;
    int pair = threadIdx.x % a.pairs, lane = threadIdx.x / a.pairs;
    int first_pair = first_group * pairs_of_group, group = pair / pairs_of_group, step, unused;
    const float2 *from = stats_of(a, image, first_pair + pair, &step);
    const float size = 2.0f * CUDA_PART;
    if (lane < lanes) {
        float base = stats_of(a, image, first_pair + group * pairs_of_group, &unused)->x;
        norm_pair sums = make_float2(0.0f, 0.0f); /* of means, and of all squares */
        for (int first = lane; first < a.parts; first += BATCH * lanes) {
            float2 m[BATCH];
#pragma unroll
            for (int i = 0; i < BATCH; i++) {
                int part = first + i * lanes;
                m[i] = part < a.parts ? from[(int64_t)part * step] : make_float2(base, 0.0f);
            }
#pragma unroll
            for (int i = 0; i < BATCH; i++) {
                float d = m[i].x - base;
                sums = sums + make_float2(d, fmaf(size * d, d, m[i].y));
            }
        }
        s->part[pair * lanes + lane] = sums;
        if (lane == 0 && pair == group * pairs_of_group)
            s->base[group] = base;
    }
    __syncthreads();
    for (int g = threadIdx.x / 32; g < a.slab.groups; g += blockDim.x / 32) {
        norm_pair sums = make_float2(0.0f, 0.0f);
        for (int i = threadIdx.x % 32; i < pairs_of_group * lanes; i += 32)
            sums = sums + s->part[g * pairs_of_group * lanes + i];
        sums = warp_sum(sums);
        sums.x *= size;
        if (threadIdx.x % 32 == 0)
            s->result[g] = statistics(sums, s->base[g],
                                      (float)a.parts * size * (float)pairs_of_group, a.g.eps);
    }
}

/* Grid: (groups, images). */
static __global__ void __launch_bounds__(MERGE_THREADS)
    merge_stats(const __grid_constant__ stats_args a) {
    __shared__ stats_shared<MERGE_THREADS> s;
    cuda_let_next_start();
    cuda_wait_for_previous();
    merge_parts(a, &s, blockIdx.x, blockIdx.y);
    if (threadIdx.x == 0) /* who put it there */
        a.result[(int64_t)blockIdx.y * a.g.groups + blockIdx.x] = s.result[0];
}

/* y = act((x - mean) rstd gamma + beta), the last pixels first: of a large x they may still be in
 * the L2 cache. Grid: (chunks of pixels, slabs, images). */
template <typename T, bool MERGED>
static __global__ void __launch_bounds__(MAP_THREADS, BLOCKS_OF_SM)
    map_stats(const __grid_constant__ stats_args a) {
    __shared__ stats_shared<MAP_THREADS> s;
    int column = threadIdx.x % a.slab.columns, lane = threadIdx.x / a.slab.columns;
    int first_group = blockIdx.y * a.slab.groups;
    int begin = (gridDim.x - 1 - blockIdx.x) * a.per_chunk;
    int count = lane < a.slab.lanes ? min(a.per_chunk, a.g.pixels - begin) : 0;
    int channel = (blockIdx.y * a.slab.columns + column) * NORM_WIDTH;
    int64_t pixel = (int64_t)blockIdx.z * a.g.pixels + begin;
    const T *x = static_cast<const T *>(a.g.x) + pixel * a.g.x_ld + channel;
    T *y = static_cast<T *>(a.g.y) + pixel * a.g.y_ld + channel;
    int group = column * NORM_WIDTH / a.slab.per_group, split = sums_split(a.slab, column);
    uint4 raw[BATCH];
    float factor[NORM_WIDTH], offset[NORM_WIDTH]; /* gamma and beta at first */

    if (lane < a.slab.lanes)
        load_affine(factor, offset, a.g, channel);
    cuda_let_next_start();
    cuda_wait_for_previous();
#pragma unroll
    for (int i = 0; i < BATCH; i++)
        if (lane + i * a.slab.lanes < count)
            raw[i] = load_vector(x + (lane + i * a.slab.lanes) * a.g.x_ld);
    const float2 *result = s.result + group;
    if (MERGED) {
        result = a.result + (int64_t)blockIdx.z * a.g.groups + first_group + group;
    } else {
        merge_parts(a, &s, first_group, blockIdx.z);
        __syncthreads();
    }
    float2 first = result[0], second = split < NORM_WIDTH ? result[1] : first;
    affine(factor, offset, split, first, second);
    bool silu = a.g.act == SDB_ACT_SILU;
    for (int p = lane; p < count;) {
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (p + i * a.slab.lanes < count)
                finish(y + (p + i * a.slab.lanes) * a.g.y_ld, raw[i], factor, offset, silu);
        p += BATCH * a.slab.lanes;
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (p + i * a.slab.lanes < count)
                raw[i] = load_vector(x + (p + i * a.slab.lanes) * a.g.x_ld);
    }
}

/* -------------------------------------------------------------------------------------- launch */

/* The narrowest slab that is `least` channels wide, or else the widest. */
static sums_slab slab_of(const cuda_norm *g, int least) {
    int groups = cuda_norm_slab(g, NORM_WIDTH), per_group = g->c / g->groups;
    sums_slab s = {groups, per_group};
    for (int n = groups; n <= g->groups && n <= MAX_GROUPS; n += groups)
        if (g->groups % n == 0 && n * per_group <= MAX_COLUMNS * NORM_WIDTH) {
            s.groups = n;
            if (n * per_group >= least)
                break;
        }
    s.columns = s.groups * per_group / NORM_WIDTH;
    for (s.lanes = 1; 2 * s.lanes * s.columns <= MAP_THREADS;)
        s.lanes *= 2; /* as pictures' sizes are */
    return s;
}

/* Pixels of a block: as few as let all loads be under way at once, of blocks that are all there at
 * once. */
static int chunk_of(const sdb_device *dev, const cuda_norm *g, const sums_slab *s) {
    int64_t others = (int64_t)g->groups / s->groups * g->n;
    int64_t at_once = (int64_t)dev->n_sms * s->lanes * BATCH; /* pixels of a slab */
    int64_t per_sm = (others * g->pixels + at_once - 1) / at_once;
    int64_t chunks = dev->n_sms * (per_sm < BLOCKS_OF_SM ? per_sm : BLOCKS_OF_SM) / others;
    int pixels = cuda_divide_up(g->pixels, chunks > 0 ? (int)chunks : 1);
    return cuda_divide_up(pixels, s->lanes) * s->lanes;
}

bool cuda_norm_stats_fits(const cuda_norm *g, const sdb_tensor *stats) {
    int slab = cuda_norm_slab(g, NORM_WIDTH), per_group = g->c / g->groups;
    bool all = 2 * ((stats[0].c ? stats[0].w : 0) + (stats[1].c ? stats[1].w : 0)) == g->c;
    bool same = !stats[1].c || stats[1].h == stats[0].h;
    return stats[0].c && all && same && (int64_t)stats[0].h * CUDA_PART == g->pixels &&
           per_group % 2 == 0 && slab > 0 && slab <= MAX_GROUPS &&
           slab * per_group <= MAX_COLUMNS * NORM_WIDTH && g->n <= 65535;
}

static sd_status run_merge(sdb_queue *q, const stats_args *a) {
    stats_args b = *a;
    b.slab.groups = 1;
    b.pairs = b.slab.per_group / 2;
    dim3 grid(b.g.groups, b.g.n);
    cudaError_t error = cuda_launch(q, merge_stats, cuda_early(grid, MERGE_THREADS), b);
    return cuda_check(q->dev, error, "group_norm");
}

template <typename T> static sd_status run_map(sdb_queue *q, const stats_args *a) {
    dim3 grid(cuda_divide_up(a->g.pixels, a->per_chunk), a->g.groups / a->slab.groups, a->g.n);
    unsigned warps = cuda_divide_up(a->slab.columns * a->slab.lanes, 32);
    cudaError_t error = cuda_launch(q, a->result ? map_stats<T, true> : map_stats<T, false>,
                                    cuda_early(grid, warps * 32), *a);
    return cuda_check(q->dev, error, "group_norm");
}

sd_status cuda_norm_stats(sdb_queue *q, const cuda_norm *g, const sdb_tensor *stats) {
    bool merged = stats[0].h > MAX_PARTS;
    stats_args a = {*g, slab_of(g, merged ? g->c : 64)};
    a.pairs = a.slab.groups * a.slab.per_group / 2;
    a.parts = stats[0].h;
    a.per_chunk = chunk_of(q->dev, g, &a.slab);
    for (int i = 0; i < 2; i++) {
        a.stats[i] = (const float2 *)stats[i].data;
        a.own[i] = stats[i].c ? stats[i].w : 0;
    }
    if (merged) {
        void *scratch;
        sd_status status = cuda_scratch(q, (size_t)g->n * g->groups * sizeof *a.result, &scratch);
        a.result = (float2 *)scratch;
        if (!status && !q->planning)
            status = run_merge(q, &a);
        if (status)
            return status;
    }
    if (q->planning)
        return SD_OK;
    return g->x_type == SDB_F16 ? run_map<__half>(q, &a) : run_map<__nv_bfloat16>(q, &a);
}

/* ----------------------------------------------------------- for products that do not make them */

#define COLUMN_THREADS 128
#define MIN_PARTS 4

/* Two neighbouring numbers, at once where they may be. */
template <typename T, bool ALIGNED>
static __device__ __forceinline__ float2 load_pair(const T *from) {
    if (!ALIGNED)
        return make_float2(cuda_float(from[0]), cuda_float(from[1]));
    unsigned raw = *reinterpret_cast<const unsigned *>(from);
    const T *pair = reinterpret_cast<const T *>(&raw);
    return make_float2(cuda_float(pair[0]), cuda_float(pair[1]));
}

/* A thread for two channels of a part. Grid: (parts, pairs / COLUMN_THREADS). */
template <typename T, bool ALIGNED>
static __global__ void __launch_bounds__(COLUMN_THREADS)
    part_stats(const __grid_constant__ cuda_gemm g) {
    int pair = blockIdx.y * COLUMN_THREADS + threadIdx.x;
    cuda_let_next_start();
    cuda_wait_for_previous();
    if (2 * pair >= g.n_out)
        return;
    const T *y = static_cast<const T *>(g.y) + (int64_t)blockIdx.x * CUDA_PART * g.y_ld + 2 * pair;
    float base = cuda_float(y[0]), sum = 0.0f, squares = 0.0f;
#pragma unroll 16
    for (int i = 0; i < CUDA_PART; i++) {
        float2 v = load_pair<T, ALIGNED>(y + i * g.y_ld);
        float d0 = v.x - base, d1 = v.y - base;
        sum += d0 + d1;
        squares = fmaf(d0, d0, fmaf(d1, d1, squares));
    }
    float mean = sum / (2.0f * CUDA_PART);
    g.stats[(int64_t)blockIdx.x * (g.n_out / 2) + pair] =
        make_float2(base + mean, fmaxf(squares - mean * sum, 0.0f));
}

template <typename T> static cudaError_t launch_part_stats(sdb_queue *q, const cuda_gemm *g) {
    int64_t pixels = (int64_t)g->n * g->y_h * g->y_w; /* a linear layer's images are one */
    dim3 grid((unsigned)(pixels / CUDA_PART), cuda_divide_up(g->n_out / 2, COLUMN_THREADS));
    bool aligned = (uintptr_t)g->y % 4 == 0 && g->y_ld % 2 == 0;
    return cuda_launch(q, aligned ? part_stats<T, true> : part_stats<T, false>,
                       cuda_early(grid, COLUMN_THREADS), *g);
}

extern "C" sd_status cuda_gemm_stats(sdb_queue *q, const cuda_gemm *g) {
    cudaError_t error = g->type == SDB_F16 ? launch_part_stats<__half>(q, g)
                                           : launch_part_stats<__nv_bfloat16>(q, g);
    return cuda_check(q->dev, error, "statistics");
}

/* For whole boxes of a product. A picture of 8 x 8 is normalised as fast without, and making them
 * is not for nothing. */
int cuda_stats_parts(const sdb_device *dev, sdb_type type, int h, int w) {
    int64_t pixels = (int64_t)h * w;
    bool whole = pixels % (2 * CUDA_PART) == 0 && pixels >= MIN_PARTS * CUDA_PART;
    bool half = type == SDB_F16 || type == SDB_BF16;
    return dev->hopper && half && whole && pixels <= INT32_MAX ? (int)(pixels / CUDA_PART) : 0;
}
