/* resample, modulate, quantize, embed without positions, blend, clamp and rescale on every backend:
 * see kernels.h. */
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct latent_case {
    int n, h, w, c, margin; /* of x */
    int variant;            /* of the operation */
    sdb_type type;          /* of a codebook */
} latent_case;

static void describe(char *text, size_t size, const void *test_case) {
    const latent_case *c = test_case;
    snprintf(text, size, "%dx%dx%dx%d ld+%d variant %d type %d", c->n, c->h, c->w, c->c, c->margin,
             c->variant, (int)c->type);
}

static void randomise(kt_rng *r, void *test_case) {
    *(latent_case *)test_case = (latent_case){.n = KT_PICK(r, 1, 2, 3),
                                              .h = KT_PICK(r, 2, 4, 6, 18),
                                              .w = KT_PICK(r, 2, 4, 10, 16),
                                              .c = KT_PICK(r, 1, 3, 4, 17, 33, 40),
                                              .margin = KT_PICK(r, 0, 0, 1, 4, 7),
                                              .variant = kt_below(r, 2),
                                              .type = (sdb_type)kt_below(r, 3)};
}

/* ------------------------------------------------------------------------------------- resample */

enum { DOWN, UP };

static void run_resample(kt_device *d, const void *test_case) {
    const latent_case *c = test_case;
    int h = c->variant == UP ? 2 * c->h : c->h / 2, w = c->variant == UP ? 2 * c->w : c->w / 2;
    sdb_resample op = {.x = kt_input(d, c->n, c->h, c->w, c->c, c->margin),
                       .y = kt_output(d, c->n, h, w, c->c, c->margin ? 2 : 0)};
    KT_RUN(d, resample, &op);
}

static const latent_case resample_cases[] = {
    {1, 2, 2, 1, 0, DOWN}, {3, 4, 6, 3, 1, DOWN}, {2, 8, 10, 33, 0, DOWN},
    {1, 1, 1, 1, 0, UP},   {3, 5, 3, 4, 5, UP},   {2, 7, 9, 40, 0, UP},
};

/* ------------------------------------------------------------------------------------- modulate */

static void run_modulate(kt_device *d, const void *test_case) {
    const latent_case *c = test_case;
    sdb_modulate op = {.scale = kt_input(d, c->n, 1, 1, c->c, c->margin),
                       .shift = kt_input(d, c->n, 1, 1, c->c, 0),
                       .act = c->variant ? SDB_ACT_SILU : SDB_ACT_NONE};
    op.x = op.y = kt_inout(d, c->n, c->h, c->w, c->c, c->margin);
    if (c->variant == 0) { /* not in place */
        op.x = kt_input(d, c->n, c->h, c->w, c->c, c->margin);
    }
    KT_RUN(d, modulate, &op);
}

static const latent_case modulate_cases[] = {
    {1, 1, 1, 1, 0, 0},
    {3, 1, 7, 3, 1, 1},
    {1, 5, 3, 33, 5, 0},
    {2, 17, 9, 64, 0, 1},
};

/* ------------------------------------------------------------------------------------- quantize */

static void run_quantize(kt_device *d, const void *test_case) {
    const latent_case *c = test_case;
    sdb_quantize op = {
        .codebook = kt_weight(d, &(kt_weight_args){.kind = SDB_WEIGHT_EMBEDDING,
                                                   .in = c->c,
                                                   .rows = {c->variant ? 700 : 1},
                                                   .type = c->type}),
    };
    op.x = kt_input(d, c->n, c->h, c->w, c->c, c->margin);
    op.y = kt_output(d, c->n, c->h, c->w, c->c, c->margin ? 2 : 0);
    if (c->margin)
        op.ids = kt_output_typed(d, SDB_I32, c->n, c->h, c->w, 1, 0);
    KT_RUN(d, quantize, &op);
}

static const latent_case quantize_cases[] = {
    {1, 1, 1, 1, 0, 1},
    {1, 1, 1, 3, 0, 0},
    {3, 5, 7, 3, 1, 1},
    {2, 9, 17, 4, 4, 1, .type = SDB_F16},
    {1, 16, 16, 8, 0, 1, .type = SDB_BF16},
    {1, 2, 3, 1024, 0, 1},
};

/* ---------------------------------------------------------------------------------------- embed */

static void run_embed(kt_device *d, const void *test_case) {
    static const double ids[4] = {9, 0, 3, 9};
    const latent_case *c = test_case;
    sdb_embed op = {.ids = kt_values(d, SDB_I32, 4, 1, ids),
                    .y = kt_output(d, 4, 1, 1, c->c, c->margin),
                    .token = kt_weight(d, &(kt_weight_args){.kind = SDB_WEIGHT_EMBEDDING,
                                                            .in = c->c,
                                                            .rows = {10},
                                                            .type = c->type})};
    KT_RUN(d, embed, &op);
}

static const latent_case embed_cases[] = {{1, 1, 1, 1}, {1, 1, 1, 33, 4, .type = SDB_F16}};

/* ----------------------------------------------------------------------- blend, clamp, rescale */

enum { APART, OVER_A, OVER_B };

static void run_blend(kt_device *d, const void *test_case) {
    const latent_case *c = test_case;
    int n = c->n, h = c->h, w = c->w;
    sdb_blend op = {.m = kt_input_with(d, n, h, w, 1, c->margin, 0.5, 0.5)};
    op.a = c->variant == OVER_A ? kt_inout(d, n, h, w, c->c, c->margin)
                                : kt_input(d, n, h, w, c->c, c->margin);
    op.b = c->variant == OVER_B ? kt_inout(d, n, h, w, c->c, c->margin ? 2 : 0)
                                : kt_input(d, n, h, w, c->c, 0);
    op.y = c->variant == OVER_A   ? op.a
           : c->variant == OVER_B ? op.b
                                  : kt_output(d, n, h, w, c->c, c->margin ? 3 : 0);
    KT_RUN(d, blend, &op);
}

static const latent_case blend_cases[] = {
    {1, 1, 1, 1, 0, APART},  {3, 1, 7, 3, 1, OVER_B},  {1, 17, 9, 4, 0, OVER_B},
    {3, 5, 3, 33, 5, APART}, {2, 9, 17, 4, 4, OVER_A}, {3, 64, 64, 4, 0, OVER_B},
};

static void run_clamp(kt_device *d, const void *test_case) {
    const latent_case *c = test_case;
    sdb_clamp op = {.low = -1.0f, .high = c->variant ? 1.0f : 0.25f};
    op.x = op.y = kt_inout(d, c->n, c->h, c->w, c->c, c->margin);
    if (c->variant == 0) { /* not in place */
        op.x = kt_input(d, c->n, c->h, c->w, c->c, c->margin ? 2 : 0);
    }
    KT_RUN(d, clamp, &op);
}

static const latent_case clamp_cases[] = {
    {1, 1, 1, 1, 0, 0}, {3, 1, 7, 3, 1, 1}, {1, 5, 3, 33, 5, 0}, {3, 64, 64, 4, 0, 1}};

enum { IN_PLACE = 1, CONSTANT = 2, FAR = 3 };

/* Far from 0 a plain float32 sum of squares would have no digits left. */
static void run_rescale(kt_device *d, const void *test_case) {
    const latent_case *c = test_case;
    double mean = c->variant == CONSTANT ? 0.5 : c->variant == FAR ? 1000.0 : 0.3;
    double std = c->variant == CONSTANT ? 0.0 : 2.0;
    sdb_rescale op = {.phi = c->margin ? 0.7f : 1.0f,
                      .like = kt_input(d, c->n, c->h, c->w, c->c, c->margin)};
    if (c->variant == IN_PLACE) {
        op.x = op.y = kt_inout_with(d, c->n, c->h, c->w, c->c, c->margin, mean, std);
    } else {
        op.x = kt_input_with(d, c->n, c->h, c->w, c->c, c->margin ? 2 : 0, mean, std);
        op.y = kt_output(d, c->n, c->h, c->w, c->c, c->margin);
    }
    KT_RUN(d, rescale, &op);
}

static const latent_case rescale_cases[] = {
    {1, 1, 1, 1, 0, 0},        {3, 1, 7, 3, 1, IN_PLACE},   {1, 17, 9, 4, 0, IN_PLACE},
    {3, 5, 3, 33, 5, 0},       {3, 64, 64, 4, 4, IN_PLACE}, {1, 64, 64, 4, 0, CONSTANT},
    {2, 3, 5, 4, 1, CONSTANT}, {1, 37, 61, 4, 1, FAR},
};

/* ---------------------------------------------------------------------------------------- table */

#define LATENT_OP(op_name, run_fn, table, random)                                                  \
    {                                                                                              \
        .name = op_name, .case_size = sizeof(latent_case), .run = run_fn, .describe = describe,    \
        .cases = table, .n_cases = KT_COUNT(table), .n_random = random, .randomise = randomise,    \
        .thread_cases = table, .n_thread_cases = KT_COUNT(table)                                   \
    }

static const kt_op ops[] = {
    LATENT_OP("resample", run_resample, resample_cases, 40),
    LATENT_OP("modulate", run_modulate, modulate_cases, 40),
    LATENT_OP("quantize", run_quantize, quantize_cases, 20),
    LATENT_OP("embed without positions", run_embed, embed_cases, 0),
    LATENT_OP("blend", run_blend, blend_cases, 40),
    LATENT_OP("clamp", run_clamp, clamp_cases, 40),
    LATENT_OP("rescale", run_rescale, rescale_cases, 40),
};

/* ------------------------------------------------------------------------------- known answers */

static void run_two_codes(kt_device *d, const void *test_case) {
    static const float codes[6] = {1, 0, -1, 0, 1, 0}; /* the last equals the first */
    static const double x[2] = {0.25, 100};
    sdb_quantize op = {.x = kt_values(d, SDB_F32, 1, 2, x),
                       .codebook = kt_weight_values(d, SDB_WEIGHT_EMBEDDING, 3, 2, codes, NULL)};
    (void)test_case;
    op.y = kt_output_typed(d, SDB_F32, 1, 1, 1, 2, 0);
    op.ids = kt_output_typed(d, SDB_I32, 1, 1, 1, 1, 0);
    KT_RUN(d, quantize, &op);
}

/* The first of equally near codes, as torch.argmin. */
START_TEST(test_nearest) {
    size_t n;
    double *y = kt_reference(run_two_codes, NULL, &n);
    ck_assert_uint_eq(n, 3);
    ck_assert(y[0] == 1 && y[1] == 0 && y[2] == 0);
    free(y);
}
END_TEST

static void run_two_spreads(kt_device *d, const void *test_case) {
    static const double x[2] = {1, 5}, like[2] = {-1, 7};
    sdb_rescale op = {.x = kt_values(d, SDB_F32, 1, 2, x),
                      .like = kt_values(d, SDB_F32, 1, 2, like),
                      .y = kt_output_typed(d, SDB_F32, 1, 1, 1, 2, 0),
                      .phi = 0.5f};
    (void)test_case;
    KT_RUN(d, rescale, &op);
}

/* Deviations 2 and 4: half of the factor 2, half of 1. */
START_TEST(test_rescale) {
    size_t n;
    double *y = kt_reference(run_two_spreads, NULL, &n);
    ck_assert_uint_eq(n, 2);
    ck_assert(y[0] == 1.5 && y[1] == 7.5);
    free(y);
}
END_TEST

static void add(TCase *tc) {
    tcase_add_test(tc, test_nearest);
    tcase_add_test(tc, test_rescale);
}

int main(int argc, char **argv) {
    return kt_main(argc, argv, "latents", ops, KT_COUNT(ops), add);
}
