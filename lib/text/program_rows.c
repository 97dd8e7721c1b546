/* Texts with programs, as what is to be encoded and what is looked at when: see program.h. */
#include "text/clean.h"
#include "text/program.h"

#include <string.h>

/* One prompt of the terms of a text. */
typedef struct term {
    sd_text_changes changes;
    double weight;
} term;

typedef struct reader {
    sd_context *ctx;
    int n, n_negative, steps;
    term *terms;   /* [n, SD_COND_MAX_TERMS] */
    int *n_terms;  /* [n] */
    bool *changes; /* [steps + 1]: whether something changes after that step */
    sd_text_rows *out;
    size_t capacity;
} reader;

static term *terms_of(const reader *r, int i) {
    return r->terms + (size_t)i * SD_COND_MAX_TERMS;
}

static sd_status read_term(reader *r, int i, const char *text, size_t n, double weight) {
    if (r->n_terms[i] == SD_COND_MAX_TERMS)
        return sdi_fail(r->ctx, SD_ERROR_UNSUPPORTED,
                        "more than %d prompts are combined by AND in one", SD_COND_MAX_TERMS);
    char *copy = sdi_strndup(r->ctx, text, n);
    if (!copy)
        return SD_ERROR_MEMORY;
    term *t = &terms_of(r, i)[r->n_terms[i]];
    sd_status status = sdi_text_changes(r->ctx, copy, r->steps, &t->changes);
    sdi_free(r->ctx, copy);
    t->weight = weight;
    r->n_terms[i]++;
    for (size_t k = 0; k < t->changes.n; k++)
        r->changes[t->changes.at[k].end] = true;
    return status;
}

/* In a negative prompt AND is a word, and a number at the end is text. */
static sd_status read_text(reader *r, int i, const char *text) {
    if (i >= r->n - r->n_negative)
        return read_term(r, i, text, strlen(text), 1.0);
    sd_status status = SD_OK;
    for (const char *rest = text; rest && !status;) {
        sd_text_term t = sdi_text_next_term(&rest);
        status = read_term(r, i, t.text, t.n, t.weight);
    }
    if (!status && r->n_terms[i] == 1 && terms_of(r, i)->weight != 1.0)
        sdi_log(r->ctx, SD_LOG_LEVEL_WARN,
                "a prompt ends with \":%g\", which weighs all of it, as in the web UIs",
                terms_of(r, i)->weight);
    return status;
}

static bool is_plain(const reader *r, int i) {
    const term *t = terms_of(r, i);
    return r->n_terms[i] == 1 && t->changes.n == 1 && t->weight == 1.0;
}

/* ------------------------------------------------------------------------------- the program */

/* What the term has at evaluation `step`, counted from 0. CFGDenoiser counts so, and looks for the
 * first end that is not below: what ends at step 5 is seen by six evaluations. */
static const char *text_at(const term *t, int step) {
    size_t k = 0;
    while (k + 1 < t->changes.n && step > t->changes.at[k].end)
        k++;
    return t->changes.at[k].text;
}

/* The place of a text among those that are to be encoded from `first` on, added where it is new;
 * -1: there is no memory. */
static int find_text(reader *r, int first, const char *text) {
    sd_text_rows *out = r->out;
    for (int i = first; i < out->n; i++)
        if (!strcmp(out->texts[i], text))
            return i;
    if (sdi_text_reserve(r->ctx, &out->texts, &r->capacity, (size_t)out->n + 1, sizeof *out->texts))
        return -1;
    out->texts[out->n] = sdi_strdup(r->ctx, text);
    return out->texts[out->n] ? out->n++ : -1;
}

/* What text i has in the entry that begins with evaluation `step`. */
static sd_status put_picks(reader *r, int entry, int i, int first, int step) {
    sd_cond_program *p = r->out->program;
    for (int k = 0; k < p->terms; k++) {
        bool there = k < r->n_terms[i];
        const term *t = &terms_of(r, i)[there ? k : 0];
        int row = find_text(r, first, text_at(t, step));
        if (row < 0)
            return SD_ERROR_MEMORY;
        p->picks[(entry * p->terms + k) * p->rows + i] =
            (sd_cond_pick){row, there ? t->weight : 0.0};
    }
    return SD_OK;
}

/* The entries of texts from..to - 1, whose rows are `first` and those behind it. */
static sd_status put_entries(reader *r, int from, int to, int first) {
    sd_cond_program *p = r->out->program;
    int entry = 0, begin = 0;
    sd_status status = SD_OK;
    for (int step = 1; step <= r->steps && !status; step++) {
        if (!r->changes[step] || (step + 1 >= r->steps && step < r->steps))
            continue;
        for (int i = from; i < to && !status; i++)
            status = put_picks(r, entry, i, first, begin);
        p->until[entry++] = step < r->steps ? (double)(step + 1) / r->steps : 1.0;
        begin = step + 1;
    }
    p->n = entry;
    return status;
}

static sd_status make_program(reader *r) {
    int terms = 1, entries = 0, positive = r->n - r->n_negative;
    for (int i = 0; i < r->n; i++)
        terms = r->n_terms[i] > terms ? r->n_terms[i] : terms;
    for (int step = 1; step <= r->steps; step++)
        entries += r->changes[step];
    sd_status status = sdi_cond_program_new(r->ctx, r->n, terms, entries, &r->out->program);
    if (!status)
        status = put_entries(r, 0, positive, 0);
    int first = r->out->n;
    if (!status)
        status = put_entries(r, positive, r->n, first);
    r->out->n_negative = r->out->n - first;
    return status;
}

/* ----------------------------------------------------------------------------------- reading */

static sd_status take_memory(reader *r) {
    r->terms = sdi_alloc_array(r->ctx, (size_t)r->n * SD_COND_MAX_TERMS, sizeof *r->terms);
    r->n_terms = sdi_alloc_array(r->ctx, (size_t)r->n, sizeof *r->n_terms);
    r->changes = sdi_alloc_array(r->ctx, (size_t)r->steps + 1, sizeof *r->changes);
    return r->terms && r->n_terms && r->changes ? SD_OK : SD_ERROR_MEMORY;
}

static void free_reader(reader *r) {
    for (int i = 0; r->terms && i < r->n * SD_COND_MAX_TERMS; i++)
        sdi_text_changes_free(r->ctx, &r->terms[i].changes);
    sdi_free(r->ctx, r->terms);
    sdi_free(r->ctx, r->n_terms);
    sdi_free(r->ctx, r->changes);
}

sd_status sdi_text_rows(sd_context *ctx, const char *const *texts, int n, int n_negative, int steps,
                        sd_text_rows *out) {
    reader r = {.ctx = ctx, .n = n, .n_negative = n_negative, .steps = steps, .out = out};
    bool plain = true;
    *out = (sd_text_rows){.n_negative = n_negative};
    sd_status status = take_memory(&r);
    for (int i = 0; i < n && !status; i++) {
        status = read_text(&r, i, texts[i]);
        plain = plain && !status && is_plain(&r, i);
    }
    if (!status && !plain)
        status = make_program(&r);
    free_reader(&r);
    return status;
}

void sdi_text_rows_free(sd_context *ctx, sd_text_rows *rows) {
    sdi_texts_free(ctx, rows->texts, rows->n);
    sdi_cond_program_free(ctx, rows->program);
    *rows = (sd_text_rows){0};
}
