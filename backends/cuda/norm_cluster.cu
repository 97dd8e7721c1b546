/*
 * Group normalisation in one launch, for compute capability 9.0. A cluster of blocks has one slab
 * of one image, each block a range of its pixels, which its threads keep in registers between
 * reading and writing. Blocks tell each other their sums over distributed shared memory.
 */
#include "launch.cuh"
#include "norm_sums.cuh"

#include <cooperative_groups.h>

namespace cg = cooperative_groups;

#define MAX_VECTORS 12 /* of a thread */
#define MAX_GROUPS 4   /* of a slab */
#define MAX_CLUSTER 8
#define THREADS 256

typedef struct cluster_args {
    cuda_norm g;
    sums_slab slab;
    int per_block; /* pixels */
} cluster_args;

typedef struct cluster_shared {
    norm_pair part[2][THREADS];
    norm_pair total[MAX_GROUPS];
    norm_pair inbox[MAX_CLUSTER][MAX_GROUPS]; /* from each block of the cluster */
} cluster_shared;

/* Sends this block's sums to all blocks; after that every inbox is full. */
static __device__ __forceinline__ void exchange(cluster_shared *s, int groups) {
    cg::cluster_group cluster = cg::this_cluster();
    int blocks = (int)cluster.num_blocks(), i = threadIdx.x;
    __syncthreads();
    if (i < groups * blocks) {
        int to = i / groups, group = i % groups;
        norm_pair *inbox = cluster.map_shared_rank(&s->inbox[0][0], to);
        inbox[cluster.block_rank() * MAX_GROUPS + group] = s->total[group];
    }
    cluster.sync();
}

static __device__ __forceinline__ norm_pair gather(const cluster_shared *s, int group) {
    int blocks = (int)cg::this_cluster().num_blocks();
    norm_pair all = s->inbox[0][group];
    for (int r = 1; r < blocks; r++)
        all = all + s->inbox[r][group];
    return all;
}

/* Grid: (blocks of a cluster, slabs, images). */
template <typename T, int VECTORS>
static __global__ void __launch_bounds__(THREADS, 2)
    group_norm(const __grid_constant__ cluster_args a) {
    __shared__ cluster_shared s;
    cg::cluster_group cluster = cg::this_cluster();
    auto token = cluster.barrier_arrive(); /* that all blocks run, before one writes to another */
    cuda_let_next_start();
    int column = threadIdx.x % a.slab.columns, lane = threadIdx.x / a.slab.columns;
    int first_channel = blockIdx.y * a.slab.columns * NORM_WIDTH;
    int channel = first_channel + column * NORM_WIDTH;
    int begin = blockIdx.x * a.per_block, count = min(a.per_block, a.g.pixels - begin);
    int64_t image = (int64_t)blockIdx.z * a.g.pixels;
    const T *x = static_cast<const T *>(a.g.x) + channel;
    bool active = lane < a.slab.lanes;
    uint4 raw[VECTORS];
    float factor[NORM_WIDTH], offset[NORM_WIDTH]; /* gamma and beta at first */

    if (active)
        load_affine(factor, offset, a.g, channel);
    cuda_wait_for_previous();
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int p = lane + i * a.slab.lanes;
        raw[i] = make_uint4(0, 0, 0, 0);
        if (active && p < count)
            raw[i] = load_vector(x + (image + begin + p) * a.g.x_ld);
    }
    column_sums<T> sums(a.slab, column,
                        static_cast<const T *>(a.g.x) + image * a.g.x_ld + first_channel);
#pragma unroll
    for (int i = 0; i < VECTORS; i++)
        if (active && lane + i * a.slab.lanes < count)
            sums.add(raw[i]);
    block_sums<THREADS>(s.part, s.total, a.slab, sums, column, lane);
    cluster.barrier_wait(std::move(token));
    exchange(&s, a.slab.groups);
    if (!active)
        return;

    float elements = (float)a.g.pixels * (float)a.slab.per_group;
    float2 first = statistics(gather(&s, sums.first_group), sums.base[0], elements, a.g.eps);
    float2 second = first;
    if (sums.split < NORM_WIDTH)
        second = statistics(gather(&s, sums.first_group + 1), sums.base[1], elements, a.g.eps);
    affine(factor, offset, sums.split, first, second);
    T *y = static_cast<T *>(a.g.y) + channel;
    bool silu = a.g.act == SDB_ACT_SILU;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int p = lane + i * a.slab.lanes;
        if (p < count)
            finish(y + (image + begin + p) * a.g.y_ld, raw[i], factor, offset, silu);
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
    sums_slab *s = &p.args.slab;
    s->groups = cuda_norm_slab(g, NORM_WIDTH);
    s->per_group = g->c / g->groups;
    s->columns = s->groups * s->per_group / NORM_WIDTH;
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
    int slab = cuda_norm_slab(g, NORM_WIDTH);
    if (!dev->hopper || slab == 0 || slab > MAX_GROUPS || g->n > 65535)
        return false;
    plan p = make_plan(dev, g);
    return p.args.slab.columns <= THREADS && p.vectors <= MAX_VECTORS && p.slabs <= 65535;
}

template <typename T, int VECTORS> static cudaError_t launch(sdb_queue *q, const plan &p) {
    dim3 blocks((unsigned)p.cluster, (unsigned)p.slabs, (unsigned)p.args.g.n);
    cuda_grid grid = cuda_early(blocks, THREADS);
    grid.cluster = (unsigned)p.cluster;
    return cuda_launch(q, group_norm<T, VECTORS>, grid, p.args);
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
