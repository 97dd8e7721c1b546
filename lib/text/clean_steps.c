/* The two texts between which the steps of cleaning go. */
#include "text/clean.h"

#include <string.h>

sd_status sdi_clean_put(sd_clean *c, int32_t point) {
    sd_status status =
        sdi_text_reserve(c->ctx, &c->made.at, &c->made.capacity, c->made.n + 1, sizeof *c->made.at);
    if (!status)
        c->made.at[c->made.n++] = point;
    return status;
}

bool sdi_clean_same(const sd_code_points *a, const sd_code_points *b) {
    return a->n == b->n && (a->n == 0 || memcmp(a->at, b->at, a->n * sizeof *a->at) == 0);
}

void sdi_clean_swap(sd_clean *c, bool *changed) {
    sd_code_points text = c->text;
    *changed |= !sdi_clean_same(&c->text, &c->made);
    c->text = c->made;
    c->made = text;
    c->made.n = 0;
}
