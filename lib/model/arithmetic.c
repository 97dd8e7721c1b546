/* The arithmetic of changed weights, compiled for each instruction set and chosen once. */
#include "model/arithmetic.h"

#include <stdatomic.h>
#include <string.h>

#define CHUNK 256
#define INLINE static inline __attribute__((always_inline))

INLINE uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

INLINE float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

INLINE float bf16_to_float(uint16_t half) {
    return float_of((uint32_t)half << 16);
}

/* Exponent and mantissa move to their places, and the exponent gets float32's bias. A number
 * without exponent gets one to begin with, which is taken off again: that normalises it. */
INLINE float f16_to_float(uint16_t half) {
    uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13;
    uint32_t bias = magnitude >= 0x0f800000u ? 224u << 23 : 112u << 23;
    uint32_t small = bits_of(float_of(magnitude + (113u << 23)) - float_of(113u << 23));
    uint32_t bits = magnitude < 0x00800000u ? small : magnitude + bias;
    return float_of(bits | (uint32_t)(half & 0x8000) << 16);
}

/* Half of the last place, less one where that is even, is added before the cut. */
INLINE uint16_t float_to_bf16(float x) {
    uint32_t bits = bits_of(x), rounded = bits + 0x7fffu + (bits >> 16 & 1);
    bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return (uint16_t)((nan ? bits | 0x400000u : rounded) >> 16);
}

/* Below the smallest normal number the addition of a constant rounds at the right place; above it
 * the exponent is moved, and the cut rounds as bfloat16's does. */
INLINE uint16_t float_to_f16(float x) {
    uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude - (112u << 23) + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    uint32_t small = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    uint32_t half = magnitude < (113u << 23) ? small : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half; /* 65520: halfway to the next power of two */
    half = magnitude > 0x7f800000u ? 0x7e00u : half;
    return (uint16_t)(half | (bits >> 16 & 0x8000u));
}

#define SET portable
#define TARGET
#define LANES 4
#define VECTORS 2
#include "model/arithmetic_set.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#include <immintrin.h>

#define SET avx2
#define TARGET __attribute__((target("avx2,fma,f16c")))
#define LANES 8
#define VECTORS 2
#define HALF_LANES 8
#define WIDEN_HALF(y, x) _mm256_storeu_ps(y, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(x))))
#define NARROW_HALF(y, x)                                                                          \
    _mm_storeu_si128((void *)(y), _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT))
#include "model/arithmetic_set.h"

#define SET avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define LANES 16
#define VECTORS 4
#define HALF_LANES 16
#define WIDEN_HALF(y, x) _mm512_storeu_ps(y, _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(x))))
#define NARROW_HALF(y, x)                                                                          \
    _mm256_storeu_si256((void *)(y), _mm512_cvtps_ph(_mm512_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT))
#include "model/arithmetic_set.h"

static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}

static const sd_arithmetic *choose(void) {
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx512 ? &arithmetic_avx512 : avx2 ? &arithmetic_avx2 : &arithmetic_portable;
}
#else
static const sd_arithmetic *choose(void) {
    return &arithmetic_portable;
}
#endif

/* To ask a processor takes microseconds under a hypervisor. */
const sd_arithmetic *sdi_arithmetic(void) {
    static _Atomic(const sd_arithmetic *) chosen;
    const sd_arithmetic *a = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (!a) {
        a = choose();
        atomic_store_explicit(&chosen, a, memory_order_relaxed);
    }
    return a;
}
