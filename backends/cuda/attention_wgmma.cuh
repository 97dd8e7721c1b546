/*
 * wgmma with the left operand in registers, and what goes with it: barriers in shared memory and
 * the copy engine (PTX ISA 8.x, "Asynchronous warpgroup level matrix instructions"; compute
 * capability 9.0a).
 */
#ifndef SD_CUDA_ATTENTION_WGMMA_CUH
#define SD_CUDA_ATTENTION_WGMMA_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

/*
 * A tile in shared memory: rows of 64 two-byte numbers in the 128-byte swizzle, as a tensor map
 * with a box of 64 writes it; `next` bytes to the next 64 columns, which only a right operand read
 * by columns (N along the row) needs.
 */
static __device__ __forceinline__ uint64_t wgmma_tile(uint32_t address, uint32_t next) {
    return 1ull << 62 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)(next >> 4) << 16 |
           (uint64_t)((address & 0x3ffff) >> 4);
}

static __device__ __forceinline__ void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int PENDING> static __device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
}

/* A warpgroup takes or gives back registers: N for each thread from now on. */
template <bool MORE, int N> static __device__ __forceinline__ void set_registers() {
    if (MORE)
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
    else
        asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

static __device__ __forceinline__ void barrier_init(uint32_t barrier, int count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

static __device__ __forceinline__ void barrier_expect(uint32_t barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
}

static __device__ __forceinline__ void barrier_arrive(uint32_t barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

static __device__ __forceinline__ void barrier_wait(uint32_t barrier, int parity) {
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}\n" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}

/* The box at (dimension, head, token, image) to shared memory. */
static __device__ __forceinline__ void copy_box(uint32_t to, const void *map, uint32_t barrier,
                                                int dimension, int head, int token, int image) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cta.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to),
                 "l"(map), "r"(dimension), "r"(head), "r"(token), "r"(image), "r"(barrier)
                 : "memory");
}

/*
 * wgmma_keys: d[64, N] (+)= a[64, 16] b, b's tile has N rows and 16 of their columns.
 * wgmma_values: d[64, N] += a[64, 16] b, b's tile has 16 rows of N columns.
 */
template <typename T, int N>
static __device__ __forceinline__ void wgmma_keys(float (&d)[N / 2], const uint32_t (&a)[4],
                                                  uint64_t b, int add);
template <typename T, int N>
static __device__ __forceinline__ void wgmma_values(float (&d)[N / 2], const uint32_t (&a)[4],
                                                    uint64_t b);

#define WGMMA_LIST_40                                                                              \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, "                                                     \
    "%10, %11, %12, %13, %14, %15, %16, %17, %18, %19"

#define WGMMA_OPERANDS_40                                                                          \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),            \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19])

#define WGMMA_LIST_64                                                                              \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, "                                                     \
    "%10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "                                           \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "                                           \
    "%30, %31"

#define WGMMA_OPERANDS_64                                                                          \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),            \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])

#define WGMMA_LIST_80                                                                              \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, "                                                     \
    "%10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "                                           \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "                                           \
    "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39"

#define WGMMA_OPERANDS_80                                                                          \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),            \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), \
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39])

#define WGMMA_LIST_96                                                                              \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, "                                                     \
    "%10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "                                           \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "                                           \
    "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39, "                                           \
    "%40, %41, %42, %43, %44, %45, %46, %47"

#define WGMMA_OPERANDS_96                                                                          \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),            \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), \
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), \
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47])

#define WGMMA_LIST_128                                                                             \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, "                                                     \
    "%10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "                                           \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "                                           \
    "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39, "                                           \
    "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, "                                           \
    "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "                                           \
    "%60, %61, %62, %63"

#define WGMMA_OPERANDS_128                                                                         \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),            \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), \
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), \
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), \
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), \
        "+f"(d[63])

#define WGMMA_LIST_160                                                                             \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, "                                                     \
    "%10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "                                           \
    "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "                                           \
    "%30, %31, %32, %33, %34, %35, %36, %37, %38, %39, "                                           \
    "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, "                                           \
    "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, "                                           \
    "%60, %61, %62, %63, %64, %65, %66, %67, %68, %69, "                                           \
    "%70, %71, %72, %73, %74, %75, %76, %77, %78, %79"

#define WGMMA_OPERANDS_160                                                                         \
    "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]),            \
        "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]),    \
        "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), \
        "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), \
        "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]), "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), \
        "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), \
        "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]), "+f"(d[48]), \
        "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]), \
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), \
        "+f"(d[63]), "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), \
        "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), \
        "+f"(d[77]), "+f"(d[78]), "+f"(d[79])

#define WGMMA_DEFINE(T, TYPE, N, A0, A1, A2, A3, B, P)                                             \
    template <>                                                                                    \
    __device__ __forceinline__ void wgmma_keys<T, N>(float(&d)[N / 2], const uint32_t(&a)[4],      \
                                                     uint64_t b, int add) {                        \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " P ", 0;\n"                                \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE               \
                     " {" WGMMA_LIST_##N "}, {" A0 ", " A1 ", " A2 ", " A3 "}, " B                 \
                                         ", p, 1, 1, 0;\n}\n"                                      \
                     : WGMMA_OPERANDS_##N                                                          \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));              \
    }                                                                                              \
    template <>                                                                                    \
    __device__ __forceinline__ void wgmma_values<T, N>(float(&d)[N / 2], const uint32_t(&a)[4],    \
                                                       uint64_t b) {                               \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, 1, 0;\n"                                    \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE               \
                     " {" WGMMA_LIST_##N "}, {" A0 ", " A1 ", " A2 ", " A3 "}, " B                 \
                                         ", p, 1, 1, 1;\n}\n"                                      \
                     : WGMMA_OPERANDS_##N                                                          \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                        \
    }

#define WGMMA_DEFINE_BOTH(N, A0, A1, A2, A3, B, P)                                                 \
    WGMMA_DEFINE(__half, "f16", N, A0, A1, A2, A3, B, P)                                           \
    WGMMA_DEFINE(__nv_bfloat16, "bf16", N, A0, A1, A2, A3, B, P)

WGMMA_DEFINE_BOTH(40, "%20", "%21", "%22", "%23", "%24", "%25")
WGMMA_DEFINE_BOTH(64, "%32", "%33", "%34", "%35", "%36", "%37")
WGMMA_DEFINE_BOTH(80, "%40", "%41", "%42", "%43", "%44", "%45")
WGMMA_DEFINE_BOTH(96, "%48", "%49", "%50", "%51", "%52", "%53")
WGMMA_DEFINE_BOTH(128, "%64", "%65", "%66", "%67", "%68", "%69")
WGMMA_DEFINE_BOTH(160, "%80", "%81", "%82", "%83", "%84", "%85")

#endif
