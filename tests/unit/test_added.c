/*
 * Added tokens, tokenizer.json and padding tokens, against transformers' CLIPTokenizer: data/added/
 * is written by tests/tools/make_tokenizer_fixtures.py --added.
 */
#include "core/context_new.h"
#include "core/files.h"
#include "core/os.h"
#include "text/prompt.h"
#include "text/vocab.h"

#include "../tools/files.h"
#include "../tools/suite.h"
#include "token_ids.h"

#include <jansson.h>
#include <unistd.h>

#define PAD (-5)
#define DATA SD_TEST_DATA "/"

static sd_context *ctx;
static char dir[64];
static char logged[4096];

static void keep_log(void *user, sd_log_level level, const char *text) {
    (void)user;
    if (level <= SD_LOG_LEVEL_WARN)
        strncat(logged, text, sizeof logged - strlen(logged) - 1);
}

static void setup(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.n_threads = 1;
    params.log = keep_log;
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
    strcpy(dir, "/tmp/sd-added-XXXXXX");
    ck_assert(mkdtemp(dir));
    logged[0] = '\0';
}

static void teardown(void) {
    files_remove_tree(dir);
    sdi_context_release(ctx);
}

static const char *sentence(void) {
    return sdi_error_get();
}

/* A file of the fixtures into the scratch folder. */
static void copy(const char *from, const char *name) {
    uint8_t *data;
    size_t n;
    char path[1024];
    snprintf(path, sizeof path, DATA "%s", from);
    ck_assert_int_eq(sdi_read_file(ctx, path, 64 << 20, &data, &n), SD_OK);
    files_write(files_path(dir, name), data, n);
    sdi_free(ctx, data);
}

static void copy_pair(void) {
    copy("tokenizer/vocab.json", "vocab.json");
    copy("tokenizer/merges.txt", "merges.txt");
}

static sd_tokenizer *load(const char *path) {
    sd_tokenizer *t;
    ck_assert_msg(sdi_tokenizer_load(ctx, path, &t) == SD_OK, "%s", sentence());
    return t;
}

static void expect_ids(const char *path, const char *fixture, int32_t pad) {
    sd_tokenizer *t = load(path);
    ck_assert_int_eq(sdi_tokenizer_start(t), 912);
    ck_assert_int_eq(sdi_tokenizer_end(t), 913);
    ck_assert_int_eq(sdi_tokenizer_pad(t), pad);
    check_ids(t, fixture, PAD, 299);
    sdi_tokenizer_release(t);
}

/* As transformers 5 writes it: the folder, and the file by its own name and by another. */
START_TEST(tokenizer_json) {
    expect_ids(DATA "added", DATA "added/added_ids.txt", 0);
    expect_ids(DATA "added/tokenizer.json", DATA "added/added_ids.txt", 0);
    copy("added/tokenizer.json", "other.json"); /* without tokenizer_config.json beside it */
    sd_tokenizer *t = load(files_path(dir, "other.json"));
    ck_assert_int_eq(sdi_tokenizer_pad(t), 913);
    ck_assert_str_eq(sdi_tokenizer_text(t, 914), "<toy>");
    sdi_tokenizer_release(t);
}
END_TEST

/* Before tokenizers 0.20 a merge is "a b". */
START_TEST(merges_as_text) {
    json_t *root = json_load_file(DATA "added/tokenizer.json", 0, NULL);
    json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
    ck_assert_uint_eq(json_array_size(merges), 400);
    for (size_t i = 0; i < json_array_size(merges); i++) {
        json_t *pair = json_array_get(merges, i);
        json_array_set_new(merges, i,
                           json_sprintf("%s %s", json_string_value(json_array_get(pair, 0)),
                                        json_string_value(json_array_get(pair, 1))));
    }
    copy("added/tokenizer_config.json", "tokenizer_config.json");
    ck_assert_int_eq(json_dump_file(root, files_path(dir, "tokenizer.json"), 0), 0);
    json_decref(root);
    expect_ids(dir, DATA "added/added_ids.txt", 0);
}
END_TEST

/* vocab.json and merges.txt, and the tokens in tokenizer_config.json, in tokenizer.json alone, or
 * in added_tokens.json, which knows no flags. */
START_TEST(beside_the_pair) {
    copy_pair();
    copy("added/decoder/tokenizer_config.json", "tokenizer_config.json");
    expect_ids(dir, DATA "added/added_ids.txt", 0);
    expect_ids(files_path(dir, "vocab.json"), DATA "added/added_ids.txt", 0);
    copy("added/tokenizer.json", "tokenizer.json");
    copy("added/tokenizer_config.json", "tokenizer_config.json");
    expect_ids(dir, DATA "added/added_ids.txt", 0);
    remove(files_path(dir, "tokenizer.json"));
    remove(files_path(dir, "tokenizer_config.json"));
    copy("added/legacy/added_tokens.json", "added_tokens.json");
    expect_ids(dir, DATA "added/legacy_ids.txt", 913);
}
END_TEST

/* The flags of added_tokens.json's tokens depend on whether another file calls them special. */
START_TEST(special_ones_keep_their_case) {
    int32_t ids[8];
    int n;
    copy_pair();
    files_write_text(files_path(dir, "added_tokens.json"), "{\"<Toy>\": 914}");
    files_write_text(files_path(dir, "special_tokens_map.json"),
                     "{\"additional_special_tokens\": [\"<Toy>\"]}");
    sd_tokenizer *t = load(dir);
    ck_assert_int_eq(sdi_tokenizer_encode(t, "<Toy>", PAD, ids, 8, &n), SD_OK);
    ck_assert(n == 3 && ids[1] == 914);
    ck_assert_int_eq(sdi_tokenizer_encode(t, "<toy>", PAD, ids, 8, &n), SD_OK);
    ck_assert_int_gt(n, 3);
    sdi_tokenizer_release(t);
}
END_TEST

/* The tokens after "<toy>" in a prompt, as diffusers' textual inversion names its vectors. */
START_TEST(following) {
    sd_tokenizer *t = load(DATA "added");
    ck_assert_int_eq(sdi_tokenizer_following(t, 914, 1), 915);
    ck_assert_int_eq(sdi_tokenizer_following(t, 914, 2), 916);
    ck_assert_int_eq(sdi_tokenizer_following(t, 914, 3), -1);
    ck_assert_int_eq(sdi_tokenizer_following(t, 915, 1), -1);
    ck_assert_int_eq(sdi_tokenizer_following(t, 320, 1), -1);
    for (int weighted = 0; weighted < 2; weighted++) {
        static const int32_t want[] = {914, 915, 916, 915, 913};
        sd_chunks chunks;
        int n;
        ck_assert_int_eq(
            sdi_prompt_chunks(t, NULL, "x<toy><toy>_1", weighted != 0, 10, PAD, &chunks, &n),
            SD_OK);
        ck_assert_int_eq(n, 7);
        ck_assert_mem_eq(chunks.ids + 2, want, sizeof want);
        sdi_chunks_free(ctx, &chunks);
        /* they stay together, in a chunk of six, and are cut with the rest of a plain prompt */
        ck_assert_int_eq(
            sdi_prompt_chunks(t, NULL, "x x x x <toy>", weighted != 0, 8, PAD, &chunks, &n), SD_OK);
        ck_assert_int_eq(n, 9);
        ck_assert_int_eq(chunks.n, weighted ? 2 : 1);
        ck_assert_int_eq(chunks.ids[5], weighted ? 913 : 914);
        ck_assert_int_eq(chunks.ids[weighted ? 9 : 6], weighted ? 914 : 915);
        sdi_chunks_free(ctx, &chunks);
    }
    sdi_tokenizer_release(t);
}
END_TEST

START_TEST(without_rows) {
    int32_t ids[16];
    int n;
    sd_tokenizer *t = load(DATA "added");
    sdi_tokenizer_limit(t, "some/model", 915);
    ck_assert_msg(strstr(logged, "some/model: the added token \"<toy>_1\" has id 915") &&
                      !strstr(logged, "\"<toy>\"") && strstr(logged, "0 to 914"),
                  "%s", logged);
    ck_assert_int_eq(sdi_tokenizer_encode(t, "<toy> <toy>_1 \xe7\x8c\xab", PAD, ids, 16, &n),
                     SD_OK);
    for (int i = 0; i < 16; i++)
        ck_assert_int_lt(ids[i], 915);
    ck_assert(ids[1] == 914 && ids[2] == 914 && n > 5);
    ck_assert_int_eq(sdi_tokenizer_following(t, 914, 1), -1);
    sdi_tokenizer_release(t);
}
END_TEST

START_TEST(padding) {
    static const struct {
        const char *map, *config;
        int pad;
    } rows[] = {
        {"{\"pad_token\": \"<|endoftext|>\"}", NULL, 913},
        {"{\"pad_token\": {\"content\": \"!\", \"lstrip\": false}}", NULL, 0},
        {"{}", "{\"pad_token\": \"!\", \"model_max_length\": 1000000000000000019884624838656}", 0},
        {"{\"pad_token\": \"<|endoftext|>\"}", "{\"pad_token\": \"!\"}", 913},
        {NULL, "{\"pad_token\": \"[PAD]\"}", 914},
        {NULL, "{\"pad_token\": \"gone\"}", -1},
        {NULL, "{\"pad_token\": null}", 913},
        {NULL, NULL, 913},
    };
    copy_pair();
    files_write_text(files_path(dir, "added_tokens.json"), "{\"[PAD]\": 914}");
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        const char *map = files_path(dir, "special_tokens_map.json");
        const char *config = files_path(dir, "tokenizer_config.json");
        remove(map);
        remove(config);
        if (rows[i].map)
            files_write_text(map, rows[i].map);
        if (rows[i].config)
            files_write_text(config, rows[i].config);
        sd_tokenizer *t = load(dir);
        ck_assert_int_eq(sdi_tokenizer_pad(t), rows[i].pad);
        sdi_tokenizer_release(t);
        /* the same of a folder beside another vocabulary */
        t = load(DATA "tokenizer");
        ck_assert_int_eq(sdi_tokenizer_take_pad(t, dir), SD_OK);
        ck_assert_int_eq(sdi_tokenizer_pad(t), rows[i].pad == 914 ? -1 : rows[i].pad);
        sdi_tokenizer_release(t);
    }
    sd_tokenizer *t = load(DATA "added"); /* its "!" pads, until it does not */
    int32_t ids[4];
    ck_assert_int_eq(sdi_tokenizer_encode(t, "!", PAD, ids, 4, NULL), SD_OK);
    ck_assert_int_eq(ids[1], 0);
    sdi_tokenizer_drop_pad(t);
    ck_assert_int_eq(sdi_tokenizer_encode(t, "!", PAD, ids, 4, NULL), SD_OK);
    ck_assert_int_eq(ids[1], 256);
    ck_assert_int_eq(sdi_tokenizer_pad(t), 913);
    sdi_tokenizer_release(t);
}
END_TEST

/* ------------------------------------------------------------------------------ bad files */

#define MODEL "\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", \"vocab\": "
#define VOCAB                                                                                      \
    "{\"a\": 0, \"b</w>\": 1, \"<|startoftext|>\": 2, \"<|endoftext|>\": 3, \"ab</w>\": 4}"

static const struct {
    const char *json;
    sd_status status;
    const char *words;
} bad[] = {
    {"{", SD_ERROR_FORMAT, "tokenizer.json, line 1"},
    {"{\"a\": 1}", SD_ERROR_UNSUPPORTED, "it has no \"model\""},
    {"{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}", SD_ERROR_UNSUPPORTED, "Unigram"},
    {"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}", SD_ERROR_UNSUPPORTED, "WordPiece"},
    {"{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}", SD_ERROR_UNSUPPORTED,
     "end_of_word_suffix"},
    {"{" MODEL "[], \"merges\": []}}", SD_ERROR_UNSUPPORTED, "\"vocab\" or \"merges\""},
    {"{" MODEL "{\"a\": 0}, \"merges\": []}}", SD_ERROR_FORMAT, "<|startoftext|> is missing"},
    {"{" MODEL "{\"a\": -1}, \"merges\": []}}", SD_ERROR_FORMAT, "not a whole number"},
    {"{" MODEL VOCAB ", \"merges\": [[\"a\", \"c\"]]}}", SD_ERROR_FORMAT,
     "tokenizer.json, merge 1: the vocabulary has no such second"},
    {"{" MODEL VOCAB ", \"merges\": [[\"a\", \"b</w>\"], [\"a\"]]}}", SD_ERROR_FORMAT,
     "merge 2: expected two tokens"},
    {"{" MODEL VOCAB ", \"merges\": [7]}}", SD_ERROR_FORMAT, "merge 1: expected two tokens"},
    {"{" MODEL VOCAB ", \"merges\": []}, \"added_tokens\": {}}", SD_ERROR_FORMAT, "is no list"},
    {"{" MODEL VOCAB ", \"merges\": []}, \"added_tokens\": [{\"content\": \"x\"}]}",
     SD_ERROR_FORMAT, "no \"id\""},
    {"{" MODEL VOCAB ", \"merges\": []}, \"added_tokens\": [{\"id\": 1}]}", SD_ERROR_FORMAT,
     "no \"content\""},
    {"{" MODEL VOCAB ", \"merges\": []}, \"added_tokens\": [{\"id\": 1.5, \"content\": \"x\"}]}",
     SD_ERROR_FORMAT, "added token \"x\" is not a whole number"},
};

START_TEST(bad_tokenizer_json) {
    sd_tokenizer *t = (sd_tokenizer *)&t;
    files_write_text(files_path(dir, "tokenizer.json"), bad[_i].json);
    ck_assert_int_eq(sdi_tokenizer_load(ctx, dir, &t), bad[_i].status);
    ck_assert_ptr_null(t);
    ck_assert_msg(strstr(sentence(), bad[_i].words), "expected \"%s\" in: %s", bad[_i].words,
                  sentence());
}
END_TEST

/* Another program's tokenizer.json beside a checkpoint is not in the way, and is named. */
START_TEST(foreign_tokenizer_json) {
    sd_tokenizer *t;
    files_write_text(files_path(dir, "tokenizer.json"), bad[2].json);
    ck_assert_int_eq(sdi_tokenizer_find(ctx, NULL, dir, DATA "tokenizer", &t), SD_OK);
    ck_assert_int_eq(sdi_tokenizer_size(t), 914);
    ck_assert_msg(strstr(logged, dir) && strstr(logged, "Unigram"), "%s", logged);
    sdi_tokenizer_release(t);
}
END_TEST

/* Start and end may be among the added tokens alone. */
START_TEST(special_tokens_are_added) {
    int32_t ids[4];
    files_write_text(files_path(dir, "tokenizer.json"),
                     "{" MODEL "{\"a\": 0, \"a</w>\": 1}, \"merges\": []}, \"added_tokens\": ["
                     "{\"id\": 7, \"content\": \"<|startoftext|>\"},"
                     "{\"id\": 9, \"content\": \"<|endoftext|>\"}]}");
    sd_tokenizer *t = load(dir);
    ck_assert_int_eq(sdi_tokenizer_size(t), 10);
    ck_assert_int_eq(sdi_tokenizer_encode(t, "a", PAD, ids, 4, NULL), SD_OK);
    ck_assert(ids[0] == 7 && ids[1] == 1 && ids[2] == 9 && ids[3] == PAD);
    sdi_tokenizer_release(t);
}
END_TEST

/* Thousands of them neither take long nor hide each other. */
START_TEST(many) {
    const int n = 20000;
    char text[64];
    json_t *added = json_object();
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "<t-%d>", i);
        json_object_set_new(added, text, json_integer(914 + i));
    }
    copy_pair();
    ck_assert_int_eq(json_dump_file(added, files_path(dir, "added_tokens.json"), 0), 0);
    json_decref(added);
    sd_tokenizer *t = load(dir);
    for (int i = 0; i < n; i += 997) {
        int32_t ids[4];
        snprintf(text, sizeof text, "<t-%d>", i);
        ck_assert_int_eq(sdi_tokenizer_encode(t, text, PAD, ids, 4, NULL), SD_OK);
        ck_assert_int_eq(ids[1], 914 + i);
        ck_assert_int_eq(ids[2], 913);
    }
    sdi_tokenizer_release(t);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("added");
    TCase *cases = tcase_create("all");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, tokenizer_json);
    tcase_add_test(cases, merges_as_text);
    tcase_add_test(cases, beside_the_pair);
    tcase_add_test(cases, special_ones_keep_their_case);
    tcase_add_test(cases, following);
    tcase_add_test(cases, without_rows);
    tcase_add_test(cases, padding);
    tcase_add_loop_test(cases, bad_tokenizer_json, 0, SD_COUNT(bad));
    tcase_add_test(cases, foreign_tokenizer_json);
    tcase_add_test(cases, special_tokens_are_added);
    tcase_add_test(cases, many);
    suite_add_tcase(suite, cases);
    return suite_run(suite, CK_FORK_GETENV);
}
