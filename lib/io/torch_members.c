/* Walks the values of a torch file down to its tensors. */
#include "io/torch_members.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#define MAX_DEPTH 16
#define MAX_VISITS (1 << 20) /* values may hold each other, and themselves */

typedef struct walk {
    const sd_context *ctx;
    const char *path;
    sd_torch_member_fn fn;
    void *user;
    bool everything; /* also dictionaries and lists within */
    char name[SD_TORCH_MAX_NAME + 1];
    size_t n_name;
    int depth, visits;
} walk;

/* ------------------------------------------------------------------------- names */

static bool is_shown(const sd_pickle_value *v) {
    utf8proc_ssize_t step = 1;
    utf8proc_int32_t c = 1;
    bool ok = v->kind == SD_PICKLE_TEXT && v->text.size <= SD_TORCH_MAX_NAME;
    for (size_t i = 0; ok && i < v->text.size; i += (size_t)step) {
        step = utf8proc_iterate((const utf8proc_uint8_t *)v->text.bytes + i,
                                (utf8proc_ssize_t)(v->text.size - i), &c);
        ok = step > 0 && c != 0;
    }
    return ok;
}

static sd_status fail_name(const sd_context *ctx, const char *path) {
    return sdi_fail(ctx, SD_ERROR_FORMAT,
                    "%s: the name of a tensor is not a text of at most %d bytes", path,
                    SD_TORCH_MAX_NAME);
}

sd_status sdi_torch_text(const sd_context *ctx, const char *path, const sd_pickle_value *value,
                         char **text) {
    *text = NULL;
    if (!is_shown(value))
        return fail_name(ctx, path);
    *text = sdi_strndup(ctx, value->text.bytes, value->text.size);
    return *text ? SD_OK : SD_ERROR_MEMORY;
}

static sd_status append(walk *w, const char *bytes, size_t n) {
    size_t dot = w->n_name > 0;
    if (n + dot > SD_TORCH_MAX_NAME - w->n_name)
        return fail_name(w->ctx, w->path);
    if (dot)
        w->name[w->n_name] = '.';
    memcpy(w->name + w->n_name + dot, bytes, n);
    w->n_name += dot + n;
    w->name[w->n_name] = 0;
    return SD_OK;
}

/* Hypernetworks have numbers for keys. */
static sd_status append_key(walk *w, const sd_pickle_value *key) {
    char digits[24];
    if (key->kind == SD_PICKLE_INT) {
        int n = snprintf(digits, sizeof digits, "%lld", (long long)key->integer);
        return append(w, digits, (size_t)n);
    }
    return is_shown(key) ? append(w, key->text.bytes, key->text.size) : fail_name(w->ctx, w->path);
}

/* ------------------------------------------------------------------------- containers */

const sd_pickle_value *sdi_torch_dict(const sd_pickle_value *v) {
    if (!v || v->kind == SD_PICKLE_DICT)
        return v;
    return v->kind == SD_PICKLE_OPAQUE ? v->object.items : NULL;
}

/* torch.nn.Module keeps what it is made of in these attributes. */
static const char *const module_parts[] = {"_parameters", "_buffers", "_modules"};

static const sd_pickle_value *module_part(const sd_pickle_value *v, size_t part) {
    bool has_state = v->kind == SD_PICKLE_OPAQUE && v->object.state;
    return has_state ? sdi_torch_dict(sdi_pickle_get(v->object.state, module_parts[part])) : NULL;
}

static bool is_module(const sd_pickle_value *v) {
    return module_part(v, 0) || module_part(v, 2);
}

static sd_status visit(walk *w, const sd_pickle_value *v);

static sd_status visit_member(walk *w, const sd_pickle_value *key, const sd_pickle_value *v) {
    bool container = v->kind == SD_PICKLE_DICT || v->kind == SD_PICKLE_LIST ||
                     v->kind == SD_PICKLE_TUPLE || v->kind == SD_PICKLE_OPAQUE;
    if (v->kind != SD_PICKLE_TENSOR && !container)
        return SD_OK;
    if (v->kind != SD_PICKLE_TENSOR && v->kind != SD_PICKLE_OPAQUE && !w->everything)
        return SD_OK;
    if (w->everything && key->kind != SD_PICKLE_INT && key->kind != SD_PICKLE_TEXT)
        return SD_OK;
    size_t n = w->n_name;
    sd_status status = append_key(w, key);
    if (!status)
        status = visit(w, v);
    w->n_name = n;
    w->name[n] = 0;
    return status;
}

static sd_status visit_dict(walk *w, const sd_pickle_value *dict) {
    sd_status status = SD_OK;
    for (size_t i = 0; dict && i < dict->list.n && !status; i += 2)
        status = visit_member(w, dict->list.items[i], dict->list.items[i + 1]);
    return status;
}

static sd_status visit_list(walk *w, const sd_pickle_value *list) {
    sd_status status = SD_OK;
    for (size_t i = 0; i < list->list.n && !status; i++) {
        const sd_pickle_value key = {.kind = SD_PICKLE_INT, .integer = (int64_t)i};
        status = visit_member(w, &key, list->list.items[i]);
    }
    return status;
}

static sd_status visit_container(walk *w, const sd_pickle_value *v) {
    sd_status status = SD_OK;
    if (v->kind == SD_PICKLE_LIST || v->kind == SD_PICKLE_TUPLE)
        return visit_list(w, v);
    for (size_t i = 0; i < SD_COUNT(module_parts) && !status; i++)
        status = visit_dict(w, module_part(v, i));
    return status ? status : visit_dict(w, sdi_torch_dict(v));
}

static sd_status visit(walk *w, const sd_pickle_value *v) {
    bool leaf = v->kind == SD_PICKLE_TENSOR ||
                (v->kind == SD_PICKLE_OPAQUE && !is_module(v) && !sdi_torch_dict(v));
    if (++w->visits > MAX_VISITS || w->depth == MAX_DEPTH)
        return sdi_fail(w->ctx, SD_ERROR_FORMAT,
                        "%s: its values are nested more than %d deep, or are more than %d", w->path,
                        MAX_DEPTH, MAX_VISITS);
    if (leaf)
        return w->fn(w->user, w->name, v);
    w->depth++;
    sd_status status = visit_container(w, v);
    w->depth--;
    return status;
}

/* ------------------------------------------------------------------------- the root */

static bool has_tensors(const sd_pickle_value *v) {
    const sd_pickle_value *dict = sdi_torch_dict(v);
    for (size_t i = 1; dict && i < dict->list.n; i += 2)
        if (dict->list.items[i]->kind == SD_PICKLE_TENSOR)
            return true;
    return false;
}

/* The member that holds the tensors; NULL: none that is known. */
static const sd_pickle_value *find_wrapped(const sd_pickle_value *root) {
    static const char *const always[] = {"state_dict", "string_to_param"};
    static const char *const others[] = {"model_state_dict", "model",  "module",
                                         "params_ema",       "params", "net"};
    const sd_pickle_value *dict = sdi_torch_dict(root), *v;
    for (size_t i = 0; dict && i < SD_COUNT(always); i++)
        if ((v = sdi_pickle_get(dict, always[i])) && (sdi_torch_dict(v) || is_module(v)))
            return v;
    for (size_t i = 0; dict && !has_tensors(root) && i < SD_COUNT(others); i++)
        if ((v = sdi_pickle_get(dict, others[i])) && (has_tensors(v) || is_module(v)))
            return v;
    return NULL;
}

sd_status sdi_torch_members(const sd_context *ctx, const char *path, const sd_pickle_value *root,
                            sd_torch_member_fn fn, void *user) {
    walk w = {.ctx = ctx, .path = path, .fn = fn, .user = user};
    const sd_pickle_value *wrapped = find_wrapped(root);
    w.everything = !wrapped && !has_tensors(root) && !is_module(root);
    return visit_container(&w, wrapped ? wrapped : root);
}
