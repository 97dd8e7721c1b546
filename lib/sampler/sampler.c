#include "sampler/sampler.h"

#include <math.h>
#include <string.h>

static const sd_method *const methods[] = {
    &sd_method_ddim,  &sd_method_plms,       &sd_method_ddpm,         &sd_method_ddim_inverse,
    &sd_method_euler, &sd_method_euler_a,    &sd_method_heun,         &sd_method_dpm2,
    &sd_method_lms,   &sd_method_dpmpp_2m,   &sd_method_dpmpp_2m_sde, &sd_method_unipc,
    &sd_method_lcm,   &sd_method_dpm_solver,
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

/* A row of the table: the time, two numbers that turn the network's output into epsilon, two that
 * make x_0 from x and epsilon, two that noise an x_0, then the method's own. */
enum { ROW_TIME = 0, ROW_EPS = 1, ROW_X0 = 3, ROW_NOISED = 5, ROW_METHOD = 7 };

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

void sd_run_time_coefs(const sd_run *run, double time, double alpha, double out[3]) {
    out[0] = time;
    epsilon_coefs(run->prediction, alpha, out + 1);
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
    double numbers[ROW_METHOD + SD_METHOD_MAX_COEFS];
    double a = sd_run_alpha(run, i);
    sd_run_time_coefs(run, run->times.times[i], a, numbers);
    x0_coefs(run, a, numbers + ROW_X0);
    numbers[ROW_NOISED] = sqrt(a);
    numbers[ROW_NOISED + 1] = sqrt(1.0 - a);
    run->method->coefs(run, i, numbers + ROW_METHOD);
    for (int k = 0; k < row_size(run); k++)
        row[k] = (float)numbers[k];
}

static sd_status check_params(const sd_run *run, const sd_sampler_params *params) {
    const sd_method *method = run->method;
    const char *set = params->quantize_denoised    ? "quantize_denoised"
                      : params->use_original_steps ? "use_original_steps"
                                                   : NULL;
    if (set && !method->original)
        return sd_fail(run->ctx, SD_ERROR_ARGUMENT,
                       "sd_sampler_params.%s is set; the sampling method \"%s\" does not take it, "
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
    if (params->use_original_steps) {
        sd_times_all(&run->times, run->schedule);
        return SD_OK;
    }
    if (method->fill_times)
        return method->fill_times(&run->times, run->ctx, run->schedule, params);
    return sd_times_fill(&run->times, run->ctx, run->schedule, method->times, method->name,
                         params->spacing, params->steps);
}

sd_status sd_run_init(sd_run *run, const sd_context *ctx, const sd_schedule *schedule,
                      sd_prediction prediction, const sd_sampler_params *params) {
    *run = (sd_run){.ctx = ctx,
                    .schedule = schedule,
                    .prediction = prediction,
                    .eta = params->eta,
                    .temperature = params->temperature,
                    .clip_denoised = params->clip_denoised != 0};
    run->method = params->method ? sd_method_find(params->method) : methods[0];
    if (!run->method)
        return sd_fail(ctx, SD_ERROR_ARGUMENT, "there is no sampling method \"%s\"",
                       params->method);
    sd_status status = check_params(run, params);
    if (!status)
        status = sd_times_init(&run->times, ctx, schedule);
    if (status)
        return status;
    const sd_scheduler_config *folder = schedule->folder;
    run->clip = folder ? folder->clip : 0.0;
    run->raw =
        prediction != SD_PREDICT_EPSILON && (schedule->zero_snr || (run->method->mixes && folder));
    status = choose_times(run, params);
    lift_alphas(run);
    if (!status) {
        run->table = sd_alloc_array(ctx, (size_t)run->times.count * (size_t)row_size(run),
                                    sizeof *run->table);
        status = run->table ? SD_OK : SD_ERROR_MEMORY;
    }
    if (status) {
        sd_run_free(run);
        return status;
    }
    for (int i = 0; i < run->times.count; i++)
        fill_row(run, i, run->table + (size_t)i * (size_t)row_size(run));
    return SD_OK;
}

void sd_run_free(sd_run *run) {
    sd_times_free(&run->times, run->ctx);
    sd_free(run->ctx, run->table);
    run->table = NULL;
}

void sd_run_layout(sd_run *run, sd_exec *e) {
    sdb_tensor *latents[] = {&run->x, &run->pred_x0, &run->noise}, like = run->eps;
    run->e = e;
    for (size_t i = 0; i < SD_COUNT(latents); i++)
        *latents[i] = sd_exec_tensor_typed(e, SDB_F32, like.n, like.h, like.w, like.c);
    if (run->raw)
        run->output = sd_exec_tensor_typed(e, SDB_F32, like.n, like.h, like.w, like.c);
    for (int i = 0; i < run->method->n_history; i++)
        run->history[i] = sd_exec_tensor_typed(e, SDB_F32, like.n, like.h, like.w, like.c);
    run->numbers = sd_exec_tensor_typed(e, SDB_F32, 1, 1, 1, run->times.count * row_size(run));
}

void sd_run_upload(sd_run *run) {
    sd_exec_upload(run->e, run->numbers, run->table);
}

bool sd_run_noisy(const sd_run *run, int i) {
    return run->method->noisy && run->method->noisy(run, i);
}

/* Numbers of step i from `first` on, as a tensor of their own. */
static sdb_tensor numbers_at(const sd_run *run, int i, int first, int count) {
    int at = (i < 0 ? 0 : i) * row_size(run) + first;
    sdb_tensor t = sd_view_channels(run->numbers, at, count);
    t.ld = count;
    return t;
}

void sd_run_q_sample(sd_run *run, int i, sdb_tensor y, sdb_tensor x0, sdb_tensor noise) {
    sdb_tensor terms[] = {x0, noise};
    sd_op_sum(run->e, y, 2, terms, numbers_at(run, i, ROW_NOISED, 2));
}

/* `first`: of the numbers of sd_run_time_coefs in row i. */
static void predict(sd_run *run, sdb_tensor x, int i, int first) {
    run->denoise(run->user, x, numbers_at(run, i, first + ROW_TIME, 1));
    if (run->raw)
        sd_op_copy(run->e, run->output, run->eps);
    if (run->prediction != SD_PREDICT_EPSILON) {
        sdb_tensor terms[] = {x, run->eps};
        sd_op_sum(run->e, run->eps, 2, terms, numbers_at(run, i, first + ROW_EPS, 2));
    }
}

void sd_run_predict(sd_run *run, sdb_tensor x, int i) {
    predict(run, x, i, 0);
}

void sd_run_predict_between(sd_run *run, sdb_tensor x, int i, int first) {
    predict(run, x, i, ROW_METHOD + first);
}

void sd_run_predict_x0(sd_run *run, int i) {
    sdb_tensor terms[] = {run->x, run->raw ? run->output : run->eps};
    sd_op_sum(run->e, run->pred_x0, 2, terms, numbers_at(run, i, ROW_X0, 2));
}

void sd_run_clip_x0(sd_run *run) {
    if (run->clip > 0.0)
        sd_op_clamp(run->e,
                    (sdb_clamp){run->pred_x0, run->pred_x0, (float)-run->clip, (float)run->clip});
}

void sd_run_epsilon(sd_run *run, sdb_tensor eps, sdb_tensor output, int i) {
    sdb_tensor terms[] = {run->x, output};
    sd_op_sum(run->e, eps, 2, terms, numbers_at(run, i, ROW_EPS, 2));
}

void sd_run_quantize_x0(sd_run *run) {
    if (run->quantize)
        run->quantize(run->user, run->pred_x0);
}

sdb_tensor sd_run_coefs(const sd_run *run, int i, int first, int count) {
    return numbers_at(run, i, ROW_METHOD + first, count);
}

void sd_run_combine(sd_run *run, sdb_tensor y, int i, int first, int count,
                    const sdb_tensor *terms) {
    sd_op_sum(run->e, y, count, terms, sd_run_coefs(run, i, first, count));
}

void sd_run_keep(sd_run *run, sdb_tensor t, int n) {
    for (int k = n; k > 0; k--)
        sd_op_copy(run->e, run->history[k], run->history[k - 1]);
    sd_op_copy(run->e, run->history[0], t);
}

double sd_run_alpha(const sd_run *run, int i) {
    return i < 0 ? run->times.final_alpha : run->times.alphas[i];
}

double sd_run_end(const sd_run *run, int i) {
    return run->times.has_ends ? run->times.ends[i] : sd_run_alpha(run, i - 1);
}

/* diffusers' multistep solvers: lower_order_final is for fewer than 15 steps, for their sake. */
bool sd_run_second_order(const sd_run *run, int i) {
    const sd_scheduler_config *f = run->schedule->folder;
    if (run->done == 0 || (f && f->order < 2))
        return false;
    return i > 0 || (f && run->times.final_alpha < 1.0 && !f->euler_at_final &&
                     !(f->lower_order_final && run->times.count < 15));
}

double sd_run_sigma(const sd_run *run, int i) {
    return sd_sigma_of_alpha(sd_run_alpha(run, i));
}

double sd_run_lambda(const sd_run *run, int i) {
    return -log(sd_run_sigma(run, i));
}

double sd_run_older_share(const sd_run *run, int i) {
    if (i < 0 || i + 1 >= run->times.count || sd_run_alpha(run, i - 1) >= 1.0)
        return 0.0;
    double h = sd_run_lambda(run, i - 1) - sd_run_lambda(run, i);
    double before = sd_run_lambda(run, i) - sd_run_lambda(run, i + 1);
    return before > 0.0 ? h / before / 2.0 : 0.0;
}

void sd_flow_coefs(double a, double b, double out[2]) {
    out[0] = sqrt(b) / sqrt(a);
    out[1] = sqrt(b) * (sd_sigma_of_alpha(b) - sd_sigma_of_alpha(a));
}
