/* Parts of a model that come from a file or folder of their own. */
#include "core/files.h"
#include "core/os.h"
#include "describe/ema.h"
#include "model/source_internal.h"

#include <stdio.h>
#include <string.h>

void sdi_source_keep(sd_source *s, sd_weights *w) {
    s->files[s->n_files++] = w;
}

sd_status sdi_source_open_file(sd_source *s, const char *path, sd_weights **out) {
    sd_status status = sdi_weights_open(s->ctx, path, out);
    if (!status)
        sdi_source_keep(s, *out);
    return status;
}

const sd_place *sdi_source_find_place(const sd_part_type *type, const sd_weights *w,
                                      unsigned layouts) {
    char name[256];
    for (int i = 0; i < type->n_places; i++) {
        const sd_place *place = &type->places[i];
        snprintf(name, sizeof name, "%s%s", place->prefix, place->tells);
        if (layouts >> place->layout & 1 && sdi_weights_has_prefix(w, name))
            return place;
    }
    return NULL;
}

void sdi_source_pass_over(const sd_part_type *type, sd_weights *w) {
    for (int i = 0; i < type->n_places; i++)
        if (*type->places[i].prefix && type->places[i].layout != SD_LAYOUT_DIFFUSERS)
            sdi_weights_take_prefix(w, type->places[i].prefix);
}

/* Where the weights are, and the config beside them; each allocated, or NULL. */
typedef struct part_files {
    char *weights, *config;
} part_files;

/* config.json of a folder, where there is one. */
static sd_status find_config(const sd_context *ctx, const char *folder, part_files *files) {
    files->config = sdi_path_join(ctx, folder, "config.json");
    if (!files->config)
        return SD_ERROR_MEMORY;
    if (!sdi_is_file(files->config)) {
        sdi_free(ctx, files->config);
        files->config = NULL;
    }
    return SD_OK;
}

/* The weights of a part's folder, or the only file of another. */
static sd_status find_in_folder(const sd_context *ctx, const sd_part_type *type, const char *folder,
                                part_files *files) {
    sd_status status = sdi_folder_weights(ctx, folder, &type->stems, &files->weights);
    if (!status && !files->weights)
        status = sdi_folder_checkpoint(ctx, folder, &files->weights);
    if (!status && !files->weights)
        status = sdi_folder_has_none(ctx, folder, &type->stems);
    return status ? status : find_config(ctx, folder, files);
}

/* A folder of the part, or a whole one of diffusers'. */
static sd_status find_folder(const sd_context *ctx, const sd_part_type *type, const char *path,
                             part_files *files) {
    sd_status status = SD_OK;
    if (!sdi_folder_holds(ctx, path, type->folder, &status))
        return status ? status : find_in_folder(ctx, type, path, files);
    char *inner = sdi_path_join(ctx, path, type->folder);
    status = inner ? find_in_folder(ctx, type, inner, files) : SD_ERROR_MEMORY;
    sdi_free(ctx, inner);
    return status;
}

static sd_status find_files(const sd_context *ctx, const sd_part_type *type, const char *path,
                            part_files *files) {
    if (sdi_is_directory(path))
        return find_folder(ctx, type, path, files);
    files->weights = sdi_strdup(ctx, path);
    char *folder = sdi_path_dirname(ctx, path);
    sd_status status = files->weights && folder ? find_config(ctx, folder, files) : SD_ERROR_MEMORY;
    sdi_free(ctx, folder);
    return status;
}

static sd_status has_none(const sd_source *s, const sd_part_type *type, const sd_weights *w) {
    char names[256] = "";
    for (int i = 0; i < type->n_places; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s'%s%s*'", used ? ", " : "",
                 type->places[i].prefix, type->places[i].tells);
    }
    return sdi_fail(s->ctx, SD_ERROR_MODEL, "%s: no %s (%s): of its %zu tensors none is named %s",
                    sdi_weights_path(w, NULL), type->what, type->name, sdi_weights_count(w), names);
}

/* Sizes by the shapes of tensors; the rest as what the part takes the place of has it. */
static sd_status infer(sd_source *s, const sd_part_type *type, sd_weights *w, bool known) {
    const sd_description base = *s->desc;
    const sd_checkpoint from = {.ctx = s->ctx,
                                .path = sdi_weights_path(w, NULL),
                                .weights = w,
                                .base = known ? sdi_part_config(type, &base) : NULL,
                                .scale = sdi_description_scale(s->desc)};
    sdi_log(s->ctx, SD_LOG_LEVEL_INFO,
            "%s: it has no config; what the shapes of its tensors do not tell is as in %s",
            from.path, known ? s->desc->path : "Stable Diffusion");
    return type->infer(&from, sdi_part_config(type, s->desc));
}

static sd_status describe(sd_source *s, const sd_part_type *type, sd_weights *w, const char *config,
                          bool known, bool sized) {
    const sd_place *place = sdi_source_find_place(type, w, SD_ANY_LAYOUT);
    if (!place)
        return has_none(s, type, w);
    sd_naming *names = sdi_part_names(type, s->desc);
    *names = (sd_naming){place->layout, place->prefix};
    sdi_weights_take_others(w, place->prefix);
    if (place->layout == SD_LAYOUT_DIFFUSERS && config)
        return type->read(s->ctx, config, names);
    return sized && place->layout != SD_LAYOUT_DIFFUSERS ? SD_OK : infer(s, type, w, known);
}

sd_status sdi_source_take_part(sd_source *s, sd_part_kind kind, const char *path, bool known,
                               bool sized) {
    const sd_part_type *type = sdi_part_types[kind];
    part_files files = {NULL, NULL};
    sd_status status = find_files(s->ctx, type, path, &files);
    if (!status)
        status = sdi_source_open_file(s, files.weights, &s->weights[kind]);
    if (!status && kind == SD_PART_UNET)
        sdi_ema_take_alone(s->weights[kind]);
    if (!status)
        status = describe(s, type, s->weights[kind], files.config, known, sized);
    if (!status)
        sdi_log(s->ctx, SD_LOG_LEVEL_INFO, "%s: the %s is that of %s", s->desc->path, type->what,
                files.weights);
    sdi_free(s->ctx, files.weights);
    sdi_free(s->ctx, files.config);
    return status;
}
