/*
 * Flash attention for compute capability 9.0, long sequences: wgmma and the copy engine.
 *
 * A block has GROUPS warpgroups with 64 queries of one head each, and another that hands them its
 * registers and asks the copy engine for tiles of KEYS keys and values, STAGES ahead, and for the
 * queries of the block's next item: there are as many blocks as multiprocessors, so that one item's
 * end is hidden by the next one's start. A tensor map over [image, token, head, dimension] brings
 * rows of up to 64 dimensions and fills with zeros what is beyond the head's size or the last
 * token, so head sizes need no padding in device memory and nothing of a neighbour is read.
 *
 * The second product's left operand (weights) stays in registers. With small heads exponentials are
 * the bottleneck: 16 a cycle for a multiprocessor, and two thirds of that while wgmma takes its
 * accumulators from the registers and puts them back. So there are as many warpgroups as registers
 * allow, and as few other instructions as possible. (A polynomial on the multiply-add units for
 * many of them, as FlashAttention-4 has it, was slower.) The maximum is moved only when it has
 * grown by more than 2^8 (also theirs): the result is the same, as sums and weights share whatever
 * maximum is in use.
 *
 * The autoencoder's one head of 512 has its columns shared out to two warpgroups, which both
 * compute all scores: exchanging them would take longer.
 */
#include "attention.cuh"
#include "attention.h"
#include "attention_wgmma.cuh"

#include <math_constants.h>
#include <type_traits>

#define LOG2_E 1.44269504088896340736f

typedef struct attention_maps {
    CUtensorMap q, k, v;
    cuda_attention_args a;
    attention_splits splits;
    float scale_log2;    /* scores to powers of two */
    int across, n_items; /* items for the queries of a head; of all heads and images */
} attention_maps;

/* Columns of a tile's box. */
static __host__ __device__ constexpr int box_of(int dim) {
    return dim < 64 ? dim : 64;
}

/* Is there room for 8 columns beside a tile's own? They are ones in v, and its products with the
 * weights then make the weights' sums, too. */
static __host__ __device__ constexpr bool has_ones(int dim) {
    return dim < 64;
}

template <int DIM, int KEYS, int STAGES, int GROUPS> struct attention_layout {
    static constexpr int CHUNKS = (DIM + 63) / 64; /* of 64 dimensions, one box each */
    static constexpr int TILE = CHUNKS * KEYS * 128;
    static constexpr int Q_TILE = CHUNKS * 64 * 128;
    static constexpr int Q_TILES = DIM > 256 ? 1 : GROUPS; /* wide heads: columns are shared out */
    static constexpr int Q_BUFFERS = DIM > 256 ? 1 : 2;
    static constexpr bool MANY = GROUPS > 2;    /* they hide each other's waits: k and v together */
    static constexpr int Q = 2 * STAGES * TILE; /* after k tiles and v tiles: q's, barriers */
    static constexpr int BARRIERS = Q + Q_BUFFERS * Q_TILES * Q_TILE;
    static constexpr int Q_FULL = BARRIERS + 4 * STAGES * 8;
    static constexpr int Q_EMPTY = Q_FULL + Q_BUFFERS * 8;
    static constexpr int BYTES = CHUNKS * KEYS * box_of(DIM) * 2; /* that come for a tile */
    static constexpr int Q_BYTES = Q_TILES * CHUNKS * 64 * box_of(DIM) * 2;
    static constexpr int SIZE = Q_EMPTY + Q_BUFFERS * 8 + 1024;
};

/* Barriers of stage i, in shared memory: tiles that came, tiles that are used up. Where k and v
 * come and go together, k's count for both. */
typedef struct tile_barriers {
    uint32_t k_full, v_full, k_empty, v_empty;
} tile_barriers;

template <int STAGES>
static __device__ __forceinline__ tile_barriers barriers_of(uint32_t base, int stage) {
    uint32_t at = base + stage * 8;
    return {at, at + STAGES * 8, at + 2 * STAGES * 8, at + 3 * STAGES * 8};
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

/* The work of a block at a time: some queries of a head, from `row` on, with the tiles of `n_keys`
 * keys from tile `first` on. */
typedef struct attention_item {
    int row, head, image, split, first, n_keys;
} attention_item;

template <int ROWS, int KEYS>
static __device__ __forceinline__ attention_item item_at(const attention_maps &g, int i) {
    attention_item item;
    int x = i % g.across;
    item.head = i / g.across % g.a.heads;
    item.image = i / g.across / g.a.heads;
    item.split = x % g.splits.n;
    item.row = x / g.splits.n * ROWS;
    item.first = item.split * g.splits.tiles_each;
    bool last = item.split + 1 == g.splits.n;
    item.n_keys = last ? g.a.tk - item.first * KEYS : g.splits.tiles_each * KEYS;
    return item;
}

/* One thread: brings an item's tiles, waiting for stages to become empty; q's to the n-th buffer.
 */
template <int DIM, int KEYS, int STAGES, int GROUPS>
static __device__ __forceinline__ void produce(const attention_maps &g, const attention_item &item,
                                               uint32_t base, int n, ring_place<STAGES> *at) {
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    int buffer = n % L::Q_BUFFERS;
    uint32_t q = base + L::Q + buffer * L::Q_TILES * L::Q_TILE,
             full = base + L::Q_FULL + buffer * 8;
    barrier_wait(base + L::Q_EMPTY + buffer * 8, n / L::Q_BUFFERS % 2 ^ 1);
    barrier_expect(full, L::Q_BYTES);
    for (int i = 0; i < L::Q_TILES * L::CHUNKS; i++)
        tma_load(q + i * 64 * 128, &g.q, full, i % L::CHUNKS * 64, item.head,
                 item.row + i / L::CHUNKS * 64, item.image);
    int first = item.first * KEYS;
    for (int key = first; key < first + item.n_keys; key += KEYS, at->next()) {
        tile_barriers b = at->here();
        uint32_t k = base + at->stage * L::TILE, v = k + STAGES * L::TILE;
        barrier_wait(b.k_empty, at->parity ^ 1);
        barrier_expect(b.k_full, L::MANY ? 2 * L::BYTES : L::BYTES);
        for (int c = 0; c < L::CHUNKS; c++)
            tma_load(k + c * KEYS * 128, &g.k, b.k_full, 64 * c, item.head, key, item.image);
        if (!L::MANY) {
            barrier_wait(b.v_empty, at->parity ^ 1);
            barrier_expect(b.v_full, L::BYTES);
        }
        for (int c = 0; c < L::CHUNKS; c++)
            tma_load(v + c * KEYS * 128, &g.v, L::MANY ? b.k_full : b.v_full, 64 * c, item.head,
                     key, item.image);
    }
}

/* The numbers that a thread of a warpgroup holds: parts of rows lane / 4 and 8 more of its
 * warp's 16. */
template <typename T, int DIM, int KEYS> struct attention_state {
    static constexpr int STEPS = (DIM + 15) / 16;
    static constexpr int COLUMNS = DIM > 256 ? 256 : DIM; /* of the result, in one warpgroup */
    static constexpr bool ONES = has_ones(DIM);
    static constexpr int SUMS = ONES ? COLUMNS + 8 : COLUMNS;
    uint32_t q;    /* this warpgroup's tile in shared memory */
    uint32_t part; /* bytes from a tile of v to this warpgroup's columns */
    uint32_t p[KEYS / 16][4];
    float o[SUMS / 2];
    float max[2]; /* of scores, as powers of two */
    float sum[4]; /* this thread's weights, of columns mod 4; not with ONES */
};

template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void start(attention_state<T, DIM, KEYS> *st) {
#pragma unroll
    for (int i = 0; i < attention_state<T, DIM, KEYS>::SUMS / 2; i++)
        st->o[i] = 0;
    st->max[0] = st->max[1] = 0;
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
        wgmma_sums<T, attention_state<T, DIM, KEYS>::SUMS>::run(st->o, st->p[k],
                                                                tile + k * 16 * 128 / 16);
    wgmma_commit();
}

/* Moves the maxima of the warp's rows up to the largest of s, which is relative to them and stays
 * so. No product may be adding to o. `least` is where the search begins: 0, or none. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void raise_max(attention_state<T, DIM, KEYS> *st,
                                                 float (&s)[KEYS / 2], float least) {
    float top[2] = {least, least}, keep[2];
#pragma unroll
    for (int i = 0; i < KEYS / 2; i++)
        top[i / 2 % 2] = fmaxf(top[i / 2 % 2], s[i]);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        top[half] = fmaxf(top[half], __shfl_xor_sync(~0u, top[half], 1));
        top[half] = fmaxf(top[half], __shfl_xor_sync(~0u, top[half], 2));
        keep[half] = exp2_approx(-top[half]);
        st->max[half] += top[half];
        st->sum[2 * half] *= keep[half];
        st->sum[2 * half + 1] *= keep[half];
    }
#pragma unroll
    for (int i = 0; i < KEYS / 2; i++)
        s[i] -= top[i / 2 % 2];
#pragma unroll
    for (int i = 0; i < attention_state<T, DIM, KEYS>::SUMS / 2; i++)
        st->o[i] *= keep[i / 2 % 2];
}

/* Scores as powers of two, relative to the maximum. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void scale_scores(const attention_state<T, DIM, KEYS> &st,
                                                    float (&s)[KEYS / 2], float scale_log2) {
#pragma unroll
    for (int i = 0; i < KEYS / 2; i++)
        s[i] = fmaf(s[i], scale_log2, -st.max[i / 2 % 2]);
}

/* The weights of scaled scores, and their sums where the ones do not make them. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void exponentials(attention_state<T, DIM, KEYS> *st,
                                                    const float (&s)[KEYS / 2], float (&sum)[4]) {
    sum[0] = sum[1] = sum[2] = sum[3] = 0;
#pragma unroll
    for (int i = 0; i < KEYS / 2; i += 2) {
        float low = exp2_approx(s[i]), high = exp2_approx(s[i + 1]);
        st->p[i / 8][i / 2 % 4] = pack<T>(low, high);
        sum[i % 4] += low;
        sum[i % 4 + 1] += high;
    }
}

template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void add_sums(attention_state<T, DIM, KEYS> *st,
                                                const float (&sum)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++)
        st->sum[i] += sum[i];
}

/* Is one of the warp's weights above 2^8? They are not negative, so they order as integers do. */
template <typename T, int N> static __device__ __forceinline__ bool too_large(uint32_t (&p)[N][4]) {
    constexpr uint32_t LIMIT = std::is_same<T, __half>::value ? 0x5C00 : 0x4380;
    uint32_t top = __vimax3_u16x2(p[0][0], p[0][1], p[0][2]);
#pragma unroll
    for (int i = 3; i + 1 < 4 * N; i += 2)
        top = __vimax3_u16x2(top, p[i / 4][i % 4], p[(i + 1) / 4][(i + 1) % 4]);
    top = __vmaxu2(top, p[N - 1][3]);
    return __any_sync(~0u, top > (LIMIT << 16 | 0xFFFF) || top << 16 > LIMIT << 16);
}

/* Whether a scaled score is above 8: all that are negative are less, as integers, too. */
template <int N> static __device__ __forceinline__ bool too_large(const float (&s)[N]) {
    int top[2] = {__float_as_int(s[0]), __float_as_int(s[1])};
#pragma unroll
    for (int i = 2; i < N; i += 2)
        top[i / 2 % 2] =
            __vimax3_s32(top[i / 2 % 2], __float_as_int(s[i]), __float_as_int(s[i + 1]));
    return __any_sync(~0u, max(top[0], top[1]) > __float_as_int(8.0f));
}

/* Hides keys beyond the last. */
template <int N> static __device__ __forceinline__ void mask(float (&s)[N], int n_keys) {
#pragma unroll
    for (int i = 0; i < N; i++)
        if (i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2 >= n_keys)
            s[i] = -CUDART_INF_F;
}

/* A row's sum of weights. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ float sum_of(const attention_state<T, DIM, KEYS> &st, int half) {
    using S = attention_state<T, DIM, KEYS>;
    if (S::ONES)
        return st.o[S::SUMS / 2 - 4 + 2 * half];
    float sum = st.sum[2 * half] + st.sum[2 * half + 1];
    sum += __shfl_xor_sync(~0u, sum, 1);
    return sum + __shfl_xor_sync(~0u, sum, 2);
}

/* Rows of the result from first_column on, or the split's share of them for the join. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void store(attention_state<T, DIM, KEYS> *st,
                                             const attention_maps &g, const attention_item &item,
                                             int row, int first_column) {
    constexpr int N = attention_state<T, DIM, KEYS>::COLUMNS / 8;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = sum_of(*st, half);
        int query = row + 8 * half, column = first_column + threadIdx.x % 4 * 2;
        if (query >= g.a.tq)
            continue;
        if (g.splits.n > 1) {
            int64_t at =
                (((int64_t)item.split * g.a.n + item.image) * g.a.heads + item.head) * g.a.tq +
                query;
            if (column == 0)
                g.splits.max_sum[at] = make_float2(st->max[half] / g.scale_log2, sum);
#pragma unroll
            for (int i = 0; i < N; i++)
                *(float2 *)(g.splits.o + at * DIM + column + 8 * i) =
                    make_float2(st->o[4 * i + 2 * half], st->o[4 * i + 2 * half + 1]);
        } else {
            float inverse = 1.0f / sum;
            T *y = (T *)g.a.y + ((int64_t)item.image * g.a.tq + query) * g.a.y_ld +
                   item.head * DIM + column;
#pragma unroll
            for (int i = 0; i < N; i++)
                *(uint32_t *)(y + 8 * i) = pack<T>(st->o[4 * i + 2 * half] * inverse,
                                                   st->o[4 * i + 2 * half + 1] * inverse);
        }
    }
}

static __device__ __forceinline__ void release(uint32_t barrier) {
    if (threadIdx.x % 32 == 0)
        barrier_arrive(barrier);
}

/* Scores of a tile to weights, when the products of the tile before have ended. Mostly the maximum
 * stays as it is: whether it must move is seen in the scores while those products are under way. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void softmax(attention_state<T, DIM, KEYS> *st,
                                               float (&s)[KEYS / 2], float scale_log2) {
    float sum[4];
    scale_scores(*st, s, scale_log2);
    bool grown = too_large(s);
    wgmma_wait<0>();
    if (grown)
        raise_max(st, s, 0.0f);
    exponentials(st, s, sum);
    add_sums(st, sum);
}

/* The softmax with fewer instructions, and nothing beside the products: the weights tell whether
 * the maximum must move, and are then computed anew. */
template <typename T, int DIM, int KEYS>
static __device__ __forceinline__ void softmax_of_many(attention_state<T, DIM, KEYS> *st,
                                                       float (&s)[KEYS / 2], float scale_log2) {
    float sum[4];
    scale_scores(*st, s, scale_log2);
    exponentials(st, s, sum);
    if (too_large<T>(st->p)) {
        raise_max(st, s, 0.0f);
        exponentials(st, s, sum);
    }
    add_sums(st, sum);
}

/* All tiles of an item; the products of one with v are under way together with the next one's
 * scores. */
template <int STAGES, int GROUPS, typename T, int DIM, int KEYS>
static __device__ __forceinline__ void consume(attention_state<T, DIM, KEYS> *st, float scale_log2,
                                               uint32_t base, int n_keys, ring_place<STAGES> *at) {
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    int n_tiles = (n_keys + KEYS - 1) / KEYS;
    float s[KEYS / 2];
    tile_barriers here = at->here();
    barrier_wait(here.k_full, at->parity);
    begin_scores(st, s, base + at->stage * L::TILE);
    wgmma_wait<0>();
    if (!L::MANY)
        release(here.k_empty);
    if (KEYS > n_keys)
        mask(s, n_keys);
    scale_scores(*st, s, scale_log2);
    raise_max(st, s, -CUDART_INF_F);
    exponentials(st, s, st->sum);
    for (int tile = 1; tile < n_tiles; tile++) {
        tile_barriers before = here;
        uint32_t v = base + (STAGES + at->stage) * L::TILE;
        int parity = at->parity;
        at->next();
        here = at->here();
        barrier_wait(here.k_full, at->parity);
        begin_scores(st, s, base + at->stage * L::TILE);
        if (!L::MANY)
            barrier_wait(before.v_full, parity);
        begin_sums(st, v);
        if (L::MANY) {
            wgmma_wait<0>();
            release(before.k_empty);
        } else {
            wgmma_wait<1>();
            release(here.k_empty);
        }
        if ((tile + 1) * KEYS > n_keys)
            mask(s, n_keys - tile * KEYS);
        if (L::MANY) {
            softmax_of_many(st, s, scale_log2);
        } else {
            softmax(st, s, scale_log2);
            release(before.v_empty);
        }
    }
    if (!L::MANY)
        barrier_wait(here.v_full, at->parity);
    begin_sums(st, base + (STAGES + at->stage) * L::TILE);
    wgmma_wait<0>();
    release(L::MANY ? here.k_empty : here.v_empty);
    at->next();
}

/* The 8 columns beside those that TMA brings: zeros in q's and k's tiles, ones in v's. Boxes leave
 * them alone, so once is enough. */
template <typename T, int DIM, int KEYS, int STAGES, int GROUPS>
static __device__ __forceinline__ void fill_beside(unsigned char *tiles) {
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    for (int row = threadIdx.x; row < L::BARRIERS / 128; row += blockDim.x) {
        bool v = row >= STAGES * KEYS && row < 2 * STAGES * KEYS;
        uint32_t two = v ? pack<T>(1.0f, 1.0f) : 0;
        *(uint4 *)(tiles + row * 128 + (DIM / 8 ^ row % 8) * 16) = make_uint4(two, two, two, two);
    }
    shared_fence();
}

/* For each thread of a warpgroup that computes: what the block starts with, less 24 for each thread
 * of the one that loads. */
static __host__ __device__ constexpr int registers_of(int groups) {
    int start = 65536 / ((groups + 1) * 128) / 8 * 8;
    start = start > 248 ? 248 : start;
    int each = (start * (groups + 1) - 24) / groups / 8 * 8;
    return each > 248 ? 248 : each;
}

template <int DIM, int KEYS, int STAGES, int GROUPS>
static __device__ __forceinline__ void init_barriers(uint32_t base) {
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    for (int i = 0; i < STAGES; i++) {
        tile_barriers b = barriers_of<STAGES>(base + L::BARRIERS, i);
        barrier_init(b.k_full, 1);
        barrier_init(b.v_full, 1);
        barrier_init(b.k_empty, GROUPS * 4);
        barrier_init(b.v_empty, GROUPS * 4);
    }
    for (int i = 0; i < L::Q_BUFFERS; i++) {
        barrier_init(base + L::Q_FULL + i * 8, 1);
        barrier_init(base + L::Q_EMPTY + i * 8, GROUPS * 4);
    }
    barrier_init_fence();
}

/* A warpgroup's part of its block's items. */
template <typename T, int DIM, int KEYS, int STAGES, int GROUPS>
static __device__ __forceinline__ void compute(const attention_maps &g, uint32_t base, int warp) {
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    int tile = DIM > 256 ? 0 : warp / 4, part = DIM > 256 ? warp / 4 : 0;
    int row = tile * 64 + warp % 4 * 16 + threadIdx.x % 32 / 4;
    ring_place<STAGES> at = {base + L::BARRIERS, 0, 0};
    attention_state<T, DIM, KEYS> st;
    st.part = part * 4 * KEYS * 128;
    for (int i = blockIdx.x, n = 0; i < g.n_items; i += gridDim.x, n++) {
        attention_item item = item_at<L::Q_TILES * 64, KEYS>(g, i);
        int buffer = n % L::Q_BUFFERS;
        start(&st);
        st.q = base + L::Q + (buffer * L::Q_TILES + tile) * L::Q_TILE;
        barrier_wait(base + L::Q_FULL + buffer * 8, n / L::Q_BUFFERS % 2);
        consume<STAGES, GROUPS>(&st, g.scale_log2, base, item.n_keys, &at);
        release(base + L::Q_EMPTY + buffer * 8);
        store(&st, g, item, item.row + row, part * 256);
    }
}

template <typename T, int DIM, int KEYS, int GROUPS, int STAGES>
static __global__ void __launch_bounds__(GROUPS * 128 + 128, 1)
    attention_hopper_kernel(const __grid_constant__ attention_maps g) {
    extern __shared__ unsigned char shared[];
    using L = attention_layout<DIM, KEYS, STAGES, GROUPS>;
    constexpr int REGISTERS = registers_of(GROUPS);
    uint32_t base = (shared_address(shared) + 1023) & ~1023u;
    int warp = __shfl_sync(~0u, threadIdx.x / 32, 0); /* known to be one for all lanes */
    if (threadIdx.x == 0)
        init_barriers<DIM, KEYS, STAGES, GROUPS>(base);
    if (has_ones(DIM))
        fill_beside<T, DIM, KEYS, STAGES, GROUPS>(shared + (base - shared_address(shared)));
    __syncthreads();
    cuda_let_next_start();
    cuda_wait_for_previous();
    if (warp / 4 == GROUPS) {
        set_registers<false, 24>();
        ring_place<STAGES> at = {base + L::BARRIERS, 0, 0};
        if (threadIdx.x == GROUPS * 128)
            for (int i = blockIdx.x, n = 0; i < g.n_items; i += gridDim.x, n++)
                produce<DIM, KEYS, STAGES, GROUPS>(g, item_at<L::Q_TILES * 64, KEYS>(g, i), base, n,
                                                   &at);
    } else {
        set_registers<true, REGISTERS>();
        compute<T, DIM, KEYS, STAGES, GROUPS>(g, base, warp);
    }
}

/* [image, token, head, dimension], boxes of at most 64 dimensions of `box_tokens` tokens */
static sd_status make_map(sdb_queue *q, const cuda_attention_args *a, const void *data, int64_t ld,
                          int tokens, int box_tokens, CUtensorMap *map) {
    const cuuint64_t sizes[4] = {(cuuint64_t)a->dim, (cuuint64_t)a->heads, (cuuint64_t)tokens,
                                 (cuuint64_t)a->n};
    const cuuint64_t strides[3] = {(cuuint64_t)a->dim * 2, (cuuint64_t)ld * 2,
                                   (cuuint64_t)ld * 2 * (cuuint64_t)tokens};
    const cuuint32_t box[4] = {(cuuint32_t)box_of(a->dim), 1, (cuuint32_t)box_tokens, 1},
                     steps[4] = {1, 1, 1, 1};
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
    g.scale_log2 = a->scale * LOG2_E;
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
    g.across = (a->tq + ROWS - 1) / ROWS * g.splits.n;
    g.n_items = g.across * a->heads * a->n;
    int blocks = g.n_items < q->dev->n_sms ? g.n_items : q->dev->n_sms;
    status = launch_kernel(q, attention_hopper_kernel<T, DIM, KEYS, GROUPS, STAGES>,
                           dim3((unsigned)blocks), GROUPS * 128 + 128, L::SIZE, g);
    return status == SD_OK ? cuda_attention_join(q, a, &g.splits) : status;
}

/* Measured on an H200; blocks of fewer queries where larger ones are fewer than multiprocessors. */
template <typename T> static sd_status choose(sdb_queue *q, const cuda_attention_args *a) {
    int64_t heads = (int64_t)a->heads * a->n;
    bool few = (a->tq + 127) / 128 * heads < q->dev->n_sms / 2;
    bool many = (a->tq + 255) / 256 * heads >= q->dev->n_sms;
    switch (a->dim) {
    case 40:
        return few ? launch<T, 40, 128, 2, 3>(q, a) : launch<T, 40, 64, 4, 4>(q, a);
    case 64:
        return launch<T, 64, 64, 3, 3>(q, a);
    case 80:
        return many ? launch<T, 80, 48, 4, 3>(q, a) : launch<T, 80, 64, 2, 3>(q, a);
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
