/* Torch's generators of the CPU (Mersenne Twister) and of CUDA (Philox), and their normal numbers.
 */
#include "core/rng.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ torch's CPU generator */

/* Matsumoto and Nishimura 1998; at::mt19937 seeds with the low 32 bits of the seed. */
enum { MT_N = 624, MT_M = 397 };

static void mt_seed(sd_generator *g) {
    g->mt[0] = (uint32_t)g->seed;
    for (uint32_t i = 1; i < MT_N; i++) {
        g->mt[i] = 1812433253u * (g->mt[i - 1] ^ (g->mt[i - 1] >> 30)) + i;
    }
    g->mt_index = MT_N;
}

static uint32_t mt_twist(uint32_t far, uint32_t u, uint32_t v) {
    uint32_t y = (u & 0x80000000u) | (v & 0x7fffffffu);
    return far ^ (y >> 1) ^ ((v & 1u) ? 0x9908b0dfu : 0u);
}

static void mt_refill(sd_generator *g) {
    uint32_t *s = g->mt;
    for (int i = 0; i < MT_N; i++) {
        s[i] = mt_twist(s[(i + MT_M) % MT_N], s[i], s[(i + 1) % MT_N]);
    }
    g->mt_index = 0;
}

static uint32_t mt_next(sd_generator *g) {
    if (g->mt_index >= MT_N) {
        mt_refill(g);
    }
    uint32_t y = g->mt[g->mt_index++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* at::uniform_real_distribution<float>: 24 bits in [0, 1). */
static float mt_uniform24(sd_generator *g) {
    return (float)(mt_next(g) & 0xffffffu) * 0x1p-24f;
}

/* at::uniform_real_distribution<double>: 53 of random64()'s bits, the first draw being the high
 * half. */
static double mt_uniform53(sd_generator *g) {
    uint64_t high = mt_next(g);
    uint64_t bits = (high << 32) | mt_next(g);
    return (double)(bits & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

/* sum of c[i] x^(n - 1 - i), by Horner's rule with one rounding a term */
static float polynomial(const float *c, int n, float x) {
    float y = c[0];
    for (int i = 1; i < n; i++) {
        y = fmaf(y, x, c[i]);
    }
    return y;
}

/*
 * torch transforms eight pairs at once with the AVX2 logarithm, sine and cosine of Cephes
 * (Moshier; ATen/native/cpu/avx_mathfun.h), which differ from a correctly rounded libm by up to
 * 2e-6 in the product. Both are written out here with the roundings of torch's build, where the
 * compiler contracts a product and a sum to one fused operation, so that the bits agree.
 * x is a normal number > 0.
 */
static float cephes_log(float x) {
    static const float p[] = {7.0376836292E-2f,  -1.1514610310E-1f, 1.1676998740E-1f,
                              -1.2420140846E-1f, 1.4249322787E-1f,  -1.6668057665E-1f,
                              2.0000714765E-1f,  -2.4999993993E-1f, 3.3333331174E-1f};
    int exponent;
    x = frexpf(x, &exponent); /* [0.5, 1) */
    float e = (float)exponent;
    if (x < 0.707106781186547524f) {
        e -= 1.0f;
        x += x - 1.0f;
    } else {
        x -= 1.0f;
    }
    float z = x * x;
    float y = polynomial(p, SD_COUNT(p), x) * x;
    y = fmaf(y, z, e * -2.12194440e-4f);
    y = fmaf(-0.5f, z, y);
    return fmaf(e, 0.693359375f, x + y);
}

/* 0 <= x <= 2 pi */
static void cephes_sincos(float x, float *sine, float *cosine) {
    static const float cos_p[] = {2.443315711809948E-5f, -1.388731625493765E-3f,
                                  4.166664568298827E-2f};
    static const float sin_p[] = {-1.9515295891E-4f, 8.3321608736E-3f, -1.6666654611E-1f};
    int octant = ((int)(x * 1.27323954473516f) + 1) & ~1;
    float y = (float)octant;
    x = fmaf(y, -0.78515625f, x);
    x = fmaf(y, -2.4187564849853515625e-4f, x);
    x = fmaf(y, -3.77489497744594108e-8f, x);
    float z = x * x;
    float c = polynomial(cos_p, SD_COUNT(cos_p), z) * z;
    c = fmaf(c, z, -0.5f * z) + 1.0f;
    float s = polynomial(sin_p, SD_COUNT(sin_p), z) * z;
    s = fmaf(s, x, x);
    bool swap = (octant & 2) != 0;
    float sin_abs = swap ? c : s;
    float cos_abs = swap ? s : c;
    *sine = (octant & 4) ? -sin_abs : sin_abs;
    *cosine = ((octant - 2) & 4) ? cos_abs : -cos_abs;
}

/* Box and Muller 1958 on 16 uniforms in place: NormalFill16 of DistributionTemplates.h. */
static void normal_fill_16(float *data) {
    for (int i = 0; i < 8; i++) {
        float u1 = 1.0f - data[i]; /* (0, 1] for the logarithm */
        float radius = sqrtf(-2.0f * cephes_log(u1));
        float s, c;
        cephes_sincos(6.283185307179586f * data[i + 8], &s, &c);
        data[i] = radius * c + 0.0f; /* + mean, so that there is no -0 */
        data[i + 8] = radius * s + 0.0f;
    }
}

/* at::normal_distribution<double>: pairs, the second kept for the next call. */
static double mt_normal(sd_generator *g) {
    if (g->has_next_normal) {
        g->has_next_normal = false;
        return g->next_normal;
    }
    double u1 = mt_uniform53(g);
    double u2 = mt_uniform53(g);
    double r = sqrt(-2.0 * log1p(-u2));
    double theta = 2.0 * 3.14159265358979323846 * u1;
    g->next_normal = r * sin(theta);
    g->has_next_normal = true;
    return r * cos(theta);
}

static void mt_fill_normal(sd_generator *g, float *out, int64_t n) {
    if (n < 16) {
        for (int64_t i = 0; i < n; i++) {
            out[i] = (float)mt_normal(g);
        }
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        out[i] = mt_uniform24(g);
    }
    for (int64_t i = 0; i + 16 <= n; i += 16) {
        normal_fill_16(out + i);
    }
    if (n % 16 != 0) { /* the last 16 anew, over some that are done already */
        for (int64_t i = n - 16; i < n; i++) {
            out[i] = mt_uniform24(g);
        }
        normal_fill_16(out + n - 16);
    }
}

/* ----------------------------------------------------------------- torch's CUDA generator */

/* Salmon et al. 2011. */
void sdi_philox4x32_10(uint32_t x[4], uint64_t key) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * x[0];
        uint64_t b = (uint64_t)0xCD9E8D57u * x[2];
        x[0] = (uint32_t)(b >> 32) ^ x[1] ^ k0;
        x[1] = (uint32_t)b;
        x[2] = (uint32_t)(a >> 32) ^ x[3] ^ k1;
        x[3] = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* curand's _curand_box_muller: the sine comes first, and sums are fused as nvcc does. The GPU's
 * approximate __sincosf (2^-21.4 absolute) is taken as the exact functions. */
static void curand_box_muller(uint32_t x, uint32_t y, float out[2]) {
    const float inv = 2.3283064e-10f; /* 2^-32 */
    const float inv_2pi = 2.3283064e-10f * 6.2831855f;
    float u = fmaf((float)x, inv, inv / 2.0f);
    float v = fmaf((float)y, inv_2pi, inv_2pi / 2.0f);
    float s = sqrtf(-2.0f * (float)log((double)u));
    out[0] = (float)sin((double)v) * s;
    out[1] = (float)cos((double)v) * s;
}

/*
 * distribution_nullary_kernel (ATen/native/cuda/DistributionTemplates.h): blocks of 256 threads, as
 * many as needed but at most what the GPU holds; a thread's subsequence is its index; each turn of
 * its loop makes four normals, for the elements i, i + threads, i + 2 threads, i + 3 threads. While
 * every element has a thread of its own, its value depends on its index alone, and all GPUs agree.
 * Beyond, it depends on the GPU's size; an H100 or H200 is assumed, 132 multiprocessors of 2048
 * threads: 270,336 values, or 16 latents of 512x512 drawn as one.
 */
enum { PHILOX_BLOCK = 256, PHILOX_MAX_THREADS = 132 * 2048 };

static int64_t philox_threads(int64_t n) {
    int64_t threads = (n + PHILOX_BLOCK - 1) / PHILOX_BLOCK * PHILOX_BLOCK;
    return threads < PHILOX_MAX_THREADS ? threads : PHILOX_MAX_THREADS;
}

static void philox_fill_normal(sd_generator *g, float *out, int64_t n) {
    int64_t threads = philox_threads(n);
    for (int64_t base = 0; base < n; base += 4 * threads) {
        uint64_t counter = g->offset / 4;
        for (int64_t i = 0; i < threads && base + i < n; i++) {
            uint32_t x[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)i, 0};
            float normals[4];
            sdi_philox4x32_10(x, g->seed);
            curand_box_muller(x[0], x[1], normals);
            curand_box_muller(x[2], x[3], normals + 2);
            for (int k = 0; k < 4 && base + i + k * threads < n; k++) {
                out[base + i + k * threads] = normals[k];
            }
        }
        g->offset += 4;
    }
}

/* fused_dropout_kernel_vec (ATen/native/cuda/Dropout.cu): a thread takes four values in a row, each
 * with one of the uniforms in (0, 1] of one curand_uniform4. */
static void philox_dropout(sd_generator *g, float *x, int64_t n, double p) {
    const float inv = 2.3283064e-10f, keep = (float)(1.0 - p), scale = 1.0f / keep;
    int64_t threads = philox_threads(n);
    for (int64_t base = 0; base < n; base += 4 * threads) {
        uint64_t counter = g->offset / 4;
        for (int64_t i = 0; i < threads && base + 4 * i < n; i++) {
            uint32_t bits[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)i, 0};
            float *at = x + base + 4 * i;
            sdi_philox4x32_10(bits, g->seed);
            for (int64_t k = 0; k < 4 && base + 4 * i + k < n; k++)
                at[k] *= fmaf((float)bits[k], inv, inv / 2.0f) < keep ? scale : 0.0f;
        }
        g->offset += 4;
    }
}

static void mt_dropout(sd_generator *g, float *x, int64_t n, double p) {
    float scale = 1.0f / (float)(1.0 - p);
    for (int64_t i = 0; i < n; i++)
        x[i] *= mt_uniform53(g) < 1.0 - p ? scale : 0.0f;
}

/* ------------------------------------------------------------------------------- rng.h */

void sdi_generator_init(sd_generator *g, sd_rng kind, uint64_t seed) {
    memset(g, 0, sizeof(*g));
    g->kind = kind;
    g->seed = seed;
    if (kind == SD_RNG_CPU) {
        mt_seed(g);
    }
}

void sdi_generator_normal(sd_generator *g, float *out, int64_t n) {
    if (g->kind == SD_RNG_CUDA) {
        philox_fill_normal(g, out, n);
    } else {
        mt_fill_normal(g, out, n);
    }
}

void sdi_generator_dropout(sd_generator *g, float *x, int64_t n, double p) {
    if (p >= 1.0) {
        memset(x, 0, (size_t)n * sizeof *x); /* torch draws nothing then */
    } else if (p > 0.0 && g->kind == SD_RNG_CUDA) {
        philox_dropout(g, x, n, p);
    } else if (p > 0.0) {
        mt_dropout(g, x, n, p);
    }
}
