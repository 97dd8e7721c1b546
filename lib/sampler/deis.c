/*
 * DEIS: Zhang and Chen 2023, multistep, with the polynomial through the last predictions over the
 * logarithm of sigma ("log rho"); diffusers' DEISMultistepScheduler with solver_order 2,
 * steps_offset 1, lower_order_final. A folder may say order 1 or 3. It ends at alphas_cumprod[0] as
 * there, but at x_0 where a web UI's spacing or the caller's sigmas do, by a step of order 1.
 */
#include "sampler/sampler.h"

#include <math.h>

#define MAX_ORDER 3
#define LOWER_ORDER_FINAL_BELOW 15

/* x' = COEFS . (x, eps, older eps, newest first), a row of 1 + order numbers for each order. */
#define N_COEFS 9
static const int first_coef[MAX_ORDER] = {0, 2, 5};

/* The integrals of u^k over sigma, u = log(sigma / from), from `from` to `to`. */
static void moments(double from, double to, double out[MAX_ORDER]) {
    double u = to > 0.0 ? log(to / from) : 0.0; /* to 0: order 1, which takes the first alone */
    out[0] = to - from;
    out[1] = to * (u - 1.0) + from;
    out[2] = to * (u * u - 2.0 * u + 2.0) - 2.0 * from;
}

/* The integral of Lagrange's polynomial of node k; u[0] is 0. */
static double weight(const double m[MAX_ORDER], const double u[MAX_ORDER], int order, int k) {
    int j = k == 0 ? 1 : 0, l = k == 2 ? 1 : 2; /* the other nodes */
    if (order == 1)
        return m[0];
    if (order == 2)
        return (m[1] - u[j] * m[0]) / (u[k] - u[j]);
    return (m[2] - (u[j] + u[l]) * m[1] + u[j] * u[l] * m[0]) / ((u[k] - u[j]) * (u[k] - u[l]));
}

static void deis_coefs(const sd_run *run, int i, double *coefs) {
    double from = sdi_run_sigma(run, i), scale = sqrt(sdi_run_alpha(run, i - 1));
    double m[MAX_ORDER], u[MAX_ORDER] = {0};
    moments(from, sdi_run_sigma(run, i - 1), m);
    for (int order = 1; order <= MAX_ORDER; order++) {
        double *row = coefs + first_coef[order - 1];
        int usable = sdi_run_distinct(run, i, order);
        for (int k = 1; k < usable; k++)
            u[k] = log(sdi_run_sigma(run, i + k) / from);
        row[0] = scale / sqrt(sdi_run_alpha(run, i));
        for (int k = 0; k < order; k++)
            row[1 + k] = k < usable ? scale * weight(m, u, usable, k) : 0.0;
    }
}

static int order_of(const sd_run *run, int i) {
    const sd_scheduler_config *f = run->schedule->folder;
    int most = f ? f->order : 2;
    bool few = (!f || f->lower_order_final) && run->times.count < LOWER_ORDER_FINAL_BELOW;
    if (i == 0 && (few || run->times.final_alpha == 1.0))
        return 1;
    if (i == 1 && few && most > 2)
        most = 2;
    return run->done < most ? run->done + 1 : most;
}

static void deis_step(sd_run *run, int i) {
    int order = order_of(run, i);
    sdb_tensor terms[] = {run->x, run->eps, run->history[0], run->history[1]};
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdi_run_combine(run, run->x, i, first_coef[order - 1], 1 + order, terms);
    sdi_run_keep(run, run->eps, run->done > 0 ? 1 : 0);
}

const sd_method sdi_method_deis = {
    .name = "deis",
    .n_coefs = N_COEFS,
    .n_history = MAX_ORDER - 1,
    .times = SD_TIMES_SIGMAS | SD_TIMES_ONE_MORE | SD_TIMES_WHOLE_KARRAS,
    .coefs = deis_coefs,
    .step = deis_step,
};
