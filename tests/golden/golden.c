/* Opens the tiny model on each backend and compares with fixtures. */
#include "golden.h"

#include "../tools/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const golden_setup golden_setups[] = {
    {"reference, folder", "reference", 2, "SD_TINY_FOLDER"},
    {"cpu, folder", "cpu", 2, "SD_TINY_FOLDER"},
    {"cpu, file", "cpu", 1, "SD_TINY_FILE"},
    {"cpu:1, file", "cpu:1", 2, "SD_TINY_FILE"},
    {"cpu:2, folder", "cpu:2", 2, "SD_TINY_FOLDER"},
    {"cpu, file, config", "cpu", 2, "SD_TINY_FILE", .config = "tiny-v1.yaml"},
};
const int n_golden_setups = sizeof(golden_setups) / sizeof(golden_setups[0]);

/* The last is longer than 75 tokens. */
#define ZEBRA "zebra crossing "
#define ZEBRA4 ZEBRA ZEBRA ZEBRA ZEBRA
#define ZEBRA20 ZEBRA4 ZEBRA4 ZEBRA4 ZEBRA4 ZEBRA4
const char *const golden_prompts[N_PROMPTS] = {
    "",
    "a photograph of an astronaut riding a horse",
    "A castle by the lake at sunset, highly detailed oil painting; 2 moons!",
    ZEBRA20 ZEBRA20,
};

static const char *environment(const char *name) {
    const char *value = getenv(name);
    ck_assert_msg(value != NULL, "the environment variable %s is not set", name);
    return value;
}

static void print_log(void *user, sd_log_level level, const char *message) {
    (void)user;
    printf("[%d] %s\n", (int)level, message);
}

void golden_must(sd_status status, const char *what) {
    ck_assert_msg(status == SD_OK, "%s: %s: %s", what, sd_status_string(status), sd_last_error());
}

const char *golden_backend(const char *backend) {
    const char *other = getenv("SD_TEST_BACKEND");
    if (!other)
        return backend;
    return strcmp(backend, "cpu") ? NULL : other;
}

int golden_threads(int n) {
    const char *other = getenv("SD_TEST_THREADS");
    return other ? atoi(other) : n;
}

/* A sanitizer looks at the code, which the first two ways run through; the others are for numbers.
 */
static bool is_left_out(const golden_setup *setup) {
    const golden_setup *others = golden_setups + 2;
    return getenv("SD_TEST_BRIEF") && setup >= others && setup < golden_setups + n_golden_setups;
}

bool golden_open(const golden_setup *setup, golden *g) {
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    char vocab[4096], config[4096];

    cp.backend = is_left_out(setup) ? NULL : golden_backend(setup->backend);
    if (!cp.backend)
        return false;
    cp.n_threads = golden_threads(setup->n_threads);
    cp.log = print_log;
    sd_status status = sd_context_new(&cp, &g->ctx);
    if (status == SD_ERROR_BACKEND && strchr(setup->backend, ':')) {
        printf("%-28s not on this machine: %s\n", setup->name, sd_last_error());
        return false;
    }
    golden_must(status, "sd_context_new");
    snprintf(vocab, sizeof(vocab), "%s/tokenizer", environment("SD_TINY_FOLDER"));
    mp.vocab = vocab;
    mp.strict = 1;
    if (setup->config) {
        snprintf(config, sizeof(config), "%s/%s", environment("SD_GOLDEN_DATA"), setup->config);
        mp.config = config;
    }
    if (setup->taesd)
        mp.taesd = environment(setup->taesd);
    mp.use_ema = setup->use_ema;
    mp.precision = SD_PRECISION_FULL;
    must(sd_model_load(g->ctx, environment(setup->model), &mp, &g->model));
    return true;
}

void golden_close(golden *g) {
    sd_model_free(g->model);
    sd_context_free(g->ctx);
}

npy golden_array(const char *name) {
    char path[4096];
    npy a;
    snprintf(path, sizeof(path), "%s/%s.npy", environment("SD_GOLDEN_DATA"), name);
    ck_assert_msg(npy_load(path, &a), "no fixture %s", path);
    return a;
}

sd_tensor *golden_tensor(const golden *g, const char *name, int64_t first, int64_t n) {
    npy a = golden_array(name);
    sd_tensor *t;
    ck_assert_int_eq(a.type, NPY_F32);
    ck_assert_int_le(first + n, a.dims[0]);
    size_t row = a.n / (size_t)a.dims[0];
    a.dims[0] = n ? n : a.dims[0];
    must(sd_tensor_new(g->ctx, a.n_dims, a.dims, a.f32 + (size_t)first * row, &t));
    npy_free(&a);
    return t;
}

sd_cond *golden_cond(const golden *g, const char *name, int64_t first, int64_t n) {
    sd_tensor *context = golden_tensor(g, name, first, n);
    sd_cond *cond = cond_of(g->ctx, context);
    ck_assert_ptr_nonnull(cond);
    sd_tensor_free(context);
    return cond;
}

void golden_check(const char *setup, const char *fixture, sd_tensor *got, double limit) {
    npy want = golden_array(fixture);
    char what[128];
    snprintf(what, sizeof(what), "%-20s %s", setup, fixture);
    ck_assert_int_eq(sd_tensor_n_dims(got), want.n_dims);
    for (int i = 0; i < want.n_dims; i++)
        ck_assert_int_eq(sd_tensor_dims(got)[i], want.dims[i]);
    bool ok = check_error(what, sd_tensor_data(got), want.f32, want.n, limit);
    ck_assert_msg(ok, "%s: beyond the limit", what);
    npy_free(&want);
    sd_tensor_free(got);
}

sd_sampler_params golden_params(int batch) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.steps = GOLDEN_STEPS;
    p.guidance_scale = GOLDEN_SCALE;
    p.seed = GOLDEN_SEED;
    p.batch = batch;
    p.width = p.height = 128;
    return p;
}

int golden_main(const char *name, const golden_test *tests, int n_tests) {
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 600);
    for (int i = 0; i < n_tests; i++)
        tcase_add_loop_test(tc, tests[i].test, tests[i].first, tests[i].end);
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
