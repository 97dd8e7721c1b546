/* The executor: its caller's tensors, planning, sticky status, cancellation, views. */
#include "backend/run.h"
#include "core/threads.h"

#include "../tools/suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static sd_context *ctx;
static sd_exec *e;

static struct {
    long live;
    size_t largest; /* block asked for since it was last set to 0 */
    size_t limit;   /* blocks larger than this are refused; 0: none */
    int n_calls;    /* of the operation below */
} seen;

static void *counting_alloc(void *user, size_t size, size_t alignment) {
    void *ptr = NULL;
    (void)user;
    if (size > seen.largest)
        seen.largest = size;
    if ((seen.limit && size > seen.limit) || posix_memalign(&ptr, alignment, size) != 0)
        return NULL;
    seen.live++;
    return ptr;
}

static void counting_free(void *user, void *ptr, size_t size) {
    (void)user;
    (void)size;
    if (ptr)
        seen.live--;
    free(ptr);
}

static void setup(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    memset(&seen, 0, sizeof seen);
    params.backend = "reference";
    params.n_threads = 2;
    params.allocate = counting_alloc;
    params.deallocate = counting_free;
    ck_assert_int_eq(sd_context_new(&params, &ctx), SD_OK);
    ck_assert_int_eq(sdi_exec_new(ctx, SDB_F32, &e), SD_OK);
}

static void teardown(void) {
    sdi_exec_free(e);
    sdi_exec_free(NULL);
    sd_context_free(ctx);
    ck_assert_msg(seen.live == 0, "%ld blocks of memory were left", seen.live);
}

/* ------------------------------------------------------------------------------------- tensors */

START_TEST(test_planning_gives_shapes_without_memory) {
    sdi_exec_plan(e, NULL);
    sdb_tensor t = sdi_exec_tensor(e, 2, 3, 4, 5);
    ck_assert_ptr_null(t.data);
    ck_assert(t.n == 2 && t.h == 3 && t.w == 4 && t.c == 5 && t.ld == 5 && t.type == SDB_F32);
    ck_assert_ptr_null(e->arena);
    ck_assert_int_eq(e->status, SD_OK);
}
END_TEST

static size_t three_tensors(sdb_tensor out[3]) {
    out[0] = sdi_exec_tensor(e, 1, 1, 1, 100); /* 400 bytes: the next begins at 512 */
    out[1] = sdi_exec_tensor(e, 1, 1, 1, 10);
    out[2] = sdi_exec_tensor_typed(e, SDB_F16, 1, 8, 8, 2);
    return 768 + 256;
}

START_TEST(test_commit_allocates_what_was_planned) {
    sdb_tensor t[3];
    sdi_exec_plan(e, NULL);
    size_t peak = three_tensors(t);
    seen.largest = 0;
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    ck_assert_uint_eq(e->peak, peak);
    ck_assert_uint_ge(e->capacity, peak);
    ck_assert_uint_ge(seen.largest, peak);

    sdi_exec_begin(e);
    three_tensors(t);
    ck_assert_int_eq(e->status, SD_OK);
    for (int i = 0; i < 3; i++)
        ck_assert_uint_eq((uintptr_t)t[i].data % 256, 0);
    ck_assert_ptr_eq((char *)t[0].data + 512, t[1].data);
    ck_assert_ptr_eq((char *)t[0].data + 768, t[2].data);
    memset(t[0].data, 1, 400);
    memset(t[2].data, 2, 256);
    ck_assert_int_eq(((char *)t[0].data)[399], 1);
}
END_TEST

START_TEST(test_commit_keeps_an_arena_that_is_large_enough) {
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor(e, 1, 1, 1, 10000);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    const uint8_t *arena = e->arena;
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor(e, 1, 1, 1, 10);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    ck_assert_ptr_eq(e->arena, arena);
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor(e, 1, 1, 1, 20000);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    ck_assert_uint_ge(e->capacity, 80000);
}
END_TEST

START_TEST(test_more_than_planned_is_an_error) {
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor(e, 1, 1, 1, 10);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    sdi_exec_begin(e);
    sdb_tensor t = sdi_exec_tensor(e, 1, 1, 1, 11);
    ck_assert_ptr_null(t.data);
    ck_assert_int_eq(e->status, SD_ERROR_INTERNAL);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "44 bytes"));
}
END_TEST

START_TEST(test_no_memory_for_the_arena) {
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor(e, 1, 1, 1, 1 << 20);
    seen.limit = 1 << 20;
    ck_assert_int_eq(sdi_exec_commit(e), SD_ERROR_MEMORY);
    ck_assert_ptr_null(e->arena);
    seen.limit = 0;
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor(e, 1, 1, 1, 1 << 20);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
}
END_TEST

START_TEST(test_abandon_tells_bytes_and_allocates_nothing) {
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor(e, 1, 1, 1, 1 << 20);
    sdb_tensor q = sdi_exec_tensor(e, 1, 100, 1, 8), y = sdi_exec_tensor(e, 1, 100, 1, 8);
    sdi_op_attention(e, (sdb_attention){.q = q,
                                        .k = q,
                                        .v = q,
                                        .y = y,
                                        .heads = 1,
                                        .scale = 1.0f}); /* needs scratch on the reference */
    seen.largest = 0;
    size_t scratch = e->api->queue_scratch(e->queue);
    ck_assert_uint_gt(scratch, 0);
    ck_assert_uint_eq(sdi_exec_abandon(e), e->peak + scratch);
    ck_assert_uint_eq(seen.largest, 0);
    ck_assert_ptr_null(e->arena);
}
END_TEST

/* ----------------------------------------------------------------------------- a small network */

/* y = silu(x + x), to be planned and to be run. */
static sdb_tensor double_silu(const float *values, int n) {
    sdb_tensor y = sdi_exec_tensor(e, 1, 1, 1, n);
    sdb_tensor x = sdi_exec_tensor(e, 1, 1, 1, n), sum = sdi_exec_tensor(e, 1, 1, 1, n);
    sdb_tensor terms[2] = {x, x};
    sdi_exec_upload(e, x, values);
    sdi_op_sum(e, sum, 2, terms, sdi_no_tensor());
    sdi_op_activation(e, (sdb_activation){sum, y, SDB_ACT_SILU});
    return y;
}

START_TEST(test_operations_are_planned_then_run) {
    static const float values[3] = {0, 0.5f, -1};
    float out[3] = {-7, -7, -7};
    sdi_exec_plan(e, NULL);
    sdi_exec_download(e, out, double_silu(values, 3)); /* does nothing yet */
    ck_assert_float_eq(out[0], -7);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    sdi_exec_begin(e);
    sdi_exec_download(e, out, double_silu(values, 3));
    ck_assert_int_eq(e->status, SD_OK);
    ck_assert_float_eq_tol(out[0], 0, 1e-6f);
    ck_assert_float_eq_tol(out[1], 0.7310586f, 1e-6f);  /* silu(1) */
    ck_assert_float_eq_tol(out[2], -0.2384058f, 1e-6f); /* silu(-2) */
}
END_TEST

/* ------------------------------------------------------------------------------- sticky status */

static sd_status failing_activation(sdb_queue *q, const sdb_op *op) {
    (void)q;
    (void)op;
    seen.n_calls++;
    return SD_ERROR_BACKEND;
}

START_TEST(test_after_a_failure_nothing_runs) {
    static const float values[3] = {1, 2, 3};
    float out[3] = {-7, -7, -7};
    sdb_backend failing = sdb_reference_backend;
    failing.run[SDB_OP_activation] = failing_activation;
    sdi_exec_plan(e, NULL);
    double_silu(values, 3);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    const sdb_backend *api = e->api;
    e->api = &failing;
    sdi_exec_begin(e);
    sdb_tensor y = double_silu(values, 3);
    ck_assert_int_eq(e->status, SD_ERROR_BACKEND);
    sdi_op_activation(e, (sdb_activation){y, y, SDB_ACT_SILU});
    sdi_exec_download(e, out, y);
    sdi_exec_fail(e, SD_ERROR_MEMORY);
    ck_assert_int_eq(e->status, SD_ERROR_BACKEND);
    ck_assert_int_eq(seen.n_calls, 1);
    ck_assert_float_eq(out[0], -7);

    e->api = api; /* the next run is as good as the first */
    sdi_exec_use(e, NULL);
    sdi_exec_download(e, out, double_silu(values, 3));
    ck_assert_int_eq(e->status, SD_OK);
    ck_assert_float_ne(out[0], -7);
}
END_TEST

START_TEST(test_a_failure_while_planning_is_told_by_commit) {
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor(e, 1, 1, 1, 10);
    sdi_exec_fail(e, SD_ERROR_MODEL);
    ck_assert_int_eq(sdi_exec_commit(e), SD_ERROR_MODEL);
}
END_TEST

START_TEST(test_sums_have_one_to_eight_terms) {
    sdb_tensor terms[SDB_MAX_TERMS + 1];
    sdi_exec_plan(e, NULL);
    for (int i = 0; i <= SDB_MAX_TERMS; i++)
        terms[i] = sdi_exec_tensor(e, 1, 1, 1, 4);
    sdi_op_sum(e, terms[0], SDB_MAX_TERMS, terms, sdi_no_tensor());
    ck_assert_int_eq(e->status, SD_OK);
    sdi_op_sum(e, terms[0], SDB_MAX_TERMS + 1, terms, sdi_no_tensor());
    ck_assert_int_eq(e->status, SD_ERROR_INTERNAL);
}
END_TEST

START_TEST(test_upload_wants_a_packed_tensor) {
    static const float values[4] = {0};
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor(e, 1, 2, 1, 4);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    sdi_exec_begin(e);
    sdi_exec_upload(e, sdi_view_channels(sdi_exec_tensor(e, 1, 2, 1, 4), 0, 2), values);
    ck_assert_int_eq(e->status, SD_ERROR_INTERNAL);
}
END_TEST

/* --------------------------------------------------------------------------------- cancellation */

START_TEST(test_cancel_ends_the_run_and_the_next_one_works) {
    static const float values[3] = {1, 2, 3};
    float out[3] = {-7, -7, -7};
    sdi_exec_plan(e, NULL);
    double_silu(values, 3);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    sdi_exec_begin(e);
    sd_context_cancel(ctx);
    sdi_exec_download(e, out, double_silu(values, 3));
    ck_assert_int_eq(e->status, SD_ERROR_CANCELLED);
    ck_assert_float_eq(out[0], -7);
    ck_assert_str_ne(sd_last_error(), "");

    sd_context_cancel(ctx); /* before the run: not this one */
    sdi_exec_use(e, NULL);
    sdi_exec_download(e, out, double_silu(values, 3));
    ck_assert_int_eq(e->status, SD_OK);
    ck_assert_float_ne(out[0], -7);
}
END_TEST

static atomic_int n_tasks;

/* The first task cancels, of its context or its executor. */
static void cancelling_task(void *arg, int task, int worker) {
    (void)task, (void)worker;
    if (atomic_fetch_add(&n_tasks, 1) > 0)
        return;
    if (arg)
        atomic_store((atomic_bool *)arg, true);
    else
        sd_context_cancel(ctx);
}

static sd_status cancelling_activation(sdb_queue *q, const sdb_op *op) {
    (void)q, (void)op;
    sdi_parallel_for(ctx, 100000, cancelling_task, (void *)e->stop);
    return SD_OK;
}

/* The rest of an operation is dropped, and it does not count as done. */
static void cancel_within(const atomic_bool *stop, const char *sentence) {
    static const float values[3] = {1, 2, 3};
    float out[3] = {-7, -7, -7};
    sdb_backend cancelling = sdb_reference_backend;
    cancelling.run[SDB_OP_activation] = cancelling_activation;
    sdi_exec_plan(e, NULL);
    double_silu(values, 3);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    const sdb_backend *api = e->api;
    e->api = &cancelling;
    e->stop = stop;
    atomic_store(&n_tasks, 0);
    sdi_exec_begin(e);
    sdb_tensor y = double_silu(values, 3);
    ck_assert_int_eq(e->status, SD_ERROR_CANCELLED);
    ck_assert_str_eq(sd_last_error(), sentence);
    ck_assert_int_lt(atomic_load(&n_tasks), 1000);
    sdi_exec_download(e, out, y);
    ck_assert_float_eq(out[0], -7);

    e->stop = NULL;
    atomic_store(&n_tasks, 1); /* nobody watches any more: all tasks are run */
    sdi_parallel_for(ctx, 1000, cancelling_task, NULL);
    ck_assert_int_eq(atomic_load(&n_tasks), 1001);
    e->api = api;
}

START_TEST(test_cancel_ends_an_operation_within) {
    atomic_bool stop = false;
    cancel_within(NULL, "the run was cancelled");
    cancel_within(&stop, "the sampler was freed while it sampled");
}
END_TEST

/* --------------------------------------------------------------------------------------- views */

START_TEST(test_views) {
    float data[2 * 3 * 4 * 5];
    sdb_tensor t = {.data = data, .type = SDB_F32, .n = 2, .h = 3, .w = 4, .c = 5, .ld = 5};
    sdb_tensor c = sdi_view_channels(t, 2, 3);
    ck_assert_ptr_eq(c.data, data + 2);
    ck_assert(c.c == 3 && c.ld == 5 && c.n == 2 && c.h == 3 && c.w == 4);
    sdb_tensor b = sdi_view_batch(c, 1, 1);
    ck_assert_ptr_eq(b.data, data + 2 + 3 * 4 * 5);
    ck_assert(b.n == 1 && b.c == 3 && b.ld == 5);
    sdb_tensor s = sdi_view_shape(t, 2, 12, 1);
    ck_assert_ptr_eq(s.data, data);
    ck_assert(s.n == 2 && s.h == 12 && s.w == 1 && s.c == 5 && s.ld == 5);
    t.data = NULL; /* while planning */
    ck_assert_ptr_null(sdi_view_channels(t, 2, 3).data);
    ck_assert_ptr_null(sdi_view_batch(t, 1, 1).data);
    t.buffer = 1; /* while building: the byte in the buffer */
    ck_assert_uint_eq((uintptr_t)sdi_view_channels(t, 2, 3).data, 2 * sizeof *data);
    ck_assert_uint_eq((uintptr_t)sdi_view_batch(t, 1, 1).data, 3 * 4 * 5 * sizeof *data);
}
END_TEST

START_TEST(test_views_of_16_bits) {
    uint16_t data[2 * 8];
    sdb_tensor t = {.data = data, .type = SDB_F16, .n = 2, .h = 1, .w = 1, .c = 8, .ld = 8};
    ck_assert_ptr_eq(sdi_view_channels(t, 3, 2).data, data + 3);
    ck_assert_ptr_eq(sdi_view_batch(t, 1, 1).data, data + 8);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("exec");
    TCase *tc = tcase_create("exec");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, test_planning_gives_shapes_without_memory);
    tcase_add_test(tc, test_commit_allocates_what_was_planned);
    tcase_add_test(tc, test_commit_keeps_an_arena_that_is_large_enough);
    tcase_add_test(tc, test_more_than_planned_is_an_error);
    tcase_add_test(tc, test_no_memory_for_the_arena);
    tcase_add_test(tc, test_abandon_tells_bytes_and_allocates_nothing);
    tcase_add_test(tc, test_operations_are_planned_then_run);
    tcase_add_test(tc, test_after_a_failure_nothing_runs);
    tcase_add_test(tc, test_a_failure_while_planning_is_told_by_commit);
    tcase_add_test(tc, test_sums_have_one_to_eight_terms);
    tcase_add_test(tc, test_upload_wants_a_packed_tensor);
    tcase_add_test(tc, test_cancel_ends_the_run_and_the_next_one_works);
    tcase_add_test(tc, test_cancel_ends_an_operation_within);
    tcase_add_test(tc, test_views);
    tcase_add_test(tc, test_views_of_16_bits);
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
