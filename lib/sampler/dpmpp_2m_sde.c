/*
 * SDE-DPM-Solver++(2M): Lu et al. 2022b, appendix; k-diffusion's sample_dpmpp_2m_sde; diffusers'
 * DPMSolverMultistepScheduler with algorithm_type sde-dpmsolver++, solver_order 2, solver_type
 * midpoint, steps_offset 1, final_sigmas_type zero, lower_order_final. The noise is drawn once a
 * step, as there (k-diffusion takes it from a Brownian tree, and has ancestral_eta). The last step,
 * which ends at sigma 0, draws none.
 */
#include "sampler/sampler.h"

#include <math.h>

/* x' = COEFS . (x, noise, pred_x0), and of order 2 (x, noise, pred_x0, the one before) */
enum { COEF_FIRST = 0, COEF_SECOND = 3, N_COEFS = 7 };

static void dpmpp_2m_sde_coefs(const sd_run *run, int i, double *coefs) {
    double a = sdi_run_alpha(run, i), a_prev = sdi_run_alpha(run, i - 1);
    double h = sdi_run_lambda(run, i - 1) - sdi_run_lambda(run, i); /* infinite at the last */
    double eta = run->ancestral_eta, rate = 1.0 + eta, decay = eta > 0.0 ? eta * h : 0.0;
    double x = sqrt((1.0 - a_prev) / (1.0 - a)) * exp(-decay);
    double spread = -expm1(-rate * h), x0 = sqrt(a_prev) * spread;
    double older = sdi_run_older_share(run, i);
    if (run->schedule->folder && run->schedule->folder->heun && older > 0.0)
        older *= 2.0 * (1.0 - spread / (rate * h)) / spread;
    coefs[COEF_FIRST] = coefs[COEF_SECOND] = x;
    coefs[COEF_FIRST + 1] = coefs[COEF_SECOND + 1] =
        sqrt((1.0 - a_prev) * -expm1(-2.0 * decay)) * run->temperature;
    coefs[COEF_FIRST + 2] = x0;
    coefs[COEF_SECOND + 2] = x0 * (1.0 + older);
    coefs[COEF_SECOND + 3] = -x0 * older;
}

static bool dpmpp_2m_sde_noisy(const sd_run *run, int i) {
    return run->ancestral_eta > 0.0 && (i > 0 || run->times.final_alpha < 1.0);
}

static void dpmpp_2m_sde_step(sd_run *run, int i) {
    bool second = sdi_run_second_order(run, i);
    sdi_run_predict(run, run->x, i);
    sdi_run_predict_x0(run, i);
    sdb_tensor terms[] = {run->x, run->noise, run->pred_x0, run->history[0]};
    if (!dpmpp_2m_sde_noisy(run, i))
        terms[1] = run->pred_x0; /* times 0; the noise may never have been drawn */
    sdi_run_combine(run, run->x, i, second ? COEF_SECOND : COEF_FIRST, second ? 4 : 3, terms);
    sdi_op_copy(run->e, run->history[0], run->pred_x0);
}

const sd_method sdi_method_dpmpp_2m_sde = {
    .name = "dpmpp_2m_sde",
    .n_coefs = N_COEFS,
    .n_history = 1,
    .times = SD_TIMES_SIGMAS | SD_TIMES_ONE_MORE | SD_TIMES_WHOLE_KARRAS | SD_TIMES_TO_ZERO |
             SD_TIMES_SIGMA_MIN,
    .coefs = dpmpp_2m_sde_coefs,
    .noisy = dpmpp_2m_sde_noisy,
    .step = dpmpp_2m_sde_step,
};
