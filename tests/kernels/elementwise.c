/* embed, timestep_embedding, combine, activation and posterior on every backend: see kernels.h. */
#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct shape_case {
    int n, h, w, c, margin;
    int in_place;
    int variant; /* of the operation: what `text` says */
    const char *text;
    sdb_type type;
} shape_case;

static void describe(char *text, size_t size, const void *test_case) {
    const shape_case *c = test_case;
    snprintf(text, size, "%dx%dx%dx%d%s ld+%d %s", c->n, c->h, c->w, c->c,
             c->in_place ? " in place" : "", c->margin, c->text ? c->text : "");
}

static void random_shape(kt_rng *r, void *test_case) {
    *(shape_case *)test_case = (shape_case){.n = KT_PICK(r, 1, 2, 3),
                                            .h = KT_PICK(r, 1, 5, 17),
                                            .w = KT_PICK(r, 1, 3, 9, 16),
                                            .c = KT_PICK(r, 1, 3, 4, 17, 33, 40),
                                            .margin = KT_PICK(r, 0, 0, 1, 4, 7),
                                            .in_place = kt_below(r, 2),
                                            .type = (sdb_type)kt_below(r, 3)};
}

/* ---------------------------------------------------------------------------------------- embed */

#define ROWS 50

static void run_embed(kt_device *d, const void *test_case) {
    const shape_case *c = test_case;
    double ids[256];
    for (int i = 0; i < c->n * c->h; i++)
        ids[i] = i == 0 ? ROWS - 1 : kt_below(&d->rng, ROWS);
    sdb_embed op = {
        .ids = kt_values(d, SDB_I32, c->n * c->h, 1, ids),
        .y = kt_output(d, c->n, c->h, 1, c->c, c->margin),
        .token = kt_weight(d, &(kt_weight_args){.kind = SDB_WEIGHT_EMBEDDING,
                                                .in = c->c,
                                                .rows = {ROWS},
                                                .type = c->type}),
        .position = kt_weight(d, &(kt_weight_args){.kind = SDB_WEIGHT_EMBEDDING,
                                                   .in = c->c,
                                                   .rows = {c->h},
                                                   .type = c->type}),
    };
    op.ids.n = c->n;
    op.ids.h = c->h;
    KT_RUN(d, embed, &op);
}

static const shape_case embed_cases[] = {{1, 1, 1, 1},
                                         {3, 7, 1, 3, 1},
                                         {1, 77, 1, 33, 4, .type = SDB_F16},
                                         {3, 77, 1, 768, .type = SDB_F16},
                                         {2, 5, 1, 40, .type = SDB_BF16}};

/* --------------------------------------------------------------------------- timestep_embedding */

static void run_timestep(kt_device *d, const void *test_case) {
    static const double steps[4] = {0, 1, 981, 999};
    const shape_case *c = test_case;
    sdb_timestep_embedding op = {.t = kt_values(d, SDB_F32, c->n, 1, steps),
                                 .y = kt_output(d, c->n, 1, 1, c->c, c->margin)};
    KT_RUN(d, timestep_embedding, &op);
}

/* The angle t f is up to 999 and its rounding to float32 alone 3e-5. */
static double timestep_tolerance(const void *test_case) {
    (void)test_case;
    return 3e-5;
}

static const shape_case timestep_cases[] = {
    {1, 1, 1, 2}, {4, 1, 1, 320}, {3, 1, 1, 33, 5}, {2, 1, 1, 7, 1}, {4, 1, 1, 128, 4}};

/* -------------------------------------------------------------------------------------- combine */

enum { COPY, COEF, COPY_F32, BROADCAST, EIGHT, TO_F16, FROM_F16, N_VARIANTS };

static const char *const variant_names[N_VARIANTS] = {
    "copy", "three terms", "to float32", "broadcast", "eight terms", "to float16", "from float16"};

static void run_combine(kt_device *d, const void *test_case) {
    static const double coefs[SDB_MAX_TERMS] = {0.9, -7.5, 8.5, 0.1, 1, -2, 3, 0.25};
    const shape_case *c = test_case;
    bool copies = c->variant != COEF && c->variant != BROADCAST && c->variant != EIGHT;
    sdb_type act = d->act;
    sdb_combine op = {.n_terms = copies ? 1 : c->variant == EIGHT ? 8 : 3};
    if (c->variant == FROM_F16)
        d->act = SDB_F16;
    for (int i = 0; i < op.n_terms; i++) {
        bool in_place = c->in_place && i == op.n_terms / 2;
        int n = c->variant == BROADCAST && i != 1 ? 1 : c->n;
        op.x[i] = in_place ? kt_inout(d, c->n, c->h, c->w, c->c, c->margin)
                           : kt_input(d, n, c->h, c->w, c->c, i % 2 ? 0 : c->margin);
    }
    d->act = act;
    if (c->in_place)
        op.y = op.x[op.n_terms / 2];
    else
        op.y = kt_output_typed(d,
                               c->variant == COPY_F32 ? SDB_F32
                               : c->variant == TO_F16 ? SDB_F16
                                                      : act,
                               c->n, c->h, c->w, c->c, c->margin ? 2 : 0);
    if (!copies && c->h != 5) /* without: all ones */
        op.coef = kt_values(d, SDB_F32, 1, op.n_terms, coefs);
    d->bytes = 4.0 * c->n * c->h * c->w * c->c * (op.n_terms + 1);
    KT_RUN(d, combine, &op);
}

/* Float16 outputs are compared with the reference's float16 ones: a rounding the other way may
 * come from float64 against float32 arithmetic, but not in a copy. */
static const shape_case combine_cases[] = {
    {1, 1, 1, 1, .text = "copy"},
    {3, 1, 7, 3, 3, .text = "copy"},
    {1, 5, 3, 33, 5, .variant = COEF, .text = "three terms, no coef"},
    {2, 17, 9, 4, .variant = COEF, .text = "three terms"},
    {3, 17, 9, 4, 1, .variant = BROADCAST, .text = "broadcast"},
    {3, 17, 9, 40, 4, 1, .variant = COEF, .text = "three terms"},
    {2, 8, 8, 320, .variant = EIGHT, .text = "eight terms"},
    {1, 17, 9, 33, .variant = COPY_F32, .text = "to float32"},
    {2, 17, 9, 33, 3, .variant = TO_F16, .text = "to float16"},
    {2, 17, 9, 33, 3, .variant = FROM_F16, .text = "from float16"},
};

static void random_combine(kt_rng *r, void *test_case) {
    shape_case *c = test_case;
    random_shape(r, c);
    c->variant = kt_below(r, N_VARIANTS);
    c->text = variant_names[c->variant];
    if (c->variant == COPY || c->variant >= TO_F16 || c->variant == COPY_F32)
        c->in_place = 0;
}

/* ----------------------------------------------------------------------------------- activation */

static void run_activation(kt_device *d, const void *test_case) {
    const shape_case *c = test_case;
    sdb_activation op = {.act = (sdb_act)c->variant};
    if (c->in_place) {
        op.x = op.y = kt_inout_with(d, c->n, c->h, c->w, c->c, c->margin, 0.0, 4.0);
    } else {
        op.x = kt_input_with(d, c->n, c->h, c->w, c->c, c->margin, 0.0, 4.0);
        op.y = kt_output(d, c->n, c->h, c->w, c->c, c->margin ? 2 : 0);
    }
    d->bytes = 8.0 * c->n * c->h * c->w * c->c;
    KT_RUN(d, activation, &op);
}

static const shape_case activation_cases[] = {{1, 1, 1, 1, 0, 0, SDB_ACT_SILU, "silu"},
                                              {3, 5, 3, 33, 3, 0, SDB_ACT_SILU, "silu"},
                                              {2, 17, 9, 40, 1, 1, SDB_ACT_SILU, "silu"},
                                              {1, 17, 9, 33, 0, 0, SDB_ACT_GELU, "gelu"},
                                              {1, 1, 7, 3, 5, 1, SDB_ACT_GELU, "gelu"},
                                              {3, 77, 1, 64, 0, 1, SDB_ACT_QUICK_GELU, "quick"},
                                              {1, 5, 3, 4, 4, 0, SDB_ACT_QUICK_GELU, "quick"},
                                              {2, 17, 9, 40, 1, 1, SDB_ACT_RELU, "relu"},
                                              {2, 5, 3, 4, 4, 0, SDB_ACT_NONE, "none"}};

static void random_activation(kt_rng *r, void *test_case) {
    random_shape(r, test_case);
    ((shape_case *)test_case)->variant = kt_below(r, 5);
}

/* ------------------------------------------------------------------------------------ posterior */

static void run_posterior(kt_device *d, const void *test_case) {
    const shape_case *c = test_case;
    /* wide enough that logvar is clamped on both sides */
    sdb_posterior op = {
        .moments = kt_input_with(d, c->n, c->h, c->w, 2 * c->c, c->margin, 0.0,
                                 c->variant == 2 ? 15.0 : 1.0),
        .y = kt_output(d, c->n, c->h, c->w, c->c, c->margin),
        .scale = 0.18215f,
    };
    if (c->variant)
        op.noise = kt_input(d, c->n, c->h, c->w, c->c, c->margin ? 1 : 0);
    KT_RUN(d, posterior, &op);
}

static const shape_case posterior_cases[] = {{1, 1, 1, 1, 0, 0, 1, "noise"},
                                             {3, 1, 7, 3, 1, 0, 0, "mean"},
                                             {1, 5, 3, 4, 0, 0, 1, "noise"},
                                             {3, 17, 9, 4, 5, 0, 2, "clamp"},
                                             {1, 17, 9, 33, 0, 0, 2, "clamp"}};

/* ---------------------------------------------------------------------------------------- table */

static const shape_case map_threads[] = {{2, 33, 17, 40, 3, 0, 1, "1"},
                                         {1, 64, 64, 4, 0, 1, 1, "1"}};
static const shape_case embed_threads[] = {{3, 77, 1, 65}};
static const shape_case combine_bench[] = {
    {2, 64, 64, 320, 320, .variant = COPY, .text = "copy out of a concatenation"},
    {2, 64, 64, 4, .variant = COEF, .text = "three terms"}};
static const shape_case activation_bench[] = {{2, 4096, 1, 320, 0, 0, SDB_ACT_SILU, "silu"},
                                              {2, 4096, 1, 320, 0, 0, SDB_ACT_GELU, "gelu"}};

#define SHAPE_OP(op_name, run_fn, table, random, random_fn)                                        \
    .name = op_name, .case_size = sizeof(shape_case), .run = run_fn, .describe = describe,         \
    .cases = table, .n_cases = KT_COUNT(table), .n_random = random, .randomise = random_fn

static const kt_op ops[] = {
    {SHAPE_OP("embed", run_embed, embed_cases, 0, NULL), .thread_cases = embed_threads,
     .n_thread_cases = KT_COUNT(embed_threads)},
    {SHAPE_OP("timestep_embedding", run_timestep, timestep_cases, 0, NULL),
     .tolerance = timestep_tolerance, .thread_cases = timestep_cases,
     .n_thread_cases = KT_COUNT(timestep_cases)},
    {SHAPE_OP("combine", run_combine, combine_cases, 80, random_combine),
     .thread_cases = map_threads, .n_thread_cases = KT_COUNT(map_threads),
     .bench_cases = combine_bench, .n_bench_cases = KT_COUNT(combine_bench)},
    {SHAPE_OP("activation", run_activation, activation_cases, 40, random_activation),
     .thread_cases = map_threads, .n_thread_cases = KT_COUNT(map_threads),
     .bench_cases = activation_bench, .n_bench_cases = KT_COUNT(activation_bench)},
    {SHAPE_OP("posterior", run_posterior, posterior_cases, 0, NULL),
     .thread_cases = posterior_cases, .n_thread_cases = KT_COUNT(posterior_cases)},
};

/* ------------------------------------------------------------------------------- known answers */

/* Rounding to 16 bits: ties to even, the border to infinity, subnormals. */
static const double to_round[] = {1 + 0x1p-11, 1 + 3 * 0x1p-11, 65519.0,       65520.0,
                                  -1e30,       0x1p-25,         1.5 * 0x1p-24, -0.75 * 0x1p-24,
                                  1 + 0x1p-8,  1 + 3 * 0x1p-8};

static void run_round(kt_device *d, const void *test_case) {
    const sdb_type *type = test_case;
    sdb_combine op = {.n_terms = 1,
                      .x = {kt_values(d, SDB_F32, 1, KT_COUNT(to_round), to_round)},
                      .y = kt_output_typed(d, *type, 1, 1, 1, KT_COUNT(to_round), 0)};
    KT_RUN(d, combine, &op);
}

START_TEST(test_rounding) {
    static const double f16[] = {1, 1 + 0x1p-9, 65504.0,  INFINITY,   -INFINITY,
                                 0, 0x1p-23,    -0x1p-24, 1 + 0x1p-8, 1 + 3 * 0x1p-8};
    static const double bf16[] = {
        1, 1, 65536.0, 65536.0, -0x1.94p99, 0x1p-25, 1.5 * 0x1p-24, -0.75 * 0x1p-24, 1, 1 + 0x1p-6};
    sdb_type type = _i == 0 ? SDB_F16 : SDB_BF16;
    const double *expected = _i == 0 ? f16 : bf16;
    size_t n;
    double *y = kt_reference(run_round, &type, &n);
    ck_assert_uint_eq(n, KT_COUNT(to_round));
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(y[i] == expected[i], "%a to type %d: %a, expected %a", to_round[i], type,
                      y[i], expected[i]);
    free(y);
}
END_TEST

static void run_step_one(kt_device *d, const void *test_case) {
    static const double one[1] = {1};
    const int *c = test_case;
    sdb_timestep_embedding op = {.t = kt_values(d, SDB_F32, 1, 1, one),
                                 .y = kt_output(d, 1, 1, 1, *c, 0)};
    KT_RUN(d, timestep_embedding, &op);
}

/* Frequencies 1 and 10000^(-1/2) = 0.01; cosines first. */
START_TEST(test_timestep_order) {
    size_t n;
    double *y = kt_reference(run_step_one, &(int){5}, &n);
    const double expected[5] = {cos(1), cos(0.01), sin(1), sin(0.01), 0};
    for (size_t i = 0; i < 5; i++)
        ck_assert_double_eq_tol(y[i], expected[i], 1e-6);
    free(y);
}
END_TEST

static void run_two_moments(kt_device *d, const void *test_case) {
    static const double moments[4] = {1, 2, 2 * 0.69314718055994531, -1000}, noise[2] = {3, 4};
    sdb_posterior op = {.moments = kt_values(d, SDB_F32, 1, 4, moments),
                        .noise = kt_values(d, SDB_F32, 1, 2, noise),
                        .y = kt_output(d, 1, 1, 1, 2, 0),
                        .scale = 0.5f};
    (void)test_case;
    KT_RUN(d, posterior, &op);
}

START_TEST(test_posterior) {
    size_t n;
    double *y = kt_reference(run_two_moments, NULL, &n);
    ck_assert_double_eq_tol(y[0], 0.5 * (1 + 2 * 3), 1e-6);
    ck_assert_double_eq_tol(y[1], 0.5 * (2 + exp(-15) * 4), 1e-6);
    free(y);
}
END_TEST

static void add(TCase *tc) {
    tcase_add_loop_test(tc, test_rounding, 0, 2);
    tcase_add_test(tc, test_timestep_order);
    tcase_add_test(tc, test_posterior);
}

int main(int argc, char **argv) {
    return kt_main(argc, argv, "elementwise", ops, KT_COUNT(ops), add);
}
