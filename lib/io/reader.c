/* Values of a configuration, each with its sentence where it does not fit. */
#include "io/reader.h"

#include "io/yaml.h"

#include <stdio.h>
#include <string.h>

sd_reader sdi_reader_open(const sd_context *ctx, const char *path) {
    sd_reader r = {.ctx = ctx, .path = path};
    r.status = sdi_json_read(ctx, path, &r.root);
    return r;
}

void sdi_reader_close(sd_reader *r) {
    json_decref(r->root);
    json_decref(r->numbers);
    r->root = r->numbers = NULL;
}

/* A value for a sentence: numbers and strings themselves, other types by name. */
static const char *show(char *text, size_t size, const json_t *v) {
    if (json_is_integer(v))
        snprintf(text, size, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        sdi_print(text, size, "%g", json_real_value(v));
    else if (json_is_string(v))
        snprintf(text, size, "\"%.60s\"", json_string_value(v));
    else
        snprintf(text, size, "%s", sdi_json_type_name(v));
    return text;
}

void sdi_reader_unsupported(sd_reader *r, const char *key, const json_t *found,
                            const char *expected) {
    char text[80];
    if (!r->status)
        r->status = sdi_fail(r->ctx, SD_ERROR_UNSUPPORTED, "%s: \"%s\" is %s; libsd knows only %s",
                             r->path, key, show(text, sizeof text, found), expected);
}

void sdi_reader_wrong(sd_reader *r, const char *key, const json_t *found, const char *expected) {
    char text[80];
    if (!r->status)
        r->status = sdi_fail(r->ctx, SD_ERROR_FORMAT, "%s: \"%s\" is %s; %s was expected", r->path,
                             key, show(text, sizeof text, found), expected);
}

const json_t *sdi_reader_get(sd_reader *r, const char *key) {
    const json_t *v = r->status ? NULL : json_object_get(r->root, key);
    return json_is_null(v) ? NULL : v;
}

/* A quoted number, where the reader takes them; else the value itself. */
static const json_t *unquoted(sd_reader *r, const json_t *v) {
    json_t *number = r->numbers && json_is_string(v) ? sdi_yaml_number(json_string_value(v)) : NULL;
    return number && json_array_append_new(r->numbers, number) == 0 ? number : v;
}

int sdi_reader_item(sd_reader *r, const char *key, const json_t *v, int min, int max) {
    v = unquoted(r, v);
    if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max) {
        char expected[64];
        snprintf(expected, sizeof expected, "an integer from %d to %d", min, max);
        sdi_reader_wrong(r, key, v, expected);
        return min;
    }
    return (int)json_integer_value(v);
}

int sdi_reader_int(sd_reader *r, const char *key, int fallback, int min, int max) {
    const json_t *v = sdi_reader_get(r, key);
    return v ? sdi_reader_item(r, key, v, min, max) : fallback;
}

double sdi_reader_number(sd_reader *r, const char *key, double fallback, double min, double max) {
    const json_t *v = sdi_reader_get(r, key);
    if (!v)
        return fallback;
    v = unquoted(r, v);
    double x = json_number_value(v);
    if (!json_is_number(v) || !(x >= min && x <= max)) {
        char expected[80];
        sdi_print(expected, sizeof expected, "a number from %g to %g", min, max);
        sdi_reader_wrong(r, key, v, expected);
        return fallback;
    }
    return x;
}

bool sdi_reader_bool(sd_reader *r, const char *key, bool fallback) {
    const json_t *v = sdi_reader_get(r, key);
    if (v && !json_is_boolean(v))
        sdi_reader_wrong(r, key, v, "true or false");
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

const char *sdi_reader_string(sd_reader *r, const char *key, const char *fallback) {
    const json_t *v = sdi_reader_get(r, key);
    if (v && !json_is_string(v))
        sdi_reader_wrong(r, key, v, "a string");
    return json_is_string(v) ? json_string_value(v) : fallback;
}

int sdi_reader_list(sd_reader *r, const char *key, const int *fallback, int n, int *out, int max_n,
                    int min, int max) {
    const json_t *v = sdi_reader_get(r, key);
    memcpy(out, fallback, (size_t)n * sizeof *out);
    if (!v)
        return n;
    if (!json_is_array(v) || json_array_size(v) < 1 || json_array_size(v) > (size_t)max_n) {
        char expected[64];
        snprintf(expected, sizeof expected, "a list of 1 to %d integers", max_n);
        sdi_reader_wrong(r, key, v, expected);
        return n;
    }
    for (size_t i = 0; i < json_array_size(v); i++)
        out[i] = sdi_reader_item(r, key, json_array_get(v, i), min, max);
    return (int)json_array_size(v);
}

void sdi_reader_levels(sd_reader *r, const char *key, int fallback, int n, int *out, int min,
                       int max) {
    const json_t *v = sdi_reader_get(r, key);
    for (int i = 0; i < n; i++)
        out[i] = fallback;
    if (json_is_array(v) && json_array_size(v) != (size_t)n) {
        char expected[64];
        snprintf(expected, sizeof expected, "an integer or a list of %d", n);
        sdi_reader_wrong(r, key, v, expected);
        return;
    }
    for (int i = 0; v && i < n; i++)
        out[i] =
            sdi_reader_item(r, key, json_is_array(v) ? json_array_get(v, (size_t)i) : v, min, max);
}

int sdi_reader_same(sd_reader *r, const char *key, int fallback, int min, int max) {
    const json_t *v = sdi_reader_get(r, key);
    if (!json_is_array(v))
        return v ? sdi_reader_item(r, key, v, min, max) : fallback;
    if (json_array_size(v) == 0)
        sdi_reader_wrong(r, key, v, "an integer or a list of integers");
    int first = fallback;
    for (size_t i = 0; i < json_array_size(v) && !r->status; i++) {
        int x = sdi_reader_item(r, key, json_array_get(v, i), min, max);
        if (i > 0 && x != first)
            sdi_reader_unsupported(r, key, v, "the same number for all levels");
        first = x;
    }
    return first;
}

/* A list stands for each of its values, e.g. "only_cross_attention": [false, false]. */
static bool is_fixed(const sd_fixed *row, const json_t *v) {
    if (json_is_array(v) && json_array_size(v) > 0 && row->kind != SD_FIXED_UNSET) {
        for (size_t i = 0; i < json_array_size(v); i++)
            if (json_is_array(json_array_get(v, i)) || !is_fixed(row, json_array_get(v, i)))
                return false;
        return true;
    }
    switch (row->kind) {
    case SD_FIXED_UNSET:
        return false;
    case SD_FIXED_FALSE:
        return json_is_false(v);
    case SD_FIXED_TRUE:
        return json_is_true(v);
    case SD_FIXED_NUMBER:
        return json_is_number(v) && json_number_value(v) == row->number;
    case SD_FIXED_TEXT:
        return json_is_string(v) && !strcmp(json_string_value(v), row->text);
    }
    return false;
}

void sdi_reader_fixed(sd_reader *r, const sd_fixed *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const sd_fixed *row = &rows[i];
        const json_t *v = sdi_reader_get(r, row->key);
        if (v && row->kind == SD_FIXED_NUMBER)
            v = unquoted(r, v);
        if (!v || is_fixed(row, v))
            continue;
        char expected[80];
        if (row->kind == SD_FIXED_NUMBER)
            snprintf(expected, sizeof expected, "%d", row->number);
        else if (row->kind == SD_FIXED_TEXT)
            snprintf(expected, sizeof expected, "\"%.70s\"", row->text);
        else
            snprintf(expected, sizeof expected, "%s",
                     row->kind == SD_FIXED_TRUE    ? "true"
                     : row->kind == SD_FIXED_FALSE ? "false"
                                                   : "null");
        sdi_reader_unsupported(r, row->key, v, expected);
    }
}
