/*
 * Recorded regions of stages, over the cpu backend: run, recorded, replayed; nothing of it shows in
 * the results. A region is forgotten when its memory moves, and its failure is the call's.
 */
#include "../support/cond.h"
#include "../support/params.h"
#include "../tools/suite.h"
#include "recorder.h"

static sdb_backend recording; /* outlives the context */
static sd_context *plain_ctx, *ctx;
static sd_model *plain, *model;

static void open_model(bool with_regions, sd_context **c, sd_model **m) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    params.n_threads = 2;
    ck_assert_int_eq(sd_context_new(&params, c), SD_OK);
    if (with_regions)
        record_regions(*c, &recording);
    ck_assert_int_eq(sd_model_load(*c, getenv("SD_TEST_TINY_FOLDER"), NULL, m), SD_OK);
}

static void set_up(void) {
    memset(&recorder, 0, sizeof recorder);
    open_model(false, &plain_ctx, &plain);
    open_model(true, &ctx, &model);
    recorder.cancel = ctx;
}

static void tear_down(void) {
    sd_model_free(plain);
    sd_model_free(model);
    sd_context_free(plain_ctx);
    sd_context_free(ctx);
    ck_assert_int_eq(recorder.live, 0);
    ck_assert_int_eq(recorder.begun, recorder.ended);
}

/* --------------------------------------------------------------------------------------- stages */

static sd_tensor *random_tensor(sd_model *m, int seed, int n, int c, int h, int w) {
    const int64_t dims[] = {n, c, h, w};
    sd_tensor *t;
    sd_context *of = m == plain ? plain_ctx : ctx;
    ck_assert_int_eq(sd_randn(of, SD_RNG_CPU, (uint64_t)seed, w ? 4 : 3, dims, &t), SD_OK);
    return t;
}

/* Each makes its own inputs from the seed. */
typedef sd_status (*stage_fn)(sd_model *m, int seed, sd_tensor **out);

static sd_status text_of(sd_model *m, int seed, int n, int skip, sd_tensor **out) {
    const char *texts[] = {"a lake", "", "a hill", "the sea", "a tree", "a", "b", "c", "d"};
    const char *from[SD_COUNT(texts)];
    sd_text_params params = SD_TEXT_PARAMS_INIT;
    params.clip_skip = skip;
    for (int i = 0; i < n; i++)
        from[i] = texts[(size_t)(i + seed) % SD_COUNT(texts)];
    return encode_context(m, from, n, &params, out);
}

static sd_status text(sd_model *m, int seed, sd_tensor **out) {
    return text_of(m, seed, 2, 0, out);
}

static sd_status decode_of(sd_model *m, int seed, int n, int side, sd_tensor **out) {
    sd_tensor *z = random_tensor(m, seed, n, 4, side, side);
    sd_status status = sd_vae_decode(m, z, NULL, out);
    sd_tensor_free(z);
    return status;
}

static sd_status decode(sd_model *m, int seed, sd_tensor **out) {
    return decode_of(m, seed, 1, 8, out);
}

static sd_status encode_of(sd_model *m, int seed, bool sampled, sd_tensor **out) {
    sd_tensor *x = random_tensor(m, seed, 1, 3, 64, 64);
    sd_tensor *noise = sampled ? random_tensor(m, seed + 100, 1, 4, 8, 8) : NULL;
    sd_status status = sd_vae_encode(m, x, NOISE(noise), out);
    sd_tensor_free(x);
    sd_tensor_free(noise);
    return status;
}

static sd_status encode(sd_model *m, int seed, sd_tensor **out) {
    return encode_of(m, seed, false, out);
}

static sd_status encode_sampled(sd_model *m, int seed, sd_tensor **out) {
    return encode_of(m, seed, true, out);
}

static sd_status unet(sd_model *m, int seed, sd_tensor **out) {
    const double t[] = {100.0 * seed};
    sd_model_info info = SD_MODEL_INFO_INIT;
    ck_assert_int_eq(sd_model_get_info(m, &info), SD_OK);
    sd_tensor *x = random_tensor(m, seed, 1, 4, 8, 8);
    sd_tensor *c = random_tensor(m, seed, 1, info.text_tokens, info.text_width, 0);
    sd_cond *cond = cond_of(m == plain ? plain_ctx : ctx, c);
    sd_status status = sd_unet_predict(m, x, t, cond, out);
    sd_cond_free(cond);
    sd_tensor_free(x);
    sd_tensor_free(c);
    return status;
}

/* The stages, and how many segments their programs have. */
static const stage_fn stages[] = {text, decode, encode, encode_sampled, unet};
static const int segments[] = {1, 1, 2, 2, 2};

/* The stage gives on `model` what it gives on `plain`. */
static void check_stage(stage_fn stage, int seed) {
    sd_tensor *a, *b;
    ck_assert_int_eq(stage(plain, seed, &a), SD_OK);
    ck_assert_msg(stage(model, seed, &b) == SD_OK, "%s", sd_last_error());
    ck_assert_int_eq(sd_tensor_n_elements(a), sd_tensor_n_elements(b));
    ck_assert_mem_eq(sd_tensor_data(a), sd_tensor_data(b),
                     (size_t)sd_tensor_n_elements(a) * sizeof(float));
    sd_tensor_free(a);
    sd_tensor_free(b);
}

static void check_counts(int begun, int replays, int live) {
    ck_assert_int_eq(recorder.begun, begun);
    ck_assert_int_eq(recorder.replays, replays);
    ck_assert_int_eq(recorder.live, live);
}

/* ---------------------------------------------------------------------------------------- tests */

START_TEST(run_then_recorded_then_replayed) {
    check_stage(stages[_i], 1);
    check_counts(0, 0, 0);
    int n = segments[_i];
    check_stage(stages[_i], 2);
    check_counts(n, 0, n);
    check_stage(stages[_i], 3);
    check_counts(n, n, n);
    ck_assert_int_eq(recorder.plans, 1); /* planned once */
}
END_TEST

START_TEST(pictures_of_a_batch_share_a_region) {
    sd_tensor *a, *b;
    ck_assert_int_eq(decode_of(plain, 1, 3, 8, &a), SD_OK);
    ck_assert_int_eq(decode_of(model, 1, 3, 8, &b), SD_OK);
    ck_assert_mem_eq(sd_tensor_data(a), sd_tensor_data(b),
                     (size_t)sd_tensor_n_elements(a) * sizeof(float));
    check_counts(1, 1, 1);
    sd_tensor_free(a);
    sd_tensor_free(b);
}
END_TEST

static sd_status skipping(sd_model *m, int seed, sd_tensor **out) {
    return text_of(m, seed, 2, 2, out);
}

static sd_status one_text(sd_model *m, int seed, sd_tensor **out) {
    return text_of(m, seed, 1, 0, out);
}

/* Two tiles, then the posterior of the whole, whose first segment computes nothing. */
static sd_status encode_tiled(sd_model *m, int seed, sd_tensor **out) {
    sd_tensor *x = random_tensor(m, seed, 1, 3, 128, 64);
    sd_status status = sd_vae_encode(m, x, TILES(8, 0), out);
    sd_tensor_free(x);
    return status;
}

START_TEST(an_empty_segment_is_not_recorded) {
    for (int i = 1; i <= 3; i++)
        check_stage(encode_tiled, i);
    ck_assert_int_eq(recorder.begun, 2); /* the encoder, the sample of the posterior */
    ck_assert_int_eq(recorder.live, 2);
}
END_TEST

START_TEST(shapes_and_options_have_regions_of_their_own) {
    for (int i = 1; i <= 3; i++) {
        check_stage(text, i);
        check_stage(one_text, i);
        check_stage(skipping, i);
    }
    check_counts(3, 3, 3);
}
END_TEST

static sd_status large(sd_model *m, int seed, sd_tensor **out) {
    return decode_of(m, seed, 1, 32, out);
}

START_TEST(a_growing_arena_ends_all_regions) {
    for (int i = 1; i <= 3; i++)
        check_stage(text, i);
    check_counts(1, 1, 1);
    check_stage(large, 1);
    check_counts(1, 1, 0);
    for (int i = 1; i <= 3; i++)
        check_stage(text, i);
    check_counts(2, 2, 1);
    check_stage(large, 2);
    check_counts(3, 2, 2);
}
END_TEST

START_TEST(the_oldest_of_many_stages_goes) {
    sd_tensor *out;
    for (int n = 9; n >= 1; n--) /* the arena does not grow */
        for (int i = 1; i <= 2; i++) {
            ck_assert_int_eq(text_of(model, i, n, 0, &out), SD_OK);
            sd_tensor_free(out);
        }
    check_counts(9, 0, SD_MAX_PROGRAMS);
    check_stage(one_text, 3); /* is still there */
    check_counts(9, 1, SD_MAX_PROGRAMS);
    ck_assert_int_eq(text_of(model, 1, 9, 0, &out), SD_OK); /* is not */
    sd_tensor_free(out);
    check_counts(9, 1, SD_MAX_PROGRAMS - 1);
}
END_TEST

START_TEST(a_sampler_between_leaves_regions_alone) {
    sd_sampler_params params = SD_SAMPLER_PARAMS_INIT;
    params.width = params.height = 64;
    params.steps = 2;
    sd_tensor *context, *latent;
    sd_sampler *sampler;
    check_stage(large, 1); /* more than the sampler takes */
    for (int i = 1; i <= 3; i++)
        check_stage(text, i);
    check_counts(1, 1, 1);
    ck_assert_int_eq(text_of(model, 1, 1, 0, &context), SD_OK);
    ck_assert_int_eq(sd_sampler_new(model, &params, &sampler), SD_OK);
    sd_cond *cond = cond_of(ctx, context);
    ck_assert_int_eq(sd_sample(sampler, RUN(cond, cond, NULL, NULL), &latent), SD_OK);
    check_stage(text, 1); /* in another executor */
    check_stage(text, 2);
    ck_assert_int_eq(recorder.live, 3);
    sd_sampler_free(sampler);
    ck_assert_int_eq(recorder.live, 3); /* its network's, too */
    int begun = recorder.begun;
    check_stage(text, 3);
    ck_assert_int_eq(recorder.begun, begun);
    sd_tensor_free(context);
    sd_cond_free(cond);
    sd_tensor_free(latent);
}
END_TEST

/* One picture without guidance is the same program as an evaluation of one. */
START_TEST(an_evaluation_replays_what_a_sampler_recorded) {
    sd_sampler_params params = SD_SAMPLER_PARAMS_INIT;
    params.width = params.height = 64;
    params.steps = 2;
    params.guidance_scale = 1;
    sd_tensor *context, *latent;
    sd_sampler *sampler;
    ck_assert_int_eq(text_of(model, 1, 1, 0, &context), SD_OK);
    sd_cond *cond = cond_of(ctx, context);
    ck_assert_int_eq(sd_sampler_new(model, &params, &sampler), SD_OK);
    for (int run = 0; run < 2; run++) { /* the prompt's part runs once in each */
        ck_assert_int_eq(sd_sample(sampler, RUN(cond, NULL, NULL, NULL), &latent), SD_OK);
        sd_tensor_free(latent);
    }
    sd_sampler_free(sampler);
    int begun = recorder.begun, replays = recorder.replays;
    check_stage(unet, 1);
    ck_assert_int_eq(recorder.begun, begun);
    ck_assert_int_eq(recorder.replays, replays + 2);
    sd_tensor_free(context);
    sd_cond_free(cond);
}
END_TEST

START_TEST(a_profile_runs_operations_one_by_one) {
    for (int i = 1; i <= 2; i++)
        check_stage(text, i);
    ck_assert_int_eq(sd_profile_begin(ctx), SD_OK);
    check_stage(text, 3);
    ck_assert_int_eq(sd_profile_end(ctx), SD_OK);
    sd_profile_row row = SD_PROFILE_ROW_INIT;
    ck_assert_int_eq(sd_profile_get(ctx, 0, &row), SD_OK);
    check_counts(1, 0, 1);
    check_stage(text, 4);
    check_counts(1, 1, 1);
}
END_TEST

/* --------------------------------------------------------------------------------- failures */

static void no_end(void) {
    recorder.fail_end = true;
}

static void no_begin(void) {
    recorder.fail_begin = true;
}

static void failing_operation(void) {
    recorder.fail_at = 3;
}

static void cancelled_recording(void) {
    recorder.cancel_at = 3;
}

static void failing_replay(void) {
    recorder.fail_replay = true;
}

static void cancelled_replay(void) {
    recorder.cancel_replay = true;
}

static void mend(void) {
    recorder.fail_begin = recorder.fail_end = recorder.fail_replay = recorder.cancel_replay = false;
    recorder.fail_at = recorder.cancel_at = 0;
}

static const struct {
    int runs; /* that go well before */
    void (*spoil)(void);
    sd_status status;
    int live; /* regions afterwards: an executor that failed is not trusted again */
} failures[] = {
    {1, no_end, SD_ERROR_BACKEND, 0},
    {1, no_begin, SD_ERROR_BACKEND, 0},
    {1, failing_operation, SD_ERROR_BACKEND, 0},
    {1, cancelled_recording, SD_ERROR_CANCELLED, 0},
    {2, failing_replay, SD_ERROR_BACKEND, 0},
    {2, cancelled_replay, SD_ERROR_CANCELLED, 1},
};

START_TEST(a_failure_is_the_calls) {
    sd_tensor *out;
    for (int i = 1; i <= failures[_i].runs; i++)
        check_stage(decode, i);
    failures[_i].spoil();
    ck_assert_int_eq(decode(model, 3, &out), failures[_i].status);
    ck_assert_ptr_null(out);
    ck_assert_ptr_null(recorder.open);
    ck_assert_int_eq(recorder.live, failures[_i].live);
    mend();
    for (int i = 3; i <= 5; i++)
        check_stage(decode, i);
    ck_assert_int_eq(recorder.live, 1);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("stages");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, run_then_recorded_then_replayed, 0, (int)SD_COUNT(stages));
    tcase_add_test(tc, pictures_of_a_batch_share_a_region);
    tcase_add_test(tc, an_empty_segment_is_not_recorded);
    tcase_add_test(tc, shapes_and_options_have_regions_of_their_own);
    tcase_add_test(tc, a_growing_arena_ends_all_regions);
    tcase_add_test(tc, the_oldest_of_many_stages_goes);
    tcase_add_test(tc, a_sampler_between_leaves_regions_alone);
    tcase_add_test(tc, an_evaluation_replays_what_a_sampler_recorded);
    tcase_add_test(tc, a_profile_runs_operations_one_by_one);
    tcase_add_loop_test(tc, a_failure_is_the_calls, 0, (int)SD_COUNT(failures));
    Suite *suite = suite_create("stages");
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
