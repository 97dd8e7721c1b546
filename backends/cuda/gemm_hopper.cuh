/*
 * The implicit GEMM of gemm.h for compute capability 9.0.
 *
 * A block makes MT boxes of up to 128 pixels (bw wide, bh high, bn images) by BN rows of w. Boxes
 * are numbered along x, y, then images, and a block takes MT successive ones. TMA puts a box of 64
 * channels at the tap's offset into shared memory as [128][64], with zeros outside the image. The
 * block is two warpgroups, which multiply 64 pixels of each box. Thread 0 starts the loads of x and
 * thread 128 those of w, in stages, right after their warpgroup's products, which keep the matrix
 * units busy meanwhile. (A warp of its own for loading would cost registers that let a second
 * block, or the next kernel's, share the multiprocessor.)
 *
 * The ck blocks of a cluster each make a part of the sum for one tile. Parts are added through
 * distributed shared memory: each block finishes its own share of the columns, so the order of the
 * sums is fixed. (Loading w's tile once for two neighbours, by multicast, won nothing: what bounds
 * the kernel is how much arrives in each shared memory.)
 */
#ifndef SD_CUDA_GEMM_HOPPER_CUH
#define SD_CUDA_GEMM_HOPPER_CUH

#include "gemm.h"
#include "hopper.cuh"
#include "hopper_wgmma.cuh"
#include "launch.cuh"

#define HOPPER_THREADS 256
#define HOPPER_MAX_STAGES 8
#define HOPPER_BOX 128  /* pixels of a box, at most */
#define HOPPER_BOX_K 64 /* channels of a box */
#define HOPPER_BOX_BYTES (HOPPER_BOX * HOPPER_BOX_K * 2)

/* The way of the sums: bias, embedding, scale and residual; an activation, too; or GEGLU. */
enum hopper_end { HOPPER_PLAIN, HOPPER_ACT, HOPPER_GEGLU };

/* Division of 0 .. 2^31 - 1 by a number known at launch: the high half of a product. */
typedef struct hopper_divisor {
    int by;
    uint32_t factor, shift;
} hopper_divisor;

static __device__ __forceinline__ int divide(int n, const hopper_divisor &d) {
    return d.by == 1 ? n : (int)(__umulhi((uint32_t)n, d.factor) >> d.shift);
}

typedef struct hopper_params {
    CUtensorMap a, b;
    hopper_divisor bw, bh; /* a box */
    int bn;
    int half_image;                  /* 1: the box's second 64 pixels are of the next image */
    hopper_divisor boxes_x, boxes_y; /* boxes in a row, rows of boxes in an image */
    int n, oh, ow;
    int stride, kw, pad_x, pad_y;
    bool phased;
    hopper_divisor k_blocks; /* blocks of 64 channels of a tap */
    hopper_divisor ck;       /* blocks of a cluster, each with a part of the sum */
    int stages;
    int iterations, iterations_left; /* of each part of the sum; the first so many do one more */
    int share, share_left;           /* groups of 16 columns that a part finishes, likewise */
    int staging;                     /* where, in bytes; */
    bool early;                      /* whether that is no stage's place */
    hopper_divisor tiles;            /* of a phase */
    hopper_divisor group_tiles;      /* of a group, see tile_of; */
    hopper_divisor group, last;      /* its tiles along the pixels; those of the last group */
    int last_group;
    int n_rows, n_out;
    void *y;
    int64_t y_ld;
    int y_h, y_w, y_step;
    const float *bias;
    const void *emb;
    int64_t emb_ld;
    const void *residual;
    int64_t residual_ld;
    sdb_act act;
    float scale;
    float2 *stats;         /* [parts][n_out / 2]: mean and squared differences; NULL: not wanted */
    hopper_divisor halves; /* halves of boxes in an image */
} hopper_params;

/* The layout of a block's shared memory, in bytes. */
template <int BN, int MT> struct hopper_layout {
    static constexpr int a = MT * HOPPER_BOX_BYTES;
    static constexpr int stage = a + BN * HOPPER_BOX_K * 2;
    /* after the stages: */
    static constexpr int full = 0;
    static constexpr int empty = full + 8 * HOPPER_MAX_STAGES;
    static constexpr int add = empty + 8 * HOPPER_MAX_STAGES; /* [2 MT][BN] float32 */
    static constexpr int pixel = add + 2 * MT * BN * 4;       /* [128 MT] int: y's pixel or -1 */
    static constexpr int rest = pixel + 128 * MT * 4;
};

/* The tile that a block makes, or a part of it. */
struct hopper_tile {
    int kr;            /* its place in the cluster */
    int first_box, n0; /* n0: its first row of w within the phase */
    int px, py;        /* the phase */
    int begin, count;  /* its iterations */
};

/* Tiles are numbered in groups of p.group along the pixels, so that blocks that run together share
 * both operands in the L2 cache: within a group along the pixels first. Where the problem is not
 * large a group is one tile high. */
static __device__ __forceinline__ hopper_tile tile_of(const hopper_params &p, int block, int boxes,
                                                      int bn) {
    hopper_tile t;
    int id = divide(block, p.ck);
    t.kr = block - id * p.ck.by;
    const int phase = p.phased ? divide(id, p.tiles) : 0;
    id -= phase * p.tiles.by;
    const int group = divide(id, p.group_tiles), i = id - group * p.group_tiles.by;
    const hopper_divisor &rows = group < p.last_group ? p.group : p.last;
    const int n = divide(i, rows), m = group * p.group.by + i - n * rows.by;
    t.first_box = m * boxes;
    t.n0 = n * bn;
    t.px = phase & 1;
    t.py = phase >> 1;
    t.begin = t.kr * p.iterations + min(t.kr, p.iterations_left);
    t.count = p.iterations + (t.kr < p.iterations_left ? 1 : 0);
    return t;
}

/* A box's first pixel; beyond the last box, an image that does not exist. */
static __device__ __forceinline__ int3 box_origin(const hopper_params &p, int box) {
    const int row = divide(box, p.boxes_x), image = divide(row, p.boxes_y);
    return make_int3((box - row * p.boxes_x.by) * p.bw.by, (row - image * p.boxes_y.by) * p.bh.by,
                     image * p.bn);
}

/* ------------------------------------------------------------------------------ loading */

/* A ring's next stage. */
struct hopper_turn {
    int slot, parity;
    __device__ __forceinline__ void next(int stages) {
        if (++slot == stages) {
            slot = 0;
            parity ^= 1;
        }
    }
    __device__ __forceinline__ void skip(int n, int stages) {
        parity ^= (slot + n) / stages & 1;
        slot = (slot + n) % stages;
    }
};

/* The tap and the channels of the next iteration to load. All threads keep it, so that it stays in
 * uniform registers; threads 0 and 128 load. */
template <int BN, int MT> struct hopper_loader {
    using layout = hopper_layout<BN, MT>;
    int3 origin[MT]; /* of the boxes, with stride and padding */
    int k, row;      /* of w's tile */
    int c, x, y;     /* the tap's channels and offset */
    uint32_t bytes;

    __device__ __forceinline__ hopper_loader(const hopper_params &p, const hopper_tile &t) {
        const int pad_x = p.phased ? 1 - t.px : p.pad_x, pad_y = p.phased ? 1 - t.py : p.pad_y;
#pragma unroll
        for (int i = 0; i < MT; i++) {
            origin[i] = box_origin(p, t.first_box + i);
            origin[i].x = origin[i].x * p.stride - pad_x;
            origin[i].y = origin[i].y * p.stride - pad_y;
        }
        const int tap = divide(t.begin, p.k_blocks);
        k = t.begin * HOPPER_BOX_K;
        c = (t.begin - tap * p.k_blocks.by) * HOPPER_BOX_K;
        y = p.kw == 1 ? 0 : p.kw == 2 ? tap >> 1 : tap * 11 >> 5; /* tap < 9 */
        x = tap - y * p.kw;
        row = (2 * t.py + t.px) * p.n_rows + t.n0;
        bytes = (uint32_t)(MT * p.bw.by * p.bh.by * p.bn + BN) * HOPPER_BOX_K * 2;
    }

    /* w's tile of the iteration `ahead` of the next */
    __device__ __forceinline__ void load_b(const hopper_params &p, int ahead, uint32_t stage,
                                           uint32_t full) const {
        tma_load(stage + layout::a, &p.b, full, k + ahead * HOPPER_BOX_K, row);
    }

    /* the next iteration's boxes */
    __device__ __forceinline__ void load_a(const hopper_params &p, uint32_t stage,
                                           uint32_t full) const {
#pragma unroll
        for (int i = 0; i < MT; i++)
            tma_load(stage + i * HOPPER_BOX_BYTES, &p.a, full, c, origin[i].x + x, origin[i].y + y,
                     origin[i].z);
    }

    __device__ __forceinline__ void step(const hopper_params &p) {
        k += HOPPER_BOX_K;
        c += HOPPER_BOX_K;
        if (c == p.k_blocks.by * HOPPER_BOX_K) {
            c = 0;
            if (++x == p.kw) {
                x = 0;
                y++;
            }
        }
    }

    /* Fills the stages for the first time. Weights do not depend on the kernel before this one, so
     * they are on their way while it ends. */
    __device__ __forceinline__ void start(const hopper_params &p, const hopper_tile &t,
                                          uint32_t shared, uint32_t full) {
        const int first = min(t.count, p.stages);
        if (threadIdx.x == 128)
            for (int i = 0; i < first; i++)
                load_b(p, i, shared + i * layout::stage, full + 8 * i);
        cuda_wait_for_previous();
        for (int i = 0; i < first; i++) {
            if (threadIdx.x == 0) {
                barrier_expect(full + 8 * i, bytes);
                load_a(p, shared + i * layout::stage, full + 8 * i);
            }
            step(p);
        }
    }

    /* Fills a stage again when both warpgroups are done with it. */
    __device__ __forceinline__ void refill(const hopper_params &p, uint32_t shared, uint32_t full,
                                           uint32_t empty, hopper_turn &turn) {
        const uint32_t stage = shared + turn.slot * layout::stage;
        full += 8 * turn.slot;
        if (threadIdx.x == 0) {
            barrier_wait(empty + 8 * turn.slot, turn.parity);
            barrier_expect(full, bytes);
            load_a(p, stage, full);
        } else if (threadIdx.x == 128) {
            barrier_wait(empty + 8 * turn.slot, turn.parity);
            load_b(p, 0, stage, full);
        }
        __syncwarp();
        step(p);
        turn.next(p.stages);
    }
};

/* -------------------------------------------------------------------------- multiplying */

/* Needs three stages at least. With just three, iteration i fills the stage of i - 1 again when its
 * products are done; with more it fills that of i - 2, which takes no waiting. */
template <class T, int BN, int MT>
static __device__ __forceinline__ void
multiply(const hopper_params &p, const hopper_tile &t, hopper_loader<BN, MT> &loader,
         float (&acc)[MT][BN / 2], uint32_t shared, uint32_t full, uint32_t empty) {
    using layout = hopper_layout<BN, MT>;
    const int group = (int)threadIdx.x / 128, n = t.count;
    const int late = p.stages == 3 ? 1 : 2;
    hopper_turn now = {0, 0}, old = {0, 0};
    int before = 0;
    for (int i = 0; i < n; i++) {
        barrier_wait(full + 8 * now.slot, now.parity);
        const uint32_t stage = shared + now.slot * layout::stage;
        const uint64_t b = wgmma_descriptor(stage + layout::a);
        const uint64_t a = wgmma_descriptor(stage + group * HOPPER_BOX_BYTES / 2);
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < HOPPER_BOX_K / 16; k++)
#pragma unroll
            for (int m = 0; m < MT; m++)
                wgmma<T, BN>::run(acc[m], a + m * (HOPPER_BOX_BYTES >> 4) + 2 * k, b + 2 * k,
                                  i + k > 0);
        wgmma_commit();
        const bool again = i >= late && i - late + p.stages < n;
        if (late == 2 && again)
            loader.refill(p, shared, full, empty, old);
        wgmma_wait<1>();
        if (threadIdx.x % 128 == 0 && i > 0) /* the warpgroup is done with the stage before */
            barrier_arrive(empty + 8 * before);
        if (late == 1 && again)
            loader.refill(p, shared, full, empty, old);
        before = now.slot;
        now.next(p.stages);
    }
    wgmma_wait<0>();
}

#include "gemm_hopper_epilogue.cuh"

/* ----------------------------------------------------------------------------- the kernel */

template <int BN, int MT>
static __device__ __forceinline__ void init_barriers(const hopper_params &p, uint32_t full,
                                                     uint32_t empty) {
    tma_prefetch(&p.a);
    tma_prefetch(&p.b);
    for (int i = 0; i < p.stages; i++) {
        barrier_init(full + 8 * i, 1);
        barrier_init(empty + 8 * i, 2);
    }
    barrier_init_fence();
}

template <class T, int BN, int MT, hopper_end END>
__global__
__launch_bounds__(HOPPER_THREADS,
                  BN *MT <= 160 ? 2 : 1) void hopper_gemm(const __grid_constant__ hopper_params p) {
    using layout = hopper_layout<BN, MT>;
    extern __shared__ __align__(1024) uint8_t memory[];
    uint8_t *after = memory + p.stages * layout::stage;
    const uint32_t shared = shared_address(memory);
    const uint32_t full = shared_address(after) + layout::full;
    const uint32_t empty = shared_address(after) + layout::empty;
    const bool clustered = p.ck.by > 1;
    const hopper_tile t = tile_of(p, (int)blockIdx.x, MT, BN);
    hopper_loader<BN, MT> loader(p, t);

    if (threadIdx.x == 32)
        init_barriers<BN, MT>(p, full, empty);
    if (clustered) {
        cluster_arrive_relaxed();
        cluster_wait();
    } else {
        __syncthreads();
    }
    cuda_let_next_start();
    loader.start(p, t, shared, full);
    prepare_epilogue<T, BN, MT>(p, t, memory, after);
    float acc[MT][BN / 2];
    multiply<T, BN, MT>(p, t, loader, acc, shared, full, empty);
    epilogue<T, BN, MT, END>(p, t, acc, memory, after);
    if (clustered) { /* others may still read this block's shared memory or arrive at its barriers
                      */
        cluster_arrive_relaxed();
        cluster_wait();
    }
}

#endif
