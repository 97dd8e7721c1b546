#include "model/parts.h"

static const sdb_type *device_type(sd_dtype type) {
    static const struct {
        sd_dtype file;
        sdb_type device;
    } types[] = {{SD_DTYPE_F32, SDB_F32},
                 {SD_DTYPE_F16, SDB_F16},
                 {SD_DTYPE_BF16, SDB_BF16},
                 {SD_DTYPE_F64, SDB_F32}};
    for (size_t i = 0; i < SD_COUNT(types); i++)
        if (types[i].file == type)
            return &types[i].device;
    return NULL;
}

sd_status sd_part_check_type(const sd_context *ctx, const sd_weights *weights,
                             const sd_entry *entry) {
    if (device_type(entry->type))
        return SD_OK;
    return sd_fail(ctx, SD_ERROR_UNSUPPORTED,
                   "%s: tensor '%s' is of type %s; weights must be F64, F32, F16 or BF16",
                   sd_weights_path(weights, entry), entry->name, sd_dtype_name(entry->type));
}

#define CHUNK 1024

/* float64 as float32, rounded as C and torch do it. */
static sd_status read_doubles(const sd_part_source *s, size_t first, size_t n, float *dst) {
    double chunk[CHUNK];
    sd_status status = SD_OK;
    for (size_t i = 0; i < n && !status; i += CHUNK) {
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        status = sd_weights_read(s->weights, s->entry, (first + i) * sizeof *chunk, chunk,
                                 m * sizeof *chunk);
        for (size_t j = 0; j < m && !status; j++)
            dst[i + j] = (float)chunk[j];
    }
    return status;
}

/* sdb_weight_part.read: n elements from `first`. */
static sd_status read_part(void *user, size_t first, size_t n, void *dst) {
    sd_part_source *s = user;
    size_t size = sd_dtype_size(s->entry->type);
    sd_status status = s->entry->type == SD_DTYPE_F64
                           ? read_doubles(s, first, n, dst)
                           : sd_weights_read(s->weights, s->entry, first * size, dst, n * size);
    int none = SD_OK;
    if (status)
        atomic_compare_exchange_strong(&s->status, &none, (int)status);
    return status;
}

sd_status sd_part_open(sd_build *b, const sd_weights *weights, const sd_entry *entry, int rows,
                       sdb_weight_part *out) {
    sd_part_source *s = sd_zalloc(b->ctx, sizeof *s);
    if (!s)
        return SD_ERROR_MEMORY;
    *s = (sd_part_source){.weights = weights, .entry = entry, .next = b->sources};
    s->type = *device_type(entry->type);
    atomic_init(&s->status, SD_OK);
    b->sources = s;
    *out = (sdb_weight_part){.type = s->type, .rows = rows, .read = read_part, .source = s};
    return SD_OK;
}

sdb_weight_part sd_part_rows(sdb_weight_part whole, int first, int n, int row_size) {
    sdb_weight_part part = whole;
    part.rows = n;
    part.first += (size_t)first * (size_t)row_size;
    return part;
}

sd_status sd_part_fail(const sd_build *b, sd_status status) {
    for (const sd_part_source *s = b->sources; s; s = s->next)
        if (atomic_load(&s->status) != SD_OK)
            return sd_weights_fail(s->weights, s->entry, (sd_status)atomic_load(&s->status));
    return status;
}

void sd_parts_close(sd_build *b) {
    while (b->sources) {
        sd_part_source *s = b->sources;
        b->sources = s->next;
        sd_free(b->ctx, s);
    }
}
