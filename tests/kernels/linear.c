/* linear on every backend: see kernels.h. */
#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BIAS = 1, RESIDUAL = 2, ALIAS = 4, GEGLU = 8, MIXED = 16 };

typedef struct linear_case {
    int n, h, w, in;
    int parts[4]; /* rows of each, up to the first 0; GEGLU: twice the outputs */
    int flags;
    unsigned bias; /* which parts have one, where not all (BIAS) */
    sdb_act act;
    float scale; /* 0: 1 */
    int margin;
    sdb_type type;
} linear_case;

static void run_linear(kt_device *d, const void *test_case) {
    const linear_case *c = test_case;
    kt_weight_args args = {.kind = c->flags & GEGLU ? SDB_WEIGHT_GEGLU : SDB_WEIGHT_LINEAR,
                           .in = c->in,
                           .type = c->type,
                           .mixed = c->flags & MIXED,
                           .bias = c->flags & BIAS ? 0xff : c->bias};
    int rows = 0;
    for (; args.n_parts < 4 && c->parts[args.n_parts]; args.n_parts++)
        rows += args.rows[args.n_parts] = c->parts[args.n_parts];
    int out = c->flags & GEGLU ? rows / 2 : rows;
    sdb_linear op = {
        .x = kt_input(d, c->n, c->h, c->w, c->in, c->margin),
        .weight = kt_weight(d, &args),
        .geglu = c->flags & GEGLU,
        .act = c->act,
        .scale = c->scale != 0 ? c->scale : 1.0f,
    };
    if (c->flags & ALIAS)
        op.y = op.residual = kt_inout(d, c->n, c->h, c->w, out, c->margin);
    else
        op.y = kt_output(d, c->n, c->h, c->w, out, c->margin);
    if (c->flags & RESIDUAL)
        op.residual = kt_input(d, c->n, c->h, c->w, out, c->margin ? 2 : 0);
    d->flops = 2.0 * c->n * c->h * c->w * c->in * rows;
    KT_RUN(d, linear, &op);
}

static void describe(char *text, size_t size, const void *test_case) {
    const linear_case *c = test_case;
    static const char *types[] = {"f32", "f16", "bf16"},
                      *acts[] = {"", " silu", " qgelu", " gelu", " relu"};
    char rows[64] = "";
    for (int i = 0, at = 0; i < 4 && c->parts[i]; i++)
        at += snprintf(rows + at, sizeof rows - (size_t)at, "%s%d", i ? "+" : "", c->parts[i]);
    snprintf(text, size, "%dx%dx%dx%d -> %s%s%s%s%s%s %s%s ld+%d", c->n, c->h, c->w, c->in, rows,
             c->flags & GEGLU ? " geglu" : "",
             c->flags & BIAS ? " bias"
             : c->bias       ? " some bias"
                             : "",
             acts[c->act], c->scale != 0 ? " scale" : "",
             c->flags & ALIAS      ? " y+="
             : c->flags & RESIDUAL ? " residual"
                                   : "",
             types[c->type], c->flags & MIXED ? " mixed" : "", c->margin);
}

static const linear_case cases[] = {
    {1, 1, 1, 1, {1}},
    {3, 1, 7, 3, {4}, BIAS},
    {1, 5, 3, 40, {33}, BIAS | RESIDUAL, .margin = 3},
    {3, 17, 9, 33, {40}, BIAS, .act = SDB_ACT_SILU, .margin = 1, .type = SDB_F16},
    {2, 77, 1, 320, {320, 320, 320}, BIAS, .type = SDB_F16},
    {2, 77, 1, 64, {40, 3, 17}, 0, 2, .type = SDB_BF16},
    {1, 64, 1, 40, {40, 40}, MIXED, 1, .type = SDB_F16},
    {2, 1, 1, 320, {1280}, BIAS, .act = SDB_ACT_SILU},
    {2, 1, 1, 1280, {320}, BIAS, .type = SDB_F16},
    {1, 50, 1, 320, {2560}, GEGLU | BIAS, .type = SDB_F16},
    {3, 7, 1, 33, {34}, GEGLU | BIAS, .margin = 5},
    {1, 5, 3, 40, {2}, GEGLU},
    {1, 5, 3, 40, {66}, GEGLU | BIAS | RESIDUAL, .scale = 0.7f, .type = SDB_BF16},
    {1, 77, 1, 96, {384}, BIAS, .act = SDB_ACT_QUICK_GELU},
    {1, 77, 1, 96, {100}, BIAS, .act = SDB_ACT_GELU, .margin = 4},
    {1, 100, 1, 320, {320}, BIAS | ALIAS, .scale = 0.7f, .margin = 6},
    {2, 16, 16, 320, {4}, BIAS},
    {1, 300, 1, 1031, {17}, BIAS, .type = SDB_BF16},
    {1, 13, 1, 4100, {33}, BIAS, .type = SDB_F16},
    /* more tiles than a large card has multiprocessors */
    {1, 41, 129, 64, {488}, BIAS | RESIDUAL, .scale = 0.7f, .type = SDB_F16},
    {1, 43, 123, 64, {656}, GEGLU | BIAS, .type = SDB_F16},
};

static void randomise(kt_rng *r, void *test_case) {
    linear_case *c = test_case;
    do {
        *c = (linear_case){.n = KT_PICK(r, 1, 1, 3),
                           .h = KT_PICK(r, 1, 5, 17, 77, 130),
                           .w = KT_PICK(r, 1, 1, 3, 9),
                           .in = KT_PICK(r, 1, 3, 4, 33, 40, 320, 515),
                           .flags = kt_below(r, 32),
                           .act = (sdb_act)kt_below(r, 5),
                           .scale = kt_below(r, 3) ? 0 : 1.3f,
                           .margin = KT_PICK(r, 0, 0, 1, 4, 7),
                           .type = (sdb_type)kt_below(r, 3)};
        int n_parts = c->flags & GEGLU ? 1 : 1 + kt_below(r, 4);
        for (int i = 0; i < n_parts; i++)
            c->parts[i] =
                2 * KT_PICK(r, 1, 2, 8, 17, 20, 33) - (c->flags & GEGLU ? 0 : kt_below(r, 2));
        c->bias = (unsigned)kt_below(r, 16) & ((1u << n_parts) - 1);
        if (c->flags & GEGLU)
            c->act = SDB_ACT_NONE;
        if (c->flags & ALIAS)
            c->flags &= ~RESIDUAL;
    } while ((double)c->n * c->h * c->w * c->in > 4e5);
}

static const linear_case thread_cases[] = {
    {2, 77, 1, 320, {320, 64}, BIAS | RESIDUAL, .type = SDB_F16},
    {1, 16, 16, 320, {640}, GEGLU | BIAS, .type = SDB_F16},
    {2, 1, 1, 320, {1280}, BIAS, .act = SDB_ACT_SILU},
    {1, 5, 1, 1280, {17}, BIAS},
};

/* SD 1.5 at 512x512 with guidance: transformer blocks, skips, the time embedding, then CLIP. */
static const linear_case bench_cases[] = {
    {2, 4096, 1, 320, {320, 320, 320}, .type = SDB_F16},
    {2, 4096, 1, 320, {320}, BIAS | RESIDUAL, .type = SDB_F16},
    {2, 4096, 1, 320, {2560}, GEGLU | BIAS, .type = SDB_F16},
    {2, 4096, 1, 1280, {320}, BIAS | RESIDUAL, .type = SDB_F16},
    {2, 4096, 1, 960, {320}, BIAS, .type = SDB_F16},
    {2, 1024, 1, 640, {5120}, GEGLU | BIAS, .type = SDB_F16},
    {2, 1024, 1, 2560, {640}, BIAS | RESIDUAL, .type = SDB_F16},
    {2, 256, 1, 1280, {10240}, GEGLU | BIAS, .type = SDB_F16},
    {2, 256, 1, 5120, {1280}, BIAS | RESIDUAL, .type = SDB_F16},
    {2, 64, 1, 2560, {1280}, BIAS, .type = SDB_F16},
    {2, 77, 1, 768, {320, 320}, .type = SDB_F16},
    {2, 1, 1, 1280, {1280}, BIAS, .act = SDB_ACT_SILU, .type = SDB_F16},
    {2, 77, 1, 768, {3072}, BIAS, .act = SDB_ACT_QUICK_GELU, .type = SDB_F16},
    {1, 4096, 1, 512, {512, 512, 512}, BIAS, .type = SDB_F16},
};

static const kt_op ops[] = {{
    .name = "linear",
    .case_size = sizeof(linear_case),
    .run = run_linear,
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

static const double known_x[2] = {1, 2};

static void run_known(kt_device *d, const void *test_case) {
    static const float matrix[4] = {0.5f, 0.25f, -1, 1}, bias[2] = {1, 0};
    const sdb_weight_kind *kind = test_case;
    sdb_linear op = {
        .x = kt_values(d, SDB_F32, 1, 2, known_x),
        .y = kt_output(d, 1, 1, 1, *kind == SDB_WEIGHT_GEGLU ? 1 : 2, 0),
        .weight = kt_weight_values(d, *kind, 2, 2, matrix, bias),
        .geglu = *kind == SDB_WEIGHT_GEGLU,
        .act = *kind == SDB_WEIGHT_GEGLU ? SDB_ACT_NONE : SDB_ACT_SILU,
        .scale = 3.0f,
    };
    KT_RUN(d, linear, &op);
}

/* x W^T + b = (1/2 + 1/2 + 1, -1 + 2) = (2, 1) */
START_TEST(test_silu_of_a_product) {
    size_t n;
    double *y = kt_reference(run_known, &(sdb_weight_kind){SDB_WEIGHT_LINEAR}, &n);
    ck_assert_uint_eq(n, 2);
    ck_assert_double_eq_tol(y[0], 3 * 2 / (1 + exp(-2)), 1e-6);
    ck_assert_double_eq_tol(y[1], 3 * 1 / (1 + exp(-1)), 1e-6);
    free(y);
}
END_TEST

START_TEST(test_geglu_takes_the_value_first) {
    size_t n;
    double *y = kt_reference(run_known, &(sdb_weight_kind){SDB_WEIGHT_GEGLU}, &n);
    ck_assert_uint_eq(n, 1);
    ck_assert_double_eq_tol(y[0], 3 * 2 * 0.841344746, 1e-6); /* 2 gelu(1); Phi(1) = 0.8413 */
    free(y);
}
END_TEST

static void add(TCase *tc) {
    tcase_add_test(tc, test_silu_of_a_product);
    tcase_add_test(tc, test_geglu_takes_the_value_first);
}

int main(int argc, char **argv) {
    return kt_main(argc, argv, "linear", ops, KT_COUNT(ops), add);
}
