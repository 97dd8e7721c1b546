/*
 * Group normalisation of 16-bit tensors in two launches, for those that clusters cannot hold: sums,
 * which the last block puts together, then the affine map. What the second reads first is what the
 * first read last, and likely still in the L2 cache.
 */
#include "launch.cuh"
#include "norm_sums.cuh"

#define SUM_THREADS 512
#define MAP_THREADS 256
#define MAX_GROUPS 64 /* of a slab */
#define SUM_BATCH 4   /* vectors that a thread has under way */
#define MAP_BATCH 8

typedef struct sums_args {
    cuda_norm g;
    sums_slab slab;
    int chunks, per_chunk; /* a chunk: pixels of a block */
    int first_image;
    norm_pair *partial; /* [images][chunks][groups] */
    float2 *result;     /* [n][groups]: mean and rstd */
    unsigned *counters;
} sums_args;

/* The last block of an image's slab adds up its chunks: threads [chunk mod shares][group]. */
template <typename T>
static __device__ void add_chunks(const sums_args &a, norm_pair *shared, const T *slab, int image) {
    int groups = a.slab.groups, shares = SUM_THREADS / groups;
    int share = threadIdx.x / groups, own = threadIdx.x % groups;
    int group = blockIdx.y * groups + own;
    const norm_pair *p = a.partial + (int64_t)blockIdx.z * a.chunks * a.g.groups + group;
    norm_pair sums = make_float2(0.0f, 0.0f);
#pragma unroll 8
    for (int chunk = share; chunk < a.chunks && share < shares; chunk += shares)
        sums = sums + __ldcg(p + (int64_t)chunk * a.g.groups);
    shared[threadIdx.x] = sums;
    __syncthreads();
    if (share > 0)
        return;
    for (int i = 1; i < shares; i++)
        sums = sums + shared[i * groups + own];
    float elements = (float)a.g.pixels * (float)a.slab.per_group;
    a.result[(int64_t)image * a.g.groups + group] =
        statistics(sums, cuda_float(slab[own * a.slab.per_group]), elements, a.g.eps);
}

/* Grid: (chunks, slabs, images). */
template <typename T>
static __global__ void __launch_bounds__(SUM_THREADS, 2)
    group_sums(const __grid_constant__ sums_args a) {
    __shared__ norm_pair part[2][SUM_THREADS];
    __shared__ norm_pair total[MAX_GROUPS];
    __shared__ bool last;
    cuda_let_next_start();
    int column = threadIdx.x % a.slab.columns, lane = threadIdx.x / a.slab.columns;
    int image = a.first_image + blockIdx.z, begin = blockIdx.x * a.per_chunk;
    int count = min(a.per_chunk, a.g.pixels - begin), step = a.slab.lanes;
    const T *slab = static_cast<const T *>(a.g.x) + (int64_t)image * a.g.pixels * a.g.x_ld +
                    (int64_t)blockIdx.y * a.slab.columns * NORM_WIDTH;
    const T *x = slab + (int64_t)begin * a.g.x_ld + column * NORM_WIDTH;

    cuda_wait_for_previous();
    column_sums<T> sums(a.slab, column, slab);
    if (lane < a.slab.lanes) {
        int p = lane;
        for (; p + (SUM_BATCH - 1) * step < count; p += SUM_BATCH * step) {
            uint4 raw[SUM_BATCH];
#pragma unroll
            for (int i = 0; i < SUM_BATCH; i++)
                raw[i] = load_vector(x + (p + i * step) * a.g.x_ld);
#pragma unroll
            for (int i = 0; i < SUM_BATCH; i++)
                sums.add(raw[i]);
        }
        for (; p < count; p += step)
            sums.add(load_vector(x + p * a.g.x_ld));
    }
    block_sums<SUM_THREADS>(part, total, a.slab, sums, column, lane);
    __syncthreads();
    int64_t row = ((int64_t)blockIdx.z * a.chunks + blockIdx.x) * a.g.groups;
    if ((int)threadIdx.x < a.slab.groups)
        a.partial[row + blockIdx.y * a.slab.groups + threadIdx.x] = total[threadIdx.x];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned *counter = &a.counters[blockIdx.z * gridDim.y + blockIdx.y];
        last = atomicAdd(counter, 1) == (unsigned)a.chunks - 1;
        if (last)
            *counter = 0;
        __threadfence();
    }
    __syncthreads();
    if (last)
        add_chunks(a, part[0], slab, image);
}

typedef struct map_args {
    cuda_norm g;
    const float2 *result; /* [n][groups]: mean and rstd */
    int columns, step, lanes, per_chunk;
} map_args;

/* y = act((x - mean) rstd gamma + beta). Grid: (chunks of pixels, columns / step, images). */
template <typename T>
static __global__ void __launch_bounds__(MAP_THREADS, 3)
    group_map(const __grid_constant__ map_args a) {
    cuda_let_next_start();
    int column = blockIdx.y * a.step + threadIdx.x % a.step, lane = threadIdx.x / a.step;
    bool active = column < a.columns && lane < a.lanes;
    float factor[NORM_WIDTH], offset[NORM_WIDTH]; /* gamma and beta at first */
    if (active)
        load_affine(factor, offset, a.g, column * NORM_WIDTH);
    cuda_wait_for_previous();
    if (!active)
        return;
    int begin = (gridDim.x - 1 - blockIdx.x) * a.per_chunk;
    int count = min(a.per_chunk, a.g.pixels - begin), channel = column * NORM_WIDTH;
    int64_t pixel = (int64_t)blockIdx.z * a.g.pixels + begin;
    const T *x = static_cast<const T *>(a.g.x) + pixel * a.g.x_ld + channel;
    T *y = static_cast<T *>(a.g.y) + pixel * a.g.y_ld + channel;
    uint4 raw[MAP_BATCH];

#pragma unroll
    for (int i = 0; i < MAP_BATCH; i++)
        if (lane + i * a.lanes < count)
            raw[i] = load_vector(x + (lane + i * a.lanes) * a.g.x_ld);
    int per_group = a.g.c / a.g.groups, group = channel / per_group;
    int split = min((group + 1) * per_group - channel, NORM_WIDTH);
    const float2 *result = a.result + (int64_t)blockIdx.z * a.g.groups + group;
    float2 first = result[0], second = split < NORM_WIDTH ? result[1] : first;
    affine(factor, offset, split, first, second);
    bool silu = a.g.act == SDB_ACT_SILU;
    for (int p = lane; p < count;) {
#pragma unroll
        for (int i = 0; i < MAP_BATCH; i++)
            if (p + i * a.lanes < count)
                finish(y + (p + i * a.lanes) * a.g.y_ld, raw[i], factor, offset, silu);
        p += MAP_BATCH * a.lanes;
#pragma unroll
        for (int i = 0; i < MAP_BATCH; i++)
            if (p + i * a.lanes < count)
                raw[i] = load_vector(x + (p + i * a.lanes) * a.g.x_ld);
    }
}

/* -------------------------------------------------------------------------------------- launch */

/* Pixels of a chunk so that there are `per_sm` blocks for each multiprocessor, and at least
 * `least` pixels for each thread. `others`: blocks for each chunk. */
static int chunk_pixels(const sdb_device *dev, const cuda_norm *g, int64_t others, int lanes,
                        int per_sm, int least) {
    int64_t wanted = ((int64_t)dev->n_sms * per_sm + others - 1) / others;
    int64_t per_chunk = (g->pixels + wanted - 1) / wanted;
    return (int)(per_chunk > least * lanes ? per_chunk : least * lanes);
}

/* Slabs as wide as the threads of a block. */
static sums_slab widest_slab(const cuda_norm *g) {
    int groups = cuda_norm_slab(g, NORM_WIDTH), per_group = g->c / g->groups;
    sums_slab s = {groups, per_group};
    for (int n = groups; n <= g->groups && n <= MAX_GROUPS; n += groups)
        if (g->groups % n == 0 && n * per_group / NORM_WIDTH <= SUM_THREADS)
            s.groups = n;
    s.columns = s.groups * per_group / NORM_WIDTH;
    s.lanes = SUM_THREADS / s.columns;
    return s;
}

bool cuda_norm_two_fits(const cuda_norm *g) {
    int slab = cuda_norm_slab(g, NORM_WIDTH);
    return slab > 0 && slab <= MAX_GROUPS && slab * (g->c / g->groups) / NORM_WIDTH <= SUM_THREADS;
}

template <typename T> static cudaError_t launch_sums(sdb_queue *q, sums_args *a) {
    int slabs = a->g.groups / a->slab.groups, images = CUDA_N_COUNTERS / slabs;
    cudaError_t error = cudaSuccess;
    for (a->first_image = 0; a->first_image < a->g.n && !error; a->first_image += images) {
        int left = a->g.n - a->first_image;
        dim3 grid(a->chunks, slabs, left < images ? left : images);
        error = cuda_launch(q, group_sums<T>, cuda_early(grid, SUM_THREADS), *a);
    }
    return error;
}

template <typename T> static cudaError_t launch_map(sdb_queue *q, const map_args *a) {
    cudaError_t error = cudaSuccess;
    for (int first = 0; first < a->g.n && !error; first += 65535) {
        map_args b = *a;
        int left = a->g.n - first;
        int64_t pixels = (int64_t)first * a->g.pixels;
        b.g.x = static_cast<const T *>(a->g.x) + pixels * a->g.x_ld;
        b.g.y = static_cast<T *>(a->g.y) + pixels * a->g.y_ld;
        b.result = a->result + (int64_t)first * a->g.groups;
        dim3 grid(cuda_divide_up(a->g.pixels, a->per_chunk), cuda_divide_up(a->columns, a->step),
                  left < 65535 ? left : 65535);
        error = cuda_launch(q, group_map<T>, cuda_early(grid, MAP_THREADS), b);
    }
    return error;
}

template <typename T> static sd_status run(sdb_queue *q, sums_args *sums, const map_args *map) {
    sd_status status = cuda_check(q->dev, launch_sums<T>(q, sums), "group_norm");
    return status ? status : cuda_check(q->dev, launch_map<T>(q, map), "group_norm");
}

sd_status cuda_norm_two(sdb_queue *q, const cuda_norm *g) {
    sums_args s = {*g, widest_slab(g)};
    int slabs = g->groups / s.slab.groups;
    s.per_chunk = chunk_pixels(q->dev, g, (int64_t)slabs * g->n, s.slab.lanes, 2, 8);
    s.chunks = cuda_divide_up(g->pixels, s.per_chunk);
    s.counters = q->counters;

    size_t results = ((size_t)g->n * g->groups * sizeof(float2) + 255) / 256 * 256;
    size_t partials = (size_t)g->n * s.chunks * g->groups * sizeof(norm_pair);
    void *scratch;
    sd_status status = cuda_scratch(q, results + partials, &scratch);
    if (status || q->planning)
        return status;
    s.result = (float2 *)scratch;
    s.partial = (norm_pair *)((char *)scratch + results);

    map_args m = {*g, s.result, g->c / NORM_WIDTH};
    m.step = m.columns < MAP_THREADS ? m.columns : MAP_THREADS;
    m.lanes = MAP_THREADS / m.step;
    int64_t others = (int64_t)cuda_divide_up(m.columns, m.step) * g->n;
    m.per_chunk = chunk_pixels(q->dev, g, others, m.lanes, 6, MAP_BATCH);
    return g->x_type == SDB_F16 ? run<__half>(q, &s, &m) : run<__nv_bfloat16>(q, &s, &m);
}
