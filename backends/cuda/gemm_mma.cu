/* The portable tensor-core product: which tile and how many splits, and the launch. */
#include "gemm_mma.cuh"

#include <math.h>

/* Times are microseconds on one of an H200's multiprocessors; only their ratios matter. */
typedef struct mma_config {
    float alone, full; /* a block's 32 products deep slice: alone, with `blocks` of them together */
    float fixed;       /* its start and its epilogue */
    int blocks;
    bool beside_wgmma;
    tile_kernel f16, bf16;
} mma_config;

template <typename T, typename C> static tile_kernel kernel_of() {
    return {(const void *)gemm_mma_kernel<T, C>, C::BM, C::BN, C::BK, C::THREADS, C::SHARED};
}

template <typename C> static mma_config config_of(float alone, float full, float fixed) {
    return {alone,
            full,
            fixed,
            C::BLOCKS,
            C::BESIDE_WGMMA,
            kernel_of<__half, C>(),
            kernel_of<__nv_bfloat16, C>()};
}

static const mma_config configs[] = {
    /*                BM   BN  BK  WM  WN stages blocks */
    config_of<gemm_tile<128, 256, 32, 64, 64, 4, 1>>(0.578f, 0.578f, 4.6f),
    config_of<gemm_tile<128, 160, 32, 64, 80, 4, 2, false>>(0.563f, 0.959f, 4.5f),
    config_of<gemm_tile<128, 128, 32, 64, 64, 4, 2>>(0.396f, 0.643f, 3.7f),
    config_of<gemm_tile<128, 64, 32, 64, 32, 4, 3>>(0.278f, 0.583f, 3.2f),
    config_of<gemm_tile<64, 64, 64, 32, 32, 4, 3>>(0.143f, 0.351f, 2.8f),
    config_of<gemm_tile<64, 32, 64, 32, 16, 4, 4>>(0.120f, 0.335f, 2.4f),
};
enum { N_CONFIGS = sizeof configs / sizeof configs[0] };
#define REDUCE_TIME 0.26e-6f /* for each byte of partial sums */

typedef struct mma_plan {
    int config, splits;
} mma_plan;

static float time_of(const sdb_device *dev, const cuda_gemm *g, const mma_config *c, int splits) {
    const tile_kernel *t = &c->f16; /* bfloat16's is alike */
    int64_t m = (int64_t)g->n * g->oh * g->ow;
    int slices = g->kh * g->kw * cuda_divide_up(g->c, t->bk),
        depth = cuda_divide_up(slices, splits);
    int64_t blocks =
        (int64_t)cuda_divide_up(m, t->bm) * cuda_divide_up(g->n_rows, t->bn) * g->phases;
    int each = cuda_divide_up(blocks * cuda_divide_up(slices, depth),
                              dev->n_sms); /* of a multiprocessor */
    int together = (dev->max_shared + 1024) / (t->shared + 1024);
    together = together < c->blocks ? together : c->blocks;
    if (together == 0)
        return INFINITY;
    float time = 0;
    for (int at_once = together; each > 0; at_once = each) {
        float share = c->blocks > 1 ? (float)(at_once - 1) / (float)(c->blocks - 1) : 0;
        float slice = c->alone + (c->full - c->alone) * share;
        int rounds = each / at_once;
        time += (float)rounds * (c->fixed + (float)(depth * t->bk / 32) * slice);
        each -= rounds * at_once;
    }
    if (splits > 1)
        time += REDUCE_TIME * 4 * (float)m * (float)g->n_rows * (float)(g->phases * (splits + 1));
    return time;
}

static mma_plan choose(const sdb_device *dev, const cuda_gemm *g) {
    mma_plan best = {N_CONFIGS - 1, 1};
    float best_time = INFINITY;
    for (int i = 0; i < N_CONFIGS; i++) {
        if (dev->major == 9 && !configs[i].beside_wgmma)
            continue;
        int slices = g->kh * g->kw * cuda_divide_up(g->c, configs[i].f16.bk);
        int64_t tiles = (int64_t)cuda_divide_up((int64_t)g->n * g->oh * g->ow, configs[i].f16.bm) *
                        cuda_divide_up(g->n_rows, configs[i].f16.bn) * g->phases;
        int most = 1 + (int)(4 * dev->n_sms / tiles); /* and three slices or more for each */
        for (int splits = 1; splits <= most && splits <= (slices + 2) / 3; splits++) {
            float time = time_of(dev, g, &configs[i], splits);
            if (time < best_time) {
                best_time = time;
                best = {i, splits};
            }
        }
    }
    return best;
}

extern "C" sd_status cuda_gemm_mma(sdb_queue *q, const cuda_gemm *g) {
    mma_plan plan = choose(q->dev, g);
    const mma_config *c = &configs[plan.config];
    return launch_tiles(q, g, g->type == SDB_F16 ? &c->f16 : &c->bf16, plan.splits);
}
