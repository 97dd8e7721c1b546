#include "io/source.h"

#include "io/config.h"
#include "io/reader.h"

#include <string.h>

/* ------------------------------------------------------------------- weights in a folder */

typedef struct folder {
    const char *name; /* below the model's folder */
    const char *stem, *torch_stem;
} folder;

static const folder text_folder = {"text_encoder", "model", "pytorch_model"};
static const folder unet_folder = {"unet", "diffusion_pytorch_model", "diffusion_pytorch_model"};
static const folder vae_folder = {"vae", "diffusion_pytorch_model", "diffusion_pytorch_model"};

/* Names that diffusers and transformers give, in the order of preference: what follows the stem. */
static const struct {
    const char *end;
    bool torch;
} weight_names[] = {
    {".safetensors", false},
    {".fp16.safetensors", false},
    {".safetensors.index.json", false},
    {".safetensors.index.fp16.json", false},
    {".fp16.safetensors.index.json", false},
    {".bin", true},
    {".fp16.bin", true},
    {".bin.index.json", true},
};

/* The first of the names that is there; *path NULL: none is. */
static sd_status find_weights(const sd_context *ctx, const char *dir, const folder *f,
                              char **path) {
    for (size_t i = 0; i < SD_COUNT(weight_names); i++) {
        const char *stem = weight_names[i].torch ? f->torch_stem : f->stem;
        *path = sd_format(ctx, "%s/%s/%s%s", dir, f->name, stem, weight_names[i].end);
        if (!*path)
            return SD_ERROR_MEMORY;
        if (sd_is_file(*path))
            return SD_OK;
        sd_free(ctx, *path);
    }
    *path = NULL;
    return SD_OK;
}

static sd_status fail_no_weights(const sd_context *ctx, const char *dir, const folder *f) {
    return sd_fail(ctx, SD_ERROR_IO, "%s/%s: no weights: %s.safetensors or %s.bin was expected",
                   dir, f->name, f->stem, f->torch_stem);
}

static sd_status open_component(sd_source *s, const folder *f, sd_component *component) {
    char *path;
    sd_status status = find_weights(s->ctx, s->path, f, &path);
    if (status)
        return status;
    if (!path)
        return fail_no_weights(s->ctx, s->path, f);
    status = sd_weights_open(s->ctx, path, &component->weights);
    if (!status)
        s->files[s->n_files++] = component->weights;
    component->prefix = "";
    sd_free(s->ctx, path);
    return status;
}

/* ------------------------------------------------------------------- diffusers' folder */

/* Pipelines that are Stable Diffusion 1.x or 2.x with the same networks. */
static const char *const pipelines[] = {
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
};

static const struct {
    const char *component, *class_name;
} classes[] = {
    {"text_encoder", "CLIPTextModel"},
    {"unet", "UNet2DConditionModel"},
    {"vae", "AutoencoderKL"},
};

/* model_index.json: {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "..."]}. */
static sd_status check_index(const sd_context *ctx, const char *path) {
    sd_reader r = sd_reader_open(ctx, path);
    const char *name = sd_reader_string(&r, "_class_name", pipelines[0]);
    bool known = false;
    for (size_t i = 0; i < SD_COUNT(pipelines); i++)
        known = known || strcmp(name, pipelines[i]) == 0;
    if (!known)
        sd_reader_unsupported(&r, "_class_name", sd_reader_get(&r, "_class_name"),
                              "\"StableDiffusionPipeline\" and \"StableDiffusionImg2ImgPipeline\"");
    for (size_t i = 0; i < SD_COUNT(classes); i++) {
        const json_t *v = sd_reader_get(&r, classes[i].component);
        const json_t *class_name = json_array_get(v, 1);
        if (v && !json_is_string(class_name))
            sd_reader_wrong(&r, classes[i].component, v, "a list of library and class");
        else if (v && strcmp(json_string_value(class_name), classes[i].class_name) != 0)
            sd_reader_unsupported(&r, classes[i].component, class_name, classes[i].class_name);
    }
    sd_reader_close(&r);
    return r.status;
}

/* A JSON file of the folder that must be there. */
static sd_status json_path(const sd_source *s, const char *name, char **path) {
    *path = sd_path_join(s->ctx, s->path, name);
    if (!*path)
        return SD_ERROR_MEMORY;
    if (sd_is_file(*path))
        return SD_OK;
    sd_status status = sd_fail(s->ctx, SD_ERROR_IO,
                               "%s: not a complete diffusers folder: it has no %s", s->path, name);
    sd_free(s->ctx, *path);
    *path = NULL;
    return status;
}

/* Each configuration with the function that reads it. */
static sd_status read_configs(sd_source *s) {
    enum { INDEX, UNET, VAE, TEXT, SCHEDULE, N };
    static const char *const names[N] = {"model_index.json", "unet/config.json", "vae/config.json",
                                         "text_encoder/config.json",
                                         "scheduler/scheduler_config.json"};
    sd_status status = SD_OK;
    for (int i = 0; i < N && !status; i++) {
        char *path;
        status = json_path(s, names[i], &path);
        if (status)
            return status;
        switch (i) {
        case INDEX:
            status = check_index(s->ctx, path);
            break;
        case UNET:
            status = sd_config_unet(s->ctx, path, &s->unet);
            break;
        case VAE:
            status = sd_config_vae(s->ctx, path, &s->vae);
            break;
        case TEXT:
            status = sd_config_text(s->ctx, path, &s->text);
            break;
        default:
            status = sd_config_schedule(s->ctx, path, &s->schedule);
            break;
        }
        sd_free(s->ctx, path);
    }
    return status;
}

static sd_status open_tokenizer(sd_source *s) {
    s->tokenizer_dir = sd_path_join(s->ctx, s->path, "tokenizer");
    if (!s->tokenizer_dir)
        return SD_ERROR_MEMORY;
    if (sd_is_directory(s->tokenizer_dir))
        return SD_OK;
    sd_free(s->ctx, s->tokenizer_dir);
    s->tokenizer_dir = NULL;
    return SD_OK;
}

static sd_status open_folder(sd_source *s) {
    s->layout = SD_LAYOUT_DIFFUSERS;
    s->directory = sd_strdup(s->ctx, s->path);
    sd_status status = s->directory ? read_configs(s) : SD_ERROR_MEMORY;
    if (!status)
        status = open_tokenizer(s);
    if (!status)
        status = open_component(s, &text_folder, &s->text_weights);
    if (!status)
        status = open_component(s, &unet_folder, &s->unet_weights);
    if (!status)
        status = open_component(s, &vae_folder, &s->vae_weights);
    if (!status && sd_weights_has_prefix(s->text_weights.weights, "text_model."))
        s->text_weights.prefix = "text_model.";
    s->family = s->unet.linear_projection ? "Stable Diffusion 2.x" : "Stable Diffusion 1.x";
    return status;
}

/* ------------------------------------------------------------------- one file, and all */

static sd_status open_checkpoint(sd_source *s, const char *config) {
    s->layout = SD_LAYOUT_ORIGINAL;
    s->family = "Stable Diffusion 1.x";
    s->directory = sd_path_dirname(s->ctx, s->path);
    if (!s->directory)
        return SD_ERROR_MEMORY;
    sd_status status = sd_weights_open(s->ctx, s->path, &s->files[0]);
    if (status)
        return status;
    s->n_files = 1;
    s->text_weights.weights = s->unet_weights.weights = s->vae_weights.weights = s->files[0];
    s->class_weights.weights = s->files[0];
    sd_weights_take_ema_alone(s->files[0]); /* for what is read off the tensors */
    if (!config)
        return sd_infer(s);
    status = sd_ldm_config(s, config);
    return status ? status : sd_infer_configured(s);
}

sd_status sd_source_open(sd_context *ctx, const char *path, sd_source **out) {
    return sd_source_open_config(ctx, path, NULL, out);
}

sd_status sd_source_open_config(sd_context *ctx, const char *path, const char *config,
                                sd_source **out) {
    *out = NULL;
    if (config && sd_is_directory(path))
        return sd_fail(ctx, SD_ERROR_ARGUMENT,
                       "%s: a diffusers folder has its own configs; %s cannot be used with it",
                       path, config);
    sd_source *s = sd_zalloc(ctx, sizeof *s);
    if (!s)
        return SD_ERROR_MEMORY;
    s->ctx = ctx;
    s->path = sd_strdup(ctx, path);
    sd_status status = !s->path                   ? SD_ERROR_MEMORY
                       : sd_is_directory(s->path) ? open_folder(s)
                                                  : open_checkpoint(s, config);
    if (!status)
        status = sd_check_source(s);
    if (status)
        sd_source_close(s);
    else
        *out = s;
    return status;
}

/* What the config asks for where the caller did not say. DDPM's use_ema is True by default. */
static sd_status follow_config(sd_source *s) {
    sd_weights *w = s->unet_weights.weights;
    char missing[256];
    if (!sd_weights_has_ema(w)) {
        if (s->config_ema_said)
            sd_log(
                s->ctx, SD_LOG_WARN,
                "%s: the config has use_ema, but the file has no averaged weights (model_ema.*): "
                "those that training ended with are loaded",
                s->path);
        return SD_OK;
    }
    if (sd_weights_lacks_average(w, missing, sizeof missing)) {
        sd_log(
            s->ctx, SD_LOG_WARN,
            "%s: of the averaged weights (model_ema.*), which the config wants, '%s' is missing: "
            "those that training ended with are loaded",
            s->path, missing);
        return SD_OK;
    }
    sd_log(s->ctx, s->config_ema_said ? SD_LOG_INFO : SD_LOG_WARN,
           "%s: the averaged weights (model_ema.*) are loaded%s", s->path,
           s->config_ema_said ? ", as the config has it"
                              : ", as the original does where a config does not say use_ema");
    return sd_weights_use_ema(w);
}

sd_status sd_source_choose_weights(sd_source *s, sd_ema choice) {
    if (choice == SD_EMA_ON && s->layout != SD_LAYOUT_ORIGINAL)
        return sd_fail(s->ctx, SD_ERROR_MODEL,
                       "%s: the averaged weights were asked for (use_ema); a diffusers folder has "
                       "one set of weights",
                       s->path);
    if (s->layout != SD_LAYOUT_ORIGINAL || s->first_stage_only)
        return SD_OK;
    if (sd_weights_take_ema_alone(s->unet_weights.weights)) {
        sd_log(s->ctx, choice == SD_EMA_ON ? SD_LOG_INFO : SD_LOG_WARN,
               "%s: the UNet is there only as averaged weights (model_ema.*), which are loaded",
               s->path);
        return SD_OK;
    }
    if (choice == SD_EMA_ON)
        return sd_weights_use_ema(s->unet_weights.weights);
    return choice == SD_EMA_AUTO && s->config_ema ? follow_config(s) : SD_OK;
}

void sd_source_close(sd_source *s) {
    if (!s)
        return;
    for (int i = 0; i < s->n_files; i++)
        sd_weights_close(s->files[i]);
    sd_free(s->ctx, s->tokenizer_dir);
    sd_free(s->ctx, s->directory);
    sd_free(s->ctx, s->path);
    sd_free(s->ctx, s);
}

sd_status sd_source_open_files(sd_context *ctx, const char *path, sd_weights *files[3],
                               int *n_files) {
    const folder *const folders[] = {&text_folder, &unet_folder, &vae_folder};
    *n_files = 0;
    if (!sd_is_directory(path)) {
        sd_status status = sd_weights_open(ctx, path, &files[0]);
        *n_files = status ? 0 : 1;
        return status;
    }
    sd_status status = SD_OK;
    for (size_t i = 0; i < SD_COUNT(folders) && !status; i++) {
        char *file;
        status = find_weights(ctx, path, folders[i], &file);
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
