/* Opening a model: its files, and its description from what is in them. */
#include "model/source_internal.h"

#include "core/files.h"
#include "core/os.h"
#include "describe/config.h"
#include "describe/ema.h"
#include "io/reader.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------- files */

sd_naming sdi_find_names(const sd_part_type *type, const sd_weights *w, unsigned layouts) {
    const sd_place *place = sdi_source_find_place(type, w, layouts);
    for (int i = type->n_places; i-- > 0 && !place;)
        if (layouts >> type->places[i].layout & 1)
            place = &type->places[i];
    return place ? (sd_naming){place->layout, place->prefix} : (sd_naming){.prefix = ""};
}

/* ------------------------------------------------------------------- diffusers' folder */

/* Names of pipelines that are no Stable Diffusion 1.x, 2.x or XL, by a part of the name. */
static const struct {
    const char *part, *what;
} other_families[] = {
    {"StableDiffusion3", "Stable Diffusion 3"},
    {"Flux", "Flux"},
    {"UnCLIP", "unCLIP, which is conditioned on pictures' embeddings"},
    {"StableVideo", "Stable Video Diffusion"},
    {"Kandinsky", "Kandinsky"},
    {"PixArt", "PixArt"},
    {"Kolors", "Kolors"},
};

/* Exports to other runtimes, by the beginning. */
static const char *const exports[][2] = {
    {"Onnx", "ONNX"}, {"ORT", "ONNX"}, {"OV", "OpenVINO"}, {"Flax", "Flax"}, {"TF", "TensorFlow"}};

/* A custom pipeline has a list of module and class. */
static const char *pipeline_name(sd_reader *r) {
    const json_t *v = sdi_reader_get(r, "_class_name");
    const char *custom = json_is_array(v) ? json_string_value(json_array_get(v, 1)) : NULL;
    return custom ? custom : sdi_reader_string(r, "_class_name", "StableDiffusionPipeline");
}

/* What StableDiffusionXLPipeline and its like have by default. */
static void take_xl(sd_source *s, sd_reader *r, const char *name) {
    s->desc->scheduler.guidance = SD_XL_GUIDANCE(strstr(name, "Inpaint") != NULL);
    s->desc->zeros_for_empty = sdi_reader_bool(r, "force_zeros_for_empty_prompt", true);
}

/* Any other pipeline is one of Stable Diffusion's three networks, if they are its. */
static void check_pipeline(sd_source *s, sd_reader *r, sd_index *index) {
    const char *name = pipeline_name(r);
    for (size_t i = 0; i < SD_COUNT(exports) && !r->status; i++)
        if (strncmp(name, exports[i][0], strlen(exports[i][0])) == 0)
            r->status = sdi_fail(s->ctx, SD_ERROR_UNSUPPORTED,
                                 "%s: \"_class_name\" is \"%.60s\": weights for %s; the folder "
                                 "with PyTorch's (.safetensors or .bin) was expected",
                                 r->path, name, exports[i][1]);
    for (size_t i = 0; i < SD_COUNT(other_families) && !r->status; i++)
        if (strstr(name, other_families[i].part))
            r->status = sdi_fail(s->ctx, SD_ERROR_UNSUPPORTED,
                                 "%s: \"_class_name\" is \"%.60s\": %s; libsd knows only Stable "
                                 "Diffusion 1.x, 2.x and XL",
                                 r->path, name, other_families[i].what);
    bool xl = strncmp(name, "StableDiffusionXL", 17) == 0;
    index->corrects_scheduler = strncmp(name, "StableDiffusion", 15) == 0 && !xl;
    if (xl)
        take_xl(s, r, name);
    bool latent_consistency = strncmp(name, "LatentConsistencyModel", 22) == 0;
    if (latent_consistency) { /* the defaults of these pipelines' __call__ */
        s->desc->scheduler.steps = 4;
        s->desc->scheduler.guidance = 8.5;
    } else if (!r->status && !index->corrects_scheduler && !xl) {
        sdi_log(s->ctx, SD_LOG_LEVEL_WARN,
                "%s: \"_class_name\" is \"%.60s\", a pipeline that libsd does not know; its "
                "networks are used as StableDiffusionPipeline uses them",
                r->path, name);
    }
}

static bool is_class(const sd_part_type *type, const char *name) {
    for (const char *const *known = type->classes; *known; known++)
        if (strcmp(*known, name) == 0)
            return true;
    return false;
}

/* "unet": ["diffusers", "UNet2DConditionModel"] */
static void check_class(sd_reader *r, const sd_part_type *type) {
    const json_t *v = sdi_reader_get(r, type->folder), *name = json_array_get(v, 1);
    if (v && !json_is_string(name))
        sdi_reader_wrong(r, type->folder, v, "a list of library and class");
    else if (v && !is_class(type, json_string_value(name)))
        sdi_reader_unsupported(r, type->folder, name, type->classes[0]);
}

/* ["transformers", "CLIPTextModel"], and not [null, null]. */
static bool is_there(sd_reader *r, const char *folder) {
    return json_is_string(json_array_get(sdi_reader_get(r, folder), 1));
}

/* SDXL's refiner has the second text encoder alone. */
static sd_texts which_texts(sd_reader *r) {
    return !is_there(r, sdi_text_2_part.folder) ? SD_TEXTS_FIRST
           : is_there(r, sdi_text_part.folder)  ? SD_TEXTS_BOTH
                                                : SD_TEXTS_SECOND;
}

/* model_index.json: {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "..."]}. */
static sd_status check_index(sd_source *s, const char *path, sd_index *index) {
    sd_reader r = sdi_reader_open(s->ctx, path);
    check_pipeline(s, &r, index);
    s->desc->texts = which_texts(&r);
    for (int i = 0; i < SD_N_PARTS; i++)
        if (sdi_part_types[i]->folder && sdi_part_types[i]->wanted(s->desc))
            check_class(&r, sdi_part_types[i]);
    const char *scheduler = json_string_value(json_array_get(sdi_reader_get(&r, "scheduler"), 1));
    snprintf(index->scheduler, sizeof index->scheduler, "%s", scheduler ? scheduler : "");
    sdi_reader_close(&r);
    return r.status;
}

/* The path of a file of the folder, which must be there. */
static sd_status path_of(const sd_source *s, const char *name, char **path) {
    *path = sdi_path_join(s->ctx, s->desc->path, name);
    if (!*path)
        return SD_ERROR_MEMORY;
    return sdi_is_file(*path)
               ? SD_OK
               : sdi_fail(s->ctx, SD_ERROR_IO, "%s: not a complete diffusers folder: it has no %s",
                          s->desc->path, name);
}

static sd_status read_index(sd_source *s, sd_index *index) {
    char *path;
    sd_status status = path_of(s, "model_index.json", &path);
    if (!status)
        status = check_index(s, path, index);
    sdi_free(s->ctx, path);
    return status;
}

static sd_status read_config(sd_source *s, const sd_part_type *type) {
    char *path, name[128];
    snprintf(name, sizeof name, "%s/config.json", type->folder);
    sd_status status = path_of(s, name, &path);
    if (!status)
        status = type->read(s->ctx, path, sdi_part_config(type, s->desc));
    sdi_free(s->ctx, path);
    return status;
}

/* A part of the folder's own; or one that is given, for which the folder's is the base. */
static sd_status describe_part(sd_source *s, const char *given, sd_part_kind kind) {
    sd_status status = read_config(s, sdi_part_types[kind]);
    return given ? sdi_source_take_part(s, kind, given, !status, false) : status;
}

/* Steps and guidance are the pipeline's. */
static sd_status read_scheduler(sd_source *s, const sd_index *index) {
    int steps = s->desc->scheduler.steps;
    double guidance = s->desc->scheduler.guidance;
    char *path = sdi_path_join(s->ctx, s->desc->path, "scheduler/scheduler_config.json");
    sd_status status = path ? SD_OK : SD_ERROR_MEMORY;
    if (!status && sdi_is_file(path))
        status = sdi_config_scheduler(s->ctx, path, index, s->desc);
    else if (!status)
        sdi_config_no_scheduler(s->ctx, s->desc);
    s->desc->scheduler.steps = steps;
    s->desc->scheduler.guidance = guidance;
    sdi_free(s->ctx, path);
    return status;
}

static sd_status open_part(sd_source *s, sd_part_kind kind) {
    const sd_part_type *type = sdi_part_types[kind];
    char *folder = sdi_path_join(s->ctx, s->desc->path, type->folder), *path = NULL;
    sd_status status =
        folder ? sdi_folder_weights(s->ctx, folder, &type->stems, &path) : SD_ERROR_MEMORY;
    if (!status && !path)
        status = sdi_folder_has_none(s->ctx, folder, &type->stems);
    if (!status)
        status = sdi_source_open_file(s, path, &s->weights[kind]);
    if (!status)
        *sdi_part_names(type, s->desc) =
            sdi_find_names(type, s->weights[kind], 1u << SD_LAYOUT_DIFFUSERS);
    sdi_free(s->ctx, path);
    sdi_free(s->ctx, folder);
    return status;
}

static sd_status open_tokenizer(sd_source *s, sd_part_kind kind) {
    char *path = sdi_path_join(s->ctx, s->desc->path, sdi_part_types[kind]->tokenizer);
    if (!path)
        return SD_ERROR_MEMORY;
    if (sdi_is_directory(path))
        s->tokenizer_dirs[kind] = path;
    else
        sdi_free(s->ctx, path);
    return SD_OK;
}

static const char *stable_diffusion(const sd_description *d) {
    return d->texts == SD_TEXTS_BOTH     ? "Stable Diffusion XL"
           : d->texts == SD_TEXTS_SECOND ? "Stable Diffusion XL refiner"
           : d->unet.linear_projection   ? "Stable Diffusion 2.x"
                                         : "Stable Diffusion 1.x";
}

static sd_status open_folder(sd_source *s, const char *const given[]) {
    sd_index index = {.scheduler = ""};
    s->folder = true;
    s->directory = sdi_strdup(s->ctx, s->desc->path);
    sd_status status = s->directory ? read_index(s, &index) : SD_ERROR_MEMORY;
    for (int i = 0; i < SD_N_PARTS && !status; i++)
        if (sdi_part_types[i]->wanted(s->desc))
            status = describe_part(s, given[i], (sd_part_kind)i);
    if (!status)
        status = read_scheduler(s, &index);
    for (int i = 0; i < SD_N_PARTS && !status; i++)
        if (sdi_part_types[i]->tokenizer && sdi_part_types[i]->wanted(s->desc))
            status = open_tokenizer(s, (sd_part_kind)i);
    for (int i = 0; i < SD_N_PARTS && !status; i++)
        if (sdi_part_types[i]->wanted(s->desc) && !given[i])
            status = open_part(s, (sd_part_kind)i);
    s->desc->family = stable_diffusion(s->desc);
    return status;
}

/* ------------------------------------------------------------------- one file, and all */

/* A config says how a text encoder is named; without one, the names that there are do. */
static sd_status infer_part(const sd_checkpoint *from, const sd_part_type *type,
                            sd_description *d) {
    const unsigned any = 1u << SD_LAYOUT_ORIGINAL | 1u << SD_LAYOUT_OPEN_CLIP;
    sd_naming *names = sdi_part_names(type, d);
    *names = sdi_find_names(type, from->weights, from->configured ? 1u << names->layout : any);
    bool sized = from->configured && !type->measured;
    return sized ? SD_OK : type->infer(from, sdi_part_config(type, d));
}

/* Where a part is given, the file's own is its base, if there is a sound one. */
static sd_status take_or_infer(sd_source *s, const sd_checkpoint *from, const char *given,
                               sd_part_kind kind) {
    const sd_part_type *type = sdi_part_types[kind];
    bool sized = from->configured && !type->measured;
    if (!given)
        return infer_part(from, type, s->desc);
    bool there = sized || sdi_source_find_place(type, from->weights, SD_ANY_LAYOUT);
    bool known = there && !infer_part(from, type, s->desc);
    sdi_source_pass_over(type, s->files[0]);
    return sdi_source_take_part(s, kind, given, known, sized);
}

static sd_status describe_checkpoint(sd_source *s, const char *config, const char *const given[]) {
    sd_description *d = s->desc;
    sd_checkpoint from = {.ctx = s->ctx,
                          .path = d->path,
                          .weights = s->files[0],
                          .configured = config != NULL,
                          .given = {.unet = given[SD_PART_UNET],
                                    .vae = given[SD_PART_VAE],
                                    .text = given[SD_PART_TEXT],
                                    .text_2 = given[SD_PART_TEXT_2]}};
    sd_status status = config ? sdi_ldm_config(s->ctx, config, d) : SD_OK;
    if (!status)
        status = sdi_infer_kind(&from, d);
    from.scale = sdi_description_scale(d);
    for (int i = 0; i < SD_N_PARTS && !status; i++)
        if (sdi_part_types[i]->wanted(d))
            status = take_or_infer(s, &from, given[i], (sd_part_kind)i);
    if (!config) {
        d->family = stable_diffusion(d);
        from.weights = s->weights[SD_PART_UNET]; /* whose file says what it predicts */
    }
    return status ? status : sdi_infer_rest(&from, d);
}

static sd_status open_checkpoint(sd_source *s, const char *config, const char *const given[]) {
    s->directory = sdi_path_dirname(s->ctx, s->desc->path);
    sd_weights *w;
    sd_status status = s->directory ? sdi_source_open_file(s, s->desc->path, &w) : SD_ERROR_MEMORY;
    if (status)
        return status;
    for (int i = 0; i < SD_N_PARTS; i++)
        s->weights[i] = w;
    sdi_ema_take_alone(w); /* for what is read off the tensors */
    return describe_checkpoint(s, config, given);
}

/* A part that was given is one of the model's. */
static sd_status check_given(const sd_source *s, const char *const given[]) {
    for (int i = 0; i < SD_N_PARTS; i++)
        if (given[i] && !sdi_part_types[i]->wanted(s->desc))
            return sdi_fail(s->ctx, SD_ERROR_ARGUMENT,
                            "%s: this model takes no %s (sd_model_params.%s is \"%s\")",
                            s->desc->path, sdi_part_types[i]->what, sdi_part_types[i]->name,
                            given[i]);
    return SD_OK;
}

static sd_status open_and_check(sd_source *s, const sd_model_params *params) {
    const char *given[SD_N_PARTS];
    for (int i = 0; i < SD_N_PARTS; i++)
        given[i] = sdi_part_file(sdi_part_types[i], params);
    sd_status status = sdi_is_directory(s->desc->path) ? open_folder(s, given)
                                                       : open_checkpoint(s, params->config, given);
    if (!status)
        status = check_given(s, given);
    if (status)
        return status;
    sdi_join_description(s->desc);
    return sdi_check_description(s->ctx, s->desc);
}

/* `path` is resolved, and taken over. */
static sd_status open_resolved(sd_context *ctx, char *path, const sd_model_params *params,
                               sd_source **out) {
    sd_status status = SD_OK;
    if (params->config && sdi_is_directory(path))
        status = sdi_fail(ctx, SD_ERROR_ARGUMENT,
                          "%s: a diffusers folder has its own configs; %s cannot be used with it",
                          path, params->config);
    sd_source *s = status ? NULL : sdi_zalloc(ctx, sizeof *s);
    if (!s) {
        sdi_free(ctx, path);
        return status ? status : SD_ERROR_MEMORY;
    }
    s->ctx = ctx;
    status = sdi_description_new(ctx, path, &s->desc);
    if (!status)
        status = open_and_check(s, params);
    if (status)
        sdi_source_close(s);
    else
        *out = s;
    return status;
}

sd_status sdi_source_open_params(sd_context *ctx, const char *path, const sd_model_params *params,
                                 sd_source **out) {
    char *resolved;
    *out = NULL;
    sd_status status = sdi_resolve_path(ctx, path, false, &resolved);
    return status ? status : open_resolved(ctx, resolved, params, out);
}

sd_status sdi_source_open(sd_context *ctx, const char *path, sd_source **out) {
    const sd_model_params params = SD_MODEL_PARAMS_INIT;
    return sdi_source_open_params(ctx, path, &params, out);
}

/* The config decides where the caller did not say. DDPM's use_ema is True by default. */
static sd_status follow_config(sd_source *s) {
    sd_weights *w = s->weights[SD_PART_UNET];
    bool asked = s->desc->average == SD_AVERAGE_ASKED;
    char missing[256];
    if (!sdi_ema_is_there(w)) {
        if (asked)
            sdi_log(
                s->ctx, SD_LOG_LEVEL_WARN,
                "%s: the config has use_ema, but the file has no averaged weights (model_ema.*): "
                "those that training ended with are loaded",
                s->desc->path);
        return SD_OK;
    }
    if (sdi_ema_lacks(w, missing, sizeof missing)) {
        sdi_log(
            s->ctx, SD_LOG_LEVEL_WARN,
            "%s: of the averaged weights (model_ema.*), which the config wants, '%s' is missing: "
            "those that training ended with are loaded",
            s->desc->path, missing);
        return SD_OK;
    }
    sdi_log(s->ctx, asked ? SD_LOG_LEVEL_INFO : SD_LOG_LEVEL_WARN,
            "%s: the averaged weights (model_ema.*) are loaded%s", s->desc->path,
            asked ? ", as the config has it"
                  : ", as the original does where a config does not say use_ema");
    return sdi_ema_use(s->ctx, w);
}

sd_status sdi_source_choose_weights(sd_source *s, sd_ema choice) {
    bool folder = s->desc->unet.names.layout == SD_LAYOUT_DIFFUSERS;
    if (choice == SD_EMA_ON && folder)
        return sdi_fail(s->ctx, SD_ERROR_MODEL,
                        "%s: the averaged weights were asked for (use_ema); a diffusers folder has "
                        "one set of weights",
                        s->desc->path);
    if (folder || s->desc->first_stage_only)
        return SD_OK;
    if (sdi_ema_take_alone(s->weights[SD_PART_UNET])) {
        sdi_log(s->ctx, choice == SD_EMA_ON ? SD_LOG_LEVEL_INFO : SD_LOG_LEVEL_WARN,
                "%s: the UNet is there only as averaged weights (model_ema.*), which are loaded",
                s->desc->path);
        return SD_OK;
    }
    if (choice == SD_EMA_ON)
        return sdi_ema_use(s->ctx, s->weights[SD_PART_UNET]);
    return choice == SD_EMA_AUTO && s->desc->average != SD_AVERAGE_NONE ? follow_config(s) : SD_OK;
}

sd_status sdi_source_check_files(const sd_source *s) {
    sd_status status = SD_OK;
    for (int i = 0; i < s->n_files && !status; i++)
        status = sdi_weights_check(s->files[i]);
    return status;
}

void sdi_source_close(sd_source *s) {
    if (!s)
        return;
    for (int i = 0; i < s->n_files; i++)
        sdi_weights_close(s->files[i]);
    for (int i = 0; i < SD_N_PARTS; i++)
        sdi_free(s->ctx, s->tokenizer_dirs[i]);
    sdi_free(s->ctx, s->directory);
    sdi_description_free(s->ctx, s->desc);
    sdi_free(s->ctx, s);
}
