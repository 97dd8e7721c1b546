/* Sizes of the networks: from the config.json files of a diffusers folder, from an LDM YAML config,
 * or from the shapes of an original checkpoint's tensors. Numbers are checked; every failure names
 * file and key. */
#ifndef SD_DESCRIBE_CONFIG_H
#define SD_DESCRIBE_CONFIG_H

#include "describe/description.h"
#include "io/reader.h"
#include "io/weights.h"

#define SD_MAX_CHANNELS 16384
#define SD_MAX_BLOCKS 64
#define SD_MAX_VOCAB (1 << 24)
#define SD_MAX_TOKENS 4096
#define SD_MAX_SAMPLE 4096

/* config.c: `path` is the JSON file; `config` the network's description, whose names stay. */
sd_status sdi_config_unet(const sd_context *ctx, const char *path, void *config);
sd_status sdi_config_vae(const sd_context *ctx, const char *path, void *config);
/* AutoencoderTiny; sdi_config_vae takes one, too. */
sd_status sdi_config_tiny(const sd_context *ctx, const char *path, void *config);
sd_status sdi_config_text(const sd_context *ctx, const char *path, void *config);
sd_status sdi_config_text_2(const sd_context *ctx, const char *path, void *config);

/* model_index.json, as far as the scheduler depends on it. */
typedef struct sd_index {
    char scheduler[64];      /* its class, or "" */
    bool corrects_scheduler; /* diffusers' StableDiffusionPipeline and its like: steps_offset is 1
                                and clip_sample false whatever the scheduler says */
} sd_index;

/* latent_rgb.c: the value of `key`, if it is there: a list of [r, g, b] for each latent channel,
 * and perhaps one that is added; r->status has a failure. */
void sdi_read_latent_rgb(sd_reader *r, const char *key, sd_vae_config *c);
/* Takes the factors that were published for Stable Diffusion's latents and XL's, where these are
 * the VAE's and nothing said others. */
void sdi_complete_latent_rgb(sd_vae_config *c);

/* scheduler.c: scheduler_config.json, into `schedule` and `scheduler`. */
sd_status sdi_config_scheduler(const sd_context *ctx, const char *path, const sd_index *index,
                               sd_description *desc);
/* A folder without one. */
void sdi_config_no_scheduler(const sd_context *ctx, sd_description *desc);
/* infer.c: a checkpoint in the original naming. */
typedef struct sd_checkpoint {
    const sd_context *ctx;
    const char *path;
    const sd_weights *weights;
    bool configured;  /* a YAML config was read, which says all but the sizes of a text encoder */
    const void *base; /* the description of the part that this takes the place of, for what no shape
                         tells; NULL: there is none */
    double scale;     /* the latents', where nothing says it: that of the family */
    struct {
        bool unet, vae, text, text_2;
    } given; /* parts that come from files of their own */
} sd_checkpoint;

/* Whether it is one, and whole; which text encoders it has, unless a config said that. */
sd_status sdi_infer_kind(const sd_checkpoint *from, sd_description *d);
/* The description of one network by the shapes of its tensors, whose names are known. */
sd_status sdi_infer_unet(const sd_checkpoint *from, void *config);
sd_status sdi_infer_vae(const sd_checkpoint *from, void *config);
/* In any layout. */
sd_status sdi_infer_tiny(const sd_checkpoint *from, void *config);
sd_status sdi_infer_text(const sd_checkpoint *from, void *config);
sd_status sdi_infer_text_2(const sd_checkpoint *from, void *config);
/* Schedule, prediction and scale, when the networks are known. */
sd_status sdi_infer_rest(const sd_checkpoint *from, sd_description *d);

/* ldm_config.c: a YAML file of the original repositories; of a text encoder all but its sizes. */
sd_status sdi_ldm_config(const sd_context *ctx, const char *path, sd_description *desc);

/* check.c: what must hold however the numbers were found. `path` is for the sentences. */
sd_status sdi_check_unet(const sd_context *ctx, const char *path, const sd_unet_config *c);
sd_status sdi_check_vae(const sd_context *ctx, const char *path, const sd_vae_config *c);
sd_status sdi_check_text(const sd_context *ctx, const char *path, const sd_text_config *c);
/* A small autoencoder takes the latents of the model that it is beside. */
sd_status sdi_check_tiny(const sd_context *ctx, const char *path, const sd_description *d);
/* What networks say of each other: that there are two text encoders, how many sizes are told. */
void sdi_join_description(sd_description *d);
/* The networks fit each other. */
sd_status sdi_check_description(const sd_context *ctx, const sd_description *d);

/* The i-th of diffusers' schedulers, without "Scheduler", and the sampling method that it is; NULL:
 * it is none of ours. False after the last. */
bool sdi_scheduler_class(int i, const char **name, const char **method);

#endif
