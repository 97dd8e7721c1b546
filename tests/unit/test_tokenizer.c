/*
 * The tokenizer against transformers' CLIPTokenizer: data/tokenizer/ is written by
 * tests/tools/make_tokenizer_fixtures.py. SD_TEST_SHARED, where set, is a folder with
 * clip/bpe_simple_vocab_16e6.txt.gz.
 */
#include "core/context_new.h"
#include "core/files.h"
#include "core/os.h"
#include "text/vocab.h"

#include "../tools/suite.h"
#include "token_ids.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define PAD (-5)

static sd_context *ctx;
static char scratch[64]; /* a folder for files that tests write */

static const char *data_path(const char *name) {
    static char path[4][1024];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], SD_TEST_DATA "/tokenizer/%s", name);
    return path[turn];
}

static const char *scratch_path(const char *name) {
    static char path[4][128];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", scratch, name);
    return path[turn];
}

static void write_file(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    ck_assert(f && fwrite(data, 1, n, f) == n && fclose(f) == 0);
}

static char *read_all(const char *path, size_t *n) {
    uint8_t *data;
    ck_assert_msg(sdi_read_file(ctx, path, 64 << 20, &data, n) == SD_OK, "%s", sdi_error_get());
    return (char *)data;
}

static const char *sentence(void) {
    return sdi_error_get();
}

static sd_tokenizer *load(const char *path) {
    sd_tokenizer *t;
    ck_assert_msg(sdi_tokenizer_load(ctx, path, &t) == SD_OK, "%s", sentence());
    return t;
}

static void setup(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.n_threads = 1;
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
    strcpy(scratch, "/tmp/sd-tokenizer-XXXXXX");
    ck_assert(mkdtemp(scratch));
}

static void teardown(void) {
    static const char *const names[] = {"vocab.json", "merges.txt", "vocab.txt", "vocab.gz",
                                        "bpe_simple_vocab_16e6.txt.gz"};
    for (size_t i = 0; i < SD_COUNT(names); i++)
        remove(scratch_path(names[i]));
    ck_assert(rmdir(scratch) == 0);
    sdi_context_release(ctx);
}

START_TEST(clip_vocabulary) {
    const char *shared = getenv("SD_TEST_SHARED");
    if (!shared) {
        printf("skipped: SD_TEST_SHARED is not set (clip/bpe_simple_vocab_16e6.txt.gz)\n");
        return;
    }
    char path[1024];
    snprintf(path, sizeof path, "%s/clip/bpe_simple_vocab_16e6.txt.gz", shared);
    sd_tokenizer *t = load(path);
    ck_assert_int_eq(sdi_tokenizer_size(t), 49408);
    ck_assert_int_eq(sdi_tokenizer_start(t), 49406);
    ck_assert_int_eq(sdi_tokenizer_end(t), 49407);
    ck_assert_str_eq(sdi_tokenizer_text(t, 2368), "cat</w>");
    ck_assert_ptr_null(sdi_tokenizer_text(t, 49408));
    ck_assert_ptr_null(sdi_tokenizer_text(t, -1));
    check_ids(t, data_path("clip_ids.txt"), PAD, 2000);
    sdi_tokenizer_release(t);
}
END_TEST

START_TEST(small_vocabulary) {
    static const char *const paths[] = {"", "vocab.json", "merges.txt"};
    for (size_t i = 0; i < SD_COUNT(paths); i++) {
        sd_tokenizer *t = load(data_path(paths[i]));
        ck_assert_int_eq(sdi_tokenizer_size(t), 914);
        ck_assert_int_eq(sdi_tokenizer_start(t), 912);
        ck_assert_int_eq(sdi_tokenizer_end(t), 913);
        check_ids(t, data_path("small_ids.txt"), PAD, 900);
        sdi_tokenizer_release(t);
    }
}
END_TEST

/* OpenAI's form, plain and packed: the ids follow from the merges alone. */
START_TEST(list_of_merges) {
    size_t n;
    char *merges = read_all(data_path("merges.txt"), &n);
    write_file(scratch_path("vocab.txt"), merges, n);
    gzFile gz = gzopen(scratch_path("vocab.gz"), "wb");
    ck_assert(gz && gzwrite(gz, merges, (unsigned)n) == (int)n && gzclose(gz) == Z_OK);
    write_file(scratch_path("merges.txt"), merges, n); /* without vocab.json beside it */
    sdi_free(ctx, merges);
    static const char *const names[] = {"vocab.txt", "vocab.gz", "merges.txt"};
    for (size_t i = 0; i < SD_COUNT(names); i++) {
        sd_tokenizer *t = load(scratch_path(names[i]));
        ck_assert_int_eq(sdi_tokenizer_size(t), 914);
        check_ids(t, data_path("small_ids.txt"), PAD, 900);
        sdi_tokenizer_release(t);
    }
}
END_TEST

/* --- where it looks --- */

START_TEST(search_order) {
    sd_tokenizer *t;
    size_t n;
    char *merges = read_all(data_path("merges.txt"), &n);
    size_t cut = 0; /* the header and one merge */
    for (int lines = 0; lines < 2; cut++)
        lines += merges[cut] == '\n';
    gzFile gz = gzopen(scratch_path("bpe_simple_vocab_16e6.txt.gz"), "wb");
    ck_assert(gz && gzwrite(gz, merges, (unsigned)cut) == (int)cut && gzclose(gz) == Z_OK);
    sdi_free(ctx, merges);
    const char *full = data_path("");

    /* An explicit path wins, and nowhere else is looked. */
    ck_assert_int_eq(sdi_tokenizer_find(ctx, full, scratch, scratch, &t), SD_OK);
    ck_assert_int_eq(sdi_tokenizer_size(t), 914);
    sdi_tokenizer_release(t);
    ck_assert_int_eq(sdi_tokenizer_find(ctx, "/nowhere/vocab", full, full, &t), SD_ERROR_IO);
    ck_assert_ptr_null(t);
    ck_assert_msg(strstr(sentence(), "/nowhere/vocab"), "%s", sentence());

    /* Then tokenizer/, then the checkpoint's folder. */
    ck_assert_int_eq(sdi_tokenizer_find(ctx, NULL, full, scratch, &t), SD_OK);
    ck_assert_int_eq(sdi_tokenizer_size(t), 914);
    sdi_tokenizer_release(t);
    ck_assert_int_eq(sdi_tokenizer_find(ctx, NULL, scratch, full, &t), SD_OK);
    ck_assert_int_eq(sdi_tokenizer_size(t), 515);
    sdi_tokenizer_release(t);
    ck_assert_int_eq(sdi_tokenizer_find(ctx, NULL, "/nowhere", full, &t), SD_OK);
    ck_assert_int_eq(sdi_tokenizer_size(t), 914);
    sdi_tokenizer_release(t);
}
END_TEST

START_TEST(nothing_found) {
    sd_tokenizer *t;
    sd_status status = sdi_tokenizer_find(ctx, NULL, "/nowhere/tokenizer", scratch, &t);
    if (sdi_builtin_vocab_size) {
        ck_assert_int_eq(status, SD_OK);
        ck_assert_int_eq(sdi_tokenizer_size(t), 49408);
        check_ids(t, data_path("clip_ids.txt"), PAD, 2000);
        sdi_tokenizer_release(t);
        return;
    }
    printf("not found: %s\n", sentence());
    ck_assert_int_eq(status, SD_ERROR_IO);
    ck_assert_ptr_null(t);
    ck_assert(strstr(sentence(), "/nowhere/tokenizer") && strstr(sentence(), scratch));
    ck_assert_int_eq(sdi_tokenizer_find(ctx, NULL, NULL, NULL, &t), SD_ERROR_IO);
    ck_assert_int_eq(sdi_tokenizer_load(ctx, scratch, &t), SD_ERROR_IO);
    ck_assert_msg(strstr(sentence(), scratch), "%s", sentence());
}
END_TEST

/* --- hostile files --- */

typedef struct bad_pair {
    const char *json, *merges, *words; /* `words` is in the sentence */
} bad_pair;

#define TAIL "\"<|startoftext|>\": 7, \"<|endoftext|>\": 8}"

static const bad_pair bad_pairs[] = {
    {"", "", "vocab.json, line 1"},
    {"{\n\"a\": 0,\n\"b\" 1}", "", "vocab.json, line 3"},
    {"{\n\"a\": 0,\n\"a\": 1}", "", "vocab.json, line 3: duplicate"},
    {"{\"a\\u0000b\": 0}", "", "vocab.json, line 1"},
    {"{\"\xff\": 0}", "", "vocab.json, line 1"},
    {"[1, 2]", "", "expected an object"},
    {"3", "", "vocab.json"},
    {"{\"a\": \"x\"}", "", "token \"a\" is not a whole number"},
    {"{\"a\": 1.5}", "", "token \"a\" is not a whole number"},
    {"{\"a\": -1}", "", "token \"a\" is not a whole number"},
    {"{\"a\": 1048576}", "", "token \"a\" is not a whole number"},
    {"{\"a\": 99999999999999999999}", "", "vocab.json, line 1: too big"},
    {"{\"a\": 4, \"b\": 4}", "", "\"a\" and \"b\" both have id 4"},
    {"{\"a\": 0}", "", "<|startoftext|> is missing"},
    {"{\"a\": 0, \"<|startoftext|>\": 1}", "", "<|endoftext|> is missing"},
    {"{\"a\": 0, " TAIL, "#version: 0.2\na b\n",
     "merges.txt, line 2: the vocabulary has no such second"},
    {"{\"a\": 0, " TAIL, "#version: 0.2\nb a\n",
     "merges.txt, line 2: the vocabulary has no such first"},
    {"{\"a\": 0, " TAIL, "a a\n",
     "merges.txt, line 1: the vocabulary has no token that is this pair"},
    {"{\"a\": 0, " TAIL, "#version: 0.2\n\na a\n", "merges.txt, line 2: expected two tokens"},
    {"{\"a\": 0, " TAIL, "aa\n", "merges.txt, line 1: expected two tokens"},
    {"{\"a\": 0, " TAIL, "a a a\n", "merges.txt, line 1: expected two tokens"},
    {"{\"a\": 0, " TAIL, " a\n", "merges.txt, line 1: expected two tokens"},
    {"{\"a\": 0, " TAIL, "a \n", "merges.txt, line 1: expected two tokens"},
    {"{\"a\": 0, " TAIL, "a  a\n", "merges.txt, line 1: expected two tokens"},
};

START_TEST(damaged_pair) {
    const bad_pair *bad = &bad_pairs[_i];
    sd_tokenizer *t = (sd_tokenizer *)&t;
    write_file(scratch_path("vocab.json"), bad->json, strlen(bad->json));
    write_file(scratch_path("merges.txt"), bad->merges, strlen(bad->merges));
    ck_assert_int_eq(sdi_tokenizer_load(ctx, scratch, &t), SD_ERROR_FORMAT);
    ck_assert_ptr_null(t);
    ck_assert_msg(strstr(sentence(), bad->words), "expected \"%s\" in: %s", bad->words, sentence());
}
END_TEST

static void expect_bad_list(const void *data, size_t n, const char *words) {
    sd_tokenizer *t;
    write_file(scratch_path("vocab.txt"), data, n);
    ck_assert_int_eq(sdi_tokenizer_load(ctx, scratch_path("vocab.txt"), &t), SD_ERROR_FORMAT);
    ck_assert_ptr_null(t);
    ck_assert_msg(strstr(sentence(), "vocab.txt") && strstr(sentence(), words),
                  "expected \"%s\" in: %s", words, sentence());
}

START_TEST(damaged_list) {
    expect_bad_list("#version: 0.2\na b\nc\n", 20, "line 3: expected two tokens");
    expect_bad_list("#version: 0.2\na b\na b\n", 22, "line 3: the token of this pair is there");
    expect_bad_list("#version: 0.2\na\0 b\n", 19, "line 2: expected two tokens");
    expect_bad_list("#version: 0.2\nab c\n", 19, "line 2: the vocabulary has no such first");
    expect_bad_list("\x1f\x8b", 2, "gzip");
    expect_bad_list("\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff\xff", 14, "gzip");

    size_t n;
    char *merges = read_all(data_path("merges.txt"), &n);
    gzFile gz = gzopen(scratch_path("vocab.gz"), "wb");
    ck_assert(gz && gzwrite(gz, merges, (unsigned)n) == (int)n && gzclose(gz) == Z_OK);
    sdi_free(ctx, merges);
    char *packed = read_all(scratch_path("vocab.gz"), &n);
    for (size_t cut = 2; cut < n; cut += 97)
        expect_bad_list(packed, cut, "gzip");
    packed[n / 2] ^= 0x10;
    expect_bad_list(packed, n, "gzip");
    sdi_free(ctx, packed);
}
END_TEST

/* 80 MB of zeros in 80 kB. */
START_TEST(gzip_bomb) {
    static const char zeros[1 << 20];
    gzFile gz = gzopen(scratch_path("vocab.gz"), "wb");
    for (int i = 0; i < 80; i++)
        ck_assert_int_eq(gzwrite(gz, zeros, sizeof zeros), sizeof zeros);
    gzclose(gz);
    size_t n;
    char *packed = read_all(scratch_path("vocab.gz"), &n);
    expect_bad_list(packed, n, "when unpacked");
    sdi_free(ctx, packed);
}
END_TEST

/* --- use --- */

START_TEST(capacity) {
    sd_tokenizer *t = load(data_path(""));
    int32_t ids[10];
    int n_used = 0;
    for (int room = 2; room <= 8; room++) {
        for (int i = 0; i < 10; i++)
            ids[i] = 77777;
        ck_assert_int_eq(sdi_tokenizer_encode(t, "1 2 3 4", PAD, ids, room, &n_used), SD_OK);
        ck_assert_int_eq(n_used, 6);
        for (int i = 0; i < 10; i++) {
            int last = room < 6 ? room - 1 : 5;
            int expected = i >= room   ? 77777
                           : i == 0    ? 912
                           : i < last  ? t->byte_end_id['0' + i]
                           : i == last ? 913
                                       : PAD;
            ck_assert_int_eq(ids[i], expected);
        }
    }
    ck_assert_int_eq(sdi_tokenizer_encode(t, "", PAD, ids, 3, NULL), SD_OK);
    ck_assert(ids[0] == 912 && ids[1] == 913 && ids[2] == PAD);
    ck_assert_int_eq(sdi_tokenizer_encode(t, "a", PAD, ids, 1, NULL), SD_ERROR_ARGUMENT);
    sdi_tokenizer_release(t);
}
END_TEST

/* A byte that the vocabulary lacks is the unknown token, <|endoftext|>. */
START_TEST(unknown_bytes) {
    static const char json[] = "{\"a\": 0, \"b</w>\": 1, \"ab</w>\": 2, " TAIL;
    write_file(scratch_path("vocab.json"), json, sizeof json - 1);
    write_file(scratch_path("merges.txt"), "a b</w>\n", 8);
    sd_tokenizer *t = load(scratch);
    int32_t ids[8];
    int n_used;
    ck_assert_int_eq(sdi_tokenizer_encode(t, "ab xb ax", PAD, ids, 8, &n_used), SD_OK);
    static const int32_t expected[8] = {7, 2, 8, 1, 0, 8, 8, PAD};
    ck_assert_int_eq(n_used, 7);
    ck_assert_mem_eq(ids, expected, sizeof ids);
    ck_assert_ptr_null(sdi_tokenizer_text(t, 3)); /* a hole between the ids */
    sdi_tokenizer_release(t);
}
END_TEST

/* Words of a million bytes: merging must not take quadratic time, nor ordering marks. */
START_TEST(long_words) {
    static const struct {
        const char *unit;
        size_t length;
    } words[] = {{"the", 3}, {"\xCC\x95\xCC\xB4", 4}, {"!", 1}, {"I\xCC\x87", 3}, {"\xFF", 1}};
    sd_tokenizer *t = load(data_path(""));
    size_t size = 1 << 20;
    char *text = malloc(size + 8);
    for (size_t k = 0; k < SD_COUNT(words); k++) {
        size_t n = 0;
        while (n < size) {
            memcpy(text + n, words[k].unit, words[k].length);
            n += words[k].length;
        }
        text[n] = '\0';
        int32_t ids[TOKENS];
        int n_used = 0;
        ck_assert_int_eq(sdi_tokenizer_encode(t, text, PAD, ids, TOKENS, &n_used), SD_OK);
        printf("%zu bytes of one word: %d ids\n", n, n_used);
        ck_assert_int_gt(n_used, TOKENS);
        ck_assert_int_eq(ids[TOKENS - 1], 913);
    }
    free(text);
    sdi_tokenizer_release(t);
}
END_TEST

static const char mixed[] = "A caf\xC3\xA9 <|endoftext|> I\xCC\x87stanbul's \xF0\x9F\x98\x80 "
                            "e\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4"
                            "\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4"
                            "\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4"
                            "\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4"
                            "\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4\xCC\x95\xCC\xB4";

typedef struct encode_job {
    const sd_tokenizer *t;
    int32_t ids[512];
    int n_used;
    bool ok;
} encode_job;

static void encode_often(void *arg) {
    encode_job *job = arg;
    job->ok = true;
    for (int i = 0; i < 200 && job->ok; i++)
        job->ok = sdi_tokenizer_encode(job->t, mixed, PAD, job->ids, 512, &job->n_used) == SD_OK;
}

START_TEST(many_threads) {
    static encode_job jobs[5];
    sd_thread *threads[4];
    sd_tokenizer *t = load(data_path(""));
    for (int i = 0; i < 5; i++)
        jobs[i].t = t;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(sdi_thread_start(ctx, encode_often, &jobs[i], &threads[i]), SD_OK);
    encode_often(&jobs[4]);
    for (int i = 0; i < 4; i++) {
        sdi_thread_join(ctx, threads[i]);
        ck_assert(jobs[i].ok && jobs[i].n_used == jobs[4].n_used);
        ck_assert_mem_eq(jobs[i].ids, jobs[4].ids, sizeof jobs[4].ids);
    }
    ck_assert_int_gt(jobs[4].n_used, 80);
    sdi_tokenizer_release(t);
}
END_TEST

/* --- no memory --- */

typedef struct counter {
    long live, until_failure; /* the allocation that fails; 0: none */
} counter;

static void *counting_alloc(void *user, size_t size, size_t alignment) {
    counter *c = user;
    void *p = NULL;
    if (c->until_failure && --c->until_failure == 0)
        return NULL;
    if (posix_memalign(&p, alignment, size) != 0)
        return NULL;
    c->live++;
    return p;
}

static void counting_free(void *user, void *ptr, size_t size) {
    (void)size;
    ((counter *)user)->live--;
    free(ptr);
}

/* The first of load and encode that fails. */
static sd_status load_and_encode(sd_context *c, const char *path, int32_t *ids) {
    sd_tokenizer *t;
    sd_status status = sdi_tokenizer_find(c, NULL, NULL, path, &t);
    if (!status)
        status = sdi_tokenizer_encode(t, mixed, PAD, ids, TOKENS, NULL);
    sdi_tokenizer_release(t);
    return status;
}

static void fail_each_allocation(const char *path) {
    counter count = {0};
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.n_threads = 1;
    params.allocate = counting_alloc;
    params.deallocate = counting_free;
    params.alloc_user = &count;
    sd_context *c;
    ck_assert_int_eq(sdi_context_new(&params, &c), SD_OK);
    long before = count.live, n = 0;
    sd_status status = SD_ERROR_MEMORY;
    while (status) {
        int32_t ids[TOKENS];
        count.until_failure = ++n;
        status = load_and_encode(c, path, ids);
        ck_assert_int_eq(count.live, before);
        if (status) {
            ck_assert_int_eq(status, SD_ERROR_MEMORY);
            ck_assert(strstr(sdi_error_get(), "memory"));
        }
        ck_assert_int_lt(n, 10000);
    }
    printf("%s: %ld allocations failed one by one\n", path, n - 1);
    ck_assert_int_gt(n, 12);
    sdi_context_release(c);
    ck_assert_int_eq(count.live, 0);
}

START_TEST(no_memory) {
    fail_each_allocation(data_path(""));
    size_t n;
    char *merges = read_all(data_path("merges.txt"), &n);
    gzFile gz = gzopen(scratch_path("bpe_simple_vocab_16e6.txt.gz"), "wb");
    ck_assert(gz && gzwrite(gz, merges, (unsigned)n) == (int)n && gzclose(gz) == Z_OK);
    sdi_free(ctx, merges);
    fail_each_allocation(scratch);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("tokenizer");
    TCase *cases = tcase_create("all");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, clip_vocabulary);
    tcase_add_test(cases, small_vocabulary);
    tcase_add_test(cases, list_of_merges);
    tcase_add_test(cases, search_order);
    tcase_add_test(cases, nothing_found);
    tcase_add_loop_test(cases, damaged_pair, 0, SD_COUNT(bad_pairs));
    tcase_add_test(cases, damaged_list);
    tcase_add_test(cases, gzip_bomb);
    tcase_add_test(cases, capacity);
    tcase_add_test(cases, unknown_bytes);
    tcase_add_test(cases, long_words);
    tcase_add_test(cases, many_threads);
    tcase_add_test(cases, no_memory);
    suite_add_tcase(suite, cases);
    return suite_run(suite, CK_FORK_GETENV);
}
