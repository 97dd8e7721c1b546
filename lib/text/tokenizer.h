/* CLIP's byte-pair encoding, id for id as transformers' CLIPTokenizer. */
#ifndef SD_TEXT_TOKENIZER_H
#define SD_TEXT_TOKENIZER_H

#include "core/context.h"

typedef struct sd_tokenizer sd_tokenizer;

/*
 * `path`: bpe_simple_vocab_16e6.txt or .txt.gz, a tokenizer.json, or a folder with vocab.json and
 * merges.txt or with tokenizer.json, or one of these files. Tokens that were added to them are read
 * too (tokenizer_config.json, added_tokens.json), and the padding token (special_tokens_map.json).
 */
sd_status sdi_tokenizer_load(sd_context *ctx, const char *path, sd_tokenizer **out);

/*
 * Looks in this order: `path` where not NULL (then nowhere else); `tokenizer_dir` where not NULL;
 * the vocabulary files beside the checkpoint in `directory`; the one built in (Meson option
 * clip_vocab). Nothing found: SD_ERROR_IO with the places looked at.
 */
sd_status sdi_tokenizer_find(sd_context *ctx, const char *path, const char *tokenizer_dir,
                             const char *directory, sd_tokenizer **out);
/* A tokenizer is counted, and may be NULL here. The last release frees. */
sd_tokenizer *sdi_tokenizer_retain(sd_tokenizer *t);
void sdi_tokenizer_release(sd_tokenizer *t);

/*
 * Start, ids of `text`, end, padding: `capacity` entries of `ids` are all written (capacity >= 2);
 * a longer text is cut to capacity - 2 ids. *n_used: start + text + end before cutting. Any bytes
 * are accepted as text; what is not UTF-8 becomes U+FFFD. Thread-safe.
 */
sd_status sdi_tokenizer_encode(const sd_tokenizer *t, const char *text, int32_t pad, int32_t *ids,
                               int capacity, int *n_used);

/* Added tokens whose ids are n_ids or more (the text encoder has no rows for them) are read as text
 * from now on; the log names them. `path` is the model's. Before the tokenizer is used. */
void sdi_tokenizer_limit(sd_tokenizer *t, const char *path, int n_ids);
/* The padding token that the vocabulary's folder names: its id, that of the end token where none is
 * named, or -1 where it is no token; its text, or NULL. */
int32_t sdi_tokenizer_pad(const sd_tokenizer *t);
const char *sdi_tokenizer_pad_text(const sd_tokenizer *t);
/* The padding token that the files of `dir` name, instead of what the vocabulary's folder does;
 * where they name none, that stays. */
sd_status sdi_tokenizer_take_pad(sd_tokenizer *t, const char *dir);
/* The padding token is a word as any other, and none is named: as the original's tokenizers. */
void sdi_tokenizer_drop_pad(sd_tokenizer *t);
/* Textual inversion as diffusers saves it: an added token "<toy>" goes on as "<toy>_1", "<toy>_2",
 * ... Its k-th (1, 2, ...) such id, or -1. */
int32_t sdi_tokenizer_following(const sd_tokenizer *t, int32_t id, int k);

/* "cat</w>", or NULL when out of range. */
const char *sdi_tokenizer_text(const sd_tokenizer *t, int32_t id);
int sdi_tokenizer_size(const sd_tokenizer *t);      /* 49408 */
int32_t sdi_tokenizer_start(const sd_tokenizer *t); /* 49406 */
int32_t sdi_tokenizer_end(const sd_tokenizer *t);   /* 49407 */

#endif
