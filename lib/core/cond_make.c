/* Conditioning that changes in the course of a run, and that combines several; rows of it. */
#include "core/cond.h"

#include <string.h>

/* -------------------------------------------------------------------------------- one of them */

/* Conditioning of the rows of the program's only entry. */
static sd_status take_rows(const sd_cond *stock, const sd_cond_program *p, sd_cond *out) {
    sd_status status = SD_OK;
    int *rows = sdi_alloc_array(out->ctx, (size_t)p->rows, sizeof *rows);
    if (!rows)
        return SD_ERROR_MEMORY;
    for (int i = 0; i < p->rows; i++)
        rows[i] = p->picks[i].row;
    for (int i = 0; i < SD_COND_N_PARTS && !status; i++)
        status = sdi_cond_gather(stock, i, rows, p->rows, &out->parts[i]);
    sdi_free(out->ctx, rows);
    return status;
}

/* The parts are shared. */
static void share_parts(const sd_cond *stock, sd_cond *out) {
    for (int i = 0; i < SD_COND_N_PARTS; i++) {
        sdi_handle_retain(stock->parts[i]);
        out->parts[i] = stock->parts[i];
    }
}

sd_status sdi_cond_take_program(const sd_cond *stock, sd_cond_program *p, sd_cond **out) {
    sd_cond *cond;
    *out = NULL;
    sdi_cond_program_shorten(p);
    sd_status status = sdi_cond_begin(stock->ctx, &cond);
    if (status) {
        sdi_cond_program_free(stock->ctx, p);
        return status;
    }
    cond->program = p;
    if (p->n > 1 || sdi_cond_program_is_mixed(p)) {
        share_parts(stock, cond);
    } else {
        status = take_rows(stock, p, cond);
        cond->program = NULL;
        sdi_cond_program_free(stock->ctx, p);
    }
    if (status)
        sdi_cond_free(cond);
    else
        *out = cond;
    return status;
}

static sd_status cut_program(const sd_cond *cond, int first, int n, sd_cond **out) {
    const sd_cond_program *from = cond->program;
    sd_cond_program *p;
    *out = NULL;
    sd_status status = sdi_cond_program_new(cond->ctx, n, from->terms, from->n, &p);
    if (status)
        return status;
    memcpy(p->until, from->until, (size_t)p->n * sizeof *p->until);
    for (int i = 0; i < p->n * p->terms; i++)
        memcpy(sdi_cond_pick_at(p, 0, i, 0), sdi_cond_pick_at(from, 0, i, first),
               (size_t)n * sizeof *p->picks);
    return sdi_cond_take_program(cond, p, out);
}

sd_status sdi_cond_cut(const sd_cond *cond, int first, int n, sd_cond **out) {
    int64_t rows = sdi_cond_count(cond);
    *out = NULL;
    if (first < 0 || n < 1 || n > rows - first)
        return sdi_fail(cond->ctx, SD_ERROR_ARGUMENT,
                        "%d rows from row %d on were asked for; the conditioning has %lld", n,
                        first, (long long)rows);
    return cond->program ? cut_program(cond, first, n, out)
                         : sdi_cond_cut_plain(cond, first, n, out);
}

/* ---------------------------------------------------------------- several that come together */

/* What is made of `conds`: a stock of the rows of all, and a program that picks from it. */
typedef struct maker {
    const char *call;
    const sd_cond *const *conds;
    int n;
    int *base; /* [n]: where the rows of conds[i] begin in the stock */
    sd_cond *stock;
    sd_cond_program *program;
} maker;

static sd_status check_part(const maker *m, int i, int part) {
    const sd_tensor *t = m->conds[i]->parts[part], *first = m->conds[0]->parts[part];
    const sd_context *ctx = m->conds[0]->ctx;
    const char *name = sdi_cond_part_name(part);
    if (!t != !first)
        return sdi_fail(
            ctx, SD_ERROR_ARGUMENT,
            "%s: conds[%d] has %s \"%s\", unlike conds[0]; the same parts were expected", m->call,
            i, t ? "a" : "no", name);
    for (int k = 1; t && k < t->n_dims; k++)
        if (t->dims[k] != first->dims[k])
            return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                            "%s: \"%s\" of conds[%d] is %lld %s, of conds[0] %lld; texts that are "
                            "encoded together have the tokens of the longest",
                            m->call, name, i, (long long)t->dims[k],
                            k + 1 < t->n_dims ? "tokens long" : "wide", (long long)first->dims[k]);
    return SD_OK;
}

/* All have the same parts, and as many rows, or one. */
static sd_status check_conds(const maker *m, int *rows) {
    sd_status status = SD_OK;
    *rows = 1;
    for (int i = 0; i < m->n; i++)
        if (sdi_cond_count(m->conds[i]) > *rows)
            *rows = (int)sdi_cond_count(m->conds[i]);
    for (int i = 0; i < m->n && !status; i++) {
        int64_t own = sdi_cond_count(m->conds[i]);
        if (own != 1 && own != *rows)
            return sdi_fail(m->conds[0]->ctx, SD_ERROR_ARGUMENT,
                            "%s: conds[%d] has %lld rows; %d or 1 were expected, as the others "
                            "have",
                            m->call, i, (long long)own, *rows);
        for (int part = 0; part < SD_COND_N_PARTS && !status; part++)
            status = check_part(m, i, part);
    }
    return status;
}

/* The first that has the rows of conds[i]. */
static int first_like(const maker *m, int i) {
    int k = 0;
    while (m->conds[k]->parts[SD_COND_CONTEXT] != m->conds[i]->parts[SD_COND_CONTEXT])
        k++;
    return k;
}

/* The rows of all, one below the other; a part of one row for all has as many as the others. */
static sd_status stack_part(maker *m, int part, int64_t total) {
    const sd_tensor *first = m->conds[0]->parts[part];
    int64_t dims[SD_MAX_DIMS];
    if (!first)
        return SD_OK;
    memcpy(dims, first->dims, sizeof dims);
    dims[0] = total;
    sd_tensor **out = &m->stock->parts[part];
    sd_status status = sdi_tensor_new_raw(m->stock->ctx, first->n_dims, dims, out);
    for (int i = 0; i < m->n && !status; i++) {
        int64_t row = (*out)->n_elements / total, n = sdi_cond_stock_rows(m->conds[i]);
        for (int64_t k = 0; k < n && first_like(m, i) == i; k++)
            memcpy((*out)->data + (m->base[i] + k) * row, sdi_cond_row(m->conds[i]->parts[part], k),
                   (size_t)row * sizeof(float));
    }
    return status;
}

static sd_status make_stock(maker *m) {
    sd_context *ctx = m->conds[0]->ctx;
    int64_t total = 0;
    bool shared = true;
    m->base = sdi_alloc_array(ctx, (size_t)m->n, sizeof *m->base);
    if (!m->base)
        return SD_ERROR_MEMORY;
    for (int i = 0; i < m->n; i++) {
        int first = first_like(m, i);
        shared = shared && first == 0;
        m->base[i] = first < i ? m->base[first] : (int)total;
        total += first < i ? 0 : sdi_cond_stock_rows(m->conds[i]);
    }
    sd_status status = sdi_cond_begin(ctx, &m->stock);
    if (!status && shared)
        share_parts(m->conds[0], m->stock);
    for (int part = 0; part < SD_COND_N_PARTS && !status && !shared; part++)
        status = stack_part(m, part, total);
    return status;
}

/* Writes what conds[i] has in its entry to the terms from `term` on, times `weight`. */
static void put_terms(maker *m, int to, int term, int i, int entry, double weight) {
    sd_cond_program *p = m->program;
    for (int k = 0; k < sdi_cond_terms(m->conds[i]); k++)
        for (int row = 0; row < p->rows; row++) {
            int own = sdi_cond_count(m->conds[i]) == 1 ? 0 : row;
            sd_cond_pick pick = sdi_cond_pick(m->conds[i], entry, k, own);
            *sdi_cond_pick_at(p, to, term + k, row) =
                (sd_cond_pick){m->base[i] + pick.row, pick.weight * weight};
        }
}

/* What a shorter combination has not weighs nothing. */
static void fill_terms(maker *m, int to, int from) {
    sd_cond_program *p = m->program;
    for (int k = from; k < p->terms; k++)
        for (int row = 0; row < p->rows; row++)
            *sdi_cond_pick_at(p, to, k, row) =
                (sd_cond_pick){sdi_cond_pick_at(p, to, 0, row)->row, 0.0};
}

static int count_entries(const sd_cond *cond) {
    return cond->program ? cond->program->n : 1;
}

static double until_of(const sd_cond *cond, int entry) {
    return cond->program ? cond->program->until[entry] : 1.0;
}

/* Room for a program of so many entries and terms. */
static sd_status begin(maker *m, int n, int terms) {
    sd_context *ctx = m->conds[0]->ctx;
    int rows;
    sd_status status = check_conds(m, &rows);
    if (!status && terms > SD_COND_MAX_TERMS)
        status = sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                          "%s: %d conditionings are combined; at most %d were expected", m->call,
                          terms, SD_COND_MAX_TERMS);
    if (!status)
        status = make_stock(m);
    return status ? status : sdi_cond_program_new(ctx, rows, terms, n, &m->program);
}

static sd_status end(maker *m, sd_status status, sd_cond **out) {
    sd_context *ctx = m->conds[0]->ctx;
    *out = NULL;
    if (!status)
        status = sdi_cond_take_program(m->stock, m->program, out);
    sdi_cond_free(m->stock);
    sdi_free(ctx, m->base);
    return status;
}

sd_status sdi_cond_schedule(const sd_cond *const *conds, const double *until, int n,
                            sd_cond **out) {
    maker m = {.call = "sd_cond_schedule", .conds = conds, .n = n};
    int entries = 0, terms = 1, to = 0;
    for (int i = 0; i < n; i++) {
        entries += count_entries(conds[i]);
        terms = sdi_cond_terms(conds[i]) > terms ? sdi_cond_terms(conds[i]) : terms;
    }
    sd_status status = begin(&m, entries, terms);
    for (int i = 0; i < n && !status; i++)
        for (int k = sdi_cond_entry(conds[i], i > 0 ? until[i - 1] : 0.0); k >= 0;) {
            bool last = until_of(conds[i], k) >= until[i];
            put_terms(&m, to, 0, i, k, 1.0);
            fill_terms(&m, to, sdi_cond_terms(conds[i]));
            m.program->until[to++] = last ? until[i] : until_of(conds[i], k);
            k = last ? -1 : k + 1;
        }
    if (!status)
        m.program->n = to;
    return end(&m, status, out);
}

/* Where the first of them changes after `share`. */
static double next_change(const maker *m, double share) {
    double next = 1.0;
    for (int i = 0; i < m->n; i++) {
        double own = until_of(m->conds[i], sdi_cond_entry(m->conds[i], share));
        next = own < next ? own : next;
    }
    return next;
}

sd_status sdi_cond_combine(const sd_cond *const *conds, const double *weights, int n,
                           sd_cond **out) {
    maker m = {.call = "sd_cond_combine", .conds = conds, .n = n};
    int entries = 0, terms = 0, to = 0;
    for (int i = 0; i < n; i++) {
        entries += count_entries(conds[i]);
        terms += sdi_cond_terms(conds[i]);
    }
    sd_status status = begin(&m, entries, terms);
    for (double share = 0.0; share < 1.0 && !status; to++) {
        for (int i = 0, term = 0; i < n; term += sdi_cond_terms(conds[i++]))
            put_terms(&m, to, term, i, sdi_cond_entry(conds[i], share), weights[i]);
        share = m.program->until[to] = next_change(&m, share);
    }
    if (!status)
        m.program->n = to;
    return end(&m, status, out);
}
