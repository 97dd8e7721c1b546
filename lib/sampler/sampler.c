/* The registry of the methods, and how a run begins: its times, and all numbers of its steps. */
#include "sampler/sampler.h"

#include <math.h>
#include <string.h>

static const sd_method *const methods[] = {
    &sdi_method_ddim,         &sdi_method_plms,         &sdi_method_ddpm,
    &sdi_method_ddim_inverse, &sdi_method_euler,        &sdi_method_euler_a,
    &sdi_method_heun,         &sdi_method_dpm2,         &sdi_method_lms,
    &sdi_method_dpmpp_2m,     &sdi_method_dpmpp_2m_sde, &sdi_method_unipc,
    &sdi_method_lcm,          &sdi_method_dpm_solver,   &sdi_method_dpm2_a,
    &sdi_method_dpmpp_2s,     &sdi_method_dpmpp_2s_a,   &sdi_method_dpmpp_sde,
    &sdi_method_dpmpp_3m_sde, &sdi_method_deis,         &sdi_method_tcd,
};

const sd_method *sdi_method_at(int i) {
    return i >= 0 && (size_t)i < SD_COUNT(methods) ? methods[i] : NULL;
}

const sd_method *sdi_method_find(const char *name) {
    for (size_t i = 0; i < SD_COUNT(methods); i++)
        if (!strcmp(methods[i]->name, name))
            return methods[i];
    return NULL;
}

int sdi_method_evaluations(const sd_method *method, int steps) {
    return method->twice ? 2 * steps : steps;
}

/* x_0 = out[0] x + out[1] epsilon, or, with run->raw, times the network's output. */
static void x0_coefs(const sd_run *run, double a, double out[2]) {
    bool v = run->prediction == SD_PREDICT_V;
    out[0] = 1.0 / sqrt(a);
    out[1] = -sqrt(1.0 - a) / sqrt(a);
    if (!run->raw)
        return;
    out[0] = v ? sqrt(a) : 0.0;
    out[1] = v ? -sqrt(1.0 - a) : 1.0;
}

static void fill_row(const sd_run *run, int i, float *row) {
    double numbers[SD_ROW_METHOD + SD_METHOD_MAX_COEFS];
    double a = sdi_run_alpha(run, i);
    sdi_run_time_coefs(run, run->times.times[i], a, numbers);
    x0_coefs(run, a, numbers + SD_ROW_X0);
    numbers[SD_ROW_NOISED] = sqrt(a);
    numbers[SD_ROW_NOISED + 1] = sqrt(1.0 - a);
    run->method->coefs(run, i, numbers + SD_ROW_METHOD);
    for (int k = 0; k < sdi_run_row_size(run); k++)
        row[k] = (float)numbers[k];
}

static sd_status check_params(const sd_run *run, const sd_sampler_params *params) {
    const sd_method *method = run->method;
    const char *set = params->original->quantize_denoised    ? "quantize_denoised"
                      : params->original->use_original_steps ? "use_original_steps"
                                                             : NULL;
    if (set && !method->original)
        return sdi_fail(
            run->ctx, SD_ERROR_ARGUMENT,
            "sd_original_params.%s is set; the sampling method \"%s\" does not take it, "
            "ddim, plms and ddpm do",
            set, method->name);
    return method->check ? method->check(run->ctx, params) : SD_OK;
}

/* Where a schedule ends at alpha 0, for methods that divide by its root. */
static void lift_alphas(sd_run *run) {
    for (int i = 0; i < run->times.count && !run->method->at_zero; i++)
        if (!(run->times.alphas[i] > 0.0))
            run->times.alphas[i] = SD_LEAST_ALPHA;
}

static sd_status choose_times(sd_run *run, const sd_sampler_params *params) {
    const sd_method *method = run->method;
    if (params->original->use_original_steps) {
        sdi_times_all(&run->times, run->schedule);
        return SD_OK;
    }
    if (method->fill_times)
        return method->fill_times(&run->times, run->ctx, run->schedule, params);
    return sdi_times_fill(&run->times, run->ctx, run->schedule, method->times, method->name,
                          params);
}

sd_status sdi_run_init(sd_run *run, const sd_context *ctx, const sd_schedule *schedule,
                       sd_prediction prediction, const sd_sampler_params *params) {
    *run = (sd_run){.ctx = ctx,
                    .schedule = schedule,
                    .prediction = prediction,
                    .eta = params->eta,
                    .ancestral_eta = params->ancestral_eta,
                    .temperature = params->original->temperature,
                    .clip_denoised = params->original->clip_denoised != 0};
    run->method = params->method ? sdi_method_find(params->method) : methods[0];
    if (!run->method)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "there is no sampling method \"%s\"",
                        params->method);
    sd_status status = check_params(run, params);
    if (!status)
        status = sdi_times_init(&run->times, ctx, schedule);
    if (status)
        return status;
    const sd_scheduler_config *folder = schedule->folder;
    run->clip = folder ? folder->clip : 0.0;
    run->raw =
        prediction != SD_PREDICT_EPSILON && (schedule->zero_snr || (run->method->mixes && folder));
    status = choose_times(run, params);
    lift_alphas(run);
    if (!status) {
        run->table = sdi_alloc_array(ctx, (size_t)run->times.count * (size_t)sdi_run_row_size(run),
                                     sizeof *run->table);
        status = run->table ? SD_OK : SD_ERROR_MEMORY;
    }
    if (status) {
        sdi_run_free(run);
        return status;
    }
    for (int i = 0; i < run->times.count; i++)
        fill_row(run, i, run->table + (size_t)i * (size_t)sdi_run_row_size(run));
    return SD_OK;
}

void sdi_run_free(sd_run *run) {
    sdi_times_free(&run->times, run->ctx);
    sdi_free(run->ctx, run->table);
    run->table = NULL;
}

void sdi_run_layout(sd_run *run, sd_exec *e) {
    sdb_tensor *latents[] = {&run->x, &run->pred_x0, &run->noise}, like = run->eps;
    run->e = e;
    for (size_t i = 0; i < SD_COUNT(latents); i++)
        *latents[i] = sdi_exec_tensor_typed(e, SDB_F32, like.n, like.h, like.w, like.c);
    if (run->method->n_noises > 1)
        run->second_noise = sdi_exec_tensor_typed(e, SDB_F32, like.n, like.h, like.w, like.c);
    if (run->raw)
        run->output = sdi_exec_tensor_typed(e, SDB_F32, like.n, like.h, like.w, like.c);
    for (int i = 0; i < run->method->n_history; i++)
        run->history[i] = sdi_exec_tensor_typed(e, SDB_F32, like.n, like.h, like.w, like.c);
    run->numbers =
        sdi_exec_tensor_typed(e, SDB_F32, 1, 1, 1, run->times.count * sdi_run_row_size(run));
}

void sdi_run_upload(sd_run *run) {
    sdi_exec_upload(run->e, run->numbers, run->table);
}
