/* Conditioning as a handle: from tensors and back, its rows, and what is refused. */
#include "api.h"

#include <math.h>

static sd_context *ctx;

static void set_up(void) {
    ctx = open_context(1);
}

static void tear_down(void) {
    sd_context_free(ctx);
}

/* [n, 3, 2], each value its place. */
static sd_tensor *counted(int64_t n) {
    const int64_t dims[] = {n, 3, 2};
    sd_tensor *t;
    ck_ok(sd_tensor_new(ctx, 3, dims, NULL, &t));
    for (int64_t i = 0; i < sd_tensor_n_elements(t); i++)
        sd_tensor_data_mut(t)[i] = (float)i;
    return t;
}

static sd_cond *from_context(const sd_tensor *context) {
    const char *name = "context";
    sd_cond *cond;
    ck_ok(sd_cond_new(ctx, &name, &context, 1, &cond));
    return cond;
}

/* The context of `cond` has `rows` rows and begins with `first`. */
static void has_context(const sd_cond *cond, int64_t rows, float first) {
    sd_tensor *got;
    ck_ok(sd_cond_get(cond, "context", &got));
    ck_assert_int_eq(sd_tensor_n_dims(got), 3);
    ck_assert_int_eq(sd_tensor_dims(got)[0], rows);
    ck_assert_int_eq(sd_tensor_dims(got)[1], 3);
    ck_assert_int_eq(sd_tensor_dims(got)[2], 2);
    for (int64_t i = 0; i < sd_tensor_n_elements(got); i++)
        ck_assert_float_eq(sd_tensor_data(got)[i], first + (float)i);
    sd_tensor_free(got);
}

START_TEST(tensors_go_in_and_out_as_copies) {
    sd_tensor *given = counted(2), *got;
    sd_cond *cond = from_context(given);
    sd_tensor_data_mut(given)[0] = 100; /* the caller's own from here on */
    sd_tensor_free(given);
    has_context(cond, 2, 0);
    ck_ok(sd_cond_get(cond, "context", &got));
    sd_tensor_data_mut(got)[0] = 100;
    has_context(cond, 2, 0);
    sd_tensor_free(got);
    sd_cond_free(cond);
    sd_cond_free(NULL);
}
END_TEST

START_TEST(rows_are_conditioning_of_their_own) {
    sd_tensor *given = counted(3);
    sd_cond *all = from_context(given), *some, *none;
    ck_ok(sd_cond_rows(all, 1, 2, &some));
    ck_status(sd_cond_rows(all, 0, 0, &none), SD_ERROR_ARGUMENT, "0 rows");
    ck_assert_ptr_null(none);
    ck_status(sd_cond_rows(all, -1, 2, &none), SD_ERROR_ARGUMENT, "row -1");
    ck_status(sd_cond_rows(all, 2, 2, &none), SD_ERROR_ARGUMENT, "has 3");
    ck_status(sd_cond_rows(all, INT32_MAX, INT32_MAX, &none), SD_ERROR_ARGUMENT, "has 3");
    ck_status(sd_cond_rows(NULL, 0, 1, &none), SD_ERROR_ARGUMENT, "cond is NULL");
    sd_cond_free(all);
    has_context(some, 2, 6);
    sd_cond_free(some);
    sd_tensor_free(given);
}
END_TEST

START_TEST(names_are_those_that_are_known) {
    const char *names[] = {"context", "context"};
    sd_tensor *given = counted(1), *got;
    const sd_tensor *values[] = {given, given};
    sd_cond *cond = from_context(given), *none;
    ck_status(sd_cond_new(ctx, names, values, 2, &none), SD_ERROR_ARGUMENT, "twice");
    ck_assert_ptr_null(none);
    names[1] = "depth";
    ck_status(sd_cond_new(ctx, names, values, 2, &none), SD_ERROR_UNSUPPORTED,
              "\"depth\"; this version of libsd knows \"context\", \"pooled\", \"sizes\"");
    ck_status(sd_cond_get(cond, "depth", &got), SD_ERROR_UNSUPPORTED, "\"depth\"");
    ck_assert_ptr_null(got);
    ck_status(sd_cond_get(cond, "pooled", &got), SD_ERROR_ARGUMENT, "has no \"pooled\"");
    names[1] = "pooled";
    ck_status(sd_cond_new(ctx, names, values, 2, &none), SD_ERROR_ARGUMENT, "pooled is [1, ");
    names[1] = NULL;
    ck_status(sd_cond_new(ctx, names, values, 2, &none), SD_ERROR_ARGUMENT, "names[1]");
    ck_status(sd_cond_get(cond, NULL, &got), SD_ERROR_ARGUMENT, "name is NULL");
    sd_cond_free(cond);
    sd_tensor_free(given);
}
END_TEST

static sd_tensor *vectors(int64_t n) {
    const int64_t dims[] = {n, 2};
    const float data[] = {1, 2, 3, 4, 5, 6};
    sd_tensor *t;
    ck_ok(sd_tensor_new(ctx, 2, dims, data, &t));
    return t;
}

/* Parts have a row each, or one for all; what has one keeps it where rows are taken. */
START_TEST(parts_have_their_rows) {
    const char *names[] = {"sizes", "context", "pooled"};
    sd_tensor *given[] = {vectors(1), counted(3), vectors(3)}, *two = vectors(2), *got;
    sd_cond *all, *some;
    ck_ok(sd_cond_new(ctx, names, (const sd_tensor *const *)given, 3, &all));
    ck_ok(sd_cond_rows(all, 1, 2, &some));
    ck_ok(sd_cond_get(some, "pooled", &got));
    ck_assert(sd_tensor_dims(got)[0] == 2 && sd_tensor_data(got)[0] == 3.0f);
    sd_tensor_free(got);
    ck_ok(sd_cond_get(some, "sizes", &got));
    ck_assert(sd_tensor_dims(got)[0] == 1 && sd_tensor_data(got)[1] == 2.0f);
    sd_tensor_free(got);
    sd_cond_free(some);
    sd_cond_free(all);
    const sd_tensor *odd[] = {given[0], given[1], two};
    ck_status(sd_cond_new(ctx, names, odd, 3, &all), SD_ERROR_ARGUMENT,
              "\"pooled\" has 2 rows; 3 or 1 were expected");
    ck_status(sd_cond_new(ctx, names, odd, 1, &all), SD_ERROR_ARGUMENT, "no \"context\"");
    for (int i = 0; i < 3; i++)
        sd_tensor_free(given[i]);
    sd_tensor_free(two);
}
END_TEST

START_TEST(values_are_checked) {
    const char *names[] = {"context"};
    const int64_t flat[] = {6}, long_dims[] = {1, 65537, 1};
    sd_tensor *given = counted(1), *vector, *many;
    const sd_tensor *value = NULL;
    sd_cond *none;
    ck_status(sd_cond_new(ctx, names, &value, 1, &none), SD_ERROR_ARGUMENT, "values[0]");
    ck_ok(sd_tensor_new(ctx, 1, flat, NULL, &vector));
    value = vector;
    ck_status(sd_cond_new(ctx, names, &value, 1, &none), SD_ERROR_ARGUMENT,
              "context is [6]; [any, any, any] was expected");
    ck_ok(sd_tensor_new(ctx, 3, long_dims, NULL, &many));
    value = many;
    ck_status(sd_cond_new(ctx, names, &value, 1, &none), SD_ERROR_ARGUMENT, "65537 tokens");
    sd_tensor_data_mut(given)[4] = (float)INFINITY;
    value = given;
    ck_status(sd_cond_new(ctx, names, &value, 1, &none), SD_ERROR_ARGUMENT, "context has inf");
    ck_assert_ptr_null(none);
    ck_status(sd_cond_new(ctx, names, &value, 0, &none), SD_ERROR_ARGUMENT, "n is 0");
    ck_status(sd_cond_new(ctx, NULL, &value, 1, &none), SD_ERROR_ARGUMENT, "names is NULL");
    ck_status(sd_cond_new(ctx, names, NULL, 1, &none), SD_ERROR_ARGUMENT, "values is NULL");
    ck_status(sd_cond_new(ctx, names, &value, 1, NULL), SD_ERROR_ARGUMENT, "out is NULL");
    sd_tensor_free(given);
    sd_tensor_free(vector);
    sd_tensor_free(many);
}
END_TEST

START_TEST(it_keeps_its_context) {
    sd_context *own = open_context(1);
    const int64_t dims[] = {1, 3, 2};
    const char *name = "context";
    sd_tensor *t;
    sd_cond *cond;
    ck_ok(sd_tensor_new(own, 3, dims, NULL, &t));
    const sd_tensor *value = t;
    ck_ok(sd_cond_new(own, &name, &value, 1, &cond));
    sd_tensor_free(t);
    sd_context_free(own);
    ck_ok(sd_cond_get(cond, "context", &t));
    sd_cond_free(cond);
    ck_assert_int_eq(sd_tensor_n_elements(t), 6);
    sd_tensor_free(t);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("cond");
    TCase *tests = tcase_create("cond");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, tensors_go_in_and_out_as_copies);
    tcase_add_test(tests, rows_are_conditioning_of_their_own);
    tcase_add_test(tests, names_are_those_that_are_known);
    tcase_add_test(tests, values_are_checked);
    tcase_add_test(tests, parts_have_their_rows);
    tcase_add_test(tests, it_keeps_its_context);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
