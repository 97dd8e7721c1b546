/*
 * Tokens that were added to a vocabulary (added_tokens.json, added_tokens_decoder, tokenizer.json):
 * cut out of a text whole, as tokenizers' AddedVocabulary does, before what is between is split.
 */
#ifndef SD_TEXT_ADDED_H
#define SD_TEXT_ADDED_H

#include "text/unicode.h"

typedef struct sd_added {
    char *text;             /* as the file has it */
    size_t n;               /* bytes of it */
    sd_code_points written; /* how it reads in a normalised text */
    size_t order;           /* in which they were put */
    int32_t id;
    bool normalized;  /* looked for in the normalised text, else in the text as it was given */
    bool single_word; /* only where no letter, digit or mark is beside it */
} sd_added;

typedef struct sd_added_tokens {
    sd_added *at; /* of one kind and first character together, the longest first */
    size_t n, capacity;
    size_t first[2][257]; /* [normalized][byte]: of those that begin so, to the next's */
} sd_added_tokens;

typedef struct sd_added_match {
    const sd_added *token;
    size_t start, end;
} sd_added_match;

/* Copies the text and the flags. */
sd_status sdi_added_put(const sd_context *ctx, sd_added_tokens *tokens, const sd_added *token);
/* After the last was put: of tokens with one text the first counts. */
void sdi_added_sort(const sd_context *ctx, sd_added_tokens *tokens);
void sdi_added_drop(const sd_context *ctx, sd_added_tokens *tokens, const sd_added *token);
/* Drops those whose id is n_ids or more. */
void sdi_added_limit(const sd_context *ctx, sd_added_tokens *tokens, int32_t n_ids);
void sdi_added_free(const sd_context *ctx, sd_added_tokens *tokens);

const sd_added *sdi_added_find(const sd_added_tokens *tokens, const char *text);
const sd_added *sdi_added_of_id(const sd_added_tokens *tokens, int32_t id);

/* The next token of the text from `from` on: the leftmost, and of these the longest. */
bool sdi_added_in_text(const sd_added_tokens *tokens, const char *text, size_t n, size_t from,
                       sd_added_match *match);
/* The next token that is `normalized`, in a normalised text. */
bool sdi_added_in_points(const sd_added_tokens *tokens, const sd_code_points *text, size_t from,
                         sd_added_match *match);
/* Each run of white space becomes one space. */
void sdi_added_single_spaces(sd_code_points *text);

#endif
