/* Long prompts in rows of the text encoder's length: tokenize_line of the web UIs. */
#include "text/prompt.h"
#include "text/unicode.h"
#include "text/vocab.h"

#include <string.h>

#define COMMA_BACKTRACK 20 /* the web UIs' default */

typedef struct chunker {
    const sd_tokenizer *t;
    sd_chunks *out;
    int32_t pad, comma;
    size_t id_capacity, weight_capacity;
    int32_t *ids; /* of one part */
    size_t part_capacity;
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
        return sd_fail(c->t->ctx, SD_ERROR_ARGUMENT,
                       "the prompt takes more than %d chunks of %d tokens", SD_PROMPT_MAX_CHUNKS,
                       c->room);
    sd_status status =
        sd_text_reserve(c->t->ctx, &out->ids, &c->id_capacity, need, sizeof *out->ids);
    if (!status)
        status = sd_text_reserve(c->t->ctx, &out->weights, &c->weight_capacity, need,
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

/* What follows the row's last comma begins the next row. */
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

static sd_status put_token(chunker *c, int32_t id, float weight) {
    sd_status status = SD_OK;
    if (id == c->comma)
        c->last_comma = c->n;
    else if (c->n == c->room && c->last_comma >= 0 && c->n - c->last_comma <= COMMA_BACKTRACK)
        status = move_after_comma(c);
    if (!status && c->n == c->room)
        status = begin_row(c);
    if (status)
        return status;
    put(c, id, weight);
    return SD_OK;
}

/* All ids of a text into c->ids, between a start and an end. */
static sd_status encode_part(chunker *c, const char *text, int *n_used) {
    size_t need = 64;
    for (;;) {
        sd_status status =
            sd_text_reserve(c->t->ctx, &c->ids, &c->part_capacity, need, sizeof *c->ids);
        if (!status)
            status = sd_tokenizer_encode(c->t, text, c->pad, c->ids, (int)need, n_used);
        if (status || (size_t)*n_used <= need)
            return status;
        need = (size_t)*n_used;
    }
}

static sd_status put_part(chunker *c, const sd_prompt_part *part) {
    if (part->is_break)
        return begin_row(c);
    int n_used;
    sd_status status = encode_part(c, part->text, &n_used);
    for (int i = 1; i < n_used - 1 && !status; i++)
        status = put_token(c, c->ids[i], (float)part->weight);
    if (!status && n_used > 2) {
        c->n_used += n_used - 2;
        c->out->weighted |= part->weight != 1.0;
    }
    return status;
}

static sd_status put_prompt(chunker *c, const sd_prompt *prompt) {
    sd_status status = begin_row(c);
    for (size_t i = 0; i < prompt->n && !status; i++)
        status = put_part(c, &prompt->parts[i]);
    /* A break at the end begins nothing. */
    if (!status && c->out->n > 1 && c->n == 0)
        c->out->n--;
    return status;
}

static sd_status plain_row(chunker *c, const char *text, int *n_used) {
    sd_status status = begin_row(c);
    return status ? status
                  : sd_tokenizer_encode(c->t, text, c->pad, c->out->ids, c->out->tokens, n_used);
}

sd_status sd_prompt_chunks(const sd_tokenizer *t, const char *text, bool weighted, int tokens,
                           int32_t pad, sd_chunks *out, int *n_used) {
    chunker c = {.t = t, .out = out, .pad = pad, .room = tokens - 2, .n_used = 2};
    *out = (sd_chunks){.tokens = tokens};
    if (weighted && tokens < 3)
        return sd_fail(t->ctx, SD_ERROR_UNSUPPORTED,
                       "the text encoder takes %d tokens; a prompt needs at least 3", tokens);
    c.comma = sd_vocab_id(t, ",</w>", 5);
    sd_status status;
    int used = 0;
    if (weighted) {
        sd_prompt prompt;
        status = sd_prompt_parse(t->ctx, text, &prompt);
        if (!status)
            status = put_prompt(&c, &prompt);
        sd_prompt_free(t->ctx, &prompt);
        used = (int)c.n_used;
    } else {
        status = plain_row(&c, text, &used);
    }
    sd_free(t->ctx, c.ids);
    if (status)
        sd_chunks_free(t->ctx, out);
    else if (n_used)
        *n_used = used;
    return status;
}

void sd_chunks_free(const sd_context *ctx, sd_chunks *chunks) {
    sd_free(ctx, chunks->ids);
    sd_free(ctx, chunks->weights);
    *chunks = (sd_chunks){0};
}
