/* Checkpoint tensors to float32, stacked along the output. */
#include "reference.h"

#include <string.h>

static size_t element_size(sdb_type type) {
    return type == SDB_F32 ? sizeof(float) : sizeof(uint16_t);
}

/* Element i of what was read. */
static float element(const void *data, sdb_type type, size_t i) {
    union {
        float f32;
        uint16_t bits16;
    } bits;
    size_t size = element_size(type);
    memcpy(&bits, (const char *)data + i * size, size);
    return (float)ref_load(&bits, type, 0);
}

static sd_status check_parts(const sdb_host *host, const sdb_weight_part *parts, int n_parts) {
    for (int p = 0; p < n_parts; p++) {
        sdb_type type = parts[p].type;
        if (sdb_part_is_there(&parts[p]) && type != SDB_F32 && type != SDB_F16 && type != SDB_BF16)
            return host->error(host->user, SD_ERROR_UNSUPPORTED,
                               "backend 'reference' takes weights of type float32, float16 or "
                               "bfloat16, not of type %d",
                               (int)type);
    }
    return SD_OK;
}

/* Where element (row, i, tap) of the checkpoint's [n, in, taps] goes: see struct sdb_weight. */
static size_t place(const sdb_weight *w, size_t row, size_t i, size_t tap) {
    size_t n = (size_t)w->n, in = (size_t)w->in;
    if (w->kind == SDB_WEIGHT_EMBEDDING || w->kind == SDB_WEIGHT_VECTOR)
        return row * in + i;
    return (tap * in + i) * n + row;
}

/* Row by row; `buffer` has room for one. */
static sd_status fill_data(sdb_weight *w, const sdb_weight_desc *desc, void *buffer) {
    size_t taps = desc->kind == SDB_WEIGHT_CONV3X3 ? 9 : 1;
    size_t in = (size_t)w->in, first_row = 0;
    for (int p = 0; p < desc->n_parts; p++) {
        const sdb_weight_part *part = &desc->parts[p];
        for (size_t row = 0; row < (size_t)part->rows; row++) {
            sd_status status = sdb_part_read(part, row * in * taps, in * taps, buffer);
            if (status != SD_OK)
                return status;
            for (size_t i = 0; i < in; i++)
                for (size_t tap = 0; tap < taps; tap++)
                    w->data[place(w, first_row + row, i, tap)] =
                        element(buffer, part->type, i * taps + tap);
        }
        first_row += (size_t)part->rows;
    }
    return SD_OK;
}

static sd_status fill_bias(sdb_weight *w, const sdb_weight_desc *desc) {
    size_t first_row = 0;
    for (int p = 0; p < desc->n_parts; p++) {
        const sdb_weight_part *part = &desc->bias[p];
        size_t rows = (size_t)desc->parts[p].rows;
        for (size_t row = 0; row < rows; row++) {
            float bits = 0.0f;
            bool there = sdb_part_is_there(part);
            sd_status status = there ? sdb_part_read(part, row, 1, &bits) : SD_OK;
            if (status != SD_OK)
                return status;
            w->bias[first_row + row] = there ? element(&bits, part->type, 0) : 0.0f;
        }
        first_row += rows;
    }
    return SD_OK;
}

static sd_status fill(const sdb_host *host, sdb_weight *w, const sdb_weight_desc *desc,
                      size_t row_size) {
    void *buffer = host->alloc(host->user, row_size, 64);
    if (!buffer)
        return SD_ERROR_MEMORY;
    sd_status status = fill_data(w, desc, buffer);
    host->free(host->user, buffer);
    if (status == SD_OK && desc->bias)
        status = fill_bias(w, desc);
    return status;
}

sd_status ref_weight_prepare(sdb_device *dev, const sdb_weight_desc *desc, sdb_weight **out) {
    const sdb_host *host = dev->host;
    sd_status status = check_parts(host, desc->parts, desc->n_parts);
    if (status == SD_OK && desc->bias)
        status = check_parts(host, desc->bias, desc->n_parts);
    if (status != SD_OK)
        return status;

    int64_t n = 0;
    for (int p = 0; p < desc->n_parts; p++)
        n += desc->parts[p].rows;
    size_t taps = desc->kind == SDB_WEIGHT_CONV3X3 ? 9 : 1;
    size_t row_size = (size_t)desc->in * taps * sizeof(float);
    if (n < 1 || n > INT32_MAX || desc->in < 1 || (size_t)n > SIZE_MAX / 2 / row_size)
        return host->error(host->user, SD_ERROR_UNSUPPORTED,
                           "a weight of %lld rows of %d inputs does not fit into memory",
                           (long long)n, desc->in);

    size_t data_size = (size_t)n * row_size;
    size_t bias_size = desc->bias ? (size_t)n * sizeof(float) : 0;
    size_t size = sizeof(sdb_weight) + data_size + bias_size;
    sdb_weight *w = host->alloc(host->user, size, 64);
    if (!w)
        return SD_ERROR_MEMORY;
    *w = (sdb_weight){.kind = desc->kind, .n = (int)n, .in = desc->in, .size = size};
    w->data = (float *)(w + 1);
    if (desc->bias)
        w->bias = (float *)((char *)(w + 1) + data_size);
    status = fill(host, w, desc, row_size);
    if (status == SD_OK)
        *out = w;
    else
        host->free(host->user, w);
    return status;
}

void ref_weight_free(sdb_device *dev, sdb_weight *weight) {
    if (weight)
        dev->host->free(dev->host->user, weight);
}

size_t ref_weight_size(const sdb_weight *weight) {
    return weight->size;
}
