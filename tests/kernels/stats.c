/* Products that make statistics of what they write, and the group norm that reads them, on every
 * backend: see kernels.h. The reference makes none, and normalises by what it reads. */
#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BIAS = 1, EMB = 2, RESIDUAL = 4, ALIAS = 8, UP = 16, IN_PLACE = 32 };

typedef struct stats_case {
    int n, h, w, in; /* of x */
    int out[2];      /* channels of the one product or of the two whose results lie side by side */
    int groups, flags;
    int conv, stride; /* the products: 3x3 convolutions or linear layers */
    sdb_act act;      /* of the products */
    int margin;
    double mean, std; /* of x, where the linear layer is the identity; both 0: a random one */
} stats_case;

/* Room for the statistics, as the executor has it. */
static sdb_tensor stats_for(kt_device *d, sdb_tensor y) {
    const sdb_backend *api = d->api;
    int parts = api->stats_parts && y.c % 2 == 0 ? api->stats_parts(d->dev, y.type, y.h, y.w) : 0;
    return parts ? kt_scratch(d, SDB_F32, y.n, parts, y.c / 2, 2) : (sdb_tensor){0};
}

static sdb_tensor channels_of(sdb_tensor t, int first, int c) {
    if (t.data)
        t.data = (char *)t.data + (size_t)first * (t.type == SDB_F32 ? 4 : 2);
    t.c = c;
    return t;
}

static const sdb_weight *identity(kt_device *d, int c) {
    float *values = calloc((size_t)c * (size_t)c, sizeof *values);
    for (int i = 0; i < c; i++)
        values[i * c + i] = 1.0f;
    const sdb_weight *w = kt_weight_values(d, SDB_WEIGHT_LINEAR, c, c, values, NULL);
    free(values);
    return w;
}

static const sdb_weight *weight_for(kt_device *d, const stats_case *c, int out) {
    if (c->std != 0)
        return identity(d, c->in);
    return kt_weight(d, &(kt_weight_args){.kind = c->conv ? SDB_WEIGHT_CONV3X3 : SDB_WEIGHT_LINEAR,
                                          .in = c->in,
                                          .rows = {out},
                                          .type = SDB_F16,
                                          .bias = c->flags & BIAS,
                                          .upsample = c->flags & UP});
}

static sdb_tensor residual_for(kt_device *d, const stats_case *c, sdb_tensor y) {
    if (c->flags & ALIAS)
        return y;
    return c->flags & RESIDUAL ? kt_input(d, y.n, y.h, y.w, y.c, c->margin) : (sdb_tensor){0};
}

static void run_product(kt_device *d, const stats_case *c, sdb_tensor x, sdb_tensor y,
                        sdb_tensor stats) {
    const sdb_weight *weight = weight_for(d, c, y.c);
    sdb_tensor residual = residual_for(d, c, y);
    if (c->conv) {
        sdb_conv2d op = {.x = x,
                         .y = y,
                         .weight = weight,
                         .residual = residual,
                         .stride = c->stride ? c->stride : 1,
                         .upsample = c->flags & UP,
                         .act = c->act,
                         .scale = 1.0f,
                         .stats = stats};
        if (c->flags & EMB)
            op.emb = kt_input(d, c->n, 1, 1, y.c, 0);
        KT_RUN(d, conv2d, &op);
    } else {
        sdb_linear op = {.x = x,
                         .y = y,
                         .weight = weight,
                         .residual = residual,
                         .act = c->act,
                         .scale = 1.0f,
                         .stats = stats};
        KT_RUN(d, linear, &op);
    }
}

static void run(kt_device *d, const void *test_case) {
    const stats_case *c = test_case;
    int zoom = c->flags & UP ? 2 : 1, stride = c->stride ? c->stride : 1;
    int h = c->h * zoom / stride, w = c->w * zoom / stride, all = c->out[0] + c->out[1];
    sdb_tensor x =
        kt_input_with(d, c->n, c->h, c->w, c->in, c->margin, c->mean, c->std != 0 ? c->std : 1.0);
    sdb_tensor y = c->flags & ALIAS ? kt_inout(d, c->n, h, w, all, c->margin)
                                    : kt_output(d, c->n, h, w, all, c->margin);
    sdb_group_norm norm = {.x = y, .groups = c->groups, .eps = 1e-5f, .act = SDB_ACT_SILU};
    norm.y = c->flags & IN_PLACE ? y : kt_output(d, c->n, h, w, all, 0);
    for (int i = 0, first = 0; i < 2 && c->out[i]; first += c->out[i++]) {
        sdb_tensor part = channels_of(y, first, c->out[i]);
        norm.stats[i] = stats_for(d, part);
        run_product(d, c, x, part, norm.stats[i]);
    }
    norm.weight = kt_weight(
        d, &(kt_weight_args){
               .kind = SDB_WEIGHT_VECTOR, .in = 1, .rows = {all}, .bias = 1, .gamma = true});
    KT_RUN(d, group_norm, &norm);
}

static void describe(char *text, size_t size, const void *test_case) {
    const stats_case *c = test_case;
    snprintf(text, size, "%s %dx%dx%dx%d -> %d+%d in %d groups%s%s%s%s%s%s%s%s ld+%d%s",
             c->conv ? "conv" : "linear", c->n, c->h, c->w, c->in, c->out[0], c->out[1], c->groups,
             c->stride == 2 ? " stride 2" : "", c->flags & BIAS ? " bias" : "",
             c->flags & EMB ? " emb" : "", c->act ? " act" : "", c->flags & UP ? " up" : "",
             c->flags & RESIDUAL ? " residual" : "", c->flags & ALIAS ? " y+=" : "",
             c->flags & IN_PLACE ? " in place" : "", c->margin,
             fabs(c->mean) > 100 ? " mean >> std"
             : c->mean != 0      ? " mean"
                                 : "");
}

/* As group_norm's own test has it. */
static double tolerance(const void *test_case) {
    const stats_case *c = test_case;
    double lost = c->std > 0 ? fabs(c->mean) / c->std * 0x1p-22 : 0.0;
    return lost > 2 * KT_TOLERANCE ? lost : 2 * KT_TOLERANCE; /* two operations */
}

static const stats_case cases[] = {
    /* sizes of the networks, and channels of their group norms */
    {2, 64, 64, 16, {320}, 32, BIAS},
    {1, 64, 64, 16, {640, 320}, 32, BIAS},
    {2, 32, 32, 16, {640, 640}, 32, BIAS | RESIDUAL},
    {2, 16, 16, 16, {320}, 32, BIAS | EMB | IN_PLACE, 1},
    {2, 16, 16, 192, {160}, 32, BIAS | RESIDUAL, 1},
    {1, 16, 16, 1280, {160}, 32, BIAS | ALIAS | IN_PLACE},
    {3, 16, 16, 16, {320}, 32, BIAS | ALIAS | IN_PLACE},
    {1, 128, 128, 16, {128}, 32, BIAS | IN_PLACE},
    {1, 96, 96, 16, {256}, 32, BIAS | RESIDUAL},
    {2, 8, 8, 64, {64}, 32, BIAS | UP, 1},
    {1, 16, 16, 16, {320}, 32, BIAS | UP | IN_PLACE, 1},
    {2, 32, 32, 64, {64}, 32, BIAS, 1, 2},
    {2, 40, 16, 16, {320}, 32, BIAS | EMB, 1},
    {1, 64, 48, 16, {80, 240}, 16, BIAS},
    {1, 32, 32, 64, {512}, 32, BIAS, .act = SDB_ACT_GELU},
    /* no product of whole boxes, or none on tensor cores */
    {2, 16, 16, 4, {320}, 32, BIAS, 1},
    {1, 32, 24, 3, {64}, 32, BIAS, 1},
    {1, 8, 4, 64, {64}, 16, BIAS | UP, 1},
    {3, 8, 8, 64, {64}, 4, BIAS | EMB | UP, 1},
    {3, 16, 16, 40, {40}, 4, BIAS, .margin = 3},
    {2, 16, 16, 64, {34}, 2, BIAS},
    {1, 16, 24, 64, {4, 4}, 2, BIAS},
    /* no statistics: small or odd sizes, odd channels, groups of one channel */
    {2, 8, 8, 64, {320}, 32, BIAS, 1},
    {1, 17, 9, 64, {64}, 32, BIAS},
    {2, 20, 16, 16, {320}, 32, BIAS, 1},
    {1, 16, 16, 64, {33}, 1, BIAS},
    {1, 16, 16, 64, {32}, 32, BIAS},
    {1, 16, 16, 64, {33, 31}, 2, BIAS},
    /* a mean that is large beside the deviation */
    {2, 16, 16, 64, {64}, 32, .mean = 1000, .std = 1},
    {1, 64, 64, 64, {64}, 32, .mean = -1000, .std = 1},
    {2, 16, 16, 128, {128}, 4, .mean = 3.7, .std = 1e-3},
    {1, 16, 16, 64, {64}, 32, .std = 1e4},
    {1, 16, 16, 64, {64}, 32, .std = 1e-4},
    {1, 128, 128, 16, {16}, 2, .mean = 300, .std = 0.5},
};

static void randomise(kt_rng *r, void *test_case) {
    stats_case *c = test_case;
    int groups = KT_PICK(r, 2, 4, 8), size = KT_PICK(r, 2, 4, 10, 16, 20, 30);
    int first = KT_PICK(r, 0, 0, 2, 4, 8, 10) * groups * size / 10;
    do {
        *c = (stats_case){.n = KT_PICK(r, 1, 2, 3),
                          .h = KT_PICK(r, 8, 16, 16, 24, 32),
                          .w = KT_PICK(r, 8, 16, 16, 32, 40),
                          .in = KT_PICK(r, 4, 40, 64, 64, 128, 192),
                          .groups = groups,
                          .flags = kt_below(r, 64),
                          .conv = kt_below(r, 2),
                          .act = kt_below(r, 3) ? SDB_ACT_NONE : SDB_ACT_SILU,
                          .margin = KT_PICK(r, 0, 0, 0, 4)};
        c->out[0] = groups * size - first;
        c->out[1] = c->out[0] ? first : 0;
        if (!c->out[0])
            c->out[0] = groups * size;
        if (!c->conv)
            c->flags &= ~UP;
        if (c->flags & ALIAS)
            c->flags &= ~RESIDUAL;
    } while ((double)c->n * c->h * c->w * c->in * groups * size * (c->conv ? 9 : 1) > 5e6);
}

static const stats_case thread_cases[] = {{2, 32, 32, 64, {320}, 32, BIAS}};

static const kt_op ops[] = {{
    .name = "stats",
    .case_size = sizeof(stats_case),
    .run = run,
    .describe = describe,
    .cases = cases,
    .n_cases = KT_COUNT(cases),
    .n_random = 24,
    .randomise = randomise,
    .tolerance = tolerance,
    .thread_cases = thread_cases,
    .n_thread_cases = KT_COUNT(thread_cases),
}};

int main(int argc, char **argv) {
    return kt_main(argc, argv, "stats", ops, KT_COUNT(ops), NULL);
}
