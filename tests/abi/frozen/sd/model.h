/* Section 2 of sd/sd.h: loading models, and asking what was loaded. */
#ifndef SD_MODEL_H
#define SD_MODEL_H

#include <sd/adapter.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a call is at. Today loading and sampling are told; others may come, and a host ignores the
 * ones that it does not know. */
typedef int32_t sd_progress_stage;
enum {
    SD_STAGE_LOAD = 1, /* steps are tensors */
    SD_STAGE_TEXT = 2,
    SD_STAGE_SAMPLE = 3, /* steps are the sampler's */
    SD_STAGE_DECODE = 4,
    SD_STAGE_ENCODE = 5
};

/* How far a call has come. Valid during the callback only. */
typedef struct sd_progress {
    size_t struct_size;
    sd_sampler *sampler; /* while sampling: sd_sampler_latent and sd_sampler_preview may be called
                            on it, in this thread; sd_sampler_free ends the run. Else NULL */
    double seconds;      /* while sampling: wall time of the step just done */
    double timestep;     /* and its train timestep */
    sd_progress_stage stage;
    int32_t step; /* finished: 1 .. total */
    int32_t total;
    int32_t reserved;
} sd_progress;

/* Return non-zero to end the call with SD_ERROR_CANCELLED. Called in the thread that called. */
typedef int32_t(SD_CALL *sd_progress_fn)(void *user, const sd_progress *progress);

typedef int32_t sd_precision;
enum {
    SD_PRECISION_AUTO = 0,     /* what the backend does best within "autocast" tolerances */
    SD_PRECISION_FULL = 1,     /* float32 throughout */
    SD_PRECISION_AUTOCAST = 2, /* 16-bit products with float32 sums where that is faster */
    SD_PRECISION_BFLOAT16 = 3  /* as autocast, with bfloat16 where that takes float16 */
};

/* Training checkpoints have the UNet's weights twice: as training ended, and averaged over its
 * steps (model_ema.*). A file with one of them alone gives that one, and the log says so. */
typedef int32_t sd_ema;
enum {
    SD_EMA_AUTO = 0, /* with a config what its use_ema says, averages where the file has them and
                        the config does not say, as the original; else the last weights */
    SD_EMA_ON = 1,   /* the averages; an error where there are none */
    SD_EMA_OFF = 2   /* those that training ended with */
};

/*
 * Files that the host has elsewhere than in the file system: in an archive, encrypted, in memory.
 * Where a call is given one, all files that it reads are its own, and no other is looked at. Names
 * are the paths that the host gave, and what they lead to: a folder is names with a '/', a file
 * beside another has that one's folder, and no name begins with "./".
 *
 * `size` and `read` may be called by several threads at once, `read` also by threads of the
 * library's; it gives all `n` bytes, which lie within the size, and returns 0, or the call fails
 * with SD_ERROR_IO and the file's name. `size` and the bytes of a name do not change until
 * `release`, which is told once, when the library will not use `user` any more: before the call
 * returns where it fails, else with the last model that was made of these files, since
 * sd_model_adapt reads them again.
 */
typedef int64_t(SD_CALL *sd_io_size_fn)(void *user, const char *name);
typedef int32_t(SD_CALL *sd_io_read_fn)(void *user, const char *name, uint64_t at, void *to,
                                        size_t n);
typedef const char *(SD_CALL *sd_io_name_fn)(void *user, int32_t i);

typedef struct sd_io {
    size_t struct_size;
    void *user;
    sd_io_size_fn size;    /* bytes; -1: there is no such file */
    sd_io_read_fn read;    /* 0: it gave all n bytes */
    sd_io_name_fn name;    /* of the i-th file, in any order that stays, and valid until the next;
                              NULL after the last. May be NULL where no folders are to be found */
    sd_release_fn release; /* NULL: user needs none */
} sd_io;

#define SD_IO_INIT                                                                                 \
    { .struct_size = sizeof(sd_io) }
LIBSD_API void sd_io_init(sd_io *io, size_t struct_size);

/* A file in memory, and several, for sd_io_memory. */
typedef struct sd_memory_file {
    const char *name;
    const void *data;
    size_t size;
} sd_memory_file;

typedef struct sd_memory_files {
    const sd_memory_file *files;
    int32_t n;
    int32_t reserved;
} sd_memory_files;

/* Sets the members of *io, which SD_IO_INIT made, but `release`: those of files in memory, which
 * are not copied and stay where they are, `files` too, until the release. */
LIBSD_API void sd_io_memory(const sd_memory_files *files, sd_io *io);

typedef struct sd_model_params {
    size_t struct_size;
    const char *vocab; /* CLIP vocabulary: bpe_simple_vocab_16e6.txt[.gz], tokenizer.json, a folder
                          with that or with vocab.json and merges.txt, or NULL: the folder's
                          tokenizer/, beside the checkpoint, then the one built in */
    sd_progress_fn progress; /* NULL: none */
    void *progress_user;
    const char *config; /* a YAML file of the original repositories (v1-inference.yaml) that says
                           what the checkpoint holds, as instantiate_from_config reads it; NULL:
                           Stable Diffusion, known by the tensors' names and shapes; what a 2.x
                           model predicts, by its metadata or by one call of its UNet */
    const sd_adapter_use *const *adapters; /* n_adapters of them, all at once; or NULL */
    const sd_stop *stop;                   /* ends the loading: sd_stop; or NULL */
    sd_precision precision; /* default SD_PRECISION_AUTO; the CPU backend computes in full */
    int32_t strict; /* non-zero: a tensor that no network uses, and NaN or infinity in one that is
                       used (or in an embedding), is an error, not a warning */
    sd_ema use_ema; /* default SD_EMA_AUTO */
    int32_t n_adapters;
    const char *taesd; /* a small autoencoder of the model's latents (TAESD, TAESDXL: diffusers'
                          AutoencoderTiny), for previews and sd_vae_params.tiny: the folder or file
                          that diffusers writes, taesd_decoder with its taesd_encoder beside it,
                          which may be missing, or a file of both; NULL: the taesd/ of a diffusers
                          folder, if there is one. One of other latents is SD_ERROR_MODEL */
    const char *unet;  /* files or folders of parts that take the place of the model's own, or are
                          there where it has none: sd_model_load; NULL (default): none */
    const char *vae;
    const char *text_encoder;
    const char *text_encoder_2;
    const sd_io *io; /* what all these files are read from; NULL: the file system */
} sd_model_params;

#define SD_MODEL_PARAMS_INIT                                                                       \
    { .struct_size = sizeof(sd_model_params) }
LIBSD_API void sd_model_params_init(sd_model_params *params, size_t struct_size);

/*
 * Loads a model: a single file in the original (CompVis, runwayml) naming, .safetensors or .ckpt
 * (.pt, .pth: what torch.save writes, also before torch 1.6), or a folder as diffusers lays it out
 * (model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/) with .safetensors or .bin
 * files, of the variant that is there (of several the one without, then fp16, fp32, bf16, others);
 * its scheduler says what a sampler does by default, and its vae may be an AutoencoderTiny. Also a
 * folder that holds one checkpoint, and the path of a model_index.json.
 *
 * Weights may be float64 (read as float32), float32, float16, bfloat16, or float8 (read as
 * float16), with the scales "X.scale_weight" or "X.weight_scale" that some float8 files have
 * beside them; a tensor of another type matters only where a network needs it. Weights are read
 * once and piece by piece, and what the backend repacks is not kept twice. Python's pickles are
 * never run: tensors are found in their dictionaries and modules, other objects are passed over,
 * and a name that does harm where Python loads the file (os.system, eval) is an error. `params`
 * NULL means all defaults.
 *
 * Each of the parts `unet`, `vae`, `text_encoder` and `text_encoder_2` may have a file or folder of
 * its own: a folder of diffusers' (config.json and weights) or one that has such a folder, a whole
 * checkpoint, or a file of the part alone, in either naming. What neither a config nor the shapes
 * of its tensors tell, a VAE's scale among it, is as in the model at `path`, and the log says so.
 * The model's own part is not read then, and may be missing. Vocabularies are `vocab`.
 *
 * When this returns the file is closed and may be changed or removed. A file that another process
 * shortens or writes to meanwhile is SD_ERROR_IO. To rename another file over it, or to remove it,
 * is safe.
 *
 * Adapters change weights while these are read: W + strength * delta, in float32, rounded once to
 * the weight's own type or to that of 16-bit activations; this takes no memory. An adapter of
 * another family is SD_ERROR_MODEL; modules of one that fit nothing are named in the log and
 * counted (sd_model_info.n_unmatched). The model keeps its adapters, whose files stay open.
 *
 * A checkpoint without a vocabulary loads; sd_tokenize and sd_encode_text then say where a
 * vocabulary was looked for.
 *
 * Errors: SD_ERROR_IO, _FORMAT (damaged), _MODEL (missing, misshaped tensor by name),
 * _UNSUPPORTED (a family that libsd does not know), _MEMORY, _CANCELLED.
 *
 * Thread-safety of sd_model: immutable after load; any number of threads at once.
 */
LIBSD_API sd_status sd_model_load(sd_context *ctx, const char *path, const sd_model_params *params,
                                  sd_model **out);
LIBSD_API void sd_model_free(sd_model *model);

/*
 * A new model: `model` as n adapters change it, beside those that it has already. It shares each
 * weight that none of the new ones touches and has its own of the others, which are read from the
 * model's files again: W + strength * delta of all adapters, in float32, rounded once as at
 * sd_model_load. The model that is given stays as it is, to the bit, and models are freed in any
 * order; what only this one has goes with it. All strengths 0 give a model that shares everything.
 *
 * SD_ERROR_IO where a file that is needed was written to, replaced or removed since it was loaded,
 * or an adapter's since it was opened; _MODEL where an adapter is for another family, fits nowhere
 * or is misshapen; _UNSUPPORTED, _FORMAT as of sd_adapter_load; _CANCELLED by sd_context_cancel.
 *
 * Thread-safety: as of sd_model; any number of threads at once.
 */
LIBSD_API sd_status sd_model_adapt(const sd_model *model, const sd_adapter_use *const *uses,
                                   int32_t n, sd_model **out);

/*
 * A new model: `model` with the parts[i] of from[i] in place of its own, for n names, each at most
 * once: "unet", "vae", "text_encoder", "text_encoder_2", "class_embedder", "taesd". Nothing is
 * loaded or copied: models share what they have in common, which goes with the last of them, in
 * whatever order they are freed; sd_model_info and sd_memory_estimate count it in each. A text
 * encoder comes with its vocabulary and the words that it learned, a VAE with its latent_scale, and
 * a UNet with its schedule, prediction, conditioning and what a sampler does by default. A combined
 * model has no unexpected tensors.
 *
 * SD_ERROR_ARGUMENT where a name or a part is not there, or the models are of two contexts or were
 * loaded with two precisions that the device tells apart; SD_ERROR_MODEL or _UNSUPPORTED where the
 * parts do not fit each other (channels of the latent, width of the context). A VAE of another
 * scale is told in the log.
 *
 * Thread-safety: as of sd_model; any number of threads at once.
 */
LIBSD_API sd_status sd_model_combine(const sd_model *model, const char *const *parts,
                                     const sd_model *const *from, int32_t n, sd_model **out);

/* What a model is conditioned on. */
typedef int32_t sd_conditioning;
enum {
    SD_CONDITIONING_TEXT = 0,  /* sd_encode_text, a prompt */
    SD_CONDITIONING_CLASS = 1, /* sd_encode_class */
    SD_CONDITIONING_NONE = 2   /* nothing: sd_sample takes cond NULL */
};

/* Which of the train timesteps a run goes through. */
typedef int32_t sd_timestep_spacing;
enum {
    SD_SPACING_AUTO = 0,     /* the model's: sd_model_info.default_spacing */
    SD_SPACING_UNIFORM = 1,  /* make_ddim_timesteps "uniform": diffusers' leading, offset 1 */
    SD_SPACING_QUAD = 2,     /* make_ddim_timesteps "quad" */
    SD_SPACING_LINSPACE = 3, /* evenly from the first train timestep to the last, both included */
    SD_SPACING_TRAILING = 4, /* evenly downward from the last train timestep */
    SD_SPACING_KARRAS = 5,   /* Karras et al. 2022, eq. 5, rho 7, over all sigmas of the schedule;
                                for the methods on sigmas: sd_sampler_method */
    SD_SPACING_LEADING = 6,  /* diffusers' leading: just as many steps as are asked for, and the
                                steps_offset of the folder, without one 1 */
    SD_SPACING_EXPONENTIAL = 7, /* evenly over the logarithm of all sigmas; methods on sigmas */
    SD_SPACING_BETA = 8,        /* sigmas by the beta distribution with 0.6 and 0.6 (Lee et al.
                                   2024), over all sigmas; methods on sigmas */
    /* The web UIs', with their numbers; docs/samplers.md compares them. */
    SD_SPACING_SGM_UNIFORM = 9, /* evenly downward from the last train timestep, the first left out
                                   of steps + 1 points, not rounded */
    SD_SPACING_SIMPLE = 10,     /* every (train_timesteps / steps)-th from the last, whole */
    SD_SPACING_NORMAL = 11,     /* evenly from the last train timestep to the first, not rounded */
    SD_SPACING_DDIM_UNIFORM = 12, /* 1 and on by train_timesteps / steps, whole: where that leaves a
                                     rest, there are more steps than are asked for */
    SD_SPACING_AYS = 13,          /* Align Your Steps (Sabour et al. 2024): its table for SD 1.5, or
                                     for SDXL, by log-linear interpolation; methods on sigmas */
    SD_SPACING_KL_OPTIMAL = 14    /* evenly over the arc tangent of all sigmas (its eq. 38); methods
                                     on sigmas */
};

typedef struct sd_model_info {
    size_t struct_size;
    const char *family;         /* "Stable Diffusion 1.x"; valid as long as the model */
    const char *layout;         /* of the UNet, where there is one: "original" or "diffusers" */
    const char *prediction;     /* what the UNet gives: "epsilon", "v" or "sample"; NULL: no UNet */
    const char *default_method; /* what a sampler does that is not told: a diffusers folder's
                                   scheduler says it; else "ddim", uniform, 50, 7.5 */
    int64_t n_parameters;       /* of all networks */
    uint64_t weight_bytes;      /* memory that the weights take on the device, those that it shares
                                   with other models too */
    double latent_scale;        /* 0.18215 */
    double default_guidance;
    int32_t latent_channels;  /* 4 */
    int32_t latent_downscale; /* pixels per latent: 8 */
    int32_t size_multiple;    /* width and height of a sampler are multiples of this: 8 */
    int32_t default_width;    /* pixels: 512 */
    int32_t default_height;
    int32_t n_encoders;  /* text encoders: 1, of SDXL 2; 0 where it is not conditioned on text */
    int32_t text_tokens; /* 77 */
    int32_t text_width;  /* 768; of two encoders the sum, 2048 */
    int32_t train_timesteps; /* 1000 */
    int32_t n_unexpected;    /* tensors of the networks' names that no network uses */
    int32_t has_vocabulary;
    sd_conditioning conditioning;
    int32_t n_classes;     /* of a model with SD_CONDITIONING_CLASS, else 0 */
    int32_t unet_channels; /* that the UNet takes: the latent's, more where it is conditioned on
                              pictures (9: inpainting); 0: a first stage alone, with no UNet */
    int32_t n_codes;       /* rows of a VQ model's codebook; 0: there is none */
    sd_timestep_spacing default_spacing;
    int32_t default_steps;
    /* non-zero: the UNet is told the guidance scale and evaluated once a step, as latent
     * consistency models are; there is no uncond then */
    int32_t guidance_embedding;
    int32_t pooled_width; /* of a text as one vector, which SDXL's UNet takes too: 1280; 0: none */
    int32_t n_sizes; /* numbers that the UNet is told of a picture: 6, or 5 of a refiner; 0: none */
    int32_t n_adapters;      /* that it was made with */
    int32_t n_unmatched;     /* of their modules fit nothing */
    int32_t has_taesd;       /* a small autoencoder beside the VAE: sd_model_params.taesd */
    int32_t default_preview; /* sd_preview_method that SD_PREVIEW_AUTO is */
} sd_model_info;

#define SD_MODEL_INFO_INIT                                                                         \
    { .struct_size = sizeof(sd_model_info) }
LIBSD_API void sd_model_info_init(sd_model_info *info, size_t struct_size);

/* Fills as much of `info` as info->struct_size says; 0 where it has more than the library. */
LIBSD_API sd_status sd_model_get_info(const sd_model *model, sd_model_info *info);

/* Name of the i-th unexpected tensor, or NULL. Valid as long as the model. */
LIBSD_API const char *sd_model_unexpected(const sd_model *model, int32_t i);

/* A tensor of a file. Valid during the callback only. */
typedef struct sd_checkpoint_tensor {
    size_t struct_size;
    const char *name;
    const char *type;    /* "F16", or what else the file calls it */
    const int64_t *dims; /* [n_dims] */
    uint64_t n_bytes;
    int32_t n_dims;
    int32_t reserved;
} sd_checkpoint_tensor;

typedef int32_t(SD_CALL *sd_checkpoint_fn)(void *user, const sd_checkpoint_tensor *tensor);

/*
 * Walks the tensors of a checkpoint without loading a network: `fn` is called once for each. A
 * non-zero return ends the walk with SD_ERROR_CANCELLED. Works on any .safetensors or torch file
 * of tensors, and diffusers folders.
 */
LIBSD_API sd_status sd_checkpoint_list(sd_context *ctx, const char *path, sd_checkpoint_fn fn,
                                       void *user);

#ifdef __cplusplus
}
#endif

#endif
