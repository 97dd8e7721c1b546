/* Opens files of weights: one by what its first bytes say, several by their index. */
#include "io/json.h"
#include "io/weights.h"
#include "io/weights_internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_SHARDS 1024

/* Reads the tensors of the shard `file`, whose path and input are set. */
static sd_status read_shard(sd_weights *w, int file) {
    sd_shard *s = &w->shards[file];
    uint8_t head[SD_TORCH_LEGACY_HEAD];
    size_t n;
    s->needed = sdi_zalloc(w->ctx, (size_t)sdi_weights_units(&s->input) + 1);
    if (!s->needed)
        return SD_ERROR_MEMORY;
    sd_status status = sdi_input_peek(w->ctx, &s->input, s->path, head, sizeof head, &n);
    if (status)
        return status;
    if (sdi_torch_is_legacy(head, n))
        return sdi_torch_read_legacy(w, file);
    bool is_zip = n >= 4 && memcmp(head, "PK\3\4", 4) == 0;
    return is_zip ? sdi_torch_read(w, file) : sdi_safetensors_read(w, file);
}

static sd_status open_shard(sd_weights *w, int file) {
    sd_status status = sdi_input_open(w->ctx, w->shards[file].path, &w->shards[file].input);
    return status ? status : read_shard(w, file);
}

/* ------------------------------------------------------------------------- several files */

static int compare_names(const void *a, const void *b) {
    return strcmp(((const sd_name_row *)a)->name, ((const sd_name_row *)b)->name);
}

/* Names of one file are unique already; those of two shards may clash. */
static sd_status index_names(sd_weights *w) {
    w->by_name = sdi_alloc_array(w->ctx, w->n_entries ? w->n_entries : 1, sizeof *w->by_name);
    if (!w->by_name)
        return SD_ERROR_MEMORY;
    for (size_t i = 0; i < w->n_entries; i++)
        w->by_name[i] = (sd_name_row){w->entries[i].name, i};
    qsort(w->by_name, w->n_entries, sizeof *w->by_name, compare_names);
    for (size_t i = 1; i < w->n_entries; i++) {
        const sd_name_row *row = &w->by_name[i];
        if (strcmp(row[-1].name, row->name) == 0)
            return sdi_fail(w->ctx, SD_ERROR_FORMAT, "%s: tensor '%.200s' is also in %s",
                            sdi_weights_path(w, &w->entries[row->index]), row->name,
                            sdi_weights_path(w, &w->entries[row[-1].index]));
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
        sdi_fail(w->ctx, SD_ERROR_FORMAT, "%s: more than %d files", w->path, MAX_SHARDS);
        return -1;
    }
    sd_shard *grown = sdi_realloc(w->ctx, w->shards, (w->n_shards + 1) * sizeof *grown);
    if (!grown)
        return -1;
    w->shards = grown;
    grown[w->n_shards] = (sd_shard){.path = sdi_strdup(w->ctx, path)};
    return grown[w->n_shards].path ? (int)w->n_shards++ : -1;
}

/* Opens all files of {"weight_map": {"name": "file.safetensors", ...}}, beside the index. */
static sd_status open_map(sd_weights *w, const json_t *map, const char *directory) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value) {
        const char *file = json_string_value(value);
        if (!file || !*file || strchr(file, '/') || strchr(file, '\\') || file[0] == '.')
            return sdi_fail(w->ctx, SD_ERROR_FORMAT,
                            "%s: tensor '%.200s': the name of a file beside the index was expected",
                            w->path, name);
        char *path = sdi_path_join(w->ctx, directory, file);
        if (!path)
            return SD_ERROR_MEMORY;
        int i = find_shard(w, path);
        sdi_free(w->ctx, path);
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
        const sd_entry *entry = sdi_weights_find(w, name);
        const char *file = json_string_value(value);
        const char *path = entry ? sdi_weights_path(w, entry) : "";
        if (!entry || !sdi_ends_with(path, strlen(path), file))
            return sdi_fail(w->ctx, SD_ERROR_FORMAT,
                            "%s: tensor '%.200s' is not in %.200s, where the index says it is",
                            w->path, name, file);
    }
    return SD_OK;
}

static sd_status open_index(sd_weights *w) {
    json_t *root = NULL;
    char *directory = NULL;
    sd_status status = sdi_json_read(w->ctx, w->path, &root);
    if (status)
        return status;
    const json_t *map = json_object_get(root, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        status = sdi_fail(w->ctx, SD_ERROR_FORMAT,
                          "%s: not an index of weight files: it has no \"weight_map\"", w->path);
    else if (!(directory = sdi_path_dirname(w->ctx, w->path)))
        status = SD_ERROR_MEMORY;
    else if (!(status = open_map(w, map, directory)))
        status = check_map(w, map);
    sdi_free(w->ctx, directory);
    json_decref(root);
    return status;
}

static sd_status open_single(sd_weights *w) {
    if (find_shard(w, w->path) < 0)
        return SD_ERROR_MEMORY;
    sd_status status = open_shard(w, 0);
    return status ? status : index_names(w);
}

static sd_weights *new_weights(sd_context *ctx, const char *path) {
    sd_weights *w = sdi_zalloc(ctx, sizeof *w);
    if (!w)
        return NULL;
    w->ctx = ctx;
    w->path = sdi_strdup(ctx, path);
    if (w->path)
        return w;
    sdi_weights_close(w);
    return NULL;
}

static sd_status give(sd_weights *w, sd_status status, sd_weights **out) {
    if (status)
        sdi_weights_close(w);
    else
        *out = w;
    return status;
}

sd_status sdi_weights_open(sd_context *ctx, const char *path, sd_weights **out) {
    *out = NULL;
    sd_weights *w = new_weights(ctx, path);
    if (!w)
        return SD_ERROR_MEMORY;
    return give(w, sdi_ends_with(path, strlen(path), ".json") ? open_index(w) : open_single(w),
                out);
}

/* Names from entry `first` on get `prefix`. */
static sd_status prefix_names(sd_weights *w, size_t first, const char *prefix) {
    size_t n = strlen(prefix);
    for (size_t i = first; i < w->n_entries; i++) {
        size_t length = strlen(w->entries[i].name) + 1;
        char *name = sdi_alloc(w->ctx, n + length);
        if (!name)
            return SD_ERROR_MEMORY;
        memcpy(name, prefix, n);
        memcpy(name + n, w->entries[i].name, length);
        sdi_free(w->ctx, (char *)w->entries[i].name);
        w->entries[i].name = name;
    }
    return SD_OK;
}

static sd_status open_prefixed(sd_weights *w, const char *path, const char *prefix) {
    size_t first = w->n_entries;
    int file = find_shard(w, path);
    sd_status status = file < 0 ? SD_ERROR_MEMORY : open_shard(w, file);
    return status ? status : prefix_names(w, first, prefix);
}

sd_status sdi_weights_open_several(sd_context *ctx, const char *const *paths,
                                   const char *const *prefixes, int n, sd_weights **out) {
    *out = NULL;
    sd_weights *w = new_weights(ctx, paths[0]);
    if (!w)
        return SD_ERROR_MEMORY;
    sd_status status = SD_OK;
    for (int i = 0; i < n && !status; i++)
        status = open_prefixed(w, paths[i], prefixes[i]);
    return give(w, status ? status : index_names(w), out);
}

sd_status sdi_weights_open_input(sd_context *ctx, const char *name, sd_input in, sd_weights **out) {
    *out = NULL;
    sd_weights *w = new_weights(ctx, name);
    if (!w || find_shard(w, name) < 0) {
        sdi_input_close(ctx, &in);
        sdi_weights_close(w);
        return SD_ERROR_MEMORY;
    }
    w->shards[0].input = in;
    sd_status status = read_shard(w, 0);
    return give(w, status ? status : index_names(w), out);
}
