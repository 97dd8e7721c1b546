/* Models: section 2 of sd.h. */
#include "api/check.h"
#include "model/source.h"
#include "pipeline/derive.h"
#include "pipeline/estimate.h"
#include "pipeline/load.h"
#include "pipeline/unet.h"
#include "pipeline/words.h"

#include <math.h>

/* The adapters that are used: whole, and pointed to. */
typedef struct adapters {
    sd_adapter_use full[SD_MAX_WORDS];
    const sd_adapter_use *uses[SD_MAX_WORDS];
} adapters;

static sd_status read_adapter(const sd_context *ctx, const sd_adapter_use *given,
                              sd_adapter_use *full) {
    *full = (sd_adapter_use)SD_ADAPTER_USE_INIT;
    sd_status status = sdi_read_params(ctx, "sd_adapter_use", full, sizeof *full, given);
    if (status)
        return status;
    SD_REQUIRE(ctx, full->path, "sd_adapter_use.path is NULL");
    if (full->unet_strength != 1 || full->text_strength != 1)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: its strengths are %g and %g; textual inversion knows none, and 1 was "
                        "expected",
                        full->path, full->unet_strength, full->text_strength);
    return SD_OK;
}

/* The caller's adapters with defaults filled in; p->adapters are then those of `own`. */
static sd_status read_adapters(const sd_context *ctx, sd_model_params *p, adapters *own) {
    SD_REQUIRE(ctx, p->n_adapters >= 0, "sd_model_params.n_adapters is %d", (int)p->n_adapters);
    SD_REQUIRE(ctx, p->n_adapters == 0 || p->adapters, "sd_model_params.adapters is NULL");
    if (p->n_adapters > SD_MAX_WORDS)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "sd_model_params.n_adapters is %d; a model takes at most %d",
                        (int)p->n_adapters, SD_MAX_WORDS);
    for (int i = 0; i < p->n_adapters; i++) {
        SD_REQUIRE(ctx, p->adapters[i], "sd_model_params.adapters[%d] is NULL", i);
        sd_status status = read_adapter(ctx, p->adapters[i], &own->full[i]);
        if (status)
            return status;
        own->uses[i] = &own->full[i];
    }
    p->adapters = own->uses;
    return SD_OK;
}

SD_PUBLIC(sd_model_load, (ctx, path, params, out), (ctx), sd_context *ctx, const char *path,
          const sd_model_params *params, sd_model **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, path);
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_model_params", &p, sizeof p, params);
    if (status)
        return status;
    SD_REQUIRE(ctx, p.precision >= SD_PRECISION_AUTO && p.precision <= SD_PRECISION_BFLOAT16,
               "sd_model_params.precision is %d; a value of sd_precision was expected",
               (int)p.precision);
    SD_REQUIRE(ctx, p.use_ema >= SD_EMA_AUTO && p.use_ema <= SD_EMA_OFF,
               "sd_model_params.use_ema is %d; a value of sd_ema was expected", (int)p.use_ema);
    adapters own;
    status = read_adapters(ctx, &p, &own);
    if (status)
        return status;
    sdi_call_heed(p.stop);
    return sdi_model_load(ctx, path, &p, out);
}

void sd_model_free(sd_model *model) {
    sdi_handle_free(model);
}

SD_PUBLIC(sd_model_combine, (model, parts, from, n, out), (model), const sd_model *model,
          const char *const *parts, const sd_model *const *from, int32_t n, sd_model **out) {
    SD_REQUIRE_PTR(NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE(model->ctx, n >= 0 && n <= SD_N_PARTS, "n is %d; 0 to %d was expected", (int)n,
               SD_N_PARTS);
    SD_REQUIRE(model->ctx, n == 0 || (parts && from), "parts or from is NULL");
    for (int i = 0; i < n; i++) {
        SD_REQUIRE(model->ctx, parts[i], "parts[%d] is NULL", i);
        SD_REQUIRE(model->ctx, from[i], "from[%d] is NULL", i);
        sdi_call_use(from[i]);
    }
    return sdi_model_combine(model, parts, from, n, out);
}

SD_PUBLIC(sd_model_get_info, (model, info), (model), const sd_model *model, sd_model_info *info) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, info);
    static const char *const predictions[] = {
        [SD_PREDICT_EPSILON] = "epsilon", [SD_PREDICT_V] = "v", [SD_PREDICT_SAMPLE] = "sample"};
    const sd_description *desc = model->desc;
    int downscale = sdi_model_downscale(model);
    int width, height;
    sd_layout layout = desc->first_stage_only ? desc->vae.names.layout : desc->unet.names.layout;
    sdi_model_default_size(model, &width, &height);
    sd_model_info full = {
        .family = desc->family,
        .layout = layout == SD_LAYOUT_ORIGINAL ? "original" : "diffusers",
        .n_parameters = sdi_model_parameters(model),
        .weight_bytes = (uint64_t)sdi_model_weight_bytes(model),
        .latent_channels = desc->vae.latent_channels,
        .latent_downscale = downscale,
        .size_multiple = sdi_model_size_multiple(model),
        .default_width = width,
        .default_height = height,
        .n_encoders = model->n_encoders,
        .text_tokens = sdi_model_context_tokens(model),
        .text_width = sdi_model_context_width(model),
        .latent_scale = desc->vae.scaling_factor,
        .train_timesteps = model->schedule.n,
        .n_unexpected = model->n_unexpected,
        .has_vocabulary = sdi_model_has_vocabulary(model),
        .conditioning = desc->conditioning,
        .n_classes = desc->classes.n,
        .unet_channels = desc->unet.in_channels,
        .n_codes = sdi_vae_has_codebook(sdi_model_vae(model)) ? desc->vae.n_codes : 0,
        .prediction = desc->first_stage_only ? NULL : predictions[desc->schedule.prediction],
        .default_method = desc->first_stage_only ? NULL : desc->scheduler.method,
        .default_spacing = desc->first_stage_only
                               ? SD_SPACING_AUTO
                               : sdi_model_spacing(model, desc->scheduler.method),
        .default_steps = desc->first_stage_only ? 0 : desc->scheduler.steps,
        .default_guidance = desc->first_stage_only ? 0.0 : desc->scheduler.guidance,
        .pooled_width = desc->unet.n_sizes > 0 ? sdi_unet_pooled_width(model) : 0,
        .n_sizes = desc->unet.n_sizes,
        .guidance_embedding = !desc->first_stage_only && desc->unet.guidance_dim > 0,
    };
    return sdi_write_struct(model->ctx, "sd_model_info", info, &full, sizeof full);
}

const char *sd_model_unexpected(const sd_model *model, int32_t i) {
    return model && i >= 0 && i < model->n_unexpected ? model->unexpected[i] : NULL;
}

double sd_alphas_cumprod(const sd_model *model, int32_t timestep) {
    if (!model || timestep < 0 || timestep >= model->schedule.n)
        return (double)NAN;
    return model->schedule.alphas_cumprod[timestep];
}

SD_PUBLIC(sd_checkpoint_list, (ctx, path, fn, user), (ctx), sd_context *ctx, const char *path,
          sd_checkpoint_fn fn, void *user) {
    SD_REQUIRE_PTR(NULL, ctx);
    SD_REQUIRE_PTR(ctx, path);
    SD_REQUIRE_PTR(ctx, fn);
    return sdi_source_list(ctx, path, fn, user);
}
