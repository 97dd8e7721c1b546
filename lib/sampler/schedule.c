/* Makes the betas and alphas_cumprod of a schedule. */
#include "sampler/schedule.h"

#include <math.h>

/* i-th of n points from `start` to `end`, both included, as numpy.linspace. */
static double linspace(double start, double end, int n, int i) {
    if (i == n - 1 && n > 1) {
        return end;
    }
    return n > 1 ? start + i * ((end - start) / (n - 1)) : start;
}

/* Nichol and Dhariwal 2021, eq. 17. */
static double cosine_alpha_bar(double t, double s) {
    double c = cos((t + s) / (1.0 + s) * 3.14159265358979323846 / 2.0);
    return c * c;
}

static double beta_at(const sd_schedule_config *config, int i) {
    double start = config->beta_start, end = config->beta_end;
    int n = config->train_timesteps;
    switch (config->beta_schedule) {
    case SD_BETA_LINEAR:
        return linspace(start, end, n, i);
    case SD_BETA_SQRT:
        return sqrt(linspace(start, end, n, i));
    case SD_BETA_SCALED_LINEAR: {
        double root = linspace(sqrt(start), sqrt(end), n, i);
        return root * root;
    }
    default: {
        double s = config->cosine_s > 0.0 ? config->cosine_s : 0.008;
        double beta = 1.0 - cosine_alpha_bar((i + 1.0) / n, s) / cosine_alpha_bar((double)i / n, s);
        return beta < 0.999 ? beta : 0.999;
    }
    }
}

sd_status sdi_schedule_init(sd_schedule *s, const sd_context *ctx, int kind, double beta_start,
                            double beta_end, int n) {
    *s = (sd_schedule){0};
    if (kind < SD_BETA_LINEAR || kind > SD_BETA_SQRT) {
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED, "schedule: unknown beta schedule %d", kind);
    }
    sd_schedule_config config = {.beta_schedule = (sd_beta_schedule)kind,
                                 .beta_start = beta_start,
                                 .beta_end = beta_end,
                                 .train_timesteps = n};
    return sdi_schedule_make(s, ctx, &config);
}

/* Lin et al. 2024, algorithm 1: sqrt(alphas_cumprod) is shifted and stretched so that the last is 0
 * and the first stays. A network that predicts noise cannot tell x_0 there: for it, all but 0. */
static void rescale_to_zero_snr(sd_schedule *s, bool epsilon) {
    double first = sqrt(s->alphas_cumprod[0]), last = sqrt(s->alphas_cumprod[s->n - 1]);
    if (s->n < 2)
        return;
    for (int i = 0; i < s->n; i++) {
        double root = (sqrt(s->alphas_cumprod[i]) - last) * first / (first - last);
        s->alphas_cumprod[i] = root * root;
    }
    s->alphas_cumprod[s->n - 1] = epsilon ? SD_LEAST_ALPHA : 0.0;
    for (int i = 0; i < s->n; i++)
        s->betas[i] = 1.0 - s->alphas_cumprod[i] / (i > 0 ? s->alphas_cumprod[i - 1] : 1.0);
    s->zero_snr = !epsilon;
}

sd_status sdi_schedule_make(sd_schedule *s, const sd_context *ctx,
                            const sd_schedule_config *config) {
    double beta_start = config->beta_start, beta_end = config->beta_end;
    int n = config->train_timesteps;
    *s = (sd_schedule){0};
    if (n < 1 || n > 1000000) {
        return sdi_fail(ctx, SD_ERROR_FORMAT,
                        "schedule: train timesteps must be 1 to 1000000, found %d", n);
    }
    if (config->beta_schedule != SD_BETA_COSINE && !config->trained_betas &&
        !(beta_start > 0 && beta_start <= beta_end && beta_end < 1)) {
        return sdi_fail(ctx, SD_ERROR_FORMAT,
                        "schedule: expected 0 < beta_start <= beta_end < 1, found %g and %g",
                        beta_start, beta_end);
    }
    s->betas = sdi_alloc_array(ctx, (size_t)n, sizeof(double));
    s->alphas_cumprod = sdi_alloc_array(ctx, (size_t)n, sizeof(double));
    if (!s->betas || !s->alphas_cumprod) {
        sdi_schedule_free(s, ctx);
        return SD_ERROR_MEMORY;
    }
    s->n = n;
    double product = 1.0;
    for (int i = 0; i < n; i++) {
        s->betas[i] = config->trained_betas ? config->trained_betas[i] : beta_at(config, i);
        product *= 1.0 - s->betas[i];
        s->alphas_cumprod[i] = product;
    }
    if (config->zero_snr)
        rescale_to_zero_snr(s, config->prediction == SD_PREDICT_EPSILON);
    return SD_OK;
}

void sdi_schedule_free(sd_schedule *s, const sd_context *ctx) {
    sdi_free(ctx, s->betas);
    sdi_free(ctx, s->alphas_cumprod);
    *s = (sd_schedule){0};
}

/*
 * make_ddim_timesteps (ldm/modules/diffusionmodules/util.py). Uniform: range(0, n, n // steps) + 1;
 * where steps does not divide n there are more than were asked for. The last may be n itself then
 * (e.g. n steps of n), where the original indexes past its table; it is taken as n - 1 here.
 * Quad: floor(linspace(0, sqrt(0.8 n), steps)^2) + 1; its first ones may be equal.
 */
sd_status sdi_ddim_timesteps(const sd_context *ctx, const sd_schedule *s,
                             sd_timestep_spacing spacing, int steps, int *out, int *count) {
    *count = 0;
    if (steps < 1 || steps > s->n) {
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "steps must be 1 to %d, found %d", s->n, steps);
    }
    int last = s->n - 1;
    if (spacing == SD_SPACING_UNIFORM) {
        for (int t = 0; t < s->n; t += s->n / steps) {
            out[(*count)++] = t + 1 < last ? t + 1 : last;
        }
    } else if (spacing == SD_SPACING_QUAD) {
        double root = sqrt(s->n * 0.8);
        for (int i = 0; i < steps; i++) {
            double r = linspace(0.0, root, steps, i);
            int t = (int)(r * r) + 1;
            out[(*count)++] = t < last ? t : last;
        }
    } else {
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "spacing must be 1 (uniform) or 2 (quad), found %d",
                        (int)spacing);
    }
    return SD_OK;
}
