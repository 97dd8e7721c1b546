/*
 * Group normalisation in one launch, for compute capability 9.0. A cluster of blocks has one slab
 * of one image, each block a range of its pixels, which its threads keep in registers between
 * reading and writing. Blocks tell each other their moments over distributed shared memory.
 */
#include "norm.cuh"

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

#define WIDTH 8        /* channels of a vector */
#define MAX_VECTORS 12 /* of a thread */
#define MAX_GROUPS 4   /* of a slab */
#define MAX_CLUSTER 8
#define THREADS 256

typedef struct cluster_args {
    cuda_norm g;
    norm_slab slab;
    int per_block; /* pixels */
} cluster_args;

typedef struct cluster_shared {
    norm_shared<THREADS, MAX_GROUPS> block;
    norm_moments inbox[MAX_CLUSTER][MAX_GROUPS]; /* from each block of the cluster */
} cluster_shared;

/* Pixels of block `rank` of the cluster. */
static __device__ __forceinline__ int pixels_of(const cluster_args &a, int rank) {
    int left = a.g.pixels - rank * a.per_block;
    return left < 0 ? 0 : left < a.per_block ? left : a.per_block;
}

/* Sends this block's moments to all blocks; after that every inbox is full. */
static __device__ void exchange(cluster_shared *s, const cluster_args &a) {
    cg::cluster_group cluster = cg::this_cluster();
    int blocks = (int)cluster.num_blocks(), i = threadIdx.x;
    __syncthreads();
    if (blocks == 1) {
        if (i < a.slab.groups)
            s->inbox[0][i] = s->block.group[i];
        __syncthreads();
        return;
    }
    if (i < a.slab.groups * blocks) {
        int to = i / a.slab.groups, group = i % a.slab.groups;
        norm_moments *inbox = cluster.map_shared_rank(&s->inbox[0][0], to);
        inbox[cluster.block_rank() * MAX_GROUPS + group] = s->block.group[group];
    }
    cluster.sync();
}

/* Mean, and 1 / sqrt(variance + eps), of a group from all blocks' moments. */
static __device__ norm_moments merge(const cluster_shared *s, const cluster_args &a, int group) {
    int blocks = (int)cg::this_cluster().num_blocks();
    float base = s->inbox[0][group].mean, shift = 0.0f, m2 = 0.0f;
    float total = (float)a.g.pixels * (float)a.slab.per_group;
    for (int r = 1; r < blocks; r++)
        shift += (s->inbox[r][group].mean - base) * (float)(pixels_of(a, r) * a.slab.per_group);
    float mean = base + shift / total;
    for (int r = 0; r < blocks; r++) {
        norm_moments m = s->inbox[r][group];
        float w = (float)(pixels_of(a, r) * a.slab.per_group), d = w > 0.0f ? m.mean - mean : 0.0f;
        m2 += fmaf(w * d, d, m.m2);
    }
    return {mean, rsqrtf(m2 / total + a.g.eps)};
}

static __device__ __forceinline__ void load_affine(const cluster_args &a, int channel,
                                                   float (&gamma)[WIDTH], float (&beta)[WIDTH]) {
    cuda_load(gamma, a.g.gamma + channel);
    if (a.g.beta)
        cuda_load(beta, a.g.beta + channel);
}

/* Grid: (blocks of a cluster, slabs, images). */
template <typename T, int VECTORS>
static __global__ void __launch_bounds__(THREADS, 2)
    group_norm(const __grid_constant__ cluster_args a) {
    __shared__ cluster_shared s;
    cg::cluster_group cluster = cg::this_cluster();
    auto token = cluster.barrier_arrive(); /* that all blocks run, before one writes to another */
    int column = threadIdx.x % a.slab.step, lane = threadIdx.x / a.slab.step;
    int begin = blockIdx.x * a.per_block, count = pixels_of(a, blockIdx.x);
    int channel = (blockIdx.y * a.slab.columns + column) * WIDTH;
    int64_t pixel = (int64_t)blockIdx.z * a.g.pixels + begin;
    const T *x = static_cast<const T *>(a.g.x) + channel;
    bool active = lane < a.slab.lanes;
    const bool early = VECTORS <= 8; /* as far as there are registers */
    uint4 raw[VECTORS];
    norm_sums<WIDTH> sums;
    float v[WIDTH], gamma[WIDTH], beta[WIDTH] = {};

#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int p = lane + i * a.slab.lanes;
        raw[i] = make_uint4(0, 0, 0, 0);
        if (active && p < count)
            raw[i] = *reinterpret_cast<const uint4 *>(x + (pixel + p) * a.g.x_ld);
    }
    if (early)
        load_affine(a, channel, gamma, beta);
    cuda_load(sums.base, reinterpret_cast<const T *>(&raw[0]));
    sums.count = active ? norm_count(a.slab, count, lane, column) : 0;
#pragma unroll
    for (int i = 1; i < VECTORS; i++) {
        cuda_load(v, reinterpret_cast<const T *>(&raw[i]));
        if (active && lane + i * a.slab.lanes < count)
            sums.add_to_base(v);
    }
    norm_block(&s.block, a.slab, sums, count);
    cluster.barrier_wait(std::move(token));
    exchange(&s, a);
    if (!active)
        return;
    if (!early)
        load_affine(a, channel, gamma, beta);

    int first_group = column * WIDTH / a.slab.per_group;
    int split = norm_split<WIDTH>(a.slab, column);
    norm_moments first = merge(&s, a, first_group);
    norm_moments second = split < WIDTH ? merge(&s, a, first_group + 1) : first;
    float mean[WIDTH];
#pragma unroll
    for (int j = 0; j < WIDTH; j++) {
        mean[j] = j < split ? first.mean : second.mean;
        gamma[j] *= j < split ? first.m2 : second.m2;
    }
    T *y = static_cast<T *>(a.g.y) + channel;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int p = lane + i * a.slab.lanes;
        if (p >= count)
            break;
        cuda_load(v, reinterpret_cast<const T *>(&raw[i]));
#pragma unroll
        for (int j = 0; j < WIDTH; j++)
            v[j] = norm_finish_fast(fmaf(v[j] - mean[j], gamma[j], beta[j]), a.g.act);
        cuda_store(y + (pixel + p) * a.g.y_ld, v);
    }
}

/* -------------------------------------------------------------------------------------- choice */

typedef struct plan {
    cluster_args args;
    int cluster, slabs; /* blocks of a cluster, clusters of an image */
    int vectors;        /* of a thread, at most */
} plan;

/* Vectors of a thread when a cluster of `cluster` blocks shares the pixels. */
static int64_t vectors_of(const cuda_norm *g, int cluster, int lanes) {
    int64_t per_block = (g->pixels + cluster - 1) / cluster;
    return (per_block + lanes - 1) / lanes;
}

/* The smallest cluster whose threads can hold the pixels and that fills the card, as far as threads
 * keep enough to do. */
static plan make_plan(const sdb_device *dev, const cuda_norm *g) {
    plan p = {{*g}};
    norm_slab *s = &p.args.slab;
    s->groups = cuda_norm_slab(g, WIDTH);
    s->per_group = g->c / g->groups;
    s->columns = s->step = s->groups * s->per_group / WIDTH;
    s->lanes = s->columns <= THREADS ? THREADS / s->columns : 1;
    p.slabs = g->groups / s->groups;
    p.cluster = 1;
    int64_t blocks = (int64_t)p.slabs * g->n, vectors = vectors_of(g, 1, s->lanes);
    while (p.cluster < MAX_CLUSTER &&
           (vectors > 8 || (vectors > 2 && blocks * p.cluster < dev->n_sms))) {
        p.cluster *= 2;
        vectors = vectors_of(g, p.cluster, s->lanes);
    }
    p.args.per_block = (g->pixels + p.cluster - 1) / p.cluster;
    p.vectors = vectors > MAX_VECTORS ? MAX_VECTORS + 1 : (int)vectors;
    return p;
}

bool cuda_norm_cluster_fits(const sdb_device *dev, const cuda_norm *g) {
    bool aligned = g->x_ld % WIDTH == 0 && g->y_ld % WIDTH == 0 && (uintptr_t)g->x % 16 == 0 &&
                   (uintptr_t)g->y % 16 == 0;
    int slab = cuda_norm_slab(g, WIDTH);
    if (!dev->hopper || !aligned || g->x_type != g->y_type || g->x_type == SDB_F32 || slab == 0 ||
        slab > MAX_GROUPS || g->n > 65535)
        return false;
    plan p = make_plan(dev, g);
    return p.args.slab.columns <= THREADS && p.vectors <= MAX_VECTORS && p.slabs <= 65535;
}

template <typename T, int VECTORS> static cudaError_t launch(sdb_queue *q, const plan &p) {
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = (unsigned)p.cluster;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    config.gridDim = dim3((unsigned)p.cluster, (unsigned)p.slabs, (unsigned)p.args.g.n);
    config.blockDim = dim3(THREADS);
    config.stream = q->stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    return cudaLaunchKernelEx(&config, group_norm<T, VECTORS>, p.args);
}

template <typename T> static cudaError_t choose(sdb_queue *q, const plan &p) {
    if (p.vectors <= 2)
        return launch<T, 2>(q, p);
    if (p.vectors <= 4)
        return launch<T, 4>(q, p);
    if (p.vectors <= 6)
        return launch<T, 6>(q, p);
    if (p.vectors <= 8)
        return launch<T, 8>(q, p);
    return launch<T, MAX_VECTORS>(q, p);
}

sd_status cuda_norm_cluster(sdb_queue *q, const cuda_norm *g) {
    plan p = make_plan(q->dev, g);
    cudaError_t error = g->x_type == SDB_F16 ? choose<__half>(q, p) : choose<__nv_bfloat16>(q, p);
    return cuda_check(q->dev, error, "group_norm");
}
