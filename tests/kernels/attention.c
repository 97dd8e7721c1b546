/* attention on every backend: see kernels.h. */
#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct attention_case {
    int n, tq, tk, heads, dim;
    int causal, margin;
    double sharp; /* factor of the scores: large ones make a row of one key; 0: 1 */
    int fused;    /* q, k and v are channel ranges of one tensor (tq == tk) */
} attention_case;

static void run_attention(kt_device *d, const void *test_case) {
    const attention_case *c = test_case;
    int width = c->heads * c->dim;
    double sharp = c->sharp > 0 ? c->sharp : 1.0;
    sdb_attention op = {
        .q = kt_input(d, c->n, c->tq, 1, c->fused ? 3 * width : width, c->margin),
        .heads = c->heads,
        .causal = c->causal,
        .scale = (float)(sharp / sqrt(c->dim)),
    };
    if (c->fused) {
        sdb_tensor qkv = op.q;
        size_t step = (size_t)width * (qkv.type == SDB_F32 ? 4 : 2);
        op.q.c = width;
        op.k = op.v = op.q;
        op.k.data = qkv.data ? (char *)qkv.data + step : NULL;
        op.v.data = qkv.data ? (char *)qkv.data + 2 * step : NULL;
    } else {
        op.k = kt_input(d, c->n, c->tk, 1, width, c->margin);
        op.v = kt_input_with(d, c->n, c->tk, 1, width, c->margin ? 1 : 0, 0.5, 1.0);
    }
    op.y = kt_output(d, c->n, c->tq, 1, width, c->margin);
    d->flops = 4.0 * c->n * c->tq * c->tk * width;
    KT_RUN(d, attention, &op);
}

static void describe(char *text, size_t size, const void *test_case) {
    const attention_case *c = test_case;
    snprintf(text, size, "%dx%d x %d keys, %d heads of %d%s%s%s ld+%d", c->n, c->tq, c->tk,
             c->heads, c->dim, c->causal ? " causal" : "", c->sharp > 0 ? " sharp" : "",
             c->fused ? " fused" : "", c->margin);
}

/* An error of the scores, 2^-24 of their size, is one of the result as exp makes a factor of it. */
static double tolerance(const void *test_case) {
    const attention_case *c = test_case;
    return c->sharp > 1 ? KT_TOLERANCE * c->sharp : KT_TOLERANCE;
}

static const attention_case cases[] = {
    {1, 1, 1, 1, 1},
    {3, 7, 5, 2, 1, .margin = 1},
    {1, 5, 77, 3, 8, .margin = 5},
    {2, 64, 77, 8, 40},
    {3, 17, 17, 4, 40, .fused = 1},
    {1, 77, 77, 12, 64, .causal = 1},
    {2, 77, 77, 3, 64, .causal = 1, .fused = 1, .margin = 3},
    {1, 33, 300, 2, 80, .margin = 4},
    {1, 20, 1031, 2, 160},
    {1, 50, 1031, 1, 40},
    {1, 40, 40, 1, 512},
    {1, 9, 300, 1, 512, .margin = 1},
    {1, 300, 300, 1, 33, .causal = 1},
    {1, 130, 3, 2, 8},
    {1, 1, 1031, 1, 64},
    {1, 16, 300, 2, 40, .sharp = 30},
    {1, 70, 70, 2, 16, .causal = 1, .sharp = 100},
    {1, 4, 9, 1, 1024},
    {2, 300, 300, 2, 40, .fused = 1},
    {1, 200, 515, 1, 80},
    {1, 130, 520, 1, 512},
    {1, 200, 515, 2, 40, .sharp = 10},
    {1, 260, 400, 2, 40, .sharp = 30},
    {1, 70, 333, 2, 64, .sharp = 30},
    {1, 70, 333, 2, 80, .sharp = 30},
    {1, 70, 333, 1, 128, .sharp = 30},
    {1, 70, 333, 1, 160, .sharp = 30},
    {1, 70, 333, 1, 512, .sharp = 30},
    /* more pieces than a card has multiprocessors */
    {1, 3, 130, 280, 40},
    {1, 3, 130, 280, 64},
    {1, 3, 130, 280, 80, .sharp = 30},
    {1, 3, 130, 140, 160},
    {1, 1, 130, 140, 512},
};

static void randomise(kt_rng *r, void *test_case) {
    attention_case *c = test_case;
    do {
        *c = (attention_case){.n = KT_PICK(r, 1, 1, 3),
                              .tq = KT_PICK(r, 1, 5, 16, 33, 77, 130),
                              .tk = KT_PICK(r, 1, 3, 16, 65, 77, 129, 300),
                              .heads = KT_PICK(r, 1, 2, 3, 8),
                              .dim = KT_PICK(r, 1, 4, 8, 17, 40, 64, 80, 160),
                              .causal = kt_below(r, 3) == 0,
                              .fused = kt_below(r, 3) == 0,
                              .margin = KT_PICK(r, 0, 0, 1, 4, 7)};
        if (c->fused || c->causal)
            c->tk = c->tq;
    } while ((double)c->n * c->tq * c->tk * c->heads * c->dim > 1e6);
}

static const attention_case thread_cases[] = {
    {2, 130, 130, 8, 40, .fused = 1},
    {1, 77, 77, 12, 64, .causal = 1},
    {1, 70, 333, 1, 512},
    {2, 256, 77, 2, 80},
};

/* SD 1.5 at 512x512: self and cross of each level with guidance, CLIP, then the decoder. */
static const attention_case bench_cases[] = {
    {2, 4096, 4096, 8, 40, .fused = 1}, {2, 4096, 77, 8, 40},
    {2, 1024, 1024, 8, 80, .fused = 1}, {2, 1024, 77, 8, 80},
    {2, 256, 256, 8, 160, .fused = 1},  {2, 256, 77, 8, 160},
    {2, 77, 77, 12, 64, .causal = 1},   {1, 4096, 4096, 1, 512},
};

static const kt_op ops[] = {{
    .name = "attention",
    .case_size = sizeof(attention_case),
    .run = run_attention,
    .describe = describe,
    .cases = cases,
    .n_cases = KT_COUNT(cases),
    .n_random = 100,
    .randomise = randomise,
    .tolerance = tolerance,
    .thread_cases = thread_cases,
    .n_thread_cases = KT_COUNT(thread_cases),
    .bench_cases = bench_cases,
    .n_bench_cases = KT_COUNT(bench_cases),
}};

/* ------------------------------------------------------------------------------- known answers */

/* One channel, two tokens, two keys: q = (0, 1), k = (0, ln 3), v = (1, 5). */
static void run_known(kt_device *d, const void *test_case) {
    static const double q[2] = {0, 1}, v[2] = {1, 5};
    const double k[2] = {0, log(3)};
    const bool *causal = test_case;
    sdb_attention op = {.q = kt_values(d, SDB_F32, 2, 1, q),
                        .k = kt_values(d, SDB_F32, 2, 1, k),
                        .v = kt_values(d, SDB_F32, 2, 1, v),
                        .y = kt_output(d, 2, 1, 1, 1, 0),
                        .heads = 1,
                        .causal = *causal,
                        .scale = 1.0f};
    sdb_tensor *tensors[4] = {&op.q, &op.k, &op.v, &op.y};
    for (int i = 0; i < 4; i++) {
        tensors[i]->n = 1;
        tensors[i]->h = 2;
    }
    KT_RUN(d, attention, &op);
}

/* Token 0 weighs both keys alike; token 1 with 1 : 3. */
START_TEST(test_two_tokens) {
    size_t n;
    double *y = kt_reference(run_known, &(bool){_i == 1}, &n);
    ck_assert_uint_eq(n, 2);
    ck_assert_double_eq_tol(y[0], _i == 1 ? 1 : 3, 1e-6);
    ck_assert_double_eq_tol(y[1], 4, 1e-6);
    free(y);
}
END_TEST

static void add(TCase *tc) {
    tcase_add_loop_test(tc, test_two_tokens, 0, 2);
}

int main(int argc, char **argv) {
    return kt_main(argc, argv, "attention", ops, KT_COUNT(ops), add);
}
