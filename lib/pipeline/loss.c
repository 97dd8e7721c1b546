#include "pipeline/loss.h"
#include "core/expect.h"
#include "pipeline/unet.h"
#include "sampler/loss.h"
#include "sampler/noise.h"

#include <math.h>
#include <string.h>

/* LatentDiffusion.p_losses, forward: the UNet's part, as precise as the UNet. */

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

/* The sums over a prediction, and a tensor of each picture's where `samples` is not NULL. */
static sd_status sum_up(const sd_model *model, const sd_tensor *x0, const sd_tensor *noise,
                        const int32_t *timesteps, const sd_tensor *y, const sd_loss_params *params,
                        sd_loss_info *loss, sd_tensor **samples) {
    const int64_t rows[] = {x0->dims[0], 3};
    sd_status status = samples ? sdi_tensor_new(model->ctx, 2, rows, samples) : SD_OK;
    if (status)
        return status;
    sdi_loss_sums(&model->schedule, model->desc->schedule.prediction, x0, noise, timesteps, y,
                  params, loss, samples ? (*samples)->data : NULL);
    if (!isfinite(loss->total))
        sdi_log(model->ctx, SD_LOG_LEVEL_WARN,
                "sd_training_loss: the loss is %g (simple %g, gamma %g, vlb %g)", loss->total,
                loss->simple, loss->gamma, loss->vlb);
    return SD_OK;
}

sd_status sdi_stage_training_loss(const sd_model *model, const sd_tensor *x0,
                                  const sd_tensor *noise, const int32_t *timesteps,
                                  const sd_cond *cond, const sd_loss_params *params,
                                  sd_loss_info *loss, sd_tensor **samples) {
    sd_tensor *y;
    sd_status status;
    if ((status = check(model, x0, noise, timesteps, params)) ||
        (status = predict(model, x0, noise, timesteps, cond, params->concat, &y)))
        return status;
    status = sum_up(model, x0, noise, timesteps, y, params, loss, samples);
    sdi_tensor_free(y);
    return status;
}
