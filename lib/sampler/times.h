/* Which times a run goes through, in float64: times.c has a time and its sigma, spacing.c the
 * spacings of diffusers' schedulers and which one is taken, spacing_ui.c those of the web UIs. */
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

/* Sets times[i], whole or not; they are to ascend. The first by diffusers' rule, by which a
 * fraction's sigma lies on the line between its neighbours', the second by k-diffusion's, by which
 * log sigma does. */
void sdi_times_set(sd_times *t, const sd_schedule *s, int i, double time);
void sdi_times_set_log(sd_times *t, const sd_schedule *s, int i, double time);
/* Sets times[i] to where sigma is this, at the nearest end where it is beyond the schedule's. */
void sdi_times_set_sigma(sd_times *t, const sd_schedule *s, int i, double sigma);

/* The time, whole or not, at which sigma is this: _sigma_to_t of diffusers. */
double sdi_time_of_sigma(const sd_schedule *s, double sigma);
double sdi_sigma_of_alpha(double alpha);
double sdi_sigma_at(const sd_schedule *s, int t);
/* scipy.stats.beta.ppf(share, 0.6, 0.6). */
double sdi_beta_quantile(double share);

/* --- spacing.c */
/* Spaces params->steps times by the rules (SD_TIMES_*), or takes those that `params` gives;
 * `method` is for the sentence of a refusal. SD_SPACING_AUTO is the spacing of s->folder, with all
 * its rules; uniform where there is none. */
sd_status sdi_times_fill(sd_times *t, const sd_context *ctx, const sd_schedule *s, unsigned rules,
                         const char *method, const sd_sampler_params *params);
/* Whether the caller says which times. */
bool sdi_times_are_given(const sd_sampler_params *params);
/* All train timesteps, the last step ending at x_0: alphas_cumprod and alphas_cumprod_prev of the
 * original (use_original_steps). */
void sdi_times_all(sd_times *t, const sd_schedule *s);

/* --- spacing_ui.c */
/* Name of the i-th spacing, in sd_timestep_spacing's order; NULL after the last. */
const char *sdi_spacing_name(int i);
/* Whether it is a curve of sigmas, for methods that go by these. */
bool sdi_spacing_is_curve(sd_timestep_spacing spacing);
/* Whether it is one of the web UIs', which are below. */
bool sdi_spacing_is_ui(sd_timestep_spacing spacing);
/* Fills the times, of which t->count are asked for; ddim_uniform may give more. */
void sdi_times_fill_ui(sd_times *t, const sd_schedule *s, sd_timestep_spacing spacing);

#endif
