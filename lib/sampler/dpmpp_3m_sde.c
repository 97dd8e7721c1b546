/*
 * SDE-DPM-Solver++(3M): k-diffusion's sample_dpmpp_3m_sde. The predicted x_0 of this step and the
 * two before give its first and second derivative over lambda; the first steps are of order 1 and
 * 2. The noise is drawn once a step (k-diffusion takes it from a Brownian tree). The last step,
 * which ends at sigma 0, takes the predicted x_0 and draws none.
 */
#include "sampler/sampler.h"

#include <math.h>

#define MAX_ORDER 3

/* x' = COEFS . (x, noise, pred_x0 and those before, newest first), a row for each order. */
#define N_COEFS 12
static const int first_coef[MAX_ORDER] = {0, 3, 7};

/* What comes of the derivatives: weights of m_0, m_1 and m_2 beside the first order's. `h` is the
 * step's and those of the steps before, `rate` its 1 + eta. */
static void derivatives(int order, const double h[MAX_ORDER], double rate, double out[MAX_ORDER]) {
    double z = h[0] * rate, phi_2 = expm1(-z) / z + 1.0, phi_3 = phi_2 / z - 0.5;
    double r_0 = h[1] / h[0], first = phi_2, second = 0.0;
    if (order == 3) {
        double r_1 = h[2] / h[0];
        first = phi_2 + (phi_2 * r_0 - phi_3) / (r_0 + r_1);
        second = -(phi_2 * r_0 - phi_3) / (r_0 + r_1) / r_1;
    }
    out[0] = first / r_0;
    out[1] = second - first / r_0;
    out[2] = -second;
}

static void order_coefs(const sd_run *run, int i, int order, double *row) {
    double a = sdi_run_alpha(run, i), a_prev = sdi_run_alpha(run, i - 1), eta = run->ancestral_eta;
    double scale = sqrt(a_prev), h[MAX_ORDER] = {0}, more[MAX_ORDER] = {0};
    int usable = sdi_run_distinct(run, i, order);
    for (int k = 0; k < usable; k++)
        h[k] = sdi_run_lambda(run, i + k - 1) - sdi_run_lambda(run, i + k);
    if (usable > 1 && h[0] > 0.0 && a_prev < 1.0)
        derivatives(usable, h, 1.0 + eta, more);
    row[0] = scale / sqrt(a) * exp(-h[0] * (1.0 + eta));
    row[1] =
        a_prev < 1.0 ? sqrt((1.0 - a_prev) * -expm1(-2.0 * h[0] * eta)) * run->temperature : 0.0;
    for (int k = 0; k < order; k++)
        row[2 + k] = scale * ((k == 0 ? -expm1(-h[0] * (1.0 + eta)) : 0.0) + more[k]);
}

static void dpmpp_3m_sde_coefs(const sd_run *run, int i, double *coefs) {
    for (int order = 1; order <= MAX_ORDER; order++)
        order_coefs(run, i, order, coefs + first_coef[order - 1]);
}

static void dpmpp_3m_sde_step(sd_run *run, int i) {
    sdb_tensor *h = run->history;
    int order = i == 0 ? 1 : run->done < MAX_ORDER ? run->done + 1 : MAX_ORDER;
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdb_tensor terms[] = {run->x, run->noise, run->pred_x0, h[0], h[1]};
    if (!sdi_run_ancestral_noisy(run, i))
        terms[1] = run->pred_x0; /* times 0; the noise may never have been drawn */
    sdi_run_combine(run, run->x, i, first_coef[order - 1], 2 + order, terms);
    sdi_run_keep(run, run->pred_x0, run->done > 0 ? 1 : 0);
}

const sd_method sdi_method_dpmpp_3m_sde = {
    .name = "dpmpp_3m_sde",
    .n_coefs = N_COEFS,
    .n_history = MAX_ORDER - 1,
    .times = SD_TIMES_SIGMAS | SD_TIMES_FRACTIONS | SD_TIMES_TO_ZERO | SD_TIMES_SCALE_NOISE,
    .coefs = dpmpp_3m_sde_coefs,
    .noisy = sdi_run_ancestral_noisy,
    .step = dpmpp_3m_sde_step,
};
