/* The UNet's stage, and one evaluation. */
#include "pipeline/unet.h"
#include "core/expect.h"
#include "pipeline/stage.h"

#include <math.h>

static void hold(sd_stage *s) {
    const sd_unet_config *config = &s->model->desc->unet;
    const sd_unet *unet = sd_model_unet(s->model);
    sd_exec *e = s->e;
    for (int i = 0; i < SD_STAGE_IO; i++)
        s->io[i] = sd_no_tensor();
    s->io[SD_UNET_X] = sd_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, config->in_channels);
    s->io[SD_UNET_Y] = sd_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, config->out_channels);
    s->io[SD_UNET_T] = sd_exec_tensor_typed(e, SDB_F32, s->n, 1, 1, 1);
    if (s->options)
        s->io[SD_UNET_SCALE] =
            sd_exec_tensor_typed(e, SDB_F32, s->n, 1, 1, sd_unet_guidance_dim(unet));
    if (s->tokens == 0)
        return;
    s->io[SD_UNET_CONTEXT] =
        sd_exec_tensor_typed(e, SDB_F32, s->n, s->tokens, 1, config->context_dim);
    s->io[SD_UNET_KV] = sd_exec_tensor(e, s->n, s->tokens, 1, sd_unet_kv_width(unet));
}

static void evaluate(sd_stage *s) {
    sd_unet_forward(s->e, sd_model_unet(s->model), s->io[SD_UNET_Y], s->io[SD_UNET_X],
                    s->io[SD_UNET_T], s->io[SD_UNET_KV], s->io[SD_UNET_SCALE]);
}

static void look_at_context(sd_stage *s) {
    if (s->tokens > 0)
        sd_unet_kv(s->e, sd_model_unet(s->model), s->io[SD_UNET_KV], s->io[SD_UNET_CONTEXT]);
}

const sd_stage_type sd_unet_stage = {SD_PART_UNET, hold, evaluate, look_at_context};

static sd_status check_times(const sd_context *ctx, const double *timesteps, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(timesteps[i]))
            return sd_fail(ctx, SD_ERROR_ARGUMENT,
                           "timesteps[%lld] is %g; a finite number was expected", (long long)i,
                           timesteps[i]);
    return SD_OK;
}

static sd_status check_cond(const sd_model *model, const sd_cond *cond, int64_t n) {
    const int64_t dims[] = {n, -1, model->desc->unet.context_dim};
    bool looks = sd_unet_kv_width(sd_model_unet(model)) > 0;
    if (looks && cond)
        return sd_expect_shape(sd_cond_context(cond), "cond", 3, dims);
    if (looks)
        return sd_fail(model->ctx, SD_ERROR_ARGUMENT, "cond is NULL");
    if (cond)
        return sd_fail(model->ctx, SD_ERROR_ARGUMENT,
                       "cond is given; this UNet looks at none, NULL was expected");
    return SD_OK;
}

static sd_status check(const sd_model *model, const sd_tensor *x, const double *timesteps,
                       const sd_cond *cond) {
    int scale = sd_model_downscale(model), multiple = sd_model_size_multiple(model) / scale;
    const int64_t dims[] = {-1, model->desc->unet.in_channels, -1, -1};
    sd_status status;
    if ((status = sd_need_unet(model, "sd_unet_predict")) ||
        (status = sd_expect_shape(x, "x", 4, dims)) ||
        (status = sd_expect_multiple(x, "x", multiple, SD_MAX_IMAGE_SIDE / scale)) ||
        (status = check_cond(model, cond, x->dims[0])) || (status = sd_expect_finite(x, "x")))
        return status;
    return check_times(model->ctx, timesteps, x->dims[0]);
}

/* The network takes its times in float32. */
static void put_times(sd_stage *s, const double *timesteps) {
    for (int i = 0; i < s->n; i++) {
        float t = (float)timesteps[i];
        sd_exec_upload(s->e, sd_view_batch(s->io[SD_UNET_T], i, 1), &t);
    }
}

sd_status sd_unet_evaluate(const sd_model *model, const sd_tensor *x, const double *timesteps,
                           const sd_cond *cond, sd_tensor **out) {
    const sd_tensor *context = sd_cond_context(cond);
    *out = NULL;
    sd_status status = check(model, x, timesteps, cond);
    if (status)
        return status;
    const int64_t dims[] = {x->dims[0], model->desc->unet.out_channels, x->dims[2], x->dims[3]};
    sd_stage s = {.type = &sd_unet_stage,
                  .model = model,
                  .n = (int)dims[0],
                  .h = (int)dims[2],
                  .w = (int)dims[3],
                  .tokens = context ? (int)context->dims[1] : 0};
    status = sd_stage_begin(&s);
    if (status)
        return status;
    sd_tensor *y = sd_stage_tensor(&s, 4, dims);
    sd_exec_put(s.e, s.io[SD_UNET_X], x, 0);
    put_times(&s, timesteps);
    if (context)
        sd_exec_upload(s.e, s.io[SD_UNET_CONTEXT], context->data);
    sd_stage_compute_apart(&s);
    sd_stage_compute(&s);
    sd_exec_get(s.e, y, 0, s.io[SD_UNET_Y]);
    return sd_tensor_give(sd_stage_end(&s), y, out);
}

sd_status sd_stage_unet(const sd_model *model, const sd_tensor *x, const double *timesteps,
                        const sd_cond *cond, sd_tensor **out) {
    sd_tensor *y;
    *out = NULL;
    sd_status status = sd_unet_evaluate(model, x, timesteps, cond, &y);
    return status ? status : sd_tensor_give(sd_check_computed(model, "the UNet", y), y, out);
}
