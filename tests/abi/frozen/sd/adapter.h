/* Section 2 of sd/sd.h: adapters, small files that change a model or teach it a word. */
#ifndef SD_ADAPTER_H
#define SD_ADAPTER_H

#include <sd/context.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sd_adapter sd_adapter;

typedef struct sd_adapter_params {
    size_t struct_size;
    const char *config; /* PEFT's adapter_config.json, which has alpha; NULL: the one in the folder
                           of adapter_model.safetensors, or what the file itself says */
} sd_adapter_params;

#define SD_ADAPTER_PARAMS_INIT                                                                     \
    { .struct_size = sizeof(sd_adapter_params) }
LIBSD_API void sd_adapter_params_init(sd_adapter_params *params, size_t struct_size);

/*
 * Loads an adapter: a .safetensors file or what torch.save writes (.pt, .bin, .ckpt), or a folder
 * with adapter_model.* (PEFT) or pytorch_lora_weights.* (diffusers). It is one of
 *
 *   - LoRA of linear layers and convolutions (also lora_mid), LoHa, LoKr, each perhaps with DoRA's
 *     magnitudes (dora_scale), and full differences of weights, biases and norms (diff, diff_b,
 *     w_norm, b_norm), as kohya's scripts, LyCORIS, PEFT, diffusers and ComfyUI name them;
 *   - the embeddings [k, text_width] of textual inversion, for a word; of SDXL "clip_l" and
 * "clip_g" with a width of each text encoder.
 *
 * OFT, BOFT, IA3, GLoRA and VeRA are SD_ERROR_UNSUPPORTED by name. An adapter knows no model:
 * whether it fits one shows when it is used. Its file stays open and is read when it is used; it
 * may be removed, or another renamed over it, but one that is written to is SD_ERROR_IO then.
 *
 * Errors: SD_ERROR_IO, _FORMAT (damaged), _MODEL (no adapter), _UNSUPPORTED, _MEMORY.
 * Thread-safety: immutable; any number of threads at once.
 */
LIBSD_API sd_status sd_adapter_load(sd_context *ctx, const char *path,
                                    const sd_adapter_params *params, sd_adapter **out);
LIBSD_API void sd_adapter_free(sd_adapter *adapter);

typedef struct sd_adapter_info {
    size_t struct_size; /* texts are valid as long as the adapter */
    const char *kind;   /* "LoRA", "LoHa + DoRA", "textual inversion", ... */
    const char *family; /* that it was made for, "Stable Diffusion XL"; NULL: it does not tell */
    const char *title;  /* these are what the file's metadata says, or NULL */
    const char *base_model;
    const char *trigger_words;
    double alpha; /* that its first module has over the rank; 0: none, which is alpha = rank */
    int32_t min_rank;
    int32_t max_rank;  /* 0: it has none */
    int32_t n_unet;    /* modules for the UNet, */
    int32_t n_text;    /* the text encoder, */
    int32_t n_text_2;  /* and the second one; those that do not say count for the UNet */
    int32_t n_unknown; /* tensors whose names libsd does not know, which are passed over */
    int32_t n_tokens;  /* of textual inversion: rows k, and numbers of each; else 0 */
    int32_t token_width;
} sd_adapter_info;

#define SD_ADAPTER_INFO_INIT                                                                       \
    { .struct_size = sizeof(sd_adapter_info) }
LIBSD_API void sd_adapter_info_init(sd_adapter_info *info, size_t struct_size);
LIBSD_API sd_status sd_adapter_get_info(const sd_adapter *adapter, sd_adapter_info *info);

/* An adapter, and how it is used: one that was loaded, or the path of one. */
typedef struct sd_adapter_use {
    size_t struct_size;
    const char *path; /* as sd_adapter_load takes it; or NULL, and `adapter` is there */
    const char *word; /* of textual inversion: that stands for the embeddings in prompts; NULL: the
                         file's name without its extension */
    double unet_strength; /* default 1, and so is the next: what is added is times this; 0 adds
                             nothing, and below 0 it is taken away. SD_ERROR_UNSUPPORTED where an */
    double text_strength; /* adapter knows none, as textual inversion, and another is asked for */
    const sd_adapter *adapter;
    const char *config; /* of `path`, as sd_adapter_params has it */
} sd_adapter_use;

#define SD_ADAPTER_USE_INIT                                                                        \
    { .struct_size = sizeof(sd_adapter_use), .unet_strength = 1.0, .text_strength = 1.0 }
LIBSD_API void sd_adapter_use_init(sd_adapter_use *use, size_t struct_size);

#ifdef __cplusplus
}
#endif

#endif
