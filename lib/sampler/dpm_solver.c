/*
 * DPMSolverSampler of the original (ldm/models/diffusion/dpm_solver): DPM-Solver++(2M), Lu et al.
 * 2022b, algorithm 2, as NoiseScheduleVP("discrete") and DPM_Solver.sample(method="multistep",
 * order=2, skip_type="time_uniform", lower_order_final=True) have it. Its times are
 * linspace(1, 1/N, steps + 1) of N train timesteps; the network is asked at N t - 1, which is not
 * whole as a rule, log sqrt(a) lies on the line between the train timesteps' there, and the last
 * step ends at alphas_cumprod[0]. That step is of order 1 below 15 steps.
 */
#include "sampler/dpmpp_2m.h"

#include <math.h>

#define LOWER_ORDER_FINAL_BELOW 15

/* interpolate_fn of log alpha, at train timestep `time`. */
static double alpha_at(const sd_schedule *s, double time) {
    int low = (int)time;
    double rest = time - low, below = s->alphas_cumprod[low];
    if (rest == 0.0)
        return below;
    return exp((1.0 - rest) * log(below) + rest * log(s->alphas_cumprod[low + 1]));
}

/* get_time_steps; its lowest, the end of the last step, is none of the steps'. Uniform times go
 * from the last train timestep to the first, both included, so that linspace is the same. */
static sd_status dpm_solver_times(sd_times *t, const sd_context *ctx, const sd_schedule *s,
                                  const sd_sampler_params *params) {
    sd_sampler_params own = *params;
    if (own.spacing == SD_SPACING_AUTO) /* of a folder's scheduler, which is not this one */
        own.spacing = SD_SPACING_UNIFORM;
    sd_status status = sdi_times_fill(t, ctx, s, SD_TIMES_ONE_MORE, "dpm_solver", &own);
    if (status || sdi_times_are_given(params) ||
        (own.spacing != SD_SPACING_UNIFORM && own.spacing != SD_SPACING_LINSPACE))
        return status;
    for (int i = 0; i < t->count; i++) {
        t->times[i] = (i + 1) * ((s->n - 1) / (double)t->count);
        t->times[i] = fmin(t->times[i], s->n - 1);
        t->alphas[i] = alpha_at(s, t->times[i]);
    }
    return SD_OK;
}

static void dpm_solver_step(sd_run *run, int i) {
    bool lower = i == 0 && run->times.count < LOWER_ORDER_FINAL_BELOW;
    sdi_dpmpp_2m_step(run, i, run->done > 0 && !lower);
}

const sd_method sdi_method_dpm_solver = {
    .name = "dpm_solver",
    .n_coefs = SD_DPMPP_2M_N_COEFS,
    .n_history = 1,
    .fill_times = dpm_solver_times,
    .coefs = sdi_dpmpp_2m_coefs,
    .step = dpm_solver_step,
};
