/* Words of textual inversion, and what they read in prompts. */
#ifndef SD_TEXT_WORDS_H
#define SD_TEXT_WORDS_H

#include "text/tokenizer.h"

#include <stdatomic.h>

/* Textual inversion (Gal et al. 2022): a word whose embeddings were learned. Its own ids, wherever
 * they stand in a prompt, become first .. first + n_rows - 1, which follow the vocabulary's. */
typedef struct sd_word {
    char *name;               /* in prompts */
    char *path;               /* of its file */
    int32_t *ids, *clean_ids; /* of the name; of it as sdi_text_clean writes it, where it differs */
    int n_ids, n_clean;
    int32_t first;
    int n_rows;
    atomic_bool told; /* the log said that it is in no prompt */
} sd_word;

/* The words of one text encoder, which never change once all are added. */
typedef struct sd_words {
    atomic_int refs;
    const sd_context *ctx; /* which lives longer */
    int n;
    int n_rows; /* of all */
    sd_word at[];
} sd_words;

/* Room for n of them; NULL: no memory. */
sd_words *sdi_words_new(const sd_context *ctx, int n);
/* Words are counted, and may be NULL here. The last release frees. */
sd_words *sdi_words_retain(sd_words *words);
void sdi_words_release(sd_words *words);

/* Reads one more word: `name`, or the file's name, which has 1 to tokens - 2 tokens and is not
 * there yet. Its ids of rows are the caller's to set. */
sd_status sdi_words_add(sd_words *words, const sd_tokenizer *t, const char *path, const char *name,
                        int tokens);

#endif
