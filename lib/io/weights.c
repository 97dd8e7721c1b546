/* The table of tensors that every format fills: what fills it, what asks it, and the bytes. */
#include "io/weights.h"

#include "io/weights_internal.h"

#include <string.h>

/* ------------------------------------------------------------------------- filling the table */

sd_status sdi_weights_reserve(sd_weights *w, size_t n_more) {
    size_t need = w->n_entries + n_more;
    if (need <= w->room)
        return SD_OK;
    if (need > SIZE_MAX / sizeof(sd_entry))
        return sdi_fail(w->ctx, SD_ERROR_FORMAT, "%s: too many tensors", w->path);
    sd_entry *grown = sdi_realloc(w->ctx, w->entries, need * sizeof *grown);
    if (!grown)
        return SD_ERROR_MEMORY;
    w->entries = grown;
    w->room = need;
    return SD_OK;
}

/* Room for one more of n items: the memory doubles whenever n is a power of two. */
static void *grow(const sd_context *ctx, void *items, size_t n, size_t size) {
    if (n & (n - 1))
        return items;
    return sdi_realloc(ctx, items, (n ? 2 * n : 1) * size);
}

sd_status sdi_weights_add_metadata(sd_weights *w, const char *key, const char *value) {
    sd_metadata_row *rows = grow(w->ctx, w->metadata, w->n_metadata, sizeof *rows);
    if (!rows)
        return SD_ERROR_MEMORY;
    w->metadata = rows;
    sd_metadata_row *row = &rows[w->n_metadata++];
    row->key = sdi_strdup(w->ctx, key);
    row->value = sdi_strdup(w->ctx, value);
    return row->key && row->value ? SD_OK : SD_ERROR_MEMORY;
}

void *sdi_weights_block(sd_weights *w, size_t size) {
    void **blocks = grow(w->ctx, w->blocks, w->n_blocks, sizeof *blocks);
    if (!blocks)
        return NULL;
    w->blocks = blocks;
    void *block = sdi_alloc(w->ctx, size ? size : 1);
    if (block)
        blocks[w->n_blocks++] = block;
    return block;
}

/* A file's tables may take OWN_BASE bytes, and OWN_FACTOR times its size. */
#define OWN_BASE ((uint64_t)256 << 20)
#define OWN_FACTOR 4

sd_status sdi_budget_charge(const sd_weights *w, sd_budget *b, uint64_t size, const char *what) {
    uint64_t limit = OWN_BASE + OWN_FACTOR * b->file_size;
    if (size > limit || b->used > limit - size || size > SIZE_MAX)
        return sdi_fail(w->ctx, SD_ERROR_FORMAT,
                        "%s: '%.200s' would take %llu bytes of memory; a file of %llu bytes may "
                        "take %llu in all",
                        b->path, what, (unsigned long long)size, (unsigned long long)b->file_size,
                        (unsigned long long)limit);
    b->used += size;
    return SD_OK;
}

sd_status sdi_budget_block(sd_weights *w, sd_budget *b, uint64_t size, const char *what,
                           uint8_t **block) {
    *block = NULL;
    sd_status status = sdi_budget_charge(w, b, size, what);
    if (!status && !(*block = sdi_weights_block(w, (size_t)size)))
        status = SD_ERROR_MEMORY;
    return status;
}

void sdi_weights_close(sd_weights *w) {
    if (!w)
        return;
    sd_context *ctx = w->ctx;
    for (size_t i = 0; i < w->n_entries; i++)
        sdi_free(ctx, (char *)w->entries[i].name);
    for (size_t i = 0; i < w->n_metadata; i++) {
        sdi_free(ctx, w->metadata[i].key);
        sdi_free(ctx, w->metadata[i].value);
    }
    for (size_t i = 0; i < w->n_shards; i++) {
        sdi_input_close(ctx, &w->shards[i].input);
        sdi_free(ctx, w->shards[i].needed);
        sdi_free(ctx, w->shards[i].path);
    }
    for (size_t i = 0; i < w->n_blocks; i++)
        sdi_free(ctx, w->blocks[i]);
    sdi_free(ctx, w->blocks);
    sdi_free(ctx, w->entries);
    sdi_free(ctx, w->metadata);
    sdi_free(ctx, w->shards);
    sdi_free(ctx, w->by_name);
    sdi_free(ctx, w->path);
    sdi_free(ctx, w);
}

/* ------------------------------------------------------------------------- asking */

/* The first row whose name does not come before `name`. */
static size_t lower_bound(const sd_weights *w, const char *name) {
    size_t low = 0, high = w->n_entries;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(w->by_name[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void sdi_weights_redirect(sd_weights *w, sd_alias_fn alias, const void *user) {
    w->alias = alias;
    w->alias_user = user;
}

bool sdi_weights_is_redirected(const sd_weights *w) {
    return w->alias != NULL;
}

/* Where a name is looked up. */
static const char *redirect(const sd_weights *w, const char *name, char text[SD_ALIAS_SIZE]) {
    const char *alias = w->alias ? w->alias(w->alias_user, name, text, SD_ALIAS_SIZE) : NULL;
    return alias ? alias : name;
}

/* The entry of this very name. */
static sd_entry *find_name(const sd_weights *w, const char *name) {
    size_t i = lower_bound(w, name);
    if (i == w->n_entries || strcmp(w->by_name[i].name, name) != 0)
        return NULL;
    return &w->entries[w->by_name[i].index];
}

const sd_entry *sdi_weights_find(const sd_weights *w, const char *name) {
    char text[SD_ALIAS_SIZE];
    return find_name(w, redirect(w, name, text));
}

bool sdi_weights_has_prefix(const sd_weights *w, const char *prefix) {
    char text[SD_ALIAS_SIZE];
    prefix = redirect(w, prefix, text);
    size_t i = lower_bound(w, prefix);
    return i < w->n_entries && strncmp(w->by_name[i].name, prefix, strlen(prefix)) == 0;
}

const sd_entry *sdi_weights_take(sd_weights *w, const char *name) {
    char text[SD_ALIAS_SIZE];
    sd_entry *entry = find_name(w, redirect(w, name, text)), *replaced = find_name(w, name);
    if (entry)
        entry->taken = true;
    if (entry && replaced)
        replaced->taken = true;
    return entry;
}

void sdi_weights_take_prefix(sd_weights *w, const char *prefix) {
    for (size_t i = lower_bound(w, prefix); i < w->n_entries; i++) {
        if (strncmp(w->by_name[i].name, prefix, strlen(prefix)) != 0)
            return;
        w->entries[w->by_name[i].index].taken = true;
    }
}

void sdi_weights_take_others(sd_weights *w, const char *prefix) {
    for (size_t i = 0; i < w->n_entries; i++)
        if (strncmp(w->entries[i].name, prefix, strlen(prefix)) != 0)
            w->entries[i].taken = true;
}

size_t sdi_weights_count(const sd_weights *w) {
    return w->n_entries;
}

const sd_entry *sdi_weights_at(const sd_weights *w, size_t i) {
    return i < w->n_entries ? &w->entries[i] : NULL;
}

const char *sdi_weights_path(const sd_weights *w, const sd_entry *entry) {
    return entry ? w->shards[entry->file].path : w->path;
}

const char *sdi_weights_metadata(const sd_weights *w, const char *key) {
    for (size_t i = 0; i < w->n_metadata; i++)
        if (strcmp(w->metadata[i].key, key) == 0)
            return w->metadata[i].value;
    return NULL;
}

const char *sdi_entry_type_name(const sd_entry *entry) {
    return entry->other_type ? entry->other_type : sdi_dtype_name(entry->type);
}

/* ------------------------------------------------------------------------- reading */

uint64_t sdi_weights_units(const sd_input *in) {
    return (in->size + SD_NEED_UNIT - 1) / SD_NEED_UNIT;
}

sd_status sdi_weights_read(const sd_weights *w, const sd_entry *entry, size_t at, void *dst,
                           size_t n) {
    const sd_input *in = &w->shards[entry->file].input;
    if (entry->data && n)
        memcpy(dst, (const uint8_t *)entry->data + at, n);
    return entry->data || n == 0 ? SD_OK : in->read(in->user, entry->offset + at, dst, n);
}

sd_status sdi_weights_fail(const sd_weights *w, const sd_entry *entry, sd_status status) {
    const sd_shard *s = &w->shards[entry->file];
    return sdi_input_fail(w->ctx, &s->input, s->path, status);
}

sd_status sdi_weights_number(const sd_weights *w, const sd_entry *entry, double *number, bool *is) {
    uint8_t element[8];
    *is = sdi_dtype_is_weight(entry->type) && entry->size == sdi_dtype_size(entry->type);
    sd_status status = *is ? sdi_weights_read(w, entry, 0, element, entry->size) : SD_OK;
    if (status)
        return sdi_weights_fail(w, entry, status);
    *number = *is ? sdi_dtype_value(entry->type, element) : 0.0;
    return SD_OK;
}

sd_status sdi_weights_check(const sd_weights *w) {
    sd_status status = SD_OK;
    for (size_t i = 0; i < w->n_shards && !status; i++)
        status = sdi_input_check(w->ctx, &w->shards[i].input, w->shards[i].path);
    return status;
}

uint64_t sdi_weights_stamp(const sd_weights *w) {
    uint64_t stamp = 14695981039346656037u; /* Fowler, Noll and Vo's, by words */
    for (size_t i = 0; i < w->n_shards; i++) {
        stamp = (stamp ^ w->shards[i].input.size) * 1099511628211u;
        stamp = (stamp ^ w->shards[i].input.stamp) * 1099511628211u;
    }
    return stamp;
}

void sdi_weights_will_need(sd_weights *w, const sd_entry *entry) {
    sd_shard *s = &w->shards[entry->file];
    const sd_input *in = &s->input;
    if (entry->data || !entry->size || !in->will_need)
        return;
    uint64_t n = sdi_weights_units(in);
    uint64_t last = (entry->offset + entry->size - 1) / SD_NEED_UNIT + 1;
    for (uint64_t i = entry->offset / SD_NEED_UNIT; i <= last && i < n; i++) {
        if (!s->needed[i])
            in->will_need(in->user, i * SD_NEED_UNIT, SD_NEED_UNIT);
        s->needed[i] = 1;
    }
}
