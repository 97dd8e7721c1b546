/*
 * The host's side of gemm_hopper.cuh: which tile and cluster, tensor maps, launch. Blocks that stay
 * (gemm_hopper_persistent.cu) are faster wherever they can take a problem.
 */
#include "gemm_hopper.h"

#include <algorithm>
#include <cmath>
#include <cstring>

/* ------------------------------------------------------------------------------- choices */

/* Shared memory of a block that leaves room for a second one. */
#define HOPPER_HALF 115712

/* The box shape of at most 128 pixels that covers the grid with the fewest boxes, first of all with
 * wide boxes of one image. With an embedding each half of a box is of one image. */
static hopper_boxes choose_boxes(const cuda_gemm *g) {
    hopper_boxes best = {};
    for (int bw = std::min(g->ow, HOPPER_BOX); bw > 0; bw--) {
        const int x = cuda_divide_up(g->ow, bw);
        if (x > 1 && cuda_divide_up(g->ow, x) < bw)
            continue; /* as many with narrower ones */
        const int bh =
            cuda_divide_up(g->oh, cuda_divide_up(g->oh, std::min(g->oh, HOPPER_BOX / bw)));
        const int y = cuda_divide_up(g->oh, bh), most = std::min(g->n, HOPPER_BOX / (bw * bh));
        const bool alone = g->emb && bw * bh != HOPPER_BOX / 2;
        const int bn = alone ? 1 : cuda_divide_up(g->n, cuda_divide_up(g->n, most));
        const int64_t total = (int64_t)x * y * cuda_divide_up(g->n, bn);
        if (total <= INT32_MAX / 2 && (!best.total || total < best.total))
            best = {bw, bh, bn, x, y, (int)total};
    }
    return best;
}

static int stage_bytes(const hopper_choice *c) {
    return c->mt * HOPPER_BOX_BYTES + c->bn * HOPPER_BOX_K * 2;
}

static int rest_bytes(const hopper_choice *c) {
    return 16 * HOPPER_MAX_STAGES + 2 * c->mt * c->bn * 4 + 128 * c->mt * 4;
}

/* A row of y for each pixel, for the groups of columns that one part of the sum finishes. */
static int staging_bytes(const hopper_choice *c) {
    return 128 * (cuda_divide_up(c->bn / 16, c->ck) * 32 + 16);
}

static int shared_bytes(const hopper_choice *c) {
    return c->stages * stage_bytes(c) + rest_bytes(c) + (c->early ? staging_bytes(c) : 0);
}

/* Whether two blocks fit on a multiprocessor; the kernels of these tiles have 128 registers. */
static bool two_fit(const hopper_choice *c) {
    return c->bn * c->mt <= 160 && shared_bytes(c) <= HOPPER_HALF;
}

/* The epilogue's memory in the stages' place. */
static int epilogue_bytes(const hopper_choice *c) {
    const int groups = c->bn / 16;
    const int parts = c->ck > 1 ? (groups - groups / c->ck) * 128 * 16 * 4 : 0;
    return (c->early ? 0 : staging_bytes(c)) + parts;
}

/* Each cluster lies within one group of multiprocessors, and the groups differ. */
double hopper_reach(const sdb_device *dev, int ck) {
    static const int of_132[8] = {132, 132, 117, 120, 110, 102, 105, 120};
    return dev->n_sms * of_132[ck - 1] / 132.0;
}

/*
 * The time of a choice in microseconds, up to a constant. The numbers were fitted to some 1,200
 * measurements on one H200, and cost 0.4% against picking the best measured choices.
 */
static double estimate(const sdb_device *dev, const cuda_gemm *g, const hopper_boxes *boxes,
                       const hopper_choice *c) {
    const double bytes = 79e3, bytes_shared = 93.5e3; /* into shared memory in 1 us: by a block
                                                         alone, by two on one multiprocessor */
    const double mma = 0.37, mma_shared = 0.4;        /* us for 128 x 128 x 64 */
    const double shallow = 1.66, end = 1.0, gap = 1.5, split = 0.3, part = 0.25;
    const int iterations = cuda_divide_up(g->kh * g->kw * (g->k / HOPPER_BOX_K), c->ck);
    const double area = c->bn * c->mt / 128.0;
    const double blocks = (double)cuda_divide_up(boxes->total, c->mt) *
                          cuda_divide_up(g->n_rows, c->bn) * g->phases * c->ck;
    const int rounds = (int)ceil(blocks / hopper_reach(dev, c->ck));
    const double alone = iterations * std::max(stage_bytes(c) / bytes, area * mma);
    double time;
    if (two_fit(c)) {
        const double one = alone * (c->stages == 3 ? shallow : 1.0) + end * area;
        const double two =
            2 * iterations * std::max(stage_bytes(c) / bytes_shared, area * mma_shared) +
            1.08 * end * area;
        time = rounds / 2 * two + rounds % 2 * one;
    } else {
        time = rounds * (alone + end * area) + gap * (rounds - 1);
    }
    return c->ck > 1 ? time + split + part * c->ck + 0.13 * area * (c->ck - 1) / c->ck : time;
}

/* Large clusters of small blocks end up two on a multiprocessor while others idle, so clusters of
 * more than two are of large blocks. */
static bool possible(const cuda_gemm *g, const hopper_choice *c) {
    return c->stages >= 3 && epilogue_bytes(c) <= c->stages * stage_bytes(c) &&
           (c->ck <= 2 || !two_fit(c)) && c->ck * 2 <= g->kh * g->kw * (g->k / HOPPER_BOX_K) + 1 &&
           (c->ck == 1 || (c->mt == 1 && c->bn <= 160)) &&
           ((!g->geglu && g->act == SDB_ACT_NONE) || (c->mt == 1 && c->bn <= 160));
}

/* One or two prompts: narrow tiles won at all shapes of a text encoder, while estimate(), which
 * counts boxes as full, would take wider ones. */
static bool few_tokens(const cuda_gemm *g, const hopper_boxes *boxes) {
    return g->kh * g->kw == 1 && boxes->total <= 2 && boxes->bw * boxes->bh * boxes->bn <= 96;
}

static hopper_choice choose(const sdb_device *dev, const cuda_gemm *g, const hopper_boxes *boxes) {
    static const int tiles[][2] = {{160, 1}, {128, 1}, {80, 1}, {64, 1}, {256, 1}, {128, 2}};
    hopper_choice best = {HOPPER_BLOCKS, 64, 1, 1, 4, false};
    double least = INFINITY;
    for (const int *tile : tiles)
        for (int ck = 1; ck <= 8; ck++)
            for (int resident = 1; resident <= 2; resident++) {
                const bool early = resident == 1 && tile[1] == 1 && tile[0] <= 160 && g->residual;
                hopper_choice c = {HOPPER_BLOCKS, tile[0], tile[1], ck, 0, early};
                const int room = resident == 2 ? HOPPER_HALF : dev->max_shared;
                c.stages = std::min((room - shared_bytes(&c)) / stage_bytes(&c), HOPPER_MAX_STAGES);
                if (!possible(g, &c) || (few_tokens(g, boxes) && c.bn != 64))
                    continue;
                const double time = estimate(dev, g, boxes, &c);
                if (time < least) {
                    least = time;
                    best = c;
                }
            }
    return best;
}

/* A choice, and what it depends on. */
typedef struct hopper_plan {
    struct {
        int n, oh, ow, kh, kw, k, n_rows, phases;
        int end, emb, residual, persistent, n_sms, max_shared;
    } key;
    hopper_boxes boxes;
    hopper_choice choice;
} hopper_plan;

/* Networks meet the same few dozen problems again and again: each thread remembers its last ones.
 */
static const hopper_plan *plan_for(const sdb_device *dev, const cuda_gemm *g) {
    static thread_local hopper_plan known[256];
    const bool persistent = hopper_persistent_fits(dev, g);
    hopper_plan plan = {};
    plan.key = {g->n,       g->oh,          g->ow,
                g->kh,      g->kw,          g->k,
                g->n_rows,  g->phases,      hopper_end_of(g),
                !!g->emb,   !!g->residual,  persistent,
                dev->n_sms, dev->max_shared};
    unsigned hash = 0;
    for (size_t i = 0; i < sizeof(plan.key) / sizeof(int); i++)
        hash = (hash + ((const unsigned *)&plan.key)[i]) * 2654435761u;
    hopper_plan *at = &known[hash >> 24];
    if (memcmp(&at->key, &plan.key, sizeof(plan.key)) != 0) {
        plan.boxes = choose_boxes(g);
        plan.choice = persistent ? hopper_persistent_choose(dev, g, &plan.boxes)
                                 : choose(dev, g, &plan.boxes);
        *at = plan;
    }
    return at;
}

/* ---------------------------------------------------------------------------------- maps */

sd_status hopper_encode(sdb_queue *q, CUtensorMap *map, const cuda_gemm *g, const void *data,
                        int rank, const cuuint64_t *dims, const cuuint64_t *strides,
                        const cuuint32_t *box, const cuuint32_t *steps) {
    const CUtensorMapDataType type =
        g->type == SDB_F16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    const CUtensorMapSwizzle swizzle = box[0] == 64   ? CU_TENSOR_MAP_SWIZZLE_128B
                                       : box[0] == 32 ? CU_TENSOR_MAP_SWIZZLE_64B
                                       : box[0] == 16 ? CU_TENSOR_MAP_SWIZZLE_32B
                                                      : CU_TENSOR_MAP_SWIZZLE_NONE;
    const CUresult r =
        q->dev->encode_tiled(map, type, (cuuint32_t)rank, (void *)data, dims, strides, box, steps,
                             CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (r == CUDA_SUCCESS)
        return SD_OK;
    return q->dev->host->error(q->dev->host->user, SD_ERROR_BACKEND,
                               "CUDA: no tensor map of [%d, %d, %d, %d] at distance %lld: error %d",
                               g->n, g->h, g->w, g->c, (long long)g->x_ld, (int)r);
}

static sd_status encode_x(sdb_queue *q, CUtensorMap *map, const cuda_gemm *g,
                          const hopper_boxes *boxes) {
    const cuuint64_t pixel = (cuuint64_t)g->x_ld * 2;
    const cuuint64_t dims[4] = {(cuuint64_t)g->c, (cuuint64_t)g->w, (cuuint64_t)g->h,
                                (cuuint64_t)g->n};
    const cuuint64_t strides[3] = {pixel, pixel * g->w, pixel * g->w * g->h};
    const cuuint32_t step = (cuuint32_t)g->stride;
    const cuuint32_t box[4] = {HOPPER_BOX_K, boxes->bw * step, boxes->bh * step,
                               (cuuint32_t)boxes->bn};
    const cuuint32_t steps[4] = {1, step, step, 1};
    return hopper_encode(q, map, g, g->x, 4, dims, strides, box, steps);
}

static sd_status encode_w(sdb_queue *q, CUtensorMap *map, const cuda_gemm *g,
                          const hopper_choice *c) {
    const cuuint64_t k = (cuuint64_t)g->kh * g->kw * g->k;
    const cuuint64_t dims[2] = {k, (cuuint64_t)g->phases * g->n_rows};
    const cuuint64_t strides[1] = {k * 2};
    const cuuint32_t box[2] = {HOPPER_BOX_K, (cuuint32_t)c->bn};
    const cuuint32_t steps[2] = {1, 1};
    return hopper_encode(q, map, g, g->weight, 2, dims, strides, box, steps);
}

/* -------------------------------------------------------------------------------- launch */

static int tile_index(const hopper_choice *c) {
    switch (c->bn) {
    case 64:
        return 0;
    case 80:
        return 1;
    case 128:
        return c->mt == 1 ? 2 : 5;
    case 160:
        return 3;
    default:
        return 4;
    }
}

template <class T, hopper_end END> static const void *kernel_of(int tile) {
    switch (tile) {
    case 0:
        return (const void *)hopper_gemm<T, 64, 1, END>;
    case 1:
        return (const void *)hopper_gemm<T, 80, 1, END>;
    case 2:
        return (const void *)hopper_gemm<T, 128, 1, END>;
    case 3:
        return (const void *)hopper_gemm<T, 160, 1, END>;
    default:
        break;
    }
    if constexpr (END == HOPPER_PLAIN)
        return tile == 4 ? (const void *)hopper_gemm<T, 256, 1, END>
                         : (const void *)hopper_gemm<T, 128, 2, END>;
    return NULL; /* not possible(), see there */
}

hopper_end hopper_end_of(const cuda_gemm *g) {
    return g->geglu ? HOPPER_GEGLU : g->act == SDB_ACT_NONE ? HOPPER_PLAIN : HOPPER_ACT;
}

template <class T> static const void *kernel_for(hopper_end end, int tile) {
    return end == HOPPER_GEGLU ? kernel_of<T, HOPPER_GEGLU>(tile)
           : end == HOPPER_ACT ? kernel_of<T, HOPPER_ACT>(tile)
                               : kernel_of<T, HOPPER_PLAIN>(tile);
}

static hopper_divisor divisor(int by) {
    hopper_divisor d = {by, 0, 0};
    if (by > 1) {
        int log = 0;
        while ((int64_t)1 << log < by)
            log++;
        d.factor = (uint32_t)((((uint64_t)1 << (31 + log)) + by - 1) / by);
        d.shift = (uint32_t)(log - 1);
    }
    return d;
}

static void fill_tiles(hopper_params *p, const cuda_gemm *g, const hopper_choice *c,
                       const hopper_boxes *b) {
    p->bw = divisor(b->bw), p->bh = divisor(b->bh), p->bn = b->bn;
    p->half_image = b->bw * b->bh == HOPPER_BOX / 2;
    p->boxes_x = divisor(b->x), p->boxes_y = divisor(b->y);
    p->ck = divisor(c->ck);
    p->stages = c->stages;
    p->k_blocks = divisor(g->k / HOPPER_BOX_K);
    const int iterations = g->kh * g->kw * p->k_blocks.by;
    p->iterations = iterations / c->ck, p->iterations_left = iterations % c->ck;
    p->share = c->bn / 16 / c->ck, p->share_left = c->bn / 16 % c->ck;
    p->early = c->early && g->residual;
    p->staging = p->early ? c->stages * stage_bytes(c) + rest_bytes(c) : 0;
    const int m_tiles = cuda_divide_up(b->total, c->mt), n_tiles = cuda_divide_up(g->n_rows, c->bn);
    p->tiles = divisor(m_tiles * n_tiles);
    const bool large = p->tiles.by >= 1024 && (int64_t)g->n_rows * g->k >= 8 << 20;
    const int group = large ? 8 / c->mt : 1;
    p->group = divisor(group), p->group_tiles = divisor(group * n_tiles);
    p->last_group = (m_tiles - 1) / group;
    p->last = divisor(m_tiles - p->last_group * group);
}

static void fill_params(hopper_params *p, const cuda_gemm *g) {
    p->n = g->n, p->oh = g->oh, p->ow = g->ow;
    p->stride = g->stride, p->kw = g->kw, p->pad_x = g->pad_x, p->pad_y = g->pad_y;
    p->phased = g->phases > 1;
    p->n_rows = g->n_rows, p->n_out = g->n_out;
    p->y = g->y, p->y_ld = g->y_ld;
    p->y_h = g->y_h, p->y_w = g->y_w, p->y_step = g->y_step;
    p->bias = g->bias, p->emb = g->emb, p->emb_ld = g->emb_ld;
    p->residual = g->residual, p->residual_ld = g->residual_ld;
    p->act = g->act, p->scale = g->scale;
}

/* Whether each half of a box is one part of the statistics, or none. */
static bool halves_are_parts(const cuda_gemm *g, const hopper_boxes *b) {
    const bool image = b->bw * b->bh == CUDA_PART && b->x == 1 && b->y == 1;
    const bool exact = b->x * b->bw == g->ow && b->y * b->bh == g->oh;
    return exact && (image || (b->bw * b->bh == HOPPER_BOX && b->bn == 1)) && !g->geglu &&
           g->stats_pixels % CUDA_PART == 0 && g->n_out % 2 == 0;
}

static void fill_stats(hopper_params *p, const cuda_gemm *g, const hopper_boxes *b) {
    p->stats = halves_are_parts(g, b) ? g->stats : NULL;
    p->halves = divisor(b->bw * b->bh == HOPPER_BOX ? 2 * b->x * b->y : 1);
}

static cudaError_t launch(sdb_queue *q, const cuda_gemm *g, const hopper_choice *c,
                          const hopper_params *p) {
    const bool half = g->type == SDB_F16;
    const hopper_end end = hopper_end_of(g);
    const int tile = tile_index(c);
    const void *kernel =
        half ? kernel_for<__half>(end, tile) : kernel_for<__nv_bfloat16>(end, tile);
    cuda_grid grid = cuda_early((unsigned)(p->tiles.by * g->phases * p->ck.by), HOPPER_THREADS);
    grid.cluster = (unsigned)p->ck.by;
    grid.shared = (size_t)shared_bytes(c);
    void *args[] = {(void *)p};
    return cuda_launch_kernel(q, kernel, &grid, args);
}

static sd_status run_choice(sdb_queue *q, const cuda_gemm *g, const hopper_choice *c,
                            const hopper_boxes *boxes) {
    hopper_params p;
    fill_params(&p, g);
    fill_tiles(&p, g, c, boxes);
    fill_stats(&p, g, boxes);
    sd_status s = encode_x(q, &p.a, g, boxes);
    if (s == SD_OK)
        s = encode_w(q, &p.b, g, c);
    if (s == SD_OK && c->way != HOPPER_BLOCKS)
        return hopper_persistent_run(q, g, c, boxes, &p);
    return s != SD_OK ? s : cuda_check(q->dev, launch(q, g, c, &p), "gemm");
}

/* ------------------------------------------------------------------------------ interface */

static bool aligned(const void *data, int64_t ld) {
    return (uintptr_t)data % 16 == 0 && ld % 8 == 0;
}

bool cuda_gemm_hopper_fits(const sdb_device *dev, const cuda_gemm *g) {
    const int64_t longest = (int64_t)1 << 38; /* bytes of a stride, less than TMA's 2^40 */
    return dev->hopper && dev->encode_tiled && (g->type == SDB_F16 || g->type == SDB_BF16) &&
           aligned(g->x, g->x_ld) && aligned(g->y, g->y_ld) &&
           aligned(g->residual, g->residual_ld) && aligned(g->weight, g->k) &&
           g->k % HOPPER_BOX_K == 0 && g->stride <= 2 && g->x_ld * g->w * g->h <= longest / 2 &&
           (int64_t)g->n * g->y_h * g->y_w <= INT32_MAX &&
           !(g->geglu && (g->residual || g->emb || g->act != SDB_ACT_NONE));
}

sd_status cuda_gemm_hopper(sdb_queue *q, const cuda_gemm *g) {
    if (q->planning)
        return SD_OK;
    const hopper_plan *plan = plan_for(q->dev, g);
    return run_choice(q, g, &plan->choice, &plan->boxes);
}

bool cuda_gemm_hopper_has_stats(const sdb_device *dev, const cuda_gemm *g) {
    return halves_are_parts(g, &plan_for(dev, g)->boxes);
}
