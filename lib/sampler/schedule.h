/* The noise schedule and the choice of timesteps (numbers in float64). */
#ifndef SD_SAMPLER_SCHEDULE_H
#define SD_SAMPLER_SCHEDULE_H

#include "core/context.h"
#include "describe/description.h"

typedef struct sd_schedule {
    int n;                  /* train timesteps */
    double *betas;          /* [n] */
    double *alphas_cumprod; /* [n], DDPM eq. 4 */
    bool zero_snr;          /* nothing but noise is left at the last: its alpha is 0 */
    bool xl;                /* SDXL's, which has its own table in align your steps */
    const sd_scheduler_config
        *folder; /* a diffusers folder's rules, not owned; NULL: there are none */
} sd_schedule;

/* alphas_cumprod at the end of a schedule of zero_snr, for methods that divide by it: as
 * EulerDiscreteScheduler has it, the smallest of float16. */
#define SD_LEAST_ALPHA 0x1p-24

/* make_beta_schedule. */
sd_status sdi_schedule_make(sd_schedule *s, const sd_context *ctx,
                            const sd_schedule_config *config);
/* make_beta_schedule; kind is a number of sd_beta_schedule, and cosine_s 0.008. */
sd_status sdi_schedule_init(sd_schedule *s, const sd_context *ctx, int kind, double beta_start,
                            double beta_end, int n);
void sdi_schedule_free(sd_schedule *s, const sd_context *ctx);

/* make_ddim_timesteps: ascending, *count gets how many there are (uniform may give more than S, as
 * the original does). `out` has room for s->n entries. */
sd_status sdi_ddim_timesteps(const sd_context *ctx, const sd_schedule *s,
                             sd_timestep_spacing spacing, int steps, int *out, int *count);

#endif
