/* Times, their sigmas, and how one is found from the other, as diffusers and k-diffusion do. */
#include "sampler/times.h"

#include <math.h>

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

double sdi_sigma_at(const sd_schedule *s, int t) {
    double alpha = s->alphas_cumprod[t];
    return sdi_sigma_of_alpha(alpha > 0.0 ? alpha : SD_LEAST_ALPHA);
}

static double alpha_of_sigma(double sigma) {
    return 1.0 / (1.0 + sigma * sigma);
}

/* Sets times[i] to the nearest time of the schedule. Returns how far it is above a whole timestep,
 * which *low gets, and whose alpha is set. */
static double set_whole(sd_times *t, const sd_schedule *s, int i, double time, int *low) {
    double last = s->n - 1;
    time = time < 0.0 ? 0.0 : time > last ? last : time;
    *low = (int)time;
    t->times[i] = time;
    t->alphas[i] = s->alphas_cumprod[*low];
    return time - *low;
}

/* numpy.interp in diffusers. */
void sdi_times_set(sd_times *t, const sd_schedule *s, int i, double time) {
    int low;
    double rest = set_whole(t, s, i, time, &low);
    if (rest > 0.0)
        t->alphas[i] =
            alpha_of_sigma((1.0 - rest) * sdi_sigma_at(s, low) + rest * sdi_sigma_at(s, low + 1));
}

/* t_to_sigma of DiscreteSchedule in k-diffusion. */
void sdi_times_set_log(sd_times *t, const sd_schedule *s, int i, double time) {
    int low;
    double rest = set_whole(t, s, i, time, &low);
    if (rest > 0.0)
        t->alphas[i] = alpha_of_sigma(
            exp((1.0 - rest) * log(sdi_sigma_at(s, low)) + rest * log(sdi_sigma_at(s, low + 1))));
}

void sdi_times_set_sigma(sd_times *t, const sd_schedule *s, int i, double sigma) {
    t->times[i] = sdi_time_of_sigma(s, sigma);
    t->alphas[i] = alpha_of_sigma(sigma);
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
        if (sdi_sigma_at(s, middle) <= sigma)
            low = middle;
        else
            high = middle;
    }
    double below = log(sdi_sigma_at(s, low)), above = log(sdi_sigma_at(s, low + 1));
    double w = above > below ? (log(sigma) - below) / (above - below) : 0.0;
    return low + (w < 0.0 ? 0.0 : w > 1.0 ? 1.0 : w);
}
