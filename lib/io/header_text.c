/* Walks the text of a safetensors header before jansson does. */
#include "io/header_text.h"

#include <string.h>

void sdi_header_show_zeros(char *text, size_t size) {
    for (size_t i = 0; i + 1 < size; i++) {
        if (text[i] != '\\')
            continue;
        if (size - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
            text[i + 2] = '2', text[i + 3] = '4';
        i++; /* what is escaped may be a backslash itself */
    }
}

/* The keys that an object may have once, for each depth. */
typedef struct unique_key {
    const char *name;
    int depth;
} unique_key;

static const unique_key unique_keys[] = {
    {"__metadata__", 1}, {"dtype", 2}, {"shape", 2}, {"data_offsets", 2}};

typedef struct key_reader {
    const char *text;
    size_t size;
    int depth;
    bool metadata; /* the last key of the header was "__metadata__" */
    bool seen[SD_COUNT(unique_keys)];
} key_reader;

/* The place behind the string that begins at i. */
static size_t string_end(const key_reader *r, size_t i) {
    for (i++; i < r->size && r->text[i] != '"'; i++)
        if (r->text[i] == '\\')
            i++;
    return i + 1;
}

static bool is_key(const key_reader *r, size_t end) {
    while (end < r->size && strchr(" \t\r\n", r->text[end]))
        end++;
    return end < r->size && r->text[end] == ':';
}

/* One of unique_keys that is there again, or NULL. */
static const char *take_key(key_reader *r, const char *key, size_t n) {
    const char *twice = NULL;
    bool metadata = n == strlen(unique_keys[0].name) && !memcmp(key, unique_keys[0].name, n);
    for (size_t i = 0; i < SD_COUNT(unique_keys); i++) {
        const unique_key *u = &unique_keys[i];
        if (u->depth != r->depth || (u->depth == 2 && r->metadata) || strlen(u->name) != n ||
            memcmp(key, u->name, n) != 0)
            continue;
        if (r->seen[i])
            twice = u->name;
        r->seen[i] = true;
    }
    if (r->depth == 1)
        r->metadata = metadata;
    return twice;
}

static void open_object(key_reader *r) {
    r->depth++;
    for (size_t i = 0; i < SD_COUNT(unique_keys); i++)
        if (unique_keys[i].depth == r->depth)
            r->seen[i] = false;
}

sd_status sdi_header_check_keys(const sd_context *ctx, const char *path, const char *text,
                                size_t size) {
    key_reader r = {.text = text, .size = size};
    const char *twice = NULL;
    for (size_t i = 0, end; i < size && !twice; i = end) {
        end = i + 1;
        if (text[i] == '"') {
            end = string_end(&r, i);
            if (is_key(&r, end))
                twice = take_key(&r, text + i + 1, end - i - 2);
        } else if (text[i] == '{' || text[i] == '[') {
            open_object(&r);
        } else if (text[i] == '}' || text[i] == ']') {
            r.depth--;
        }
    }
    return twice ? sdi_fail(ctx, SD_ERROR_FORMAT, "%s: duplicate key \"%s\" in its header", path,
                            twice)
                 : SD_OK;
}
