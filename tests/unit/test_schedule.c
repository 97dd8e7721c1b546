/* Schedules, DDIM's timesteps and numbers. */
#include "core/context_new.h"
#include "sampler/sampler.h"
#include <sd/original.h>

#include "../tools/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static sd_context *ctx;

static void set_up(void) {
    ck_assert_int_eq(sdi_context_new(&(sd_context_params)SD_CONTEXT_PARAMS_INIT, &ctx), SD_OK);
}

static void tear_down(void) {
    sdi_context_release(ctx);
}

static sd_schedule make_schedule(int kind, double start, double end, int n) {
    sd_schedule s;
    ck_assert_int_eq(sdi_schedule_init(&s, ctx, kind, start, end, n), SD_OK);
    return s;
}

static sd_schedule sd1_schedule(void) {
    return make_schedule(1, 0.00085, 0.012, 1000);
}

/* diffusers 0.42's DDIMScheduler(...).alphas_cumprod, which it computes in float32. */
START_TEST(alphas_cumprod_are_those_of_diffusers) {
    static const struct {
        int kind;
        double start, end;
        int t;
        double expected;
    } known[] = {
        {1, 0.00085, 0.012, 0, 0.999149978},
        {1, 0.00085, 0.012, 1, 0.998296022},
        {1, 0.00085, 0.012, 21, 0.980380654},
        {1, 0.00085, 0.012, 500, 0.276332468},
        {1, 0.00085, 0.012, 981, 0.0057754959},
        {1, 0.00085, 0.012, 999, 0.00466009509},
        {0, 0.0001, 0.02, 0, 0.999899983},
        {0, 0.0001, 0.02, 500, 0.0777966529},
        {0, 0.0001, 0.02, 999, 4.03583035e-05},
        {2, 0, 0, 0, 0.999958694},
        {2, 0, 0, 500, 0.492285043},
        {2, 0, 0, 999, 2.42873499e-09},
    };
    double worst = 0;
    for (size_t i = 0; i < SD_COUNT(known); i++) {
        sd_schedule s = make_schedule(known[i].kind, known[i].start, known[i].end, 1000);
        double found = s.alphas_cumprod[known[i].t];
        worst = fmax(worst, fabs(found - known[i].expected) / known[i].expected);
        sdi_schedule_free(&s, ctx);
    }
    printf("alphas_cumprod: largest relative error %.3g\n", worst);
    ck_assert_double_le(worst, 2e-5); /* float32's own, over 1000 products */
}
END_TEST

/* numpy.cumprod in float64 of the original's formula. */
START_TEST(alphas_cumprod_are_float64) {
    sd_schedule s = sd1_schedule();
    ck_assert_double_eq_tol(s.alphas_cumprod[21], 0.98038074810137132, 1e-14);
    ck_assert_double_eq_tol(s.alphas_cumprod[500], 0.2763326838229746, 1e-14);
    ck_assert_double_eq_tol(s.alphas_cumprod[999], 0.0046600985130772384, 1e-15);
    ck_assert_double_eq_tol(s.betas[999], 0.012, 1e-16);
    sdi_schedule_free(&s, ctx);
}
END_TEST

/* make_ddim_timesteps of the original, run in NumPy: count, sum, some entries. */
START_TEST(timesteps_are_those_of_the_original) {
    static const struct {
        sd_timestep_spacing spacing;
        int steps, count, sum, second, last;
    } known[] = {
        {SD_SPACING_UNIFORM, 20, 20, 9520, 51, 951},
        {SD_SPACING_UNIFORM, 50, 50, 24550, 21, 981},
        {SD_SPACING_UNIFORM, 30, 31, 15376, 34, 991}, /* 30 does not divide 1000 */
        {SD_SPACING_UNIFORM, 7, 8, 3984, 143, 995},
        {SD_SPACING_UNIFORM, 1, 1, 1, 1, 1},
        {SD_SPACING_QUAD, 20, 20, 5485, 3, 801},
        {SD_SPACING_QUAD, 50, 50, 13498, 1, 801},
        {SD_SPACING_QUAD, 7, 7, 2027, 23, 801},
        {SD_SPACING_QUAD, 1, 1, 1, 1, 1},
        {SD_SPACING_QUAD, 999, 999, 267039, 1, 801},
        /* the original indexes past the end with 1000 here; the last is 999 instead */
        {SD_SPACING_UNIFORM, 600, 1000, 500499, 2, 999},
        {SD_SPACING_UNIFORM, 1000, 1000, 500499, 2, 999},
    };
    sd_schedule s = sd1_schedule();
    int *t = calloc(1000, sizeof *t);
    for (size_t i = 0; i < SD_COUNT(known); i++) {
        int count = 0, sum = 0;
        ck_assert_int_eq(sdi_ddim_timesteps(ctx, &s, known[i].spacing, known[i].steps, t, &count),
                         SD_OK);
        for (int k = 0; k < count; k++) {
            sum += t[k];
            ck_assert(t[k] >= (k ? t[k - 1] : 1) && t[k] < 1000);
        }
        ck_assert_int_eq(count, known[i].count);
        ck_assert_int_eq(sum, known[i].sum);
        ck_assert_int_eq(t[count > 1], known[i].second);
        ck_assert_int_eq(t[count - 1], known[i].last);
    }
    free(t);
    sdi_schedule_free(&s, ctx);
}
END_TEST

/* make_beta_schedule's "sqrt", and its "cosine" with another cosine_s, by numpy in float64. */
START_TEST(schedules_of_the_original) {
    static const struct {
        sd_schedule_config config;
        int t;
        double expected;
    } known[] = {
        {{SD_BETA_SQRT, 1e-4, 2e-2, 1000}, 0, 0.99},
        {{SD_BETA_SQRT, 1e-4, 2e-2, 1000}, 100, 0.03864360202929929},
        {{SD_BETA_SQRT, 1e-4, 2e-2, 1000}, 300, 7.961241607250688e-08},
        {{SD_BETA_COSINE, 0, 0, 1000, SD_PREDICT_EPSILON, 0.01}, 0, 0.9999492023098195},
        {{SD_BETA_COSINE, 0, 0, 1000, SD_PREDICT_EPSILON, 0.01}, 500, 0.4907877797319979},
        {{SD_BETA_COSINE, 0, 0, 1000, SD_PREDICT_EPSILON, 0.01}, 999, 2.4193667459977043e-09},
    };
    for (size_t i = 0; i < SD_COUNT(known); i++) {
        sd_schedule s;
        ck_assert_int_eq(sdi_schedule_make(&s, ctx, &known[i].config), SD_OK);
        double found = s.alphas_cumprod[known[i].t];
        ck_assert_double_le(fabs(found - known[i].expected) / known[i].expected, 1e-11);
        sdi_schedule_free(&s, ctx);
    }
}
END_TEST

START_TEST(bad_arguments_are_refused) {
    sd_schedule s;
    ck_assert_int_eq(sdi_schedule_init(&s, ctx, 7, 0.1, 0.2, 10), SD_ERROR_UNSUPPORTED);
    ck_assert_int_eq(sdi_schedule_init(&s, ctx, 0, 0.1, 0.2, 0), SD_ERROR_FORMAT);
    ck_assert_int_eq(sdi_schedule_init(&s, ctx, 0, 0.1, 0.2, 1 << 30), SD_ERROR_FORMAT);
    ck_assert_int_eq(sdi_schedule_init(&s, ctx, 0, 0.1, 1.5, 10), SD_ERROR_FORMAT);
    ck_assert_int_eq(sdi_schedule_init(&s, ctx, 1, NAN, 0.2, 10), SD_ERROR_FORMAT);
    ck_assert_int_ne(sdi_error_get()[0], '\0');
    s = sd1_schedule();
    int t[1000], count;
    ck_assert_int_eq(sdi_ddim_timesteps(ctx, &s, SD_SPACING_UNIFORM, 0, t, &count),
                     SD_ERROR_ARGUMENT);
    ck_assert_int_eq(sdi_ddim_timesteps(ctx, &s, SD_SPACING_QUAD, 1001, t, &count),
                     SD_ERROR_ARGUMENT);
    sdi_schedule_free(&s, ctx);
}
END_TEST

/* Sizes of tiny models: one timestep, fewer than steps divide. */
START_TEST(small_schedules_work) {
    for (int n = 1; n <= 12; n++) {
        sd_schedule s = make_schedule(1, 0.00085, 0.012, n);
        for (int steps = 1; steps <= n; steps++) {
            int t[12], count;
            for (int spacing = SD_SPACING_UNIFORM; spacing <= SD_SPACING_QUAD; spacing++) {
                ck_assert_int_eq(
                    sdi_ddim_timesteps(ctx, &s, (sd_timestep_spacing)spacing, steps, t, &count),
                    SD_OK);
                ck_assert(count >= steps && count <= n);
                for (int i = 0; i < count; i++)
                    ck_assert(t[i] >= 0 && t[i] < n);
            }
        }
        sdi_schedule_free(&s, ctx);
    }
}
END_TEST

/* DDIM eq. 12 and 16 by hand, and v and x_0 predictions turned into epsilon. */
START_TEST(ddim_numbers_follow_the_equations) {
    sd_schedule s = sd1_schedule();
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.steps = 20;
    p.eta = 0.7f;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.temperature = 0.9f;
    sd_run run;
    ck_assert_int_eq(sdi_run_init(&run, ctx, &s, SD_PREDICT_EPSILON, &p), SD_OK);
    ck_assert_int_eq(run.times.count, 20);
    double worst = 0;
    for (int i = 0; i < 20; i++) {
        double c[SD_METHOD_MAX_COEFS];
        double a = s.alphas_cumprod[50 * i + 1];
        double a_prev = s.alphas_cumprod[i ? 50 * i - 49 : 0];
        double eta = (double)0.7f, temperature = (double)0.9f;
        double sigma = eta * sqrt((1 - a_prev) / (1 - a) * (1 - a / a_prev));
        double expected[] = {sqrt(a_prev), sqrt(1 - a_prev - sigma * sigma), sigma * temperature};
        run.method->coefs(&run, i, c);
        ck_assert(run.times.times[i] == 50 * i + 1);
        for (int k = 0; k < 3; k++)
            worst = fmax(worst, fabs(c[k] / expected[k] - 1));
    }
    printf("DDIM's numbers: largest relative error %.3g\n", worst);
    ck_assert_double_le(worst, 1e-11);
    sdi_run_free(&run);
    sdi_schedule_free(&s, ctx);
}
END_TEST

/* A row of the table begins with the time and the two numbers that turn the network's output into
 * epsilon: x = sqrt(a) x0 + sqrt(1 - a) noise gives the noise back from v, from x0 and from itself.
 */
START_TEST(every_prediction_becomes_epsilon) {
    sd_schedule s = sd1_schedule();
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.steps = 10;
    p.original = &(sd_original_params)SD_ORIGINAL_PARAMS_INIT;
    double worst = 0;
    for (int prediction = SD_PREDICT_EPSILON; prediction <= SD_PREDICT_SAMPLE; prediction++) {
        sd_run run;
        ck_assert_int_eq(sdi_run_init(&run, ctx, &s, (sd_prediction)prediction, &p), SD_OK);
        int row = 7 + run.method->n_coefs;
        for (int i = 0; i < run.times.count; i++) {
            const float *c = run.table + i * row;
            double a = s.alphas_cumprod[100 * i + 1], x0 = 0.75, noise = -1.25;
            double x = sqrt(a) * x0 + sqrt(1 - a) * noise;
            double outputs[] = {noise, sqrt(a) * noise - sqrt(1 - a) * x0, x0};
            ck_assert(c[0] == (float)(100 * i + 1));
            worst =
                fmax(worst, fabs((double)c[1] * x + (double)c[2] * outputs[prediction] - noise));
        }
        sdi_run_free(&run);
    }
    printf("epsilon of each prediction: largest error %.3g\n", worst);
    ck_assert_double_le(worst, 3e-6); /* float32 numbers, divided by sqrt(1 - a) = 0.04 */
    sdi_schedule_free(&s, ctx);
}
END_TEST

START_TEST(unknown_methods_are_refused) {
    sd_schedule s = sd1_schedule();
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.method = "no such method";
    p.original = &(sd_original_params)SD_ORIGINAL_PARAMS_INIT;
    sd_run run;
    ck_assert_int_eq(sdi_run_init(&run, ctx, &s, SD_PREDICT_EPSILON, &p), SD_ERROR_ARGUMENT);
    ck_assert_str_eq(sdi_method_at(0)->name, "ddim");
    ck_assert_ptr_eq(sdi_method_find("ddim"), sdi_method_at(0));
    ck_assert_ptr_null(sdi_method_at(-1));
    sdi_schedule_free(&s, ctx);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("schedule");
    TCase *tc = tcase_create("schedule");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, alphas_cumprod_are_those_of_diffusers);
    tcase_add_test(tc, alphas_cumprod_are_float64);
    tcase_add_test(tc, timesteps_are_those_of_the_original);
    tcase_add_test(tc, schedules_of_the_original);
    tcase_add_test(tc, bad_arguments_are_refused);
    tcase_add_test(tc, small_schedules_work);
    tcase_add_test(tc, ddim_numbers_follow_the_equations);
    tcase_add_test(tc, every_prediction_becomes_epsilon);
    tcase_add_test(tc, unknown_methods_are_refused);
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
