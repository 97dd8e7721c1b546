/* Reads JSON with as much memory as it may take asked for first. */
#include "io/json.h"

#include "core/files.h"
#include "core/os.h"

#include <string.h>

#define MAX_JSON_FILE ((size_t)64 << 20)

/*
 * jansson takes its memory from the C library, since its allocator can only be changed for the
 * whole process, and version 2.14 asserts in places where it runs out of it. So we ask first for as
 * much as a header's objects take, about eight times its text.
 */
static bool has_room(const sd_context *ctx, size_t size) {
    void *room = sdi_alloc(ctx, size > SIZE_MAX / 16 ? SIZE_MAX : 8 * size + 65536);
    sdi_free(ctx, room);
    return room != NULL;
}

static sd_status parse(const sd_context *ctx, const char *name, const void *bytes, size_t size,
                       size_t flags, json_t **out) {
    json_error_t error;
    *out = NULL;
    if (!has_room(ctx, size))
        return SD_ERROR_MEMORY;
    *out = sdi_json_load(bytes, size, flags, &error);
    /* jansson says nothing where it has no memory */
    if (!*out && (!error.text[0] || json_error_code(&error) == json_error_out_of_memory))
        return sdi_fail(ctx, SD_ERROR_MEMORY, "%s: out of memory while reading JSON", name);
    if (!*out)
        return sdi_fail(ctx, SD_ERROR_FORMAT, "%s: not valid JSON: %s (line %d, column %d)", name,
                        error.text, error.line, error.column);
    if (!json_is_object(*out)) {
        sdi_fail(ctx, SD_ERROR_FORMAT, "%s: a JSON object was expected, this is %s", name,
                 sdi_json_type_name(*out));
        json_decref(*out);
        *out = NULL;
        return SD_ERROR_FORMAT;
    }
    return SD_OK;
}

sd_status sdi_json_parse(const sd_context *ctx, const char *name, const void *bytes, size_t size,
                         json_t **out) {
    return parse(ctx, name, bytes, size, JSON_REJECT_DUPLICATES, out);
}

sd_status sdi_json_parse_last(const sd_context *ctx, const char *name, const void *bytes,
                              size_t size, json_t **out) {
    return parse(ctx, name, bytes, size, 0, out);
}

/* The length of Python's word for a number that JSON has none for, at text[at]; 0: none is there,
 * or it is a key. */
static size_t word_at(const uint8_t *text, size_t size, size_t at) {
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    for (size_t i = 0; i < SD_COUNT(words); i++) {
        size_t n = strlen(words[i]);
        if (size - at < n || memcmp(text + at, words[i], n) != 0)
            continue;
        for (at += n; at < size && text[at] && strchr(" \t\r\n", text[at]); at++) {
        }
        return at < size && text[at] == ':' ? 0 : n;
    }
    return 0;
}

/* Copies `text` to `out` (NULL: only counts) with quotes round such words, which become strings: a
 * key that nobody reads does no harm, and one that must be a number is refused by its name. Returns
 * the size. */
static size_t quote_words(const uint8_t *text, size_t size, uint8_t *out) {
    size_t n = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        size_t word = in_string ? 0 : word_at(text, size, i);
        if (word) {
            if (out) {
                out[n] = '"';
                memcpy(out + n + 1, text + i, word);
                out[n + 1 + word] = '"';
            }
            n += word + 2;
            i += word - 1;
            continue;
        }
        bool escaped = in_string && text[i] == '\\' && i + 1 < size;
        if (text[i] == '"')
            in_string = !in_string;
        for (int k = 0; k <= escaped; k++, n++)
            if (out)
                out[n] = text[i + (size_t)k];
        i += escaped;
    }
    return n;
}

sd_status sdi_json_read(const sd_context *ctx, const char *path, json_t **out) {
    uint8_t *bytes, *quoted = NULL;
    size_t size;
    *out = NULL;
    sd_status status = sdi_read_file(ctx, path, MAX_JSON_FILE, &bytes, &size);
    if (status)
        return status;
    size_t quoted_size = quote_words(bytes, size, NULL);
    if (quoted_size != size) {
        quoted = sdi_alloc(ctx, quoted_size);
        if (quoted)
            quote_words(bytes, size, quoted);
        else
            status = SD_ERROR_MEMORY;
    }
    if (!status)
        status =
            sdi_json_parse(ctx, path, quoted ? quoted : bytes, quoted ? quoted_size : size, out);
    sdi_free(ctx, quoted);
    sdi_free(ctx, bytes);
    return status;
}

const char *sdi_json_type_name(const json_t *value) {
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "a list",  [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null",
    };
    return value ? names[json_typeof(value)] : "nothing";
}
