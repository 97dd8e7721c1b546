/*
 * Weight preparation: checkpoint tensors into panels of nr output columns (cpu.h), in the type that
 * they have. Transposing is done in squares of 8 x 8 halves or 4 x 4 floats, which stay in
 * registers; memory is the limit.
 */
#include "cpu.h"
#include "kernels.h"

#include <string.h>

typedef uint16_t h8 __attribute__((vector_size(16)));
typedef uint32_t w4 __attribute__((vector_size(16)));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE_H(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define SHUFFLE_W(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE_H(a, b, ...) __builtin_shuffle(a, b, (h8){__VA_ARGS__})
#define SHUFFLE_W(a, b, ...) __builtin_shuffle(a, b, (w4){__VA_ARGS__})
#endif

/* One perfect shuffle of the rows of a square; log2(rows) of them transpose it. */
static inline void shuffle_8x8(h8 out[8], const h8 in[8]) {
    for (int i = 0; i < 4; i++) {
        out[2 * i] = SHUFFLE_H(in[i], in[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
        out[2 * i + 1] = SHUFFLE_H(in[i], in[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
}

static inline void shuffle_4x4(w4 out[4], const w4 in[4]) {
    for (int i = 0; i < 2; i++) {
        out[2 * i] = SHUFFLE_W(in[i], in[i + 2], 0, 4, 1, 5);
        out[2 * i + 1] = SHUFFLE_W(in[i], in[i + 2], 2, 6, 3, 7);
    }
}

/* dst[p][nr], p < k, from rows[j][p]; row pointers of padding are NULL. nr is a multiple of 8. */
static void panel_16(uint16_t *dst, const uint8_t *const *rows, int nr, size_t k) {
    size_t p = 0;
    for (; p + 8 <= k; p += 8) {
        for (int j = 0; j < nr; j += 8) {
            h8 a[8], b[8];
            for (int i = 0; i < 8; i++) {
                a[i] = (h8){0};
                if (rows[j + i]) {
                    memcpy(&a[i], rows[j + i] + p * 2, 16);
                }
            }
            shuffle_8x8(b, a);
            shuffle_8x8(a, b);
            shuffle_8x8(b, a);
            for (int i = 0; i < 8; i++) {
                memcpy(dst + (p + (size_t)i) * (size_t)nr + j, &b[i], 16);
            }
        }
    }
    for (; p < k; p++) {
        for (int j = 0; j < nr; j++) {
            uint16_t *d = dst + p * (size_t)nr + j;
            *d = 0;
            if (rows[j]) {
                memcpy(d, rows[j] + p * 2, 2);
            }
        }
    }
}

static void panel_32(uint32_t *dst, const uint8_t *const *rows, int nr, size_t k) {
    size_t p = 0;
    for (; p + 4 <= k; p += 4) {
        for (int j = 0; j < nr; j += 4) {
            w4 a[4], b[4];
            for (int i = 0; i < 4; i++) {
                a[i] = (w4){0};
                if (rows[j + i]) {
                    memcpy(&a[i], rows[j + i] + p * 4, 16);
                }
            }
            shuffle_4x4(b, a);
            shuffle_4x4(a, b);
            for (int i = 0; i < 4; i++) {
                memcpy(dst + (p + (size_t)i) * (size_t)nr + j, &a[i], 16);
            }
        }
    }
    for (; p < k; p++) {
        for (int j = 0; j < nr; j++) {
            uint32_t *d = dst + p * (size_t)nr + j;
            *d = 0;
            if (rows[j]) {
                memcpy(d, rows[j] + p * 4, 4);
            }
        }
    }
}

static size_t type_size(sdb_type type) {
    return type == SDB_F32 ? 4 : 2;
}

static bool is_float(sdb_type type) {
    return type == SDB_F32 || type == SDB_F16 || type == SDB_BF16;
}

/* The address of output row `row` (of row_size elements), and its type. */
static const uint8_t *find_row(const sdb_weight_part *parts, int n_parts, size_t row_size, int row,
                               sdb_type *type) {
    for (int i = 0; i < n_parts; i++) {
        if (row < parts[i].rows) {
            *type = parts[i].type;
            if (!parts[i].data) {
                return NULL;
            }
            return (const uint8_t *)parts[i].data +
                   (size_t)row * row_size * type_size(parts[i].type);
        }
        row -= parts[i].rows;
    }
    return NULL;
}

/* The output row that stands in column j of panel p, -1 for padding. */
static int column_row(const sdb_weight *w, int nr, int p, int j) {
    if (w->kind != SDB_WEIGHT_GEGLU) {
        int row = p * nr + j;
        return row < w->n ? row : -1;
    }
    int half = nr / 2, out = w->n / 2;
    int row = p * half + (j < half ? j : j - half);
    return row >= out ? -1 : j < half ? row : out + row;
}

static int n_panels(const sdb_weight *w, int nr) {
    return w->kind == SDB_WEIGHT_GEGLU ? (w->n / 2 + nr / 2 - 1) / (nr / 2) : (w->n + nr - 1) / nr;
}

typedef struct prepare_job {
    const sdb_device *dev;
    const sdb_weight_desc *desc;
    sdb_weight *w;
    size_t row_size; /* elements of an output row */
} prepare_job;

#define MAX_NR 32

static void prepare_panel(void *arg, int p, int worker) {
    const prepare_job *job = arg;
    const sdb_weight *w = job->w;
    int nr = job->dev->k->nr;
    const uint8_t *rows[MAX_NR];
    sdb_type type = w->type;
    (void)worker;
    for (int j = 0; j < nr; j++) {
        int row = column_row(w, nr, p, j);
        rows[j] = NULL;
        if (row >= 0) {
            rows[j] = find_row(job->desc->parts, job->desc->n_parts, job->row_size, row, &type);
        }
    }
    size_t panel = job->row_size * (size_t)nr * type_size(w->type);
    uint8_t *dst = (uint8_t *)w->data + (size_t)p * panel;
    if (w->type == SDB_F32) {
        panel_32((uint32_t *)dst, rows, nr, job->row_size);
    } else {
        panel_16((uint16_t *)dst, rows, nr, job->row_size);
    }
}

/* float32 of one value at any alignment. */
static float read_value(const sdb_device *dev, const uint8_t *p, sdb_type type) {
    uint32_t bits[1] = {0};
    float value;
    memcpy(bits, p, type_size(type));
    dev->k->widen[type](&value, bits, 1);
    return value;
}

/* Parts of different types: everything becomes float32. Rare, so one value at a time. */
static void prepare_mixed_panel(void *arg, int p, int worker) {
    const prepare_job *job = arg;
    const sdb_weight *w = job->w;
    int nr = job->dev->k->nr;
    float *dst = (float *)w->data + (size_t)p * job->row_size * (size_t)nr;
    (void)worker;
    for (int j = 0; j < nr; j++) {
        int row = column_row(w, nr, p, j);
        sdb_type type = SDB_F32;
        const uint8_t *src = NULL;
        if (row >= 0) {
            src = find_row(job->desc->parts, job->desc->n_parts, job->row_size, row, &type);
        }
        for (size_t i = 0; i < job->row_size; i++) {
            float value = src ? read_value(job->dev, src + i * type_size(type), type) : 0.0f;
            dst[i * (size_t)nr + (size_t)j] = value;
        }
    }
}

/* [n] float32 of one value a row, zeros where a part has no data. */
static void read_vector(const sdb_device *dev, const sdb_weight_part *parts, int n_parts,
                        float *dst) {
    for (int i = 0; i < n_parts; i++) {
        for (int r = 0; r < parts[i].rows; r++) {
            const uint8_t *src = parts[i].data;
            size_t at = (size_t)r * type_size(parts[i].type);
            *dst++ = src ? read_value(dev, src + at, parts[i].type) : 0.0f;
        }
    }
}

static void prepare_bias(const prepare_job *job) {
    const sdb_device *dev = job->dev;
    const sdb_weight_desc *desc = job->desc;
    sdb_weight *w = job->w;
    if (w->kind == SDB_WEIGHT_VECTOR || w->kind == SDB_WEIGHT_EMBEDDING) {
        read_vector(dev, desc->bias, desc->n_parts, w->bias);
        return;
    }
    int nr = dev->k->nr, panels = n_panels(w, nr);
    for (int p = 0; p < panels; p++) {
        for (int j = 0; j < nr; j++) {
            int row = column_row(w, nr, p, j);
            sdb_type type = SDB_F32;
            const uint8_t *src = NULL;
            if (row >= 0) {
                src = find_row(desc->bias, desc->n_parts, 1, row, &type);
            }
            w->bias[(size_t)p * (size_t)nr + (size_t)j] = src ? read_value(dev, src, type) : 0.0f;
        }
    }
}

static void copy_rows(const prepare_job *job) {
    uint8_t *dst = job->w->data;
    for (int i = 0; i < job->desc->n_parts; i++) {
        const sdb_weight_part *part = &job->desc->parts[i];
        size_t n = (size_t)part->rows * job->row_size;
        if (part->type == job->w->type) {
            memcpy(dst, part->data, n * type_size(part->type));
            dst += n * type_size(part->type);
            continue;
        }
        for (size_t j = 0; j < n; j++) {
            const uint8_t *src = part->data;
            float value = read_value(job->dev, src + j * type_size(part->type), part->type);
            memcpy(dst, &value, sizeof value);
            dst += sizeof value;
        }
    }
}

/* Fills n, k, type and `mixed`; what the caller may not assume of a file was checked before, but
 * sizes are computed with care. */
static sd_status describe(const sdb_device *dev, const sdb_weight_desc *desc, sdb_weight *w,
                          bool *mixed) {
    const sdb_host *host = dev->host;
    int64_t n = 0;
    *mixed = false;
    for (int i = 0; i < desc->n_parts; i++) {
        const sdb_weight_part *part = &desc->parts[i];
        bool bias_ok = !desc->bias || !desc->bias[i].data ||
                       (is_float(desc->bias[i].type) && desc->bias[i].rows == part->rows);
        if (!is_float(part->type) || !bias_ok || !part->data) {
            return host->error(host->user, SD_ERROR_UNSUPPORTED,
                               "cpu: weight part %d is not float32, float16 or bfloat16, or its "
                               "bias does not fit",
                               i);
        }
        *mixed |= part->type != desc->parts[0].type;
        n += part->rows;
    }
    if (n <= 0 || n > INT32_MAX / 2 || desc->in <= 0 || desc->in > INT32_MAX / 2) {
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "cpu: a weight of %lld x %d is out of range", (long long)n, desc->in);
    }
    w->kind = desc->kind;
    w->n = (int)n;
    w->k = desc->in;
    bool wide = *mixed || desc->kind == SDB_WEIGHT_VECTOR;
    w->type = wide ? SDB_F32 : desc->parts[0].type;
    return SD_OK;
}

static sd_status allocate(const sdb_device *dev, const prepare_job *job) {
    const sdb_host *host = dev->host;
    sdb_weight *w = job->w;
    bool panels = w->kind != SDB_WEIGHT_VECTOR && w->kind != SDB_WEIGHT_EMBEDDING;
    size_t nr = (size_t)dev->k->nr;
    size_t columns = panels ? (size_t)n_panels(w, (int)nr) * nr : (size_t)w->n;
    size_t row_bytes = job->row_size * type_size(w->type);
    if (columns > SIZE_MAX / 2 / row_bytes) {
        return host->error(host->user, SD_ERROR_MEMORY, "cpu: a weight of %d x %d is too large",
                           w->n, w->k);
    }
    w->size = columns * row_bytes;
    w->data = host->alloc(host->user, w->size, 64);
    if (!w->data) {
        return SD_ERROR_MEMORY;
    }
    if (job->desc->bias) {
        w->bias = host->alloc(host->user, columns * sizeof(float), 64);
        if (!w->bias) {
            return SD_ERROR_MEMORY;
        }
        w->size += columns * sizeof(float);
    }
    return SD_OK;
}

sd_status cpu_weight_prepare(sdb_device *dev, const sdb_weight_desc *desc, sdb_weight **out) {
    const sdb_host *host = dev->host;
    sdb_weight header = {0};
    bool mixed;
    sd_status status = describe(dev, desc, &header, &mixed);
    if (status != SD_OK) {
        return status;
    }
    sdb_weight *w = host->alloc(host->user, sizeof *w, 64);
    if (!w) {
        return SD_ERROR_MEMORY;
    }
    *w = header;
    prepare_job job = {dev, desc, w, (size_t)desc->in * (desc->kind == SDB_WEIGHT_CONV3X3 ? 9 : 1)};
    status = allocate(dev, &job);
    if (status != SD_OK) {
        cpu_weight_free(dev, w);
        return status;
    }
    if (w->kind == SDB_WEIGHT_VECTOR) {
        read_vector(dev, desc->parts, desc->n_parts, w->data);
    } else if (w->kind == SDB_WEIGHT_EMBEDDING) {
        copy_rows(&job);
    } else {
        host->parallel_for(host->user, n_panels(w, dev->k->nr),
                           mixed ? prepare_mixed_panel : prepare_panel, &job);
    }
    if (w->bias) {
        prepare_bias(&job);
    }
    *out = w;
    return SD_OK;
}

void cpu_weight_free(sdb_device *dev, sdb_weight *weight) {
    if (weight) {
        const sdb_host *host = dev->host;
        if (weight->data) {
            host->free(host->user, weight->data);
        }
        if (weight->bias) {
            host->free(host->user, weight->bias);
        }
        host->free(host->user, weight);
    }
}
