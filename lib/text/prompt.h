/*
 * The prompt syntax of the popular web UIs: emphasis in brackets, BREAK, and chunks for prompts
 * that are longer than the text encoder's 75 tokens.
 *
 *   (word)       weight 1.1; ((word)) 1.21          \( \) \[ \] \\   the character itself
 *   (word:1.3)   weight 1.3                         BREAK            the next chunk begins here
 *   [word]       weight 1 / 1.1
 *
 * Every text is a prompt: a bracket that closes nothing is text, one that is never closed weighs
 * the rest of the prompt, as in the web UIs.
 */
#ifndef SD_TEXT_PROMPT_H
#define SD_TEXT_PROMPT_H

#include "text/words.h"

/* More open brackets than this are text, and no weight goes beyond +-SD_PROMPT_MAX_WEIGHT. */
#define SD_PROMPT_MAX_DEPTH 256
#define SD_PROMPT_MAX_WEIGHT 1e6

typedef struct sd_prompt_part {
    const char *text; /* "" for a break */
    double weight;
    bool is_break;
} sd_prompt_part;

typedef struct sd_prompt {
    sd_prompt_part *parts; /* neighbours of one weight are one part */
    size_t n;
    char *text; /* of all parts */
} sd_prompt;

sd_status sdi_prompt_parse(const sd_context *ctx, const char *text, sd_prompt *out);
void sdi_prompt_free(const sd_context *ctx, sd_prompt *prompt);

static inline bool sdi_is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}
/* [+-]?[.0-9]+ as a number: where it ends, or NULL where there is none. strtod would ask the locale
 * what a point is. */
const char *sdi_prompt_number(const char *s, double *out);
/* The next `word` that stands alone in text[from .. n - 1], or n: \bword\b. */
size_t sdi_prompt_find_word(const char *text, size_t from, size_t n, const char *word);

#define SD_PROMPT_MAX_CHUNKS 256

/* Rows of `tokens` ids each: start, tokens - 2 of text, end; and their weights. */
typedef struct sd_chunks {
    int32_t *ids; /* [n, tokens] */
    float *weights;
    int n, tokens;
    bool weighted; /* a weight is not 1 */
    bool *words;   /* of each of sd_words, whether it is in the text; NULL: there are none */
} sd_chunks;

/*
 * `weighted` 0: the plain text, in one row as sdi_tokenizer_encode gives it, cut where it is too
 * long. Else the syntax above, in as many rows as it takes; a row that is full and had a comma
 * among its last 20 tokens ends at this comma. An added token "<toy>" stands for "<toy>_1", ...
 * too, where these are there (sdi_tokenizer_following). *n_used (may be NULL) as
 * sdi_tokenizer_encode's. No word of `words` (may be NULL) has more than tokens - 2 rows.
 */
sd_status sdi_prompt_chunks(const sd_tokenizer *t, const sd_words *words, const char *text,
                            bool weighted, int tokens, int32_t pad, sd_chunks *out, int *n_used);
void sdi_chunks_free(const sd_context *ctx, sd_chunks *chunks);

#endif
