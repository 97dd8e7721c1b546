/*
 * On the way of a weight to the device each of these is done in one place: its tensors are looked
 * up (here; under other names where io/weights.c was told to), decoded (io/decode.c), looked at for
 * numbers that are none (feed.c), stacked and repacked (the device's weight_prepare).
 */
#include "model/load.h"

#include "backend/device.h"
#include "core/tensor.h"
#include "core/threads.h"

void sdi_builder_fail(sd_builder *b, sd_status status, const char *format, ...) {
    if (b->status)
        return;
    va_list args;
    va_start(args, format);
    b->status = sdi_vfail(b->build->ctx, status, format, args);
    va_end(args);
}

/* ------------------------------------------------------------------------- one tensor */

static const char *spell(char name[SD_MAX_NAME], const sd_builder *b, const sd_wanted *want,
                         int spelling) {
    return sdi_path_name(name, want->path, b->names.layout, spelling, b->names.prefix,
                         want->suffix);
}

/* Tries the spelling of the last tensor first, since a file keeps to one. */
static const sd_entry *find(sd_builder *b, const sd_wanted *want) {
    char name[SD_MAX_NAME];
    for (int i = 0; i < SD_N_SPELLINGS; i++) {
        int spelling = (b->spelling + i) % SD_N_SPELLINGS;
        const sd_entry *entry = sdi_weights_take(b->weights, spell(name, b, want, spelling));
        if (entry) {
            b->spelling = spelling;
            return entry;
        }
    }
    char shape[128];
    sdi_builder_fail(b, SD_ERROR_MODEL, "%s: tensor '%s' is missing (expected shape %s)",
                     sdi_weights_path(b->weights, NULL), spell(name, b, want, b->spelling),
                     sdi_shape_text(shape, sizeof shape, want->n_dims, want->dims));
    return NULL;
}

static bool same_dims(const int64_t *a, const int64_t *b, int n) {
    for (int i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* [out, in], [out, in, 1] and [out, in, 1, 1] are the same matrix. */
static bool shape_fits(const sd_entry *entry, const sd_wanted *want) {
    int most = entry->n_dims > want->n_dims ? entry->n_dims : want->n_dims;
    if (entry->n_dims == want->n_dims)
        return same_dims(entry->dims, want->dims, want->n_dims);
    if (entry->n_dims < 2 || want->n_dims < 2)
        return false;
    for (int i = 0; i < most; i++) {
        int64_t a = i < entry->n_dims ? entry->dims[i] : 1;
        int64_t b = i < want->n_dims ? want->dims[i] : 1;
        if (a != b)
            return false;
    }
    return true;
}

static void report_progress(sd_builder *b) {
    sd_build *build = b->build;
    build->done++;
    const sd_progress progress = {.struct_size = sizeof progress,
                                  .stage = SD_STAGE_LOAD,
                                  .step = build->done,
                                  .total = build->total};
    bool stop = build->progress && build->progress(build->progress_user, &progress);
    if (stop || sdi_interrupted(&build->interrupt))
        sdi_builder_fail(b, SD_ERROR_CANCELLED, "loading %s was cancelled",
                         build->source->desc->path);
}

/* What adapters make of the tensor that was opened last. Vectors are float32 on the device: they
 * are not rounded on their way. */
static void change_tensor(sd_builder *b, const sd_wanted *want, const sd_delta_shape *shape,
                          const sd_entry *entry, sdb_weight_part *part) {
    sd_change *change;
    const sd_changed_tensor tensor = {.net = b->net,
                                      .path = want->path,
                                      .shape = *shape,
                                      .weights = b->weights,
                                      .entry = entry,
                                      .transposed = want->transposed,
                                      .compute = shape->in == 1 ? SDB_F32 : b->part->act};
    if (b->status)
        return;
    b->status = sdi_change_new(b->build->ctx, &b->build->uses, &tensor, &change);
    if (!b->status)
        sdi_feed_change(&b->build->feeds, change, part);
}

/* All rows of a tensor; none after a failure. */
static sdb_weight_part open_tensor(sd_builder *b, const sd_wanted *want,
                                   const sd_delta_shape *delta) {
    char shape[128], expected[128];
    sdb_weight_part part = {.rows = (int)want->dims[0]};
    const sd_entry *entry = b->status ? NULL : find(b, want);
    if (!entry || (b->status = sdi_decoder_check(b->build->ctx, b->weights, entry)))
        return part;
    if (!shape_fits(entry, want)) {
        sdi_builder_fail(b, SD_ERROR_MODEL, "%s: tensor '%s' has shape %s, expected %s",
                         sdi_weights_path(b->weights, entry), entry->name,
                         sdi_shape_text(shape, sizeof shape, entry->n_dims, entry->dims),
                         sdi_shape_text(expected, sizeof expected, want->n_dims, want->dims));
        return part;
    }
    sdi_weights_will_need(b->weights, entry);
    b->status = sdi_feed_open(&b->build->feeds, b->weights, entry, part.rows, &part);
    if (!b->status && want->transposed)
        b->status = sdi_feed_transpose(&b->build->feeds, (int)want->dims[1], &part);
    change_tensor(b, want, delta, entry, &part);
    if (!b->status)
        report_progress(b);
    return part;
}

/* ------------------------------------------------------------------------- one weight */

/* Several rows of a tensor may be asked for one after the other: it is opened once. */
static void open_param(sd_builder *b, const sd_weight *w, const sd_param *p) {
    sd_opened *last = &b->opened;
    if (sdi_path_equal(&last->path, &p->path))
        return;
    sd_wanted want = sdi_weight_wants(w, p, b->names.layout);
    sd_wanted bias = sdi_weight_wants_bias(p, b->names.layout);
    int in = w->form.kind == SDB_WEIGHT_VECTOR ? 1 : w->form.in;
    const sd_delta_shape of_weight = {p->of, in, (int)sdi_weight_row_size(&w->form) / in, false};
    const sd_delta_shape of_bias = {p->of, 1, 1, true};
    last->path = p->path;
    last->weight = open_tensor(b, &want, &of_weight);
    last->bias = p->bias ? open_tensor(b, &bias, &of_bias) : (sdb_weight_part){.rows = p->of};
}

/* The rows of its tensors, and below them those of words. Returns whether there is a bias. */
static bool open_parts(sd_builder *b, const sd_weight *w, int n, sdb_weight_part *parts,
                       sdb_weight_part *biases) {
    int row_size = (int)sdi_weight_row_size(&w->form);
    bool bias = false;
    for (int i = 0; i < n && !b->status; i++) {
        const sd_param *p = &w->params[i];
        if (i < w->n_params) {
            open_param(b, w, p);
            parts[i] = sdi_feed_rows(b->opened.weight, p->first, p->rows, row_size);
            biases[i] = sdi_feed_rows(b->opened.bias, p->first, p->rows, 1);
            bias = bias || p->bias;
        } else {
            const sd_word_rows *word = &b->build->words[b->kind][i - w->n_params];
            b->status =
                sdi_feed_open(&b->build->feeds, word->weights, word->entry, word->rows, &parts[i]);
        }
    }
    return bias;
}

bool sdi_weight_is_touched(const sd_build *build, unsigned net, const sd_weight *w) {
    bool touched = w->form.words && build->words_added;
    for (int i = 0; i < w->n_params && !touched; i++) {
        const sd_param *p = &w->params[i];
        touched = sdi_uses_touch(&build->added, net, &p->path, p->of, false) ||
                  (p->bias && sdi_uses_touch(&build->added, net, &p->path, p->of, true));
    }
    return touched;
}

/* Lent to the device, and kept from weight to weight: fresh pages would cost more than what is read
 * into them. */
static void *scratch_of(sd_build *build) {
    sd_context *ctx = build->ctx;
    size_t size = (size_t)sdi_threads_count(ctx->threads) * SDB_WEIGHT_SCRATCH;
    if (!build->scratch)
        build->scratch = sdi_alloc(ctx, size);
    return build->scratch;
}

void sdi_weight_load(sd_builder *b, sd_weight *w) {
    sd_build *build = b->build;
    sd_context *ctx = build->ctx;
    int n = w->n_params + (w->form.words ? build->n_words : 0);
    sdb_weight_part *parts = sdi_alloc_array(ctx, 2 * (size_t)n, sizeof *parts);
    void *scratch = parts ? scratch_of(build) : NULL;
    if (!sdi_path_equal(&b->opened.path, &w->params[0].path))
        sdi_feeds_drop_changes(&build->feeds); /* no more rows of those tensors will come */
    if (!scratch)
        b->status = SD_ERROR_MEMORY;
    bool bias = scratch && open_parts(b, w, n, parts, parts + n);
    sdb_weight_desc desc = {.kind = w->form.kind,
                            .in = w->form.in,
                            .n_parts = n,
                            .parts = parts,
                            .bias = bias ? parts + n : NULL,
                            .compute = b->part->act,
                            .upsample = w->form.upsample,
                            .scratch = scratch};
    if (!b->status) {
        sd_status status = ctx->device->api->weight_prepare(ctx->device->dev, &desc, &w->dev);
        b->status = status ? sdi_feed_fail(&build->feeds, status) : SD_OK;
    }
    sdi_free(ctx, parts);
}
