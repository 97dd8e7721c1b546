/* The vtable of the CUDA backend, and the module's only symbol. */
#include "cuda.h"

/* An operation with its device current. While planning nothing is done on the device. */
#define X(name)                                                                                    \
    static sd_status run_##name(sdb_queue *q, const sdb_op *op) {                                  \
        if (q->planning)                                                                           \
            return cuda_##name(q, &op->name);                                                      \
        sd_status status = cuda_enter(q->dev);                                                     \
        if (status)                                                                                \
            return status;                                                                         \
        status = cuda_await_weights(q);                                                            \
        if (!status)                                                                               \
            status = cuda_##name(q, &op->name);                                                    \
        cuda_leave(q->dev);                                                                        \
        return status;                                                                             \
    }
SDB_OPERATIONS(X)
#undef X

static const sdb_backend backend = {
    .api_version = SDB_API_VERSION,
    .name = "cuda",
    .device_open = cuda_device_open,
    .device_close = cuda_device_close,
    .device_info = cuda_device_info,
    .buffer_alloc = cuda_buffer_alloc,
    .buffer_free = cuda_free,
    .weight_prepare = cuda_weight_prepare,
    .weight_free = cuda_weight_free,
    .weight_size = cuda_weight_size,
    .queue_new = cuda_queue_new,
    .queue_free = cuda_queue_free,
    .queue_plan = cuda_queue_plan,
    .queue_scratch = cuda_queue_scratch,
    .upload = cuda_upload,
    .download = cuda_download,
    .sync = cuda_sync,
    .record_begin = cuda_record_begin,
    .record_end = cuda_record_end,
    .graph_replay = cuda_graph_replay,
    .graph_free = cuda_graph_free,
    .run =
        {
#define X(name) [SDB_OP_##name] = run_##name,
            SDB_OPERATIONS(X)
#undef X
        },
    .mark_new = cuda_mark_new,
    .mark_seconds = cuda_mark_seconds,
    .mark_free = cuda_mark_free,
    .memory_used = cuda_memory_used,
    .stats_parts = cuda_stats_parts,
};

__attribute__((visibility("default"))) const sdb_backend *sdb_module_entry(void);

const sdb_backend *sdb_module_entry(void) {
    return &backend;
}
