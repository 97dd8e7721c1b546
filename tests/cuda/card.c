/* Opens NVIDIA's driver and runs the tiny model's stages for the tests of failures. */
#include "card.h"

#include "../tools/suite.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/wait.h>
#include <unistd.h>

char card_log[4096];
char card_path[4096];

const char *const stage_names[N_STAGES] = {"load",   "encode text", "sampler",
                                           "sample", "decode",      "encode"};

/* ---------------------------------------------------------------------------------- the driver */

static bool open_driver(driver *d, void **library) {
    *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!*library)
        return false;
#define DRIVER_LOOK_UP(member, symbol, parameters)                                                 \
    do {                                                                                           \
        void *found = dlsym(*library, symbol);                                                     \
        memcpy(&d->member, &found, sizeof found);                                                  \
        if (!found)                                                                                \
            return false;                                                                          \
    } while (0);
    DRIVER_CALLS(DRIVER_LOOK_UP)
#undef DRIVER_LOOK_UP
    return true;
}

/* In a child: its answer is a count and a path. */
static void look(int to) {
    struct {
        int n;
        char path[4096];
    } answer = {0};
    driver d;
    void *library;
    struct link_map *map = NULL;
    if (open_driver(&d, &library) && d.init(0) == 0 && d.device_count(&answer.n) == 0 &&
        dlinfo(library, RTLD_DI_LINKMAP, &map) == 0)
        snprintf(answer.path, sizeof answer.path, "%s", map->l_name);
    _exit(write(to, &answer, sizeof answer) == (ssize_t)sizeof answer ? 0 : 1);
}

int card_count(char *path) {
    struct {
        int n;
        char path[4096];
    } answer = {0};
    int ends[2];
    if (pipe(ends) != 0)
        return 0;
    pid_t child = fork();
    if (child == 0)
        look(ends[1]);
    close(ends[1]);
    if (read(ends[0], &answer, sizeof answer) != (ssize_t)sizeof answer)
        answer.n = 0;
    close(ends[0]);
    waitpid(child, NULL, 0);
    if (path)
        snprintf(path, sizeof answer.path, "%s", answer.path);
    return answer.n;
}

driver card_driver(void) {
    driver d;
    void *library;
    ck_assert_msg(open_driver(&d, &library), "no driver");
    ck_assert_int_eq(d.init(0), 0);
    return d;
}

cu_handle card_primary(const driver *d, int ordinal) {
    cu_device device;
    cu_handle context;
    ck_assert_int_eq(d->device_get(&device, ordinal), 0);
    ck_assert_int_eq(d->primary_retain(&context, device), 0);
    return context;
}

driver_shim *card_shim(const char *real) {
    const char *path = getenv("SD_TEST_CUDA_SHIM");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_GLOBAL) : NULL;
    ck_assert_msg(library != NULL, "SD_TEST_CUDA_SHIM: %s", path ? dlerror() : "not set");
    void *symbol = dlsym(library, "driver_shim_state");
    driver_shim_fn get;
    memcpy(&get, &symbol, sizeof get);
    driver_shim *shim = get();
    shim->real = real;
    return shim;
}

size_t card_free(const driver *d, cu_handle context) {
    size_t available = 0, total;
    cu_handle popped;
    ck_assert_int_eq(d->push(context), 0);
    ck_assert_int_eq(d->synchronize(), 0);
    ck_assert_int_eq(d->memory_info(&available, &total), 0);
    ck_assert_int_eq(d->pop(&popped), 0);
    return available;
}

/* Blocks of `size` and less while they fit: the driver gives memory in pieces of 2 MiB. */
static void take_blocks(hog *h, size_t size, size_t least, size_t keep) {
    cu_handle popped;
    ck_assert_int_eq(h->driver->push(h->context), 0);
    while (size >= least && h->n < CARD_HOGS) {
        size_t available, total;
        ck_assert_int_eq(h->driver->memory_info(&available, &total), 0);
        if (available < keep + size || h->driver->alloc(&h->blocks[h->n], size) != 0)
            size /= 2;
        else
            h->n++;
    }
    ck_assert_int_eq(h->driver->pop(&popped), 0);
}

static void give_blocks(hog *h, int until) {
    cu_handle popped;
    ck_assert_int_eq(h->driver->push(h->context), 0);
    while (h->n > until)
        ck_assert_int_eq(h->driver->free(h->blocks[--h->n]), 0);
    ck_assert_int_eq(h->driver->pop(&popped), 0);
}

void hog_take(hog *h, size_t keep) {
    const size_t gib = (size_t)1 << 30, mib = (size_t)1 << 20;
    if (h->n == 0) {
        take_blocks(h, 64 * gib, gib, keep + 2 * gib);
        h->n_large = h->n;
    }
    take_blocks(h, 512 * mib, 2 * mib, keep);
}

void hog_give(hog *h) {
    give_blocks(h, h->n_large);
}

void hog_end(hog *h) {
    give_blocks(h, 0);
}

/* ----------------------------------------------------------------------------------- the model */

static void keep_log(void *user, sd_log_level level, const char *message) {
    size_t n = strlen(card_log);
    (void)user, (void)level;
    snprintf(card_log + n, sizeof card_log - n, "%s\n", message);
}

sd_status card_open(const char *backend, sd_context **ctx) {
    sd_context_params p = SD_CONTEXT_PARAMS_INIT;
    p.backend = backend;
    p.module_dir = getenv("SD_TEST_CUDA_MODULE");
    p.n_threads = 2;
    p.log = keep_log;
    p.log_level = SD_LOG_LEVEL_INFO;
    card_log[0] = '\0';
    return sd_context_new(&p, ctx);
}

static sd_status load(scene *s) {
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    const char *path = getenv("SD_TEST_TINY_FOLDER");
    ck_assert_msg(path != NULL, "SD_TEST_TINY_FOLDER is not set; run the tests with meson test");
    sd_model_free(s->model);
    return sd_model_load(s->ctx, path, &p, &s->model);
}

static sd_status encode_text(scene *s) {
    const char *texts[] = {"a lake", ""};
    sd_cond_free(s->cond);
    sd_cond_free(s->uncond);
    s->uncond = NULL;
    sd_status status = sd_encode_text(s->model, &texts[0], 1, NULL, &s->cond);
    return status ? status : sd_encode_text(s->model, &texts[1], 1, NULL, &s->uncond);
}

static sd_status new_sampler(scene *s) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.width = p.height = s->size ? s->size : 64;
    p.steps = 4;
    sd_sampler_free(s->sampler);
    return sd_sampler_new(s->model, &p, &s->sampler);
}

sd_status scene_stage(scene *s, int stage) {
    switch (stage) {
    case STAGE_LOAD:
        return load(s);
    case STAGE_TEXT:
        return encode_text(s);
    case STAGE_SAMPLER:
        return new_sampler(s);
    case STAGE_SAMPLE:
        sd_tensor_free(s->latent);
        return sd_sample(s->sampler, RUN(s->cond, s->uncond, NULL, NULL), &s->latent);
    case STAGE_DECODE:
        sd_tensor_free(s->pixels);
        return sd_vae_decode(s->model, s->latent, NULL, &s->pixels);
    default:
        sd_tensor_free(s->again);
        return sd_vae_encode(s->model, s->pixels, NULL, &s->again);
    }
}

void scene_all(scene *s) {
    for (int i = 0; i < N_STAGES; i++)
        must(scene_stage(s, i), stage_names[i]);
}

void scene_clear(scene *s) {
    sd_cond_free(s->cond);
    sd_cond_free(s->uncond);
    sd_tensor_free(s->latent);
    sd_tensor_free(s->pixels);
    sd_tensor_free(s->again);
    sd_sampler_free(s->sampler);
    sd_model_free(s->model);
    *s = (scene){.ctx = s->ctx, .size = s->size};
}

static void same(const char *what, sd_tensor *a, sd_tensor *b) {
    ck_assert_int_eq(sd_tensor_n_elements(a), sd_tensor_n_elements(b));
    ck_assert_msg(!memcmp(sd_tensor_data(a), sd_tensor_data(b),
                          (size_t)sd_tensor_n_elements(a) * sizeof(float)),
                  "the %s differ", what);
}

void scene_same(const scene *a, const scene *b) {
    sd_tensor *context[2];
    must(sd_cond_get(a->cond, "context", &context[0]), "context");
    must(sd_cond_get(b->cond, "context", &context[1]), "context");
    same("contexts", context[0], context[1]);
    sd_tensor_free(context[0]);
    sd_tensor_free(context[1]);
    same("latents", a->latent, b->latent);
    same("pixels", a->pixels, b->pixels);
    same("encoded latents", a->again, b->again);
}

void must(sd_status status, const char *what) {
    ck_assert_msg(status == SD_OK, "%s: %s: %s", what, sd_status_string(status), sd_last_error());
}

void expect_failure(const char *what, sd_status status, sd_status expected, const char *word) {
    printf("%s: %s: %s\n", what, sd_status_string(status), sd_last_error());
    ck_assert_msg(status == expected, "%s: %s was expected", what, sd_status_string(expected));
    ck_assert_msg(strstr(sd_last_error(), word) != NULL, "%s: '%s' is not in '%s'", what, word,
                  sd_last_error());
}

/* -------------------------------------------------------------------------------------- running */

int card_main(const char *name, const card_test *tests, int n_tests) {
    int cards = card_count(card_path), run = 0;
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 120);
    setvbuf(stdout, NULL, _IOLBF, 0); /* a test's process may end at any place */
    printf("%d CUDA cards, %s\n", cards, card_path[0] ? card_path : "no driver");
    for (int i = 0; i < n_tests; i++) {
        if (tests[i].cards > cards) {
            printf("skipped, since it needs %d: %s\n", tests[i].cards, tests[i].test->name);
            continue;
        }
        tcase_add_loop_test(tc, tests[i].test, 0, tests[i].end ? tests[i].end : 1);
        run++;
    }
    suite_add_tcase(suite, tc);
    int code = suite_run(suite, CK_FORK);
    return run ? code : 77;
}
