/* A sampler around its steps: callbacks, cancelling, given noise, strength, masks,
 * profiles. */
#include "../support/params.h"
#include "sample.h"

static int32_t look(void *user, const sd_progress *progress) {
    sd_sampler *s = progress->sampler;
    ck_assert_int_eq(progress->stage, SD_STAGE_SAMPLE);
    sd_tensor *latent;
    sd_image *preview;
    (void)user;
    ck_assert_int_eq(sd_sampler_remaining(s), progress->total - progress->step);
    ck_ok(sd_sampler_latent(s, &latent));
    ck_ok(sd_sampler_set_latent(s, latent));
    ck_ok(sd_sampler_preview(s, NULL, &preview));
    ck_status(sd_sampler_step(s), SD_ERROR_STATE, "callback");
    ck_status(sd_sampler_begin(s, RUN(cond, uncond, NULL, NULL)), SD_ERROR_STATE, "callback");
    sd_image_free(preview);
    sd_tensor_free(latent);
    return 0;
}

START_TEST(callbacks_look_and_do_not_disturb) {
    sd_sampler_params p = noisy_run(look), plain = noisy_run(NULL);
    sd_sampler *s, *t;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_ok(sd_sampler_new(model, &plain, &t));
    sd_tensor *watched = sample(s, NULL, NULL), *alone = sample(t, NULL, NULL);
    ck_assert(same(watched, alone));
    sd_tensor_free(watched);
    sd_tensor_free(alone);
    sd_sampler_free(s);
    sd_sampler_free(t);
}
END_TEST

static int32_t cancel_once(void *user, const sd_progress *progress) {
    int *armed = user;
    if (*armed && progress->step == 2) {
        *armed = 0;
        sd_context_cancel(ctx);
    }
    return 0;
}

START_TEST(a_cancelled_sampler_runs_again) {
    int armed = 0;
    sd_sampler_params p = noisy_run(cancel_once);
    p.progress_user = &armed;
    sd_sampler *s;
    sd_tensor *latent;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_status(sd_sampler_latent(s, &latent), SD_ERROR_STATE, "begun");
    sd_tensor *before = sample(s, NULL, NULL);
    armed = 1;
    ck_status(sd_sample(s, RUN(cond, uncond, NULL, NULL), &latent), SD_ERROR_CANCELLED, "cancel");
    ck_assert_ptr_null(latent);
    ck_assert_int_eq(sd_sampler_remaining(s), 0);
    ck_status(sd_sampler_step(s), SD_ERROR_STATE, "begin");
    ck_status(sd_sampler_pred_x0(s, &latent), SD_ERROR_STATE, "begun");
    sd_tensor *after = sample(s, NULL, NULL);
    ck_assert(same(before, after));
    sd_tensor_free(before);
    sd_tensor_free(after);
    sd_sampler_free(s);
}
END_TEST

/* Where each step has noise too, later draws stay what they are. */
START_TEST(given_noise_replaces_the_first_draw) {
    sd_sampler_params p = noisy_run(NULL);
    sd_sampler *s;
    sd_tensor *noise;
    ck_ok(sd_sampler_new(model, &p, &s));
    sd_tensor *own = sample(s, NULL, NULL);
    ck_ok(sd_randn(ctx, p.rng, p.seed, 4, sd_tensor_dims(own), &noise));
    sd_tensor *given = sample(s, NULL, noise);
    ck_assert(same(own, given));
    sd_tensor_data_mut(noise)[0] += 1.0f;
    sd_tensor *other = sample(s, NULL, noise);
    ck_assert(!same(own, other));
    sd_tensor_free(own);
    sd_tensor_free(given);
    sd_tensor_free(other);
    sd_tensor_free(noise);
    sd_sampler_free(s);
}
END_TEST

/* torch.randn of the second batch, after that of the first, of one stream. */
START_TEST(skipped_draws_are_those_before) {
    sd_sampler_params p = small_run();
    sd_sampler *s;
    sd_tensor *first, *stream;
    p.batch = 2;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.one_stream = 1;
    original.skip_draws = 1;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_ok(sd_sampler_begin(s, RUN(cond, uncond, NULL, NULL)));
    ck_ok(sd_sampler_latent(s, &first));
    const int64_t *own = sd_tensor_dims(first);
    int64_t dims[] = {4, own[1], own[2], own[3]};
    ck_ok(sd_randn(ctx, p.rng, p.seed, 4, dims, &stream));
    int64_t n = sd_tensor_n_elements(first);
    ck_assert_mem_eq(sd_tensor_data(first), sd_tensor_data(stream) + n, (size_t)n * sizeof(float));
    sd_tensor_free(first);
    sd_tensor_free(stream);
    sd_sampler_free(s);
}
END_TEST

/* Without a step the init latent is noised to index 0; 1 leaves nothing of it. */
START_TEST(strength_goes_from_nothing_to_all) {
    sd_sampler_params p = noisy_run(NULL);
    sd_sampler *s;
    sd_tensor *encoded;
    ck_ok(sd_sampler_new(model, &p, &s));
    sd_tensor *first = sample(s, NULL, NULL);
    sd_sampler_free(s);
    static const double strengths[] = {0.0, 0.249, 0.5, 1.0};
    for (int i = 0; i < 8; i++) {
        p.method = i % 2 ? "euler" : "ddim";
        p.seed = 99;
        ck_ok(sd_sampler_new(model, &p, &s));
        sd_tensor *painted, *free_run = sample(s, NULL, NULL);
        ck_ok(sd_sample(s, GIVEN(run_at(strengths[i / 2], run_of(cond, uncond, first, NULL))),
                        &painted));
        ck_ok(sd_sampler_stochastic_encode(s, first, 0, NULL, &encoded));
        ck_assert_int_eq(same(painted, encoded), i < 4);
        ck_assert_int_eq(same(painted, free_run), i >= 6);
        ck_assert(!same(painted, first));
        sd_tensor_free(painted);
        sd_tensor_free(free_run);
        sd_tensor_free(encoded);
        sd_sampler_free(s);
    }
    sd_tensor_free(first);
}
END_TEST

/* int(strength * steps) in Python's float64, of fractions that float32 or rounding would miss. */
START_TEST(strength_counts_steps_as_python_does) {
    static const struct {
        double strength;
        int steps, expected;
    } cases[] = {{5.0 / 6, 30, 25},  {2.0 / 3, 30, 20},   {1.0 / 3, 30, 10}, {7.0 / 12, 24, 14},
                 {0.7, 50, 35},      {0.29, 100, 28},     {0.57, 100, 56},   {0.58, 50, 28},
                 {0.35, 20, 7},      {0.1, 50, 5},        {0.999, 50, 49},   {0.9999999, 50, 49},
                 {0.0199999, 50, 0}, {0.02, 50, 1},       {1.0, 50, 50},     {11.0 / 13, 13, 11},
                 {0.49999999, 4, 1}, {1.0 / 49, 49, 0},   {0.3, 10, 3},      {0.6, 5, 3},
                 {0.55, 100, 55},    {1.0 - 1e-16, 8, 7}, {0.14, 50, 7},     {0.28, 25, 7}};
    const int64_t dims[] = {1, 4, 8, 8};
    sd_tensor *init;
    ck_ok(sd_tensor_new(ctx, 4, dims, NULL, &init));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sd_sampler_params p = small_run();
        sd_sampler *s;
        p.method = "euler"; /* as many steps as asked */
        p.steps = cases[i].steps;
        p.guidance_scale = 1;
        ck_ok(sd_sampler_new(model, &p, &s));
        ck_ok(
            sd_sampler_begin(s, GIVEN(run_at(cases[i].strength, run_of(cond, NULL, init, NULL)))));
        ck_assert_msg(sd_sampler_remaining(s) == cases[i].expected, "%.17g of %d is %d, not %d",
                      cases[i].strength, p.steps, sd_sampler_remaining(s), cases[i].expected);
        sd_sampler_free(s);
    }
    sd_tensor_free(init);
}
END_TEST

static sd_tensor *half_mask(void) {
    const int64_t dims[] = {1, 1, 8, 8};
    float half[64] = {0};
    sd_tensor *mask;
    for (int i = 0; i < 32; i++)
        half[i] = 1.0f;
    ck_ok(sd_tensor_new(ctx, 4, dims, half, &mask));
    return mask;
}

static sd_tensor *steps_left(sd_sampler *s, int left) {
    sd_tensor *latent;
    while (sd_sampler_remaining(s) > left)
        ck_ok(sd_sampler_step(s));
    ck_ok(sd_sampler_latent(s, &latent));
    return latent;
}

/* A mask that comes or goes between two steps: the rest of the run takes the noise that a run from
 * there would, of which a mask takes a draw in each step before the step's own. */
START_TEST(a_mask_may_come_and_go) {
    bool first = _i == 0;
    const int64_t dims[] = {1, 4, 8, 8};
    sd_sampler_params p = noisy_run(NULL), rest = p;
    sd_run_params plain = run_of(cond, uncond, NULL, NULL);
    sd_tensor *mask = half_mask(), *x0;
    sd_sampler *s, *t;
    sd_original_params rest_original = SD_ORIGINAL_PARAMS_INIT;
    rest.original = &rest_original;
    rest_original.skip_draws = first ? 4 : 2; /* one draw to begin with was made beside these */
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_ok(sd_sampler_new(model, &rest, &t));
    ck_ok(sd_tensor_new(ctx, 4, dims, NULL, &x0));
    ck_ok(sd_sampler_begin(s, GIVEN(first ? with_mask(mask, x0, plain) : plain)));
    int left = sd_sampler_remaining(s) - 2;
    sd_tensor *between = steps_left(s, left);
    ck_ok(sd_sampler_set_mask(s, first ? NULL : mask, first ? NULL : x0));
    sd_tensor *end = steps_left(s, 0), *expected;
    sd_run_params later = last_of(left, run_of(cond, uncond, between, NULL));
    ck_ok(sd_sample(t, GIVEN(first ? later : with_mask(mask, x0, later)), &expected));
    ck_assert(same(end, expected));
    sd_tensor *const all[] = {between, end, expected, mask, x0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sd_tensor_free(all[i]);
    sd_sampler_free(s);
    sd_sampler_free(t);
}
END_TEST

/* A profile counts the arithmetic that was estimated, once, and does not change the result. */
START_TEST(a_profile_counts_the_work) {
    sd_sampler_params p = small_run();
    sd_sampler *s;
    sd_work_info work = SD_WORK_INFO_INIT;
    sd_profile_row row = SD_PROFILE_ROW_INIT;
    ck_ok(sd_work_estimate(model, ESTIMATE(&p), &work));
    ck_ok(sd_sampler_new(model, &p, &s));
    sd_tensor *plain = sample(s, NULL, NULL);
    ck_status(sd_profile_get(ctx, 0, &row), SD_ERROR_ARGUMENT, "row 0");

    ck_ok(sd_sampler_begin(s, RUN(cond, uncond, NULL, NULL)));
    for (int round = 0; round < 2; round++) { /* the second begins anew */
        ck_ok(sd_profile_begin(ctx));
        ck_ok(sd_sampler_step(s));
        ck_ok(sd_profile_end(ctx));
    }
    double flops = 0;
    int n = 0;
    while (sd_profile_get(ctx, n, &row) == SD_OK) {
        ck_assert(row.operation && row.calls > 0 && row.seconds >= 0 && row.bytes > 0);
        flops += row.flops;
        n++;
    }
    ck_assert_int_ge(n, 5); /* conv2d, linear, attention, norms */
    ck_assert_double_eq_tol(flops, work.step, 1e-9 * work.step);

    sd_tensor *again = sample(s, NULL, NULL);
    ck_assert(same(plain, again));
    ck_status(sd_profile_get(ctx, -1, &row), SD_ERROR_ARGUMENT, "row -1");
    ck_status(sd_profile_get(ctx, 0, NULL), SD_ERROR_ARGUMENT, "row");
    sd_device_memory_info memory = SD_DEVICE_MEMORY_INFO_INIT;
    ck_ok(sd_context_device_memory(ctx, &memory));
    ck_assert(memory.used <= memory.peak);
    sd_tensor_free(plain);
    sd_tensor_free(again);
    sd_sampler_free(s);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("sampler");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, callbacks_look_and_do_not_disturb);
    tcase_add_test(tests, a_cancelled_sampler_runs_again);
    tcase_add_test(tests, given_noise_replaces_the_first_draw);
    tcase_add_test(tests, skipped_draws_are_those_before);
    tcase_add_test(tests, strength_goes_from_nothing_to_all);
    tcase_add_test(tests, strength_counts_steps_as_python_does);
    tcase_add_loop_test(tests, a_mask_may_come_and_go, 0, 2);
    tcase_add_test(tests, a_profile_counts_the_work);
    Suite *suite = suite_create("sampler");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
