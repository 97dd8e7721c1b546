#include "pipeline/loss.h"
#include "core/expect.h"
#include "pipeline/unet.h"
#include "sampler/noise.h"

#include <math.h>
#include <string.h>

/*
 * LatentDiffusion.p_losses, forward: ldm/models/diffusion/ddpm.py. Sums are in double; the rest is
 * as precise as the UNet.
 */

/* lvlb_weights of register_schedule, with v_posterior 0. For x0 the original divides by
 * `2. * 1 - alphas_cumprod`, which is kept; for v (SD 2.x) its weights are ones. */
static double vlb_weight(const sd_model *model, int t) {
    const sd_schedule *s = &model->schedule;
    t = t ? t : 1; /* lvlb_weights[0] = lvlb_weights[1] */
    double beta = s->betas[t], a = s->alphas_cumprod[t], previous = s->alphas_cumprod[t - 1];
    double posterior_variance = beta * (1.0 - previous) / (1.0 - a);
    if (model->desc->schedule.prediction == SD_PREDICT_EPSILON)
        return beta * beta / (2.0 * posterior_variance * (1.0 - beta) * (1.0 - a));
    return model->desc->schedule.prediction == SD_PREDICT_SAMPLE ? 0.5 * sqrt(a) / (2.0 - a) : 1.0;
}

/* get_loss(...).mean([1, 2, 3]) of one picture; the target is never stored. */
static double simple_loss(const sd_model *model, sd_loss_type type, int t, const float *y,
                          const float *x0, const float *noise, int64_t n) {
    double a = model->schedule.alphas_cumprod[t], of_noise = 1.0, of_x0 = 0.0, sum = 0.0;
    if (model->desc->schedule.prediction == SD_PREDICT_SAMPLE) {
        of_noise = 0.0;
        of_x0 = 1.0;
    } else if (model->desc->schedule.prediction == SD_PREDICT_V) { /* get_v */
        of_noise = sqrt(a);
        of_x0 = -sqrt(1.0 - a);
    }
    for (int64_t i = 0; i < n; i++) {
        double d = (double)y[i] - (of_noise * (double)noise[i] + of_x0 * (double)x0[i]);
        sum += type == SD_LOSS_L1 ? fabs(d) : d * d;
    }
    return sum / (double)n;
}

static sd_status check_numbers(const sd_model *model, const sd_loss_params *p) {
    int64_t at = p->logvar ? sdi_find_not_finite(p->logvar, model->schedule.n) : -1;
    if (!isfinite(p->l_simple_weight) || !isfinite(p->original_elbo_weight) ||
        !isfinite(p->logvar_init))
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                        "sd_loss_params.l_simple_weight, original_elbo_weight and logvar_init are "
                        "%g, %g and %g; finite numbers were expected",
                        p->l_simple_weight, p->original_elbo_weight, p->logvar_init);
    if (at >= 0)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                        "sd_loss_params.logvar[%lld] is %g; a finite number was expected",
                        (long long)at, (double)p->logvar[at]);
    return SD_OK;
}

static sd_status check_concat(const sd_model *model, const sd_tensor *x0, const sd_tensor *concat) {
    const sd_unet_config *config = &model->desc->unet;
    int extra = config->in_channels - config->out_channels;
    const int64_t dims[] = {x0->dims[0], extra, x0->dims[2], x0->dims[3]};
    if (extra > 0 && concat)
        return sdi_expect_tensor(concat, "sd_loss_params.concat", 4, dims);
    if (extra > 0)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                        "sd_loss_params.concat is NULL; this UNet takes %d channels beside the "
                        "latent's %d",
                        extra, config->out_channels);
    if (concat)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                        "sd_loss_params.concat is given; this UNet takes the latent alone");
    return SD_OK;
}

static sd_status check_times(const sd_model *model, const int32_t *timesteps, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (timesteps[i] < 0 || timesteps[i] >= model->schedule.n)
            return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                            "timesteps[%lld] is %d; 0 to %d was expected", (long long)i,
                            (int)timesteps[i], model->schedule.n - 1);
    return SD_OK;
}

static sd_status check_schedule(const sd_model *model) {
    if (model->schedule.n >= 2)
        return SD_OK;
    return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                    "sd_training_loss: the model has %d train timestep; at least 2 were expected",
                    model->schedule.n);
}

static sd_status check(const sd_model *model, const sd_tensor *x0, const sd_tensor *noise,
                       const int32_t *timesteps, const sd_loss_params *p) {
    const int64_t dims[] = {-1, model->desc->unet.out_channels, -1, -1};
    sd_status status;
    if ((status = sdi_need_unet(model, "sd_training_loss")) || (status = check_schedule(model)) ||
        (status = sdi_expect_tensor(x0, "x0", 4, dims)) ||
        (status = sdi_expect_tensor(noise, "noise", 4, x0->dims)) ||
        (status = check_concat(model, x0, p->concat)) || (status = check_numbers(model, p)))
        return status;
    return check_times(model, timesteps, x0->dims[0]);
}

/* x_t beside the pictures that it is conditioned on, and the times as the UNet takes them. */
static void noised(const sd_model *model, const sd_tensor *x0, const sd_tensor *noise,
                   const int32_t *timesteps, const sd_tensor *concat, sd_tensor *x, double *t) {
    int64_t n = x0->dims[0], each = x0->n_elements / n;
    int64_t extra = concat ? concat->n_elements / n : 0;
    for (int64_t i = 0; i < n; i++) {
        float *row = x->data + i * (each + extra);
        t[i] = timesteps[i];
        sdi_q_sample(model->schedule.alphas_cumprod[timesteps[i]], x0->data + i * each,
                     noise->data + i * each, row, each);
        if (concat)
            memcpy(row + each, concat->data + i * extra, (size_t)extra * sizeof *row);
    }
}

/* The weighted sums of p_losses. `samples`, [n, 3], may be NULL. */
static void reduce(const sd_model *model, const sd_tensor *x0, const sd_tensor *noise,
                   const int32_t *timesteps, const sd_tensor *y, const sd_loss_params *p,
                   sd_loss_info *loss, float *samples) {
    int n = (int)x0->dims[0], n_train = model->schedule.n;
    int64_t each = x0->n_elements / n;
    for (int i = 0; i < n; i++) {
        int t = timesteps[i];
        double logvar = p->logvar ? (double)p->logvar[t] : p->logvar_init;
        double simple = simple_loss(model, p->type, t, y->data + i * each, x0->data + i * each,
                                    noise->data + i * each, each);
        double row[] = {simple, simple / exp(logvar) + logvar, vlb_weight(model, t) * simple};
        loss->simple += row[0] / n;
        loss->gamma += row[1] / n;
        loss->vlb += row[2] / n;
        for (int k = 0; samples && k < 3; k++)
            samples[3 * i + k] = (float)row[k];
    }
    for (int t = 0; p->logvar && t < n_train; t++)
        loss->logvar += (double)p->logvar[t] / n_train;
    if (!p->logvar)
        loss->logvar = p->logvar_init;
    loss->total = p->l_simple_weight * loss->gamma + p->original_elbo_weight * loss->vlb;
}

/* y = UNet(x_t, t, cond). */
static sd_status predict(const sd_model *model, const sd_tensor *x0, const sd_tensor *noise,
                         const int32_t *timesteps, const sd_cond *cond, const sd_tensor *concat,
                         sd_tensor **y) {
    const int64_t dims[] = {x0->dims[0], model->desc->unet.in_channels, x0->dims[2], x0->dims[3]};
    double *t = sdi_alloc_array(model->ctx, (size_t)dims[0], sizeof *t);
    sd_tensor *x = NULL;
    sd_status status = t ? sdi_tensor_new_raw(model->ctx, 4, dims, &x) : SD_ERROR_MEMORY;
    if (!status) {
        noised(model, x0, noise, timesteps, concat, x, t);
        status = sdi_stage_unet(model, x, t, cond, y);
    }
    sdi_tensor_free(x);
    sdi_free(model->ctx, t);
    return status;
}

sd_status sdi_stage_training_loss(const sd_model *model, const sd_tensor *x0,
                                  const sd_tensor *noise, const int32_t *timesteps,
                                  const sd_cond *cond, const sd_loss_params *params,
                                  sd_loss_info *loss, sd_tensor **samples) {
    const int64_t rows[] = {x0->dims[0], 3};
    sd_tensor *y, *each = NULL;
    sd_status status = check(model, x0, noise, timesteps, params);
    if (!status)
        status = predict(model, x0, noise, timesteps, cond, params->concat, &y);
    if (status)
        return status;
    if (samples)
        status = sdi_tensor_new(model->ctx, 2, rows, &each);
    if (!status)
        reduce(model, x0, noise, timesteps, y, params, loss, each ? each->data : NULL);
    sdi_tensor_free(y);
    if (status)
        return status;
    if (samples)
        *samples = each;
    if (!isfinite(loss->total))
        sdi_log(model->ctx, SD_LOG_LEVEL_WARN,
                "sd_training_loss: the loss is %g (simple %g, gamma %g, vlb %g)", loss->total,
                loss->simple, loss->gamma, loss->vlb);
    return SD_OK;
}
