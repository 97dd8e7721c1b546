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

typedef struct sd_words {
    sd_word *at;
    int n;
    int n_rows; /* of all */
} sd_words;

/* Reads one more word: `name`, or the file's name, which has 1 to tokens - 2 tokens and is not
 * there yet. There is room at words->at, which is zeros; its ids of rows are the caller's to set.
 */
sd_status sdi_words_add(sd_words *words, const sd_context *ctx, const sd_tokenizer *t,
                        const char *path, const char *name, int tokens);
void sdi_words_free(const sd_context *ctx, sd_words *words);

#endif
