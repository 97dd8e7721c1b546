/* Choosing among the files of weights in a folder. */
#include "io/folder.h"

#include "core/files.h"
#include "core/os.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------- names of weights */

/* STEM[.VARIANT].EXTENSION, STEM[.VARIANT].EXTENSION.index.json or
 * STEM.EXTENSION.index[.VARIANT].json. */
typedef struct weights_name {
    bool torch, list;
    const char *variant; /* not terminated */
    size_t variant_size; /* 0: none */
} weights_name;

static bool contains(const char *text, size_t size, const char *part) {
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(text + i, part, n) == 0)
            return true;
    return false;
}

/* `rest` follows the stem. */
static bool read_rest(const char *rest, const char *extension, weights_name *out) {
    static const char json[] = ".json", index[] = ".index", list[] = ".index.json";
    const char *start = rest, *mark = NULL;
    size_t size = strlen(rest), extension_size = strlen(extension);
    for (const char *p = strstr(rest, extension); p && !mark; p = strstr(p + 1, extension))
        if (strncmp(p + extension_size, index, strlen(index)) == 0)
            mark = p + extension_size + strlen(index); /* after ".safetensors.index" */
    out->list = mark != NULL;
    out->variant_size = 0;
    if (mark && !sdi_ends_with(rest, size, json))
        return false;
    if (mark && strcmp(mark, json) != 0) { /* ".safetensors.index.fp16.json" */
        if (*mark != '.' || strncmp(rest, extension, extension_size) != 0)
            return false;
        out->variant = mark + 1;
        out->variant_size = size - (size_t)(mark + 1 - rest) - strlen(json);
        return true;
    }
    size -= mark ? strlen(list) : 0;
    if (!sdi_ends_with(rest, size, extension))
        return false;
    size -= extension_size;
    if (size > 0) {
        out->variant = start + 1;
        out->variant_size = size - 1;
    }
    return size != 1 && (size == 0 || *start == '.');
}

/* Parts of a sharded file ("...-00001-of-00002") are named by its list. */
static bool read_name(const char *name, const sd_stems *names, weights_name *out) {
    static const char *const extensions[] = {".safetensors", ".bin"};
    const char *const stems[] = {names->safetensors, names->torch};
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(stems[i]);
        out->torch = i == 1;
        if (strncmp(name, stems[i], n) == 0 && read_rest(name + n, extensions[i], out))
            return !contains(out->variant, out->variant_size, "-of-");
    }
    return false;
}

static bool is_variant(const weights_name *name, const char *variant) {
    return name->variant_size == strlen(variant) &&
           memcmp(name->variant, variant, name->variant_size) == 0;
}

/* The smaller, the better. */
static int rank_of(const weights_name *name) {
    static const char *const others[] = {"fp32", "bf16", "ema"};
    int rank = 2 * name->list;
    if (name->variant_size == 0 || is_variant(name, "fp16"))
        return rank + (name->variant_size > 0) + 4 * name->torch;
    rank += is_variant(name, "non_ema") ? 20 : 16;
    for (int i = 0; i < (int)SD_COUNT(others); i++)
        if (is_variant(name, others[i]))
            rank = 2 * name->list + 4 * (i + 1);
    return rank + 100 + 100 * name->torch;
}

/* Names joined by ", " into a text of fixed size; the rest is counted. */
typedef struct name_list {
    char text[400];
    size_t used;
    int n, left_out;
} name_list;

static void list_add(name_list *list, const char *name) {
    size_t n = strlen(name);
    if (list->used + n + 3 > sizeof list->text) {
        list->left_out++;
        return;
    }
    if (list->n++ > 0) {
        memcpy(list->text + list->used, ", ", 2);
        list->used += 2;
    }
    memcpy(list->text + list->used, name, n + 1);
    list->used += n;
}

static void list_end(name_list *list) {
    if (list->left_out > 0)
        snprintf(list->text + list->used, sizeof list->text - list->used, " ...");
}

sd_status sdi_folder_weights(const sd_context *ctx, const char *folder, const sd_stems *stems,
                             char **path) {
    char **names;
    size_t n;
    *path = NULL;
    const char *best = NULL;
    int best_rank = 0;
    bool variant = false;
    name_list found = {.n = 0};
    sd_status status = sdi_list_names(ctx, folder, &names, &n);
    for (size_t i = 0; i < n && !status; i++) {
        weights_name name;
        if (!read_name(names[i], stems, &name))
            continue;
        list_add(&found, names[i]);
        if (best && rank_of(&name) >= best_rank)
            continue;
        best = names[i];
        best_rank = rank_of(&name);
        variant = name.variant_size > 0;
    }
    list_end(&found);
    if (!status && variant && found.n > 1)
        sdi_log(ctx, SD_LOG_LEVEL_WARN, "%s: there is no %s.safetensors; of %s, %s is taken",
                folder, stems->safetensors, found.text, best);
    if (!status && best) {
        *path = sdi_path_join(ctx, folder, best);
        status = *path ? SD_OK : SD_ERROR_MEMORY;
    }
    sdi_free_names(ctx, names, n);
    return status;
}

sd_status sdi_folder_has_none(const sd_context *ctx, const char *folder, const sd_stems *stems) {
    char **names;
    size_t n;
    name_list found = {.n = 0};
    sd_status status = sdi_list_names(ctx, folder, &names, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], "config.json") != 0)
            list_add(&found, names[i]);
    list_end(&found);
    if (!status)
        status = sdi_fail(ctx, SD_ERROR_IO,
                          "%s: no weights: %s.safetensors or %s.bin was expected, also with a "
                          "variant before the ending (%s.fp16.safetensors); %s%s",
                          folder, stems->safetensors, stems->torch, stems->safetensors,
                          found.n ? "there is " : "there is nothing else", found.text);
    sdi_free_names(ctx, names, n);
    return status;
}

/* ------------------------------------------------------------------- checkpoints */

static bool is_checkpoint(const char *name) {
    static const char *const endings[] = {".safetensors", ".ckpt", ".pt", ".pth", ".bin"};
    for (size_t i = 0; i < SD_COUNT(endings); i++)
        if (sdi_ends_with(name, strlen(name), endings[i]))
            return true;
    return false;
}

bool sdi_folder_holds(const sd_context *ctx, const char *folder, const char *name,
                      sd_status *status) {
    if (*status)
        return false;
    char *path = sdi_path_join(ctx, folder, name);
    bool there = path && (sdi_is_file(path) || sdi_is_directory(path));
    if (!path)
        *status = SD_ERROR_MEMORY;
    sdi_free(ctx, path);
    return there;
}

sd_status sdi_folder_checkpoint(const sd_context *ctx, const char *dir, char **path) {
    char **names;
    size_t n;
    name_list found = {.n = 0};
    const char *only = NULL;
    *path = NULL;
    sd_status status = sdi_list_names(ctx, dir, &names, &n);
    for (size_t i = 0; i < n && !status; i++) {
        if (!is_checkpoint(names[i]))
            continue;
        list_add(&found, names[i]);
        only = names[i];
    }
    list_end(&found);
    if (!status && found.n + found.left_out > 1)
        status = sdi_fail(ctx, SD_ERROR_ARGUMENT,
                          "%s: the folder holds several files of weights and no model_index.json; "
                          "give one of them: %s",
                          dir, found.text);
    else if (!status && only) {
        *path = sdi_path_join(ctx, dir, only);
        status = *path ? SD_OK : SD_ERROR_MEMORY;
    }
    sdi_free_names(ctx, names, n);
    return status;
}
