/*
 * libsd: Stable Diffusion as a C library.
 *
 * This header reads from simple to advanced:
 *
 *   1. The context: processor, threads, memory, log
 *   2. Models: loading and asking what was loaded
 *   3. Pictures in one call: sd_generate
 *   4. Images: files, pixels, resizing
 *   5. Ending a call early: sd_stop
 *   6. Tensors: float32 arrays in and out
 *   7. The stages one by one: text, VAE
 *   8. Sampling: whole runs and single steps
 *   9. Building blocks: noise, schedule, one evaluation of the UNet
 *
 * Versions, statuses and errors are in sd/base.h, which this includes; sd/profile.h has what a run
 * takes and where its time goes, sd/original.h what only reproduces the original programs, and the
 * training objective. A first program:
 *
 *     sd_context *ctx = NULL;
 *     sd_model *model = NULL;
 *     sd_image *image = NULL;
 *     sd_generate_params params = SD_GENERATE_PARAMS_INIT;
 *     params.prompt = "a red boat on a lake";
 *     if (sd_context_new(NULL, &ctx) || sd_model_load(ctx, "model.safetensors", NULL, &model) ||
 *         sd_generate(model, &params, &image, 1) || sd_image_save(image, "boat.png", NULL))
 *         fprintf(stderr, "%s\n", sd_last_error());
 *     sd_image_free(image);
 *     sd_model_free(model);
 *     sd_context_free(ctx);
 *
 * Rules that hold everywhere:
 *
 *   - Every handle is opaque. What a call gives back through its last pointer, the matching _free
 *     releases; _free(NULL) does nothing. On failure the output pointer is set to NULL and there
 *     is nothing to free. A handle keeps what it was made from alive, so the order of _free calls
 *     does not matter.
 *   - A call retains the handles that it was given until it returns. Any of them may be freed
 *     meanwhile, by another thread or in a callback (also of the log and the allocator): the call
 *     goes on, and the memory goes when it returns. Only a sampler's run ends then: see
 *     sd_sampler_free. Until that callback returns the handle may still be used, and to free it
 *     again does nothing. No call may begin with a handle that was freed otherwise.
 *   - Every call that can fail returns an sd_status; sd_last_error() has the sentence.
 *   - Parameter structs begin with `struct_size`. Start from their SD_*_INIT macro (C, C++20) or
 *     their sd_*_init function (any language), which both give the defaults, and set what you need;
 *     NULL in place of a struct is all defaults. The library reads as many bytes as you have and
 *     takes its defaults for the rest, so a program compiled against an older header keeps working.
 *     What the library fills in is cut to, or filled up with 0 to, struct_size. Members named
 *     `reserved` are 0;
 *     what a struct of a newer header asks for beyond what the library knows is
 *     SD_ERROR_UNSUPPORTED, unless it is 0, which members that come later have as their default.
 *   - Numbers are finite. An infinity or NaN in a tensor that is given is SD_ERROR_ARGUMENT by its
 *     name; where a network makes one of finite numbers, the call ends with SD_ERROR_MODEL and a
 *     sentence that names the stage, and in a run the step.
 *   - Strings are UTF-8 and are copied where they are kept. Paths are bytes for the file system,
 *     and UTF-8 on Windows.
 *   - A tensor of the host's is float32, and will be. Scalars are double, counts and flags int32_t,
 *     sizes in the host's memory size_t, bytes of devices and files uint64_t.
 *   - A callback may make any call, but on a sampler that is in a call those alone that are named
 *     at sd_sampler_new; it returns, and neither throws through the library nor jumps out of it.
 *   - What the library itself takes of memory it takes from the context's allocator. Not so the
 *     parsers of PNG, JPEG, JSON, YAML and ZIP, threads and files of the C library, and a device's
 *     driver.
 *   - The library changes nothing of the process: no locale, signals, random state, BLAS threads,
 *     floating-point mode or current directory. It never prints, exits or aborts.
 *   - Decimals have a point in sentences and in files, whatever locale the host has set.
 *   - A thread that calls the library needs a stack of 64 KB, and what its callbacks take.
 *   - Thread-safety is stated with each handle.
 */
#ifndef SD_SD_H
#define SD_SD_H

#include <sd/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Each is opaque, and has its _free. Only a sampler and a token change once they are made; an
 * image's pixels and a tensor's values are yours to write. */
typedef struct sd_context sd_context;
typedef struct sd_model sd_model;
typedef struct sd_cond sd_cond;
typedef struct sd_sampler sd_sampler;
typedef struct sd_tensor sd_tensor;
typedef struct sd_image sd_image;
typedef struct sd_stop sd_stop;

/* A number that the library is to choose: of strength and guidance_scale. */
#define SD_AUTO (-1e9)

/* ------------------------------------------------------------------------- 1. the context */

/* Called from any thread that works for the context; `message` has no newline at its end. */
typedef void(SD_CALL *sd_log_fn)(void *user, sd_log_level level, const char *message);

/* Returns `size` bytes at a multiple of `alignment` (a power of two, at most 4096), or NULL. */
typedef void *(SD_CALL *sd_alloc_fn)(void *user, size_t size, size_t alignment);
typedef void(SD_CALL *sd_free_fn)(void *user, void *ptr, size_t size);

/* Told once that `user` will not be used any more: after sd_context_free, when the last memory of
 * the context is gone. Where sd_context_new fails, that is before it returns. */
typedef void(SD_CALL *sd_release_fn)(void *user);

typedef struct sd_context_params {
    size_t struct_size;
    const char *backend;  /* "auto" (default, NULL), "cpu", "reference", "cuda", "cuda:1" */
    sd_alloc_fn allocate; /* both or neither; NULL: the C library. Called from any thread */
    sd_free_fn deallocate;
    void *alloc_user;
    sd_release_fn alloc_release; /* NULL: alloc_user needs none */
    sd_log_fn log;               /* NULL: no log */
    void *log_user;
    sd_release_fn log_release;
    const char *module_dir; /* where backend modules are looked for first; NULL: beside libsd */
    int32_t n_threads;      /* CPU threads, the caller's included; 0: one per core; at most 256 */
    sd_log_level log_level; /* messages above this level are not made; default SD_LOG_LEVEL_WARN */
} sd_context_params;

#define SD_CONTEXT_PARAMS_INIT                                                                     \
    { .struct_size = sizeof(sd_context_params), .log_level = SD_LOG_LEVEL_WARN }
LIBSD_API void sd_context_params_init(sd_context_params *params, size_t struct_size);

/*
 * Opens the processor and starts the threads; where the system gives fewer than n_threads, those
 * compute and the log says so. `params` NULL means all defaults. The pictures do not depend on
 * n_threads: the same build and inputs give the same bits.
 *
 * Thread-safety of sd_context: any thread, at any time. Two threads that compute at once share
 * the context's worker threads.
 *
 * fork(): on the CPU the child goes on with the parent's handles, on worker threads that are
 * started when it first computes, and frees them as ever, whatever other threads were at. What a
 * call of another thread had in hand stays allocated there; of a sampler that was in a call only
 * the _free is left. Contexts on other backends give SD_ERROR_BACKEND in the child.
 */
LIBSD_API sd_status sd_context_new(const sd_context_params *params, sd_context **out);

/* Gives the context back; it goes once the last handle made from it is freed too and the calls that
 * use them have returned. The log and the allocator are called until then, and then released. */
LIBSD_API void sd_context_free(sd_context *ctx);

/* What computes: "cpu (avx512, 2 threads)". Valid as long as the context. */
LIBSD_API const char *sd_context_device(const sd_context *ctx);

/*
 * Ends every call that is computing with `ctx` now; each returns SD_ERROR_CANCELLED within one
 * operation, on the CPU within a part of one, and on a GPU after the step or stage that it was
 * given. Calls that begin later are not affected. Any thread, and also a signal handler.
 */
LIBSD_API void sd_context_cancel(sd_context *ctx);

/* --------------------------------------------------------------------------- 2. models */

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

/* An adapter, and how it is used: today the embeddings of textual inversion, which take the place
 * of tokens where their word stands in a prompt. */
typedef struct sd_adapter_use {
    size_t struct_size;
    const char *path;     /* embeddings [k, text_width] in a .safetensors, .pt or .bin file */
    const char *word;     /* that stands for them; NULL: the file's name without its extension */
    double unet_strength; /* default 1, and so is the next; SD_ERROR_UNSUPPORTED where an adapter */
    double text_strength; /* knows no strengths, as textual inversion, and another is asked for */
} sd_adapter_use;

#define SD_ADAPTER_USE_INIT                                                                        \
    { .struct_size = sizeof(sd_adapter_use), .unet_strength = 1.0, .text_strength = 1.0 }
LIBSD_API void sd_adapter_use_init(sd_adapter_use *use, size_t struct_size);

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
    const sd_adapter_use *const *adapters; /* n_adapters of them; at most 63 */
    const sd_stop *stop;                   /* ends the loading: section 5; or NULL */
    sd_precision precision; /* default SD_PRECISION_AUTO; the CPU backend computes in full */
    int32_t strict; /* non-zero: a tensor that no network uses, and NaN or infinity in one that is
                       used (or in an embedding), is an error, not a warning */
    sd_ema use_ema; /* default SD_EMA_AUTO */
    int32_t n_adapters;
} sd_model_params;

#define SD_MODEL_PARAMS_INIT                                                                       \
    { .struct_size = sizeof(sd_model_params) }
LIBSD_API void sd_model_params_init(sd_model_params *params, size_t struct_size);

/*
 * Loads a model: a single file in the original (CompVis, runwayml) naming, .safetensors or .ckpt
 * (.pt, .pth: what torch.save writes, also before torch 1.6), or a folder as diffusers lays it out
 * (model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/) with .safetensors or .bin
 * files, of the variant that is there (of several the one without, then fp16, fp32, bf16, others);
 * its scheduler says what a sampler does by default. Also a folder that holds one checkpoint, and
 * the path of a model_index.json.
 *
 * Weights may be float64 (read as float32), float32, float16, bfloat16, or float8 (read as
 * float16), with the scales "X.scale_weight" or "X.weight_scale" that some float8 files have
 * beside them; a tensor of another type matters only where a network needs it. Weights are read
 * once and piece by piece, and what the backend repacks is not kept twice. Python's pickles are
 * never run: tensors are found in their dictionaries and modules, other objects are passed over,
 * and a name that does harm where Python loads the file (os.system, eval) is an error. `params`
 * NULL means all defaults.
 *
 * When this returns the file is closed and may be changed or removed. A file that another process
 * shortens or writes to meanwhile is SD_ERROR_IO. To rename another file over it, or to remove it,
 * is safe.
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
                                for the methods on sigmas: euler to unipc in sd_sampler_method's
                                order */
    SD_SPACING_LEADING = 6,  /* diffusers' leading: just as many steps as are asked for, and the
                                steps_offset of the folder, without one 1 */
    SD_SPACING_EXPONENTIAL = 7, /* evenly over the logarithm of all sigmas; methods on sigmas */
    SD_SPACING_BETA = 8         /* sigmas by the beta distribution with 0.6 and 0.6 (Lee et al.
                                   2024), over all sigmas; methods on sigmas */
};

typedef struct sd_model_info {
    size_t struct_size;
    const char *family;         /* "Stable Diffusion 1.x"; valid as long as the model */
    const char *layout;         /* "original" or "diffusers" */
    const char *prediction;     /* what the UNet gives: "epsilon", "v" or "sample"; NULL: no UNet */
    const char *default_method; /* what a sampler does that is not told: a diffusers folder's
                                   scheduler says it; else "ddim", uniform, 50, 7.5 */
    int64_t n_parameters;       /* of all networks */
    uint64_t weight_bytes;      /* memory that the weights take on the device */
    double latent_scale;        /* 0.18215 */
    double default_guidance;
    int32_t latent_channels;  /* 4 */
    int32_t latent_downscale; /* pixels per latent: 8 */
    int32_t size_multiple;    /* width and height of a sampler are multiples of this: 8 */
    int32_t default_width;    /* pixels: 512 */
    int32_t default_height;
    int32_t n_encoders;      /* text encoders: 1; 0 where it is not conditioned on text */
    int32_t text_tokens;     /* 77 */
    int32_t text_width;      /* 768 */
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

/* ---------------------------------------------------------------- 3. pictures in one call */

/* Which of torch's generators the noise is drawn from, so that an old seed gives the old picture.
 */
typedef int32_t sd_rng;
enum {
    SD_RNG_CPU = 0, /* torch's CPU generator: mt19937 and Box-Muller */
    SD_RNG_CUDA = 1 /* torch's CUDA generator: Philox4x32-10 */
};

/* What only reproduces the original programs: sd/original.h. */
typedef struct sd_original_params sd_original_params;

typedef struct sd_sampler_params {
    size_t struct_size;
    const char *method;    /* NULL (default): the model's, sd_model_info.default_method;
                              sd_sampler_method lists them */
    const uint64_t *seeds; /* `batch` seeds, or NULL */
    sd_progress_fn progress;
    void *progress_user;
    const sd_original_params *original; /* NULL: none of it */
    uint64_t seed;                      /* picture i draws from seed + i, unless `seeds` is set */
    double eta;            /* DDIM's eta >= 0 (eq. 16); 0 is deterministic. plms takes 0 only, the
                              other methods do not look at it */
    double guidance_scale; /* s of e_u + s (e_c - e_u); 1 evaluates once, and 0 does not look at the
                              prompt, which the log says; SD_AUTO (default): the model's,
                              most often 7.5. A UNet that is told the scale
                              (sd_model_info.guidance_embedding) evaluates once at any */
    double guidance_rescale; /* phi of Lin et al. 2024, eq. 16: 0 (default) .. 1 */
    int32_t steps;           /* 1 .. train_timesteps; 0 (default): the model's, most often 50 */
    sd_timestep_spacing spacing;
    int32_t width; /* pixels, a multiple of size_multiple; 0: default or image's */
    int32_t height;
    int32_t batch; /* pictures at once, >= 1 */
    sd_rng rng;
} sd_sampler_params;

#define SD_SAMPLER_PARAMS_INIT                                                                     \
    { .struct_size = sizeof(sd_sampler_params), .seed = 42, .guidance_scale = SD_AUTO, .batch = 1 }
LIBSD_API void sd_sampler_params_init(sd_sampler_params *params, size_t struct_size);

typedef struct sd_text_params {
    size_t struct_size;
    const sd_stop *stop; /* ends the call: section 5; or NULL */
    int32_t weighted;    /* non-zero: the prompt syntax of the popular web UIs: sd_encode_text */
    int32_t clip_skip;   /* n > 1 ends n - 1 layers before the last; the final norm is applied */
    int32_t clean;       /* non-zero: texts are cleaned first: sd_encode_text */
    int32_t reserved;
} sd_text_params;

#define SD_TEXT_PARAMS_INIT                                                                        \
    { .struct_size = sizeof(sd_text_params) }
LIBSD_API void sd_text_params_init(sd_text_params *params, size_t struct_size);

typedef struct sd_vae_params {
    size_t struct_size;
    const sd_tensor *noise; /* encoding: of the latent's shape, the posterior is sampled with it,
                               mean + exp(logvar / 2) * noise; NULL: the latent is its mean */
    const sd_stop *stop;    /* ends the call: section 5; or NULL */
    int32_t tile;           /* side in latents of the tiles that a larger picture is divided into,
                               which takes the memory of one; 0 (default): pictures stay whole */
    int32_t overlap;        /* latents that neighbours share, below `tile`; 0 (default): a quarter
                               of it; below 0: none */
    int32_t unquantized;    /* decoding: non-zero: a VQ model takes the latent as it is
                               (force_not_quantize of VQModelInterface) */
    int32_t reserved;
} sd_vae_params;

#define SD_VAE_PARAMS_INIT                                                                         \
    { .struct_size = sizeof(sd_vae_params) }
LIBSD_API void sd_vae_params_init(sd_vae_params *params, size_t struct_size);

/* What is done with a mask before it is painted by. */
typedef struct sd_mask_params {
    size_t struct_size;
    double blur;         /* sigma of a Gaussian blur, in the mask's pixels, 0 (default) .. 512 */
    int32_t invert;      /* non-zero: black is painted and white kept */
    int32_t any_pixel;   /* non-zero: a latent is painted where any pixel of its square is white;
                            else where the first one is, as models were trained */
    int32_t only_masked; /* non-zero: the masked part of init is cut out, painted at width x height
                            (0: the model's own), and put back; the result has init's size */
    int32_t padding;     /* only_masked: pixels around the part that are seen too, default 32 */
} sd_mask_params;

#define SD_MASK_PARAMS_INIT                                                                        \
    { .struct_size = sizeof(sd_mask_params), .padding = 32 }
LIBSD_API void sd_mask_params_init(sd_mask_params *params, size_t struct_size);

/* What is given says what is done: text to image; with `init` image to image; with `init` and
 * `mask` inpainting. */
typedef struct sd_generate_params {
    size_t struct_size;
    const char *prompt;          /* for all pictures; NULL is "" */
    const char *negative_prompt; /* what guidance leads away from; NULL is "" */
    const char *const *prompts;  /* sampling->batch of them, one for each picture, in place of
                                    `prompt`; or NULL */
    const sd_cond *cond;         /* in place of prompts, of `batch` rows or 1; or NULL */
    const sd_cond *uncond;       /* in place of negative_prompt; or NULL */
    const sd_image *init;        /* what is begun from, resized (Lanczos) to width x height; where
                                    these are 0, to its own size cut down to a multiple of 64 */
    const sd_image *mask;        /* of init's size: white is painted, black is kept, grey blends the
                                    two; where it has one colour, its alpha channel is the mask */
    const sd_mask_params *masking; /* NULL: all defaults, as the three that follow */
    const sd_sampler_params *sampling;
    const sd_text_params *text; /* of both prompts */
    const sd_vae_params *vae;   /* both ways; without noise, which is the seeds' */
    const sd_stop *stop;        /* ends the call: section 5; or NULL */
    double strength; /* with init, 0 .. 1: how much may change. Of the steps int(strength * steps)
                        are run, as Python computes it, and init is noised to the first one's
                        timestep; at 1 nothing of it is seen. SD_AUTO (default): 0.75, with a mask
                        1 */
} sd_generate_params;

#define SD_GENERATE_PARAMS_INIT                                                                    \
    { .struct_size = sizeof(sd_generate_params), .strength = SD_AUTO }
LIBSD_API void sd_generate_params_init(sd_generate_params *params, size_t struct_size);

/*
 * Pictures in one call: text encoder, sampler, VAE. `images` is the caller's array of `n_images`
 * pointers, sampling->batch of them; before anything else all are set to NULL, and they stay so
 * where the call fails. Each image is the caller's to free.
 *
 * Text to image is Rombach et al. 2022 and scripts/txt2img.py of the original; image to image is
 * SDEdit (Meng et al. 2021) and scripts/img2img.py: encode, noise to strength, denoise.
 *
 * With a mask a part of init is painted anew. An inpainting model (sd_inpaint_concat) sees the mask
 * and what is around it, as scripts/inpaint.py of the original and runwayml's inpaint_st.py have
 * it; any other model of text to image paints with its latents kept outside of the mask
 * (sd_sampler_set_mask). Both see the mask as white from grey 128 on; what they paint is then laid
 * over init by the mask's grey, so that a feathered mask has no edge and black keeps init's pixels.
 * The log says where a mask paints nothing or everything, or has strokes too thin for a latent.
 */
LIBSD_API sd_status sd_generate(const sd_model *model, const sd_generate_params *params,
                                sd_image **images, int32_t n_images);

/* --------------------------------------------------------------------------- 4. images */

/* How the host's memory holds a pixel: a byte for each letter, in this order. */
typedef int32_t sd_pixel_format;
enum {
    SD_PIXELS_RGB8 = 0,
    SD_PIXELS_RGBA8 = 1, /* alpha is not multiplied in */
    SD_PIXELS_BGRA8 = 2, /* cairo's ARGB32 and Windows' bitmaps where those are opaque */
    SD_PIXELS_GREY8 = 3
};

/* Pixels in the host's memory. No parameter struct: it has no struct_size, and stays as it is. */
typedef struct sd_pixels {
    void *data;     /* first byte of the top row */
    int64_t stride; /* bytes from a row to the one below it; 0: rows follow each other without a
                       gap; negative: the picture is stored from the bottom up */
    int32_t width;  /* 1 .. 32768 */
    int32_t height;
    sd_pixel_format format;
    int32_t reserved; /* 0 */
} sd_pixels;

/*
 * A copy of the host's pixels; `pixels->data` NULL makes a black image (RGBA8: black and
 * transparent). An image holds RGB8, RGBA8 or GREY8, rows from the top without a gap; of BGRA8 it
 * makes RGBA8.
 *
 * Thread-safety of sd_image: reads from any number of threads; one thread when it changes.
 */
LIBSD_API sd_status sd_image_new(sd_context *ctx, const sd_pixels *pixels, sd_image **out);
LIBSD_API void sd_image_free(sd_image *image);
LIBSD_API int32_t sd_image_width(const sd_image *image);
LIBSD_API int32_t sd_image_height(const sd_image *image);
LIBSD_API sd_pixel_format sd_image_format(const sd_image *image);

/* The image's own bytes, for as long as it lives: height rows of width pixels in its format. */
LIBSD_API const uint8_t *sd_image_pixels(const sd_image *image);
LIBSD_API uint8_t *sd_image_pixels_mut(sd_image *image);

/* Writes the image into `to->data`, of its size, in any format and stride: colours become grey as
 * PIL's convert("L") makes it, grey is each colour, alpha is dropped, or 255 where there is none.
 * Bytes between the rows stay as they are. */
LIBSD_API sd_status sd_image_read(const sd_image *image, const sd_pixels *to);

typedef struct sd_image_load_params {
    size_t struct_size;
    int32_t keep_alpha; /* non-zero: RGBA8 where the file has transparency, as masks may */
    int32_t as_stored;  /* non-zero: its EXIF orientation is not looked at */
} sd_image_load_params;

#define SD_IMAGE_LOAD_PARAMS_INIT                                                                  \
    { .struct_size = sizeof(sd_image_load_params) }
LIBSD_API void sd_image_load_params_init(sd_image_load_params *params, size_t struct_size);

/*
 * PNG or JPEG, by content. Grey, palette and alpha become RGB as PIL's convert("RGB") does, 16 bits
 * the higher 8; a photo is turned upright by its EXIF orientation (ImageOps.exif_transpose).
 */
LIBSD_API sd_status sd_image_load(sd_context *ctx, const char *path,
                                  const sd_image_load_params *params, sd_image **out);
LIBSD_API sd_status sd_image_load_memory(sd_context *ctx, const void *bytes, size_t n_bytes,
                                         const sd_image_load_params *params, sd_image **out);

typedef int32_t sd_file_format;
enum {
    SD_FORMAT_AUTO = 0, /* by the path's extension: .png or none is PNG, .jpg or .jpeg JPEG, any
                           other SD_ERROR_UNSUPPORTED; without a path PNG */
    SD_FORMAT_PNG = 1,
    SD_FORMAT_JPEG = 2 /* without alpha */
};

typedef struct sd_image_save_params {
    size_t struct_size;
    const char *parameters; /* kept in a PNG text chunk of that name, as the popular web UIs do, and
                               in a JPEG comment; NULL: none */
    int32_t only_new;       /* sd_image_save: non-zero: a file of that name is left as it is, and
                               the call is SD_ERROR_STATE. Of two that save at once, in this process
                               or another, one has the name */
    sd_file_format format;  /* default SD_FORMAT_AUTO */
    int32_t quality;        /* of JPEG, 1 .. 100, default 95 */
    int32_t reserved;
} sd_image_save_params;

#define SD_IMAGE_SAVE_PARAMS_INIT                                                                  \
    { .struct_size = sizeof(sd_image_save_params), .quality = 95 }
LIBSD_API void sd_image_save_params_init(sd_image_save_params *params, size_t struct_size);

/* The file appears whole or not at all, and takes the place of one of that name. */
LIBSD_API sd_status sd_image_save(const sd_image *image, const char *path,
                                  const sd_image_save_params *params);

/* Takes the next bytes of a file; non-zero ends the call with SD_ERROR_IO. */
typedef int32_t(SD_CALL *sd_write_fn)(void *user, const void *bytes, size_t n_bytes);

/* The bytes that sd_image_save would write, to a function, in their order: all of them or, where
 * the call fails before the first, none. Called in this thread. */
LIBSD_API sd_status sd_image_write(const sd_image *image, const sd_image_save_params *params,
                                   sd_write_fn write, void *user);

/* A new image of the given size, resampled as PIL's LANCZOS does. */
LIBSD_API sd_status sd_image_resize(const sd_image *image, int32_t width, int32_t height,
                                    sd_image **out);

/* ----------------------------------------------------------------- 5. ending a call early */

/*
 * A token that ends the calls that were given it, in their parameters' `stop`: while it is set,
 * each returns SD_ERROR_CANCELLED within one operation, on the CPU within a part of one, and on a
 * GPU after the step or stage that it was given. It stays set until it is cleared: a call that
 * begins afterwards ends too, so that nothing is lost between the decision and the call. One token
 * may be given to any number of calls, at once or in turn; a call retains it until it returns.
 *
 * Thread-safety of sd_stop: sd_stop_set, _clear and _is_set may be called by any thread at any
 * time, and by a signal handler.
 */
LIBSD_API sd_status sd_stop_new(sd_context *ctx, sd_stop **out);
LIBSD_API void sd_stop_free(sd_stop *stop);
LIBSD_API void sd_stop_set(sd_stop *stop);
LIBSD_API void sd_stop_clear(sd_stop *stop);
LIBSD_API int32_t sd_stop_is_set(const sd_stop *stop);

/* -------------------------------------------------------------------------- 6. tensors */

#define SD_MAX_DIMS 5

/*
 * A dense float32 array in the C (row-major) order, at host memory. Latents are
 * [n, channels, h, w], a context [n, tokens, width], pixels [n, 3, h, w] in [-1, 1]: as in
 * PyTorch. `data` NULL makes zeros; else it is copied.
 * Thread-safety of sd_tensor: reads from any number of threads; one thread when it changes.
 */
LIBSD_API sd_status sd_tensor_new(sd_context *ctx, int32_t n_dims, const int64_t *dims,
                                  const float *data, sd_tensor **out);
LIBSD_API void sd_tensor_free(sd_tensor *tensor);
LIBSD_API int32_t sd_tensor_n_dims(const sd_tensor *tensor);
LIBSD_API const int64_t *sd_tensor_dims(const sd_tensor *tensor);
LIBSD_API int64_t sd_tensor_n_elements(const sd_tensor *tensor);
/* Valid as long as the tensor; the second for writing. */
LIBSD_API const float *sd_tensor_data(const sd_tensor *tensor);
LIBSD_API float *sd_tensor_data_mut(sd_tensor *tensor);

/* ----------------------------------------------------------------- 7. the stages one by one */

/*
 * Token ids of `text` for the text encoder of that number, 0 .. sd_model_info.n_encoders - 1, as
 * transformers' CLIPTokenizer gives them: start, at most
 * text_tokens - 2 tokens, end, then padding up to text_tokens. `ids` has room for `capacity`
 * entries, at least text_tokens. *n_used (may be NULL) gets the count of start, text and end
 * before cutting, so that n_used > text_tokens says that the prompt was cut.
 *
 * Tokens that were added to the vocabulary (tokenizer_config.json, added_tokens.json or
 * tokenizer.json beside it) are found whole, as there; those that the text encoder has no row for
 * are named in the log by sd_model_load and are text. In prompts, of which embeddings are made, an
 * added token "<toy>" stands for "<toy>_1", "<toy>_2", ... too where these are there, as in
 * diffusers.
 */
LIBSD_API sd_status sd_tokenize(const sd_model *model, int32_t encoder, const char *text,
                                int32_t *ids, int32_t capacity, int32_t *n_used);

/* The text of one token id of that encoder ("cat</w>"), or NULL. Valid as long as the model. */
LIBSD_API const char *sd_token_text(const sd_model *model, int32_t encoder, int32_t id);

/*
 * Conditioning: what a network is conditioned on, as tensors by name, each with a row for each
 * picture or one row for all. The name known today is "context" [n, tokens, width], which
 * cross-attention looks at: embeddings of prompts or classes. Other families will add names.
 * Thread-safety of sd_cond: immutable once it is made; any number of threads at once.
 *
 * From `n` tensors, which are copied: names[i] is that of values[i]. A name that this version does
 * not know is SD_ERROR_UNSUPPORTED, and the sentence lists those that it knows.
 */
LIBSD_API sd_status sd_cond_new(sd_context *ctx, const char *const *names,
                                const sd_tensor *const *values, int32_t n, sd_cond **out);
LIBSD_API void sd_cond_free(sd_cond *cond);

/* A copy of the tensor of that name. */
LIBSD_API sd_status sd_cond_get(const sd_cond *cond, const char *name, sd_tensor **out);

/* Rows first .. first + n - 1 as conditioning of their own: of prompts that were encoded together,
 * so that all have the tokens of the longest, the prompts and the negative one. */
LIBSD_API sd_status sd_cond_rows(const sd_cond *cond, int32_t first, int32_t n, sd_cond **out);

/*
 * Prompts to conditioning: its context is [n_texts, text_tokens, text_width], the last hidden state
 * after the final LayerNorm (FrozenCLIPEmbedder). `params` NULL means all defaults. The weighted
 * syntax:
 *
 *   (word)      weighs 1.1, ((word)) 1.21       \( \) \[ \] \\  the character itself
 *   (word:1.3)  weighs 1.3                      BREAK           goes on in the next chunk
 *   [word]      weighs 1 / 1.1
 *
 * A weight multiplies the embeddings of its tokens, and the mean of a chunk's embeddings is
 * restored. A prompt takes as many chunks of text_tokens as it needs, each encoded alone, side by
 * side: [n_texts, k * text_tokens, text_width], where shorter texts are filled up with empty
 * prompts. No text is refused: brackets without a partner are read as the web UIs read them. What
 * else those UIs act on (<lora:...>, [from:to:0.5], [a|b], AND) is text here, and one line of the
 * log names it.
 *
 * With `clean` a text is first what the tokenizers of the original's environment made of it, where
 * ftfy was installed: fix_text of ftfy 6.3 (curly quotes and apostrophes straight, full-width
 * letters plain, ligatures letters, entities characters, text that was read in a wrong encoding
 * mended, terminal escapes and control characters gone, NFC), then html.unescape of Python twice,
 * and single spaces; final sigmas as Python's lower() has them. A text of entities within entities
 * without an end is SD_ERROR_ARGUMENT.
 */
LIBSD_API sd_status sd_encode_text(const sd_model *model, const char *const *texts, int32_t n_texts,
                                   const sd_text_params *params, sd_cond **out);

/* From token ids, which needs no vocabulary: an array for each of the n_encoders
 * (sd_model_info.n_encoders), each [n_texts * text_tokens]. `weighted` and `clean` are for texts,
 * and SD_ERROR_ARGUMENT here. */
LIBSD_API sd_status sd_encode_tokens(const sd_model *model, const int32_t *const *ids,
                                     int32_t n_encoders, int32_t n_texts,
                                     const sd_text_params *params, sd_cond **out);

/* Class ids, each 0 .. n_classes - 1: the context is [n, 1, text_width] (ClassEmbedder). */
LIBSD_API sd_status sd_encode_class(const sd_model *model, const int32_t *ids, int32_t n,
                                    sd_cond **out);

/*
 * Pixels [n, 3, h, w] in [-1, 1], h and w multiples of latent_downscale, to a latent
 * [n, c, h/8, w/8] times latent_scale: a sample of the posterior, or its mean. A VQ model has no
 * posterior: its latent is what its encoder gives, not quantised (that of a config's VQModel is),
 * and noise is not looked at.
 *
 * Tiles, here and in decoding, fade into each other over their overlap, as with enable_tiling of
 * diffusers' AutoencoderKL. A picture no larger than a tile is exactly what it is without them; a
 * larger one differs, as each tile is normalised alone. `params` NULL means all defaults.
 */
LIBSD_API sd_status sd_vae_encode(const sd_model *model, const sd_tensor *pixels,
                                  const sd_vae_params *params, sd_tensor **latent);

/* A latent (as the sampler leaves it) to pixels [n, 3, 8h, 8w], about [-1, 1], not clamped. A VQ
 * model takes the nearest row of its codebook for each of its pixels first, unless it is told not
 * to, a VQModel never. */
LIBSD_API sd_status sd_vae_decode(const sd_model *model, const sd_tensor *latent,
                                  const sd_vae_params *params, sd_tensor **pixels);

/* Picture `index` of pixels [n, 3, h, w] as 8-bit: round((x + 1) / 2 * 255), clamped. */
LIBSD_API sd_status sd_image_from_tensor(const sd_tensor *pixels, int32_t index, sd_image **out);

/* An RGB image as pixels [1, 3, h, w]: 2 x / 255 - 1. */
LIBSD_API sd_status sd_image_to_tensor(const sd_image *image, sd_tensor **out);

/* ------------------------------------------------------------------------- 8. sampling */

/*
 * Name of the i-th sampling method, or NULL after the last:
 *   ddim, plms, ddpm  the original's; ddpm with as many steps as train timesteps is its full loop
 *   ddim_inverse      from a latent (`init`) to the noise that DDIM makes it from
 *   euler, euler_a, heun, dpm2, lms, dpmpp_2m, dpmpp_2m_sde, unipc
 *                     those of k-diffusion, DPM-Solver++ and UniPC, as diffusers' schedulers
 *   lcm               for latent consistency models; a few steps
 *   dpm_solver        the original's DPMSolverSampler (--dpm_solver): dpmpp_2m with times of its
 *                     own, most of them between two train timesteps, for uniform and linspace
 * heun and dpm2 evaluate the network twice a step. The latent x_t is scaled alike in all:
 * sqrt(a_t) x0 + sqrt(1 - a_t) noise.
 */
LIBSD_API const char *sd_sampler_method(int32_t i);

/*
 * A sampler for pictures of one size. It keeps `model` alive, and what `params` names is copied;
 * NULL means all defaults. All memory of a run is taken here, for conditioning of the model's
 * text_tokens; a run with more or fewer, as long prompts have, takes memory anew when it begins,
 * where it did not before, and that may be SD_ERROR_MEMORY.
 *
 * Thread-safety of sd_sampler: one thread at a time; while it is in a call, its callbacks included,
 * calls of other threads return SD_ERROR_STATE. Its own callbacks may read the latent, the
 * predicted x_0, intermediates and previews, and set latent, mask and concat; what begins a run or
 * makes a step is SD_ERROR_STATE there. sd_sampler_remaining, sd_sampler_timestep and
 * sd_sampler_n_intermediates may be called by any thread at any time. Several samplers of one model
 * may run at once.
 */
LIBSD_API sd_status sd_sampler_new(const sd_model *model, const sd_sampler_params *params,
                                   sd_sampler **out);

/*
 * Gives a sampler back. Where it is sampling, in another thread or in the thread that this is a
 * callback of, its run ends: sd_sample or sd_sampler_step returns SD_ERROR_CANCELLED as soon as
 * sd_context_cancel would make it, and the memory goes then. The sampler that a progress callback
 * of sd_generate is given belongs to that call: to free it cancels.
 */
LIBSD_API void sd_sampler_free(sd_sampler *sampler);

/* What a run is given. All of it is copied or retained before the call returns. */
typedef struct sd_run_params {
    size_t struct_size;
    const sd_cond *cond;    /* of `batch` rows or 1, and any number of tokens; NULL where the model
                               is unconditional */
    const sd_cond *uncond;  /* of as many tokens; NULL is fine where guidance_scale is 1 */
    const sd_tensor *init;  /* a latent [batch or 1, c, h, w] to begin from; NULL: from noise */
    const sd_tensor *noise; /* [batch, c, h, w] in place of the seeds' first draw; or NULL */
    const sd_tensor *mask;  /* [batch or 1, 1, h, w]: see sd_sampler_set_mask; or NULL */
    const sd_tensor *mask_x0; /* [batch or 1, c, h, w], with `mask` */
    const sd_tensor *concat;  /* [batch or 1, .., h, w]: see sd_sampler_set_concat */
    const sd_stop *stop;      /* ends the run, also between its steps */
    double strength;          /* with init, 0 .. 1: of the steps int(strength * steps) are run, as
                                 Python computes it; init is noised to the first one's timestep,
                                 without a step to index 0, and at 1 nothing is left of it.
                                 Default 0.75 */
    int32_t last_steps;       /* n > 0: decode of DDIMSampler, the last n steps from init as it is,
                                 whatever the strength; not with `noise` or ddim_inverse. The
                                 seeds' first draw is left to sd_sampler_stochastic_encode, so that
                                 both, one after the other with the same t, are the original's
                                 image to image, as `init` with original_encode is for ddim and
                                 plms. 0 (default): by strength */
    int32_t reserved;
} sd_run_params;

#define SD_RUN_PARAMS_INIT                                                                         \
    { .struct_size = sizeof(sd_run_params), .strength = 0.75 }
LIBSD_API void sd_run_params_init(sd_run_params *params, size_t struct_size);

/*
 * A whole run: from noise (text to image), or from `init` noised to `strength` (image to image).
 * *latent gets [batch, c, h, w]. `params` NULL means all defaults, which do for an unconditional
 * model. A sampler can run any number of times; each run starts the seeds afresh.
 */
LIBSD_API sd_status sd_sample(sd_sampler *sampler, const sd_run_params *params, sd_tensor **latent);

/* Begins a run to be made a step at a time: step until sd_sampler_remaining() is 0. */
LIBSD_API sd_status sd_sampler_begin(sd_sampler *sampler, const sd_run_params *params);
LIBSD_API sd_status sd_sampler_step(sd_sampler *sampler);
LIBSD_API int32_t sd_sampler_remaining(const sd_sampler *sampler); /* steps left; 0 before begin */

/*
 * Train timestep that the sampler's index i stands for, 0 being the last step's (ddim_timesteps[i]
 * of the original; not always whole with Karras spacing); NaN past the last one.
 */
LIBSD_API double sd_sampler_timestep(const sd_sampler *sampler, int32_t i);

/* A copy of the current latent x_t, and of the last predicted x_0 (DDIM eq. 12). */
LIBSD_API sd_status sd_sampler_latent(sd_sampler *sampler, sd_tensor **latent);
LIBSD_API sd_status sd_sampler_pred_x0(sd_sampler *sampler, sd_tensor **latent);

/* Replaces x_t between two steps, e.g. to mask it. */
LIBSD_API sd_status sd_sampler_set_latent(sd_sampler *sampler, const sd_tensor *latent);

/*
 * Keeps a part of the picture from the next step on, in place of the run's mask: where `mask`
 * [batch or 1, 1, h, w] is 1, each step begins from `x0` [batch or 1, c, h, w] noised to its time,
 * where it is 0 from x_t, and between in proportion (the mask of DDIMSampler; any method but
 * ddim_inverse; p_sample_loop of the original blends after its steps instead). The noise is drawn
 * from the seeds, in each step before the step's own; ddim and plms draw that one too where they
 * multiply it by 0, as the original does. Both are copied; both NULL take the mask away. The last
 * step's result is left as it is. SD_ERROR_STATE before sd_sampler_begin.
 */
LIBSD_API sd_status sd_sampler_set_mask(sd_sampler *sampler, const sd_tensor *mask,
                                        const sd_tensor *x0);

/*
 * What the UNet of a model with more unet_channels than latent_channels takes beside the latent:
 * [batch or 1, unet_channels - latent_channels, h, w], in the order that the model was trained with
 * (`concat` and `hybrid` of LatentDiffusion's conditioning_key: torch.cat([x] + c_concat, dim=1)).
 * sd_inpaint_concat makes it for inpainting models. Both halves of guidance see the same. A run of
 * such a model is given it (sd_run_params.concat), and this replaces it from the next step on; NULL
 * is for models that take none. SD_ERROR_STATE before sd_sampler_begin.
 */
LIBSD_API sd_status sd_sampler_set_concat(sd_sampler *sampler, const sd_tensor *concat);

/*
 * What an inpainting model takes beside the latent, for sd_run_params.concat: pixels [n, 3, h, w]
 * in [-1, 1] and mask [n or 1, 1, h, w], from 0.5 on to be painted, to [n, c + 1, h/8, w/8]. For
 * SD 1.x and 2.x inpainting these are the mask (0 or 1), of each 8 x 8 square its first pixel, and
 * the latent of the picture with 0 in the hole; for the `concat` models of the original the latent
 * of the picture with -1 in the hole, not scaled, and the mask (-1 or 1). `noise` is
 * sd_vae_encode's; where n is 1 it may be [m, c, h/8, w/8], and *concat is of m rows; concat models
 * do not look at it. SD_ERROR_UNSUPPORTED where the UNet does not take 2 c + 1 channels.
 */
LIBSD_API sd_status sd_inpaint_concat(const sd_model *model, const sd_tensor *pixels,
                                      const sd_tensor *mask, const sd_vae_params *params,
                                      sd_tensor **concat);

/* How a predicted x_0 becomes a picture. */
typedef int32_t sd_preview_method;
enum {
    SD_PREVIEW_AUTO = 0, /* the cheapest that the model has: the VAE */
    SD_PREVIEW_VAE = 1   /* at full size */
};

typedef struct sd_preview_params {
    size_t struct_size;
    const sd_vae_params *vae; /* NULL: all defaults; without noise */
    int32_t index;            /* of the batch, default 0 */
    sd_preview_method method;
} sd_preview_params;

#define SD_PREVIEW_PARAMS_INIT                                                                     \
    { .struct_size = sizeof(sd_preview_params) }
LIBSD_API void sd_preview_params_init(sd_preview_params *params, size_t struct_size);

/* A picture of the predicted x_0, also within a run's callback. `params` NULL means all defaults.
 */
LIBSD_API sd_status sd_sampler_preview(sd_sampler *sampler, const sd_preview_params *params,
                                       sd_image **out);

/* ------------------------------------------------------------------- 9. building blocks */

/* torch.randn(dims) after manual_seed(seed), on the CPU or CUDA generator. */
LIBSD_API sd_status sd_randn(sd_context *ctx, sd_rng rng, uint64_t seed, int32_t n_dims,
                             const int64_t *dims, sd_tensor **out);

/* alphas_cumprod[t] (DDPM eq. 4, float64) of the model's schedule; NaN when out of range. 0 at the
 * end of a schedule of zero terminal SNR. */
LIBSD_API double sd_alphas_cumprod(const sd_model *model, int32_t timestep);

/* q_sample: sqrt(a_t) x0 + sqrt(1 - a_t) noise (DDPM eq. 4). One t for the batch. */
LIBSD_API sd_status sd_add_noise(const sd_model *model, const sd_tensor *x0, const sd_tensor *noise,
                                 int32_t timestep, sd_tensor **out);

/*
 * One evaluation of the UNet: x [n, c, h, w] with the channels that it takes beside the latent,
 * timesteps [n] (0 .. train_timesteps - 1, may be fractional) and conditioning of n rows and any
 * number of tokens (NULL for an unconditional model) to its output [n, c, h, w] (epsilon for
 * SD 1.x). A UNet with sd_model_info.guidance_embedding is told no scale.
 */
LIBSD_API sd_status sd_unet_predict(const sd_model *model, const sd_tensor *x,
                                    const double *timesteps, const sd_cond *cond, sd_tensor **out);

#ifdef __cplusplus
}
#endif

#endif
