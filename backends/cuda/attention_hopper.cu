/*
 * Flash attention for compute capability 9.0, long sequences: wgmma and the copy engine.
 *
 * A block has GROUPS warpgroups with 64 queries of one head each, and another that hands them its
 * registers and asks the copy engine for tiles of KEYS keys and values, STAGES ahead. A tensor map
 * over [image, token, head, dimension] brings whole rows of 64 dimensions and fills with zeros what
 * is beyond the head's size or the last token, so head sizes need no padding in device memory and
 * nothing of a neighbour is read.
 *
 * The second product's left operand (weights) stays in registers, and runs under the next tile's
 * softmax. With small heads exponentials are the bottleneck, 16 a cycle for a multiprocessor, so
 * there are as many warpgroups as registers allow. (A polynomial on the multiply-add units for many
 * of them, as FlashAttention-4 has it, was slower: the instructions that it adds are as scarce
 * here.) The maximum is moved only when it has grown by more than 2^8 (also theirs): the result is
 * the same, as sums and weights share whatever maximum is in use.
 *
 * The autoencoder's one head of 512 has its columns shared out to two warpgroups, which both
 * compute all scores: exchanging them would take longer.
 */
#include "attention.cuh"
#include "attention.h"
#include "attention_wgmma.cuh"

#include <math_constants.h>

#define LOG2_E 1.44269504088896340736f
#define SLACK 8.0f /* powers of two that weights may exceed 1 by */

typedef struct attention_maps {
    CUtensorMap q, k, v;
    cuda_attention_args a;
    attention_splits splits;
} attention_maps;

template <int DIM, int KEYS, int STAGES, int GROUPS> struct attention_layout {
    static constexpr int CHUNKS = (DIM + 63) / 64; /* of 64 dimensions, one box each */
    static constexpr int TILE = CHUNKS * KEYS * 128;
    static constexpr int Q_TILE = CHUNKS * 64 * 128;
    static constexpr int Q_TILES = DIM > 256 ? 1 : GROUPS; /* wide heads: columns are shared out */
    static constexpr int Q = 2 * STAGES * TILE; /* after k tiles and v tiles: q's, barriers */
    static constexpr int BARRIERS = Q + Q_TILES * Q_TILE;
    static constexpr int Q_FULL = BARRIERS + 4 * STAGES * 8;
    static constexpr int SIZE = Q_FULL + 8 + 1024;
};

/* Barriers of stage i, in shared memory: tiles that came, tiles that are used up. */
typedef struct tile_barriers {
    uint32_t k_full, v_full, k_empty, v_empty;
} tile_barriers;

template <int STAGES>
static __device__ __forceinline__ tile_barriers barriers_of(uint32_t base, int stage) {
    uint32_t at = base + stage * 8;
    return {at, at + STAGES * 8, at + 2 * STAGES * 8, at + 3 * STAGES * 8};
}

/* One thread: brings all tiles, waiting for stages to become empty. */
template <int DIM, int KEYS, int STAGES, int GROUPS>
static __device__ __forceinline__ void produce(const attention_maps &g, uint32_t base, int first,
                                               int n_tiles, int row, int head, int image) {
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    barrier_expect(base + L::Q_FULL, L::Q_TILES * L::Q_TILE);
    for (int i = 0; i < L::Q_TILES * L::CHUNKS; i++)
        tma_load(base + L::Q + i * 64 * 128, &g.q, base + L::Q_FULL, i % L::CHUNKS * 64, head,
                 row + i / L::CHUNKS * 64, image);
    for (int tile = 0; tile < n_tiles; tile++) {
        int stage = tile % STAGES, parity = tile / STAGES % 2 ^ 1;
        tile_barriers b = barriers_of<STAGES>(base + L::BARRIERS, stage);
        uint32_t k = base + stage * L::TILE, v = k + STAGES * L::TILE;
        barrier_wait(b.k_empty, parity);
        barrier_expect(b.k_full, L::TILE);
        for (int c = 0; c < L::CHUNKS; c++)
            tma_load(k + c * KEYS * 128, &g.k, b.k_full, 64 * c, head, (first + tile) * KEYS,
                     image);
        barrier_wait(b.v_empty, parity);
        barrier_expect(b.v_full, L::TILE);
        for (int c = 0; c < L::CHUNKS; c++)
            tma_load(v + c * KEYS * 128, &g.v, b.v_full, 64 * c, head, (first + tile) * KEYS,
                     image);
    }
}

/* What a thread of a warpgroup holds: parts of rows lane / 4 and 8 more of its warp's 16. */
template <typename T, int DIM, int KEYS> struct attention_state {
    static constexpr int STEPS = (DIM + 15) / 16;
    static constexpr int COLUMNS = DIM > 256 ? 256 : DIM; /* of the result, in one warpgroup */
    uint32_t q;    /* this warpgroup's tile in shared memory */
    uint32_t part; /* bytes from a tile of v to this warpgroup's columns */
    uint32_t p[KEYS / 16][4];
    float o[COLUMNS / 2];
    float max[2], sum[4]; /* max: of s, not scaled; sum: this thread's, of columns mod 4 */
};

template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void start(attention_state<T, DIM, KEYS> *st) {
#pragma unroll
    for (int i = 0; i < attention_state<T, DIM, KEYS>::COLUMNS / 2; i++)
        st->o[i] = 0;
    st->max[0] = st->max[1] = -CUDART_INF_F;
    st->sum[0] = st->sum[1] = st->sum[2] = st->sum[3] = 0;
}

template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void begin_scores(attention_state<T, DIM, KEYS> *st,
                                                    float (&s)[KEYS / 2], uint32_t k) {
    /* many steps: keeps the compiler from preparing their addresses once, which costs spills */
    if (attention_state<T, DIM, KEYS>::STEPS > 16)
        asm volatile("" : "+r"(k), "+r"(st->q));
    uint64_t tile = wgmma_descriptor(k), q = wgmma_descriptor(st->q);
    wgmma_fence();
#pragma unroll
    for (int d = 0; d < attention_state<T, DIM, KEYS>::STEPS; d++)
        wgmma<T, KEYS>::run(s, q + (d / 4 * 64 * 128 + d % 4 * 32) / 16,
                            tile + (d / 4 * KEYS * 128 + d % 4 * 32) / 16, d > 0);
    wgmma_commit();
}

template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void begin_sums(attention_state<T, DIM, KEYS> *st, uint32_t v) {
    uint64_t tile = wgmma_columns(v + st->part, KEYS * 128);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < KEYS / 16; k++)
        wgmma_sums<T, attention_state<T, DIM, KEYS>::COLUMNS>::run(st->o, st->p[k],
                                                                   tile + k * 16 * 128 / 16);
    wgmma_commit();
}

/* Moves the maxima of the warp's rows to those of the tile; `keep` is what remains of the sums. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void raise_max(attention_state<T, DIM, KEYS> *st,
                                                 const float (&top)[2], float (&keep)[2],
                                                 float scale_log2) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float max = fmaxf(st->max[half], top[half]);
        max = fmaxf(max, __shfl_xor_sync(~0u, max, 1));
        max = fmaxf(max, __shfl_xor_sync(~0u, max, 2));
        keep[half] = exp2_approx((st->max[half] - max) * scale_log2);
        st->max[half] = max;
        st->sum[2 * half] *= keep[half];
        st->sum[2 * half + 1] *= keep[half];
    }
}

/* No product may be adding to o. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void scale_sums(attention_state<T, DIM, KEYS> *st,
                                                  const float (&keep)[2]) {
#pragma unroll
    for (int i = 0; i < attention_state<T, DIM, KEYS>::COLUMNS / 2; i++)
        st->o[i] *= keep[i / 2 % 2];
}

/* The largest of the thread's scores in each row. */
template <int N>
static __device__ __forceinline__ void find_top(float (&top)[2], const float (&s)[N]) {
    float four[4] = {s[0], s[1], s[2], s[3]};
#pragma unroll
    for (int i = 4; i < N; i++)
        four[i % 4] = fmaxf(four[i % 4], s[i]);
    top[0] = fmaxf(four[0], four[1]);
    top[1] = fmaxf(four[2], four[3]);
}

/* Scores to weights, in place. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void exponentials(attention_state<T, DIM, KEYS> *st,
                                                    float (&s)[KEYS / 2], float scale_log2) {
    float base[2] = {st->max[0] * scale_log2, st->max[1] * scale_log2};
#pragma unroll
    for (int i = 0; i < KEYS / 2; i++) {
        s[i] = exp2_approx(fmaf(s[i], scale_log2, -base[i / 2 % 2]));
        st->sum[i % 4] += s[i];
    }
}

template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void pack_weights(attention_state<T, DIM, KEYS> *st,
                                                    const float (&s)[KEYS / 2]) {
#pragma unroll
    for (int i = 0; i < KEYS / 2; i += 2)
        st->p[i / 8][i / 2 % 4] = pack<T>(s[i], s[i + 1]);
}

/* Hides keys beyond the last. */
template <int N> static __device__ __forceinline__ void mask(float (&s)[N], int n_keys) {
#pragma unroll
    for (int i = 0; i < N; i++)
        if (i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2 >= n_keys)
            s[i] = -CUDART_INF_F;
}

/* Rows of the result from first_column on, or the split's share of them for the join. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void store(attention_state<T, DIM, KEYS> *st,
                                             const attention_maps &g, int row, int first_column,
                                             int head, int image, int split) {
    constexpr int N = attention_state<T, DIM, KEYS>::COLUMNS / 8;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = st->sum[2 * half] + st->sum[2 * half + 1];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        int query = row + 8 * half, column = first_column + threadIdx.x % 4 * 2;
        if (query >= g.a.tq)
            continue;
        if (g.splits.n > 1) {
            int64_t at = (((int64_t)split * g.a.n + image) * g.a.heads + head) * g.a.tq + query;
            if (column == 0)
                g.splits.max_sum[at] = make_float2(st->max[half], sum);
#pragma unroll
            for (int i = 0; i < N; i++)
                *(float2 *)(g.splits.o + at * DIM + column + 8 * i) =
                    make_float2(st->o[4 * i + 2 * half], st->o[4 * i + 2 * half + 1]);
        } else {
            float inverse = 1.0f / sum;
            T *y = (T *)g.a.y + ((int64_t)image * g.a.tq + query) * g.a.y_ld + head * DIM + column;
#pragma unroll
            for (int i = 0; i < N; i++)
                *(uint32_t *)(y + 8 * i) = pack<T>(st->o[4 * i + 2 * half] * inverse,
                                                   st->o[4 * i + 2 * half + 1] * inverse);
        }
    }
}

/* Where a warp stands in the ring of stages. */
template <int STAGES> struct ring_place {
    uint32_t barriers;
    int stage, parity;
    __device__ __forceinline__ void next() {
        stage++;
        if (stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
    __device__ __forceinline__ tile_barriers here() const {
        return barriers_of<STAGES>(barriers, stage);
    }
};

static __device__ __forceinline__ void release(uint32_t barrier) {
    if (threadIdx.x % 32 == 0)
        barrier_arrive(barrier);
}

/* All tiles, each one's products with v under the softmax of the next. */
template <int STAGES, int GROUPS, typename T, int DIM, int KEYS>
static __device__ __forceinline__ void consume(attention_state<T, DIM, KEYS> *st, float scale,
                                               uint32_t base, int n_keys) {
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    float scale_log2 = scale * LOG2_E, slack = SLACK / scale_log2;
    int n_tiles = (n_keys + KEYS - 1) / KEYS;
    float s[KEYS / 2], top[2], keep[2];
    ring_place<STAGES> at = {base + L::BARRIERS, 0, 0};
    barrier_wait(at.here().k_full, 0);
    begin_scores(st, s, base);
    wgmma_wait<0>();
    release(at.here().k_empty);
    if (KEYS > n_keys)
        mask(s, n_keys);
    find_top(top, s);
    raise_max(st, top, keep, scale_log2);
    exponentials(st, s, scale_log2);
    pack_weights(st, s);
    for (int tile = 1; tile < n_tiles; tile++) {
        tile_barriers before = at.here();
        uint32_t v = base + (STAGES + at.stage) * L::TILE;
        int parity = at.parity;
        at.next();
        tile_barriers here = at.here();
        barrier_wait(here.k_full, at.parity);
        begin_scores(st, s, base + at.stage * L::TILE);
        barrier_wait(before.v_full, parity);
        begin_sums(st, v);
        wgmma_wait<1>();
        release(here.k_empty);
        if ((tile + 1) * KEYS > n_keys)
            mask(s, n_keys - tile * KEYS);
        find_top(top, s);
        bool grown = __any_sync(~0u, top[0] > st->max[0] + slack || top[1] > st->max[1] + slack);
        if (grown)
            raise_max(st, top, keep, scale_log2);
        exponentials(st, s, scale_log2);
        wgmma_wait<0>();
        release(before.v_empty);
        if (grown)
            scale_sums(st, keep);
        pack_weights(st, s);
    }
    barrier_wait(at.here().v_full, at.parity);
    begin_sums(st, base + (STAGES + at.stage) * L::TILE);
    wgmma_wait<0>();
}

/* For each thread of a warpgroup that computes: what the block starts with, less 24 for each thread
 * of the one that loads. */
static __host__ __device__ constexpr int registers_of(int groups) {
    int start = 65536 / ((groups + 1) * 128) / 8 * 8;
    start = start > 248 ? 248 : start;
    int each = (start * (groups + 1) - 24) / groups / 8 * 8;
    return each > 248 ? 248 : each;
}

template <typename T, int DIM, int KEYS, int GROUPS, int STAGES>
static __global__ void __launch_bounds__(GROUPS * 128 + 128, 1)
    attention_hopper_kernel(const __grid_constant__ attention_maps g) {
    extern __shared__ unsigned char shared[];
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    constexpr int REGISTERS = registers_of(GROUPS);
    uint32_t base = (shared_address(shared) + 1023) & ~1023u;
    int split = blockIdx.x % g.splits.n, block_row = blockIdx.x / g.splits.n * L::Q_TILES * 64;
    int first = split * g.splits.tiles_each, n_keys = g.a.tk - first * KEYS;
    if (split + 1 < g.splits.n)
        n_keys = g.splits.tiles_each * KEYS;
    int head = blockIdx.y, image = blockIdx.z, warp = threadIdx.x / 32;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            tile_barriers b = barriers_of<STAGES>(base + L::BARRIERS, i);
            barrier_init(b.k_full, 1);
            barrier_init(b.v_full, 1);
            barrier_init(b.k_empty, GROUPS * 4);
            barrier_init(b.v_empty, GROUPS * 4);
        }
        barrier_init(base + L::Q_FULL, 1);
        barrier_init_fence();
    }
    __syncthreads();
    cuda_let_next_start();
    cuda_wait_for_previous();
    if (warp / 4 == GROUPS) {
        set_registers<false, 24>();
        if (threadIdx.x == GROUPS * 128)
            produce<DIM, KEYS, STAGES, GROUPS>(g, base, first, (n_keys + KEYS - 1) / KEYS,
                                               block_row, head, image);
    } else {
        set_registers<true, REGISTERS>();
        int tile = DIM > 256 ? 0 : warp / 4, part = DIM > 256 ? warp / 4 : 0;
        attention_state<T, DIM, KEYS> st;
        start(&st);
        st.q = base + L::Q + tile * L::Q_TILE;
        st.part = part * 4 * KEYS * 128;
        barrier_wait(base + L::Q_FULL, 0);
        consume<STAGES, GROUPS>(&st, g.a.scale, base, n_keys);
        int row = block_row + tile * 64 + warp % 4 * 16 + threadIdx.x % 32 / 4;
        store(&st, g, row, part * 256, head, image, split);
    }
}

/* [image, token, head, dimension], boxes of 64 dimensions of `box_tokens` tokens */
static sd_status make_map(sdb_queue *q, const cuda_attention_args *a, const void *data, int64_t ld,
                          int tokens, int box_tokens, CUtensorMap *map) {
    const cuuint64_t sizes[4] = {(cuuint64_t)a->dim, (cuuint64_t)a->heads, (cuuint64_t)tokens,
                                 (cuuint64_t)a->n};
    const cuuint64_t strides[3] = {(cuuint64_t)a->dim * 2, (cuuint64_t)ld * 2,
                                   (cuuint64_t)ld * 2 * (cuuint64_t)tokens};
    const cuuint32_t box[4] = {64, 1, (cuuint32_t)box_tokens, 1}, steps[4] = {1, 1, 1, 1};
    CUtensorMapDataType type =
        a->type == SDB_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    CUresult result =
        q->dev->encode_tiled(map, type, 4, (void *)data, sizes, strides, box, steps,
                             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                             CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return cuda_check(q->dev, result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue,
                      "attention: a tensor map");
}

template <typename T, int DIM, int KEYS, int GROUPS, int STAGES>
static sd_status launch(sdb_queue *q, const cuda_attention_args *a) {
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    constexpr int ROWS = L::Q_TILES * 64;
    attention_maps g;
    g.a = *a;
    sd_status status = cuda_attention_split(q, a, ROWS, KEYS, &g.splits);
    if (status != SD_OK || q->planning)
        return status;
    status = make_map(q, a, a->q, a->q_ld, a->tq, 64, &g.q);
    if (status == SD_OK)
        status = make_map(q, a, a->k, a->k_ld, a->tk, KEYS, &g.k);
    if (status == SD_OK)
        status = make_map(q, a, a->v, a->v_ld, a->tk, KEYS, &g.v);
    if (status != SD_OK)
        return status;
    dim3 grid((unsigned)((a->tq + ROWS - 1) / ROWS * g.splits.n), (unsigned)a->heads,
              (unsigned)a->n);
    status = launch_kernel(q, attention_hopper_kernel<T, DIM, KEYS, GROUPS, STAGES>, grid,
                           GROUPS * 128 + 128, L::SIZE, g);
    return status == SD_OK ? cuda_attention_join(q, a, &g.splits) : status;
}

/* Measured on an H200; blocks of 64 queries where larger ones are fewer than multiprocessors. */
template <typename T> static sd_status choose(sdb_queue *q, const cuda_attention_args *a) {
    bool few = (int64_t)((a->tq + 127) / 128) * a->heads * a->n < q->dev->n_sms / 2;
    switch (a->dim) {
    case 40:
        return few ? launch<T, 40, 128, 2, 3>(q, a) : launch<T, 40, 64, 4, 4>(q, a);
    case 64:
        return launch<T, 64, 128, 2, 3>(q, a);
    case 80:
        return launch<T, 80, 64, 2, 3>(q, a);
    case 128:
        return launch<T, 128, 128, 2, 2>(q, a);
    case 512:
        return launch<T, 512, 80, 2, 1>(q, a);
    default:
        return few ? launch<T, 160, 64, 1, 3>(q, a) : launch<T, 160, 64, 2, 2>(q, a);
    }
}

bool cuda_attention_hopper_fits(const sdb_device *dev, const cuda_attention_args *a) {
    int d = a->dim;
    bool known = d == 40 || d == 64 || d == 80 || d == 128 || d == 160 || d == 512;
    return known && dev->hopper && dev->encode_tiled && a->type != SDB_F32 && a->scale > 0 &&
           !a->causal && a->tk >= 128 && aligned_to(a->q, a->q_ld, 8) &&
           aligned_to(a->y, a->y_ld, 2) && aligned_to(a->k, a->k_ld, 8) &&
           aligned_to(a->v, a->v_ld, 8);
}

sd_status cuda_attention_hopper(sdb_queue *q, const cuda_attention_args *a) {
    return a->type == SDB_F16 ? choose<__half>(q, a) : choose<__nv_bfloat16>(q, a);
}
