/* Conditioning as a handle: from tensors and back, its rows, and what is refused. */
#include "../support/params.h"
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

/* [n, 3, 2] from `first` on. */
static sd_cond *from_number(int64_t n, float first) {
    sd_tensor *t = counted(n);
    for (int64_t i = 0; i < sd_tensor_n_elements(t); i++)
        sd_tensor_data_mut(t)[i] += first;
    sd_cond *cond = from_context(t);
    sd_tensor_free(t);
    return cond;
}

/* What is made keeps what it was made of, shows what a run begins with, and has rows. */
START_TEST(schedules_and_combinations) {
    sd_cond *a = from_number(2, 0), *b = from_number(2, 100), *one = from_number(1, 50);
    sd_cond *schedule, *sum, *both, *row, *plain;
    const double until[] = {0.5, 1.0}, weights[] = {1.0, -0.5}, once[] = {1.0};
    ck_ok(sd_cond_schedule((const sd_cond *[]){a, b}, until, 2, &schedule));
    ck_ok(sd_cond_combine((const sd_cond *[]){b, one}, weights, 2, &sum));
    ck_ok(sd_cond_schedule((const sd_cond *[]){sum, schedule}, until, 2, &both));
    ck_ok(sd_cond_schedule((const sd_cond *[]){a}, once, 1, &plain));
    sd_cond_free(a);
    sd_cond_free(b);
    sd_cond_free(one);
    has_context(schedule, 2, 0);
    has_context(sum, 2, 100);
    has_context(both, 2, 100);
    has_context(plain, 2, 0);
    ck_ok(sd_cond_rows(both, 1, 1, &row));
    sd_cond_free(both);
    has_context(row, 1, 106);
    ck_status(sd_cond_rows(row, 1, 1, &both), SD_ERROR_ARGUMENT, "has 1");
    sd_cond_free(row);
    sd_cond_free(plain);
    sd_cond_free(schedule);
    sd_cond_free(sum);
}
END_TEST

START_TEST(odd_schedules_are_refused) {
    sd_cond *a = from_number(2, 0), *three = from_number(3, 0), *some, *none;
    const sd_cond *conds[] = {a, three}, *many[] = {a, a, a, a}, *null[] = {a, NULL};
    const double until[] = {0.5, 1.0}, down[] = {0.5, 0.5}, early[] = {0.2, 0.9}, zero[] = {0, 1};
    const double infinite[] = {1, (double)INFINITY}, ones[] = {1, 1, 1, 1};
    const int64_t dims[] = {2, 4, 2};
    sd_tensor *longer;
    ck_status(sd_cond_schedule(conds, until, 2, &none), SD_ERROR_ARGUMENT, "conds[0] has 2 rows");
    ck_assert_ptr_null(none);
    ck_status(sd_cond_schedule(many, down, 2, &none), SD_ERROR_ARGUMENT, "until[1] is 0.5; above");
    ck_status(sd_cond_schedule(many, early, 2, &none), SD_ERROR_ARGUMENT, "the last, is 0.9");
    ck_status(sd_cond_schedule(many, zero, 2, &none), SD_ERROR_ARGUMENT, "until[0] is 0; above 0");
    ck_status(sd_cond_schedule(null, until, 2, &none), SD_ERROR_ARGUMENT, "conds[1] is NULL");
    ck_status(sd_cond_schedule(NULL, until, 2, &none), SD_ERROR_ARGUMENT, "conds is NULL");
    ck_status(sd_cond_schedule(many, NULL, 2, &none), SD_ERROR_ARGUMENT, "until is NULL");
    ck_status(sd_cond_schedule(many, until, 0, &none), SD_ERROR_ARGUMENT, "n is 0");
    ck_status(sd_cond_schedule(many, until, 2, NULL), SD_ERROR_ARGUMENT, "out is NULL");
    ck_status(sd_cond_combine(many, infinite, 2, &none), SD_ERROR_ARGUMENT, "weights[1] is inf");
    ck_status(sd_cond_combine(many, NULL, 2, &none), SD_ERROR_ARGUMENT, "weights is NULL");
    ck_ok(sd_cond_combine(many, ones, 4, &some));
    conds[1] = conds[0] = some;
    ck_status(sd_cond_combine(conds, ones, 2, &none), SD_ERROR_UNSUPPORTED, "8 conditionings");
    sd_cond_free(some);
    ck_ok(sd_tensor_new(ctx, 3, dims, NULL, &longer));
    some = from_context(longer);
    conds[0] = a;
    conds[1] = some;
    ck_status(sd_cond_combine(conds, ones, 2, &none), SD_ERROR_ARGUMENT, "conds[1] is 4 tokens");
    sd_cond_free(some);
    const char *names[] = {"context", "pooled"};
    sd_tensor *context = counted(2), *pooled = vectors(2);
    ck_ok(sd_cond_new(ctx, names, (const sd_tensor *[]){context, pooled}, 2, &some));
    conds[1] = some;
    ck_status(sd_cond_combine(conds, ones, 2, &none), SD_ERROR_ARGUMENT,
              "conds[1] has a \"pooled\", unlike conds[0]");
    sd_cond_free(some);
    sd_tensor_free(context);
    sd_tensor_free(pooled);
    sd_tensor_free(longer);
    sd_cond_free(a);
    sd_cond_free(three);
}
END_TEST

/* What a run or an evaluation cannot follow. */
START_TEST(runs_refuse_odd_programs) {
    const char *const texts[] = {"a lake AND a hut", "[a lake:a hut:0.5]", "a lake", "a :2"};
    sd_model *model = open_model(ctx);
    sd_cond *conds[4], *two;
    sd_sampler_params p = small_run();
    sd_run_params run = SD_RUN_PARAMS_INIT;
    sd_sampler *sampler;
    sd_tensor *latent, *y;
    for (int i = 0; i < 4; i++)
        ck_ok(sd_encode_text(model, texts + i, 1, TEXT(.weighted = 1), &conds[i]));
    ck_ok(sd_sampler_new(model, &p, &sampler));
    run.cond = conds[1];
    run.uncond = conds[0];
    ck_status(sd_sample(sampler, &run, &latent), SD_ERROR_ARGUMENT, "uncond is a combination");
    run.uncond = conds[1];
    ck_ok(sd_sample(sampler, &run, &latent)); /* it stays usable, and may change on both sides */
    double t = 500;
    ck_status(sd_unet_predict(model, latent, &t, conds[1], &y), SD_ERROR_ARGUMENT,
              "cond changes in the course of a run");
    sd_tensor_free(latent);
    ck_ok(sd_encode_text(model, texts, 2, TEXT(.weighted = 1), &two));
    run.cond = two;
    ck_status(sd_sample(sampler, &run, &latent), SD_ERROR_ARGUMENT, "cond has 2 rows; 1 or 1");
    sd_sampler_free(sampler);
    p.guidance_scale = 1;
    ck_ok(sd_sampler_new(model, &p, &sampler));
    run.uncond = NULL;
    run.cond = conds[3];
    ck_status(sd_sample(sampler, &run, &latent), SD_ERROR_ARGUMENT, "add up to 2; 1 was expected");
    sd_cond_free(two);
    ck_ok(sd_cond_combine((const sd_cond *[]){conds[2], conds[1]}, (const double[]){0.25, 0.75}, 2,
                          &two));
    run.cond = two;
    ck_ok(sd_sample(sampler, &run, &latent));
    sd_tensor_free(latent);
    sd_sampler_free(sampler);
    sd_cond_free(two);
    for (int i = 0; i < 4; i++)
        sd_cond_free(conds[i]);
    sd_model_free(model);
}
END_TEST

/* A combination is that much more of the network. */
START_TEST(combinations_are_estimated) {
    sd_model *model = open_model(ctx);
    sd_sampler_params p = small_run();
    sd_estimate_params q = SD_ESTIMATE_PARAMS_INIT;
    sd_work_info work[2] = {SD_WORK_INFO_INIT, SD_WORK_INFO_INIT};
    sd_memory_info memory[2] = {SD_MEMORY_INFO_INIT, SD_MEMORY_INFO_INIT};
    q.sampling = &p;
    for (int i = 0; i < 2; i++) {
        q.combined = i * 3; /* and the unconditional one: 4 evaluations in place of 2 */
        ck_ok(sd_work_estimate(model, &q, &work[i]));
        ck_ok(sd_memory_estimate(model, &q, &memory[i]));
    }
    ck_assert_double_eq_tol(work[1].step / work[0].step, 2.0, 1e-6);
    ck_assert(memory[1].unet > memory[0].unet + memory[0].unet / 2);
    q.combined = 8;
    ck_status(sd_work_estimate(model, &q, &work[0]), SD_ERROR_ARGUMENT, "combined is 8; 0 to 7");
    sd_model_free(model);
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
    tcase_add_test(tests, schedules_and_combinations);
    tcase_add_test(tests, odd_schedules_are_refused);
    tcase_add_test(tests, runs_refuse_odd_programs);
    tcase_add_test(tests, combinations_are_estimated);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
