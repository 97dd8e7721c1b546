/*
 * The names of all spacings, and those that the web UIs have beside diffusers': comfy/samplers.py
 * of ComfyUI, modules/sd_schedulers.py of A1111, and get_sigmas of k-diffusion, all of which put
 * log sigma on the line between two timesteps. Each run ends at sigma 0 there, by methods on
 * sigmas.
 */
#include "sampler/times.h"

#include <math.h>

static const char *const names[] = {
    [SD_SPACING_AUTO] = "auto",
    [SD_SPACING_UNIFORM] = "uniform",
    [SD_SPACING_QUAD] = "quad",
    [SD_SPACING_LINSPACE] = "linspace",
    [SD_SPACING_TRAILING] = "trailing",
    [SD_SPACING_KARRAS] = "karras",
    [SD_SPACING_LEADING] = "leading",
    [SD_SPACING_EXPONENTIAL] = "exponential",
    [SD_SPACING_BETA] = "beta",
    [SD_SPACING_SGM_UNIFORM] = "sgm_uniform",
    [SD_SPACING_SIMPLE] = "simple",
    [SD_SPACING_NORMAL] = "normal",
    [SD_SPACING_DDIM_UNIFORM] = "ddim_uniform",
    [SD_SPACING_AYS] = "ays",
    [SD_SPACING_KL_OPTIMAL] = "kl_optimal",
};

const char *sdi_spacing_name(int i) {
    return i >= 0 && (size_t)i < SD_COUNT(names) ? names[i] : NULL;
}

bool sdi_spacing_is_ui(sd_timestep_spacing spacing) {
    return spacing >= SD_SPACING_SGM_UNIFORM;
}

bool sdi_spacing_is_curve(sd_timestep_spacing spacing) {
    switch (spacing) {
    case SD_SPACING_KARRAS:
    case SD_SPACING_EXPONENTIAL:
    case SD_SPACING_BETA:
    case SD_SPACING_AYS:
    case SD_SPACING_KL_OPTIMAL:
        return true;
    default:
        return false;
    }
}

/* The j-th from the top of n points from `from` to `to`, both included, as torch.linspace. */
static double point(double from, double to, int n, int j) {
    return n > 1 ? from + j * ((to - from) / (n - 1)) : from;
}

/* normal_scheduler, which with sgm leaves the lowest of one point more out, and simple_scheduler.
 */
static double time_from_top(const sd_schedule *s, sd_timestep_spacing spacing, int steps, int j) {
    double last = s->n - 1;
    switch (spacing) {
    case SD_SPACING_NORMAL:
        return point(last, 0.0, steps, j);
    case SD_SPACING_SGM_UNIFORM:
        return point(last, 0.0, steps + 1, j);
    default:
        return last - floor(j * ((double)s->n / steps));
    }
}

/*
 * Align Your Steps (Sabour et al. 2024): the sigmas of ten steps that NVIDIA published for Stable
 * Diffusion 1.5 and SDXL (research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html), their
 * logarithm interpolated for other numbers of steps. The last step ends at 0 in place of the last
 * sigma, as with ComfyUI's AlignYourStepsScheduler and diffusers' AysSchedules; A1111 goes to the
 * last sigma in the steps that are asked for.
 */
#define AYS_POINTS 11
static const double ays_sd[AYS_POINTS] = {14.615, 6.475, 3.861, 2.697, 1.886, 1.396,
                                          0.963,  0.652, 0.399, 0.152, 0.029};
static const double ays_xl[AYS_POINTS] = {14.615, 6.315, 3.771, 2.181, 1.342, 0.862,
                                          0.555,  0.380, 0.234, 0.113, 0.029};

static double ays_sigma(const double *table, int steps, int j) {
    double at = (double)j * (AYS_POINTS - 1) / steps;
    int low = (int)at;
    return exp(log(table[low]) + (at - low) * (log(table[low + 1]) - log(table[low])));
}

/* Sabour et al. 2024, eq. 38: optimal for Gaussian data; kl_optimal_scheduler. */
static double kl_optimal_sigma(const sd_schedule *s, int steps, int j) {
    return tan(point(atan(sdi_sigma_at(s, s->n - 1)), atan(sdi_sigma_at(s, 0)), steps, j));
}

/* ddim_scheduler: make_ddim_timesteps, but for a time past the last, which it leaves out. */
static void fill_ddim_uniform(sd_times *t, const sd_schedule *s) {
    int stride = s->n / t->count, time = s->n > 1 ? 1 : 0;
    for (t->count = 0; time < s->n; time += stride)
        sdi_times_set(t, s, t->count++, time);
}

void sdi_times_fill_ui(sd_times *t, const sd_schedule *s, sd_timestep_spacing spacing) {
    if (spacing == SD_SPACING_DDIM_UNIFORM)
        fill_ddim_uniform(t, s);
    for (int i = 0; i < t->count && spacing != SD_SPACING_DDIM_UNIFORM; i++) {
        int j = t->count - 1 - i;
        if (spacing == SD_SPACING_AYS)
            sdi_times_set_sigma(t, s, i, ays_sigma(s->xl ? ays_xl : ays_sd, t->count, j));
        else if (spacing == SD_SPACING_KL_OPTIMAL)
            sdi_times_set_sigma(t, s, i, kl_optimal_sigma(s, t->count, j));
        else
            sdi_times_set_log(t, s, i, time_from_top(s, spacing, t->count, j));
    }
}
