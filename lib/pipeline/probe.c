#include "pipeline/probe.h"
#include "pipeline/unet.h"

/*
 * Whether a UNet predicts noise or v, asked of itself. At the last timestep x is all but noise, so
 * a network that predicts noise gives its input back. One that predicts v = sqrt(a) noise - sqrt(1
 * - a) x0 (Salimans and Ho 2022) gives -x0, and in an even input it sees a picture that is brighter
 * still: what it gives lies far below the input. Input, timestep and limit are those by which
 * stable-diffusion-webui and stable-diffusion.cpp tell the released models apart.
 */
#define LEVEL 0.5f
#define LIMIT (-1.0)
#define TOKENS 2
#define SIDE 8

static sd_status even_tensor(sd_context *ctx, int n_dims, const int64_t *dims, sd_tensor **out) {
    sd_status status = sdi_tensor_new(ctx, n_dims, dims, out);
    for (int64_t i = 0; !status && i < (*out)->n_elements; i++)
        (*out)->data[i] = LEVEL;
    return status;
}

/* The mean of what the UNet adds to x tells. */
static sd_status judge(const sd_model *model, const sd_tensor *x, const sd_cond *cond,
                       sd_prediction *found) {
    const double t = model->desc->schedule.train_timesteps - 1;
    sd_tensor *y;
    double sum = 0.0;
    sd_status status = sdi_unet_evaluate(model, x, &t, cond, &y);
    if (status)
        return status;
    for (int64_t i = 0; i < y->n_elements; i++)
        sum += (double)(y->data[i] - LEVEL);
    *found = sum / (double)y->n_elements < LIMIT ? SD_PREDICT_V : SD_PREDICT_EPSILON;
    sdi_tensor_free(y);
    return SD_OK;
}

sd_status sdi_probe_prediction(const sd_model *model, sd_prediction *found) {
    const sd_unet_config *unet = &model->desc->unet;
    int multiple = sdi_model_size_multiple(model) / sdi_model_downscale(model);
    int64_t side = multiple > SIDE ? multiple : SIDE;
    const int64_t x_dims[] = {1, unet->in_channels, side, side};
    const int64_t context_dims[] = {1, TOKENS, unet->context_dim};
    sd_tensor *x = NULL, *context;
    sd_cond *cond = NULL;
    sd_status status = even_tensor(model->ctx, 4, x_dims, &x);
    if (status == SD_OK && (status = even_tensor(model->ctx, 3, context_dims, &context)) == SD_OK &&
        (status = sdi_cond_take((sd_tensor *const[SD_COND_N_PARTS]){context}, &cond)) == SD_OK)
        status = judge(model, x, cond, found);
    sdi_tensor_free(x);
    sdi_cond_free(cond);
    return status;
}
