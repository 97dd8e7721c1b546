/* Device code that attention's kernels share. */
#ifndef SD_CUDA_ATTENTION_CUH
#define SD_CUDA_ATTENTION_CUH

#include "convert.cuh"
#include "launch.cuh"

#include <stdint.h>

/* Launches a kernel that waits for the one before it. */
template <typename... P>
static sd_status launch_kernel(sdb_queue *q, void (*kernel)(P...), dim3 blocks, unsigned threads,
                               size_t shared, const P &...args) {
    cuda_grid grid = cuda_early(blocks, threads);
    grid.shared = shared;
    return cuda_check(q->dev, cuda_launch(q, kernel, grid, args...), "attention");
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
