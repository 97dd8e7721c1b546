/* Words of textual inversion: their names, as ids that stand in prompts. */
#include "text/words.h"

#include "text/clean.h"

#include <string.h>

/* The file's name without folder and extension. */
static char *name_of(const sd_context *ctx, const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    return sdi_strndup(ctx, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

/* The ids of a name, without start and end. *ids is the word's, after a failure too. */
static sd_status read_ids(const sd_context *ctx, const sd_tokenizer *t, const sd_word *word,
                          const char *name, int tokens, int32_t **ids, int *n_ids) {
    int n = 0;
    *ids = sdi_alloc_array(ctx, (size_t)tokens, sizeof **ids);
    sd_status status = *ids ? sdi_tokenizer_encode(t, name, 0, *ids, tokens, &n) : SD_ERROR_MEMORY;
    if (status)
        return status;
    if (n <= 2 || n > tokens)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "%s: \"%s\" has %d tokens; a word of 1 to %d was expected", word->path,
                        name, n - 2, tokens - 2);
    *n_ids = n - 2;
    memmove(*ids, *ids + 1, (size_t)*n_ids * sizeof **ids);
    return SD_OK;
}

/* The name as it is, and as it reads in a prompt that is cleaned. */
static sd_status read_name(const sd_context *ctx, const sd_tokenizer *t, sd_word *word,
                           int tokens) {
    char *cleaned = NULL;
    sd_status status;
    if ((status = read_ids(ctx, t, word, word->name, tokens, &word->ids, &word->n_ids)) ||
        (status = sdi_text_clean(ctx, word->name, &cleaned)))
        return status;
    if (*cleaned && strcmp(cleaned, word->name) != 0)
        status = read_ids(ctx, t, word, cleaned, tokens, &word->clean_ids, &word->n_clean);
    sdi_free(ctx, cleaned);
    return status;
}

static sd_status check_new(const sd_context *ctx, const sd_words *words, const sd_word *word) {
    for (const sd_word *other = words->at; other < word; other++)
        if (other->n_ids == word->n_ids &&
            !memcmp(other->ids, word->ids, (size_t)word->n_ids * sizeof *word->ids))
            return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                            "%s: another file has embeddings for the same word", word->path);
    return SD_OK;
}

sd_status sdi_words_add(sd_words *words, const sd_tokenizer *t, const char *path, const char *name,
                        int tokens) {
    const sd_context *ctx = words->ctx;
    sd_word *word = &words->at[words->n++];
    word->name = name ? sdi_strdup(ctx, name) : name_of(ctx, path);
    word->path = sdi_strdup(ctx, path);
    if (!word->name || !word->path)
        return SD_ERROR_MEMORY;
    sd_status status = read_name(ctx, t, word, tokens);
    return status ? status : check_new(ctx, words, word);
}

sd_words *sdi_words_new(const sd_context *ctx, int n) {
    sd_words *words = sdi_zalloc(ctx, sizeof *words + (size_t)n * sizeof *words->at);
    if (!words)
        return NULL;
    atomic_init(&words->refs, 1);
    words->ctx = ctx;
    return words;
}

sd_words *sdi_words_retain(sd_words *words) {
    if (words)
        atomic_fetch_add_explicit(&words->refs, 1, memory_order_relaxed);
    return words;
}

void sdi_words_release(sd_words *words) {
    if (!words || atomic_fetch_sub_explicit(&words->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (int i = 0; i < words->n; i++) {
        sdi_free(words->ctx, words->at[i].name);
        sdi_free(words->ctx, words->at[i].path);
        sdi_free(words->ctx, words->at[i].ids);
        sdi_free(words->ctx, words->at[i].clean_ids);
    }
    sdi_free(words->ctx, words);
}
