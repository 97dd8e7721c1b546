/*
 * Where a model comes from: a single checkpoint in the original naming, or a diffusers folder. A
 * source has the model's description and the weights that each network is found in.
 */
#ifndef SD_MODEL_SOURCE_H
#define SD_MODEL_SOURCE_H

#include "describe/description.h"
#include "io/weights.h"

/*
 * The weights of one network: the names in `weights` begin with `prefix`. That of the text encoder
 * ends where "embeddings.token_embedding.weight" and "encoder.layers.0..." begin, because some
 * writers (transformers 5 among them) leave "text_model." out.
 *   original:  "model.diffusion_model.", "first_stage_model.",
 *              "cond_stage_model.transformer.text_model." or "cond_stage_model.transformer."
 *   diffusers: "", "", "text_model." or ""
 */
typedef struct sd_component {
    sd_weights *weights; /* owned by the source; components may share one */
    const char *prefix;
    sd_layout layout;
} sd_component;

typedef struct sd_source {
    sd_context *ctx;
    sd_description *desc;
    char *tokenizer_dir; /* diffusers' tokenizer/ or NULL */
    char *directory;     /* that the checkpoint lies in */
    sd_component text_weights, unet_weights, vae_weights, class_weights;
    sd_weights *files[3]; /* what sd_source_close closes */
    int n_files;
} sd_source;

/*
 * Opens a checkpoint or folder; a path of a model_index.json, or of a folder that holds one
 * checkpoint alone, is understood (folder.h). Of an original checkpoint the sizes come from the
 * tensors' shapes; what shapes do not tell may be said by safetensors' __metadata__, or by texts
 * beside the "state_dict" of a .ckpt file, as JSON values in strings: "sd.unet_heads"      "8" or
 * "[5, 10, 20, 20]", one a level   (default 8) "sd.text_heads"      "12" (default width / 64)
 *   "sd.sample_size"     "64", latents at the default size       (default 64)
 *   "sd.scaling_factor"  "0.18215"                               (default 0.18215)
 *   "sd.prediction"      "\"epsilon\"" or "\"v\""                 (default: infer.c says)
 */
sd_status sd_source_open(sd_context *ctx, const char *path, sd_source **out);
/* The same with the sizes of an LDM YAML config (ldm_config.c); `config` NULL: without. */
sd_status sd_source_open_config(sd_context *ctx, const char *path, const char *config,
                                sd_source **out);
/* Which of a UNet's two sets of weights is loaded: the averages (model_ema.*), or those that
 * training ended with. The choice and the config decide, and what the file has. */
sd_status sd_source_choose_weights(sd_source *source, sd_ema choice);
void sd_source_close(sd_source *source);

/* Only the weights: of any file of weights, or of as many of text_encoder/, unet/ and vae/ as a
 * folder has (at least one). The caller closes them. */
sd_status sd_source_open_files(sd_context *ctx, const char *path, sd_weights *files[3],
                               int *n_files);

#endif
