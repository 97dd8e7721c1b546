/*
 * The host's side of gemm_hopper_persistent.cuh: which tile and way, the maps of y and the
 * residual, launch.
 */
#include "gemm_hopper_persistent.cuh"

#include <algorithm>
#include <cmath>

/* A kernel and what its host needs to know. */
typedef struct persistent_kernel {
    const void *code;
    int slab; /* columns of a box of y */
    int shared;
} persistent_kernel;

template <class T, int BN, hopper_way WAY, hopper_end END> static persistent_kernel kernel_of() {
    using layout = persistent_layout<BN, WAY, END == HOPPER_GEGLU>;
    return {(const void *)hopper_persistent<T, BN, WAY, END>, layout::slab, layout::size};
}

template <class T, hopper_way WAY, hopper_end END> static persistent_kernel kernel_of(int bn) {
    switch (bn) {
    case 160:
        return kernel_of<T, 160, WAY, END>();
    case 128:
        return kernel_of<T, 128, WAY, END>();
    default:
        break;
    }
    if constexpr (WAY != HOPPER_TURNS) {
        if (bn == 64)
            return kernel_of<T, 64, WAY, END>();
        if constexpr (END != HOPPER_GEGLU)
            if (bn == 80)
                return kernel_of<T, 80, WAY, END>();
    }
    return {};
}

/* The tiles that there are; code is NULL for others. Activations make much code and are few. */
template <class T, hopper_end END> static persistent_kernel kernel_for(const hopper_choice *c) {
    if constexpr (END == HOPPER_PLAIN)
        if (c->way == HOPPER_SPLIT)
            return kernel_of<T, HOPPER_SPLIT, END>(c->bn);
    if constexpr (END != HOPPER_ACT)
        if (c->way == HOPPER_TURNS)
            return kernel_of<T, HOPPER_TURNS, END>(c->bn);
    return c->way == HOPPER_TOGETHER ? kernel_of<T, HOPPER_TOGETHER, END>(c->bn)
                                     : persistent_kernel();
}

template <class T> static persistent_kernel kernel_for(hopper_end end, const hopper_choice *c) {
    return end == HOPPER_GEGLU ? kernel_for<T, HOPPER_GEGLU>(c)
           : end == HOPPER_ACT ? kernel_for<T, HOPPER_ACT>(c)
                               : kernel_for<T, HOPPER_PLAIN>(c);
}

static persistent_kernel find_kernel(const cuda_gemm *g, const hopper_choice *c) {
    const hopper_end end = hopper_end_of(g);
    return g->type == SDB_F16 ? kernel_for<__half>(end, c) : kernel_for<__nv_bfloat16>(end, c);
}

/* ------------------------------------------------------------------------------- choices */

/*
 * The time of a choice in microseconds, up to a constant. The numbers were fitted to some 1,900
 * measurements on one H200, and cost 1% against picking the best measured choices.
 */
static double estimate(const sdb_device *dev, const cuda_gemm *g, const hopper_boxes *boxes,
                       const hopper_choice *c) {
    const bool turns = c->way == HOPPER_TURNS;
    const double area = c->bn / 128.0; /* of the tile, in 128 x 128 */
    const double tiles = (double)boxes->total * cuda_divide_up(g->n_rows, c->bn) * g->phases;
    const double rounds = ceil(tiles * c->ck / hopper_reach(dev, c->ck));
    const int iterations = cuda_divide_up(g->kh * g->kw * (g->k / HOPPER_BOX_K), c->ck);
    const double products = iterations * ((turns ? 0.352 : 0.327) * area + 0.027);
    if (turns && rounds < 2.0)
        return INFINITY; /* there are no turns to take */
    if (turns) { /* in steady state a tile takes what its products or both warpgroups take */
        const double end = ((g->geglu ? 1.22 : 0.93) + (g->residual ? 0.7 : 0.0)) * area;
        const double tile = std::max(products + 1.18, (products + end) / 2);
        return (rounds - 1) * tile + products + end;
    }
    const double end = ((g->geglu ? 1.07 : 0.66) + (g->residual ? 0.35 : 0.0)) * area + 0.65;
    const double split = c->ck > 1 ? 0.28 + 0.57 * c->ck + 2.4 * (rounds - 1) : 0.0;
    return rounds * (products + end) + split;
}

static bool possible(const cuda_gemm *g, const hopper_choice *c) {
    const int iterations = g->kh * g->kw * (g->k / HOPPER_BOX_K);
    return find_kernel(g, c).code && c->ck * 2 <= iterations + 1;
}

hopper_choice hopper_persistent_choose(const sdb_device *dev, const cuda_gemm *g,
                                       const hopper_boxes *boxes) {
    hopper_choice best = {};
    double least = INFINITY;
    for (int bn : {160, 128, 80, 64})
        for (int way = HOPPER_TURNS; way <= HOPPER_SPLIT; way++)
            for (int ck = way == HOPPER_SPLIT ? 2 : 1; ck <= (way == HOPPER_SPLIT ? 8 : 1); ck++) {
                const hopper_choice c = {(hopper_way)way, bn, 1, ck, 0, false};
                const double time =
                    possible(g, &c) ? estimate(dev, g, boxes, &c) : (double)INFINITY;
                if (time < least) {
                    least = time;
                    best = c;
                }
            }
    return best;
}

/* -------------------------------------------------------------------------------- launch */

/* y or the residual, the grid of one phase of it. */
static sd_status encode_outputs(sdb_queue *q, CUtensorMap *map, const cuda_gemm *g,
                                const void *data, int64_t ld, int phase, int slab,
                                const hopper_boxes *b) {
    const cuuint64_t dims[4] = {(cuuint64_t)g->n_out, (cuuint64_t)g->ow, (cuuint64_t)g->oh,
                                (cuuint64_t)g->n};
    const cuuint64_t pixel = (cuuint64_t)ld * 2, line = pixel * g->y_w;
    const cuuint64_t strides[3] = {pixel * g->y_step, line * g->y_step, line * g->y_h};
    const cuuint32_t box[4] = {(cuuint32_t)slab, (cuuint32_t)b->bw, (cuuint32_t)b->bh,
                               (cuuint32_t)b->bn};
    const cuuint32_t steps[4] = {1, 1, 1, 1};
    const char *first = (const char *)data + phase / 2 * line + phase % 2 * pixel;
    return hopper_encode(q, map, g, first, 4, dims, strides, box, steps);
}

static cudaError_t launch(sdb_queue *q, const persistent_kernel *kernel, const hopper_choice *c,
                          const persistent_params *p) {
    const int blocks = c->way == HOPPER_SPLIT ? p->total : std::min(p->total, q->dev->n_sms);
    cuda_grid grid = cuda_early((unsigned)blocks, PERSISTENT_THREADS);
    grid.cluster = (unsigned)c->ck;
    grid.shared = (size_t)kernel->shared;
    void *args[] = {(void *)p};
    return cuda_launch_kernel(q, kernel->code, &grid, args);
}

bool hopper_persistent_fits(const sdb_device *dev, const cuda_gemm *g) {
    return dev->max_shared >= PERSISTENT_SHARED && g->n_out % 8 == 0 &&
           !(g->residual && g->phases > 1);
}

sd_status hopper_persistent_run(sdb_queue *q, const cuda_gemm *g, const hopper_choice *c,
                                const hopper_boxes *boxes, const hopper_params *p) {
    const persistent_kernel kernel = find_kernel(g, c);
    persistent_params params;
    params.gemm = *p;
    params.total = p->tiles.by * g->phases * c->ck;
    sd_status s = SD_OK;
    for (int phase = 0; phase < g->phases && s == SD_OK; phase++)
        s = encode_outputs(q, &params.y[phase], g, g->y, g->y_ld, phase, kernel.slab, boxes);
    if (s == SD_OK && g->residual)
        s = encode_outputs(q, &params.residual, g, g->residual, g->residual_ld, 0, kernel.slab,
                           boxes);
    return s != SD_OK ? s : cuda_check(q->dev, launch(q, &kernel, c, &params), "gemm");
}
