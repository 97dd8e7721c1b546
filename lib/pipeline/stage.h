/* What the files of this folder share: executors for one call, checks of shapes, noise. */
#ifndef SD_PIPELINE_STAGE_H
#define SD_PIPELINE_STAGE_H

#include "backend/region.h"
#include "pipeline/pipeline.h"

/* --- execs.c: idle executors of a model, handed to one call or one sampler at a time. An
 * executor's arena grows to what its users needed and is used again by the next one, so that the
 * text encoder, the UNet and the VAE of a run share one. Thread-safe. --- */
sd_status sd_execs_new(sd_context *ctx, struct sd_exec_cache **out);
void sd_execs_free(struct sd_exec_cache *cache);
sd_status sd_execs_take(sd_model *model, sd_exec **out);
void sd_execs_give(sd_model *model, sd_exec *e); /* NULL is fine */

/* Work of one call, key->fn with `job`: measured, unless the executor knows this stage, and run. */
sd_status sd_execs_run(sd_model *model, const sd_stage_key *key, void *job);
/* Only measured: memory of arena and scratch, and arithmetic (2 for each multiply-add). */
typedef struct sd_cost {
    uint64_t bytes;
    double flops;
} sd_cost;
sd_status sd_execs_estimate(sd_model *model, sd_exec_fn fn, void *job, sd_cost *cost);

/* --- probe.c: finds what the UNet predicts where no file tells. The UNet is there. --- */
sd_status sd_probe_prediction(sd_model *model);

/* --- words.c: textual inversion. The files stay open until the text encoder is built. --- */
#define SD_MAX_WORDS (SDB_MAX_PARTS - 1)

typedef struct sd_word_files {
    sd_word_rows rows[SD_MAX_WORDS];
    int n;
} sd_word_files;

/* Fills model->words; the model has a description, and a tokenizer where a vocabulary was found.
 * `names` and each of them may be NULL: the file's. */
sd_status sd_words_open(sd_model *model, const char *const *paths, const char *const *names, int n,
                        sd_word_files *files);
void sd_words_close(sd_word_files *files);
void sd_words_free(const sd_context *ctx, sd_words *words);

/* --- shapes.c: `dims` has -1 where any size is fine. --- */
sd_status sd_expect_shape(const sd_tensor *t, const char *what, int n_dims, const int64_t *dims);
sd_status sd_expect_multiple(const sd_tensor *t, const char *what, int multiple, int max_side);
/* What the VAE encodes: [n, channels, h, w], its sides multiples of the latent's pixel. */
sd_status sd_expect_pixels(const sd_model *model, const sd_tensor *pixels);
/* What the VAE decodes: [n, latent_channels, h, w], finite. */
sd_status sd_expect_latent(const sd_model *model, const sd_tensor *latent);

/* --- finite.c --- */
/* Where the first value is that is infinite or no number; -1: nowhere. */
int64_t sd_find_not_finite(const float *x, int64_t n);
/* Of an argument: SD_ERROR_ARGUMENT by its name. */
sd_status sd_expect_finite(const sd_tensor *t, const char *what);
/* Of what `stage` ("the UNet") made of finite numbers: SD_ERROR_MODEL, with a way out. */
sd_status sd_check_computed(const sd_model *model, const char *stage, const sd_tensor *t);
/* Its sentence, for element `at`, where it was found. */
sd_status sd_fail_not_finite(const sd_model *model, const char *stage, float value, int n_dims,
                             const int64_t *dims, int64_t at);

/* unet.c: sd_stage_unet, whatever comes out: for a model whose weights are not known to be right.
 */
sd_status sd_unet_evaluate(sd_model *model, const sd_tensor *x, const float *timesteps,
                           const sd_tensor *embeddings, sd_tensor **out);

/* --- vae.c: z = latent / scale + shift in place, as diffusers' pipelines have it (the original has
 * no shift), or latent * std / scale + mean of each channel; n values of NHWC. --- */
void sd_latent_unscale(const sd_vae_config *config, float *z, int64_t n);
/* Of what the encoder made of these pixels: sd_check_computed, unless they are at fault. */
sd_status sd_check_encoded(const sd_model *model, const sd_tensor *pixels, const sd_tensor *latent);
/* What is left to be done to z * scale, for its inverse. */
void sd_latent_shift(const sd_vae_config *config, float *z, int64_t n);

/* --- noise.c: the generators of a batch. --- */
typedef struct sd_noise {
    sd_generator *generators;
    sd_generator *kept; /* see sd_noise_keep */
    int n_generators;   /* one for each picture, or one for all */
    int n_pictures;
    sd_rng kind;
    uint64_t *seeds; /* [n_generators] */
} sd_noise;

sd_status sd_noise_init(sd_noise *noise, const sd_context *ctx, const sd_sampler_params *params);
void sd_noise_free(sd_noise *noise, const sd_context *ctx);
void sd_noise_restart(sd_noise *noise);
/* sd_noise_go_back draws again what was drawn since sd_noise_keep. */
void sd_noise_keep(sd_noise *noise);
void sd_noise_go_back(sd_noise *noise);
/* torch.randn of [n_pictures, ...], `count` values for each picture. */
void sd_noise_draw(sd_noise *noise, float *out, int64_t count);
/* F.dropout of what was drawn. */
void sd_noise_dropout(sd_noise *noise, float *x, int64_t count, double p);
/* sqrt(a) x0 + sqrt(1 - a) noise; out may be one of them. DDPM eq. 4. */
void sd_q_sample(double a, const float *x0, const float *noise, float *out, int64_t n);

/* --- estimates, for estimate.c --- */
/* Prompts of one turn: 16 at most. */
sd_status sd_text_estimate(sd_model *model, int n, sd_cost *cost);
sd_status sd_vae_decode_estimate(sd_model *model, int n, int h, int w, sd_cost *cost);
sd_status sd_vae_encode_estimate(sd_model *model, int n, int h, int w, sd_cost *cost);
/* Memory alone: one tile's. */
sd_status sd_vae_decode_tiled_estimate(sd_model *model, int h, int w, const sd_tile_params *tiles,
                                       sd_cost *cost);
sd_status sd_vae_encode_tiled_estimate(sd_model *model, int h, int w, const sd_tile_params *tiles,
                                       sd_cost *cost);
sd_status sd_sampling_estimate(sd_model *model, const sd_sampler_params *params, sd_cost *cost);

/* --- what pictures in one call are made with --- */
/* Whether a step evaluates for an unconditional half too. Without a condition there is nothing to
 * be guided to, and a UNet that is told the scale guides itself. */
bool sd_is_guided(const sd_model *model, const sd_sampler_params *p);
/* Embeddings of the prompt [1, tokens, width], or of `prompts` [batch, tokens, width] where that is
 * not NULL, and of the negative one [1, tokens, width], and their tokens into `sampling`; *uncond
 * stays NULL where nothing is guided. */
sd_status sd_encode_prompts(sd_model *model, const char *prompt, const char *const *prompts,
                            const char *negative, const sd_text_params *text,
                            sd_sampler_params *sampling, sd_tensor **cond, sd_tensor **uncond);
/* One picture is encoded, and its posterior is sampled with each of the noises [n, c, h, w]; in
 * tiles where `tiles` is not NULL. */
sd_status sd_vae_encode_one(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                            const sd_tile_params *tiles, sd_tensor **latent);
sd_status sd_vae_encode_one_tiled(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                                  const sd_tile_params *tiles, sd_tensor **latent);
/* What becomes of a latent that was encoded, with `status`: a VQModel takes the nearest codes. */
sd_status sd_vae_encoded(sd_model *model, sd_status status, sd_tensor **latent);
/* Decodes picture by picture into images[0 .. n - 1]. After a failure some may be set. */
sd_status sd_decode_images(sd_model *model, const sd_tensor *latent, const sd_tile_params *tiles,
                           sd_image **images);
/* The generators' first `draws` draws are taken already, outside of the sampler. */
void sd_sampling_skip(sd_sampler *s, int draws);

#endif
