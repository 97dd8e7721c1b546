/*
 * safetensors: 8 bytes of header length (little-endian), a JSON object
 * {"name": {"dtype": "F16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}, then the data.
 * https://github.com/huggingface/safetensors. As the original reader does, we refuse headers over
 * 100 MB and data with holes, overlaps or a rest; types that it does not know are listed all the
 * same. Nothing in a file is trusted.
 */
#include "io/header_text.h"
#include "io/json.h"
#include "io/sniff.h"
#include "io/weights.h"
#include "io/weights_internal.h"

#include <stdlib.h>
#include <string.h>

#define MAX_HEADER 100000000u
#define MAX_TYPE_NAME 40

/* ------------------------------------------------------------------------- one tensor */

/* A tensor as sentences name it. */
typedef struct tensor_reader {
    const sd_context *ctx;
    const char *path;
    const char *name;
    const json_t *object;
} tensor_reader;

static sd_status fail_tensor(const tensor_reader *r, sd_status status, const char *what) {
    return sdi_fail(r->ctx, status, "%s: tensor '%.200s': %s", r->path, r->name, what);
}

/* A type that libsd does not know matters only where a network wants the tensor. */
static sd_status read_dtype(const tensor_reader *r, sd_weights *w, sd_entry *entry) {
    const char *text = json_string_value(json_object_get(r->object, "dtype"));
    if (!text || !*text || strlen(text) > MAX_TYPE_NAME)
        return fail_tensor(r, SD_ERROR_FORMAT, "\"dtype\" must be the name of a type");
    entry->type = sdi_dtype_find(text);
    if (entry->type != SD_DTYPE_OTHER)
        return SD_OK;
    char *copy = sdi_weights_block(w, strlen(text) + 1);
    if (!copy)
        return SD_ERROR_MEMORY;
    entry->other_type = strcpy(copy, text);
    return SD_OK;
}

/* The bytes of so many elements, which may be smaller than one. */
static sd_status set_size(const tensor_reader *r, sd_entry *entry, uint64_t elements) {
    uint64_t bits = sdi_dtype_bits(entry->type), rest = elements % 8 * bits;
    if (rest % 8)
        return sdi_fail(
            r->ctx, SD_ERROR_FORMAT,
            "%s: tensor '%.200s': %llu elements of type %s are no whole number of bytes", r->path,
            r->name, (unsigned long long)elements, sdi_entry_type_name(entry));
    uint64_t size = elements / 8 * bits + rest / 8; /* no overflow: see read_shape */
    if (size > SIZE_MAX)
        return fail_tensor(r, SD_ERROR_UNSUPPORTED, "it does not fit this machine's memory");
    entry->size = (size_t)size;
    return SD_OK;
}

/* Fills dims and size (the bytes that the shape asks for). */
static sd_status read_shape(const tensor_reader *r, sd_entry *entry) {
    const json_t *shape = json_object_get(r->object, "shape");
    if (!json_is_array(shape))
        return fail_tensor(r, SD_ERROR_FORMAT, "\"shape\" must be a list");
    if (json_array_size(shape) > SD_ENTRY_MAX_DIMS)
        return sdi_fail(r->ctx, SD_ERROR_FORMAT,
                        "%s: tensor '%.200s' has %zu dimensions; at most %d were expected", r->path,
                        r->name, json_array_size(shape), SD_ENTRY_MAX_DIMS);
    entry->n_dims = (int)json_array_size(shape);
    uint64_t elements = 1, most = sdi_dtype_size(entry->type), all = 1;
    most = (uint64_t)INT64_MAX / (most ? most : 1);
    for (int i = 0; i < entry->n_dims; i++) {
        const json_t *dim = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return fail_tensor(r, SD_ERROR_FORMAT, "\"shape\" must hold integers from 0 upward");
        entry->dims[i] = (int64_t)json_integer_value(dim);
        uint64_t n = (uint64_t)entry->dims[i];
        if (n && all > most / n)
            return fail_tensor(r, SD_ERROR_FORMAT, "the shape overflows 64 bits");
        all *= n ? n : 1; /* so that a zero hides no overflow */
        elements *= n;
    }
    return set_size(r, entry, elements);
}

/* Where the data of the tensors lie in the file. */
typedef struct data_range {
    uint64_t begin, size;
} data_range;

/* entry->offset is set from the first of the two offsets. */
static sd_status read_offsets(const tensor_reader *r, data_range data, sd_entry *entry) {
    const json_t *offsets = json_object_get(r->object, "data_offsets");
    const json_t *first = json_array_get(offsets, 0), *second = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second))
        return fail_tensor(r, SD_ERROR_FORMAT, "\"data_offsets\" must be two integers");
    long long begin = json_integer_value(first), end = json_integer_value(second);
    if (begin < 0 || end < begin)
        return sdi_fail(r->ctx, SD_ERROR_FORMAT,
                        "%s: tensor '%.200s': data_offsets [%lld, %lld] are no range", r->path,
                        r->name, begin, end);
    if ((unsigned long long)end > data.size)
        return sdi_fail(r->ctx, SD_ERROR_FORMAT,
                        "%s: tensor '%.200s' ends at byte %lld of the data, but the file has only "
                        "%llu (a download that was cut short?)",
                        r->path, r->name, end, (unsigned long long)data.size);
    if (entry->type == SD_DTYPE_OTHER)
        entry->size = (size_t)(end - begin);
    if ((unsigned long long)(end - begin) != entry->size)
        return sdi_fail(r->ctx, SD_ERROR_FORMAT,
                        "%s: tensor '%.200s': its shape and type %s ask for %zu bytes, "
                        "data_offsets give %lld",
                        r->path, r->name, sdi_entry_type_name(entry), entry->size, end - begin);
    entry->offset = data.begin + (uint64_t)begin;
    return SD_OK;
}

/* ------------------------------------------------------------------------- one file */

static sd_status read_metadata(sd_weights *w, const char *path, const json_t *object) {
    if (json_is_null(object))
        return SD_OK;
    if (!json_is_object(object))
        return sdi_fail(w->ctx, SD_ERROR_FORMAT, "%s: __metadata__ must be an object, it is %s",
                        path, sdi_json_type_name(object));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        if (!json_is_string(value))
            return sdi_fail(w->ctx, SD_ERROR_FORMAT,
                            "%s: __metadata__ '%.200s' must be a string, it is %s", path, key,
                            sdi_json_type_name(value));
        sd_status status = sdi_weights_add_metadata(w, key, json_string_value(value));
        if (status)
            return status;
    }
    return SD_OK;
}

static int compare_position(const void *a, const void *b) {
    const sd_entry *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The tensors of a file must cover its data without overlaps, holes or a rest. */
static sd_status check_positions(const sd_context *ctx, const char *path, const sd_entry *entries,
                                 size_t n, data_range data) {
    uint64_t at = data.begin, end = data.begin + data.size;
    for (size_t i = 0; i < n; i++) {
        uint64_t begin = entries[i].offset;
        if (begin < at)
            return sdi_fail(ctx, SD_ERROR_FORMAT,
                            "%s: tensor '%.200s' overlaps the data of '%.200s'", path,
                            entries[i].name, entries[i - 1].name);
        if (begin > at)
            return sdi_fail(ctx, SD_ERROR_FORMAT,
                            "%s: tensor '%.200s': %llu bytes before its data belong to no tensor",
                            path, entries[i].name, (unsigned long long)(begin - at));
        at = begin + entries[i].size;
    }
    if (at != end)
        return sdi_fail(ctx, SD_ERROR_FORMAT,
                        "%s: %llu bytes at the end of the file belong to no tensor", path,
                        (unsigned long long)(end - at));
    return SD_OK;
}

/* All tensors of a parsed header. */
static sd_status read_entries(sd_weights *w, int file, const json_t *header, data_range data) {
    const char *path = w->shards[file].path;
    sd_status status = sdi_weights_reserve(w, json_object_size(header));
    size_t first = w->n_entries;
    const char *name;
    json_t *object;
    json_object_foreach((json_t *)header, name, object) {
        if (status)
            return status;
        if (strcmp(name, "__metadata__") == 0) {
            status = read_metadata(w, path, object);
            continue;
        }
        const tensor_reader r = {w->ctx, path, name, object};
        sd_entry entry = {.file = file};
        if (!json_is_object(object))
            return fail_tensor(&r, SD_ERROR_FORMAT, "its description must be an object");
        if (!(status = read_dtype(&r, w, &entry)) && !(status = read_shape(&r, &entry)))
            status = read_offsets(&r, data, &entry);
        if (!status && !(entry.name = sdi_strdup(w->ctx, name)))
            status = SD_ERROR_MEMORY;
        if (!status)
            w->entries[w->n_entries++] = entry;
    }
    if (status)
        return status;
    size_t n = w->n_entries - first;
    sd_entry *entries = n ? w->entries + first : NULL; /* NULL + 0 is undefined */
    if (n)
        qsort(entries, n, sizeof *entries, compare_position);
    return check_positions(w->ctx, path, entries, n, data);
}

static uint64_t read_u64(const uint8_t *p) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | p[i];
    return value;
}

/* Says that this is no safetensors file: `head` are its first n bytes. */
static sd_status fail_header(const sd_context *ctx, const char *path, const sd_input *in,
                             const uint8_t *head, size_t n) {
    uint64_t size = n >= 8 ? read_u64(head) : 0;
    sd_status status = sdi_sniff(ctx, path, head, n, SD_WEIGHTS_EXPECTED);
    if (status)
        return status;
    if (n < 10)
        return sdi_fail(ctx, SD_ERROR_FORMAT, "%s: %zu bytes are too few for " SD_WEIGHTS_EXPECTED,
                        path, n);
    if (head[8] != '{')
        return sdi_fail(ctx, SD_ERROR_FORMAT,
                        "%s: " SD_WEIGHTS_EXPECTED " was expected, this is neither: it begins with "
                        "the bytes %02x %02x %02x %02x %02x %02x %02x %02x",
                        path, head[0], head[1], head[2], head[3], head[4], head[5], head[6],
                        head[7]);
    if (size > MAX_HEADER)
        return sdi_fail(ctx, SD_ERROR_FORMAT,
                        "%s: a safetensors file with a header of %llu bytes, over the limit of %u",
                        path, (unsigned long long)size, MAX_HEADER);
    return sdi_fail(ctx, SD_ERROR_FORMAT,
                    "%s: the header is said to be of %llu bytes, but the file has only %llu (a "
                    "download that was cut short?)",
                    path, (unsigned long long)size, (unsigned long long)in->size);
}

/* Checks the length of the header, and that there is one. */
static sd_status read_header_size(const sd_context *ctx, const char *path, const sd_input *in,
                                  size_t *header_size) {
    uint8_t head[SD_SNIFF_SIZE];
    size_t n;
    sd_status status = sdi_input_peek(ctx, in, path, head, sizeof head, &n);
    if (status)
        return status;
    uint64_t size = n > 8 ? read_u64(head) : 0;
    if (size < 2 || size > MAX_HEADER || size > in->size - 8 || head[8] != '{')
        return fail_header(ctx, path, in, head, n);
    *header_size = (size_t)size;
    return SD_OK;
}

static sd_status read_header(const sd_context *ctx, const char *path, const sd_input *in,
                             size_t size, json_t **header) {
    char *text = sdi_alloc(ctx, size);
    if (!text)
        return SD_ERROR_MEMORY;
    sd_status status = sdi_input_read(ctx, in, path, 8, text, size);
    if (!status) {
        sdi_header_show_zeros(text, size);
        status = sdi_json_parse_last(ctx, path, text, size, header);
    }
    if (!status && (status = sdi_header_check_keys(ctx, path, text, size)))
        json_decref(*header);
    sdi_free(ctx, text);
    return status;
}

sd_status sdi_safetensors_read(sd_weights *w, int file) {
    const sd_shard *s = &w->shards[file];
    size_t size = 0;
    json_t *header;
    sd_status status = read_header_size(w->ctx, s->path, &s->input, &size);
    if (!status)
        status = read_header(w->ctx, s->path, &s->input, size, &header);
    if (status)
        return status;
    status = read_entries(w, file, header, (data_range){8 + size, s->input.size - 8 - size});
    json_decref(header);
    return status;
}
