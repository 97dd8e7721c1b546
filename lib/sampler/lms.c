/*
 * Linear multistep of order 4 on dx/dsigma = eps: k-diffusion's sample_lms, diffusers'
 * LMSDiscreteScheduler (steps_offset 1). The polynomial through the last predictions over sigma is
 * integrated over the step; its degree is at most 3, for which Gauss and Legendre's rule of two
 * points is exact. The first steps are of order 1, 2 and 3.
 */
#include "sampler/sampler.h"

#include <math.h>

#define MAX_ORDER 4
#define N_HISTORY (MAX_ORDER - 1) /* the last predictions, newest first */

/* x' = COEFS . (x, eps, older eps, newest first), a row of 1 + order numbers for each order. */
#define N_COEFS 14
static const int first_coef[MAX_ORDER] = {0, 2, 5, 9};

/* Lagrange's polynomial of node k, at s. */
static double lagrange(const double *sigmas, int order, int k, double s) {
    double product = 1.0;
    for (int j = 0; j < order; j++)
        if (j != k)
            product *= (s - sigmas[j]) / (sigmas[k] - sigmas[j]);
    return product;
}

static double integral(const double *sigmas, int order, int k, double from, double to) {
    double middle = (from + to) / 2.0, half = (to - from) / 2.0, at = half / sqrt(3.0);
    return half *
           (lagrange(sigmas, order, k, middle - at) + lagrange(sigmas, order, k, middle + at));
}

static void lms_coefs(const sd_run *run, int i, double *coefs) {
    double scale = sqrt(sdi_run_alpha(run, i - 1)), to = sdi_run_sigma(run, i - 1);
    double sigmas[MAX_ORDER] = {0};
    for (int k = 0; k < MAX_ORDER && i + k < run->times.count; k++)
        sigmas[k] = sdi_run_sigma(run, i + k);
    for (int order = 1; order <= MAX_ORDER; order++) {
        double *row = coefs + first_coef[order - 1];
        int usable = sdi_run_distinct(run, i, order);
        row[0] = scale / sqrt(sdi_run_alpha(run, i));
        for (int k = 0; k < order; k++)
            row[1 + k] = k < usable ? scale * integral(sigmas, usable, k, sigmas[0], to) : 0.0;
    }
}

static void lms_step(sd_run *run, int i) {
    int order = run->done < MAX_ORDER ? run->done + 1 : MAX_ORDER;
    sdb_tensor terms[1 + MAX_ORDER] = {run->x, run->eps};
    for (int k = 1; k < order; k++)
        terms[1 + k] = run->history[k - 1];
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdi_run_combine(run, run->x, i, first_coef[order - 1], 1 + order, terms);
    sdi_run_keep(run, run->eps, order < MAX_ORDER ? order - 1 : N_HISTORY - 1);
}

const sd_method sdi_method_lms = {
    .name = "lms",
    .n_coefs = N_COEFS,
    .n_history = N_HISTORY,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_TO_ZERO | SD_TIMES_SCALE_NOISE,
    .coefs = lms_coefs,
    .step = lms_step,
};
