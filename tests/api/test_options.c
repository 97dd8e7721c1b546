/* Things that a sampler keeps, and that the host may change of a run: intermediates, score
 * corrector, dropout, and options that are refused. */
#include "sample.h"

#include <math.h>

/* Entry 0 is where the run began; then the first step, and the multiples of log_every_t. */
START_TEST(intermediates_are_kept) {
    sd_sampler_params p = noisy_run(NULL);
    sd_sampler *s;
    sd_tensor *x, *kept;
    p.steps = 5;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.log_every_t = 2; /* steps 4, 2 and 0 */
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_assert_int_eq(sd_sampler_n_intermediates(s), 0);
    ck_status(sd_sampler_x_inter(s, 0, &x), SD_ERROR_STATE, "no run was begun");
    ck_ok(sd_sampler_begin(s, RUN(cond, uncond, NULL, NULL)));
    ck_assert_int_eq(sd_sampler_n_intermediates(s), 1);
    for (int i = 5; i >= 0; i--) {
        int entry = (6 - i) / 2;
        if (i < 5)
            ck_ok(sd_sampler_step(s));
        ck_assert_int_eq(sd_sampler_n_intermediates(s), entry + 1);
        if (i % 2 == 1 && i < 5)
            continue;
        ck_ok(sd_sampler_latent(s, &x));
        ck_ok(sd_sampler_x_inter(s, entry, &kept));
        ck_assert(same(x, kept));
        sd_tensor_free(kept);
        if (i < 5) {
            sd_tensor_free(x);
            ck_ok(sd_sampler_pred_x0(s, &x));
        }
        ck_ok(sd_sampler_pred_x0_inter(s, entry, &kept));
        ck_assert(same(x, kept));
        sd_tensor_free(kept);
        sd_tensor_free(x);
    }
    ck_status(sd_sampler_x_inter(s, 4, &x), SD_ERROR_ARGUMENT, "0 to 3 was expected");
    ck_assert_ptr_null(x);
    ck_status(sd_sampler_pred_x0_inter(s, -1, &x), SD_ERROR_ARGUMENT, "-1 of 4");
    ck_assert_int_eq(sd_sampler_n_intermediates(NULL), 0);
    sd_sampler_free(s);
}
END_TEST

static int32_t count_kept(void *user, const sd_progress *progress) {
    int *n = user;
    *n = sd_sampler_n_intermediates(progress->sampler);
    return progress->step == 3;
}

/* Any log_every_t has room; a run that fails keeps nothing. */
START_TEST(intermediates_of_any_interval) {
    sd_sampler_params p = noisy_run(count_kept);
    static const int intervals[] = {1, 2, 3, 4, 5, 1000, 2147483647};
    int n;
    sd_tensor *latent;
    sd_sampler *s;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    p.progress_user = &n;
    for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
        int every = intervals[i], expected = 1;
        original.log_every_t = every;
        p.steps = 2;
        for (int index = 0; index < 2; index++)
            expected += index % every == 0 || index == 1;
        ck_ok(sd_sampler_new(model, &p, &s));
        latent = sample(s, NULL, NULL);
        ck_assert_int_eq(n, expected);
        ck_assert_int_eq(sd_sampler_n_intermediates(s), expected);
        sd_tensor_free(latent);
        sd_sampler_free(s);
    }
    p.steps = 5;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_status(sd_sample(s, RUN(cond, uncond, NULL, NULL), &latent), SD_ERROR_CANCELLED, "step 3");
    ck_assert_int_eq(n, 2);
    ck_assert_int_eq(sd_sampler_n_intermediates(s), 0);
    sd_sampler_free(s);
    original.log_every_t = 0;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_status(sd_sampler_x_inter(s, 0, &latent), SD_ERROR_STATE, "log_every_t is 0");
    sd_sampler_free(s);
}
END_TEST

typedef struct corrector {
    sd_sampler *sampler; /* that calls it */
    int calls, stop;     /* at this call; 0: never */
    double last;         /* timestep */
} corrector;

/* Leaves the score as it is. */
static int32_t watch_score(void *user, const sd_score_info *score) {
    corrector *c = user;
    sd_tensor *latent;
    ck_assert_uint_eq(score->struct_size, sizeof *score);
    ck_assert_int_eq(score->batch, 1);
    ck_assert_int_eq(score->channels, 4);
    ck_assert(score->height > 0 && score->width > 0);
    ck_assert(c->calls == 0 || score->timestep < c->last);
    c->last = score->timestep;
    ck_ok(sd_sampler_latent(c->sampler, &latent));
    ck_assert_mem_eq(score->x, sd_tensor_data(latent),
                     (size_t)sd_tensor_n_elements(latent) * sizeof(float));
    sd_tensor_free(latent);
    ck_status(sd_sampler_step(c->sampler), SD_ERROR_STATE, "callback");
    return ++c->calls == c->stop;
}

START_TEST(a_score_corrector_that_does_nothing_changes_nothing) {
    sd_sampler_params p = noisy_run(NULL);
    corrector c = {NULL, 0, 0, 0};
    sd_sampler *s;
    sd_tensor *latent;
    ck_ok(sd_sampler_new(model, &p, &s));
    sd_tensor *plain = sample(s, NULL, NULL);
    sd_sampler_free(s);
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.score_corrector = watch_score;
    original.corrector_user = &c;
    ck_ok(sd_sampler_new(model, &p, &c.sampler));
    sd_tensor *watched = sample(c.sampler, NULL, NULL);
    ck_assert_int_eq(c.calls, p.steps);
    ck_assert(same(plain, watched));
    c.calls = 0;
    c.stop = 2;
    ck_status(sd_sample(c.sampler, RUN(cond, uncond, NULL, NULL), &latent), SD_ERROR_CANCELLED,
              "score corrector");
    c.calls = c.stop = 0;
    sd_tensor *again = sample(c.sampler, NULL, NULL);
    ck_assert(same(plain, again));
    sd_tensor_free(plain);
    sd_tensor_free(watched);
    sd_tensor_free(again);
    sd_sampler_free(c.sampler);
}
END_TEST

START_TEST(options_out_of_range_are_named) {
    static const double dropouts[] = {-0.1, 1.1, (double)NAN};
    const sd_original_params none = SD_ORIGINAL_PARAMS_INIT;
    sd_original_params original = none;
    sd_sampler_params p = small_run();
    sd_sampler *s;
    p.original = &original;
    for (int i = 0; i < 3; i++) {
        original.noise_dropout = dropouts[i];
        ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "noise_dropout");
    }
    original = none;
    original.temperature = -1;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "temperature is -1");
    original = none;
    original.skip_draws = -1;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "skip_draws is -1");
    original = none;
    original.log_every_t = -1;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "log_every_t is -1");
    original = none;
    original.reserved = 1;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_UNSUPPORTED, "reserved is 1");
    original = none;
    original.struct_size = 3;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "sd_original_params.struct_size");
    original = none;
    original.quantize_denoised = 1;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_UNSUPPORTED, "codebook");
    original = none;
    original.use_original_steps = 1;
    p.method = "euler";
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "use_original_steps");
    original = none;
    p.method = "tcd";
    p.eta = 1.5;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "\"tcd\" takes 0 to 1");
    ck_assert_ptr_null(s);
}
END_TEST

/* What is given in place of steps and spacing; the lists are copied. */
START_TEST(own_times_are_checked) {
    double times[] = {900, 400.5, 0}, sigmas[] = {9, 1, 0};
    sd_sampler_params p = small_run();
    sd_sampler *s;
    p.steps = 0;
    p.timesteps = times;
    p.n_timesteps = 3;
    ck_ok(sd_sampler_new(model, &p, &s));
    times[1] = (double)NAN;
    ck_assert_double_eq(sd_sampler_timestep(s, 2), 900);
    ck_assert_double_eq(sd_sampler_timestep(s, 1), 400.5);
    ck_assert(isnan(sd_sampler_timestep(s, 3)));
    sd_tensor_free(sample(s, NULL, NULL));
    sd_sampler_free(s);
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "timesteps[1] is nan");
    times[1] = 900;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "timesteps[1] is 900, after 900");
    times[1] = 5;
    times[0] = 1000;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "timesteps[0] is 1000; 999 to 0");
    times[0] = 900;
    p.n_timesteps = 0;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "n_timesteps is 0; 1 to 1000");
    p.n_timesteps = 3;
    p.steps = 4;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "timesteps has 3; leave steps 0");
    p.steps = 3; /* says the same */
    p.spacing = SD_SPACING_TRAILING;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "leave it SD_SPACING_AUTO");
    p.spacing = SD_SPACING_AUTO;
    p.sigmas = sigmas;
    p.n_sigmas = 3;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "timesteps and sigmas are given");
    p.timesteps = NULL;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "n_timesteps is 3");
    p.n_timesteps = p.steps = 0;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "sigmas are for methods that go");
    p.method = "euler";
    ck_ok(sd_sampler_new(model, &p, &s));
    sd_sampler_free(s);
    sigmas[2] = 0.03;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "sigmas ends with 0.03");
    sigmas[2] = 0;
    sigmas[0] = 5000;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "sigmas[0] is 5000");
    sigmas[0] = 9;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    original.use_original_steps = 1;
    p.original = &original;
    p.method = "ddim";
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "use_original_steps is set");
    ck_assert_ptr_null(s);
}
END_TEST

/* With p = 1 nothing is left of the noise; temperature 0 is the same. */
START_TEST(all_of_the_noise_dropped) {
    sd_sampler_params p = noisy_run(NULL);
    sd_sampler *s;
    sd_tensor *latents[3];
    for (int i = 0; i < 3; i++) {
        sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
        p.original = &original;
        original.noise_dropout = i == 0 ? 1.0f : i == 2 ? 0.5f : 0.0f;
        original.temperature = i == 1 ? 0.0f : 1.0f;
        ck_ok(sd_sampler_new(model, &p, &s));
        latents[i] = sample(s, NULL, NULL);
        sd_sampler_free(s);
    }
    ck_assert(same(latents[0], latents[1]));
    ck_assert(!same(latents[0], latents[2]));
    for (int i = 0; i < 3; i++)
        sd_tensor_free(latents[i]);
}
END_TEST

/* Both together are image to image, noise by noise; encoding disturbs no run. */
START_TEST(encoding_and_decoding_are_image_to_image) {
    sd_sampler_params p = noisy_run(NULL);
    sd_sampler *s;
    sd_tensor *z, *x, *y, *decoded, *none, *odd;
    const int64_t dims[] = {1, 4, 8, 9};
    ck_ok(sd_tensor_new(ctx, 4, dims, NULL, &odd));
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.original_encode = 1;
    original.skip_draws = 1;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_assert(sd_sampler_timestep(s, 0) >= 0 && sd_sampler_timestep(s, 3) < 1000);
    ck_assert(isnan(sd_sampler_timestep(s, 4)) && isnan(sd_sampler_timestep(s, -1)));
    ck_assert(isnan(sd_sampler_timestep(NULL, 0)));
    sd_tensor *init = sample(s, NULL, NULL), *painted = sample(s, init, NULL);
    ck_ok(sd_sampler_stochastic_encode(s, init, 3, NULL, &z));
    ck_ok(sd_sample(s, GIVEN(last_of(3, run_of(cond, uncond, z, NULL))), &decoded));
    ck_assert(same(painted, decoded));
    ck_ok(sd_sampler_begin(s, GIVEN(last_of(3, run_of(cond, uncond, z, NULL)))));
    for (int i = 3; i > 0; i--) {
        ck_assert_int_eq(sd_sampler_remaining(s), i);
        ck_ok(sd_sampler_step(s));
        ck_ok(sd_sampler_stochastic_encode(s, init, 1, NULL, &y));
        sd_tensor_free(y);
    }
    ck_ok(sd_sampler_latent(s, &x));
    ck_assert(same(painted, x));
    sd_tensor_free(x);
    ck_status(sd_sample(s, GIVEN(last_of(5, run_of(cond, uncond, z, NULL))), &none),
              SD_ERROR_ARGUMENT, "0 to 4");
    ck_assert_ptr_null(none);
    ck_status(sd_sample(s, GIVEN(last_of(-1, run_of(cond, uncond, z, NULL))), &none),
              SD_ERROR_ARGUMENT, "last_steps is -1");
    ck_status(sd_sample(s, GIVEN(last_of(1, run_of(cond, NULL, z, NULL))), &none),
              SD_ERROR_ARGUMENT, "uncond");
    ck_status(sd_sample(s, GIVEN(last_of(1, run_of(cond, uncond, NULL, NULL))), &none),
              SD_ERROR_ARGUMENT, "init is NULL");
    ck_status(sd_sample(s, GIVEN(last_of(1, run_of(cond, uncond, z, z))), &none), SD_ERROR_ARGUMENT,
              "noise is given");
    ck_assert_int_eq(sd_sampler_remaining(s), 0);
    ck_status(sd_sampler_stochastic_encode(s, init, 4, NULL, &none), SD_ERROR_ARGUMENT,
              "t is 4; 0 to 3");
    ck_status(sd_sampler_stochastic_encode(s, init, 0, odd, &none), SD_ERROR_ARGUMENT, "noise");
    ck_status(sd_sampler_stochastic_encode(s, NULL, 0, NULL, &none), SD_ERROR_ARGUMENT, "x0");
    sd_tensor *const all[] = {init, painted, z, decoded, odd};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        sd_tensor_free(all[i]);
    sd_sampler_free(s);
}
END_TEST

/* All train timesteps, whatever `steps` says; the last ones stay finite. */
START_TEST(original_steps_are_all_train_timesteps) {
    static const char *const methods[] = {"ddim", "plms", "ddpm"};
    const int64_t dims[] = {1, 4, 8, 8};
    sd_sampler_params p = small_run();
    sd_sampler *s;
    sd_tensor *x, *decoded;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.use_original_steps = 1;
    p.spacing = SD_SPACING_KARRAS; /* not looked at either */
    ck_ok(sd_randn(ctx, SD_RNG_CPU, 1, 4, dims, &x));
    for (int m = 0; m < 3; m++) {
        p.method = methods[m];
        ck_ok(sd_sampler_new(model, &p, &s));
        ck_ok(sd_sampler_begin(s, RUN(cond, uncond, NULL, NULL)));
        ck_assert_int_eq(sd_sampler_remaining(s), 1000);
        for (int i = 0; i < 1000; i++)
            ck_assert_double_eq(sd_sampler_timestep(s, i), (double)i);
        ck_ok(sd_sample(s, GIVEN(last_of(5, run_of(cond, uncond, x, NULL))), &decoded));
        for (int64_t i = 0; i < sd_tensor_n_elements(decoded); i++)
            ck_assert(isfinite(sd_tensor_data(decoded)[i]));
        sd_tensor_free(decoded);
        sd_sampler_free(s);
    }
    sd_tensor_free(x);
}
END_TEST

START_TEST(inversion_neither_encodes_nor_decodes) {
    sd_sampler_params p = small_run();
    sd_sampler *s;
    sd_tensor *x, *none;
    const int64_t dims[] = {1, 4, 8, 8};
    p.method = "ddim_inverse";
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_ok(sd_randn(ctx, SD_RNG_CPU, 1, 4, dims, &x));
    ck_status(sd_sample(s, GIVEN(last_of(1, run_of(cond, uncond, x, NULL))), &none),
              SD_ERROR_ARGUMENT, "inverse");
    ck_status(sd_sampler_stochastic_encode(s, x, 1, NULL, &none), SD_ERROR_ARGUMENT, "inverse");
    sd_tensor_free(x);
    sd_sampler_free(s);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("options");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, intermediates_are_kept);
    tcase_add_test(tests, intermediates_of_any_interval);
    tcase_add_test(tests, a_score_corrector_that_does_nothing_changes_nothing);
    tcase_add_test(tests, options_out_of_range_are_named);
    tcase_add_test(tests, own_times_are_checked);
    tcase_add_test(tests, all_of_the_noise_dropped);
    tcase_add_test(tests, encoding_and_decoding_are_image_to_image);
    tcase_add_test(tests, original_steps_are_all_train_timesteps);
    tcase_add_test(tests, inversion_neither_encodes_nor_decodes);
    Suite *suite = suite_create("options");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
