#include "pipeline/vae.h"
#include "pipeline/codebook.h"
#include "pipeline/finite.h"
#include "pipeline/pixels.h"
#include "pipeline/shapes.h"
#include "pipeline/tiles.h"

#include <string.h>

/* Pictures go through the VAE one by one, so that the memory does not depend on the batch. */

/* ------------------------------------------------------------------------------- decoding */

typedef struct decode_job {
    const sd_model *model;
    const float *z; /* NHWC, divided by the scale */
    float *out;     /* NCHW */
    int n, h, w;
    bool quantize;
} decode_job;

/* One channel each: NCHW on the device. */
static sdb_tensor new_planes(sd_exec *e, sdb_tensor x) {
    return sd_exec_tensor_typed(e, SDB_F32, x.c, x.h, x.w, 1);
}

typedef struct decode_region {
    const sd_vae *vae;
    sdb_tensor z, y;
    sdb_tensor planes; /* y's; the decoder's own tensors lie there before */
    bool quantize;
} decode_region;

static void decode_to_planes(sd_exec *e, void *arg) {
    const decode_region *r = arg;
    sd_vae_decoder_forward(e, r->vae, r->y, r->z, r->quantize);
    for (int c = 0; c < r->y.c; c++)
        sd_op_copy(e, sd_view_batch(r->planes, c, 1), sd_view_channels(r->y, c, 1));
}

static void decode(sd_exec *e, void *arg) {
    const decode_job *job = arg;
    const sd_vae_config *config = &job->model->desc->vae;
    int scale = sd_model_downscale(job->model);
    int height = job->h * scale, width = job->w * scale;
    size_t z_size = (size_t)job->h * (size_t)job->w * (size_t)config->latent_channels;
    size_t size = (size_t)height * (size_t)width * (size_t)config->out_channels;
    int n = e->measuring ? 1 : job->n;
    decode_region r = {.vae = sd_model_vae(job->model), .quantize = job->quantize};
    r.z = sd_exec_tensor_typed(e, SDB_F32, 1, job->h, job->w, config->latent_channels);
    r.y = sd_exec_tensor(e, 1, height, width, config->out_channels);
    size_t mark = sd_exec_mark(e);
    r.planes = new_planes(e, r.y);
    sd_exec_release(e, mark);
    for (int i = 0; i < n && !e->status; i++) {
        if (!e->measuring)
            sd_exec_upload(e, r.z, job->z + (size_t)i * z_size);
        sd_exec_region(e, decode_to_planes, &r);
        if (!e->measuring)
            sd_exec_download(e, job->out + (size_t)i * size, r.planes);
    }
}

/* A NaN within the decoder spreads by its last norm over whole planes, and what only the last
 * convolution exceeds is cut off at white: each eighth row tells what all would. */
static sd_status check_pixels(const sd_model *model, const sd_tensor *pixels) {
    int64_t width = pixels->dims[3];
    for (int64_t i = 0; i < pixels->n_elements; i += 8 * width) {
        int64_t at = sd_find_not_finite(pixels->data + i, width);
        if (at >= 0)
            return sd_fail_not_finite(model, "the VAE's decoder", pixels->data[i + at], 4,
                                      pixels->dims, i + at);
    }
    return SD_OK;
}

void sd_latent_unscale(const sd_vae_config *config, float *z, int64_t n) {
    float scale = (float)config->scaling_factor, shift = (float)config->shift_factor;
    int channels = config->latent_channels;
    for (int64_t i = 0; i < n && config->latents_std[0] > 0.0f; i++)
        z[i] =
            z[i] * config->latents_std[i % channels] + config->latents_mean[i % channels] * scale;
    for (int64_t i = 0; i < n; i++)
        z[i] = z[i] / scale + shift;
}

void sd_latent_shift(const sd_vae_config *config, float *z, int64_t n) {
    float scale = (float)config->scaling_factor;
    float shift = (float)(config->shift_factor * config->scaling_factor);
    int channels = config->latent_channels;
    for (int64_t i = 0; i < n && config->shift_factor != 0.0; i++)
        z[i] -= shift;
    for (int64_t i = 0; i < n && config->latents_std[0] > 0.0f; i++)
        z[i] =
            (z[i] - config->latents_mean[i % channels] * scale) / config->latents_std[i % channels];
}

static sd_status decode_tensor(sd_model *model, const sd_tensor *latent, bool quantize,
                               sd_tensor **pixels) {
    const sd_vae_config *config = &model->desc->vae;
    sd_context *ctx = model->ctx;
    int scale = sd_model_downscale(model);
    *pixels = NULL;
    sd_status status = sd_expect_latent(model, latent);
    if (status)
        return status;
    int n = (int)latent->dims[0], h = (int)latent->dims[2], w = (int)latent->dims[3];
    int64_t dims[] = {n, config->out_channels, (int64_t)h * scale, (int64_t)w * scale};
    sd_tensor *out;
    status = sd_tensor_create_raw(ctx, 4, dims, &out);
    if (status)
        return status;
    float *z = sd_alloc_array(ctx, (size_t)latent->n_elements, sizeof *z);
    if (z) {
        sd_nchw_to_nhwc(z, latent->data, n, config->latent_channels, h, w);
        sd_latent_unscale(config, z, latent->n_elements);
        decode_job job = {model, z, out->data, n, h, w, quantize};
        sd_stage_key key = {.fn = decode, .h = h, .w = w, .options = quantize};
        status = sd_execs_run(model, &key, &job);
        if (!status)
            status = check_pixels(model, out);
    } else {
        status = SD_ERROR_MEMORY;
    }
    sd_free(ctx, z);
    if (status)
        sd_tensor_destroy(out);
    else
        *pixels = out;
    return status;
}

sd_status sd_stage_vae_decode(sd_model *model, const sd_tensor *latent, sd_tensor **pixels) {
    return decode_tensor(model, latent, !model->desc->vae.encode_quantizes, pixels);
}

sd_status sd_stage_vae_decode_unquantized(sd_model *model, const sd_tensor *latent,
                                          sd_tensor **pixels) {
    return decode_tensor(model, latent, false, pixels);
}

sd_status sd_vae_decode_estimate(sd_model *model, int n, int h, int w, sd_cost *cost) {
    decode_job job = {.model = model, .n = n, .h = h, .w = w, .quantize = true};
    return sd_execs_estimate(model, decode, &job, cost);
}

sd_status sd_decode_images(sd_model *model, const sd_tensor *latent, const sd_tile_params *tiles,
                           sd_image **images) {
    int n = (int)latent->dims[0];
    sd_tensor one = {.ctx = latent->ctx, .n_dims = latent->n_dims}; /* a view of one picture */
    sd_status status = SD_OK;
    memcpy(one.dims, latent->dims, sizeof one.dims);
    one.dims[0] = 1;
    one.n_elements = latent->n_elements / n;
    for (int i = 0; i < n && !status; i++) {
        sd_tensor *pixels;
        one.data = latent->data + i * one.n_elements;
        status = tiles ? sd_stage_vae_decode_tiled(model, &one, tiles, &pixels)
                       : sd_stage_vae_decode(model, &one, &pixels);
        if (!status) {
            status = sd_pixels_to_image(pixels, 0, &images[i]);
            sd_tensor_destroy(pixels);
        }
        if (!status)
            status = sd_check_interrupt(model->ctx);
    }
    return status;
}

/* ------------------------------------------------------------------------------- encoding */

typedef struct encode_job {
    const sd_model *model;
    const float *x;     /* NCHW */
    const float *noise; /* NHWC, or NULL */
    float *z;           /* NHWC */
    int n, h, w;        /* pictures; size of the latents */
    int draws;          /* noises for each picture */
} encode_job;

typedef struct encode_region {
    const sd_vae *vae;
    sdb_tensor planes; /* x's; the encoder's own tensors lie there afterwards */
    sdb_tensor x, moments;
} encode_region;

static void encode_planes(sd_exec *e, void *arg) {
    const encode_region *r = arg;
    for (int c = 0; c < r->x.c; c++)
        sd_op_copy(e, sd_view_channels(r->x, c, 1), sd_view_batch(r->planes, c, 1));
    sd_vae_encoder_forward(e, r->vae, r->moments, r->x);
}

/* The posterior of picture `i`, with each of its noises. */
static void draw_latents(sd_exec *e, const encode_job *job, sdb_tensor moments, int i) {
    const sd_vae_config *config = &job->model->desc->vae;
    int c = config->latent_channels;
    size_t size = (size_t)job->h * (size_t)job->w * (size_t)c;
    bool sampled = job->noise && config->kind == SD_FIRST_STAGE_KL;
    sdb_tensor noise = sd_exec_tensor_typed(e, SDB_F32, 1, job->h, job->w, c);
    sdb_tensor z = sd_exec_tensor_typed(e, SDB_F32, 1, job->h, job->w, c);
    for (int j = i * job->draws; j < (i + 1) * job->draws; j++) {
        if (sampled && !e->measuring)
            sd_exec_upload(e, noise, job->noise + (size_t)j * size);
        sd_op_posterior(e, (sdb_posterior){.moments = moments,
                                           .noise = sampled ? noise : sd_no_tensor(),
                                           .y = z,
                                           .scale = (float)config->scaling_factor});
        if (!e->measuring)
            sd_exec_download(e, job->z + (size_t)j * size, z);
    }
}

static void encode(sd_exec *e, void *arg) {
    const encode_job *job = arg;
    int scale = sd_model_downscale(job->model), c = job->model->desc->vae.in_channels;
    int height = job->h * scale, width = job->w * scale, n = e->measuring ? 1 : job->n;
    size_t x_size = (size_t)height * (size_t)width * (size_t)c;
    encode_region r = {.vae = sd_model_vae(job->model)};
    r.x = sd_exec_tensor(e, 1, height, width, c);
    r.moments = sd_exec_tensor_typed(e, SDB_F32, 1, job->h, job->w, sd_vae_moments(r.vae));
    size_t mark = sd_exec_mark(e);
    r.planes = new_planes(e, r.x);
    sd_exec_release(e, mark);
    for (int i = 0; i < n && !e->status; i++) {
        if (!e->measuring)
            sd_exec_upload(e, r.planes, job->x + (size_t)i * x_size);
        sd_exec_region(e, encode_planes, &r);
        draw_latents(e, job, r.moments, i);
        sd_exec_release(e, mark);
    }
}

/* Finite pixels give a finite latent, so that these many are looked at only where it is not. */
sd_status sd_check_encoded(const sd_model *model, const sd_tensor *pixels,
                           const sd_tensor *latent) {
    if (sd_find_not_finite(latent->data, latent->n_elements) < 0)
        return SD_OK;
    sd_status status = sd_expect_finite(pixels, "pixels");
    return status ? status : sd_check_computed(model, "the VAE's encoder", latent);
}

/* `draws` noises for each picture; `noise` NULL means the mean. */
static sd_status encode_tensor(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                               int draws, sd_tensor **latent) {
    const sd_vae_config *config = &model->desc->vae;
    sd_context *ctx = model->ctx;
    int scale = sd_model_downscale(model), c = config->latent_channels;
    int n = (int)pixels->dims[0];
    int h = (int)pixels->dims[2] / scale, w = (int)pixels->dims[3] / scale;
    int64_t dims[] = {(int64_t)n * draws, c, h, w};
    if (noise) {
        sd_status status = sd_expect_shape(noise, "noise", 4, dims);
        if (!status)
            status = sd_expect_finite(noise, "noise");
        if (status)
            return status;
    }
    sd_tensor *out;
    sd_status status = sd_tensor_create(ctx, 4, dims, &out);
    if (status)
        return status;
    size_t z_size = (size_t)out->n_elements;
    float *z = sd_alloc_array(ctx, z_size, sizeof *z);
    float *e = noise ? sd_alloc_array(ctx, z_size, sizeof *e) : NULL;
    if (!z || (noise && !e)) {
        status = SD_ERROR_MEMORY;
        goto cleanup;
    }
    if (noise)
        sd_nchw_to_nhwc(e, noise->data, n * draws, c, h, w);
    encode_job job = {model, pixels->data, e, z, n, h, w, draws};
    sd_stage_key key = {.fn = encode, .h = h, .w = w, .options = noise != NULL};
    status = sd_execs_run(model, &key, &job);
    if (status)
        goto cleanup;
    sd_latent_shift(config, z, (int64_t)z_size);
    sd_nhwc_to_nchw(out->data, z, n * draws, c, h, w);
    status = sd_check_encoded(model, pixels, out);
    if (status)
        goto cleanup;
    *latent = out;
    out = NULL;
cleanup:
    sd_free(ctx, z);
    sd_free(ctx, e);
    sd_tensor_destroy(out);
    return status;
}

sd_status sd_stage_vae_encode(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                              sd_tensor **latent) {
    *latent = NULL;
    sd_status status = sd_expect_pixels(model, pixels);
    if (!status)
        status = encode_tensor(model, pixels, noise, 1, latent);
    return sd_vae_encoded(model, status, latent);
}

sd_status sd_vae_encode_one(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                            const sd_tile_params *tiles, sd_tensor **latent) {
    if (tiles)
        return sd_vae_encode_one_tiled(model, pixels, noise, tiles, latent);
    *latent = NULL;
    sd_status status = sd_expect_pixels(model, pixels);
    if (!status)
        status = encode_tensor(model, pixels, noise, (int)noise->dims[0], latent);
    return sd_vae_encoded(model, status, latent);
}

sd_status sd_vae_encode_estimate(sd_model *model, int n, int h, int w, sd_cost *cost) {
    encode_job job = {.model = model, .n = n, .h = h, .w = w, .draws = 1};
    return sd_execs_estimate(model, encode, &job, cost);
}
