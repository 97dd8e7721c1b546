/*
 * Adapting a model: all parts are shared, and one that an adapter touches is built anew from its
 * file, where it shares each weight that none touches. What the base was made with counts on.
 */
#include "pipeline/adapt.h"

#include "model/build.h"
#include "model/match.h"
#include "pipeline/derive.h"
#include "pipeline/words.h"

typedef struct adapting {
    const sd_model *base;
    sd_model *model;
    sd_uses added;
} adapting;

static bool is_touched(const sd_build *b, sd_part_kind kind, const sd_part *part) {
    for (size_t i = 0; part && i < part->weights.n; i++)
        if (sdi_weight_is_touched(b, sdi_part_types[kind]->net, part->weights.items[i]))
            return true;
    return false;
}

/* The words of the text encoder anew, those of the base and what comes to them. */
static sd_status open_words(sd_model *model, sd_part_kind kind, const sd_uses *uses,
                            sd_word_rows **rows) {
    int i = sdi_model_encoder(model, kind);
    *rows = NULL;
    if (i < 0)
        return SD_OK;
    sdi_words_release(model->encoders[i].words);
    model->encoders[i].words = NULL;
    return sdi_words_open(model, i, uses, rows);
}

/* Reads what the build is to read of the origin. */
static sd_status read_part(const adapting *a, sd_build *b, sd_part_kind kind, sd_part **out) {
    sd_source source = {.ctx = b->ctx, .desc = (sd_description *)a->model->desc};
    const sd_origin *origin = a->base->parts[kind]->origin;
    sd_status status = sdi_origin_open(origin, &source.weights[kind]);
    if (status)
        return status;
    b->source = &source;
    status = sdi_build_part(b, kind, out);
    if (!status)
        status = sdi_feeds_check_numbers(&b->feeds, false);
    if (!status)
        status = sdi_weights_check(source.weights[kind]);
    sdi_build_free(b);
    sdi_weights_close(source.weights[kind]);
    return status;
}

static sd_status build_anew(const adapting *a, sd_build *b, sd_part_kind kind) {
    sd_word_rows *rows = NULL;
    sd_part *part = NULL;
    sd_status status = open_words(a->model, kind, &b->uses, &rows);
    b->words[kind] = rows;
    b->n_words = sdi_uses_count_words(&b->uses);
    if (!status)
        status = read_part(a, b, kind, &part);
    if (!status)
        status = sdi_origin_with(a->base->parts[kind]->origin, &b->uses, &part->origin);
    sdi_free(b->ctx, rows);
    if (status) {
        sdi_part_release(part);
        return status;
    }
    sdi_part_release(a->model->parts[kind]);
    a->model->parts[kind] = part;
    return SD_OK;
}

static sd_status adapt_part(const adapting *a, sd_part_kind kind) {
    sd_context *ctx = a->model->ctx;
    const sd_part *part = a->base->parts[kind];
    sd_build b = {.ctx = ctx,
                  .compute = a->model->act,
                  .added = a->added,
                  .words_added = sdi_uses_count_words(&a->added) > 0,
                  .shared = a->base->parts,
                  .feeds = {.ctx = ctx}};
    if (!is_touched(&b, kind, part))
        return SD_OK;
    b.interrupt = sdi_interrupt_now(ctx);
    sd_status status = sdi_uses_join(ctx, &part->origin->uses, &a->added, &b.uses);
    if (!status)
        status = build_anew(a, &b, kind);
    sdi_uses_free(ctx, &b.uses);
    return status;
}

static sd_status adapt(adapting *a, int *n_unmatched) {
    const sd_model *base = a->base, *const from[SD_N_PARTS] = {NULL};
    sd_context *ctx = base->ctx;
    sd_status status;
    if ((status = sdi_match_uses(ctx, base->desc, base->parts, &a->added, n_unmatched)) ||
        (status = sdi_words_check(base, &a->added)) ||
        (status = sdi_model_derive(base, from, &a->model)))
        return status;
    for (int i = 0; i < SD_N_PARTS && !status; i++)
        status = adapt_part(a, (sd_part_kind)i);
    return status ? status : sdi_uses_check(&a->added);
}

sd_status sdi_model_adapt(const sd_model *base, const sd_adapter_use *const *uses, int n,
                          sd_model **out) {
    adapting a = {.base = base};
    int n_unmatched = 0;
    *out = NULL;
    sd_status status = sdi_uses_load(base->ctx, uses, n, &a.added);
    if (!status)
        status = adapt(&a, &n_unmatched);
    sdi_uses_free(base->ctx, &a.added);
    if (status) {
        sdi_handle_release(a.model);
        return status;
    }
    a.model->n_adapters += n;
    a.model->n_unmatched += n_unmatched;
    *out = a.model;
    return SD_OK;
}
