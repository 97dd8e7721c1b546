/*
 * Group and layer normalisation. Group normalisation of float32, and of what has no whole vectors,
 * is here: moments, which the last block puts together, then the affine map. See norm.h.
 */
#include "launch.cuh"
#include "norm.cuh"

#define THREADS 256
#define MAX_WIDTH 8
#define MAX_GROUPS 64 /* of a slab */

int cuda_norm_slab(const cuda_norm *g, int width) {
    int groups = 1, per_group = g->c / g->groups;
    while (groups * per_group % width != 0)
        groups++;
    bool two = per_group >= width - 1 || width % per_group == 0; /* a vector: two groups at most */
    if (width % per_group == 0 && width / per_group > 2)
        two = false;
    return two && g->groups % groups == 0 ? groups : 0;
}

/* ------------------------------------------------------------------------------------- moments */

typedef struct moments_args {
    cuda_norm g;
    norm_slab slab;
    int chunks, per_chunk; /* a chunk: pixels of a block */
    int first_image;
    norm_moments *partial; /* [images][chunks][groups] */
    norm_moments *result;  /* [n][groups]: mean and rstd */
    unsigned *counters;
} moments_args;

/* T: the type of x and y, or char for types known at run time. */
template <typename T, int WIDTH>
static __device__ __forceinline__ void load(float (&v)[WIDTH], const cuda_norm &g, int64_t i) {
    if constexpr (sizeof(T) > 1)
        cuda_load(v, static_cast<const T *>(g.x) + i);
    else
        cuda_load_any(v, g.x, g.x_type, i);
}

template <typename T, int WIDTH>
static __device__ __forceinline__ void store(const cuda_norm &g, int64_t i,
                                             const float (&v)[WIDTH]) {
    if constexpr (sizeof(T) > 1)
        cuda_store(static_cast<T *>(g.y) + i, v);
    else
        cuda_store_any(g.y, g.y_type, i, v);
}

/* The last block of an image's slab merges its chunks: threads [chunk mod shares][group]. */
static __device__ void merge_chunks(const moments_args &a, norm_moments *shared, int image) {
    int groups = a.slab.groups, shares = THREADS / groups;
    int share = threadIdx.x / groups, group = blockIdx.y * groups + threadIdx.x % groups;
    const norm_moments *m = a.partial + (int64_t)blockIdx.z * a.chunks * a.g.groups + group;
    float per_group = (float)a.slab.per_group, total = (float)a.g.pixels * per_group;
    float base = 0.0f, sum = 0.0f, squares = 0.0f, m2 = 0.0f;
    if (share < shares)
        base = __ldcg(&m->mean);
#pragma unroll 8
    for (int chunk = share; chunk < a.chunks && share < shares; chunk += shares) {
        float2 part = __ldcg(reinterpret_cast<const float2 *>(&m[(int64_t)chunk * a.g.groups]));
        float w = (float)min(a.g.pixels - chunk * a.per_chunk, a.per_chunk) * per_group;
        float d = part.x - base;
        sum = fmaf(w, d, sum);
        squares = fmaf(w * d, d, squares);
        m2 += part.y;
    }
    shared[threadIdx.x] = {sum, squares + m2};
    __syncthreads();
    if (share == 0) {
        for (int i = 1; i < shares; i++) {
            norm_moments other = shared[i * groups + threadIdx.x];
            sum += other.mean;
            squares += other.m2;
        }
        float shift = sum / total, all = fmaxf(squares + m2 - shift * sum, 0.0f);
        a.result[(int64_t)image * a.g.groups + group] = {base + shift,
                                                         rsqrtf(all / total + a.g.eps)};
    }
}

/* Grid: (chunks, slabs, images). */
template <typename T, int WIDTH>
static __global__ void __launch_bounds__(THREADS) moments(const __grid_constant__ moments_args a) {
    __shared__ norm_shared<THREADS, MAX_GROUPS> shared;
    __shared__ bool last;
    int image = a.first_image + blockIdx.z, lane = threadIdx.x / a.slab.step;
    int begin = blockIdx.x * a.per_chunk, count = min(a.per_chunk, a.g.pixels - begin);
    int64_t first = ((int64_t)image * a.g.pixels + begin) * a.g.x_ld +
                    (int64_t)blockIdx.y * a.slab.columns * WIDTH;
    norm_sums<WIDTH> sums;

    if (lane < a.slab.lanes)
        for (int column = threadIdx.x % a.slab.step; column < a.slab.columns;
             column += a.slab.step) {
#pragma unroll 4
            for (int p = lane; p < count; p += a.slab.lanes) {
                float v[WIDTH];
                load<T>(v, a.g, first + p * a.g.x_ld + column * WIDTH);
                sums.add(v);
            }
        }
    norm_block(&shared, a.slab, sums, count);
    __syncthreads();
    int64_t row = ((int64_t)blockIdx.z * a.chunks + blockIdx.x) * a.g.groups;
    if ((int)threadIdx.x < a.slab.groups)
        a.partial[row + blockIdx.y * a.slab.groups + threadIdx.x] = shared.group[threadIdx.x];
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
        merge_chunks(a, shared.part[0], image);
}

/* ----------------------------------------------------------------------------------------- map */

#define BATCH 4 /* pixels that a thread reads before it writes: y may be x */

typedef struct apply_args {
    cuda_norm g;
    const norm_moments *result; /* [n][groups]: mean and rstd */
    int columns, step, lanes, per_chunk;
} apply_args;

/* y = act((x - mean) rstd gamma + beta). Grid: (chunks of pixels, columns / step, images). */
template <typename T, int WIDTH>
static __global__ void __launch_bounds__(THREADS) apply(const __grid_constant__ apply_args a) {
    int column = blockIdx.y * a.step + threadIdx.x % a.step, lane = threadIdx.x / a.step;
    if (column >= a.columns || lane >= a.lanes)
        return;
    int per_group = a.g.c / a.g.groups;
    float mean[WIDTH], factor[WIDTH], beta[WIDTH], v[BATCH][WIDTH];
#pragma unroll
    for (int j = 0; j < WIDTH; j++) {
        int c = column * WIDTH + j;
        norm_moments m = a.result[(int64_t)blockIdx.z * a.g.groups + c / per_group];
        mean[j] = m.mean;
        factor[j] = m.m2 * a.g.gamma[c];
        beta[j] = a.g.beta ? a.g.beta[c] : 0.0f;
    }
    int begin = blockIdx.x * a.per_chunk, end = min(begin + a.per_chunk, a.g.pixels);
    int64_t pixel = (int64_t)blockIdx.z * a.g.pixels;
    for (int p = begin + lane; p < end; p += a.lanes * BATCH) {
#pragma unroll
        for (int i = 0; i < BATCH; i++)
            if (p + i * a.lanes < end)
                load<T>(v[i], a.g, (pixel + p + i * a.lanes) * a.g.x_ld + column * WIDTH);
#pragma unroll
        for (int i = 0; i < BATCH; i++) {
            if (p + i * a.lanes >= end)
                break;
#pragma unroll
            for (int j = 0; j < WIDTH; j++) {
                float n = fmaf(v[i][j] - mean[j], factor[j], beta[j]);
                v[i][j] = norm_finish_exact(n, a.g.act);
            }
            store<T>(a.g, (pixel + p + i * a.lanes) * a.g.y_ld + column * WIDTH, v[i]);
        }
    }
}

/* --------------------------------------------------------------------------------- two launches */

/* Pixels of a chunk so that there are some blocks for each multiprocessor, and at least 8 pixels
 * for each thread. `others`: blocks for each chunk. */
static int chunk_pixels(const sdb_device *dev, const cuda_norm *g, int64_t others, int lanes,
                        int per_sm) {
    int64_t wanted = ((int64_t)dev->n_sms * per_sm + others - 1) / others;
    int64_t per_chunk = (g->pixels + wanted - 1) / wanted;
    return (int)(per_chunk > 8 * lanes ? per_chunk : 8 * lanes);
}

/* Slabs as wide as the threads of a block. */
static norm_slab widest_slab(const cuda_norm *g, int groups, int width) {
    norm_slab s = {groups, g->c / g->groups};
    for (int n = groups; n <= g->groups && n <= MAX_GROUPS; n += groups)
        if (g->groups % n == 0 && n * s.per_group / width <= THREADS)
            s.groups = n;
    s.columns = s.groups * s.per_group / width;
    s.step = s.columns < THREADS ? s.columns : THREADS;
    s.lanes = THREADS / s.step;
    return s;
}

template <typename T, int WIDTH> static void launch_moments(sdb_queue *q, moments_args *a) {
    int slabs = a->g.groups / a->slab.groups;
    int images = CUDA_N_COUNTERS / slabs;
    for (a->first_image = 0; a->first_image < a->g.n; a->first_image += images) {
        int left = a->g.n - a->first_image;
        dim3 grid(a->chunks, slabs, left < images ? left : images);
        moments<T, WIDTH><<<grid, THREADS, 0, q->stream>>>(*a);
    }
}

template <typename T, int WIDTH> static void launch_apply(sdb_queue *q, const apply_args *a) {
    for (int first = 0; first < a->g.n; first += 65535) {
        apply_args b = *a;
        int left = a->g.n - first;
        size_t pixels = (size_t)first * (size_t)a->g.pixels;
        b.g.x = (const char *)a->g.x + pixels * (size_t)a->g.x_ld * sdb_type_size(a->g.x_type);
        b.g.y = (char *)a->g.y + pixels * (size_t)a->g.y_ld * sdb_type_size(a->g.y_type);
        b.result = a->result + (size_t)first * (size_t)a->g.groups;
        dim3 grid(cuda_divide_up(a->g.pixels, a->per_chunk), cuda_divide_up(a->columns, a->step),
                  left < 65535 ? left : 65535);
        apply<T, WIDTH><<<grid, THREADS, 0, q->stream>>>(b);
    }
}

/* `groups`: what cuda_norm_slab says of WIDTH. */
template <typename T, int WIDTH>
static sd_status two_launches(sdb_queue *q, const cuda_norm *g, int groups) {
    moments_args m = {*g, widest_slab(g, groups, WIDTH)};
    int slabs = g->groups / m.slab.groups;
    m.per_chunk = chunk_pixels(q->dev, g, (int64_t)slabs * g->n, m.slab.lanes, 2);
    m.chunks = cuda_divide_up(g->pixels, m.per_chunk);
    m.counters = q->counters;

    size_t results = ((size_t)g->n * g->groups * sizeof(norm_moments) + 255) / 256 * 256;
    size_t partials = (size_t)g->n * m.chunks * g->groups * sizeof(norm_moments);
    void *scratch;
    sd_status status = cuda_scratch(q, results + partials, &scratch);
    if (status || q->planning)
        return status;
    m.result = (norm_moments *)scratch;
    m.partial = (norm_moments *)((char *)scratch + results);
    launch_moments<T, WIDTH>(q, &m);
    status = CUDA_LAUNCHED(q, "group_norm");
    if (status)
        return status;

    apply_args a = {*g, m.result, g->c / WIDTH};
    a.step = a.columns < THREADS ? a.columns : THREADS;
    a.lanes = THREADS / a.step;
    a.per_chunk =
        chunk_pixels(q->dev, g, (int64_t)cuda_divide_up(a.columns, a.step) * g->n, a.lanes, 16);
    launch_apply<T, WIDTH>(q, &a);
    return CUDA_LAUNCHED(q, "group_norm");
}

static cuda_norm norm_of(const sdb_tensor *x, const sdb_tensor *y, const sdb_weight *w, float eps) {
    cuda_norm g = {x->data, y->data, x->ld, y->ld, x->type, y->type, x->n, x->h * x->w, x->c};
    g.groups = 1;
    g.eps = eps;
    g.gamma = (const float *)w->data;
    g.beta = w->bias;
    return g;
}

/* While planning, pointers are NULL, which is aligned: so scratch is noted for every way. */
sd_status cuda_group_norm(sdb_queue *q, const sdb_group_norm *op) {
    if (!cuda_is_float(op->x.type) || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "group_norm", op->x.type, op->y.type);
    cuda_norm g = norm_of(&op->x, &op->y, op->weight, op->eps);
    g.groups = op->groups;
    g.act = op->act;
    bool vectors =
        cuda_vectors<MAX_WIDTH>(&op->x) && cuda_vectors<MAX_WIDTH>(&op->y) && g.x_type == g.y_type;
    bool half = vectors && g.x_type != SDB_F32;
    if (half && cuda_norm_stats_fits(&g, op->stats)) {
        sd_status status = cuda_norm_stats(q, &g, op->stats);
        if (status || !q->planning)
            return status;
    }
    if (half && !q->planning && cuda_norm_cluster_fits(q->dev, &g))
        return cuda_norm_cluster(q, &g);
    sd_status status = SD_OK;
    if (half && cuda_norm_two_fits(&g)) {
        status = cuda_norm_two(q, &g);
        if (status || !q->planning)
            return status;
    }
    int slab = vectors && !half ? cuda_norm_slab(&g, MAX_WIDTH) : 0;
    if (slab > 1 && slab * (g.c / g.groups) / MAX_WIDTH > THREADS)
        slab = 0; /* threads that take several columns must have one group */
    if (slab)
        status = two_launches<float, MAX_WIDTH>(q, &g, slab);
    if (!status && (!slab || q->planning))
        status = two_launches<char, 1>(q, &g, 1);
    return status;
}

/* ---------------------------------------------------------------------------------- layer norm */

typedef struct layer_args {
    cuda_norm g;
    int64_t rows;
} layer_args;

/* A warp for each row, which it keeps in registers, and gamma and beta with it: they do not depend
 * on the kernel before, and come while it ends. */
template <int VECTORS>
static __global__ void __launch_bounds__(THREADS) layer_in_registers(const layer_args a) {
    cuda_let_next_start();
    int64_t row = cuda_thread() / 32;
    int lane = threadIdx.x % 32, columns = a.g.c / MAX_WIDTH;
    float gamma[VECTORS][MAX_WIDTH], beta[VECTORS][MAX_WIDTH] = {};
#pragma unroll
    for (int i = 0; i < VECTORS; i++)
        if (lane + 32 * i < columns) {
            cuda_load(gamma[i], a.g.gamma + (lane + 32 * i) * MAX_WIDTH);
            if (a.g.beta)
                cuda_load(beta[i], a.g.beta + (lane + 32 * i) * MAX_WIDTH);
        }
    cuda_wait_for_previous();
    if (row >= a.rows)
        return;
    float v[VECTORS][MAX_WIDTH], sum = 0.0f, squares = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; i++)
        if (lane + 32 * i < columns)
            cuda_load_any(v[i], a.g.x, a.g.x_type, row * a.g.x_ld + (lane + 32 * i) * MAX_WIDTH);
#pragma unroll
    for (int i = 0; i < VECTORS; i++)
#pragma unroll
        for (int j = 0; j < MAX_WIDTH; j++)
            sum += lane + 32 * i < columns ? v[i][j] : 0.0f;
    float mean = norm_warp_sum(sum) / (float)a.g.c;
#pragma unroll
    for (int i = 0; i < VECTORS; i++)
#pragma unroll
        for (int j = 0; j < MAX_WIDTH; j++) {
            float d = lane + 32 * i < columns ? v[i][j] - mean : 0.0f;
            squares = fmaf(d, d, squares);
        }
    float rstd = rsqrtf(norm_warp_sum(squares) / (float)a.g.c + a.g.eps);
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        if (lane + 32 * i >= columns)
            break;
#pragma unroll
        for (int j = 0; j < MAX_WIDTH; j++)
            v[i][j] = fmaf((v[i][j] - mean) * rstd, gamma[i][j], beta[i][j]);
        cuda_store_any(a.g.y, a.g.y_type, row * a.g.y_ld + (lane + 32 * i) * MAX_WIDTH, v[i]);
    }
}

/* A warp for each row, read three times. */
static __global__ void __launch_bounds__(THREADS) layer_any(const layer_args a) {
    cuda_let_next_start();
    cuda_wait_for_previous();
    int64_t row = cuda_thread() / 32;
    int lane = threadIdx.x % 32;
    if (row >= a.rows)
        return;
    float sum = 0.0f, squares = 0.0f, v[1];
    for (int c = lane; c < a.g.c; c += 32) {
        cuda_load_any(v, a.g.x, a.g.x_type, row * a.g.x_ld + c);
        sum += v[0];
    }
    float mean = norm_warp_sum(sum) / (float)a.g.c;
    for (int c = lane; c < a.g.c; c += 32) {
        cuda_load_any(v, a.g.x, a.g.x_type, row * a.g.x_ld + c);
        squares = fmaf(v[0] - mean, v[0] - mean, squares);
    }
    float rstd = rsqrtf(norm_warp_sum(squares) / (float)a.g.c + a.g.eps);
    for (int c = lane; c < a.g.c; c += 32) {
        cuda_load_any(v, a.g.x, a.g.x_type, row * a.g.x_ld + c);
        v[0] = fmaf((v[0] - mean) * rstd, a.g.gamma[c], a.g.beta ? a.g.beta[c] : 0.0f);
        cuda_store_any(a.g.y, a.g.y_type, row * a.g.y_ld + c, v);
    }
}

sd_status cuda_layer_norm(sdb_queue *q, const sdb_layer_norm *op) {
    if (!cuda_is_float(op->x.type) || !cuda_is_float(op->y.type))
        return cuda_refuse_types(q, "layer_norm", op->x.type, op->y.type);
    if (q->planning)
        return SD_OK;
    layer_args a = {norm_of(&op->x, &op->y, op->weight, op->eps)};
    a.rows = (int64_t)a.g.n * a.g.pixels;
    unsigned blocks = cuda_blocks(a.rows * 32);
    int vectors = cuda_divide_up(a.g.c, MAX_WIDTH * 32);
    cudaError_t error;
    if (!cuda_vectors<MAX_WIDTH>(&op->x) || !cuda_vectors<MAX_WIDTH>(&op->y) || vectors > 8)
        error = cuda_launch(q, layer_any, cuda_early(blocks, THREADS), a);
    else if (vectors <= 1)
        error = cuda_launch(q, layer_in_registers<1>, cuda_early(blocks, THREADS), a);
    else if (vectors == 2)
        error = cuda_launch(q, layer_in_registers<2>, cuda_early(blocks, THREADS), a);
    else if (vectors == 3)
        error = cuda_launch(q, layer_in_registers<3>, cuda_early(blocks, THREADS), a);
    else if (vectors <= 5)
        error = cuda_launch(q, layer_in_registers<5>, cuda_early(blocks, THREADS), a);
    else
        error = cuda_launch(q, layer_in_registers<8>, cuda_early(blocks, THREADS), a);
    return cuda_check(q->dev, error, "layer_norm");
}
