/*
 * The YAML configs of the original repositories (CompVis' latent-diffusion and stable-diffusion,
 * runwayml's, Stability's 2.x): `target` names a class, `params` its arguments, nested. The
 * original imports whatever class is named; here each is a row of a table, with the parameters that
 * it may have. A target or a parameter that is in no table is an error, because leaving it out
 * would give another picture; those that only concern training are in the tables to be passed over.
 */
#include "describe/config.h"

#include "describe/ldm_section.h"
#include "io/yaml.h"

#include <stdio.h>
#include <string.h>

typedef sd_ldm_section section;

/* ------------------------------------------------------------------------- conditioning */

/* The sizes come from the tensors; the config names the network and where its output is taken. */
static void read_clip(section *s) {
    static const char *const ignored[] = {"device", "freeze", NULL};
    static const char *const read[] = {"version", "max_length", NULL};
    static const sd_fixed fixed[] = {{"layer", SD_FIXED_TEXT, 0, "last"},
                                     {"layer_idx", SD_FIXED_UNSET, 0, NULL}};
    static const char *const versions[] = {"openai/clip-vit-large-patch14",
                                           "openai/clip-vit-base-patch32",
                                           "openai/clip-vit-base-patch16"};
    bool known = false;
    sdi_ldm_check(s, read, ignored, fixed, SD_COUNT(fixed));
    const char *version = sdi_reader_string(&s->r, "version", versions[0]);
    for (size_t i = 0; i < SD_COUNT(versions); i++)
        known = known || strcmp(version, versions[i]) == 0;
    if (!known)
        sdi_reader_unsupported(&s->r, "version", sdi_reader_get(&s->r, "version"),
                               "OpenAI's CLIP: \"openai/clip-vit-large-patch14\"");
    s->desc->text = (sd_text_config){.tokens = sdi_reader_int(&s->r, "max_length", 77, 77, 77),
                                     .act = SD_TEXT_QUICK_GELU};
}

static void read_open_clip(section *s) {
    static const char *const ignored[] = {"device", "freeze", "version", NULL};
    static const char *const read[] = {"arch", "max_length", "layer", NULL};
    sdi_ldm_check(s, read, ignored, NULL, 0);
    /* the class's own default is "last" */
    const char *layer = sdi_reader_string(&s->r, "layer", "last");
    bool penultimate = strcmp(layer, "penultimate") == 0;
    if (!penultimate && strcmp(layer, "last") != 0)
        sdi_reader_unsupported(&s->r, "layer", sdi_reader_get(&s->r, "layer"),
                               "\"last\" and \"penultimate\"");
    sdi_reader_string(&s->r, "arch", "ViT-H-14");
    s->desc->text = (sd_text_config){.tokens = sdi_reader_int(&s->r, "max_length", 77, 77, 77),
                                     .act = SD_TEXT_GELU,
                                     .names = {.layout = SD_LAYOUT_OPEN_CLIP},
                                     .skip = penultimate};
}

static void read_class(section *s) {
    static const char *const read[] = {"embed_dim", "n_classes", NULL};
    static const char *const ignored[] = {"key", NULL};
    const sd_unet_config *unet = &s->desc->unet;
    sdi_ldm_check(s, read, ignored, NULL, 0);
    sdi_ldm_need(s, "embed_dim");
    int width = sdi_reader_int(&s->r, "embed_dim", 512, 1, SD_MAX_CHANNELS);
    int n = sdi_reader_int(&s->r, "n_classes", 1000, 1, SD_MAX_VOCAB);
    s->desc->classes = (sd_class_config){.n = n, .width = width};
    s->desc->conditioning = SD_CONDITIONING_CLASS;
    if (!s->r.status && width != unet->context_dim)
        s->r.status = sdi_fail(s->r.ctx, SD_ERROR_MODEL,
                               "%s: \"embed_dim\" is %d, the UNet's \"context_dim\" %d", s->r.path,
                               width, unet->context_dim);
}

static const sd_ldm_class cond_stages[] = {
    {"ldm.modules.encoders.modules.FrozenCLIPEmbedder", read_clip},
    {"ldm.modules.encoders.modules.FrozenOpenCLIPEmbedder", read_open_clip},
    {"ldm.modules.encoders.modules.ClassEmbedder", read_class},
};

/* A class, or one of two words: nothing, or the first stage (a picture beside the latent). */
static void read_cond_stage(section *s) {
    sd_description *desc = s->desc;
    const json_t *v = sdi_reader_get(&s->r, "cond_stage_config");
    desc->conditioning = SD_CONDITIONING_TEXT;
    if (json_is_object(v)) {
        sdi_ldm_keep(
            s, sdi_ldm_instantiate(s, "cond_stage_config", v, cond_stages, SD_COUNT(cond_stages)));
        return;
    }
    const char *word = sdi_reader_string(&s->r, "cond_stage_config", "__is_first_stage__");
    desc->conditioning = SD_CONDITIONING_NONE;
    if (strcmp(word, "__is_unconditional__") == 0)
        desc->condition_key = SD_CONDITION_NONE;
    else if (strcmp(word, "__is_first_stage__") != 0)
        sdi_reader_unsupported(&s->r, "cond_stage_config", v,
                               "\"__is_unconditional__\", \"__is_first_stage__\" and a mapping");
}

/* ------------------------------------------------------------------------- LatentDiffusion */

static const char *const ldm_read[] = {"unet_config",
                                       "first_stage_config",
                                       "cond_stage_config",
                                       "timesteps",
                                       "beta_schedule",
                                       "linear_start",
                                       "linear_end",
                                       "cosine_s",
                                       "image_size",
                                       "channels",
                                       "parameterization",
                                       "conditioning_key",
                                       "scale_factor",
                                       "scale_by_std",
                                       "concat_mode",
                                       "use_ema",
                                       NULL};

static const char *const ldm_ignored[] = {
    "num_timesteps_cond", "log_every_t", "first_stage_key", "cond_stage_key",
    "cond_stage_trainable", "monitor", "scheduler_config", "loss_type", "l_simple_weight",
    "original_elbo_weight", "learn_logvar", "logvar_init", "use_positional_encodings",
    "clip_denoised", "ckpt_path", "ignore_keys", "load_only_unet", "cond_stage_forward",
    "unet_trainable", "ucg_training", "reset_ema", "reset_num_ema_updates", "make_it_fit",
    /* of the textual inversion's fork, for training */
    "personalization_config", "embedding_reg_weight", "unfreeze_model", "model_lr",
    /* LatentInpaintDiffusion */
    "concat_keys", "masked_image_key", "finetune_keys", "keep_finetune_dims", "c_concat_log_start",
    "c_concat_log_end", NULL};

static const sd_fixed ldm_fixed[] = {
    {"force_null_conditioning", SD_FIXED_FALSE, 0, NULL},
    {"given_betas", SD_FIXED_UNSET, 0, NULL},
    {"v_posterior", SD_FIXED_NUMBER, 0, NULL},
};

/* register_schedule and make_beta_schedule. */
static void read_schedule(section *s) {
    static const char *const names[] = {"linear", "cosine", "sqrt_linear", "sqrt"};
    static const sd_beta_schedule kinds[] = {SD_BETA_SCALED_LINEAR, SD_BETA_COSINE, SD_BETA_LINEAR,
                                             SD_BETA_SQRT};
    static const char *const outputs[] = {"eps", "x0", "v"};
    static const sd_prediction predictions[] = {SD_PREDICT_EPSILON, SD_PREDICT_SAMPLE,
                                                SD_PREDICT_V};
    sd_schedule_config *c = &s->desc->schedule;
    int kind = sdi_ldm_word(s, "beta_schedule", "linear", names, 4,
                            "\"linear\", \"cosine\", \"sqrt_linear\" and \"sqrt\"");
    int output =
        sdi_ldm_word(s, "parameterization", "eps", outputs, 3, "\"eps\", \"x0\" and \"v\"");
    *c = (sd_schedule_config){.beta_schedule = kinds[kind], .prediction = predictions[output]};
    c->beta_start = sdi_reader_number(&s->r, "linear_start", 1e-4, 1e-9, 0.999);
    c->beta_end = sdi_reader_number(&s->r, "linear_end", 2e-2, c->beta_start, 0.999);
    c->cosine_s = sdi_reader_number(&s->r, "cosine_s", 8e-3, 1e-9, 1.0);
    c->train_timesteps = sdi_reader_int(&s->r, "timesteps", 1000, 1, 100000);
}

/* DiffusionWrapper's key; concat_mode, which is true unless said otherwise, where there is none. */
static void read_condition_key(section *s, const char *fallback) {
    static const char *const names[] = {"crossattn", "concat", "hybrid"};
    bool concat = sdi_reader_bool(&s->r, "concat_mode", true);
    if (!fallback)
        fallback = concat ? "concat" : "crossattn";
    s->desc->condition_key =
        (sd_conditioning_key)sdi_ldm_word(s, "conditioning_key", fallback, names, 3,
                                          "\"crossattn\", \"concat\", \"hybrid\" and null");
}

/* The three networks must agree. */
static void check_networks(section *s) {
    const sd_description *desc = s->desc;
    const sd_unet_config *unet = &desc->unet;
    int latent = desc->vae.latent_channels;
    int channels = sdi_reader_int(&s->r, "channels", 3, 1, SD_MAX_CHANNELS);
    bool concat =
        desc->condition_key == SD_CONDITION_CONCAT || desc->condition_key == SD_CONDITION_HYBRID;
    bool context = desc->conditioning != SD_CONDITIONING_NONE;
    const char *path = s->r.path;
    if (s->r.status)
        return;
    if (channels != latent || unet->out_channels != latent)
        s->r.status = sdi_fail(s->r.ctx, SD_ERROR_MODEL,
                               "%s: \"channels\" is %d, the UNet's \"out_channels\" %d, and the "
                               "first stage's latents have %d",
                               path, channels, unet->out_channels, latent);
    else if (concat ? unet->in_channels <= latent : unet->in_channels != latent)
        s->r.status = sdi_fail(s->r.ctx, SD_ERROR_MODEL,
                               "%s: the UNet takes %d channels, which does not go with latents of "
                               "%d and its conditioning_key",
                               path, unet->in_channels, latent);
    else if (context == unet->plain_attention)
        s->r.status =
            sdi_fail(s->r.ctx, SD_ERROR_UNSUPPORTED,
                     "%s: \"cond_stage_config\" and \"use_spatial_transformer\" do not go "
                     "together",
                     path);
}

static void read_diffusion(section *s, const char *conditioning_key) {
    sd_description *desc = s->desc;
    sdi_ldm_check(s, ldm_read, ldm_ignored, ldm_fixed, SD_COUNT(ldm_fixed));
    sdi_ldm_need(s, "cond_stage_config");
    read_schedule(s);
    read_condition_key(s, conditioning_key);
    desc->unet.sample_size = sdi_reader_int(&s->r, "image_size", 256, 1, SD_MAX_SAMPLE);
    desc->vae.scaling_factor = sdi_reader_number(&s->r, "scale_factor", 1.0, 1e-6, 1e6);
    desc->scale_by_std = sdi_reader_bool(&s->r, "scale_by_std", false);
    desc->average = !sdi_reader_bool(&s->r, "use_ema", true)   ? SD_AVERAGE_NONE
                    : sdi_reader_get(&s->r, "use_ema") != NULL ? SD_AVERAGE_ASKED
                                                               : SD_AVERAGE_ASSUMED;
    sdi_ldm_unet(s, "unet_config");
    sdi_ldm_first_stage(s, "first_stage_config");
    if (!s->r.status)
        read_cond_stage(s);
    check_networks(s);
}

static void read_ldm(section *s) {
    read_diffusion(s, NULL);
}

static void read_inpaint(section *s) {
    read_diffusion(s, "hybrid");
}

/* The target is the first stage's own. */
static void read_first_stage_alone(section *s) {
    s->desc->first_stage_only = true;
    s->desc->conditioning = SD_CONDITIONING_NONE;
    s->desc->condition_key = SD_CONDITION_NONE;
    s->desc->vae.scaling_factor = 1.0;
    sdi_ldm_first_stage_alone(s);
}

static const sd_ldm_class models[] = {
    {"ldm.models.diffusion.ddpm.LatentDiffusion", read_ldm},
    {"ldm.models.diffusion.ddpm.LatentInpaintDiffusion", read_inpaint},
    {"sgm.models.diffusion.DiffusionEngine", sdi_sgm_engine},
    {"ldm.models.diffusion.DiffusionEngine", sdi_sgm_engine},
    {"ldm.models.autoencoder.AutoencoderKL", read_first_stage_alone},
    {"ldm.models.autoencoder.VQModelInterface", read_first_stage_alone},
    {"ldm.models.autoencoder.VQModel", read_first_stage_alone},
};

static const char *family_of(const sd_description *d) {
    if (d->first_stage_only)
        return d->vae.kind == SD_FIRST_STAGE_VQ ? "first stage (VQ)" : "first stage (KL)";
    if (d->conditioning != SD_CONDITIONING_TEXT)
        return "latent diffusion";
    return d->texts == SD_TEXTS_BOTH                     ? "Stable Diffusion XL"
           : d->texts == SD_TEXTS_SECOND                 ? "Stable Diffusion XL refiner"
           : d->text.names.layout == SD_LAYOUT_OPEN_CLIP ? "Stable Diffusion 2.x"
                                                         : "Stable Diffusion 1.x";
}

sd_status sdi_ldm_config(const sd_context *ctx, const char *path, sd_description *desc) {
    json_t *root;
    sd_status status = sdi_yaml_read(ctx, path, &root);
    if (status)
        return status;
    const json_t *model = json_object_get(root, "model");
    section top = {.ctx = ctx, .desc = desc, .file = path, .path = sdi_format(ctx, "%s:", path)};
    if (!top.path)
        status = SD_ERROR_MEMORY;
    else if (!json_is_object(model))
        status = sdi_fail(ctx, SD_ERROR_FORMAT,
                          "%s: \"model\" is %s; a mapping with target and params was expected",
                          path, sdi_json_type_name(model));
    else
        status = sdi_ldm_instantiate(&top, "model", model, models, SD_COUNT(models));
    desc->family = family_of(desc);
    sdi_free(ctx, top.path);
    json_decref(root);
    return status;
}
