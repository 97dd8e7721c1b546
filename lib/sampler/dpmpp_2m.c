/*
 * DPM-Solver++(2M): Lu et al. 2022b, algorithm 2; diffusers' DPMSolverMultistepScheduler with
 * algorithm_type dpmsolver++, solver_order 2, solver_type midpoint, steps_offset 1,
 * final_sigmas_type zero, lower_order_final. The first and the last step are of order 1. A folder
 * may say otherwise, solver_type heun too.
 */
#include "sampler/dpmpp_2m.h"

#include <math.h>

/* x' = COEFS . (x, pred_x0), and of order 2 (x, pred_x0, pred_x0 of the step before) */
enum { COEF_FIRST = 0, COEF_SECOND = 2, N_COEFS = SD_DPMPP_2M_N_COEFS };

void sdi_dpmpp_2m_coefs(const sd_run *run, int i, double *coefs) {
    double a = sdi_run_alpha(run, i), a_prev = sdi_run_alpha(run, i - 1);
    double h = sdi_run_lambda(run, i - 1) - sdi_run_lambda(run, i); /* infinite at the last */
    double x = sqrt((1.0 - a_prev) / (1.0 - a)), x0 = -sqrt(a_prev) * expm1(-h);
    double older = sdi_run_older_share(run, i);
    if (run->schedule->folder && run->schedule->folder->heun && older > 0.0)
        older *= 2.0 * sqrt(a_prev) * (expm1(-h) / h + 1.0) / x0;
    coefs[COEF_FIRST] = coefs[COEF_SECOND] = x;
    coefs[COEF_FIRST + 1] = x0;
    coefs[COEF_SECOND + 1] = x0 * (1.0 + older);
    coefs[COEF_SECOND + 2] = -x0 * older;
}

void sdi_dpmpp_2m_step(sd_run *run, int i, bool second) {
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdb_tensor terms[] = {run->x, run->pred_x0, run->history[0]};
    sdi_run_combine(run, run->x, i, second ? COEF_SECOND : COEF_FIRST, second ? 3 : 2, terms);
    sdi_op_copy(run->e, run->history[0], run->pred_x0);
}

static void dpmpp_2m_step(sd_run *run, int i) {
    sdi_dpmpp_2m_step(run, i, sdi_run_second_order(run, i));
}

const sd_method sdi_method_dpmpp_2m = {
    .name = "dpmpp_2m",
    .n_coefs = N_COEFS,
    .n_history = 1,
    .times = SD_TIMES_SIGMAS | SD_TIMES_ONE_MORE | SD_TIMES_WHOLE_KARRAS | SD_TIMES_TO_ZERO |
             SD_TIMES_SIGMA_MIN,
    .coefs = sdi_dpmpp_2m_coefs,
    .step = dpmpp_2m_step,
};
