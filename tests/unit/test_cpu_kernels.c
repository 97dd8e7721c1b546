/* The CPU backend's kernels by themselves, for every instruction set that this processor runs: what
 * tests of whole operations would only see as a slightly larger error. */
#include "../../backends/cpu/kernels.h"

#include "../tools/suite.h"

#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_INDICES 3 /* "cpu:0" .. "cpu:2" */
#define MAX_MR 16

/* IEEE 754 by its definition. */
static double value_of_half(unsigned h, int exponent_bits, int mantissa_bits) {
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (int)(h >> mantissa_bits) & ((1 << exponent_bits) - 1);
    double mantissa = h & ((1u << mantissa_bits) - 1), one = 1 << mantissa_bits;
    double sign = h & 0x8000 ? -1.0 : 1.0;
    if (exponent == (1 << exponent_bits) - 1)
        return mantissa != 0 ? NAN : sign * INFINITY;
    if (exponent == 0)
        return sign * ldexp(mantissa / one, 1 - bias);
    return sign * ldexp(1 + mantissa / one, exponent - bias);
}

static void check_widen(const cpu_kernels *k, sdb_type type, int exponent_bits, int mantissa_bits) {
    /* From address + 2, and an odd number of them, so that the tail is there. */
    size_t n = 65536 + 7;
    uint16_t *src = malloc((n + 1) * sizeof *src);
    float *dst = malloc((n + 1) * sizeof *dst);
    ck_assert(src && dst);
    for (size_t i = 0; i <= n; i++)
        src[i] = (uint16_t)i;
    dst[n] = 123.0f;
    k->widen[type](dst, src + 1, n);
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        double expected = value_of_half(src[i + 1], exponent_bits, mantissa_bits);
        bool same = isnan(expected)
                        ? isnan(dst[i])
                        : (double)dst[i] == expected && !signbit(dst[i]) == !signbit(expected);
        wrong += !same;
    }
    printf("%-9s widen from %-8s: %d of 65536 differ\n", k->name,
           type == SDB_F16 ? "float16" : "bfloat16", wrong);
    ck_assert_int_eq(wrong, 0);
    ck_assert(dst[n] == 123.0f);
    free(src);
    free(dst);
}

START_TEST(widening_is_exact) {
    for (int i = 0; i < N_INDICES; i++) {
        const cpu_kernels *k = cpu_kernels_by_index(i);
        if (k) {
            check_widen(k, SDB_F16, 5, 10);
            check_widen(k, SDB_BF16, 8, 7);
        }
    }
}
END_TEST

static float number(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

/* A row's sums have the same bits in a tile of any height, or a batch would change a picture. */
static void check_gemm(const cpu_kernels *k, size_t depth) {
    size_t mr = (size_t)k->mr, nr = (size_t)k->nr;
    float *x = calloc(mr * depth, sizeof *x), *a = calloc(mr * depth, sizeof *a);
    float *b = calloc(depth * nr, sizeof *b);
    float full[MAX_MR * CPU_MAX_NR], c[MAX_MR * CPU_MAX_NR];
    ck_assert(x && a && b && mr <= MAX_MR && nr <= CPU_MAX_NR);
    uint32_t state = (uint32_t)depth;
    for (size_t i = 0; i < mr * depth; i++)
        x[i] = number(&state);
    for (size_t i = 0; i < depth * nr; i++)
        b[i] = number(&state);
    k->pack_rows(a, x, depth, k->mr, depth);
    k->gemm(k->mr, depth, a, mr, b, full, nr, false);
    double error = 0, size = 0;
    for (size_t i = 0; i < mr; i++) {
        for (size_t j = 0; j < nr; j++) {
            double sum = 0;
            for (size_t p = 0; p < depth; p++)
                sum += (double)x[i * depth + p] * (double)b[p * nr + j];
            error += (full[i * nr + j] - sum) * (full[i * nr + j] - sum);
            size += sum * sum;
        }
    }
    printf("%-9s gemm, depth %3zu: relative error %.2e\n", k->name, depth, sqrt(error / size));
    ck_assert(error <= 1e-12 * size);
    for (int rows = 1; rows <= k->mr; rows++) {
        memset(c, 0, sizeof c);
        k->gemm(rows, depth, a, mr, b, c, nr, false);
        ck_assert_msg(!memcmp(c, full, (size_t)rows * nr * sizeof *c), "%s: %d rows", k->name,
                      rows);
        ck_assert((size_t)rows == mr || c[(size_t)rows * nr] == 0.0f); /* the row below */
    }
    free(x);
    free(a);
    free(b);
}

START_TEST(rows_do_not_depend_on_the_tile) {
    static const size_t depths[] = {1, 7, 40, 333};
    for (int i = 0; i < N_INDICES; i++) {
        const cpu_kernels *k = cpu_kernels_by_index(i);
        for (size_t d = 0; k && d < sizeof depths / sizeof *depths; d++)
            check_gemm(k, depths[d]);
    }
}
END_TEST

static double silu(double x) {
    return x / (1 + exp(-x));
}
static double quick_gelu(double x) {
    return x / (1 + exp(-1.702 * x));
}
static double gelu(double x) {
    return 0.5 * x * erfc(-x / sqrt(2.0));
}

static const struct {
    const char *name;
    sdb_act act;
    double (*f)(double);
} activations[] = {
    {"silu", SDB_ACT_SILU, silu},
    {"quick gelu", SDB_ACT_QUICK_GELU, quick_gelu},
    {"gelu", SDB_ACT_GELU, gelu},
};

static void check_activation(const cpu_kernels *k, size_t index) {
    double worst = 0;
    float x[CPU_MAX_NR] = {0}, y[CPU_MAX_NR];
    cpu_epilogue e = {.y = y, .y_ld = 1, .act = activations[index].act, .scale = 1.0f};
    for (int i = -40000; i <= 40000; i++) {
        x[0] = (float)i / 1000.0f;
        k->epilogue(&e, 1, 1, x, (size_t)k->nr);
        double expected = activations[index].f((double)x[0]);
        double error = fabs((double)y[0] - expected) / fmax(1.0, fabs(expected));
        worst = error > worst ? error : worst;
        ck_assert(!isnan(y[0]));
    }
    printf("%-9s %-10s: largest error %.2e over [-40, 40]\n", k->name, activations[index].name,
           worst);
    ck_assert(worst <= 1e-6);
    /* Far out it is x or 0, and NaN stays NaN. */
    const float far[] = {1e30f, -1e30f, NAN};
    for (int i = 0; i < 3; i++) {
        x[0] = far[i];
        k->epilogue(&e, 1, 1, x, (size_t)k->nr);
        ck_assert(i == 0 ? y[0] == far[0] : i == 1 ? fabsf(y[0]) < 1e-5f : isnan(y[0]));
    }
}

START_TEST(activations_are_accurate) {
    for (int i = 0; i < N_INDICES; i++) {
        const cpu_kernels *k = cpu_kernels_by_index(i);
        for (size_t j = 0; k && j < sizeof activations / sizeof *activations; j++)
            check_activation(k, j);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cpu_kernels");
    TCase *tc = tcase_create("kernels");
    tcase_add_test(tc, widening_is_exact);
    tcase_add_test(tc, rows_do_not_depend_on_the_tile);
    tcase_add_test(tc, activations_are_accurate);
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
