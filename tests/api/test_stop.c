/* sd_stop: what was set ends the calls that take the token, whenever it was set. */
#include "sample.h"

#include <pthread.h>
#include <signal.h>

static sd_stop *stop;

static void set_up_stop(void) {
    set_up();
    ck_ok(sd_stop_new(ctx, &stop));
}

static void tear_down_stop(void) {
    sd_stop_free(stop);
    tear_down();
}

START_TEST(a_token_is_set_and_cleared) {
    ck_assert(!sd_stop_is_set(stop));
    sd_stop_set(stop);
    sd_stop_set(stop);
    ck_assert(sd_stop_is_set(stop));
    sd_stop_clear(stop);
    ck_assert(!sd_stop_is_set(stop));
    sd_stop_set(NULL);
    sd_stop_clear(NULL);
    sd_stop_free(NULL);
    ck_assert(!sd_stop_is_set(NULL));
    sd_stop *none = (sd_stop *)1;
    ck_status(sd_stop_new(NULL, &none), SD_ERROR_ARGUMENT, "ctx is NULL");
    ck_assert_ptr_null(none);
    ck_status(sd_stop_new(ctx, NULL), SD_ERROR_ARGUMENT, "out is NULL");
}
END_TEST

/* Each call that takes a token, once with it set and once with it cleared. */
typedef sd_status (*stoppable)(void);

static sd_status load_model(void) {
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    sd_model *loaded;
    params.stop = stop;
    sd_status status = sd_model_load(ctx, tiny_folder(), &params, &loaded);
    ck_assert(!status || !loaded);
    sd_model_free(loaded);
    return status;
}

static sd_status encode_text(void) {
    const char *text = "a lake";
    sd_text_params params = SD_TEXT_PARAMS_INIT;
    sd_cond *out;
    params.stop = stop;
    sd_status status = sd_encode_text(model, &text, 1, &params, &out);
    sd_cond_free(out);
    return status;
}

static sd_status decode_latent(int32_t tile) {
    const int64_t dims[] = {1, 4, 8, 8};
    sd_vae_params params = SD_VAE_PARAMS_INIT;
    sd_tensor *latent, *pixels;
    params.stop = stop;
    params.tile = tile;
    ck_ok(sd_randn(ctx, SD_RNG_CPU, 1, 4, dims, &latent));
    sd_status status = sd_vae_decode(model, latent, &params, &pixels);
    sd_tensor_free(latent);
    sd_tensor_free(pixels);
    return status;
}

static sd_status decode_whole(void) {
    return decode_latent(0);
}

static sd_status decode_tiles(void) {
    return decode_latent(4);
}

static sd_status encode_pixels(void) {
    const int64_t dims[] = {1, 3, 64, 64};
    sd_vae_params params = SD_VAE_PARAMS_INIT;
    sd_tensor *pixels, *latent;
    params.stop = stop;
    ck_ok(sd_tensor_new(ctx, 4, dims, NULL, &pixels));
    sd_status status = sd_vae_encode(model, pixels, &params, &latent);
    sd_tensor_free(pixels);
    sd_tensor_free(latent);
    return status;
}

static sd_status run_sampler(void) {
    sd_sampler_params params = small_run();
    sd_run_params run = SD_RUN_PARAMS_INIT;
    sd_sampler *sampler;
    sd_tensor *latent;
    run.cond = cond;
    run.uncond = uncond;
    run.stop = stop;
    ck_ok(sd_sampler_new(model, &params, &sampler));
    sd_status status = sd_sample(sampler, &run, &latent);
    sd_tensor_free(latent);
    sd_sampler_free(sampler);
    return status;
}

static sd_status generate_with(const sd_stop *whole, const sd_stop *text, const sd_stop *vae) {
    sd_sampler_params sampling = small_run();
    sd_text_params text_params = SD_TEXT_PARAMS_INIT;
    sd_vae_params vae_params = SD_VAE_PARAMS_INIT;
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    sd_image *image = NULL;
    params.prompt = "a lake";
    params.sampling = &sampling;
    params.text = &text_params;
    params.vae = &vae_params;
    params.stop = whole;
    text_params.stop = text;
    vae_params.stop = vae;
    sd_status status = sd_generate(model, &params, &image, 1);
    ck_assert(!status == (image != NULL));
    sd_image_free(image);
    return status;
}

static sd_status generate(void) {
    return generate_with(stop, NULL, NULL);
}

static sd_status generate_by_text(void) {
    return generate_with(NULL, stop, NULL);
}

static sd_status generate_by_vae(void) {
    return generate_with(NULL, NULL, stop);
}

static const stoppable calls[] = {load_model,   encode_text,      decode_whole,
                                  decode_tiles, encode_pixels,    run_sampler,
                                  generate,     generate_by_text, generate_by_vae};

/* sd_context_cancel that comes before a call is lost on it; a token is not. */
START_TEST(what_was_set_before_a_call_counts) {
    sd_context_cancel(ctx);
    ck_ok(calls[_i]());
    sd_stop_set(stop);
    ck_status(calls[_i](), SD_ERROR_CANCELLED, "cancelled");
    ck_status(calls[_i](), SD_ERROR_CANCELLED, "cancelled"); /* it stays set */
    sd_stop_clear(stop);
    ck_ok(calls[_i]());
}
END_TEST

/* ------------------------------------------------------------------------ while it computes */

static int32_t SD_CALL set_in_step_2(void *user, const sd_progress *progress) {
    (void)user;
    if (progress->step == 2)
        sd_stop_set(stop);
    return 0;
}

static void on_signal(int number) {
    (void)number;
    sd_stop_set(stop);
}

static int32_t SD_CALL raise_in_step_2(void *user, const sd_progress *progress) {
    (void)user;
    if (progress->step == 2)
        raise(SIGUSR1);
    return 0;
}

static int32_t SD_CALL free_in_step_1(void *user, const sd_progress *progress) {
    sd_stop **own = user;
    if (progress->step == 1) {
        sd_stop_set(*own);
        sd_stop_free(*own); /* the call has retained it */
    }
    return 0;
}

static void expect_end(sd_progress_fn progress, void *user, const sd_stop *token) {
    sd_sampler_params params = small_run();
    sd_run_params run = SD_RUN_PARAMS_INIT;
    sd_sampler *sampler;
    sd_tensor *latent = (sd_tensor *)1;
    params.progress = progress;
    params.progress_user = user;
    run.cond = cond;
    run.uncond = uncond;
    run.stop = token;
    ck_ok(sd_sampler_new(model, &params, &sampler));
    ck_status(sd_sample(sampler, &run, &latent), SD_ERROR_CANCELLED, "cancelled");
    ck_assert_ptr_null(latent);
    sd_sampler_free(sampler);
}

START_TEST(a_callback_or_a_signal_ends_the_run) {
    expect_end(set_in_step_2, NULL, stop);
    sd_stop_clear(stop);
    void (*before)(int) = signal(SIGUSR1, on_signal);
    expect_end(raise_in_step_2, NULL, stop);
    signal(SIGUSR1, before);
}
END_TEST

START_TEST(a_token_may_be_freed_in_a_call) {
    sd_stop *own;
    ck_ok(sd_stop_new(ctx, &own));
    expect_end(free_in_step_1, &own, own);
}
END_TEST

/* A run that is made step by step keeps its token. */
START_TEST(a_step_heeds_the_token_of_its_run) {
    sd_sampler_params params = small_run();
    sd_run_params run = SD_RUN_PARAMS_INIT;
    sd_sampler *sampler;
    sd_stop *own;
    ck_ok(sd_stop_new(ctx, &own));
    run.cond = cond;
    run.uncond = uncond;
    run.stop = own;
    ck_ok(sd_sampler_new(model, &params, &sampler));
    ck_ok(sd_sampler_begin(sampler, &run));
    ck_ok(sd_sampler_step(sampler));
    sd_stop_set(own);
    sd_stop_free(own);
    ck_status(sd_sampler_step(sampler), SD_ERROR_CANCELLED, "cancelled");
    ck_status(sd_sampler_step(sampler), SD_ERROR_STATE, "begin");
    run.stop = NULL;
    ck_ok(sd_sampler_begin(sampler, &run));
    ck_ok(sd_sampler_step(sampler));
    sd_sampler_free(sampler);
}
END_TEST

typedef struct worker {
    pthread_t thread;
    sd_status status;
} worker;

static void *generate_on(void *arg) {
    sd_sampler_params sampling = small_run();
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    sd_image *image;
    sampling.steps = 1000;
    params.sampling = &sampling;
    params.stop = stop;
    ((worker *)arg)->status = sd_generate(model, &params, &image, 1);
    return NULL;
}

START_TEST(one_token_ends_calls_of_many_threads) {
    worker workers[3];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, generate_on, &workers[i]), 0);
    sd_stop_set(stop); /* before, at or after their beginning */
    for (int i = 0; i < 3; i++) {
        pthread_join(workers[i].thread, NULL);
        ck_assert_int_eq(workers[i].status, SD_ERROR_CANCELLED);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("stop");
    TCase *tcase = tcase_create("stop");
    tcase_add_checked_fixture(tcase, set_up_stop, tear_down_stop);
    tcase_add_test(tcase, a_token_is_set_and_cleared);
    tcase_add_loop_test(tcase, what_was_set_before_a_call_counts, 0, sizeof calls / sizeof *calls);
    tcase_add_test(tcase, a_callback_or_a_signal_ends_the_run);
    tcase_add_test(tcase, a_token_may_be_freed_in_a_call);
    tcase_add_test(tcase, a_step_heeds_the_token_of_its_run);
    tcase_add_test(tcase, one_token_ends_calls_of_many_threads);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
