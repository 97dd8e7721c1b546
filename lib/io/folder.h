/* A folder that a model is loaded from: weights by their variants, or one checkpoint alone. */
#ifndef SD_IO_FOLDER_H
#define SD_IO_FOLDER_H

#include "core/context.h"

/* How the files of weights in a folder begin: .safetensors, and torch's .bin. */
typedef struct sd_stems {
    const char *safetensors, *torch;
} sd_stems;

/*
 * The file, or the list of a sharded file, that the weights in `folder` are in; *path NULL: there
 * is none. Of several that is, with v for fp16:
 *   STEM.safetensors, STEM.v.safetensors, their lists, STEM.bin, STEM.v.bin, their lists,
 * and then the other variants: .safetensors before .bin, fp32, bf16, ema, any other by its name,
 * and non_ema. The log says so where it had to choose between variants.
 */
sd_status sdi_folder_weights(const sd_context *ctx, const char *folder, const sd_stems *stems,
                             char **path);
/* Fails, with the names of what is there instead. */
sd_status sdi_folder_has_none(const sd_context *ctx, const char *folder, const sd_stems *stems);
/* The only checkpoint in a folder, whatever its name; *path NULL: there is none. Fails where it
 * holds several. */
sd_status sdi_folder_checkpoint(const sd_context *ctx, const char *folder, char **path);
/* Whether it holds a file or folder of that name; not where *status is, or becomes, a failure. */
bool sdi_folder_holds(const sd_context *ctx, const char *folder, const char *name,
                      sd_status *status);

#endif
