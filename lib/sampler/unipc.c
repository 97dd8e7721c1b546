/*
 * UniPC: Zhao et al. 2023, algorithm 1 (UniC) and 2 (UniP), in its data prediction form with
 * B(h) = e^h - 1 ("bh2") and order 2; diffusers' UniPCMultistepScheduler with solver_order 2,
 * steps_offset 1, final_sigmas_type zero, lower_order_final. A step first corrects x, with the
 * prediction that it just made, and then goes on from there; the network saw x uncorrected. The
 * first and the last step are of order 1. An x that a mask or the caller changed is left as it is.
 */
#include "sampler/sampler.h"

#include <math.h>

/*
 * m: predicted x_0. The corrector: x = COEF_C1 . (last x, m_1, m_0), of order 2 COEF_C2 . (last x,
 * m_1, m_0, m_2); the predictor: x' = COEF_P1 . (x, m_0), of order 2 COEF_P2 . (x, m_0, m_1). m_0
 * is of this step, m_1 and m_2 of the two before.
 */
enum { COEF_C1 = 0, COEF_C2 = 3, COEF_P1 = 7, COEF_P2 = 9, N_COEFS = 12 };
enum { LAST_X0 = 0, OLDER_X0 = 1, LAST_X = 2, N_HISTORY };

/* x and x0 of order 1 from `a` to `b`, and h. */
static double first_order(double a, double b, double out[2]) {
    double h = log(sdi_sigma_of_alpha(a)) - log(sdi_sigma_of_alpha(b)); /* infinite where b is 1 */
    out[0] = sqrt((1.0 - b) / (1.0 - a));
    out[1] = -sqrt(b) * expm1(-h);
    return h;
}

/* B(h) over e^-h - 1, which it is itself ("bh2"), or -h ("bh1"). */
static double b_ratio(const sd_run *run, double h) {
    const sd_scheduler_config *f = run->schedule->folder;
    return f && f->bh1 ? -h / expm1(-h) : 1.0;
}

/* UniP, eq. 3: rho = 1/2, as the paper takes it at order 2. */
static void predictor(const sd_run *run, int i, double *coefs) {
    double first[2], older = sdi_run_older_share(run, i);
    double h = first_order(sdi_run_alpha(run, i), sdi_run_alpha(run, i - 1), first);
    if (older > 0.0)
        older *= b_ratio(run, h);
    coefs[COEF_P1] = coefs[COEF_P2] = first[0];
    coefs[COEF_P1 + 1] = first[1];
    coefs[COEF_P2 + 1] = first[1] * (1.0 + older);
    coefs[COEF_P2 + 2] = -first[1] * older;
}

/* UniC, eq. 8: the step before this one over again. R rho = b of order 2, with nodes r and 1. */
static void corrector(const sd_run *run, int i, double *coefs) {
    double first[2], older = 0.0, newest = 0.5;
    double h = first_order(sdi_run_alpha(run, i + 1), sdi_run_alpha(run, i), first);
    double ratio = h > 0.0 ? b_ratio(run, h) : 1.0;
    coefs[COEF_C1] = coefs[COEF_C2] = first[0];
    coefs[COEF_C1 + 1] = first[1] * (1.0 - ratio / 2.0);
    coefs[COEF_C1 + 2] = first[1] * ratio / 2.0;
    double before =
        i + 2 < run->times.count ? sdi_run_lambda(run, i + 1) - sdi_run_lambda(run, i + 2) : 0.0;
    if (h > 0.0 && before > 0.0) { /* else equal timesteps */
        double r = -before / h;
        double phi_2 = expm1(-h) / -h - 1.0;
        double phi_3 = phi_2 / -h - 0.5;
        double b_1 = phi_2 / expm1(-h), b_2 = 2.0 * phi_3 / expm1(-h);
        double rho = (b_1 - b_2) / (1.0 - r); /* times B(h), as all that follows */
        older = rho / r;
        newest = b_1 - rho;
    } else {
        newest *= ratio;
    }
    coefs[COEF_C2 + 1] = first[1] * (1.0 - older - newest);
    coefs[COEF_C2 + 2] = first[1] * newest;
    coefs[COEF_C2 + 3] = first[1] * older;
}

static void unipc_coefs(const sd_run *run, int i, double *coefs) {
    for (int k = COEF_C1; k < COEF_P1; k++)
        coefs[k] = 0.0;
    if (i + 1 < run->times.count)
        corrector(run, i, coefs);
    predictor(run, i, coefs);
}

/* UniPCMultistepScheduler's lower_order_final holds for any number of steps. */
static bool second_order(const sd_run *run, int i) {
    const sd_scheduler_config *f = run->schedule->folder;
    bool lower = !f || f->lower_order_final || run->times.final_alpha == 1.0;
    return run->done > 0 && (!f || f->order > 1) && !(i == 0 && lower);
}

static void unipc_step(sd_run *run, int i) {
    sdb_tensor *h = run->history;
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    if (run->done > 0 && !run->touched) {
        sdb_tensor terms[] = {h[LAST_X], h[LAST_X0], run->pred_x0, h[OLDER_X0]};
        bool second = run->done > 1 && second_order(run, i + 1);
        sdi_run_combine(run, run->x, i, second ? COEF_C2 : COEF_C1, second ? 4 : 3, terms);
    }
    sdi_op_copy(run->e, h[LAST_X], run->x);
    sdb_tensor terms[] = {run->x, run->pred_x0, h[LAST_X0]};
    bool second = second_order(run, i);
    sdi_run_combine(run, run->x, i, second ? COEF_P2 : COEF_P1, second ? 3 : 2, terms);
    sdi_run_keep(run, run->pred_x0, run->done > 0 ? 1 : 0);
}

const sd_method sdi_method_unipc = {
    .name = "unipc",
    .n_coefs = N_COEFS,
    .n_history = N_HISTORY,
    .times = SD_TIMES_SIGMAS | SD_TIMES_ONE_MORE | SD_TIMES_WHOLE_KARRAS | SD_TIMES_TO_ZERO |
             SD_TIMES_SIGMA_MIN,
    .coefs = unipc_coefs,
    .step = unipc_step,
};
