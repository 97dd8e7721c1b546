/* Two threads on one model, several on one sampler, cancellation from outside, contexts side by
 * side. */
#include "../support/cond.h"
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
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    params.prompt = "a lake";
    params.sampling = &sampling;
    sd_image *image;
    p->status = sd_generate(p->model, &params, &image, 1);
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

static int32_t count_step(void *user, const sd_progress *progress) {
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
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    params.sampling = &sampling;
    sd_image *image;
    e->status = sd_generate(e->model, &params, &image, 1);
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
    sd_context_cancel(ctx);
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
    sd_cond *cond;
    sd_tensor *latent;
    ck_ok(sd_encode_text(model, &text, 1, NULL, &cond));
    ck_ok(sd_sampler_new(model, &p, &s));
    sd_context_free(ctx);
    sd_model_free(model);
    ck_ok(sd_sample(s, RUN(cond, NULL, NULL, NULL), &latent));
    sd_sampler_free(s);
    sd_tensor_free(latent);
    sd_cond_free(cond);
}
END_TEST

/* ------------------------------------------------------------------ several on one sampler */

typedef struct shared {
    sd_context *ctx;
    sd_model *model;
    sd_sampler *sampler;
    sd_cond *cond;
    sd_tensor *expected;
    atomic_int good, refused;
} shared;

static void open_shared(shared *s, sd_progress_fn progress) {
    const char *text = "a lake";
    sd_sampler_params p = small_run();
    *s = (shared){.ctx = open_context(2)};
    s->model = open_model(s->ctx);
    p.guidance_scale = 1;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.log_every_t = 1;
    p.progress = progress;
    p.progress_user = s;
    ck_ok(sd_encode_text(s->model, &text, 1, NULL, &s->cond));
    ck_ok(sd_sampler_new(s->model, &p, &s->sampler));
}

static void close_shared(shared *s) {
    sd_cond_free(s->cond);
    sd_tensor_free(s->expected);
    sd_sampler_free(s->sampler);
    sd_model_free(s->model);
    sd_context_free(s->ctx);
}

/* Each run is whole and right, or refused. */
static void *sample_shared(void *arg) {
    shared *s = arg;
    size_t size = (size_t)sd_tensor_n_elements(s->expected) * sizeof(float);
    for (int i = 0; i < 8; i++) {
        sd_tensor *latent;
        sd_status status = sd_sample(s->sampler, RUN(s->cond, NULL, NULL, NULL), &latent);
        if (status == SD_OK) {
            ck_assert_mem_eq(sd_tensor_data(latent), sd_tensor_data(s->expected), size);
            atomic_fetch_add(&s->good, 1);
        } else {
            ck_assert_int_eq(status, SD_ERROR_STATE);
            ck_assert_ptr_null(latent);
            ck_assert_ptr_nonnull(strstr(sd_last_error(), "sd_sample: another thread"));
            atomic_fetch_add(&s->refused, 1);
        }
        sd_sampler_remaining(s->sampler);
        sd_sampler_n_intermediates(s->sampler);
        sd_sampler_timestep(s->sampler, 0);
        sd_tensor_free(latent);
    }
    return NULL;
}

START_TEST(three_threads_on_one_sampler) {
    shared s;
    pthread_t threads[3];
    open_shared(&s, NULL);
    ck_ok(sd_sample(s.sampler, RUN(s.cond, NULL, NULL, NULL), &s.expected));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sample_shared, &s), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_ge(atomic_load(&s.good), 1);
    ck_assert_int_eq(atomic_load(&s.good) + atomic_load(&s.refused), 3 * 8);
    close_shared(&s);
}
END_TEST

#define CK_BUSY(call)                                                                              \
    do {                                                                                           \
        latent = s->expected;                                                                      \
        ck_status(call, SD_ERROR_STATE, "another thread is using this sampler");                   \
        ck_assert_msg(latent == NULL || latent == s->expected, "an output is not NULL");           \
    } while (0)

/* While it samples in another thread. */
static void *try_everything(void *arg) {
    shared *s = arg;
    sd_tensor *latent;
    sd_image *image;
    CK_BUSY(sd_sample(s->sampler, RUN(s->cond, NULL, NULL, NULL), &latent));
    ck_assert_ptr_null(latent);
    CK_BUSY(sd_sampler_begin(s->sampler, RUN(s->cond, NULL, NULL, NULL)));
    CK_BUSY(sd_sampler_step(s->sampler));
    CK_BUSY(sd_sampler_stochastic_encode(s->sampler, s->expected, 0, NULL, &latent));
    CK_BUSY(sd_sampler_latent(s->sampler, &latent));
    ck_assert_ptr_null(latent);
    CK_BUSY(sd_sampler_pred_x0(s->sampler, &latent));
    CK_BUSY(sd_sampler_x_inter(s->sampler, 0, &latent));
    CK_BUSY(sd_sampler_pred_x0_inter(s->sampler, 0, &latent));
    CK_BUSY(sd_sampler_set_latent(s->sampler, s->expected));
    CK_BUSY(sd_sampler_set_mask(s->sampler, NULL, NULL));
    CK_BUSY(sd_sampler_set_concat(s->sampler, NULL));
    CK_BUSY(sd_sampler_preview(s->sampler, NULL, &image));
    ck_assert_ptr_null(image);
    ck_assert_int_eq(sd_sampler_remaining(s->sampler), 3);
    ck_assert_int_eq(sd_sampler_n_intermediates(s->sampler), 2);
    ck_assert(sd_sampler_timestep(s->sampler, 0) == 1);
    return NULL;
}

/* The run's own thread may ask and set; only another run is refused. */
static int32_t ask_and_let_others_try(void *user, const sd_progress *progress) {
    shared *s = user;
    pthread_t thread;
    sd_tensor *latent, *x0;
    sd_image *image;
    if (progress->step > 1)
        return 0;
    ck_assert_int_eq(pthread_create(&thread, NULL, try_everything, s), 0);
    pthread_join(thread, NULL);
    ck_status(sd_sampler_step(s->sampler), SD_ERROR_STATE, "from a run's callback");
    ck_ok(sd_sampler_latent(s->sampler, &latent));
    ck_ok(sd_sampler_set_latent(s->sampler, latent));
    ck_ok(sd_sampler_pred_x0_inter(s->sampler, 1, &x0));
    ck_ok(sd_sampler_preview(s->sampler, NULL, &image));
    ck_ok(sd_sampler_set_mask(s->sampler, NULL, NULL));
    atomic_fetch_add(&s->good, 1);
    sd_tensor_free(latent);
    sd_tensor_free(x0);
    sd_image_free(image);
    return 0;
}

START_TEST(a_busy_sampler_refuses_other_threads) {
    shared s;
    sd_tensor *again;
    open_shared(&s, ask_and_let_others_try);
    ck_ok(sd_sample(s.sampler, RUN(s.cond, NULL, NULL, NULL), &s.expected));
    ck_assert_int_eq(atomic_load(&s.good), 1);
    ck_assert_str_eq(sd_last_error(), ""); /* the callback's failures are not the run's */
    ck_ok(sd_sample(s.sampler, RUN(s.cond, NULL, NULL, NULL), &again));
    ck_assert_mem_eq(sd_tensor_data(again), sd_tensor_data(s.expected),
                     (size_t)sd_tensor_n_elements(again) * sizeof(float));
    sd_tensor_free(again);
    close_shared(&s);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("threads");
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, two_threads_paint_with_one_model);
    tcase_add_test(tests, any_number_of_threads_gives_the_same_bits);
    tcase_add_test(tests, cancel_from_another_thread_ends_the_run);
    tcase_add_test(tests, handles_may_go_in_any_order);
    tcase_add_test(tests, three_threads_on_one_sampler);
    tcase_add_test(tests, a_busy_sampler_refuses_other_threads);
    Suite *suite = suite_create("threads");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
