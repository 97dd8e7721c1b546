/* Prompts in rows of the text encoder's length: tokenize_line of the web UIs. */
#include "text/prompt.h"
#include "text/unicode.h"
#include "text/vocab.h"

#include <limits.h>
#include <string.h>

#define COMMA_BACKTRACK 20 /* the web UIs' default */

typedef struct chunker {
    const sd_tokenizer *t;
    const sd_words *words;
    sd_chunks *out;
    int32_t pad, comma;
    size_t id_capacity, weight_capacity;
    int32_t *ids; /* of one part */
    size_t part_capacity;
    int32_t *unit; /* what stands for one token of the text, or for a word: n_unit ids */
    size_t unit_capacity;
    int n_unit;
    int room;       /* tokens of text in a row */
    int n;          /* of them in the last row */
    int last_comma; /* its place among them, or -1 */
    int64_t n_used;
} chunker;

static int32_t *row_ids(const chunker *c) {
    return c->out->ids + (size_t)(c->out->n - 1) * (size_t)c->out->tokens + 1;
}

static float *row_weights(const chunker *c) {
    return c->out->weights + (size_t)(c->out->n - 1) * (size_t)c->out->tokens + 1;
}

/* An empty row at the end. */
static sd_status begin_row(chunker *c) {
    sd_chunks *out = c->out;
    size_t tokens = (size_t)out->tokens, need = ((size_t)out->n + 1) * tokens;
    if (out->n == SD_PROMPT_MAX_CHUNKS)
        return sdi_fail(c->t->ctx, SD_ERROR_ARGUMENT,
                        "the prompt takes more than %d chunks of %d tokens", SD_PROMPT_MAX_CHUNKS,
                        c->room);
    sd_status status =
        sdi_text_reserve(c->t->ctx, &out->ids, &c->id_capacity, need, sizeof *out->ids);
    if (!status)
        status = sdi_text_reserve(c->t->ctx, &out->weights, &c->weight_capacity, need,
                                  sizeof *out->weights);
    if (status)
        return status;
    out->n++;
    int32_t *ids = row_ids(c) - 1;
    float *weights = row_weights(c) - 1;
    for (size_t i = 0; i < tokens; i++) {
        ids[i] = i == 0 ? c->t->start : i == 1 ? c->t->end : c->pad;
        weights[i] = 1.0f;
    }
    c->n = 0;
    c->last_comma = -1;
    return SD_OK;
}

/* The row has room. */
static void put(chunker *c, int32_t id, float weight) {
    int32_t *ids = row_ids(c);
    ids[c->n] = id;
    ids[c->n + 1] = c->t->end;
    row_weights(c)[c->n] = weight;
    c->n++;
}

/* The tokens after the row's last comma begin the next row. */
static sd_status move_after_comma(chunker *c) {
    int32_t ids[COMMA_BACKTRACK];
    float weights[COMMA_BACKTRACK];
    int first = c->last_comma + 1, n = c->n - first;
    int32_t *old = row_ids(c);
    for (int i = 0; i < n; i++) {
        ids[i] = old[first + i];
        weights[i] = row_weights(c)[first + i];
        row_weights(c)[first + i] = 1.0f;
    }
    for (int i = first; i <= c->room; i++)
        old[i] = i == first ? c->t->end : c->pad;
    sd_status status = begin_row(c);
    for (int i = 0; i < n && !status; i++)
        put(c, ids[i], weights[i]);
    return status;
}

/* Makes sure of room for one token, which is not there yet. */
static sd_status make_room(chunker *c, int32_t id) {
    sd_status status = SD_OK;
    if (id == c->comma)
        c->last_comma = c->n;
    else if (c->n == c->room && c->last_comma >= 0 && c->n - c->last_comma <= COMMA_BACKTRACK)
        status = move_after_comma(c);
    return !status && c->n == c->room ? begin_row(c) : status;
}

/* All ids of a text into c->ids, between a start and an end. */
static sd_status encode_part(chunker *c, const char *text, int *n_used) {
    size_t need = 64;
    for (;;) {
        sd_status status =
            sdi_text_reserve(c->t->ctx, &c->ids, &c->part_capacity, need, sizeof *c->ids);
        if (!status)
            status = sdi_tokenizer_encode(c->t, text, c->pad, c->ids, (int)need, n_used);
        if (status || (size_t)*n_used <= need)
            return status;
        need = (size_t)*n_used;
    }
}

static bool begin_with(const int32_t *ids, int n, const int32_t *word, int n_word) {
    return n_word > 0 && n_word <= n && !memcmp(ids, word, (size_t)n_word * sizeof *ids);
}

/* The longest word that the n ids begin with, or NULL; *length of its ids. */
static const sd_word *find_word(const chunker *c, const int32_t *ids, int n, int *length) {
    const sd_word *best = NULL;
    *length = 0;
    for (int i = 0; c->words && i < c->words->n; i++) {
        const sd_word *word = &c->words->at[i];
        bool plain = begin_with(ids, n, word->ids, word->n_ids);
        bool clean = begin_with(ids, n, word->clean_ids, word->n_clean);
        int found = plain ? word->n_ids : clean ? word->n_clean : 0;
        if (found > *length) {
            best = word;
            *length = found;
        }
    }
    return best;
}

static sd_status add_to_unit(chunker *c, int32_t id) {
    sd_status status = sdi_text_reserve(c->t->ctx, &c->unit, &c->unit_capacity,
                                        (size_t)c->n_unit + 1, sizeof *c->unit);
    if (!status)
        c->unit[c->n_unit++] = id;
    return status;
}

/* Takes the text at c->ids[*i], of n, apart into c->unit: the rows of a word, an added token with
 * those that follow it, or the id itself. *i becomes where the next is. */
static sd_status next_unit(chunker *c, int *i, int n) {
    int length;
    const sd_word *word = find_word(c, c->ids + *i, n - *i, &length);
    int32_t id = c->ids[*i];
    c->n_unit = 0;
    if (word)
        c->out->words[word - c->words->at] = true;
    *i += word ? length : 1;
    sd_status status = add_to_unit(c, word ? word->first : id);
    for (int k = 1; word && k < word->n_rows && !status; k++)
        status = add_to_unit(c, word->first + k);
    for (int k = 1; !word && k < c->room && !status; k++) {
        int32_t next = sdi_tokenizer_following(c->t, id, k);
        if (next < 0)
            break;
        status = add_to_unit(c, next);
    }
    return status;
}

static sd_status put_part(chunker *c, const sd_prompt_part *part) {
    int n;
    if (part->is_break)
        return begin_row(c);
    sd_status status = encode_part(c, part->text, &n);
    for (int i = 1; !status && i < n - 1;) {
        status = make_room(c, c->ids[i]);
        if (!status)
            status = next_unit(c, &i, n - 1);
        if (!status && c->n + c->n_unit > c->room) /* a word's rows stay together */
            status = begin_row(c);
        for (int k = 0; k < c->n_unit && !status; k++)
            put(c, c->unit[k], (float)part->weight);
        c->n_used += c->n_unit;
        c->out->weighted |= part->weight != 1.0;
    }
    return status;
}

static sd_status put_prompt(chunker *c, const char *text) {
    sd_prompt prompt;
    sd_status status = sdi_prompt_parse(c->t->ctx, text, &prompt);
    if (!status)
        status = begin_row(c);
    for (size_t i = 0; i < prompt.n && !status; i++)
        status = put_part(c, &prompt.parts[i]);
    /* A break at the end begins nothing. */
    if (!status && c->out->n > 1 && c->n == 0)
        c->out->n--;
    sdi_prompt_free(c->t->ctx, &prompt);
    return status;
}

/* One row, whatever is left out. */
static sd_status put_plain(chunker *c, const char *text) {
    int n;
    sd_status status = begin_row(c);
    if (!status)
        status = encode_part(c, text, &n);
    for (int i = 1; !status && i < n - 1;) {
        status = next_unit(c, &i, n - 1);
        for (int k = 0; k < c->n_unit && c->n < c->room && !status; k++)
            put(c, c->unit[k], 1.0f);
        c->n_used += c->n_unit;
    }
    return status;
}

static sd_status note_words(chunker *c) {
    if (!c->words || c->words->n == 0)
        return SD_OK;
    c->out->words = sdi_alloc_array(c->t->ctx, (size_t)c->words->n, sizeof *c->out->words);
    return c->out->words ? SD_OK : SD_ERROR_MEMORY;
}

sd_status sdi_prompt_chunks(const sd_tokenizer *t, const sd_words *words, const char *text,
                            bool weighted, int tokens, int32_t pad, sd_chunks *out, int *n_used) {
    chunker c = {.t = t, .words = words, .out = out, .pad = pad, .room = tokens - 2, .n_used = 2};
    *out = (sd_chunks){.tokens = tokens};
    if (tokens < 3)
        return sdi_fail(t->ctx, SD_ERROR_UNSUPPORTED,
                        "the text encoder takes %d tokens; a prompt needs at least 3", tokens);
    c.comma = sdi_vocab_id(t, ",</w>", 5);
    sd_status status = note_words(&c);
    if (!status)
        status = weighted ? put_prompt(&c, text) : put_plain(&c, text);
    sdi_free(t->ctx, c.ids);
    sdi_free(t->ctx, c.unit);
    if (status)
        sdi_chunks_free(t->ctx, out);
    else if (n_used)
        *n_used = c.n_used < INT_MAX ? (int)c.n_used : INT_MAX;
    return status;
}

void sdi_chunks_free(const sd_context *ctx, sd_chunks *chunks) {
    sdi_free(ctx, chunks->ids);
    sdi_free(ctx, chunks->weights);
    sdi_free(ctx, chunks->words);
    *chunks = (sd_chunks){0};
}
