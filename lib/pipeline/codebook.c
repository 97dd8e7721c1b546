/* The codebook of a VQ first stage, by indices: VectorQuantizer2's get_codebook_entry and
 * min_encoding_indices, VQModel's decode_code. */
#include "pipeline/codebook.h"

#include "pipeline/latents.h"

enum { ROWS, IDS, CODES };

/* A latent [1, h, w, c]. */
static sdb_tensor hold_rows(sd_stage *s) {
    int c = s->model->desc->vae.latent_channels;
    return sdi_exec_tensor_typed(s->e, SDB_F32, 1, s->h, s->w, c);
}

static void hold_codes(sd_stage *s) {
    s->io[ROWS] = hold_rows(s);
    s->io[IDS] = sdi_exec_tensor_typed(s->e, SDB_I32, 1, s->h, s->w, 1);
}

static void hold_quantizer(sd_stage *s) {
    hold_codes(s);
    s->io[CODES] = hold_rows(s);
}

static void quantize_rows(sd_stage *s) {
    sdi_vae_quantize_forward(s->e, sdi_model_vae(s->model), s->io[CODES], s->io[IDS], s->io[ROWS]);
}

static void look_up_rows(sd_stage *s) {
    int area = s->h * s->w;
    sdi_vae_codes_forward(s->e, sdi_model_vae(s->model), sdi_view_shape(s->io[ROWS], 1, area, 1),
                          sdi_view_shape(s->io[IDS], 1, area, 1));
}

static const sd_stage_type quantizer = {SD_PART_VAE, hold_quantizer, quantize_rows, NULL},
                           codebook = {SD_PART_VAE, hold_codes, look_up_rows, NULL};

sd_status sdi_codes_of_latent(const sd_model *model, const sd_tensor *latent, int32_t *ids,
                              sd_tensor **quantized) {
    const sd_vae_config *config = &model->desc->vae;
    const int64_t *dims = latent->dims, one[] = {1, dims[1], dims[2], dims[3]};
    sd_stage s = {.type = &quantizer, .model = model, .h = (int)dims[2], .w = (int)dims[3]};
    sd_status status = sdi_stage_begin(&s);
    if (status)
        return status;
    sd_tensor *z = sdi_stage_tensor(&s, 4, one);
    sd_tensor *rows = quantized ? sdi_stage_tensor(&s, 4, dims) : NULL;
    for (int64_t i = 0; i < dims[0] && !s.e->status; i++) {
        sdi_latent_unscale(config, latent, i, z);
        sdi_exec_put(s.e, s.io[ROWS], z, 0);
        sdi_stage_compute(&s);
        if (ids)
            sdi_exec_download(s.e, ids + i * s.h * s.w, s.io[IDS]);
        if (quantized)
            sdi_exec_get(s.e, rows, i, s.io[CODES]);
    }
    sdi_tensor_free(z);
    status = sdi_stage_end(&s);
    if (!quantized)
        return status;
    if (!status)
        sdi_latent_scale(config, rows);
    return sdi_tensor_give(status, rows, quantized);
}

sd_status sdi_latent_of_codes(const sd_model *model, const int32_t *ids, int n, int h, int w,
                              sd_tensor **latent) {
    const sd_vae_config *config = &model->desc->vae;
    const int64_t dims[] = {n, config->latent_channels, h, w};
    sd_stage s = {.type = &codebook, .model = model, .h = h, .w = w};
    sd_status status = sdi_stage_begin(&s);
    if (status)
        return status;
    sd_tensor *out = sdi_stage_tensor(&s, 4, dims);
    for (int64_t i = 0; i < n && !s.e->status; i++) {
        sdi_exec_upload(s.e, s.io[IDS], ids + i * h * w);
        sdi_stage_compute(&s);
        sdi_exec_get(s.e, out, i, s.io[ROWS]);
    }
    status = sdi_stage_end(&s);
    if (!status)
        sdi_latent_scale(config, out);
    return sdi_tensor_give(status, out, latent);
}
