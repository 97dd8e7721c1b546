/* The codebook of a VQ first stage, by indices: VectorQuantizer2's get_codebook_entry and
 * min_encoding_indices, VQModel's decode_code. */
#include "pipeline/codebook.h"
#include "pipeline/finite.h"
#include "pipeline/shapes.h"
#include "pipeline/stage.h"
#include "pipeline/vae.h"

static sd_status need_codebook(const sd_model *model, const char *function) {
    if (sd_vae_has_codebook(sd_model_vae(model)))
        return SD_OK;
    return sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                   "%s: %s needs a codebook, which the first stages of VQ models have",
                   model->desc->path, function);
}

/* One direction or the other; the latent is not scaled. */
typedef struct codes_job {
    const sd_model *model;
    int n, h, w;
    const float *z;      /* [n, h, w, c], to be quantised */
    const int32_t *from; /* [n, h, w], to be looked up */
    int32_t *ids;        /* [n, h, w]: the nearest rows' */
    float *rows;         /* [n, h, w, c] */
} codes_job;

static void quantize(sd_exec *e, void *arg) {
    const codes_job *job = arg;
    int c = job->model->desc->vae.latent_channels, n = e->measuring ? 1 : job->n;
    size_t area = (size_t)job->h * (size_t)job->w;
    for (int i = 0; i < n && !e->status; i++) {
        size_t mark = sd_exec_mark(e), at = (size_t)i * area;
        sdb_tensor z = sd_exec_tensor_typed(e, SDB_F32, 1, job->h, job->w, c);
        sdb_tensor ids = sd_exec_tensor_typed(e, SDB_I32, 1, job->h, job->w, 1);
        if (!e->measuring)
            sd_exec_upload(e, z, job->z + at * (size_t)c);
        sd_vae_quantize_forward(e, sd_model_vae(job->model), z, ids, z);
        if (!e->measuring) {
            sd_exec_download(e, job->ids + at, ids);
            sd_exec_download(e, job->rows + at * (size_t)c, z);
        }
        sd_exec_release(e, mark);
    }
}

static void look_up(sd_exec *e, void *arg) {
    const codes_job *job = arg;
    int c = job->model->desc->vae.latent_channels, n = e->measuring ? 1 : job->n;
    int area = job->h * job->w;
    for (int i = 0; i < n && !e->status; i++) {
        size_t mark = sd_exec_mark(e), at = (size_t)i * (size_t)area;
        sdb_tensor ids = sd_exec_tensor_typed(e, SDB_I32, 1, area, 1, 1);
        sdb_tensor rows = sd_exec_tensor_typed(e, SDB_F32, 1, area, 1, c);
        if (!e->measuring)
            sd_exec_upload(e, ids, job->from + at);
        sd_vae_codes_forward(e, sd_model_vae(job->model), rows, ids);
        if (!e->measuring)
            sd_exec_download(e, job->rows + at * (size_t)c, rows);
        sd_exec_release(e, mark);
    }
}

/* Rows of the codebook [n, h, w, c] as a latent [n, c, h, w]. */
static sd_status rows_to_latent(sd_model *model, const codes_job *job, sd_tensor **latent) {
    const sd_vae_config *config = &model->desc->vae;
    float scale = (float)config->scaling_factor, shift = (float)config->shift_factor;
    const int64_t dims[] = {job->n, config->latent_channels, job->h, job->w};
    sd_status status = sd_tensor_create(model->ctx, 4, dims, latent);
    if (status)
        return status;
    sd_nhwc_to_nchw((*latent)->data, job->rows, job->n, config->latent_channels, job->h, job->w);
    for (int64_t i = 0; i < (*latent)->n_elements; i++)
        (*latent)->data[i] = ((*latent)->data[i] - shift) * scale;
    return SD_OK;
}

static sd_status check_room(const sd_model *model, const char *function, int64_t capacity,
                            int64_t needed) {
    if (capacity >= needed)
        return SD_OK;
    return sd_fail(model->ctx, SD_ERROR_ARGUMENT,
                   "%s: room for %lld ids; at least %lld was expected", function,
                   (long long)capacity, (long long)needed);
}

sd_status sd_stage_vae_quantize(sd_model *model, const sd_tensor *latent, int32_t *ids,
                                int64_t capacity, sd_tensor **quantized) {
    const sd_vae_config *config = &model->desc->vae;
    sd_status status = need_codebook(model, "sd_vae_quantize");
    if (!status)
        status = sd_expect_latent(model, latent);
    int64_t pixels = latent->n_elements / config->latent_channels;
    if (!status && ids)
        status = check_room(model, "sd_vae_quantize", capacity, pixels);
    if (status)
        return status;
    codes_job job = {.model = model,
                     .n = (int)latent->dims[0],
                     .h = (int)latent->dims[2],
                     .w = (int)latent->dims[3]};
    float *z = sd_alloc_array(model->ctx, (size_t)latent->n_elements, sizeof *z);
    int32_t *own = ids ? NULL : sd_alloc_array(model->ctx, (size_t)pixels, sizeof *own);
    job.z = job.rows = z;
    job.ids = ids ? ids : own;
    if (z && job.ids) {
        sd_nchw_to_nhwc(z, latent->data, job.n, config->latent_channels, job.h, job.w);
        sd_latent_unscale(config, z, latent->n_elements);
        sd_stage_key key = {.fn = quantize, .h = job.h, .w = job.w};
        status = sd_execs_run(model, &key, &job);
    } else {
        status = SD_ERROR_MEMORY;
    }
    if (!status && quantized)
        status = rows_to_latent(model, &job, quantized);
    sd_free(model->ctx, z);
    sd_free(model->ctx, own);
    return status;
}

sd_status sd_vae_encoded(sd_model *model, sd_status status, sd_tensor **latent) {
    if (status || !model->desc->vae.encode_quantizes)
        return status;
    sd_tensor *quantized = NULL;
    status = sd_stage_vae_quantize(model, *latent, NULL, 0, &quantized);
    sd_tensor_destroy(*latent);
    *latent = quantized;
    return status;
}

sd_status sd_stage_vae_encode_ids(sd_model *model, const sd_tensor *pixels, int32_t *ids,
                                  int64_t capacity) {
    sd_tensor *latent;
    sd_status status = need_codebook(model, "sd_vae_encode_ids");
    if (!status)
        status = sd_stage_vae_encode(model, pixels, NULL, &latent);
    if (status)
        return status;
    status = check_room(model, "sd_vae_encode_ids", capacity,
                        latent->n_elements / model->desc->vae.latent_channels);
    if (!status)
        status = sd_stage_vae_quantize(model, latent, ids, capacity, NULL);
    sd_tensor_destroy(latent);
    return status;
}

static sd_status check_ids(const sd_model *model, const int32_t *ids, int n, int h, int w) {
    const sd_context *ctx = model->ctx;
    int side = SD_MAX_IMAGE_SIDE / sd_model_downscale(model), codes = model->desc->vae.n_codes;
    if (n < 1 || n > 65536 || h < 1 || h > side || w < 1 || w > side)
        return sd_fail(
            ctx, SD_ERROR_ARGUMENT,
            "sd_vae_decode_ids: ids of [%d, %d, %d]; up to [65536, %d, %d] were expected", n, h, w,
            side, side);
    for (int64_t i = 0; i < (int64_t)n * h * w; i++)
        if (ids[i] < 0 || ids[i] >= codes)
            return sd_fail(ctx, SD_ERROR_ARGUMENT,
                           "sd_vae_decode_ids: ids[%lld] is %d; 0 to %d was expected", (long long)i,
                           (int)ids[i], codes - 1);
    return SD_OK;
}

sd_status sd_stage_vae_decode_ids(sd_model *model, const int32_t *ids, int n, int h, int w,
                                  sd_tensor **pixels) {
    sd_tensor *latent = NULL;
    sd_status status = need_codebook(model, "sd_vae_decode_ids");
    if (!status)
        status = check_ids(model, ids, n, h, w);
    if (status)
        return status;
    size_t size = (size_t)n * (size_t)h * (size_t)w * (size_t)model->desc->vae.latent_channels;
    codes_job job = {.model = model, .n = n, .h = h, .w = w, .from = ids};
    job.rows = sd_alloc_array(model->ctx, size, sizeof *job.rows);
    sd_stage_key key = {.fn = look_up, .h = h, .w = w};
    status = job.rows ? sd_execs_run(model, &key, &job) : SD_ERROR_MEMORY;
    if (!status)
        status = rows_to_latent(model, &job, &latent);
    sd_free(model->ctx, job.rows);
    if (!status)
        status = sd_stage_vae_decode_unquantized(model, latent, pixels);
    sd_tensor_destroy(latent);
    return status;
}
