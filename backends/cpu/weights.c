/*
 * Weight preparation: checkpoint tensors into panels of nr output columns (cpu.h), in the type that
 * they have. A worker reads the rows of a panel, or where they are many bytes some columns of them,
 * into a buffer of its own that stays in its cache, while others repack theirs. Transposing is done
 * in squares of 8 x 8 halves or 4 x 4 floats, which stay in registers; memory is the limit.
 */
#include "cpu.h"
#include "kernels.h"

#include <stdatomic.h>
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
                if (rows[j + i])
                    memcpy(&a[i], rows[j + i] + p * 2, 16);
            }
            shuffle_8x8(b, a);
            shuffle_8x8(a, b);
            shuffle_8x8(b, a);
            for (int i = 0; i < 8; i++)
                memcpy(dst + (p + (size_t)i) * (size_t)nr + j, &b[i], 16);
        }
    }
    for (; p < k; p++) {
        for (int j = 0; j < nr; j++) {
            uint16_t *d = dst + p * (size_t)nr + j;
            *d = 0;
            if (rows[j])
                memcpy(d, rows[j] + p * 2, 2);
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
                if (rows[j + i])
                    memcpy(&a[i], rows[j + i] + p * 4, 16);
            }
            shuffle_4x4(b, a);
            shuffle_4x4(a, b);
            for (int i = 0; i < 4; i++)
                memcpy(dst + (p + (size_t)i) * (size_t)nr + j, &a[i], 16);
        }
    }
    for (; p < k; p++) {
        for (int j = 0; j < nr; j++) {
            uint32_t *d = dst + p * (size_t)nr + j;
            *d = 0;
            if (rows[j])
                memcpy(d, rows[j] + p * 4, 4);
        }
    }
}

static bool is_float(sdb_type type) {
    return type == SDB_F32 || type == SDB_F16 || type == SDB_BF16;
}

/* The part that has output row `row` of all, which becomes the part's own row. */
static const sdb_weight_part *find_part(const sdb_weight_part *parts, int *row) {
    while (*row >= parts->rows) {
        *row -= parts->rows;
        parts++;
    }
    return parts;
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
    return w->kind == SDB_WEIGHT_GEGLU ? cpu_divide_up(w->n / 2, nr / 2) : cpu_divide_up(w->n, nr);
}

typedef struct prepare_job {
    const sdb_device *dev;
    const sdb_weight_desc *desc;
    sdb_weight *w;
    size_t row_size;   /* elements of an output row */
    size_t columns;    /* of them that are repacked at a time */
    uint8_t *bounce;   /* SDB_WEIGHT_SCRATCH bytes for each worker; NULL: all is in memory */
    atomic_int status; /* of a part that could not be read */
} prepare_job;

static void note(prepare_job *job, sd_status status) {
    if (status != SD_OK)
        atomic_store(&job->status, (int)status);
}

/* Rows of one part, one behind the other, from column `k` on. */
typedef struct row_run {
    const sdb_weight_part *part;
    int row, n;
} row_run;

/* How many columns of the panel from j on have successive rows of one part. */
static row_run find_run(const prepare_job *job, int p, int j, bool whole) {
    int nr = job->dev->k->nr, first = column_row(job->w, nr, p, j);
    row_run run = {NULL, first, 1};
    if (first < 0)
        return run;
    run.part = find_part(job->desc->parts, &run.row);
    while (whole && j + run.n < nr && run.row + run.n < run.part->rows &&
           column_row(job->w, nr, p, j + run.n) == first + run.n)
        run.n++;
    return run;
}

/* Elements k .. k + n - 1 of the panel's rows and their types; those of padding are NULL. */
static void fetch_panel(prepare_job *job, int p, int worker, size_t k, size_t n,
                        const uint8_t **rows, sdb_type *types) {
    uint8_t *to = job->bounce ? job->bounce + (size_t)worker * SDB_WEIGHT_SCRATCH : NULL;
    bool whole = n == job->row_size;
    row_run run;
    for (int j = 0; j < job->dev->k->nr; j += run.n) {
        run = find_run(job, p, j, whole);
        rows[j] = NULL;
        if (!run.part)
            continue;
        size_t size = sdb_type_size(run.part->type), at = (size_t)run.row * job->row_size + k;
        const uint8_t *from = to;
        if (run.part->data) {
            from = (const uint8_t *)run.part->data + at * size;
        } else {
            note(job, sdb_part_read(run.part, at, (size_t)run.n * n, to));
            to += ((size_t)run.n * n * size + 3) / 4 * 4; /* the next may be of float32 */
        }
        for (int i = 0; i < run.n; i++) {
            rows[j + i] = from + (size_t)i * (whole ? job->row_size : n) * size;
            types[j + i] = run.part->type;
        }
    }
}

static void prepare_panel(void *arg, int p, int worker) {
    prepare_job *job = arg;
    const sdb_weight *w = job->w;
    size_t nr = (size_t)job->dev->k->nr;
    const uint8_t *rows[CPU_MAX_NR];
    sdb_type types[CPU_MAX_NR];
    uint8_t *dst = (uint8_t *)w->data + (size_t)p * job->row_size * nr * sdb_type_size(w->type);
    for (size_t k = 0; k < job->row_size; k += job->columns) {
        size_t left = job->row_size - k, n = left < job->columns ? left : job->columns;
        fetch_panel(job, p, worker, k, n, rows, types);
        if (w->type == SDB_F32)
            panel_32((uint32_t *)dst + k * nr, rows, (int)nr, n);
        else
            panel_16((uint16_t *)dst + k * nr, rows, (int)nr, n);
    }
}

/* float32 of one value at any alignment. */
static float read_value(const sdb_device *dev, const uint8_t *p, sdb_type type) {
    uint32_t bits[1] = {0};
    float value;
    memcpy(bits, p, sdb_type_size(type));
    dev->k->widen[type](&value, bits, 1);
    return value;
}

/* Parts of different types: everything becomes float32. Rare, so one value at a time. */
static void prepare_mixed_panel(void *arg, int p, int worker) {
    prepare_job *job = arg;
    const uint8_t *rows[CPU_MAX_NR];
    sdb_type types[CPU_MAX_NR];
    size_t nr = (size_t)job->dev->k->nr;
    float *dst = (float *)job->w->data + (size_t)p * job->row_size * nr;
    for (size_t k = 0; k < job->row_size; k += job->columns) {
        size_t left = job->row_size - k, n = left < job->columns ? left : job->columns;
        fetch_panel(job, p, worker, k, n, rows, types);
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < nr; j++) {
                const uint8_t *src = rows[j] ? rows[j] + i * sdb_type_size(types[j]) : NULL;
                dst[(k + i) * nr + j] = src ? read_value(job->dev, src, types[j]) : 0.0f;
            }
        }
    }
}

#define CHUNK 1024

/* n elements of a part as float32; `part` may be none, which is zeros. */
static void read_floats(prepare_job *job, const sdb_weight_part *part, size_t at, size_t n,
                        float *dst) {
    uint32_t chunk[CHUNK];
    if (!sdb_part_is_there(part)) {
        memset(dst, 0, n * sizeof *dst);
        return;
    }
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        note(job, sdb_part_read(part, at + i, m, chunk));
        job->dev->k->widen[part->type](dst + i, chunk, m);
    }
}

/* [n] float32 of one value a row. */
static void read_vector(prepare_job *job, const sdb_weight_part *parts, float *dst) {
    for (int i = 0; i < job->desc->n_parts; i++) {
        read_floats(job, &parts[i], 0, (size_t)parts[i].rows, dst);
        dst += parts[i].rows;
    }
}

/* Where the bias of an output row stands: in its column, of its panel. */
static size_t bias_place(const sdb_weight *w, int nr, int row) {
    int half = nr / 2, out = w->n / 2;
    if (w->kind != SDB_WEIGHT_GEGLU)
        return (size_t)row;
    int j = row < out ? row : row - out;
    return (size_t)(j / half * nr + j % half + (row < out ? 0 : half));
}

static void prepare_bias(prepare_job *job) {
    const sdb_weight_desc *desc = job->desc;
    sdb_weight *w = job->w;
    float values[CHUNK];
    if (w->kind == SDB_WEIGHT_VECTOR || w->kind == SDB_WEIGHT_EMBEDDING) {
        read_vector(job, desc->bias, w->bias);
        return;
    }
    int nr = job->dev->k->nr, first = 0;
    memset(w->bias, 0, (size_t)n_panels(w, nr) * (size_t)nr * sizeof *w->bias);
    for (int p = 0; p < desc->n_parts; p++) {
        for (int i = 0; i < desc->parts[p].rows; i += CHUNK) {
            int left = desc->parts[p].rows - i, n = left < CHUNK ? left : CHUNK;
            read_floats(job, &desc->bias[p], (size_t)i, (size_t)n, values);
            for (int j = 0; j < n; j++)
                w->bias[bias_place(w, nr, first + i + j)] = values[j];
        }
        first += desc->parts[p].rows;
    }
}

/* The rows of one part of an embedding, in pieces. */
typedef struct rows_job {
    prepare_job *job;
    const sdb_weight_part *part;
    size_t n; /* elements */
    uint8_t *dst;
} rows_job;

#define PIECE ((size_t)128 << 10) /* elements */

static void copy_piece(void *arg, int task, int worker) {
    const rows_job *rows = arg;
    size_t at = (size_t)task * PIECE, left = rows->n - at, n = left < PIECE ? left : PIECE;
    uint8_t *dst = rows->dst + at * sdb_type_size(rows->job->w->type);
    (void)worker;
    if (rows->part->type == rows->job->w->type)
        note(rows->job, sdb_part_read(rows->part, at, n, dst));
    else
        read_floats(rows->job, rows->part, at, n, (float *)(void *)dst);
}

static void copy_rows(prepare_job *job) {
    const sdb_host *host = job->dev->host;
    rows_job rows = {.job = job, .dst = job->w->data};
    for (int i = 0; i < job->desc->n_parts; i++) {
        rows.part = &job->desc->parts[i];
        rows.n = (size_t)rows.part->rows * job->row_size;
        host->parallel_for(host->user, cpu_divide_up((int64_t)rows.n, PIECE), copy_piece, &rows);
        rows.dst += rows.n * sdb_type_size(job->w->type);
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
        bool bias_ok = !desc->bias || !sdb_part_is_there(&desc->bias[i]) ||
                       (is_float(desc->bias[i].type) && desc->bias[i].rows == part->rows);
        if (!is_float(part->type) || !bias_ok || !sdb_part_is_there(part)) {
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

/* As many columns of a panel's rows as fit a worker's buffer, in whole squares. */
static sd_status find_bounce(const sdb_device *dev, prepare_job *job, bool mixed) {
    const sdb_host *host = dev->host;
    size_t column = (size_t)dev->k->nr * (mixed ? sizeof(float) : sdb_type_size(job->w->type));
    size_t columns = SDB_WEIGHT_SCRATCH / column / 8 * 8;
    bool in_memory = true;
    for (int i = 0; i < job->desc->n_parts; i++)
        in_memory &= job->desc->parts[i].data != NULL;
    job->columns = in_memory || job->row_size < columns ? job->row_size : columns;
    if (in_memory)
        return SD_OK;
    job->bounce = job->desc->scratch;
    if (!job->bounce)
        job->bounce = host->alloc(host->user, (size_t)host->n_threads * SDB_WEIGHT_SCRATCH, 64);
    return job->bounce ? SD_OK : SD_ERROR_MEMORY;
}

static sd_status allocate(sdb_device *dev, const prepare_job *job) {
    const sdb_host *host = dev->host;
    sdb_weight *w = job->w;
    bool panels = w->kind != SDB_WEIGHT_VECTOR && w->kind != SDB_WEIGHT_EMBEDDING;
    size_t nr = (size_t)dev->k->nr;
    size_t columns = panels ? (size_t)n_panels(w, (int)nr) * nr : (size_t)w->n;
    size_t row_bytes = job->row_size * sdb_type_size(w->type);
    if (columns > SIZE_MAX / 2 / row_bytes) {
        return host->error(host->user, SD_ERROR_MEMORY, "cpu: a weight of %d x %d is too large",
                           w->n, w->k);
    }
    size_t data_size = (columns * row_bytes + 63) / 64 * 64;
    size_t bias_size = job->desc->bias ? columns * sizeof(float) : 0;
    w->size = columns * row_bytes + bias_size;
    w->data = cpu_slab_take(dev, data_size + bias_size, &w->slab);
    if (w->data && bias_size)
        w->bias = (float *)(void *)((uint8_t *)w->data + data_size);
    return w->data ? SD_OK : SD_ERROR_MEMORY;
}

static sd_status fill_panels(prepare_job *job, bool mixed) {
    const sdb_host *host = job->dev->host;
    sd_status status = find_bounce(job->dev, job, mixed);
    if (status != SD_OK)
        return status;
    host->parallel_for(host->user, n_panels(job->w, job->dev->k->nr),
                       mixed ? prepare_mixed_panel : prepare_panel, job);
    if (job->bounce != job->desc->scratch)
        host->free(host->user, job->bounce);
    return SD_OK;
}

static sd_status fill(prepare_job *job, bool mixed) {
    sdb_weight *w = job->w;
    sd_status status = SD_OK;
    if (w->kind == SDB_WEIGHT_VECTOR)
        read_vector(job, job->desc->parts, w->data);
    else if (w->kind == SDB_WEIGHT_EMBEDDING)
        copy_rows(job);
    else
        status = fill_panels(job, mixed);
    if (w->bias && status == SD_OK)
        prepare_bias(job);
    return status != SD_OK ? status : (sd_status)atomic_load(&job->status);
}

sd_status cpu_weight_prepare(sdb_device *dev, const sdb_weight_desc *desc, sdb_weight **out) {
    const sdb_host *host = dev->host;
    sdb_weight header = {0};
    bool mixed;
    sd_status status = describe(dev, desc, &header, &mixed);
    if (status != SD_OK)
        return status;
    sdb_weight *w = host->alloc(host->user, sizeof *w, 64);
    if (!w)
        return SD_ERROR_MEMORY;
    *w = header;
    size_t taps = desc->kind == SDB_WEIGHT_CONV3X3 ? 9 : 1;
    prepare_job job = {.dev = dev, .desc = desc, .w = w, .row_size = (size_t)desc->in * taps};
    atomic_init(&job.status, SD_OK);
    status = allocate(dev, &job);
    if (status == SD_OK)
        status = fill(&job, mixed);
    if (status != SD_OK) {
        cpu_weight_free(dev, w);
        return status;
    }
    *out = w;
    return SD_OK;
}

void cpu_weight_free(sdb_device *dev, sdb_weight *weight) {
    if (weight) {
        const sdb_host *host = dev->host;
        if (weight->data)
            cpu_slab_give(dev, weight->slab);
        host->free(host->user, weight);
    }
}
