/*
 * Flash attention with mma.sync for compute capability 8.0 and later.
 *
 * A block has WARPS warps with 16 M queries each; they share tiles of KEYS keys and values, which
 * cp.async brings two stages deep. A query's four threads ("quad") hold its scores as mma leaves
 * them, which is how the second product wants its left operand (PTX ISA, "Matrix fragments for
 * mma.m16n8k16"): weights go from scores to operand without leaving the registers.
 *
 * Head sizes are multiples of 8, taken in steps of 16 and a last one of 8, so nothing is padded.
 */
#include "attention_mma.cuh"

/* Scores to weights, relative to the running maximum; o and sum follow when it moves. */
template <typename T, int DIM, int KEYS, int M>
static __device__ __forceinline__ void softmax(float (&s)[M][KEYS / 8][4],
                                               mma_state<T, DIM, KEYS, M> *st, float scale_log2) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float top = st->max[m][half];
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
                top = fmaxf(top, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
            top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
            float keep = exp2_approx((st->max[m][half] - top) * scale_log2);
            float base = top * scale_log2, sum = st->sum[m][half] * keep;
            st->max[m][half] = top;
#pragma unroll
            for (int n = 0; n < DIM / 8; n++) {
                st->o[m][n][2 * half] *= keep;
                st->o[m][n][2 * half + 1] *= keep;
            }
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 2 * half; i < 2 * half + 2; i++) {
                    s[m][n][i] = exp2_approx(fmaf(s[m][n][i], scale_log2, -base));
                    sum += s[m][n][i];
                }
            st->sum[m][half] = sum;
        }
}

template <int DIM, int KEYS, int M, int WARPS>
static __host__ __device__ constexpr int shared_size() {
    int tiles = 4 * KEYS * pitch_of(DIM) * 2, rows = WARPS * 16 * M * pitch_of(DIM) * 2;
    return tiles > rows ? tiles : rows;
}

template <typename T, int DIM, int KEYS, int M, int WARPS>
static __global__ void __launch_bounds__(32 * WARPS)
    attention_mma_kernel(const __grid_constant__ cuda_attention_args a, bool y_aligned) {
    extern __shared__ __align__(16) unsigned char shared[];
    constexpr int TILE = KEYS * pitch_of(DIM) * 2; /* bytes */
    int64_t image = blockIdx.z, channel = (int64_t)blockIdx.y * DIM;
    const T *k = (const T *)a.k + image * a.tk * a.k_ld + channel;
    const T *v = (const T *)a.v + image * a.tk * a.v_ld + channel;
    int warp = threadIdx.x / 32, block_row = (int)blockIdx.x * WARPS * 16 * M;
    int row0 = block_row + warp * 16 * M;
    int n_keys = a.causal ? min(a.tk, block_row + WARPS * 16 * M) : a.tk;
    int n_tiles = (n_keys + KEYS - 1) / KEYS;
    uint32_t base = shared_address(shared);

    cuda_let_next_start();
    cuda_wait_for_previous();
    load_tile<DIM, KEYS, 32 * WARPS>(base, k, a.k_ld, 0, a.tk);
    load_tile<DIM, KEYS, 32 * WARPS>(base + TILE, v, a.v_ld, 0, a.tk);
    copy_commit();
    mma_state<T, DIM, KEYS, M> st;
    load_queries(&st, (const T *)a.q + image * a.tq * a.q_ld + channel, a.q_ld, row0, a.tq);
#pragma unroll
    for (int m = 0; m < M; m++) {
        st.max[m][0] = st.max[m][1] = -INFINITY;
        st.sum[m][0] = st.sum[m][1] = 0;
#pragma unroll
        for (int n = 0; n < DIM / 8; n++)
            st.o[m][n][0] = st.o[m][n][1] = st.o[m][n][2] = st.o[m][n][3] = 0;
    }
    for (int tile = 0; tile < n_tiles; tile++) {
        uint32_t here = base + tile % 2 * 2 * TILE, next = base + (tile + 1) % 2 * 2 * TILE;
        if (tile + 1 < n_tiles) {
            load_tile<DIM, KEYS, 32 * WARPS>(next, k, a.k_ld, (tile + 1) * KEYS, a.tk);
            load_tile<DIM, KEYS, 32 * WARPS>(next + TILE, v, a.v_ld, (tile + 1) * KEYS, a.tk);
        }
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        float s[M][KEYS / 8][4];
        scores(s, st, here);
        if ((tile + 1) * KEYS > a.tk || (a.causal && (tile + 1) * KEYS > row0))
            mask<KEYS, M>(s, row0, tile * KEYS, a.tk, a.causal);
        softmax(s, &st, a.scale * LOG2_E);
        weigh(s, &st, here + TILE);
        __syncthreads();
    }
    if (row0 < a.tq)
        store(&st, (T *)shared + warp * 16 * M * pitch_of(DIM),
              (T *)a.y + image * a.tq * a.y_ld + channel, a.y_ld, row0, a.tq, y_aligned);
}

template <typename T, int DIM, int KEYS, int M, int WARPS>
static sd_status launch(sdb_queue *q, const cuda_attention_args *a) {
    constexpr int ROWS = WARPS * 16 * M, SHARED = shared_size<DIM, KEYS, M, WARPS>();
    dim3 grid((unsigned)((a->tq + ROWS - 1) / ROWS), (unsigned)a->heads, (unsigned)a->n);
    return launch_kernel(q, attention_mma_kernel<T, DIM, KEYS, M, WARPS>, grid, 32 * WARPS, SHARED,
                         *a, aligned_to(a->y, a->y_ld, 8));
}

/* Which tile for which problem was measured. */
template <typename T> static sd_status choose(sdb_queue *q, const cuda_attention_args *a) {
    switch (a->dim) {
    case 32:
        return launch<T, 32, 64, 1, 4>(q, a);
    case 40:
        return launch<T, 40, 64, 2, 4>(q, a);
    case 64:
        return launch<T, 64, 64, 1, 4>(q, a);
    case 80:
        return launch<T, 80, 64, 1, 4>(q, a);
    case 96:
        return launch<T, 96, 64, 1, 4>(q, a);
    case 128:
        return launch<T, 128, 64, 1, 4>(q, a);
    case 160:
        return launch<T, 160, 64, 1, 4>(q, a);
    default:
        return launch<T, 256, 16, 1, 4>(q, a);
    }
}

bool cuda_attention_mma_fits(const sdb_device *dev, const cuda_attention_args *a) {
    static const int dims[] = {32, 40, 64, 80, 96, 128, 160, 256};
    bool known = false;
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        known = known || a->dim == dims[i];
    return known && dev->major >= 8 && a->type != SDB_F32 && a->scale > 0 &&
           dev->max_shared >= 98 * 1024 && aligned_to(a->q, a->q_ld, 2) &&
           aligned_to(a->k, a->k_ld, 8) && aligned_to(a->v, a->v_ld, 8);
}

sd_status cuda_attention_mma(sdb_queue *q, const cuda_attention_args *a) {
    return a->type == SDB_F16 ? choose<__half>(q, a) : choose<__nv_bfloat16>(q, a);
}
