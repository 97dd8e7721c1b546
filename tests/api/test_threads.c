/* Two threads on one model, cancellation from outside, contexts side by side. */
#include "api.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

typedef struct painter {
    sd_model *model;
    uint64_t seed;
    uint8_t pixels[64 * 64 * 3];
    sd_status status;
} painter;

static void *paint(void *arg) {
    painter *p = arg;
    sd_sampler_params sampling = small_run();
    sampling.seed = p->seed;
    sd_txt2img_params params = SD_TXT2IMG_PARAMS_INIT;
    params.prompt = "a lake";
    params.sampling = &sampling;
    sd_image *image;
    p->status = sd_txt2img(p->model, &params, &image);
    if (!p->status)
        memcpy(p->pixels, sd_image_pixels(image), sizeof p->pixels);
    sd_image_free(image);
    return NULL;
}

START_TEST(two_threads_paint_with_one_model) {
    sd_context *ctx = open_context(2);
    sd_model *model = open_model(ctx);
    painter alone = {.model = model, .seed = 1},
            pair[2] = {{.model = model, .seed = 1}, {.model = model, .seed = 2}};
    pthread_t threads[2];
    paint(&alone);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, paint, &pair[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(pair[0].status, SD_OK);
    ck_assert_int_eq(pair[1].status, SD_OK);
    ck_assert_mem_eq(pair[0].pixels, alone.pixels, sizeof alone.pixels);
    ck_assert_mem_ne(pair[1].pixels, alone.pixels, sizeof alone.pixels);
    sd_model_free(model);
    sd_context_free(ctx);
}
END_TEST

START_TEST(any_number_of_threads_gives_the_same_bits) {
    painter first = {.seed = 3};
    for (int n = 1; n <= 3; n++) {
        sd_context *ctx = open_context(n);
        painter p = {.model = open_model(ctx), .seed = 3};
        paint(&p);
        ck_assert_int_eq(p.status, SD_OK);
        if (n == 1)
            first = p;
        ck_assert_mem_eq(p.pixels, first.pixels, sizeof p.pixels);
        sd_model_free(p.model);
        sd_context_free(ctx);
    }
}
END_TEST

typedef struct endless {
    sd_model *model;
    atomic_int steps;
    sd_status status;
} endless;

static int count_step(void *user, const sd_progress *progress) {
    (void)progress;
    atomic_fetch_add(&((endless *)user)->steps, 1);
    return 0;
}

static void *sample_long(void *arg) {
    endless *e = arg;
    sd_sampler_params sampling = small_run();
    sampling.steps = 1000;
    sampling.progress = count_step;
    sampling.progress_user = e;
    sd_txt2img_params params = SD_TXT2IMG_PARAMS_INIT;
    params.sampling = &sampling;
    sd_image *image;
    e->status = sd_txt2img(e->model, &params, &image);
    sd_image_free(image);
    return NULL;
}

START_TEST(cancel_from_another_thread_ends_the_run) {
    sd_context *ctx = open_context(2);
    endless e = {.model = open_model(ctx)};
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, sample_long, &e), 0);
    while (atomic_load(&e.steps) < 2)
        sched_yield();
    sd_cancel(ctx);
    pthread_join(thread, NULL);
    ck_assert_int_eq(e.status, SD_ERROR_CANCELLED);
    ck_assert_int_lt(atomic_load(&e.steps), 1000);
    painter after = {.model = e.model, .seed = 1};
    paint(&after);
    ck_assert_int_eq(after.status, SD_OK);
    sd_model_free(e.model);
    sd_context_free(ctx);
}
END_TEST

/* The samplers and the model outlive the handles that they came from. */
START_TEST(handles_may_go_in_any_order) {
    sd_context *ctx = open_context(2);
    sd_model *model = open_model(ctx);
    sd_sampler_params p = small_run();
    p.guidance_scale = 1;
    sd_sampler *s;
    const char *text = "a lake";
    sd_tensor *cond, *latent;
    ck_ok(ctx, sd_encode_text(model, &text, 1, &cond));
    ck_ok(ctx, sd_sampler_new(model, &p, &s));
    sd_context_free(ctx);
    sd_model_free(model);
    ck_ok(NULL, sd_sample(s, cond, NULL, NULL, NULL, &latent));
    sd_sampler_free(s);
    sd_tensor_free(latent);
    sd_tensor_free(cond);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("threads");
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, two_threads_paint_with_one_model);
    tcase_add_test(tests, any_number_of_threads_gives_the_same_bits);
    tcase_add_test(tests, cancel_from_another_thread_ends_the_run);
    tcase_add_test(tests, handles_may_go_in_any_order);
    Suite *suite = suite_create("threads");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
