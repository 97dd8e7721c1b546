/*
 * The numbers. Element i of a tensor is a hash of (seed, original name, i) and of nothing else, so
 * every layout, order and block size gives the same weights.
 */
#include "checkpoint.h"

#include <math.h>
#include <string.h>

const char *const dtype_names[] = {"F32", "F16", "BF16", "I64"};

size_t dtype_size(dtype type) {
    static const size_t bytes[] = {4, 2, 2, 8};
    return bytes[type];
}

/* A full-period mixer of 32 bits: xorshift and multiply (constants of Wellons' "lowbias32"). */
static uint32_t mix32(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7feb352dU;
    x = (x ^ (x >> 15)) * 0x846ca68bU;
    return x ^ (x >> 16);
}

/* FNV-1a (64 bits) of the name after the seed's bytes. */
static uint64_t tensor_key(uint64_t seed, const char *name) {
    uint64_t h = 0xcbf29ce484222325U;
    for (int i = 0; i < 8; i++)
        h = (h ^ (seed >> (8 * i) & 255)) * 0x100000001b3U;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3U;
    return h;
}

/* A tensor's values are uniform in [center - spread, center + spread). */
typedef struct distribution {
    float center, spread;
} distribution;

static distribution distribution_of(const tensor_spec *t) {
    static const distribution fixed[] = {
        [KIND_BIAS] = {0.0f, 0.05f},
        [KIND_GAMMA] = {1.0f, 0.1f},
        [KIND_EMBEDDING] = {0.0f, 0.035f}, /* standard deviation 0.02 */
    };
    if (t->kind != KIND_WEIGHT)
        return fixed[t->kind];
    /* Variance spread^2 / 3 = 1 / fan_in keeps the scale of what goes through. */
    double fan_in = (double)(tensor_elements(t) / t->dims[0]);
    return (distribution){0.0f, (float)sqrt(3.0 / fan_in)};
}

static uint32_t float_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof(u));
    return u;
}

/* Round to nearest even; |x| < 65504. */
static uint16_t to_f16(float x) {
    uint32_t u = float_bits(x);
    uint32_t sign = u >> 16 & 0x8000U, magnitude = u & 0x7fffffffU;
    uint32_t normal = ((magnitude + 0xfffU + (magnitude >> 13 & 1U)) >> 13) - (112U << 10);
    /* 0.5f has an ulp of 2^-24, the spacing of f16's subnormals. */
    uint32_t subnormal = float_bits(fabsf(x) + 0.5f) - float_bits(0.5f);
    return (uint16_t)(sign | (magnitude < (113U << 23) ? subnormal : normal));
}

static uint16_t to_bf16(float x) {
    uint32_t u = float_bits(x);
    return (uint16_t)((u + 0x7fffU + (u >> 16 & 1U)) >> 16);
}

#define CHUNK 1024

static void store(dtype type, const float *x, size_t n, unsigned char *out) {
    uint32_t words[CHUNK];
    size_t size = dtype_size(type);

    if (type == DTYPE_F32)
        for (size_t i = 0; i < n; i++)
            words[i] = float_bits(x[i]);
    else if (type == DTYPE_F16)
        for (size_t i = 0; i < n; i++)
            words[i] = to_f16(x[i]);
    else
        for (size_t i = 0; i < n; i++)
            words[i] = to_bf16(x[i]);
    for (size_t i = 0; i < n; i++)
        for (size_t b = 0; b < size; b++)
            out[i * size + b] = (unsigned char)(words[i] >> (8 * b));
}

static void store_positions(int64_t first, size_t n, unsigned char *out) {
    for (size_t i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            out[i * 8 + (size_t)b] = (unsigned char)((uint64_t)(first + (int64_t)i) >> (8 * b));
}

const char *tensor_key_name(const tensor_spec *t) {
    return t->stack ? t->diffusers : t->original;
}

void random_values(const tensor_spec *t, const value_options *o, dtype type, int64_t first,
                   size_t n, void *out) {
    unsigned char *bytes = out;
    if (type == DTYPE_I64) {
        store_positions(first, n, bytes);
        return;
    }
    uint64_t key = tensor_key(o->seed, tensor_key_name(t));
    uint32_t key0 = (uint32_t)key, key1 = (uint32_t)(key >> 32);
    distribution d = distribution_of(t);
    float scale = d.spread * 0x1p-31f;
    /* With fewer bits the values lie on a grid of multiples of a power of two. */
    int exponent;
    frexp((double)(d.center + d.spread), &exponent);
    float step = ldexpf(1.0f, exponent - o->bits), inverse = 1.0f / step;
    bool grid = o->bits < 24;

    for (size_t done = 0; done < n; done += CHUNK) {
        float x[CHUNK];
        size_t m = n - done < CHUNK ? n - done : CHUNK;
        uint32_t base = (uint32_t)(first + (int64_t)done);
        for (size_t i = 0; i < m; i++) {
            uint32_t h = mix32(mix32(base + (uint32_t)i + key0) ^ key1);
            x[i] = d.center + (float)(int32_t)h * scale;
        }
        for (size_t i = 0; grid && i < m; i++)
            x[i] = rintf(x[i] * inverse) * step;
        store(type, x, m, bytes + done * dtype_size(type));
    }
}
