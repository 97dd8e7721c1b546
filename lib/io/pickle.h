/*
 * Python pickles as torch.save writes them, read by a machine that builds tensors' descriptions,
 * containers, strings and numbers, and calls nothing. A name outside a short list gives an opaque
 * value, whatever is called with it or set in it; names that do harm where Python loads the file
 * are refused. https://github.com/python/cpython/blob/main/Lib/pickletools.py
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
    SD_PICKLE_OPAQUE, /* what any other name made, never run */
    SD_PICKLE_N_KINDS
} sd_pickle_kind;

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

typedef struct sd_pickle sd_pickle;

/* Reads one pickle. The values point into `bytes` and live until sdi_pickle_free. Sentences name
 * `path` and the offset of the opcode. */
sd_status sdi_pickle_read(const sd_context *ctx, const char *path, const uint8_t *bytes,
                          size_t size, sd_pickle **out);
/* The bytes of the pickle that begins there, to its STOP or its first unknown opcode; 0: it goes on
 * behind `size`. */
size_t sdi_pickle_length(const uint8_t *bytes, size_t size);
void sdi_pickle_free(sd_pickle *pickle);
const sd_pickle_value *sdi_pickle_root(const sd_pickle *pickle);
/* The value of a text key in a DICT (the last one given), or NULL. */
const sd_pickle_value *sdi_pickle_get(const sd_pickle_value *dict, const char *key);
const char *sdi_pickle_kind_name(sd_pickle_kind kind); /* "a list" */
/* All storages that its persistent ids name, a LIST of STORAGE; some more than once. */
const sd_pickle_value *sdi_pickle_storages(const sd_pickle *pickle);

#endif
