/* Of the pickle's machine: the memory of its values (pickle_values.c) and the names that it knows
 * (pickle_names.c). */
#ifndef SD_IO_PICKLE_INTERNAL_H
#define SD_IO_PICKLE_INTERNAL_H

#include "io/pickle.h"

#define SD_PICKLE_MAX_MEMORY ((size_t)256 << 20) /* of all values of a pickle */

typedef struct sd_pickle_chunk sd_pickle_chunk;

struct sd_pickle {
    const sd_context *ctx;
    sd_pickle_chunk *chunks; /* the first is the one that is being filled */
    size_t total;
    sd_pickle_value *root;
};

/* n bytes at a multiple of 16 that live as long as the pickle; not initialised. SD_ERROR_FORMAT,
 * without a sentence: more than SD_PICKLE_MAX_MEMORY in all. */
sd_status sd_pickle_alloc(sd_pickle *pickle, size_t n, void **memory);

typedef enum sd_pickle_meaning {
    SD_PICKLE_REBUILD_TENSOR,
    SD_PICKLE_REBUILD_PARAMETER,
    SD_PICKLE_ORDERED_DICT,
    SD_PICKLE_STORAGE_TYPE
} sd_pickle_meaning;

typedef struct sd_pickle_name {
    const char *module, *name;
    sd_pickle_meaning meaning;
    sd_dtype type; /* of a storage */
} sd_pickle_name;

/* NULL: not a name that means something. Neither text ends with a 0. */
const sd_pickle_name *sd_pickle_find_name(const char *module, size_t n_module, const char *name,
                                          size_t n_name);
/* Whether the name may stand in the file as an opaque value. */
bool sd_pickle_is_harmless(const char *module, size_t n_module, const char *name, size_t n_name);

#endif
