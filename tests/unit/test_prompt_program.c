/*
 * Programs in prompts against program_fixtures.h (tests/tools/make_program_golden.py): which text
 * stands at which step, and what AND combines.
 */
#include "core/context_new.h"
#include "text/program.h"

#include "program_fixtures.h"

#include "../tools/suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static sd_context *ctx;

static void setup(void) {
    const sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
}

static void teardown(void) {
    sdi_context_release(ctx);
}

START_TEST(changes_are_the_web_uis) {
    size_t at = 0;
    for (size_t i = 0; i < SD_COUNT(schedules); i++) {
        sd_text_changes got;
        const char *text = schedules[i].text;
        ck_assert_int_eq(sdi_text_changes(ctx, text, schedules[i].steps, &got), SD_OK);
        ck_assert_msg(got.n == schedules[i].n, "\"%s\": %zu changes; %zu were expected", text,
                      got.n, schedules[i].n);
        for (size_t k = 0; k < got.n; k++, at++)
            ck_assert_msg(got.at[k].end == changes[at].end &&
                              !strcmp(got.at[k].text, changes[at].text),
                          "\"%s\": \"%s\" to step %d; \"%s\" to %d was expected", text,
                          got.at[k].text, got.at[k].end, changes[at].text, changes[at].end);
        sdi_text_changes_free(ctx, &got);
    }
    ck_assert_uint_eq(at, SD_COUNT(changes));
}
END_TEST

START_TEST(terms_are_the_web_uis) {
    size_t at = 0;
    for (size_t i = 0; i < SD_COUNT(combinations); i++) {
        const char *rest = combinations[i].text;
        for (size_t k = 0; k < combinations[i].n; k++, at++) {
            ck_assert_msg(rest != NULL, "\"%s\": %zu terms", combinations[i].text, k);
            sd_text_term got = sdi_text_next_term(&rest);
            ck_assert_msg(
                got.n == strlen(terms[at].text) && !memcmp(got.text, terms[at].text, got.n) &&
                    got.weight == terms[at].weight,
                "\"%s\": \"%.*s\" weighs %g; \"%s\" and %g were expected", combinations[i].text,
                (int)got.n, got.text, got.weight, terms[at].text, terms[at].weight);
        }
        ck_assert_msg(!rest, "\"%s\" has more than %zu terms", combinations[i].text,
                      combinations[i].n);
    }
}
END_TEST

static void read_rows(const char *const *texts, int n, int n_negative, int steps,
                      sd_text_rows *rows) {
    ck_assert_int_eq(sdi_text_rows(ctx, texts, n, n_negative, steps, rows), SD_OK);
}

/* What text `row` has at evaluation `i` of `steps`, of term 0. */
static const char *seen(const sd_text_rows *rows, int row, int i, int steps) {
    const sd_cond_program *p = rows->program;
    int entry = 0;
    while (p->until[entry] <= (double)i / steps)
        entry++;
    return rows->texts[p->picks[entry * p->terms * p->rows + row].row];
}

/* CFGDenoiser's step counts from 0, and an end is seen with its own number. */
START_TEST(evaluations_count_from_0) {
    const char *const texts[] = {"[a:b:5]", "[c|d]", "plain"};
    sd_text_rows rows;
    read_rows(texts, 3, 1, 10, &rows);
    for (int i = 0; i < 10; i++) {
        ck_assert_str_eq(seen(&rows, 0, i, 10), i <= 5 ? "a" : "b");
        ck_assert_str_eq(seen(&rows, 1, i, 10), i > 0 && i % 2 == 0 ? "d" : "c");
        ck_assert_str_eq(seen(&rows, 2, i, 10), "plain");
    }
    ck_assert_int_eq(rows.n, 5); /* each once */
    ck_assert_int_eq(rows.n_negative, 1);
    ck_assert(rows.program->until[rows.program->n - 1] == 1.0);
    sdi_text_rows_free(ctx, &rows);
}
END_TEST

START_TEST(negative_prompts_know_no_and) {
    const char *const texts[] = {"a AND b :0.5", "c AND d :2"};
    sd_text_rows rows;
    read_rows(texts, 2, 1, 10, &rows);
    ck_assert_int_eq(rows.n, 3);
    ck_assert_str_eq(rows.texts[2], "c AND d :2");
    ck_assert_int_eq(rows.program->terms, 2);
    const sd_cond_pick *picks = rows.program->picks; /* [1, 2 terms, 2 rows] */
    ck_assert(picks[0].row == 0 && picks[0].weight == 1.0 && picks[2].row == 1 &&
              picks[2].weight == 0.5);
    ck_assert(picks[1].row == 2 && picks[1].weight == 1.0 && picks[3].weight == 0.0);
    sdi_text_rows_free(ctx, &rows);
}
END_TEST

START_TEST(texts_without_programs_have_none) {
    const char *const texts[] = {"a [b] (c:1.2) \\[d|e\\]  ", "", "a:b"};
    sd_text_rows rows;
    read_rows(texts, 3, 1, 50, &rows);
    ck_assert(!rows.program && !rows.texts);
    sdi_text_rows_free(ctx, &rows);
}
END_TEST

START_TEST(too_many_terms_are_refused) {
    const char *const text = "a AND b AND c AND d AND e AND f AND g AND h";
    sd_text_rows rows;
    ck_assert_int_eq(sdi_text_rows(ctx, &text, 1, 0, 10, &rows), SD_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(sdi_error_get(), "more than 7 prompts"));
    sdi_text_rows_free(ctx, &rows);
}
END_TEST

typedef struct meter {
    long count, fail_at, live;
} meter;

static void *metered_alloc(void *user, size_t size, size_t alignment) {
    meter *m = user;
    void *p = NULL;
    if (++m->count == m->fail_at || posix_memalign(&p, alignment, size))
        return NULL;
    m->live++;
    return p;
}

static void metered_free(void *user, void *ptr, size_t size) {
    (void)size;
    ((meter *)user)->live--;
    free(ptr);
}

/* Conditioning of a row for each text, [n, 3, 2]. */
static sd_status stock_of(sd_context *own, int n, sd_cond **out) {
    const int64_t dims[] = {n, 3, 2};
    sd_tensor *parts[SD_COND_N_PARTS] = {NULL};
    sd_status status = sdi_tensor_new(own, 3, dims, &parts[SD_COND_CONTEXT]);
    *out = NULL;
    return status ? status : sdi_cond_take(parts, out);
}

/* Texts to a program, which is cut, put in a schedule and combined. */
static sd_status make_all(sd_context *own) {
    const char *const texts[] = {"[a|b] AND c :0.5", "[d:e:3]"};
    const double numbers[] = {0.5, 1.0};
    sd_text_rows rows;
    sd_cond *stock = NULL, *all = NULL, *made[3] = {NULL, NULL, NULL};
    sd_status status = sdi_text_rows(own, texts, 2, 1, 10, &rows);
    if (!status)
        status = stock_of(own, rows.n, &stock);
    if (!status) {
        status = sdi_cond_take_program(stock, rows.program, &all);
        rows.program = NULL;
    }
    if (!status)
        status = sdi_cond_cut(all, 1, 1, &made[0]);
    if (!status)
        status = sdi_cond_schedule((const sd_cond *[]){all, made[0]}, numbers, 2, &made[1]);
    if (!status)
        status = sdi_cond_combine((const sd_cond *[]){made[1], stock}, numbers, 1, &made[2]);
    sdi_text_rows_free(own, &rows);
    sdi_cond_free(stock);
    sdi_cond_free(all);
    for (int i = 0; i < 3; i++)
        sdi_cond_free(made[i]);
    return status;
}

START_TEST(every_allocation_may_fail) {
    meter m = {0, 0, 0};
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *own;
    params.allocate = metered_alloc;
    params.deallocate = metered_free;
    params.alloc_user = &m;
    ck_assert_int_eq(sdi_context_new(&params, &own), SD_OK);
    long live = m.live, failures = -1;
    sd_status status;
    do {
        m.count = 0;
        m.fail_at = ++failures + 1;
        status = make_all(own);
        ck_assert(!status || status == SD_ERROR_MEMORY);
        ck_assert_int_eq(m.live, live);
    } while (status);
    ck_assert_int_gt(failures, 50);
    sdi_context_release(own);
}
END_TEST

int main(void) {
    const TTest *tests[] = {changes_are_the_web_uis,          terms_are_the_web_uis,
                            evaluations_count_from_0,         negative_prompts_know_no_and,
                            texts_without_programs_have_none, too_many_terms_are_refused,
                            every_allocation_may_fail};
    Suite *suite = suite_create("prompt programs");
    TCase *tc = tcase_create("prompt programs");
    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t i = 0; i < SD_COUNT(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
