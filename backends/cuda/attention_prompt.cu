/*
 * Attention to few keys, at most 80: a prompt's 77, or CLIP's own.
 *
 * Keys and values of a head stay in a block's shared memory while it goes through several rounds
 * of 64 queries, the next ones on their way. All scores of a query are there at once, so softmax
 * needs no running maximum.
 */
#include "attention_mma.cuh"

#define KEYS 80
#define WARPS 4

/* Scores to weights and their sums; the first maximum is the last. */
template <typename T, int DIM>
static __device__ __forceinline__ void
whole_softmax(float (&s)[1][KEYS / 8][4], mma_state<T, DIM, KEYS, 1> *st, float scale_log2) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float top = s[0][0][2 * half], sum = 0;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
            top = fmaxf(top, fmaxf(s[0][n][2 * half], s[0][n][2 * half + 1]));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                s[0][n][i] = exp2_approx(fmaf(s[0][n][i], scale_log2, -top * scale_log2));
                sum += s[0][n][i];
            }
        st->sum[0][half] = sum;
    }
}

/* The usual 77 keys: only the last eight have some that do not exist. */
static __device__ __forceinline__ void mask_last(float (&s)[4], int n_keys) {
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (KEYS - 8 + threadIdx.x % 4 * 2 + i % 2 >= n_keys)
            s[i] = -INFINITY;
}

template <typename T, int DIM> static constexpr int prompt_shared() {
    return (2 * KEYS + WARPS * 16) * pitch_of(DIM) * (int)sizeof(T);
}

template <typename T, int DIM, int BLOCKS>
static __global__ void __launch_bounds__(32 * WARPS, BLOCKS)
    attention_prompt_kernel(const __grid_constant__ cuda_attention_args a, int rounds,
                            bool y_aligned) {
    extern __shared__ __align__(16) unsigned char shared[];
    constexpr int TILE = KEYS * pitch_of(DIM) * 2; /* bytes */
    int64_t image = blockIdx.z, channel = (int64_t)blockIdx.y * DIM;
    const T *q = (const T *)a.q + image * a.tq * a.q_ld + channel;
    T *y = (T *)a.y + image * a.tq * a.y_ld + channel;
    int warp = threadIdx.x / 32, row0 = ((int)blockIdx.x * rounds * WARPS + warp) * 16;
    uint32_t k = shared_address(shared), v = k + TILE;
    T *rows = (T *)(shared + 2 * TILE) + warp * 16 * pitch_of(DIM);

    cuda_let_next_start();
    cuda_wait_for_previous();
    load_tile<DIM, KEYS, 32 * WARPS>(k, (const T *)a.k + image * a.tk * a.k_ld + channel, a.k_ld, 0,
                                     a.tk);
    load_tile<DIM, KEYS, 32 * WARPS>(v, (const T *)a.v + image * a.tk * a.v_ld + channel, a.v_ld, 0,
                                     a.tk);
    copy_commit();
    mma_state<T, DIM, KEYS, 1> st, next;
    load_queries(&next, q, a.q_ld, row0, a.tq);
    copy_wait<0>();
    __syncthreads();
    for (int round = 0; round < rounds && row0 < a.tq; round++, row0 += 16 * WARPS) {
        st = next;
        if (round + 1 < rounds)
            load_queries(&next, q, a.q_ld, row0 + 16 * WARPS, a.tq);
#pragma unroll
        for (int n = 0; n < DIM / 8; n++)
            st.o[0][n][0] = st.o[0][n][1] = st.o[0][n][2] = st.o[0][n][3] = 0;
        float s[1][KEYS / 8][4];
        scores(s, st, k);
        if (a.tk <= KEYS - 8 || a.causal)
            mask<KEYS, 1>(s, row0, 0, a.tk, a.causal);
        else
            mask_last(s[0][KEYS / 8 - 1], a.tk);
        whole_softmax(s, &st, a.scale * LOG2_E);
        weigh(s, &st, v);
        store(&st, rows, y, a.y_ld, row0, a.tq, y_aligned);
        __syncwarp();
    }
}

/* BLOCKS is how many share a multiprocessor. */
template <typename T, int DIM, int BLOCKS>
static sd_status launch(sdb_queue *q, const cuda_attention_args *a) {
    constexpr int SHARED = prompt_shared<T, DIM>();
    int groups = (a->tq + 16 * WARPS - 1) / (16 * WARPS);
    int64_t all = (int64_t)groups * a->heads * a->n, at_once = (int64_t)q->dev->n_sms * BLOCKS;
    int rounds = (int)((all + at_once - 1) / at_once);
    dim3 grid((unsigned)((groups + rounds - 1) / rounds), (unsigned)a->heads, (unsigned)a->n);
    return launch_kernel(q, attention_prompt_kernel<T, DIM, BLOCKS>, grid, 32 * WARPS, SHARED, *a,
                         rounds, aligned_to(a->y, a->y_ld, 8));
}

template <typename T> static sd_status choose(sdb_queue *q, const cuda_attention_args *a) {
    switch (a->dim) {
    case 40:
        return launch<T, 40, 4>(q, a);
    case 64:
        return launch<T, 64, 3>(q, a);
    case 80:
        return launch<T, 80, 3>(q, a);
    default:
        return launch<T, 160, 2>(q, a);
    }
}

bool cuda_attention_prompt_fits(const sdb_device *dev, const cuda_attention_args *a) {
    bool known = a->dim == 40 || a->dim == 64 || a->dim == 80 || a->dim == 160;
    return known && a->tk <= KEYS && cuda_attention_mma_fits(dev, a);
}

sd_status cuda_attention_prompt(sdb_queue *q, const cuda_attention_args *a) {
    return a->type == SDB_F16 ? choose<__half>(q, a) : choose<__nv_bfloat16>(q, a);
}
