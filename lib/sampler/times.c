/*
 * Timestep spacings: Lin et al. 2024, "Common Diffusion Noise Schedules and Sample Steps are
 * Flawed", table 2, as diffusers' set_timesteps does them with steps_offset 1; Karras et al. 2022,
 * eq. 5, with rho = 7 over the whole range of the schedule, as use_karras_sigmas with
 * timestep_spacing linspace.
 */
#include "sampler/times.h"

#include <math.h>

#define KARRAS_RHO 7.0
#define BETA_SHAPE 0.6 /* both parameters of the distribution */

sd_status sdi_times_init(sd_times *t, const sd_context *ctx, const sd_schedule *s) {
    *t = (sd_times){.noise_scale = 1.0};
    t->times = sdi_alloc_array(ctx, (size_t)s->n, sizeof *t->times);
    t->alphas = sdi_alloc_array(ctx, (size_t)s->n, sizeof *t->alphas);
    t->ends = sdi_alloc_array(ctx, (size_t)s->n, sizeof *t->ends);
    if (t->times && t->alphas && t->ends)
        return SD_OK;
    sdi_times_free(t, ctx);
    return SD_ERROR_MEMORY;
}

void sdi_times_free(sd_times *t, const sd_context *ctx) {
    sdi_free(ctx, t->times);
    sdi_free(ctx, t->alphas);
    sdi_free(ctx, t->ends);
    t->times = t->alphas = t->ends = NULL;
}

double sdi_sigma_of_alpha(double alpha) {
    return sqrt((1.0 - alpha) / alpha);
}

static double sigma_at(const sd_schedule *s, int t) {
    double alpha = s->alphas_cumprod[t];
    return sdi_sigma_of_alpha(alpha > 0.0 ? alpha : SD_LEAST_ALPHA);
}

/* A fraction's sigma lies on the line between its neighbours' (numpy.interp in diffusers). */
void sdi_times_set(sd_times *t, const sd_schedule *s, int i, double time) {
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

/* Euler's continued fraction for the regularised incomplete beta function of (p, p), below its
 * middle: Press et al., Numerical Recipes, section 6.4, by Lentz' method. */
static double incomplete_beta(double p, double x) {
    double c = 1.0, d = 1.0 / (1.0 - 2.0 * p * x / (p + 1.0)), h = d;
    for (int m = 1; m < 200; m++) {
        double even = m * (p - m) * x / ((p + 2 * m - 1.0) * (p + 2 * m));
        double odd = -(p + m) * (2.0 * p + m) * x / ((p + 2 * m) * (p + 2 * m + 1.0));
        d = 1.0 / (1.0 + even * d);
        c = 1.0 + even / c;
        h *= d * c;
        d = 1.0 / (1.0 + odd * d);
        c = 1.0 + odd / c;
        h *= d * c;
        if (fabs(d * c - 1.0) < 1e-16)
            break;
    }
    double factor = exp(p * log(x * (1.0 - x)) + lgamma(2.0 * p) - 2.0 * lgamma(p));
    return factor * h / p;
}

double sdi_beta_quantile(double share) {
    double low = 0.0, high = 0.5;
    if (share > 0.5)
        return 1.0 - sdi_beta_quantile(1.0 - share);
    for (int i = 0; i < 200 && share > 0.0; i++) {
        double middle = (low + high) / 2.0;
        if (middle > 0.0 && incomplete_beta(BETA_SHAPE, middle) < share)
            low = middle;
        else
            high = middle;
    }
    return share > 0.0 ? (low + high) / 2.0 : 0.0;
}

double sdi_time_of_sigma(const sd_schedule *s, double sigma) {
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
        double time = sdi_time_of_sigma(s, sigma);
        if (karras && rules & SD_TIMES_WHOLE_KARRAS)
            time = rint(time);
        else if (!karras && rules & SD_TIMES_ONE_MORE)
            time = fmax(floor(time - 1e-3), 0.0);
        t->times[i] = time;
        t->alphas[i] = 1.0 / (1.0 + sigma * sigma);
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

/* set_timesteps of the folder's scheduler. */
static void fill_folder(sd_times *t, const sd_schedule *s, unsigned rules) {
    const sd_scheduler_config *f = s->folder;
    fill_spaced(t, s, rules, f->spacing);
    if (rules & SD_TIMES_SIGMAS && f->curve != SD_CURVE_TIMES) {
        bool whole = rules & SD_TIMES_ONE_MORE; /* all sigmas; others those of the times */
        double low = whole ? sigma_at(s, 0) : sdi_sigma_of_alpha(t->alphas[0]);
        double high = whole ? sigma_at(s, s->n - 1) : sdi_sigma_of_alpha(t->alphas[t->count - 1]);
        fill_curve(t, s, rules, f->curve, low, high);
    }
    if (rules & SD_TIMES_SIGMA_MIN && f->sigma_min)
        t->final_alpha = s->alphas_cumprod[0];
    if (rules & SD_TIMES_ORIGINAL && f->alpha_to_one)
        t->final_alpha = 1.0;
    if (rules & SD_TIMES_ORIGINAL)
        fill_ends(t, s);
}

static sd_sigma_curve curve_of(sd_timestep_spacing spacing) {
    return spacing == SD_SPACING_KARRAS        ? SD_CURVE_KARRAS
           : spacing == SD_SPACING_EXPONENTIAL ? SD_CURVE_EXPONENTIAL
           : spacing == SD_SPACING_BETA        ? SD_CURVE_BETA
                                               : SD_CURVE_TIMES;
}

sd_status sdi_times_fill(sd_times *t, const sd_context *ctx, const sd_schedule *s, unsigned rules,
                         const char *method, sd_timestep_spacing spacing, int steps) {
    sd_sigma_curve curve = curve_of(spacing);
    bool by_folder = spacing == SD_SPACING_AUTO && s->folder;
    if (steps < 1 || steps > s->n)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "steps must be 1 to %d, found %d", s->n, steps);
    if (curve != SD_CURVE_TIMES && !(rules & SD_TIMES_SIGMAS))
        return sdi_fail(
            ctx, SD_ERROR_ARGUMENT,
            "the sampling method \"%s\" goes by timesteps; Karras spacing is for methods "
            "that go by sigmas, exponential and beta too",
            method);
    if (spacing == SD_SPACING_AUTO)
        spacing = by_folder ? s->folder->spacing : SD_SPACING_UNIFORM;
    t->count = steps;
    t->final_alpha = rules & SD_TIMES_TO_ZERO ? 1.0 : s->alphas_cumprod[0];
    if (by_folder) {
        fill_folder(t, s, rules);
    } else if (spacing == SD_SPACING_QUAD ||
               (spacing == SD_SPACING_UNIFORM && rules & SD_TIMES_ORIGINAL)) {
        sd_status status = fill_original(t, ctx, s, spacing, steps);
        if (status)
            return status;
    } else if (curve != SD_CURVE_TIMES) {
        fill_curve(t, s, rules, curve, sigma_at(s, 0), sigma_at(s, s->n - 1));
    } else {
        fill_spaced(t, s, rules, spacing);
    }
    bool from_top = spacing != SD_SPACING_UNIFORM && spacing != SD_SPACING_QUAD &&
                    spacing != SD_SPACING_LEADING;
    t->noise_scale =
        rules & SD_TIMES_SCALE_NOISE && from_top ? sqrt(1.0 - t->alphas[t->count - 1]) : 1.0;
    return SD_OK;
}
