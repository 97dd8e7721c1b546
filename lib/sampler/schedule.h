/* The noise schedule and the choice of timesteps (numbers in float64). */
#ifndef SD_SAMPLER_SCHEDULE_H
#define SD_SAMPLER_SCHEDULE_H

#include "io/source.h"

typedef struct sd_schedule {
    int n;                  /* train timesteps */
    double *betas;          /* [n] */
    double *alphas_cumprod; /* [n], DDPM eq. 4 */
} sd_schedule;

/* make_beta_schedule. */
sd_status sd_schedule_make(sd_schedule *s, const sd_context *ctx, const sd_schedule_config *config);
/* The same; kind is a number of sd_beta_schedule, and cosine_s 0.008. */
sd_status sd_schedule_init(sd_schedule *s, const sd_context *ctx, int kind, double beta_start,
                           double beta_end, int n);
void sd_schedule_free(sd_schedule *s, const sd_context *ctx);

/* make_ddim_timesteps: ascending, *count gets how many there are (uniform may give more than S, as
 * the original does). `out` has room for s->n entries. */
sd_status sd_ddim_timesteps(const sd_context *ctx, const sd_schedule *s,
                            sd_timestep_spacing spacing, int steps, int *out, int *count);

#endif
