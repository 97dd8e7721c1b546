/* The generators of a batch, and what is noised with them. */
#ifndef SD_SAMPLER_NOISE_H
#define SD_SAMPLER_NOISE_H

#include "core/rng.h"
#include "core/tensor.h"
#include "sampler/schedule.h"

/* How the first noise is varied: variation.c. */
typedef struct sd_variation {
    uint64_t subseed;
    double strength; /* of the subseed's noise */
    int h, w;        /* latents of the picture whose noise is laid in the middle; 0: none */
    uint64_t delta;  /* to the seeds of the noise of steps; 0: it goes on in the first's stream */
} sd_variation;

typedef struct sd_noise {
    sd_generator *generators;
    sd_generator *kept; /* see sdi_noise_keep */
    int n_generators;   /* one for each picture, or one for all */
    int n_pictures;
    sd_rng kind;
    uint64_t *seeds; /* [n_generators] */
    sd_variation variation;
} sd_noise;

sd_status sdi_noise_init(sd_noise *noise, const sd_context *ctx, const sd_sampler_params *params);
void sdi_noise_free(sd_noise *noise, const sd_context *ctx);
void sdi_noise_restart(sd_noise *noise);
/* sdi_noise_go_back draws again what was drawn since sdi_noise_keep. */
void sdi_noise_keep(sd_noise *noise);
void sdi_noise_go_back(sd_noise *noise);
/* torch.randn of [n_pictures, ...], `count` values for each picture. */
void sdi_noise_draw(sd_noise *noise, float *out, int64_t count);
/* variation.c: restarts, and makes the last of so many draws, [n_pictures, c, h, w], a run's first
 * noise. */
sd_status sdi_noise_first(sd_noise *noise, const sd_context *ctx, int draws, int c, int h, int w,
                          float *out);
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
