/* conv2d on every backend: see kernels.h. */
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>

enum { BIAS = 1, EMB = 2, RESIDUAL = 4, ALIAS = 8, UP = 16, CUT_H = 32, CUT_W = 64 };

typedef struct conv_case {
    int n, h, w, in, out;
    int stride, pad, flags;
    sdb_act act;
    float scale; /* 0: 1 */
    int margin;  /* of x, y and the rest */
    sdb_type type;
    int valid; /* no padding behind either: y is smaller than x */
} conv_case;

static int out_size(const conv_case *c, int size, int cut) {
    if (c->flags & UP)
        return 2 * size - (c->flags & cut ? 1 : 0);
    int after = c->valid ? 0 : 1, out = (size + c->pad + after - 3) / c->stride + 1;
    return size + c->pad + after >= 3 ? out : 1;
}

static void run_conv(kt_device *d, const void *test_case) {
    const conv_case *c = test_case;
    int h = out_size(c, c->h, CUT_H), w = out_size(c, c->w, CUT_W);
    sdb_conv2d op = {
        .x = kt_input(d, c->n, c->h, c->w, c->in, c->margin),
        .weight = kt_weight(d, &(kt_weight_args){.kind = SDB_WEIGHT_CONV3X3,
                                                 .in = c->in,
                                                 .rows = {c->out},
                                                 .type = c->type,
                                                 .bias = c->flags & BIAS,
                                                 .upsample = c->flags & UP}),
        .stride = c->stride,
        .pad_end = c->pad == 0,
        .upsample = c->flags & UP,
        .act = c->act,
        .scale = c->scale != 0 ? c->scale : 1.0f,
    };
    if (c->flags & EMB)
        op.emb = kt_input(d, c->n, 1, 1, c->out, c->margin);
    if (c->flags & ALIAS)
        op.y = op.residual = kt_inout(d, c->n, h, w, c->out, c->margin);
    else
        op.y = kt_output(d, c->n, h, w, c->out, c->margin);
    if (c->flags & RESIDUAL)
        op.residual = kt_input(d, c->n, h, w, c->out, c->margin ? 2 : 0);
    d->flops = 18.0 * c->n * h * w * c->in * c->out;
    KT_RUN(d, conv2d, &op);
}

static void describe(char *text, size_t size, const void *test_case) {
    const conv_case *c = test_case;
    static const char *types[] = {"f32", "f16", "bf16"},
                      *acts[] = {"", " silu", " qgelu", " gelu", " relu"},
                      *ups[] = {" up", " up -row", " up -column", " up -both"};
    snprintf(text, size, "%dx%dx%dx%d -> %d%s stride %d pad %d%s%s%s%s%s%s%s ld+%d", c->n, c->h,
             c->w, c->in, c->out, c->flags & UP ? ups[c->flags / CUT_H] : "", c->stride, c->pad,
             c->flags & BIAS ? " bias" : "", c->flags & EMB ? " emb" : "", acts[c->act],
             c->scale != 0 ? " scale" : "",
             c->flags & ALIAS      ? " y+="
             : c->flags & RESIDUAL ? " residual"
                                   : "",
             c->type ? " " : "", c->type ? types[c->type] : "", c->margin);
}

static const conv_case cases[] = {
    {1, 1, 1, 1, 1, 1, 1, 0},
    {3, 1, 7, 3, 4, 1, 1, BIAS},
    {1, 7, 1, 4, 3, 1, 1, BIAS, .margin = 1},
    {3, 5, 3, 33, 40, 1, 1, BIAS | EMB, SDB_ACT_SILU, .margin = 5, .type = SDB_F16},
    {1, 17, 9, 40, 33, 1, 1, BIAS | RESIDUAL, .scale = 0.5f, .margin = 3, .type = SDB_BF16},
    {1, 17, 9, 320, 320, 1, 1, BIAS | EMB | RESIDUAL, SDB_ACT_NONE},
    {2, 8, 8, 320, 64, 1, 1, BIAS | ALIAS, .type = SDB_F16},
    {1, 17, 13, 64, 64, 1, 1, BIAS | RESIDUAL, SDB_ACT_RELU},
    {1, 16, 16, 64, 64, 1, 1, BIAS, SDB_ACT_RELU, .type = SDB_F16},
    {1, 16, 16, 96, 320, 1, 1, BIAS, .type = SDB_F16},
    {1, 9, 17, 64, 64, 2, 1, BIAS, .margin = 4},
    {3, 17, 9, 64, 40, 2, 0, BIAS, .type = SDB_F16},
    {1, 8, 6, 64, 64, 2, 0, BIAS},
    {3, 5, 3, 40, 33, 1, 1, UP | BIAS, .margin = 1},
    {1, 8, 8, 64, 96, 1, 1, UP | BIAS, .type = SDB_F16},
    {1, 1, 1, 3, 4, 1, 1, UP | CUT_H | CUT_W | BIAS},
    {2, 4, 5, 33, 40, 1, 1, UP | CUT_H | BIAS | EMB, SDB_ACT_SILU, .margin = 3},
    {3, 5, 3, 40, 33, 1, 1, UP | CUT_W | BIAS | RESIDUAL, .type = SDB_BF16},
    {2, 10, 7, 320, 320, 1, 1, UP | CUT_H | CUT_W | BIAS, .type = SDB_F16},
    {1, 6, 5, 33, 4, 1, 0, BIAS, .valid = 1},
    {1, 32, 32, 4, 40, 1, 1, BIAS},
    {1, 40, 24, 40, 3, 1, 1, BIAS, .type = SDB_F16},
    {1, 8, 8, 2560, 40, 1, 1, BIAS, .type = SDB_F16},
    {2, 16, 16, 1280, 33, 1, 1, BIAS | EMB | RESIDUAL, .type = SDB_F16},
};

static void randomise(kt_rng *r, void *test_case) {
    conv_case *c = test_case;
    do {
        *c = (conv_case){.n = KT_PICK(r, 1, 1, 2, 3),
                         .h = KT_PICK(r, 1, 2, 5, 8, 13, 17),
                         .w = KT_PICK(r, 1, 3, 4, 7, 9, 16, 21),
                         .in = KT_PICK(r, 1, 3, 4, 33, 40, 64),
                         .out = KT_PICK(r, 1, 3, 4, 17, 33, 40, 64, 320),
                         .stride = KT_PICK(r, 1, 1, 2),
                         .pad = KT_PICK(r, 1, 1, 0),
                         .flags = kt_below(r, 128),
                         .act = (sdb_act)kt_below(r, 5),
                         .scale = kt_below(r, 3) ? 0 : 0.7f,
                         .margin = KT_PICK(r, 0, 0, 1, 4, 7),
                         .type = (sdb_type)kt_below(r, 3)};
        if (c->flags & UP)
            c->stride = c->pad = 1;
        else
            c->flags &= UP - 1;
        c->valid = c->pad == 0 && c->stride == 1;
        if (c->flags & ALIAS)
            c->flags &= ~RESIDUAL;
    } while ((double)c->n * c->h * c->w * c->in * c->out > 5e5 ||
             (c->valid && (c->h < 3 || c->w < 3)));
}

static const conv_case thread_cases[] = {
    {2, 16, 16, 64, 96, 1, 1, BIAS | EMB | RESIDUAL, .type = SDB_F16},
    {1, 15, 17, 40, 33, 2, 1, BIAS},
    {1, 9, 11, 64, 40, 1, 1, BIAS | UP},
    {1, 9, 11, 64, 40, 1, 1, BIAS | UP | CUT_W},
    {1, 33, 31, 4, 40, 1, 1, BIAS},
};

/* SD 1.5 at 512x512: the UNet with guidance, then the decoder. */
static const conv_case bench_cases[] = {
    {2, 64, 64, 320, 320, 1, 1, BIAS | EMB, .type = SDB_F16},
    {2, 64, 64, 640, 320, 1, 1, BIAS | EMB, .type = SDB_F16},
    {2, 64, 64, 320, 320, 2, 1, BIAS, .type = SDB_F16},
    {2, 32, 32, 640, 640, 1, 1, BIAS | EMB, .type = SDB_F16},
    {2, 32, 32, 1280, 640, 1, 1, BIAS | EMB, .type = SDB_F16},
    {2, 32, 32, 640, 640, 1, 1, BIAS | UP, .type = SDB_F16},
    {2, 16, 16, 1280, 1280, 1, 1, BIAS | EMB, .type = SDB_F16},
    {2, 16, 16, 2560, 1280, 1, 1, BIAS | EMB, .type = SDB_F16},
    {2, 8, 8, 1280, 1280, 1, 1, BIAS | EMB, .type = SDB_F16},
    {2, 64, 64, 4, 320, 1, 1, BIAS, .type = SDB_F16},
    {2, 64, 64, 320, 4, 1, 1, BIAS, .type = SDB_F16},
    {1, 64, 64, 512, 512, 1, 1, BIAS, .type = SDB_F16},
    {1, 256, 256, 512, 256, 1, 1, BIAS, .type = SDB_F16},
    {1, 512, 512, 128, 128, 1, 1, BIAS, .type = SDB_F16},
    {1, 512, 512, 128, 3, 1, 1, BIAS, .type = SDB_F16},
};

static const kt_op ops[] = {{
    .name = "conv2d",
    .case_size = sizeof(conv_case),
    .run = run_conv,
    .describe = describe,
    .cases = cases,
    .n_cases = KT_COUNT(cases),
    .n_random = 150,
    .randomise = randomise,
    .thread_cases = thread_cases,
    .n_thread_cases = KT_COUNT(thread_cases),
    .bench_cases = bench_cases,
    .n_bench_cases = KT_COUNT(bench_cases),
}};

/* ------------------------------------------------------------------------------- known answers */

/* A kernel that is 1 at one tap only moves the image: by tap (0, 2), y[i][j] = x[i - 1][j + 1]. */
static void run_shift(kt_device *d, const void *test_case) {
    static const float kernel[9] = {0, 0, 1}, bias[1] = {0.25f};
    const conv_case *c = test_case;
    sdb_tensor x = kt_inout(d, 1, c->h, c->w, 1, 0); /* an output, so that the test sees it */
    sdb_tensor y = kt_output(d, 1, out_size(c, c->h, CUT_H), out_size(c, c->w, CUT_W), 1, 0);
    sdb_conv2d op = {
        .x = x,
        .y = y,
        .weight = kt_weight_values(d, SDB_WEIGHT_CONV3X3, 1, 1, kernel, bias),
        .stride = c->stride,
        .pad_end = c->pad == 0,
        .upsample = c->flags & UP,
        .scale = 2.0f,
    };
    KT_RUN(d, conv2d, &op);
}

START_TEST(test_shift) {
    static const conv_case shifts[] = {{1, 4, 5, 1, 1, 1, 1, 0},
                                       {1, 7, 5, 1, 1, 2, 1, 0},
                                       {1, 6, 4, 1, 1, 2, 0, 0},
                                       {1, 3, 4, 1, 1, 1, 1, UP},
                                       {1, 3, 4, 1, 1, 1, 1, UP | CUT_H | CUT_W}};
    const conv_case *c = &shifts[_i];
    int zoom = c->flags & UP ? 2 : 1, h = out_size(c, c->h, CUT_H), w = out_size(c, c->w, CUT_W);
    size_t n;
    double *x = kt_reference(run_shift, c, &n), *y = x + c->h * c->w;
    ck_assert_uint_eq(n, (size_t)(c->h * c->w + h * w));
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++) {
            int row = i * c->stride - c->pad, column = j * c->stride - c->pad + 2;
            bool in_image = row >= 0 && column < (c->flags & UP ? w : c->w);
            double value = in_image ? x[row / zoom * c->w + column / zoom] : 0;
            ck_assert_double_eq_tol(y[i * w + j], 2 * (value + 0.25), 1e-6);
        }
    free(x);
}
END_TEST

static void add(TCase *tc) {
    tcase_add_loop_test(tc, test_shift, 0, 5);
}

int main(int argc, char **argv) {
    return kt_main(argc, argv, "conv2d", ops, KT_COUNT(ops), add);
}
