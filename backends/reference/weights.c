/* Checkpoint tensors to float32, stacked along the output. */
#include "reference.h"

#include <string.h>

static size_t element_size(sdb_type type) {
    return type == SDB_F32 ? sizeof(float) : sizeof(uint16_t);
}

/* Element i of a part, whose data may be at any alignment. */
static float part_element(const sdb_weight_part *part, size_t i) {
    union {
        float f32;
        uint16_t bits16;
    } element;
    size_t size = element_size(part->type);
    memcpy(&element, (const char *)part->data + i * size, size);
    return (float)ref_load(&element, part->type, 0);
}

static sd_status check_parts(const sdb_host *host, const sdb_weight_part *parts, int n_parts) {
    for (int p = 0; p < n_parts; p++) {
        sdb_type type = parts[p].type;
        if (parts[p].data && type != SDB_F32 && type != SDB_F16 && type != SDB_BF16)
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

static void fill_data(sdb_weight *w, const sdb_weight_desc *desc) {
    size_t taps = desc->kind == SDB_WEIGHT_CONV3X3 ? 9 : 1;
    size_t in = (size_t)w->in, first_row = 0;
    for (int p = 0; p < desc->n_parts; p++) {
        const sdb_weight_part *part = &desc->parts[p];
        for (size_t row = 0; row < (size_t)part->rows; row++)
            for (size_t i = 0; i < in; i++)
                for (size_t tap = 0; tap < taps; tap++)
                    w->data[place(w, first_row + row, i, tap)] =
                        part_element(part, (row * in + i) * taps + tap);
        first_row += (size_t)part->rows;
    }
}

static void fill_bias(sdb_weight *w, const sdb_weight_desc *desc) {
    size_t first_row = 0;
    for (int p = 0; p < desc->n_parts; p++) {
        size_t rows = (size_t)desc->parts[p].rows;
        for (size_t row = 0; row < rows; row++)
            w->bias[first_row + row] =
                desc->bias[p].data ? part_element(&desc->bias[p], row) : 0.0f;
        first_row += rows;
    }
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
    fill_data(w, desc);
    if (desc->bias) {
        w->bias = (float *)((char *)(w + 1) + data_size);
        fill_bias(w, desc);
    }
    *out = w;
    return SD_OK;
}

void ref_weight_free(sdb_device *dev, sdb_weight *weight) {
    if (weight)
        dev->host->free(dev->host->user, weight);
}

size_t ref_weight_size(const sdb_weight *weight) {
    return weight->size;
}
