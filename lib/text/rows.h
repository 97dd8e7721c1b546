/* Prompts as rows of ids that a text encoder takes: cut into chunks, and of one length. */
#ifndef SD_TEXT_ROWS_H
#define SD_TEXT_ROWS_H

#include "text/prompt.h"

typedef struct sd_row_params {
    const sd_tokenizer *tokenizer;
    const sd_words *words;
    int32_t pad;
    int tokens; /* of a row */
    bool weighted;
    bool quiet; /* nothing is said: it was, of another encoder */
} sd_row_params;

typedef struct sd_rows {
    const char *const *texts;
    sd_chunks
        *chunks; /* [n + 1]; those of the empty prompt come last and fill up the shorter ones */
    int n, tokens;
    int longest;  /* rows of the longest text, then of each */
    int32_t *ids; /* [n, longest, tokens] */
    bool empty;   /* all texts are "" */
} sd_rows;

/* Says in the log what was cut and what nothing here acts on. To be freed after a failure, too. */
sd_status sdi_rows_split(sd_rows *rows, const sd_context *ctx, const sd_row_params *params,
                         const char *const *texts, int n);
/* Then the ids: `longest` rows of each text, not less than the longest has. */
sd_status sdi_rows_join(sd_rows *rows, const sd_context *ctx, int longest);
void sdi_rows_free(sd_rows *rows, const sd_context *ctx);
/* Whether word i of the params' is in one of the texts. */
bool sdi_rows_have(const sd_rows *rows, int i);
/* Embeddings [n, longest, tokens, width] times their tokens' weights; the mean of a row is kept. */
void sdi_rows_weigh(const sd_rows *rows, float *embeddings, int width);

#endif
