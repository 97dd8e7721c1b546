/* The parts of the machine that reads a pickle: its state (pickle_machine.c), the memory of its
 * values (pickle_values.c), the names that it knows (pickle_names.c), the opcodes that name and
 * call (pickle_calls.c). */
#ifndef SD_IO_PICKLE_INTERNAL_H
#define SD_IO_PICKLE_INTERNAL_H

#include "io/pickle_value.h"

#define SD_PICKLE_MAX_MEMORY ((size_t)256 << 20) /* of all values of a pickle */

typedef struct sd_pickle_chunk sd_pickle_chunk;

struct sd_pickle {
    const sd_context *ctx;
    sd_pickle_chunk *chunks; /* the first is the one that is being filled */
    size_t total;
    sd_pickle_value *root;
    sd_pickle_value storages; /* a LIST */
};

/* n bytes at a multiple of 16 that live as long as the pickle; not initialised. SD_ERROR_FORMAT,
 * without a sentence: more than SD_PICKLE_MAX_MEMORY in all. */
sd_status sdi_pickle_alloc(sd_pickle *pickle, size_t n, void **memory);

typedef enum sd_pickle_meaning {
    SD_PICKLE_REBUILD_TENSOR,    /* (storage, offset, size, stride, ...) */
    SD_PICKLE_REBUILD_TYPED,     /* (storage, offset, size, stride, grad, hooks, dtype, ...) */
    SD_PICKLE_REBUILD_PARAMETER, /* (tensor, ...) */
    SD_PICKLE_REBUILD_SUBCLASS,  /* (function, class, its arguments, ...) */
    SD_PICKLE_ORDERED_DICT,
    SD_PICKLE_STORAGE_TYPE,
    SD_PICKLE_DTYPE
} sd_pickle_meaning;

typedef struct sd_pickle_name {
    const char *module, *name;
    sd_pickle_meaning meaning;
    sd_dtype type; /* of a storage, or this dtype */
} sd_pickle_name;

/* NULL: not a name that means something. Neither text ends with a 0. */
const sd_pickle_name *sdi_pickle_find_name(const char *module, size_t n_module, const char *name,
                                           size_t n_name);

/* The repute of the other names, which never are more than opaque values. */
typedef enum sd_pickle_repute {
    SD_PICKLE_USUAL,  /* settings and numbers that are found beside weights: not worth a word */
    SD_PICKLE_ODD,    /* the log tells of it */
    SD_PICKLE_HARMFUL /* runs programs or code where Python loads the file: it is refused */
} sd_pickle_repute;

sd_pickle_repute sdi_pickle_repute_of(const char *module, size_t n_module, const char *name,
                                      size_t n_name);

/* ------------------------------------------------------------------------- the machine */

#define SD_PICKLE_MAX_MARKS 1000
#define SD_PICKLE_MAX_ODD 4

typedef struct sd_pickle_machine {
    const sd_context *ctx;
    const char *path;
    const uint8_t *bytes;
    size_t size, at;
    size_t start; /* of the opcode that runs */
    sd_pickle *pickle;
    sd_pickle_value **stack;
    size_t n_stack, stack_room;
    size_t marks[SD_PICKLE_MAX_MARKS]; /* heights of the stack */
    size_t n_marks;
    sd_pickle_value **memo; /* NULL: not set */
    size_t memo_room, n_memoized;
    const char *odd[SD_PICKLE_MAX_ODD]; /* the first odd names */
    int n_odd;
    sd_status status; /* the first failure: nothing is done after it */
    bool stopped;
} sd_pickle_machine;

void sdi_machine_fail(sd_pickle_machine *m, sd_status status, const char *format, ...)
    SD_PRINTF(3, 4);
/* The next n bytes, or NULL. */
const uint8_t *sdi_machine_take(sd_pickle_machine *m, uint64_t n);
/* A little-endian number of n <= 8 bytes; 0 after a failure. */
uint64_t sdi_machine_uint(sd_pickle_machine *m, size_t n);
/* n bytes that live as long as the pickle; not initialised; NULL after a failure. */
void *sdi_machine_alloc(sd_pickle_machine *m, size_t n);
sd_pickle_value *sdi_machine_value(sd_pickle_machine *m, sd_pickle_kind kind);
sd_pickle_value *sdi_machine_opaque(sd_pickle_machine *m, const char *name);
/* Adds to a LIST, TUPLE or DICT. */
bool sdi_machine_add(sd_pickle_machine *m, sd_pickle_value *list, sd_pickle_value *item);
void sdi_machine_push(sd_pickle_machine *m, sd_pickle_value *v);
/* Values above the last mark. */
size_t sdi_machine_available(const sd_pickle_machine *m);
/* Takes the last mark and what lies above it; the values stay readable until the next push. */
sd_pickle_value **sdi_machine_pop_mark(sd_pickle_machine *m, size_t *n);
/* Fails unless n values lie above the last mark; then as many may be popped. */
bool sdi_machine_need(sd_pickle_machine *m, size_t n);
sd_pickle_value *sdi_machine_pop(sd_pickle_machine *m);
sd_pickle_value *sdi_machine_top(const sd_pickle_machine *m);
/* A text that ends with a newline, which is not counted. */
const char *sdi_machine_line(sd_pickle_machine *m, size_t *n);

/* pickle_calls.c */
void sdi_pickle_op_global(sd_pickle_machine *m, uint8_t op);
void sdi_pickle_op_stack_global(sd_pickle_machine *m, uint8_t op);
void sdi_pickle_op_persid(sd_pickle_machine *m, uint8_t op);
void sdi_pickle_op_call(sd_pickle_machine *m, uint8_t op);
void sdi_pickle_op_build(sd_pickle_machine *m, uint8_t op);

#endif
