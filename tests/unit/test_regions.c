/*
 * Recorded regions of samplers, over the cpu backend: what a sampler paints must not change, the
 * network is recorded once, whatever the method makes of it, and a region that fails or is
 * cancelled is ended.
 */
#include "../support/cond.h"
#include "../support/params.h"
#include "../tools/suite.h"
#include "recorder.h"
#include "sampler/sampler.h"

/* -------------------------------------------------------------------------------------- fixture */

typedef struct subject {
    sd_context *ctx;
    sd_model *model;
} subject;

static sdb_backend recording; /* outlives the contexts */
static subject plain, recorded;
static sd_cond *cond, *uncond;

static void open_subject(subject *s, bool with_regions) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    params.n_threads = 2;
    ck_assert_int_eq(sd_context_new(&params, &s->ctx), SD_OK);
    if (with_regions)
        record_regions(s->ctx, &recording);
    ck_assert_int_eq(sd_model_load(s->ctx, getenv("SD_TEST_TINY_FOLDER"), NULL, &s->model), SD_OK);
}

static void close_subject(subject *s) {
    sd_model_free(s->model);
    sd_context_free(s->ctx);
}

static void set_up(void) {
    const char *texts[] = {"a lake", ""};
    memset(&recorder, 0, sizeof recorder);
    open_subject(&plain, false);
    ck_assert_int_eq(sd_encode_text(plain.model, texts, 1, NULL, &cond), SD_OK);
    ck_assert_int_eq(sd_encode_text(plain.model, texts + 1, 1, NULL, &uncond), SD_OK);
    open_subject(&recorded, true);
}

static void tear_down(void) {
    sd_cond_free(cond);
    sd_cond_free(uncond);
    close_subject(&plain);
    close_subject(&recorded);
    ck_assert_int_eq(recorder.live, 0);
    ck_assert_int_eq(recorder.begun, recorder.ended);
}

static sd_sampler_params run_params(const char *method) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.method = method;
    p.width = p.height = 64;
    p.steps = 4;
    return p;
}

static sd_sampler *new_sampler(subject *s, const sd_sampler_params *params) {
    sd_sampler *sampler;
    ck_assert_msg(sd_sampler_new(s->model, params, &sampler) == SD_OK, "%s", sd_last_error());
    return sampler;
}

static sd_tensor *sample_by(sd_sampler *sampler, sd_run_params run) {
    sd_tensor *latent;
    run.cond = cond;
    run.uncond = uncond;
    run.strength = 1;
    ck_assert_msg(sd_sample(sampler, &run, &latent) == SD_OK, "%s", sd_last_error());
    return latent;
}

static sd_tensor *sample_from(sd_sampler *sampler, const sd_tensor *init) {
    return sample_by(sampler, run_of(NULL, NULL, init, NULL));
}

static sd_tensor *sample(sd_sampler *sampler) {
    return sample_from(sampler, NULL);
}

static void check_same(sd_tensor *a, sd_tensor *b) {
    ck_assert_int_eq(sd_tensor_n_elements(a), sd_tensor_n_elements(b));
    ck_assert_mem_eq(sd_tensor_data(a), sd_tensor_data(b),
                     (size_t)sd_tensor_n_elements(a) * sizeof(float));
    sd_tensor_free(b);
}

static sd_tensor *expected_latent(const sd_sampler_params *params) {
    sd_sampler *sampler = new_sampler(&plain, params);
    sd_tensor *latent = sample(sampler);
    sd_sampler_free(sampler);
    return latent;
}

/* Fails as it should, and then paints the right picture on the same sampler. */
static void check_failure(sd_status expected_status, void (*repair)(void)) {
    sd_sampler_params params = run_params("ddim");
    sd_tensor *expected = expected_latent(&params), *latent = NULL;
    sd_sampler *sampler = new_sampler(&recorded, &params);
    ck_assert_int_eq(sd_sample(sampler, RUN(cond, uncond, NULL, NULL), &latent), expected_status);
    ck_assert_ptr_null(latent);
    ck_assert_ptr_null(recorder.open);
    repair();
    check_same(expected, sample(sampler));
    sd_sampler_free(sampler);
    sd_tensor_free(expected);
}

/* ---------------------------------------------------------------------------------------- tests */

/* How often a run of 8 steps asks for the network. Of all of three runs the first is launched as it
 * stands, the second recorded besides, and the others replayed. */
static const struct recorded_method {
    const char *method;
    int evaluations;
} methods[] = {
    {"ddim", 8},         {"ddim_inverse", 8}, {"euler", 8},
    {"plms", 9}, /* two in the first step */
    {"lms", 8},          {"ddpm", 8},         {"euler_a", 8},
    {"lcm", 8},          {"heun", 15}, /* one in the last step */
    {"dpm2", 15},        {"dpmpp_2m", 8},     {"dpmpp_2m_sde", 8},
    {"unipc", 8},        {"dpm_solver", 8},   {"dpm2_a", 15},
    {"dpmpp_2s", 8},     {"dpmpp_2s_a", 15},  {"dpmpp_sde", 15},
    {"dpmpp_3m_sde", 8}, {"deis", 8},         {"tcd", 8},
};

static sd_sampler_params eight_steps(const char *method) {
    sd_sampler_params p = run_params(method);
    p.steps = 8;
    return p;
}

/* A latent to begin at, where the method needs one. */
static sd_tensor *init_of(subject *s, const char *method) {
    static const int64_t dims[4] = {1, 4, 8, 8};
    sd_tensor *init = NULL;
    if (!strcmp(method, "ddim_inverse"))
        ck_assert_int_eq(sd_tensor_new(s->ctx, 4, dims, NULL, &init), SD_OK);
    return init;
}

START_TEST(regions_change_no_bit) {
    const struct recorded_method *m = &methods[_i];
    sd_sampler_params params = eight_steps(m->method);
    sd_tensor *init = init_of(&plain, m->method);
    sd_sampler *sampler = new_sampler(&plain, &params);
    sd_tensor *expected = sample_from(sampler, init);
    sd_sampler_free(sampler);
    sampler = new_sampler(&recorded, &params);
    for (int run = 0; run < 3; run++)
        check_same(expected, sample_from(sampler, init));
    ck_assert_int_eq(recorder.begun, 2); /* the prompts' keys and values, too, once a run */
    ck_assert_int_eq(recorder.live, 2);
    ck_assert_int_eq(recorder.replays, 1 + 3 * m->evaluations - 2);
    sd_sampler_free(sampler);
    sd_tensor_free(expected);
    sd_tensor_free(init);
}
END_TEST

/* A method that asks twice a step says so: programs of prompts count evaluations. */
START_TEST(methods_say_how_often) {
    for (size_t i = 0; i < SD_COUNT(methods); i++) {
        int said = sdi_method_evaluations(sdi_method_find(methods[i].method), 8);
        ck_assert_msg(said == (methods[i].evaluations == 15 ? 16 : 8), "%s", methods[i].method);
    }
}
END_TEST

START_TEST(every_method_is_in_the_table) {
    for (int i = 0; sd_sampler_method(i); i++) {
        bool found = false;
        for (size_t j = 0; j < SD_COUNT(methods); j++)
            found = found || !strcmp(methods[j].method, sd_sampler_method(i));
        ck_assert_msg(found, "%s", sd_sampler_method(i));
    }
}
END_TEST

/* With the upper half of the picture held, or without. */
static sd_tensor *sample_masked(subject *s, sd_sampler *sampler, bool there) {
    static const int64_t mask_dims[4] = {1, 1, 8, 8}, dims[4] = {1, 4, 8, 8};
    static float half[64];
    sd_tensor *mask, *x0;
    for (int i = 0; i < 32; i++)
        half[i] = 1.0f;
    ck_assert_int_eq(sd_tensor_new(s->ctx, 4, mask_dims, half, &mask), SD_OK);
    ck_assert_int_eq(sd_tensor_new(s->ctx, 4, dims, NULL, &x0), SD_OK);
    sd_run_params run = run_of(NULL, NULL, NULL, NULL);
    sd_tensor *latent = sample_by(sampler, there ? with_mask(mask, x0, run) : run);
    sd_tensor_free(mask);
    sd_tensor_free(x0);
    return latent;
}

/* All that a step may do besides, for each method that takes it. */
static const struct option {
    const char *method;
    float eta, rescale, guidance, dropout;
    int clip, mask;
} options[] = {
    {"ddim", .guidance = 1.0f},
    {"ddim", .eta = 1.0f, .guidance = 7.5f, .dropout = 0.5f},
    {"ddim", .rescale = 0.7f, .guidance = 7.5f},
    {"ddpm", .clip = 1, .guidance = 7.5f},
    {"ddim", .eta = 1.0f, .mask = 1, .guidance = 7.5f},
    {"unipc", .mask = 1, .rescale = 0.7f, .guidance = 7.5f},
    {"dpmpp_2m_sde", .mask = 1, .guidance = 7.5f},
};

START_TEST(options_record_nothing_anew) {
    const struct option *o = &options[_i];
    sd_sampler_params params = eight_steps(o->method);
    params.eta = o->eta;
    params.guidance_rescale = o->rescale;
    params.guidance_scale = o->guidance;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    params.original = &original;
    original.noise_dropout = o->dropout;
    original.clip_denoised = o->clip;
    sd_sampler *direct = new_sampler(&plain, &params), *sampler = new_sampler(&recorded, &params);
    sd_tensor *expected = sample_masked(&plain, direct, o->mask);
    check_same(expected, sample_masked(&recorded, sampler, o->mask));
    sd_tensor_free(expected);
    expected = sample_masked(&plain, direct, !o->mask);
    check_same(expected, sample_masked(&recorded, sampler, !o->mask));
    sd_tensor_free(expected);
    expected = sample_masked(&plain, direct, o->mask);
    check_same(expected, sample_masked(&recorded, sampler, o->mask));
    ck_assert_int_eq(recorder.begun, 2);
    sd_tensor_free(expected);
    sd_sampler_free(direct);
    sd_sampler_free(sampler);
}
END_TEST

START_TEST(short_runs_record_when_they_are_repeated) {
    sd_sampler_params params = run_params("ddim");
    params.steps = 1;
    sd_tensor *expected = expected_latent(&params);
    sd_sampler *sampler = new_sampler(&recorded, &params);
    check_same(expected, sample(sampler));
    ck_assert_int_eq(recorder.begun, 0);
    check_same(expected, sample(sampler));
    check_same(expected, sample(sampler));
    ck_assert_int_eq(recorder.begun, 2);
    ck_assert_int_eq(recorder.replays, 2);
    sd_sampler_free(sampler);
    sd_tensor_free(expected);
}
END_TEST

/* A run that a callback watches gives what it gives without, and begins so many regions. */
static void check_watched(const sd_sampler_params *watched, int begun) {
    sd_sampler_params alone = run_params("ddim");
    sd_tensor *expected = expected_latent(&alone);
    sd_sampler *sampler = new_sampler(&recorded, watched);
    check_same(expected, sample(sampler));
    ck_assert_int_eq(recorder.begun, begun);
    sd_sampler_free(sampler);
    sd_tensor_free(expected);
}

static int32_t keep_score(void *user, const sd_score_info *score) {
    (void)user;
    (void)score;
    return 0;
}

/* The host works in the middle of such a step, behind the network. */
START_TEST(a_score_corrector_does_not_disturb_a_region) {
    sd_sampler_params params = run_params("ddim");
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    params.original = &original;
    original.score_corrector = keep_score;
    check_watched(&params, 1);
}
END_TEST

static void mend_operation(void) {
    recorder.fail_at = 0;
}

START_TEST(a_failing_operation_ends_its_region) {
    recorder.fail_at = _i;
    check_failure(SD_ERROR_BACKEND, mend_operation);
    ck_assert_int_eq(recorder.begun, 3);
    ck_assert_int_eq(recorder.ended, 3);
}
END_TEST

static void mend_all(void) {
    recorder.fail_begin = recorder.fail_end = recorder.fail_replay = false;
    recorder.cancel_at = 0;
}

START_TEST(a_region_that_cannot_begin_is_told) {
    recorder.fail_begin = true;
    check_failure(SD_ERROR_BACKEND, mend_all);
    ck_assert_int_eq(recorder.begun, 2);
}
END_TEST

START_TEST(a_region_that_cannot_end_is_told) {
    recorder.fail_end = true;
    check_failure(SD_ERROR_BACKEND, mend_all);
    ck_assert_int_eq(recorder.begun, 3);
}
END_TEST

START_TEST(a_failing_replay_is_told) {
    recorder.fail_replay = true;
    check_failure(SD_ERROR_BACKEND, mend_all);
    ck_assert_int_eq(recorder.begun, 2);
}
END_TEST

START_TEST(cancelling_ends_a_region) {
    recorder.cancel = recorded.ctx;
    recorder.cancel_at = 5;
    check_failure(SD_ERROR_CANCELLED, mend_all);
    ck_assert_int_eq(recorder.begun, 3);
}
END_TEST

/* The second sampler gets the first one's executor, with its queue, arena and regions. */
START_TEST(the_next_sampler_of_a_shape_replays_at_once) {
    sd_sampler_params ddim = run_params("ddim"), plms = run_params("plms");
    sd_tensor *expected = expected_latent(&ddim), *expected_plms = expected_latent(&plms);
    sd_sampler *sampler = new_sampler(&recorded, &plms);
    check_same(expected_plms, sample(sampler));
    sd_sampler_free(sampler);
    ck_assert_int_eq(recorder.begun, 1);
    ck_assert_int_eq(recorder.live, 1);
    int replays = recorder.replays;
    sampler = new_sampler(&recorded, &ddim);
    check_same(expected, sample(sampler));
    ck_assert_int_eq(recorder.begun, 2);
    ck_assert_int_eq(recorder.replays, replays + ddim.steps);
    sd_sampler_free(sampler);
    sd_tensor_free(expected);
    sd_tensor_free(expected_plms);
}
END_TEST

START_TEST(samplers_of_two_shapes_have_regions_of_their_own) {
    sd_sampler_params small = run_params("ddim"), large = run_params("ddim");
    large.width = 128;
    sd_tensor *expected_small = expected_latent(&small), *expected_large = expected_latent(&large);
    sd_sampler *sampler = new_sampler(&recorded, &small);
    check_same(expected_small, sample(sampler));
    sd_sampler_free(sampler);
    ck_assert_int_eq(recorder.live, 1);
    sampler = new_sampler(&recorded, &large); /* in a larger arena: the region went */
    ck_assert_int_eq(recorder.live, 0);
    sd_sampler *beside = new_sampler(&recorded, &small);
    check_same(expected_large, sample(sampler));
    check_same(expected_small, sample(beside));
    check_same(expected_large, sample(sampler));
    ck_assert_int_eq(recorder.begun, 4);
    ck_assert_int_eq(recorder.live, 3);
    sd_sampler_free(sampler);
    sd_sampler_free(beside);
    sd_tensor_free(expected_small);
    sd_tensor_free(expected_large);
}
END_TEST

static int32_t preview(void *user, const sd_progress *progress) {
    sd_image *image;
    (void)user;
    ck_assert_int_eq(
        sd_sampler_preview(progress->sampler, PREVIEW(.method = SD_PREVIEW_VAE), &image), SD_OK);
    sd_image_free(image);
    return 0;
}

START_TEST(previews_do_not_disturb_a_region) {
    sd_sampler_params params = run_params("ddim");
    params.progress = preview;
    check_watched(&params, 2); /* the sampler's, and decoding's */
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("regions");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, regions_change_no_bit, 0, (int)SD_COUNT(methods));
    tcase_add_test(tc, every_method_is_in_the_table);
    tcase_add_test(tc, methods_say_how_often);
    tcase_add_loop_test(tc, options_record_nothing_anew, 0, (int)SD_COUNT(options));
    tcase_add_test(tc, short_runs_record_when_they_are_repeated);
    tcase_add_test(tc, a_score_corrector_does_not_disturb_a_region);
    tcase_add_loop_test(tc, a_failing_operation_ends_its_region, 1, 4);
    tcase_add_test(tc, a_region_that_cannot_begin_is_told);
    tcase_add_test(tc, a_region_that_cannot_end_is_told);
    tcase_add_test(tc, a_failing_replay_is_told);
    tcase_add_test(tc, cancelling_ends_a_region);
    tcase_add_test(tc, the_next_sampler_of_a_shape_replays_at_once);
    tcase_add_test(tc, samplers_of_two_shapes_have_regions_of_their_own);
    tcase_add_test(tc, previews_do_not_disturb_a_region);
    Suite *suite = suite_create("regions");
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
