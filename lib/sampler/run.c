/* The words that the methods write their steps with: predictions of the network, sums of latents.
 */
#include "sampler/sampler.h"

#include <math.h>

int sdi_run_row_size(const sd_run *run) {
    return SD_ROW_METHOD + run->method->n_coefs;
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

void sdi_run_time_coefs(const sd_run *run, double time, double alpha, double out[3]) {
    out[0] = time;
    epsilon_coefs(run->prediction, alpha, out + 1);
}

static sdb_tensor numbers_at(const sd_run *run, int i, int first, int count) {
    int at = (i < 0 ? 0 : i) * sdi_run_row_size(run) + first;
    sdb_tensor t = sdi_view_channels(run->numbers, at, count);
    t.ld = count;
    return t;
}

void sdi_run_q_sample(sd_run *run, int i, sdb_tensor y, sdb_tensor x0, sdb_tensor noise) {
    sdb_tensor terms[] = {x0, noise};
    sdi_op_sum(run->e, y, 2, terms, numbers_at(run, i, SD_ROW_NOISED, 2));
}

/* `first`: of the numbers of sdi_run_time_coefs in row i. */
static void predict(sd_run *run, sdb_tensor x, int i, int first) {
    run->denoise(run->user, x, numbers_at(run, i, first + SD_ROW_TIME, 1));
    if (run->raw)
        sdi_op_copy(run->e, run->output, run->eps);
    if (run->prediction != SD_PREDICT_EPSILON) {
        sdb_tensor terms[] = {x, run->eps};
        sdi_op_sum(run->e, run->eps, 2, terms, numbers_at(run, i, first + SD_ROW_EPS, 2));
    }
}

void sdi_run_predict(sd_run *run, sdb_tensor x, int i) {
    predict(run, x, i, 0);
}

void sdi_run_predict_between(sd_run *run, sdb_tensor x, int i, int first) {
    predict(run, x, i, SD_ROW_METHOD + first);
}

void sdi_run_predict_x0(sd_run *run, int i) {
    sdb_tensor terms[] = {run->x, run->raw ? run->output : run->eps};
    sdi_op_sum(run->e, run->pred_x0, 2, terms, numbers_at(run, i, SD_ROW_X0, 2));
}

void sdi_run_clip_x0(sd_run *run) {
    if (run->clip > 0.0)
        sdi_op_clamp(run->e,
                     (sdb_clamp){run->pred_x0, run->pred_x0, (float)-run->clip, (float)run->clip});
}

void sdi_run_epsilon(sd_run *run, sdb_tensor eps, sdb_tensor output, int i) {
    sdb_tensor terms[] = {run->x, output};
    sdi_op_sum(run->e, eps, 2, terms, numbers_at(run, i, SD_ROW_EPS, 2));
}

void sdi_run_quantize_x0(sd_run *run) {
    if (run->quantize)
        run->quantize(run->user, run->pred_x0);
}

sdb_tensor sdi_run_coefs(const sd_run *run, int i, int first, int count) {
    return numbers_at(run, i, SD_ROW_METHOD + first, count);
}

void sdi_run_combine(sd_run *run, sdb_tensor y, int i, int first, int count,
                     const sdb_tensor *terms) {
    sdi_op_sum(run->e, y, count, terms, sdi_run_coefs(run, i, first, count));
}

void sdi_run_keep(sd_run *run, sdb_tensor t, int n) {
    for (int k = n; k > 0; k--)
        sdi_op_copy(run->e, run->history[k], run->history[k - 1]);
    sdi_op_copy(run->e, run->history[0], t);
}

double sdi_run_alpha(const sd_run *run, int i) {
    return i < 0 ? run->times.final_alpha : run->times.alphas[i];
}

double sdi_run_end(const sd_run *run, int i) {
    return run->times.has_ends ? run->times.ends[i] : sdi_run_alpha(run, i - 1);
}

/* diffusers' multistep solvers: lower_order_final is for fewer than 15 steps, for their sake. */
bool sdi_run_second_order(const sd_run *run, int i) {
    const sd_scheduler_config *f = run->schedule->folder;
    if (run->done == 0 || (f && f->order < 2))
        return false;
    return i > 0 || (f && run->times.final_alpha < 1.0 && !f->euler_at_final &&
                     !(f->lower_order_final && run->times.count < 15));
}

double sdi_run_sigma(const sd_run *run, int i) {
    return sdi_sigma_of_alpha(sdi_run_alpha(run, i));
}

double sdi_run_lambda(const sd_run *run, int i) {
    return -log(sdi_run_sigma(run, i));
}

double sdi_run_older_share(const sd_run *run, int i) {
    if (i < 0 || i + 1 >= run->times.count || sdi_run_alpha(run, i - 1) >= 1.0)
        return 0.0;
    double h = sdi_run_lambda(run, i - 1) - sdi_run_lambda(run, i);
    double before = sdi_run_lambda(run, i) - sdi_run_lambda(run, i + 1);
    return before > 0.0 ? h / before / 2.0 : 0.0;
}

int sdi_run_noises(const sd_run *run, int i) {
    if (!run->method->noisy || !run->method->noisy(run, i))
        return 0;
    return run->method->n_noises > 1 ? run->method->n_noises : 1;
}

int sdi_run_distinct(const sd_run *run, int i, int n) {
    int distinct = 1;
    while (distinct < n && i + distinct < run->times.count &&
           sdi_run_sigma(run, i + distinct) > sdi_run_sigma(run, i + distinct - 1))
        distinct++;
    return distinct;
}

sd_ancestral sdi_ancestral(double from, double to, double eta) {
    double up = eta * eta * (to * to * (from * from - to * to) / (from * from));
    up = fmin(fmax(up, 0.0), to * to);
    return (sd_ancestral){.down = sqrt(to * to - up), .up = sqrt(up)};
}

sd_ancestral sdi_run_ancestral(const sd_run *run, int i) {
    return sdi_ancestral(sdi_run_sigma(run, i), sdi_run_sigma(run, i - 1), run->ancestral_eta);
}

bool sdi_run_ancestral_noisy(const sd_run *run, int i) {
    return i > 0 && run->ancestral_eta > 0.0 && run->temperature > 0.0;
}

void sdi_flow_coefs(double a, double b, double out[2]) {
    out[0] = sqrt(b) / sqrt(a);
    out[1] = sqrt(b) * (sdi_sigma_of_alpha(b) - sdi_sigma_of_alpha(a));
}
