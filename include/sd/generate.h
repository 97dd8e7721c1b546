/* Section 3 of sd/sd.h: pictures in one call, and the parameters of all that leads to them. */
#ifndef SD_GENERATE_H
#define SD_GENERATE_H

#include <sd/model.h>

#ifdef __cplusplus
extern "C" {
#endif

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
    const char *method;    /* NULL (default): the model's, sd_model_info.default_method; a name of
                              sd_sampler_method, or any that sd_sampler_find knows, whose spacing
                              is taken where `spacing` is SD_SPACING_AUTO */
    const uint64_t *seeds; /* `batch` seeds, or NULL */
    sd_progress_fn progress;
    void *progress_user;
    const sd_original_params *original; /* NULL: none of it */
    uint64_t seed;                      /* picture i draws from seed + i, unless `seeds` is set */
    double eta;            /* DDIM's eta >= 0 (eq. 16), and tcd's gamma 0 .. 1; 0 is deterministic.
                              plms takes 0 only, the other methods do not look at it */
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
    /* Times of the caller's own, copied, in place of steps and spacing, which are left out (0): one
     * of these, or neither. As set_timesteps of diffusers takes them. */
    const double *timesteps; /* n_timesteps train timesteps, whole or not, each below the one
                                before, train_timesteps - 1 .. 0; or NULL */
    const double *sigmas;    /* n_sigmas, one more than there are steps, each below the one before:
                                4000 .. 0.0001, and last 0; methods on sigmas. The network is asked
                                at the timestep where the model's sigma is that; or NULL */
    double ancestral_eta;    /* eta >= 0 of the methods that draw noise in their steps in any case:
                                euler_a, dpm2_a, dpmpp_2s_a and those named _sde; default 1. What
                                the web UIs call eta, DDIM's being another there */
    int32_t n_timesteps;     /* 1 .. train_timesteps */
    int32_t n_sigmas;        /* 2 .. train_timesteps + 1 */
    /* The first noise as A1111 varies it; not with one_stream. */
    int64_t eta_noise_seed_delta; /* ENSD: noise of steps is drawn from seed + this; 0 (default): it
                                     goes on after the first noise. 31337 in many old pictures */
    uint64_t subseed;             /* with a strength: the variation seed */
    double subseed_strength; /* 0 (default) .. 1: how far each picture's first noise goes, along
                                the sphere, to that of subseed + i. All pictures have the one
                                `seed` then, unless `seeds` is set */
    int32_t
        seed_resize_width; /* both or neither (0): the noise is that of a picture of this size */
    int32_t seed_resize_height; /* in pixels, in the middle of the picture's own */
} sd_sampler_params;

#define SD_SAMPLER_PARAMS_INIT                                                                     \
    {                                                                                              \
        .struct_size = sizeof(sd_sampler_params), .seed = 42, .guidance_scale = SD_AUTO,           \
        .batch = 1, .ancestral_eta = 1.0                                                           \
    }
LIBSD_API void sd_sampler_params_init(sd_sampler_params *params, size_t struct_size);

typedef struct sd_text_params {
    size_t struct_size;
    const sd_stop *stop; /* ends the call: sd_stop; or NULL */
    int32_t weighted;    /* non-zero: the prompt syntax of the popular web UIs: sd_encode_text */
    int32_t clip_skip;   /* n > 1 ends n - 1 layers before the last; the final norm is applied. Of
                            SDXL before the last but one, where it ends anyway, without a norm: as
                            diffusers counts, less 1 */
    int32_t clean;       /* non-zero: texts are cleaned first: sd_encode_text */
    int32_t steps;       /* of the run that weighted texts with programs are for, as the web UIs
                            count them: for methods that evaluate twice a step (heun, dpm2, dpm2_a,
                            dpmpp_2s_a, dpmpp_sde) twice as many. 0 (default): of sd_generate its
                            own, else the model's default ones */
    /* What SDXL is told of a picture besides the text (Podell et al. 2023, section 2.2), for models
     * with sd_model_info.n_sizes; others are told nothing, and the log says so where it is set. */
    double aesthetic_score;          /* how it is liked, 0 .. 10, default 6: refiners alone, which
                                        are not told the target's size */
    double negative_aesthetic_score; /* of sd_generate's negative prompt; default 2.5 */
    int32_t original_width;  /* pixels of the picture that was scaled, and of what is wanted; */
    int32_t original_height; /* 0 (default): those of the run */
    int32_t target_width;
    int32_t target_height;
    int32_t crop_top; /* pixels that were cut off, default 0 */
    int32_t crop_left;
} sd_text_params;

#define SD_TEXT_PARAMS_INIT                                                                        \
    {                                                                                              \
        .struct_size = sizeof(sd_text_params), .aesthetic_score = 6.0,                             \
        .negative_aesthetic_score = 2.5                                                            \
    }
LIBSD_API void sd_text_params_init(sd_text_params *params, size_t struct_size);

typedef struct sd_vae_params {
    size_t struct_size;
    const sd_tensor *noise; /* encoding: of the latent's shape, the posterior is sampled with it,
                               mean + exp(logvar / 2) * noise; NULL: the latent is its mean */
    const sd_stop *stop;    /* ends the call: sd_stop; or NULL */
    int32_t tile;           /* side in latents of the tiles that a larger picture is divided into,
                               which takes the memory of one; 0 (default): pictures stay whole */
    int32_t overlap;        /* latents that neighbours share, below `tile`; 0 (default): a quarter
                               of it; below 0: none */
    int32_t unquantized;    /* decoding: non-zero: a VQ model takes the latent as it is
                               (force_not_quantize of VQModelInterface) */
    int32_t tiny;           /* non-zero: by the small autoencoder of the model (taesd of
                               sd_model_params) in place of its VAE: several times as fast, not as
                               fine. It has no posterior, and noise is not looked at.
                               SD_ERROR_UNSUPPORTED where the model has none, or, encoding, its
                               decoder alone */
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
    const char *negative_prompt; /* what guidance leads away from; NULL is "", or zeros in place of
                                    a text where the model asks for that, as SDXL's base does
                                    (force_zeros_for_empty_prompt) */
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
    const sd_stop *stop;        /* ends the call: sd_stop; or NULL */
    double strength; /* with init, 0 .. 1: how much may change. Of the steps int(strength * steps)
                        are run, as Python computes it, and init is noised to the first one's
                        timestep; at 1 nothing of it is seen. SD_AUTO (default): 0.75, with a mask
                        1 */
    const sd_model *refiner; /* SDXL's refiner, or another model of the same context and latents,
                                that paints the last steps; NULL (default): none. It encodes the
                                prompts itself, which are no `cond` then */
    double refiner_start; /* the share of the train timesteps that is done when it begins, 0 .. 1;
                             0 (default) is 0.8: sd_run_params.denoising_start */
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

#ifdef __cplusplus
}
#endif

#endif
