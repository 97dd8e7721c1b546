#include "pipeline/stage.h"

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* One executor serves the stages of a run in turn, so the largest of them counts (execs.c). */
sd_status sd_pipeline_memory(sd_model *model, const sd_sampler_params *params, sd_memory *memory) {
    int scale = sd_model_downscale(model);
    int h = params->height / scale, w = params->width / scale;
    memory->weights = (uint64_t)model->weight_bytes;
    sd_status status = sd_text_estimate(model, 2, &memory->text);
    if (!status)
        status = sd_sampling_estimate(model, params, &memory->unet);
    if (!status)
        status = sd_vae_decode_estimate(model, params->batch, h, w, &memory->decode);
    if (!status)
        status = sd_vae_encode_estimate(model, 1, h, w, &memory->encode);
    memory->peak =
        memory->weights + larger(memory->text, larger(memory->unet, memory->decode));
    return status;
}
