/*
 * The weighted prompt syntax against prompt_fixtures.h (tests/tools/make_prompt_golden.py), and the
 * rows that prompts become.
 */
#include "core/context_new.h"
#include "text/prompt.h"
#include "text/vocab.h"

#include "prompt_fixtures.h"

#include "../tools/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 77
#define PAD (-5)

static sd_context *ctx;
static sd_tokenizer *tokenizer;

static void setup(void) {
    const sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
    ck_assert_msg(sdi_tokenizer_load(ctx, SD_TEST_DATA "/tokenizer", &tokenizer) == SD_OK, "%s",
                  sdi_error_get());
}

static void teardown(void) {
    sdi_tokenizer_release(tokenizer);
    sdi_context_release(ctx);
}

START_TEST(parser) {
    const sd_prompt_part *want = parts;
    double largest = 0;
    for (size_t i = 0; i < SD_COUNT(cases); i++) {
        sd_prompt prompt;
        ck_assert_int_eq(sdi_prompt_parse(ctx, cases[i].text, &prompt), SD_OK);
        ck_assert_msg(prompt.n == cases[i].n_parts, "\"%s\": %zu parts; %zu were expected",
                      cases[i].text, prompt.n, cases[i].n_parts);
        for (size_t k = 0; k < prompt.n; k++, want++) {
            const sd_prompt_part *got = &prompt.parts[k];
            double error = fabs(got->weight - want->weight) / fmax(1, fabs(want->weight));
            ck_assert_msg(!strcmp(got->text, want->text), "\"%s\": part %zu is \"%s\", not \"%s\"",
                          cases[i].text, k, got->text, want->text);
            ck_assert_msg(got->is_break == want->is_break, "\"%s\": part %zu", cases[i].text, k);
            ck_assert_msg(error <= 1e-14, "\"%s\": part %zu weighs %.17g, not %.17g", cases[i].text,
                          k, got->weight, want->weight);
            largest = fmax(largest, error);
        }
        sdi_prompt_free(ctx, &prompt);
    }
    ck_assert_ptr_eq(want, parts + SD_COUNT(parts));
    printf("%zu prompts, %zu parts, largest error of a weight %.1e\n", SD_COUNT(cases),
           SD_COUNT(parts), largest);
}
END_TEST

static sd_chunks split(const char *text, bool weighted, int *n_used) {
    sd_chunks chunks;
    ck_assert_msg(
        sdi_prompt_chunks(tokenizer, NULL, text, weighted, TOKENS, PAD, &chunks, n_used) == SD_OK,
        "%s", sdi_error_get());
    ck_assert_int_eq(chunks.tokens, TOKENS);
    return chunks;
}

/* Tokens of text in a row, whose form is checked. */
static int count(const sd_chunks *chunks, int row) {
    const int32_t *ids = chunks->ids + row * TOKENS;
    int n = 0;
    ck_assert_int_eq(ids[0], tokenizer->start);
    while (n + 1 < TOKENS && ids[n + 1] != tokenizer->end)
        n++;
    ck_assert_int_lt(n + 1, TOKENS);
    for (int i = n + 2; i < TOKENS; i++)
        ck_assert_int_eq(ids[i], PAD);
    for (int i = n + 1; i < TOKENS; i++)
        ck_assert_float_eq(chunks->weights[row * TOKENS + i], 1.0f);
    ck_assert_float_eq(chunks->weights[row * TOKENS], 1.0f);
    return n;
}

START_TEST(plain_text_is_as_before) {
    static const char *const texts[] = {"", "a (cat:1.5) [in] a BREAK (hat) \\("};
    for (size_t i = 0; i < SD_COUNT(texts); i++) {
        int32_t ids[TOKENS];
        int n_ids, n_used;
        ck_assert_int_eq(sdi_tokenizer_encode(tokenizer, texts[i], PAD, ids, TOKENS, &n_ids),
                         SD_OK);
        sd_chunks chunks = split(texts[i], false, &n_used);
        ck_assert_int_eq(chunks.n, 1);
        ck_assert_int_eq(n_used, n_ids);
        ck_assert(!chunks.weighted);
        ck_assert_mem_eq(chunks.ids, ids, sizeof ids);
        for (int k = 0; k < TOKENS; k++)
            ck_assert_float_eq(chunks.weights[k], 1.0f);
        sdi_chunks_free(ctx, &chunks);
    }
}
END_TEST

/* Without syntax in it, a weighted prompt that fits is the plain one. */
START_TEST(no_syntax) {
    sd_chunks plain = split("one, two 3 four", false, NULL);
    sd_chunks weighted = split("one, two 3 four", true, NULL);
    ck_assert_int_eq(weighted.n, 1);
    ck_assert(!weighted.weighted);
    ck_assert_mem_eq(weighted.ids, plain.ids, TOKENS * sizeof *plain.ids);
    sdi_chunks_free(ctx, &plain);
    sdi_chunks_free(ctx, &weighted);
}
END_TEST

/* n times "1", each one token, with `comma` of them in place of one where it is in 0 .. n - 1. */
static char *digits(int n, int comma) {
    static char text[4096];
    char *p = text;
    for (int i = 0; i < n; i++) {
        *p++ = i == comma ? ',' : '1';
        *p++ = ' ';
    }
    *p = 0;
    return text;
}

START_TEST(rows) {
    static const struct {
        int n, comma, rows, first, second;
    } table[] = {
        {0, -1, 1, 0, 0},     {75, -1, 1, 75, 0}, {76, -1, 2, 75, 1}, {150, -1, 2, 75, 75},
        {151, -1, 3, 75, 75}, {76, 74, 2, 75, 1}, {76, 70, 2, 71, 5}, {76, 55, 2, 56, 20},
        {76, 54, 2, 75, 1},   {75, 60, 1, 75, 0}, {76, 75, 2, 75, 1}, {120, 74, 2, 75, 45},
    };
    for (size_t i = 0; i < SD_COUNT(table); i++) {
        int n_used;
        sd_chunks chunks = split(digits(table[i].n, table[i].comma), true, &n_used);
        ck_assert_int_eq(chunks.n, table[i].rows);
        ck_assert_int_eq(n_used, table[i].n + 2);
        ck_assert_int_eq(count(&chunks, 0), table[i].first);
        if (chunks.n > 1)
            ck_assert_int_eq(count(&chunks, 1), table[i].second);
        sdi_chunks_free(ctx, &chunks);
    }
}
END_TEST

START_TEST(breaks) {
    static const struct {
        const char *text;
        int rows, counts[3];
    } table[] = {
        {"1 BREAK 1 1", 2, {1, 2, 0}},     {"BREAK", 1, {0, 0, 0}},
        {"BREAK 1", 2, {0, 1, 0}},         {"1 BREAK", 1, {1, 0, 0}},
        {"1 BREAK BREAK 1", 3, {1, 0, 1}}, {"(1 BREAK 1)", 2, {1, 1, 0}},
    };
    for (size_t i = 0; i < SD_COUNT(table); i++) {
        sd_chunks chunks = split(table[i].text, true, NULL);
        ck_assert_int_eq(chunks.n, table[i].rows);
        for (int k = 0; k < chunks.n; k++)
            ck_assert_int_eq(count(&chunks, k), table[i].counts[k]);
        sdi_chunks_free(ctx, &chunks);
    }
}
END_TEST

/* Weights go with their tokens, also into the next row. */
START_TEST(weights) {
    char text[4200];
    snprintf(text, sizeof text, "%s (, 1 1:2) 1 1", digits(70, -1));
    sd_chunks chunks = split(text, true, NULL);
    static const float ends[] = {1, 1, 2}, begins[] = {1, 2, 2, 1, 1, 1};
    ck_assert_int_eq(chunks.n, 1); /* 70 + 3 + 2 */
    sdi_chunks_free(ctx, &chunks);
    snprintf(text, sizeof text, "%s (, 1 1:2) 1 1", digits(71, -1));
    chunks = split(text, true, NULL);
    ck_assert_int_eq(chunks.n, 2);
    ck_assert(chunks.weighted);
    ck_assert_int_eq(count(&chunks, 0), 72);
    ck_assert_mem_eq(chunks.weights + 70, ends, sizeof ends);
    ck_assert_mem_eq(chunks.weights + TOKENS, begins, sizeof begins);
    sdi_chunks_free(ctx, &chunks);
}
END_TEST

START_TEST(too_long) {
    size_t n = 2 * 75 * SD_PROMPT_MAX_CHUNKS;
    char *text = malloc(n + 3);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < n; i += 2)
        memcpy(text + i, "1 ", 3);
    sd_chunks chunks = split(text, true, NULL);
    ck_assert_int_eq(chunks.n, SD_PROMPT_MAX_CHUNKS);
    sdi_chunks_free(ctx, &chunks);
    memcpy(text + n, "1", 2);
    ck_assert_int_eq(sdi_prompt_chunks(tokenizer, NULL, text, true, TOKENS, PAD, &chunks, NULL),
                     SD_ERROR_ARGUMENT);
    ck_assert_ptr_null(chunks.ids);
    printf("%s\n", sdi_error_get());
    ck_assert_int_eq(sdi_prompt_chunks(tokenizer, NULL, "a", true, 2, PAD, &chunks, NULL),
                     SD_ERROR_UNSUPPORTED);
    free(text);
}
END_TEST

int main(void) {
    const TTest *tests[] = {parser,  plain_text_is_as_before, no_syntax, rows, breaks, weights,
                            too_long};
    Suite *suite = suite_create("prompt");
    TCase *tc = tcase_create("prompt");
    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t i = 0; i < SD_COUNT(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
