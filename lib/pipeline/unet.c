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
    if (sdi_unet_label_width(unet) > 0) {
        int width = sdi_unet_pooled_width(s->model);
        s->io[SD_UNET_POOLED] = sdi_exec_tensor_typed(e, SDB_F32, s->n, 1, 1, width);
        s->io[SD_UNET_SIZES] = sdi_exec_tensor_typed(e, SDB_F32, s->n, 1, 1, config->n_sizes);
        s->io[SD_UNET_LABEL] = sdi_exec_tensor(e, s->n, 1, 1, sdi_unet_label_width(unet));
    }
    if (s->tokens == 0)
        return;
    s->io[SD_UNET_CONTEXT] =
        sdi_exec_tensor_typed(e, SDB_F32, s->n, s->tokens, 1, config->context_dim);
    s->io[SD_UNET_KV] = sdi_exec_tensor(e, s->n, s->tokens, 1, sdi_unet_kv_width(unet));
}

static void evaluate(sd_stage *s) {
    sdi_unet_forward(s->e, sdi_model_unet(s->model), s->io[SD_UNET_Y], s->io[SD_UNET_X],
                     s->io[SD_UNET_T], s->io[SD_UNET_KV], s->io[SD_UNET_SCALE],
                     s->io[SD_UNET_LABEL]);
}

static void look_at_cond(sd_stage *s) {
    const sd_unet *unet = sdi_model_unet(s->model);
    if (s->tokens > 0)
        sdi_unet_kv(s->e, unet, s->io[SD_UNET_KV], s->io[SD_UNET_CONTEXT]);
    if (sdi_unet_label_width(unet) > 0)
        sdi_unet_label(s->e, unet, s->io[SD_UNET_LABEL], s->io[SD_UNET_POOLED],
                       s->io[SD_UNET_SIZES]);
}

const sd_stage_type sdi_unet_stage = {SD_PART_UNET, hold, evaluate, look_at_cond};

/* --------------------------------------------------------------------------- conditioning */

int sdi_unet_pooled_width(const sd_model *model) {
    const sd_unet_config *c = &model->desc->unet;
    return c->label_dim - c->n_sizes * c->size_dim;
}

/* A part beside the context, [n or 1, width]; of width 0 there is to be none. */
static sd_status check_part(const sd_model *model, const sd_cond *cond, sd_cond_part part,
                            const char *name, int64_t n, int width) {
    const sd_tensor *t = cond->parts[part];
    bool is_optional = part == SD_COND_SIZES;
    const int64_t dims[] = {cond->program ? -1 : t && t->dims[0] == 1 ? 1 : n, width};
    if (t && width > 0)
        return sdi_expect_shape(t, name, 2, dims);
    if (t)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                        "%s is given, which this UNet does not look at; conditioning without it "
                        "was expected",
                        name);
    if (width > 0 && !is_optional)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                        "%s is missing: this UNet takes a text as one vector of %d too, which "
                        "sd_encode_text makes",
                        name, width);
    return SD_OK;
}

sd_status sdi_unet_check_cond(const sd_model *model, const sd_cond *cond, const char *what,
                              int64_t n, bool one_is_fine, int64_t tokens) {
    const sd_unet_config *config = &model->desc->unet;
    const sd_tensor *context = sdi_cond_context(cond);
    if (!context)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT, "%s is NULL", what);
    int64_t rows = sdi_cond_count(cond);
    bool one = one_is_fine && context->dims[0] == 1;
    const int64_t dims[] = {cond->program ? -1 : one ? 1 : n, tokens, config->context_dim};
    char name[64];
    if (cond->program && rows != n && !(one_is_fine && rows == 1))
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT, "%s has %lld rows; %lld or 1 were expected",
                        what, (long long)rows, (long long)n);
    sd_status status = sdi_expect_shape(context, what, 3, dims);
    sdi_print(name, sizeof name, "%s (\"pooled\")", what);
    if (!status)
        status = check_part(model, cond, SD_COND_POOLED, name, n, sdi_unet_pooled_width(model));
    sdi_print(name, sizeof name, "%s (\"sizes\")", what);
    return status ? status : check_part(model, cond, SD_COND_SIZES, name, n, config->n_sizes);
}

/* The order is diffusers': original height and width, crop top and left, target height and width,
 * or in place of these the score. */
static void put_sizes(sd_stage *s, int i, const float *given, double score) {
    int n = s->model->desc->unet.n_sizes, scale = sdi_model_downscale(s->model);
    float sizes[SD_SIZES_BASE], run[] = {(float)(s->h * scale), (float)(s->w * scale)};
    bool is_told = n == SD_SIZES_REFINER;
    for (int k = 0; k < n; k++) {
        bool crop = k == 2 || k == 3, liked = is_told && k == 4;
        float own = crop ? 0.0f : liked ? (float)score : run[k % 2];
        bool unsaid = !given || (given[k] == 0.0f && !crop && !liked);
        sizes[k] = unsaid ? own : given[k];
    }
    sdi_exec_upload(s->e, sdi_view_batch(s->io[SD_UNET_SIZES], i, 1), sizes);
}

void sdi_unet_put_cond(sd_stage *s, int i, const sd_cond *cond, int row, double score) {
    const sd_tensor *pooled = cond->parts[SD_COND_POOLED], *sizes = cond->parts[SD_COND_SIZES];
    sdi_exec_upload(s->e, sdi_view_batch(s->io[SD_UNET_CONTEXT], i, 1),
                    sdi_cond_row(sdi_cond_context(cond), row));
    if (sdi_unet_label_width(sdi_model_unet(s->model)) == 0)
        return;
    sdi_exec_upload(s->e, sdi_view_batch(s->io[SD_UNET_POOLED], i, 1), sdi_cond_row(pooled, row));
    put_sizes(s, i, sizes ? sdi_cond_row(sizes, row) : NULL, score);
}

/* --------------------------------------------------------------------------- one evaluation */

static sd_status check_times(const sd_context *ctx, const double *timesteps, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(timesteps[i]))
            return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                            "timesteps[%lld] is %g; a finite number was expected", (long long)i,
                            timesteps[i]);
    return SD_OK;
}

static sd_status check_cond(const sd_model *model, const sd_cond *cond, int64_t n) {
    if (cond && cond->program)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                        "cond changes in the course of a run, or combines several, as samplers do; "
                        "one that is evaluated once was expected");
    if (sdi_unet_kv_width(sdi_model_unet(model)) > 0)
        return sdi_unet_check_cond(model, cond, "cond", n, false, -1);
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
    for (int i = 0; context && i < s.n; i++)
        sdi_unet_put_cond(&s, i, cond, i, SD_AESTHETIC_SCORE);
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
