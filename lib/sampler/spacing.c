/*
 * Timestep spacings: Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps are
 * Flawed", table 2, as diffusers' set_timesteps does them with steps_offset 1; Karras et al. 2022,
 * eq. 5, with rho = 7 over the whole range of the schedule, as use_karras_sigmas with
 * timestep_spacing linspace.
 */
#include "sampler/times.h"

#include <math.h>

#define KARRAS_RHO 7.0

/* The i-th of `steps` times, ascending; `more` says that a point below the first was left out. */
static double leading(int n, int steps, int i, bool more, int offset) {
    int points = more ? steps + 1 : steps;
    if (points > n || (points == n && !more))
        return i; /* all of them: no room for the offset */
    return (double)(i + (more ? 1 : 0)) * (n / points) + offset;
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

/* By how far from the first of its points on, 0, to the last, 1, a curve of sigmas is. */
static double curve_sigma(sd_sigma_curve curve, double low, double high, double share) {
    if (curve == SD_CURVE_EXPONENTIAL)
        return exp(log(high) + share * (log(low) - log(high)));
    if (curve == SD_CURVE_BETA)
        return low + sdi_beta_quantile(1.0 - share) * (high - low);
    double a = pow(low, 1.0 / KARRAS_RHO), b = pow(high, 1.0 / KARRAS_RHO);
    return pow(b + share * (a - b), KARRAS_RHO);
}

/* Sigmas from `low` to `high` in place of those of the times. diffusers' multistep solvers, which
 * space one point more, cut the times of any curve but Karras' off; that of the largest sigma is
 * just below the last train timestep in their float32. */
static void fill_curve(sd_times *t, const sd_schedule *s, unsigned rules, sd_sigma_curve curve,
                       double low, double high) {
    bool karras = curve == SD_CURVE_KARRAS;
    for (int i = 0; i < t->count; i++) {
        double share = t->count > 1 ? (double)(t->count - 1 - i) / (t->count - 1) : 0.0;
        double sigma = curve_sigma(curve, low, high, share);
        sdi_times_set_sigma(t, s, i, sigma);
        if (karras && rules & SD_TIMES_WHOLE_KARRAS)
            t->times[i] = rint(t->times[i]);
        else if (!karras && rules & SD_TIMES_ONE_MORE)
            t->times[i] = fmax(floor(t->times[i] - 1e-3), 0.0);
    }
}

/* make_ddim_timesteps, for `uniform` of the original's methods and for `quad` of all. */
static sd_status fill_original(sd_times *t, const sd_context *ctx, const sd_schedule *s,
                               sd_timestep_spacing spacing, int steps) {
    int *whole = sdi_alloc_array(ctx, (size_t)s->n, sizeof *whole);
    if (!whole)
        return SD_ERROR_MEMORY;
    sd_status status = sdi_ddim_timesteps(ctx, s, spacing, steps, whole, &t->count);
    for (int i = 0; i < t->count && !status; i++)
        sdi_times_set(t, s, i, whole[i]);
    sdi_free(ctx, whole);
    return status;
}

static void fill_spaced(sd_times *t, const sd_schedule *s, unsigned rules,
                        sd_timestep_spacing spacing) {
    bool more = rules & SD_TIMES_ONE_MORE;
    int offset = spacing == SD_SPACING_LEADING && s->folder ? s->folder->steps_offset : 1;
    for (int i = 0; i < t->count; i++) {
        double time;
        if (spacing == SD_SPACING_UNIFORM || spacing == SD_SPACING_LEADING)
            time = leading(s->n, t->count, i, more, offset);
        else if (spacing == SD_SPACING_TRAILING)
            time = trailing(s->n, t->count, i);
        else
            time = linspace(s->n, t->count, i, more);
        sdi_times_set(t, s, i, rules & SD_TIMES_FRACTIONS ? time : rint(time));
    }
}

void sdi_times_all(sd_times *t, const sd_schedule *s) {
    t->count = s->n;
    t->final_alpha = 1.0;
    for (int i = 0; i < t->count; i++)
        sdi_times_set(t, s, i, i);
}

/* diffusers' DDIMScheduler and PNDMScheduler end a step n // steps below where it begins, which is
 * the next time with leading spacing alone. */
static void fill_ends(sd_times *t, const sd_schedule *s) {
    for (int i = 0; i < t->count; i++) {
        int end = (int)t->times[i] - s->n / t->count;
        t->ends[i] = end < 0 ? t->final_alpha : s->alphas_cumprod[end];
    }
    t->has_ends = true;
}

/* Where the folder's scheduler ends its last step. */
static void end_as_folder(sd_times *t, const sd_schedule *s, unsigned rules) {
    if (rules & SD_TIMES_SIGMA_MIN && s->folder->sigma_min)
        t->final_alpha = s->alphas_cumprod[0];
    if (rules & SD_TIMES_ORIGINAL && s->folder->alpha_to_one)
        t->final_alpha = 1.0;
}

/* set_timesteps of the folder's scheduler. */
static void fill_folder(sd_times *t, const sd_schedule *s, unsigned rules) {
    const sd_scheduler_config *f = s->folder;
    fill_spaced(t, s, rules, f->spacing);
    if (rules & SD_TIMES_SIGMAS && f->curve != SD_CURVE_TIMES) {
        bool whole = rules & SD_TIMES_ONE_MORE; /* all sigmas; others those of the times */
        double low = whole ? sdi_sigma_at(s, 0) : sdi_sigma_of_alpha(t->alphas[0]);
        double high =
            whole ? sdi_sigma_at(s, s->n - 1) : sdi_sigma_of_alpha(t->alphas[t->count - 1]);
        fill_curve(t, s, rules, f->curve, low, high);
    }
    end_as_folder(t, s, rules);
    if (rules & SD_TIMES_ORIGINAL)
        fill_ends(t, s);
}

/* diffusers' set_timesteps(timesteps=...) and (sigmas=...), which go downward. */
static void fill_given(sd_times *t, const sd_schedule *s, const sd_sampler_params *params) {
    for (int i = 0; i < t->count; i++) {
        int from_top = t->count - 1 - i;
        if (params->timesteps)
            sdi_times_set(t, s, i, params->timesteps[from_top]);
        else
            sdi_times_set_sigma(t, s, i, params->sigmas[from_top]);
    }
}

bool sdi_times_are_given(const sd_sampler_params *params) {
    return params->timesteps || params->sigmas;
}

static sd_sigma_curve curve_of(sd_timestep_spacing spacing) {
    return spacing == SD_SPACING_KARRAS        ? SD_CURVE_KARRAS
           : spacing == SD_SPACING_EXPONENTIAL ? SD_CURVE_EXPONENTIAL
           : spacing == SD_SPACING_BETA        ? SD_CURVE_BETA
                                               : SD_CURVE_TIMES;
}

static sd_status check_fill(const sd_context *ctx, const sd_schedule *s, unsigned rules,
                            const char *method, const sd_sampler_params *params) {
    bool curve = sdi_spacing_is_curve(params->spacing);
    if (params->steps < 1 || params->steps > s->n)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "steps must be 1 to %d, found %d", s->n,
                        params->steps);
    if ((curve || params->sigmas) && !(rules & SD_TIMES_SIGMAS))
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "the sampling method \"%s\" goes by timesteps; %s %s for methods that go "
                        "by sigmas",
                        method, curve ? sdi_spacing_name(params->spacing) : "sigmas",
                        curve ? "spacing is" : "are");
    return SD_OK;
}

/* Of a spacing that the caller or the folder names. */
static sd_status fill_named(sd_times *t, const sd_context *ctx, const sd_schedule *s,
                            unsigned rules, sd_timestep_spacing spacing) {
    if (spacing == SD_SPACING_QUAD || (spacing == SD_SPACING_UNIFORM && rules & SD_TIMES_ORIGINAL))
        return fill_original(t, ctx, s, spacing, t->count);
    if (sdi_spacing_is_ui(spacing))
        sdi_times_fill_ui(t, s, spacing);
    else if (sdi_spacing_is_curve(spacing))
        fill_curve(t, s, rules, curve_of(spacing), sdi_sigma_at(s, 0), sdi_sigma_at(s, s->n - 1));
    else
        fill_spaced(t, s, rules, spacing);
    return SD_OK;
}

sd_status sdi_times_fill(sd_times *t, const sd_context *ctx, const sd_schedule *s, unsigned rules,
                         const char *method, const sd_sampler_params *params) {
    sd_timestep_spacing spacing = params->spacing;
    bool by_folder = spacing == SD_SPACING_AUTO && s->folder;
    sd_status status = check_fill(ctx, s, rules, method, params);
    if (status)
        return status;
    if (spacing == SD_SPACING_AUTO)
        spacing = by_folder ? s->folder->spacing : SD_SPACING_UNIFORM;
    t->count = params->steps;
    bool ui = sdi_spacing_is_ui(spacing) && rules & SD_TIMES_SIGMAS;
    bool to_zero = ui || params->sigmas || rules & SD_TIMES_TO_ZERO;
    t->final_alpha = to_zero ? 1.0 : s->alphas_cumprod[0];
    if (sdi_times_are_given(params)) {
        fill_given(t, s, params);
        if (by_folder && !params->sigmas)
            end_as_folder(t, s, rules);
    } else if (by_folder) {
        fill_folder(t, s, rules);
    } else {
        status = fill_named(t, ctx, s, rules, spacing);
    }
    bool from_top = spacing != SD_SPACING_UNIFORM && spacing != SD_SPACING_QUAD &&
                    spacing != SD_SPACING_LEADING && rules & SD_TIMES_SCALE_NOISE;
    t->noise_scale = !status && (ui || from_top) ? sqrt(1.0 - t->alphas[t->count - 1]) : 1.0;
    return status;
}
