/* Device, memory, queue and the vtable. */
#include "reference.h"

#include <stdio.h>
#include <string.h>

static sd_status device_open(const sdb_host *host, int index, sdb_device **out) {
    if (index != 0)
        return host->error(host->user, SD_ERROR_BACKEND,
                           "backend 'reference' has one device, 0, and not %d", index);
    sdb_device *dev = host->alloc(host->user, sizeof *dev, 64);
    if (!dev)
        return SD_ERROR_MEMORY;
    dev->host = host;
    *out = dev;
    return SD_OK;
}

static void device_close(sdb_device *dev) {
    if (dev)
        dev->host->free(dev->host->user, dev);
}

static void device_info(const sdb_device *dev, sdb_device_info *info) {
    memset(info, 0, sizeof *info);
    snprintf(info->name, sizeof info->name, "reference (plain C, %d thread%s)",
             dev->host->n_threads, dev->host->n_threads == 1 ? "" : "s");
    info->autocast_type = SDB_F32;
}

static sd_status buffer_alloc(sdb_device *dev, size_t size, void **out) {
    *out = dev->host->alloc(dev->host->user, size, 256);
    return *out ? SD_OK : SD_ERROR_MEMORY;
}

static void buffer_free(sdb_device *dev, void *ptr) {
    if (ptr)
        dev->host->free(dev->host->user, ptr);
}

static sd_status queue_new(sdb_device *dev, sdb_queue **out) {
    sdb_queue *q = dev->host->alloc(dev->host->user, sizeof *q, 64);
    if (!q)
        return SD_ERROR_MEMORY;
    *q = (sdb_queue){.dev = dev};
    *out = q;
    return SD_OK;
}

static void queue_free(sdb_queue *q) {
    if (!q)
        return;
    buffer_free(q->dev, q->scratch);
    buffer_free(q->dev, q);
}

static sd_status queue_plan(sdb_queue *q, bool planning) {
    q->planning = planning;
    if (planning || q->noted <= q->capacity)
        return SD_OK;
    buffer_free(q->dev, q->scratch);
    q->scratch = NULL;
    q->capacity = 0;
    sd_status status = buffer_alloc(q->dev, q->noted, &q->scratch);
    if (status == SD_OK)
        q->capacity = q->noted;
    return status;
}

static size_t queue_scratch(const sdb_queue *q) {
    return q->noted;
}

static sd_status copy(sdb_queue *q, void *dst, const void *src, size_t size) {
    (void)q;
    if (size > 0)
        memcpy(dst, src, size);
    return SD_OK;
}

static sd_status sync(sdb_queue *q) {
    (void)q;
    return SD_OK;
}

sd_status ref_scratch(sdb_queue *q, size_t size, char **out) {
    const sdb_host *host = q->dev->host;
    size_t total = size * (size_t)host->n_threads;
    *out = q->scratch;
    if (q->planning && total > q->noted)
        q->noted = total;
    if (!q->planning && total > q->capacity)
        return host->error(host->user, SD_ERROR_INTERNAL,
                           "operation needs %zu bytes of scratch memory, %zu were planned", total,
                           q->capacity);
    return SD_OK;
}

static bool is_float(sdb_type type) {
    return type == SDB_F32 || type == SDB_F16 || type == SDB_BF16 || type == SDB_F64;
}

sd_status ref_check_types(sdb_queue *q, const char *op, const sdb_tensor *x, const sdb_tensor *y) {
    const sdb_host *host = q->dev->host;
    if (is_float(x->type) && is_float(y->type))
        return SD_OK;
    return host->error(host->user, SD_ERROR_UNSUPPORTED,
                       "backend 'reference' has no %s from type %d to type %d", op, (int)x->type,
                       (int)y->type);
}

sd_status ref_for_rows(sdb_queue *q, const sdb_tensor *y, void (*fn)(void *, int, int), void *arg) {
    if (!q->planning)
        q->dev->host->parallel_for(q->dev->host->user, y->n * y->h, fn, arg);
    return SD_OK;
}

#define X(name)                                                                                    \
    static sd_status run_##name(sdb_queue *q, const sdb_op *op) {                                  \
        return ref_##name(q, &op->name);                                                           \
    }
SDB_OPERATIONS(X)
#undef X

const sdb_backend sdb_reference_backend = {
    .api_version = SDB_API_VERSION,
    .name = "reference",
    .device_open = device_open,
    .device_close = device_close,
    .device_info = device_info,
    .buffer_alloc = buffer_alloc,
    .buffer_free = buffer_free,
    .weight_prepare = ref_weight_prepare,
    .weight_free = ref_weight_free,
    .weight_size = ref_weight_size,
    .queue_new = queue_new,
    .queue_free = queue_free,
    .queue_plan = queue_plan,
    .queue_scratch = queue_scratch,
    .upload = copy,
    .download = copy,
    .sync = sync,
    /* no record_*: regions are always run anew */
    .run =
        {
#define X(name) [SDB_OP_##name] = run_##name,
            SDB_OPERATIONS(X)
#undef X
        },
};
