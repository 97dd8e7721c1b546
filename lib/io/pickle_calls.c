/* The opcodes of a pickle that name functions and call them. What stands for a tensor, a storage or
 * a dictionary is made here; of everything else only the name is kept, and nothing is run. */
#include "io/pickle.h"
#include "io/pickle_internal.h"

#include <stdio.h>
#include <string.h>

#define NAME_SIZE 160

typedef sd_pickle_value value;
typedef sd_pickle_machine machine;

/* ------------------------------------------------------------------------- names */

/* "module.name", of which only printable ASCII is kept, in memory of the pickle. */
static char *spell(machine *m, const char *module, size_t n_module, const char *name,
                   size_t n_name) {
    char text[NAME_SIZE];
    int n = snprintf(text, sizeof text, "%.*s.%.*s", n_module < 100 ? (int)n_module : 100, module,
                     n_name < 50 ? (int)n_name : 50, name);
    char *copy = sdi_machine_alloc(m, (size_t)n + 1);
    for (int i = 0; copy && i <= n; i++)
        copy[i] = i == n || (text[i] >= ' ' && text[i] <= '~') ? text[i] : '?';
    return copy;
}

static void note_odd(machine *m, const char *name) {
    for (int i = 0; i < m->n_odd && i < SD_PICKLE_MAX_ODD; i++)
        if (strcmp(m->odd[i], name) == 0)
            return;
    if (m->n_odd < SD_PICKLE_MAX_ODD)
        m->odd[m->n_odd] = name;
    m->n_odd += m->n_odd <= SD_PICKLE_MAX_ODD;
}

static void push_name(machine *m, const char *module, size_t n_module, const char *name,
                      size_t n_name) {
    const sd_pickle_name *known = sdi_pickle_find_name(module, n_module, name, n_name);
    if (known) {
        value *v = sdi_machine_value(m, SD_PICKLE_FUNCTION);
        if (v)
            v->function = known;
        sdi_machine_push(m, v);
        return;
    }
    const char *spelled = spell(m, module, n_module, name, n_name);
    sd_pickle_repute repute = sdi_pickle_repute_of(module, n_module, name, n_name);
    if (!spelled)
        return;
    if (repute == SD_PICKLE_HARMFUL)
        m->status = sdi_fail(m->ctx, SD_ERROR_UNSUPPORTED,
                             "%s: the pickle names '%s', which runs programs or code where Python "
                             "loads the file: no checkpoint needs it, and none of it was run",
                             m->path, spelled);
    if (repute == SD_PICKLE_ODD)
        note_odd(m, spelled);
    sdi_machine_push(m, sdi_machine_opaque(m, spelled));
}

void sdi_pickle_op_global(machine *m, uint8_t op) {
    (void)op;
    size_t n_module, n_name;
    const char *module = sdi_machine_line(m, &n_module);
    const char *name = sdi_machine_line(m, &n_name);
    if (!m->status)
        push_name(m, module, n_module, name, n_name);
}

void sdi_pickle_op_stack_global(machine *m, uint8_t op) {
    (void)op;
    if (!sdi_machine_need(m, 2))
        return;
    const value *name = sdi_machine_pop(m), *module = sdi_machine_pop(m);
    if (name->kind != SD_PICKLE_TEXT || module->kind != SD_PICKLE_TEXT)
        sdi_machine_fail(m, SD_ERROR_FORMAT, "a name is %s and %s; two strings were expected",
                         sdi_pickle_kind_name(module->kind), sdi_pickle_kind_name(name->kind));
    else
        push_name(m, module->text.bytes, module->text.size, name->text.bytes, name->text.size);
}

/* ------------------------------------------------------------------------- storages */

static bool is_count(const value *v) {
    return v->kind == SD_PICKLE_INT && v->integer >= 0;
}

static bool is_text(const value *v, const char *text) {
    return v->kind == SD_PICKLE_TEXT && v->text.size == strlen(text) &&
           memcmp(v->text.bytes, text, v->text.size) == 0;
}

static const sd_pickle_name *function_of(const value *v) {
    return v->kind == SD_PICKLE_FUNCTION ? v->function : NULL;
}

/* (key, offset, numel) of a part, or None for all of it. */
static bool read_part(const value *part, sd_pickle_storage *s) {
    s->offset = 0;
    s->count = s->numel;
    if (part->kind != SD_PICKLE_TUPLE)
        return part->kind == SD_PICKLE_NONE;
    value *const *items = part->list.items;
    if (part->list.n != 3 || !is_count(items[1]) || !is_count(items[2]))
        return false;
    s->offset = items[1]->integer;
    s->count = items[2]->integer;
    return s->offset <= s->numel && s->count <= s->numel - s->offset;
}

static void fail_persid(machine *m) {
    sdi_machine_fail(m, SD_ERROR_FORMAT,
                     "a persistent id is not (\"storage\", type, key, device, size)");
}

static void push_storage(machine *m, value *const *items, size_t n) {
    const sd_pickle_name *type = function_of(items[1]);
    bool known = type && type->meaning == SD_PICKLE_STORAGE_TYPE;
    if ((!known && items[1]->kind != SD_PICKLE_OPAQUE) || items[2]->kind != SD_PICKLE_TEXT ||
        !is_count(items[4])) {
        fail_persid(m);
        return;
    }
    if (!known) { /* of complex or quantised numbers */
        sdi_machine_push(m, sdi_machine_opaque(m, items[1]->object.name));
        return;
    }
    value *v = sdi_machine_value(m, SD_PICKLE_STORAGE);
    sd_pickle_storage *s = sdi_machine_alloc(m, sizeof *s);
    if (m->status)
        return;
    *s = (sd_pickle_storage){items[2], type->type, items[4]->integer, 0, items[4]->integer};
    if (n > 5 && !read_part(items[5], s)) {
        sdi_machine_fail(m, SD_ERROR_FORMAT, "a part of a storage lies beyond it");
        return;
    }
    v->storage = s;
    if (sdi_machine_add(m, &m->pickle->storages, v))
        sdi_machine_push(m, v);
}

/* ("storage", torch.FloatStorage, "0", "cpu", 1234); torch before 1.6 wrote a part as a sixth, and
 * the classes of whole modules as ("module", class, file, source). */
void sdi_pickle_op_persid(machine *m, uint8_t op) {
    (void)op;
    if (!sdi_machine_need(m, 1))
        return;
    const value *id = sdi_machine_pop(m);
    value *const *items = id->list.items;
    if (id->kind == SD_PICKLE_TUPLE && id->list.n >= 5 && is_text(items[0], "storage"))
        push_storage(m, items, id->list.n);
    else if (id->kind == SD_PICKLE_TUPLE && id->list.n >= 2 && is_text(items[0], "module"))
        sdi_machine_push(m, items[1]);
    else
        fail_persid(m);
}

/* ------------------------------------------------------------------------- tensors */

/* A tuple of n sizes or strides. */
static bool read_counts(const value *tuple, int64_t *counts) {
    for (size_t i = 0; i < tuple->list.n; i++) {
        if (!is_count(tuple->list.items[i]))
            return false;
        counts[i] = tuple->list.items[i]->integer;
    }
    return true;
}

/* A value that is no tensor of ours may stand where one could: it is passed over like any object.
 */
static bool push_opaque_part(machine *m, const value *args) {
    const value *first = args->list.n ? args->list.items[0] : NULL;
    if (!first || first->kind != SD_PICKLE_OPAQUE)
        return false;
    sdi_machine_push(m, sdi_machine_opaque(m, first->object.name));
    return true;
}

static bool are_tensor_arguments(const value *args) {
    value *const *a = args->list.items;
    return args->list.n >= 4 && a[0]->kind == SD_PICKLE_STORAGE && is_count(a[1]) &&
           a[2]->kind == SD_PICKLE_TUPLE && a[3]->kind == SD_PICKLE_TUPLE &&
           a[2]->list.n == a[3]->list.n && a[1]->integer <= INT64_MAX - a[0]->storage->offset;
}

/* `type`: of the elements. */
static void push_tensor(machine *m, const value *args, sd_dtype type) {
    value *const *a = args->list.items;
    if (a[2]->list.n > SD_ENTRY_MAX_DIMS) {
        sdi_machine_fail(m, SD_ERROR_FORMAT,
                         "a tensor has %zu dimensions; at most %d were expected", a[2]->list.n,
                         SD_ENTRY_MAX_DIMS);
        return;
    }
    value *v = sdi_machine_value(m, SD_PICKLE_TENSOR);
    sd_pickle_tensor *tensor = sdi_machine_alloc(m, sizeof *tensor);
    if (m->status)
        return;
    const sd_pickle_storage *storage = a[0]->storage;
    *tensor = (sd_pickle_tensor){storage, type, (int)a[2]->list.n, storage->offset + a[1]->integer,
                                 {0},     {0}};
    if (!read_counts(a[2], tensor->dims) || !read_counts(a[3], tensor->strides))
        sdi_machine_fail(m, SD_ERROR_FORMAT,
                         "a tensor's sizes and strides must be integers from 0 upward");
    v->tensor = tensor;
    sdi_machine_push(m, v);
}

/* _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, ...);
 * before torch 0.4 _rebuild_tensor with the first four; _rebuild_tensor_v3 has a dtype as its
 * seventh, and a storage of bytes. */
static void rebuild_tensor(machine *m, const value *args, bool typed) {
    if (push_opaque_part(m, args))
        return;
    if (!are_tensor_arguments(args) || (typed && args->list.n < 7)) {
        sdi_machine_fail(m, SD_ERROR_FORMAT,
                         "a tensor is not (storage, offset, size, stride, ...)");
        return;
    }
    const value *dtype = typed ? args->list.items[6] : NULL;
    const sd_pickle_name *name = dtype ? function_of(dtype) : NULL;
    if (!dtype)
        push_tensor(m, args, args->list.items[0]->storage->type);
    else if (name && name->meaning == SD_PICKLE_DTYPE)
        push_tensor(m, args, name->type);
    else if (dtype->kind == SD_PICKLE_OPAQUE)
        sdi_machine_push(m, sdi_machine_opaque(m, dtype->object.name));
    else
        sdi_machine_fail(m, SD_ERROR_FORMAT, "a tensor's type is %s",
                         sdi_pickle_kind_name(dtype->kind));
}

/* _rebuild_parameter(tensor, requires_grad, hooks), and the same with attributes. */
static void rebuild_parameter(machine *m, const value *args) {
    if (push_opaque_part(m, args))
        return;
    if (args->list.n && args->list.items[0]->kind == SD_PICKLE_TENSOR)
        sdi_machine_push(m, args->list.items[0]);
    else
        sdi_machine_fail(m, SD_ERROR_FORMAT, "a parameter is made of something else than a tensor");
}

/* OrderedDict(), or OrderedDict([(key, value), ...]) as Python 2 wrote it. */
static void ordered_dict(machine *m, const value *args) {
    value *dict = sdi_machine_value(m, SD_PICKLE_DICT);
    if (args->list.n > 1 || (args->list.n == 1 && args->list.items[0]->kind != SD_PICKLE_LIST)) {
        sdi_machine_fail(m, SD_ERROR_FORMAT, "an OrderedDict is made of something else than pairs");
        return;
    }
    const value *pairs = args->list.n ? args->list.items[0] : NULL;
    for (size_t i = 0; pairs && i < pairs->list.n && !m->status; i++) {
        const value *pair = pairs->list.items[i];
        bool ok =
            (pair->kind == SD_PICKLE_TUPLE || pair->kind == SD_PICKLE_LIST) && pair->list.n == 2;
        if (!ok)
            sdi_machine_fail(m, SD_ERROR_FORMAT,
                             "an OrderedDict is made of something else than pairs");
        else if (sdi_machine_add(m, dict, pair->list.items[0]))
            sdi_machine_add(m, dict, pair->list.items[1]);
    }
    sdi_machine_push(m, dict);
}

/* ------------------------------------------------------------------------- calls */

static void call_known(machine *m, const sd_pickle_name *name, const value *args);

/* _rebuild_from_type_v2(function, class, arguments, state) of tensors with attributes. */
static void rebuild_subclass(machine *m, const value *args) {
    value *const *a = args->list.items;
    const sd_pickle_name *inner = args->list.n >= 3 ? function_of(a[0]) : NULL;
    bool ok = args->list.n >= 3 && a[2]->kind == SD_PICKLE_TUPLE;
    if (push_opaque_part(m, args))
        return;
    if (ok && inner && inner->meaning != SD_PICKLE_REBUILD_SUBCLASS) /* which would nest */
        call_known(m, inner, a[2]);
    else
        sdi_machine_fail(m, SD_ERROR_FORMAT, "a tensor is not (function, class, arguments, ...)");
}

static void call_known(machine *m, const sd_pickle_name *name, const value *args) {
    char text[NAME_SIZE];
    switch (name->meaning) {
    case SD_PICKLE_REBUILD_TENSOR:
    case SD_PICKLE_REBUILD_TYPED:
        rebuild_tensor(m, args, name->meaning == SD_PICKLE_REBUILD_TYPED);
        break;
    case SD_PICKLE_ORDERED_DICT:
        ordered_dict(m, args);
        break;
    case SD_PICKLE_REBUILD_PARAMETER:
        rebuild_parameter(m, args);
        break;
    case SD_PICKLE_REBUILD_SUBCLASS:
        rebuild_subclass(m, args);
        break;
    case SD_PICKLE_STORAGE_TYPE:
    case SD_PICKLE_DTYPE: { /* numbers within the pickle, which torch.save does not write */
        int n = snprintf(text, sizeof text, "%s.%s", name->module, name->name);
        char *copy = sdi_machine_alloc(m, (size_t)n + 1);
        if (copy)
            memcpy(copy, text, (size_t)n + 1);
        sdi_machine_push(m, sdi_machine_opaque(m, copy));
        break;
    }
    }
}

/* REDUCE, NEWOBJ: a function and a tuple of arguments; nothing is called but what is here. */
void sdi_pickle_op_call(machine *m, uint8_t op) {
    bool keywords = op == 0x92; /* NEWOBJ_EX */
    if (!sdi_machine_need(m, keywords ? 3 : 2))
        return;
    if (keywords)
        sdi_machine_pop(m);
    const value *args = sdi_machine_pop(m), *function = sdi_machine_pop(m);
    const sd_pickle_name *known = function_of(function);
    if (function->kind == SD_PICKLE_OPAQUE)
        sdi_machine_push(m, sdi_machine_opaque(m, function->object.name));
    else if (!known || args->kind != SD_PICKLE_TUPLE)
        sdi_machine_fail(m, SD_ERROR_FORMAT, "%s is called with %s",
                         sdi_pickle_kind_name(function->kind), sdi_pickle_kind_name(args->kind));
    else
        call_known(m, known, args);
}

/* Attributes: an object keeps them, as its parameters may be among them; a dictionary (state_dict's
 * _metadata) and a tensor do not need theirs. A tuple is the attributes and those in slots. */
void sdi_pickle_op_build(machine *m, uint8_t op) {
    (void)op;
    if (!sdi_machine_need(m, 2))
        return;
    value *state = sdi_machine_pop(m), *target = sdi_machine_top(m);
    if (state->kind == SD_PICKLE_TUPLE && state->list.n == 2)
        state = state->list.items[0];
    if (target->kind == SD_PICKLE_OPAQUE && state->kind == SD_PICKLE_DICT)
        target->object.state = state;
    if (target->kind != SD_PICKLE_DICT && target->kind != SD_PICKLE_TENSOR &&
        target->kind != SD_PICKLE_OPAQUE)
        sdi_machine_fail(m, SD_ERROR_FORMAT, "%s is given attributes",
                         sdi_pickle_kind_name(target->kind));
}
