/* Memory, errors, files and the thread pool. */
#include "core/call.h"
#include "core/context_new.h"
#include "core/files.h"
#include "core/input.h"
#include "core/os.h"
#include "core/tensor.h"
#include "core/threads.h"

#include "../tools/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sd_context *ctx;

static void setup(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.n_threads = 4;
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
}

static void teardown(void) {
    sdi_context_release(ctx);
}

START_TEST(memory_is_aligned_and_keeps_its_content) {
    uint8_t *p = NULL;
    for (size_t size = 1; size < 100000; size = size * 3 + 1) {
        size_t old = size / 3;
        p = sdi_realloc(ctx, p, size);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < old; i++)
            ck_assert_uint_eq(p[i], i % 251);
        for (size_t i = 0; i < size; i++)
            p[i] = (uint8_t)(i % 251);
    }
    sdi_free(ctx, p);
    sdi_free(ctx, NULL);
}
END_TEST

START_TEST(impossible_sizes_are_refused) {
    ck_assert_ptr_null(sdi_alloc(ctx, SIZE_MAX));
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "out of memory"));
    ck_assert_ptr_null(sdi_alloc_array(ctx, SIZE_MAX / 2, 3));
    ck_assert_ptr_null(sdi_alloc(ctx, SIZE_MAX - 8));
}
END_TEST

START_TEST(strings_are_formatted_and_copied) {
    char *a = sdi_format(ctx, "%s-%d", "x", 7), *b = sdi_strndup(ctx, "abcdef", 3);
    ck_assert_str_eq(a, "x-7");
    ck_assert_str_eq(b, "abc");
    sdi_free(ctx, a);
    sdi_free(ctx, b);
}
END_TEST

START_TEST(the_latest_failure_is_told) {
    sdi_fail(ctx, SD_ERROR_IO, "of a context");
    sdi_fail(NULL, SD_ERROR_FORMAT, "of none");
    ck_assert_str_eq(sd_last_error(), "of none");
    /* a sentence that is made from the last one */
    sdi_fail(ctx, SD_ERROR_IO, "while loading: %s", sd_last_error());
    ck_assert_str_eq(sd_last_error(), "while loading: of none");
}
END_TEST

/* ---------------------------------------------------------------------------------- calls */

static sd_call *enter(sd_call *call, const char *name, const void *handle) {
    sdi_call_enter(call, name, &handle, 1);
    return call;
}

/* A failure within a call is its own until it returns; the host has the sentence of its last. */
START_TEST(calls_keep_their_failures) {
    sd_call outer, inner;
    sdi_call_leave(enter(&outer, "before", ctx), SD_ERROR_STATE);
    enter(&outer, "outer", ctx);
    sdi_fail(ctx, SD_ERROR_IO, "an attempt");
    ck_assert_str_eq(sdi_error_get(), "an attempt");
    ck_assert_str_eq(sd_last_error(), "before: call does not fit the handle's state");
    enter(&inner, "inner", ctx); /* from a callback */
    ck_assert_str_eq(sdi_error_get(), "");
    sdi_fail(ctx, SD_ERROR_FORMAT, "the inner one");
    ck_assert_int_eq(sdi_call_leave(&inner, SD_ERROR_FORMAT), SD_ERROR_FORMAT);
    ck_assert_str_eq(sd_last_error(), "the inner one");
    ck_assert_str_eq(sdi_error_get(), "an attempt");
    ck_assert_int_eq(sdi_call_leave(&outer, SD_OK), SD_OK);
    ck_assert_str_eq(sd_last_error(), "");
    enter(&outer, "outer", ctx);
    sdi_fail(NULL, SD_ERROR_IO, "the outer one");
    sdi_call_leave(&outer, SD_ERROR_IO);
    ck_assert_str_eq(sd_last_error(), "the outer one");
    sdi_call_leave(enter(&outer, "silent", ctx), SD_ERROR_BACKEND);
    ck_assert_str_eq(sd_last_error(), "silent: backend failed");
    ck_assert_ptr_null(sdi_call_current());
}
END_TEST

/* A call is cancelled by what came since it began, also before its first run. */
START_TEST(cancelling_reaches_the_whole_call) {
    sd_call outer, inner;
    enter(&outer, "outer", ctx);
    sd_context_cancel(ctx);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_ERROR_CANCELLED);
    enter(&inner, "inner", ctx);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_OK);
    sdi_call_leave(&inner, SD_OK);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_ERROR_CANCELLED);
    sdi_call_leave(&outer, SD_OK);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_OK);
}
END_TEST

/* A token ends the calls that were given it, also those that begin after it was set; and a call has
 * retained it. */
START_TEST(a_stop_stays_set) {
    sd_stop *stop, *other;
    sd_call outer, inner;
    ck_assert_int_eq(sdi_stop_new(ctx, &stop), SD_OK);
    ck_assert_int_eq(sdi_stop_new(ctx, &other), SD_OK);
    atomic_store(&stop->set, true);
    enter(&outer, "outer", ctx);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_OK);
    sdi_call_heed(NULL);
    sdi_call_heed(other);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_OK);
    sdi_call_heed(stop);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_ERROR_CANCELLED);
    enter(&inner, "inner", ctx);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_OK);
    sdi_call_leave(&inner, SD_OK);
    sdi_handle_free(stop);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_ERROR_CANCELLED);
    sdi_call_leave(&outer, SD_ERROR_CANCELLED);
    ck_assert_int_eq(sdi_check_interrupt(ctx), SD_OK);
    sdi_handle_free(other);
}
END_TEST

START_TEST(calls_retain_their_handles) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    const int64_t dims[] = {2};
    sd_context *own;
    sd_tensor *t;
    sd_call call;
    ck_assert_int_eq(sdi_context_new(&params, &own), SD_OK);
    ck_assert_int_eq(sdi_tensor_new(own, 1, dims, &t), SD_OK);
    enter(&call, "call", t);
    sdi_call_use(NULL);
    sd_context_free(own);
    sd_tensor_free(t);
    sd_tensor_free(t); /* a second time does nothing while it is there */
    ck_assert_int_eq(atomic_load(&t->handle.refs), 1);
    ck_assert(t->data[1] == 0);
    sdi_call_leave(&call, SD_OK);
}
END_TEST

START_TEST(files_are_written_whole) {
    const char *dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char name[64];
    snprintf(name, sizeof name, "libsd-core-%p", (void *)ctx);
    char *path = sdi_path_join(ctx, dir, name);
    ck_assert_int_eq(sdi_write_file(ctx, path, "hello", 5), SD_OK);
    ck_assert_int_eq(sdi_write_file(ctx, path, "world!", 6), SD_OK);
    ck_assert(sdi_is_file(path) && !sdi_is_directory(path));
    uint8_t *bytes;
    size_t size;
    ck_assert_int_eq(sdi_read_file(ctx, path, 100, &bytes, &size), SD_OK);
    ck_assert_uint_eq(size, 6);
    ck_assert_str_eq((char *)bytes, "world!");
    sdi_free(ctx, bytes);
    ck_assert_int_eq(sdi_read_file(ctx, path, 5, &bytes, &size), SD_ERROR_FORMAT);
    remove(path);
    sd_input in;
    ck_assert_int_eq(sdi_input_open(ctx, path, &in), SD_ERROR_IO);
    ck_assert_int_eq(sdi_input_open(ctx, dir, &in), SD_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "directory"));
    char *parent = sdi_path_dirname(ctx, path);
    ck_assert_str_eq(parent, dir);
    sdi_free(ctx, parent);
    sdi_free(ctx, path);
}
END_TEST

static char *write_abc(char *path) {
    ck_assert_int_eq(sdi_write_file(ctx, path, "abcdefgh", 8), SD_OK);
    return path;
}

static void check_input_fails(const sd_input *in, const char *part) {
    char byte;
    ck_assert_int_eq(sdi_input_read(ctx, in, "the file", 7, &byte, 1), SD_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "the file: "));
    ck_assert_msg(strstr(sd_last_error(), part), "%s", sd_last_error());
}

START_TEST(inputs_read_ranges) {
    char path[256], bytes[8];
    size_t got;
    sd_input in;
    snprintf(path, sizeof path, "%s/libsd-input-%p", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             (void *)ctx);
    ck_assert_int_eq(sdi_input_open(ctx, write_abc(path), &in), SD_OK);
    ck_assert_uint_eq(in.size, 8);
    ck_assert_int_eq(sdi_input_read(ctx, &in, "x", 2, bytes, 3), SD_OK);
    ck_assert_mem_eq(bytes, "cde", 3);
    ck_assert_int_eq(sdi_input_read(ctx, &in, "x", 8, bytes, 0), SD_OK);
    ck_assert_int_eq(sdi_input_peek(ctx, &in, "x", bytes, 4, &got), SD_OK);
    ck_assert_uint_eq(got, 4);
    in.will_need(in.user, 0, 8);
    ck_assert_int_eq(sdi_input_read(ctx, &in, "x", 6, bytes, 3), SD_ERROR_FORMAT);
    ck_assert_int_eq(sdi_input_read(ctx, &in, "x", UINT64_MAX, bytes, 3), SD_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "only 8"));
    ck_assert_int_eq(sdi_input_check(ctx, &in, "x"), SD_OK);
    remove(path); /* the bytes stay with who has the file open */
    ck_assert_int_eq(sdi_input_read(ctx, &in, "x", 2, bytes, 3), SD_OK);
    ck_assert_int_eq(sdi_input_check(ctx, &in, "x"), SD_OK);
    sdi_input_close(ctx, &in);
    sdi_input_close(ctx, &in);
}
END_TEST

START_TEST(inputs_notice_changes) {
    char path[256], bytes[8];
    sd_input in;
    snprintf(path, sizeof path, "%s/libsd-change-%p", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             (void *)ctx);
    ck_assert_int_eq(sdi_input_open(ctx, write_abc(path), &in), SD_OK);
    ck_assert_int_eq(truncate(path, 3), 0);
    ck_assert_int_eq(sdi_input_read(ctx, &in, "x", 0, bytes, 3), SD_OK); /* these are there yet */
    ck_assert_int_eq(sdi_input_check(ctx, &in, "x"), SD_ERROR_IO);
    check_input_fails(&in, "shortened while it was read: it has 3 bytes, and had 8");
    ck_assert_int_eq(truncate(path, 8), 0); /* long enough again: zeros */
    ck_assert_int_eq(sdi_input_check(ctx, &in, "x"), SD_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "written to"));
    sdi_input_close(ctx, &in);
    ck_assert_int_eq(sdi_input_open(ctx, path, &in), SD_OK);
    ck_assert_int_eq(truncate(path, 9), 0);
    ck_assert_int_eq(sdi_input_check(ctx, &in, "x"), SD_ERROR_IO);
    sdi_input_close(ctx, &in);
    remove(path);
}
END_TEST

/* ----------------------------------------------------------------------------------- pool */

#define TASKS 1000

typedef struct region {
    atomic_int runs[TASKS];
    atomic_int of_worker[4]; /* tasks that a worker has in hand: 0 or 1 */
    atomic_int bad;
} region;

static void visit(void *arg, int task, int worker) {
    region *r = arg;
    if (worker < 0 || worker >= 4 || atomic_fetch_add(&r->of_worker[worker], 1) != 0)
        atomic_fetch_add(&r->bad, 1);
    atomic_fetch_add(&r->runs[task], 1);
    atomic_fetch_sub(&r->of_worker[worker & 3], 1);
}

static void run_regions(int n) {
    static const int sizes[] = {1, 2, 3, 7, TASKS};
    region *r = calloc(1, sizeof *r);
    for (int i = 0; i < n; i++) {
        int tasks = sizes[i % (int)SD_COUNT(sizes)];
        memset(r, 0, sizeof *r);
        sdi_parallel_for(ctx, tasks, visit, r);
        for (int t = 0; t < TASKS; t++)
            ck_assert_int_eq(atomic_load(&r->runs[t]), t < tasks);
        ck_assert_int_eq(atomic_load(&r->bad), 0);
    }
    free(r);
}

START_TEST(every_task_runs_once) {
    sdi_parallel_for(ctx, 0, visit, NULL);
    ck_assert_int_eq(sdi_threads_count(ctx->threads), 4);
    run_regions(500);
}
END_TEST

static void other_caller(void *arg) {
    (void)arg;
    run_regions(200);
}

START_TEST(callers_take_turns) {
    sd_thread *other;
    ck_assert_int_eq(sdi_thread_start(ctx, other_caller, NULL, &other), SD_OK);
    run_regions(200);
    sdi_thread_join(ctx, other);
}
END_TEST

START_TEST(pools_start_and_end_at_once) {
    for (int i = 0; i < 100; i++) {
        sd_context_params params = SD_CONTEXT_PARAMS_INIT;
        params.n_threads = 1 + i % 5;
        sd_context *short_lived;
        ck_assert_int_eq(sdi_context_new(&params, &short_lived), SD_OK);
        sdi_context_release(short_lived);
    }
}
END_TEST

START_TEST(cancellation_is_seen_by_runs_that_began_before) {
    sd_interrupt run = sdi_interrupt_now(ctx);
    ck_assert(!sdi_interrupted(&run));
    sd_context_cancel(ctx);
    ck_assert(sdi_interrupted(&run));
    run = sdi_interrupt_now(ctx);
    ck_assert(!sdi_interrupted(&run));
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("core");
    tcase_set_timeout(tests, 0);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, memory_is_aligned_and_keeps_its_content);
    tcase_add_test(tests, impossible_sizes_are_refused);
    tcase_add_test(tests, strings_are_formatted_and_copied);
    tcase_add_test(tests, the_latest_failure_is_told);
    tcase_add_test(tests, files_are_written_whole);
    tcase_add_test(tests, inputs_read_ranges);
    tcase_add_test(tests, inputs_notice_changes);
    tcase_add_test(tests, calls_keep_their_failures);
    tcase_add_test(tests, cancelling_reaches_the_whole_call);
    tcase_add_test(tests, a_stop_stays_set);
    tcase_add_test(tests, calls_retain_their_handles);
    tcase_add_test(tests, every_task_runs_once);
    tcase_add_test(tests, callers_take_turns);
    tcase_add_test(tests, pools_start_and_end_at_once);
    tcase_add_test(tests, cancellation_is_seen_by_runs_that_began_before);
    Suite *suite = suite_create("core");
    suite_add_tcase(suite, tests);
    return suite_run(suite, CK_NOFORK);
}
