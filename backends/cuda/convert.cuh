/*
 * The three float types on the device: one element to float32 and back, rounded to nearest even,
 * and 16 bytes of them at a time.
 */
#ifndef SD_CUDA_CONVERT_CUH
#define SD_CUDA_CONVERT_CUH

#include "cuda.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

static __device__ __forceinline__ float cuda_float(float x) {
    return x;
}
static __device__ __forceinline__ float cuda_float(__half x) {
    return __half2float(x);
}
static __device__ __forceinline__ float cuda_float(__nv_bfloat16 x) {
    return __bfloat162float(x);
}

template <typename T> static __device__ __forceinline__ T cuda_round(float x);
template <> __device__ __forceinline__ float cuda_round<float>(float x) {
    return x;
}
template <> __device__ __forceinline__ __half cuda_round<__half>(float x) {
    return __float2half_rn(x);
}
template <> __device__ __forceinline__ __nv_bfloat16 cuda_round<__nv_bfloat16>(float x) {
    return __float2bfloat16_rn(x);
}

/* N neighbours as float32, in loads of 16 bytes (or all at once, if they are fewer); p is aligned
 * to that. */
template <typename T, int N>
static __device__ __forceinline__ void cuda_load(float (&out)[N], const T *p) {
    constexpr int bytes = N * (int)sizeof(T);
    if constexpr (bytes >= 16) {
#pragma unroll
        for (int i = 0; i < bytes / 16; i++) {
            uint4 v = reinterpret_cast<const uint4 *>(p)[i];
            const T *e = reinterpret_cast<const T *>(&v);
#pragma unroll
            for (int j = 0; j < 16 / (int)sizeof(T); j++)
                out[i * (16 / (int)sizeof(T)) + j] = cuda_float(e[j]);
        }
    } else if constexpr (bytes == 8) {
        uint2 v = *reinterpret_cast<const uint2 *>(p);
        const T *e = reinterpret_cast<const T *>(&v);
#pragma unroll
        for (int j = 0; j < N; j++)
            out[j] = cuda_float(e[j]);
    } else {
#pragma unroll
        for (int j = 0; j < N; j++)
            out[j] = cuda_float(p[j]);
    }
}

template <typename T, int N>
static __device__ __forceinline__ void cuda_store(T *p, const float (&in)[N]) {
    constexpr int bytes = N * (int)sizeof(T);
    if constexpr (bytes >= 16) {
#pragma unroll
        for (int i = 0; i < bytes / 16; i++) {
            uint4 v;
            T *e = reinterpret_cast<T *>(&v);
#pragma unroll
            for (int j = 0; j < 16 / (int)sizeof(T); j++)
                e[j] = cuda_round<T>(in[i * (16 / (int)sizeof(T)) + j]);
            reinterpret_cast<uint4 *>(p)[i] = v;
        }
    } else if constexpr (bytes == 8) {
        uint2 v;
        T *e = reinterpret_cast<T *>(&v);
#pragma unroll
        for (int j = 0; j < N; j++)
            e[j] = cuda_round<T>(in[j]);
        *reinterpret_cast<uint2 *>(p) = v;
    } else {
#pragma unroll
        for (int j = 0; j < N; j++)
            p[j] = cuda_round<T>(in[j]);
    }
}

/* Loads N elements of a type that is known at run time; `i` counts elements. */
template <int N>
static __device__ __forceinline__ void cuda_load_any(float (&out)[N], const void *p, sdb_type type,
                                                     int64_t i) {
    if (type == SDB_F16)
        cuda_load(out, static_cast<const __half *>(p) + i);
    else if (type == SDB_BF16)
        cuda_load(out, static_cast<const __nv_bfloat16 *>(p) + i);
    else
        cuda_load(out, static_cast<const float *>(p) + i);
}

template <int N>
static __device__ __forceinline__ void cuda_store_any(void *p, sdb_type type, int64_t i,
                                                      const float (&in)[N]) {
    if (type == SDB_F16)
        cuda_store(static_cast<__half *>(p) + i, in);
    else if (type == SDB_BF16)
        cuda_store(static_cast<__nv_bfloat16 *>(p) + i, in);
    else
        cuda_store(static_cast<float *>(p) + i, in);
}

static __device__ __forceinline__ float cuda_sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

static __device__ __forceinline__ float cuda_activate(sdb_act act, float x) {
    switch (act) {
    case SDB_ACT_SILU:
        return x * cuda_sigmoid(x);
    case SDB_ACT_QUICK_GELU:
        return x * cuda_sigmoid(1.702f * x);
    case SDB_ACT_GELU:
        return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f));
    case SDB_ACT_RELU:
        return x < 0.0f ? 0.0f : x;
    default:
        return x;
    }
}

/* Calls f(T()) with the C++ type of `type`, one of the three floats; false for another. */
template <typename F> static inline bool cuda_with_type(sdb_type type, F f) {
    switch (type) {
    case SDB_F32:
        f(float());
        return true;
    case SDB_F16:
        f(__half());
        return true;
    case SDB_BF16:
        f(__nv_bfloat16());
        return true;
    default:
        return false;
    }
}

static inline bool cuda_is_float(sdb_type type) {
    return type == SDB_F32 || type == SDB_F16 || type == SDB_BF16;
}

/* Can a tensor's pixels be read in steps of N elements with cuda_load? */
template <int N> static inline bool cuda_vectors(const sdb_tensor *t) {
    size_t bytes = N * sdb_type_size(t->type);
    size_t step = bytes < 16 ? bytes : 16;
    return t->c % N == 0 && t->ld * (int64_t)sdb_type_size(t->type) % (int64_t)step == 0 &&
           (uintptr_t)t->data % step == 0;
}

/* Kernels with a thread for each element. */
#define CUDA_THREADS 256

static __device__ __forceinline__ int64_t cuda_thread() {
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static inline unsigned cuda_blocks(int64_t threads) {
    return (unsigned)((threads + CUDA_THREADS - 1) / CUDA_THREADS);
}

#endif
