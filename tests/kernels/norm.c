/* group_norm and layer_norm on every backend: see kernels.h. */
#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct norm_case {
    int n, h, w, c, groups; /* groups 0: layer norm */
    sdb_act act;
    float eps;
    int margin, in_place;
    double mean, std; /* of x; both 0: 0 and 1 */
    sdb_type type;
} norm_case;

static void run_norm(kt_device *d, const void *test_case) {
    const norm_case *c = test_case;
    double std = c->mean != 0 || c->std != 0 ? c->std : 1.0;
    sdb_tensor x, y;
    if (c->in_place) {
        x = y = kt_inout_with(d, c->n, c->h, c->w, c->c, c->margin, c->mean, std);
    } else {
        x = kt_input_with(d, c->n, c->h, c->w, c->c, c->margin, c->mean, std);
        y = kt_output(d, c->n, c->h, c->w, c->c, c->margin ? 2 : 0);
    }
    const sdb_weight *weight = kt_weight(d, &(kt_weight_args){.kind = SDB_WEIGHT_VECTOR,
                                                              .in = 1,
                                                              .rows = {c->c},
                                                              .type = c->type,
                                                              .bias = 1,
                                                              .gamma = true});
    d->bytes = 8.0 * c->n * c->h * c->w * c->c;
    sdb_group_norm group = {x, y, weight, c->groups, c->eps, c->act};
    sdb_layer_norm layer = {x, y, weight, c->eps};
    if (c->groups)
        KT_RUN(d, group_norm, &group);
    else
        KT_RUN(d, layer_norm, &layer);
}

static void describe(char *text, size_t size, const void *test_case) {
    const norm_case *c = test_case;
    snprintf(text, size, "%dx%dx%dx%d%s%s ld+%d%s", c->n, c->h, c->w, c->c, c->act ? " silu" : "",
             c->in_place ? " in place" : "", c->margin,
             c->mean == 0          ? ""
             : c->std == 0         ? " constant"
             : fabs(c->mean) > 100 ? " mean >> std"
                                   : " mean 1");
}

/* x has mean m and deviation s. A float32 backend that takes the mean away from x, once rounded,
 * is off by 2^-24 m / s relative to the result: allow four times that where it is more. */
static double tolerance(const void *test_case) {
    const norm_case *c = test_case;
    double s = c->std > 0 ? c->std : sqrt((double)c->eps), lost = fabs(c->mean) / s * 0x1p-22;
    return lost > KT_TOLERANCE ? lost : KT_TOLERANCE;
}

#define GROUP_EPS 1e-5f

static const norm_case group_cases[] = {
    {1, 1, 1, 1, 1, SDB_ACT_NONE, GROUP_EPS},
    {3, 1, 7, 4, 2, SDB_ACT_SILU, GROUP_EPS, 3},
    {1, 5, 3, 33, 33, SDB_ACT_SILU, GROUP_EPS, 1},
    {3, 5, 3, 33, 1, SDB_ACT_NONE, GROUP_EPS, .type = SDB_BF16},
    {3, 17, 9, 40, 8, SDB_ACT_SILU, GROUP_EPS, 5, 1, .type = SDB_F16},
    {2, 17, 9, 320, 32, SDB_ACT_SILU, 1e-6f, .type = SDB_F16},
    {1, 17, 9, 320, 32, SDB_ACT_NONE, GROUP_EPS, 0, 1},
    {2, 16, 16, 96, 32, SDB_ACT_SILU, GROUP_EPS, 4},
    {1, 40, 40, 64, 32, SDB_ACT_SILU, 1e-6f, .type = SDB_F16},
    {2, 17, 9, 64, 32, SDB_ACT_NONE, GROUP_EPS, .mean = 1000, .std = 1},
    {1, 33, 31, 64, 4, SDB_ACT_SILU, GROUP_EPS, .mean = -1000, .std = 1},
    {2, 17, 9, 64, 32, SDB_ACT_NONE, GROUP_EPS, .mean = 3.7},
    {1, 8, 8, 64, 32, SDB_ACT_SILU, GROUP_EPS, .std = 1e-4},
    {1, 8, 8, 64, 32, SDB_ACT_SILU, GROUP_EPS, .std = 1e4},
};

static void random_group_norm(kt_rng *r, void *test_case) {
    int size = KT_PICK(r, 1, 2, 3, 8, 10, 20), groups = KT_PICK(r, 1, 2, 4, 32);
    *(norm_case *)test_case = (norm_case){.n = KT_PICK(r, 1, 3),
                                          .h = KT_PICK(r, 1, 5, 17),
                                          .w = KT_PICK(r, 1, 3, 9, 16),
                                          .c = size * groups,
                                          .groups = groups,
                                          .act = (sdb_act)kt_below(r, 2),
                                          .eps = GROUP_EPS,
                                          .margin = KT_PICK(r, 0, 0, 1, 4, 7),
                                          .in_place = kt_below(r, 2),
                                          .mean = kt_below(r, 2),
                                          .std = 1,
                                          .type = (sdb_type)kt_below(r, 3)};
}

static const norm_case layer_cases[] = {
    {1, 1, 1, 1, .eps = 1e-5f},
    {3, 1, 7, 3, .eps = 1e-5f, .margin = 1},
    {1, 5, 3, 4, .eps = 1e-5f, .in_place = 1},
    {3, 17, 9, 33, .eps = 1e-5f, .margin = 5, .type = SDB_F16},
    {2, 77, 1, 768, .eps = 1e-5f, .type = SDB_F16},
    {1, 77, 1, 320, .eps = 1e-5f, .margin = 4, .in_place = 1, .type = SDB_BF16},
    {2, 9, 1, 320, .eps = 1e-5f, .mean = 1000, .std = 1},
    {2, 9, 1, 320, .eps = 1e-5f, .mean = 3.7},
    {1, 9, 1, 1280, .eps = 1e-5f, .std = 1e4},
};

static void random_layer_norm(kt_rng *r, void *test_case) {
    random_group_norm(r, test_case);
    ((norm_case *)test_case)->groups = 0;
    ((norm_case *)test_case)->act = SDB_ACT_NONE;
}

static const norm_case group_threads[] = {
    {2, 33, 17, 64, 32, SDB_ACT_SILU, GROUP_EPS},
    {1, 64, 64, 40, 4, SDB_ACT_NONE, GROUP_EPS, 4},
    {1, 5, 5, 320, 32, SDB_ACT_SILU, GROUP_EPS},
};
static const norm_case layer_threads[] = {{2, 77, 1, 768, .eps = 1e-5f},
                                          {1, 333, 1, 40, .eps = 1e-5f, .margin = 3}};

/* SD 1.5 at 512x512: the UNet with guidance, then the decoder. */
static const norm_case group_bench[] = {
    {2, 64, 64, 320, 32, SDB_ACT_SILU, GROUP_EPS}, {2, 64, 64, 640, 32, SDB_ACT_SILU, GROUP_EPS},
    {2, 32, 32, 640, 32, SDB_ACT_SILU, GROUP_EPS}, {2, 16, 16, 1280, 32, SDB_ACT_SILU, GROUP_EPS},
    {2, 8, 8, 2560, 32, SDB_ACT_SILU, GROUP_EPS},  {1, 512, 512, 128, 32, SDB_ACT_SILU, 1e-6f},
    {1, 256, 256, 256, 32, SDB_ACT_SILU, 1e-6f},
};
static const norm_case layer_bench[] = {{2, 4096, 1, 320, .eps = 1e-5f},
                                        {2, 1024, 1, 640, .eps = 1e-5f},
                                        {2, 77, 1, 768, .eps = 1e-5f}};

static const kt_op ops[] = {
    {
        .name = "group_norm",
        .case_size = sizeof(norm_case),
        .run = run_norm,
        .describe = describe,
        .cases = group_cases,
        .n_cases = KT_COUNT(group_cases),
        .n_random = 60,
        .randomise = random_group_norm,
        .tolerance = tolerance,
        .thread_cases = group_threads,
        .n_thread_cases = KT_COUNT(group_threads),
        .bench_cases = group_bench,
        .n_bench_cases = KT_COUNT(group_bench),
    },
    {
        .name = "layer_norm",
        .case_size = sizeof(norm_case),
        .run = run_norm,
        .describe = describe,
        .cases = layer_cases,
        .n_cases = KT_COUNT(layer_cases),
        .n_random = 60,
        .randomise = random_layer_norm,
        .tolerance = tolerance,
        .thread_cases = layer_threads,
        .n_thread_cases = KT_COUNT(layer_threads),
        .bench_cases = layer_bench,
        .n_bench_cases = KT_COUNT(layer_bench),
    },
};

/* ------------------------------------------------------------------------------- known answers */

static void run_known(kt_device *d, const void *test_case) {
    static const double values[4] = {1, 3, 10, 30};
    static const float gamma[4] = {1, 1, 2, 2}, beta[4] = {0, 0, 0.5f, 0.5f};
    const int *groups = test_case;
    sdb_tensor x = kt_values(d, SDB_F32, 1, 4, values), y = kt_output(d, 1, 1, 1, 4, 0);
    const sdb_weight *weight = kt_weight_values(d, SDB_WEIGHT_VECTOR, 4, 1, gamma, beta);
    sdb_group_norm group = {x, y, weight, *groups, 3.0f, SDB_ACT_NONE};
    sdb_layer_norm layer = {x, y, weight, 3.0f};
    if (*groups)
        KT_RUN(d, group_norm, &group);
    else
        KT_RUN(d, layer_norm, &layer);
}

/* Pairs (1, 3) and (10, 30): means 2 and 20, variances 1 and 100. */
START_TEST(test_two_groups) {
    size_t n;
    double *y = kt_reference(run_known, &(int){2}, &n), r = 10 / sqrt(103);
    ck_assert_uint_eq(n, 4);
    ck_assert_double_eq_tol(y[0], -0.5, 1e-6);
    ck_assert_double_eq_tol(y[1], 0.5, 1e-6);
    ck_assert_double_eq_tol(y[2], -2 * r + 0.5, 1e-6);
    ck_assert_double_eq_tol(y[3], 2 * r + 0.5, 1e-6);
    free(y);
}
END_TEST

/* (1, 3, 10, 30): mean 11, variance (100 + 64 + 1 + 361) / 4 = 131.5. */
START_TEST(test_layer) {
    size_t n;
    double *y = kt_reference(run_known, &(int){0}, &n), r = 1 / sqrt(134.5);
    ck_assert_uint_eq(n, 4);
    ck_assert_double_eq_tol(y[0], -10 * r, 1e-6);
    ck_assert_double_eq_tol(y[1], -8 * r, 1e-6);
    ck_assert_double_eq_tol(y[2], -2 * r + 0.5, 1e-6);
    ck_assert_double_eq_tol(y[3], 38 * r + 0.5, 1e-6);
    free(y);
}
END_TEST

static void add(TCase *tc) {
    tcase_add_test(tc, test_two_groups);
    tcase_add_test(tc, test_layer);
}

int main(int argc, char **argv) {
    return kt_main(argc, argv, "norm", ops, KT_COUNT(ops), add);
}
