#include "pipeline/tiles.h"
#include "pipeline/codebook.h"
#include "pipeline/finite.h"
#include "pipeline/shapes.h"
#include "pipeline/vae.h"

#include <string.h>

/*
 * Large pictures through the VAE tile by tile, as tiled_decode and _tiled_encode of diffusers'
 * AutoencoderKL: tiles overlap, and each fades in over what lies above, then over what lies to its
 * left. A tile that its neighbour covers whole is left out, where diffusers makes one of the few
 * rows or columns that remain.
 */

/* One way of a picture through the VAE: planes [in_channels, h, w] to [out_channels, h', w']. */
typedef struct tiling {
    sd_model *model;
    /* A tile [1, in_channels, th, tw] to *out [1, out_channels, th', tw']. */
    sd_status (*compute)(sd_model *model, const sd_tensor *tile, sd_tensor **out);
    int c_in, c_out;
    int h, w;          /* latents */
    int in, out;       /* rows of the one and of the other for each latent */
    int tile, overlap; /* latents */
    float *above;      /* the last rows of each tile of the row above: strip j at j * strip */
    size_t strip;
    float *left; /* the last columns of the tile to the left: [c_out, rows, overlap] */
} tiling;

/* Tiles along a side of n latents. */
static int count_tiles(const tiling *t, int n) {
    int step = t->tile - t->overlap;
    return n <= t->tile ? 1 : 1 + (n - t->tile + step - 1) / step;
}

static int tile_side(const tiling *t, int n, int i) {
    int rest = n - i * (t->tile - t->overlap);
    return rest < t->tile ? rest : t->tile;
}

/* Fades `tile` [c, h, w] in over the strip [c, extent, w] of the tile above: h > extent, or there
 * would be no such tile. */
static void fade_down(float *tile, const float *strip, int c, int h, int w, int extent) {
    for (int k = 0; k < c; k++)
        for (int y = 0; y < extent; y++) {
            float *row = tile + ((size_t)k * (size_t)h + (size_t)y) * (size_t)w;
            const float *over = strip + ((size_t)k * (size_t)extent + (size_t)y) * (size_t)w;
            float share = (float)y / (float)extent;
            for (int x = 0; x < w; x++)
                row[x] = over[x] * (1.0f - share) + row[x] * share;
        }
}

/* The same over the strip [c, h, extent] of the tile to the left. */
static void fade_right(float *tile, const float *strip, int c, int h, int w, int extent) {
    for (size_t y = 0; y < (size_t)c * (size_t)h; y++) {
        float *row = tile + y * (size_t)w;
        const float *over = strip + y * (size_t)extent;
        for (int x = 0; x < extent; x++) {
            float share = (float)x / (float)extent;
            row[x] = over[x] * (1.0f - share) + row[x] * share;
        }
    }
}

/* What the tiles below and to the right fade in over. A tile shorter than that has none there. */
static void keep_strips(tiling *t, const float *tile, int j, int h, int w) {
    int extent = t->overlap * t->out;
    for (int k = 0; k < t->c_out && h >= extent; k++)
        memcpy(t->above + (size_t)j * t->strip + (size_t)k * (size_t)extent * (size_t)w,
               tile + ((size_t)k * (size_t)h + (size_t)(h - extent)) * (size_t)w,
               (size_t)extent * (size_t)w * sizeof *tile);
    for (size_t y = 0; y < (size_t)t->c_out * (size_t)h && w >= extent; y++)
        memcpy(t->left + y * (size_t)extent, tile + y * (size_t)w + (w - extent),
               (size_t)extent * sizeof *tile);
}

/* Tile (i, j) of the planes at `src`, alone. */
static sd_status compute_tile(const tiling *t, const float *src, int i, int j, sd_tensor **out) {
    int step = t->tile - t->overlap;
    int rows = tile_side(t, t->h, i) * t->in, columns = tile_side(t, t->w, j) * t->in;
    int64_t dims[] = {1, t->c_in, rows, columns};
    size_t height = (size_t)t->h * (size_t)t->in, width = (size_t)t->w * (size_t)t->in;
    sd_tensor *in;
    sd_status status = sd_tensor_create(t->model->ctx, 4, dims, &in);
    if (status)
        return status;
    for (int k = 0; k < t->c_in; k++)
        for (int y = 0; y < rows; y++) {
            size_t row = (size_t)k * height + (size_t)(i * step * t->in + y);
            memcpy(in->data + ((size_t)k * (size_t)rows + (size_t)y) * (size_t)columns,
                   src + row * width + (size_t)(j * step * t->in), (size_t)columns * sizeof *src);
        }
    status = t->compute(t->model, in, out);
    sd_tensor_destroy(in);
    return status;
}

/* Blends a tile and puts it into the planes at `dst`: all but what the next ones cover. */
static void place_tile(tiling *t, float *tile, int i, int j, float *dst) {
    int step = (t->tile - t->overlap) * t->out, extent = t->overlap * t->out;
    int h = tile_side(t, t->h, i) * t->out, w = tile_side(t, t->w, j) * t->out;
    size_t height = (size_t)t->h * (size_t)t->out, width = (size_t)t->w * (size_t)t->out;
    if (i > 0)
        fade_down(tile, t->above + (size_t)j * t->strip, t->c_out, h, w, extent);
    if (j > 0)
        fade_right(tile, t->left, t->c_out, h, w, extent);
    keep_strips(t, tile, j, h, w);
    int rows = i + 1 < count_tiles(t, t->h) ? step : h;
    int columns = j + 1 < count_tiles(t, t->w) ? step : w;
    for (int k = 0; k < t->c_out; k++)
        for (int y = 0; y < rows; y++)
            memcpy(dst + ((size_t)k * height + (size_t)(i * step + y)) * width + (size_t)(j * step),
                   tile + ((size_t)k * (size_t)h + (size_t)y) * (size_t)w,
                   (size_t)columns * sizeof *tile);
}

/* One picture; between two tiles it can be cancelled. */
static sd_status run_tiles(tiling *t, const float *src, float *dst) {
    sd_status status = SD_OK;
    int rows = count_tiles(t, t->h), columns = count_tiles(t, t->w);
    for (int i = 0; i < rows && !status; i++)
        for (int j = 0; j < columns && !status; j++) {
            sd_tensor *tile = NULL;
            status = compute_tile(t, src, i, j, &tile);
            if (!status)
                place_tile(t, tile->data, i, j, dst);
            sd_tensor_destroy(tile);
            if (!status)
                status = sd_check_interrupt(t->model->ctx);
        }
    return status;
}

/* All pictures of `src` into `dst`, whose sizes were checked. */
static sd_status run(tiling *t, const sd_tensor *src, sd_tensor *dst) {
    sd_context *ctx = t->model->ctx;
    int64_t n = src->dims[0];
    size_t side = (size_t)t->tile * (size_t)t->out, extent = (size_t)t->overlap * (size_t)t->out;
    t->strip = (size_t)t->c_out * extent * side;
    t->above = sd_alloc_array(ctx, (size_t)count_tiles(t, t->w) * t->strip + 1, sizeof *t->above);
    t->left = sd_alloc_array(ctx, t->strip + 1, sizeof *t->left); /* + 1: an overlap may be 0 */
    sd_status status = t->above && t->left ? SD_OK : SD_ERROR_MEMORY;
    for (int64_t i = 0; i < n && !status; i++)
        status = run_tiles(t, src->data + i * (src->n_elements / n),
                           dst->data + i * (dst->n_elements / n));
    sd_free(ctx, t->above);
    sd_free(ctx, t->left);
    return status;
}

/* ------------------------------------------------------------------------------- decoding */

sd_status sd_stage_vae_decode_tiled(sd_model *model, const sd_tensor *latent,
                                    const sd_tile_params *params, sd_tensor **pixels) {
    const sd_vae_config *config = &model->desc->vae;
    int scale = sd_model_downscale(model);
    *pixels = NULL;
    sd_status status = sd_expect_latent(model, latent);
    if (status)
        return status;
    tiling t = {.model = model,
                .compute =
                    params->unquantized ? sd_stage_vae_decode_unquantized : sd_stage_vae_decode,
                .c_in = config->latent_channels,
                .c_out = config->out_channels,
                .h = (int)latent->dims[2],
                .w = (int)latent->dims[3],
                .in = 1,
                .out = scale,
                .tile = params->tile,
                .overlap = params->overlap};
    if (t.h <= t.tile && t.w <= t.tile)
        return t.compute(model, latent, pixels);
    int64_t dims[] = {latent->dims[0], t.c_out, (int64_t)t.h * scale, (int64_t)t.w * scale};
    sd_tensor *out;
    status = sd_tensor_create(model->ctx, 4, dims, &out);
    if (status)
        return status;
    status = run(&t, latent, out);
    if (status)
        sd_tensor_destroy(out);
    else
        *pixels = out;
    return status;
}

/* ------------------------------------------------------------------------------- encoding */

typedef struct moments_job {
    const sd_model *model;
    const float *x; /* NHWC, one picture */
    float *moments; /* NHWC */
    int h, w;       /* latents */
} moments_job;

typedef struct moments_region {
    const sd_vae *vae;
    sdb_tensor moments, x;
} moments_region;

static void encode_region(sd_exec *e, void *arg) {
    const moments_region *r = arg;
    sd_vae_encoder_forward(e, r->vae, r->moments, r->x);
}

static void encode_moments(sd_exec *e, void *arg) {
    const moments_job *job = arg;
    moments_region r = {.vae = sd_model_vae(job->model)};
    int scale = sd_model_downscale(job->model);
    r.x = sd_exec_tensor_typed(e, SDB_F32, 1, job->h * scale, job->w * scale,
                               job->model->desc->vae.in_channels);
    r.moments = sd_exec_tensor_typed(e, SDB_F32, 1, job->h, job->w, sd_vae_moments(r.vae));
    sd_exec_upload(e, r.x, job->x);
    sd_exec_region(e, encode_region, &r);
    sd_exec_download(e, job->moments, r.moments);
}

/* Pixels [1, 3, th, tw] to *out [1, moments, th / 8, tw / 8]. */
static sd_status moments_of_tile(sd_model *model, const sd_tensor *pixels, sd_tensor **out) {
    sd_context *ctx = model->ctx;
    int scale = sd_model_downscale(model), c = sd_vae_moments(sd_model_vae(model));
    int height = (int)pixels->dims[2], width = (int)pixels->dims[3];
    int64_t dims[] = {1, c, height / scale, width / scale};
    *out = NULL;
    sd_tensor *result;
    sd_status status = sd_tensor_create(ctx, 4, dims, &result);
    if (status)
        return status;
    float *x = sd_alloc_array(ctx, (size_t)pixels->n_elements, sizeof *x);
    float *moments = sd_alloc_array(ctx, (size_t)result->n_elements, sizeof *moments);
    status = x && moments ? SD_OK : SD_ERROR_MEMORY;
    if (!status) {
        sd_nchw_to_nhwc(x, pixels->data, 1, (int)pixels->dims[1], height, width);
        moments_job job = {model, x, moments, height / scale, width / scale};
        sd_stage_key key = {.fn = encode_moments, .h = job.h, .w = job.w};
        status = sd_execs_run(model, &key, &job);
    }
    if (!status)
        sd_nhwc_to_nchw(result->data, moments, 1, c, height / scale, width / scale);
    sd_free(ctx, x);
    sd_free(ctx, moments);
    if (status)
        sd_tensor_destroy(result);
    else
        *out = result;
    return status;
}

typedef struct posterior_job {
    const sd_model *model;
    const float *moments, *noise; /* NHWC; noise may be NULL */
    float *z;
    int n, h, w;
} posterior_job;

static void sample_posterior(sd_exec *e, void *arg) {
    const posterior_job *job = arg;
    const sd_vae_config *config = &job->model->desc->vae;
    int n = job->n, h = job->h, w = job->w, c = config->latent_channels;
    sdb_tensor moments =
        sd_exec_tensor_typed(e, SDB_F32, n, h, w, sd_vae_moments(sd_model_vae(job->model)));
    sdb_tensor noise = sd_exec_tensor_typed(e, SDB_F32, n, h, w, c);
    sdb_tensor z = sd_exec_tensor_typed(e, SDB_F32, n, h, w, c);
    bool sampled = job->noise && config->kind == SD_FIRST_STAGE_KL;
    sd_exec_upload(e, moments, job->moments);
    if (sampled)
        sd_exec_upload(e, noise, job->noise);
    sd_op_posterior(e, (sdb_posterior){.moments = moments,
                                       .noise = sampled ? noise : sd_no_tensor(),
                                       .y = z,
                                       .scale = (float)config->scaling_factor});
    sd_exec_download(e, job->z, z);
}

/* The blended moments [n, moments, h, w] to a latent [n, c, h, w]. */
static sd_status sample(sd_model *model, const sd_tensor *moments, const sd_tensor *noise,
                        sd_tensor *latent) {
    const sd_vae_config *config = &model->desc->vae;
    sd_context *ctx = model->ctx;
    int n = (int)latent->dims[0], h = (int)latent->dims[2], w = (int)latent->dims[3];
    size_t size = (size_t)latent->n_elements;
    float *m = sd_alloc_array(ctx, (size_t)moments->n_elements, sizeof *m);
    float *z = sd_alloc_array(ctx, size, sizeof *z);
    float *e = noise ? sd_alloc_array(ctx, size, sizeof *e) : NULL;
    sd_status status = m && z && (e || !noise) ? SD_OK : SD_ERROR_MEMORY;
    if (!status) {
        sd_nchw_to_nhwc(m, moments->data, n, (int)moments->dims[1], h, w);
        if (noise)
            sd_nchw_to_nhwc(e, noise->data, n, config->latent_channels, h, w);
        posterior_job job = {model, m, e, z, n, h, w};
        sd_stage_key key = {
            .fn = sample_posterior, .n = n, .h = h, .w = w, .options = noise != NULL};
        status = sd_execs_run(model, &key, &job);
    }
    if (!status)
        sd_latent_shift(config, z, (int64_t)size);
    if (!status)
        sd_nhwc_to_nchw(latent->data, z, n, config->latent_channels, h, w);
    sd_free(ctx, m);
    sd_free(ctx, z);
    sd_free(ctx, e);
    return status;
}

/* Rows of moments as often as their posterior is sampled. */
static sd_status repeat(sd_tensor **moments, int times) {
    const sd_tensor *from = *moments;
    int64_t dims[] = {from->dims[0] * times, from->dims[1], from->dims[2], from->dims[3]};
    sd_tensor *to;
    sd_status status = sd_tensor_create(from->ctx, 4, dims, &to);
    if (status)
        return status;
    size_t each = (size_t)(from->n_elements / from->dims[0]);
    for (size_t i = 0; i < (size_t)dims[0]; i++)
        memcpy(to->data + i * each, from->data + i / (size_t)times * each, each * sizeof *to->data);
    sd_tensor_destroy(*moments);
    *moments = to;
    return SD_OK;
}

/* `draws` noises for each picture; more than one are of one picture. */
static sd_status encode_tiled(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                              int draws, const sd_tile_params *params, sd_tensor **latent) {
    const sd_vae_config *config = &model->desc->vae;
    int scale = sd_model_downscale(model);
    *latent = NULL;
    sd_status status = sd_expect_pixels(model, pixels);
    if (status)
        return status;
    tiling t = {.model = model,
                .compute = moments_of_tile,
                .c_in = config->in_channels,
                .c_out = sd_vae_moments(sd_model_vae(model)),
                .h = (int)pixels->dims[2] / scale,
                .w = (int)pixels->dims[3] / scale,
                .in = scale,
                .out = 1,
                .tile = params->tile,
                .overlap = params->overlap};
    if (t.h <= t.tile && t.w <= t.tile)
        return draws > 1 ? sd_vae_encode_one(model, pixels, noise, NULL, latent)
                         : sd_stage_vae_encode(model, pixels, noise, latent);
    int64_t dims[] = {pixels->dims[0] * draws, config->latent_channels, t.h, t.w};
    int64_t moments_dims[] = {pixels->dims[0], t.c_out, t.h, t.w};
    if (noise)
        status = sd_expect_shape(noise, "noise", 4, dims);
    if (!status && noise)
        status = sd_expect_finite(noise, "noise");
    sd_tensor *moments = NULL, *out = NULL;
    if (!status)
        status = sd_tensor_create(model->ctx, 4, moments_dims, &moments);
    if (!status)
        status = sd_tensor_create(model->ctx, 4, dims, &out);
    if (!status)
        status = run(&t, pixels, moments);
    if (!status && draws > 1)
        status = repeat(&moments, draws);
    if (!status)
        status = sample(model, moments, noise, out);
    if (!status)
        status = sd_check_encoded(model, pixels, out);
    sd_tensor_destroy(moments);
    if (status)
        sd_tensor_destroy(out);
    else
        *latent = out;
    return sd_vae_encoded(model, status, latent);
}

sd_status sd_stage_vae_encode_tiled(sd_model *model, const sd_tensor *pixels,
                                    const sd_tensor *noise, const sd_tile_params *params,
                                    sd_tensor **latent) {
    return encode_tiled(model, pixels, noise, 1, params, latent);
}

sd_status sd_vae_encode_one_tiled(sd_model *model, const sd_tensor *pixels, const sd_tensor *noise,
                                  const sd_tile_params *tiles, sd_tensor **latent) {
    return encode_tiled(model, pixels, noise, (int)noise->dims[0], tiles, latent);
}

/* ------------------------------------------------------------------------------- estimates */

static int first_tile(int side, const sd_tile_params *tiles) {
    return side < tiles->tile ? side : tiles->tile;
}

sd_status sd_vae_decode_tiled_estimate(sd_model *model, int h, int w, const sd_tile_params *tiles,
                                       sd_cost *cost) {
    return sd_vae_decode_estimate(model, 1, first_tile(h, tiles), first_tile(w, tiles), cost);
}

/* One executor encodes the tiles, then samples the posterior of the whole. */
sd_status sd_vae_encode_tiled_estimate(sd_model *model, int h, int w, const sd_tile_params *tiles,
                                       sd_cost *cost) {
    moments_job tile = {.model = model, .h = first_tile(h, tiles), .w = first_tile(w, tiles)};
    posterior_job whole = {.model = model, .n = 1, .h = h, .w = w};
    sd_cost last;
    if (h <= tiles->tile && w <= tiles->tile)
        return sd_vae_encode_estimate(model, 1, h, w, cost);
    sd_status status = sd_execs_estimate(model, encode_moments, &tile, cost);
    if (!status)
        status = sd_execs_estimate(model, sample_posterior, &whole, &last);
    if (!status && last.bytes > cost->bytes)
        cost->bytes = last.bytes;
    return status;
}
