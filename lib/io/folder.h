/* What is in a folder that a model is loaded from: its weights by their variants, one checkpoint
 * alone, and what a path within it stands for. */
#ifndef SD_IO_FOLDER_H
#define SD_IO_FOLDER_H

#include "core/context.h"

/* A network's folder within a diffusers folder. */
typedef struct sd_part {
    const char *name; /* below the model's folder */
    const char *stem, *torch_stem;
    const char *what; /* for sentences: "UNet" */
} sd_part;

extern const sd_part sd_part_text, sd_part_unet, sd_part_vae;

/*
 * The file, or the list of a sharded file, that a part's weights are in; *path NULL: there is none.
 * Of several that is, with v for fp16:
 *   STEM.safetensors, STEM.v.safetensors, their lists, STEM.bin, STEM.v.bin, their lists,
 * and then the other variants: .safetensors before .bin, fp32, bf16, ema, any other by its name,
 * and non_ema. The log says so where it had to choose between variants.
 */
sd_status sd_part_find(const sd_context *ctx, const char *dir, const sd_part *part, char **path);
/* Fails, with the names of what is there instead. */
sd_status sd_part_missing(const sd_context *ctx, const char *dir, const sd_part *part);

/*
 * What is meant by a path that a model is to be loaded from, allocated: the folder of a
 * model_index.json; the checkpoint of a folder that holds that one alone. Fails where a folder
 * holds several, and, unless `any_file`, where the path is of a part of a diffusers folder.
 */
sd_status sd_resolve_path(const sd_context *ctx, const char *path, bool any_file, char **resolved);

#endif
