/* The numbers and the step of methods with an evaluation in the middle of a step. */
#include "sampler/middle.h"

#include <math.h>

/* Of the middle: time and epsilon, then x from (x, eps, noise); x' = COEF_NEXT . (x, middle, eps of
 * the middle, noise) */
enum { COEF_TIME = 0, COEF_MIDDLE = 3, COEF_NEXT = 6 };

static double alpha_of(double sigma) {
    return 1.0 / (1.0 + sigma * sigma);
}

/* x_0 = x - sigma eps on the scale of sigmas, which all of these are written on. */
static void next_coefs(const sd_run *run, int i, sd_middle m, double *out) {
    double sigma = sdi_run_sigma(run, i), scale = sqrt(sdi_run_alpha(run, i - 1));
    double x = 1.0, middle = 0.0, eps = m.end_down - sigma;
    if (m.of_x0 && m.sigma > 0.0) {
        x = m.end_down / sigma;
        middle = 1.0 - x;
        eps = -middle * m.sigma;
    }
    out[0] = scale * x / sqrt(sdi_run_alpha(run, i));
    out[1] = scale * middle / sqrt(alpha_of(m.sigma));
    out[2] = scale * eps;
    out[3] = scale * m.end_up * run->temperature;
}

void sdi_middle_coefs(const sd_run *run, int i, sd_middle m, double *coefs) {
    double a = alpha_of(m.sigma);
    double time = m.sigma > 0.0 ? sdi_time_of_sigma(run->schedule, m.sigma) : 0.0;
    sdi_run_time_coefs(run, time, m.sigma > 0.0 ? a : sdi_run_alpha(run, i), coefs + COEF_TIME);
    coefs[COEF_MIDDLE] = sqrt(a) / sqrt(sdi_run_alpha(run, i));
    coefs[COEF_MIDDLE + 1] = sqrt(a) * (m.down - sdi_run_sigma(run, i));
    coefs[COEF_MIDDLE + 2] = sqrt(a) * m.up * run->temperature;
    next_coefs(run, i, m, coefs + COEF_NEXT);
}

void sdi_middle_step(sd_run *run, int i, sd_middle m) {
    bool noisy = sdi_run_noises(run, i) > 0, two = run->method->n_noises > 1;
    sdb_tensor middle = run->x;
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    if (m.sigma > 0.0) {
        sdb_tensor terms[] = {run->x, run->eps, run->noise};
        middle = run->history[0];
        sdi_run_combine(run, middle, i, COEF_MIDDLE, noisy && two ? 3 : 2, terms);
        sdi_run_predict_between(run, middle, i, COEF_TIME);
    }
    sdb_tensor terms[] = {run->x, middle, run->eps, two ? run->second_noise : run->noise};
    sdi_run_combine(run, run->x, i, COEF_NEXT, noisy ? 4 : 3, terms);
}

sd_middle sdi_middle_ancestral(const sd_run *run, int i) {
    sd_ancestral end = sdi_run_ancestral(run, i);
    double sigma = sqrt(sdi_run_sigma(run, i) * end.down);
    return (sd_middle){.sigma = sigma, .down = sigma, .end_down = end.down, .end_up = end.up};
}
