/*
 * Tensors of torch.save's files, and .ckpt, .pt, .pth and .bin of torch 1.6 and later: a zip
 * archive whose data.pkl describes tensors as windows on storages, which are files of the archive.
 * torch/serialization.py. Storages that are stored as they are, as torch does it, stay in the file
 * until they are read; what is compressed or not contiguous gets memory of its own.
 */
#include "io/torch_archive.h"
#include "io/torch_members.h"
#include "io/torch_reader.h"
#include "io/weights.h"

#include <stdio.h>
#include <string.h>

#define MAX_TENSORS (1 << 18)
#define MAX_KEY 64

typedef sd_torch_reader torch_reader;

static sd_status fail_tensor(const torch_reader *r, const char *what) {
    return sdi_fail(r->w->ctx, SD_ERROR_FORMAT, "%s: tensor '%.200s': %s", r->path, r->name, what);
}

/* ------------------------------------------------------------------------- data of a tensor */

/* The bytes of a storage: they must be as many as the pickle says. */
static sd_status find_storage(const torch_reader *r, const sd_pickle_storage *storage,
                              sd_window *window) {
    const sd_pickle_value *key = storage->key;
    if (key->text.size == 0 || key->text.size > MAX_KEY ||
        memchr(key->text.bytes, 0, key->text.size))
        return fail_tensor(r, "the key of its storage is no name of a file");
    sd_status status = r->find(r->container, storage, window);
    if (status)
        return status;
    if (!window->found)
        return sdi_fail(r->w->ctx, SD_ERROR_FORMAT,
                        "%s: tensor '%.200s': its storage '%.*s' is not in the file", r->path,
                        r->name, (int)key->text.size, key->text.bytes);
    uint64_t numel = (uint64_t)storage->numel;
    size_t element = sdi_dtype_size(storage->type);
    if (numel > SIZE_MAX / element || numel * element != window->size)
        return sdi_fail(r->w->ctx, SD_ERROR_FORMAT,
                        "%s: tensor '%.200s': its storage '%.*s' should have %llu elements of type "
                        "%s, but has %zu bytes",
                        r->path, r->name, (int)key->text.size, key->text.bytes,
                        (unsigned long long)numel, sdi_dtype_name(storage->type), window->size);
    return SD_OK;
}

/* Elements and bytes in all; and the last element must lie within the storage. */
static sd_status measure(const torch_reader *r, const sd_pickle_tensor *t, sd_entry *entry) {
    const sd_pickle_storage *s = t->storage;
    uint64_t size = sdi_dtype_size(t->type), last = (uint64_t)t->offset;
    uint64_t numel = (uint64_t)(s->offset + s->count) * sdi_dtype_size(s->type) / size;
    bool empty = false;
    for (int i = 0; i < t->n_dims; i++) {
        uint64_t dim = (uint64_t)t->dims[i];
        entry->dims[i] = t->dims[i];
        empty = empty || dim == 0;
        if (dim && size > (uint64_t)INT64_MAX / dim)
            return fail_tensor(r, "the shape overflows 64 bits");
        size *= dim;
    }
    entry->n_dims = t->n_dims;
    if (size > SIZE_MAX)
        return fail_tensor(r, "it does not fit this machine's memory");
    entry->size = (size_t)size;
    for (int i = 0; i < t->n_dims && !empty; i++) {
        uint64_t steps = (uint64_t)t->dims[i] - 1, stride = (uint64_t)t->strides[i];
        if (steps && stride > (numel - (last < numel ? last : numel)) / steps)
            return fail_tensor(r, "its shape and strides reach beyond its storage");
        last += steps * stride;
    }
    if (!empty && last >= numel)
        return fail_tensor(r, "its shape and strides reach beyond its storage");
    return SD_OK;
}

static bool is_contiguous(const sd_pickle_tensor *t) {
    uint64_t stride = 1; /* measure() has seen that the product fits */
    for (int i = t->n_dims - 1; i >= 0; i--) {
        if (t->dims[i] != 1 && (uint64_t)t->strides[i] != stride)
            return false;
        stride *= (uint64_t)t->dims[i];
    }
    return true;
}

/* Row-major copy of n elements at the tensor's strides; base: its element 0. */
static void gather(uint8_t *to, const uint8_t *base, const sd_pickle_tensor *t, size_t n) {
    size_t element = sdi_dtype_size(t->type);
    int64_t index[SD_ENTRY_MAX_DIMS] = {0};
    uint64_t at = 0;
    for (size_t done = 0; done < n; done++) {
        memcpy(to + done * element, base + at * element, element);
        for (int d = t->n_dims - 1; d >= 0; d--) {
            at += (uint64_t)t->strides[d];
            if (++index[d] < t->dims[d])
                break;
            at -= (uint64_t)t->strides[d] * (uint64_t)t->dims[d];
            index[d] = 0;
        }
    }
}

/* From the tensor's first element to its last: at most its storage, as measure() has seen. */
static size_t span_size(const sd_pickle_tensor *t) {
    uint64_t last = 0;
    for (int i = 0; i < t->n_dims; i++)
        last += ((uint64_t)t->dims[i] - 1) * (uint64_t)t->strides[i];
    return (size_t)(last + 1) * sdi_dtype_size(t->type);
}

/* A copy of what is not contiguous. */
static sd_status gather_tensor(torch_reader *r, const sd_pickle_tensor *t, sd_entry *entry) {
    const sd_context *ctx = r->w->ctx;
    const uint8_t *base = entry->data;
    uint8_t *own, *span = NULL;
    size_t n = entry->size / sdi_dtype_size(entry->type);
    sd_status status = sdi_budget_block(r->w, &r->budget, entry->size, r->name, &own);
    size_t size = base ? 0 : span_size(t);
    if (!status)
        status = sdi_budget_charge(r->w, &r->budget, size, r->name);
    if (!status && !base) {
        base = span = sdi_alloc(ctx, size);
        status = span ? sdi_input_read(ctx, &r->w->shards[r->file].input, r->path, entry->offset,
                                       span, size)
                      : SD_ERROR_MEMORY;
    }
    if (!status)
        gather(own, base, t, n);
    sdi_free(ctx, span);
    entry->data = own;
    return status;
}

static sd_status read_tensor(torch_reader *r, const sd_pickle_tensor *t, sd_entry *entry) {
    sd_window window;
    *entry = (sd_entry){.type = t->type, .file = r->file};
    sd_status status = find_storage(r, t->storage, &window);
    if (!status)
        status = measure(r, t, entry);
    if (status)
        return status;
    size_t first = entry->size ? (size_t)t->offset * sdi_dtype_size(entry->type) : 0;
    entry->offset = window.offset + first;
    entry->data = window.data ? window.data + first : NULL;
    return entry->size == 0 || is_contiguous(t) ? SD_OK : gather_tensor(r, t, entry);
}

/* ------------------------------------------------------------------------- members */

/* A value that is no tensor of ours is passed over; a network that wants it will miss it. */
static sd_status pass_over(torch_reader *r, const char *name, const sd_pickle_value *value) {
    if (r->n_opaque++ > 0)
        return SD_OK;
    char *copy = sdi_weights_block(r->w, strlen(name) + 1);
    if (!copy)
        return SD_ERROR_MEMORY;
    strcpy(copy, name);
    r->opaque = copy;
    r->opaque_maker = value->object.name;
    return SD_OK;
}

static sd_status add_member(void *user, const char *name, const sd_pickle_value *value) {
    torch_reader *r = user;
    sd_weights *w = r->w;
    sd_entry entry;
    if (value->kind == SD_PICKLE_OPAQUE)
        return pass_over(r, name, value);
    if (r->n_tensors++ == MAX_TENSORS)
        return sdi_fail(w->ctx, SD_ERROR_FORMAT, "%s: more than %d tensors", r->path, MAX_TENSORS);
    r->name = name;
    sd_status status = read_tensor(r, value->tensor, &entry);
    if (!status && w->n_entries == w->room)
        status = sdi_weights_reserve(w, w->room < 64 ? 64 : w->room);
    if (status)
        return status;
    entry.name = sdi_strdup(w->ctx, name);
    if (!entry.name)
        return SD_ERROR_MEMORY;
    w->entries[w->n_entries++] = entry;
    return SD_OK;
}

/* Texts beside the state dict that are named "sd.*": what safetensors keep in __metadata__. */
static sd_status add_metadata(const torch_reader *r, const sd_pickle_value *root) {
    sd_status status = SD_OK;
    for (size_t i = 0; i < root->list.n && !status; i += 2) {
        const sd_pickle_value *member = root->list.items[i + 1];
        const sd_pickle_value *key = root->list.items[i];
        if (key->kind != SD_PICKLE_TEXT || member->kind != SD_PICKLE_TEXT || key->text.size < 3 ||
            memcmp(key->text.bytes, "sd.", 3) != 0)
            continue;
        char *name, *text = NULL;
        status = sdi_torch_text(r->w->ctx, r->path, key, &name);
        if (!status)
            status = sdi_torch_text(r->w->ctx, r->path, member, &text);
        if (!status)
            status = sdi_weights_add_metadata(r->w, name, text);
        sdi_free(r->w->ctx, name);
        sdi_free(r->w->ctx, text);
    }
    return status;
}

static sd_status fail_empty(const torch_reader *r) {
    if (r->n_opaque)
        return sdi_fail(r->w->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: '%.200s' is made by '%s'; a tensor was expected", r->path, r->opaque,
                        r->opaque_maker);
    return sdi_fail(r->w->ctx, SD_ERROR_UNSUPPORTED,
                    "%s: the file has neither a \"state_dict\" nor tensors at its top", r->path);
}

sd_status sdi_torch_add_root(torch_reader *r, const sd_pickle_value *root) {
    if (root->kind == SD_PICKLE_TENSOR)
        return sdi_fail(r->w->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: the file holds one tensor without a name, as those of aesthetic "
                        "gradients do, which libsd does not know; a dictionary of tensors was "
                        "expected",
                        r->path);
    if (root->kind != SD_PICKLE_DICT && root->kind != SD_PICKLE_OPAQUE)
        return sdi_fail(r->w->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: the file holds %s; a dictionary of tensors was expected", r->path,
                        sdi_pickle_kind_name(root->kind));
    const sd_pickle_value *dict = sdi_torch_dict(root);
    sd_status status = dict ? add_metadata(r, dict) : SD_OK;
    if (!status)
        status = sdi_torch_members(r->w->ctx, r->path, root, add_member, r);
    if (!status && r->n_tensors == 0)
        return fail_empty(r);
    if (!status && r->n_opaque)
        sdi_log(r->w->ctx, SD_LOG_LEVEL_WARN,
                "%s: '%.200s' is made by '%s' and is no tensor%s: passed over", r->path, r->opaque,
                r->opaque_maker, r->n_opaque > 1 ? ", nor are others" : "");
    return status;
}

/* ------------------------------------------------------------------------- the file */

sd_torch_reader sdi_torch_reader_of(sd_weights *w, int file) {
    const sd_shard *shard = &w->shards[file];
    return (sd_torch_reader){.w = w,
                             .file = file,
                             .path = shard->path,
                             .budget = {.path = shard->path, .file_size = shard->input.size}};
}

sd_status sdi_torch_fail_big_endian(const torch_reader *r) {
    return sdi_fail(r->w->ctx, SD_ERROR_UNSUPPORTED,
                    "%s: it was written by a big-endian machine; load and save it on a common one",
                    r->path);
}

static sd_status find_in_archive(void *container, const sd_pickle_storage *storage,
                                 sd_window *window) {
    char name[MAX_KEY + 8];
    snprintf(name, sizeof name, "data/%.*s", (int)storage->key->text.size,
             storage->key->text.bytes);
    return sdi_archive_find(container, name, SIZE_MAX, window);
}

static sd_status check_byte_order(const torch_reader *r) {
    const uint8_t *order;
    size_t n;
    sd_status status = sdi_archive_get(r->container, "byteorder", 64, &order, &n);
    if (status || !order || (n == 6 && memcmp(order, "little", 6) == 0))
        return status;
    return sdi_torch_fail_big_endian(r);
}

static sd_status check_not_script(const torch_reader *r) {
    const uint8_t *constants;
    size_t n;
    sd_status status =
        sdi_archive_get(r->container, "constants.pkl", SD_TORCH_MAX_PICKLE, &constants, &n);
    if (status || !constants)
        return status;
    return sdi_fail(r->w->ctx, SD_ERROR_UNSUPPORTED,
                    "%s: this is a TorchScript program; a checkpoint as torch.save writes was "
                    "expected",
                    r->path);
}

sd_status sdi_torch_read(sd_weights *w, int file) {
    torch_reader r = sdi_torch_reader_of(w, file);
    const uint8_t *bytes;
    size_t n;
    sd_pickle *pickle = NULL;
    sd_archive *archive;
    sd_status status = sdi_archive_open(w, file, &r.budget, &archive);
    r.find = find_in_archive;
    r.container = archive;
    if (!status)
        status = check_not_script(&r);
    if (!status)
        status = check_byte_order(&r);
    if (!status)
        status = sdi_archive_get(archive, "data.pkl", SD_TORCH_MAX_PICKLE, &bytes, &n);
    if (!status)
        status = sdi_pickle_read(w->ctx, r.path, bytes, n, &pickle);
    if (!status)
        status = sdi_torch_add_root(&r, sdi_pickle_root(pickle));
    sdi_pickle_free(pickle);
    sdi_archive_close(archive);
    return status;
}
