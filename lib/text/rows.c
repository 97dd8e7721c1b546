/* Prompts as rows of ids: see rows.h. */
#include "text/rows.h"

#include "text/odd_words.h"

#include <math.h>
#include <string.h>

/* The chunks of text i, or behind the last of the empty one. */
static sd_status split_text(sd_rows *rows, const sd_context *ctx, const sd_row_params *p, int i) {
    const char *text = i < rows->n ? rows->texts[i] : "";
    sd_chunks *chunks = &rows->chunks[i];
    int n_used;
    sd_status status = sdi_prompt_chunks(p->tokenizer, p->words, text, p->weighted, p->tokens,
                                         p->pad, chunks, &n_used);
    if (status)
        return status;
    if (!p->weighted && !p->quiet && n_used > p->tokens)
        sdi_log(ctx, SD_LOG_LEVEL_WARN, "the prompt has %d tokens; it was cut to %d", n_used,
                p->tokens);
    rows->longest = chunks->n > rows->longest ? chunks->n : rows->longest;
    rows->empty = rows->empty && !*text;
    return SD_OK;
}

static sd_status split_texts(sd_rows *rows, const sd_context *ctx, const sd_row_params *p) {
    sd_odd_words odd = {0};
    sd_status status = SD_OK;
    rows->chunks = sdi_alloc_array(ctx, (size_t)rows->n + 1, sizeof *rows->chunks);
    if (!rows->chunks)
        return SD_ERROR_MEMORY;
    for (int i = 0; i <= rows->n && !status; i++)
        status = split_text(rows, ctx, p, i);
    for (int i = 0; i < rows->n && !status && !p->quiet; i++)
        sdi_odd_words_find(&odd, rows->texts[i], p->weighted);
    sdi_odd_words_log(&odd, ctx);
    return status;
}

sd_status sdi_rows_join(sd_rows *rows, const sd_context *ctx, int longest) {
    size_t tokens = (size_t)rows->tokens, n = (size_t)rows->n * (size_t)longest;
    rows->longest = longest;
    rows->ids = sdi_alloc_array(ctx, n * tokens, sizeof *rows->ids);
    if (!rows->ids)
        return SD_ERROR_MEMORY;
    int32_t *to = rows->ids;
    for (int i = 0; i < rows->n; i++)
        for (int k = 0; k < rows->longest; k++, to += tokens) {
            const sd_chunks *c = &rows->chunks[i], *empty = &rows->chunks[rows->n];
            memcpy(to, k < c->n ? c->ids + (size_t)k * tokens : empty->ids, tokens * sizeof *to);
        }
    return SD_OK;
}

sd_status sdi_rows_split(sd_rows *rows, const sd_context *ctx, const sd_row_params *params,
                         const char *const *texts, int n) {
    *rows = (sd_rows){.texts = texts, .n = n, .tokens = params->tokens, .empty = true};
    return split_texts(rows, ctx, params);
}

void sdi_rows_free(sd_rows *rows, const sd_context *ctx) {
    for (int i = 0; i <= rows->n && rows->chunks; i++)
        sdi_chunks_free(ctx, &rows->chunks[i]);
    sdi_free(ctx, rows->chunks);
    sdi_free(ctx, rows->ids);
}

bool sdi_rows_have(const sd_rows *rows, int i) {
    for (int k = 0; k < rows->n; k++)
        if (rows->chunks[k].words[i])
            return true;
    return false;
}

/* y [tokens, width] times its tokens' weights; then its mean is what it was. */
static void weigh(float *y, const float *weights, int tokens, int width) {
    double before = 0, after = 0;
    for (int i = 0; i < tokens; i++)
        for (int j = 0; j < width; j++) {
            float *v = &y[(size_t)i * (size_t)width + (size_t)j];
            before += (double)*v;
            *v *= weights[i];
            after += (double)*v;
        }
    float ratio = (float)(before / after);
    for (size_t i = 0; i < (size_t)tokens * (size_t)width && isfinite(ratio); i++)
        y[i] *= ratio;
}

void sdi_rows_weigh(const sd_rows *rows, float *embeddings, int width) {
    for (int i = 0; i < rows->n; i++) {
        const sd_chunks *c = &rows->chunks[i];
        size_t each = (size_t)c->tokens * (size_t)width;
        float *y = embeddings + (size_t)i * (size_t)rows->longest * each;
        for (int k = 0; k < c->n && c->weighted; k++)
            weigh(y + (size_t)k * each, c->weights + (size_t)k * (size_t)c->tokens, c->tokens,
                  width);
    }
}
