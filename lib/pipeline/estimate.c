/* The memory and arithmetic that a run takes, before it runs: its networks are measured, not
 * estimated by formulas. */
#include "pipeline/estimate.h"
#include "pipeline/sampling.h"
#include "pipeline/text.h"
#include "pipeline/vae.h"

#include "core/threads.h"

typedef struct run_cost {
    sd_cost text, step, decode, encode;
} run_cost;

static sd_status measure(const sd_model *model, const sd_sampler_params *params, int tokens,
                         int terms, const sd_vae_params *how, int n_texts, run_cost *cost) {
    int scale = sdi_model_downscale(model);
    int h = params->height / scale, w = params->width / scale;
    sd_status status;
    if ((status = sdi_text_estimate(model, n_texts, &cost->text)) ||
        (status = sdi_sampler_estimate(model, params, tokens, terms, &cost->step)) ||
        (status = sdi_vae_decode_estimate(model, params->batch, h, w, how, &cost->decode)))
        return status;
    return sdi_vae_encode_estimate(model, h, w, how, &cost->encode);
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* The bytes of a process with libsd in it, without vocabulary and pictures: code, tables, stacks
 * and what the heap keeps after loading; measured with SD 1.5. */
#define PROCESS_BYTES ((uint64_t)24 << 20)
#define THREAD_BYTES ((uint64_t)3 << 19)
#define WORD_BYTES 320  /* of a vocabulary's token: text, merges and their tables */
#define PIXEL_BYTES 16  /* of the picture that is decoded: three floats, three bytes */
#define PICTURE_BYTES 3 /* of a pixel of one that is done */

static uint64_t host_bytes(const sd_model *model, const sd_sampler_params *params) {
    uint64_t words = 0;
    for (int i = 0; i < model->n_encoders; i++)
        words += model->encoders[i].tokenizer
                     ? (uint64_t)sdi_tokenizer_size(model->encoders[i].tokenizer)
                     : 0;
    uint64_t pixels = (uint64_t)params->width * (uint64_t)params->height;
    uint64_t threads = (uint64_t)sdi_threads_count(model->ctx->threads);
    return PROCESS_BYTES + threads * THREAD_BYTES + words * WORD_BYTES +
           pixels * (PIXEL_BYTES + (uint64_t)params->batch * PICTURE_BYTES);
}

/* One executor serves the stages of a run in turn, so the largest of them counts (execs.c). */
sd_status sdi_pipeline_memory(const sd_model *model, const sd_sampler_params *params, int tokens,
                              int terms, const sd_vae_params *how, sd_memory_info *memory) {
    run_cost cost = {{0}};
    sd_status status = measure(model, params, tokens, terms, how, 1 + terms, &cost);
    if (status)
        return status;
    uint64_t weights = (uint64_t)sdi_model_weight_bytes(model);
    *memory = (sd_memory_info){
        .struct_size = sizeof *memory,
        .weights = weights,
        .text = cost.text.bytes,
        .unet = cost.step.bytes,
        .decode = cost.decode.bytes,
        .encode = cost.encode.bytes,
        .host = host_bytes(model, params),
        .peak = weights + larger(cost.text.bytes, larger(cost.step.bytes, cost.decode.bytes)),
    };
    if (model->ctx->device->info.memory_total == 0) /* the device's memory is the host's */
        memory->peak += memory->host;
    return SD_OK;
}

sd_status sdi_pipeline_work(const sd_model *model, const sd_sampler_params *params, int tokens,
                            int terms, sd_work_info *work) {
    const sd_vae_params whole = SD_VAE_PARAMS_INIT;
    run_cost cost = {{0}};
    sd_status status = measure(model, params, tokens, terms, &whole, 1, &cost);
    if (status)
        return status;
    *work = (sd_work_info){sizeof *work, cost.text.flops, cost.step.flops, cost.decode.flops,
                           cost.encode.flops};
    return SD_OK;
}
