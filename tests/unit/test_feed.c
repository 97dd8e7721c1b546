/* Tensors as a device gets them: converted, scaled, in any pieces, and looked at for NaN. */
#include "model/feed.h"

#include "../tools/fixture.h"
#include "../tools/suite.h"
#include "io/dtype.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define N 3000 /* more than one chunk of any conversion */

typedef struct tensor {
    const char *name, *type, *shape;
    const void *data;
    size_t size;
} tensor;

static sd_weights *write_and_open(const char *file, const tensor *tensors, int n) {
    char header[2048];
    size_t used = 0, at = 0;
    uint8_t *bytes = malloc(1 << 20);
    for (int i = 0; i < n; i++) {
        const tensor *t = &tensors[i];
        used +=
            (size_t)snprintf(header + used, sizeof header - used,
                             "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                             i ? "," : "{", t->name, t->type, t->shape, at, at + t->size);
        at += t->size;
    }
    header[used++] = '}';
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(used >> (8 * i));
    memcpy(bytes + 8, header, used);
    at = 8 + used;
    for (int i = 0; i < n; at += tensors[i++].size)
        memcpy(bytes + at, tensors[i].data, tensors[i].size);
    const char *path = files_path(dir, file);
    files_write(path, bytes, at);
    free(bytes);
    sd_weights *w;
    ck_assert_msg(sdi_weights_open(ctx, path, &w) == SD_OK, "%s", sdi_error_get());
    return w;
}

static sdb_weight_part open_part(sd_feeds *b, const sd_weights *w, const char *name, int rows) {
    sdb_weight_part part;
    const sd_entry *e = sdi_weights_find(w, name);
    ck_assert_ptr_nonnull(e);
    ck_assert_msg(sdi_feed_open(b, w, e, rows, &part) == SD_OK, "%s", sdi_error_get());
    return part;
}

/* All n elements as float64, read in pieces of odd lengths. */
static void read_all(const sdb_weight_part *part, size_t n, double *values) {
    uint32_t buffer[N];
    size_t step = 1;
    for (size_t i = 0; i < n; i += step) {
        step = step * 7 % 1999 + 1;
        size_t m = n - i < step ? n - i : step, size = part->type == SDB_F32 ? 4 : 2;
        ck_assert_int_eq(sdb_part_read(part, i, m, buffer), SD_OK);
        sd_dtype type = part->type == SDB_F32   ? SD_DTYPE_F32
                        : part->type == SDB_F16 ? SD_DTYPE_F16
                                                : SD_DTYPE_BF16;
        for (size_t j = 0; j < m; j++)
            values[i + j] = sdi_dtype_value(type, (const uint8_t *)buffer + j * size);
    }
}

static void fill(uint8_t *codes, size_t n, uint8_t most) {
    for (size_t i = 0; i < n; i++)
        codes[i] = (uint8_t)((i * 37 + i / 256) % (most + 1u));
}

START_TEST(float64_is_rounded_to_float32) {
    static double data[N], got[N];
    for (int i = 0; i < N; i++)
        data[i] = ldexp(1.0 + (double)i / 7.0, i % 60 - 30);
    data[0] = 1.0 + 0x1p-24; /* halfway, to even */
    data[1] = 1.0 + 0x3p-24;
    const tensor t = {"a", "F64", "[3000]", data, sizeof data};
    sd_weights *w = write_and_open("f64.safetensors", &t, 1);
    sd_feeds b = {.ctx = ctx};
    sdb_weight_part part = open_part(&b, w, "a", N);
    ck_assert_int_eq(part.type, SDB_F32);
    read_all(&part, N, got);
    for (int i = 0; i < N; i++)
        ck_assert_msg(got[i] == (double)(float)data[i], "%d: %.17g", i, got[i]);
    ck_assert(got[0] == 1.0 && got[1] == 1.0 + 0x2p-23);
    ck_assert_int_eq(sdi_feeds_check_numbers(&b, true), SD_OK);
    sdi_feeds_close(&b);
    sdi_weights_close(w);
}
END_TEST

START_TEST(float8_is_exact_in_float16) {
    static uint8_t data[N];
    static double got[N];
    static const char *const types[] = {"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"};
    fill(data, N, 0x7a); /* neither infinity nor NaN */
    for (size_t k = 0; k < SD_COUNT(types); k++) {
        const tensor t = {"a", types[k], "[30, 100]", data, sizeof data};
        sd_weights *w = write_and_open("f8.safetensors", &t, 1);
        sd_feeds b = {.ctx = ctx};
        sdb_weight_part part = open_part(&b, w, "a", 30);
        sdb_weight_part rows = sdi_feed_rows(part, 7, 3, 100);
        ck_assert_int_eq(part.type, SDB_F16);
        read_all(&part, N, got);
        for (int i = 0; i < N; i++)
            ck_assert(got[i] == sdi_dtype_value(sdi_dtype_find(types[k]), &data[i]));
        read_all(&rows, 300, got);
        for (int i = 0; i < 300; i++)
            ck_assert(got[i] == sdi_dtype_value(sdi_dtype_find(types[k]), &data[700 + i]));
        sdi_feeds_close(&b);
        sdi_weights_close(w);
    }
}
END_TEST

/* ------------------------------------------------------------------------- scales */

static const struct {
    const char *label, *scale, *shape;
    float values[30]; /* of the scale */
    int n;
    sdb_type type;
} scales[] = {
    {"ComfyUI's", "a.scale_weight", "[]", {0.0123f}, 1, SDB_F16},
    {"of one element", "a.scale_weight", "[1]", {0.0123f}, 1, SDB_F16},
    {"the other name", "a.weight_scale", "[1, 1]", {-0.5f}, 1, SDB_F16},
    {"tiny", "a.weight_scale", "[]", {1e-6f}, 1, SDB_F32},
    {"huge", "a.weight_scale", "[]", {1e4f}, 1, SDB_F32},
    {"by row", "a.weight_scale", "[3, 1]", {0.01f, 0.02f, 0.04f}, 3, SDB_F16},
    {"by row, flat", "a.weight_scale", "[3]", {0.01f, 0.02f, 0.04f}, 3, SDB_F16},
    {"by row, wide", "a.weight_scale", "[3]", {0.01f, 1e-7f, 0.04f}, 3, SDB_F32},
};

START_TEST(scales_multiply) {
    static uint8_t data[N];
    static double got[N];
    fill(data, N, 0x7e);
    for (size_t k = 0; k < SD_COUNT(scales); k++) {
        const tensor t[] = {
            {"a.weight", "F8_E4M3", "[3, 1000]", data, sizeof data},
            {scales[k].scale, "F32", scales[k].shape, scales[k].values,
             (size_t)scales[k].n * sizeof(float)},
        };
        sd_weights *w = write_and_open("scaled.safetensors", t, 2);
        sd_feeds b = {.ctx = ctx};
        sdb_weight_part part = open_part(&b, w, "a.weight", 3);
        ck_assert_msg(part.type == scales[k].type, "%s", scales[k].label);
        read_all(&part, N, got);
        for (int i = 0; i < N; i++) {
            float x = scales[k].values[scales[k].n == 1 ? 0 : i / 1000] *
                      (float)sdi_dtype_value(SD_DTYPE_F8_E4M3, &data[i]);
            uint16_t half = sdi_half_of((double)x);
            double want = part.type == SDB_F32 ? (double)x : sdi_dtype_value(SD_DTYPE_F16, &half);
            ck_assert_msg(got[i] == want, "%s, %d: %g, not %g", scales[k].label, i, got[i], want);
        }
        sdi_feeds_close(&b);
        sdi_weights_close(w);
    }
}
END_TEST

static void check_refused(const tensor *t, const char *part) {
    sdb_weight_part out;
    sd_weights *w = write_and_open("refused.safetensors", t, 2);
    sd_feeds b = {.ctx = ctx};
    sd_status status = sdi_feed_open(&b, w, sdi_weights_find(w, "a.weight"), 2, &out);
    ck_assert_int_eq(status, SD_ERROR_UNSUPPORTED);
    ck_assert_msg(strstr(sdi_error_get(), part), "%s", sdi_error_get());
    ck_assert_ptr_nonnull(strstr(sdi_error_get(), "scale"));
    sdi_feeds_close(&b);
    sdi_weights_close(w);
}

START_TEST(other_scales_are_refused) {
    static const uint8_t zeros[64];
    static const float two = 2.0f;
    const tensor blocks[] = {{"a.weight", "F8_E4M3", "[2, 32]", zeros, 64},
                             {"a.weight_scale", "F8_E8M0", "[2, 1]", zeros, 2}};
    const tensor shape[] = {{"a.weight", "F8_E4M3", "[2, 32]", zeros, 64},
                            {"a.weight_scale", "F32", "[2, 2]", zeros, 16}};
    const tensor half[] = {{"a.weight", "F16", "[2, 16]", zeros, 64},
                           {"a.scale_weight", "F32", "[]", &two, 4}};
    check_refused(blocks, "F8_E8M0");
    check_refused(shape, "[2, 2]");
    check_refused(half, "F16");
}
END_TEST

/* ------------------------------------------------------------------------- broken numbers */

static char last_line[1024];
static int n_lines;

static void note_line(void *user, sd_log_level level, const char *text) {
    (void)user;
    if (level == SD_LOG_LEVEL_WARN) {
        snprintf(last_line, sizeof last_line, "%s", text);
        n_lines++;
    }
}

static const struct {
    const char *type;
    size_t size;
    uint64_t good, bad[3]; /* codes: the largest finite; NaN and infinities as there are */
} broken[] = {
    {"F16", 2, 0x7bff, {0x7c00, 0xfe00, 0xfc00}},
    {"BF16", 2, 0xff7f, {0x7f80, 0x7fc0, 0xff80}},
    {"F32", 4, 0x7f7fffff, {0x7f800000, 0xffc00000, 0x7f800001}},
    {"F64", 8, 0x47efffffe0000000, {0x7ff0000000000000, 0xfff8000000000000, 0x7fe0000000000000}},
    {"F8_E4M3", 1, 0x7e, {0x7f, 0xff, 0x7f}},
    {"F8_E5M2", 1, 0xfb, {0x7c, 0xfd, 0x7f}},
};

/* A broken number anywhere is found, and the largest finite one is not taken for one. */
START_TEST(broken_numbers_are_found) {
    static uint8_t data[N * 8];
    static double got[N];
    for (size_t k = 0; k < SD_COUNT(broken) * 4; k++) {
        size_t row = k / 4, size = broken[row].size;
        bool bad = k % 4 > 0;
        for (size_t i = 0; i < N; i++)
            memcpy(data + i * size, &broken[row].good, size);
        if (bad)
            memcpy(data + (k * 397 % N) * size, &broken[row].bad[k % 4 - 1], size);
        const tensor t = {"a.weight", broken[row].type, "[3000]", data, N * size};
        sd_weights *w = write_and_open("broken.safetensors", &t, 1);
        sd_feeds b = {.ctx = ctx};
        sdb_weight_part part = open_part(&b, w, "a.weight", N);
        read_all(&part, N, got);
        sd_status status = sdi_feeds_check_numbers(&b, true);
        ck_assert_msg(status == (bad ? SD_ERROR_MODEL : SD_OK), "%s, %zu", broken[row].type, k % 4);
        if (bad)
            ck_assert_msg(strstr(sdi_error_get(), "'a.weight'") &&
                              strstr(sdi_error_get(), "broken.safetensors"),
                          "%s", sdi_error_get());
        sdi_feeds_close(&b);
        sdi_weights_close(w);
    }
}
END_TEST

START_TEST(one_line_for_a_file) {
    static const uint16_t bad[2] = {0x7e00, 0x3c00}, good[2] = {0, 0};
    static const char *const names[] = {"z", "y", "x", "w", "v"};
    tensor t[5];
    double got[2];
    ctx->host.log = note_line;
    ctx->host.log_level = SD_LOG_LEVEL_WARN;
    for (int n_bad = 0; n_bad <= 5; n_bad++) {
        for (int i = 0; i < 5; i++)
            t[i] = (tensor){names[i], "F16", "[2]", i < n_bad ? bad : good, 4};
        sd_weights *files[] = {write_and_open("one.safetensors", t, 5),
                               write_and_open("two.safetensors", t, 5)};
        sd_feeds b = {.ctx = ctx};
        for (int i = 0; i < 10; i++) {
            sdb_weight_part part = open_part(&b, files[i / 5], names[i % 5], 2);
            read_all(&part, 2, got);
        }
        n_lines = 0;
        ck_assert_int_eq(sdi_feeds_check_numbers(&b, false), SD_OK);
        ck_assert_int_eq(n_lines, n_bad ? 2 : 0);
        char want[64];
        snprintf(want, sizeof want, "in %d of its tensors: 'z'%s", n_bad,
                 n_bad == 2  ? ", 'y' ("
                 : n_bad > 3 ? ", 'y', 'x', ... ("
                             : "");
        ck_assert_msg(!n_bad || strstr(last_line, want), "%s: %s", want, last_line);
        sdi_feeds_close(&b);
        sdi_weights_close(files[0]);
        sdi_weights_close(files[1]);
    }
    ctx->host.log = NULL;
}
END_TEST

int main(void) {
    Suite *suite = suite_create("parts");
    TCase *tcase = tcase_create("parts");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, float64_is_rounded_to_float32);
    tcase_add_test(tcase, float8_is_exact_in_float16);
    tcase_add_test(tcase, scales_multiply);
    tcase_add_test(tcase, other_scales_are_refused);
    tcase_add_test(tcase, broken_numbers_are_found);
    tcase_add_test(tcase, one_line_for_a_file);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
