/* Out of device memory: a status with a sentence, nothing lost, and the same call works later. */
#include "card.h"

#include <sd/profile.h>

#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static void expect_no_memory(const char *what, sd_status status) {
    expect_failure(what, status, SD_ERROR_MEMORY, "out of");
    ck_assert_msg(strstr(sd_last_error(), "are free") != NULL, "the free bytes are missing");
}

/* A stage while only `keep` bytes are free, and then once more with all of them. */
static void stage_with(scene *s, hog *h, int stage, size_t keep) {
    char what[64];
    hog_take(h, keep);
    snprintf(what, sizeof what, "%zu MiB, %s", keep / MIB, stage_names[stage]);
    sd_status status = scene_stage(s, stage);
    if (status)
        expect_no_memory(what, status);
    hog_give(h);
    if (status)
        must(scene_stage(s, stage), what);
}

static const size_t kept[] = {0, 8 * MIB, 20 * MIB, 40 * MIB};
enum { N_KEPT = sizeof kept / sizeof kept[0] };

/* Pictures of a size that takes more memory than the driver's smallest piece. */
START_TEST(each_stage_in_too_little_memory) {
    const driver d = card_driver();
    hog h = {.driver = &d, .context = card_primary(&d, 0)};
    sd_context *ctx;
    must(card_open("cuda", &ctx), "cuda");
    scene s = {.ctx = ctx, .size = 512}, after = s;
    for (int i = 0; i < N_STAGES; i++)
        stage_with(&s, &h, i, kept[_i]);
    hog_end(&h);
    scene_all(&after);
    scene_same(&s, &after);
    scene_clear(&s);
    scene_clear(&after);
    sd_context_free(ctx);
}
END_TEST

/* Memory that failures leave behind would show as less memory from round to round. */
START_TEST(failures_lose_no_memory) {
    const driver d = card_driver();
    hog h = {.driver = &d, .context = card_primary(&d, 0)};
    size_t left[3];
    for (int round = 0; round < 3; round++) {
        sd_context *ctx;
        sd_device_memory_info memory = SD_DEVICE_MEMORY_INFO_INIT;
        must(card_open("cuda", &ctx), "cuda");
        scene s = {.ctx = ctx, .size = 512};
        for (int i = 0; i < N_STAGES; i++)
            stage_with(&s, &h, i, 8 * MIB);
        scene_clear(&s);
        must(sd_context_device_memory(ctx, &memory), "memory");
        printf("round %d: %llu bytes used after all was freed, at most %llu\n", round,
               (unsigned long long)memory.used, (unsigned long long)memory.peak);
        ck_assert_int_le((int64_t)memory.used, (int64_t)(16 * MIB)); /* weights' staging */
        sd_context_free(ctx);
        hog_end(&h);
        left[round] = card_free(&d, h.context);
        printf("round %d: %zu bytes free\n", round, left[round]);
    }
    ck_assert_int_ge((int64_t)left[2], (int64_t)left[1]);
}
END_TEST

/* Another process has the card's memory: there is none for a CUDA context. */
START_TEST(no_memory_to_open_the_card) {
    int ready[2], done[2];
    char byte = 0;
    ck_assert_int_eq(pipe(ready) | pipe(done), 0);
    pid_t other = fork();
    if (other == 0) {
        const driver d = card_driver();
        hog h = {.driver = &d, .context = card_primary(&d, 0)};
        hog_take(&h, 0);
        bool told = write(ready[1], &byte, 1) == 1;
        _exit(told && read(done[0], &byte, 1) == 1 ? 0 : 1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    sd_context *ctx;
    expect_failure("cuda", card_open("cuda", &ctx), SD_ERROR_BACKEND, "memory");
    must(card_open("auto", &ctx), "auto");
    ck_assert_ptr_nonnull(strstr(card_log, "computing on the CPU, since: "));
    sd_context_free(ctx);
    ck_assert_int_eq(write(done[1], &byte, 1), 1);
    waitpid(other, NULL, 0);
    must(card_open("cuda", &ctx), "cuda, once there is memory");
    scene s = {.ctx = ctx};
    scene_all(&s);
    scene_clear(&s);
    sd_context_free(ctx);
}
END_TEST

/* ---------------------------------------------------------------- every call of the driver fails
 */

/* A whole life of a context with the driver's call `at` failing: its calls that take memory, or
 * those that work. Returns false when there was no such call. A stage that failed is tried again,
 * with the driver well. */
static bool life(driver_shim *shim, const scene *right, int at) {
    sd_context *ctx = NULL;
    shim->count = 0;
    shim->failed[0] = '\0';
    shim->fail_at = at;
    sd_status status = card_open("cuda", &ctx), expected = SD_ERROR_BACKEND;
    scene s = {.ctx = ctx};
    if (!status)
        expected = SD_ERROR_MEMORY;
    for (int i = 0; i < N_STAGES && !status; i++) {
        status = scene_stage(&s, i);
        if (!status)
            continue;
        shim->fail_at = 0;
        ck_assert_msg(status == expected, "%s failed: %s: %s", shim->failed, stage_names[i],
                      sd_last_error());
        ck_assert_msg(strstr(sd_last_error(), "out of") != NULL, "%s", sd_last_error());
        printf("%5d %s: %s: %s\n", at, shim->failed, stage_names[i], sd_last_error());
        status = scene_stage(&s, i);
        must(status, "once more");
    }
    shim->fail_at = 0;
    if (!ctx) {
        printf("%5d %s: open: %s\n", at, shim->failed, sd_last_error());
        ck_assert_msg(status == expected, "%s", sd_last_error());
        return true;
    }
    scene_same(&s, right);
    scene_clear(&s);
    sd_context_free(ctx);
    return shim->failed[0] != '\0';
}

/* All calls that take memory, and some of those that work: at the beginning, and later as many as
 * are quickly done. */
START_TEST(each_call_of_the_driver_fails) {
    driver_shim *shim = card_shim(card_path);
    shim->error = CU_OUT_OF_MEMORY;
    shim->works = _i;
    sd_context *ctx;
    must(card_open("cuda", &ctx), "cuda");
    scene right = {.ctx = ctx};
    scene_all(&right);
    shim->count = 0;
    life(shim, &right, 0);
    int calls = shim->count, at = 1, step = 1;
    for (; at <= calls && life(shim, &right, at); at += step)
        step = at < 25 ? 1 : 1 + calls / 20;
    printf("%d calls that %s, failed up to %d\n", calls, _i ? "work" : "take memory", at - step);
    ck_assert_int_gt(calls, 10);
    scene_clear(&right);
    sd_context_free(ctx);
}
END_TEST

/* Kernels are loaded when the card is opened: one that the driver cannot load at its first use, for
 * want of memory, stays unusable (docs/cuda.md). */
int main(void) {
    setenv("CUDA_MODULE_LOADING", "EAGER", 1);
    const card_test tests[] = {
        {each_stage_in_too_little_memory, 1, N_KEPT},
        {failures_lose_no_memory, 1, 0},
        {no_memory_to_open_the_card, 1, 0},
        {each_call_of_the_driver_fails, 1, 2},
    };
    return card_main("cuda-memory", tests, sizeof tests / sizeof tests[0]);
}
