/* Backends that are opened at run time: what is missing is said, and "auto" goes on without. */
#include "api.h"

static char log_text[4096];

static void keep_log(void *user, sd_log_level level, const char *message) {
    size_t n = strlen(log_text);
    (void)user, (void)level;
    snprintf(log_text + n, sizeof log_text - n, "%s\n", message);
}

static sd_context_params with_log(const char *backend, const char *dir) {
    sd_context_params p = SD_CONTEXT_PARAMS_INIT;
    p.backend = backend;
    p.module_dir = dir;
    p.n_threads = 1;
    p.log = keep_log;
    p.log_level = SD_LOG_LEVEL_INFO;
    log_text[0] = '\0';
    return p;
}

START_TEST(a_module_that_is_not_there_is_named) {
    sd_context_params p = with_log("cuda", "/nonexistent");
    sd_context *ctx;
    ck_status(sd_context_new(&p, &ctx), SD_ERROR_BACKEND, "/nonexistent/libsd-cuda.so");
    ck_assert_ptr_null(ctx);
}
END_TEST

START_TEST(a_module_of_another_version_is_refused) {
    sd_context_params p = with_log("old", getenv("SD_TEST_MODULES"));
    sd_context *ctx;
    ck_status(sd_context_new(&p, &ctx), SD_ERROR_BACKEND, "expected, found 0");
}
END_TEST

/* The tiny model gets one step further: the context is as good as one of "cpu". */
START_TEST(auto_goes_on_without_a_module) {
    sd_context_params p = with_log("auto", "/nonexistent");
    sd_context *ctx;
    ck_ok(sd_context_new(&p, &ctx));
    ck_assert_ptr_nonnull(strstr(sd_context_device(ctx), "cpu"));
    ck_assert_ptr_nonnull(strstr(log_text, "computing on the CPU, since: /nonexistent/libsd-cuda"));
    sd_model *model = open_model(ctx);
    sd_model_free(model);
    sd_context_free(ctx);
}
END_TEST

/* The CUDA module itself, on machines with a card and without. */
START_TEST(cuda_opens_or_says_why_not) {
    const char *dir = getenv("SD_TEST_CUDA_MODULE");
    if (!dir) {
        printf("cuda: not built\n");
        return;
    }
    sd_context_params p = with_log("cuda", dir);
    sd_context *ctx;
    sd_status status = sd_context_new(&p, &ctx);
    printf("cuda: %s\n", status ? sd_last_error() : sd_context_device(ctx));
    if (status) {
        const char *why = sd_last_error();
        ck_assert_int_eq(status, SD_ERROR_BACKEND);
        ck_assert_msg(strstr(why, "NVIDIA driver") || strstr(why, "cuda:0"), "%s", why);
        ck_assert_ptr_null(strstr(why, "libsd-cuda.so")); /* the module was opened */
    } else {
        ck_assert_int_eq(strncmp(sd_context_device(ctx), "cuda:0", 6), 0);
        sd_context_free(ctx);
    }
    p = with_log("cuda:1000", dir);
    ck_status(sd_context_new(&p, &ctx), SD_ERROR_BACKEND, status ? "" : "cuda:1000");
    p = with_log("auto", dir);
    ck_ok(sd_context_new(&p, &ctx));
    ck_assert_int_eq(strncmp(sd_context_device(ctx), status ? "cpu" : "cuda:0", 3), 0);
    ck_assert(!status || strstr(log_text, "computing on the CPU, since: "));
    sd_context_free(ctx);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("modules");
    tcase_add_test(tc, a_module_that_is_not_there_is_named);
    tcase_add_test(tc, a_module_of_another_version_is_refused);
    tcase_add_test(tc, auto_goes_on_without_a_module);
    tcase_add_test(tc, cuda_opens_or_says_why_not);
    Suite *suite = suite_create("modules");
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
