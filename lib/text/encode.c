/*
 * Text to ids as transformers' CLIPTokenizer (fast): special tokens are cut out, what is between
 * is normalised, split into words by CLIP's pattern, and each word is byte-pair encoded.
 */
#include "text/bpe.h"
#include "text/unicode.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Keeps every position within an int32_t: NFC and lower case at most triple the bytes. */
#define MAX_TEXT (256u << 20)

typedef struct encoder {
    const sd_tokenizer *t;
    sd_bpe bpe;
    sd_code_points text; /* normalised */
    size_t end;          /* of what is split now */
    uint8_t *word;       /* UTF-8 of the current word */
    size_t word_capacity;
    int32_t *ids;
    int capacity;
    int64_t n; /* ids found, also those that have no room */
} encoder;

static void put_id(encoder *e, int32_t id) {
    if (e->n < e->capacity - 1)
        e->ids[e->n] = id;
    e->n++;
}

/* Code points [first, end) are one word. */
static sd_status put_word(encoder *e, size_t first, size_t end) {
    sd_status status =
        sdi_text_reserve(e->t->ctx, &e->word, &e->word_capacity, 4 * (end - first), 1);
    if (status)
        return status;
    size_t n = 0;
    for (size_t i = first; i < end; i++)
        n += (size_t)sdi_utf8_put(e->text.at[i], e->word + n);
    status = sdi_bpe_word(&e->bpe, e->word, n);
    if (status)
        return status;
    for (int32_t i = 0; i >= 0; i = e->bpe.symbols[i].next)
        put_id(e, e->bpe.symbols[i].id);
    return SD_OK;
}

/* Whether the text at `i` reads `s`, and where it ends then. */
static size_t match(const encoder *e, size_t i, const char *s) {
    for (; *s; s++, i++)
        if (i >= e->end || e->text.at[i] != *s)
            return 0;
    return i;
}

/* End of the match at `i` of the parts of the pattern that are fixed strings, or 0. */
static size_t match_fixed(const encoder *e, size_t i) {
    static const char *const fixed[] = {SD_VOCAB_START, SD_VOCAB_END, "'s",  "'t", "'re",
                                        "'ve",          "'m",         "'ll", "'d"};
    if (e->text.at[i] != '<' && e->text.at[i] != '\'')
        return 0;
    for (size_t k = 0; k < SD_COUNT(fixed); k++) {
        size_t end = match(e, i, fixed[k]);
        if (end)
            return end;
    }
    return 0;
}

/*
 * <|startoftext|>|<|endoftext|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
 * and then GPT-2's pattern within each match, which takes only "<|startoftext|>" apart (capitals
 * hid it from the special tokens): into "<|", "startoftext" and "|>".
 */
static sd_status put_words(encoder *e, size_t first, size_t last) {
    e->end = last;
    for (size_t i = first; i < last;) {
        sd_char_class class = sdi_char_classify(e->text.at[i]);
        if (class == SD_CHAR_SPACE) {
            i++;
            continue;
        }
        size_t end = class == SD_CHAR_OTHER ? match_fixed(e, i) : 0;
        sd_status status = SD_OK;
        if (end && e->text.at[i] == '<') {
            status = put_word(e, i, i + 2);
            if (!status)
                status = put_word(e, i + 2, end - 2);
            i = end - 2;
        } else if (!end) {
            end = i + 1;
            while (class != SD_CHAR_NUMBER && end < last &&
                   sdi_char_classify(e->text.at[end]) == class)
                end++;
        }
        if (!status)
            status = put_word(e, i, end);
        if (status)
            return status;
        i = end;
    }
    return SD_OK;
}

/* Text without the tokens that are looked for as they stand. */
static sd_status put_piece(encoder *e, const char *text, size_t n) {
    const sd_added_tokens *added = &e->t->added;
    sd_status status = sdi_text_normalise(e->t->ctx, (const uint8_t *)text, n, &e->text);
    if (status)
        return status;
    if (added->first[1][0] == added->n) /* none is looked for in normalised text */
        return put_words(e, 0, e->text.n);
    sdi_added_single_spaces(&e->text);
    sd_added_match match;
    for (size_t from = 0;; from = match.end) {
        bool found = sdi_added_in_points(added, &e->text, from, &match);
        status = put_words(e, from, found ? match.start : e->text.n);
        if (status || !found)
            return status;
        put_id(e, match.token->id);
    }
}

static sd_status put_text(encoder *e, const char *text, size_t n) {
    sd_added_match match;
    for (size_t from = 0;; from = match.end) {
        bool found = sdi_added_in_text(&e->t->added, text, n, from, &match);
        sd_status status = put_piece(e, text + from, (found ? match.start : n) - from);
        if (status || !found)
            return status;
        put_id(e, match.token->id);
    }
}

sd_status sdi_tokenizer_encode(const sd_tokenizer *t, const char *text, int32_t pad, int32_t *ids,
                               int capacity, int *n_used) {
    size_t n = strlen(text);
    if (capacity < 2)
        return sdi_fail(t->ctx, SD_ERROR_ARGUMENT,
                        "tokenizer: room for %d ids; at least 2 are needed", capacity);
    if (n > MAX_TEXT)
        return sdi_fail(t->ctx, SD_ERROR_ARGUMENT,
                        "tokenizer: a text of %zu bytes; at most %u can be encoded", n, MAX_TEXT);
    encoder e = {.t = t, .bpe = {.vocab = t}, .ids = ids, .capacity = capacity};
    put_id(&e, t->start);
    sd_status status = put_text(&e, text, n);
    if (!status) {
        e.n++;
        int end = e.n < capacity ? (int)e.n - 1 : capacity - 1;
        ids[end] = t->end;
        for (int i = end + 1; i < capacity; i++)
            ids[i] = pad;
        if (n_used)
            *n_used = e.n < INT_MAX ? (int)e.n : INT_MAX;
    }
    sdi_bpe_free(&e.bpe);
    sdi_free(t->ctx, e.text.at);
    sdi_free(t->ctx, e.word);
    return status;
}
