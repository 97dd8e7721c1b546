/*
 * Flash attention for one very wide head: 512 channels, the autoencoder's.
 *
 * 64 queries' sums alone fill the registers of 8 warps, so warps share them: warp (r, c) has the
 * sums of 32 queries by 128 columns, and computes the scores of its 32 queries for a quarter of a
 * tile's keys. The four warps of a row of warps exchange maxima and weights in shared memory.
 *
 * An image of 4096 tokens makes 64 blocks, so several share a query's keys (attention_split.cu).
 */
#include "attention.cuh"
#include "attention.h"
#include "attention_mma.cuh"

#define DIM 512
#define ROWS 64
#define PITCH (DIM + 8) /* elements; 16 bytes more than a multiple of the banks, for ldmatrix */

template <typename T, int KEYS> struct wide_shared {
    T q[ROWS][PITCH], k[KEYS][PITCH], v[KEYS][PITCH];
    T p[ROWS][KEYS + 8];
    float max[4][ROWS], sum[4][ROWS];
};

typedef struct wide_args {
    cuda_attention_args a;
    attention_splits splits;
    bool y_aligned;
} wide_args;

template <int N, typename T>
static __device__ __forceinline__ void load_rows(T (*to)[PITCH], const T *from, int64_t ld,
                                                 int first, int rows) {
    for (int i = threadIdx.x; i < N * (DIM / 8); i += 256) {
        int row = i / (DIM / 8), piece = i % (DIM / 8);
        bool there = first + row < rows;
        copy_async16(shared_address(&to[row][piece * 8]),
                     from + (there ? (first + row) * ld + piece * 8 : 0), there ? 16 : 0);
    }
}

template <typename T, int KEYS> struct wide_warp {
    wide_shared<T, KEYS> *sh;
    int row0, column; /* of its 32 queries in the block, of its quarter */
    float o[2][16][4];
    float max[2][2], sum[2][2];
};

/* s = q k^T for 32 queries and the warp's KEYS / 4 keys */
template <typename T, int KEYS>
static __device__ __forceinline__ void wide_scores(float (&s)[2][KEYS / 32][4],
                                                   const wide_warp<T, KEYS> &w) {
    int lane = threadIdx.x % 32;
    uint32_t q = shared_address(&w.sh->q[w.row0 + lane % 16][lane / 16 * 8]);
    uint32_t k = shared_address(&w.sh->k[w.column * (KEYS / 4) + (KEYS == 64 ? lane / 16 * 8 : 0) +
                                         lane % 8][lane / 8 % 2 * 8]);
#pragma unroll 8
    for (int d = 0; d < DIM; d += 16) {
        uint32_t a[2][4], b[KEYS / 16];
        load_matrix4(a[0], q + d * 2);
        load_matrix4(a[1], q + (16 * PITCH + d) * 2);
        if constexpr (KEYS == 64)
            load_matrix4(b, k + d * 2);
        else
            load_matrix2(b, k + d * 2);
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int n = 0; n < KEYS / 32; n++)
                mma16816<T>(s[m][n], a[m], b[2 * n], b[2 * n + 1]);
    }
}

template <typename T, int KEYS>
static __device__ __forceinline__ void
wide_mask(float (&s)[2][KEYS / 32][4], const wide_warp<T, KEYS> &w, const cuda_attention_args &a,
          int first_key, int first_query) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int n = 0; n < KEYS / 32; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int key = first_key + w.column * (KEYS / 4) + 8 * n + lane % 4 * 2 + i % 2;
                int query = first_query + w.row0 + 16 * m + lane / 4 + i / 2 * 8;
                if (key >= a.tk || (a.causal && key > query))
                    s[m][n][i] = -INFINITY;
            }
}

/* Gives this warp's maxima to shared memory for the other three of its row. */
template <typename T, int KEYS>
static __device__ __forceinline__ void wide_publish_max(const float (&s)[2][KEYS / 32][4],
                                                        const wide_warp<T, KEYS> &w) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = -INFINITY;
#pragma unroll
            for (int n = 0; n < KEYS / 32; n++)
                top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
            top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
            if (lane % 4 == 0)
                w.sh->max[w.column][w.row0 + 16 * m + 8 * half + lane / 4] = top;
        }
}

/* Weights of the warp's keys to shared memory; its sums follow when the maximum moves. */
template <typename T, int KEYS>
static __device__ __forceinline__ void wide_softmax(const float (&s)[2][KEYS / 32][4],
                                                    wide_warp<T, KEYS> *w, float scale_log2) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int row = w->row0 + 16 * m + 8 * half + lane / 4;
            float top = w->max[m][half];
#pragma unroll
            for (int c = 0; c < 4; c++)
                top = fmaxf(top, w->sh->max[c][row]);
            float keep = exp2_approx((w->max[m][half] - top) * scale_log2);
            float base = top * scale_log2;
            w->max[m][half] = top;
            w->sum[m][half] *= keep;
#pragma unroll
            for (int n = 0; n < 16; n++) {
                w->o[m][n][2 * half] *= keep;
                w->o[m][n][2 * half + 1] *= keep;
            }
#pragma unroll
            for (int n = 0; n < KEYS / 32; n++) {
                float p0 = exp2_approx(fmaf(s[m][n][2 * half], scale_log2, -base));
                float p1 = exp2_approx(fmaf(s[m][n][2 * half + 1], scale_log2, -base));
                w->sum[m][half] += p0 + p1;
                *(uint32_t *)&w->sh->p[row][w->column * (KEYS / 4) + 8 * n + lane % 4 * 2] =
                    pack<T>(p0, p1);
            }
        }
}

/* o += p v: 32 queries, all keys of the tile, the warp's 128 columns */
template <typename T, int KEYS>
static __device__ __forceinline__ void wide_weigh(wide_warp<T, KEYS> *w) {
    int lane = threadIdx.x % 32;
    uint32_t p = shared_address(&w->sh->p[w->row0 + lane % 16][lane / 16 * 8]);
    uint32_t v = shared_address(&w->sh->v[lane % 16][w->column * 128 + lane / 16 * 8]);
#pragma unroll
    for (int k = 0; k < KEYS; k += 16) {
        uint32_t a[2][4];
        load_matrix4(a[0], p + k * 2);
        load_matrix4(a[1], p + (16 * (KEYS + 8) + k) * 2);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            uint32_t b[4];
            load_matrix4_trans(b, v + (k * PITCH + 16 * n) * 2);
#pragma unroll
            for (int m = 0; m < 2; m++) {
                mma16816<T>(w->o[m][2 * n], a[m], b[0], b[1]);
                mma16816<T>(w->o[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* Sums over the row's four warps; the result is the queries' whole sum of weights. */
template <typename T, int KEYS>
static __device__ __forceinline__ void wide_join_sums(wide_warp<T, KEYS> *w) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float sum = w->sum[i / 2][i % 2];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        if (lane % 4 == 0)
            w->sh->sum[w->column][w->row0 + 8 * i + lane / 4] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int row = w->row0 + 8 * i + lane / 4;
        w->sum[i / 2][i % 2] =
            w->sh->sum[0][row] + w->sh->sum[1][row] + w->sh->sum[2][row] + w->sh->sum[3][row];
    }
}

template <typename T, int KEYS>
static __device__ __forceinline__ void wide_store(const wide_warp<T, KEYS> &w, const wide_args &g,
                                                  int first_query, int64_t image, int head,
                                                  int split) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int query = first_query + w.row0 + 8 * i + lane / 4, m = i / 2, half = i % 2;
        int column = w.column * 128 + lane % 4 * 2;
        if (query >= g.a.tq)
            continue;
        if (g.splits.n > 1) {
            int64_t at = (((int64_t)split * g.a.n + image) * g.a.heads + head) * g.a.tq + query;
            if (column == 0)
                g.splits.max_sum[at] = make_float2(w.max[m][half], w.sum[m][half]);
#pragma unroll
            for (int n = 0; n < 16; n++)
                *(float2 *)(g.splits.o + at * DIM + column + 8 * n) =
                    make_float2(w.o[m][n][2 * half], w.o[m][n][2 * half + 1]);
            continue;
        }
        float inverse = 1.0f / w.sum[m][half];
        T *y = (T *)g.a.y + (image * g.a.tq + query) * g.a.y_ld + head * DIM + column;
#pragma unroll
        for (int n = 0; n < 16; n++) {
            uint32_t two =
                pack<T>(w.o[m][n][2 * half] * inverse, w.o[m][n][2 * half + 1] * inverse);
            if (g.y_aligned) {
                *(uint32_t *)(y + 8 * n) = two;
            } else {
                y[8 * n] = ((const T *)&two)[0];
                y[8 * n + 1] = ((const T *)&two)[1];
            }
        }
    }
}

template <typename T, int KEYS>
static __global__ void __launch_bounds__(256, 1)
    attention_wide_kernel(const __grid_constant__ wide_args g) {
    extern __shared__ uint4 shared[];
    const cuda_attention_args &a = g.a;
    int split = blockIdx.x % g.splits.n, first_query = blockIdx.x / g.splits.n * ROWS;
    int64_t image = blockIdx.z, channel = (int64_t)blockIdx.y * DIM;
    const T *q = (const T *)a.q + image * a.tq * a.q_ld + channel;
    const T *k = (const T *)a.k + image * a.tk * a.k_ld + channel;
    const T *v = (const T *)a.v + image * a.tk * a.v_ld + channel;
    int n_keys = a.causal ? min(a.tk, first_query + ROWS) : a.tk;
    int tile = split * g.splits.tiles_each,
        end = min(tile + g.splits.tiles_each, (n_keys + KEYS - 1) / KEYS);
    wide_warp<T, KEYS> w;
    w.sh = (wide_shared<T, KEYS> *)shared;
    w.row0 = threadIdx.x / 128 * 32;
    w.column = threadIdx.x / 32 % 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        w.max[i / 2][i % 2] = -INFINITY;
        w.sum[i / 2][i % 2] = 0;
    }
#pragma unroll
    for (int i = 0; i < 128; i++)
        w.o[i / 64][i / 4 % 16][i % 4] = 0;

    cuda_let_next_start();
    cuda_wait_for_previous();
    load_rows<ROWS>(w.sh->q, q, a.q_ld, first_query, a.tq);
    load_rows<KEYS>(w.sh->k, k, a.k_ld, tile * KEYS, a.tk);
    copy_commit();
    for (; tile < end; tile++) {
        load_rows<KEYS>(w.sh->v, v, a.v_ld, tile * KEYS, a.tk);
        copy_commit();
        copy_wait<1>();
        __syncthreads(); /* k is here */
        float s[2][KEYS / 32][4] = {};
        wide_scores(s, w);
        if ((tile + 1) * KEYS > a.tk || a.causal)
            wide_mask(s, w, a, tile * KEYS, first_query);
        wide_publish_max<T, KEYS>(s, w);
        __syncthreads(); /* maxima are here, k is used up */
        if (tile + 1 < end)
            load_rows<KEYS>(w.sh->k, k, a.k_ld, (tile + 1) * KEYS, a.tk);
        copy_commit();
        wide_softmax(s, &w, a.scale * LOG2_E);
        copy_wait<1>();
        __syncthreads(); /* weights and v are here */
        wide_weigh(&w);
        __syncthreads(); /* v is used up */
    }
    wide_join_sums(&w);
    wide_store(w, g, first_query, image, blockIdx.y, split);
}

template <typename T, int KEYS>
static sd_status launch(sdb_queue *q, const cuda_attention_args *a) {
    wide_args g = {.a = *a};
    g.y_aligned = aligned_to(a->y, a->y_ld, 2);
    sd_status status = cuda_attention_split(q, a, ROWS, KEYS, &g.splits);
    if (status != SD_OK || q->planning)
        return status;
    dim3 grid((unsigned)((a->tq + ROWS - 1) / ROWS * g.splits.n), (unsigned)a->heads,
              (unsigned)a->n);
    status = launch_kernel(q, attention_wide_kernel<T, KEYS>, grid, 256,
                           (int)sizeof(wide_shared<T, KEYS>), g);
    return status == SD_OK ? cuda_attention_join(q, a, &g.splits) : status;
}

template <typename T> static sd_status choose(sdb_queue *q, const cuda_attention_args *a) {
    return q->dev->max_shared >= (int)sizeof(wide_shared<T, 64>) ? launch<T, 64>(q, a)
                                                                 : launch<T, 32>(q, a);
}

bool cuda_attention_wide_fits(const sdb_device *dev, const cuda_attention_args *a) {
    return a->dim == DIM && dev->major >= 8 && a->type != SDB_F32 && a->scale > 0 &&
           dev->max_shared >= (int)sizeof(wide_shared<__half, 32>) &&
           aligned_to(a->q, a->q_ld, 8) && aligned_to(a->k, a->k_ld, 8) &&
           aligned_to(a->v, a->v_ld, 8);
}

sd_status cuda_attention_wide(sdb_queue *q, const cuda_attention_args *a) {
    return a->type == SDB_F16 ? choose<__half>(q, a) : choose<__nv_bfloat16>(q, a);
}
