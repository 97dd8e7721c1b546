/* Device code that attention's kernels share. */
#ifndef SD_CUDA_ATTENTION_CUH
#define SD_CUDA_ATTENTION_CUH

#include "convert.cuh"

#include <stdint.h>

/*
 * On compute capability 9.0 a kernel may be launched while the one before it still runs, which
 * saves the gap between them (PTX ISA, "griddepcontrol"). It calls this before it touches any
 * tensor: the next kernel may be launched, and the ones before this one are done.
 */
static __device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* Launches a kernel that calls wait_for_previous; early where the code that will run has it. */
template <typename... P>
static sd_status launch_kernel(sdb_queue *q, void (*kernel)(P...), dim3 grid, int threads,
                               int shared, const P &...args) {
    cudaFuncAttributes about;
    cudaError_t error = cudaFuncGetAttributes(&about, kernel);
    if (error == cudaSuccess && shared > 48 * 1024)
        error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (error != cudaSuccess)
        return cuda_check(q->dev, error, "attention");
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3((unsigned)threads);
    config.dynamicSmemBytes = (size_t)shared;
    config.stream = q->stream;
    config.attrs = &early;
    config.numAttrs = about.ptxVersion >= 90 ? 1 : 0;
    return cuda_check(q->dev, cudaLaunchKernelEx(&config, kernel, args...), "attention");
}

/* Two numbers in one register, the first in the low half. */
template <typename T> static __device__ __forceinline__ uint32_t pack(float low, float high);

template <> __device__ __forceinline__ uint32_t pack<__half>(float low, float high) {
    uint32_t r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

template <> __device__ __forceinline__ uint32_t pack<__nv_bfloat16>(float low, float high) {
    uint32_t r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}

static __device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
