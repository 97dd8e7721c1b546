/* Asking for weights: each call notes one with its tensors, and has it loaded. */
#include "model/builder.h"

#include <string.h>

/* ------------------------------------------------------------------------- what a network owns */

static bool list_reserve(sd_context *ctx, sd_list *list) {
    if (list->n < list->capacity)
        return true;
    size_t capacity = list->capacity ? 2 * list->capacity : 64;
    void **items = sdi_realloc(ctx, list->items, capacity * sizeof *items);
    if (!items)
        return false;
    list->items = items;
    list->capacity = capacity;
    return true;
}

/* ------------------------------------------------------------------------- the builder */

void *sdi_builder_alloc(sd_builder *b, size_t n, size_t size) {
    sd_context *ctx = b->build->ctx;
    if (b->status)
        return NULL;
    void *block = list_reserve(ctx, &b->part->blocks) ? sdi_alloc_array(ctx, n, size) : NULL;
    if (!block) {
        b->status = SD_ERROR_MEMORY;
        return NULL;
    }
    b->part->blocks.items[b->part->blocks.n++] = block;
    return block;
}

bool sdi_builder_range(sd_builder *b, const char *what, int value, int low, int high) {
    if (value >= low && value <= high)
        return true;
    sdi_builder_fail(b, SD_ERROR_MODEL, "%s: %s is %d; it must be in %d .. %d",
                     b->build->source->desc->path, what, value, low, high);
    return false;
}

bool sdi_builder_divides(sd_builder *b, const char *what, int channels, int by) {
    if (channels >= 1 && by >= 1 && channels % by == 0)
        return true;
    sdi_builder_fail(b, SD_ERROR_MODEL, "%s: %d channels cannot be divided into %d %s",
                     b->build->source->desc->path, channels, by, what);
    return false;
}

/* ------------------------------------------------------------------------- weights */

void sdi_builder_pass_over(sd_builder *b, const sd_path *path) {
    char name[SD_MAX_NAME];
    if (b->status || b->build->listing)
        return;
    sdi_path_name(name, path, b->names.layout, 0, b->names.prefix, ".");
    sdi_weights_take_prefix(b->weights, name);
}

/* The weight that the base part has in its place, where nothing touches it; or NULL. */
static sd_weight *find_shared(const sd_builder *b, size_t i) {
    sd_weight *w = b->base && !b->build->listing ? b->base->weights.items[i] : NULL;
    return w && !sdi_weight_is_touched(b->build, b->net, w) ? w : NULL;
}

/* The weight of these rows of tensors. */
static const sdb_weight *get(sd_builder *b, const sd_weight_form *form, const sd_param *params,
                             int n) {
    sd_list *owned = &b->part->weights;
    if (b->status)
        return NULL;
    bool room = list_reserve(b->build->ctx, owned);
    sd_weight *shared = find_shared(b, owned->n);
    sd_weight *w = !room    ? NULL
                   : shared ? sdi_weight_retain(shared)
                            : sdi_weight_new(b->build->ctx, form, params, n);
    if (!w) {
        b->status = SD_ERROR_MEMORY;
        return NULL;
    }
    owned->items[owned->n++] = w;
    if (!b->build->listing && !shared)
        sdi_weight_load(b, w);
    return w->dev;
}

/* A whole tensor. */
static sd_param whole(const sd_path *path, sd_key key, int rows, bool bias) {
    return (sd_param){.path = sdi_path_child(*path, key), .rows = rows, .of = rows, .bias = bias};
}

static const sdb_weight *get_one(sd_builder *b, const sd_path *path, sd_key key, int rows,
                                 bool bias, sd_weight_form form) {
    sd_param param = whole(path, key, rows, bias);
    return get(b, &form, &param, 1);
}

#define FORM(...)                                                                                  \
    (sd_weight_form) {                                                                             \
        __VA_ARGS__                                                                                \
    }

const sdb_weight *sdi_get_linear(sd_builder *b, const sd_path *path, sd_key key, int out, int in) {
    return get_one(b, path, key, out, true, FORM(SDB_WEIGHT_LINEAR, in));
}

const sdb_weight *sdi_get_linear_no_bias(sd_builder *b, const sd_path *path, sd_key key, int out,
                                         int in) {
    return get_one(b, path, key, out, false, FORM(SDB_WEIGHT_LINEAR, in));
}

const sdb_weight *sdi_get_geglu(sd_builder *b, const sd_path *path, sd_key key, int out, int in) {
    return get_one(b, path, key, 2 * out, true, FORM(SDB_WEIGHT_GEGLU, in));
}

const sdb_weight *sdi_get_conv3x3(sd_builder *b, const sd_path *path, sd_key key, int out, int in) {
    return get_one(b, path, key, out, true, FORM(SDB_WEIGHT_CONV3X3, in));
}

const sdb_weight *sdi_get_conv3x3_up(sd_builder *b, const sd_path *path, sd_key key, int c) {
    return get_one(b, path, key, c, true, FORM(SDB_WEIGHT_CONV3X3, c, .upsample = true));
}

const sdb_weight *sdi_get_conv3x3_no_bias(sd_builder *b, const sd_path *path, sd_key key, int out,
                                          int in) {
    return get_one(b, path, key, out, false, FORM(SDB_WEIGHT_CONV3X3, in));
}

const sdb_weight *sdi_get_conv3x3_up_no_bias(sd_builder *b, const sd_path *path, sd_key key,
                                             int c) {
    return get_one(b, path, key, c, false, FORM(SDB_WEIGHT_CONV3X3, c, .upsample = true));
}

const sdb_weight *sdi_get_norm(sd_builder *b, const sd_path *path, sd_key key, int channels) {
    return get_one(b, path, key, channels, true, FORM(SDB_WEIGHT_VECTOR, 1));
}

const sdb_weight *sdi_get_embedding(sd_builder *b, const sd_path *path, sd_key key, int n,
                                    int width) {
    return get_one(b, path, key, n, false, FORM(SDB_WEIGHT_EMBEDDING, width));
}

const sdb_weight *sdi_get_token_embedding(sd_builder *b, const sd_path *path, sd_key key, int n,
                                          int width) {
    return get_one(b, path, key, n, false, FORM(SDB_WEIGHT_EMBEDDING, width, .words = true));
}

const sdb_weight *sdi_get_qkv(sd_builder *b, const sd_path *path, const sd_key keys[3], int c,
                              bool bias) {
    sd_param params[3];
    for (int i = 0; i < 3; i++)
        params[i] = whole(path, keys[i], c, bias);
    return get(b, &FORM(SDB_WEIGHT_LINEAR, c), params, 3);
}

/* ------------------------------------------------------------------------- wide linears */

void sdi_wide_begin(sd_wide_builder *w, sd_builder *b, sd_wide_linear *wide, int in) {
    *w = (sd_wide_builder){.b = b, .wide = wide};
    *wide = (sd_wide_linear){.in = in};
}

/* Makes a slice of the rows that wait. */
static void wide_flush(sd_wide_builder *w) {
    sd_wide_linear *wide = w->wide;
    size_t n = (size_t)wide->n_slices;
    if (w->n == 0)
        return;
    sd_wide_slice *slices = sdi_builder_alloc(w->b, n + 1, sizeof *slices);
    if (slices) {
        for (size_t i = 0; i < n; i++)
            slices[i] = wide->slices[i];
        slices[n] = (sd_wide_slice){
            .weight = get(w->b, &FORM(SDB_WEIGHT_LINEAR, wide->in), w->params, w->n),
            .first = wide->width - w->rows,
            .width = w->rows,
        };
        wide->slices = slices;
        wide->n_slices++;
    }
    w->n = w->rows = 0;
}

static void wide_add(sd_wide_builder *w, sd_param param) {
    if (w->n == SD_WIDE_PARAMS)
        wide_flush(w);
    w->params[w->n++] = param;
    w->rows += param.rows;
    w->wide->width += param.rows;
}

int sdi_wide_add(sd_wide_builder *w, const sd_path *path, sd_key key, int rows, bool bias) {
    int first = w->wide->width;
    wide_add(w, whole(path, key, rows, bias));
    return first;
}

void sdi_wide_end(sd_wide_builder *w) {
    wide_flush(w);
}

void sdi_wide_add_heads(sd_wide_builder *w, const sd_path *path, sd_key key, int c, int heads) {
    if (!sdi_builder_divides(w->b, "attention heads", c, heads))
        return;
    int dim = c / heads;
    sd_param head = whole(path, key, 3 * c, true);
    head.rows = dim;
    for (int i = 0; i < 3 * heads; i++) {
        /* output i is head i % heads of q, k or v; the tensor has [head][q, k, v][dim] */
        head.first = (i % heads * 3 + i / heads) * dim;
        wide_add(w, head);
    }
    wide_flush(w);
}
