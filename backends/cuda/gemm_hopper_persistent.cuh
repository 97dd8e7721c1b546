/*
 * The implicit GEMM of gemm.h for compute capability 9.0 by blocks that stay: one on each
 * multiprocessor, which makes tile after tile. A warpgroup loads, two multiply.
 *
 * Where tiles are many and shallow the multiplying warpgroups take turns: each makes a tile of its
 * own, and while one finishes and writes its sums the other's products are under way. Else they
 * make a tile together, half of its pixels each. In both cases the loads run ahead into the next
 * tile, through a ring of stages that both warpgroups empty in the order of tiles. Where tiles are
 * few, the blocks of a cluster make parts of one tile's sums, as in gemm_hopper.cuh.
 *
 * Of the loading warpgroup, one thread loads x (and tells the stage how much will arrive), one w,
 * and one for each tile in work moves y: it brings the residual to the place where the sums will
 * be finished, and stores that place when they are.
 */
#ifndef SD_CUDA_GEMM_HOPPER_PERSISTENT_CUH
#define SD_CUDA_GEMM_HOPPER_PERSISTENT_CUH

#include "gemm_hopper.h"

#define PERSISTENT_THREADS 384
#define PERSISTENT_SHARED 232448 /* bytes that a block may have */

typedef struct persistent_params {
    hopper_params gemm;
    CUtensorMap y[4]; /* of the phases */
    CUtensorMap residual;
    int total; /* tiles of all phases, or parts of them */
} persistent_params;

/* A tile is BN rows of w by a box. Places in shared memory are in bytes. */
template <int BN, hopper_way WAY, bool GEGLU> struct persistent_layout {
    static constexpr bool split = WAY == HOPPER_SPLIT;
    static constexpr int tiles = WAY == HOPPER_TURNS ? 2 : 1; /* in work */
    static constexpr int threads = 256 / tiles;               /* that multiply for one */
    static constexpr int wm = tiles;                          /* times 64 pixels, of a warpgroup */
    static constexpr int stage = hopper_layout<BN, 1>::stage;
    /* y: slabs of up to 64 columns, [128][slab], swizzled where a row is 32, 64 or 128 bytes */
    static constexpr int columns = GEGLU ? BN / 2 : BN;
    static constexpr int slab = split               ? 16
                                : columns % 64 == 0 ? 64
                                : columns % 32 == 0 ? 32
                                                    : columns;
    static constexpr int slab_bytes = HOPPER_BOX * slab * 2;
    static constexpr int tile_bytes = HOPPER_BOX * columns * 2;
    static constexpr int add_bytes = 2 * BN * 4;
    static constexpr int barriers = 8 * (2 * HOPPER_MAX_STAGES + 3 * tiles);
    static constexpr int most =
        (PERSISTENT_SHARED - tiles * (tile_bytes + add_bytes) - barriers) / stage;
    static constexpr int stages = most < HOPPER_MAX_STAGES ? most : HOPPER_MAX_STAGES;

    static constexpr int y = stages * stage;             /* of each tile in work */
    static constexpr int add = y + tiles * tile_bytes;   /* [2][BN] float32 of each */
    static constexpr int full = add + tiles * add_bytes; /* barriers: the stage is loaded; */
    static constexpr int empty = full + 8 * stages;      /* multiplied; */
    static constexpr int ready = empty + 8 * stages;     /* y's place is free or has the residual */
    static constexpr int finished = ready + 8 * tiles;   /* y is there; */
    static constexpr int turn = finished + 8 * tiles;    /* the warpgroup may multiply */
    static constexpr int size = turn + 8 * tiles;
    static_assert(stages >= 3 && size <= PERSISTENT_SHARED, "too large a tile");
};

/* ------------------------------------------------------------------------------- loading */

/* x's boxes or w's rows of all tiles of this block, by one thread. Weights do not depend on the
 * kernel before this one, so they are on their way while it ends. */
template <int BN, class layout, bool WEIGHTS>
static __device__ __forceinline__ void load_operand(const persistent_params &q, uint32_t shared) {
    const hopper_params &p = q.gemm;
    if (!WEIGHTS)
        cuda_wait_for_previous();
    hopper_turn turn = {0, 1}; /* all stages are empty */
    for (int i = (int)blockIdx.x; i < q.total; i += (int)gridDim.x) {
        const hopper_tile t = tile_of(p, i, 1, BN);
        hopper_loader<BN, 1> loader(p, t);
#pragma unroll 1
        for (int k = 0; k < t.count; k++) {
            const uint32_t stage = shared + turn.slot * layout::stage;
            const uint32_t full = shared + layout::full + 8 * turn.slot;
            barrier_wait(shared + layout::empty + 8 * turn.slot, turn.parity);
            if (WEIGHTS) {
                loader.load_b(p, k, stage, full);
            } else {
                barrier_expect(full, loader.bytes);
                loader.load_a(p, stage, full);
                loader.step(p);
            }
            turn.next(layout::stages);
        }
    }
}

/* The slabs of a tile's y that this block finishes. */
template <int BN, class layout> struct persistent_share {
    int lo, hi;
    __device__ __forceinline__ persistent_share(const hopper_params &p, const hopper_tile &t) {
        const hopper_share<BN> own(p, t.kr);
        lo = layout::split ? own.lo : 0;
        hi = layout::split ? own.hi : layout::columns / layout::slab;
    }
};

/* The residual to y's place and y from there, for every tile of place `place`, by one thread. */
template <int BN, class layout>
static __device__ __forceinline__ void move_outputs(const persistent_params &q, uint32_t shared,
                                                    int place) {
    const hopper_params &p = q.gemm;
    const uint32_t y = shared + layout::y + place * layout::tile_bytes;
    const uint32_t ready = shared + layout::ready + 8 * place;
    const int slab_bytes = p.bw.by * p.bh.by * p.bn * layout::slab * 2;
    int parity = 0;
    cuda_wait_for_previous();
    for (int i = (int)blockIdx.x + place * (int)gridDim.x; i < q.total;
         i += layout::tiles * (int)gridDim.x) {
        const hopper_tile t = tile_of(p, i, 1, BN);
        const persistent_share<BN, layout> own(p, t);
        const int c = t.n0 / (BN / layout::columns), phase = 2 * t.py + t.px;
        const int3 o = box_origin(p, t.first_box);
        if (p.residual) {
            barrier_expect(ready, (uint32_t)((own.hi - own.lo) * slab_bytes));
#pragma unroll 1
            for (int s = own.lo; s < own.hi; s++)
                tma_load(y + s * layout::slab_bytes, &q.residual, ready, c + s * layout::slab, o.x,
                         o.y, o.z);
        } else {
            barrier_arrive(ready);
        }
        if (layout::split) { /* see add_parts */
            cluster_arrive_relaxed();
            cluster_wait();
        }
        barrier_wait(shared + layout::finished + 8 * place, parity);
        parity ^= 1;
#pragma unroll 1
        for (int s = own.lo; s < own.hi && c + s * layout::slab < p.n_out; s++)
            tma_store(&q.y[phase], y + s * layout::slab_bytes, c + s * layout::slab, o.x, o.y, o.z);
        tma_stores_wait();
    }
}

/* ---------------------------------------------------------------------------- multiplying */

/* The numbers that are added to each column of a tile: fetched while the tile before is multiplied.
 */
template <class T, int BN, class layout> struct persistent_terms {
    static constexpr int threads = layout::threads, n = 2 * BN, each = (n + threads - 1) / threads;
    float v[each];

    /* of block's tile i, if there is one */
    __device__ __forceinline__ void fetch(const persistent_params &q, int i) {
        if (i >= q.total)
            return;
        const hopper_tile t = tile_of(q.gemm, i, 1, BN);
#pragma unroll
        for (int k = 0; k < each; k++) {
            const int at = (int)threadIdx.x % threads + k * threads;
            if (at < n)
                v[k] = term_of<T, BN>(q.gemm, t, at);
        }
    }

    __device__ __forceinline__ void store(float *add) const {
#pragma unroll
        for (int k = 0; k < each; k++) {
            const int at = (int)threadIdx.x % threads + k * threads;
            if (at < n)
                add[at] = v[k];
        }
    }
};

/* A tile's products: acc[m] of the 64 pixels whose x begins at `first` of a stage, and the next.
 * Where warpgroups take turns, `other` is the other's barrier: it may go on when this one has seen
 * its last stage arrive. (Were it to wait for a stage before that, it could take the phase before
 * last for its own.) `meanwhile` is done under the first products. */
template <class T, int BN, class layout, class F>
static __device__ __forceinline__ void multiply_tile(int n, float (&acc)[layout::wm][BN / 2],
                                                     uint32_t shared, int first, uint32_t other,
                                                     hopper_turn &turn, F meanwhile) {
    const bool leads = threadIdx.x % 128 == 0;
    int before = 0;
#pragma unroll 1
    for (int i = 0; i < n; i++) {
        barrier_wait(shared + layout::full + 8 * turn.slot, turn.parity);
        const uint32_t stage = shared + turn.slot * layout::stage;
        const uint64_t a = wgmma_descriptor(stage + first);
        const uint64_t b = wgmma_descriptor(stage + hopper_layout<BN, 1>::a);
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < HOPPER_BOX_K / 16; k++)
#pragma unroll
            for (int m = 0; m < layout::wm; m++)
                wgmma<T, BN>::run(acc[m], a + m * (HOPPER_BOX_BYTES >> 5) + 2 * k, b + 2 * k,
                                  i + k > 0);
        wgmma_commit();
        if (i == 0)
            meanwhile();
        if (layout::tiles == 2 && leads && i == n - 1)
            barrier_arrive(other);
        wgmma_wait<1>();
        if (leads && i > 0)
            barrier_arrive(shared + layout::empty + 8 * before);
        before = turn.slot;
        turn.next(layout::stages);
    }
    wgmma_wait<0>();
    if (leads)
        barrier_arrive(shared + layout::empty + 8 * before);
}

/* Where row r of y is, from piece `second` of 16 bytes on; group g is 16 columns. */
template <class layout> struct persistent_place {
    uint32_t row; /* with the swizzled first piece */

    __device__ __forceinline__ persistent_place(uint32_t y, int r, int second) {
        const int swizzle = layout::slab == 64   ? r % 8
                            : layout::slab == 32 ? r / 2 % 4
                            : layout::slab == 16 ? r / 4 % 2
                                                 : 0;
        row = y + r * layout::slab * 2 + (second ^ swizzle) * 16;
    }

    __device__ __forceinline__ uint32_t of(int g) const {
        const int per_slab = layout::slab / 16;
        const uint32_t slab = row + g / per_slab * layout::slab_bytes;
        return layout::slab % 32 == 0 ? slab ^ (uint32_t)(g % per_slab * 32)
                                      : slab + g % per_slab * 32;
    }
};

/* For store_matrices and load_matrices of a warp's rows of a half. */
template <class layout>
static __device__ __forceinline__ persistent_place<layout> place_of(uint32_t y, int half) {
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32 % 4;
    return persistent_place<layout>(y, half * 64 + warp * 16 + lane % 16, lane / 16);
}

/* Sums to y, for all pixels of the warpgroup at once and with what the next group needs on its way:
 * there is one warp on each part of the multiprocessor to hide what it waits for. */
template <class T, int BN, class layout, hopper_end END, bool RESIDUAL>
static __device__ __forceinline__ void finish_tile(const hopper_params &p,
                                                   float (&acc)[layout::wm][BN / 2], uint32_t y,
                                                   const float *add, int half) {
    const persistent_place<layout> first = place_of<layout>(y, half),
                                   second = place_of<layout>(y, half + layout::wm - 1);
    hopper_terms next[layout::wm];
    add += half * BN + (int)threadIdx.x % 4 * 2;
#pragma unroll
    for (int m = 0; m < layout::wm; m++)
        next[m] = load_terms(add + m * BN, RESIDUAL, (m ? second : first).of(0));
#pragma unroll
    for (int g = 0; g < BN / 16; g++) {
        hopper_terms u[layout::wm];
#pragma unroll
        for (int m = 0; m < layout::wm; m++) {
            u[m] = next[m];
            if (g + 1 < BN / 16)
                next[m] = load_terms(add + m * BN + 16 * (g + 1), RESIDUAL,
                                     (m ? second : first).of(g + 1));
        }
#pragma unroll
        for (int m = 0; m < layout::wm; m++)
            finish_group<T, END>(p, *(float(*)[8]) & acc[m][8 * g], u[m], RESIDUAL);
#pragma unroll
        for (int m = 0; m < layout::wm; m++)
            store_group<T>((m ? second : first).of(g), *(const float(*)[8]) & acc[m][8 * g]);
    }
}

/* With GEGLU, where two groups of acc make one of y. */
template <class T, int BN, class layout>
static __device__ __forceinline__ void finish_gated_tile(const hopper_params &p,
                                                         float (&acc)[layout::wm][BN / 2],
                                                         uint32_t y, const float *add, int half) {
    const persistent_place<layout> first = place_of<layout>(y, half),
                                   second = place_of<layout>(y, half + layout::wm - 1);
    add += half * BN + (int)threadIdx.x % 4 * 2;
#pragma unroll
    for (int g = 0; g < BN / 32; g++) {
        hopper_terms u[2 * layout::wm];
        float v[layout::wm][8];
#pragma unroll
        for (int i = 0; i < 2 * layout::wm; i++)
            u[i] = load_terms(add + i / 2 * BN + 32 * g + i % 2 * 16, false, 0);
#pragma unroll
        for (int i = 0; i < 2 * layout::wm; i++) {
            float(&w)[8] = *(float(*)[8]) & acc[i / 2][16 * g + i % 2 * 8];
            finish_gates(p, w, u[i]);
#pragma unroll
            for (int k = 0; k < 4; k++)
                v[i / 2][i % 2 * 4 + k] = w[k];
        }
#pragma unroll
        for (int m = 0; m < layout::wm; m++)
            store_group<T>((m ? second : first).of(g), v[m]);
    }
}

/* Finishes this block's share of a tile, with the other blocks' parts of the sums. */
template <class T, int BN, class layout>
static __device__ __forceinline__ void finish_share(const hopper_params &p, const hopper_tile &t,
                                                    float (&acc)[BN / 2], uint8_t *memory,
                                                    const float *add, int half) {
    const persistent_place<layout> place =
        place_of<layout>(shared_address(memory) + layout::y, half);
    const hopper_share<BN> own(p, t.kr);
    add += half * BN + (int)threadIdx.x % 4 * 2;
    add_parts<BN>(p, t, acc, memory); /* where the stages were */
#pragma unroll
    for (int g = 0; g < BN / 16; g++)
        if (own.has(g)) {
            float(&v)[8] = *(float(*)[8]) & acc[8 * g];
            const hopper_terms u = load_terms(add + 16 * g, p.residual, place.of(g));
            finish_group<T, HOPPER_PLAIN>(p, v, u, p.residual);
            store_group<T>(place.of(g), v);
        }
}

/* The statistics of the warpgroup's halves of a tile, from y where it was finished. */
template <class T, int BN, class layout>
static __device__ __forceinline__ void make_stats(const hopper_params &p, const hopper_tile &t,
                                                  uint32_t y, int half) {
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32 % 4;
    const hopper_share<BN> own(p, t.kr);
    const int lo = layout::split ? own.lo : 0, hi = layout::split ? own.hi : BN / 16;
    warpgroup_sync();
#pragma unroll 1
    for (int h = half; h < half + layout::wm; h++) {
        const int image = h * p.half_image;
        if (image >= p.bn || box_origin(p, t.first_box).z + image >= p.n)
            continue; /* there is no such half */
        const persistent_place<layout> place(y, h * 64 + lane / 16 * 8 + lane % 8, lane / 8 % 2);
        float2 *to = stats_of_half(p, 2 * t.first_box + h, 2 * t.py + t.px);
#pragma unroll 1
        for (int g = lo + warp; g < hi; g += 4) {
            const int c = t.n0 + 16 * g;
            group_stats<T>(to + c / 2, p.n_out - c, place.of(g), layout::slab * 2);
        }
    }
}

template <class T, int BN, class layout, hopper_end END>
static __device__ __forceinline__ void multiply_tiles(const persistent_params &q, uint8_t *memory) {
    const hopper_params &p = q.gemm;
    const int group = (int)threadIdx.x / 128, place = layout::tiles == 2 ? group : 0;
    const int half = layout::tiles == 2 ? 0 : group, step = layout::tiles * (int)gridDim.x;
    const uint32_t shared = shared_address(memory);
    const uint32_t y = shared + layout::y + place * layout::tile_bytes;
    const uint32_t turns = shared + layout::turn;
    float *add = (float *)(memory + layout::add) + place * 2 * BN;
    hopper_turn turn = {0, 0};
    persistent_terms<T, BN, layout> terms;
    int i = (int)blockIdx.x + place * (int)gridDim.x, parity = 0;
    if (place == 1)
        turn.skip(p.iterations, layout::stages);
    if (p.emb)
        cuda_wait_for_previous();
    terms.fetch(q, i);
    cuda_wait_for_previous();
    for (; i < q.total; i += step) {
        const hopper_tile t = tile_of(p, i, 1, BN);
        float acc[layout::wm][BN / 2];
        if (layout::tiles == 2) /* the first tile is warpgroup 0's, which waits for nothing */
            barrier_wait(turns + 8 * place, parity ^ place ^ 1);
        multiply_tile<T, BN, layout>(layout::split ? t.count : p.iterations, acc, shared,
                                     half * HOPPER_BOX_BYTES / 2, turns + 8 * (place ^ 1), turn,
                                     [&]() {
                                         /* all are done with the tile before */
                                         sync_threads(3 + place, layout::threads);
                                         terms.store(add);
                                         terms.fetch(q, i + step);
                                     });
        sync_threads(3 + place, layout::threads);
        barrier_wait(shared + layout::ready + 8 * place, parity);
        parity ^= 1;
        if constexpr (layout::split)
            finish_share<T, BN, layout>(p, t, acc[0], memory, add, half);
        else if constexpr (END == HOPPER_GEGLU)
            finish_gated_tile<T, BN, layout>(p, acc, y, add, half);
        else if (p.residual)
            finish_tile<T, BN, layout, END, true>(p, acc, y, add, half);
        else
            finish_tile<T, BN, layout, END, false>(p, acc, y, add, half);
        if (END != HOPPER_GEGLU && p.stats)
            make_stats<T, BN, layout>(p, t, y, half);
        tma_fence();
        barrier_arrive(shared + layout::finished + 8 * place);
        if (layout::tiles == 2)
            turn.skip(p.iterations, layout::stages);
    }
}

/* ------------------------------------------------------------------------------ the kernel */

template <class layout>
static __device__ __forceinline__ void init_persistent(const persistent_params &q,
                                                       uint32_t shared) {
    tma_prefetch(&q.gemm.a);
    tma_prefetch(&q.gemm.b);
    tma_prefetch(&q.y[0]);
    for (int i = 0; i < layout::stages; i++) {
        barrier_init(shared + layout::full + 8 * i, 1);
        barrier_init(shared + layout::empty + 8 * i, 3 - layout::tiles);
    }
    for (int i = 0; i < layout::tiles; i++) {
        barrier_init(shared + layout::ready + 8 * i, 1);
        barrier_init(shared + layout::finished + 8 * i, layout::threads);
        barrier_init(shared + layout::turn + 8 * i, 1);
    }
    barrier_init_fence();
}

/* Until no block of the cluster reads this one's shared memory. */
template <class layout> static __device__ __forceinline__ void leave() {
    if (layout::split) {
        cluster_arrive_relaxed();
        cluster_wait();
    }
}

template <class T, int BN, hopper_way WAY, hopper_end END>
__global__
__launch_bounds__(PERSISTENT_THREADS,
                  1) void hopper_persistent(const __grid_constant__ persistent_params q) {
    using layout = persistent_layout<BN, WAY, END == HOPPER_GEGLU>;
    extern __shared__ __align__(1024) uint8_t memory[];
    const uint32_t shared = shared_address(memory);
    const int warp = (int)threadIdx.x / 32;
    if (threadIdx.x == 256)
        init_persistent<layout>(q, shared);
    __syncthreads();
    cuda_let_next_start();
    if (warp < 8) {
        grow_registers<232>();
        multiply_tiles<T, BN, layout, END>(q, memory);
        leave<layout>();
        return;
    }
    shrink_registers<40>();
    if (threadIdx.x % 32 > 0)
        return;
    if (warp == 8) {
        load_operand<BN, layout, false>(q, shared);
    } else if (warp == 9) {
        load_operand<BN, layout, true>(q, shared);
    } else if (warp - 10 < layout::tiles) {
        move_outputs<BN, layout>(q, shared, warp - 10);
        leave<layout>();
    }
}

#endif
