/* Hosts with little: threads of 64 KB stacks, no further threads, few addresses. */
#define _GNU_SOURCE /* RTLD_NEXT, MAP_ANONYMOUS */

#include "../support/params.h"
#include "api.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sanitizers put more into each frame, and take terabytes of addresses. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(SANITIZED)
#define FRAMES 16
#else
#define FRAMES 1
#endif
#define STACK ((size_t)(64 << 10) * FRAMES)
#define PIXELS (64 * 64 * 3)
#define PAINTED 0xa7

/* ------------------------------------------------------------- in the place of pthread_create */

static atomic_int refuse_from = -1; /* this many threads can be made yet; -1: any number */
static atomic_size_t least_stack, given_stack; /* of threads whose maker asked for one */
static atomic_bool odd_sizes;                  /* a stack of a given size is refused (EINVAL) */

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    size_t size = 0;
    memcpy(&real, &symbol, sizeof real);
    if (atomic_load(&refuse_from) == 0)
        return EAGAIN;
    if (atomic_load(&refuse_from) > 0)
        atomic_fetch_sub(&refuse_from, 1);
    if (attr) {
        pthread_attr_getstacksize(attr, &size);
        atomic_store(&given_stack, size);
        if (atomic_load(&odd_sizes))
            return EINVAL;
        if (atomic_load(&least_stack))
            pthread_attr_setstacksize((pthread_attr_t *)attr, atomic_load(&least_stack));
    }
    return real(thread, attr, fn, arg);
}

/* ----------------------------------------------------------------------------------- scenes */

static char log_text[2000];

static void collect(void *user, sd_log_level level, const char *message) {
    (void)user;
    if (level <= SD_LOG_LEVEL_WARN)
        strncat(log_text, message, sizeof log_text - 1 - strlen(log_text));
}

static sd_context *open_logged(int n_threads) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    params.backend = "cpu";
    params.n_threads = n_threads;
    params.log = collect;
    log_text[0] = '\0';
    ck_ok(sd_context_new(&params, &ctx));
    return ctx;
}

static sd_status paint(sd_model *model, uint8_t *pixels) {
    sd_sampler_params sampling = small_run();
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    sampling.steps = 1;
    params.prompt = "a lake";
    params.sampling = &sampling;
    sd_image *image;
    sd_status status = sd_generate(model, &params, &image, 1);
    if (!status)
        memcpy(pixels, sd_image_pixels(image), PIXELS);
    sd_image_free(image);
    return status;
}

static uint8_t usual[PIXELS]; /* what a context of one thread paints */

static void check_paints_as_usual(sd_context *ctx) {
    uint8_t pixels[PIXELS];
    sd_model *model = open_model(ctx);
    ck_ok(paint(model, pixels));
    ck_assert_mem_eq(pixels, usual, PIXELS);
    ck_assert_str_eq(sd_last_error(), "");
    sd_model_free(model);
}

static void setup(void) {
    sd_context *ctx = open_logged(1);
    sd_model *model = open_model(ctx);
    ck_ok(paint(model, usual));
    sd_model_free(model);
    sd_context_free(ctx);
}

/* ------------------------------------------------------------------------------- small stacks */

/* A file on the way of a small stack: written, read again. */
static sd_status save_and_load(sd_context *ctx, const sd_image *image, const char *name) {
    char path[200];
    sd_image *again = NULL, *small = NULL;
    snprintf(path, sizeof path, "limits-%ld-%s", (long)getpid(), name);
    sd_image_save_params params = SD_IMAGE_SAVE_PARAMS_INIT;
    params.parameters = "a lake, Steps: 1";
    sd_status status = sd_image_save(image, path, &params);
    if (!status)
        status = sd_image_load(ctx, path, NULL, &again);
    if (!status)
        status = sd_image_resize(again, 40, 50, &small);
    remove(path);
    sd_image_free(again);
    sd_image_free(small);
    return status;
}

static sd_status from_picture(sd_model *model, const sd_image *init, const sd_sampler_params *p) {
    sd_generate_params img = SD_GENERATE_PARAMS_INIT;
    sd_generate_params in = SD_GENERATE_PARAMS_INIT;
    sd_image *image = NULL;
    img.prompt = in.prompt = "a [lake] BREAK (boat:1.2)";
    img.text = in.text = TEXT(.weighted = 1);
    img.init = in.init = in.mask = init;
    img.sampling = in.sampling = p;
    sd_status status = sd_generate(model, &img, &image, 1);
    sd_image_free(image);
    image = NULL;
    if (!status)
        status = sd_generate(model, &in, &image, 1);
    sd_image_free(image);
    return status;
}

static sd_status other_calls(sd_context *ctx, sd_model *model, const sd_sampler_params *p) {
    const int64_t dims[] = {1, 4, 8, 8};
    const int32_t timestep = 500;
    const char *text = "a lake";
    sd_loss_info loss = SD_LOSS_INFO_INIT;
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    sd_cond *cond = NULL;
    sd_tensor *z = NULL, *pixels = NULL;
    sd_status status = sd_randn(ctx, SD_RNG_CPU, 1, 4, dims, &z);
    if (!status)
        status = sd_vae_decode(model, z, NULL, &pixels);
    if (!status)
        status = sd_encode_text(model, &text, 1, NULL, &cond);
    if (!status)
        status = sd_training_loss(model, z, z, &timestep, cond, NULL, &loss, NULL);
    if (!status)
        status = sd_memory_estimate(model, ESTIMATE(p), &memory);
    sd_tensor_free(z);
    sd_tensor_free(pixels);
    sd_cond_free(cond);
    return status;
}

static sd_status use_model(sd_context *ctx, sd_model *model) {
    static const char *const methods[] = {"ddim", "plms", "euler_a", "dpmpp_2m_sde", "unipc"};
    sd_sampler_params p = small_run();
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    sd_image *image = NULL;
    sd_status status = SD_OK;
    p.steps = 2;
    params.prompt = "a lake";
    params.sampling = &p;
    for (size_t i = 0; !status && i < sizeof methods / sizeof *methods; i++) {
        sd_image_free(image);
        image = NULL;
        p.method = methods[i];
        status = sd_generate(model, &params, &image, 1);
    }
    p.method = NULL;
    if (!status)
        status = save_and_load(ctx, image, "a.png");
    if (!status)
        status = save_and_load(ctx, image, "a.jpg");
    if (!status)
        status = from_picture(model, image, &p);
    if (!status)
        status = other_calls(ctx, model, &p);
    sd_image_free(image);
    return status;
}

typedef struct small_job {
    const char *backend, *path, *vocab;
    sd_status status;
    char sentence[300];
} small_job;

static void *do_all(void *arg) {
    small_job *job = arg;
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx = NULL;
    sd_model *model = NULL;
    sd_model_params from = SD_MODEL_PARAMS_INIT;
    from.vocab = job->vocab;
    params.backend = job->backend;
    params.n_threads = 2;
    params.log = collect;
    params.log_level = SD_LOG_LEVEL_DEBUG;
    job->status = sd_context_new(&params, &ctx);
    if (!job->status)
        job->status = sd_model_load(ctx, job->path, &from, &model);
    if (!job->status)
        job->status = use_model(ctx, model);
    snprintf(job->sentence, sizeof job->sentence, "%.290s", sd_last_error());
    sd_model_free(model);
    sd_context_free(ctx);
    return NULL;
}

/* Runs fn on a stack of STACK bytes, below which no page is; returns how many it wrote to. */
static size_t run_on_small_stack(void *(*fn)(void *), void *arg) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), used = STACK;
    uint8_t *stack = mmap(NULL, STACK + page, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    pthread_t thread;
    pthread_attr_t attr;
    ck_assert_ptr_ne(stack, MAP_FAILED);
    mprotect(stack, page, PROT_NONE);
    memset(stack + page, PAINTED, STACK);
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstack(&attr, stack + page, STACK), 0);
    ck_assert_int_eq(pthread_create(&thread, &attr, fn, arg), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    for (const uint8_t *p = stack + page; used > 0 && *p == PAINTED; p++)
        used--;
    munmap(stack, STACK + page);
    return used;
}

START_TEST(callers_need_no_more_than_64_kb) {
    const char *const ckpt = getenv("SD_TEST_TINY_CKPT");
    char vocab[400];
    snprintf(vocab, sizeof vocab, "%s/tokenizer", tiny_folder());
    small_job jobs[] = {
        {.backend = "cpu", .path = tiny_folder()},
        {.backend = "cpu", .path = tiny_file(), .vocab = vocab},
        {.backend = "cpu", .path = ckpt, .vocab = vocab},
        {.backend = "cpu:2", .path = tiny_folder()},
    };
    ck_assert_ptr_nonnull(ckpt);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        size_t used = run_on_small_stack(do_all, &jobs[i]);
        ck_assert_msg(!jobs[i].status, "%s on %s: %s", jobs[i].path, jobs[i].backend,
                      jobs[i].sentence);
        printf("%zu KB of the caller's stack: %s, %s\n", used >> 10, jobs[i].backend, jobs[i].path);
        ck_assert_uint_lt(used, STACK);
    }
}
END_TEST

START_TEST(workers_need_no_more_than_64_kb) {
    sd_context *ctx = open_logged(3);
    size_t usual_size = atomic_load(&given_stack);
    sd_context_free(ctx);
    ck_assert_uint_ge(usual_size, 64 << 10);
    ck_assert_uint_le(usual_size, 1 << 20);
    atomic_store(&least_stack, STACK);
    ctx = open_logged(3);
    check_paints_as_usual(ctx);
    sd_context_free(ctx);
    atomic_store(&least_stack, 0);
}
END_TEST

/* A host with much thread-local memory: the C library refuses a stack that cannot hold it. */
START_TEST(workers_take_the_default_where_their_size_is_refused) {
    atomic_store(&odd_sizes, true);
    sd_context *ctx = open_logged(3);
    atomic_store(&odd_sizes, false);
    ck_assert_ptr_nonnull(strstr(sd_context_device(ctx), "3 threads"));
    ck_assert_str_eq(log_text, "");
    check_paints_as_usual(ctx);
    sd_context_free(ctx);
}
END_TEST

/* ---------------------------------------------------------------------------------- no threads */

START_TEST(fewer_threads_are_a_warning) {
    for (int n = 0; n < 3; n++) {
        char device[40], warning[40];
        atomic_store(&refuse_from, n);
        sd_context *ctx = open_logged(4);
        snprintf(device, sizeof device, ", %d thread%s)", n + 1, n ? "s" : "");
        snprintf(warning, sizeof warning, "%d of 4 threads", n + 1);
        ck_assert_msg(strstr(sd_context_device(ctx), device) != NULL, "%s", sd_context_device(ctx));
        ck_assert_msg(strstr(log_text, warning) != NULL, "%s", log_text);
        check_paints_as_usual(ctx);
        atomic_store(&refuse_from, -1);
        sd_context_free(ctx);
    }
}
END_TEST

/* Ends this process, and it alone: Check's own handler would end the whole group. */
static void set_alarm(void) {
    signal(SIGALRM, SIG_DFL);
    alarm(60);
}

static int wait_for(pid_t pid) {
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

/* Under the system's limit of the user's processes; root has none, and becomes nobody. */
static int under_process_limit(void) {
    struct rlimit none = {0, 0};
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    params.backend = "cpu";
    params.n_threads = 3;
    params.log = collect;
    log_text[0] = '\0';
    set_alarm();
    if (setrlimit(RLIMIT_NPROC, &none) || (getuid() == 0 && setuid(65534)))
        return 77;
    if (sd_context_new(&params, &ctx))
        return 1;
    sd_context_free(ctx);
    return strstr(log_text, "1 of 3 threads") ? 0 : 2;
}

START_TEST(the_limit_of_processes_is_a_warning) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(under_process_limit());
    int status = wait_for(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        printf("skipped: the limit cannot be set here\n");
    else
        ck_assert_int_eq(status, 0);
}
END_TEST

static int in_child_without_threads(sd_context *ctx, sd_model *model) {
    uint8_t pixels[PIXELS];
    set_alarm();
    atomic_store(&refuse_from, 1);
    if (paint(model, pixels) || memcmp(pixels, usual, PIXELS) != 0)
        return 1;
    if (!strstr(log_text, "2 of 4 threads"))
        return 2;
    sd_model_free(model);
    sd_context_free(ctx);
    return 0;
}

START_TEST(a_child_goes_on_with_fewer_threads) {
    sd_context *ctx = open_logged(4);
    sd_model *model = open_model(ctx);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_child_without_threads(ctx, model));
    ck_assert_int_eq(wait_for(pid), 0);
    sd_model_free(model);
    sd_context_free(ctx);
}
END_TEST

/* -------------------------------------------------------------------------------- few addresses */

/* A picture, or a status, and an end; on the portable code, too, whose OpenBLAS would wait. */
static int with_few_addresses(const char *backend, rlim_t megabytes) {
    struct rlimit few = {megabytes << 20, megabytes << 20};
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    sd_model *model = NULL;
    uint8_t pixels[PIXELS];
    params.backend = backend;
    set_alarm();
    if (setrlimit(RLIMIT_AS, &few))
        return 77;
    sd_status status = sd_context_new(&params, &ctx);
    if (!status)
        status = sd_model_load(ctx, tiny_folder(), NULL, &model);
    if (!status)
        status = paint(model, pixels);
    bool told = !status || strlen(sd_last_error()) > 0;
    sd_model_free(model);
    sd_context_free(ctx);
    return told && (!status || status == SD_ERROR_MEMORY) ? 0 : 1;
}

START_TEST(few_addresses_end_in_a_status) {
    static const rlim_t megabytes[] = {24, 60, 150};
    for (size_t i = 0; i < sizeof megabytes / sizeof *megabytes && FRAMES == 1; i++)
        for (int portable = 0; portable < 1 + (i == 2); portable++) {
            fflush(NULL);
            pid_t pid = fork();
            if (pid == 0)
                _exit(with_few_addresses(portable ? "cpu:2" : "cpu", megabytes[i]));
            int status = wait_for(pid);
            ck_assert_msg(status == 0 || WEXITSTATUS(status) == 77, "%d MB, %s: %x",
                          (int)megabytes[i], portable ? "portable" : "cpu", (unsigned)status);
        }
}
END_TEST

/* ------------------------------------------------------------------------------------- OpenBLAS */

static bool is_mapped(const char *name) {
    char line[1000];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        found = found || strstr(line, name);
    if (maps)
        fclose(maps);
    return found;
}

static void collect_all(void *user, sd_log_level level, const char *message) {
    (void)level;
    (void)user;
    collect(NULL, SD_LOG_LEVEL_ERROR, message);
}

/* Kernels of ours never open it; the portable code does, or says that it was not found. Runs
 * before any other test: what is open stays open. */
START_TEST(openblas_is_opened_where_it_is_used) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx = open_context(2);
    uint8_t pixels[PIXELS];
    bool portable = strstr(sd_context_device(ctx), "portable") != NULL;
    sd_model *model = open_model(ctx);
    ck_assert(portable || !is_mapped("openblas"));
    sd_model_free(model);
    sd_context_free(ctx);
    params.backend = "cpu:2";
    params.log = collect_all;
    params.log_level = SD_LOG_LEVEL_INFO;
    log_text[0] = '\0';
    ck_ok(sd_context_new(&params, &ctx));
    model = open_model(ctx);
    ck_ok(paint(model, pixels));
    ck_assert_str_eq(sd_last_error(), "");
    sd_model_free(model);
    sd_context_free(ctx);
    if (strstr(sd_build_info(), "openblas: no"))
        ck_assert(!is_mapped("openblas"));
    else if (is_mapped("openblas"))
        ck_assert_msg(strstr(log_text, "large products by libopenblas") != NULL, "%s", log_text);
    else
        ck_assert_msg(strstr(log_text, "was not found") != NULL, "%s", log_text);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("limits");
    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, setup, NULL);
    tcase_add_test(tests, few_addresses_end_in_a_status);
    tcase_add_test(tests, openblas_is_opened_where_it_is_used);
    tcase_add_test(tests, callers_need_no_more_than_64_kb);
    tcase_add_test(tests, workers_need_no_more_than_64_kb);
    tcase_add_test(tests, workers_take_the_default_where_their_size_is_refused);
    tcase_add_test(tests, fewer_threads_are_a_warning);
    tcase_add_test(tests, the_limit_of_processes_is_a_warning);
    tcase_add_test(tests, a_child_goes_on_with_fewer_threads);
    Suite *suite = suite_create("limits");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
