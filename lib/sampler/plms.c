/*
 * PLMS: Liu et al. 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds";
 * ldm/models/diffusion/plms.py of the original. The first step is a pseudo improved Euler of two
 * evaluations, the next are Adams-Bashforth of order 2, 3 and 4 (eq. 9 and 12 of the paper), each
 * into the transfer of DDIM with eta 0. Times and the last alpha are DDIM's.
 */
#include "sampler/sampler.h"

#include <math.h>

#define MAX_ORDER 4

/* x' = COEF_NEXT . (pred_x0, e'); then the weights of each order, newest first: 2 of the first
 * step, 2, 3 and 4. In the first step's second transfer x' = COEF_AGAIN . (x, e'). */
enum { COEF_NEXT = 0, COEF_WEIGHTS = 2, COEF_AGAIN = 13, N_COEFS = 15 };
static const double weights[COEF_AGAIN - COEF_WEIGHTS] = {
    1.0 / 2,   1.0 / 2,                           /* of e(t) and e(t_next) */
    3.0 / 2,   -1.0 / 2,                          /* */
    23.0 / 12, -16.0 / 12, 5.0 / 12,              /* */
    55.0 / 24, -59.0 / 24, 37.0 / 24, -9.0 / 24}; /* */
static const int first_weight[MAX_ORDER] = {0, 2, 4, 7};

/* The last predictions, newest first, and e'. */
enum { N_LAST = MAX_ORDER - 1, MIXED = N_LAST, N_HISTORY };

static sd_status plms_check(const sd_context *ctx, const sd_sampler_params *params) {
    if (params->eta == 0.0)
        return SD_OK;
    return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                    "sd_sampler_params.eta is %g; \"plms\" takes 0 only, as the original does",
                    params->eta);
}

/* diffusers' PNDMScheduler takes the first step over from n // steps above where the second begins.
 * -1: that is where the first began, or it was the only one. */
static int again_from(const sd_run *run, int i) {
    const sd_times *t = &run->times;
    if (!t->has_ends || i == 0)
        return -1;
    int from = (int)t->times[i - 1] + run->schedule->n / t->count;
    return from == (int)t->times[i] ? -1 : from < run->schedule->n ? from : run->schedule->n - 1;
}

static void again_coefs(const sd_run *run, int i, double out[2]) {
    int from = again_from(run, i);
    double epsilon[3];
    out[0] = out[1] = 0.0;
    if (from < 0)
        return;
    double a = run->schedule->alphas_cumprod[from];
    a = a > 0.0 ? a : SD_LEAST_ALPHA;
    sdi_flow_coefs(a, sdi_run_alpha(run, i - 1), out);
    sdi_run_time_coefs(run, 0.0, a, epsilon);
    if (run->raw) { /* e' is an output, to be turned into epsilon first */
        out[0] += out[1] * epsilon[1];
        out[1] *= epsilon[2];
    }
}

static void plms_coefs(const sd_run *run, int i, double *coefs) {
    double a_prev = sdi_run_end(run, i);
    coefs[COEF_NEXT] = sqrt(a_prev);
    coefs[COEF_NEXT + 1] = sqrt(1.0 - a_prev);
    for (int k = 0; k < COEF_AGAIN - COEF_WEIGHTS; k++)
        coefs[COEF_WEIGHTS + k] = weights[k];
    again_coefs(run, i, coefs + COEF_AGAIN);
}

/* The prediction that is mixed: epsilon, or the network's outputs as they are. */
static sdb_tensor newest(const sd_run *run) {
    return run->raw ? run->output : run->eps;
}

/* get_x_prev_and_pred_x0: `e` is the noise to step by, or the output that says it. */
static void transfer(sd_run *run, sdb_tensor x_prev, int i, sdb_tensor e) {
    sdb_tensor eps = run->eps, output = run->output;
    if (run->raw)
        run->output = e;
    else
        run->eps = e;
    sdi_run_predict_x0(run, i);
    sdi_run_quantize_x0(run);
    run->eps = eps;
    run->output = output;
    if (run->raw)
        sdi_run_epsilon(run, eps, e, i);
    sdb_tensor terms[] = {run->pred_x0, run->raw ? eps : e};
    sdi_run_combine(run, x_prev, i, COEF_NEXT, 2, terms);
}

/* e' = (e(x, t) + e(x', t_next)) / 2, where x' is a plain step. */
static void improved_euler(sd_run *run, int i) {
    sdb_tensor mixed = run->history[MIXED], first = run->history[0];
    sdi_op_copy(run->e, first, newest(run));
    transfer(run, mixed, i, first);
    sdi_run_predict(run, mixed, i - 1);
    sdb_tensor terms[] = {first, newest(run)};
    sdi_run_combine(run, mixed, i, COEF_WEIGHTS, 2, terms);
}

static void adams_bashforth(sd_run *run, int i, int order) {
    sdb_tensor terms[MAX_ORDER] = {newest(run)};
    for (int k = 1; k < order; k++)
        terms[k] = run->history[k - 1];
    sdi_run_combine(run, run->history[MIXED], i, COEF_WEIGHTS + first_weight[order - 1], order,
                    terms);
    sdi_run_keep(run, newest(run), order < MAX_ORDER ? order - 1 : N_LAST - 1);
}

/* noise_like of get_x_prev_and_pred_x0, which the first step calls twice. */
static int plms_draws(int done) {
    return done == 0 ? 2 : 1;
}

static void plms_step(sd_run *run, int i) {
    bool first = run->done == 0, again = first && again_from(run, i) >= 0;
    sdb_tensor mixed = run->history[MIXED];
    sdi_run_predict(run, run->x, i);
    if (first)
        improved_euler(run, i);
    else
        adams_bashforth(run, i, run->done < MAX_ORDER ? run->done + 1 : MAX_ORDER);
    /* history[1] is free in the first step */
    transfer(run, again ? run->history[1] : run->x, i, mixed);
    if (again) {
        sdb_tensor terms[] = {run->x, mixed};
        sdi_run_combine(run, run->x, i, COEF_AGAIN, 2, terms);
    }
}

const sd_method sdi_method_plms = {
    .name = "plms",
    .n_coefs = N_COEFS,
    .n_history = N_HISTORY,
    .original = true,
    .mixes = true,
    .times = SD_TIMES_ORIGINAL,
    .encode_above = true,
    .check = plms_check,
    .coefs = plms_coefs,
    .draws = plms_draws,
    .step = plms_step,
};
