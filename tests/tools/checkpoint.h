/*
 * Parts of sd-random-checkpoint, which writes Stable Diffusion checkpoints with random weights, so
 * that the library can be tried, tested and timed without a download. None of it uses libsd: a
 * file that both agree on was understood twice.
 */
#ifndef SD_TOOLS_CHECKPOINT_H
#define SD_TOOLS_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define N_LEVELS 4

/* SDXL's second text encoder, OpenCLIP's in the original naming. */
typedef struct text_2_size {
    int width, layers, mlp, projection;
} text_2_size;

/* Sizes of the networks, SD 1.x in form unless `xl`. */
typedef struct model_size {
    const char *name;
    int vocab_size, text_width, text_layers, text_heads, text_mlp; /* width 0: none (the refiner) */
    int unet_channels[N_LEVELS];
    int unet_res_blocks;
    int unet_heads;
    int vae_channels[N_LEVELS];
    int vae_res_blocks;
    int sample_size; /* latents at the default size of a picture */
    int unet_in;     /* channels that the UNet takes: LATENT_CHANNELS, 9 for inpainting */
    bool xl;         /* and heads are of 64 channels, or one */
    int unet_levels; /* xl alone, as the rest */
    int unet_depth[N_LEVELS], mid_depth;
    text_2_size text_2;
    const char *tiny; /* the name of a tiny_size that it has in place of a VAE; NULL: a VAE */
} model_size;

/* AutoencoderTiny. */
typedef struct tiny_size {
    const char *name;
    int width;
    int encoder_blocks[N_LEVELS], decoder_blocks[N_LEVELS];
} tiny_size;

const tiny_size *tiny_size_find(const char *name); /* NULL: unknown */

/* SDXL's UNet is told numbers of the picture, as sinusoids of this width. */
#define SIZE_WIDTH 256
static inline bool is_refiner(const model_size *s) {
    return s->xl && s->text_width == 0;
}
static inline int label_width(const model_size *s) {
    return s->text_2.projection + (is_refiner(s) ? 5 : 6) * SIZE_WIDTH;
}
static inline int unet_levels(const model_size *s) {
    return s->xl ? s->unet_levels : N_LEVELS;
}
static inline int context_width(const model_size *s) {
    return s->text_width + s->text_2.width;
}

const model_size *model_size_find(const char *name); /* NULL: unknown */

#define TEXT_TOKENS 77
#define LATENT_CHANNELS 4

typedef enum component {
    TEXT,
    TEXT_2,
    UNET,
    VAE,
    TINY_ENCODER, /* of an AutoencoderTiny, whose */
    TINY_DECODER, /* original files are of one half each, with names that do not say which */
    N_COMPONENTS
} component;

typedef enum tensor_kind {
    KIND_WEIGHT,    /* uniform, standard deviation 1 / sqrt(fan_in) */
    KIND_BIAS,      /* small */
    KIND_GAMMA,     /* 1 +- 0.1 */
    KIND_EMBEDDING, /* of tokens and positions: small, as CLIP's */
    KIND_POSITIONS  /* 0, 1, 2 ... as int64 */
} tensor_kind;

#define NAME_SIZE 128

typedef struct tensor_spec {
    component network;
    tensor_kind kind;
    int n_dims;
    int64_t dims[4];
    char original[NAME_SIZE];  /* its name in the original layout */
    char diffusers[NAME_SIZE]; /* its name in a diffusers folder; "" where it has none */
    int stack;       /* n > 1: this and the n - 1 behind it, which have 1, are one tensor in
                        the original, rows below rows; 0: it is one */
    bool transposed; /* in diffusers */
} tensor_spec;

/* What the values of a tensor come from: its name in the original layout and, of a stack, the
 * diffusers one's. */
const char *tensor_key_name(const tensor_spec *t);

typedef struct tensor_list {
    tensor_spec *items;
    size_t n, capacity;
    bool failed;
} tensor_list;

/* All tensors of a model in the order of the networks. False: out of memory, or a name too long. */
bool tensor_list_build(const model_size *size, tensor_list *list);
/* Those of an AutoencoderTiny behind what the list has. */
bool tensor_list_add_tiny(const tiny_size *size, tensor_list *list);
/* One more, all zeros. NULL: out of memory, and the list has failed. */
tensor_spec *tensor_list_add(tensor_list *list);
int64_t tensor_elements(const tensor_spec *t);

typedef enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_I64 } dtype;

extern const char *const dtype_names[]; /* "F32", ... as safetensors writes them */
size_t dtype_size(dtype type);

typedef struct value_options {
    uint64_t seed;
    dtype type;
    int bits; /* of a number's significand; 8: F32, F16 and BF16 files hold equal numbers */
} value_options;

/* Elements first .. first + n - 1 of tensor t as little-endian bytes of `type`. */
void random_values(const tensor_spec *t, const value_options *o, dtype type, int64_t first,
                   size_t n, void *out);

/* The tensors of `network`, or of all networks where it is N_COMPONENTS, named as in the layout.
 * VAE: those of an AutoencoderTiny too. `size` NULL: of no model. */
bool safetensors_write(const char *path, const tensor_list *list, const value_options *o,
                       component network, bool diffusers_names, const model_size *size);

/* A file in the original layout as torch.save writes it. With `ema` the UNet's weights are
 * model_ema.*, and model.diffusion_model.* are those of the next seed. */
bool torch_write(const char *path, const tensor_list *list, const value_options *o, bool ema,
                 const model_size *size);

/* config.json of an AutoencoderTiny. */
bool tiny_config_write(const char *folder, const tiny_size *size);

/* The folder's JSON files and tokenizer; the weights are safetensors_write's. */
bool diffusers_configs_write(const char *folder, const model_size *size);
bool tokenizer_write(const char *folder, const model_size *size);

#define PATH_SIZE 4096

bool make_folder(const char *path);
/* folder/name in `out`. False, with a message: longer than PATH_SIZE. */
bool join_path(char out[PATH_SIZE], const char *folder, const char *name);

#endif
