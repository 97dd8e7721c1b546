/* Paths that a model is loaded from: a checkpoint, a diffusers folder, or something in one. */
#include "core/os.h"
#include "model/source.h"

#include <string.h>

static sd_status resolve_folder(const sd_context *ctx, const char *path, char **resolved) {
    sd_status status = SD_OK;
    bool diffusers = sd_folder_holds(ctx, path, "model_index.json", &status);
    for (int i = 0; i < SD_N_PARTS && !diffusers; i++)
        diffusers = sd_part_types[i]->folder &&
                    sd_folder_holds(ctx, path, sd_part_types[i]->folder, &status);
    if (!status && !diffusers)
        status = sd_folder_checkpoint(ctx, path, resolved);
    if (!status && *resolved)
        sd_log(ctx, SD_LOG_LEVEL_INFO, "%s: the checkpoint that the folder holds is loaded",
               *resolved);
    return status;
}

/* The folders of a diffusers folder that are no parts. */
static const struct {
    const char *name, *what;
} others[] = {{"scheduler", "scheduler"},
              {"tokenizer", "tokenizer"},
              {"safety_checker", "safety checker"},
              {"feature_extractor", "feature extractor"}};

/* A folder within a diffusers folder, by its name, in words; NULL: it has none such. */
static const char *what_is(const char *name) {
    for (int i = 0; i < SD_N_PARTS; i++)
        if (sd_part_types[i]->folder && strcmp(sd_part_types[i]->folder, name) == 0)
            return sd_part_types[i]->what;
    for (size_t i = 0; i < SD_COUNT(others); i++)
        if (strcmp(others[i].name, name) == 0)
            return others[i].what;
    return NULL;
}

/* `path` is of a part, or of a file in one, of the diffusers folder above it. */
static sd_status refuse_part(const sd_context *ctx, const char *path) {
    char *part = sd_is_directory(path) ? sd_strdup(ctx, path) : sd_path_dirname(ctx, path);
    for (size_t n = part ? strlen(part) : 0; n > 1 && part[n - 1] == '/'; n--)
        part[n - 1] = 0;
    char *model = part ? sd_path_dirname(ctx, part) : NULL;
    sd_status status = model ? SD_OK : SD_ERROR_MEMORY;
    const char *slash = part ? strrchr(part, '/') : NULL;
    const char *what = status ? NULL : what_is(slash ? slash + 1 : part);
    if (what && sd_folder_holds(ctx, model, "model_index.json", &status))
        status = sd_fail(ctx, SD_ERROR_ARGUMENT,
                         "%s: this is the %s of the diffusers folder %s; give that folder", path,
                         what, model);
    sd_free(ctx, model);
    sd_free(ctx, part);
    return status;
}

sd_status sd_resolve_path(const sd_context *ctx, const char *path, bool any_file, char **resolved) {
    const char *slash = strrchr(path, '/');
    sd_status status = SD_OK;
    *resolved = NULL;
    if (!any_file)
        status = refuse_part(ctx, path);
    if (!status && sd_is_directory(path))
        status = resolve_folder(ctx, path, resolved);
    else if (!status && strcmp(slash ? slash + 1 : path, "model_index.json") == 0)
        *resolved = sd_path_dirname(ctx, path);
    if (!status && !*resolved)
        *resolved = sd_strdup(ctx, path);
    if (!status && !*resolved)
        status = SD_ERROR_MEMORY;
    return status;
}
