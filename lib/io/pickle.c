/* Runs a pickle of protocols 2 to 5, opcode by opcode: values and containers. What names and calls
 * is in pickle_calls.c, the stack in pickle_machine.c. */
#include "io/pickle.h"

#include "io/pickle_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_PROTOCOL 5

typedef sd_pickle_value value;
typedef sd_pickle_machine machine;

/* ------------------------------------------------------------------------- plain values */

typedef struct width_row {
    uint8_t op, width;
} width_row;

/* The bytes of the number that follows an opcode. */
static size_t width_of(uint8_t op) {
    static const width_row rows[] = {
        {'K', 1},  {'M', 2}, {'J', 4}, {0x8a, 1}, {0x8b, 4}, {'X', 4}, {0x8c, 1},
        {0x8d, 8}, {'B', 4}, {'C', 1}, {0x8e, 8}, {'T', 4},  {'U', 1}, {'h', 1},
        {'j', 4},  {'q', 1}, {'r', 4}, {0x95, 8}, {0x96, 8},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        if (rows[i].op == op)
            return rows[i].width;
    return 0;
}

static void op_proto(machine *m, uint8_t op) {
    (void)op;
    unsigned protocol = (unsigned)sdi_machine_uint(m, 1);
    if (!m->status && (protocol < 2 || protocol > MAX_PROTOCOL))
        sdi_machine_fail(m, SD_ERROR_UNSUPPORTED, "its protocol is %u; 2 to %d are read", protocol,
                         MAX_PROTOCOL);
}

static void op_frame(machine *m, uint8_t op) {
    uint64_t size = sdi_machine_uint(m, width_of(op));
    if (!m->status && size > m->size - m->at)
        sdi_machine_fail(m, SD_ERROR_FORMAT, "a frame of %llu bytes, but only %zu follow",
                         (unsigned long long)size, m->size - m->at);
}

static void push_integer(machine *m, sd_pickle_kind kind, int64_t number) {
    value *v = sdi_machine_value(m, kind);
    if (v)
        v->integer = number;
    sdi_machine_push(m, v);
}

static void op_none(machine *m, uint8_t op) {
    (void)op;
    sdi_machine_push(m, sdi_machine_value(m, SD_PICKLE_NONE));
}

static void op_bool(machine *m, uint8_t op) {
    push_integer(m, SD_PICKLE_BOOL, op == 0x88);
}

static void op_int(machine *m, uint8_t op) {
    uint64_t number = sdi_machine_uint(m, width_of(op));
    push_integer(m, SD_PICKLE_INT,
                 op == 'J' ? (int64_t)(int32_t)(uint32_t)number : (int64_t)number);
}

/* Two's complement of any length; what 64 bits cannot hold is no size of anything. */
static void op_long(machine *m, uint8_t op) {
    uint64_t n = sdi_machine_uint(m, width_of(op));
    const uint8_t *bytes = sdi_machine_take(m, n);
    if (!bytes)
        return;
    if (n > 8) {
        sdi_machine_push(m, sdi_machine_opaque(m, "a large integer"));
        return;
    }
    uint64_t number = n && bytes[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = (size_t)n; i > 0; i--)
        number = number << 8 | bytes[i - 1];
    push_integer(m, SD_PICKLE_INT, (int64_t)number);
}

static void op_real(machine *m, uint8_t op) {
    (void)op;
    const uint8_t *bytes = sdi_machine_take(m, 8);
    value *v = sdi_machine_value(m, SD_PICKLE_REAL);
    uint64_t bits = 0;
    for (int i = 0; bytes && i < 8; i++)
        bits = bits << 8 | bytes[i];
    if (v)
        memcpy(&v->real, &bits, sizeof bits);
    sdi_machine_push(m, v);
}

static void push_text(machine *m, uint8_t op, sd_pickle_kind kind) {
    uint64_t n = sdi_machine_uint(m, width_of(op));
    const uint8_t *bytes = sdi_machine_take(m, n);
    value *v = sdi_machine_value(m, kind);
    if (v) {
        v->text.bytes = (const char *)bytes;
        v->text.size = (size_t)n;
    }
    sdi_machine_push(m, v);
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
    value *v = sdi_machine_value(m, kind);
    value **copy = n ? sdi_machine_alloc(m, n * sizeof *copy) : NULL;
    if (m->status)
        return;
    if (n)
        memcpy(copy, items, n * sizeof *copy);
    v->list.items = copy;
    v->list.n = v->list.room = n;
    sdi_machine_push(m, v);
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
        sdi_machine_pop_mark(m, &n);
    sdi_machine_push(m, sdi_machine_opaque(m, "set"));
}

static void op_small_tuple(machine *m, uint8_t op) {
    size_t n = (size_t)op - 0x84;
    if (!sdi_machine_need(m, n))
        return;
    m->n_stack -= n;
    push_list(m, SD_PICKLE_TUPLE, m->stack + m->n_stack, n);
}

static void op_from_mark(machine *m, uint8_t op) {
    size_t n;
    value **items = sdi_machine_pop_mark(m, &n);
    if (!m->status && op == 'd' && n % 2)
        sdi_machine_fail(m, SD_ERROR_FORMAT, "a dictionary of %zu keys and values", n);
    if (!m->status)
        push_list(m,
                  op == 't'   ? SD_PICKLE_TUPLE
                  : op == 'l' ? SD_PICKLE_LIST
                              : SD_PICKLE_DICT,
                  items, n);
}

/* Adds to the value on top: a list for APPEND, a dictionary for SETITEM, pairs of it. An opaque
 * value may be a dictionary of another class, and keeps pairs; the rest it swallows. */
static void add_items(machine *m, sd_pickle_kind kind, value **items, size_t n) {
    if (!sdi_machine_need(m, 1))
        return;
    value *target = sdi_machine_top(m);
    if (target->kind == SD_PICKLE_OPAQUE) {
        if (kind == SD_PICKLE_LIST)
            return;
        if (!target->object.items)
            target->object.items = sdi_machine_value(m, SD_PICKLE_DICT);
        target = target->object.items;
        if (!target)
            return;
    }
    if (target->kind != kind) {
        sdi_machine_fail(m, SD_ERROR_FORMAT, "items are added to %s",
                         sdi_pickle_kind_name(target->kind));
        return;
    }
    if (kind == SD_PICKLE_DICT && n % 2)
        sdi_machine_fail(m, SD_ERROR_FORMAT, "a key without its value");
    for (size_t i = 0; i < n && !m->status; i++)
        sdi_machine_add(m, target, items[i]);
}

static void op_append(machine *m, uint8_t op) {
    bool pair = op == 's';
    size_t n = pair ? 2 : 1;
    if (!sdi_machine_need(m, n + 1))
        return;
    m->n_stack -= n;
    add_items(m, pair ? SD_PICKLE_DICT : SD_PICKLE_LIST, m->stack + m->n_stack, n);
}

static void op_extend(machine *m, uint8_t op) {
    size_t n;
    value **items = sdi_machine_pop_mark(m, &n);
    add_items(m, op == 'u' ? SD_PICKLE_DICT : SD_PICKLE_LIST, items, n);
}

/* ------------------------------------------------------------------------- stack and memo */

static void op_mark(machine *m, uint8_t op) {
    (void)op;
    if (m->n_marks == SD_PICKLE_MAX_MARKS)
        sdi_machine_fail(m, SD_ERROR_FORMAT, "it is nested more than %d deep", SD_PICKLE_MAX_MARKS);
    else
        m->marks[m->n_marks++] = m->n_stack;
}

static void op_pop(machine *m, uint8_t op) {
    size_t n;
    if (op == '1' || (sdi_machine_available(m) == 0 && m->n_marks))
        sdi_machine_pop_mark(m, &n);
    else if (sdi_machine_need(m, 1))
        sdi_machine_pop(m);
}

static void op_dup(machine *m, uint8_t op) {
    (void)op;
    if (sdi_machine_need(m, 1))
        sdi_machine_push(m, sdi_machine_top(m));
}

/* No pickle has more values than bytes, so that numbers above its size are damage. */
static void put(machine *m, uint64_t i) {
    if (!sdi_machine_need(m, 1))
        return;
    if (i >= m->size) {
        sdi_machine_fail(m, SD_ERROR_FORMAT,
                         "the memo's number %llu is beyond the pickle's %zu bytes",
                         (unsigned long long)i, m->size);
        return;
    }
    if (i >= m->memo_room) {
        size_t room = (size_t)i + 1 > 2 * m->memo_room ? (size_t)i + 1 : 2 * m->memo_room;
        room = room < 256 ? 256 : room;
        value **grown = sdi_realloc(m->ctx, m->memo, room * sizeof *grown);
        if (!grown) {
            m->status = SD_ERROR_MEMORY;
            return;
        }
        memset(grown + m->memo_room, 0, (room - m->memo_room) * sizeof *grown);
        m->memo = grown;
        m->memo_room = room;
    }
    m->n_memoized += !m->memo[i];
    m->memo[i] = sdi_machine_top(m);
}

static void op_put(machine *m, uint8_t op) {
    uint64_t i = op == 0x94 ? m->n_memoized : sdi_machine_uint(m, width_of(op));
    put(m, i);
}

static void op_get(machine *m, uint8_t op) {
    uint64_t i = sdi_machine_uint(m, width_of(op));
    if (m->status)
        return;
    if (i >= m->memo_room || !m->memo[i])
        sdi_machine_fail(m, SD_ERROR_FORMAT, "the memo's number %llu was never set",
                         (unsigned long long)i);
    else
        sdi_machine_push(m, m->memo[i]);
}

/* ------------------------------------------------------------------------- running */

static void op_stop(machine *m, uint8_t op) {
    (void)op;
    if (!sdi_machine_need(m, 1))
        return;
    m->pickle->root = sdi_machine_pop(m);
    m->stopped = true;
}

/* Protocols 2 to 5; the text opcodes of protocol 0 are not written by torch. */
static void (*const operations[256])(machine *m, uint8_t op) = {
    [0x80] = op_proto,
    [0x95] = op_frame,
    ['.'] = op_stop,
    ['('] = op_mark,
    ['0'] = op_pop,
    ['1'] = op_pop,
    ['2'] = op_dup,
    ['N'] = op_none,
    [0x88] = op_bool,
    [0x89] = op_bool,
    ['J'] = op_int,
    ['K'] = op_int,
    ['M'] = op_int,
    [0x8a] = op_long,
    [0x8b] = op_long,
    ['G'] = op_real,
    ['X'] = op_text,
    [0x8c] = op_text,
    [0x8d] = op_text,
    ['T'] = op_text,
    ['U'] = op_text,
    ['B'] = op_bytes,
    ['C'] = op_bytes,
    [0x8e] = op_bytes,
    [0x96] = op_bytes,
    [')'] = op_empty,
    [']'] = op_empty,
    ['}'] = op_empty,
    [0x8f] = op_set,
    [0x91] = op_set,
    [0x85] = op_small_tuple,
    [0x86] = op_small_tuple,
    [0x87] = op_small_tuple,
    ['t'] = op_from_mark,
    ['l'] = op_from_mark,
    ['d'] = op_from_mark,
    ['a'] = op_append,
    ['s'] = op_append,
    ['e'] = op_extend,
    ['u'] = op_extend,
    [0x90] = op_extend,
    ['q'] = op_put,
    ['r'] = op_put,
    [0x94] = op_put,
    ['h'] = op_get,
    ['j'] = op_get,
    ['c'] = sdi_pickle_op_global,
    [0x93] = sdi_pickle_op_stack_global,
    ['Q'] = sdi_pickle_op_persid,
    ['R'] = sdi_pickle_op_call,
    [0x81] = sdi_pickle_op_call,
    [0x92] = sdi_pickle_op_call,
    ['b'] = sdi_pickle_op_build,
};

/* Opcodes whose number is that of the bytes which follow it. */
static bool has_payload(uint8_t op) {
    static const uint8_t ops[] = {0x8a, 0x8b, 'X', 0x8c, 0x8d, 'B', 'C', 0x8e, 0x96, 'T', 'U'};
    return memchr(ops, op, sizeof ops) != NULL;
}

/* The bytes of the opcode at `bytes` with what follows it; more than `size`: they go on. */
static uint64_t opcode_size(const uint8_t *bytes, size_t size) {
    uint64_t width = width_of(*bytes), payload = 0, at = 1;
    if (*bytes == 0x80)
        return 2;
    if (*bytes == 'G')
        return 9;
    for (int lines = *bytes == 'c' ? 2 : 0; lines > 0; lines--) {
        const uint8_t *end = at < size ? memchr(bytes + at, '\n', size - (size_t)at) : NULL;
        at = end ? (uint64_t)(end - bytes) + 1 : (uint64_t)size + 1;
    }
    if (1 + width > size || !has_payload(*bytes))
        return at + width;
    for (uint64_t i = width; i > 0; i--)
        payload = payload << 8 | bytes[i];
    return payload > SIZE_MAX / 2 ? SIZE_MAX : 1 + width + payload;
}

size_t sdi_pickle_length(const uint8_t *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        uint64_t n = opcode_size(bytes + at, size - at);
        if (!operations[bytes[at]] || bytes[at] == '.')
            return at + 1;
        if (n > size - at)
            return 0;
        at += (size_t)n;
    }
    return 0;
}

static void run(machine *m) {
    while (!m->stopped && !m->status) {
        m->start = m->at;
        const uint8_t *op = sdi_machine_take(m, 1);
        if (!op)
            return;
        if (operations[*op])
            operations[*op](m, *op);
        else
            sdi_machine_fail(m, SD_ERROR_UNSUPPORTED,
                             "opcode 0x%02x is none that torch.save writes", *op);
    }
}

/* Once for a file: what its pickle names beside weights and what is usual there. */
static void report_odd(const machine *m) {
    char names[SD_PICKLE_MAX_ODD * 64] = "";
    size_t n = 0;
    for (int i = 0; i < m->n_odd && i < SD_PICKLE_MAX_ODD; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s'%.56s'", i ? ", " : "", m->odd[i]);
    if (m->n_odd > 0)
        sdi_log(m->ctx, SD_LOG_LEVEL_WARN,
                "%s: its pickle also names %s%s: passed over, and nothing of it is run", m->path,
                names, m->n_odd > SD_PICKLE_MAX_ODD ? " and more" : "");
}

sd_status sdi_pickle_read(const sd_context *ctx, const char *path, const uint8_t *bytes,
                          size_t size, sd_pickle **out) {
    *out = NULL;
    sd_pickle *pickle = sdi_zalloc(ctx, sizeof *pickle);
    machine *m = sdi_zalloc(ctx, sizeof *m);
    sd_status status = SD_ERROR_MEMORY;
    if (pickle) {
        pickle->ctx = ctx;
        pickle->storages.kind = SD_PICKLE_LIST;
    }
    if (pickle && m) {
        *m = (machine){.ctx = ctx, .path = path, .bytes = bytes, .size = size, .pickle = pickle};
        run(m);
        status = m->status;
        if (!status)
            report_odd(m);
        sdi_free(ctx, m->stack);
        sdi_free(ctx, m->memo);
    }
    sdi_free(ctx, m);
    if (!status)
        *out = pickle;
    else
        sdi_pickle_free(pickle);
    return status;
}
