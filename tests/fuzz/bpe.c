/*
 * The first byte chooses: the rest is a text, or a vocabulary: vocab.json and merges.txt with a
 * zero byte between, or one file of merges, plain or gzip, or tokenizer.json ('j'); or
 * added_tokens.json and tokenizer_config.json beside a small vocabulary ('a'), with a zero byte
 * between.
 */
#include "fuzz.h"

#include "../tools/files.h"
#include "text/tokenizer.h"

#include <string.h>

#define TOKENS 77
#define MAX_TEXT 4096

static sd_status encode(const sd_tokenizer *t, const char *text) {
    int32_t ids[TOKENS];
    int n_used = 0;
    sd_status status = sdi_tokenizer_encode(t, text, sdi_tokenizer_end(t), ids, TOKENS, &n_used);
    if (status)
        return status;
    FUZZ_REQUIRE(n_used >= 2);
    FUZZ_REQUIRE(ids[0] == sdi_tokenizer_start(t));
    for (int i = 0; i < TOKENS; i++)
        FUZZ_REQUIRE(sdi_tokenizer_text(t, ids[i]));
    return SD_OK;
}

static sd_status fuzz_text(const uint8_t *data, size_t size) {
    char text[MAX_TEXT + 1];
    size = size < MAX_TEXT ? size : MAX_TEXT;
    memcpy(text, data, size);
    text[size] = 0;
    return encode(fuzz_tokenizer, text);
}

static sd_status fuzz_vocab(const char *path) {
    sd_tokenizer *t;
    sd_status status = sdi_tokenizer_load(fuzz_ctx, path, &t);
    if (status)
        return status;
    FUZZ_REQUIRE(sdi_tokenizer_text(t, sdi_tokenizer_start(t)));
    FUZZ_REQUIRE(!sdi_tokenizer_text(t, sdi_tokenizer_size(t)));
    status = encode(t, "a photo of a cat, it's 12 \xc3\xa9\xf0\x9f\x90\x88 <|endoftext|> aaaaaaaa");
    sdi_tokenizer_release(t);
    return status;
}

/* Two files of `data`, with a zero byte between. */
static void two_files(const char *first, const char *second, const uint8_t *data, size_t size) {
    const uint8_t *middle = memchr(data, 0, size);
    size_t n = middle ? (size_t)(middle - data) : size;
    fuzz_file(first, data, n);
    fuzz_file(second, middle ? middle + 1 : data, middle ? size - n - 1 : 0);
}

static sd_status fuzz_added(const uint8_t *data, size_t size) {
    static const char vocab[] = "{\"a\": 0, \"b</w>\": 1, \"ab</w>\": 2, \"<|startoftext|>\": 3, "
                                "\"<|endoftext|>\": 4}";
    fuzz_file("added/vocab.json", (const uint8_t *)vocab, sizeof vocab - 1);
    fuzz_file("added/merges.txt", (const uint8_t *)"a b</w>\n", 8);
    two_files("added/added_tokens.json", "added/tokenizer_config.json", data, size);
    return fuzz_vocab(files_path(fuzz_folder(), "added"));
}

sd_status fuzz_bpe(const uint8_t *data, size_t size) {
    if (size == 0)
        return SD_OK;
    int kind = data[0] % 3, named = data[0];
    data++, size--;
    if (named == 'j')
        return fuzz_vocab(fuzz_file("tokenizer.json", data, size));
    if (named == 'a')
        return fuzz_added(data, size);
    if (kind == 0)
        return fuzz_text(data, size);
    if (kind == 1)
        return fuzz_vocab(fuzz_file("bpe_simple_vocab_16e6.txt", data, size));
    two_files("vocab.json", "merges.txt", data, size);
    return fuzz_vocab(files_path(fuzz_folder(), "vocab.json"));
}
