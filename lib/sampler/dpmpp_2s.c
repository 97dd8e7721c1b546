/*
 * DPM-Solver++(2S) on the run's own times: Lu et al. 2022b, algorithm 1; diffusers'
 * DPMSolverSinglestepScheduler with algorithm_type dpmsolver++, solver_order 2, solver_type
 * midpoint, final_sigmas_type zero. Each second step goes over the one before again, from where
 * that began, with both predictions. So does not the last step, which ends at sigma 0, nor one
 * whose x a mask or the caller changed.
 */
#include "sampler/sampler.h"

#include <math.h>

/* x' = COEF_FIRST . (x, pred_x0); of order 2 COEF_SECOND . (last x, pred_x0, the one before) */
enum { COEF_FIRST = 0, COEF_SECOND = 2, N_COEFS = 5 };
enum { LAST_X = 0, LAST_X0 = 1, N_HISTORY };

static void first_order(double a, double b, double h, double out[2]) {
    out[0] = sqrt((1.0 - b) / (1.0 - a));
    out[1] = -sqrt(b) * expm1(-h); /* h is infinite where b is 1 */
}

static void dpmpp_2s_coefs(const sd_run *run, int i, double *coefs) {
    const sd_scheduler_config *f = run->schedule->folder;
    double end = sdi_run_lambda(run, i - 1), here = sdi_run_lambda(run, i), whole[2], newest = 0.0;
    double a_prev = sdi_run_alpha(run, i - 1);
    bool two = i + 1 < run->times.count;
    double before = two ? sdi_run_lambda(run, i + 1) : here, h = end - before;
    first_order(sdi_run_alpha(run, i), a_prev, end - here, coefs + COEF_FIRST);
    first_order(two ? sdi_run_alpha(run, i + 1) : sdi_run_alpha(run, i), a_prev, h, whole);
    if (here > before && a_prev < 1.0) {
        double share = f && f->heun ? sqrt(a_prev) * (expm1(-h) / h + 1.0) : whole[1] / 2.0;
        newest = share * h / (here - before);
    }
    coefs[COEF_SECOND] = whole[0];
    coefs[COEF_SECOND + 1] = newest;
    coefs[COEF_SECOND + 2] = whole[1] - newest;
}

/* get_order_list. */
static bool second_order(const sd_run *run, int i) {
    const sd_scheduler_config *f = run->schedule->folder;
    int count = run->times.count;
    bool lower = !f || f->lower_order_final || run->times.final_alpha == 1.0 || count % 2;
    bool odd = (count - 1 - i) % 2;
    return odd && run->done > 0 && !run->touched && !(f && f->order < 2) && !(i == 0 && lower);
}

static void dpmpp_2s_step(sd_run *run, int i) {
    sdb_tensor *h = run->history;
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    if (second_order(run, i)) {
        sdb_tensor terms[] = {h[LAST_X], run->pred_x0, h[LAST_X0]};
        sdi_run_combine(run, run->x, i, COEF_SECOND, 3, terms);
        return;
    }
    sdb_tensor terms[] = {run->x, run->pred_x0};
    sdi_op_copy(run->e, h[LAST_X], run->x);
    sdi_op_copy(run->e, h[LAST_X0], run->pred_x0);
    sdi_run_combine(run, run->x, i, COEF_FIRST, 2, terms);
}

const sd_method sdi_method_dpmpp_2s = {
    .name = "dpmpp_2s",
    .n_coefs = N_COEFS,
    .n_history = N_HISTORY,
    .times = SD_TIMES_SIGMAS | SD_TIMES_ONE_MORE | SD_TIMES_WHOLE_KARRAS | SD_TIMES_TO_ZERO |
             SD_TIMES_SIGMA_MIN,
    .coefs = dpmpp_2s_coefs,
    .step = dpmpp_2s_step,
};
