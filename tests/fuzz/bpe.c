/*
 * The first byte chooses: the rest is a text, or a vocabulary: vocab.json and merges.txt with a
 * zero byte between, or one file of merges, plain or gzip.
 */
#include "fuzz.h"

#include "text/tokenizer.h"

#include <string.h>

#define TOKENS 77
#define MAX_TEXT 4096

static sd_status encode(const sd_tokenizer *t, const char *text) {
    int32_t ids[TOKENS];
    int n_used = 0;
    sd_status status = sd_tokenizer_encode(t, text, sd_tokenizer_end(t), ids, TOKENS, &n_used);
    if (status)
        return status;
    FUZZ_REQUIRE(n_used >= 2);
    FUZZ_REQUIRE(ids[0] == sd_tokenizer_start(t));
    for (int i = 0; i < TOKENS; i++)
        FUZZ_REQUIRE(sd_tokenizer_text(t, ids[i]));
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
    sd_status status = sd_tokenizer_load(fuzz_ctx, path, &t);
    if (status)
        return status;
    FUZZ_REQUIRE(sd_tokenizer_text(t, sd_tokenizer_start(t)));
    FUZZ_REQUIRE(!sd_tokenizer_text(t, sd_tokenizer_size(t)));
    status = encode(t, "a photo of a cat, it's 12 \xc3\xa9\xf0\x9f\x90\x88 <|endoftext|> aaaaaaaa");
    sd_tokenizer_free(t);
    return status;
}

sd_status fuzz_bpe(const uint8_t *data, size_t size) {
    if (size == 0)
        return SD_OK;
    int kind = data[0] % 3;
    data++, size--;
    if (kind == 0)
        return fuzz_text(data, size);
    if (kind == 1)
        return fuzz_vocab(fuzz_file("bpe_simple_vocab_16e6.txt", data, size));
    const uint8_t *middle = memchr(data, 0, size);
    size_t n = middle ? (size_t)(middle - data) : size;
    const char *path = fuzz_file("vocab.json", data, n);
    fuzz_file("merges.txt", middle ? middle + 1 : data, middle ? size - n - 1 : 0);
    return fuzz_vocab(path);
}
