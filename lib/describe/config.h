/* Sizes of the networks: from the config.json files of a diffusers folder, from an LDM YAML config,
 * or from the shapes of an original checkpoint's tensors. Numbers are checked; every failure names
 * file and key. */
#ifndef SD_DESCRIBE_CONFIG_H
#define SD_DESCRIBE_CONFIG_H

#include "describe/description.h"
#include "io/weights.h"

#define SD_MAX_CHANNELS 16384
#define SD_MAX_BLOCKS 64
#define SD_MAX_VOCAB (1 << 24)
#define SD_MAX_TOKENS 4096
#define SD_MAX_SAMPLE 4096

/* config.c: `path` is the JSON file. */
sd_status sd_config_unet(const sd_context *ctx, const char *path, sd_unet_config *out);
sd_status sd_config_vae(const sd_context *ctx, const char *path, sd_vae_config *out);
sd_status sd_config_text(const sd_context *ctx, const char *path, sd_text_config *out);

/* What model_index.json says of the scheduler. */
typedef struct sd_index {
    char scheduler[64];      /* its class, or "" */
    bool corrects_scheduler; /* diffusers' StableDiffusionPipeline and its like: steps_offset is 1
                                and clip_sample false whatever the scheduler says */
} sd_index;

/* scheduler.c: scheduler_config.json, into `schedule` and `scheduler`. */
sd_status sd_config_scheduler(const sd_context *ctx, const char *path, const sd_index *index,
                              sd_description *desc);
/* A folder without one. */
void sd_config_no_scheduler(const sd_context *ctx, sd_description *desc);
/* Stable Diffusion's: configs/stable-diffusion/v1-inference.yaml, whose "linear" is scaled_linear,
 * and DDIM as the original has it. */
sd_schedule_config sd_schedule_default(void);
sd_scheduler_config sd_scheduler_default(void);

/* infer.c: a whole checkpoint by the shapes of its tensors; `unet`, `vae` and `text` are where the
 * names of each begin, found here. */
typedef struct sd_prefixes {
    const char *text, *unet, *vae;
} sd_prefixes;

sd_status sd_infer(sd_context *ctx, const sd_weights *w, sd_description *desc, sd_prefixes *found);
/* The text encoder's sizes, which no YAML config has, where sd_ldm_config filled the rest. */
sd_status sd_infer_configured(sd_context *ctx, const sd_weights *w, sd_description *desc,
                              sd_prefixes *found);

/* ldm_config.c: a YAML file of the original repositories; of a text encoder all but its sizes. */
sd_status sd_ldm_config(const sd_context *ctx, const char *path, sd_description *desc);

/* check.c: what must hold however the numbers were found. `path` is for the sentences. */
sd_status sd_check_unet(const sd_context *ctx, const char *path, const sd_unet_config *c);
sd_status sd_check_vae(const sd_context *ctx, const char *path, const sd_vae_config *c);
sd_status sd_check_text(const sd_context *ctx, const char *path, const sd_text_config *c);
/* The networks fit each other. */
sd_status sd_check_description(const sd_context *ctx, const sd_description *d);

#endif
