/* Loads a model part by part. */
#include "pipeline/load.h"
#include "backend/device.h"
#include "model/build.h"
#include "model/feed.h"
#include "model/match.h"
#include "pipeline/probe.h"
#include "pipeline/words.h"

#include <string.h>

/* A folder's tokenizer/ says how to pad, whichever vocabulary is used with it; an original
 * checkpoint pads as its code does, whatever lies beside the vocabulary: OpenCLIP's, whose networks
 * have the exact GELU, with id 0. */
static sd_status find_padding(const sd_model *model, sd_encoder *encoder, const sd_source *source) {
    const char *dir = source->tokenizer_dirs[encoder->part];
    sd_tokenizer *t = encoder->tokenizer;
    sd_status status = SD_OK;
    if (!source->folder) {
        encoder->pad = encoder->config->act == SD_TEXT_GELU ? 0 : sdi_tokenizer_end(t);
        sdi_tokenizer_drop_pad(t);
        return SD_OK;
    }
    encoder->pad = sdi_tokenizer_end(t);
    if (dir)
        status = sdi_tokenizer_take_pad(t, dir);
    if (status || !sdi_tokenizer_pad_text(t))
        return status;
    encoder->pad = sdi_tokenizer_pad(t);
    if (encoder->pad < 0)
        return sdi_fail(model->ctx, SD_ERROR_FORMAT,
                        "%s: the padding token \"%.60s\" of its tokenizer is not in the vocabulary",
                        model->desc->path, sdi_tokenizer_pad_text(t));
    return SD_OK;
}

/* A vocabulary that was asked for must be there; any other is welcome, and its sentence is kept for
 * the calls that need one. */
static sd_status find_vocabulary(sd_model *model, sd_encoder *encoder, const sd_source *source,
                                 const char *path) {
    const char *dir = source->tokenizer_dirs[encoder->part];
    sd_status status =
        sdi_tokenizer_find(model->ctx, path, dir, source->directory, &encoder->tokenizer);
    if (!status) {
        sdi_tokenizer_limit(encoder->tokenizer, model->desc->path, encoder->config->vocab_size);
        return find_padding(model, encoder, source);
    }
    encoder->tokenizer = NULL;
    if (path || status == SD_ERROR_MEMORY)
        return status;
    if (model->vocab_error) /* said of another encoder */
        return SD_OK;
    model->vocab_error = sdi_strdup(model->ctx, sdi_error_get());
    if (!model->vocab_error)
        return SD_ERROR_MEMORY;
    sdi_log(model->ctx, SD_LOG_LEVEL_WARN, "%s", model->vocab_error);
    return SD_OK;
}

/* The text encoders that the description has, each with its vocabulary. */
static sd_status find_encoders(sd_model *model, const sd_source *source, const char *vocab) {
    sd_status status = SD_OK;
    for (int i = 0; i < SD_N_PARTS && !status; i++) {
        const sd_part_type *type = sdi_part_types[i];
        if (!type->reads_texts || !type->wanted(model->desc))
            continue;
        sd_encoder *encoder = &model->encoders[model->n_encoders++];
        encoder->part = (sd_part_kind)i;
        encoder->config = sdi_part_config(type, model->desc);
        status = find_vocabulary(model, encoder, source, vocab);
    }
    return status;
}

static void count_unexpected(void *user, const char *name) {
    (void)name;
    ++*(int *)user;
}

typedef struct name_list {
    sd_model *model;
    bool failed;
} name_list;

static void keep_unexpected(void *user, const char *name) {
    name_list *list = user;
    sd_model *model = list->model;
    char *copy = list->failed ? NULL : sdi_strdup(model->ctx, name);
    if (!copy) {
        list->failed = true;
        return;
    }
    model->unexpected[model->n_unexpected++] = copy;
    sdi_log(model->ctx, SD_LOG_LEVEL_WARN, "%s: tensor \"%s\" is used by no network",
            model->desc->path, name);
}

static sd_status list_unexpected(sd_model *model, const sd_build *build, bool strict) {
    int n = 0;
    name_list list = {.model = model};
    sdi_build_unexpected(build, count_unexpected, &n);
    if (n == 0)
        return SD_OK;
    model->unexpected = sdi_alloc_array(model->ctx, (size_t)n, sizeof *model->unexpected);
    if (!model->unexpected)
        return SD_ERROR_MEMORY;
    sdi_build_unexpected(build, keep_unexpected, &list);
    if (list.failed)
        return SD_ERROR_MEMORY;
    if (strict)
        return sdi_fail(model->ctx, SD_ERROR_MODEL,
                        "%s: %d tensors are used by no network; the first is \"%s\"",
                        model->desc->path, n, model->unexpected[0]);
    return SD_OK;
}

static sd_status run_build(sd_model *model, sd_build *build, bool strict) {
    sd_status status;
    if ((status = sdi_build_parts(build, model->parts)) ||
        (status = sdi_feeds_check_numbers(&build->feeds, strict)))
        return status;
    return list_unexpected(model, build, strict);
}

static sd_status build_parts(sd_model *model, const sd_source *source,
                             const sd_model_params *params, const sd_uses *uses) {
    sd_build build;
    sd_word_rows *rows[SD_MAX_ENCODERS] = {NULL};
    sd_status status = sdi_build_init(&build, model->ctx, source, model->act, params);
    if (status)
        return status;
    for (int i = 0; i < model->n_encoders && !status; i++) {
        status = sdi_words_open(model, i, uses, &rows[i]);
        build.words[model->encoders[i].part] = rows[i];
    }
    build.n_words = sdi_uses_count_words(uses);
    build.uses = *uses;
    if (!status)
        status = run_build(model, &build, params->strict != 0);
    for (int i = 0; i < SD_MAX_ENCODERS; i++)
        sdi_free(model->ctx, rows[i]);
    sdi_build_free(&build);
    return status;
}

/* An adapter of another family is refused before anything is read for it. */
static sd_status match_adapters(sd_model *model, const sd_source *source, const sd_uses *uses) {
    sd_part *parts[SD_N_PARTS];
    model->n_adapters = uses->n;
    if (uses->n == 0)
        return SD_OK;
    sd_status status = sdi_build_listed(model->ctx, source, parts);
    if (!status)
        status = sdi_match_uses(model->ctx, model->desc, parts, uses, &model->n_unmatched);
    for (int i = 0; i < SD_N_PARTS; i++)
        sdi_part_release(parts[i]);
    return status ? status : sdi_words_check(model, uses);
}

static sd_status load_parts(sd_model *model, const sd_source *source, const sd_model_params *params,
                            const sd_uses *uses) {
    sd_status status;
    if ((status = match_adapters(model, source, uses)) ||
        (status = build_parts(model, source, params, uses)) || (status = sdi_uses_check(uses)))
        return status;
    return sdi_source_check_files(source);
}

static sd_status load_source(sd_model *model, sd_source *source, const sd_model_params *params) {
    sd_status status;
    if ((status = sdi_source_choose_weights(source, params->use_ema)) ||
        (status = find_encoders(model, source, params->vocab)) ||
        (status = sdi_execs_new(model->ctx, model->act, &model->execs)))
        return status;
    sd_uses uses;
    if (!(status = sdi_uses_load(model->ctx, params->adapters, params->n_adapters, &uses)))
        status = load_parts(model, source, params, &uses);
    sdi_uses_free(model->ctx, &uses);
    return status;
}

/* Completes a description that does not say what the UNet predicts. */
static sd_status ask_prediction(sd_model *model, sd_description *desc) {
    sd_prediction found;
    sd_status status = sdi_probe_prediction(model, &found);
    if (!status)
        sdi_description_predicts(desc, found);
    return status;
}

/* The description is complete when this returns, and does not change any more. */
static sd_status load(sd_model *model, const char *path, const sd_model_params *params) {
    sd_source *source;
    sd_status status = sdi_source_open_params(model->ctx, path, params, &source);
    if (status)
        return status;
    sd_description *desc = source->desc;
    model->desc = desc;
    status = sdi_source_add_tiny(source, params->taesd);
    if (!status)
        status = load_source(model, source, params);
    source->desc = NULL; /* the model's */
    sdi_source_close(source);
    if (!status && desc->schedule.prediction == SD_PREDICT_UNKNOWN)
        status = ask_prediction(model, desc);
    if (!status)
        status = sdi_model_make_schedule(model);
    return status;
}

/* The type of activations; a device without 16-bit products computes in full. */
static sdb_type activations(const sd_context *ctx, sd_precision precision) {
    sdb_type autocast = ctx->device->info.autocast_type;
    if (precision == SD_PRECISION_FULL || autocast == SDB_F32)
        return SDB_F32;
    return precision == SD_PRECISION_BFLOAT16 ? SDB_BF16 : autocast;
}

sd_status sdi_model_load(sd_context *ctx, const char *path, const sd_model_params *params,
                         sd_model **out) {
    double start = sdi_clock_seconds();
    *out = NULL;
    sd_model *model = sdi_model_new(ctx, activations(ctx, params->precision));
    if (!model)
        return SD_ERROR_MEMORY;
    sd_status status = load(model, path, params);
    if (status) {
        sdi_handle_release(model);
        return status;
    }
    sdi_log(ctx, SD_LOG_LEVEL_INFO, "%s: %s, %.1f M parameters, %.0f MiB on %s, loaded in %.2f s",
            path, model->desc->family, (double)sdi_model_parameters(model) / 1e6,
            (double)sdi_model_weight_bytes(model) / (1024.0 * 1024.0), ctx->device->info.name,
            sdi_clock_seconds() - start);
    *out = model;
    return SD_OK;
}
