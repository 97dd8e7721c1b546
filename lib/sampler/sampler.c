#include "sampler/sampler.h"

#include <math.h>
#include <string.h>

static const sd_method *const methods[] = {
    &sd_method_ddim,
};

const sd_method *sd_method_at(int i) {
    return i >= 0 && (size_t)i < SD_COUNT(methods) ? methods[i] : NULL;
}

const sd_method *sd_method_find(const char *name) {
    for (size_t i = 0; i < SD_COUNT(methods); i++)
        if (!strcmp(methods[i]->name, name))
            return methods[i];
    return NULL;
}

/* A row of the table: the time, two numbers that turn the network's output into epsilon, then the
 * method's own. */
enum { ROW_TIME = 0, ROW_EPS_X = 1, ROW_EPS_OUT = 2, ROW_METHOD = 3 };

static int row_size(const sd_run *run) {
    return ROW_METHOD + run->method->n_coefs;
}

/* epsilon = out[0] x + out[1] * network output, at a = alphas_cumprod[t]: DDPM eq. 4 solved for the
 * noise, and Salimans and Ho 2022, v = sqrt(a) eps - sqrt(1 - a) x_0. */
static void epsilon_coefs(sd_prediction prediction, double a, double out[2]) {
    switch (prediction) {
    case SD_PREDICT_V:
        out[0] = sqrt(1.0 - a);
        out[1] = sqrt(a);
        break;
    case SD_PREDICT_SAMPLE:
        out[0] = 1.0 / sqrt(1.0 - a);
        out[1] = -sqrt(a) / sqrt(1.0 - a);
        break;
    default:
        out[0] = 0.0;
        out[1] = 1.0;
        break;
    }
}

static void fill_row(const sd_run *run, int i, float *row) {
    double eps[2], own[SD_METHOD_MAX_COEFS];
    epsilon_coefs(run->prediction, sd_run_alpha(run, i), eps);
    run->method->coefs(run, i, own);
    row[ROW_TIME] = (float)run->timesteps[i];
    row[ROW_EPS_X] = (float)eps[0];
    row[ROW_EPS_OUT] = (float)eps[1];
    for (int k = 0; k < run->method->n_coefs; k++)
        row[ROW_METHOD + k] = (float)own[k];
}

sd_status sd_run_init(sd_run *run, const sd_context *ctx, const sd_schedule *schedule,
                      sd_prediction prediction, const sd_sampler_params *params) {
    *run = (sd_run){.ctx = ctx,
                    .schedule = schedule,
                    .prediction = prediction,
                    .eta = params->eta,
                    .temperature = params->temperature};
    run->method = params->method ? sd_method_find(params->method) : methods[0];
    if (!run->method)
        return sd_fail(ctx, SD_ERROR_ARGUMENT, "there is no sampling method \"%s\"",
                       params->method);
    sd_status status = run->method->check ? run->method->check(ctx, params) : SD_OK;
    if (status)
        return status;
    run->timesteps = sd_alloc_array(ctx, (size_t)schedule->n, sizeof *run->timesteps);
    if (!run->timesteps)
        return SD_ERROR_MEMORY;
    status = run->method->timesteps(ctx, schedule, params->spacing, params->steps, run->timesteps,
                                    &run->n_steps);
    if (!status) {
        run->table = sd_alloc_array(ctx, (size_t)run->n_steps * (size_t)row_size(run),
                                    sizeof *run->table);
        status = run->table ? SD_OK : SD_ERROR_MEMORY;
    }
    if (status) {
        sd_run_free(run);
        return status;
    }
    for (int i = 0; i < run->n_steps; i++)
        fill_row(run, i, run->table + (size_t)i * (size_t)row_size(run));
    return SD_OK;
}

void sd_run_free(sd_run *run) {
    sd_free(run->ctx, run->timesteps);
    sd_free(run->ctx, run->table);
    run->timesteps = NULL;
    run->table = NULL;
}

void sd_run_layout(sd_run *run, sd_exec *e, int n, int h, int w, int c) {
    sdb_tensor *latents[] = {&run->x, &run->eps, &run->pred_x0, &run->noise};
    run->e = e;
    for (size_t i = 0; i < SD_COUNT(latents); i++)
        *latents[i] = sd_exec_tensor_typed(e, SDB_F32, n, h, w, c);
    for (int i = 0; i < run->method->n_history; i++)
        run->history[i] = sd_exec_tensor_typed(e, SDB_F32, n, h, w, c);
    run->numbers = sd_exec_tensor_typed(e, SDB_F32, 1, 1, 1, run->n_steps * row_size(run));
}

void sd_run_upload(sd_run *run) {
    sd_exec_upload(run->e, run->numbers, run->table);
}

static sdb_tensor numbers_at(const sd_run *run, int i, int first, int count) {
    return sd_view_channels(run->numbers, i * row_size(run) + first, count);
}

void sd_run_predict(sd_run *run, sdb_tensor x, int i) {
    run->denoise(run->user, x, numbers_at(run, i, ROW_TIME, 1));
    if (run->prediction != SD_PREDICT_EPSILON) {
        sdb_tensor terms[] = {x, run->eps};
        sd_op_combine(run->e, run->eps, 2, terms, numbers_at(run, i, ROW_EPS_X, 2));
    }
}

sdb_tensor sd_run_coefs(const sd_run *run, int i, int first, int count) {
    return numbers_at(run, i, ROW_METHOD + first, count);
}

double sd_run_alpha(const sd_run *run, int i) {
    return run->schedule->alphas_cumprod[i < 0 ? 0 : run->timesteps[i]];
}
