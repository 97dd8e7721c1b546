/*
 * The only place that knows the whole order of things. lib/api validates arguments and calls these;
 * they return statuses with sentences for what only shows at run time.
 */
#ifndef SD_PIPELINE_PIPELINE_H
#define SD_PIPELINE_PIPELINE_H

#include "core/rng.h"
#include "core/tensor.h"
#include "model/networks.h"
#include "sampler/schedule.h"
#include "text/prompt.h"

struct sd_model {
    sd_handle handle; /* samplers use it */
    sd_context *ctx;  /* retained */
    sd_precision precision;
    sdb_type act;      /* type of activations */
    sd_source *source; /* while it is loaded */
    const sd_description *desc;
    sd_tokenizer *tokenizer; /* NULL: no vocabulary found, `vocab_error` says where */
    char *vocab_error;
    int32_t pad;             /* id of the padding token, where there is a tokenizer */
    sd_words words;          /* textual inversion */
    _Atomic uint64_t unused; /* those that the log said are in no prompt */
    sd_text_model *text;     /* NULL: see desc->conditioning */
    sd_class_model *classes; /* NULL: not of that kind */
    sd_unet *unet;           /* NULL: a first stage alone */
    sd_vae *vae;
    sd_schedule schedule;
    int64_t n_parameters;
    int64_t weight_bytes;
    char **unexpected; /* names */
    int n_unexpected;
    struct sd_exec_cache *execs; /* idle executors for text and VAE calls */
};

static inline const sd_text_model *sd_model_text(const sd_model *model) {
    return model->text;
}
static inline const sd_class_model *sd_model_classes(const sd_model *model) {
    return model->classes;
}
static inline const sd_unet *sd_model_unet(const sd_model *model) {
    return model->unet;
}
static inline const sd_vae *sd_model_vae(const sd_model *model) {
    return model->vae;
}

/* model.c */
sd_status sd_model_open(sd_context *ctx, const char *path, const sd_model_params *params,
                        sd_model **out);
void sd_model_retain(sd_model *model);
void sd_model_release(sd_model *model);
int sd_model_downscale(const sd_model *model);     /* pixels per latent: 8 */
int sd_model_size_multiple(const sd_model *model); /* of a picture's sides: 8 */
/* 1 to max_size / multiple times `multiple`: what is nearest to `size`. */
int64_t sd_nearest_multiple(int64_t size, int multiple, int max_size);
void sd_model_default_size(const sd_model *model, int *width, int *height);
/* A side that nobody named is the model's own. */
void sd_fill_default_sides(const sd_model *model, sd_sampler_params *p);
/* Of a method that is not told otherwise; the name may be unknown. */
sd_timestep_spacing sd_model_spacing(const sd_model *model, const char *method);
/* Tokens of an embedding: the text encoder's, 1 of a class, 0 where there are none. */
int sd_model_context_tokens(const sd_model *model);
/* Fails, with a sentence that names `call`, where the model has no such network. */
sd_status sd_need_unet(const sd_model *model, const char *call);
sd_status sd_need_conditioning(const sd_model *model, const char *call, sd_conditioning kind);
/* sd_checkpoint_list */
sd_status sd_pipeline_list(sd_context *ctx, const char *path, sd_checkpoint_fn fn, void *user);

/* text.c, vae.c, unet.c: the stages */
sd_status sd_stage_encode_tokens(sd_model *model, const int32_t *ids, int n, sd_tensor **out);
sd_status sd_stage_encode_text(sd_model *model, const char *const *texts, int n,
                               const sd_text_params *params, sd_tensor **out);
sd_status sd_stage_encode_class(sd_model *model, const int32_t *classes, int n, sd_tensor **out);
sd_status sd_stage_vae_encode(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                              sd_tensor **latent);
sd_status sd_stage_vae_decode(sd_model *model, const sd_tensor *latent, sd_tensor **pixels);
sd_status sd_stage_vae_decode_unquantized(sd_model *model, const sd_tensor *latent,
                                          sd_tensor **pixels);
/* codebook.c. `ids` or `quantized` may be NULL. */
sd_status sd_stage_vae_quantize(sd_model *model, const sd_tensor *latent, int32_t *ids,
                                int64_t capacity, sd_tensor **quantized);
sd_status sd_stage_vae_encode_ids(sd_model *model, const sd_tensor *pixels, int32_t *ids,
                                  int64_t capacity);
sd_status sd_stage_vae_decode_ids(sd_model *model, const int32_t *ids, int n, int h, int w,
                                  sd_tensor **pixels);
/* tiles.c. Parameters were validated by lib/api. */
sd_status sd_stage_vae_encode_tiled(sd_model *model, const sd_tensor *pixels,
                                    const sd_tensor *noise, const sd_tile_params *params,
                                    sd_tensor **latent);
sd_status sd_stage_vae_decode_tiled(sd_model *model, const sd_tensor *latent,
                                    const sd_tile_params *params, sd_tensor **pixels);
/* `embeddings` may be NULL where the UNet looks at none. */
sd_status sd_stage_unet(sd_model *model, const sd_tensor *x, const float *timesteps,
                        const sd_tensor *embeddings, sd_tensor **out);

sd_status sd_stage_add_noise(const sd_model *model, const sd_tensor *x0, const sd_tensor *noise,
                             int timestep, sd_tensor **out);

/* loss.c. `concat` and `logvar` of `params` may be NULL, and so may `samples`. */
sd_status sd_stage_training_loss(sd_model *model, const sd_tensor *x0, const sd_tensor *noise,
                                 const int32_t *timesteps, const sd_tensor *embeddings,
                                 const sd_loss_params *params, sd_loss *loss, sd_tensor **samples);

/* sampling*.c: the struct sd_sampler is in sampling.h. Parameters were validated by lib/api. */
/* A sampler of the calling thread, which the host sees in callbacks only. */
sd_status sd_sampling_new(sd_model *model, const sd_sampler_params *params, sd_sampler **out);
/* Lets go of it. */
void sd_sampling_free(sd_sampler *s);
/* It becomes a handle of the host's, for any thread, one at a time. */
void sd_sampling_give(sd_sampler *s);
/* The host gives it back: a run that is going on ends. */
void sd_sampling_end(sd_sampler *s);
/* The current call uses it, unless another thread's does. */
sd_status sd_sampling_claim(sd_sampler *s);
sd_model *sd_sampling_model(const sd_sampler *s);
sd_status sd_sampling_begin(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                            const sd_tensor *init, const sd_tensor *noise);
sd_status sd_sampling_step(sd_sampler *s);
int sd_sampling_remaining(const sd_sampler *s);
sd_status sd_sampling_run(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                          const sd_tensor *init, const sd_tensor *noise, sd_tensor **latent);
double sd_sampling_timestep(const sd_sampler *s, int i);
sd_status sd_sampling_stochastic_encode(sd_sampler *s, const sd_tensor *x0, int t,
                                        const sd_tensor *noise, sd_tensor **latent);
sd_status sd_sampling_begin_decode(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                                   const sd_tensor *latent, int t_start);
sd_status sd_sampling_decode(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond,
                             const sd_tensor *latent, int t_start, sd_tensor **decoded);
sd_status sd_sampling_latent(sd_sampler *s, sd_tensor **latent);
sd_status sd_sampling_pred_x0(sd_sampler *s, sd_tensor **latent);
sd_status sd_sampling_set_latent(sd_sampler *s, const sd_tensor *latent);
/* Both NULL: no mask. */
sd_status sd_sampling_set_mask(sd_sampler *s, const sd_tensor *mask, const sd_tensor *x0);
/* NULL: none. */
sd_status sd_sampling_set_concat(sd_sampler *s, const sd_tensor *concat);
sd_status sd_sampling_preview(sd_sampler *s, int index, sd_image **out);
const char *sd_sampling_method(int i);
/* intermediates.c */
int sd_sampling_n_inter(const sd_sampler *s);
sd_status sd_sampling_x_inter(const sd_sampler *s, int i, sd_tensor **latent);
sd_status sd_sampling_pred_x0_inter(const sd_sampler *s, int i, sd_tensor **latent);

/* estimate.c. `tiles` NULL: the VAE on whole pictures. */
sd_status sd_pipeline_memory(sd_model *model, const sd_sampler_params *params,
                             const sd_tile_params *tiles, sd_memory *memory);
sd_status sd_pipeline_work(sd_model *model, const sd_sampler_params *params, sd_work *work);

/* inpaint.c. `tiles` NULL: the VAE on whole pictures. `any_pixel`: see sd_inpaint_params. */
sd_status sd_stage_inpaint_concat(sd_model *model, const sd_tensor *pixels, const sd_tensor *mask,
                                  const sd_tensor *noise, const sd_tile_params *tiles,
                                  bool any_pixel, sd_tensor **concat);

/* generate.c. images[0 .. sampling.batch - 1] are set, to NULL after a failure. */
struct sd_request;
sd_status sd_pipeline_generate(sd_model *model, const struct sd_request *request,
                               sd_image **images);

/* pixels.c: 8-bit images <-> pixels [n, 3, h, w] in [-1, 1], which sd_stage_to_image expects to be
 * finite */
sd_status sd_pixels_to_image(const sd_tensor *pixels, int index, sd_image **out);
sd_status sd_stage_to_image(const sd_tensor *pixels, int index, sd_image **out);
sd_status sd_image_to_pixels(const sd_image *image, sd_tensor **out);

#endif
