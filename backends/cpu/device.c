/* The CPU backend: device, queue and memory. Operations run at once, in the calling thread and the
 * host's workers. */
#include "cpu.h"
#include "kernels.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static bool has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const cpu_kernels *cpu_kernels_by_index(int index) {
#if defined(__x86_64__)
    if (index == 0 && has_avx512())
        return &cpu_kernels_avx512;
    if (index == 0 || index == 1)
        return has_avx2() ? &cpu_kernels_avx2 : index == 0 ? &cpu_kernels_portable : NULL;
#endif
    return index == 0 || index == 2 ? &cpu_kernels_portable : NULL;
}

/* "cpu" and "cpu:0" take the best instruction set, "cpu:1" AVX2, "cpu:2" the portable code: the
 * lesser ones for tests and comparisons. */
static sd_status device_open(const sdb_host *host, int index, sdb_device **out) {
    const cpu_kernels *k = cpu_kernels_by_index(index);
    if (!k) {
        return host->error(host->user, SD_ERROR_BACKEND,
                           "cpu:%d: no such device; 0 is the best instruction set of this "
                           "processor, 1 is AVX2 (where there is one), 2 is portable code",
                           index);
    }
    sdb_device *dev = host->alloc(host->user, sizeof *dev, 64);
    if (!dev)
        return SD_ERROR_MEMORY;
    *dev = (sdb_device){.host = host, .k = k, .n_threads = host->n_threads};
    *out = dev;
    return SD_OK;
}

static void device_close(sdb_device *dev) {
    if (dev)
        dev->host->free(dev->host->user, dev);
}

static void device_info(const sdb_device *dev, sdb_device_info *info) {
    memset(info, 0, sizeof *info);
    snprintf(info->name, sizeof info->name, "cpu (%s, %d thread%s)", dev->k->name, dev->n_threads,
             dev->n_threads == 1 ? "" : "s");
    info->autocast_type = SDB_F32;
}

static sd_status buffer_alloc(sdb_device *dev, size_t size, void **out) {
    *out = dev->host->alloc(dev->host->user, size ? size : 1, 256);
    return *out ? SD_OK : SD_ERROR_MEMORY;
}

static void buffer_free(sdb_device *dev, void *ptr) {
    if (ptr)
        dev->host->free(dev->host->user, ptr);
}

static size_t weight_size(const sdb_weight *weight) {
    return weight->size;
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
    if (q) {
        buffer_free(q->dev, q->scratch);
        q->dev->host->free(q->dev->host->user, q);
    }
}

static sd_status grow_scratch(sdb_queue *q, size_t size) {
    if (size <= q->capacity)
        return SD_OK;
    buffer_free(q->dev, q->scratch);
    q->scratch = NULL;
    q->capacity = 0;
    void *scratch;
    sd_status status = buffer_alloc(q->dev, size, &scratch);
    if (status == SD_OK) {
        q->scratch = scratch;
        q->capacity = size;
    }
    return status;
}

static sd_status queue_plan(sdb_queue *q, bool planning) {
    q->planning = planning;
    return planning ? SD_OK : grow_scratch(q, q->noted);
}

static size_t queue_scratch(const sdb_queue *q) {
    return q->noted;
}

void *cpu_scratch(sdb_queue *q, size_t size) {
    size = size < 64 ? 64 : size;
    if (size > q->noted)
        q->noted = size;
    /* An operation that was not planned allocates here, once. */
    return q->planning || grow_scratch(q, size) != SD_OK ? NULL : q->scratch;
}

static sd_status copy_bytes(sdb_queue *q, void *dst, const void *src, size_t size) {
    (void)q;
    if (size)
        memcpy(dst, src, size);
    return SD_OK;
}

static sd_status sync_queue(sdb_queue *q) {
    (void)q;
    return SD_OK;
}

#define X(name)                                                                                    \
    static sd_status run_##name(sdb_queue *q, const sdb_op *op) {                                  \
        return cpu_##name(q, &op->name);                                                           \
    }
SDB_OPERATIONS(X)
#undef X

const sdb_backend sdb_cpu_backend = {
    .api_version = SDB_API_VERSION,
    .name = "cpu",
    .device_open = device_open,
    .device_close = device_close,
    .device_info = device_info,
    .buffer_alloc = buffer_alloc,
    .buffer_free = buffer_free,
    .weight_prepare = cpu_weight_prepare,
    .weight_free = cpu_weight_free,
    .weight_size = weight_size,
    .queue_new = queue_new,
    .queue_free = queue_free,
    .queue_plan = queue_plan,
    .queue_scratch = queue_scratch,
    .upload = copy_bytes,
    .download = copy_bytes,
    .sync = sync_queue,
    .run =
        {
#define X(name) [SDB_OP_##name] = run_##name,
            SDB_OPERATIONS(X)
#undef X
        },
};
