/* Makes a model of others' parts. */
#include "pipeline/derive.h"

#include "describe/config.h"

/* The UNet decides which parts there are, and where a text encoder ends, which was built so. */
static sd_status check_part(const sd_model *model, const sd_model *const from[], sd_part_kind part,
                            bool penultimate) {
    const sd_part_type *type = sdi_part_types[part];
    const sd_text_config *text = sdi_part_config(type, model->desc);
    if (!type->wanted(model->desc))
        return SD_OK;
    if (!from[part]->parts[part])
        return sdi_fail(
            model->ctx, SD_ERROR_ARGUMENT, "%s: the UNet needs a %s (\"%s\"), and %s has none",
            from[SD_PART_UNET]->desc->path, type->what, type->name, from[part]->desc->path);
    if (!type->reads_texts || text->penultimate == penultimate)
        return SD_OK;
    return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                    "%s: the UNet takes what a %s gives behind its last layer%s; that of %s was "
                    "loaded for the other kind",
                    from[SD_PART_UNET]->desc->path, type->what, text->penultimate ? " but one" : "",
                    from[part]->desc->path);
}

/* What no part owns is the UNet's; the path stays, for sentences. */
static sd_status describe(sd_model *model, const sd_model *base, const sd_model *const from[]) {
    sd_description *desc;
    bool penultimate[SD_N_PARTS] = {false};
    sd_status status =
        sdi_description_copy(model->ctx, from[SD_PART_UNET]->desc, base->desc->path, &desc);
    if (status)
        return status;
    model->desc = desc;
    for (int i = 0; i < SD_N_PARTS; i++) {
        const sd_part_type *type = sdi_part_types[i];
        sdi_part_copy_config(type, desc, from[i]->desc);
        if (type->reads_texts)
            penultimate[i] = ((const sd_text_config *)sdi_part_config(type, desc))->penultimate;
    }
    sdi_join_description(desc);
    for (int i = 0; i < SD_N_PARTS && !status; i++)
        status = check_part(model, from, (sd_part_kind)i, penultimate[i]);
    return status ? status : sdi_check_description(model->ctx, desc);
}

static void share_parts(sd_model *model, const sd_model *const from[]) {
    for (int i = 0; i < SD_N_PARTS; i++)
        if (sdi_part_types[i]->wanted(model->desc))
            model->parts[i] = sdi_part_retain(from[i]->parts[i]);
}

static sd_status share_encoder(sd_model *model, const sd_model *from, sd_part_kind part) {
    sd_encoder *encoder = &model->encoders[model->n_encoders++];
    *encoder = from->encoders[sdi_model_encoder(from, part)];
    encoder->config = sdi_part_config(sdi_part_types[part], model->desc);
    sdi_tokenizer_retain(encoder->tokenizer);
    sdi_words_retain(encoder->words);
    if (encoder->tokenizer || model->vocab_error)
        return SD_OK;
    model->vocab_error = sdi_strdup(model->ctx, from->vocab_error);
    return model->vocab_error ? SD_OK : SD_ERROR_MEMORY;
}

static sd_status share_encoders(sd_model *model, const sd_model *const from[]) {
    sd_status status = SD_OK;
    for (int i = 0; i < SD_N_PARTS && !status; i++)
        if (sdi_part_types[i]->reads_texts && model->parts[i])
            status = share_encoder(model, from[i], (sd_part_kind)i);
    return status;
}

static int larger(int a, int b) {
    return a > b ? a : b;
}

static sd_status fill(sd_model *model, const sd_model *base, const sd_model *const from[]) {
    sd_status status = describe(model, base, from);
    if (status)
        return status;
    for (int i = 0; i < SD_N_PARTS; i++) {
        model->n_adapters = larger(model->n_adapters, from[i]->n_adapters);
        model->n_unmatched = larger(model->n_unmatched, from[i]->n_unmatched);
    }
    model->execs = sdi_execs_retain(base->execs);
    share_parts(model, from);
    status = share_encoders(model, from);
    return status ? status : sdi_model_make_schedule(model);
}

sd_status sdi_model_derive(const sd_model *base, const sd_model *const from[SD_N_PARTS],
                           sd_model **out) {
    const sd_model *all[SD_N_PARTS];
    *out = NULL;
    for (int i = 0; i < SD_N_PARTS; i++)
        all[i] = from[i] ? from[i] : base;
    sd_model *model = sdi_model_new(base->ctx, base->act);
    if (!model)
        return SD_ERROR_MEMORY;
    sd_status status = fill(model, base, all);
    if (status)
        sdi_handle_release(model);
    else
        *out = model;
    return status;
}

/* ------------------------------------------------------------------------- sd_model_combine */

/* Whether a part of that model may stand beside those of the base. */
static sd_status check_donor(const sd_model *base, const sd_model *from, const char *name) {
    if (from->ctx != base->ctx)
        return sdi_fail(base->ctx, SD_ERROR_ARGUMENT,
                        "sd_model_combine: \"%s\" is of a model of another context; %s has to be "
                        "loaded with the context of %s",
                        name, from->desc->path, base->desc->path);
    if (from->act != base->act)
        return sdi_fail(base->ctx, SD_ERROR_ARGUMENT,
                        "sd_model_combine: \"%s\": %s was loaded with another precision than %s",
                        name, from->desc->path, base->desc->path);
    return SD_OK;
}

/* The UNet that a combined model gets may have no use for a part that was named. */
static sd_status check_named(const sd_model *model, const sd_model *const from[]) {
    for (int i = 0; i < SD_N_PARTS; i++)
        if (from[i] && !model->parts[i])
            return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                            "sd_model_combine: %s takes no %s (\"%s\")", model->desc->path,
                            sdi_part_types[i]->what, sdi_part_types[i]->name);
    return SD_OK;
}

static sd_status take(const sd_model *base, const char *name, const sd_model *donor,
                      const sd_model *from[SD_N_PARTS]) {
    int kind = sdi_part_find(name);
    if (kind < 0)
        return sdi_part_unknown(base->ctx, "sd_model_combine", name);
    if (from[kind])
        return sdi_fail(base->ctx, SD_ERROR_ARGUMENT, "sd_model_combine: \"%s\" is named twice",
                        name);
    from[kind] = donor;
    if (!donor->parts[kind])
        return sdi_fail(base->ctx, SD_ERROR_ARGUMENT, "sd_model_combine: %s has no %s (\"%s\")",
                        donor->desc->path, sdi_part_types[kind]->what, name);
    return check_donor(base, donor, name);
}

/* Latents at another scale are for another VAE, most often; but a first stage may have been trained
 * anew, and so it is only told. */
static void tell_scales(const sd_model *model, const sd_model *base) {
    double is = model->desc->vae.scaling_factor, was = base->desc->vae.scaling_factor;
    if (is != was)
        sdi_log(model->ctx, SD_LOG_LEVEL_WARN,
                "%s: the VAE's scaling factor is %g now and was %g: it may be for another UNet",
                model->desc->path, is, was);
}

sd_status sdi_model_combine(const sd_model *base, const char *const *parts,
                            const sd_model *const *donors, int n, sd_model **out) {
    const sd_model *from[SD_N_PARTS] = {NULL};
    sd_status status = SD_OK;
    for (int i = 0; i < n && !status; i++)
        status = take(base, parts[i], donors[i], from);
    if (!status)
        status = sdi_model_derive(base, from, out);
    if (status)
        return status;
    tell_scales(*out, from[SD_PART_UNET] ? from[SD_PART_UNET] : base);
    status = check_named(*out, from);
    if (status) {
        sdi_handle_release(*out);
        *out = NULL;
    }
    return status;
}
