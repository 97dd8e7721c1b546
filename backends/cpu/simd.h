/*
 * The vector type that kernels are written against: SD_VL floats, by the vector extensions of GCC
 * and Clang. The file that includes it is compiled once for each instruction set and defines SD_VL
 * (a power of two, 4 to 16) before. Arithmetic is written with operators: these files are compiled
 * with -ffp-contract=fast, so that a * b + c is one fused multiply-add where the processor has it.
 * Intrinsics are used only for what operators cannot say.
 */
#ifndef SD_CPU_SIMD_H
#define SD_CPU_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__F16C__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#define SD_INLINE static inline __attribute__((always_inline))
#define SD_PRAGMA(x) _Pragma(#x)
#if defined(__clang__)
#define SD_UNROLL(n) SD_PRAGMA(clang loop unroll(full))
#else
#define SD_UNROLL(n) SD_PRAGMA(GCC unroll n)
#endif

typedef float vf __attribute__((vector_size(4 * SD_VL)));
typedef int32_t vi __attribute__((vector_size(4 * SD_VL)));
typedef uint32_t vu __attribute__((vector_size(4 * SD_VL)));
typedef uint16_t vh __attribute__((vector_size(2 * SD_VL))); /* SD_VL halves, as bits */

/* Unaligned access. */
SD_INLINE vf v_load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

SD_INLINE void v_store(float *p, vf v) {
    memcpy(p, &v, sizeof v);
}

SD_INLINE vf v_set(float x) {
    return x - (vf){0}; /* x - 0 is x for every x, -0 and NaN too */
}

SD_INLINE vi v_set_i(int32_t x) {
    return x - (vi){0};
}

/* 0, 1, 2, ... */
SD_INLINE vi v_iota(void) {
    static const int32_t n[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vi v;
    memcpy(&v, n, sizeof v);
    return v;
}

/* First n of SD_VL floats, the others zero; 0 <= n <= SD_VL. */
#if SD_VL == 16 && defined(__AVX512F__)
SD_INLINE vf v_load_n(const float *p, size_t n) {
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}

SD_INLINE void v_store_n(float *p, vf v, size_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}
#elif SD_VL == 8 && defined(__AVX__)
SD_INLINE vf v_load_n(const float *p, size_t n) {
    return (vf)_mm256_maskload_ps(p, (__m256i)(v_iota() < (int32_t)n));
}

SD_INLINE void v_store_n(float *p, vf v, size_t n) {
    _mm256_maskstore_ps(p, (__m256i)(v_iota() < (int32_t)n), (__m256)v);
}
#else
SD_INLINE vf v_load_n(const float *p, size_t n) {
    vf v = {0};
    memcpy(&v, p, n * sizeof(float));
    return v;
}

SD_INLINE void v_store_n(float *p, vf v, size_t n) {
    memcpy(p, &v, n * sizeof(float));
}
#endif

/* mask ? a : b; masks are what comparisons of vectors give: 0 or -1 in each lane. */
SD_INLINE vf v_select(vi mask, vf a, vf b) {
    return (vf)(((vi)a & mask) | ((vi)b & ~mask));
}

/* Where one is NaN: v_max(a, b) is b, so keep the value that may be NaN on the right. */
SD_INLINE vf v_max(vf a, vf b) {
#if SD_VL == 16 && defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif SD_VL == 8 && defined(__AVX__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return v_select(a > b, a, b);
#endif
}

SD_INLINE vf v_min(vf a, vf b) {
#if SD_VL == 16 && defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif SD_VL == 8 && defined(__AVX__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return v_select(a < b, a, b);
#endif
}

/* Sums of lanes in a fixed order. */
SD_INLINE float v_sum(vf v) {
    float x[SD_VL];
    memcpy(x, &v, sizeof v);
    for (int n = SD_VL / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            x[i] += x[i + n];
    return x[0];
}

/* bfloat16 and float16 to float32, exact, also for subnormals, infinities and NaN. */
SD_INLINE vf v_from_bf16(const uint16_t *p) {
    vh h;
    memcpy(&h, p, sizeof h);
    return (vf)(__builtin_convertvector(h, vu) << 16);
}

SD_INLINE vf v_from_f16(const uint16_t *p) {
#if SD_VL == 16 && defined(__AVX512F__)
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif SD_VL == 8 && defined(__F16C__)
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
#else
    vh h;
    memcpy(&h, p, sizeof h);
    vi bits = __builtin_convertvector(h, vi);
    vi magnitude = bits & 0x7fff;
    /* Normal: move the exponent's bias from 15 to 127; all ones stay all ones. */
    vi normal = (magnitude << 13) + (112 << 23);
    normal |= (magnitude >= 0x7c00) & 0x7f800000;
    /* Subnormal: m 2^-24 as (0.5 + m 2^-24) - 0.5, without meeting a subnormal float. */
    vi small = (vi)((vf)(magnitude | 0x3f000000) - 0.5f);
    vi is_small = magnitude < 0x400;
    vi value = (small & is_small) | (normal & ~is_small);
    return (vf)(value | ((bits & 0x8000) << 16));
#endif
}

/* Lanes of a and b interleaved: the lower halves, the upper halves. */
#if defined(__clang__) || __GNUC__ >= 12
#define SD_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SD_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vi){__VA_ARGS__})
#endif

SD_INLINE vf v_interleave_low(vf a, vf b) {
#if SD_VL == 16
    return SD_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif SD_VL == 8
    return SD_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return SD_SHUFFLE(a, b, 0, 4, 1, 5);
#endif
}

SD_INLINE vf v_interleave_high(vf a, vf b) {
#if SD_VL == 16
    return SD_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif SD_VL == 8
    return SD_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    return SD_SHUFFLE(a, b, 2, 6, 3, 7);
#endif
}

/* Transposes a square of SD_VL vectors: log2(SD_VL) perfect shuffles of its rows. */
SD_INLINE void v_transpose(vf t[SD_VL]) {
    SD_UNROLL(4)
    for (int stage = 1; stage < SD_VL; stage *= 2) {
        vf u[SD_VL];
        SD_UNROLL(8)
        for (int i = 0; i < SD_VL / 2; i++) {
            u[2 * i] = v_interleave_low(t[i], t[i + SD_VL / 2]);
            u[2 * i + 1] = v_interleave_high(t[i], t[i + SD_VL / 2]);
        }
        SD_UNROLL(16)
        for (int i = 0; i < SD_VL; i++)
            t[i] = u[i];
    }
}

#endif
