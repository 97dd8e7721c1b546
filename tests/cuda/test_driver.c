/* Drivers that cannot serve: a sentence says why, and "auto" goes on with the CPU. */
#include "card.h"

#include <dlfcn.h>

/* "cuda" is refused with `word`; "auto" says the same in its log, computes on the CPU, and the
 * model runs there. */
static void expect_no_cuda(const char *word) {
    sd_context *ctx;
    expect_failure("cuda", card_open("cuda", &ctx), SD_ERROR_BACKEND, word);
    ck_assert_ptr_null(ctx);
    expect_failure("cuda:1", card_open("cuda:1", &ctx), SD_ERROR_BACKEND, word);
    must(card_open("auto", &ctx), "auto");
    const char *said = strstr(card_log, "computing on the CPU, since: ");
    ck_assert_msg(said && strstr(said, word), "the log: %s", card_log);
    ck_assert_int_eq(strncmp(sd_context_device(ctx), "cpu", 3), 0);
    scene s = {.ctx = ctx};
    scene_all(&s);
    scene_clear(&s);
    sd_context_free(ctx);
}

START_TEST(without_a_driver) {
    if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL))
        printf("skipped: this machine has a driver\n");
    else
        expect_no_cuda("no NVIDIA driver was found");
}
END_TEST

static const struct {
    int version, init;
    const char *word;
} answers[] = {
    {12080, 999, "too old: it serves CUDA 12.8, and this module was built with CUDA "},
    {11040, 999, "too old: it serves CUDA 11.4, and this module was built with CUDA "},
    {99000, 100, "finds no CUDA device"},
    {99000, 2, "the NVIDIA driver fails: out of memory"},
    {99000, 34, "the NVIDIA driver fails: CUDA driver is a stub library"},
    {99000, 802, "the NVIDIA driver fails: system not yet initialized"},
    {99000, 803, "the NVIDIA driver fails: system has unsupported display driver"},
    {99000, 999, "the NVIDIA driver fails: unknown error"},
};
enum { N_ANSWERS = sizeof answers / sizeof answers[0] };

START_TEST(with_a_driver_that_cannot_serve) {
    driver_shim *shim = card_shim(NULL);
    shim->version = answers[_i].version;
    shim->init = answers[_i].init;
    expect_no_cuda(answers[_i].word);
}
END_TEST

int main(void) {
    const card_test tests[] = {
        {without_a_driver, 0, 0},
        {with_a_driver_that_cannot_serve, 0, N_ANSWERS},
    };
    return card_main("cuda-driver", tests, sizeof tests / sizeof tests[0]);
}
