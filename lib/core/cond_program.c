/* Programs of conditioning: what a run looks at when. */
#include "core/cond.h"

#include <string.h>

sd_status sdi_cond_program_new(sd_context *ctx, int rows, int terms, int n, sd_cond_program **out) {
    sd_cond_program *p = sdi_zalloc(ctx, sizeof *p);
    *out = p;
    if (!p)
        return SD_ERROR_MEMORY;
    *p = (sd_cond_program){.rows = rows, .terms = terms, .n = n};
    p->until = sdi_alloc_array(ctx, (size_t)n, sizeof *p->until);
    p->picks = sdi_alloc_array(ctx, (size_t)n, (size_t)(rows * terms) * sizeof *p->picks);
    if (p->until && p->picks)
        return SD_OK;
    sdi_cond_program_free(ctx, p);
    *out = NULL;
    return SD_ERROR_MEMORY;
}

void sdi_cond_program_free(sd_context *ctx, sd_cond_program *p) {
    if (!p)
        return;
    sdi_free(ctx, p->until);
    sdi_free(ctx, p->picks);
    sdi_free(ctx, p);
}

/* ----------------------------------------------------------------------------- reading one */

int sdi_cond_entry(const sd_cond *cond, double share) {
    const sd_cond_program *p = cond->program;
    int i = 0;
    while (p && i + 1 < p->n && share >= p->until[i])
        i++;
    return i;
}

int sdi_cond_terms(const sd_cond *cond) {
    return cond->program ? cond->program->terms : 1;
}

sd_cond_pick *sdi_cond_pick_at(const sd_cond_program *p, int entry, int term, int row) {
    return p->picks + ((size_t)entry * (size_t)p->terms + (size_t)term) * (size_t)p->rows + row;
}

/* One row is all rows. */
sd_cond_pick sdi_cond_pick(const sd_cond *cond, int entry, int term, int i) {
    const sd_cond_program *p = cond->program;
    return p ? *sdi_cond_pick_at(p, entry, term, p->rows == 1 ? 0 : i) : (sd_cond_pick){i, 1.0};
}

bool sdi_cond_program_is_mixed(const sd_cond_program *p) {
    for (int i = 0; i < p->n * p->rows && p->terms == 1; i++)
        if (p->picks[i].weight != 1.0)
            return true;
    return p->terms > 1;
}

bool sdi_cond_is_mixed(const sd_cond *cond) {
    return cond->program && sdi_cond_program_is_mixed(cond->program);
}

/* ------------------------------------------------------------------------ as short as it goes */

static size_t entry_size(const sd_cond_program *p) {
    return (size_t)(p->terms * p->rows);
}

static bool same_entry(const sd_cond_program *p, int i, int k) {
    for (int at = 0; at < p->terms * p->rows; at++) {
        const sd_cond_pick *a = sdi_cond_pick_at(p, i, 0, at), *b = sdi_cond_pick_at(p, k, 0, at);
        if (a->row != b->row || a->weight != b->weight)
            return false;
    }
    return true;
}

/* Neighbours that are the same become one. */
static void merge_entries(sd_cond_program *p) {
    int to = 0;
    for (int i = 1; i < p->n; i++) {
        if (!same_entry(p, to, i))
            memmove(sdi_cond_pick_at(p, ++to, 0, 0), sdi_cond_pick_at(p, i, 0, 0),
                    entry_size(p) * sizeof *p->picks);
        p->until[to] = p->until[i];
    }
    p->n = to + 1;
}

/* The last term, in which nothing has a weight, is left out. */
static bool drop_term(sd_cond_program *p) {
    for (int i = 0; i < p->n; i++)
        for (int k = 0; k < p->rows; k++)
            if (p->terms == 1 || sdi_cond_pick_at(p, i, p->terms - 1, k)->weight != 0.0)
                return false;
    size_t less = (size_t)((p->terms - 1) * p->rows);
    for (int i = 1; i < p->n; i++)
        memmove(p->picks + (size_t)i * less, sdi_cond_pick_at(p, i, 0, 0), less * sizeof *p->picks);
    p->terms--;
    return true;
}

void sdi_cond_program_shorten(sd_cond_program *p) {
    while (drop_term(p))
        continue;
    merge_entries(p);
}
