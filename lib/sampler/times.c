/*
 * Timestep spacings: Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps are
 * Flawed", table 2, as diffusers' set_timesteps does them with steps_offset 1; Karras et al. 2022,
 * eq. 5, with rho = 7 over the whole range of the schedule, as use_karras_sigmas with
 * timestep_spacing linspace.
 */
#include "sampler/times.h"

#include <math.h>

#define KARRAS_RHO 7.0

sd_status sd_times_init(sd_times *t, const sd_context *ctx, const sd_schedule *s) {
    *t = (sd_times){.noise_scale = 1.0};
    t->times = sd_alloc_array(ctx, (size_t)s->n, sizeof *t->times);
    t->alphas = sd_alloc_array(ctx, (size_t)s->n, sizeof *t->alphas);
    if (t->times && t->alphas)
        return SD_OK;
    sd_times_free(t, ctx);
    return SD_ERROR_MEMORY;
}

void sd_times_free(sd_times *t, const sd_context *ctx) {
    sd_free(ctx, t->times);
    sd_free(ctx, t->alphas);
    t->times = t->alphas = NULL;
}

double sd_sigma_of_alpha(double alpha) {
    return sqrt((1.0 - alpha) / alpha);
}

static double sigma_at(const sd_schedule *s, int t) {
    return sd_sigma_of_alpha(s->alphas_cumprod[t]);
}

/* A fraction's sigma lies on the line between its neighbours' (numpy.interp in diffusers). */
void sd_times_set(sd_times *t, const sd_schedule *s, int i, double time) {
    double last = s->n - 1;
    time = time < 0.0 ? 0.0 : time > last ? last : time;
    int low = (int)time;
    double rest = time - low;
    t->times[i] = time;
    t->alphas[i] = s->alphas_cumprod[low];
    if (rest > 0.0) {
        double sigma = (1.0 - rest) * sigma_at(s, low) + rest * sigma_at(s, low + 1);
        t->alphas[i] = 1.0 / (1.0 + sigma * sigma);
    }
}

double sd_time_of_sigma(const sd_schedule *s, double sigma) {
    int low = 0, high = s->n - 1;
    if (s->n < 2)
        return 0.0;
    while (high - low > 1) { /* sigma_at rises with t */
        int middle = (low + high) / 2;
        if (sigma_at(s, middle) <= sigma)
            low = middle;
        else
            high = middle;
    }
    double below = log(sigma_at(s, low)), above = log(sigma_at(s, low + 1));
    double w = above > below ? (log(sigma) - below) / (above - below) : 0.0;
    return low + (w < 0.0 ? 0.0 : w > 1.0 ? 1.0 : w);
}

/* The i-th of `steps` times, ascending; `more` says that a point below the first was left out. */
static double leading(int n, int steps, int i, bool more) {
    int points = more ? steps + 1 : steps;
    if (points > n || (points == n && !more))
        return i; /* all of them: no room for the offset */
    return (double)(i + (more ? 1 : 0)) * (n / points) + 1.0;
}

/* Upward from 0 to n - 1. A single step, of which diffusers makes one at 0, begins at the top. */
static double linspace(int n, int steps, int i, bool more) {
    int points = more ? steps + 1 : steps;
    if (points == 1)
        return n - 1;
    return (i + (more ? 1 : 0)) * ((n - 1) / (double)(points - 1));
}

/* Downward from n - 1; rint halves to even as numpy.round. */
static double trailing(int n, int steps, int i) {
    return rint(n - (steps - 1 - i) * ((double)n / steps)) - 1.0;
}

static double karras_sigma(const sd_schedule *s, int steps, int i) {
    double low = pow(sigma_at(s, 0), 1.0 / KARRAS_RHO);
    double high = pow(sigma_at(s, s->n - 1), 1.0 / KARRAS_RHO);
    double ramp = steps > 1 ? (double)(steps - 1 - i) / (steps - 1) : 0.0;
    return pow(high + ramp * (low - high), KARRAS_RHO);
}

static void fill_karras(sd_times *t, const sd_schedule *s, unsigned rules) {
    for (int i = 0; i < t->count; i++) {
        double sigma = karras_sigma(s, t->count, i);
        double time = sd_time_of_sigma(s, sigma);
        t->times[i] = rules & SD_TIMES_WHOLE_KARRAS ? rint(time) : time;
        t->alphas[i] = 1.0 / (1.0 + sigma * sigma);
    }
}

/* make_ddim_timesteps, for `uniform` of the original's methods and for `quad` of all. */
static sd_status fill_original(sd_times *t, const sd_context *ctx, const sd_schedule *s,
                               sd_timestep_spacing spacing, int steps) {
    int *whole = sd_alloc_array(ctx, (size_t)s->n, sizeof *whole);
    if (!whole)
        return SD_ERROR_MEMORY;
    sd_status status = sd_ddim_timesteps(ctx, s, spacing, steps, whole, &t->count);
    for (int i = 0; i < t->count && !status; i++)
        sd_times_set(t, s, i, whole[i]);
    sd_free(ctx, whole);
    return status;
}

static void fill_spaced(sd_times *t, const sd_schedule *s, unsigned rules,
                        sd_timestep_spacing spacing) {
    bool more = rules & SD_TIMES_ONE_MORE;
    for (int i = 0; i < t->count; i++) {
        double time;
        if (spacing == SD_SPACING_UNIFORM)
            time = leading(s->n, t->count, i, more);
        else if (spacing == SD_SPACING_TRAILING)
            time = trailing(s->n, t->count, i);
        else
            time = linspace(s->n, t->count, i, more);
        sd_times_set(t, s, i, rules & SD_TIMES_FRACTIONS ? time : rint(time));
    }
}

void sd_times_all(sd_times *t, const sd_schedule *s) {
    t->count = s->n;
    t->final_alpha = 1.0;
    for (int i = 0; i < t->count; i++)
        sd_times_set(t, s, i, i);
}

sd_status sd_times_fill(sd_times *t, const sd_context *ctx, const sd_schedule *s, unsigned rules,
                        const char *method, sd_timestep_spacing spacing, int steps) {
    if (steps < 1 || steps > s->n)
        return sd_fail(ctx, SD_ERROR_ARGUMENT, "steps must be 1 to %d, found %d", s->n, steps);
    if (spacing == SD_SPACING_KARRAS && !(rules & SD_TIMES_SIGMAS))
        return sd_fail(
            ctx, SD_ERROR_ARGUMENT,
            "the sampling method \"%s\" goes by timesteps; Karras spacing is for methods "
            "that go by sigmas",
            method);
    t->count = steps;
    t->final_alpha = rules & SD_TIMES_TO_ZERO ? 1.0 : s->alphas_cumprod[0];
    if (spacing == SD_SPACING_QUAD ||
        (spacing == SD_SPACING_UNIFORM && rules & SD_TIMES_ORIGINAL)) {
        sd_status status = fill_original(t, ctx, s, spacing, steps);
        if (status)
            return status;
    } else if (spacing == SD_SPACING_KARRAS) {
        fill_karras(t, s, rules);
    } else {
        fill_spaced(t, s, rules, spacing);
    }
    bool from_top = spacing != SD_SPACING_UNIFORM && spacing != SD_SPACING_QUAD;
    t->noise_scale =
        rules & SD_TIMES_SCALE_NOISE && from_top ? sqrt(1.0 - t->alphas[t->count - 1]) : 1.0;
    return SD_OK;
}
