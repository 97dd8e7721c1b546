/* CLIP's vocabulary: token strings with ids, and the ranked merges of byte-pair encoding. */
#ifndef SD_TEXT_VOCAB_H
#define SD_TEXT_VOCAB_H

#include "text/added.h"
#include "text/tokenizer.h"

#include <jansson.h>

/* More than any CLIP vocabulary has, and little enough for every table. */
#define SD_MAX_IDS (1 << 20)

typedef struct sd_merge {
    int32_t left, right; /* ids; left is -1 in an empty slot */
    int32_t rank;        /* the smaller, the earlier it is applied */
    int32_t id;          /* of left + right */
} sd_merge;

/* Immutable once loaded. */
struct sd_tokenizer {
    atomic_int refs;
    sd_context *ctx; /* which lives longer */
    char *text;      /* all tokens, each with a 0 byte after it */
    size_t text_size, text_capacity;
    size_t *offset; /* [n_ids] into `text`, plus 1; 0 where no token has this id */
    size_t offset_capacity;
    int32_t n_ids;
    size_t n_tokens; /* fewer where ids are skipped */
    int32_t *slots;  /* hash table from string to id; -1: empty */
    size_t slot_mask;
    sd_merge *merges; /* hash table by (left, right) */
    size_t merge_mask;
    int32_t byte_id[256];     /* id of a single byte; -1: not in the vocabulary */
    int32_t byte_end_id[256]; /* the same at the end of a word: "a</w>" */
    int32_t start, end;
    sd_added_tokens added;
    char *pad_token; /* that the vocabulary's folder names; NULL: none */
};

#define SD_TOKENIZER_JSON "tokenizer.json"
#define SD_VOCAB_START "<|startoftext|>"
#define SD_VOCAB_END "<|endoftext|>"

/* Id of a token string, or -1. */
int32_t sdi_vocab_id(const sd_tokenizer *t, const char *token, size_t n);
/* The token string of an id, or NULL. */
const char *sdi_vocab_text(const sd_tokenizer *t, int32_t id);
/* The merge of a pair, or NULL. */
const sd_merge *sdi_vocab_merge(const sd_tokenizer *t, int32_t left, int32_t right);

/* A pair as a file has it, and where, for sentences: "merges.txt, line 3". */
typedef struct sd_merge_text {
    const char *name, *unit;
    int number;
    const char *left, *right;
    size_t n_left, n_right;
} sd_merge_text;

/* The object in a file of JSON, by jansson's flags. */
sd_status sdi_vocab_parse(const sd_tokenizer *t, const char *name, const char *data, size_t size,
                          size_t flags, json_t **out);

/*
 * Fill a zeroed tokenizer whose ctx is set. `name` is the file in messages.
 * Either sdi_vocab_read_json, then the merges; or as simple_tokenizer.py of the original does:
 * sdi_vocab_add_base (bytes, and bytes at a word's end), the merges with `add` (each is one more
 * token), sdi_vocab_add_special. sdi_vocab_finish looks up what must be there.
 */
sd_status sdi_vocab_read_json(sd_tokenizer *t, const char *name, const char *data, size_t size);
sd_status sdi_vocab_read_object(sd_tokenizer *t, const char *name, const json_t *object);
sd_status sdi_vocab_add_base(sd_tokenizer *t);
sd_status sdi_vocab_read_merges(sd_tokenizer *t, const char *name, const char *data, size_t size,
                                bool add);
/* The merges one by one: room for them, then each; `rank` counts from 0. */
sd_status sdi_vocab_make_merges(sd_tokenizer *t, size_t n);
sd_status sdi_vocab_add_merge(sd_tokenizer *t, const sd_merge_text *m, int rank, bool add);
/* Fills left and right from "a b"; false where that is not what the text is. */
bool sdi_vocab_split_merge(const char *text, size_t n, sd_merge_text *m);
sd_status sdi_vocab_add_special(sd_tokenizer *t);
/* A token that is not there, if its id is free. */
sd_status sdi_vocab_add_token(sd_tokenizer *t, int32_t id, const char *token);
sd_status sdi_vocab_finish(sd_tokenizer *t, const char *name);

/* tokenizer_files.c: tokenizer.json of transformers. SD_ERROR_UNSUPPORTED where it is another
 * tokenizer than CLIP's. */
sd_status sdi_vocab_read_tokenizer(sd_tokenizer *t, const char *name, const char *data,
                                   size_t size);
/* Reads a folder's other files: added tokens and the padding token. `tokenizer`: its
 * tokenizer.json, or NULL. After the vocabulary, before sdi_vocab_finish. */
sd_status sdi_vocab_read_extras(sd_tokenizer *t, const char *dir, const json_t *tokenizer);

/* The vocabulary built in, as .txt.gz; size 0 where there is none. */
extern const unsigned char sdi_builtin_vocab[];
extern const size_t sdi_builtin_vocab_size;

#endif
