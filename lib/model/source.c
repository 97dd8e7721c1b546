#include "model/source.h"

#include "describe/config.h"
#include "describe/ema.h"
#include "io/folder.h"
#include "io/reader.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------- weights in a folder */

static sd_status open_component(sd_source *s, const sd_part *part, sd_component *component) {
    char *path;
    sd_status status = sd_part_find(s->ctx, s->desc->path, part, &path);
    if (status)
        return status;
    if (!path)
        return sd_part_missing(s->ctx, s->desc->path, part);
    status = sd_weights_open(s->ctx, path, &component->weights);
    if (!status)
        s->files[s->n_files++] = component->weights;
    component->prefix = "";
    sd_free(s->ctx, path);
    return status;
}

/* ------------------------------------------------------------------- diffusers' folder */

/* Names of pipelines that are no Stable Diffusion 1.x or 2.x, by a part of the name. */
static const struct {
    const char *part, *what;
} other_families[] = {
    {"XL", "Stable Diffusion XL"},
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
    const json_t *v = sd_reader_get(r, "_class_name");
    const char *custom = json_is_array(v) ? json_string_value(json_array_get(v, 1)) : NULL;
    return custom ? custom : sd_reader_string(r, "_class_name", "StableDiffusionPipeline");
}

/* Any other pipeline is one of Stable Diffusion's three networks, if they are its. */
static void check_pipeline(sd_source *s, sd_reader *r, sd_index *index) {
    const char *name = pipeline_name(r);
    for (size_t i = 0; i < SD_COUNT(exports) && !r->status; i++)
        if (strncmp(name, exports[i][0], strlen(exports[i][0])) == 0)
            r->status = sd_fail(s->ctx, SD_ERROR_UNSUPPORTED,
                                "%s: \"_class_name\" is \"%.60s\": weights for %s; the folder "
                                "with PyTorch's (.safetensors or .bin) was expected",
                                r->path, name, exports[i][1]);
    for (size_t i = 0; i < SD_COUNT(other_families) && !r->status; i++)
        if (strstr(name, other_families[i].part))
            r->status = sd_fail(s->ctx, SD_ERROR_UNSUPPORTED,
                                "%s: \"_class_name\" is \"%.60s\": %s; libsd knows only Stable "
                                "Diffusion 1.x and 2.x",
                                r->path, name, other_families[i].what);
    index->corrects_scheduler = strncmp(name, "StableDiffusion", 15) == 0;
    bool latent_consistency = strncmp(name, "LatentConsistencyModel", 22) == 0;
    if (latent_consistency) { /* the defaults of these pipelines' __call__ */
        s->desc->scheduler.steps = 4;
        s->desc->scheduler.guidance = 8.5;
    } else if (!r->status && !index->corrects_scheduler) {
        sd_log(s->ctx, SD_LOG_WARN,
               "%s: \"_class_name\" is \"%.60s\", a pipeline that libsd does not know; its "
               "networks are used as StableDiffusionPipeline uses them",
               r->path, name);
    }
}

static const struct {
    const char *component, *class_name, * or ;
} classes[] = {
    {"text_encoder", "CLIPTextModel", "CLIPTextModelWithProjection"},
    {"unet", "UNet2DConditionModel", NULL},
    {"vae", "AutoencoderKL", NULL},
};

/* model_index.json: {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "..."]}. */
static sd_status check_index(sd_source *s, const char *path, sd_index *index) {
    sd_reader r = sd_reader_open(s->ctx, path);
    check_pipeline(s, &r, index);
    for (size_t i = 0; i < SD_COUNT(classes); i++) {
        const json_t *v = sd_reader_get(&r, classes[i].component);
        const json_t *class_name = json_array_get(v, 1);
        const char *text = json_string_value(class_name);
        if (v && !text)
            sd_reader_wrong(&r, classes[i].component, v, "a list of library and class");
        else if (v && strcmp(text, classes[i].class_name) != 0 &&
                 !(classes[i].or &&strcmp(text, classes[i].or) == 0))
            sd_reader_unsupported(&r, classes[i].component, class_name, classes[i].class_name);
    }
    const char *scheduler = json_string_value(json_array_get(sd_reader_get(&r, "scheduler"), 1));
    snprintf(index->scheduler, sizeof index->scheduler, "%s", scheduler ? scheduler : "");
    sd_reader_close(&r);
    return r.status;
}

/* A JSON file of the folder that must be there. */
static sd_status json_path(const sd_source *s, const char *name, char **path) {
    *path = sd_path_join(s->ctx, s->desc->path, name);
    if (!*path)
        return SD_ERROR_MEMORY;
    if (sd_is_file(*path))
        return SD_OK;
    sd_status status =
        sd_fail(s->ctx, SD_ERROR_IO, "%s: not a complete diffusers folder: it has no %s",
                s->desc->path, name);
    sd_free(s->ctx, *path);
    *path = NULL;
    return status;
}

static bool has_scheduler(const sd_source *s, const char *name, sd_status *status) {
    char *path = sd_path_join(s->ctx, s->desc->path, name);
    bool there = path && sd_is_file(path);
    if (!path)
        *status = SD_ERROR_MEMORY;
    sd_free(s->ctx, path);
    return there;
}

/* Steps and guidance are the pipeline's. */
static sd_status read_scheduler(sd_source *s, const char *path, const sd_index *index) {
    int steps = s->desc->scheduler.steps;
    double guidance = s->desc->scheduler.guidance;
    sd_status status = sd_config_scheduler(s->ctx, path, index, s->desc);
    s->desc->scheduler.steps = steps;
    s->desc->scheduler.guidance = guidance;
    return status;
}

/* Each configuration with the function that reads it. */
static sd_status read_configs(sd_source *s) {
    enum { INDEX, UNET, VAE, TEXT, SCHEDULE, N };
    static const char *const names[N] = {"model_index.json", "unet/config.json", "vae/config.json",
                                         "text_encoder/config.json",
                                         "scheduler/scheduler_config.json"};
    sd_status status = SD_OK;
    sd_index index = {.scheduler = ""};
    for (int i = 0; i < N && !status; i++) {
        char *path;
        if (i == SCHEDULE && !has_scheduler(s, names[i], &status)) {
            if (!status)
                sd_config_no_scheduler(s->ctx, s->desc);
            return status;
        }
        status = json_path(s, names[i], &path);
        if (status)
            return status;
        switch (i) {
        case INDEX:
            status = check_index(s, path, &index);
            break;
        case UNET:
            status = sd_config_unet(s->ctx, path, &s->desc->unet);
            break;
        case VAE:
            status = sd_config_vae(s->ctx, path, &s->desc->vae);
            break;
        case TEXT:
            status = sd_config_text(s->ctx, path, &s->desc->text);
            break;
        default:
            status = read_scheduler(s, path, &index);
            break;
        }
        sd_free(s->ctx, path);
    }
    return status;
}

static sd_status open_tokenizer(sd_source *s) {
    s->tokenizer_dir = sd_path_join(s->ctx, s->desc->path, "tokenizer");
    if (!s->tokenizer_dir)
        return SD_ERROR_MEMORY;
    if (sd_is_directory(s->tokenizer_dir))
        return SD_OK;
    sd_free(s->ctx, s->tokenizer_dir);
    s->tokenizer_dir = NULL;
    return SD_OK;
}

static sd_status open_folder(sd_source *s) {
    s->desc->layout = SD_LAYOUT_DIFFUSERS;
    s->text_weights.layout = s->unet_weights.layout = s->vae_weights.layout = SD_LAYOUT_DIFFUSERS;
    s->directory = sd_strdup(s->ctx, s->desc->path);
    sd_status status = s->directory ? read_configs(s) : SD_ERROR_MEMORY;
    if (!status)
        status = open_tokenizer(s);
    if (!status)
        status = open_component(s, &sd_part_text, &s->text_weights);
    if (!status)
        status = open_component(s, &sd_part_unet, &s->unet_weights);
    if (!status)
        status = open_component(s, &sd_part_vae, &s->vae_weights);
    if (!status && sd_weights_has_prefix(s->text_weights.weights, "text_model."))
        s->text_weights.prefix = "text_model.";
    s->desc->family =
        s->desc->unet.linear_projection ? "Stable Diffusion 2.x" : "Stable Diffusion 1.x";
    return status;
}

/* ------------------------------------------------------------------- one file, and all */

static sd_status open_checkpoint(sd_source *s, const char *config) {
    sd_description *d = s->desc;
    sd_prefixes found = {.text = ""};
    d->layout = SD_LAYOUT_ORIGINAL;
    d->family = "Stable Diffusion 1.x";
    s->directory = sd_path_dirname(s->ctx, d->path);
    if (!s->directory)
        return SD_ERROR_MEMORY;
    sd_status status = sd_weights_open(s->ctx, d->path, &s->files[0]);
    if (status)
        return status;
    s->n_files = 1;
    sd_ema_take_alone(s->files[0]); /* for what is read off the tensors */
    if (config)
        status = sd_ldm_config(s->ctx, config, d);
    if (!status)
        status = config ? sd_infer_configured(s->ctx, s->files[0], d, &found)
                        : sd_infer(s->ctx, s->files[0], d, &found);
    sd_layout text = d->text.open_clip ? SD_LAYOUT_OPEN_CLIP : SD_LAYOUT_ORIGINAL;
    s->text_weights = (sd_component){s->files[0], found.text, text};
    s->unet_weights = (sd_component){s->files[0], found.unet, SD_LAYOUT_ORIGINAL};
    s->vae_weights = (sd_component){s->files[0], found.vae, SD_LAYOUT_ORIGINAL};
    s->class_weights = (sd_component){s->files[0], "cond_stage_model.", SD_LAYOUT_ORIGINAL};
    return status;
}

sd_status sd_source_open(sd_context *ctx, const char *path, sd_source **out) {
    return sd_source_open_config(ctx, path, NULL, out);
}

/* `path` is resolved, and taken over. */
static sd_status open_resolved(sd_context *ctx, char *path, const char *config, sd_source **out) {
    sd_status status = SD_OK;
    if (config && sd_is_directory(path))
        status = sd_fail(ctx, SD_ERROR_ARGUMENT,
                         "%s: a diffusers folder has its own configs; %s cannot be used with it",
                         path, config);
    sd_source *s = status ? NULL : sd_zalloc(ctx, sizeof *s);
    if (!s) {
        sd_free(ctx, path);
        return status ? status : SD_ERROR_MEMORY;
    }
    s->ctx = ctx;
    status = sd_description_new(ctx, path, &s->desc);
    if (status) {
        sd_source_close(s);
        return status;
    }
    status = sd_is_directory(s->desc->path) ? open_folder(s) : open_checkpoint(s, config);
    if (!status)
        status = sd_check_description(ctx, s->desc);
    if (status)
        sd_source_close(s);
    else
        *out = s;
    return status;
}

sd_status sd_source_open_config(sd_context *ctx, const char *path, const char *config,
                                sd_source **out) {
    char *resolved;
    *out = NULL;
    sd_status status = sd_resolve_path(ctx, path, false, &resolved);
    return status ? status : open_resolved(ctx, resolved, config, out);
}

/* What the config asks for where the caller did not say. DDPM's use_ema is True by default. */
static sd_status follow_config(sd_source *s) {
    sd_weights *w = s->unet_weights.weights;
    bool asked = s->desc->average == SD_AVERAGE_ASKED;
    char missing[256];
    if (!sd_ema_is_there(w)) {
        if (asked)
            sd_log(
                s->ctx, SD_LOG_WARN,
                "%s: the config has use_ema, but the file has no averaged weights (model_ema.*): "
                "those that training ended with are loaded",
                s->desc->path);
        return SD_OK;
    }
    if (sd_ema_lacks(w, missing, sizeof missing)) {
        sd_log(
            s->ctx, SD_LOG_WARN,
            "%s: of the averaged weights (model_ema.*), which the config wants, '%s' is missing: "
            "those that training ended with are loaded",
            s->desc->path, missing);
        return SD_OK;
    }
    sd_log(s->ctx, asked ? SD_LOG_INFO : SD_LOG_WARN,
           "%s: the averaged weights (model_ema.*) are loaded%s", s->desc->path,
           asked ? ", as the config has it"
                 : ", as the original does where a config does not say use_ema");
    return sd_ema_use(s->ctx, w);
}

sd_status sd_source_choose_weights(sd_source *s, sd_ema choice) {
    if (choice == SD_EMA_ON && s->desc->layout != SD_LAYOUT_ORIGINAL)
        return sd_fail(s->ctx, SD_ERROR_MODEL,
                       "%s: the averaged weights were asked for (use_ema); a diffusers folder has "
                       "one set of weights",
                       s->desc->path);
    if (s->desc->layout != SD_LAYOUT_ORIGINAL || s->desc->first_stage_only)
        return SD_OK;
    if (sd_ema_take_alone(s->unet_weights.weights)) {
        sd_log(s->ctx, choice == SD_EMA_ON ? SD_LOG_INFO : SD_LOG_WARN,
               "%s: the UNet is there only as averaged weights (model_ema.*), which are loaded",
               s->desc->path);
        return SD_OK;
    }
    if (choice == SD_EMA_ON)
        return sd_ema_use(s->ctx, s->unet_weights.weights);
    return choice == SD_EMA_AUTO && s->desc->average != SD_AVERAGE_NONE ? follow_config(s) : SD_OK;
}

void sd_source_close(sd_source *s) {
    if (!s)
        return;
    for (int i = 0; i < s->n_files; i++)
        sd_weights_close(s->files[i]);
    sd_free(s->ctx, s->tokenizer_dir);
    sd_free(s->ctx, s->directory);
    sd_description_free(s->ctx, s->desc);
    sd_free(s->ctx, s);
}

sd_status sd_source_open_files(sd_context *ctx, const char *path, sd_weights *files[3],
                               int *n_files) {
    const sd_part *const parts[] = {&sd_part_text, &sd_part_unet, &sd_part_vae};
    *n_files = 0;
    if (!sd_is_directory(path)) {
        sd_status status = sd_weights_open(ctx, path, &files[0]);
        *n_files = status ? 0 : 1;
        return status;
    }
    sd_status status = SD_OK;
    for (size_t i = 0; i < SD_COUNT(parts) && !status; i++) {
        char *file;
        status = sd_part_find(ctx, path, parts[i], &file);
        if (status || !file)
            continue;
        status = sd_weights_open(ctx, file, &files[*n_files]);
        *n_files += status ? 0 : 1;
        sd_free(ctx, file);
    }
    if (!status && *n_files == 0)
        status = sd_fail(ctx, SD_ERROR_IO,
                         "%s: no diffusers folder: neither text_encoder/, unet/ nor vae/ has "
                         "weights",
                         path);
    while (status && *n_files > 0)
        sd_weights_close(files[--*n_files]);
    return status;
}
