/* Whether the kernels for Hopper can run here. They have machine code alone, no PTX: a driver that
 * is told to compile all code anew (CUDA_FORCE_PTX_JIT) has none of them. */
#include "cuda.h"

#include <cuda_runtime.h>

static __global__ void probe(void) {}

cudaError_t cuda_probe_hopper(void) {
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, probe);
}
