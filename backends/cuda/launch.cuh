/*
 * Launching a kernel before the one ahead of it has ended (programmatic dependent launch, compute
 * capability 9.0 and later; PTX ISA, "griddepcontrol"): its blocks start as there is room, and wait
 * in cuda_wait_for_previous before they touch what another kernel writes. Saves the gap between two
 * launches, about a microsecond. Whether a device's code has that wait is asked when it is opened
 * (sdb_device.early).
 */
#ifndef SD_CUDA_LAUNCH_CUH
#define SD_CUDA_LAUNCH_CUH

#include "cuda.h"

/* All that ran before on the stream is done and seen after this. Every thread of a kernel that is
 * launched early comes here. */
static __device__ __forceinline__ void cuda_wait_for_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* The next kernel may be launched as soon as all blocks have come here or ended. */
static __device__ __forceinline__ void cuda_let_next_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* kernel<<<...>>>(args...) as `grid` says. */
template <typename... P>
static inline cudaError_t cuda_launch(sdb_queue *q, void (*kernel)(P...), const cuda_grid &grid,
                                      const P &...args) {
    void *list[] = {const_cast<void *>(static_cast<const void *>(&args))...};
    return cuda_launch_kernel(q, reinterpret_cast<const void *>(kernel), &grid, list);
}

/* The usual: early, without dynamic shared memory. */
static inline cuda_grid cuda_early(dim3 blocks, unsigned threads) {
    cuda_grid grid = {};
    grid.blocks = blocks;
    grid.threads = threads;
    grid.early = true;
    return grid;
}

#endif
