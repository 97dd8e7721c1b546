/* The first stage: pictures to latents, and latents or codes to pictures. */
#include "pipeline/vae.h"

#include "core/expect.h"
#include "core/stop.h"
#include "io/pixels.h"
#include "pipeline/codebook.h"
#include "pipeline/latents.h"
#include "pipeline/tiles.h"

/* The first stage that a call is for: the model's own, or the small one beside it. One that is
 * small itself is both. */
static sd_part_kind which(const sd_model *model, const sd_vae_params *how) {
    return how->tiny && model->desc->vae.kind != SD_FIRST_STAGE_TINY ? SD_PART_TINY : SD_PART_VAE;
}

static const sd_vae_config *config_of(const sd_model *model, sd_part_kind part) {
    return sdi_part_config(sdi_part_types[part], model->desc);
}

static const sd_vae_config *stage_config(const sd_stage *s) {
    return config_of(s->model, s->type->part);
}

static const sd_vae *network_of(const sd_stage *s) {
    return (const sd_vae *)s->model->parts[s->type->part];
}

static bool lacks_encoder(const sd_vae_config *config) {
    return config->kind == SD_FIRST_STAGE_TINY && config->tiny_encoder.width == 0;
}

/* Fails where the model has no such first stage. */
static sd_status need_stage(const sd_model *model, const sd_vae_params *how, bool encodes) {
    sd_part_kind part = which(model, how);
    if (!model->parts[part])
        return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: sd_vae_params.tiny is set, and the model has no small autoencoder: "
                        "give one (taesd of sd_model_params; --taesd)",
                        model->desc->path);
    if (encodes && lacks_encoder(config_of(model, part)))
        return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: its small autoencoder has a decoder alone: give one with an encoder "
                        "(taesd_encoder beside taesd_decoder), or encode by the VAE",
                        model->desc->path);
    return SD_OK;
}

/* Planes of a picture [c, h, w, 1], where the device turns them. */
static sdb_tensor hold_planes(sd_stage *s, int c) {
    int scale = sdi_model_downscale(s->model);
    return sdi_exec_tensor_typed(s->e, SDB_F32, c, s->h * scale, s->w * scale, 1);
}

static sdb_tensor hold_latent(sd_stage *s, int c) {
    return sdi_exec_tensor_typed(s->e, SDB_F32, 1, s->h, s->w, c);
}

/* A picture in the type of activations, for a network beside it. */
static sdb_tensor new_picture(sd_stage *s, sdb_tensor planes) {
    return sdi_exec_tensor(s->e, 1, planes.h, planes.w, planes.n);
}

/* Whether tiles are wanted, and there is more than one. */
static bool is_divided(const sd_vae_params *how, int64_t h, int64_t w) {
    return how->tile > 0 && (h > how->tile || w > how->tile);
}

/* The first tile, which is as large as any. */
static void cut_to_tile(sd_stage *s, const sd_vae_params *how) {
    if (how->tile > 0 && s->h > how->tile)
        s->h = how->tile;
    if (how->tile > 0 && s->w > how->tile)
        s->w = how->tile;
}

/* ------------------------------------------------------------------------------- decoding */

enum { LATENT, PICTURE };

static void hold_decoder(sd_stage *s) {
    const sd_vae_config *config = stage_config(s);
    s->io[LATENT] = hold_latent(s, config->latent_channels);
    s->io[PICTURE] = hold_planes(s, config->out_channels);
}

static void decode(sd_stage *s) {
    sdb_tensor y = new_picture(s, s->io[PICTURE]);
    sdi_vae_decoder_forward(s->e, network_of(s), y, s->io[LATENT], s->options);
    sdi_op_split_planes(s->e, s->io[PICTURE], y);
}

static const sd_stage_type decoder = {SD_PART_VAE, hold_decoder, decode, NULL},
                           tiny_decoder = {SD_PART_TINY, hold_decoder, decode, NULL};

static const sd_stage_type *decoder_of(const sd_model *model, const sd_vae_params *how) {
    return which(model, how) == SD_PART_TINY ? &tiny_decoder : &decoder;
}

/* Fails unless the decoder takes such a latent. */
static sd_status expect_latent(const sd_model *model, const sd_tensor *latent) {
    const int64_t dims[] = {-1, model->desc->vae.latent_channels, -1, -1};
    int side = SD_MAX_IMAGE_SIDE / sdi_model_downscale(model);
    sd_status status = sdi_expect_tensor(latent, "latent", 4, dims);
    return status ? status : sdi_expect_multiple(latent, "latent", 1, side);
}

/* A NaN within the decoder spreads by its last norm over whole planes, and what only the last
 * convolution exceeds is cut off at white: each eighth row tells what all would. Without norms it
 * spreads over some 8 x 8 at least. */
static sd_status check_pixels(const sd_stage *s, const sd_tensor *pixels) {
    int64_t width = pixels->dims[3];
    for (int64_t i = 0; i < pixels->n_elements; i += 8 * width) {
        int64_t at = sdi_find_not_finite(pixels->data + i, width);
        if (at >= 0)
            return sdi_fail_computed(s->model, "the VAE's decoder", pixels, i + at);
    }
    return SD_OK;
}

/* Pictures first .. first + n - 1, by a decoder whose size is theirs. */
static sd_status decode_whole(sd_stage s, const sd_tensor *latent, int64_t first, int64_t n,
                              sd_tensor **pixels) {
    s.h = (int)latent->dims[2];
    s.w = (int)latent->dims[3];
    sd_status status = sdi_stage_begin(&s);
    if (status)
        return status;
    sdb_tensor picture = s.io[PICTURE];
    const int64_t dims[] = {n, picture.n, picture.h, picture.w};
    const int64_t z_dims[] = {1, latent->dims[1], s.h, s.w};
    sd_tensor *out = sdi_stage_tensor(&s, 4, dims), *z = sdi_stage_tensor(&s, 4, z_dims);
    for (int64_t i = 0; i < n && !s.e->status; i++) {
        sdi_latent_unscale(stage_config(&s), latent, first + i, z);
        sdi_exec_put(s.e, s.io[LATENT], z, 0);
        sdi_stage_compute(&s);
        sdi_exec_get(s.e, out, i, picture);
    }
    sdi_tensor_free(z);
    status = sdi_stage_end(&s);
    if (!status)
        sdi_pixels_of_network(stage_config(&s), out);
    return sdi_tensor_give(status ? status : check_pixels(&s, out), out, pixels);
}

static sd_status decode_tile(const void *stage, const sd_tensor *tile, sd_tensor **out) {
    return decode_whole(*(const sd_stage *)stage, tile, 0, 1, out);
}

static sd_status decode_pictures(const sd_model *model, const sd_tensor *latent, int64_t first,
                                 int64_t n, const sd_vae_params *how, sd_tensor **pixels) {
    const sd_vae_config *config = config_of(model, which(model, how));
    int64_t scale = sdi_model_downscale(model), h = latent->dims[2], w = latent->dims[3];
    sd_stage s = {.type = decoder_of(model, how),
                  .model = model,
                  .options = !how->unquantized && !config->encode_quantizes};
    if (!is_divided(how, h, w))
        return decode_whole(s, latent, first, n, pixels);
    const int64_t dims[] = {n, config->out_channels, h * scale, w * scale};
    const sd_tiling tiling = {how->tile, how->overlap, 1, (int)scale, decode_tile, &s};
    sd_tensor *out;
    sd_status status = sdi_tensor_new_raw(model->ctx, 4, dims, &out);
    return status ? status
                  : sdi_tensor_give(sdi_tiles_run(&tiling, latent, first, out), out, pixels);
}

sd_status sdi_stage_vae_decode(const sd_model *model, const sd_tensor *latent,
                               const sd_vae_params *how, sd_tensor **pixels) {
    *pixels = NULL;
    sd_status status = expect_latent(model, latent);
    if (!status)
        status = need_stage(model, how, false);
    return status ? status : decode_pictures(model, latent, 0, latent->dims[0], how, pixels);
}

static sd_status decode_image(const sd_model *model, const sd_tensor *latent, int i,
                              const sd_vae_params *how, sd_image **image) {
    sd_tensor *pixels;
    sd_status status = decode_pictures(model, latent, i, 1, how, &pixels);
    if (status)
        return status;
    status = sdi_pixels_to_image(pixels, 0, image);
    sdi_tensor_free(pixels);
    return status ? status : sdi_check_interrupt(model->ctx);
}

sd_status sdi_decode_images(const sd_model *model, const sd_tensor *latent,
                            const sd_vae_params *how, sd_image **images) {
    sd_status status = expect_latent(model, latent);
    if (!status)
        status = need_stage(model, how, false);
    for (int i = 0; i < latent->dims[0] && !status; i++)
        status = decode_image(model, latent, i, how, &images[i]);
    return status;
}

/* ------------------------------------------------------------------------------- encoding */

enum { INPUT, MOMENTS, NOISE, SAMPLE };

/* The posterior alone: the moments are given. */
static void hold_posterior(sd_stage *s) {
    int c = stage_config(s)->latent_channels;
    s->io[INPUT] = s->io[MOMENTS] = hold_latent(s, sdi_vae_moments(network_of(s)));
    s->io[NOISE] = hold_latent(s, c);
    s->io[SAMPLE] = hold_latent(s, c);
}

static void hold_encoder(sd_stage *s) {
    hold_posterior(s);
    s->io[INPUT] = hold_planes(s, stage_config(s)->in_channels);
}

static void encode(sd_stage *s) {
    sdb_tensor x = new_picture(s, s->io[INPUT]);
    sdi_op_join_planes(s->e, x, s->io[INPUT]);
    sdi_vae_encoder_forward(s->e, network_of(s), s->io[MOMENTS], x);
}

/* `options`: with noise. */
static void sample(sd_stage *s) {
    sdi_op_posterior(s->e, (sdb_posterior){.moments = s->io[MOMENTS],
                                           .noise = s->options ? s->io[NOISE] : sdi_no_tensor(),
                                           .y = s->io[SAMPLE],
                                           .scale = (float)stage_config(s)->scaling_factor});
}

static const sd_stage_type encoder = {SD_PART_VAE, hold_encoder, encode, sample},
                           posterior = {SD_PART_VAE, hold_posterior, NULL, sample},
                           tiny_encoder = {SD_PART_TINY, hold_encoder, encode, sample},
                           tiny_posterior = {SD_PART_TINY, hold_posterior, NULL, sample};

static const sd_stage_type *encoder_of(const sd_model *model, const sd_vae_params *how) {
    return which(model, how) == SD_PART_TINY ? &tiny_encoder : &encoder;
}

/* The stage behind an encoder, where what it gave is in tiles. */
static const sd_stage_type *posterior_of(const sd_stage_type *type) {
    return type == &tiny_encoder ? &tiny_posterior : &posterior;
}

/* Picture i, as the stage's network takes it. */
static void put_picture(sd_stage *s, const sd_tensor *pixels, int64_t i) {
    if (stage_config(s)->kind != SD_FIRST_STAGE_TINY) {
        sdi_exec_put(s->e, s->io[INPUT], pixels, i);
        return;
    }
    const int64_t dims[] = {1, pixels->dims[1], pixels->dims[2], pixels->dims[3]};
    sd_tensor *unit = sdi_stage_tensor(s, 4, dims);
    if (unit)
        sdi_pixels_for_network(pixels, i, unit);
    sdi_exec_put(s->e, s->io[INPUT], unit, 0);
    sdi_tensor_free(unit);
}

/* `draws` samples of the posterior of each picture, or of the moments of each. */
static sd_status sample_all(sd_stage s, const sd_tensor *from, const sd_tensor *noise, int draws,
                            sd_tensor **latent) {
    const sd_vae_config *config = stage_config(&s);
    s.options = noise && config->kind == SD_FIRST_STAGE_KL;
    sd_status status = sdi_stage_begin(&s);
    if (status)
        return status;
    const int64_t n = from->dims[0], dims[] = {n * draws, config->latent_channels, s.h, s.w};
    sd_tensor *out = sdi_stage_tensor(&s, 4, dims);
    for (int64_t i = 0; i < n && !s.e->status; i++) {
        if (s.type->compute)
            put_picture(&s, from, i);
        else
            sdi_exec_put(s.e, s.io[MOMENTS], from, i);
        sdi_stage_compute(&s);
        for (int64_t j = i * draws; j < (i + 1) * draws; j++) {
            if (s.options)
                sdi_exec_put(s.e, s.io[NOISE], noise, j);
            sdi_stage_compute_apart(&s);
            sdi_exec_get(s.e, out, j, s.io[SAMPLE]);
        }
    }
    status = sdi_stage_end(&s);
    if (!status)
        sdi_latent_shift(config, out);
    return sdi_tensor_give(status, out, latent);
}

static sd_status moments_of_tile(const void *stage, const sd_tensor *tile, sd_tensor **out) {
    sd_stage s = *(const sd_stage *)stage;
    int scale = sdi_model_downscale(s.model);
    s.h = (int)tile->dims[2] / scale;
    s.w = (int)tile->dims[3] / scale;
    sd_status status = sdi_stage_begin(&s);
    if (status)
        return status;
    const int64_t dims[] = {1, s.io[MOMENTS].c, s.h, s.w};
    sd_tensor *moments = sdi_stage_tensor(&s, 4, dims);
    put_picture(&s, tile, 0);
    sdi_stage_compute(&s);
    sdi_exec_get(s.e, moments, 0, s.io[MOMENTS]);
    return sdi_tensor_give(sdi_stage_end(&s), moments, out);
}

/* `s` samples the moments of the whole, which the tiles' were blended to. */
static sd_status encode_tiled(sd_stage s, const sd_tensor *pixels, const sd_tensor *noise,
                              int draws, const sd_vae_params *how, sd_tensor **latent) {
    const int64_t dims[] = {pixels->dims[0], sdi_vae_moments(network_of(&s)), s.h, s.w};
    const sd_tiling tiling = {how->tile, how->overlap,    sdi_model_downscale(s.model),
                              1,         moments_of_tile, &s};
    sd_tensor *moments;
    sd_status status = sdi_tensor_new_raw(s.model->ctx, 4, dims, &moments);
    if (status)
        return status;
    status = sdi_tiles_run(&tiling, pixels, 0, moments);
    s.type = posterior_of(s.type);
    if (!status)
        status = sample_all(s, moments, noise, draws, latent);
    sdi_tensor_free(moments);
    return status;
}

sd_status sdi_vae_expect_pixels(const sd_model *model, const sd_tensor *pixels) {
    const int64_t dims[] = {-1, model->desc->vae.in_channels, -1, -1};
    int scale = sdi_model_downscale(model);
    sd_status status = sdi_expect_shape(pixels, "pixels", 4, dims);
    return status ? status : sdi_expect_multiple(pixels, "pixels", scale, SD_MAX_IMAGE_SIDE);
}

static sd_status check_noise(const sd_model *model, const sd_tensor *pixels, int draws,
                             const sd_tensor *noise) {
    int scale = sdi_model_downscale(model);
    const int64_t dims[] = {pixels->dims[0] * draws, model->desc->vae.latent_channels,
                            pixels->dims[2] / scale, pixels->dims[3] / scale};
    return sdi_expect_tensor(noise, "noise", 4, dims);
}

/* Finite pixels give a finite latent, so that these many are looked at only where it is not. */
static sd_status check_encoded(const sd_model *model, const sd_tensor *pixels,
                               const sd_tensor *latent) {
    if (sdi_find_not_finite(latent->data, latent->n_elements) < 0)
        return SD_OK;
    sd_status status = sdi_expect_finite(pixels, "pixels");
    return status ? status : sdi_check_computed(model, "the VAE's encoder", latent);
}

sd_status sdi_stage_vae_encode(const sd_model *model, const sd_tensor *pixels,
                               const sd_tensor *noise, int draws, const sd_vae_params *how,
                               sd_tensor **latent) {
    int scale = sdi_model_downscale(model);
    sd_tensor *z;
    *latent = NULL;
    sd_status status;
    if ((status = sdi_vae_expect_pixels(model, pixels)) ||
        (status = need_stage(model, how, true)) ||
        (noise && (status = check_noise(model, pixels, draws, noise))))
        return status;
    sd_stage s = {.type = encoder_of(model, how),
                  .model = model,
                  .h = (int)pixels->dims[2] / scale,
                  .w = (int)pixels->dims[3] / scale};
    status = is_divided(how, s.h, s.w) ? encode_tiled(s, pixels, noise, draws, how, &z)
                                       : sample_all(s, pixels, noise, draws, &z);
    if (status)
        return status;
    status = check_encoded(model, pixels, z);
    if (status || !stage_config(&s)->encode_quantizes)
        return sdi_tensor_give(status, z, latent);
    status = sdi_codes_of_latent(model, z, NULL, latent); /* as a VQModel does */
    sdi_tensor_free(z);
    return status;
}

/* ---------------------------------------------------------------------------------- codes */

static sd_status need_codebook(const sd_model *model, const char *function) {
    if (sdi_vae_has_codebook(sdi_model_vae(model)))
        return SD_OK;
    return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                    "%s: %s needs a codebook, which the first stages of VQ models have",
                    model->desc->path, function);
}

/* For an id of each pixel of the latent. */
static sd_status check_room(const sd_model *model, const char *function, int64_t capacity,
                            const sd_tensor *latent) {
    int64_t needed = latent->n_elements / model->desc->vae.latent_channels;
    if (capacity >= needed)
        return SD_OK;
    return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                    "%s: room for %lld ids; at least %lld was expected", function,
                    (long long)capacity, (long long)needed);
}

sd_status sdi_stage_vae_quantize(const sd_model *model, const sd_tensor *latent, int32_t *ids,
                                 int64_t capacity, sd_tensor **quantized) {
    sd_status status;
    if ((status = need_codebook(model, "sd_vae_quantize")) ||
        (status = expect_latent(model, latent)) ||
        (ids && (status = check_room(model, "sd_vae_quantize", capacity, latent))))
        return status;
    return sdi_codes_of_latent(model, latent, ids, quantized);
}

sd_status sdi_stage_vae_encode_ids(const sd_model *model, const sd_tensor *pixels,
                                   const sd_vae_params *how, int32_t *ids, int64_t capacity) {
    sd_tensor *latent;
    sd_status status;
    if ((status = need_codebook(model, "sd_vae_encode_ids")) ||
        (status = sdi_stage_vae_encode(model, pixels, how->noise, 1, how, &latent)))
        return status;
    status = check_room(model, "sd_vae_encode_ids", capacity, latent);
    if (!status)
        status = sdi_codes_of_latent(model, latent, ids, NULL);
    sdi_tensor_free(latent);
    return status;
}

static sd_status check_ids(const sd_model *model, const int32_t *ids, int n, int h, int w) {
    const sd_context *ctx = model->ctx;
    int side = SD_MAX_IMAGE_SIDE / sdi_model_downscale(model), codes = model->desc->vae.n_codes;
    if (n < 1 || n > 65536 || h < 1 || h > side || w < 1 || w > side)
        return sdi_fail(
            ctx, SD_ERROR_ARGUMENT,
            "sd_vae_decode_ids: ids of [%d, %d, %d]; up to [65536, %d, %d] were expected", n, h, w,
            side, side);
    for (int64_t i = 0; i < (int64_t)n * h * w; i++)
        if (ids[i] < 0 || ids[i] >= codes)
            return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                            "sd_vae_decode_ids: ids[%lld] is %d; 0 to %d was expected",
                            (long long)i, (int)ids[i], codes - 1);
    return SD_OK;
}

sd_status sdi_stage_vae_decode_ids(const sd_model *model, const int32_t *ids, int n, int h, int w,
                                   const sd_vae_params *how, sd_tensor **pixels) {
    sd_vae_params as_they_are = *how;
    sd_tensor *latent;
    sd_status status;
    if ((status = need_codebook(model, "sd_vae_decode_ids")) ||
        (status = check_ids(model, ids, n, h, w)) ||
        (status = sdi_latent_of_codes(model, ids, n, h, w, &latent)))
        return status;
    as_they_are.unquantized = 1;
    status = sdi_stage_vae_decode(model, latent, &as_they_are, pixels);
    sdi_tensor_free(latent);
    return status;
}

/* ------------------------------------------------------------------------------ estimates */

sd_status sdi_vae_decode_estimate(const sd_model *model, int n, int h, int w,
                                  const sd_vae_params *how, sd_cost *cost) {
    sd_stage s = {.type = decoder_of(model, how), .model = model, .h = h, .w = w, .options = true};
    sd_status status = need_stage(model, how, false);
    if (status)
        return status;
    cut_to_tile(&s, how);
    status = sdi_stage_estimate(&s, cost);
    cost->flops *= n;
    return status;
}

/* One executor encodes the tiles, then samples the posterior of the whole. */
sd_status sdi_vae_encode_estimate(const sd_model *model, int h, int w, const sd_vae_params *how,
                                  sd_cost *cost) {
    sd_stage tile = {.type = encoder_of(model, how), .model = model, .h = h, .w = w}, whole = tile;
    sd_cost last = {0};
    if (lacks_encoder(config_of(model, which(model, how))))
        return SD_OK; /* nothing will be encoded */
    cut_to_tile(&tile, how);
    whole.type = posterior_of(tile.type);
    sd_status status = sdi_stage_estimate(&tile, cost);
    if (!status && is_divided(how, h, w))
        status = sdi_stage_estimate(&whole, &last);
    if (last.bytes > cost->bytes)
        cost->bytes = last.bytes;
    return status;
}
