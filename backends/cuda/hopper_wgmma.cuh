/*
 * wgmma.mma_async with both operands in shared memory, K-major, 128-byte swizzle: one instruction
 * multiplies [64, 16] by [N, 16]^T and adds to float32 accumulators. A thread holds N / 2 of them:
 * d[4 j .. 4 j + 3] are, in columns 8 j .. 8 j + 7, row lane / 4 of its warp's 16 and columns
 * 2 (lane % 4) and the next, then row lane / 4 + 8 and the same columns.
 *
 * PTX wants every accumulator written out: WGMMA_Ri is the text of operands 8 i .. 8 i + 7 and
 * WGMMA_D(i) binds them.
 */
#ifndef SD_CUDA_HOPPER_WGMMA_CUH
#define SD_CUDA_HOPPER_WGMMA_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

/* clang-format off */
#define WGMMA_R0 "%0, %1, %2, %3, %4, %5, %6, %7"
#define WGMMA_R1 "%8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_R2 "%16, %17, %18, %19, %20, %21, %22, %23"
#define WGMMA_R3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_R4 "%32, %33, %34, %35, %36, %37, %38, %39"
#define WGMMA_R5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_R6 "%48, %49, %50, %51, %52, %53, %54, %55"
#define WGMMA_R7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_R8 "%64, %65, %66, %67, %68, %69, %70, %71"
#define WGMMA_R9 "%72, %73, %74, %75, %76, %77, %78, %79"
#define WGMMA_R10 "%80, %81, %82, %83, %84, %85, %86, %87"
#define WGMMA_R11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_R12 "%96, %97, %98, %99, %100, %101, %102, %103"
#define WGMMA_R13 "%104, %105, %106, %107, %108, %109, %110, %111"
#define WGMMA_R14 "%112, %113, %114, %115, %116, %117, %118, %119"
#define WGMMA_R15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_D(i) \
    "+f"(d[8 * i]), "+f"(d[8 * i + 1]), "+f"(d[8 * i + 2]), "+f"(d[8 * i + 3]), \
    "+f"(d[8 * i + 4]), "+f"(d[8 * i + 5]), "+f"(d[8 * i + 6]), "+f"(d[8 * i + 7])

#define WGMMA_REGS_64 WGMMA_R0 "," WGMMA_R1 "," WGMMA_R2 "," WGMMA_R3
#define WGMMA_ACC_64 WGMMA_D(0), WGMMA_D(1), WGMMA_D(2), WGMMA_D(3)
#define WGMMA_REGS_80 WGMMA_REGS_64 "," WGMMA_R4
#define WGMMA_ACC_80 WGMMA_ACC_64, WGMMA_D(4)
#define WGMMA_REGS_128 WGMMA_REGS_80 "," WGMMA_R5 "," WGMMA_R6 "," WGMMA_R7
#define WGMMA_ACC_128 WGMMA_ACC_80, WGMMA_D(5), WGMMA_D(6), WGMMA_D(7)
#define WGMMA_REGS_160 WGMMA_REGS_128 "," WGMMA_R8 "," WGMMA_R9
#define WGMMA_ACC_160 WGMMA_ACC_128, WGMMA_D(8), WGMMA_D(9)
#define WGMMA_REGS_256 \
    WGMMA_REGS_160 "," WGMMA_R10 "," WGMMA_R11 "," WGMMA_R12 "," WGMMA_R13 "," WGMMA_R14 "," \
    WGMMA_R15
#define WGMMA_ACC_256 \
    WGMMA_ACC_160, WGMMA_D(10), WGMMA_D(11), WGMMA_D(12), WGMMA_D(13), WGMMA_D(14), WGMMA_D(15)

/* a, b and keep are the texts of the operands that follow the accumulators. */
#define WGMMA(n, type, a, b, keep) \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " keep ", 0;\n" \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type " {" \
                 WGMMA_REGS_##n "}, " a ", " b ", p, 1, 1, 0, 0;\n}\n" \
                 : WGMMA_ACC_##n : "l"(desc_a), "l"(desc_b), "r"(add))

/* d = a b^T, plus d where add is not 0 */
template <class T, int N> struct wgmma;
#define WGMMA_STRUCT(T, type, n, a, b, keep) \
    template <> struct wgmma<T, n> { \
        static __device__ __forceinline__ void run(float (&d)[n / 2], uint64_t desc_a, \
                                                   uint64_t desc_b, int add) { \
            WGMMA(n, type, a, b, keep); \
        } \
    }
#define WGMMA_STRUCTS(T, type) \
    WGMMA_STRUCT(T, type, 64, "%32", "%33", "%34"); \
    WGMMA_STRUCT(T, type, 80, "%40", "%41", "%42"); \
    WGMMA_STRUCT(T, type, 128, "%64", "%65", "%66"); \
    WGMMA_STRUCT(T, type, 160, "%80", "%81", "%82"); \
    WGMMA_STRUCT(T, type, 256, "%128", "%129", "%130")
WGMMA_STRUCTS(__half, "f16");
WGMMA_STRUCTS(__nv_bfloat16, "bf16");
/* clang-format on */

/* Orders earlier accesses of the accumulators and of shared memory before the next wgmma. */
static __device__ __forceinline__ void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Waits until at most `N` committed groups are under way. */
template <int N> static __device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

/* The descriptor of a matrix at a shared-memory address that is a multiple of 1024: rows of 128
 * bytes, swizzled, 8 rows being 1024 bytes. Adding 2 to it steps 16 columns. */
static __device__ __forceinline__ uint64_t wgmma_descriptor(uint32_t address) {
    return (uint64_t)(address >> 4 & 0x3FFF) | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 |
           (uint64_t)1 << 62;
}

#endif
