/*
 * Shared by the files of the CPU backend.
 *
 * Kernels are written once, in kernels/, against the small vector type of simd.h, and compiled once
 * for each instruction set (x86/avx2.c, x86/avx512.c, portable.c); each compilation fills one
 * cpu_kernels table, and device_open picks the best that the processor runs.
 *
 * Weights stay in the type of the checkpoint (exact, and half the memory for float16), repacked
 * into panels of `nr` output columns; kernels widen a block at a time into cache-sized scratch.
 */
#ifndef SD_CPU_CPU_H
#define SD_CPU_CPU_H

#include "backend/backend.h"

#include <stdatomic.h>

typedef struct cpu_kernels cpu_kernels; /* kernels.h */

typedef struct cpu_slab cpu_slab; /* slabs.c */

typedef struct cpu_slabs {
    atomic_uint taken; /* 0, or one more than the forks that its holder had seen */
    cpu_slab *current; /* NULL: none */
    size_t next;       /* bytes of the next one */
} cpu_slabs;

struct sdb_device {
    const sdb_host *host;
    const cpu_kernels *k;
    int n_threads;
    void *sgemm; /* blas.c; NULL: not looked for yet */
    cpu_slabs slabs;
};

struct sdb_queue {
    sdb_device *dev;
    bool planning;
    size_t noted; /* largest scratch of one operation seen while planning */
    uint8_t *scratch;
    size_t capacity;
};

/*
 * Prepared weights. `data` by kind (n outputs, k inputs, nr = dev->k->nr, all of `type`):
 *   LINEAR     [ceil(n / nr)][k][nr]       panels, columns past n are zero
 *   GEGLU      the same with n = 2 * out, each panel nr / 2 value columns, then their gates
 *   CONV3X3    [ceil(n / nr)][k][9][nr]    taps in row order
 *   VECTOR     [n] float32
 *   EMBEDDING  [n][k] rows as they were
 * `bias` is float32, in the panels' column order, padded with zeros to whole panels; NULL: none.
 */
struct sdb_weight {
    sdb_weight_kind kind;
    sdb_type type;
    int n, k;
    void *data;
    float *bias;
    size_t size;
    cpu_slab *slab; /* that data and bias lie in */
};

/* `size` bytes of the queue's scratch, aligned to 64; one call an operation. While planning it
 * notes the size and returns NULL: the operation then returns SD_OK. At other times NULL
 * means SD_ERROR_MEMORY. */
void *cpu_scratch(sdb_queue *q, size_t size);

/* How many of b make a, the last one perhaps not whole. */
static inline int cpu_divide_up(int64_t a, int64_t b) {
    return (int)((a + b - 1) / b);
}

/* Runs fn for tasks 0 .. n - 1 on the host's threads. */
static inline void cpu_parallel(sdb_queue *q, int n, void (*fn)(void *, int, int), void *arg) {
    q->dev->host->parallel_for(q->dev->host->user, n, fn, arg);
}

/* slabs.c: memory aligned to 64 in *slab; NULL: there is none. */
void *cpu_slab_take(sdb_device *dev, size_t size, cpu_slab **slab);
void cpu_slab_give(sdb_device *dev, cpu_slab *slab);

/* weights.c */
sd_status cpu_weight_prepare(sdb_device *dev, const sdb_weight_desc *desc, sdb_weight **out);
void cpu_weight_free(sdb_device *dev, sdb_weight *weight);

#ifdef SD_USE_OPENBLAS /* blas.c */
bool cpu_has_blas(sdb_device *dev);
sd_status cpu_linear_blas(sdb_queue *q, const sdb_linear *op);
#endif

/* Operations: cpu_linear is in linear.c. */
#define X(name) sd_status cpu_##name(sdb_queue *q, const sdb_##name *op);
SDB_OPERATIONS(X)
#undef X

#endif
