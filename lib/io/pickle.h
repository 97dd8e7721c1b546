/*
 * Python pickles as torch.save writes them, read by a machine that builds tensors' descriptions,
 * containers, strings and numbers, and calls nothing. A name outside a short list is refused; a few
 * libraries that put their settings beside the weights give opaque values, which can be stored and
 * ignored but never used. https://github.com/python/cpython/blob/main/Lib/pickletools.py
 */
#ifndef SD_IO_PICKLE_H
#define SD_IO_PICKLE_H

#include "io/weights.h"

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
    SD_PICKLE_OPAQUE, /* what a harmless library left; `text` names it */
    SD_PICKLE_N_KINDS
} sd_pickle_kind;

typedef struct sd_pickle_value sd_pickle_value;

/* torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...); counts are of elements. */
typedef struct sd_pickle_tensor {
    const sd_pickle_value *storage;
    int n_dims;
    int64_t offset;
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
            const sd_pickle_value *key; /* TEXT: the name of its file in the archive */
            sd_dtype type;
            int64_t numel; /* from 0 upward */
        } storage;
        const sd_pickle_tensor *tensor;
        const void *function;
    };
};

typedef struct sd_pickle sd_pickle;

/* Reads one pickle. The values point into `bytes` and live until sd_pickle_free. Sentences name
 * `path` and the offset of the opcode. */
sd_status sd_pickle_read(const sd_context *ctx, const char *path, const uint8_t *bytes, size_t size,
                         sd_pickle **out);
void sd_pickle_free(sd_pickle *pickle);
const sd_pickle_value *sd_pickle_root(const sd_pickle *pickle);
/* The value of a text key in a DICT (the last one given), or NULL. */
const sd_pickle_value *sd_pickle_get(const sd_pickle_value *dict, const char *key);
const char *sd_pickle_kind_name(sd_pickle_kind kind); /* "a list" */

#endif
