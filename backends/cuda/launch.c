/* Launching kernels: see cuda.h and launch.cuh. */
#include "cuda.h"

#define USUAL_SHARED (48 * 1024) /* what a block may have without asking */

/* Where `kernel` is in the device's table of those that may have more; the table's size where it is
 * not and the table is full. */
static unsigned place_of(const sdb_device *dev, const void *kernel) {
    unsigned hash = (unsigned)((uintptr_t)kernel / 16);
    for (unsigned i = 0; i < CUDA_N_LARGE; i++) {
        unsigned at = (hash + i) % CUDA_N_LARGE;
        const void *there = __atomic_load_n(&dev->large[at], __ATOMIC_RELAXED);
        if (there == kernel || !there)
            return at;
    }
    return CUDA_N_LARGE;
}

/* Lets a kernel's blocks have all of a multiprocessor's shared memory, once on each device. Where
 * two threads meet the driver is asked twice, which does no harm. */
static cudaError_t allow_shared(sdb_device *dev, const void *kernel) {
    unsigned at = place_of(dev, kernel);
    if (at < CUDA_N_LARGE && __atomic_load_n(&dev->large[at], __ATOMIC_RELAXED) == kernel)
        return cudaSuccess;
    struct cudaFuncAttributes about;
    cudaError_t error = cudaFuncGetAttributes(&about, kernel);
    if (error == cudaSuccess)
        error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     dev->max_shared - (int)about.sharedSizeBytes);
    const void *none = NULL;
    if (error == cudaSuccess && at < CUDA_N_LARGE)
        __atomic_compare_exchange_n(&dev->large[at], &none, kernel, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    return error;
}

cudaError_t cuda_launch_kernel(sdb_queue *q, const void *kernel, const cuda_grid *grid,
                               void **args) {
    cudaLaunchAttribute attributes[2];
    cudaLaunchConfig_t config = {
        .gridDim = grid->blocks,
        .blockDim = {grid->threads, 1, 1},
        .dynamicSmemBytes = grid->shared,
        .stream = q->stream,
        .attrs = attributes,
    };
    if (grid->shared > USUAL_SHARED) {
        cudaError_t error = allow_shared(q->dev, kernel);
        if (error != cudaSuccess)
            return error;
    }
    if (grid->early && q->dev->early) {
        attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (grid->cluster > 1) {
        attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
        attributes[config.numAttrs].val.clusterDim.x = grid->cluster;
        attributes[config.numAttrs].val.clusterDim.y = 1;
        attributes[config.numAttrs++].val.clusterDim.z = 1;
    }
    return cudaLaunchKernelExC(&config, kernel, args);
}
