/* The table of tensors that every format fills, and files that belong together. */
#include "io/weights.h"

#include "io/json.h"
#include "io/weights_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SHARDS 1024

/* ------------------------------------------------------------------------- filling the table */

sd_status sd_weights_reserve(sd_weights *w, size_t n_more) {
    size_t need = w->n_entries + n_more;
    if (need <= w->room)
        return SD_OK;
    if (need > SIZE_MAX / sizeof(sd_entry))
        return sd_fail(w->ctx, SD_ERROR_FORMAT, "%s: too many tensors", w->path);
    sd_entry *grown = sd_realloc(w->ctx, w->entries, need * sizeof *grown);
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
    return sd_realloc(ctx, items, (n ? 2 * n : 1) * size);
}

sd_status sd_weights_add_metadata(sd_weights *w, const char *key, const char *value) {
    sd_metadata_row *rows = grow(w->ctx, w->metadata, w->n_metadata, sizeof *rows);
    if (!rows)
        return SD_ERROR_MEMORY;
    w->metadata = rows;
    sd_metadata_row *row = &rows[w->n_metadata++];
    row->key = sd_strdup(w->ctx, key);
    row->value = sd_strdup(w->ctx, value);
    return row->key && row->value ? SD_OK : SD_ERROR_MEMORY;
}

void *sd_weights_block(sd_weights *w, size_t size) {
    void **blocks = grow(w->ctx, w->blocks, w->n_blocks, sizeof *blocks);
    if (!blocks)
        return NULL;
    w->blocks = blocks;
    void *block = sd_alloc(w->ctx, size ? size : 1);
    if (block)
        blocks[w->n_blocks++] = block;
    return block;
}

/* This, and so many times the file's size. */
#define OWN_BASE ((uint64_t)256 << 20)
#define OWN_FACTOR 4

sd_status sd_budget_charge(const sd_weights *w, sd_budget *b, uint64_t size, const char *what) {
    uint64_t limit = OWN_BASE + OWN_FACTOR * b->file_size;
    if (size > limit || b->used > limit - size || size > SIZE_MAX)
        return sd_fail(w->ctx, SD_ERROR_FORMAT,
                       "%s: '%.200s' would take %llu bytes of memory; a file of %llu bytes may "
                       "take %llu in all",
                       b->path, what, (unsigned long long)size, (unsigned long long)b->file_size,
                       (unsigned long long)limit);
    b->used += size;
    return SD_OK;
}

sd_status sd_budget_block(sd_weights *w, sd_budget *b, uint64_t size, const char *what,
                          uint8_t **block) {
    *block = NULL;
    sd_status status = sd_budget_charge(w, b, size, what);
    if (!status && !(*block = sd_weights_block(w, (size_t)size)))
        status = SD_ERROR_MEMORY;
    return status;
}

/* Each unit of the file is asked for once: that costs a look at each of its pages. */
#define NEED_UNIT ((uint64_t)16 << 20)

static uint64_t count_units(const sd_input *in) {
    return (in->size + NEED_UNIT - 1) / NEED_UNIT;
}

/* Reads the tensors of the shard `file`, whose path and input are set. */
static sd_status read_shard(sd_weights *w, int file) {
    sd_shard *s = &w->shards[file];
    uint8_t head[SD_TORCH_LEGACY_HEAD];
    size_t n;
    s->needed = sd_zalloc(w->ctx, (size_t)count_units(&s->input) + 1);
    if (!s->needed)
        return SD_ERROR_MEMORY;
    sd_status status = sd_input_peek(w->ctx, &s->input, s->path, head, sizeof head, &n);
    if (status)
        return status;
    if (sd_torch_is_legacy(head, n))
        return sd_torch_read_legacy(w, file);
    bool is_zip = n >= 4 && memcmp(head, "PK\3\4", 4) == 0;
    return is_zip ? sd_torch_read(w, file) : sd_safetensors_read(w, file);
}

static sd_status open_shard(sd_weights *w, int file) {
    sd_status status = sd_input_open(w->ctx, w->shards[file].path, &w->shards[file].input);
    return status ? status : read_shard(w, file);
}

/* ------------------------------------------------------------------------- several files */

static int compare_names(const void *a, const void *b) {
    return strcmp(((const sd_name_row *)a)->name, ((const sd_name_row *)b)->name);
}

/* Names of one file are unique already; those of two shards may clash. */
static sd_status index_names(sd_weights *w) {
    w->by_name = sd_alloc_array(w->ctx, w->n_entries ? w->n_entries : 1, sizeof *w->by_name);
    if (!w->by_name)
        return SD_ERROR_MEMORY;
    for (size_t i = 0; i < w->n_entries; i++)
        w->by_name[i] = (sd_name_row){w->entries[i].name, i};
    qsort(w->by_name, w->n_entries, sizeof *w->by_name, compare_names);
    for (size_t i = 1; i < w->n_entries; i++) {
        const sd_name_row *row = &w->by_name[i];
        if (strcmp(row[-1].name, row->name) == 0)
            return sd_fail(w->ctx, SD_ERROR_FORMAT, "%s: tensor '%.200s' is also in %s",
                           sd_weights_path(w, &w->entries[row->index]), row->name,
                           sd_weights_path(w, &w->entries[row[-1].index]));
    }
    return SD_OK;
}

/* The place of `path` among the shards, added when it is new; -1 when there is no memory or no
 * room. */
static int find_shard(sd_weights *w, const char *path) {
    for (size_t i = 0; i < w->n_shards; i++)
        if (strcmp(w->shards[i].path, path) == 0)
            return (int)i;
    if (w->n_shards == MAX_SHARDS) {
        sd_fail(w->ctx, SD_ERROR_FORMAT, "%s: more than %d files", w->path, MAX_SHARDS);
        return -1;
    }
    sd_shard *grown = sd_realloc(w->ctx, w->shards, (w->n_shards + 1) * sizeof *grown);
    if (!grown)
        return -1;
    w->shards = grown;
    grown[w->n_shards] = (sd_shard){.path = sd_strdup(w->ctx, path)};
    return grown[w->n_shards].path ? (int)w->n_shards++ : -1;
}

/* Opens all files of {"weight_map": {"name": "file.safetensors", ...}}, beside the index. */
static sd_status open_map(sd_weights *w, const json_t *map, const char *directory) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value) {
        const char *file = json_string_value(value);
        if (!file || !*file || strchr(file, '/') || strchr(file, '\\') || file[0] == '.')
            return sd_fail(w->ctx, SD_ERROR_FORMAT,
                           "%s: tensor '%.200s': the name of a file beside the index was expected",
                           w->path, name);
        char *path = sd_path_join(w->ctx, directory, file);
        if (!path)
            return SD_ERROR_MEMORY;
        int i = find_shard(w, path);
        sd_free(w->ctx, path);
        if (i < 0)
            return w->n_shards == MAX_SHARDS ? SD_ERROR_FORMAT : SD_ERROR_MEMORY;
    }
    sd_status status = SD_OK;
    for (size_t i = 0; i < w->n_shards && !status; i++)
        status = open_shard(w, (int)i);
    return status ? status : index_names(w);
}

/* Every tensor of the map must be in the file that the map says. */
static sd_status check_map(const sd_weights *w, const json_t *map) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value) {
        const sd_entry *entry = sd_weights_find(w, name);
        const char *file = json_string_value(value);
        const char *path = entry ? sd_weights_path(w, entry) : "";
        size_t n = strlen(path), m = strlen(file);
        if (!entry || n < m || strcmp(path + n - m, file) != 0)
            return sd_fail(w->ctx, SD_ERROR_FORMAT,
                           "%s: tensor '%.200s' is not in %.200s, where the index says it is",
                           w->path, name, file);
    }
    return SD_OK;
}

static sd_status open_index(sd_weights *w) {
    json_t *root = NULL;
    char *directory = NULL;
    sd_status status = sd_json_read(w->ctx, w->path, &root);
    if (status)
        return status;
    const json_t *map = json_object_get(root, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        status = sd_fail(w->ctx, SD_ERROR_FORMAT,
                         "%s: not an index of weight files: it has no \"weight_map\"", w->path);
    else if (!(directory = sd_path_dirname(w->ctx, w->path)))
        status = SD_ERROR_MEMORY;
    else if (!(status = open_map(w, map, directory)))
        status = check_map(w, map);
    sd_free(w->ctx, directory);
    json_decref(root);
    return status;
}

static sd_status open_single(sd_weights *w) {
    if (find_shard(w, w->path) < 0)
        return SD_ERROR_MEMORY;
    sd_status status = open_shard(w, 0);
    return status ? status : index_names(w);
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static sd_weights *new_weights(sd_context *ctx, const char *path) {
    sd_weights *w = sd_zalloc(ctx, sizeof *w);
    if (!w)
        return NULL;
    w->ctx = ctx;
    w->path = sd_strdup(ctx, path);
    if (w->path)
        return w;
    sd_weights_close(w);
    return NULL;
}

static sd_status give(sd_weights *w, sd_status status, sd_weights **out) {
    if (status)
        sd_weights_close(w);
    else
        *out = w;
    return status;
}

sd_status sd_weights_open(sd_context *ctx, const char *path, sd_weights **out) {
    *out = NULL;
    sd_weights *w = new_weights(ctx, path);
    if (!w)
        return SD_ERROR_MEMORY;
    return give(w, ends_with(path, ".json") ? open_index(w) : open_single(w), out);
}

sd_status sd_weights_open_input(sd_context *ctx, const char *name, sd_input in, sd_weights **out) {
    *out = NULL;
    sd_weights *w = new_weights(ctx, name);
    if (!w || find_shard(w, name) < 0) {
        sd_input_close(ctx, &in);
        sd_weights_close(w);
        return SD_ERROR_MEMORY;
    }
    w->shards[0].input = in;
    sd_status status = read_shard(w, 0);
    return give(w, status ? status : index_names(w), out);
}

void sd_weights_close(sd_weights *w) {
    if (!w)
        return;
    sd_context *ctx = w->ctx;
    for (size_t i = 0; i < w->n_entries; i++)
        sd_free(ctx, (char *)w->entries[i].name);
    for (size_t i = 0; i < w->n_metadata; i++) {
        sd_free(ctx, w->metadata[i].key);
        sd_free(ctx, w->metadata[i].value);
    }
    for (size_t i = 0; i < w->n_shards; i++) {
        sd_input_close(ctx, &w->shards[i].input);
        sd_free(ctx, w->shards[i].needed);
        sd_free(ctx, w->shards[i].path);
    }
    for (size_t i = 0; i < w->n_blocks; i++)
        sd_free(ctx, w->blocks[i]);
    sd_free(ctx, w->blocks);
    sd_free(ctx, w->entries);
    sd_free(ctx, w->metadata);
    sd_free(ctx, w->shards);
    sd_free(ctx, w->by_name);
    sd_free(ctx, w->path);
    sd_free(ctx, w);
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

void sd_weights_redirect(sd_weights *w, sd_alias_fn alias, const void *user) {
    w->alias = alias;
    w->alias_user = user;
}

bool sd_weights_is_redirected(const sd_weights *w) {
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

const sd_entry *sd_weights_find(const sd_weights *w, const char *name) {
    char text[SD_ALIAS_SIZE];
    return find_name(w, redirect(w, name, text));
}

bool sd_weights_has_prefix(const sd_weights *w, const char *prefix) {
    char text[SD_ALIAS_SIZE];
    prefix = redirect(w, prefix, text);
    size_t i = lower_bound(w, prefix);
    return i < w->n_entries && strncmp(w->by_name[i].name, prefix, strlen(prefix)) == 0;
}

const sd_entry *sd_weights_take(sd_weights *w, const char *name) {
    char text[SD_ALIAS_SIZE];
    sd_entry *entry = find_name(w, redirect(w, name, text)), *replaced = find_name(w, name);
    if (entry)
        entry->taken = true;
    if (entry && replaced)
        replaced->taken = true;
    return entry;
}

void sd_weights_take_prefix(sd_weights *w, const char *prefix) {
    for (size_t i = lower_bound(w, prefix); i < w->n_entries; i++) {
        if (strncmp(w->by_name[i].name, prefix, strlen(prefix)) != 0)
            return;
        w->entries[w->by_name[i].index].taken = true;
    }
}

size_t sd_weights_count(const sd_weights *w) {
    return w->n_entries;
}

const sd_entry *sd_weights_at(const sd_weights *w, size_t i) {
    return i < w->n_entries ? &w->entries[i] : NULL;
}

const char *sd_weights_path(const sd_weights *w, const sd_entry *entry) {
    return entry ? w->shards[entry->file].path : w->path;
}

const char *sd_weights_metadata(const sd_weights *w, const char *key) {
    for (size_t i = 0; i < w->n_metadata; i++)
        if (strcmp(w->metadata[i].key, key) == 0)
            return w->metadata[i].value;
    return NULL;
}

const char *sd_entry_type_name(const sd_entry *entry) {
    return entry->other_type ? entry->other_type : sd_dtype_name(entry->type);
}

/* ------------------------------------------------------------------------- reading */

sd_status sd_weights_read(const sd_weights *w, const sd_entry *entry, size_t at, void *dst,
                          size_t n) {
    const sd_input *in = &w->shards[entry->file].input;
    if (entry->data && n)
        memcpy(dst, (const uint8_t *)entry->data + at, n);
    return entry->data || n == 0 ? SD_OK : in->read(in->user, entry->offset + at, dst, n);
}

sd_status sd_weights_fail(const sd_weights *w, const sd_entry *entry, sd_status status) {
    const sd_shard *s = &w->shards[entry->file];
    return sd_input_fail(w->ctx, &s->input, s->path, status);
}

sd_status sd_weights_number(const sd_weights *w, const sd_entry *entry, double *number, bool *is) {
    uint8_t element[8];
    *is = sd_dtype_is_weight(entry->type) && entry->size == sd_dtype_size(entry->type);
    sd_status status = *is ? sd_weights_read(w, entry, 0, element, entry->size) : SD_OK;
    if (status)
        return sd_weights_fail(w, entry, status);
    *number = *is ? sd_dtype_value(entry->type, element) : 0.0;
    return SD_OK;
}

sd_status sd_weights_check(const sd_weights *w) {
    sd_status status = SD_OK;
    for (size_t i = 0; i < w->n_shards && !status; i++)
        status = sd_input_check(w->ctx, &w->shards[i].input, w->shards[i].path);
    return status;
}

void sd_weights_will_need(sd_weights *w, const sd_entry *entry) {
    sd_shard *s = &w->shards[entry->file];
    const sd_input *in = &s->input;
    if (entry->data || !entry->size || !in->will_need)
        return;
    uint64_t n = count_units(in);
    uint64_t last = (entry->offset + entry->size - 1) / NEED_UNIT + 1;
    for (uint64_t i = entry->offset / NEED_UNIT; i <= last && i < n; i++) {
        if (!s->needed[i])
            in->will_need(in->user, i * NEED_UNIT, NEED_UNIT);
        s->needed[i] = 1;
    }
}
