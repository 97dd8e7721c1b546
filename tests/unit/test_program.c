/*
 * Programs: their passes one by one on small ones, and the networks' own, placed in many ways,
 * which must give the same bits wherever their buffers lie.
 */
#include "backend/cache.h"
#include "backend/exec.h"

#include "../tools/suite.h"

#include <stdlib.h>
#include <string.h>

static sd_context *ctx;
static sd_exec *e;
static sd_program *p;

static void set_up(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    params.n_threads = 2;
    ck_assert_int_eq(sd_context_new(&params, &ctx), SD_OK);
    ck_assert_int_eq(sd_exec_new(ctx, SDB_F32, &e), SD_OK);
    ck_assert_int_eq(sd_program_new(ctx, &p), SD_OK);
    sd_exec_build(e, p);
}

static void tear_down(void) {
    sd_program_release(p);
    sd_exec_free(e);
    sd_context_free(ctx);
}

/* ------------------------------------------------------------------------------- small programs */

static sdb_tensor new_tensor(int c) {
    return sd_exec_tensor(e, 1, 2, 2, c);
}

static sdb_tensor held(int c) {
    sdb_tensor t = new_tensor(c);
    sd_program_hold(p, t);
    return t;
}

static sdb_tensor silu(sdb_tensor x) {
    sdb_tensor y = new_tensor(x.c);
    sd_op_activation(e, (sdb_activation){x, y, SDB_ACT_SILU});
    return y;
}

static sdb_tensor sum(sdb_tensor a, sdb_tensor b) {
    sdb_tensor y = new_tensor(a.c), terms[] = {a, b};
    sd_op_sum(e, y, 2, terms, sd_no_tensor());
    return y;
}

static void plan(void) {
    ck_assert_int_eq(e->status, SD_OK);
    sd_program_end_segment(p);
    ck_assert_int_eq(sd_program_plan(p, (sd_stats_maker){e->api, e->dev}), SD_OK);
}

static void check_refused(const char *sentence) {
    sd_program_end_segment(p);
    ck_assert_int_eq(sd_program_check(p), SD_ERROR_INTERNAL);
    ck_assert_msg(strstr(sd_last_error(ctx), sentence) != NULL, "%s", sd_last_error(ctx));
}

START_TEST(what_is_read_must_be_written) {
    sdb_tensor x = new_tensor(4);
    sd_op_copy(e, sd_view_channels(x, 0, 3), held(3));
    silu(sd_view_channels(x, 0, 3));
    ck_assert_int_eq(sd_program_check(p), SD_OK);
    silu(x);
    check_refused("reads what was not written");
}
END_TEST

START_TEST(ranges_are_written_once) {
    sdb_tensor x = new_tensor(4), from = held(3);
    sd_op_copy(e, sd_view_channels(x, 0, 3), from);
    sd_op_copy(e, sd_view_channels(x, 3, 1), sd_view_channels(from, 0, 1));
    ck_assert_int_eq(sd_program_check(p), SD_OK);
    sd_op_copy(e, sd_view_channels(x, 2, 2), sd_view_channels(from, 0, 2));
    check_refused("writes what was written before");
}
END_TEST

START_TEST(segments_share_what_is_held) {
    sdb_tensor first = held(4), second = silu(first), kept = held(4);
    sd_op_copy(e, kept, first);
    sd_program_end_segment(p);
    silu(kept);
    ck_assert_int_eq(sd_program_check(p), SD_OK);
    silu(second);
    check_refused("nobody holds");
}
END_TEST

START_TEST(results_take_what_is_read_for_the_last_time) {
    sdb_tensor in = held(4), x = silu(in), y = silu(x);
    silu(sum(y, x)); /* into x's memory; y itself cannot take it, x is read later */
    plan();
    const sdb_activation *second = &p->ops[1].activation, *last = &p->ops[3].activation;
    const sdb_combine *both = &p->ops[2].combine;
    ck_assert_ptr_ne(p->ops[0].activation.y.data, p->io[0].data); /* which is held */
    ck_assert_ptr_ne(second->y.data, second->x.data);
    ck_assert(both->y.data == both->x[0].data || both->y.data == both->x[1].data);
    ck_assert_ptr_eq(last->y.data, last->x.data);
}
END_TEST

/* In place of an operand that is read twice, the second reading would see the result. */
START_TEST(operands_that_are_read_twice_give_no_memory) {
    sdb_tensor x = silu(held(4));
    sum(x, x);
    plan();
    ck_assert_ptr_ne(p->ops[1].combine.y.data, p->ops[1].combine.x[0].data);
}
END_TEST

START_TEST(halves_are_computed_in_their_place) {
    sdb_tensor in = held(4), a = silu(in), b = silu(a);
    silu(sd_concat(e, a, b));
    plan();
    ck_assert_int_eq(p->n_ops, 3);
    const sdb_activation *op = &p->ops[2].activation;
    ck_assert_ptr_eq(p->ops[0].activation.y.data, op->x.data);
    ck_assert_ptr_eq(p->ops[1].activation.y.data, (char *)op->x.data + 4 * sizeof(float));
    ck_assert_int_eq(p->ops[1].activation.y.ld, 8);
    ck_assert_int_eq(p->ops[1].activation.x.ld, 8);
}
END_TEST

/* A half that is held, or is in another concatenation already, is copied; nested ones are not. */
START_TEST(other_halves_are_copied) {
    sdb_tensor in = held(2), a = silu(in), inner = sd_concat(e, a, in);
    silu(sd_concat(e, inner, a));
    plan();
    ck_assert_int_eq(p->n_ops, 4);
    const sdb_tensor x = p->ops[3].activation.x;
    ck_assert_ptr_eq(p->ops[0].activation.y.data, x.data);
    ck_assert_int_eq(p->ops[1].kind, SDB_OP_combine);
    ck_assert_ptr_eq(p->ops[1].combine.x[0].data, p->io[0].data);
    ck_assert_ptr_eq(p->ops[1].combine.y.data, (char *)x.data + 2 * sizeof(float));
    ck_assert_ptr_eq(p->ops[2].combine.x[0].data, x.data);
    ck_assert_ptr_eq(p->ops[2].combine.y.data, (char *)x.data + 4 * sizeof(float));
    ck_assert_int_eq(p->ends[0], 4);
}
END_TEST

static sd_program *new_program(void) {
    sd_program *program;
    ck_assert_int_eq(sd_program_new(ctx, &program), SD_OK);
    return program;
}

START_TEST(the_cache_keeps_the_first_and_the_last_used) {
    sd_programs all;
    sd_program_key key = {.builder = &all};
    ck_assert_int_eq(sd_programs_init(&all, ctx), SD_OK);
    ck_assert_ptr_null(sd_programs_find(&all, &key));
    sd_program *first = sd_programs_add(&all, &key, new_program());
    sd_program *second = sd_programs_add(&all, &key, new_program()); /* of another thread */
    ck_assert_ptr_eq(first, second);
    sd_program_release(second);
    for (int i = 1; i <= SD_MAX_CACHED; i++) {
        sd_program *found = sd_programs_find(&all, &(sd_program_key){.builder = &all});
        ck_assert_ptr_eq(found, first);
        sd_program_release(found);
        key.n = i;
        sd_program_release(sd_programs_add(&all, &key, new_program()));
    }
    ck_assert_ptr_null(sd_programs_find(&all, &(sd_program_key){.builder = &all, .n = 1}));
    sd_program_release(first);
    sd_programs_free(&all);
}
END_TEST

int main(void) {
    TCase *small = tcase_create("small");
    tcase_add_checked_fixture(small, set_up, tear_down);
    tcase_add_test(small, what_is_read_must_be_written);
    tcase_add_test(small, ranges_are_written_once);
    tcase_add_test(small, segments_share_what_is_held);
    tcase_add_test(small, results_take_what_is_read_for_the_last_time);
    tcase_add_test(small, operands_that_are_read_twice_give_no_memory);
    tcase_add_test(small, halves_are_computed_in_their_place);
    tcase_add_test(small, other_halves_are_copied);
    tcase_add_test(small, the_cache_keeps_the_first_and_the_last_used);
    Suite *suite = suite_create("program");
    suite_add_tcase(suite, small);
    return suite_run(suite, CK_FORK_GETENV);
}
