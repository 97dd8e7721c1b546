/* Shared by attention_mma.cu and attention_prompt.cu: a warp's products by mma.sync. */
#ifndef SD_CUDA_ATTENTION_MMA_CUH
#define SD_CUDA_ATTENTION_MMA_CUH

#include "attention.cuh"
#include "attention.h"
#include "mma.cuh"

#define LOG2_E 1.44269504088896340736f

/* As load_matrix4, transposed; and two matrices, of lanes 0 to 15. */
static __device__ __forceinline__ void load_matrix4_trans(uint32_t (&r)[4], uint32_t at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at)
                 : "memory");
}

static __device__ __forceinline__ void load_matrix2(uint32_t (&r)[2], uint32_t at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(at)
                 : "memory");
}

static __device__ __forceinline__ void load_matrix2_trans(uint32_t (&r)[2], uint32_t at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(at)
                 : "memory");
}

/* c += a b: [16, 8] by [8, 8] */
template <typename T>
static __device__ __forceinline__ void mma_k8(float (&c)[4], uint32_t a0, uint32_t a1, uint32_t b);

template <>
__device__ __forceinline__ void mma_k8<__half>(float (&c)[4], uint32_t a0, uint32_t a1,
                                               uint32_t b) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
}

template <>
__device__ __forceinline__ void mma_k8<__nv_bfloat16>(float (&c)[4], uint32_t a0, uint32_t a1,
                                                      uint32_t b) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a0), "r"(a1), "r"(b));
}

/* Elements from row to row in shared memory: an odd number of 16-byte pieces, so that ldmatrix's
 * 8 rows lie in different banks. */
static __host__ __device__ constexpr int pitch_of(int dim) {
    return dim / 8 % 2 ? dim : dim + 8;
}

template <typename T, int DIM, int KEYS, int M> struct mma_state {
    static constexpr int STEPS = DIM / 16, ODD = DIM % 16 / 8, TILES = DIM / 8;
    uint32_t q[M][STEPS][4], q_odd[M][2]; /* left operand of q k^T */
    float o[M][TILES][4];                 /* sum of weights times v */
    float max[M][2], sum[M][2];           /* of rows g and g + 8; sum: this thread's part */
};

template <typename T>
static __device__ __forceinline__ uint32_t load_pair(const T *row, int d, bool there) {
    return there ? *(const uint32_t *)(row + d) : 0;
}

template <typename T, int DIM, int KEYS, int M>
static __device__ __forceinline__ void load_queries(mma_state<T, DIM, KEYS, M> *st, const T *q,
                                                    int64_t ld, int row0, int tq) {
    constexpr int STEPS = DIM / 16;
    int lane = threadIdx.x % 32, d = lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < M; m++) {
        int row = row0 + 16 * m + lane / 4;
        const T *low = q + row * ld, *high = low + 8 * ld;
        bool in_low = row < tq, in_high = row + 8 < tq;
#pragma unroll
        for (int s = 0; s < STEPS; s++) {
            st->q[m][s][0] = load_pair(low, 16 * s + d, in_low);
            st->q[m][s][1] = load_pair(high, 16 * s + d, in_high);
            st->q[m][s][2] = load_pair(low, 16 * s + d + 8, in_low);
            st->q[m][s][3] = load_pair(high, 16 * s + d + 8, in_high);
        }
        if (DIM % 16) {
            st->q_odd[m][0] = load_pair(low, 16 * STEPS + d, in_low);
            st->q_odd[m][1] = load_pair(high, 16 * STEPS + d, in_high);
        }
    }
}

/* Rows first .. first + KEYS of [rows, DIM] to shared memory; rows that do not exist are zero. */
template <int DIM, int KEYS, int THREADS, typename T>
static __device__ __forceinline__ void load_tile(uint32_t to, const T *from, int64_t ld, int first,
                                                 int rows) {
    constexpr int PIECES = DIM / 8, PITCH = pitch_of(DIM);
#pragma unroll
    for (int i0 = 0; i0 < KEYS * PIECES; i0 += THREADS) {
        int i = i0 + threadIdx.x, row = i / PIECES, piece = i % PIECES;
        if (KEYS * PIECES % THREADS && i >= KEYS * PIECES)
            break;
        bool there = first + row < rows;
        copy_async16(to + (row * PITCH + piece * 8) * 2,
                     from + (there ? (first + row) * ld + piece * 8 : 0), there ? 16 : 0);
    }
}

/* s = q k^T for a tile of keys */
template <typename T, int DIM, int KEYS, int M>
static __device__ __forceinline__ void scores(float (&s)[M][KEYS / 8][4],
                                              const mma_state<T, DIM, KEYS, M> &st, uint32_t k) {
    constexpr int STEPS = DIM / 16, PITCH = pitch_of(DIM);
    int lane = threadIdx.x % 32;
    /* lanes 0-7: keys 0-7, first 8 dimensions; 8-15: the next 8; 16-31: keys 8-15 alike */
    uint32_t at = k + (((lane / 16) * 8 + lane % 8) * PITCH + lane / 8 % 2 * 8) * 2;
#pragma unroll
    for (int n = 0; n < KEYS / 16; n++)
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[m][2 * n][i] = s[m][2 * n + 1][i] = 0;
#pragma unroll
    for (int step = 0; step < STEPS; step++)
#pragma unroll
        for (int n = 0; n < KEYS / 16; n++) {
            uint32_t b[4];
            load_matrix4(b, at + (16 * n * PITCH + 16 * step) * 2);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma16816<T>(s[m][2 * n], st.q[m][step], b[0], b[1]);
                mma16816<T>(s[m][2 * n + 1], st.q[m][step], b[2], b[3]);
            }
        }
    if (DIM % 16) {
        uint32_t odd = k + ((lane % 16) * PITCH + 16 * STEPS) * 2;
#pragma unroll
        for (int n = 0; n < KEYS / 16; n++) {
            uint32_t b[2];
            load_matrix2(b, odd + 16 * n * PITCH * 2);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_k8<T>(s[m][2 * n], st.q_odd[m][0], st.q_odd[m][1], b[0]);
                mma_k8<T>(s[m][2 * n + 1], st.q_odd[m][0], st.q_odd[m][1], b[1]);
            }
        }
    }
}

/* Hides the keys that a query may not see: beyond the last, and with `causal` after its own. */
template <int KEYS, int M>
static __device__ __forceinline__ void mask(float (&s)[M][KEYS / 8][4], int row0, int first_key,
                                            int n_keys, bool causal) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int key = first_key + 8 * n + lane % 4 * 2 + i % 2;
                int row = row0 + 16 * m + lane / 4 + i / 2 * 8;
                if (key >= n_keys || (causal && key > row))
                    s[m][n][i] = -INFINITY;
            }
}

/* o += p v for a tile of keys */
template <typename T, int DIM, int KEYS, int M>
static __device__ __forceinline__ void weigh(const float (&p)[M][KEYS / 8][4],
                                             mma_state<T, DIM, KEYS, M> *st, uint32_t v) {
    constexpr int PITCH = pitch_of(DIM);
    int lane = threadIdx.x % 32;
    /* lanes 0-15: keys 0-15, first 8 columns; 16-31: the next 8 */
    uint32_t at = v + (lane % 16 * PITCH + lane / 16 * 8) * 2;
#pragma unroll
    for (int k = 0; k < KEYS / 16; k++) {
        uint32_t a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            a[m][0] = pack<T>(p[m][2 * k][0], p[m][2 * k][1]);
            a[m][1] = pack<T>(p[m][2 * k][2], p[m][2 * k][3]);
            a[m][2] = pack<T>(p[m][2 * k + 1][0], p[m][2 * k + 1][1]);
            a[m][3] = pack<T>(p[m][2 * k + 1][2], p[m][2 * k + 1][3]);
        }
#pragma unroll
        for (int n = 0; n < DIM / 16; n++) {
            uint32_t b[4];
            load_matrix4_trans(b, at + (16 * k * PITCH + 16 * n) * 2);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma16816<T>(st->o[m][2 * n], a[m], b[0], b[1]);
                mma16816<T>(st->o[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
        if (DIM % 16) {
            uint32_t b[2];
            load_matrix2_trans(b, at - lane / 16 * 16 + (16 * k * PITCH + DIM - 8) * 2);
#pragma unroll
            for (int m = 0; m < M; m++)
                mma16816<T>(st->o[m][DIM / 8 - 1], a[m], b[0], b[1]);
        }
    }
}

/* y = o / sum, by way of the warp's own rows of shared memory, for whole 16-byte stores */
template <typename T, int DIM, int KEYS, int M>
static __device__ __forceinline__ void store(mma_state<T, DIM, KEYS, M> *st, T *rows, T *y,
                                             int64_t ld, int row0, int tq, bool aligned) {
    constexpr int PITCH = pitch_of(DIM), PIECES = DIM / 8;
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float sum = st->sum[m][half];
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            float inverse = 1.0f / sum;
            T *to = rows + (16 * m + 8 * half + lane / 4) * PITCH + lane % 4 * 2;
#pragma unroll
            for (int n = 0; n < DIM / 8; n++)
                *(uint32_t *)(to + 8 * n) =
                    pack<T>(st->o[m][n][2 * half] * inverse, st->o[m][n][2 * half + 1] * inverse);
        }
    __syncwarp();
    int n_rows = min(16 * M, tq - row0);
    if (aligned)
        for (int i = lane; i < n_rows * PIECES; i += 32)
            *(uint4 *)(y + (row0 + i / PIECES) * ld + i % PIECES * 8) =
                *(const uint4 *)(rows + i / PIECES * PITCH + i % PIECES * 8);
    else
        for (int i = lane; i < n_rows * DIM; i += 32)
            y[(row0 + i / DIM) * ld + i % DIM] = rows[i / DIM * PITCH + i % DIM];
}

#endif
