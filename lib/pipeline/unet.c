/* The UNet's stage, and one evaluation. */
#include "pipeline/unet.h"
#include "core/expect.h"
#include "pipeline/stage.h"

#include <math.h>

static void hold(sd_stage *s) {
    const sd_unet_config *config = &s->model->desc->unet;
    const sd_unet *unet = sdi_model_unet(s->model);
    sd_exec *e = s->e;
    for (int i = 0; i < SD_STAGE_IO; i++)
        s->io[i] = sdi_no_tensor();
    s->io[SD_UNET_X] = sdi_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, config->in_channels);
    s->io[SD_UNET_Y] = sdi_exec_tensor_typed(e, SDB_F32, s->n, s->h, s->w, config->out_channels);
    s->io[SD_UNET_T] = sdi_exec_tensor_typed(e, SDB_F32, s->n, 1, 1, 1);
    if (s->options)
        s->io[SD_UNET_SCALE] =
            sdi_exec_tensor_typed(e, SDB_F32, s->n, 1, 1, sdi_unet_guidance_dim(unet));
    if (s->tokens == 0)
        return;
    s->io[SD_UNET_CONTEXT] =
        sdi_exec_tensor_typed(e, SDB_F32, s->n, s->tokens, 1, config->context_dim);
    s->io[SD_UNET_KV] = sdi_exec_tensor(e, s->n, s->tokens, 1, sdi_unet_kv_width(unet));
}

static void evaluate(sd_stage *s) {
    sdi_unet_forward(s->e, sdi_model_unet(s->model), s->io[SD_UNET_Y], s->io[SD_UNET_X],
                     s->io[SD_UNET_T], s->io[SD_UNET_KV], s->io[SD_UNET_SCALE]);
}

static void look_at_context(sd_stage *s) {
    if (s->tokens > 0)
        sdi_unet_kv(s->e, sdi_model_unet(s->model), s->io[SD_UNET_KV], s->io[SD_UNET_CONTEXT]);
}

const sd_stage_type sdi_unet_stage = {SD_PART_UNET, hold, evaluate, look_at_context};

static sd_status check_times(const sd_context *ctx, const double *timesteps, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(timesteps[i]))
            return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                            "timesteps[%lld] is %g; a finite number was expected", (long long)i,
                            timesteps[i]);
    return SD_OK;
}

static sd_status check_cond(const sd_model *model, const sd_cond *cond, int64_t n) {
    const int64_t dims[] = {n, -1, model->desc->unet.context_dim};
    bool looks = sdi_unet_kv_width(sdi_model_unet(model)) > 0;
    if (looks && cond)
        return sdi_expect_shape(sdi_cond_context(cond), "cond", 3, dims);
    if (looks)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT, "cond is NULL");
    if (cond)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                        "cond is given; this UNet looks at none, NULL was expected");
    return SD_OK;
}

static sd_status check(const sd_model *model, const sd_tensor *x, const double *timesteps,
                       const sd_cond *cond) {
    int scale = sdi_model_downscale(model), multiple = sdi_model_size_multiple(model) / scale;
    const int64_t dims[] = {-1, model->desc->unet.in_channels, -1, -1};
    sd_status status;
    if ((status = sdi_need_unet(model, "sd_unet_predict")) ||
        (status = sdi_expect_shape(x, "x", 4, dims)) ||
        (status = sdi_expect_multiple(x, "x", multiple, SD_MAX_IMAGE_SIDE / scale)) ||
        (status = check_cond(model, cond, x->dims[0])) || (status = sdi_expect_finite(x, "x")))
        return status;
    return check_times(model->ctx, timesteps, x->dims[0]);
}

/* The network takes its times in float32. */
static void put_times(sd_stage *s, const double *timesteps) {
    for (int i = 0; i < s->n; i++) {
        float t = (float)timesteps[i];
        sdi_exec_upload(s->e, sdi_view_batch(s->io[SD_UNET_T], i, 1), &t);
    }
}

sd_status sdi_unet_evaluate(const sd_model *model, const sd_tensor *x, const double *timesteps,
                            const sd_cond *cond, sd_tensor **out) {
    const sd_tensor *context = sdi_cond_context(cond);
    *out = NULL;
    sd_status status = check(model, x, timesteps, cond);
    if (status)
        return status;
    const int64_t dims[] = {x->dims[0], model->desc->unet.out_channels, x->dims[2], x->dims[3]};
    sd_stage s = {.type = &sdi_unet_stage,
                  .model = model,
                  .n = (int)dims[0],
                  .h = (int)dims[2],
                  .w = (int)dims[3],
                  .tokens = context ? (int)context->dims[1] : 0};
    status = sdi_stage_begin(&s);
    if (status)
        return status;
    sd_tensor *y = sdi_stage_tensor(&s, 4, dims);
    sdi_exec_put(s.e, s.io[SD_UNET_X], x, 0);
    put_times(&s, timesteps);
    if (context)
        sdi_exec_upload(s.e, s.io[SD_UNET_CONTEXT], context->data);
    sdi_stage_compute_apart(&s);
    sdi_stage_compute(&s);
    sdi_exec_get(s.e, y, 0, s.io[SD_UNET_Y]);
    return sdi_tensor_give(sdi_stage_end(&s), y, out);
}

sd_status sdi_stage_unet(const sd_model *model, const sd_tensor *x, const double *timesteps,
                         const sd_cond *cond, sd_tensor **out) {
    sd_tensor *y;
    *out = NULL;
    sd_status status = sdi_unet_evaluate(model, x, timesteps, cond, &y);
    return status ? status : sdi_tensor_give(sdi_check_computed(model, "the UNet", y), y, out);
}
