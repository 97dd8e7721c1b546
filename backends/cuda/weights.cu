/*
 * Weights on the device. The checkpoint's bytes go through pinned memory in pieces, read into it by
 * the host's threads, and are converted and put into order by a kernel, so that the copies, the
 * transfers and the kernels of successive pieces overlap. weight_prepare returns when the source
 * has been read; queues wait for dev->uploaded (cuda_await_weights).
 */
#include "convert.cuh"

#include <string.h>

/* Device memory that several weights are cut from; it is freed with the last of them. */
struct cuda_slab {
    char *data;
    size_t size, used;
    int live;
};

#define SLAB_FIRST ((size_t)16 << 20)
#define SLAB_LARGEST ((size_t)256 << 20) /* each slab is twice as large as the one before */

/* Two halves take turns: one is filled while the other's transfers and kernels run. */
#define HALF ((size_t)8 << 20)

struct cuda_staging {
    char *host, *device; /* 2 * HALF bytes each */
    int current;
    size_t used; /* of the current half */
    cudaEvent_t done[2];
    size_t slab_size;
};

static size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

/* ----------------------------------------------------------------------------------- kernels */

/* Where the checkpoint's row `row` of all parts goes. */
typedef struct row_map {
    bool geglu;
    int out; /* GEGLU: outputs */
} row_map;

static __device__ __forceinline__ int64_t map_row(row_map map, int64_t row) {
    if (!map.geglu)
        return row;
    bool gate = row >= map.out;
    int64_t j = gate ? row - map.out : row;
    return j / 8 * 16 + (gate ? 8 : 0) + j % 8;
}

typedef struct pack {
    row_map map;
    int64_t first_row;    /* of the part */
    int64_t first, count; /* units of this piece; a unit is the taps of one (row, input) */
    int in, k, n;
} pack;

/* The 2x2 kernel of phase bit `p` along one axis: which of three taps add up in place t. */
static __device__ __forceinline__ bool in_phase(int p, int t, int tap) {
    return p == 0 ? (t == 0 ? tap == 0 : tap > 0) : (t == 0 ? tap < 2 : tap == 2);
}

template <typename T>
static __device__ void put_phases(T *dst, const float (&v)[9], pack p, int64_t row, int i) {
#pragma unroll
    for (int place = 0; place < 16; place++) {
        int py = place >> 3, px = place >> 2 & 1, ty = place >> 1 & 1, tx = place & 1;
        float sum = 0.0f;
#pragma unroll
        for (int tap = 0; tap < 9; tap++)
            if (in_phase(py, ty, tap / 3) && in_phase(px, tx, tap % 3))
                sum += v[tap];
        int phase = place >> 2, t = place & 3;
        dst[(((int64_t)phase * p.n + row) * 4 + t) * p.k + i] = cuda_round<T>(sum);
    }
}

/* src: [rows][in][TAPS] of a part, from unit p.first on; dst: see struct sdb_weight. */
template <typename S, typename T, int TAPS, bool PHASES>
static __global__ void pack_rows(T *dst, const S *src, pack p) {
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= p.count)
        return;
    int64_t unit = p.first + at;
    int64_t row = map_row(p.map, p.first_row + unit / p.in);
    int i = (int)(unit % p.in);
    float v[TAPS];
#pragma unroll
    for (int t = 0; t < TAPS; t++)
        v[t] = cuda_float(src[at * TAPS + t]);
    if constexpr (PHASES) {
        put_phases(dst, v, p, row, i);
    } else {
#pragma unroll
        for (int t = 0; t < TAPS; t++)
            dst[(row * TAPS + t) * p.k + i] = cuda_round<T>(v[t]);
    }
}

cudaError_t cuda_probe_code(int *ptx_version) {
    cudaFuncAttributes about;
    cudaError_t error = cudaFuncGetAttributes(&about, pack_rows<float, float, 1, false>);
    *ptx_version = error == cudaSuccess ? about.ptxVersion : 0;
    return error;
}

template <typename S, typename T>
static void launch_pack(cudaStream_t stream, T *dst, const S *src, const pack &p, int taps,
                        bool phases) {
    unsigned blocks = (unsigned)((p.count + 255) / 256);
    if (phases)
        pack_rows<S, T, 9, true><<<blocks, 256, 0, stream>>>(dst, src, p);
    else if (taps == 9)
        pack_rows<S, T, 9, false><<<blocks, 256, 0, stream>>>(dst, src, p);
    else
        pack_rows<S, T, 1, false><<<blocks, 256, 0, stream>>>(dst, src, p);
}

/* ------------------------------------------------------------------------------------ staging */

static sd_status new_staging(sdb_device *dev) {
    const sdb_host *host = dev->host;
    void *ptr;
    cuda_staging *s = (cuda_staging *)host->alloc(host->user, sizeof *s, 64);
    if (!s)
        return SD_ERROR_MEMORY;
    memset(s, 0, sizeof *s);
    s->slab_size = SLAB_FIRST;
    dev->staging = s;
    sd_status status = cuda_check(dev, cudaHostAlloc(&ptr, 2 * HALF, cudaHostAllocDefault),
                                  "16 MiB of pinned host memory");
    if (status)
        return status;
    s->host = (char *)ptr;
    status = cuda_alloc(dev, 2 * HALF, &ptr);
    if (status)
        return status;
    s->device = (char *)ptr;
    for (int i = 0; i < 2 && !status; i++)
        status = cuda_check(dev, cudaEventCreateWithFlags(&s->done[i], cudaEventDisableTiming),
                            "an event");
    return status;
}

void cuda_weights_close(sdb_device *dev) {
    cuda_staging *s = dev->staging;
    if (!s)
        return;
    if (cuda_reach(dev)) {
        cudaStreamSynchronize(dev->upload);
        for (int i = 0; i < 2; i++)
            if (s->done[i])
                cudaEventDestroy(s->done[i]);
        cudaFreeHost(s->host);
        cuda_free(dev, s->device);
        (void)cudaGetLastError();
        cuda_leave(dev);
    }
    dev->host->free(dev->host->user, s);
    dev->staging = NULL;
}

#define COPY_TASK ((size_t)512 << 10)

/* A piece of a part into pinned memory. */
typedef struct copy_job {
    char *dst;
    const sdb_weight_part *part;
    size_t at, n; /* elements */
    int status;   /* of a read that failed */
} copy_job;

static void copy_part(void *arg, int task, int worker) {
    copy_job *job = (copy_job *)arg;
    size_t size = sdb_type_size(job->part->type), most = COPY_TASK / size;
    size_t first = (size_t)task * most, left = job->n - first;
    (void)worker;
    sd_status status = sdb_part_read(job->part, job->at + first, left < most ? left : most,
                                     job->dst + first * size);
    if (status)
        __atomic_store_n(&job->status, (int)status, __ATOMIC_RELAXED);
}

static sd_status copy_on_threads(const sdb_host *host, copy_job *job) {
    size_t size = job->n * sdb_type_size(job->part->type);
    if (size <= COPY_TASK)
        copy_part(job, 0, 0);
    else
        host->parallel_for(host->user, (int)((size + COPY_TASK - 1) / COPY_TASK), copy_part, job);
    return (sd_status)__atomic_load_n(&job->status, __ATOMIC_RELAXED);
}

/* Copies n elements of the part, up to HALF bytes, to the device, where they stay until the half
 * comes round again. */
static sd_status stage(sdb_device *dev, const sdb_weight_part *part, size_t first, size_t n,
                       void **out) {
    cuda_staging *s = dev->staging;
    size_t size = n * sdb_type_size(part->type);
    size_t start = round_up(s->used, 256);
    cudaError_t error = cudaSuccess;
    if (start + size > HALF) {
        error = cudaEventRecord(s->done[s->current], dev->upload);
        s->current ^= 1;
        start = 0;
        if (error == cudaSuccess)
            error = cudaEventSynchronize(s->done[s->current]); /* at once if never recorded */
    }
    if (error != cudaSuccess)
        return cuda_check(dev, error, "waiting for a transfer");
    s->used = start + size;
    size_t at = (size_t)s->current * HALF + start;
    copy_job job = {s->host + at, part, first, n, SD_OK};
    sd_status status = copy_on_threads(dev->host, &job);
    if (status)
        return status;
    *out = s->device + at;
    return cuda_check(
        dev, cudaMemcpyAsync(*out, s->host + at, size, cudaMemcpyHostToDevice, dev->upload),
        "transferring weights");
}

/* -------------------------------------------------------------------------------------- memory */

static sd_status new_slab(sdb_device *dev, size_t size, cuda_slab **out) {
    const sdb_host *host = dev->host;
    void *data;
    cuda_slab *slab = (cuda_slab *)host->alloc(host->user, sizeof *slab, 64);
    if (!slab)
        return SD_ERROR_MEMORY;
    sd_status status = cuda_alloc(dev, size, &data);
    if (status) {
        host->free(host->user, slab);
        return status;
    }
    *slab = {(char *)data, size, 0, 0};
    *out = slab;
    return SD_OK;
}

static void free_slab(sdb_device *dev, cuda_slab *slab) {
    cuda_free(dev, slab->data);
    dev->host->free(dev->host->user, slab);
}

/* The current slab is given up when it is full; it lives on as long as its weights. */
static sd_status next_slab(sdb_device *dev, size_t size) {
    cuda_slab *slab = NULL;
    cuda_staging *s = dev->staging;
    sd_status status = new_slab(dev, s->slab_size > size ? s->slab_size : size, &slab);
    if (status && s->slab_size > size) /* a small one may still fit */
        status = new_slab(dev, size, &slab);
    if (status)
        return status;
    if (s->slab_size < SLAB_LARGEST)
        s->slab_size *= 2;
    dev->slab = slab;
    return SD_OK;
}

static sd_status take(sdb_device *dev, size_t size, cuda_slab **slab, char **out) {
    sd_status status = SD_OK;
    size = round_up(size, 256);
    if (!dev->slab || dev->slab->size - dev->slab->used < size)
        status = next_slab(dev, size);
    if (status)
        return status;
    *slab = dev->slab;
    *out = dev->slab->data + dev->slab->used;
    dev->slab->used += size;
    dev->slab->live++;
    return SD_OK;
}

static void give(sdb_device *dev, cuda_slab *slab) {
    if (--slab->live > 0)
        return;
    if (slab == dev->slab) {
        dev->slab = NULL;
        dev->staging->slab_size = SLAB_FIRST;
    }
    free_slab(dev, slab);
}

/* ------------------------------------------------------------------------------------- filling */

typedef struct source {
    const sdb_weight_part *part;
    row_map map;
    int64_t first_row;
    int in, taps;
} source;

/* One part's elements into dst, piece by piece; T is dst's type. */
template <typename T>
static sd_status fill_part(sdb_device *dev, const sdb_weight *w, T *dst, const source *src) {
    size_t unit = (size_t)src->taps * sdb_type_size(src->part->type);
    int64_t total = (int64_t)src->part->rows * src->in, most = (int64_t)(HALF / unit);
    pack p = {src->map, src->first_row, 0, 0, src->in, w->k, w->n};
    for (; p.first < total; p.first += p.count) {
        void *piece;
        p.count = total - p.first < most ? total - p.first : most;
        sd_status status = stage(dev, src->part, (size_t)(p.first * src->taps),
                                 (size_t)(p.count * src->taps), &piece);
        if (status)
            return status;
        cuda_with_type(src->part->type, [&](auto tag) {
            typedef decltype(tag) S;
            launch_pack(dev->upload, dst, (const S *)piece, p, src->taps, w->phases == 4);
        });
        status = cuda_check(dev, cudaPeekAtLastError(), "packing weights");
        if (status)
            return status;
    }
    return SD_OK;
}

static sd_status fill_data(sdb_device *dev, const sdb_weight *w, const sdb_weight_desc *desc) {
    source src = {NULL,
                  {w->kind == SDB_WEIGHT_GEGLU, w->out},
                  0,
                  w->in,
                  w->kind == SDB_WEIGHT_CONV3X3 ? 9 : 1};
    sd_status status = SD_OK;
    for (int p = 0; p < desc->n_parts && !status; p++) {
        src.part = &desc->parts[p];
        cuda_with_type(w->type, [&](auto tag) {
            typedef decltype(tag) T;
            status = fill_part(dev, w, (T *)w->data, &src);
        });
        src.first_row += src.part->rows;
    }
    return status;
}

static sd_status fill_bias(sdb_device *dev, const sdb_weight *w, const sdb_weight_desc *desc) {
    source src = {NULL, {w->kind == SDB_WEIGHT_GEGLU, w->out}, 0, 1, 1};
    sdb_weight flat = *w;
    sd_status status = SD_OK;
    flat.k = flat.in = flat.phases = 1;
    for (int p = 0; p < desc->n_parts && !status; p++) {
        sdb_weight_part part = desc->bias[p];
        part.rows = desc->parts[p].rows;
        src.part = &part;
        if (sdb_part_is_there(&part))
            status = fill_part(dev, &flat, w->bias, &src);
        src.first_row += part.rows;
    }
    return status;
}

/* ----------------------------------------------------------------------------------- preparing */

static sd_status check_parts(const sdb_host *host, const sdb_weight_part *parts, int n_parts) {
    for (int p = 0; p < n_parts; p++)
        if (sdb_part_is_there(&parts[p]) && !cuda_is_float(parts[p].type))
            return host->error(host->user, SD_ERROR_UNSUPPORTED,
                               "backend 'cuda' takes weights of type float32, float16 or bfloat16, "
                               "not of type %d",
                               (int)parts[p].type);
    return SD_OK;
}

/* An embedding keeps its parts' type; where they differ, float32 holds them all. */
static sdb_type stored_type(const sdb_weight_desc *desc) {
    if (desc->kind == SDB_WEIGHT_VECTOR)
        return SDB_F32;
    if (desc->kind != SDB_WEIGHT_EMBEDDING)
        return desc->compute;
    for (int p = 1; p < desc->n_parts; p++)
        if (desc->parts[p].type != desc->parts[0].type)
            return SDB_F32;
    return desc->parts[0].type;
}

/* Everything of the weight but its memory. */
static sd_status describe(const sdb_host *host, const sdb_weight_desc *desc, sdb_weight *w,
                          int64_t *rows) {
    bool matrix = desc->kind != SDB_WEIGHT_VECTOR && desc->kind != SDB_WEIGHT_EMBEDDING;
    bool conv = desc->kind == SDB_WEIGHT_CONV3X3;
    sd_status status = check_parts(host, desc->parts, desc->n_parts);
    if (!status && desc->bias)
        status = check_parts(host, desc->bias, desc->n_parts);
    if (status)
        return status;
    if (matrix && !cuda_is_float(desc->compute))
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "backend 'cuda' computes in float32, float16 or bfloat16, not in type "
                           "%d",
                           (int)desc->compute);
    *rows = 0;
    for (int p = 0; p < desc->n_parts; p++)
        *rows += desc->parts[p].rows;
    int64_t most = (int64_t)1 << 40; /* elements; bytes of phases stay far below 2^63 */
    if (*rows < 1 || *rows > INT32_MAX - 16 || desc->in < 1 || desc->in > INT32_MAX - 64 ||
        *rows * desc->in > most)
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "a weight of %lld rows of %d inputs does not fit into memory",
                           (long long)*rows, desc->in);
    w->kind = desc->kind;
    w->type = stored_type(desc);
    w->in = desc->in;
    w->k = matrix ? (int)round_up((size_t)desc->in, w->type == SDB_F32 ? 16 : 64) : desc->in;
    w->out = desc->kind == SDB_WEIGHT_GEGLU ? (int)(*rows / 2) : (int)*rows;
    w->n = desc->kind == SDB_WEIGHT_GEGLU ? 2 * (int)round_up((size_t)w->out, 8) : (int)*rows;
    w->phases = conv && desc->upsample ? 4 : 1;
    w->taps = conv ? (desc->upsample ? 4 : 9) : 1;
    return SD_OK;
}

static sd_status fill(sdb_device *dev, sdb_weight *w, const sdb_weight_desc *desc, int64_t rows) {
    size_t data_size =
        (size_t)w->phases * (size_t)w->n * (size_t)w->taps * (size_t)w->k * sdb_type_size(w->type);
    size_t bias_size = desc->bias ? (size_t)w->n * sizeof(float) : 0;
    char *memory;
    sd_status status = dev->staging ? SD_OK : new_staging(dev);
    if (status) {
        cuda_weights_close(dev);
        return status;
    }
    status = take(dev, round_up(data_size, 256) + bias_size, &w->slab, &memory);
    if (status)
        return status;
    w->size = round_up(data_size, 256) + bias_size;
    w->data = memory;
    if (desc->bias)
        w->bias = (float *)(memory + round_up(data_size, 256));
    if (w->k != w->in || w->n != rows || desc->bias)
        status = cuda_check(dev, cudaMemsetAsync(memory, 0, w->size, dev->upload), "weights");
    if (!status)
        status = fill_data(dev, w, desc);
    if (!status && desc->bias)
        status = fill_bias(dev, w, desc);
    if (!status)
        status = cuda_check(dev, cudaEventRecord(dev->uploaded, dev->upload), "weights");
    if (!status)
        __atomic_store_n(&dev->n_uploads, dev->n_uploads + 1, __ATOMIC_RELEASE);
    else
        give(dev, w->slab);
    return status;
}

sd_status cuda_weight_prepare(sdb_device *dev, const sdb_weight_desc *desc, sdb_weight **out) {
    const sdb_host *host = dev->host;
    int64_t rows = 0;
    sdb_weight *w = (sdb_weight *)host->alloc(host->user, sizeof *w, 64);
    if (!w)
        return SD_ERROR_MEMORY;
    memset(w, 0, sizeof *w);
    sd_status status = describe(host, desc, w, &rows);
    if (!status)
        status = cuda_enter(dev);
    if (!status) {
        pthread_mutex_lock(&dev->lock);
        status = fill(dev, w, desc, rows);
        pthread_mutex_unlock(&dev->lock);
        cuda_leave(dev);
    }
    if (status)
        host->free(host->user, w);
    else
        *out = w;
    return status;
}

/* The host frees weights after the queues that use them, or after waiting for those. */
void cuda_weight_free(sdb_device *dev, sdb_weight *weight) {
    if (!weight)
        return;
    pthread_mutex_lock(&dev->lock);
    give(dev, weight->slab);
    pthread_mutex_unlock(&dev->lock);
    dev->host->free(dev->host->user, weight);
}

size_t cuda_weight_size(const sdb_weight *weight) {
    return weight->size;
}
