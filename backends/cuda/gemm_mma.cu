/* The portable tensor-core product: which tile and how many splits, and the launch. */
#include "gemm_mma.cuh"

#include <math.h>

/* Times are microseconds on one of an H200's multiprocessors; only their ratios matter. */
typedef struct mma_config {
    float alone, full; /* a block's 32 products deep slice: alone, with `blocks` of them together */
    float fixed;       /* its start and its epilogue */
    int bm, bn, bk, threads, shared, blocks;
    bool beside_wgmma;
    const void *f16, *bf16;
} mma_config;

template <typename C> static mma_config config_of(float alone, float full, float fixed) {
    return {alone,
            full,
            fixed,
            C::BM,
            C::BN,
            C::BK,
            C::THREADS,
            C::SHARED,
            C::BLOCKS,
            C::BESIDE_WGMMA,
            (const void *)gemm_mma_kernel<__half, C>,
            (const void *)gemm_mma_kernel<__nv_bfloat16, C>};
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

static int div_up(int64_t a, int64_t b) {
    return (int)((a + b - 1) / b);
}

typedef struct mma_plan {
    int config, splits;
} mma_plan;

static float time_of(const sdb_device *dev, const cuda_gemm *g, const mma_config *c, int splits) {
    int64_t m = (int64_t)g->n * g->oh * g->ow;
    int slices = g->kh * g->kw * div_up(g->c, c->bk), depth = div_up(slices, splits);
    int64_t blocks = (int64_t)div_up(m, c->bm) * div_up(g->n_rows, c->bn) * g->phases;
    int each = div_up(blocks * div_up(slices, depth), dev->n_sms); /* of a multiprocessor */
    int together = (dev->max_shared + 1024) / (c->shared + 1024);
    together = together < c->blocks ? together : c->blocks;
    if (together == 0)
        return INFINITY;
    float time = 0;
    for (int at_once = together; each > 0; at_once = each) {
        float share = c->blocks > 1 ? (float)(at_once - 1) / (float)(c->blocks - 1) : 0;
        float slice = c->alone + (c->full - c->alone) * share;
        int rounds = each / at_once;
        time += (float)rounds * (c->fixed + (float)(depth * c->bk / 32) * slice);
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
        int slices = g->kh * g->kw * div_up(g->c, configs[i].bk);
        int64_t tiles = (int64_t)div_up((int64_t)g->n * g->oh * g->ow, configs[i].bm) *
                        div_up(g->n_rows, configs[i].bn) * g->phases;
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

static sd_status launch(sdb_queue *q, const cuda_gemm *g, mma_plan plan) {
    const mma_config *c = &configs[plan.config];
    gemm_work work = {};
    work.m = g->n * g->oh * g->ow;
    work.n_tiles = div_up(g->n_rows, c->bn);
    work.slices = g->kh * g->kw * div_up(g->c, c->bk);
    work.split_slices = div_up(work.slices, plan.splits);
    work.splits = div_up(work.slices, work.split_slices);
    work.aligned = epilogue_is_aligned(g);
    work.n_pad = div_up(g->n_rows, 8) * 8;

    if (work.splits > 1) {
        void *scratch;
        size_t outputs = (size_t)work.m * (size_t)work.n_pad;
        sd_status status =
            cuda_scratch(q, sizeof(float) * outputs * (size_t)(g->phases * work.splits), &scratch);
        if (status != SD_OK)
            return status;
        work.partial = (float *)scratch;
    }
    if (q->planning)
        return SD_OK;

    const void *kernel = g->type == SDB_F16 ? c->f16 : c->bf16;
    cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, c->shared);
    void *args[] = {(void *)g, &work};
    dim3 grid((unsigned)(div_up(work.m, c->bm) * work.n_tiles), 1,
              (unsigned)(g->phases * work.splits));
    if (error == cudaSuccess)
        error = cudaLaunchKernel(kernel, grid, dim3((unsigned)c->threads), args, (size_t)c->shared,
                                 q->stream);
    if (error != cudaSuccess)
        return cuda_check(q->dev, error, "launch of a matrix product");
    return work.splits > 1 ? cuda_gemm_reduce(q, g, work.partial, work.splits) : SD_OK;
}

extern "C" sd_status cuda_gemm_mma(sdb_queue *q, const cuda_gemm *g) {
    return launch(q, g, choose(q->dev, g));
}
