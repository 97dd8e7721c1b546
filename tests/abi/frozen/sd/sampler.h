/* Section 7 of sd/sd.h, sampling: whole runs and single steps. */
#ifndef SD_SAMPLER_H
#define SD_SAMPLER_H

#include <sd/generate.h>
#include <sd/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Name of the i-th sampling method, or NULL after the last:
 *   ddim, plms, ddpm  the original's; ddpm with as many steps as train timesteps is its full loop
 *   ddim_inverse      from a latent (`init`) to the noise that DDIM makes it from
 *   euler, euler_a, heun, dpm2, lms, dpmpp_2m, dpmpp_2m_sde, unipc
 *                     those of k-diffusion, DPM-Solver++ and UniPC, as diffusers' schedulers
 *   lcm               for latent consistency models; a few steps
 *   dpm_solver        the original's DPMSolverSampler (--dpm_solver): dpmpp_2m with times of its
 *                     own, most of them between two train timesteps, for uniform and linspace
 *   dpm2_a, dpmpp_2s, deis
 *                     as diffusers' KDPM2AncestralDiscreteScheduler, DPMSolverSinglestepScheduler
 *                     and DEISMultistepScheduler
 *   dpmpp_2s_a, dpmpp_sde, dpmpp_3m_sde
 *                     as k-diffusion; noise is drawn from the seeds, step by step, where that takes
 *                     the SDE methods' from a Brownian tree of torchsde: pictures of the web UIs by
 *                     these are other pictures here
 *   tcd               trajectory consistency distillation, as diffusers; a few steps
 * heun, dpm2, dpm2_a, dpmpp_2s_a and dpmpp_sde evaluate the network twice a step; dpmpp_sde draws
 * two noises, in the middle and at the end. Methods on sigmas are all but ddim, plms, ddpm,
 * ddim_inverse, lcm, dpm_solver and tcd. The latent x_t is scaled alike in all:
 * sqrt(a_t) x0 + sqrt(1 - a_t) noise. docs/samplers.md has what others call them.
 */
LIBSD_API const char *sd_sampler_method(int32_t i);

/* What the web UIs call the i-th method, "DPM++ 2M SDE"; NULL after the last. */
LIBSD_API const char *sd_sampler_label(int32_t i);

/*
 * The method, and the spacing, that a sampler's name stands for: ours, a web UI's, of A1111 or
 * ComfyUI, followed by its schedule where there is one ("DPM++ 2M SDE Karras", "Euler a",
 * "k_dpm_2_a", "dpmpp_2m_sde_gpu sgm_uniform"), or the class of a diffusers scheduler
 * ("UniPCMultistepScheduler"). Case and whatever is no letter, digit or "+" do not matter. *spacing
 * gets SD_SPACING_AUTO where the name has none; "uniform" in a name is A1111's, SD_SPACING_NORMAL
 * here. *method is static. SD_ERROR_ARGUMENT where a name stands for nothing here; the sentence has
 * what is near it. sd_sampler_params.method takes the same names. Any thread.
 */
LIBSD_API sd_status sd_sampler_find(const char *name, const char **method,
                                    sd_timestep_spacing *spacing);

/* Name of the i-th sd_timestep_spacing, "auto", "uniform" and so on, or NULL after the last. */
LIBSD_API const char *sd_sampler_spacing(int32_t i);

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
    /* Shares of the train timesteps, 0 .. 1, between which the run's steps are made, as diffusers
     * has them: a run that ends before 1 leaves noise in the latent, from which another, most often
     * of SDXL's refiner, goes on at the same share. 0 (default) is the whole. */
    double denoising_start; /* with init, which is taken as it is, whatever the strength; not with
                               `noise`, last_steps or ddim_inverse */
    double denoising_end;   /* above denoising_start; not with ddim_inverse */
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
    SD_PREVIEW_AUTO = 0,   /* the cheapest good one that the model has: tiny, else matrix, else VAE;
                              sd_model_info.default_preview tells */
    SD_PREVIEW_VAE = 1,    /* at full size */
    SD_PREVIEW_MATRIX = 2, /* colours alone: each pixel of the latent, times 4 x 3 factors, is one
                              of a picture of the latent's size (64 x 64 of 512 x 512); no time. The
                              published factors of Stable Diffusion and XL, or those that the model
                              brings: docs/previews.md */
    SD_PREVIEW_TINY = 3    /* the small autoencoder (taesd of sd_model_params), at full size */
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
 * SD_ERROR_UNSUPPORTED where the model has not what the method needs. */
LIBSD_API sd_status sd_sampler_preview(sd_sampler *sampler, const sd_preview_params *params,
                                       sd_image **out);

#ifdef __cplusplus
}
#endif

#endif
