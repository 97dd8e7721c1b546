/*
 * libsd, what only reproduces the original programs (CompVis, runwayml), and the training
 * objective:
 *
 *   1. Runs as the original's samplers make them: sd_sampler_params.original
 *   2. stochastic_encode and intermediates of DDIMSampler
 *   3. The codebook of VQ models as indices
 *   4. The training objective, forward
 *
 * The rules of sd/sd.h hold here too.
 */
#ifndef SD_ORIGINAL_H
#define SD_ORIGINAL_H

#include <sd/sd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ----------------------------------------------------------------- 1. the original's samplers */

/* A prediction of the network, given to a score corrector. Valid during the call only. */
typedef struct sd_score_info {
    size_t struct_size;
    const float *x;  /* x_t [batch, channels, height, width] that it was asked at */
    float *e_t;      /* the guided epsilon, of the same shape, to be changed in place */
    double timestep; /* that the network was asked at; may be fractional */
    int32_t batch;
    int32_t channels;
    int32_t height; /* of the latents */
    int32_t width;
} sd_score_info;

/* modify_score of the original's score_corrector: called in the thread that samples, after each
 * evaluation. Return non-zero to end the run with SD_ERROR_CANCELLED. */
typedef int32_t(SD_CALL *sd_score_corrector_fn)(void *user, const sd_score_info *score);

/* What sd_sampler_params.original says. All zeros but for the temperature is none of it. */
struct sd_original_params {
    size_t struct_size;
    sd_score_corrector_fn score_corrector; /* NULL: none. Models that predict noise only */
    void *corrector_user;                  /* corrector_kwargs */
    double temperature;         /* factor of the noise that steps add, from 0 upward; default 1 */
    double noise_dropout;       /* 0 (default) .. 1: share p of the noise that steps add that is set
                                   to 0, the rest being divided by 1 - p: F.dropout, drawn from the
                                   same generator after each noise as torch's own CPU kernel does
                                   (on Intel processors torch may take MKL's, whose numbers are
                                   others), and with SD_RNG_CUDA from one Philox block for each 4
                                   values in a row */
    int32_t one_stream;         /* non-zero: the whole batch draws from `seed`, as
                                   torch.randn([batch, c, h, w]) in the original scripts. With
                                   SD_RNG_CUDA image to image samples the VAE's posterior with the
                                   CPU's noise of this seed, as the original does on a GPU */
    int32_t skip_draws;         /* batches of noise that a run draws from its seeds and drops before
                                   its first, to go on where another left off; default 0 */
    int32_t clip_denoised;      /* ddpm: non-zero clamps the predicted x_0 to [-1, 1] */
    int32_t quantize_denoised;  /* ddim, plms, ddpm; VQ models only: non-zero takes the nearest row
                                   of the codebook for each pixel of the predicted x_0. As the
                                   original does, x_0 is not divided by latent_scale first */
    int32_t log_every_t;        /* what a run keeps: see sd_sampler_x_inter; 0 (default): nothing */
    int32_t use_original_steps; /* ddim, plms, ddpm: non-zero makes a step for each train timestep
                                   (ddim_use_original_steps); steps and spacing are not looked at */
    int32_t original_encode;    /* ddim, plms: non-zero noises the init latent to index
                                   int(strength * steps), one above the first step's, as
                                   scripts/img2img.py of the original does: its pictures, and
                                   coloured blocks at low strengths. Below strength 1 only */
    int32_t reserved;
};

#define SD_ORIGINAL_PARAMS_INIT                                                                    \
    { .struct_size = sizeof(sd_original_params), .temperature = 1.0 }
LIBSD_API void sd_original_params_init(sd_original_params *params, size_t struct_size);

/* ------------------------------------------------- 2. stochastic_encode and intermediates */

/*
 * stochastic_encode of DDIMSampler: sqrt(a_t) x0 + sqrt(1 - a_t) noise, where a_t is alphas_cumprod
 * at index t of the sampler's timesteps; at train timestep t itself with use_original_steps. `x0`
 * is [batch or 1, c, h, w]; `noise` [batch, c, h, w], or NULL: the seeds' first draw. Any method
 * but ddim_inverse.
 */
LIBSD_API sd_status sd_sampler_stochastic_encode(sd_sampler *sampler, const sd_tensor *x0,
                                                 int32_t t, const sd_tensor *noise,
                                                 sd_tensor **latent);

/*
 * What a run keeps with log_every_t > 0, the intermediates of DDIMSampler.sample: entry 0 of both
 * lists is the latent that the run began with; x_t and the predicted x_0 come after the first
 * step, and after each whose index, counted down to 0, is a multiple of log_every_t. With ddpm the
 * first list is that of p_sample_loop, and the second from entry 1 on that of
 * progressive_denoising. A sampler has the memory for both from the beginning, two latents on the
 * host for an entry. They stay until the next run begins or a run fails; a callback may read them.
 */
LIBSD_API int32_t sd_sampler_n_intermediates(const sd_sampler *sampler);
/* Copies of entry `i`, 0 .. sd_sampler_n_intermediates() - 1. */
LIBSD_API sd_status sd_sampler_x_inter(sd_sampler *sampler, int32_t i, sd_tensor **latent);
LIBSD_API sd_status sd_sampler_pred_x0_inter(sd_sampler *sampler, int32_t i, sd_tensor **latent);

/* ------------------------------------------------------------------- 3. the codebook */

/*
 * The codebook of a VQ model, sd_model_info.n_codes rows of latent_channels; SD_ERROR_UNSUPPORTED
 * with other models. An index stands for a latent's pixel; ids are [n, h, w] of latents, rows from
 * the top, and `capacity` is their count or more.
 *
 * The index of the nearest row to each pixel of `latent` [n, c, h, w], the first of equals
 * (min_encoding_indices of VectorQuantizer2), and a latent made of these rows, what sd_vae_decode
 * decodes. `ids` or `quantized` may be NULL.
 */
LIBSD_API sd_status sd_vae_quantize(const sd_model *model, const sd_tensor *latent, int32_t *ids,
                                    int64_t capacity, sd_tensor **quantized);

/* sd_vae_encode, as indices: pixels [n, 3, h, w] to ids [n, h / latent_downscale, ...]. */
LIBSD_API sd_status sd_vae_encode_ids(const sd_model *model, const sd_tensor *pixels,
                                      const sd_vae_params *params, int32_t *ids, int64_t capacity);

/* Indices [n, h, w], each 0 .. n_codes - 1, to pixels: decode_code of VQModel, and what
 * decode_first_stage does with predict_cids once the most likely index is taken. */
LIBSD_API sd_status sd_vae_decode_ids(const sd_model *model, const int32_t *ids, int32_t n,
                                      int32_t h, int32_t w, const sd_vae_params *params,
                                      sd_tensor **pixels);

/* ---------------------------------------------------------- 4. the training objective */

typedef int32_t sd_loss_type;
enum { SD_LOSS_L2 = 0, SD_LOSS_L1 = 1 };

typedef struct sd_loss_params {
    size_t struct_size;
    const float *logvar;     /* [train_timesteps], as learn_logvar leaves them, or NULL */
    const sd_tensor *concat; /* [n, c', h, w] that the UNet takes beside the latent: for models of
                                more unet_channels than the latent has; else NULL */
    double l_simple_weight;  /* default 1 */
    double original_elbo_weight; /* default 0 */
    double logvar_init;          /* of all timesteps, unless `logvar` is set; default 0 */
    sd_loss_type type;
    int32_t reserved;
} sd_loss_params;

#define SD_LOSS_PARAMS_INIT                                                                        \
    { .struct_size = sizeof(sd_loss_params), .l_simple_weight = 1.0 }
LIBSD_API void sd_loss_params_init(sd_loss_params *params, size_t struct_size);

/* Means over the batch, by the names that the original logs them under. */
typedef struct sd_loss_info {
    size_t struct_size;
    double total;  /* loss: l_simple_weight gamma + original_elbo_weight vlb */
    double simple; /* loss_simple */
    double gamma;  /* loss_gamma: loss_simple / exp(logvar_t) + logvar_t */
    double vlb;    /* loss_vlb: lvlb_weights_t loss_simple */
    double logvar; /* logvar, over all train timesteps */
} sd_loss_info;

#define SD_LOSS_INFO_INIT                                                                          \
    { .struct_size = sizeof(sd_loss_info) }
LIBSD_API void sd_loss_info_init(sd_loss_info *info, size_t struct_size);

/*
 * The training objective, forward (p_losses of LatentDiffusion; DDPM eq. 14 with SD 1.x): x0
 * [n, c, h, w] (as sd_vae_encode gives it) is noised with `noise` to timesteps [n], the UNet
 * predicts, and its distance to the target is taken: the noise, x0, or
 * v = sqrt(a_t) noise - sqrt(1 - a_t) x0, by what the model was trained for. `params` NULL means
 * all defaults. *samples (`samples` may be NULL) gets [n, 3]: simple, gamma and vlb of each.
 */
LIBSD_API sd_status sd_training_loss(const sd_model *model, const sd_tensor *x0,
                                     const sd_tensor *noise, const int32_t *timesteps,
                                     const sd_cond *cond, const sd_loss_params *params,
                                     sd_loss_info *loss, sd_tensor **samples);

#ifdef __cplusplus
}
#endif

#endif
