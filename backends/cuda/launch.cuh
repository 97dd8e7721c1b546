/*
 * Launching a kernel before the one ahead of it has ended (programmatic dependent launch, compute
 * capability 9.0 and later): its blocks start as there is room, and wait in cuda_wait_for_previous
 * before they touch memory. Saves the gap between two launches, about a microsecond.
 */
#ifndef SD_CUDA_LAUNCH_CUH
#define SD_CUDA_LAUNCH_CUH

#include "cuda.h"

#include <atomic>

/* All that ran before on the stream is done and seen after this. First in every kernel that
 * cuda_launch starts. */
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

/* Whether the code that runs has those instructions: not so where it was made from PTX of 8.0. */
template <typename K> static bool cuda_code_waits(K kernel, std::atomic<int> *known) {
    int answer = known->load(std::memory_order_relaxed);
    if (answer == 0) {
        cudaFuncAttributes attributes;
        bool fine = cudaFuncGetAttributes(&attributes, (const void *)kernel) == cudaSuccess;
        answer = fine && attributes.ptxVersion >= 90 ? 1 : 2;
        known->store(answer, std::memory_order_relaxed);
    }
    return answer == 1;
}

/* kernel<<<grid, threads, 0, q->stream>>>(args) with clusters of `cluster` blocks along x. */
template <auto kernel, typename A>
static cudaError_t cuda_launch(sdb_queue *q, dim3 grid, unsigned threads, unsigned cluster,
                               const A &args) {
    static std::atomic<int> known;
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attributes[2] = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.stream = q->stream;
    config.attrs = attributes;
    if (q->dev->major >= 9 && cuda_code_waits(kernel, &known)) {
        attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
    }
    if (cluster > 1) {
        attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
        attributes[config.numAttrs++].val.clusterDim = {cluster, 1, 1};
    }
    return cudaLaunchKernelEx(&config, kernel, args);
}

#endif
