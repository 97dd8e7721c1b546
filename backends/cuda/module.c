/* The vtable of the CUDA backend, and the module's only symbol. */
#include "cuda.h"

/* An operation with its device current. While planning nothing is done on the device. */
#define OPERATION(name)                                                                            \
    static sd_status run_##name(sdb_queue *q, const sdb_##name *op) {                              \
        if (q->planning)                                                                           \
            return cuda_##name(q, op);                                                             \
        sd_status status = cuda_enter(q->dev);                                                     \
        if (status)                                                                                \
            return status;                                                                         \
        status = cuda_await_weights(q);                                                            \
        if (!status)                                                                               \
            status = cuda_##name(q, op);                                                           \
        cuda_leave(q->dev);                                                                        \
        return status;                                                                             \
    }

OPERATION(conv2d)
OPERATION(linear)
OPERATION(group_norm)
OPERATION(layer_norm)
OPERATION(attention)
OPERATION(embed)
OPERATION(timestep_embedding)
OPERATION(combine)
OPERATION(activation)
OPERATION(posterior)
OPERATION(resample)
OPERATION(modulate)
OPERATION(quantize)
OPERATION(blend)
OPERATION(clamp)
OPERATION(rescale)

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
    .conv2d = run_conv2d,
    .linear = run_linear,
    .group_norm = run_group_norm,
    .layer_norm = run_layer_norm,
    .attention = run_attention,
    .embed = run_embed,
    .timestep_embedding = run_timestep_embedding,
    .combine = run_combine,
    .activation = run_activation,
    .posterior = run_posterior,
    .resample = run_resample,
    .modulate = run_modulate,
    .quantize = run_quantize,
    .blend = run_blend,
    .clamp = run_clamp,
    .rescale = run_rescale,
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
