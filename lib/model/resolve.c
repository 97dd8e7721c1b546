/* Paths that a model is loaded from: a checkpoint, a diffusers folder, or something in one. */
#include "core/files.h"
#include "core/os.h"
#include "model/source.h"

#include <string.h>

static sd_status resolve_folder(const sd_context *ctx, const char *path, char **resolved) {
    sd_status status = SD_OK;
    bool diffusers = sdi_folder_holds(ctx, path, "model_index.json", &status);
    for (int i = 0; i < SD_N_PARTS && !diffusers; i++)
        diffusers = sdi_part_types[i]->folder &&
                    sdi_folder_holds(ctx, path, sdi_part_types[i]->folder, &status);
    if (!status && !diffusers)
        status = sdi_folder_checkpoint(ctx, path, resolved);
    if (!status && *resolved)
        sdi_log(ctx, SD_LOG_LEVEL_INFO, "%s: the checkpoint that the folder holds is loaded",
                *resolved);
    return status;
}

/* The folders of a diffusers folder that are no parts. */
static const struct {
    const char *name, *what;
} others[] = {{"scheduler", "scheduler"},
              {"tokenizer", "tokenizer"},
              {"tokenizer_2", "second tokenizer"},
              {"safety_checker", "safety checker"},
              {"feature_extractor", "feature extractor"}};

/* A folder within a diffusers folder, by its name, in words; NULL: it has none such. */
static const char *what_is(const char *name) {
    for (int i = 0; i < SD_N_PARTS; i++)
        if (sdi_part_types[i]->folder && strcmp(sdi_part_types[i]->folder, name) == 0)
            return sdi_part_types[i]->what;
    for (size_t i = 0; i < SD_COUNT(others); i++)
        if (strcmp(others[i].name, name) == 0)
            return others[i].what;
    return NULL;
}

/* `path` is of a part, or of a file in one, of the diffusers folder above it. */
static sd_status refuse_part(const sd_context *ctx, const char *path) {
    char *part = sdi_is_directory(path) ? sdi_strdup(ctx, path) : sdi_path_dirname(ctx, path);
    for (size_t n = part ? strlen(part) : 0; n > 1 && part[n - 1] == '/'; n--)
        part[n - 1] = 0;
    char *model = part ? sdi_path_dirname(ctx, part) : NULL;
    sd_status status = model ? SD_OK : SD_ERROR_MEMORY;
    const char *slash = part ? strrchr(part, '/') : NULL;
    const char *what = status ? NULL : what_is(slash ? slash + 1 : part);
    if (what && sdi_folder_holds(ctx, model, "model_index.json", &status))
        status = sdi_fail(ctx, SD_ERROR_ARGUMENT,
                          "%s: this is the %s of the diffusers folder %s; give that folder", path,
                          what, model);
    sdi_free(ctx, model);
    sdi_free(ctx, part);
    return status;
}

sd_status sdi_resolve_path(const sd_context *ctx, const char *path, bool any_file,
                           char **resolved) {
    const char *slash = strrchr(path, '/');
    sd_status status = SD_OK;
    *resolved = NULL;
    if (!any_file)
        status = refuse_part(ctx, path);
    if (!status && sdi_is_directory(path))
        status = resolve_folder(ctx, path, resolved);
    else if (!status && strcmp(slash ? slash + 1 : path, "model_index.json") == 0)
        *resolved = sdi_path_dirname(ctx, path);
    if (!status && !*resolved)
        *resolved = sdi_strdup(ctx, path);
    if (!status && !*resolved)
        status = SD_ERROR_MEMORY;
    return status;
}
