/*
 * Handles that are given back while a call uses them: in a callback of the call, and from another
 * thread beside it. The call ends with a status, and then all memory is gone.
 */
#include "../support/cond.h"
#include "../support/image.h"
#include "../support/params.h"
#include "api.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

typedef enum where { IN_CALLBACK, BESIDE } where;

/* The handles that a program has open. */
typedef struct scene {
    sd_context *ctx;
    sd_model *model;
    sd_sampler *sampler;
    sd_cond *cond, *uncond;
    sd_tensor *latent, *pixels, *mask;
    sd_image *image, *white;
    where how;
    atomic_bool armed;   /* the next allocation or callback gives everything back */
    atomic_bool fired;   /* it did, or told the other thread to */
    atomic_long live;    /* blocks of the library */
    atomic_int callback; /* how many callbacks were called */
} scene;

static void free_all(scene *s) {
    sd_sampler_free(s->sampler);
    sd_model_free(s->model);
    sd_context_free(s->ctx);
    sd_cond_free(s->cond);
    sd_cond_free(s->uncond);
    sd_tensor_free(s->latent);
    sd_tensor_free(s->pixels);
    sd_tensor_free(s->mask);
    sd_image_free(s->image);
    sd_image_free(s->white);
}

static void fire(scene *s) {
    if (!atomic_exchange(&s->armed, false))
        return;
    if (s->how == IN_CALLBACK)
        free_all(s);
    atomic_store(&s->fired, true);
}

static void *beside(void *arg) {
    scene *s = arg;
    while (!atomic_load(&s->fired))
        sched_yield();
    free_all(s);
    return NULL;
}

static void *watched_alloc(void *user, size_t size, size_t alignment) {
    scene *s = user;
    void *p = NULL;
    fire(s);
    if (posix_memalign(&p, alignment < sizeof(void *) ? sizeof(void *) : alignment, size))
        return NULL;
    atomic_fetch_add(&s->live, 1);
    return p;
}

static void watched_free(void *user, void *ptr, size_t size) {
    (void)size;
    atomic_fetch_sub(&((scene *)user)->live, 1);
    free(ptr);
}

static int32_t on_step(void *user, const sd_progress *progress) {
    (void)progress;
    fire(user);
    return 0;
}

static int32_t on_score(void *user, const sd_score_info *score) {
    (void)score;
    fire(user);
    return 0;
}

static int32_t on_load(void *user, const sd_progress *progress) {
    (void)progress;
    fire(user);
    return 0;
}

static int32_t on_tensor(void *user, const sd_checkpoint_tensor *tensor) {
    (void)tensor;
    fire(user);
    return 0;
}

static void on_log(void *user, sd_log_level level, const char *message) {
    (void)level, (void)message;
    fire(user);
}

static sd_tensor *filled(scene *s, int n_dims, const int64_t *dims, float value) {
    sd_tensor *t;
    ck_ok(sd_tensor_new(s->ctx, n_dims, dims, NULL, &t));
    for (int64_t i = 0; i < sd_tensor_n_elements(t); i++)
        sd_tensor_data_mut(t)[i] = value;
    return t;
}

static sd_cond *filled_cond(scene *s, const int64_t *dims, float value) {
    sd_tensor *context = filled(s, 3, dims, value);
    sd_cond *cond = cond_of(s->ctx, context);
    sd_tensor_free(context);
    ck_assert_ptr_nonnull(cond);
    return cond;
}

static const sd_original_params keep_each = {
    .struct_size = sizeof keep_each, .temperature = 1, .log_every_t = 1};

static sd_sampler_params sampling_of(scene *s) {
    sd_sampler_params p = small_run();
    p.steps = 2;
    p.guidance_scale = 1;
    p.eta = 1;
    p.original = &keep_each;
    p.progress = on_step;
    p.progress_user = s;
    return p;
}

static void open_scene(scene *s, const char *folder, where how) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    const int64_t latent[] = {1, 4, 8, 8}, pixels[] = {1, 3, 64, 64}, mask[] = {1, 1, 64, 64};
    sd_model_info info = SD_MODEL_INFO_INIT;
    *s = (scene){.how = how};
    params.backend = "cpu";
    params.n_threads = 2;
    params.allocate = watched_alloc;
    params.deallocate = watched_free;
    params.alloc_user = params.log_user = s;
    params.log = on_log;
    params.log_level = SD_LOG_LEVEL_DEBUG;
    ck_ok(sd_context_new(&params, &s->ctx));
    ck_ok(sd_model_load(s->ctx, folder, NULL, &s->model));
    ck_ok(sd_model_get_info(s->model, &info));
    const int64_t context[] = {1, info.text_tokens, info.text_width};
    s->cond = filled_cond(s, context, 0.5f);
    s->uncond = filled_cond(s, context, 0.0f);
    s->latent = filled(s, 4, latent, 0.5f);
    s->pixels = filled(s, 4, pixels, 0.5f);
    s->mask = filled(s, 4, mask, 1.0f);
    ck_ok(new_image(s->ctx, 64, 64, 3, NULL, &s->image));
    ck_ok(new_image(s->ctx, 64, 64, 1, NULL, &s->white));
    memset(sd_image_pixels_mut(s->white), 255, (size_t)64 * 64);
}

static void open_sampler(scene *s) {
    sd_sampler_params p = sampling_of(s);
    ck_ok(sd_sampler_new(s->model, &p, &s->sampler));
}

/* ------------------------------------------------------------------------------- the calls */

#define WITH_TENSOR(call)                                                                          \
    sd_tensor *out = NULL;                                                                         \
    sd_status status = (call);                                                                     \
    sd_tensor_free(out);                                                                           \
    return status

#define WITH_COND(call)                                                                            \
    sd_cond *out = NULL;                                                                           \
    sd_status status = (call);                                                                     \
    sd_cond_free(out);                                                                             \
    return status

static sd_status encode_text(scene *s) {
    const char *text = "a lake";
    WITH_COND(sd_encode_text(s->model, &text, 1, NULL, &out));
}

static sd_status encode_weighted(scene *s) {
    const char *text = "(a lake:1.2)";
    sd_text_params p = SD_TEXT_PARAMS_INIT;
    p.weighted = 1;
    WITH_COND(sd_encode_text(s->model, &text, 1, &p, &out));
}

static sd_status encode_tokens(scene *s) {
    static const int32_t ids[77] = {1, 2, 3};
    WITH_COND(sd_encode_tokens(s->model, (const int32_t *[]){ids}, 1, 1, NULL, &out));
}

static sd_status cond_rows(scene *s) {
    WITH_COND(sd_cond_rows(s->cond, 0, 1, &out));
}

static sd_status cond_get(scene *s) {
    WITH_TENSOR(sd_cond_get(s->cond, "context", &out));
}

static sd_status vae_encode(scene *s) {
    WITH_TENSOR(sd_vae_encode(s->model, s->pixels, NOISE(s->latent), &out));
}

static sd_status vae_decode(scene *s) {
    WITH_TENSOR(sd_vae_decode(s->model, s->latent, NULL, &out));
}

static sd_status vae_decode_unquantized(scene *s) {
    WITH_TENSOR(sd_vae_decode(s->model, s->latent, UNQUANTIZED, &out));
}

static sd_status vae_decode_tiled(scene *s) {
    WITH_TENSOR(sd_vae_decode(s->model, s->latent, TILES(4, 1), &out));
}

static sd_status vae_encode_tiled(scene *s) {
    WITH_TENSOR(sd_vae_encode(s->model, s->pixels, VAE(.noise = s->latent, .tile = 4), &out));
}

static sd_status inpaint_concat(scene *s) {
    WITH_TENSOR(sd_inpaint_concat(s->model, s->pixels, s->mask, NOISE(s->latent), &out));
}

static sd_status add_noise(scene *s) {
    WITH_TENSOR(sd_add_noise(s->model, s->latent, s->latent, 500, &out));
}

static sd_status unet_predict(scene *s) {
    const double t = 500;
    WITH_TENSOR(sd_unet_predict(s->model, s->latent, &t, s->cond, &out));
}

static sd_status training_loss(scene *s) {
    const int32_t t = 500;
    sd_loss_info loss = SD_LOSS_INFO_INIT;
    WITH_TENSOR(sd_training_loss(s->model, s->latent, s->latent, &t, s->cond, NULL, &loss, &out));
}

static sd_status draw_noise(scene *s) {
    const int64_t dims[] = {1, 4, 64, 64};
    WITH_TENSOR(sd_randn(s->ctx, SD_RNG_CPU, 1, 4, dims, &out));
}

static sd_status memory_estimate(scene *s) {
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    sd_sampler_params p = small_run();
    return sd_memory_estimate(s->model, ESTIMATE(&p), &memory);
}

static sd_status work_estimate(scene *s) {
    sd_work_info work = SD_WORK_INFO_INIT;
    sd_sampler_params p = small_run();
    return sd_work_estimate(s->model, ESTIMATE(&p), &work);
}

static sd_status image_resize(scene *s) {
    sd_image *out = NULL;
    sd_status status = sd_image_resize(s->image, 100, 40, &out);
    sd_image_free(out);
    return status;
}

static sd_status image_to_tensor(scene *s) {
    WITH_TENSOR(sd_image_to_tensor(s->image, &out));
}

static sd_status image_from_tensor(scene *s) {
    sd_image *out = NULL;
    sd_status status = sd_image_from_tensor(s->pixels, 0, &out);
    sd_image_free(out);
    return status;
}

static sd_status model_load(scene *s) {
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    sd_model *out = NULL;
    p.progress = on_load;
    p.progress_user = s;
    sd_status status = sd_model_load(s->ctx, tiny_folder(), &p, &out);
    sd_model_free(out);
    return status;
}

static sd_status checkpoint_list(scene *s) {
    return sd_checkpoint_list(s->ctx, tiny_file(), on_tensor, s);
}

static sd_status sampler_new(scene *s) {
    sd_sampler_params p = small_run();
    sd_sampler *out = NULL;
    sd_status status = sd_sampler_new(s->model, &p, &out);
    sd_sampler_free(out);
    return status;
}

static sd_status txt2img(scene *s) {
    sd_sampler_params run = sampling_of(s);
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sd_image *out;
    p.sampling = &run;
    sd_status status = sd_generate(s->model, &p, &out, 1);
    sd_image_free(out);
    return status;
}

static sd_status img2img(scene *s) {
    sd_sampler_params run = sampling_of(s);
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sd_image *out;
    p.sampling = &run;
    p.init = s->image;
    sd_status status = sd_generate(s->model, &p, &out, 1);
    sd_image_free(out);
    return status;
}

static sd_status inpaint(scene *s) {
    sd_sampler_params run = sampling_of(s);
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sd_image *out;
    p.sampling = &run;
    p.init = s->image;
    p.mask = s->white;
    sd_status status = sd_generate(s->model, &p, &out, 1);
    sd_image_free(out);
    return status;
}

static sd_status sample(scene *s) {
    WITH_TENSOR(sd_sample(s->sampler, RUN(s->cond, s->uncond, s->latent, s->latent), &out));
}

static sd_status begin(scene *s) {
    return sd_sampler_begin(s->sampler, RUN(s->cond, s->uncond, s->latent, s->latent));
}

static sd_status decode(scene *s) {
    WITH_TENSOR(sd_sample(s->sampler,
                          GIVEN(last_of(2, run_of(s->cond, s->uncond, s->latent, NULL))), &out));
}

static sd_status stochastic_encode(scene *s) {
    WITH_TENSOR(sd_sampler_stochastic_encode(s->sampler, s->latent, 1, s->latent, &out));
}

static sd_status step(scene *s) {
    return sd_sampler_step(s->sampler);
}

static sd_status get_latent(scene *s) {
    WITH_TENSOR(sd_sampler_latent(s->sampler, &out));
}

static sd_status get_pred_x0(scene *s) {
    WITH_TENSOR(sd_sampler_pred_x0(s->sampler, &out));
}

static sd_status get_inter(scene *s) {
    WITH_TENSOR(sd_sampler_x_inter(s->sampler, 0, &out));
}

static sd_status preview(scene *s) {
    sd_image *out = NULL;
    sd_status status = sd_sampler_preview(s->sampler, NULL, &out);
    sd_image_free(out);
    return status;
}

typedef enum need { A_MODEL, A_SAMPLER, A_RUN, A_STEP, AN_INPAINT_MODEL } need;

static const struct {
    sd_status (*call)(scene *s);
    need needs;
} calls[] = {
    {encode_text, A_MODEL},
    {encode_weighted, A_MODEL},
    {encode_tokens, A_MODEL},
    {cond_rows, A_MODEL},
    {cond_get, A_MODEL},
    {vae_encode, A_MODEL},
    {vae_decode, A_MODEL},
    {vae_decode_unquantized, A_MODEL},
    {vae_decode_tiled, A_MODEL},
    {vae_encode_tiled, A_MODEL},
    {inpaint_concat, AN_INPAINT_MODEL},
    {add_noise, A_MODEL},
    {unet_predict, A_MODEL},
    {training_loss, A_MODEL},
    {draw_noise, A_MODEL},
    {memory_estimate, A_MODEL},
    {work_estimate, A_MODEL},
    {image_resize, A_MODEL},
    {image_to_tensor, A_MODEL},
    {image_from_tensor, A_MODEL},
    {model_load, A_MODEL},
    {checkpoint_list, A_MODEL},
    {sampler_new, A_MODEL},
    {txt2img, A_MODEL},
    {img2img, A_MODEL},
    {inpaint, A_MODEL},
    {inpaint, AN_INPAINT_MODEL},
    {sample, A_SAMPLER},
    {begin, A_SAMPLER},
    {decode, A_SAMPLER},
    {stochastic_encode, A_SAMPLER},
    {step, A_RUN},
    {get_latent, A_RUN},
    {get_pred_x0, A_STEP},
    {get_inter, A_RUN},
    {preview, A_STEP},
};

#define N_CALLS ((int)(sizeof calls / sizeof calls[0]))

static void get_ready(scene *s, need needs, where how) {
    const char *folder =
        needs == AN_INPAINT_MODEL ? getenv("SD_TEST_INPAINT_FOLDER") : tiny_folder();
    open_scene(s, folder, how);
    if (needs == A_MODEL || needs == AN_INPAINT_MODEL)
        return;
    open_sampler(s);
    if (needs != A_SAMPLER)
        ck_ok(begin(s));
    if (needs == A_STEP)
        ck_ok(step(s));
}

/* Whether everything was given back within the call, not after it. */
static bool give_back_during(int i, where how) {
    static scene s;
    pthread_t thread;
    get_ready(&s, calls[i].needs, how);
    if (how == BESIDE)
        ck_assert_int_eq(pthread_create(&thread, NULL, beside, &s), 0);
    atomic_store(&s.armed, true);
    sd_status status = calls[i].call(&s);
    bool during = atomic_load(&s.fired);
    fire(&s);
    if (how == BESIDE)
        pthread_join(thread, NULL);
    ck_assert_msg(status == SD_OK || status == SD_ERROR_CANCELLED, "call %d gave %s", i,
                  sd_status_string(status));
    bool runs = calls[i].call == sample || calls[i].call == decode || calls[i].call == step;
    if (runs && during && how == IN_CALLBACK)
        ck_assert_int_eq(status, SD_ERROR_CANCELLED);
    ck_assert_msg(atomic_load(&s.live) == 0, "call %d left %ld blocks", i, atomic_load(&s.live));
    return during;
}

START_TEST(everything_is_given_back_in_a_callback) {
    ck_assert(give_back_during(_i, IN_CALLBACK) || calls[_i].call == begin);
}
END_TEST

START_TEST(everything_is_given_back_beside_the_call) {
    ck_assert(give_back_during(_i, BESIDE) || calls[_i].call == begin);
}
END_TEST

/* ---------------------------------------------------------------------- a sampler's own rules */

/* Twice, and then it is asked for all that a callback may ask for. */
static int32_t free_and_ask(void *user, const sd_progress *progress) {
    scene *s = user;
    sd_tensor *t;
    sd_image *image;
    if (atomic_fetch_add(&s->callback, 1) > 0)
        return 0;
    sd_sampler_free(progress->sampler);
    sd_sampler_free(progress->sampler);
    ck_assert_int_eq(sd_sampler_remaining(progress->sampler), progress->total - 1);
    ck_assert_int_ge(sd_sampler_n_intermediates(progress->sampler), 1);
    ck_assert_int_eq(sd_sampler_step(progress->sampler), SD_ERROR_STATE);
    ck_status(sd_sampler_latent(progress->sampler, &t), SD_ERROR_CANCELLED, "freed");
    ck_assert_ptr_null(t);
    ck_status(sd_sampler_preview(progress->sampler, NULL, &image), SD_ERROR_CANCELLED,
              "the run is ending");
    ck_assert_ptr_null(image);
    return 0;
}

static void free_in_callback(scene *s, sd_sampler_params *p, bool whole) {
    sd_tensor *latent = NULL;
    p->progress = free_and_ask;
    atomic_store(&s->callback, 0);
    ck_ok(sd_sampler_new(s->model, p, &s->sampler));
    sd_sampler *sampler = s->sampler;
    s->sampler = NULL;
    if (whole) {
        ck_status(sd_sample(sampler, RUN(s->cond, s->uncond, NULL, NULL), &latent),
                  SD_ERROR_CANCELLED, "the sampler was freed while it sampled");
        ck_assert_ptr_null(latent);
    } else {
        ck_ok(sd_sampler_begin(sampler, RUN(s->cond, s->uncond, NULL, NULL)));
        ck_status(sd_sampler_step(sampler), SD_ERROR_CANCELLED,
                  "the sampler was freed while it sampled");
    }
    ck_assert_int_eq(atomic_load(&s->callback), 1);
}

START_TEST(a_freed_sampler_ends_its_run) {
    static scene s;
    open_scene(&s, tiny_folder(), IN_CALLBACK);
    sd_sampler_params p = sampling_of(&s);
    free_in_callback(&s, &p, true);
    free_in_callback(&s, &p, false);
    p.steps = 1; /* also in the callback of its last step */
    free_in_callback(&s, &p, true);
    free_all(&s);
    ck_assert_int_eq(atomic_load(&s.live), 0);
}
END_TEST

/* The sampler of sd_generate is not the host's: to free it is to cancel. */
START_TEST(the_sampler_of_a_picture_in_one_call_is_freed) {
    static scene s;
    open_scene(&s, tiny_folder(), IN_CALLBACK);
    sd_sampler_params run = sampling_of(&s);
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sd_image *image;
    run.progress = free_and_ask;
    p.sampling = &run;
    ck_status(sd_generate(s.model, &p, &image, 1), SD_ERROR_CANCELLED, "freed");
    ck_assert_ptr_null(image);
    free_all(&s);
    ck_assert_int_eq(atomic_load(&s.live), 0);
}
END_TEST

START_TEST(a_score_corrector_gives_everything_back) {
    static scene s;
    open_scene(&s, tiny_folder(), IN_CALLBACK);
    sd_sampler_params p = sampling_of(&s);
    sd_tensor *out;
    p.progress = NULL;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.score_corrector = on_score;
    original.corrector_user = &s;
    ck_ok(sd_sampler_new(s.model, &p, &s.sampler));
    atomic_store(&s.armed, true);
    ck_assert_int_eq(sd_sample(s.sampler, RUN(s.cond, s.uncond, NULL, NULL), &out),
                     SD_ERROR_CANCELLED);
    ck_assert_ptr_null(out);
    ck_assert(atomic_load(&s.fired));
    ck_assert_int_eq(atomic_load(&s.live), 0);
}
END_TEST

/* The log is called with the sentence of a failure, and the handle goes there. */
START_TEST(the_log_gives_everything_back) {
    static scene s;
    sd_tensor *out;
    open_scene(&s, tiny_folder(), IN_CALLBACK);
    atomic_store(&s.armed, true);
    ck_assert_int_eq(sd_vae_decode(s.model, s.pixels, NULL, &out), SD_ERROR_ARGUMENT);
    ck_assert(atomic_load(&s.fired));
    ck_assert_int_eq(atomic_load(&s.live), 0);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("free");
    tcase_set_timeout(tests, 0);
    tcase_add_loop_test(tests, everything_is_given_back_in_a_callback, 0, N_CALLS);
    tcase_add_loop_test(tests, everything_is_given_back_beside_the_call, 0, N_CALLS);
    tcase_add_test(tests, a_freed_sampler_ends_its_run);
    tcase_add_test(tests, the_sampler_of_a_picture_in_one_call_is_freed);
    tcase_add_test(tests, a_score_corrector_gives_everything_back);
    tcase_add_test(tests, the_log_gives_everything_back);
    Suite *suite = suite_create("free");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
