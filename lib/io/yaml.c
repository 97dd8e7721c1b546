#include "io/yaml.h"

#include "core/os.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define MAX_YAML_FILE ((size_t)1 << 20)
#define MAX_DEPTH 32
#define MAX_NODES 65536
#define MAX_NUMBER 48 /* characters */

typedef struct parser {
    const sd_context *ctx;
    const char *name;
    yaml_parser_t yaml;
    yaml_event_t event; /* the last one read */
    bool has_event;
    int depth, nodes;
    sd_status status;
} parser;

/* Records a sentence about the event; returns NULL, as a node that failed. */
static json_t *refuse(parser *p, sd_status status, const char *what) {
    if (!p->status)
        p->status = sd_fail(p->ctx, status, "%s: line %zu: %s", p->name,
                            p->event.start_mark.line + 1, what);
    return NULL;
}

static json_t *no_memory(parser *p) {
    if (!p->status)
        p->status = sd_fail(p->ctx, SD_ERROR_MEMORY, "%s: out of memory", p->name);
    return NULL;
}

static bool next(parser *p) {
    if (p->has_event)
        yaml_event_delete(&p->event);
    p->has_event = false;
    if (p->status)
        return false;
    if (yaml_parser_parse(&p->yaml, &p->event)) {
        p->has_event = true;
        return true;
    }
    if (p->yaml.error == YAML_MEMORY_ERROR)
        no_memory(p);
    else
        p->status =
            sd_fail(p->ctx, SD_ERROR_FORMAT, "%s: line %zu: not valid YAML: %s", p->name,
                    p->yaml.problem_mark.line + 1, p->yaml.problem ? p->yaml.problem : "unknown");
    return false;
}

/* ------------------------------------------------------------------------- scalars */

typedef struct word {
    const char *text;
    enum { WORD_NULL, WORD_TRUE, WORD_FALSE } value;
} word;

static const word words[] = {
    {"", WORD_NULL},       {"~", WORD_NULL},    {"null", WORD_NULL},   {"Null", WORD_NULL},
    {"NULL", WORD_NULL},   {"true", WORD_TRUE}, {"True", WORD_TRUE},   {"TRUE", WORD_TRUE},
    {"yes", WORD_TRUE},    {"Yes", WORD_TRUE},  {"YES", WORD_TRUE},    {"on", WORD_TRUE},
    {"On", WORD_TRUE},     {"ON", WORD_TRUE},   {"false", WORD_FALSE}, {"False", WORD_FALSE},
    {"FALSE", WORD_FALSE}, {"no", WORD_FALSE},  {"No", WORD_FALSE},    {"NO", WORD_FALSE},
    {"off", WORD_FALSE},   {"Off", WORD_FALSE}, {"OFF", WORD_FALSE},
};

static size_t digits(const char **text) {
    size_t n = strspn(*text, "0123456789");
    *text += n;
    return n;
}

/*
 * A YAML number in JSON's grammar, which wants digits on both sides of the point and no plus: "1."
 * becomes "1.0". Returns false where the text is no number; a leading zero would be octal, and is
 * no number here.
 */
static bool to_json_number(const char *text, char out[MAX_NUMBER + 8]) {
    const char *sign = *text == '-' ? "-" : "";
    if (strlen(text) > MAX_NUMBER)
        return false;
    if (*text == '-' || *text == '+')
        text++;
    const char *whole = text, *fraction = "", *exponent = "";
    size_t n_whole = digits(&text), n_fraction = 0;
    bool real = *text == '.';
    if (real) {
        fraction = ++text;
        n_fraction = digits(&text);
    }
    if (n_whole + n_fraction == 0 || (n_whole > 1 && whole[0] == '0'))
        return false;
    if (*text == 'e' || *text == 'E') {
        exponent = text++;
        if (*text == '-' || *text == '+')
            text++;
        if (digits(&text) == 0)
            return false;
        real = true;
    }
    if (*text)
        return false;
    snprintf(out, MAX_NUMBER + 8, "%s%.*s%s%.*s%s", sign, n_whole ? (int)n_whole : 1,
             n_whole ? whole : "0", real ? "." : "",
             n_fraction ? (int)n_fraction
             : real     ? 1
                        : 0,
             n_fraction ? fraction : "0", exponent);
    return true;
}

static json_t *plain_scalar(const char *text) {
    char number[MAX_NUMBER + 8];
    for (size_t i = 0; i < SD_COUNT(words); i++)
        if (strcmp(words[i].text, text) == 0)
            return words[i].value == WORD_NULL ? json_null()
                                               : json_boolean(words[i].value == WORD_TRUE);
    if (to_json_number(text, number)) {
        json_t *value = sd_json_load(number, strlen(number), JSON_DECODE_ANY, NULL);
        if (value)
            return value; /* NULL: out of range, and then text */
    }
    return json_string(text);
}

static json_t *scalar(parser *p) {
    const char *text = (const char *)p->event.data.scalar.value;
    if (strlen(text) != p->event.data.scalar.length)
        return refuse(p, SD_ERROR_FORMAT, "a scalar has a zero byte");
    bool plain = p->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    json_t *value = plain ? plain_scalar(text) : json_string(text);
    return value ? value : no_memory(p);
}

/* ------------------------------------------------------------------------- collections */

static json_t *node(parser *p);

static json_t *sequence(parser *p) {
    json_t *list = json_array();
    if (!list)
        return no_memory(p);
    while (next(p) && p->event.type != YAML_SEQUENCE_END_EVENT) {
        json_t *item = node(p);
        if (item && json_array_append_new(list, item) != 0)
            no_memory(p);
    }
    if (!p->status)
        return list;
    json_decref(list);
    return NULL;
}

/* The key of an event, allocated; NULL after a failure. */
static char *mapping_key(parser *p, json_t *object) {
    if (p->event.type != YAML_SCALAR_EVENT) {
        refuse(p, SD_ERROR_UNSUPPORTED, "a key is no scalar");
        return NULL;
    }
    const char *text = (const char *)p->event.data.scalar.value;
    if (strlen(text) != p->event.data.scalar.length)
        refuse(p, SD_ERROR_FORMAT, "a key has a zero byte");
    else if (strcmp(text, "<<") == 0)
        refuse(p, SD_ERROR_UNSUPPORTED, "merge keys are not read");
    else if (p->event.data.scalar.anchor || p->event.data.scalar.tag)
        refuse(p, SD_ERROR_UNSUPPORTED, "anchors and tags are not read");
    else if (json_object_get(object, text))
        refuse(p, SD_ERROR_FORMAT, "a key is there twice");
    if (p->status)
        return NULL;
    char *key = sd_strdup(p->ctx, text);
    if (!key)
        p->status = SD_ERROR_MEMORY;
    return key;
}

static json_t *mapping(parser *p) {
    json_t *object = json_object();
    if (!object)
        return no_memory(p);
    while (next(p) && p->event.type != YAML_MAPPING_END_EVENT) {
        char *key = mapping_key(p, object);
        json_t *value = key && next(p) ? node(p) : NULL;
        if (value && json_object_set_new(object, key, value) != 0)
            refuse(p, SD_ERROR_FORMAT, "a key is no UTF-8, or memory is short");
        sd_free(p->ctx, key);
    }
    if (!p->status)
        return object;
    json_decref(object);
    return NULL;
}

static bool has_anchor_or_tag(const yaml_event_t *e) {
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return e->data.scalar.anchor || e->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return e->data.sequence_start.anchor || e->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return e->data.mapping_start.anchor || e->data.mapping_start.tag;
    default:
        return false;
    }
}

/* The value that the event begins. NULL after a failure. */
static json_t *node(parser *p) {
    if (p->event.type == YAML_ALIAS_EVENT || has_anchor_or_tag(&p->event))
        return refuse(p, SD_ERROR_UNSUPPORTED, "anchors, aliases and tags are not read");
    if (++p->nodes > MAX_NODES)
        return refuse(p, SD_ERROR_FORMAT, "more than 65536 values");
    if (p->event.type == YAML_SCALAR_EVENT)
        return scalar(p);
    if (p->event.type != YAML_SEQUENCE_START_EVENT && p->event.type != YAML_MAPPING_START_EVENT)
        return refuse(p, SD_ERROR_FORMAT, "a value was expected");
    if (p->depth == MAX_DEPTH)
        return refuse(p, SD_ERROR_FORMAT, "values are nested more than 32 deep");
    p->depth++;
    json_t *value = p->event.type == YAML_MAPPING_START_EVENT ? mapping(p) : sequence(p);
    p->depth--;
    return value;
}

/* ------------------------------------------------------------------------- documents */

static json_t *document(parser *p) {
    if (!next(p) || !next(p)) /* the stream's start */
        return NULL;
    if (p->event.type != YAML_DOCUMENT_START_EVENT)
        return refuse(p, SD_ERROR_FORMAT, "the file is empty");
    json_t *root = next(p) ? node(p) : NULL;
    if (root && !json_is_object(root))
        refuse(p, SD_ERROR_FORMAT, "a mapping was expected at the top");
    if (!p->status && next(p) && next(p) && p->event.type != YAML_STREAM_END_EVENT)
        refuse(p, SD_ERROR_FORMAT, "there is more than one document");
    if (!p->status)
        return root;
    json_decref(root);
    return NULL;
}

sd_status sd_yaml_parse(const sd_context *ctx, const char *name, const void *bytes, size_t size,
                        json_t **out) {
    parser p = {.ctx = ctx, .name = name};
    *out = NULL;
    if (size > MAX_YAML_FILE)
        return sd_fail(ctx, SD_ERROR_FORMAT, "%s: %zu bytes of YAML; at most %zu were expected",
                       name, size, MAX_YAML_FILE);
    if (!yaml_parser_initialize(&p.yaml))
        return sd_fail(ctx, SD_ERROR_MEMORY, "%s: out of memory", name);
    yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p.yaml, bytes, size);
    *out = document(&p);
    if (p.has_event)
        yaml_event_delete(&p.event);
    yaml_parser_delete(&p.yaml);
    return p.status;
}

sd_status sd_yaml_read(const sd_context *ctx, const char *path, json_t **out) {
    uint8_t *bytes;
    size_t size;
    *out = NULL;
    sd_status status = sd_read_file(ctx, path, MAX_YAML_FILE, &bytes, &size);
    if (status)
        return status;
    status = sd_yaml_parse(ctx, path, bytes, size, out);
    sd_free(ctx, bytes);
    return status;
}
