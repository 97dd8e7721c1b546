/*
 * Where a model comes from: a single checkpoint in the original naming, or a diffusers folder. A
 * source has the model's description and the files, still open, that its parts are in.
 */
#ifndef SD_MODEL_SOURCE_H
#define SD_MODEL_SOURCE_H

#include "model/part.h"

typedef struct sd_source {
    sd_context *ctx;
    sd_description *desc;              /* closed with the source; NULL: somebody took it */
    char *tokenizer_dirs[SD_N_PARTS];  /* diffusers' tokenizer/ of each text encoder, or NULL */
    bool folder;                       /* it is one of diffusers' */
    char *directory;                   /* that the checkpoint lies in */
    sd_weights *weights[SD_N_PARTS];   /* that each part is in; parts may share one */
    sd_weights *files[SD_N_PARTS + 1]; /* each once: what sdi_source_close closes */
    int n_files;
} sd_source;

/*
 * Opens a checkpoint or folder; a path of a model_index.json, or of a folder that holds one
 * checkpoint alone, is understood (sdi_resolve_path). Of an original checkpoint the sizes come from
 * the tensors' shapes; what shapes do not tell may be said by safetensors' __metadata__, or by
 * texts beside the "state_dict" of a .ckpt file, as JSON values in strings: "sd.unet_heads" "8" or
 * "[5, 10, 20, 20]", one a level   (default 8) "sd.text_heads"      "12" (default width / 64)
 *   "sd.sample_size"     "64", latents at the default size       (default 64)
 *   "sd.scaling_factor"  "0.18215"                               (default 0.18215)
 *   "sd.latent_rgb"      "[[r, g, b], ...]", pixels of latents   (default: latent_rgb.c)
 *   "sd.prediction"      "\"epsilon\"" or "\"v\""                 (default: infer.c says)
 */
sd_status sdi_source_open(sd_context *ctx, const char *path, sd_source **out);
/* Opens a source with the sizes of an LDM YAML config (ldm_config.c), and parts from files of their
 * own (source_part.c), where the parameters name such. */
sd_status sdi_source_open_params(sd_context *ctx, const char *path, const sd_model_params *params,
                                 sd_source **out);
/* Which of a UNet's two sets of weights is loaded: the averages (model_ema.*), or those that
 * training ended with. The choice and the config decide, and what the file has. */
sd_status sdi_source_choose_weights(sd_source *source, sd_ema choice);
/* Fails where a file was written to since it was opened: of such a file a part of before and a part
 * of after may have been read. */
sd_status sdi_source_check_files(const sd_source *source);
void sdi_source_close(sd_source *source);

/* Closes `w` with the source; for each part and the model's own file once at most. */
void sdi_source_keep(sd_source *source, sd_weights *w);
/* The names that a file has a part's tensors under, in one of the layouts (bits); where none fits,
 * those of the last place of such a layout. */
sd_naming sdi_find_names(const sd_part_type *type, const sd_weights *w, unsigned layouts);
/*
 * Adds a small autoencoder (TAESD): a file of both halves in any layout, taesd_decoder beside
 * which its taesd_encoder may lie, or a folder as diffusers writes it. `path` NULL: the taesd/ of
 * the source's own folder, where there is one. tiny_source.c
 */
sd_status sdi_source_add_tiny(sd_source *source, const char *path);

/*
 * The file or folder that is meant by a path that a model is to be loaded from, allocated: the
 * folder of a model_index.json; the checkpoint of a folder that holds that one alone. Fails where a
 * folder holds several, and, unless `any_file`, where the path is of a part of a diffusers folder.
 * resolve.c
 */
sd_status sdi_resolve_path(const sd_context *ctx, const char *path, bool any_file, char **resolved);

/* list.c: calls `fn` with each tensor of a checkpoint, until it returns other than 0. */
sd_status sdi_source_list(sd_context *ctx, const char *path, sd_checkpoint_fn fn, void *user);

#endif
