#include "io/pickle.h"

#include "io/pickle_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_PROTOCOL 5
#define MAX_STACK (1 << 17)
#define MAX_MARKS 1000
#define NAME_SIZE 160

typedef sd_pickle_value value;

typedef struct machine {
    const sd_context *ctx;
    const char *path;
    const uint8_t *bytes;
    size_t size, at;
    size_t start; /* of the opcode that runs */
    sd_pickle *pickle;
    value **stack;
    size_t n_stack, stack_room;
    size_t marks[MAX_MARKS]; /* heights of the stack */
    size_t n_marks;
    value **memo; /* NULL: not set */
    size_t memo_room, n_memoized;
    sd_status status; /* the first failure: nothing is done after it */
    bool stopped;
} machine;

/* ------------------------------------------------------------------------- failing, reading */

static void fail(machine *m, sd_status status, const char *format, ...) SD_PRINTF(3, 4);

static void fail(machine *m, sd_status status, const char *format, ...) {
    if (m->status)
        return;
    char text[400];
    va_list args;
    va_start(args, format);
    sd_vprint(text, sizeof text, format, args);
    va_end(args);
    m->status = sd_fail(m->ctx, status, "%s: its pickle, byte %zu: %s", m->path, m->start, text);
}

/* The next n bytes, or NULL. */
static const uint8_t *take(machine *m, uint64_t n) {
    if (m->status)
        return NULL;
    if (n > m->size - m->at) {
        fail(m, SD_ERROR_FORMAT, "it ends within a value (a file that was cut short?)");
        return NULL;
    }
    const uint8_t *bytes = m->bytes + m->at;
    m->at += (size_t)n;
    return bytes;
}

/* A little-endian number of n <= 8 bytes; 0 after a failure. */
static uint64_t take_uint(machine *m, size_t n) {
    const uint8_t *bytes = take(m, n);
    uint64_t number = 0;
    for (size_t i = bytes ? n : 0; i > 0; i--)
        number = number << 8 | bytes[i - 1];
    return number;
}

/* ------------------------------------------------------------------------- memory */

/* n bytes that live as long as the pickle; not initialised. */
static void *allocate(machine *m, size_t n) {
    void *memory = NULL;
    if (m->status)
        return NULL;
    sd_status status = sd_pickle_alloc(m->pickle, n, &memory);
    if (status == SD_ERROR_FORMAT)
        fail(m, status, "its values take more than %zu MiB", SD_PICKLE_MAX_MEMORY >> 20);
    m->status = status;
    return memory;
}

static value *new_value(machine *m, sd_pickle_kind kind) {
    value *v = allocate(m, sizeof *v);
    if (v)
        *v = (value){.kind = kind};
    return v;
}

/* `room` items at `items`, grown at least twofold (never in place: `items` may be shared). */
static bool list_add(machine *m, value *list, value *item) {
    if (list->list.n == list->list.room) {
        size_t room = list->list.room ? 2 * list->list.room : 4;
        value **items = allocate(m, room * sizeof *items);
        if (!items)
            return false;
        if (list->list.n)
            memcpy(items, list->list.items, list->list.n * sizeof *items);
        list->list.items = items;
        list->list.room = room;
    }
    list->list.items[list->list.n++] = item;
    return true;
}

/* ------------------------------------------------------------------------- stack */

static void push(machine *m, value *v) {
    if (m->status)
        return;
    if (m->n_stack == m->stack_room) {
        size_t room = m->stack_room ? 2 * m->stack_room : 256;
        value **grown = NULL;
        if (m->n_stack >= MAX_STACK)
            fail(m, SD_ERROR_FORMAT, "more than %d values wait on its stack", MAX_STACK);
        else if (!(grown = sd_realloc(m->ctx, m->stack, room * sizeof *grown)))
            m->status = SD_ERROR_MEMORY;
        if (!grown)
            return;
        m->stack = grown;
        m->stack_room = room;
    }
    m->stack[m->n_stack++] = v;
}

/* Values above the last mark. */
static size_t available(const machine *m) {
    return m->n_stack - (m->n_marks ? m->marks[m->n_marks - 1] : 0);
}

static bool need(machine *m, size_t n) {
    if (!m->status && available(m) < n)
        fail(m, SD_ERROR_FORMAT, "its stack has %zu values, %zu are needed", available(m), n);
    return !m->status;
}

/* Two values can be popped after need(m, 2), and so on. */
static value *pop(machine *m) {
    return m->stack[--m->n_stack];
}

static value *top(const machine *m) {
    return m->stack[m->n_stack - 1];
}

/* Takes the last mark and what lies above it; the values stay readable until the next push. */
static value **pop_mark(machine *m, size_t *n) {
    *n = 0;
    if (m->status)
        return NULL;
    if (m->n_marks == 0) {
        fail(m, SD_ERROR_FORMAT, "a mark is needed and there is none");
        return NULL;
    }
    size_t height = m->marks[--m->n_marks];
    *n = m->n_stack - height;
    m->n_stack = height;
    return *n ? m->stack + height : NULL; /* there may be no stack yet */
}

/* ------------------------------------------------------------------------- plain values */

typedef struct width_row {
    uint8_t op, width;
} width_row;

/* The bytes of the number that follows an opcode. */
static size_t width_of(uint8_t op) {
    static const width_row rows[] = {
        {'K', 1},  {'M', 2},  {'J', 4}, {0x8a, 1}, {0x8b, 4}, {'X', 4},
        {0x8c, 1}, {0x8d, 8}, {'B', 4}, {'C', 1},  {0x8e, 8}, {'T', 4},
        {'U', 1},  {'h', 1},  {'j', 4}, {'q', 1},  {'r', 4},  {0x95, 8},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        if (rows[i].op == op)
            return rows[i].width;
    return 0;
}

static void op_proto(machine *m, uint8_t op) {
    (void)op;
    unsigned protocol = (unsigned)take_uint(m, 1);
    if (!m->status && (protocol < 2 || protocol > MAX_PROTOCOL))
        fail(m, SD_ERROR_UNSUPPORTED, "its protocol is %u; 2 to %d are read", protocol,
             MAX_PROTOCOL);
}

static void op_frame(machine *m, uint8_t op) {
    uint64_t size = take_uint(m, width_of(op));
    if (!m->status && size > m->size - m->at)
        fail(m, SD_ERROR_FORMAT, "a frame of %llu bytes, but only %zu follow",
             (unsigned long long)size, m->size - m->at);
}

static void push_integer(machine *m, sd_pickle_kind kind, int64_t number) {
    value *v = new_value(m, kind);
    if (v)
        v->integer = number;
    push(m, v);
}

static void op_none(machine *m, uint8_t op) {
    (void)op;
    push(m, new_value(m, SD_PICKLE_NONE));
}

static void op_bool(machine *m, uint8_t op) {
    push_integer(m, SD_PICKLE_BOOL, op == 0x88);
}

static void op_int(machine *m, uint8_t op) {
    uint64_t number = take_uint(m, width_of(op));
    push_integer(m, SD_PICKLE_INT,
                 op == 'J' ? (int64_t)(int32_t)(uint32_t)number : (int64_t)number);
}

static value *new_opaque(machine *m, const char *name) {
    value *v = new_value(m, SD_PICKLE_OPAQUE);
    if (v) {
        v->text.bytes = name;
        v->text.size = strlen(name);
    }
    return v;
}

/* Two's complement of any length; what 64 bits cannot hold is no size of anything. */
static void op_long(machine *m, uint8_t op) {
    uint64_t n = take_uint(m, width_of(op));
    const uint8_t *bytes = take(m, n);
    if (!bytes)
        return;
    if (n > 8) {
        push(m, new_opaque(m, "a large integer"));
        return;
    }
    uint64_t number = n && bytes[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = (size_t)n; i > 0; i--)
        number = number << 8 | bytes[i - 1];
    push_integer(m, SD_PICKLE_INT, (int64_t)number);
}

static void op_real(machine *m, uint8_t op) {
    (void)op;
    const uint8_t *bytes = take(m, 8);
    value *v = new_value(m, SD_PICKLE_REAL);
    uint64_t bits = 0;
    for (int i = 0; bytes && i < 8; i++)
        bits = bits << 8 | bytes[i];
    if (v)
        memcpy(&v->real, &bits, sizeof bits);
    push(m, v);
}

static void push_text(machine *m, uint8_t op, sd_pickle_kind kind) {
    uint64_t n = take_uint(m, width_of(op));
    const uint8_t *bytes = take(m, n);
    value *v = new_value(m, kind);
    if (v) {
        v->text.bytes = (const char *)bytes;
        v->text.size = (size_t)n;
    }
    push(m, v);
}

static void op_text(machine *m, uint8_t op) {
    push_text(m, op, SD_PICKLE_TEXT);
}

static void op_bytes(machine *m, uint8_t op) {
    push_text(m, op, SD_PICKLE_BYTES);
}

/* ------------------------------------------------------------------------- containers */

/* A copy of n items of the stack, which are gone from it already. */
static void push_list(machine *m, sd_pickle_kind kind, value **items, size_t n) {
    value *v = new_value(m, kind);
    value **copy = n ? allocate(m, n * sizeof *copy) : NULL;
    if (m->status)
        return;
    if (n)
        memcpy(copy, items, n * sizeof *copy);
    v->list.items = copy;
    v->list.n = v->list.room = n;
    push(m, v);
}

static void op_empty(machine *m, uint8_t op) {
    push_list(m,
              op == ')'   ? SD_PICKLE_TUPLE
              : op == ']' ? SD_PICKLE_LIST
                          : SD_PICKLE_DICT,
              NULL, 0);
}

static void op_set(machine *m, uint8_t op) {
    size_t n;
    if (op == 0x91) /* FROZENSET takes its items from the stack; EMPTY_SET gets them later */
        pop_mark(m, &n);
    push(m, new_opaque(m, "set"));
}

static void op_small_tuple(machine *m, uint8_t op) {
    size_t n = (size_t)op - 0x84;
    if (!need(m, n))
        return;
    m->n_stack -= n;
    push_list(m, SD_PICKLE_TUPLE, m->stack + m->n_stack, n);
}

static void op_from_mark(machine *m, uint8_t op) {
    size_t n;
    value **items = pop_mark(m, &n);
    if (!m->status && op == 'd' && n % 2)
        fail(m, SD_ERROR_FORMAT, "a dictionary of %zu keys and values", n);
    if (!m->status)
        push_list(m,
                  op == 't'   ? SD_PICKLE_TUPLE
                  : op == 'l' ? SD_PICKLE_LIST
                              : SD_PICKLE_DICT,
                  items, n);
}

/* Adds to the value on top: a list for APPEND, a dictionary for SETITEM, pairs of it. Opaque values
 * swallow what they are given. */
static void add_items(machine *m, sd_pickle_kind kind, value **items, size_t n) {
    if (!need(m, 1))
        return;
    value *target = top(m);
    if (target->kind == SD_PICKLE_OPAQUE)
        return;
    if (target->kind != kind) {
        fail(m, SD_ERROR_FORMAT, "items are added to %s", sd_pickle_kind_name(target->kind));
        return;
    }
    if (kind == SD_PICKLE_DICT && n % 2)
        fail(m, SD_ERROR_FORMAT, "a key without its value");
    for (size_t i = 0; i < n && !m->status; i++)
        list_add(m, target, items[i]);
}

static void op_append(machine *m, uint8_t op) {
    bool pair = op == 's';
    size_t n = pair ? 2 : 1;
    if (!need(m, n + 1))
        return;
    m->n_stack -= n;
    add_items(m, pair ? SD_PICKLE_DICT : SD_PICKLE_LIST, m->stack + m->n_stack, n);
}

static void op_extend(machine *m, uint8_t op) {
    size_t n;
    value **items = pop_mark(m, &n);
    add_items(m, op == 'u' ? SD_PICKLE_DICT : SD_PICKLE_LIST, items, n);
}

/* ------------------------------------------------------------------------- stack and memo */

static void op_mark(machine *m, uint8_t op) {
    (void)op;
    if (m->n_marks == MAX_MARKS)
        fail(m, SD_ERROR_FORMAT, "it is nested more than %d deep", MAX_MARKS);
    else
        m->marks[m->n_marks++] = m->n_stack;
}

static void op_pop(machine *m, uint8_t op) {
    size_t n;
    if (op == '1' || (available(m) == 0 && m->n_marks))
        pop_mark(m, &n);
    else if (need(m, 1))
        pop(m);
}

static void op_dup(machine *m, uint8_t op) {
    (void)op;
    if (need(m, 1))
        push(m, top(m));
}

/* No pickle has more values than bytes, so that numbers above its size are damage. */
static void put(machine *m, uint64_t i) {
    if (!need(m, 1))
        return;
    if (i >= m->size) {
        fail(m, SD_ERROR_FORMAT, "the memo's number %llu is beyond the pickle's %zu bytes",
             (unsigned long long)i, m->size);
        return;
    }
    if (i >= m->memo_room) {
        size_t room = (size_t)i + 1 > 2 * m->memo_room ? (size_t)i + 1 : 2 * m->memo_room;
        room = room < 256 ? 256 : room;
        value **grown = sd_realloc(m->ctx, m->memo, room * sizeof *grown);
        if (!grown) {
            m->status = SD_ERROR_MEMORY;
            return;
        }
        memset(grown + m->memo_room, 0, (room - m->memo_room) * sizeof *grown);
        m->memo = grown;
        m->memo_room = room;
    }
    m->n_memoized += !m->memo[i];
    m->memo[i] = top(m);
}

static void op_put(machine *m, uint8_t op) {
    uint64_t i = op == 0x94 ? m->n_memoized : take_uint(m, width_of(op));
    put(m, i);
}

static void op_get(machine *m, uint8_t op) {
    uint64_t i = take_uint(m, width_of(op));
    if (m->status)
        return;
    if (i >= m->memo_room || !m->memo[i])
        fail(m, SD_ERROR_FORMAT, "the memo's number %llu was never set", (unsigned long long)i);
    else
        push(m, m->memo[i]);
}

/* ------------------------------------------------------------------------- names and calls */

/* "module.name", of which only printable ASCII is kept, in memory of the pickle. */
static char *spell(machine *m, const char *module, size_t n_module, const char *name,
                   size_t n_name) {
    char text[NAME_SIZE];
    int n = snprintf(text, sizeof text, "%.*s.%.*s", n_module < 100 ? (int)n_module : 100, module,
                     n_name < 50 ? (int)n_name : 50, name);
    char *copy = allocate(m, (size_t)n + 1);
    for (int i = 0; copy && i <= n; i++)
        copy[i] = i == n || (text[i] >= ' ' && text[i] <= '~') ? text[i] : '?';
    return copy;
}

static void push_name(machine *m, const char *module, size_t n_module, const char *name,
                      size_t n_name) {
    const sd_pickle_name *known = sd_pickle_find_name(module, n_module, name, n_name);
    if (known) {
        value *v = new_value(m, SD_PICKLE_FUNCTION);
        if (v)
            v->function = known;
        push(m, v);
        return;
    }
    const char *spelled = spell(m, module, n_module, name, n_name);
    if (!spelled)
        return;
    if (sd_pickle_is_harmless(module, n_module, name, n_name))
        push(m, new_opaque(m, spelled));
    else
        m->status = sd_fail(m->ctx, SD_ERROR_UNSUPPORTED,
                            "%s: the pickle names '%s'; only tensors and plain containers are read",
                            m->path, spelled);
}

/* A text that ends with a newline, which is not counted. */
static const char *take_line(machine *m, size_t *n) {
    const uint8_t *rest = m->bytes + m->at;
    const uint8_t *end = m->status || m->at == m->size ? NULL : memchr(rest, '\n', m->size - m->at);
    *n = end ? (size_t)(end - rest) : 0;
    if (!end)
        fail(m, SD_ERROR_FORMAT, "it ends within a name (a file that was cut short?)");
    else
        m->at += *n + 1;
    return (const char *)rest;
}

static void op_global(machine *m, uint8_t op) {
    (void)op;
    size_t n_module, n_name;
    const char *module = take_line(m, &n_module);
    const char *name = take_line(m, &n_name);
    if (!m->status)
        push_name(m, module, n_module, name, n_name);
}

static void op_stack_global(machine *m, uint8_t op) {
    (void)op;
    if (!need(m, 2))
        return;
    const value *name = pop(m), *module = pop(m);
    if (name->kind != SD_PICKLE_TEXT || module->kind != SD_PICKLE_TEXT)
        fail(m, SD_ERROR_FORMAT, "a name is %s and %s; two strings were expected",
             sd_pickle_kind_name(module->kind), sd_pickle_kind_name(name->kind));
    else
        push_name(m, module->text.bytes, module->text.size, name->text.bytes, name->text.size);
}

static bool is_count(const value *v) {
    return v->kind == SD_PICKLE_INT && v->integer >= 0;
}

/* ('storage', torch.FloatStorage, '0', 'cpu', 1234) */
static void op_persid(machine *m, uint8_t op) {
    (void)op;
    if (!need(m, 1))
        return;
    const value *id = pop(m);
    value *const *items = id->list.items;
    const sd_pickle_name *type = NULL;
    if (id->kind == SD_PICKLE_TUPLE && id->list.n >= 5 && items[1]->kind == SD_PICKLE_FUNCTION)
        type = items[1]->function;
    if (!type || type->meaning != SD_PICKLE_STORAGE_TYPE || items[0]->kind != SD_PICKLE_TEXT ||
        items[0]->text.size != 7 || memcmp(items[0]->text.bytes, "storage", 7) != 0 ||
        items[2]->kind != SD_PICKLE_TEXT || !is_count(items[4])) {
        fail(m, SD_ERROR_FORMAT, "a persistent id is not (\"storage\", type, key, device, size)");
        return;
    }
    value *v = new_value(m, SD_PICKLE_STORAGE);
    if (v) {
        v->storage.key = items[2];
        v->storage.type = type->type;
        v->storage.numel = items[4]->integer;
    }
    push(m, v);
}

/* A tuple of n sizes or strides. */
static bool read_counts(const value *tuple, int64_t *counts) {
    for (size_t i = 0; i < tuple->list.n; i++) {
        if (!is_count(tuple->list.items[i]))
            return false;
        counts[i] = tuple->list.items[i]->integer;
    }
    return true;
}

/* _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, ...) */
static void rebuild_tensor(machine *m, const value *args) {
    value *const *a = args->list.items;
    if (args->list.n < 6 || a[0]->kind != SD_PICKLE_STORAGE || !is_count(a[1]) ||
        a[2]->kind != SD_PICKLE_TUPLE || a[3]->kind != SD_PICKLE_TUPLE ||
        a[2]->list.n != a[3]->list.n) {
        fail(m, SD_ERROR_FORMAT, "a tensor is not (storage, offset, size, stride, ...)");
        return;
    }
    if (a[2]->list.n > SD_ENTRY_MAX_DIMS) {
        fail(m, SD_ERROR_FORMAT, "a tensor has %zu dimensions; at most %d were expected",
             a[2]->list.n, SD_ENTRY_MAX_DIMS);
        return;
    }
    value *v = new_value(m, SD_PICKLE_TENSOR);
    sd_pickle_tensor *tensor = allocate(m, sizeof *tensor);
    if (m->status)
        return;
    *tensor = (sd_pickle_tensor){a[0], (int)a[2]->list.n, a[1]->integer, {0}, {0}};
    if (!read_counts(a[2], tensor->dims) || !read_counts(a[3], tensor->strides))
        fail(m, SD_ERROR_FORMAT, "a tensor's sizes and strides must be integers from 0 upward");
    v->tensor = tensor;
    push(m, v);
}

/* OrderedDict(), or OrderedDict([(key, value), ...]) as Python 2 wrote it. */
static void ordered_dict(machine *m, const value *args) {
    value *dict = new_value(m, SD_PICKLE_DICT);
    if (args->list.n > 1 || (args->list.n == 1 && args->list.items[0]->kind != SD_PICKLE_LIST)) {
        fail(m, SD_ERROR_FORMAT, "an OrderedDict is made of something else than pairs");
        return;
    }
    const value *pairs = args->list.n ? args->list.items[0] : NULL;
    for (size_t i = 0; pairs && i < pairs->list.n && !m->status; i++) {
        const value *pair = pairs->list.items[i];
        bool ok =
            (pair->kind == SD_PICKLE_TUPLE || pair->kind == SD_PICKLE_LIST) && pair->list.n == 2;
        if (!ok)
            fail(m, SD_ERROR_FORMAT, "an OrderedDict is made of something else than pairs");
        else if (list_add(m, dict, pair->list.items[0]))
            list_add(m, dict, pair->list.items[1]);
    }
    push(m, dict);
}

/* REDUCE, NEWOBJ: a function and a tuple of arguments; nothing is called but what is here. */
static void call(machine *m, const value *function, const value *args) {
    if (function->kind == SD_PICKLE_OPAQUE) {
        push(m, new_opaque(m, function->text.bytes));
        return;
    }
    if (function->kind != SD_PICKLE_FUNCTION || args->kind != SD_PICKLE_TUPLE) {
        fail(m, SD_ERROR_FORMAT, "%s is called with %s", sd_pickle_kind_name(function->kind),
             sd_pickle_kind_name(args->kind));
        return;
    }
    const sd_pickle_name *name = function->function;
    switch (name->meaning) {
    case SD_PICKLE_REBUILD_TENSOR:
        rebuild_tensor(m, args);
        break;
    case SD_PICKLE_ORDERED_DICT:
        ordered_dict(m, args);
        break;
    case SD_PICKLE_REBUILD_PARAMETER: /* (tensor, requires_grad, hooks) */
        if (args->list.n && args->list.items[0]->kind == SD_PICKLE_TENSOR)
            push(m, args->list.items[0]);
        else
            fail(m, SD_ERROR_FORMAT, "a parameter is made of something else than a tensor");
        break;
    case SD_PICKLE_STORAGE_TYPE:
        fail(m, SD_ERROR_UNSUPPORTED, "torch.%s is called; storages beside the pickle are read",
             name->name);
        break;
    }
}

static void op_call(machine *m, uint8_t op) {
    bool keywords = op == 0x92; /* NEWOBJ_EX */
    if (!need(m, keywords ? 3 : 2))
        return;
    if (keywords)
        pop(m);
    const value *args = pop(m), *function = pop(m);
    call(m, function, args);
}

/* Attributes of a dictionary (state_dict's _metadata), tensor or opaque value: not needed. */
static void op_build(machine *m, uint8_t op) {
    (void)op;
    if (!need(m, 2))
        return;
    pop(m);
    sd_pickle_kind kind = top(m)->kind;
    if (kind != SD_PICKLE_DICT && kind != SD_PICKLE_TENSOR && kind != SD_PICKLE_OPAQUE)
        fail(m, SD_ERROR_FORMAT, "%s is given attributes", sd_pickle_kind_name(kind));
}

static void op_stop(machine *m, uint8_t op) {
    (void)op;
    if (!need(m, 1))
        return;
    m->pickle->root = pop(m);
    m->stopped = true;
}

/* ------------------------------------------------------------------------- running */

/* Protocols 2 to 4; the text opcodes of protocol 0 are not written by torch. */
static void (*const operations[256])(machine *m, uint8_t op) = {
    [0x80] = op_proto,       [0x95] = op_frame,        ['.'] = op_stop,
    ['('] = op_mark,         ['0'] = op_pop,           ['1'] = op_pop,
    ['2'] = op_dup,          ['N'] = op_none,          [0x88] = op_bool,
    [0x89] = op_bool,        ['J'] = op_int,           ['K'] = op_int,
    ['M'] = op_int,          [0x8a] = op_long,         [0x8b] = op_long,
    ['G'] = op_real,         ['X'] = op_text,          [0x8c] = op_text,
    [0x8d] = op_text,        ['T'] = op_text,          ['U'] = op_text,
    ['B'] = op_bytes,        ['C'] = op_bytes,         [0x8e] = op_bytes,
    [')'] = op_empty,        [']'] = op_empty,         ['}'] = op_empty,
    [0x8f] = op_set,         [0x91] = op_set,          [0x85] = op_small_tuple,
    [0x86] = op_small_tuple, [0x87] = op_small_tuple,  ['t'] = op_from_mark,
    ['l'] = op_from_mark,    ['d'] = op_from_mark,     ['a'] = op_append,
    ['s'] = op_append,       ['e'] = op_extend,        ['u'] = op_extend,
    [0x90] = op_extend,      ['q'] = op_put,           ['r'] = op_put,
    [0x94] = op_put,         ['h'] = op_get,           ['j'] = op_get,
    ['c'] = op_global,       [0x93] = op_stack_global, ['Q'] = op_persid,
    ['R'] = op_call,         [0x81] = op_call,         [0x92] = op_call,
    ['b'] = op_build,
};

static void run(machine *m) {
    while (!m->stopped && !m->status) {
        m->start = m->at;
        const uint8_t *op = take(m, 1);
        if (!op)
            return;
        if (operations[*op])
            operations[*op](m, *op);
        else
            fail(m, SD_ERROR_UNSUPPORTED, "opcode 0x%02x is none that torch.save writes", *op);
    }
}

sd_status sd_pickle_read(const sd_context *ctx, const char *path, const uint8_t *bytes, size_t size,
                         sd_pickle **out) {
    *out = NULL;
    sd_pickle *pickle = sd_zalloc(ctx, sizeof *pickle);
    machine *m = sd_zalloc(ctx, sizeof *m);
    sd_status status = SD_ERROR_MEMORY;
    if (pickle)
        pickle->ctx = ctx;
    if (pickle && m) {
        *m = (machine){.ctx = ctx, .path = path, .bytes = bytes, .size = size, .pickle = pickle};
        run(m);
        status = m->status;
        sd_free(ctx, m->stack);
        sd_free(ctx, m->memo);
    }
    sd_free(ctx, m);
    if (!status)
        *out = pickle;
    else
        sd_pickle_free(pickle);
    return status;
}
