#include "pipeline/unet.h"
#include "pipeline/finite.h"
#include "pipeline/shapes.h"
#include "pipeline/stage.h"

#include <math.h>

typedef struct unet_job {
    const sd_model *model;
    const float *x; /* NHWC */
    const float *timesteps, *context;
    float *y; /* NHWC */
    int n, h, w, tokens;
} unet_job;

typedef struct unet_region {
    const sd_unet *unet;
    sdb_tensor x, y, t;
    sdb_tensor context, kv; /* or none */
} unet_region;

static void predict_region(sd_exec *e, void *arg) {
    const unet_region *r = arg;
    if (r->kv.c > 0)
        sd_unet_kv(e, r->unet, r->kv, r->context);
    sd_unet_forward(e, r->unet, r->y, r->x, r->t, r->kv, sd_no_tensor());
}

static void predict(sd_exec *e, void *arg) {
    const unet_job *job = arg;
    const sd_unet_config *config = &job->model->desc->unet;
    int n = job->n, h = job->h, w = job->w;
    unet_region r = {.unet = sd_model_unet(job->model)};
    r.x = sd_exec_tensor_typed(e, SDB_F32, n, h, w, config->in_channels);
    r.y = sd_exec_tensor_typed(e, SDB_F32, n, h, w, config->out_channels);
    r.t = sd_exec_tensor_typed(e, SDB_F32, n, 1, 1, 1);
    sd_exec_upload(e, r.x, job->x);
    sd_exec_upload(e, r.t, job->timesteps);
    if (job->context) {
        r.context = sd_exec_tensor_typed(e, SDB_F32, n, job->tokens, 1, config->context_dim);
        r.kv = sd_exec_tensor(e, n, job->tokens, 1, sd_unet_kv_width(r.unet));
        sd_exec_upload(e, r.context, job->context);
    }
    sd_exec_region(e, predict_region, &r);
    sd_exec_download(e, job->y, r.y);
}

static sd_status check_finite(const sd_tensor *x, const float *timesteps,
                              const sd_tensor *embeddings) {
    sd_status status = sd_expect_finite(x, "x");
    if (!status && embeddings)
        status = sd_expect_finite(embeddings, "embeddings");
    for (int64_t i = 0; i < x->dims[0] && !status; i++)
        if (!isfinite(timesteps[i]))
            status = sd_fail(x->ctx, SD_ERROR_ARGUMENT,
                             "timesteps[%lld] is %g; a finite number was expected", (long long)i,
                             (double)timesteps[i]);
    return status;
}

static sd_status check(const sd_model *model, const sd_tensor *x, const sd_tensor *embeddings) {
    const sd_unet_config *config = &model->desc->unet;
    int downscale = sd_model_downscale(model);
    int64_t x_dims[] = {-1, config->in_channels, -1, -1};
    sd_status status = sd_need_unet(model, "sd_unet_predict");
    if (!status)
        status = sd_expect_shape(x, "x", 4, x_dims);
    if (!status)
        status = sd_expect_multiple(x, "x", sd_model_size_multiple(model) / downscale,
                                    SD_MAX_IMAGE_SIDE / downscale);
    bool unconditional = !status && sd_unet_kv_width(sd_model_unet(model)) == 0;
    if (!status && unconditional && embeddings)
        status = sd_fail(model->ctx, SD_ERROR_ARGUMENT,
                         "embeddings are given; this UNet looks at none, NULL was expected");
    if (!status && !unconditional && !embeddings)
        status = sd_fail(model->ctx, SD_ERROR_ARGUMENT, "embeddings is NULL");
    if (status || unconditional)
        return status;
    int64_t context_dims[] = {x->dims[0], -1, config->context_dim};
    if (!status)
        status = sd_expect_shape(embeddings, "embeddings", 3, context_dims);
    if (!status && embeddings->dims[1] > 65536)
        status = sd_fail(model->ctx, SD_ERROR_ARGUMENT,
                         "embeddings have %lld tokens; at most 65536 were expected",
                         (long long)embeddings->dims[1]);
    return status;
}

sd_status sd_unet_evaluate(sd_model *model, const sd_tensor *x, const float *timesteps,
                           const sd_tensor *embeddings, sd_tensor **out) {
    const sd_unet_config *config = &model->desc->unet;
    *out = NULL;
    sd_status status = check(model, x, embeddings);
    if (!status)
        status = check_finite(x, timesteps, embeddings);
    if (status)
        return status;
    int n = (int)x->dims[0], h = (int)x->dims[2], w = (int)x->dims[3];
    int64_t dims[] = {n, config->out_channels, h, w};
    sd_tensor *y = NULL;
    float *x_nhwc = sd_alloc_array(model->ctx, (size_t)x->n_elements, sizeof *x_nhwc);
    status = x_nhwc ? sd_tensor_create(model->ctx, 4, dims, &y) : SD_ERROR_MEMORY;
    float *y_nhwc =
        status ? NULL : sd_alloc_array(model->ctx, (size_t)y->n_elements, sizeof *y_nhwc);
    if (!status && !y_nhwc)
        status = SD_ERROR_MEMORY;
    if (!status) {
        sd_nchw_to_nhwc(x_nhwc, x->data, n, config->in_channels, h, w);
        unet_job job = {model, x_nhwc, timesteps, NULL, y_nhwc, n, h, w, 0};
        if (embeddings) {
            job.context = embeddings->data;
            job.tokens = (int)embeddings->dims[1];
        }
        sd_stage_key key = {.fn = predict, .n = n, .h = h, .w = w, .tokens = job.tokens};
        status = sd_execs_run(model, &key, &job);
    }
    if (!status) {
        sd_nhwc_to_nchw(y->data, y_nhwc, n, config->out_channels, h, w);
        *out = y;
    } else {
        sd_tensor_destroy(y);
    }
    sd_free(model->ctx, x_nhwc);
    sd_free(model->ctx, y_nhwc);
    return status;
}

sd_status sd_stage_unet(sd_model *model, const sd_tensor *x, const float *timesteps,
                        const sd_tensor *embeddings, sd_tensor **out) {
    sd_status status = sd_unet_evaluate(model, x, timesteps, embeddings, out);
    if (status)
        return status;
    status = sd_check_computed(model, "the UNet", *out);
    if (status) {
        sd_tensor_destroy(*out);
        *out = NULL;
    }
    return status;
}
