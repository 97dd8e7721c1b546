/*
 * OmegaConf's interpolations, as instantiate_from_config meets them: "${model.params.channels}" is
 * the value at that place of the file, "${.channels}" one beside it, "${..x}" one a level above;
 * within a longer text it is that value's text. What cannot be resolved (a place that is not there,
 * the environment, itself) stays as it stands, and is an error where the value is used.
 */
#include "io/yaml_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT 256
#define MAX_KEY 64
#define MAX_NESTING 8  /* values that are resolved for another */
#define MAX_LEVELS 100 /* of all recursion together: a caller's stack may be of 64 KB */

/* A container, and those that it lies in. */
typedef struct place {
    json_t *node;
    const struct place *parent;
} place;

typedef struct resolver {
    const sd_context *ctx;
    const char *name;
    json_t *root;
    size_t nodes; /* of the tree */
    size_t evaluated;
    int nesting, levels;
    sd_status status;
} resolver;

size_t sdi_yaml_count(const json_t *value) {
    size_t n = 1, i;
    const char *key;
    json_t *item;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)value, key, item) n += sdi_yaml_count(item);
    } else {
        json_array_foreach(value, i, item) n += sdi_yaml_count(item);
    }
    return n;
}

static json_t *evaluate(resolver *r, const place *at, const char *text);

/* ------------------------------------------------------------------------- places */

static json_t *child_of(const json_t *node, const char *key) {
    char *end;
    if (json_is_object(node))
        return json_object_get(node, key);
    long i = strtol(key, &end, 10);
    return *key >= '0' && *key <= '9' && !*end ? json_array_get(node, (size_t)i) : NULL;
}

/* The value under `key`, itself resolved; borrowed; NULL: nothing, or not to be resolved. */
static json_t *resolved_child(resolver *r, const place *at, const char *key) {
    json_t *child = child_of(at->node, key);
    if (!json_is_string(child) || !strstr(json_string_value(child), "${"))
        return child;
    json_t *value = evaluate(r, at, json_string_value(child));
    if (!value)
        return NULL;
    bool kept = json_is_object(at->node)
                    ? json_object_set_new(at->node, key, value) == 0
                    : json_array_set_new(at->node, (size_t)strtol(key, NULL, 10), value) == 0;
    return kept ? child_of(at->node, key) : NULL;
}

static sd_status resolve_node(resolver *r, const place *at);

/* The next key of "a.b[0]", without its brackets; false: there is none. */
static bool next_key(const char **path, char key[MAX_KEY]) {
    while (**path == '.' || **path == ']')
        ++*path;
    if (**path == '[')
        ++*path;
    size_t n = strcspn(*path, ".[]");
    if (n == 0 || n >= MAX_KEY)
        return false;
    snprintf(key, MAX_KEY, "%.*s", (int)n, *path);
    *path += n;
    return true;
}

/* A copy of what all in it is resolved at its own place. */
static json_t *copy_of(resolver *r, const place *at) {
    bool container = json_is_object(at->node) || json_is_array(at->node);
    if (container && resolve_node(r, at))
        return NULL;
    r->nodes += sdi_yaml_count(at->node);
    if (r->nodes <= SD_YAML_MAX_NODES)
        return json_deep_copy(at->node);
    r->status = sdi_fail(r->ctx, SD_ERROR_FORMAT, "%s: its \"${...}\" make more than %d values",
                         r->name, SD_YAML_MAX_NODES);
    return NULL;
}

/* Down along the keys. */
static json_t *look_up(resolver *r, const place *at, const char *path) {
    char key[MAX_KEY];
    json_t *value = NULL;
    if (!next_key(&path, key) || r->levels >= MAX_LEVELS)
        return NULL;
    r->levels++;
    json_t *child = resolved_child(r, at, key);
    const place below = {child, at};
    if (child && path[strspn(path, "]")])
        value = look_up(r, &below, path);
    else if (child)
        value = copy_of(r, &below);
    r->levels--;
    return value;
}

/* "a.b" from the root, ".a" from the place itself, "..a" from the one above. */
static json_t *refer(resolver *r, const place *at, const char *path) {
    const place root = {r->root, NULL};
    if (*path != '.')
        return strchr(path, ':') ? NULL : look_up(r, &root, path); /* "oc.env:HOME" */
    for (path++; *path == '.'; path++) {
        at = at->parent;
        if (!at)
            return NULL;
    }
    return look_up(r, at, path);
}

/* ------------------------------------------------------------------------- texts */

/* Where the "}" is that ends the "${" at text; NULL: nowhere. */
static const char *closing(const char *text) {
    int open = 0;
    for (; *text; text++) {
        if (text[0] == '$' && text[1] == '{')
            open++;
        else if (*text == '}' && --open == 0)
            return text;
    }
    return NULL;
}

static bool append_value(char out[MAX_TEXT], const json_t *v) {
    size_t n = strlen(out), room = MAX_TEXT - n;
    int more = -1;
    if (json_is_string(v))
        more = snprintf(out + n, room, "%s", json_string_value(v));
    else if (json_is_integer(v))
        more = snprintf(out + n, room, "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        more = snprintf(out + n, room, "%s", json_is_true(v) ? "True" : "False");
    else if (json_is_null(v))
        more = snprintf(out + n, room, "None");
    else if (json_is_real(v)) {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
        more = text ? snprintf(out + n, room, "%s", text) : -1;
        free(text);
    }
    return more >= 0 && (size_t)more < room;
}

/* The value of what stands between "${" and "}", which may hold others. */
static json_t *evaluate_inner(resolver *r, const place *at, const char *text, size_t n) {
    char inner[MAX_TEXT];
    if (n >= sizeof inner)
        return NULL;
    memcpy(inner, text, n);
    inner[n] = 0;
    if (!strstr(inner, "${"))
        return refer(r, at, inner);
    json_t *path = evaluate(r, at, inner);
    json_t *value = json_is_string(path) ? refer(r, at, json_string_value(path)) : NULL;
    json_decref(path);
    return value;
}

static json_t *evaluate_text(resolver *r, const place *at, const char *text) {
    char out[MAX_TEXT] = "";
    while (*text) {
        const char *start = strstr(text, "${"), *end = start ? closing(start) : NULL;
        size_t plain = start ? (size_t)(start - text) : strlen(text), n = strlen(out);
        if ((start && !end) || plain >= MAX_TEXT - n || (plain > 0 && start && start[-1] == '\\'))
            return NULL;
        memcpy(out + n, text, plain);
        out[n + plain] = 0;
        if (!start)
            break;
        json_t *value = evaluate_inner(r, at, start + 2, (size_t)(end - start) - 2);
        if (value && start == text && !*out && !end[1])
            return value; /* the whole text: of any type */
        bool ok = value && append_value(out, value);
        json_decref(value);
        if (!ok)
            return NULL;
        text = end + 1;
    }
    return json_string(out);
}

/* The value of a text that has "${", new; NULL: it stays as it is. */
static json_t *evaluate(resolver *r, const place *at, const char *text) {
    json_t *value = NULL;
    if (r->status || r->nesting == MAX_NESTING)
        return NULL;
    if (++r->evaluated > SD_YAML_MAX_NODES) { /* values that refer to each other */
        r->status = sdi_fail(r->ctx, SD_ERROR_FORMAT, "%s: more than %d \"${...}\"", r->name,
                             SD_YAML_MAX_NODES);
        return NULL;
    }
    r->nesting++;
    char *copy = sdi_strdup(r->ctx, text); /* its place may be given a value meanwhile */
    if (copy)
        value = evaluate_text(r, at, copy);
    else
        r->status = SD_ERROR_MEMORY;
    sdi_free(r->ctx, copy);
    r->nesting--;
    return value;
}

/* ------------------------------------------------------------------------- the tree */

static sd_status resolve_child(resolver *r, const place *at, const char *key) {
    json_t *child = resolved_child(r, at, key);
    const place below = {child, at};
    if (json_is_object(child) || json_is_array(child))
        resolve_node(r, &below);
    return r->status;
}

static sd_status resolve_node(resolver *r, const place *at) {
    json_t *node = at->node;
    if (r->levels >= MAX_LEVELS) /* values that hold what refers to them */
        return r->status = sdi_fail(r->ctx, SD_ERROR_FORMAT,
                                    "%s: its \"${...}\" make values nested too deep", r->name);
    r->levels++;
    json_incref(node); /* it may be replaced while it is walked */
    if (json_is_object(node)) {
        for (void *i = json_object_iter(node); i && !r->status; i = json_object_iter_next(node, i))
            resolve_child(r, at, json_object_iter_key(i));
    }
    for (size_t i = 0; json_is_array(node) && i < json_array_size(node) && !r->status; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        resolve_child(r, at, key);
    }
    json_decref(node);
    r->levels--;
    return r->status;
}

sd_status sdi_yaml_resolve(const sd_context *ctx, const char *name, json_t *root) {
    resolver r = {.ctx = ctx, .name = name, .root = root, .nodes = sdi_yaml_count(root)};
    const place top = {root, NULL};
    return resolve_node(&r, &top);
}
