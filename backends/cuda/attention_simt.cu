/*
 * Attention in float32 arithmetic without tensor cores: exact for F32 (no TF32), and the way out
 * for head sizes and alignments that attention_mma.cu does not take.
 *
 * A block of 16 x 16 threads has 16 R queries of one head and 64 keys at a time. Thread (ty, tx)
 * computes the scores of queries R ty .. and keys tx + 16 i, then R queries by C columns tx + 16 i
 * of the result. Head sizes above 16 C are cut into slices of the result, each with the scores
 * anew. Q and k come STEP dimensions at a time, v VALUES rows at a time; queries stay where they
 * are when STEP is enough for the whole head.
 */
#include "attention.cuh"
#include "attention.h"

#define KEYS 64 /* per tile */

template <int R, int C, int STEP, int VALUES> struct simt_shared {
    float q[STEP][16 * R + 4]; /* transposed: [dimension][query] */
    float k[STEP][KEYS + 4];
    float v[VALUES][16 * C];
    float p[KEYS][16 * R + 4]; /* [key][query] */
};

/* tile[d][row] = rows first .. of a [rows, ld] matrix's columns d0 ..; zeros outside */
template <int ROWS, int STEP, typename T>
static __device__ void load_transposed(float (*tile)[ROWS + 4], const T *from, int64_t ld,
                                       int first, int rows, int d0, int dim) {
#pragma unroll 4
    for (int i = threadIdx.x; i < ROWS * STEP; i += 256) {
        int d = i % STEP, row = i / STEP;
        bool there = first + row < rows && d0 + d < dim;
        tile[d][row] = there ? cuda_float(from[(first + row) * ld + d0 + d]) : 0.0f;
    }
}

/* s[r][c] += q_r . k_c, over all dimensions; the queries are there already if `whole` */
template <typename T, int R, int C, int STEP, int VALUES>
static __device__ void simt_scores(float (&s)[R][4], simt_shared<R, C, STEP, VALUES> *sh,
                                   const T *q, const T *k, const cuda_attention_args &a,
                                   int first_query, int first_key) {
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    for (int d0 = 0; d0 < a.dim; d0 += STEP) {
        __syncthreads();
        if (first_key == 0 || a.dim > STEP)
            load_transposed<16 * R, STEP>(sh->q, q, a.q_ld, first_query, a.tq, d0, a.dim);
        load_transposed<KEYS, STEP>(sh->k, k, a.k_ld, first_key, a.tk, d0, a.dim);
        __syncthreads();
        int n = min(STEP, a.dim - d0);
#pragma unroll 4
        for (int d = 0; d < n; d++) {
            float qd[R], kd[4];
#pragma unroll
            for (int r = 0; r < R; r += 4)
                *(float4 *)&qd[r] = *(const float4 *)&sh->q[d][R * ty + r];
#pragma unroll
            for (int c = 0; c < 4; c++)
                kd[c] = sh->k[d][tx + 16 * c];
#pragma unroll
            for (int r = 0; r < R; r++)
#pragma unroll
                for (int c = 0; c < 4; c++)
                    s[r][c] = fmaf(qd[r], kd[c], s[r][c]);
        }
    }
}

/* Scores of a tile to weights relative to the running maximum, which moves; the 16 threads of a
 * query agree. Writes them to shared memory and scales what was summed so far. */
template <int R, int C, int STEP, int VALUES>
static __device__ void simt_softmax(float (&s)[R][4], float (&max)[R], float (&sum)[R],
                                    float (&o)[R][C], simt_shared<R, C, STEP, VALUES> *sh,
                                    const cuda_attention_args &a, int first_query, int first_key) {
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
#pragma unroll
    for (int r = 0; r < R; r++) {
        int query = first_query + R * ty + r;
        float top = -INFINITY;
#pragma unroll
        for (int c = 0; c < 4; c++) {
            int key = first_key + tx + 16 * c;
            bool seen = key < a.tk && !(a.causal && key > query);
            s[r][c] = seen ? s[r][c] * a.scale : -INFINITY;
            top = fmaxf(top, s[r][c]);
        }
        for (int lane = 8; lane > 0; lane /= 2)
            top = fmaxf(top, __shfl_xor_sync(~0u, top, lane));
        top = fmaxf(top, max[r]);
        float keep = expf(max[r] - top), here = 0;
#pragma unroll
        for (int c = 0; c < 4; c++) {
            s[r][c] = expf(s[r][c] - top);
            here += s[r][c];
        }
        sum[r] = sum[r] * keep + here;
        max[r] = top;
#pragma unroll
        for (int c = 0; c < C; c++)
            o[r][c] *= keep;
    }
#pragma unroll
    for (int c = 0; c < 4; c++)
#pragma unroll
        for (int r = 0; r < R; r += 4)
            *(float4 *)&sh->p[tx + 16 * c][R * ty + r] =
                make_float4(s[r][c], s[r + 1][c], s[r + 2][c], s[r + 3][c]);
}

/* o += p v, for one tile of keys and this slice's columns */
template <typename T, int R, int C, int STEP, int VALUES>
static __device__ void simt_sum(float (&o)[R][C], simt_shared<R, C, STEP, VALUES> *sh, const T *v,
                                const cuda_attention_args &a, int first_key, int columns) {
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    for (int k0 = 0; k0 < KEYS && first_key + k0 < a.tk; k0 += VALUES) {
        __syncthreads();
#pragma unroll 4
        for (int i = threadIdx.x; i < VALUES * 16 * C; i += 256) {
            int c = i % (16 * C), key = first_key + k0 + i / (16 * C);
            bool there = key < a.tk && c < columns;
            sh->v[i / (16 * C)][c] = there ? cuda_float(v[key * a.v_ld + c]) : 0.0f;
        }
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < VALUES; k++) {
            float p[R];
#pragma unroll
            for (int r = 0; r < R; r += 4)
                *(float4 *)&p[r] = *(const float4 *)&sh->p[k0 + k][R * ty + r];
#pragma unroll
            for (int c = 0; c < C; c++) {
                float vk = sh->v[k][tx + 16 * c];
#pragma unroll
                for (int r = 0; r < R; r++)
                    o[r][c] = fmaf(p[r], vk, o[r][c]);
            }
        }
    }
}

template <typename T, int R, int C, int STEP, int VALUES>
static __global__ void __launch_bounds__(256)
    attention_simt_kernel(const __grid_constant__ cuda_attention_args a) {
    extern __shared__ float4 shared[];
    simt_shared<R, C, STEP, VALUES> *sh = (simt_shared<R, C, STEP, VALUES> *)shared;
    int n_slices = (a.dim + 16 * C - 1) / (16 * C);
    int slice = blockIdx.x % n_slices, first_query = blockIdx.x / n_slices * 16 * R;
    int64_t image = blockIdx.z, channel = (int64_t)blockIdx.y * a.dim;
    int columns = min(16 * C, a.dim - slice * 16 * C);
    const T *q = (const T *)a.q + image * a.tq * a.q_ld + channel;
    const T *k = (const T *)a.k + image * a.tk * a.k_ld + channel;
    const T *v = (const T *)a.v + image * a.tk * a.v_ld + channel + slice * 16 * C;
    T *y = (T *)a.y + image * a.tq * a.y_ld + channel + slice * 16 * C;
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    cuda_let_next_start();
    cuda_wait_for_previous();
    float max[R], sum[R], o[R][C] = {};
    for (int r = 0; r < R; r++) {
        max[r] = -INFINITY;
        sum[r] = 0;
    }
    int n_keys = a.causal ? min(a.tk, first_query + 16 * R) : a.tk;
    for (int key = 0; key < n_keys; key += KEYS) {
        float s[R][4] = {};
        simt_scores(s, sh, q, k, a, first_query, key);
        simt_softmax(s, max, sum, o, sh, a, first_query, key);
        simt_sum(o, sh, v, a, key, columns);
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        int query = first_query + R * ty + r;
        for (int lane = 8; lane > 0; lane /= 2)
            sum[r] += __shfl_xor_sync(~0u, sum[r], lane);
#pragma unroll
        for (int c = 0; c < C; c++)
            if (query < a.tq && tx + 16 * c < columns)
                y[query * a.y_ld + tx + 16 * c] = cuda_round<T>(o[r][c] / sum[r]);
    }
}

template <typename T, int R, int C, int STEP, int VALUES>
static sd_status launch(sdb_queue *q, const cuda_attention_args *a) {
    int shared = sizeof(simt_shared<R, C, STEP, VALUES>),
        n_slices = (a->dim + 16 * C - 1) / (16 * C);
    dim3 grid((unsigned)((a->tq + 16 * R - 1) / (16 * R) * n_slices), (unsigned)a->heads,
              (unsigned)a->n);
    return launch_kernel(q, attention_simt_kernel<T, R, C, STEP, VALUES>, grid, 256, shared, *a);
}

template <typename T> static sd_status launch_16(sdb_queue *q, const cuda_attention_args *a) {
    return a->dim <= 64 ? launch<T, 4, 4, 32, 32>(q, a) : launch<T, 4, 16, 32, 16>(q, a);
}

sd_status cuda_attention_simt(sdb_queue *q, const cuda_attention_args *a) {
    if (a->type == SDB_F16)
        return launch_16<__half>(q, a);
    if (a->type == SDB_BF16)
        return launch_16<__nv_bfloat16>(q, a);
    bool few = (int64_t)((a->tq + 127) / 128) * a->heads * a->n < 2 * q->dev->n_sms;
    if (a->dim <= 48)
        return few ? launch<float, 4, 3, 48, 64>(q, a) : launch<float, 8, 3, 48, 64>(q, a);
    if (a->dim <= 80)
        return launch<float, 4, 5, 80, 64>(q, a);
    return a->dim <= 160 ? launch<float, 4, 10, 32, 32>(q, a) : launch<float, 4, 16, 32, 32>(q, a);
}
