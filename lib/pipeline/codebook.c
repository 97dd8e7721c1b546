/* The codebook of a VQ first stage, by indices: VectorQuantizer2's get_codebook_entry and
 * min_encoding_indices, VQModel's decode_code. */
#include "pipeline/codebook.h"

#include "pipeline/latents.h"

enum { ROWS, IDS };

static void hold_codes(sd_stage *s) {
    s->io[ROWS] =
        sd_exec_tensor_typed(s->e, SDB_F32, 1, s->h, s->w, s->model->desc->vae.latent_channels);
    s->io[IDS] = sd_exec_tensor_typed(s->e, SDB_I32, 1, s->h, s->w, 1);
}

static void quantize_rows(sd_stage *s) {
    sd_vae_quantize_forward(s->e, sd_model_vae(s->model), s->io[ROWS], s->io[IDS], s->io[ROWS]);
}

static void look_up_rows(sd_stage *s) {
    int area = s->h * s->w;
    sd_vae_codes_forward(s->e, sd_model_vae(s->model), sd_view_shape(s->io[ROWS], 1, area, 1),
                         sd_view_shape(s->io[IDS], 1, area, 1));
}

static const sd_stage_type quantizer = {SD_PART_VAE, hold_codes, quantize_rows, NULL},
                           codebook = {SD_PART_VAE, hold_codes, look_up_rows, NULL};

sd_status sd_codes_of_latent(const sd_model *model, const sd_tensor *latent, int32_t *ids,
                             sd_tensor **quantized) {
    const sd_vae_config *config = &model->desc->vae;
    const int64_t *dims = latent->dims, one[] = {1, dims[1], dims[2], dims[3]};
    sd_stage s = {.type = &quantizer, .model = model, .h = (int)dims[2], .w = (int)dims[3]};
    sd_status status = sd_stage_begin(&s);
    if (status)
        return status;
    sd_tensor *z = sd_stage_tensor(&s, 4, one);
    sd_tensor *rows = quantized ? sd_stage_tensor(&s, 4, dims) : NULL;
    for (int64_t i = 0; i < dims[0] && !s.e->status; i++) {
        sd_latent_unscale(config, latent, i, z);
        sd_exec_put(s.e, s.io[ROWS], z, 0);
        sd_stage_compute(&s);
        if (ids)
            sd_exec_download(s.e, ids + i * s.h * s.w, s.io[IDS]);
        if (quantized)
            sd_exec_get(s.e, rows, i, s.io[ROWS]);
    }
    sd_tensor_destroy(z);
    status = sd_stage_end(&s);
    if (!quantized)
        return status;
    if (!status)
        sd_latent_scale(config, rows);
    return sd_tensor_give(status, rows, quantized);
}

sd_status sd_latent_of_codes(const sd_model *model, const int32_t *ids, int n, int h, int w,
                             sd_tensor **latent) {
    const sd_vae_config *config = &model->desc->vae;
    const int64_t dims[] = {n, config->latent_channels, h, w};
    sd_stage s = {.type = &codebook, .model = model, .h = h, .w = w};
    sd_status status = sd_stage_begin(&s);
    if (status)
        return status;
    sd_tensor *out = sd_stage_tensor(&s, 4, dims);
    for (int64_t i = 0; i < n && !s.e->status; i++) {
        sd_exec_upload(s.e, s.io[IDS], ids + i * h * w);
        sd_stage_compute(&s);
        sd_exec_get(s.e, out, i, s.io[ROWS]);
    }
    status = sd_stage_end(&s);
    if (!status)
        sd_latent_scale(config, out);
    return sd_tensor_give(status, out, latent);
}
