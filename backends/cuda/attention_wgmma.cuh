/* Instructions that attention_hopper.cu needs beside hopper.cuh and hopper_wgmma.cuh. */
#ifndef SD_CUDA_ATTENTION_WGMMA_CUH
#define SD_CUDA_ATTENTION_WGMMA_CUH

#include "hopper.cuh"
#include "hopper_wgmma.cuh"

/* A warpgroup takes or gives back registers: N for each thread from now on. */
template <bool MORE, int N> static __device__ __forceinline__ void set_registers() {
    if (MORE)
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
    else
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

/* Lets what this thread wrote to shared memory be seen by wgmma and TMA, once a barrier follows. */
static __device__ __forceinline__ void shared_fence() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/*
 * The descriptor of a right operand that is read by columns (N along the rows of 64): `next` bytes
 * lie between one 64 columns and the next. Adding 16 * 128 / 16 to it steps 16 rows.
 */
static __device__ __forceinline__ uint64_t wgmma_columns(uint32_t address, uint32_t next) {
    return wgmma_descriptor(address) + ((uint64_t)(next / 16 - 1) << 16);
}

/* d += a b: a [64, 16] in registers as mma's fragments, b [16, N] by columns */
template <class T, int N> struct wgmma_sums;

/* clang-format off */
#define WGMMA_REGS_48 WGMMA_R0 "," WGMMA_R1 "," WGMMA_R2
#define WGMMA_ACC_48 WGMMA_D(0), WGMMA_D(1), WGMMA_D(2)
#define WGMMA_SUMS(T, type, n, a, b) \
    template <> struct wgmma_sums<T, n> { \
        static __device__ __forceinline__ void run(float (&d)[n / 2], const uint32_t (&w)[4], \
                                                   uint64_t desc_b) { \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n" \
                         "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type " {" \
                         WGMMA_REGS_##n "}, {" a "}, " b ", p, 1, 1, 1;\n}\n" \
                         : WGMMA_ACC_##n \
                         : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "l"(desc_b)); \
        } \
    }
#define WGMMA_ALL_SUMS(T, type) \
    WGMMA_SUMS(T, type, 48, "%24, %25, %26, %27", "%28"); \
    WGMMA_SUMS(T, type, 64, "%32, %33, %34, %35", "%36"); \
    WGMMA_SUMS(T, type, 80, "%40, %41, %42, %43", "%44"); \
    WGMMA_SUMS(T, type, 128, "%64, %65, %66, %67", "%68"); \
    WGMMA_SUMS(T, type, 160, "%80, %81, %82, %83", "%84"); \
    WGMMA_SUMS(T, type, 256, "%128, %129, %130, %131", "%132")
WGMMA_STRUCT(__half, "f16", 48, "%24", "%25", "%26");
WGMMA_STRUCT(__nv_bfloat16, "bf16", 48, "%24", "%25", "%26");
WGMMA_ALL_SUMS(__half, "f16");
WGMMA_ALL_SUMS(__nv_bfloat16, "bf16");
/* clang-format on */

#endif
