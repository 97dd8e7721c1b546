/*
 * safetensors: 8 bytes of header length (little-endian), a JSON object
 * {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}, then the data.
 * https://github.com/huggingface/safetensors. As the original reader does, we refuse headers over
 * 100 MB and data with holes, overlaps or a rest. Nothing in a file is trusted.
 */
#include "io/weights.h"

#include "io/json.h"
#include "io/sniff.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER 100000000u
#define MAX_SHARDS 1024
#define EXPECTED "a safetensors file"

/* A name in the sorted table that sd_weights_find searches. */
typedef struct name_row {
    const char *name;
    size_t index;
} name_row;

typedef struct shard {
    char *path;
    sd_mapping mapping;
} shard;

typedef struct metadata_row {
    char *key, *value;
} metadata_row;

struct sd_weights {
    sd_context *ctx;
    char *path;
    shard *shards;
    size_t n_shards;
    sd_entry *entries; /* by shard, then by position of the data; names are owned */
    size_t n_entries, room;
    name_row *by_name; /* [n_entries], sorted */
    metadata_row *metadata;
    size_t n_metadata;
};

/* In the order of sd_dtype. */
static const struct {
    const char *name;
    size_t size;
} dtypes[SD_N_DTYPES] = {
    {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},
    {"I32", 4}, {"I16", 2}, {"I8", 1},  {"U8", 1},   {"BOOL", 1},
};

const char *sd_dtype_name(sd_dtype type) {
    return (unsigned)type < SD_N_DTYPES ? dtypes[type].name : "?";
}

size_t sd_dtype_size(sd_dtype type) {
    return (unsigned)type < SD_N_DTYPES ? dtypes[type].size : 0;
}

/* ------------------------------------------------------------------------- one tensor */

/* What sentences about a tensor need. */
typedef struct tensor_reader {
    const sd_context *ctx;
    const char *path;
    const char *name;
    const json_t *object;
} tensor_reader;

static sd_status fail_tensor(const tensor_reader *r, sd_status status, const char *what) {
    return sd_fail(r->ctx, status, "%s: tensor '%.200s': %s", r->path, r->name, what);
}

static sd_status read_dtype(const tensor_reader *r, sd_dtype *type) {
    const char *text = json_string_value(json_object_get(r->object, "dtype"));
    if (!text)
        return fail_tensor(r, SD_ERROR_FORMAT, "\"dtype\" must be a string");
    for (int i = 0; i < SD_N_DTYPES; i++) {
        if (strcmp(text, dtypes[i].name) == 0) {
            *type = (sd_dtype)i;
            return SD_OK;
        }
    }
    return sd_fail(r->ctx, SD_ERROR_UNSUPPORTED,
                   "%s: tensor '%.200s' is of type '%.40s', which this build does not read",
                   r->path, r->name, text);
}

/* Fills dims and size (the bytes that the shape asks for). */
static sd_status read_shape(const tensor_reader *r, sd_entry *entry) {
    const json_t *shape = json_object_get(r->object, "shape");
    if (!json_is_array(shape))
        return fail_tensor(r, SD_ERROR_FORMAT, "\"shape\" must be a list");
    if (json_array_size(shape) > SD_ENTRY_MAX_DIMS)
        return sd_fail(r->ctx, SD_ERROR_FORMAT,
                       "%s: tensor '%.200s' has %zu dimensions; at most %d were expected", r->path,
                       r->name, json_array_size(shape), SD_ENTRY_MAX_DIMS);
    entry->n_dims = (int)json_array_size(shape);
    uint64_t size = sd_dtype_size(entry->type);
    for (int i = 0; i < entry->n_dims; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return fail_tensor(r, SD_ERROR_FORMAT, "\"shape\" must hold integers from 0 upward");
        entry->dims[i] = (int64_t)json_integer_value(dim);
        if (entry->dims[i] && size > (uint64_t)INT64_MAX / (uint64_t)entry->dims[i])
            return fail_tensor(r, SD_ERROR_FORMAT, "the shape overflows 64 bits");
        size *= (uint64_t)entry->dims[i];
    }
    if (size > SIZE_MAX)
        return fail_tensor(r, SD_ERROR_UNSUPPORTED, "it does not fit this machine's memory");
    entry->size = (size_t)size;
    return SD_OK;
}

/* entry->data is set from the first of the two offsets. */
static sd_status read_offsets(const tensor_reader *r, const uint8_t *data, size_t data_size,
                              sd_entry *entry) {
    const json_t *offsets = json_object_get(r->object, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *second = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second))
        return fail_tensor(r, SD_ERROR_FORMAT, "\"data_offsets\" must be two integers");
    long long begin = json_integer_value(first), end = json_integer_value(second);
    if (begin < 0 || end < begin)
        return sd_fail(r->ctx, SD_ERROR_FORMAT,
                       "%s: tensor '%.200s': data_offsets [%lld, %lld] are no range", r->path,
                       r->name, begin, end);
    if ((unsigned long long)end > data_size)
        return sd_fail(r->ctx, SD_ERROR_FORMAT,
                       "%s: tensor '%.200s' ends at byte %lld of the data, but the file has only "
                       "%zu (a download that was cut short?)",
                       r->path, r->name, end, data_size);
    if ((unsigned long long)(end - begin) != entry->size)
        return sd_fail(r->ctx, SD_ERROR_FORMAT,
                       "%s: tensor '%.200s': its shape and type %s ask for %zu bytes, "
                       "data_offsets give %lld",
                       r->path, r->name, sd_dtype_name(entry->type), entry->size, end - begin);
    entry->data = data + begin;
    return SD_OK;
}

/* ------------------------------------------------------------------------- one file */

static sd_status read_metadata(sd_weights *w, const char *path, const json_t *object) {
    if (!json_is_object(object))
        return sd_fail(w->ctx, SD_ERROR_FORMAT, "%s: __metadata__ must be an object, it is %s",
                       path, sd_json_type_name(object));
    size_t n = w->n_metadata + json_object_size(object);
    if (n == w->n_metadata)
        return SD_OK;
    metadata_row *rows = sd_realloc(w->ctx, w->metadata, n * sizeof *rows);
    if (!rows)
        return SD_ERROR_MEMORY;
    w->metadata = rows;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        if (!json_is_string(value))
            return sd_fail(w->ctx, SD_ERROR_FORMAT,
                           "%s: __metadata__ '%.200s' must be a string, it is %s", path, key,
                           sd_json_type_name(value));
        metadata_row *row = &rows[w->n_metadata++];
        row->key = sd_strdup(w->ctx, key);
        row->value = sd_strdup(w->ctx, json_string_value(value));
        if (!row->key || !row->value)
            return SD_ERROR_MEMORY;
    }
    return SD_OK;
}

static int compare_position(const void *a, const void *b) {
    const sd_entry *x = a, *y = b;
    uintptr_t p = (uintptr_t)x->data, q = (uintptr_t)y->data;
    if (p != q)
        return p < q ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The tensors of a file must cover its data without overlaps, holes or a rest. */
static sd_status check_positions(const sd_context *ctx, const char *path, const sd_entry *entries,
                                 size_t n, const uint8_t *data, size_t data_size) {
    const uint8_t *at = data;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *begin = entries[i].data;
        if (begin < at)
            return sd_fail(ctx, SD_ERROR_FORMAT,
                           "%s: tensor '%.200s' overlaps the data of '%.200s'", path,
                           entries[i].name, entries[i - 1].name);
        if (begin > at)
            return sd_fail(ctx, SD_ERROR_FORMAT,
                           "%s: tensor '%.200s': %zu bytes before its data belong to no tensor",
                           path, entries[i].name, (size_t)(begin - at));
        at = begin + entries[i].size;
    }
    if (at != data + data_size)
        return sd_fail(ctx, SD_ERROR_FORMAT,
                       "%s: %zu bytes at the end of the file belong to no tensor", path,
                       (size_t)(data + data_size - at));
    return SD_OK;
}

static sd_status reserve_entries(sd_weights *w, size_t n_more) {
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

/* All tensors of a parsed header. */
static sd_status read_entries(sd_weights *w, int file, const json_t *header, const uint8_t *data,
                              size_t data_size) {
    const char *path = w->shards[file].path;
    sd_status status = reserve_entries(w, json_object_size(header));
    size_t first = w->n_entries;
    const char *name;
    json_t *object;
    json_object_foreach((json_t *)header, name, object) {
        if (status)
            return status;
        if (strcmp(name, "__metadata__") == 0) {
            status = read_metadata(w, path, object);
            continue;
        }
        const tensor_reader r = {w->ctx, path, name, object};
        sd_entry entry = {.file = file};
        if (!json_is_object(object))
            return fail_tensor(&r, SD_ERROR_FORMAT, "its description must be an object");
        if (!(status = read_dtype(&r, &entry.type)) && !(status = read_shape(&r, &entry)))
            status = read_offsets(&r, data, data_size, &entry);
        if (!status && !(entry.name = sd_strdup(w->ctx, name)))
            status = SD_ERROR_MEMORY;
        if (!status)
            w->entries[w->n_entries++] = entry;
    }
    if (status)
        return status;
    if (w->n_entries > first)
        qsort(w->entries + first, w->n_entries - first, sizeof *w->entries, compare_position);
    return check_positions(w->ctx, path, w->entries + first, w->n_entries - first, data, data_size);
}

static uint64_t read_u64(const uint8_t *p) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | p[i];
    return value;
}

/* Checks the length of the header, and that there is one. */
static sd_status read_header_size(const sd_context *ctx, const char *path, const sd_mapping *m,
                                  size_t *header_size) {
    uint64_t size = m->size >= 8 ? read_u64(m->data) : 0;
    if (m->size > 8 && size >= 2 && size <= MAX_HEADER && size <= m->size - 8 &&
        m->data[8] == '{') {
        *header_size = (size_t)size;
        return SD_OK;
    }
    sd_status status = sd_sniff(ctx, path, m->data, m->size, EXPECTED);
    if (status)
        return status;
    if (m->size < 10)
        return sd_fail(ctx, SD_ERROR_FORMAT, "%s: %zu bytes are too few for " EXPECTED, path,
                       m->size);
    if (size > MAX_HEADER)
        return sd_fail(ctx, SD_ERROR_FORMAT,
                       "%s: not " EXPECTED ": its header would be of %llu bytes, over the limit "
                       "of %u",
                       path, (unsigned long long)size, MAX_HEADER);
    if (size > m->size - 8)
        return sd_fail(ctx, SD_ERROR_FORMAT,
                       "%s: the header is said to be of %llu bytes, but the file has only %zu "
                       "(a download that was cut short?)",
                       path, (unsigned long long)size, m->size);
    return sd_fail(ctx, SD_ERROR_FORMAT, "%s: not " EXPECTED ": its header is no JSON object",
                   path);
}

/* Maps and reads the shard `file`, whose path is set. */
static sd_status open_shard(sd_weights *w, int file) {
    shard *s = &w->shards[file];
    size_t header_size = 0;
    sd_status status = sd_map_file(w->ctx, s->path, &s->mapping);
    if (!status)
        status = read_header_size(w->ctx, s->path, &s->mapping, &header_size);
    if (status)
        return status;
    json_t *header;
    status = sd_json_parse(w->ctx, s->path, s->mapping.data + 8, header_size, &header);
    if (status)
        return status;
    status = read_entries(w, file, header, s->mapping.data + 8 + header_size,
                          s->mapping.size - 8 - header_size);
    json_decref(header);
    return status;
}

/* ------------------------------------------------------------------------- several files */

static int compare_names(const void *a, const void *b) {
    return strcmp(((const name_row *)a)->name, ((const name_row *)b)->name);
}

/* Names of one file are unique already; those of two shards may clash. */
static sd_status index_names(sd_weights *w) {
    w->by_name = sd_alloc_array(w->ctx, w->n_entries ? w->n_entries : 1, sizeof *w->by_name);
    if (!w->by_name)
        return SD_ERROR_MEMORY;
    for (size_t i = 0; i < w->n_entries; i++)
        w->by_name[i] = (name_row){w->entries[i].name, i};
    qsort(w->by_name, w->n_entries, sizeof *w->by_name, compare_names);
    for (size_t i = 1; i < w->n_entries; i++) {
        const name_row *row = &w->by_name[i];
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
    shard *grown = sd_realloc(w->ctx, w->shards, (w->n_shards + 1) * sizeof *grown);
    if (!grown)
        return -1;
    w->shards = grown;
    grown[w->n_shards] = (shard){.path = sd_strdup(w->ctx, path)};
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
        status =
            sd_fail(w->ctx, SD_ERROR_FORMAT,
                    "%s: not an index of safetensors files: it has no \"weight_map\"", w->path);
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

sd_status sd_weights_open(sd_context *ctx, const char *path, sd_weights **out) {
    *out = NULL;
    sd_weights *w = sd_zalloc(ctx, sizeof *w);
    if (!w)
        return SD_ERROR_MEMORY;
    w->ctx = ctx;
    w->path = sd_strdup(ctx, path);
    sd_status status = !w->path                   ? SD_ERROR_MEMORY
                       : ends_with(path, ".json") ? open_index(w)
                                                  : open_single(w);
    if (status)
        sd_weights_close(w);
    else
        *out = w;
    return status;
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
        sd_unmap_file(&w->shards[i].mapping);
        sd_free(ctx, w->shards[i].path);
    }
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

const sd_entry *sd_weights_find(const sd_weights *w, const char *name) {
    size_t i = lower_bound(w, name);
    if (i == w->n_entries || strcmp(w->by_name[i].name, name) != 0)
        return NULL;
    return &w->entries[w->by_name[i].index];
}

bool sd_weights_has_prefix(const sd_weights *w, const char *prefix) {
    size_t i = lower_bound(w, prefix);
    return i < w->n_entries && strncmp(w->by_name[i].name, prefix, strlen(prefix)) == 0;
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

void sd_weights_discard(const sd_weights *w, const sd_entry *entry) {
    sd_map_discard(&w->shards[entry->file].mapping, entry->data, entry->size);
}
