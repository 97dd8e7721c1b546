/*
 * The names of tensors in each layout. A module of a network has a path: keys from the
 * outermost in, e.g. (SD_KEY_UNET_IN_RES, SD_KEY_RES_CONV1) at level 1, block 0, which is
 * "input_blocks.4.0.in_layers.2" in the original code and "down_blocks.1.resnets.0.conv1" in
 * diffusers. All names are rows of one table in names.c.
 */
#ifndef SD_MODEL_NAMES_H
#define SD_MODEL_NAMES_H

#include "describe/description.h"

typedef enum sd_key {
    /* CLIP text tower; where its names begin: source.h */
    SD_KEY_TEXT_TOKEN,
    SD_KEY_TEXT_POSITION,
    SD_KEY_TEXT_LAYER,
    SD_KEY_TEXT_NORM1,
    SD_KEY_TEXT_Q,
    SD_KEY_TEXT_K,
    SD_KEY_TEXT_V,
    SD_KEY_TEXT_OUT,
    SD_KEY_TEXT_NORM2,
    SD_KEY_TEXT_FC1,
    SD_KEY_TEXT_FC2,
    SD_KEY_TEXT_FINAL_NORM,
    SD_KEY_TEXT_QKV, /* OpenCLIP alone: all three in one */
    SD_KEY_TEXT_PROJECTION,
    /* ClassEmbedder */
    SD_KEY_CLASS,
    /* UNet */
    SD_KEY_UNET_TIME1,
    SD_KEY_UNET_TIME2,
    SD_KEY_UNET_GUIDANCE, /* diffusers alone: latent consistency models */
    SD_KEY_UNET_LABEL1,   /* SDXL */
    SD_KEY_UNET_LABEL2,
    SD_KEY_UNET_CONV_IN,
    SD_KEY_UNET_IN_RES,
    SD_KEY_UNET_IN_ATTENTION,
    SD_KEY_UNET_DOWN,
    SD_KEY_UNET_DOWN_RES,
    SD_KEY_UNET_MID_RES1,
    SD_KEY_UNET_MID_ATTENTION,
    SD_KEY_UNET_MID_RES2,
    SD_KEY_UNET_OUT_RES,
    SD_KEY_UNET_OUT_ATTENTION,
    SD_KEY_UNET_UP,
    SD_KEY_UNET_UP_RES,
    SD_KEY_UNET_NORM_OUT,
    SD_KEY_UNET_CONV_OUT,
    /* the UNet's ResBlock; the order is that of the VAE's below */
    SD_KEY_RES_NORM1,
    SD_KEY_RES_CONV1,
    SD_KEY_RES_NORM2,
    SD_KEY_RES_CONV2,
    SD_KEY_RES_SKIP,
    SD_KEY_RES_EMB,
    /* AttentionBlock */
    SD_KEY_PLAIN_NORM,
    SD_KEY_PLAIN_QKV,
    SD_KEY_PLAIN_OUT,
    /* SpatialTransformer */
    SD_KEY_ST_NORM,
    SD_KEY_ST_PROJ_IN,
    SD_KEY_ST_PROJ_OUT,
    SD_KEY_ST_PROJ_IN_LINEAR,
    SD_KEY_ST_PROJ_OUT_LINEAR,
    SD_KEY_ST_BLOCK,
    SD_KEY_ST_NORM1,
    SD_KEY_ST_SELF_Q,
    SD_KEY_ST_SELF_K,
    SD_KEY_ST_SELF_V,
    SD_KEY_ST_SELF_OUT,
    SD_KEY_ST_NORM2,
    SD_KEY_ST_CROSS_Q,
    SD_KEY_ST_CROSS_K,
    SD_KEY_ST_CROSS_V,
    SD_KEY_ST_CROSS_OUT,
    SD_KEY_ST_NORM3,
    SD_KEY_ST_GEGLU,
    SD_KEY_ST_FF_OUT,
    /* AutoencoderKL */
    SD_KEY_VAE_ENCODER,
    SD_KEY_VAE_DECODER,
    SD_KEY_VAE_CONV_IN,
    SD_KEY_VAE_DOWN_RES,
    SD_KEY_VAE_DOWN_ATTENTION,
    SD_KEY_VAE_DOWN,
    SD_KEY_VAE_UP_RES,
    SD_KEY_VAE_UP_ATTENTION,
    SD_KEY_VAE_UP,
    SD_KEY_VAE_MID_RES1,
    SD_KEY_VAE_MID_ATTENTION,
    SD_KEY_VAE_MID_RES2,
    SD_KEY_VAE_NORM_OUT,
    SD_KEY_VAE_CONV_OUT,
    SD_KEY_VAE_QUANT,
    SD_KEY_VAE_POST_QUANT,
    SD_KEY_VAE_CODEBOOK,
    /* its ResnetBlock and AttnBlock */
    SD_KEY_VAE_RES_NORM1,
    SD_KEY_VAE_RES_CONV1,
    SD_KEY_VAE_RES_NORM2,
    SD_KEY_VAE_RES_CONV2,
    SD_KEY_VAE_RES_SKIP,
    SD_KEY_VAE_ATTENTION_NORM,
    SD_KEY_VAE_ATTENTION_Q,
    SD_KEY_VAE_ATTENTION_K,
    SD_KEY_VAE_ATTENTION_V,
    SD_KEY_VAE_ATTENTION_OUT,
    /* AutoencoderTiny: a layer of encoder or decoder, and the convolutions of one that is a block
     */
    SD_KEY_TINY_LAYER,
    SD_KEY_TINY_CONV1,
    SD_KEY_TINY_CONV2,
    SD_KEY_TINY_CONV3,
    SD_N_KEYS
} sd_key;

/* The numbers that a name may need; the table uses them as {level} and so on. */
typedef struct sd_indices {
    int level;    /* of the half of the network, in the order of its run: diffusers' i */
    int from_end; /* the same counted from the other end: the original VAE's decoder.up.{} */
    int block;    /* within the level */
    int flat;     /* of input_blocks or output_blocks in the original UNet */
    int slot;     /* of the Upsample within its output_blocks entry: 1, or 2 after attention */
    int layer;    /* of a transformer; of AutoencoderTiny, whose original counts it as `flat` */
} sd_indices;

#define SD_MAX_PATH 4

typedef struct sd_path {
    sd_key keys[SD_MAX_PATH];
    int depth;
    sd_indices at;
} sd_path;

/* (key) at the given place, or none: a component's top. */
sd_path sdi_path_top(void);
sd_path sdi_path_at(sd_path parent, sd_key key, sd_indices at);
sd_path sdi_path_child(sd_path parent, sd_key key); /* at its parent's place */
bool sdi_path_equal(const sd_path *a, const sd_path *b);

/* Diffusers has renamed a few modules: spelling 0 is the present one, 1 the former. */
#define SD_N_SPELLINGS 2
#define SD_MAX_NAME 256

/* prefix + path + suffix into `name`, which is returned; cut where it does not fit. */
const char *sdi_path_name(char name[SD_MAX_NAME], const sd_path *path, sd_layout layout,
                          int spelling, const char *prefix, const char *suffix);

/*
 * What files of adapters call a module: its path without its network's prefix, dots as underscores,
 * in one of the namings (diffusers' and transformers', that of old LoRA files, the original's and
 * OpenCLIP's), which may be the same for a module.
 */
#define SD_N_NAMINGS 4
const char *sdi_path_key(char key[SD_MAX_NAME], const sd_path *path, int naming);

/* The modules that adapters know in a module of so many outputs, and which of its rows each is:
 * one, or query, key and value of OpenCLIP's in_proj. */
typedef struct sd_module_rows {
    sd_path path;
    int first, rows;
} sd_module_rows;
int sdi_path_modules(const sd_path *path, int outputs, sd_module_rows modules[3]);

/* How many dimensions the layout stores this Linear with: 2; 4 where it is a 1x1 convolution [out,
 * in, 1, 1], 3 where it is one over tokens. */
int sdi_key_matrix_dims(sd_key key, sd_layout layout);

/* Whether the layout has this Linear as [in, out]. */
bool sdi_key_is_transposed(sd_key key, sd_layout layout);

/* ".weight" and ".bias", or what a layout has in their place. */
const char *sdi_key_weight_suffix(sd_key key, sd_layout layout);
const char *sdi_key_bias_suffix(sd_key key, sd_layout layout);

/* Tensors that checkpoints carry and that no network computes with. */
bool sdi_name_is_harmless(const char *name);

#endif
