/*
 * Cleaning of prompts against ftfy's fix_text and Python's html.unescape: data/clean/ is written by
 * tests/tools/make_clean_fixtures.py. SD_TEST_SHARED, where set, is a folder with
 * clip/bpe_simple_vocab_16e6.txt.gz.
 */
#include "core/context_new.h"
#include "core/os.h"
#include "text/clean.h"

#include "../tools/suite.h"
#include "token_ids.h"

#define DATA SD_TEST_DATA "/clean/"

static sd_context *ctx;

static void setup(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.n_threads = 1;
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
}

static void teardown(void) {
    sdi_context_release(ctx);
}

static char *clean(const char *text) {
    char *out;
    ck_assert_msg(sdi_text_clean(ctx, text, &out) == SD_OK, "%s", sdi_error_get());
    return out;
}

START_TEST(as_ftfy) {
    static char line[1 << 16];
    FILE *f = fopen(DATA "texts.txt", "rb");
    int n = 0, n_same = 0;
    ck_assert(f != NULL);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *want = strchr(line, '\t'), shown[81];
        *want++ = '\0';
        snprintf(shown, sizeof shown, "%.80s", line);
        unescape(line);
        unescape(want);
        char *got = clean(line);
        bool same = strcmp(got, want) == 0;
        if (!same)
            printf("\"%s\" is \"%s\", expected \"%s\"\n", shown, got, want);
        n_same += same;
        n++;
        sdi_free(ctx, got);
    }
    fclose(f);
    printf("%d of %d texts are what ftfy makes of them\n", n_same, n);
    ck_assert_int_ge(n, 2000);
    ck_assert_int_eq(n_same, n);
}
END_TEST

/* The ids of both tokenizers of the original's environment. */
START_TEST(ids_of_the_original) {
    const char *shared = getenv("SD_TEST_SHARED");
    if (!shared) {
        printf("skipped: SD_TEST_SHARED is not set (clip/bpe_simple_vocab_16e6.txt.gz)\n");
        return;
    }
    static char path[1024], line[1 << 16];
    sd_tokenizer *t;
    snprintf(path, sizeof path, "%s/clip/bpe_simple_vocab_16e6.txt.gz", shared);
    ck_assert_int_eq(sdi_tokenizer_load(ctx, path, &t), SD_OK);
    FILE *f = fopen(DATA "ids.txt", "rb");
    int n = 0, n_same = 0;
    ck_assert(f != NULL);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *text = strrchr(line, '\t') + 1;
        unescape(text);
        char *cleaned = clean(text);
        n_same += same_text_ids(t, line, cleaned, 0);
        n++;
        sdi_free(ctx, cleaned);
    }
    fclose(f);
    printf("%d of %d texts have the ids of the original\n", n_same, n);
    ck_assert_int_ge(n, 700);
    ck_assert_int_eq(n_same, n);
    sdi_tokenizer_release(t);
}
END_TEST

/* Surrogates and zero bytes of other encodings of UTF-8, and what ends at nothing. */
START_TEST(edges) {
    static const char *const rows[][2] = {
        {"", ""},
        {" \t\r\n ", ""},
        {"\xed\xa0\xbd\xed\xb8\x8d", "\xf0\x9f\x98\x8d"},
        {"\xed\xb8\x8d\xed\xa0\xbd", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"a\xff"
         "b",
         "a\xef\xbf\xbd"
         "b"},
        {"&", "&"},
        {"&#", "&#"},
        {"&#x", "&#x"},
        {"&;", "&;"},
        {"&#x110000;", "\xef\xbf\xbd"},
        {"&#99999999999999999999999;", "\xef\xbf\xbd"},
        {"\x1b[", "["},
        {"\xce\xa3", "\xce\xa3"},
        {"\xce\x91\xce\xa3", "\xce\x91\xcf\x82"},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        char *out = clean(rows[i][0]);
        ck_assert_str_eq(out, rows[i][1]);
        sdi_free(ctx, out);
    }
}
END_TEST

/* Ever more entities are refused with a sentence before they take ever more time. */
START_TEST(endless_entities) {
    char *out = (char *)&out, *text = malloc((4u << 20) + 16);
    size_t n = 0;
    text[n++] = '&';
    while (n < 4u << 20) {
        memcpy(text + n, "amp;", 4);
        n += 4;
    }
    text[n] = '\0';
    ck_assert_int_eq(sdi_text_clean(ctx, text, &out), SD_ERROR_ARGUMENT);
    ck_assert_ptr_null(out);
    ck_assert(strstr(sdi_error_get(), "entities within entities"));
    text[1000 * 4 + 1] = '\0';
    out = clean(text);
    ck_assert_str_eq(out, "&");
    sdi_free(ctx, out);
    free(text);
}
END_TEST

/* Long texts of the worst kinds take linear time. */
START_TEST(long_texts) {
    static const char *const units[] = {"a ",        "\xc3\x83 ", "\xc3\x83\xc2\xa9",  "&",
                                        "&#",        "\x1b[1",    "e\xcc\x95\xcc\xb4", "\xce\xa3",
                                        "\xce\xa3'", "\xc2\x85"};
    size_t size = 1u << 18;
    char *text = malloc(size + 16);
    for (size_t k = 0; k < SD_COUNT(units); k++) {
        size_t n = 0;
        while (n < size)
            n += (size_t)sprintf(text + n, "%s", units[k]);
        sdi_free(ctx, clean(text));
    }
    free(text);
}
END_TEST

typedef struct counter {
    long live, until_failure; /* the allocation that fails */
} counter;

static void *counting_alloc(void *user, size_t size, size_t alignment) {
    counter *c = user;
    void *p = NULL;
    if (--c->until_failure == 0 || posix_memalign(&p, alignment, size) != 0)
        return NULL;
    c->live++;
    return p;
}

static void counting_free(void *user, void *ptr, size_t size) {
    (void)size;
    ((counter *)user)->live--;
    free(ptr);
}

START_TEST(no_memory) {
    static const char text[] =
        "&lt;\xef\xac\x81 voil\xc3\x83 la caf\xc3\x83\xc2\xa9 \xc3\xa2\xe2\x82"
        "\xac\xc5\x93 x \xc3\xa2\xe2\x82\xac\xef\xbf\xbd e\xcc\x81\n\xe7\x8c"
        "\xab \xc3\x83\xc2\xa9 \xe2\x80\x9c";
    counter count = {0};
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.n_threads = 1;
    params.allocate = counting_alloc;
    params.deallocate = counting_free;
    params.alloc_user = &count;
    sd_context *c;
    ck_assert_int_eq(sdi_context_new(&params, &c), SD_OK);
    long before = count.live, n = 0;
    for (sd_status status = SD_ERROR_MEMORY; status;) {
        char *out;
        count.until_failure = ++n;
        status = sdi_text_clean(c, text, &out);
        ck_assert(status == SD_OK || (status == SD_ERROR_MEMORY && !out));
        sdi_free(c, out);
        ck_assert_int_eq(count.live, before);
        ck_assert_int_lt(n, 1000);
    }
    printf("%ld allocations failed one by one\n", n - 1);
    ck_assert_int_gt(n, 10);
    sdi_context_release(c);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("clean");
    TCase *cases = tcase_create("all");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, as_ftfy);
    tcase_add_test(cases, ids_of_the_original);
    tcase_add_test(cases, edges);
    tcase_add_test(cases, endless_entities);
    tcase_add_test(cases, long_texts);
    tcase_add_test(cases, no_memory);
    suite_add_tcase(suite, cases);
    return suite_run(suite, CK_FORK_GETENV);
}
