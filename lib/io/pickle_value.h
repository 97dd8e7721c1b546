/* The values that a pickle builds: a tree, which refers to the pickle's own bytes. */
#ifndef SD_IO_PICKLE_VALUE_H
#define SD_IO_PICKLE_VALUE_H

#include "io/entry.h"

typedef enum sd_pickle_kind {
    SD_PICKLE_NONE,
    SD_PICKLE_BOOL,
    SD_PICKLE_INT,
    SD_PICKLE_REAL,
    SD_PICKLE_TEXT,
    SD_PICKLE_BYTES,
    SD_PICKLE_TUPLE,
    SD_PICKLE_LIST,
    SD_PICKLE_DICT,
    SD_PICKLE_FUNCTION, /* one of the few names that mean something */
    SD_PICKLE_STORAGE,
    SD_PICKLE_TENSOR,
    SD_PICKLE_OPAQUE, /* what any other name made, never run */
    SD_PICKLE_N_KINDS
} sd_pickle_kind;

typedef struct sd_pickle sd_pickle; /* the memory of a tree */
typedef struct sd_pickle_value sd_pickle_value;

/* ("storage", type, key, device, numel), and behind them (key, offset, numel) of a part of it, as
 * torch wrote before 1.6. Counts are of elements, from 0 upward. */
typedef struct sd_pickle_storage {
    const sd_pickle_value *key; /* TEXT: the name of its file in the archive */
    sd_dtype type;
    int64_t numel;         /* of all */
    int64_t offset, count; /* of the part, which lies within */
} sd_pickle_storage;

/* torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...); counts are of elements of
 * `type`, which _rebuild_tensor_v3 names apart from its storage's. */
typedef struct sd_pickle_tensor {
    const sd_pickle_storage *storage;
    sd_dtype type;
    int n_dims;
    int64_t offset;                                              /* in the whole storage */
    int64_t dims[SD_ENTRY_MAX_DIMS], strides[SD_ENTRY_MAX_DIMS]; /* from 0 upward */
} sd_pickle_tensor;

struct sd_pickle_value {
    sd_pickle_kind kind;
    union {
        int64_t integer; /* BOOL, INT */
        double real;
        struct {
            const char *bytes; /* no 0 at the end, any byte within; in the pickle's own bytes */
            size_t size;
        } text;
        struct {
            sd_pickle_value **items; /* of a DICT: key, value, key, value, ... */
            size_t n, room;
        } list;
        struct {
            const char *name;       /* "omegaconf.base.Node" */
            sd_pickle_value *state; /* DICT: its attributes (BUILD); NULL: none */
            sd_pickle_value *items; /* DICT: what was set in it, as in a dict; NULL: nothing */
        } object;
        const sd_pickle_storage *storage;
        const sd_pickle_tensor *tensor;
        const void *function;
    };
};

#endif
