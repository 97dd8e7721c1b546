/* An entry of a checkpoint's table of tensors. */
#ifndef SD_IO_ENTRY_H
#define SD_IO_ENTRY_H

#include "core/context.h"
#include "io/dtype.h"

#define SD_ENTRY_MAX_DIMS 8

typedef struct sd_entry {
    const char *name;
    sd_dtype type;
    const char *other_type; /* the name of an SD_DTYPE_OTHER, else NULL */
    int n_dims;
    int64_t dims[SD_ENTRY_MAX_DIMS];
    int file;         /* which of the shards */
    uint64_t offset;  /* of its bytes in the file: little-endian, row-major */
    const void *data; /* not NULL: they are here instead, unpacked or gathered */
    size_t size;
    bool taken; /* by sdi_weights_take */
} sd_entry;

/* All its numbers. The readers see to it that their bytes fit a size_t. */
static inline size_t sdi_entry_elements(const sd_entry *e) {
    size_t n = 1;
    for (int i = 0; i < e->n_dims; i++)
        n *= (size_t)e->dims[i];
    return n;
}

typedef struct sd_weights sd_weights;

/* The name that is looked up in place of `name`, in `text`; NULL: `name` itself. */
#define SD_ALIAS_SIZE 1024
typedef const char *(*sd_alias_fn)(const void *user, const char *name, char *text, size_t size);

#endif
