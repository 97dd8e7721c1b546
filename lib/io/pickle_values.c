/* The memory of a pickle's values, and looking into them. */
#include "io/pickle.h"
#include "io/pickle_internal.h"

#include <string.h>

#define CHUNK_SIZE ((size_t)64 << 10)

struct sd_pickle_chunk {
    sd_pickle_chunk *next;
    size_t used, size;
    _Alignas(16) uint8_t bytes[];
};

sd_status sdi_pickle_alloc(sd_pickle *p, size_t n, void **memory) {
    *memory = NULL;
    if (n > SD_PICKLE_MAX_MEMORY || p->total > SD_PICKLE_MAX_MEMORY - n)
        return SD_ERROR_FORMAT;
    n = (n + 15) / 16 * 16;
    p->total += n;
    if (!p->chunks || n > p->chunks->size - p->chunks->used) {
        size_t size = n > CHUNK_SIZE ? n : CHUNK_SIZE;
        sd_pickle_chunk *c = sdi_alloc(p->ctx, sizeof *c + size);
        if (!c)
            return SD_ERROR_MEMORY;
        *c = (sd_pickle_chunk){p->chunks, 0, size};
        p->chunks = c;
    }
    *memory = p->chunks->bytes + p->chunks->used;
    p->chunks->used += n;
    return SD_OK;
}

void sdi_pickle_free(sd_pickle *pickle) {
    if (!pickle)
        return;
    const sd_context *ctx = pickle->ctx;
    while (pickle->chunks) {
        sd_pickle_chunk *next = pickle->chunks->next;
        sdi_free(ctx, pickle->chunks);
        pickle->chunks = next;
    }
    sdi_free(ctx, pickle);
}

const sd_pickle_value *sdi_pickle_root(const sd_pickle *pickle) {
    return pickle->root;
}

const sd_pickle_value *sdi_pickle_storages(const sd_pickle *pickle) {
    return &pickle->storages;
}

const sd_pickle_value *sdi_pickle_get(const sd_pickle_value *dict, const char *key) {
    size_t n = strlen(key);
    for (size_t i = dict->list.n; i >= 2; i -= 2) {
        const sd_pickle_value *k = dict->list.items[i - 2];
        if (k->kind == SD_PICKLE_TEXT && k->text.size == n && memcmp(k->text.bytes, key, n) == 0)
            return dict->list.items[i - 1];
    }
    return NULL;
}

const char *sdi_pickle_kind_name(sd_pickle_kind kind) {
    static const char *const names[SD_PICKLE_N_KINDS] = {
        "None",   "a boolean",    "an integer", "a real number", "a string", "bytes",     "a tuple",
        "a list", "a dictionary", "a function", "a storage",     "a tensor", "an object",
    };
    return (unsigned)kind < SD_PICKLE_N_KINDS ? names[kind] : "?";
}
