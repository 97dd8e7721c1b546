/* Finding, checking and preparing the tensors of a checkpoint. */
#include "model/builder.h"

#include "backend/device.h"
#include "core/tensor.h"
#include "core/threads.h"
#include "model/feed.h"

#include <string.h>

/* ------------------------------------------------------------------------- what a network owns */

static bool list_reserve(sd_context *ctx, sd_list *list) {
    if (list->n < list->capacity)
        return true;
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    void **items = sd_realloc(ctx, list->items, capacity * sizeof *items);
    if (!items)
        return false;
    list->items = items;
    list->capacity = capacity;
    return true;
}

/* ------------------------------------------------------------------------- the builder */

void sd_builder_fail(sd_builder *b, sd_status status, const char *format, ...) {
    if (b->status)
        return;
    va_list args;
    va_start(args, format);
    b->status = sd_vfail(b->build->ctx, status, format, args);
    va_end(args);
}

void *sd_builder_alloc(sd_builder *b, size_t n, size_t size) {
    sd_context *ctx = b->build->ctx;
    if (b->status)
        return NULL;
    void *block = list_reserve(ctx, &b->part->blocks) ? sd_alloc_array(ctx, n, size) : NULL;
    if (!block) {
        b->status = SD_ERROR_MEMORY;
        return NULL;
    }
    b->part->blocks.items[b->part->blocks.n++] = block;
    return block;
}

bool sd_builder_range(sd_builder *b, const char *what, int value, int low, int high) {
    if (value >= low && value <= high)
        return true;
    sd_builder_fail(b, SD_ERROR_MODEL, "%s: %s is %d; it must be in %d .. %d",
                    b->build->source->desc->path, what, value, low, high);
    return false;
}

bool sd_builder_divides(sd_builder *b, const char *what, int channels, int by) {
    if (channels >= 1 && by >= 1 && channels % by == 0)
        return true;
    sd_builder_fail(b, SD_ERROR_MODEL, "%s: %d channels cannot be divided into %d %s",
                    b->build->source->desc->path, channels, by, what);
    return false;
}

/* ------------------------------------------------------------------------- one tensor */

/* A tensor that a network wants. */
typedef struct wanted {
    const sd_path *path;
    sd_key key;
    const char *suffix;
    int n_dims;
    int64_t dims[4];
} wanted;

static const char *weight_suffix(const sd_builder *b, sd_key key) {
    return sd_key_weight_suffix(key, b->names.layout);
}

static const char *spell(char name[SD_MAX_NAME], const sd_builder *b, const wanted *want,
                         int spelling) {
    sd_path path = sd_path_child(*want->path, want->key);
    return sd_path_name(name, &path, b->names.layout, spelling, b->names.prefix, want->suffix);
}

/* Tries the spelling of the last tensor first, since a file keeps to one. */
static const sd_entry *find(sd_builder *b, const wanted *want) {
    char name[SD_MAX_NAME];
    for (int i = 0; i < SD_N_SPELLINGS; i++) {
        int spelling = (b->spelling + i) % SD_N_SPELLINGS;
        const sd_entry *entry = sd_weights_take(b->weights, spell(name, b, want, spelling));
        if (entry) {
            b->spelling = spelling;
            return entry;
        }
    }
    char shape[128];
    sd_builder_fail(b, SD_ERROR_MODEL, "%s: tensor '%s' is missing (expected shape %s)",
                    sd_weights_path(b->weights, NULL), spell(name, b, want, b->spelling),
                    sd_shape_text(shape, sizeof shape, want->n_dims, want->dims));
    return NULL;
}

static bool same_dims(const int64_t *a, const int64_t *b, int n) {
    for (int i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* [out, in], [out, in, 1] and [out, in, 1, 1] are the same matrix. */
static bool shape_fits(const sd_entry *entry, const wanted *want) {
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
    bool stop =
        build->progress && build->progress(build->progress_user, build->done, build->total) != 0;
    if (stop || sd_interrupted(&build->interrupt))
        sd_builder_fail(b, SD_ERROR_CANCELLED, "loading %s was cancelled",
                        build->source->desc->path);
}

/* A tensor that was found. */
static void open_part(sd_builder *b, const sd_entry *entry, int rows, sdb_weight_part *part) {
    sd_weights *weights = b->weights;
    sd_weights_will_need(weights, entry);
    b->status = sd_feed_open(b->build, weights, entry, rows, part);
    if (!b->status)
        report_progress(b);
}

void sd_builder_pass_over(sd_builder *b, const sd_path *path) {
    char name[SD_MAX_NAME];
    if (b->status || b->build->list)
        return;
    sd_path_name(name, path, b->names.layout, 0, b->names.prefix, ".");
    sd_weights_take_prefix(b->weights, name);
}

/* Finds and checks one tensor and fills `part`, which has no data after a failure and when only
 * listing. */
static void fetch(sd_builder *b, const wanted *want, sdb_weight_part *part) {
    char text[SD_MAX_NAME], shape[128], expected[128];
    *part = (sdb_weight_part){.rows = (int)want->dims[0]};
    if (b->status)
        return;
    if (b->build->list) {
        b->build->list(b->build->list_user, spell(text, b, want, 0), want->n_dims, want->dims);
        return;
    }
    const sd_weights *weights = b->weights;
    const sd_entry *entry = find(b, want);
    if (!entry || (b->status = sd_decoder_check(b->build->ctx, weights, entry)))
        return;
    if (!shape_fits(entry, want)) {
        sd_builder_fail(b, SD_ERROR_MODEL, "%s: tensor '%s' has shape %s, expected %s",
                        sd_weights_path(weights, entry), entry->name,
                        sd_shape_text(shape, sizeof shape, entry->n_dims, entry->dims),
                        sd_shape_text(expected, sizeof expected, want->n_dims, want->dims));
        return;
    }
    int64_t elements = 1;
    for (int i = 0; i < want->n_dims; i++)
        elements *= want->dims[i];
    b->part->n_parameters += elements;
    open_part(b, entry, (int)want->dims[0], part);
}

/* ------------------------------------------------------------------------- one weight */

static void parts_add(sd_builder *b, sd_parts *p, const wanted *weight, bool bias) {
    const char *suffix = sd_key_bias_suffix(weight->key, b->names.layout);
    wanted beta = {weight->path, weight->key, suffix, 1, {weight->dims[0]}};
    int i = p->n++;
    p->rows += (int)weight->dims[0];
    fetch(b, weight, &p->weight[i]);
    p->bias[i] = (sdb_weight_part){.rows = (int)weight->dims[0]};
    if (bias)
        fetch(b, &beta, &p->bias[i]);
}

static bool has_bias(const sd_parts *p) {
    for (int i = 0; i < p->n; i++)
        if (sdb_part_is_there(&p->bias[i]))
            return true;
    return false;
}

/* Hands the parts to the device, which reads them. */
static const sdb_weight *parts_prepare(sd_builder *b, const sd_parts *p, sdb_weight_kind kind,
                                       int in, bool upsample) {
    sd_build *build = b->build;
    sd_context *ctx = build->ctx;
    if (b->status || build->list)
        return NULL;
    sd_list *owned = &b->part->weights;
    if (!list_reserve(ctx, owned)) {
        b->status = SD_ERROR_MEMORY;
        return NULL;
    }
    /* kept from weight to weight: fresh pages would cost more than what is read into them */
    if (!build->scratch)
        build->scratch = sd_alloc(ctx, (size_t)sd_threads_count(ctx->threads) * SDB_WEIGHT_SCRATCH);
    if (!build->scratch) {
        b->status = SD_ERROR_MEMORY;
        return NULL;
    }
    sdb_weight_desc desc = {.kind = kind,
                            .in = in,
                            .n_parts = p->n,
                            .parts = p->weight,
                            .bias = has_bias(p) ? p->bias : NULL,
                            .compute = build->compute,
                            .upsample = upsample,
                            .scratch = build->scratch};
    sdb_weight *weight = NULL;
    b->status = ctx->device->api->weight_prepare(ctx->device->dev, &desc, &weight);
    if (b->status) {
        b->status = sd_feed_fail(build, b->status);
        return NULL;
    }
    owned->items[owned->n++] = weight;
    b->part->bytes += (int64_t)ctx->device->api->weight_size(weight);
    return weight;
}

static wanted want_matrix(const sd_builder *b, const sd_path *path, sd_key key, int out, int in) {
    int n_dims = sd_key_matrix_dims(key, b->names.layout);
    return (wanted){path, key, weight_suffix(b, key), n_dims, {out, in, 1, 1}};
}

static const sdb_weight *get_one(sd_builder *b, const wanted *want, sdb_weight_kind kind, int in,
                                 bool bias) {
    sd_parts parts = {0};
    parts_add(b, &parts, want, bias);
    return parts_prepare(b, &parts, kind, in, false);
}

const sdb_weight *sd_get_linear(sd_builder *b, const sd_path *path, sd_key key, int out, int in) {
    wanted want = want_matrix(b, path, key, out, in);
    return get_one(b, &want, SDB_WEIGHT_LINEAR, in, true);
}

const sdb_weight *sd_get_linear_no_bias(sd_builder *b, const sd_path *path, sd_key key, int out,
                                        int in) {
    wanted want = want_matrix(b, path, key, out, in);
    return get_one(b, &want, SDB_WEIGHT_LINEAR, in, false);
}

const sdb_weight *sd_get_geglu(sd_builder *b, const sd_path *path, sd_key key, int out, int in) {
    wanted want = want_matrix(b, path, key, 2 * out, in);
    return get_one(b, &want, SDB_WEIGHT_GEGLU, in, true);
}

const sdb_weight *sd_get_conv3x3(sd_builder *b, const sd_path *path, sd_key key, int out, int in) {
    wanted want = {path, key, ".weight", 4, {out, in, 3, 3}};
    return get_one(b, &want, SDB_WEIGHT_CONV3X3, in, true);
}

const sdb_weight *sd_get_conv3x3_up(sd_builder *b, const sd_path *path, sd_key key, int c) {
    wanted want = {path, key, ".weight", 4, {c, c, 3, 3}};
    sd_parts parts = {0};
    parts_add(b, &parts, &want, true);
    return parts_prepare(b, &parts, SDB_WEIGHT_CONV3X3, c, true);
}

const sdb_weight *sd_get_norm(sd_builder *b, const sd_path *path, sd_key key, int channels) {
    wanted want = {path, key, weight_suffix(b, key), 1, {channels}};
    return get_one(b, &want, SDB_WEIGHT_VECTOR, 1, true);
}

const sdb_weight *sd_get_embedding(sd_builder *b, const sd_path *path, sd_key key, int n,
                                   int width) {
    wanted want = {path, key, weight_suffix(b, key), 2, {n, width}};
    return get_one(b, &want, SDB_WEIGHT_EMBEDDING, width, false);
}

const sdb_weight *sd_get_token_embedding(sd_builder *b, const sd_path *path, sd_key key, int n,
                                         int width) {
    wanted want = {path, key, ".weight", 2, {n, width}};
    sd_parts parts = {0};
    parts_add(b, &parts, &want, false);
    for (int i = 0; i < b->build->n_words && !b->status; i++) {
        const sd_word_rows *word = &b->build->words[i];
        b->status = sd_feed_open(b->build, word->weights, word->entry, word->rows,
                                 &parts.weight[parts.n++]);
        parts.rows += word->rows;
    }
    return parts_prepare(b, &parts, SDB_WEIGHT_EMBEDDING, width, false);
}

const sdb_weight *sd_get_qkv(sd_builder *b, const sd_path *path, const sd_key keys[3], int c,
                             bool bias) {
    sd_parts parts = {0};
    for (int i = 0; i < 3; i++) {
        wanted want = want_matrix(b, path, keys[i], c, c);
        parts_add(b, &parts, &want, bias);
    }
    return parts_prepare(b, &parts, SDB_WEIGHT_LINEAR, c, false);
}

/* ------------------------------------------------------------------------- wide linears */

void sd_wide_begin(sd_wide_builder *w, sd_builder *b, sd_wide_linear *wide, int in) {
    *w = (sd_wide_builder){.b = b, .wide = wide};
    *wide = (sd_wide_linear){.in = in};
}

/* Makes a slice of the parts that wait. */
static void wide_flush(sd_wide_builder *w) {
    sd_wide_linear *wide = w->wide;
    size_t n = (size_t)wide->n_slices;
    if (w->parts.n == 0)
        return;
    sd_wide_slice *slices = sd_builder_alloc(w->b, n + 1, sizeof *slices);
    if (slices) {
        for (size_t i = 0; i < n; i++)
            slices[i] = wide->slices[i];
        slices[n] = (sd_wide_slice){
            .weight = parts_prepare(w->b, &w->parts, SDB_WEIGHT_LINEAR, wide->in, false),
            .first = wide->width - w->parts.rows,
            .width = w->parts.rows,
        };
        wide->slices = slices;
        wide->n_slices++;
    }
    w->parts = (sd_parts){0};
}

int sd_wide_add(sd_wide_builder *w, const sd_path *path, sd_key key, int rows, bool bias) {
    wanted want = want_matrix(w->b, path, key, rows, w->wide->in);
    int first = w->wide->width;
    if (w->parts.n == SDB_MAX_PARTS)
        wide_flush(w);
    parts_add(w->b, &w->parts, &want, bias);
    w->wide->width += rows;
    return first;
}

void sd_wide_end(sd_wide_builder *w) {
    wide_flush(w);
}

void sd_wide_add_heads(sd_wide_builder *w, const sd_path *path, sd_key key, int c, int heads) {
    wanted want = want_matrix(w->b, path, key, 3 * c, c);
    sd_parts whole = {0};
    if (!sd_builder_divides(w->b, "attention heads", c, heads))
        return;
    int dim = c / heads;
    parts_add(w->b, &whole, &want, true);
    for (int i = 0; i < 3 * heads && !w->b->status; i++) {
        /* output i is head i % heads of q, k or v; the tensor has [head][q, k, v][dim] */
        int first = (i % heads * 3 + i / heads) * dim;
        if (w->parts.n == SDB_MAX_PARTS)
            wide_flush(w);
        int n = w->parts.n++;
        w->parts.weight[n] = sd_feed_rows(whole.weight[0], first, dim, c);
        w->parts.bias[n] = sd_feed_rows(whole.bias[0], first, dim, 1);
        w->parts.rows += dim;
        w->wide->width += dim;
    }
    wide_flush(w);
}

void sd_wide_forward(sd_exec *e, const sd_wide_linear *wide, sdb_tensor y, sdb_tensor x) {
    for (int i = 0; i < wide->n_slices; i++) {
        const sd_wide_slice *s = &wide->slices[i];
        sd_op_linear(e, (sdb_linear){.x = x,
                                     .weight = s->weight,
                                     .y = sd_view_channels(y, s->first, s->width)});
    }
}
