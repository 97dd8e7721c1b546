/* Infinities and NaNs: what is given is refused by its name, and what becomes one is an error that
 * names the stage and step. Nothing of this is left in the handles. Also what the log says of runs
 * whose prompt or noise does not do what one would think. */
#include "../support/params.h"
#include "sample.h"

#include <float.h>
#include <math.h>

static char logged[4096];
static int n_logged;

static void keep_log(void *user, sd_log_level level, const char *message) {
    (void)user;
    ck_assert_int_le(level, SD_LOG_LEVEL_WARN);
    snprintf(logged, sizeof logged, "%s", message);
    n_logged++;
}

static void set_up_logged(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    const char *texts[] = {"a lake", ""}, *backend = getenv("SD_TEST_BACKEND");
    params.backend = backend ? backend : "cpu";
    params.n_threads = 1;
    params.log = keep_log;
    ck_ok(sd_context_new(&params, &ctx));
    model = open_model(ctx);
    ck_ok(sd_encode_text(model, texts, 1, NULL, &cond));
    ck_ok(sd_encode_text(model, texts + 1, 1, NULL, &uncond));
    n_logged = 0;
}

static const int64_t latent_dims[] = {1, 4, 8, 8}, mask_dims[] = {1, 1, 8, 8},
                     pixel_dims[] = {1, 3, 64, 64};

static sd_tensor *filled(int n_dims, const int64_t *dims, float value) {
    sd_tensor *t;
    ck_ok(sd_tensor_new(ctx, n_dims, dims, NULL, &t));
    for (int64_t i = 0; i < sd_tensor_n_elements(t); i++)
        sd_tensor_data_mut(t)[i] = value;
    return t;
}

static sd_tensor *spoiled(const sd_tensor *t, int64_t at, float value) {
    sd_tensor *copy;
    ck_ok(sd_tensor_new(ctx, sd_tensor_n_dims(t), sd_tensor_dims(t), sd_tensor_data((sd_tensor *)t),
                        &copy));
    sd_tensor_data_mut(copy)[at] = value;
    return copy;
}

/* The call is refused by this sentence, and gives nothing. */
#define refused(call, words)                                                                       \
    do {                                                                                           \
        ck_status(call, SD_ERROR_ARGUMENT, words);                                                 \
        ck_assert_ptr_null(out);                                                                   \
    } while (0)

START_TEST(inputs_of_a_run_are_named) {
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const char *const words[] = {"nan", "inf", "-inf"};
    sd_tensor *zero = filled(4, latent_dims, 0), *mask = filled(4, mask_dims, 1), *out;
    sd_sampler_params p = small_run();
    const sd_run_params run = run_of(cond, uncond, NULL, NULL);
    sd_sampler *s;
    ck_ok(sd_sampler_new(model, &p, &s));
    sd_tensor *expected = sample(s, NULL, NULL);
    float value = bad[_i];
    char text[64];
    sd_tensor *z = spoiled(zero, 3 * 64 + 10, value), *m = spoiled(mask, 63, value);
    snprintf(text, sizeof text, "init has %s at [0, 3, 1, 2]", words[_i]);
    refused(sd_sample(s, RUN(cond, uncond, z, NULL), &out), text);
    refused(sd_sample(s, RUN(cond, uncond, NULL, z), &out), "noise has");
    refused(sd_sample(s, GIVEN(last_of(2, run_of(cond, uncond, z, NULL))), &out), "init has");
    refused(sd_sample(s, GIVEN(with_mask(m, zero, run)), &out), "mask has");
    refused(sd_sample(s, GIVEN(with_mask(mask, z, run)), &out), "mask_x0 has");
    refused(sd_sampler_stochastic_encode(s, z, 1, NULL, &out), "x0 has");
    refused(sd_sampler_stochastic_encode(s, zero, 1, z, &out), "noise has");
    ck_ok(sd_sampler_begin(s, &run));
    ck_ok(sd_sampler_step(s));
    ck_status(sd_sampler_set_mask(s, m, zero), SD_ERROR_ARGUMENT, "mask has");
    ck_status(sd_sampler_set_mask(s, mask, z), SD_ERROR_ARGUMENT, "x0 has");
    ck_status(sd_sampler_set_latent(s, z), SD_ERROR_ARGUMENT, "latent has");
    while (sd_sampler_remaining(s) > 0)
        ck_ok(sd_sampler_step(s)); /* as if nothing had been */
    ck_ok(sd_sampler_latent(s, &out));
    ck_assert(same(out, expected));
    sd_tensor *const all[] = {zero, mask, expected, z, m, out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sd_tensor_free(all[i]);
    sd_sampler_free(s);
}
END_TEST

START_TEST(inputs_of_single_calls_are_named) {
    const double t = 10, nan_t = (double)NAN;
    const int32_t step = 10;
    sd_tensor *zero = filled(4, latent_dims, 0), *pixels = filled(4, pixel_dims, 0), *out = NULL;
    sd_tensor *z = spoiled(zero, 255, NAN), *x = spoiled(pixels, 64 * 64 * 3 - 1, INFINITY);
    sd_loss_info loss = SD_LOSS_INFO_INIT;
    sd_loss_params lp = SD_LOSS_PARAMS_INIT;
    sd_image *image;
    refused(sd_vae_decode(model, z, NULL, &out), "latent has nan at [0, 3, 7, 7]");
    refused(sd_vae_decode(model, z, UNQUANTIZED, &out), "latent has");
    refused(sd_vae_decode(model, z, TILES(4, 1), &out), "latent has");
    refused(sd_vae_encode(model, x, NULL, &out), "pixels has inf at [0, 2, 63, 63]");
    refused(sd_vae_encode(model, pixels, NOISE(z), &out), "noise has");
    refused(sd_vae_encode(model, x, TILES(4, 1), &out), "pixels has");
    refused(sd_vae_encode(model, pixels, VAE(.noise = z, .tile = 4), &out), "noise has");
    refused(sd_unet_predict(model, z, &t, cond, &out), "x has");
    refused(sd_unet_predict(model, zero, &nan_t, cond, &out), "timesteps[0] is nan");
    refused(sd_add_noise(model, z, zero, 3, &out), "x0 has");
    refused(sd_add_noise(model, zero, z, 3, &out), "noise has");
    refused(sd_training_loss(model, z, zero, &step, cond, NULL, &loss, &out), "x0 has");
    refused(sd_training_loss(model, zero, z, &step, cond, NULL, &loss, &out), "noise has");
    lp.logvar_init = NAN;
    refused(sd_training_loss(model, zero, zero, &step, cond, &lp, &loss, &out), "logvar_init");
    static float logvar[1000];
    lp.logvar_init = 0;
    lp.logvar = logvar;
    logvar[7] = INFINITY;
    refused(sd_training_loss(model, zero, zero, &step, cond, &lp, &loss, &out), "logvar[7] is inf");
    ck_status(sd_image_from_tensor(x, 0, &image), SD_ERROR_ARGUMENT, "pixels has");
    ck_assert_ptr_null(image);
    sd_tensor *const all[] = {zero, pixels, z, x};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sd_tensor_free(all[i]);
}
END_TEST

/* Numbers that are finite, and too large for what comes. */
START_TEST(stages_that_overflow_are_named) {
    const double t = 10;
    sd_tensor *z = filled(4, latent_dims, FLT_MAX), *x = filled(4, pixel_dims, FLT_MAX), *out;
    ck_status(sd_vae_decode(model, z, NULL, &out), SD_ERROR_MODEL, "the VAE's decoder computed");
    ck_assert_ptr_null(out);
    ck_status(sd_vae_decode(model, z, TILES(4, 1), &out), SD_ERROR_MODEL, "decoder");
    ck_assert_ptr_null(out);
    ck_status(sd_vae_encode(model, x, NULL, &out), SD_ERROR_MODEL, "the VAE's encoder");
    ck_assert_ptr_null(out);
    ck_status(sd_vae_encode(model, x, TILES(4, 1), &out), SD_ERROR_MODEL, "encoder");
    ck_assert_ptr_null(out);
    ck_status(sd_unet_predict(model, z, &t, cond, &out), SD_ERROR_MODEL, "the UNet");
    ck_assert_ptr_null(out);
    sd_tensor_free(z);
    sd_tensor_free(x);
}
END_TEST

/* By guidance, and from a latent between two steps; the sampler then runs as before. */
START_TEST(a_run_that_overflows_names_its_step) {
    static const char *const methods[] = {"ddim", "plms", "euler_a", "heun", "unipc", "lcm"};
    sd_sampler_params p = small_run(), huge = p;
    sd_sampler *s;
    sd_tensor *out, *z = filled(4, latent_dims, 3e38f);
    huge.method = p.method = methods[_i];
    huge.guidance_scale = 1e38f;
    huge.steps = 2;
    ck_ok(sd_sampler_new(model, &huge, &s));
    ck_status(sd_sample(s, RUN(cond, uncond, NULL, NULL), &out), SD_ERROR_MODEL, "step ");
    ck_assert_ptr_null(out);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), " of 2"));
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "guidance scale 1e+38"));
    ck_assert_int_eq(sd_sampler_remaining(s), 0);
    sd_sampler_free(s);
    ck_ok(sd_sampler_new(model, &p, &s));
    sd_tensor *expected = sample(s, NULL, NULL);
    ck_ok(sd_sampler_begin(s, RUN(cond, uncond, NULL, NULL)));
    ck_ok(sd_sampler_step(s));
    ck_ok(sd_sampler_set_latent(s, z));
    ck_status(sd_sampler_step(s), SD_ERROR_MODEL, "step 2 of 4");
    ck_status(sd_sampler_latent(s, &out), SD_ERROR_STATE, "begun");
    sd_tensor *again = sample(s, NULL, NULL);
    ck_assert(same(expected, again));
    sd_tensor_free(z);
    sd_tensor_free(expected);
    sd_tensor_free(again);
    sd_sampler_free(s);
}
END_TEST

/* Clamping would make numbers of NaNs. */
START_TEST(clamping_hides_nothing) {
    sd_sampler_params p = small_run();
    sd_sampler *s;
    sd_tensor *out;
    p.method = "ddpm";
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.clip_denoised = 1;
    p.guidance_scale = 3.4e38f;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_status(sd_sample(s, RUN(cond, uncond, NULL, NULL), &out), SD_ERROR_MODEL, "step 1 of 4");
    sd_sampler_free(s);
}
END_TEST

START_TEST(pictures_that_overflow_are_not_made) {
    sd_sampler_params p = small_run();
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    sd_image *images[2] = {NULL, NULL};
    p.guidance_scale = 3.4e38f;
    p.batch = 2;
    t.prompt = "a lake";
    t.sampling = &p;
    ck_status(sd_generate(model, &t, images, 2), SD_ERROR_MODEL, "step 1 of 4");
    ck_assert(!images[0] && !images[1]);
    p.guidance_scale = 7.5f;
    ck_ok(sd_generate(model, &t, images, 2));
    sd_image_free(images[0]);
    sd_image_free(images[1]);
}
END_TEST

static int32_t spoil(void *user, const sd_score_info *score) {
    int *armed = user;
    if (*armed)
        score->e_t[5] = NAN;
    return 0;
}

START_TEST(a_score_corrector_is_named) {
    int armed = 1;
    sd_sampler_params p = small_run();
    sd_sampler *s;
    sd_tensor *out;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.score_corrector = spoil;
    original.corrector_user = &armed;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_status(sd_sample(s, RUN(cond, uncond, NULL, NULL), &out), SD_ERROR_ARGUMENT,
              "score corrector left nan in e_t[5]");
    ck_assert_ptr_null(out);
    armed = 0;
    sd_tensor_free(sample(s, NULL, NULL));
    sd_sampler_free(s);
}
END_TEST

/* Once for a sampler, and not where the prompt counts. */
START_TEST(guidance_without_the_prompt_is_said) {
    static const float scales[] = {0.0f, -0.0f, 1e-20f, 1.0f, 0.5f, -1.0f};
    sd_sampler_params p = small_run();
    for (int i = 0; i < 6; i++) {
        sd_sampler *s;
        n_logged = 0;
        p.guidance_scale = scales[i];
        ck_ok(sd_sampler_new(model, &p, &s));
        sd_tensor_free(sample(s, NULL, NULL));
        sd_tensor_free(sample(s, NULL, NULL));
        ck_assert_int_eq(n_logged, i < 3);
        ck_assert(i >= 3 || strstr(logged, "the prompt is not used"));
        sd_sampler_free(s);
    }
    n_logged = 0;
    p.guidance_scale = 0;
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    ck_ok(sd_memory_estimate(model, ESTIMATE(&p), &memory));
    ck_assert_int_eq(n_logged, 0);
}
END_TEST

/* Where the original's rule leaves most of the noise in the picture. */
START_TEST(noise_that_stays_is_said) {
    static const struct {
        const char *method;
        double strength;
        int original, said;
    } cases[] = {{"ddim", 0.05, 1, 1}, {"plms", 0.05, 1, 1},  {"ddim", 0.05, 0, 0},
                 {"ddim", 0.75, 1, 0}, {"euler", 0.05, 1, 0}, {"ddim", 0.0, 1, 0}};
    sd_tensor *init = filled(4, latent_dims, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sd_sampler_params p = small_run();
        sd_sampler *s;
        n_logged = 0;
        p.method = cases[i].method;
        sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
        p.original = &original;
        original.original_encode = cases[i].original;
        p.steps = 20;
        ck_ok(sd_sampler_new(model, &p, &s));
        ck_ok(sd_sampler_begin(s,
                               GIVEN(run_at(cases[i].strength, run_of(cond, uncond, init, NULL)))));
        ck_assert_msg(n_logged == cases[i].said, "case %d: %s", (int)i, logged);
        ck_assert(!cases[i].said || strstr(logged, "noises to timestep 51"));
        sd_sampler_free(s);
    }
    sd_tensor_free(init);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("finite");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up_logged, tear_down);
    tcase_add_loop_test(tests, inputs_of_a_run_are_named, 0, 3);
    tcase_add_test(tests, inputs_of_single_calls_are_named);
    tcase_add_test(tests, stages_that_overflow_are_named);
    tcase_add_loop_test(tests, a_run_that_overflows_names_its_step, 0, 6);
    tcase_add_test(tests, clamping_hides_nothing);
    tcase_add_test(tests, pictures_that_overflow_are_not_made);
    tcase_add_test(tests, a_score_corrector_is_named);
    tcase_add_test(tests, guidance_without_the_prompt_is_said);
    tcase_add_test(tests, noise_that_stays_is_said);
    Suite *suite = suite_create("finite");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
