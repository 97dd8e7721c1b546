/* Models: section 2 of sd.h. */
#include "api/check.h"
#include "core/files.h"
#include "model/source.h"
#include "pipeline/adapt.h"
#include "pipeline/derive.h"
#include "pipeline/estimate.h"
#include "pipeline/load.h"
#include "pipeline/preview.h"
#include "pipeline/unet.h"

#include <math.h>

#define MAX_ADAPTERS 4096

/* The adapters that are used: whole, and pointed to. */
typedef struct adapters {
    sd_adapter_use *full; /* [n]; their handles are retained */
    const sd_adapter_use **uses;
    int n;
} adapters;

static sd_status read_adapter(const sd_context *ctx, const sd_adapter_use *given,
                              sd_adapter_use *full) {
    *full = (sd_adapter_use)SD_ADAPTER_USE_INIT;
    sd_status status = sdi_read_params(ctx, "sd_adapter_use", full, sizeof *full, given);
    if (status)
        return status;
    SD_REQUIRE(ctx, full->path || full->adapter,
               "sd_adapter_use.path is NULL, and so is sd_adapter_use.adapter");
    SD_REQUIRE(ctx, !full->path || !full->adapter,
               "sd_adapter_use has both a path and an adapter; one was expected");
    SD_REQUIRE(ctx, isfinite(full->unet_strength) && isfinite(full->text_strength),
               "the strengths of sd_adapter_use are %g and %g; finite numbers were expected",
               full->unet_strength, full->text_strength);
    return SD_OK;
}

static sd_status read_all(const sd_context *ctx, const sd_adapter_use *const *given, int n,
                          const char *what, adapters *own) {
    sd_status status = SD_OK;
    own->full = sdi_alloc_array(ctx, (size_t)n, sizeof *own->full);
    own->uses = sdi_alloc_array(ctx, (size_t)n, sizeof *own->uses);
    if (!own->full || !own->uses)
        return SD_ERROR_MEMORY;
    for (int i = 0; i < n && !status; i++) {
        SD_REQUIRE(ctx, given[i], "%s[%d] is NULL", what, i);
        status = read_adapter(ctx, given[i], &own->full[i]);
        own->uses[i] = &own->full[i];
        if (!status)
            sdi_handle_retain(own->full[own->n++].adapter);
    }
    return status;
}

/* The caller's adapters with defaults filled in. To be freed after a failure, too. */
static sd_status read_adapters(const sd_context *ctx, const sd_adapter_use *const *given, int n,
                               const char *what, adapters *own) {
    *own = (adapters){0};
    SD_REQUIRE(ctx, n >= 0 && n <= MAX_ADAPTERS, "n_adapters is %d; 0 to %d was expected", n,
               MAX_ADAPTERS);
    SD_REQUIRE(ctx, n == 0 || given, "%s is NULL", what);
    return n ? read_all(ctx, given, n, what, own) : SD_OK;
}

static void free_adapters(const sd_context *ctx, adapters *own) {
    for (int i = 0; i < own->n; i++)
        sdi_handle_release(own->full[i].adapter);
    sdi_free(ctx, own->full);
    sdi_free(ctx, (void *)own->uses);
}

static sd_status load_model(sd_context *ctx, const char *path, sd_model_params *p, sd_model **out) {
    adapters own;
    sd_status status =
        read_adapters(ctx, p->adapters, p->n_adapters, "sd_model_params.adapters", &own);
    p->adapters = own.uses;
    if (!status)
        status = sdi_model_load(ctx, path, p, out);
    free_adapters(ctx, &own);
    return status;
}

static sd_status check_and_load(sd_context *ctx, const char *path, sd_model_params *p,
                                sd_model **out) {
    SD_REQUIRE_PTR(ctx, path);
    SD_REQUIRE(ctx, p->precision >= SD_PRECISION_AUTO && p->precision <= SD_PRECISION_BFLOAT16,
               "sd_model_params.precision is %d; a value of sd_precision was expected",
               (int)p->precision);
    SD_REQUIRE(ctx, p->use_ema >= SD_EMA_AUTO && p->use_ema <= SD_EMA_OFF,
               "sd_model_params.use_ema is %d; a value of sd_ema was expected", (int)p->use_ema);
    sdi_call_heed(p->stop);
    return load_model(ctx, path, p, out);
}

/* From the host's files, which are its own again once nothing reads them. */
static sd_status load_from(sd_context *ctx, const char *path, sd_model_params *p, sd_model **out) {
    sd_io io = SD_IO_INIT;
    sd_host_files *files;
    sd_status status = sdi_read_params(ctx, "sd_io", &io, sizeof io, p->io);
    if (!status)
        status = sdi_host_files_new(ctx, &io, &files);
    if (status)
        return status;
    sdi_host_files_enter(files);
    status = io.size && io.read
                 ? check_and_load(ctx, path, p, out)
                 : sdi_fail(ctx, SD_ERROR_ARGUMENT, "sd_io.%s is NULL", io.size ? "read" : "size");
    sdi_host_files_enter(NULL);
    sdi_host_files_release(files);
    return status;
}

SD_PUBLIC(sd_model_load, (ctx, path, params, out), (ctx), sd_context *ctx, const char *path,
          const sd_model_params *params, sd_model **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_model_params", &p, sizeof p, params);
    if (status)
        return status;
    return p.io ? load_from(ctx, path, &p, out) : check_and_load(ctx, path, &p, out);
}

SD_PUBLIC(sd_model_adapt, (model, uses, n, out), (model), const sd_model *model,
          const sd_adapter_use *const *uses, int32_t n, sd_model **out) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, out);
    *out = NULL;
    adapters own;
    sd_status status = read_adapters(model->ctx, uses, n, "uses", &own);
    if (!status)
        status = sdi_model_adapt(model, own.uses, n, out);
    free_adapters(model->ctx, &own);
    return status;
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
        .n_adapters = model->n_adapters,
        .n_unmatched = model->n_unmatched,
        .has_taesd = model->parts[SD_PART_TINY] != NULL,
        .default_preview = sdi_preview_default(model),
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
