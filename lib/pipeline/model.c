/* The life of a model, and questions to it. */
#include "pipeline/model.h"

#include "sampler/sampler.h"

static void free_model(void *handle) {
    sd_model *model = handle;
    sd_context *ctx = model->ctx;
    sdi_execs_release(model->execs);
    for (int i = 0; i < SD_N_PARTS; i++)
        sdi_part_release(model->parts[i]);
    sdi_schedule_free(&model->schedule, ctx);
    for (int i = 0; i < model->n_encoders; i++) {
        sdi_tokenizer_release(model->encoders[i].tokenizer);
        sdi_words_release(model->encoders[i].words);
    }
    sdi_description_free(ctx, (sd_description *)model->desc);
    for (int i = 0; i < model->n_unexpected; i++)
        sdi_free(ctx, model->unexpected[i]);
    sdi_free(ctx, model->unexpected);
    sdi_free(ctx, model->vocab_error);
    sdi_free(ctx, model);
    sdi_context_release(ctx);
}

sd_model *sdi_model_new(sd_context *ctx, sdb_type act) {
    sd_model *model = sdi_zalloc(ctx, sizeof *model);
    if (!model)
        return NULL;
    sdi_context_retain(ctx);
    model->ctx = ctx;
    model->act = act;
    sdi_handle_init(&model->handle, ctx, free_model);
    return model;
}

#define SDXL_CONTEXT_DIM 2048

sd_status sdi_model_make_schedule(sd_model *model) {
    const sd_description *d = model->desc;
    if (d->first_stage_only)
        return SD_OK;
    sd_status status = sdi_schedule_make(&model->schedule, model->ctx, &d->schedule);
    model->schedule.folder = d->scheduler.folder ? &d->scheduler : NULL;
    model->schedule.xl = d->unet.context_dim == SDXL_CONTEXT_DIM;
    return status;
}

int sdi_model_encoder(const sd_model *model, sd_part_kind part) {
    for (int i = 0; i < model->n_encoders; i++)
        if (model->encoders[i].part == part)
            return i;
    return -1;
}

int64_t sdi_model_parameters(const sd_model *model) {
    int64_t n = 0;
    for (int i = 0; i < SD_N_PARTS; i++)
        n += sdi_part_parameters(model->parts[i]);
    return n;
}

int64_t sdi_model_weight_bytes(const sd_model *model) {
    int64_t n = 0;
    for (int i = 0; i < SD_N_PARTS; i++)
        n += sdi_part_bytes(model->parts[i]);
    return n;
}

int sdi_model_downscale(const sd_model *model) {
    return 1 << (model->desc->vae.n_levels - 1);
}

/* Downsample's convolution takes any size, and Upsample goes to that of the skip; a mean of two by
 * two does not. */
int sdi_model_size_multiple(const sd_model *model) {
    const sd_unet_config *unet = &model->desc->unet;
    bool halves = unet->updown_blocks || unet->pooled_resample;
    int levels = halves && !model->desc->first_stage_only ? unet->n_levels : 1;
    return sdi_model_downscale(model) << (levels - 1);
}

bool sdi_model_has_vocabulary(const sd_model *model) {
    for (int i = 0; i < model->n_encoders; i++)
        if (!model->encoders[i].tokenizer)
            return false;
    return model->n_encoders > 0;
}

int sdi_model_context_width(const sd_model *model) {
    int width = 0;
    for (int i = 0; i < model->n_encoders; i++)
        width += model->encoders[i].config->width;
    return model->n_encoders > 0 ? width : model->desc->unet.context_dim;
}

int sdi_model_context_tokens(const sd_model *model) {
    const sd_description *desc = model->desc;
    return desc->first_stage_only                        ? 0
           : desc->conditioning == SD_CONDITIONING_TEXT  ? model->encoders[0].config->tokens
           : desc->conditioning == SD_CONDITIONING_CLASS ? 1
                                                         : 0;
}

sd_status sdi_need_unet(const sd_model *model, const char *call) {
    if (sdi_model_unet(model))
        return SD_OK;
    return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                    "%s: %s is a first stage alone and has no UNet", call, model->desc->path);
}

sd_status sdi_need_conditioning(const sd_model *model, const char *call, sd_conditioning kind) {
    static const char *const has[] = {"on text: it has a text encoder (sd_encode_text)",
                                      "on classes (sd_encode_class)",
                                      "on nothing: cond is NULL in sd_sample"};
    const sd_description *desc = model->desc;
    sd_status status = sdi_need_unet(model, call);
    if (status || desc->conditioning == kind)
        return status;
    return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED, "%s: the model %s is conditioned %s", call,
                    desc->path, has[desc->conditioning]);
}

/* Pixels of a picture whose size nobody named. */
void sdi_model_default_size(const sd_model *model, int *width, int *height) {
    const sd_unet_config *c = &model->desc->unet;
    int scale = sdi_model_downscale(model);
    *height = c->sample_size * scale;
    *width = (c->sample_width ? c->sample_width : c->sample_size) * scale;
}

void sdi_fill_default_sides(const sd_model *model, sd_sampler_params *p) {
    int width, height;
    sdi_model_default_size(model, &width, &height);
    if (!p->width)
        p->width = width;
    if (!p->height)
        p->height = height;
}

sd_timestep_spacing sdi_model_spacing(const sd_model *model, const char *name) {
    const sd_scheduler_config *c = &model->desc->scheduler;
    if (!c->folder)
        return SD_SPACING_UNIFORM;
    const sd_method *method = sdi_method_find(name);
    bool on_sigmas = method && method->times & SD_TIMES_SIGMAS;
    return !on_sigmas || c->curve == SD_CURVE_TIMES ? c->spacing
           : c->curve == SD_CURVE_KARRAS            ? SD_SPACING_KARRAS
           : c->curve == SD_CURVE_EXPONENTIAL       ? SD_SPACING_EXPONENTIAL
                                                    : SD_SPACING_BETA;
}
