/*
 * What a run takes, and where its time goes: for planning, and for programs that measure.
 */
#ifndef SD_PROFILE_H
#define SD_PROFILE_H

#include <sd/sd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The run that is asked about. */
typedef struct sd_estimate_params {
    size_t struct_size;
    const sd_sampler_params *sampling; /* NULL: all defaults */
    const sd_vae_params *vae;          /* its tiles are counted; NULL: whole pictures */
    int32_t text_tokens;               /* of the conditioning; 0 (default): the model's. Long
                                          prompts have more */
    int32_t combined;                  /* conditionings that a step combines (sd_cond_combine, AND
                                          in a prompt); 0 (default): one */
} sd_estimate_params;

#define SD_ESTIMATE_PARAMS_INIT                                                                    \
    { .struct_size = sizeof(sd_estimate_params) }
LIBSD_API void sd_estimate_params_init(sd_estimate_params *params, size_t struct_size);

typedef struct sd_memory_info {
    size_t struct_size;
    uint64_t weights; /* bytes on the device */
    uint64_t text;    /* activations of the text encoder */
    uint64_t unet;    /* activations of a sampler with these parameters */
    uint64_t decode;  /* of sd_vae_decode, which takes picture after picture */
    uint64_t encode;  /* of sd_vae_encode */
    uint64_t host;    /* what else a process has: vocabulary, pictures, code, stacks; about */
    uint64_t peak;    /* most of the device's at once in text to image: the weights and the largest
                         of the stages; on a device that computes in the host's memory with `host` */
} sd_memory_info;

#define SD_MEMORY_INFO_INIT                                                                        \
    { .struct_size = sizeof(sd_memory_info) }
LIBSD_API void sd_memory_info_init(sd_memory_info *info, size_t struct_size);

/* What a run will take, before it takes it: its networks are measured without memory. `params` NULL
 * means all defaults. */
LIBSD_API sd_status sd_memory_estimate(const sd_model *model, const sd_estimate_params *params,
                                       sd_memory_info *memory);

/* Floating-point operations, two for each multiply-add, of the convolutions (as direct sums),
 * linear layers and attention products. */
typedef struct sd_work_info {
    size_t struct_size;
    double text;   /* sd_encode_tokens of one prompt */
    double step;   /* one sampler step: the batch, and both halves where guidance_scale is not 1 */
    double decode; /* sd_vae_decode of the batch, on whole pictures */
    double encode; /* sd_vae_encode of one picture, whole */
} sd_work_info;

#define SD_WORK_INFO_INIT                                                                          \
    { .struct_size = sizeof(sd_work_info) }
LIBSD_API void sd_work_info_init(sd_work_info *info, size_t struct_size);

/* How much arithmetic a run is; seconds times FLOP/s, for planning and benchmarks. */
LIBSD_API sd_status sd_work_estimate(const sd_model *model, const sd_estimate_params *params,
                                     sd_work_info *work);

/* What was done of one kind of operation. */
typedef struct sd_profile_row {
    size_t struct_size;
    const char *operation; /* "conv2d", "linear", "attention", ...; a static string */
    uint64_t calls;
    double seconds; /* on the device */
    double flops;   /* as in sd_work_info */
    double bytes;   /* of inputs, weights and outputs, each counted once */
} sd_profile_row;

#define SD_PROFILE_ROW_INIT                                                                        \
    { .struct_size = sizeof(sd_profile_row) }
LIBSD_API void sd_profile_row_init(sd_profile_row *row, size_t struct_size);

/*
 * Between begin and end, the time of every operation that `ctx` computes, on any thread, is added
 * up by kind. Operations are then launched one by one, not as a recorded graph. begin drops what an
 * earlier profile counted. Any thread may call these.
 */
LIBSD_API sd_status sd_profile_begin(sd_context *ctx);
LIBSD_API sd_status sd_profile_end(sd_context *ctx);
/* The rows of the last profile: index counts from 0. SD_ERROR_ARGUMENT past the last. */
LIBSD_API sd_status sd_profile_get(sd_context *ctx, int32_t index, sd_profile_row *row);

/* The device's memory, in bytes. */
typedef struct sd_device_memory_info {
    size_t struct_size;
    uint64_t total; /* 0: the host's */
    uint64_t used;  /* by this context's buffers and weights; 0 where it is not counted */
    uint64_t peak;  /* most of that since the context began */
} sd_device_memory_info;

#define SD_DEVICE_MEMORY_INFO_INIT                                                                 \
    { .struct_size = sizeof(sd_device_memory_info) }
LIBSD_API void sd_device_memory_info_init(sd_device_memory_info *info, size_t struct_size);

/* Any thread. */
LIBSD_API sd_status sd_context_device_memory(sd_context *ctx, sd_device_memory_info *memory);

#ifdef __cplusplus
}
#endif
#endif
