/*
 * Files as torch.save wrote them before 1.6, and still does when it is asked to: five pickles one
 * after the other (a magic number, the protocol, the machine, the object, the keys of the
 * storages), then each storage as the number of its elements, in 8 bytes, and these.
 * torch/serialization.py, _legacy_load.
 */
#include "io/torch_reader.h"
#include "io/weights.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_READ ((size_t)64 << 10)
#define PROTOCOL 1001
#define MAGIC "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." /* 0x1950a86a20f9469cfc6c */

typedef struct place {
    const sd_pickle_value *key;
    sd_dtype type;
    bool found;
    uint64_t offset;
    size_t size;
} place;

typedef struct legacy {
    sd_weights *w;
    const sd_input *input;
    const char *path;
    sd_budget *budget;
    uint64_t at;   /* in the file */
    place *places; /* by key */
    size_t n_places;
} legacy;

bool sdi_torch_is_legacy(const uint8_t *bytes, size_t n) {
    size_t size = sizeof MAGIC - 1;
    for (size_t i = 2; i + size <= n && bytes[0] == 0x80; i++)
        if (memcmp(bytes + i, MAGIC, size) == 0)
            return true;
    return false;
}

/* ------------------------------------------------------------------------- pickles */

/* The bytes from the place in the file on, enough for its pickle; *length 0: there are no more. */
static sd_status read_enough(legacy *l, uint8_t **bytes, size_t *size, size_t *length) {
    const sd_context *ctx = l->w->ctx;
    uint64_t rest = l->input->size - l->at;
    *bytes = NULL;
    *length = *size = 0;
    for (size_t room = FIRST_READ;; room *= 2) {
        size_t n = rest < room ? (size_t)rest : room;
        uint8_t *grown = sdi_realloc(ctx, *bytes, n ? n : 1);
        if (!grown)
            return SD_ERROR_MEMORY;
        *bytes = grown;
        sd_status status = n > *size ? sdi_input_read(ctx, l->input, l->path, l->at + *size,
                                                      grown + *size, n - *size)
                                     : SD_OK;
        if (status)
            return status;
        *size = n;
        *length = sdi_pickle_length(grown, n);
        if (*length || n == rest)
            return SD_OK;
        if (room >= SD_TORCH_MAX_PICKLE)
            return sdi_fail(ctx, SD_ERROR_FORMAT,
                            "%s: a pickle in it has more than %zu bytes, which is no checkpoint's",
                            l->path, SD_TORCH_MAX_PICKLE);
    }
}

/* The next pickle; its bytes are memory of `w`, since its values point there. */
static sd_status read_pickle(legacy *l, sd_pickle **out) {
    uint8_t *bytes, *block = NULL;
    size_t size, length;
    *out = NULL;
    sd_status status = read_enough(l, &bytes, &size, &length);
    if (!length)
        length = size; /* the machine says where it ends */
    if (!status)
        status = sdi_budget_block(l->w, l->budget, length, "its pickle", &block);
    if (!status && length)
        memcpy(block, bytes, length);
    sdi_free(l->w->ctx, bytes);
    if (!status)
        status = sdi_pickle_read(l->w->ctx, l->path, block, length, out);
    l->at += length;
    return status;
}

static sd_status fail_legacy(const legacy *l, const char *what) {
    return sdi_fail(l->w->ctx, SD_ERROR_FORMAT, "%s: %s (a file of torch before 1.6)", l->path,
                    what);
}

static sd_status check_protocol(legacy *l) {
    sd_pickle *pickle;
    sd_status status = read_pickle(l, &pickle);
    if (status)
        return status;
    const sd_pickle_value *root = sdi_pickle_root(pickle);
    if (root->kind != SD_PICKLE_INT || root->integer != PROTOCOL)
        status = fail_legacy(l, "its protocol is not 1001");
    sdi_pickle_free(pickle);
    return status;
}

static sd_status check_machine(legacy *l, const sd_torch_reader *r) {
    sd_pickle *pickle;
    sd_status status = read_pickle(l, &pickle);
    if (status)
        return status;
    const sd_pickle_value *root = sdi_pickle_root(pickle), *little = NULL;
    if (root->kind == SD_PICKLE_DICT)
        little = sdi_pickle_get(root, "little_endian");
    if (!little || little->kind != SD_PICKLE_BOOL)
        status = fail_legacy(l, "it does not say \"little_endian\"");
    else if (!little->integer)
        status = sdi_torch_fail_big_endian(r);
    sdi_pickle_free(pickle);
    return status;
}

/* ------------------------------------------------------------------------- storages */

static int compare_keys(const sd_pickle_value *a, const sd_pickle_value *b) {
    size_t n = a->text.size < b->text.size ? a->text.size : b->text.size;
    int order = n ? memcmp(a->text.bytes, b->text.bytes, n) : 0;
    return order ? order : (a->text.size > b->text.size) - (a->text.size < b->text.size);
}

static int compare_places(const void *a, const void *b) {
    return compare_keys(((const place *)a)->key, ((const place *)b)->key);
}

/* The storages of the object, one place for each key, which the list of keys fills. */
static sd_status collect_places(legacy *l, const sd_pickle_value *storages) {
    size_t n = storages->list.n;
    l->places = sdi_alloc_array(l->w->ctx, n ? n : 1, sizeof *l->places);
    if (!l->places)
        return SD_ERROR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const sd_pickle_storage *s = storages->list.items[i]->storage;
        l->places[i] = (place){.key = s->key, .type = s->type};
    }
    qsort(l->places, n, sizeof *l->places, compare_places);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || compare_keys(l->places[i].key, l->places[i - 1].key) != 0)
            l->places[l->n_places++] = l->places[i];
    return SD_OK;
}

static place *find_place(const legacy *l, const sd_pickle_value *key) {
    const place wanted = {.key = key};
    return bsearch(&wanted, l->places, l->n_places, sizeof wanted, compare_places);
}

/* One storage: its place, and that of the next. */
static sd_status read_place(legacy *l, const sd_pickle_value *key) {
    uint8_t count[8];
    uint64_t numel = 0;
    place *p = key->kind == SD_PICKLE_TEXT ? find_place(l, key) : NULL;
    if (!p || p->found)
        return fail_legacy(l, "its list names a storage that no tensor has, or one twice");
    if (l->input->size - l->at < sizeof count)
        return fail_legacy(l, "it ends before its storages (a download that was cut short?)");
    sd_status status = sdi_input_read(l->w->ctx, l->input, l->path, l->at, count, sizeof count);
    if (status)
        return status;
    for (size_t i = sizeof count; i > 0; i--)
        numel = numel << 8 | count[i - 1];
    l->at += sizeof count;
    uint64_t element = sdi_dtype_size(p->type), rest = l->input->size - l->at;
    if (numel > rest / element || numel > SIZE_MAX / element)
        return fail_legacy(l, "it ends within a storage (a download that was cut short?)");
    p->found = true;
    p->offset = l->at;
    p->size = (size_t)(numel * element);
    l->at += numel * element;
    return SD_OK;
}

static sd_status read_places(legacy *l, const sd_pickle_value *storages) {
    sd_pickle *pickle = NULL;
    sd_status status = collect_places(l, storages);
    if (!status)
        status = read_pickle(l, &pickle);
    if (status)
        return status;
    const sd_pickle_value *keys = sdi_pickle_root(pickle);
    if (keys->kind != SD_PICKLE_LIST)
        status = fail_legacy(l, "it has no list of its storages");
    for (size_t i = 0; !status && i < keys->list.n; i++)
        status = read_place(l, keys->list.items[i]);
    sdi_pickle_free(pickle);
    return status;
}

static sd_status find_storage(void *container, const sd_pickle_storage *storage,
                              sd_window *window) {
    const place *p = find_place(container, storage->key);
    *window = (sd_window){.found = p && p->found};
    if (window->found) {
        window->offset = p->offset;
        window->size = p->size;
    }
    return SD_OK;
}

/* ------------------------------------------------------------------------- the file */

sd_status sdi_torch_read_legacy(sd_weights *w, int file) {
    sd_torch_reader r = sdi_torch_reader_of(w, file);
    legacy l = {.w = w, .input = &w->shards[file].input, .path = r.path, .budget = &r.budget};
    sd_pickle *magic, *object = NULL;
    sd_status status = read_pickle(&l, &magic);
    sdi_pickle_free(magic);
    if (!status)
        status = check_protocol(&l);
    if (!status)
        status = check_machine(&l, &r);
    if (!status)
        status = read_pickle(&l, &object);
    if (!status)
        status = read_places(&l, sdi_pickle_storages(object));
    r.find = find_storage;
    r.container = &l;
    if (!status)
        status = sdi_torch_add_root(&r, sdi_pickle_root(object));
    sdi_pickle_free(object);
    sdi_free(w->ctx, l.places);
    return status;
}
