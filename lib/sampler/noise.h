/* The generators of a batch, and what is noised with them. */
#ifndef SD_SAMPLER_NOISE_H
#define SD_SAMPLER_NOISE_H

#include "core/rng.h"
#include "core/tensor.h"
#include "sampler/schedule.h"

typedef struct sd_noise {
    sd_generator *generators;
    sd_generator *kept; /* see sdi_noise_keep */
    int n_generators;   /* one for each picture, or one for all */
    int n_pictures;
    sd_rng kind;
    uint64_t *seeds; /* [n_generators] */
} sd_noise;

sd_status sdi_noise_init(sd_noise *noise, const sd_context *ctx, const sd_sampler_params *params);
void sdi_noise_free(sd_noise *noise, const sd_context *ctx);
void sdi_noise_restart(sd_noise *noise);
/* sdi_noise_go_back draws again what was drawn since sdi_noise_keep. */
void sdi_noise_keep(sd_noise *noise);
void sdi_noise_go_back(sd_noise *noise);
/* torch.randn of [n_pictures, ...], `count` values for each picture. */
void sdi_noise_draw(sd_noise *noise, float *out, int64_t count);
/* F.dropout of what was drawn. */
void sdi_noise_dropout(sd_noise *noise, float *x, int64_t count, double p);
/* sqrt(a) x0 + sqrt(1 - a) noise; out may be one of them. DDPM eq. 4. */
void sdi_q_sample(double a, const float *x0, const float *noise, float *out, int64_t n);
/* x, pictures of noise, becomes x0 noised; where alpha is 1, x0 itself. One x0 is for all. */
void sdi_noise_latents(double alpha, const sd_tensor *x0, sd_tensor *x);

/* A new tensor: x0 noised to a timestep of the schedule. */
sd_status sdi_add_noise(const sd_schedule *schedule, const sd_tensor *x0, const sd_tensor *noise,
                        int timestep, sd_tensor **out);

#endif
