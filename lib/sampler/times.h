/* Which times a run goes through: the spacings of diffusers' schedulers, in float64. */
#ifndef SD_SAMPLER_TIMES_H
#define SD_SAMPLER_TIMES_H

#include "sampler/schedule.h"

/* A method's wishes for its times. */
enum {
    SD_TIMES_ORIGINAL = 1,      /* uniform is make_ddim_timesteps' own, which may give more steps */
    SD_TIMES_ONE_MORE = 2,      /* one point more is spaced, and the lowest left out (DPM-Solver) */
    SD_TIMES_SIGMAS = 4,        /* defined on sigmas: Karras spacing works */
    SD_TIMES_FRACTIONS = 8,     /* times of linspace are not rounded */
    SD_TIMES_WHOLE_KARRAS = 16, /* times of Karras sigmas are rounded; the sigmas are not */
    SD_TIMES_TO_ZERO = 32,      /* the last step ends at x_0, not at alphas_cumprod[0] */
    SD_TIMES_SCALE_NOISE = 64,  /* the first noise is sigma_max wide where t begins at the top */
    SD_TIMES_SIGMA_MIN = 128    /* by a folder's final_sigmas_type the last step may end at the
                                   first train timestep's sigma */
};

/*
 * Step i leads from times[i] to times[i - 1], and steps are made from the last entry down, so times
 * ascend. `alphas` is what alphas_cumprod is there; sigma^2 = (1 - a) / a.
 */
typedef struct sd_times {
    int count;
    double *times;  /* [count] of room for one for each train timestep */
    double *alphas; /* [count] */
    double *ends;   /* [count] alphas where steps end, with has_ends; else at the next time */
    bool has_ends;
    double final_alpha; /* where the last step ends */
    double noise_scale; /* factor of the noise that a run begins with */
} sd_times;

/* Takes memory for one entry for each train timestep. */
sd_status sdi_times_init(sd_times *t, const sd_context *ctx, const sd_schedule *s);
void sdi_times_free(sd_times *t, const sd_context *ctx);

/* Spaces `steps` times by the rules (SD_TIMES_*); `method` is for the sentence of a refusal.
 * SD_SPACING_AUTO is the spacing of s->folder, with all its rules; uniform where there is none. */
sd_status sdi_times_fill(sd_times *t, const sd_context *ctx, const sd_schedule *s, unsigned rules,
                         const char *method, sd_timestep_spacing spacing, int steps);
/* All train timesteps, the last step ending at x_0: alphas_cumprod and alphas_cumprod_prev of the
 * original (use_original_steps). */
void sdi_times_all(sd_times *t, const sd_schedule *s);
/* Sets times[i] to a whole timestep; they are to ascend. */
void sdi_times_set(sd_times *t, const sd_schedule *s, int i, double time);

/* The time, whole or not, at which sigma is this: _sigma_to_t of diffusers. */
double sdi_time_of_sigma(const sd_schedule *s, double sigma);
double sdi_sigma_of_alpha(double alpha);
/* scipy.stats.beta.ppf(share, 0.6, 0.6). */
double sdi_beta_quantile(double share);

#endif
