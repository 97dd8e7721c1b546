/* The state of the machine that reads a pickle: its bytes, its memory, its stack. */
#include "io/pickle_internal.h"

#include <stdarg.h>
#include <string.h>

#define MAX_STACK (1 << 17)

typedef sd_pickle_value value;
typedef sd_pickle_machine machine;

/* ------------------------------------------------------------------------- failing, reading */

void sdi_machine_fail(machine *m, sd_status status, const char *format, ...) {
    if (m->status)
        return;
    char text[400];
    va_list args;
    va_start(args, format);
    sdi_vprint(text, sizeof text, format, args);
    va_end(args);
    m->status = sdi_fail(m->ctx, status, "%s: its pickle, byte %zu: %s", m->path, m->start, text);
}

const uint8_t *sdi_machine_take(machine *m, uint64_t n) {
    if (m->status)
        return NULL;
    if (n > m->size - m->at) {
        sdi_machine_fail(m, SD_ERROR_FORMAT, "it ends within a value (a file that was cut short?)");
        return NULL;
    }
    const uint8_t *bytes = m->bytes + m->at;
    m->at += (size_t)n;
    return bytes;
}

uint64_t sdi_machine_uint(machine *m, size_t n) {
    const uint8_t *bytes = sdi_machine_take(m, n);
    uint64_t number = 0;
    for (size_t i = bytes ? n : 0; i > 0; i--)
        number = number << 8 | bytes[i - 1];
    return number;
}

const char *sdi_machine_line(machine *m, size_t *n) {
    const uint8_t *rest = m->bytes + m->at;
    const uint8_t *end = m->status || m->at == m->size ? NULL : memchr(rest, '\n', m->size - m->at);
    *n = end ? (size_t)(end - rest) : 0;
    if (!end)
        sdi_machine_fail(m, SD_ERROR_FORMAT, "it ends within a name (a file that was cut short?)");
    else
        m->at += *n + 1;
    return (const char *)rest;
}

/* ------------------------------------------------------------------------- memory */

void *sdi_machine_alloc(machine *m, size_t n) {
    void *memory = NULL;
    if (m->status)
        return NULL;
    sd_status status = sdi_pickle_alloc(m->pickle, n, &memory);
    if (status == SD_ERROR_FORMAT)
        sdi_machine_fail(m, status, "its values take more than %zu MiB",
                         SD_PICKLE_MAX_MEMORY >> 20);
    m->status = status;
    return memory;
}

value *sdi_machine_value(machine *m, sd_pickle_kind kind) {
    value *v = sdi_machine_alloc(m, sizeof *v);
    if (v)
        *v = (value){.kind = kind};
    return v;
}

value *sdi_machine_opaque(machine *m, const char *name) {
    value *v = sdi_machine_value(m, SD_PICKLE_OPAQUE);
    if (v)
        v->object.name = name;
    return v;
}

/* `room` items at `items`, grown at least twofold (never in place: `items` may be shared). */
bool sdi_machine_add(machine *m, value *list, value *item) {
    if (list->list.n == list->list.room) {
        size_t room = list->list.room ? 2 * list->list.room : 4;
        value **items = sdi_machine_alloc(m, room * sizeof *items);
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

void sdi_machine_push(machine *m, value *v) {
    if (m->status)
        return;
    if (m->n_stack == m->stack_room) {
        size_t room = m->stack_room ? 2 * m->stack_room : 256;
        value **grown = NULL;
        if (m->n_stack >= MAX_STACK)
            sdi_machine_fail(m, SD_ERROR_FORMAT, "more than %d values wait on its stack",
                             MAX_STACK);
        else if (!(grown = sdi_realloc(m->ctx, m->stack, room * sizeof *grown)))
            m->status = SD_ERROR_MEMORY;
        if (!grown)
            return;
        m->stack = grown;
        m->stack_room = room;
    }
    m->stack[m->n_stack++] = v;
}

size_t sdi_machine_available(const machine *m) {
    return m->n_stack - (m->n_marks ? m->marks[m->n_marks - 1] : 0);
}

bool sdi_machine_need(machine *m, size_t n) {
    if (!m->status && sdi_machine_available(m) < n)
        sdi_machine_fail(m, SD_ERROR_FORMAT, "its stack has %zu values, %zu are needed",
                         sdi_machine_available(m), n);
    return !m->status;
}

/* Two values can be popped after sdi_machine_need(m, 2), and so on. */
value *sdi_machine_pop(machine *m) {
    return m->stack[--m->n_stack];
}

value *sdi_machine_top(const machine *m) {
    return m->stack[m->n_stack - 1];
}

value **sdi_machine_pop_mark(machine *m, size_t *n) {
    *n = 0;
    if (m->status)
        return NULL;
    if (m->n_marks == 0) {
        sdi_machine_fail(m, SD_ERROR_FORMAT, "a mark is needed and there is none");
        return NULL;
    }
    size_t height = m->marks[--m->n_marks];
    *n = m->n_stack - height;
    m->n_stack = height;
    return *n ? m->stack + height : NULL; /* there may be no stack yet */
}
