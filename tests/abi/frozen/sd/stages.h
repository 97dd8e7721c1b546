/* Section 6 of sd/sd.h, the stages one by one: text, VAE; and the building blocks below them. */
#ifndef SD_STAGES_H
#define SD_STAGES_H

#include <sd/generate.h>
#include <sd/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

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
 * picture or one row for all. The names known today:
 *
 *   context  [n, tokens, width]  which cross-attention looks at: embeddings of prompts or classes;
 *                                each has it
 *   pooled   [n, pooled_width]   SDXL: a text as one vector
 *   sizes    [n, n_sizes]        SDXL, may be left out: original height and width, crop top and
 *                                left, and target height and width or, of refiners, the aesthetic
 *                                score (sd_text_params). A width or height of 0 is the run's; all
 *                                are where there is no "sizes", with scores of 6 and 2.5
 *
 * Thread-safety of sd_cond: immutable once it is made; any number of threads at once.
 *
 * From `n` tensors, which are copied: names[i] is that of values[i]. A name that this version does
 * not know is SD_ERROR_UNSUPPORTED, and the sentence lists those that it knows.
 */
LIBSD_API sd_status sd_cond_new(sd_context *ctx, const char *const *names,
                                const sd_tensor *const *values, int32_t n, sd_cond **out);
LIBSD_API void sd_cond_free(sd_cond *cond);

/* A copy of the tensor of that name; of a schedule what a run begins with, of a combination its
 * first. */
LIBSD_API sd_status sd_cond_get(const sd_cond *cond, const char *name, sd_tensor **out);

/* Rows first .. first + n - 1 as conditioning of their own: of prompts that were encoded together,
 * so that all have the tokens of the longest, the prompts and the negative one. */
LIBSD_API sd_status sd_cond_rows(const sd_cond *cond, int32_t first, int32_t n, sd_cond **out);

/*
 * Conditioning that changes in the course of a run: conds[i] is looked at while the share of the
 * run that is done is below until[i]. The shares ascend, above 0, and the last one is 1. What is
 * counted are evaluations of the network, of all that sd_sampler_params.steps take: steps, or twice
 * as many where a method evaluates twice a step. As in the web UIs a run of image to image begins
 * at 0 and, having fewer steps, does not come to 1. One that goes on with another's latent
 * (sd_run_params.denoising_start) begins at that one's end.
 *
 * All have the same parts, as many tokens (those of texts that are encoded together have), and as
 * many rows, or one. They may be schedules and combinations, whose shares are the whole run's too.
 * Values are copied, but those of rows of one sd_encode_text shared. SD_ERROR_ARGUMENT for what is
 * not so; sd_unet_predict and sd_training_loss take no such conditioning.
 */
LIBSD_API sd_status sd_cond_schedule(const sd_cond *const *conds, const double *until, int32_t n,
                                     sd_cond **out);

/*
 * Several that are looked at together, each with its weight w: composable diffusion (Liu et al.
 * 2022), as combine_denoised of the web UIs has it, e_u + s sum_i w_i (e_i - e_u). Each takes an
 * evaluation of the network in each step, in one batch with the others. In schedules and
 * combinations of combinations the terms add up: more than 7 are SD_ERROR_UNSUPPORTED. A run
 * without an unconditional half, as guidance scale 1 has, takes weights alone whose sum is 1, and
 * its `uncond` may be a schedule, but no combination. Else as sd_cond_schedule.
 */
LIBSD_API sd_status sd_cond_combine(const sd_cond *const *conds, const double *weights, int32_t n,
                                    sd_cond **out);

/*
 * Prompts to conditioning: its context is [n_texts, text_tokens, text_width], the last hidden state
 * after the final LayerNorm (FrozenCLIPEmbedder); of SDXL that before the last layer of both
 * encoders, side by side, beside the pooled vector of each text's first chunk and the sizes of
 * `params`. `params` NULL means all defaults. The weighted syntax:
 *
 *   (word)      weighs 1.1, ((word)) 1.21       \( \) \[ \] \\  the character itself
 *   (word:1.3)  weighs 1.3                      BREAK           goes on in the next chunk
 *   [word]      weighs 1 / 1.1
 *
 * A weight multiplies the embeddings of its tokens, and the mean of a chunk's embeddings is
 * restored. A prompt takes as many chunks of text_tokens as it needs, each encoded alone, side by
 * side: [n_texts, k * text_tokens, text_width], where shorter texts are filled up with empty
 * prompts. No text is refused, but one that combines more than 7 by AND (SD_ERROR_UNSUPPORTED):
 * brackets without a partner are read as the web UIs read them. <lora:...> is text here, and one
 * line of the log names it. Programs, which become sd_cond_schedule and sd_cond_combine:
 *
 *   [from:to:0.5]   from, and after half of the steps to   [to:0.5]      nothing, then to
 *   [from:to:12]    and after 12 of params->steps          [from::0.5]   from, then nothing
 *   [a|b|c]         in turns, one step each                a AND b :0.7  both, b with a weight
 *
 * They nest, and are read as prompt_parser.py of AUTOMATIC1111's web UI reads them, with its
 * default options: a number with a point is a share of the steps, rounded down, and one without
 * counts them. As there, steps are evaluations of the network, and what lasts for n of them is seen
 * by n + 1, since the first has number 0: [a|b] is a, a, b, a, b ... A number at the end of a text
 * weighs it also where there is no AND, and then the log says so; brackets that do not match are
 * text, and so is all of a text with a | outside of brackets. In sd_generate's negative prompt AND
 * is a word. Texts with programs are encoded together with all that they become, and have the
 * chunks of the longest.
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

/* ----------------------------------------------------------------- building blocks */

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
