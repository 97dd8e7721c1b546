/* Sizes of the networks: from the config.json files of a diffusers folder, from an LDM YAML config,
 * or from the shapes of an original checkpoint's tensors. Numbers are checked; every failure names
 * file and key. */
#ifndef SD_DESCRIBE_CONFIG_H
#define SD_DESCRIBE_CONFIG_H

#include "describe/source.h"

#define SD_MAX_CHANNELS 16384
#define SD_MAX_BLOCKS 64
#define SD_MAX_VOCAB (1 << 24)
#define SD_MAX_TOKENS 4096
#define SD_MAX_SAMPLE 4096

/* config.c: `path` is the JSON file. */
sd_status sd_config_unet(const sd_context *ctx, const char *path, sd_unet_config *out);
sd_status sd_config_vae(const sd_context *ctx, const char *path, sd_vae_config *out);
sd_status sd_config_text(const sd_context *ctx, const char *path, sd_text_config *out);
/* scheduler.c: scheduler_config.json, into source->schedule and ->scheduler. */
sd_status sd_config_scheduler(sd_source *source, const char *path);
/* The same where there is none. */
void sd_config_no_scheduler(sd_source *source);
/* What holds for a source without a scheduler: DDIM as the original has it. */
sd_scheduler_config sd_scheduler_default(void);

/* infer.c: fills all of source's configurations from its one file, and the prefixes. */
sd_status sd_infer(sd_source *source);

/* The text encoder's sizes, which no YAML config has, and the names of the rest: for a source that
 * sd_ldm_config filled. */
sd_status sd_infer_configured(sd_source *source);

/* ldm_config.c: fills source's configurations from a YAML file of the original repositories; those
 * of a text encoder but for its sizes. */
sd_status sd_ldm_config(sd_source *source, const char *path);

/* check.c: what must hold however the numbers were found. `path` is for the sentences. */
sd_status sd_check_unet(const sd_context *ctx, const char *path, const sd_unet_config *c);
sd_status sd_check_vae(const sd_context *ctx, const char *path, const sd_vae_config *c);
sd_status sd_check_text(const sd_context *ctx, const char *path, const sd_text_config *c);
/* The networks fit each other. */
sd_status sd_check_source(const sd_source *source);

#endif
