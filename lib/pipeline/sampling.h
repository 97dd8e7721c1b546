/* A sampler and its runs. Parameters were validated by lib/api. */
#ifndef SD_PIPELINE_SAMPLING_H
#define SD_PIPELINE_SAMPLING_H

#include "pipeline/stage.h"

/* A sampler of the calling thread, which the host sees in callbacks only. */
sd_status sdi_sampler_new(const sd_model *model, const sd_sampler_params *params, sd_sampler **out);
/* Lets go of it. */
void sdi_sampler_free(sd_sampler *s);
/* The sampler becomes a handle of the host's, for any thread, one at a time. */
void sdi_sampler_give(sd_sampler *s);
/* The host gives it back: a run that is going on ends. */
void sdi_sampler_end(sd_sampler *s);
/* The current call uses it, unless another thread's does. */
sd_status sdi_sampler_claim(sd_sampler *s);
const sd_model *sdi_sampler_model(const sd_sampler *s);
/* Parameters are whole, and as read_run of lib/api leaves them. */
sd_status sdi_sampler_begin(sd_sampler *s, const sd_run_params *params);
sd_status sdi_sampler_step(sd_sampler *s);
int sdi_sampler_remaining(const sd_sampler *s);
sd_status sdi_sampler_run(sd_sampler *s, const sd_run_params *params, sd_tensor **latent);
double sdi_sampler_timestep(const sd_sampler *s, int i);
sd_status sdi_sampler_stochastic_encode(sd_sampler *s, const sd_tensor *x0, int t,
                                        const sd_tensor *noise, sd_tensor **latent);
sd_status sdi_sampler_latent(sd_sampler *s, sd_tensor **latent);
sd_status sdi_sampler_pred_x0(sd_sampler *s, sd_tensor **latent);
sd_status sdi_sampler_set_latent(sd_sampler *s, const sd_tensor *latent);
/* mask and x0 NULL: no mask. */
sd_status sdi_sampler_set_mask(sd_sampler *s, const sd_tensor *mask, const sd_tensor *x0);
/* NULL: none. */
sd_status sdi_sampler_set_concat(sd_sampler *s, const sd_tensor *concat);
sd_status sdi_sampler_preview(sd_sampler *s, int index, sd_preview_method method,
                              const sd_vae_params *how, sd_image **out);
const char *sdi_sampler_method(int i);
const char *sdi_sampler_spacing(int i);
int sdi_sampler_n_inter(const sd_sampler *s);
sd_status sdi_sampler_x_inter(const sd_sampler *s, int i, sd_tensor **latent);
sd_status sdi_sampler_pred_x0_inter(const sd_sampler *s, int i, sd_tensor **latent);

/* The generators' first `draws` draws are taken already, outside of the sampler. */
void sdi_sampler_skip(sd_sampler *s, int draws);

/* How often the network is evaluated in a whole run; the parameters are. */
int sdi_sampler_evaluations(const sd_sampler_params *params);

/* `tokens` of its conditioning, of which `terms` are combined. */
sd_status sdi_sampler_estimate(const sd_model *model, const sd_sampler_params *params, int tokens,
                               int terms, sd_cost *cost);

#endif
