#include "io/json.h"

#include "core/os.h"

#define MAX_JSON_FILE ((size_t)64 << 20)

/*
 * jansson takes its memory from the C library, since its allocator can only be changed for the
 * whole process, and version 2.14 asserts in places where it runs out of it. So we ask first for as
 * much as a header's objects take, about eight times its text.
 */
static bool has_room(const sd_context *ctx, size_t size) {
    void *room = sd_alloc(ctx, size > SIZE_MAX / 16 ? SIZE_MAX : 8 * size + 65536);
    sd_free(ctx, room);
    return room != NULL;
}

static sd_status parse(const sd_context *ctx, const char *name, const void *bytes, size_t size,
                       size_t flags, json_t **out) {
    json_error_t error;
    *out = NULL;
    if (!has_room(ctx, size))
        return SD_ERROR_MEMORY;
    *out = sd_json_load(bytes, size, flags, &error);
    /* jansson says nothing where it has no memory */
    if (!*out && (!error.text[0] || json_error_code(&error) == json_error_out_of_memory))
        return sd_fail(ctx, SD_ERROR_MEMORY, "%s: out of memory while reading JSON", name);
    if (!*out)
        return sd_fail(ctx, SD_ERROR_FORMAT, "%s: not valid JSON: %s (line %d, column %d)", name,
                       error.text, error.line, error.column);
    if (!json_is_object(*out)) {
        sd_fail(ctx, SD_ERROR_FORMAT, "%s: a JSON object was expected, this is %s", name,
                sd_json_type_name(*out));
        json_decref(*out);
        *out = NULL;
        return SD_ERROR_FORMAT;
    }
    return SD_OK;
}

sd_status sd_json_parse(const sd_context *ctx, const char *name, const void *bytes, size_t size,
                        json_t **out) {
    return parse(ctx, name, bytes, size, JSON_REJECT_DUPLICATES, out);
}

sd_status sd_json_parse_last(const sd_context *ctx, const char *name, const void *bytes,
                             size_t size, json_t **out) {
    return parse(ctx, name, bytes, size, 0, out);
}

sd_status sd_json_read(const sd_context *ctx, const char *path, json_t **out) {
    uint8_t *bytes;
    size_t size;
    *out = NULL;
    sd_status status = sd_read_file(ctx, path, MAX_JSON_FILE, &bytes, &size);
    if (status)
        return status;
    status = sd_json_parse(ctx, path, bytes, size, out);
    sd_free(ctx, bytes);
    return status;
}

const char *sd_json_type_name(const json_t *value) {
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "a list",  [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null",
    };
    return value ? names[json_typeof(value)] : "nothing";
}
