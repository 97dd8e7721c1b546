/* Builds the tree from libyaml's events. */
#include "io/yaml.h"

#include "core/files.h"
#include "core/os.h"
#include "io/yaml_internal.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define MAX_YAML_FILE ((size_t)1 << 20)
#define MAX_ANCHORS 1024
#define CORE_TAG "tag:yaml.org,2002:"

typedef struct anchor {
    char *name;
    json_t *value;
} anchor;

typedef struct parser {
    const sd_context *ctx;
    const char *name;
    yaml_parser_t yaml;
    yaml_event_t event; /* the last one read */
    bool has_event;
    int depth;
    size_t nodes;
    anchor *anchors;
    size_t n_anchors;
    sd_status status;
} parser;

/* Records a sentence about the event; returns NULL, as a node that failed. */
static json_t *refuse(parser *p, sd_status status, const char *what) {
    if (!p->status)
        p->status = sdi_fail(p->ctx, status, "%s: line %zu: %s", p->name,
                             p->event.start_mark.line + 1, what);
    return NULL;
}

static json_t *no_memory(parser *p) {
    if (!p->status)
        p->status = sdi_fail(p->ctx, SD_ERROR_MEMORY, "%s: out of memory", p->name);
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
            sdi_fail(p->ctx, SD_ERROR_FORMAT, "%s: line %zu: not valid YAML: %s", p->name,
                     p->yaml.problem_mark.line + 1, p->yaml.problem ? p->yaml.problem : "unknown");
    return false;
}

/* ------------------------------------------------------------------------- scalars */

/* The value that a tag of YAML's own asks for; NULL: not its text. */
static json_t *tagged(const char *kind, const char *text) {
    json_t *value = strcmp(kind, "str") == 0 ? json_string(text) : sdi_yaml_plain(text);
    bool ok = json_is_string(value)    ? strcmp(kind, "str") == 0
              : json_is_integer(value) ? strcmp(kind, "int") == 0 || strcmp(kind, "float") == 0
              : json_is_real(value)    ? strcmp(kind, "float") == 0
              : json_is_null(value)    ? strcmp(kind, "null") == 0
                                       : strcmp(kind, "bool") == 0;
    if (ok)
        return value;
    json_decref(value);
    return NULL;
}

static bool is_known_tag(const char *tag) {
    static const char *const kinds[] = {"str", "int", "float", "bool", "null"};
    size_t n = strlen(CORE_TAG);
    for (size_t i = 0; i < SD_COUNT(kinds); i++)
        if (strncmp(tag, CORE_TAG, n) == 0 && strcmp(tag + n, kinds[i]) == 0)
            return true;
    return false;
}

static json_t *scalar(parser *p) {
    const char *text = (const char *)p->event.data.scalar.value;
    if (strlen(text) != p->event.data.scalar.length)
        return refuse(p, SD_ERROR_FORMAT, "a scalar has a zero byte");
    const char *tag = (const char *)p->event.data.scalar.tag;
    bool plain = p->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (tag && is_known_tag(tag)) {
        json_t *value = tagged(tag + strlen(CORE_TAG), text);
        return value ? value : refuse(p, SD_ERROR_FORMAT, "a value is not what its tag says");
    }
    if (tag && strcmp(tag, "!") != 0)
        return refuse(p, SD_ERROR_UNSUPPORTED, "tags of other languages are not read");
    json_t *value = plain && !tag ? sdi_yaml_plain(text) : json_string(text);
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

/* ------------------------------------------------------------------------- anchors */

static void keep_anchor(parser *p, const char *name, json_t *value) {
    anchor *grown = NULL;
    if (p->n_anchors == MAX_ANCHORS)
        refuse(p, SD_ERROR_FORMAT, "more than 1024 anchors");
    else if (!(grown = sdi_realloc(p->ctx, p->anchors, (p->n_anchors + 1) * sizeof *grown)))
        p->status = SD_ERROR_MEMORY;
    if (!grown)
        return;
    p->anchors = grown;
    grown[p->n_anchors] = (anchor){.name = sdi_strdup(p->ctx, name), .value = json_incref(value)};
    p->status = grown[p->n_anchors++].name ? p->status : SD_ERROR_MEMORY;
}

static void free_anchors(parser *p) {
    for (size_t i = 0; i < p->n_anchors; i++) {
        sdi_free(p->ctx, p->anchors[i].name);
        json_decref(p->anchors[i].value);
    }
    sdi_free(p->ctx, p->anchors);
}

/* The value of the last anchor of that name; a value that is not complete has none yet. */
static const json_t *find_anchor(parser *p) {
    const char *name = (const char *)p->event.data.alias.anchor;
    for (size_t i = p->n_anchors; i > 0; i--)
        if (strcmp(p->anchors[i - 1].name, name) == 0)
            return p->anchors[i - 1].value;
    return refuse(p, SD_ERROR_FORMAT, "an alias without an anchor, or within its own value");
}

static json_t *alias(parser *p) {
    const json_t *value = find_anchor(p);
    if (!value)
        return NULL;
    p->nodes += sdi_yaml_count(value);
    if (p->nodes > SD_YAML_MAX_NODES)
        return refuse(p, SD_ERROR_FORMAT, "more than 65536 values");
    json_t *copy = json_deep_copy(value);
    return copy ? copy : no_memory(p);
}

/* ------------------------------------------------------------------------- mappings */

/* The key of an event, allocated; NULL after a failure. */
static char *mapping_key(parser *p) {
    const json_t *known = NULL;
    if (p->event.type == YAML_ALIAS_EVENT && !(known = find_anchor(p)))
        return NULL;
    if (known ? !json_is_string(known) : p->event.type != YAML_SCALAR_EVENT) {
        refuse(p, SD_ERROR_UNSUPPORTED, "a key is no scalar");
        return NULL;
    }
    const char *text = known ? json_string_value(known) : (const char *)p->event.data.scalar.value;
    const char *name = known ? NULL : (const char *)p->event.data.scalar.anchor;
    if (!known && strlen(text) != p->event.data.scalar.length)
        refuse(p, SD_ERROR_FORMAT, "a key has a zero byte");
    if (name && !p->status) {
        json_t *value = json_string(text);
        if (value)
            keep_anchor(p, name, value);
        else
            no_memory(p);
        json_decref(value);
    }
    if (p->status)
        return NULL;
    char *key = sdi_strdup(p->ctx, text);
    if (!key)
        p->status = SD_ERROR_MEMORY;
    return key;
}

static bool is_merge(const parser *p) {
    const yaml_event_t *e = &p->event;
    return e->type == YAML_SCALAR_EVENT && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           strcmp((const char *)e->data.scalar.value, "<<") == 0;
}

/* "<<": what later ones have goes before what is there; of a list, what earlier ones have. */
static void merge_into(parser *p, json_t *merged, const json_t *value) {
    size_t n = json_array_size(value);
    bool ok = json_is_object(value) || (json_is_array(value) && n > 0);
    for (size_t i = 0; i < n; i++)
        ok = ok && json_is_object(json_array_get(value, i));
    if (!ok) {
        refuse(p, SD_ERROR_FORMAT, "\"<<\" merges a mapping or a list of mappings");
        return;
    }
    if (json_is_object(value) && json_object_update(merged, (json_t *)value) != 0)
        no_memory(p);
    for (; n > 0; n--)
        if (json_object_update(merged, json_array_get(value, n - 1)) != 0)
            no_memory(p);
}

/* A key and its value. */
static void add_pair(parser *p, json_t *object, json_t *merged) {
    bool merge = is_merge(p);
    char *key = merge ? NULL : mapping_key(p);
    if (key && json_object_get(object, key))
        refuse(p, SD_ERROR_FORMAT, "a key is there twice");
    json_t *value = (merge || key) && next(p) ? node(p) : NULL;
    if (value && merge)
        merge_into(p, merged, value);
    else if (value && json_object_set(object, key, value) != 0)
        refuse(p, SD_ERROR_FORMAT, "a key is no UTF-8, or memory is short");
    json_decref(value);
    sdi_free(p->ctx, key);
}

/* A mapping's own keys go before those that are merged into it. */
static json_t *mapping(parser *p) {
    json_t *object = json_object(), *merged = json_object();
    if (!object || !merged)
        no_memory(p);
    while (next(p) && p->event.type != YAML_MAPPING_END_EVENT)
        add_pair(p, object, merged);
    if (!p->status && json_object_update(merged, object) != 0)
        no_memory(p);
    json_decref(object);
    if (!p->status)
        return merged;
    json_decref(merged);
    return NULL;
}

/* The anchor of the event, allocated, and NULL where it has none; a mapping's and a sequence's tag
 * is one of theirs. */
static char *anchor_of(parser *p) {
    const yaml_event_t *e = &p->event;
    bool is_mapping = e->type == YAML_MAPPING_START_EVENT;
    const char *name = e->type == YAML_SCALAR_EVENT ? (const char *)e->data.scalar.anchor
                       : e->type == YAML_SEQUENCE_START_EVENT
                           ? (const char *)e->data.sequence_start.anchor
                           : (const char *)e->data.mapping_start.anchor;
    const char *tag = e->type == YAML_SCALAR_EVENT ? NULL
                      : is_mapping                 ? (const char *)e->data.mapping_start.tag
                                                   : (const char *)e->data.sequence_start.tag;
    if (tag && strcmp(tag, is_mapping ? CORE_TAG "map" : CORE_TAG "seq") != 0)
        refuse(p, SD_ERROR_UNSUPPORTED, "tags of other languages are not read");
    char *copy = name && !p->status ? sdi_strdup(p->ctx, name) : NULL;
    if (name && !copy && !p->status)
        p->status = SD_ERROR_MEMORY;
    return copy;
}

static json_t *collection(parser *p) {
    if (p->depth == SD_YAML_MAX_DEPTH)
        return refuse(p, SD_ERROR_FORMAT, "values are nested more than 32 deep");
    p->depth++;
    json_t *value = p->event.type == YAML_MAPPING_START_EVENT ? mapping(p) : sequence(p);
    p->depth--;
    return value;
}

/* The value that the event begins. NULL after a failure. */
static json_t *node(parser *p) {
    if (p->event.type == YAML_ALIAS_EVENT)
        return alias(p);
    if (++p->nodes > SD_YAML_MAX_NODES)
        return refuse(p, SD_ERROR_FORMAT, "more than 65536 values");
    if (p->event.type != YAML_SCALAR_EVENT && p->event.type != YAML_SEQUENCE_START_EVENT &&
        p->event.type != YAML_MAPPING_START_EVENT)
        return refuse(p, SD_ERROR_FORMAT, "a value was expected");
    char *name = anchor_of(p);
    json_t *value = p->status                            ? NULL
                    : p->event.type == YAML_SCALAR_EVENT ? scalar(p)
                                                         : collection(p);
    if (name && value)
        keep_anchor(p, name, value);
    sdi_free(p->ctx, name);
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

sd_status sdi_yaml_parse(const sd_context *ctx, const char *name, const void *bytes, size_t size,
                         json_t **out) {
    parser p = {.ctx = ctx, .name = name};
    *out = NULL;
    if (size > MAX_YAML_FILE)
        return sdi_fail(ctx, SD_ERROR_FORMAT, "%s: %zu bytes of YAML; at most %zu were expected",
                        name, size, MAX_YAML_FILE);
    if (!yaml_parser_initialize(&p.yaml))
        return sdi_fail(ctx, SD_ERROR_MEMORY, "%s: out of memory", name);
    yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p.yaml, bytes, size);
    *out = document(&p);
    free_anchors(&p);
    if (p.has_event)
        yaml_event_delete(&p.event);
    yaml_parser_delete(&p.yaml);
    if (!p.status)
        p.status = sdi_yaml_resolve(ctx, name, *out);
    if (p.status) {
        json_decref(*out);
        *out = NULL;
    }
    return p.status;
}

sd_status sdi_yaml_read(const sd_context *ctx, const char *path, json_t **out) {
    uint8_t *bytes;
    size_t size;
    *out = NULL;
    sd_status status = sdi_read_file(ctx, path, MAX_YAML_FILE, &bytes, &size);
    if (status)
        return status;
    status = sdi_yaml_parse(ctx, path, bytes, size, out);
    sdi_free(ctx, bytes);
    return status;
}
