#include "pipeline/stage.h"

/* scripts/txt2img.py of the original. Each stage's memory is given back before the next begins. */
sd_status sd_pipeline_txt2img(sd_model *model, const sd_txt2img_params *params,
                              const sd_sampler_params *sampling, sd_image **images) {
    sd_tensor *cond = NULL, *uncond = NULL, *latent = NULL;
    sd_sampler *sampler = NULL;
    sd_sampler_params p = *sampling;
    sd_text_params text = {sizeof text, params->weighted_prompts, params->clip_skip,
                           params->clean_prompts};
    sd_status status = sd_encode_prompts(model, params->prompt, params->prompts,
                                         params->negative_prompt, &text, &p, &cond, &uncond);
    if (!status)
        status = sd_check_interrupt(model->ctx);
    if (!status)
        status = sd_sampling_new(model, &p, &sampler);
    if (!status)
        status = sd_sampling_run(sampler, cond, uncond, NULL, NULL, &latent);
    sd_sampling_free(sampler);
    if (!status)
        status = sd_check_interrupt(model->ctx);
    if (!status)
        status = sd_decode_images(model, latent, params->tiles, images);
    sd_tensor_destroy(latent);
    sd_tensor_destroy(uncond);
    sd_tensor_destroy(cond);
    return status;
}
