/* The child of a fork goes on with what the parent had: it paints the same bits, loads, and frees,
 * whatever the parent's other threads were at. An alarm ends a child that hangs. */
#define _DEFAULT_SOURCE /* usleep */

#include "../support/cond.h"
#include "../support/params.h"
#include "api.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS 60 /* of a child; it needs a tenth */
#define PIXELS (64 * 64 * 3)

/* ThreadSanitizer takes a thread of a child for the lost one whose memory it has. So its children
 * start none: they have a context of one thread, or only free. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define MOST_THREADS 1
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "die_after_fork=0";
}
#else
#define MOST_THREADS 4
#endif

/* AddressSanitizer's malloc, unlike the C library's, may be left locked in a child. So contexts
 * take memory through a gate that is closed while a process forks; other threads that load, and so
 * call malloc by themselves, are left to the other builds. */
#ifdef __SANITIZE_ADDRESS__
#define MALLOC_FORKS false
#else
#define MALLOC_FORKS true
#endif

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *gated_alloc(void *user, size_t size, size_t alignment) {
    void *p = NULL;
    (void)user;
    pthread_mutex_lock(&gate);
    int failed = posix_memalign(&p, alignment, size);
    pthread_mutex_unlock(&gate);
    return failed ? NULL : p;
}

static void gated_free(void *user, void *ptr, size_t size) {
    (void)user, (void)size;
    pthread_mutex_lock(&gate);
    free(ptr);
    pthread_mutex_unlock(&gate);
}

static sd_status open_gated(int n_threads, sd_context **ctx) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    params.n_threads = n_threads;
    if (!MALLOC_FORKS) {
        params.allocate = gated_alloc;
        params.deallocate = gated_free;
    }
    return sd_context_new(&params, ctx);
}

static pid_t fork_gated(void) {
    fflush(NULL);
    pthread_mutex_lock(&gate);
    pid_t pid = fork();
    pthread_mutex_unlock(&gate);
    return pid;
}

/* In a child, where an assertion would end the whole suite: the number of the line. */
#define need(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "child: line %d: %s does not hold\n", __LINE__, #condition);           \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

typedef struct scene {
    sd_context *ctx;
    sd_model *model;
    uint8_t pixels[PIXELS]; /* what the parent painted alone */
    atomic_bool quit, rest; /* of its other thread */
    atomic_int rounds;
    atomic_int failures;
} scene;

static sd_status paint(sd_model *model, uint8_t *pixels) {
    sd_sampler_params sampling = small_run();
    sampling.steps = 1;
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    params.prompt = "a lake";
    params.sampling = &sampling;
    sd_image *image;
    sd_status status = sd_generate(model, &params, &image, 1);
    if (!status)
        memcpy(pixels, sd_image_pixels(image), PIXELS);
    sd_image_free(image);
    return status;
}

static void open_scene(scene *s, int n_threads) {
    *s = (scene){0};
    ck_ok(open_gated(n_threads, &s->ctx));
    s->model = open_model(s->ctx);
    ck_ok(paint(s->model, s->pixels));
}

/* The parent is as before. */
static void close_scene(scene *s) {
    uint8_t pixels[PIXELS];
    ck_ok(paint(s->model, pixels));
    ck_assert_mem_eq(pixels, s->pixels, PIXELS);
    ck_assert_int_eq(atomic_load(&s->failures), 0);
    sd_model_free(s->model);
    sd_context_free(s->ctx);
}

/* Ends this process, and it alone: Check's own handler would end the whole group. */
static void set_alarm(void) {
    signal(SIGALRM, SIG_DFL);
    alarm(SECONDS);
}

static int wait_for(pid_t pid) {
    int status = -1;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status))
        fprintf(stderr, "a child ended by signal %d\n", WTERMSIG(status));
    return status;
}

/* Runs fn in a child, which ends without what the parent registered for its exit. */
static int run_child(int (*fn)(scene *), scene *s) {
    pid_t pid = fork_gated();
    if (pid == 0) {
        set_alarm();
        _exit(fn(s));
    }
    atomic_store(&s->rest, true);
    int status = wait_for(pid);
    atomic_store(&s->rest, false);
    return status;
}

static int is_same(const scene *s, sd_model *model) {
    uint8_t pixels[PIXELS];
    need(paint(model, pixels) == SD_OK);
    need(memcmp(pixels, s->pixels, PIXELS) == 0);
    return 0;
}

static int free_all(scene *s) {
    sd_model_free(s->model);
    sd_context_free(s->ctx);
    return 0;
}

static int paint_and_free(scene *s) {
    return is_same(s, s->model) || free_all(s);
}

static int free_in_the_other_order(scene *s) {
    sd_context_free(s->ctx);
    int bad = is_same(s, s->model);
    sd_model_free(s->model);
    return bad;
}

/* A second model, a context of the child's own, and the parent's again. */
static int load_and_paint(scene *s) {
    sd_model *model;
    sd_context *ctx;
    need(sd_model_load(s->ctx, tiny_folder(), NULL, &model) == SD_OK);
    need(is_same(s, model) == 0);
    sd_model_free(model);
    need(open_gated(MOST_THREADS, &ctx) == SD_OK);
    need(sd_model_load(ctx, tiny_folder(), NULL, &model) == SD_OK);
    need(is_same(s, model) == 0);
    sd_model_free(model);
    sd_context_free(ctx);
    return paint_and_free(s);
}

static void *paint_in_thread(void *arg) {
    scene *s = arg;
    if (is_same(s, s->model))
        atomic_fetch_add(&s->failures, 1);
    return NULL;
}

/* Threads that find the parent's locks at once. */
static int paint_in_threads(scene *s) {
    pthread_t threads[3];
    for (int i = 0; i < 3 && MOST_THREADS > 1; i++)
        need(pthread_create(&threads[i], NULL, paint_in_thread, s) == 0);
    for (int i = 0; i < 3 && MOST_THREADS > 1; i++)
        pthread_join(threads[i], NULL);
    need(atomic_load(&s->failures) == 0);
    return free_all(s);
}

static int fork_again(scene *s) {
    need(is_same(s, s->model) == 0);
    need(run_child(paint_and_free, s) == 0);
    need(run_child(free_all, s) == 0);
    return paint_and_free(s);
}

static int fail_and_tell(scene *s) {
    sd_model *model;
    need(sd_model_load(s->ctx, "/nowhere", NULL, &model) == SD_ERROR_IO);
    need(strstr(sd_last_error(), "/nowhere") != NULL);
    return paint_and_free(s);
}

static int (*const children[])(scene *) = {
    free_all,         paint_and_free, free_in_the_other_order, load_and_paint,
    paint_in_threads, fork_again,     fail_and_tell,
};
#define N_CHILDREN (int)(sizeof children / sizeof *children)

START_TEST(a_child_goes_on) {
    for (int n = 1; n <= MOST_THREADS; n *= 2) {
        scene s;
        open_scene(&s, n);
        for (int i = 0; i < N_CHILDREN; i++)
            ck_assert_msg(run_child(children[i], &s) == 0, "child %d of %d threads", i, n);
        close_scene(&s);
    }
}
END_TEST

/* ----------------------------------------------------------- while another thread is at work */

/* The other thread leaves the processor to a child. */
static bool goes_on(scene *s) {
    while (atomic_load(&s->rest))
        usleep(100);
    return !atomic_load(&s->quit);
}

static void *paint_on(void *arg) {
    scene *s = arg;
    while (goes_on(s)) {
        uint8_t pixels[PIXELS];
        if (paint(s->model, pixels) || memcmp(pixels, s->pixels, PIXELS) != 0)
            atomic_fetch_add(&s->failures, 1);
        atomic_fetch_add(&s->rounds, 1);
    }
    return NULL;
}

static void *load_on(void *arg) {
    scene *s = arg;
    while (goes_on(s)) {
        sd_model *model;
        if (sd_model_load(s->ctx, tiny_folder(), NULL, &model))
            atomic_fetch_add(&s->failures, 1);
        sd_model_free(model);
        atomic_fetch_add(&s->rounds, 1);
    }
    return NULL;
}

static void *open_on(void *arg) {
    scene *s = arg;
    while (goes_on(s)) {
        sd_context *ctx = open_context(3);
        sd_context_free(ctx);
        atomic_fetch_add(&s->rounds, 1);
    }
    return NULL;
}

static void *profile_on(void *arg) {
    scene *s = arg;
    sd_profile_row row = SD_PROFILE_ROW_INIT;
    while (goes_on(s)) {
        uint8_t pixels[PIXELS];
        if (sd_profile_begin(s->ctx) || paint(s->model, pixels) || sd_profile_end(s->ctx) ||
            sd_profile_get(s->ctx, 0, &row))
            atomic_fetch_add(&s->failures, 1);
        atomic_fetch_add(&s->rounds, 1);
    }
    return NULL;
}

static int profile_and_free(scene *s) {
    sd_profile_row row = SD_PROFILE_ROW_INIT;
    need(sd_profile_begin(s->ctx) == SD_OK);
    need(is_same(s, s->model) == 0);
    need(sd_profile_end(s->ctx) == SD_OK);
    need(sd_profile_get(s->ctx, 0, &row) == SD_OK && row.calls > 0);
    return free_all(s);
}

/* Forks at other moments of the other thread's work each time. */
static void fork_beside(void *(*other)(void *), int (*child)(scene *), int n_threads, int n_forks) {
    scene s;
    pthread_t thread;
    open_scene(&s, n_threads < MOST_THREADS || child == free_all ? n_threads : MOST_THREADS);
    ck_assert_int_eq(pthread_create(&thread, NULL, other, &s), 0);
    for (int i = 0; i<n_forks; i += MOST_THREADS> 1 ? 1 : 3) {
        while (atomic_load(&s.rounds) < 1)
            usleep(100);
        usleep((useconds_t)(i * 617 % 5000));
        ck_assert_msg(run_child(child, &s) == 0, "fork %d of %d threads", i, n_threads);
    }
    atomic_store(&s.quit, true);
    pthread_join(thread, NULL);
    close_scene(&s);
}

START_TEST(while_another_thread_paints) {
    for (int n = 1; n <= MOST_THREADS; n *= 2)
        fork_beside(paint_on, paint_and_free, n, 5);
    for (int n = 1; n <= 4; n *= 2)
        fork_beside(paint_on, free_all, n, 10);
    fork_beside(paint_on, fork_again, 2, 1);
    fork_beside(paint_on, paint_in_threads, 2, 2);
}
END_TEST

START_TEST(while_another_thread_loads) {
    fork_beside(load_on, paint_and_free, 2, 5);
    fork_beside(load_on, load_and_paint, 4, 3);
}
END_TEST

START_TEST(while_another_thread_opens_contexts) {
    fork_beside(open_on, load_and_paint, 2, 3);
}
END_TEST

START_TEST(while_another_thread_profiles) {
    fork_beside(profile_on, profile_and_free, 2, 5);
}
END_TEST

/* -------------------------------------------------------------------------- samplers, callbacks */

static int step_on(scene *s, sd_sampler *sampler, const float *expected) {
    sd_tensor *latent;
    while (sd_sampler_remaining(sampler) > 0)
        need(sd_sampler_step(sampler) == SD_OK);
    need(sd_sampler_latent(sampler, &latent) == SD_OK);
    need(memcmp(sd_tensor_data(latent), expected, 4 * 8 * 8 * sizeof *expected) == 0);
    sd_tensor_free(latent);
    sd_sampler_free(sampler);
    return paint_and_free(s);
}

/* A run that stands between two steps at the fork ends in both processes with the same latent. */
START_TEST(a_sampler_goes_on) {
    scene s;
    open_scene(&s, MOST_THREADS);
    const char *text = "a lake";
    sd_cond *cond;
    sd_tensor *latent;
    sd_sampler_params params = small_run();
    sd_sampler *sampler[2];
    params.guidance_scale = 1;
    params.steps = 4;
    ck_ok(sd_encode_text(s.model, &text, 1, NULL, &cond));
    for (int i = 0; i < 2; i++) {
        ck_ok(sd_sampler_new(s.model, &params, &sampler[i]));
        ck_ok(sd_sampler_begin(sampler[i], RUN(cond, NULL, NULL, NULL)));
        ck_ok(sd_sampler_step(sampler[i]));
    }
    while (sd_sampler_remaining(sampler[0]) > 0)
        ck_ok(sd_sampler_step(sampler[0]));
    ck_ok(sd_sampler_latent(sampler[0], &latent));
    pid_t pid = fork_gated();
    if (pid == 0) {
        set_alarm();
        _exit(step_on(&s, sampler[1], sd_tensor_data(latent)));
    }
    ck_assert_int_eq(wait_for(pid), 0);
    sd_tensor_free(latent);
    sd_cond_free(cond);
    sd_sampler_free(sampler[0]);
    sd_sampler_free(sampler[1]);
    close_scene(&s);
}
END_TEST

static int32_t fork_in_callback(void *user, const sd_progress *progress) {
    pid_t *pid = user;
    if (progress->step == 1 && *pid < 0) {
        *pid = fork_gated();
        if (*pid == 0)
            set_alarm();
    }
    return 0;
}

/* Both processes return from the callback and end the picture. */
START_TEST(a_run_goes_on_in_both_processes) {
    scene s;
    open_scene(&s, MOST_THREADS);
    pid_t pid = -1;
    sd_sampler_params sampling = small_run();
    sampling.steps = 1;
    sampling.progress = fork_in_callback;
    sampling.progress_user = &pid;
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    params.prompt = "a lake";
    params.sampling = &sampling;
    sd_image *image = NULL;
    sd_status status = sd_generate(s.model, &params, &image, 1);
    bool same = !status && memcmp(sd_image_pixels(image), s.pixels, PIXELS) == 0;
    sd_image_free(image);
    if (pid == 0)
        _exit(same ? paint_and_free(&s) : 1);
    ck_assert_int_eq(wait_for(pid), 0);
    ck_assert(same);
    close_scene(&s);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("fork");
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, a_child_goes_on);
    tcase_add_test(tests, while_another_thread_paints);
    if (MALLOC_FORKS) {
        tcase_add_test(tests, while_another_thread_loads);
        tcase_add_test(tests, while_another_thread_opens_contexts);
    }
    tcase_add_test(tests, while_another_thread_profiles);
    tcase_add_test(tests, a_sampler_goes_on);
    tcase_add_test(tests, a_run_goes_on_in_both_processes);
    Suite *suite = suite_create("fork");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
