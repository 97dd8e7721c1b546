/* The numbers that bytes of each type mean: torch's of float8 (tests/unit/data/float8.txt, made by
 * tests/tools/make_float8_fixtures.py), all of float16, and rounding to it. */
#include "io/dtype.h"

#include "../tools/files.h"
#include "../tools/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same(double a, double b) {
    return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

START_TEST(float8_is_torchs) {
    size_t n;
    uint8_t *bytes = files_read(SD_TEST_DATA "/float8.txt", &n);
    char *text = malloc(n + 1), *line, *rest = NULL;
    memcpy(text, bytes, n);
    text[n] = 0;
    int types = 0;
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), types++) {
        char *value = NULL, *name = strtok_r(line, " ", &value);
        sd_dtype type = sdi_dtype_find(name);
        ck_assert(sdi_dtype_is_float8(type) && sdi_dtype_is_weight(type));
        for (int i = 0; i < 256; i++) {
            uint8_t code = (uint8_t)i;
            double want = (double)strtof(strtok_r(NULL, " ", &value), NULL);
            double got = sdi_dtype_value(type, &code);
            ck_assert_msg(same(got, want) || (isnan(got) && isnan(want)), "%s %02x is %g, not %g",
                          name, i, got, want);
            uint16_t half = sdi_half_of(got); /* which holds each of them */
            ck_assert_msg(same(sdi_dtype_value(SD_DTYPE_F16, &half), got), "%s %02x", name, i);
        }
    }
    ck_assert_int_eq(types, 4);
    free(text);
    free(bytes);
}
END_TEST

START_TEST(every_float16_comes_back) {
    for (unsigned i = 0; i < 65536; i++) {
        uint16_t code = (uint16_t)i, back;
        double x = sdi_dtype_value(SD_DTYPE_F16, &code);
        back = sdi_half_of(x);
        bool nan = (code & 0x7fff) > 0x7c00;
        ck_assert_msg(nan == isnan(x) && (nan || back == code), "%04x is %g and %04x", i, x, back);
    }
}
END_TEST

START_TEST(float16_is_rounded_to_even) {
    static const struct {
        double x;
        uint16_t half; /* numpy.float16(x) */
    } rows[] = {
        {1.0 + 0x1p-11, 0x3c00}, {1.0 + 0x3p-11, 0x3c02}, {65519.99, 0x7bff},  {65520.0, 0x7c00},
        {-1e300, 0xfc00},        {0x1p-25, 0x0000},       {0x1.8p-25, 0x0001}, {0x3p-25, 0x0002},
        {0x1.ffep-15, 0x0400},   {0.1, 0x2e66},           {-0.0, 0x8000},      {1e-9, 0x0000},
        {2047.5, 0x6800},        {INFINITY, 0x7c00},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_msg(sdi_half_of(rows[i].x) == rows[i].half, "%.17g is %04x, not %04x", rows[i].x,
                      sdi_half_of(rows[i].x), rows[i].half);
    ck_assert_uint_eq(sdi_half_of(NAN) & 0x7fff, 0x7e00);
}
END_TEST

#define CHECK_VALUE(type, bits, number)                                                            \
    do {                                                                                           \
        double x_ = sdi_dtype_value(type, &(bits));                                                \
        ck_assert_msg(same(x_, number), "%s: %.17g, not %.17g", sdi_dtype_name(type), x_,          \
                      (double)(number));                                                           \
    } while (0)

START_TEST(wider_types_are_the_machines) {
    static const float singles[] = {0.0f, -0.0f, 1.5f, -0x1p-149f, 0x1.fffffep127f, INFINITY, NAN};
    static const double doubles[] = {0.0,       -0.0, 0.1, -0x1p-1074, 0x1.fffffffffffffp1023,
                                     -INFINITY, NAN};
    for (size_t i = 0; i < sizeof singles / sizeof *singles; i++) {
        uint32_t bits;
        memcpy(&bits, &singles[i], sizeof bits);
        CHECK_VALUE(SD_DTYPE_F32, singles[i], (double)singles[i]);
        CHECK_VALUE(SD_DTYPE_F64, doubles[i], doubles[i]);
        uint16_t half = (uint16_t)(bits >> 16);
        uint32_t cut = bits & 0xffff0000u;
        float want;
        memcpy(&want, &cut, sizeof want);
        CHECK_VALUE(SD_DTYPE_BF16, half, (double)want);
    }
}
END_TEST

START_TEST(types_have_names_and_sizes) {
    for (int i = 0; i < SD_DTYPE_OTHER; i++) {
        sd_dtype type = (sd_dtype)i;
        ck_assert_int_eq(sdi_dtype_find(sdi_dtype_name(type)), type);
        ck_assert_uint_ge(sdi_dtype_bits(type), 4);
        ck_assert_uint_eq(sdi_dtype_size(type) * 8,
                          sdi_dtype_bits(type) % 8 ? 0 : sdi_dtype_bits(type));
    }
    ck_assert_int_eq(sdi_dtype_find("f16"), SD_DTYPE_OTHER);
    ck_assert_uint_eq(sdi_dtype_bits(SD_DTYPE_OTHER), 0);
    ck_assert_str_eq(sdi_dtype_name(SD_N_DTYPES), "?");
    ck_assert_str_eq(sdi_dtype_name(SD_DTYPE_BF16), "BF16");
    ck_assert_uint_eq(sdi_dtype_size(SD_DTYPE_F64), 8);
    ck_assert(!sdi_dtype_is_weight(SD_DTYPE_F8_E8M0) && !sdi_dtype_is_weight(SD_DTYPE_I8));
    ck_assert(!sdi_dtype_is_float8(SD_DTYPE_F16) && !sdi_dtype_is_weight(SD_DTYPE_OTHER));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("dtype");
    TCase *tcase = tcase_create("dtype");
    tcase_add_test(tcase, float8_is_torchs);
    tcase_add_test(tcase, every_float16_comes_back);
    tcase_add_test(tcase, float16_is_rounded_to_even);
    tcase_add_test(tcase, wider_types_are_the_machines);
    tcase_add_test(tcase, types_have_names_and_sizes);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
