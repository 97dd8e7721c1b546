/*
 * The CUDA backend: what its files share. It is a module of its own (libsd-cuda.so) that links the
 * CUDA runtime statically, which looks for the driver at run time: a machine without one can load
 * the module, and device_open says what is missing.
 *
 * Files: module.c (the vtable), device.c (device, memory, errors), queue.c (queue, graphs),
 * copies.c (to and from the host), launch.c and launch.cuh (kernels), weights.cu, elementwise.cu,
 * norm.cu, latents.cu, attention*.cu; conv2d.cu and linear.cu turn their operation into a cuda_gemm
 * (gemm.h), which gemm_*.cu compute.
 *
 * module.c makes the device current around each call (cuda_enter) and gives the caller's back.
 * An operation
 *   - while q->planning only notes scratch (cuda_scratch) and launches nothing;
 *   - launches on q->stream, allocates nothing, and never waits: regions are captured into graphs;
 *   - returns CUDA_LAUNCHED(q, "operation") at its end, which checks the launch.
 * A sticky error is remembered in the device: every later call on it returns SD_ERROR_BACKEND with
 * a sentence, and nothing aborts.
 */
#ifndef SD_CUDA_CUDA_H
#define SD_CUDA_CUDA_H

#include "backend/backend.h"

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cuda_slab cuda_slab;
typedef struct cuda_staging cuda_staging;

#define CUDA_N_LARGE 256 /* more than there are such kernels */

struct sdb_device {
    const sdb_host *host;
    int ordinal;
    int n_sms;
    int major, minor; /* compute capability */
    bool hopper;      /* 9.0, and its code is here: wgmma and TMA kernels */
    bool early;       /* kernels can be launched early: launch.cuh */
    int max_shared;   /* opt-in shared memory of a block, bytes */
    size_t l2_size, memory_total;
    char name[64];

    /* From the driver, looked up at run time. The context is the device's primary one, which the
     * host's own CUDA code shares. */
    CUcontext context;
    CUresult (*push)(CUcontext);
    CUresult (*pop)(CUcontext *);
    CUresult (*context_id)(CUcontext, unsigned long long *);
    unsigned long long id; /* of the context, which no other ever has */
    CUresult (*address_range)(CUdeviceptr *, size_t *, CUdeviceptr);
    CUresult (*encode_tiled)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *,
                             const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                             const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle,
                             CUtensorMapL2promotion, CUtensorMapFloatOOBfill); /* NULL: no TMA */
    uint64_t memory, memory_peak; /* bytes allocated; accessed with __atomic builtins */
    int broken; /* the first sticky cudaError_t; accessed with __atomic builtins */
    const void *large[CUDA_N_LARGE]; /* kernels whose blocks may have all shared memory: launch.c */

    /* Weights, under the lock: weights.cu. */
    pthread_mutex_t lock;
    cudaStream_t upload;
    cudaEvent_t uploaded; /* after the last weight's preparation */
    unsigned n_uploads;   /* weights prepared so far; accessed with __atomic builtins */
    cuda_staging *staging;
    cuda_slab *slab; /* that the next weight is cut from, or NULL */
};

/* Counters that a split product's blocks count down with; they are zero between operations: the
 * last block that reads one sets it back. */
#define CUDA_N_COUNTERS 16384

/* Pinned memory that a copy goes through. */
typedef struct cuda_piece {
    void *data;        /* NULL: not yet */
    cudaEvent_t moved; /* after its last copy */
} cuda_piece;

struct sdb_queue {
    sdb_device *dev;
    cudaStream_t stream;
    bool planning;
    bool recording;
    unsigned n_uploads; /* weights whose preparation the stream has waited for */
    unsigned moves;     /* times that the scratch moved: older graphs point to what is gone */
    size_t noted;       /* the largest scratch of one operation seen while planning */
    size_t kept;        /* bytes at its beginning that an operation keeps while it uses another */
    void *scratch;
    size_t capacity;
    unsigned *counters; /* CUDA_N_COUNTERS zeros, device memory */
    cuda_piece pieces[2];
};

struct sdb_graph {
    cudaGraphExec_t exec;
    unsigned moves;
};

struct sdb_mark {
    cudaEvent_t event;
};

/*
 * Weights on the device. Matrices are K-major in the compute type, with zeros as padding:
 *
 *   LINEAR     data [n][1][k]; n is the rows of all parts
 *   GEGLU      data [n][1][k]; rows in groups of 8, 8 values, then their 8 gates; n is
 *              2 * round_up(out, 8), padding rows are zero
 *   CONV3X3    data [n][9][k]; tap = 3 ky + kx
 *   CONV3X3    with desc.upsample: data [4][n][4][k], see below
 *   VECTOR     data [n] float32, bias [n] float32
 *   EMBEDDING  data [n][in], in the checkpoint's type
 *
 * k is `in` rounded up to 64 (f32: to 16). bias is [n] float32 in the rows' order, NULL if none.
 *
 * A convolution that meets the picture doubled by nearest neighbours has the 2x2 kernels of the
 * four output phases: phase = 2 (y & 1) + (x & 1), tap = 2 ty + tx. They are the 3x3 sums over
 * equal source pixels added up beforehand (in float32, rounded once), which is exact and takes 4/9
 * of the products. In phase row 0, ty 0 is source row -1 (kernel row 0) and ty 1 is row 0 (kernel
 * rows 1 + 2); in phase row 1, ty 0 is row 0 (kernel rows 0 + 1) and ty 1 is row +1 (kernel row 2).
 * Columns alike.
 */
struct sdb_weight {
    sdb_weight_kind kind;
    sdb_type type;
    int n, in, k;
    int out; /* GEGLU: outputs; otherwise n */
    int taps, phases;
    void *data;
    float *bias;
    size_t size;
    cuda_slab *slab; /* whose memory this is */
};

/* -------------------------------------------------------------------------------- device.c */

/* Makes the device's context current until cuda_leave; calls nest. Fails after a sticky error. */
sd_status cuda_enter(sdb_device *dev);
void cuda_leave(sdb_device *dev);

/* cuda_enter for what is freed, which goes on after a sticky error. False: the context is gone, and
 * everything in it; nothing is current then, and there is no cuda_leave. */
bool cuda_reach(sdb_device *dev);

/* Turns a CUDA error into a status with a sentence: what failed, and CUDA's words. Clears the
 * thread's last error; remembers sticky ones. */
sd_status cuda_check(sdb_device *dev, cudaError_t error, const char *what);

/* Memory for one operation, aligned to 256 bytes. While planning it notes the size and *out is
 * NULL. */
sd_status cuda_scratch(sdb_queue *q, size_t size, void **out);

/* SD_ERROR_UNSUPPORTED: "backend 'cuda' has no OP from TYPE to TYPE". */
sd_status cuda_refuse_types(sdb_queue *q, const char *op, sdb_type x, sdb_type y);

#define CUDA_LAUNCHED(q, what) cuda_check((q)->dev, cudaPeekAtLastError(), what)

/* How a kernel is launched. */
typedef struct cuda_grid {
    dim3 blocks;
    unsigned threads; /* of a block */
    unsigned cluster; /* blocks of a cluster, along x; 0 and 1: none */
    size_t shared;    /* dynamic shared memory of a block, bytes */
    bool early;       /* it waits for the one before it by itself: launch.cuh */
} cuda_grid;

/* launch.c. `kernel` takes the arguments that args[] points to. */
cudaError_t cuda_launch_kernel(sdb_queue *q, const void *kernel, const cuda_grid *grid,
                               void **args);

/* How many of b make a, the last one perhaps not whole. */
static inline int cuda_divide_up(int64_t a, int64_t b) {
    return (int)((a + b - 1) / b);
}

/* Device memory, counted; the sentence of a failure gives the size. cuda_alloc is called with the
 * device current, cuda_free from anywhere. */
sd_status cuda_alloc(sdb_device *dev, size_t size, void **out);
void cuda_free(sdb_device *dev, void *ptr);

/* --- what module.c puts into the vtable --- */
sd_status cuda_device_open(const sdb_host *host, int index, sdb_device **out);
void cuda_device_close(sdb_device *dev);
void cuda_device_info(const sdb_device *dev, sdb_device_info *info);
sd_status cuda_buffer_alloc(sdb_device *dev, size_t size, void **out);
void cuda_memory_used(const sdb_device *dev, uint64_t *now, uint64_t *peak);

/* queue.c */
sd_status cuda_queue_new(sdb_device *dev, sdb_queue **out);
void cuda_queue_free(sdb_queue *q);
sd_status cuda_queue_plan(sdb_queue *q, bool planning);
size_t cuda_queue_scratch(const sdb_queue *q);
sd_status cuda_sync(sdb_queue *q);
sd_status cuda_record_begin(sdb_queue *q);
sd_status cuda_record_end(sdb_queue *q, sdb_graph **out);
sd_status cuda_graph_replay(sdb_queue *q, sdb_graph *graph);
void cuda_graph_free(sdb_queue *q, sdb_graph *graph);
sd_status cuda_mark_new(sdb_queue *q, sdb_mark **out);
sd_status cuda_mark_seconds(sdb_device *dev, const sdb_mark *begin, const sdb_mark *end,
                            double *seconds);
void cuda_mark_free(sdb_device *dev, sdb_mark *mark);
/* Operations from now on see the weights that were prepared so far. */
sd_status cuda_await_weights(sdb_queue *q);
sd_status cuda_refuse_while_recording(sdb_queue *q, const char *what);

/* copies.c */
sd_status cuda_upload(sdb_queue *q, void *dst, const void *src, size_t size);
sd_status cuda_download(sdb_queue *q, void *dst, const void *src, size_t size);
void cuda_free_pieces(sdb_queue *q);

/* weights.cu: the staging memory. */
void cuda_weights_close(sdb_device *dev);
/* cudaErrorNoKernelImageForDevice and the like: the module holds no code for this card. Otherwise
 * the PTX version that the running code of the portable kernels was made from, 80 for 8.0. */
cudaError_t cuda_probe_code(int *ptx_version);
/* hopper.cu: the same of the kernels for Hopper. */
cudaError_t cuda_probe_hopper(void);

/* ---------------------------------------------------------------- the operations of the vtable */

sd_status cuda_weight_prepare(sdb_device *dev, const sdb_weight_desc *desc, sdb_weight **out);
void cuda_weight_free(sdb_device *dev, sdb_weight *weight);
size_t cuda_weight_size(const sdb_weight *weight);

int cuda_stats_parts(const sdb_device *dev, sdb_type type, int h, int w);
#define X(name) sd_status cuda_##name(sdb_queue *q, const sdb_##name *op);
SDB_OPERATIONS(X)
#undef X

#ifdef __cplusplus
}
#endif
#endif
