/* The stages one by one, and building blocks: sections 7 and 9 of sd.h. */
#include "api/check.h"
#include "pipeline/inpaint.h"
#include "pipeline/loss.h"
#include "pipeline/text.h"
#include "pipeline/unet.h"
#include "pipeline/vae.h"
#include "sampler/noise.h"

#define MAX_SIZE 65536  /* of what a picture was */
#define MAX_STEPS 10000 /* that a text has programs for */

/* Texts and tokens name an encoder, counted from 0. */
static sd_status check_encoder(const sd_model *model, const char *call, int encoder) {
    int n = model->n_encoders;
    sd_status status = sdi_need_conditioning(model, call, SD_CONDITIONING_TEXT);
    if (status)
        return status;
    SD_REQUIRE(model->ctx, encoder >= 0 && encoder < n,
               "%s: encoder is %d; 0 to %d was expected, the model's", call, encoder, n - 1);
    return SD_OK;
}

SD_PUBLIC(sd_tokenize, (model, encoder, text, ids, capacity, n_used), (model),
          const sd_model *model, int32_t encoder, const char *text, int32_t *ids, int32_t capacity,
          int32_t *n_used) {
    SD_REQUIRE_PTR(NULL, model);
    const sd_context *ctx = model->ctx;
    SD_REQUIRE_PTR(ctx, text);
    SD_REQUIRE_PTR(ctx, ids);
    sd_status status = check_encoder(model, "sd_tokenize", encoder);
    if (status)
        return status;
    const sd_encoder *e = &model->encoders[encoder];
    int tokens = e->config->tokens;
    SD_REQUIRE(ctx, capacity >= tokens, "sd_tokenize: room for %d ids; at least %d was expected",
               capacity, tokens);
    if (!e->tokenizer)
        return sdi_fail(ctx, SD_ERROR_IO, "%s", model->vocab_error);
    return sdi_tokenizer_encode(e->tokenizer, text, e->pad, ids, tokens, n_used);
}

const char *sd_token_text(const sd_model *model, int32_t encoder, int32_t id) {
    bool known = model && encoder >= 0 && encoder < model->n_encoders;
    const sd_tokenizer *t = known ? model->encoders[encoder].tokenizer : NULL;
    return t ? sdi_tokenizer_text(t, id) : NULL;
}

/* What SDXL is told of a picture. */
static sd_status check_sizes(const sd_model *model, const sd_text_params *p) {
    const sd_context *ctx = model->ctx;
    const struct {
        const char *name;
        int32_t value;
    } sizes[] = {{"original_width", p->original_width},
                 {"target_width", p->target_width},
                 {"original_height", p->original_height},
                 {"target_height", p->target_height},
                 {"crop_top", p->crop_top},
                 {"crop_left", p->crop_left}};
    bool told = false;
    for (size_t i = 0; i < SD_COUNT(sizes); i++) {
        SD_REQUIRE(ctx, sizes[i].value >= 0 && sizes[i].value <= MAX_SIZE,
                   "sd_text_params.%s is %d; 0 to %d was expected", sizes[i].name,
                   (int)sizes[i].value, MAX_SIZE);
        told = told || sizes[i].value > 0;
    }
    SD_REQUIRE(ctx,
               p->aesthetic_score >= 0 && p->aesthetic_score <= 10 &&
                   p->negative_aesthetic_score >= 0 && p->negative_aesthetic_score <= 10,
               "sd_text_params.aesthetic_score and negative_aesthetic_score are %g and %g; 0 to 10 "
               "was expected",
               p->aesthetic_score, p->negative_aesthetic_score);
    if (told && model->desc->unet.n_sizes == 0)
        sdi_log(ctx, SD_LOG_LEVEL_WARN,
                "sd_text_params has sizes of a picture, which this model is not told: they have no "
                "effect");
    return SD_OK;
}

sd_status sdi_read_text(const sd_model *model, const sd_text_params *given, sd_text_params *p) {
    *p = (sd_text_params)SD_TEXT_PARAMS_INIT;
    sd_status status = sdi_read_params(model->ctx, "sd_text_params", p, sizeof *p, given);
    if (status)
        return status;
    int layers = model->n_encoders > 0 ? model->encoders[0].config->layers : 0;
    for (int i = 1; i < model->n_encoders; i++)
        if (model->encoders[i].config->layers < layers)
            layers = model->encoders[i].config->layers;
    SD_REQUIRE(model->ctx, p->clip_skip >= 0 && p->clip_skip <= layers,
               "sd_text_params.clip_skip is %d; 0 to %d was expected", (int)p->clip_skip, layers);
    SD_REQUIRE(model->ctx, p->steps >= 0 && p->steps <= MAX_STEPS,
               "sd_text_params.steps is %d; 0 to %d was expected", (int)p->steps, MAX_STEPS);
    sdi_call_heed(p->stop);
    return check_sizes(model, p);
}

static sd_status read_text(const sd_model *model, const char *call, int n_texts,
                           const sd_text_params *given, sd_text_params *p) {
    sd_status status = sdi_need_conditioning(model, call, SD_CONDITIONING_TEXT);
    if (status)
        return status;
    SD_REQUIRE(model->ctx, n_texts >= 1 && n_texts <= SD_MAX_TEXTS,
               "%s: n_texts is %d; 1 to %d was expected", call, n_texts, SD_MAX_TEXTS);
    return sdi_read_text(model, given, p);
}

SD_PUBLIC(sd_encode_text, (model, texts, n_texts, params, out), (model), const sd_model *model,
          const char *const *texts, int32_t n_texts, const sd_text_params *params, sd_cond **out) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, texts);
    sd_text_params p;
    sd_status status = read_text(model, "sd_encode_text", n_texts, params, &p);
    if (status)
        return status;
    for (int i = 0; i < n_texts; i++)
        SD_REQUIRE(model->ctx, texts[i], "sd_encode_text: texts[%d] is NULL", i);
    return sdi_stage_encode_text(model, texts, n_texts, 0, &p, out);
}

SD_PUBLIC(sd_encode_tokens, (model, ids, n_encoders, n_texts, params, out), (model),
          const sd_model *model, const int32_t *const *ids, int32_t n_encoders, int32_t n_texts,
          const sd_text_params *params, sd_cond **out) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, model);
    const sd_context *ctx = model->ctx;
    SD_REQUIRE_PTR(ctx, ids);
    sd_text_params p;
    sd_status status = read_text(model, "sd_encode_tokens", n_texts, params, &p);
    if (status)
        return status;
    SD_REQUIRE(ctx, !p.weighted && !p.clean,
               "sd_encode_tokens: sd_text_params.%s is set, which is for texts",
               p.weighted ? "weighted" : "clean");
    SD_REQUIRE(ctx, n_encoders == model->n_encoders,
               "sd_encode_tokens: n_encoders is %d; %d was expected", (int)n_encoders,
               model->n_encoders);
    for (int i = 0; i < n_encoders; i++)
        SD_REQUIRE(ctx, ids[i], "sd_encode_tokens: ids[%d] is NULL", i);
    return sdi_stage_encode_tokens(model, ids, n_texts, &p, out);
}

SD_PUBLIC(sd_encode_class, (model, ids, n, out), (model), const sd_model *model, const int32_t *ids,
          int32_t n, sd_cond **out) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, ids);
    SD_REQUIRE(model->ctx, n >= 1 && n <= SD_MAX_TEXTS,
               "sd_encode_class: n is %d; 1 to %d was expected", n, SD_MAX_TEXTS);
    return sdi_stage_encode_class(model, ids, n, out);
}

SD_PUBLIC(sd_vae_encode, (model, pixels, params, latent), (model, pixels), const sd_model *model,
          const sd_tensor *pixels, const sd_vae_params *params, sd_tensor **latent) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, latent);
    *latent = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, pixels);
    sd_vae_params p;
    sd_status status = sdi_read_vae(model->ctx, params, true, &p);
    return status ? status : sdi_stage_vae_encode(model, pixels, p.noise, 1, &p, latent);
}

SD_PUBLIC(sd_vae_decode, (model, latent, params, pixels), (model, latent), const sd_model *model,
          const sd_tensor *latent, const sd_vae_params *params, sd_tensor **pixels) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, pixels);
    *pixels = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, latent);
    sd_vae_params p;
    sd_status status = sdi_read_vae(model->ctx, params, false, &p);
    return status ? status : sdi_stage_vae_decode(model, latent, &p, pixels);
}

SD_PUBLIC(sd_vae_quantize, (model, latent, ids, capacity, quantized), (model, latent),
          const sd_model *model, const sd_tensor *latent, int32_t *ids, int64_t capacity,
          sd_tensor **quantized) {
    if (quantized)
        *quantized = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, latent);
    SD_REQUIRE(model->ctx, ids || quantized,
               "sd_vae_quantize: ids and quantized are NULL; one of them was expected");
    return sdi_stage_vae_quantize(model, latent, ids, capacity, quantized);
}

SD_PUBLIC(sd_vae_encode_ids, (model, pixels, params, ids, capacity), (model, pixels),
          const sd_model *model, const sd_tensor *pixels, const sd_vae_params *params, int32_t *ids,
          int64_t capacity) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, pixels);
    SD_REQUIRE_PTR(model->ctx, ids);
    sd_vae_params p;
    sd_status status = sdi_read_vae(model->ctx, params, true, &p);
    return status ? status : sdi_stage_vae_encode_ids(model, pixels, &p, ids, capacity);
}

SD_PUBLIC(sd_vae_decode_ids, (model, ids, n, h, w, params, pixels), (model), const sd_model *model,
          const int32_t *ids, int32_t n, int32_t h, int32_t w, const sd_vae_params *params,
          sd_tensor **pixels) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, pixels);
    *pixels = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, ids);
    sd_vae_params p;
    sd_status status = sdi_read_vae(model->ctx, params, false, &p);
    return status ? status : sdi_stage_vae_decode_ids(model, ids, n, h, w, &p, pixels);
}

SD_PUBLIC(sd_inpaint_concat, (model, pixels, mask, params, concat), (model, pixels, mask),
          const sd_model *model, const sd_tensor *pixels, const sd_tensor *mask,
          const sd_vae_params *params, sd_tensor **concat) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, concat);
    *concat = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, pixels);
    SD_REQUIRE_PTR(model->ctx, mask);
    sd_vae_params p;
    sd_status status = sdi_read_vae(model->ctx, params, true, &p);
    return status ? status
                  : sdi_stage_inpaint_concat(model, pixels, mask, p.noise, &p, false, concat);
}

SD_PUBLIC(sd_unet_predict, (model, x, timesteps, cond, out), (model, x, cond),
          const sd_model *model, const sd_tensor *x, const double *timesteps, const sd_cond *cond,
          sd_tensor **out) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, x);
    SD_REQUIRE_PTR(model->ctx, timesteps);
    return sdi_stage_unet(model, x, timesteps, cond, out);
}

SD_PUBLIC(sd_add_noise, (model, x0, noise, timestep, out), (model, x0, noise),
          const sd_model *model, const sd_tensor *x0, const sd_tensor *noise, int32_t timestep,
          sd_tensor **out) {
    SD_REQUIRE_PTR(model ? model->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, x0);
    SD_REQUIRE_PTR(model->ctx, noise);
    SD_REQUIRE(model->ctx, timestep >= 0 && timestep < model->schedule.n,
               "sd_add_noise: timestep is %d; 0 to %d was expected", timestep,
               model->schedule.n - 1);
    return sdi_add_noise(&model->schedule, x0, noise, timestep, out);
}

static sd_status read_loss(const sd_context *ctx, const sd_loss_params *given, sd_loss_params *p) {
    *p = (sd_loss_params)SD_LOSS_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_loss_params", p, sizeof *p, given);
    if (status)
        return status;
    sdi_call_use(p->concat);
    SD_REQUIRE(ctx, p->type == SD_LOSS_L2 || p->type == SD_LOSS_L1,
               "sd_loss_params.type is %d; SD_LOSS_L2 (0) or SD_LOSS_L1 (1) was expected",
               (int)p->type);
    return sdi_check_reserved(ctx, "sd_loss_params", p->reserved);
}

SD_PUBLIC(sd_training_loss, (model, x0, noise, timesteps, cond, params, loss, samples),
          (model, x0, noise, cond), const sd_model *model, const sd_tensor *x0,
          const sd_tensor *noise, const int32_t *timesteps, const sd_cond *cond,
          const sd_loss_params *params, sd_loss_info *loss, sd_tensor **samples) {
    if (samples)
        *samples = NULL;
    SD_REQUIRE_PTR(NULL, model);
    const sd_context *ctx = model->ctx;
    SD_REQUIRE_PTR(ctx, x0);
    SD_REQUIRE_PTR(ctx, noise);
    SD_REQUIRE_PTR(ctx, timesteps);
    SD_REQUIRE_PTR(ctx, loss);
    sd_loss_params p;
    sd_loss_info full = SD_LOSS_INFO_INIT;
    sd_status status = read_loss(ctx, params, &p);
    if (status)
        return status;
    sd_tensor *rows = NULL;
    status = sdi_stage_training_loss(model, x0, noise, timesteps, cond, &p, &full,
                                     samples ? &rows : NULL);
    if (!status)
        status = sdi_write_struct(ctx, "sd_loss_info", loss, &full, sizeof full);
    if (status)
        sdi_tensor_free(rows);
    else if (samples)
        *samples = rows;
    return status;
}

SD_PUBLIC(sd_randn, (ctx, rng, seed, n_dims, dims, out), (ctx), sd_context *ctx, sd_rng rng,
          uint64_t seed, int32_t n_dims, const int64_t *dims, sd_tensor **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, ctx);
    SD_REQUIRE_PTR(ctx, dims);
    SD_REQUIRE(ctx, rng == SD_RNG_CPU || rng == SD_RNG_CUDA,
               "sd_randn: rng is %d; SD_RNG_CPU (0) or SD_RNG_CUDA (1) was expected", (int)rng);
    sd_status status = sdi_tensor_new(ctx, n_dims, dims, out);
    if (status)
        return status;
    sd_generator generator;
    sdi_generator_init(&generator, rng, seed);
    sdi_generator_normal(&generator, (*out)->data, (*out)->n_elements);
    return SD_OK;
}
