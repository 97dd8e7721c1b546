/* The noise of torch's generators against torch's own bits (rng_fixtures.h). */
#include "core/rng.h"

#include "../tools/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CALLS 4

typedef struct rng_case {
    sd_rng kind;
    uint64_t seed;
    int64_t sizes[MAX_CALLS]; /* of calls made one after the other; 0 ends them */
    const uint32_t *bits;
} rng_case;

#include "rng_fixtures.h"

typedef struct errors {
    double largest;
    int n_equal, n;
} errors;

static void compare(errors *e, float value, uint32_t expected_bits) {
    float expected;
    memcpy(&expected, &expected_bits, sizeof expected);
    double error = fabs((double)value - (double)expected);
    if (!(error <= e->largest)) /* also NaN */
        e->largest = error;
    e->n_equal += memcmp(&value, &expected, sizeof value) == 0;
    e->n++;
}

static void compare_case(errors *e, const rng_case *c) {
    sd_generator *g = malloc(sizeof *g);
    const uint32_t *bits = c->bits;
    ck_assert_ptr_nonnull(g);
    sdi_generator_init(g, c->kind, c->seed);
    for (int call = 0; call < MAX_CALLS && c->sizes[call]; call++) {
        int64_t n = c->sizes[call];
        float *values = malloc((size_t)n * sizeof *values);
        ck_assert_ptr_nonnull(values);
        sdi_generator_normal(g, values, n);
        for (int64_t i = 0; i < n; i++)
            if (n <= 2 * RNG_KEEP || i < RNG_KEEP || i >= n - RNG_KEEP)
                compare(e, values[i], *bits++);
        free(values);
    }
    free(g);
}

static void compare_all(sd_rng kind, const char *name, double tolerance) {
    errors e = {0};
    for (size_t i = 0; i < SD_COUNT(rng_cases); i++)
        if (rng_cases[i].kind == kind)
            compare_case(&e, &rng_cases[i]);
    printf("%s: largest error %.3g, %d of %d values have equal bits\n", name, e.largest, e.n_equal,
           e.n);
    ck_assert_int_gt(e.n, 100);
    ck_assert_double_le(e.largest, tolerance);
}

START_TEST(cpu_generator_gives_torch_values) {
    compare_all(SD_RNG_CPU, "mt19937", 1e-6);
}
END_TEST

START_TEST(cuda_generator_gives_torch_values) {
    compare_all(SD_RNG_CUDA, "philox", 1e-6);
}
END_TEST

/* torch 2.11's torch.cuda values, read on an H200. The GPU's __sincosf is an approximation with an
 * absolute error of 2^-21.4, times a radius of up to 6.7. */
START_TEST(cuda_generator_gives_the_values_of_a_gpu) {
    static const struct {
        uint64_t seed;
        int call, n, i; /* value i of the call-th randn(n) */
        double expected;
    } known[] = {
        {42, 0, 16384, 0, 0.194018796},       {42, 0, 16384, 1, 2.16137362},
        {42, 0, 16384, 2, -0.172050223},      {42, 0, 16384, 3, 0.849060118},
        {42, 0, 16384, 4, -1.92439902},       {42, 0, 16384, 16383, 0.08298859},
        {42, 1, 16384, 0, 0.139137551},       {42, 1, 16384, 16383, 0.34670788},
        {7, 0, 1000000, 0, -0.304847002},     {7, 0, 1000000, 1, 1.04533339},
        {7, 0, 1000000, 270335, 0.119829707}, {7, 0, 1000000, 270336, 0.000291480072},
        {7, 0, 1000000, 540672, 1.06787205},  {7, 0, 1000000, 811008, 1.78875721},
        {7, 0, 1000000, 999999, 0.204281196},
    };
    double worst = 0;
    float *values = malloc(1000000 * sizeof *values);
    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < SD_COUNT(known); i++) {
        sd_generator g;
        sdi_generator_init(&g, SD_RNG_CUDA, known[i].seed);
        for (int call = 0; call <= known[i].call; call++)
            sdi_generator_normal(&g, values, known[i].n);
        worst = fmax(worst, fabs((double)values[known[i].i] - known[i].expected));
    }
    free(values);
    printf("philox against a GPU: largest error %.3g\n", worst);
    ck_assert_double_le(worst, 3e-6);
}
END_TEST

/* Random123's known answers (kat_vectors). */
START_TEST(philox_known_answers) {
    static const struct {
        uint32_t counter[4];
        uint64_t key;
        uint32_t expected[4];
    } known[] = {
        {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         UINT64_MAX,
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         UINT64_C(0x299f31d0a4093822),
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < SD_COUNT(known); i++) {
        uint32_t x[4];
        memcpy(x, known[i].counter, sizeof x);
        sdi_philox4x32_10(x, known[i].key);
        for (int k = 0; k < 4; k++)
            ck_assert_uint_eq(x[k], known[i].expected[k]);
    }
}
END_TEST

START_TEST(init_starts_afresh) {
    static const sd_rng kinds[] = {SD_RNG_CPU, SD_RNG_CUDA};
    for (size_t k = 0; k < SD_COUNT(kinds); k++) {
        sd_generator g;
        float first[33], again[33];
        sdi_generator_init(&g, kinds[k], 5);
        sdi_generator_normal(&g, first, 3); /* leaves half a pair behind */
        sdi_generator_normal(&g, first, 33);
        sdi_generator_init(&g, kinds[k], 5);
        sdi_generator_normal(&g, again, 3);
        sdi_generator_normal(&g, again, 33);
        ck_assert_mem_eq(first, again, sizeof first);
        sdi_generator_init(&g, kinds[k], 6);
        sdi_generator_normal(&g, again, 33);
        ck_assert_mem_ne(first, again, sizeof first);
    }
}
END_TEST

/* No size writes beyond its end, and every value is finite. */
START_TEST(every_size_is_filled) {
    static const sd_rng kinds[] = {SD_RNG_CPU, SD_RNG_CUDA};
    for (size_t k = 0; k < SD_COUNT(kinds); k++) {
        sd_generator g;
        sdi_generator_init(&g, kinds[k], 3);
        for (int n = 0; n <= 70; n++) {
            float values[71];
            for (int i = 0; i < 71; i++)
                values[i] = 1e30f;
            sdi_generator_normal(&g, values, n);
            for (int i = 0; i < n; i++)
                ck_assert(fabsf(values[i]) < 10.0f);
            ck_assert(values[n] == 1e30f);
        }
    }
}
END_TEST

/* A value is kept with probability 1 - p and divided by it; all sizes, nothing beyond the end. */
START_TEST(dropout_keeps_its_share) {
    enum { N = 100003 };
    static const sd_rng kinds[] = {SD_RNG_CPU, SD_RNG_CUDA};
    static float x[N + 1];
    for (size_t k = 0; k < SD_COUNT(kinds); k++) {
        sd_generator g, same;
        sdi_generator_init(&g, kinds[k], 9);
        for (int n = 0; n <= N; n = n < 70 ? n + 1 : n * 3 / 2 < N ? n * 3 / 2 : n + N) {
            int kept = 0;
            for (int i = 0; i <= n; i++)
                x[i] = 1.0f;
            sdi_generator_dropout(&g, x, n, 0.25);
            for (int i = 0; i < n; i++) {
                ck_assert(x[i] == 0.0f || fabsf(x[i] - 1.0f / 0.75f) < 1e-6f);
                kept += x[i] > 0.0f;
            }
            ck_assert(x[n] == 1.0f);
            double deviation = sqrt(0.25 * 0.75 * n); /* of a binomial count */
            ck_assert_double_le(fabs(kept - 0.75 * n), 5.0 * deviation + 1.0);
        }
        /* p of 0 and 1 draw nothing, as in torch */
        same = g;
        x[0] = 3.0f;
        sdi_generator_dropout(&g, x, 1, 0.0);
        ck_assert(x[0] == 3.0f);
        sdi_generator_dropout(&g, x, 1, 1.0);
        ck_assert(x[0] == 0.0f);
        ck_assert_mem_eq(&g, &same, sizeof g);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("rng");
    TCase *tc = tcase_create("rng");
    tcase_add_test(tc, cpu_generator_gives_torch_values);
    tcase_add_test(tc, cuda_generator_gives_torch_values);
    tcase_add_test(tc, cuda_generator_gives_the_values_of_a_gpu);
    tcase_add_test(tc, philox_known_answers);
    tcase_add_test(tc, init_starts_afresh);
    tcase_add_test(tc, every_size_is_filled);
    tcase_add_test(tc, dropout_keeps_its_share);
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
