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

/* ------------------------------------------------------------------------- UNetModel */

static const char *const unet_read[] = {"in_channels",
                                        "out_channels",
                                        "model_channels",
                                        "num_res_blocks",
                                        "attention_resolutions",
                                        "channel_mult",
                                        "conv_resample",
                                        "num_heads",
                                        "num_head_channels",
                                        "num_heads_upsample",
                                        "use_scale_shift_norm",
                                        "resblock_updown",
                                        "use_new_attention_order",
                                        "use_spatial_transformer",
                                        "transformer_depth",
                                        "context_dim",
                                        "legacy",
                                        "use_linear_in_transformer",
                                        NULL};

static const char *const unet_ignored[] = {"image_size", "dropout",  "use_checkpoint",
                                           "use_fp16",   "use_bf16", NULL};

static const sd_fixed unet_fixed[] = {
    {"dims", SD_FIXED_NUMBER, 2, NULL},
    {"num_classes", SD_FIXED_UNSET, 0, NULL},
    {"n_embed", SD_FIXED_UNSET, 0, NULL},
    {"adm_in_channels", SD_FIXED_UNSET, 0, NULL},
    {"disable_self_attentions", SD_FIXED_UNSET, 0, NULL},
    {"num_attention_blocks", SD_FIXED_UNSET, 0, NULL},
    {"disable_middle_self_attn", SD_FIXED_FALSE, 0, NULL},
};

static void need(section *s, const char *key) {
    if (!s->r.status && !sdi_reader_get(&s->r, key) && !s->r.status)
        s->r.status = sdi_fail(s->r.ctx, SD_ERROR_FORMAT, "%s: \"%s\" of %s is missing", s->r.path,
                               key, s->target);
}

/* A list of integers, perhaps empty; returns how many. */
static int read_integers(section *s, const char *key, int *out, int max_n, int max) {
    const int none = 0;
    const json_t *v = sdi_reader_get(&s->r, key);
    if (!v || (json_is_array(v) && json_array_size(v) == 0))
        return 0;
    return sdi_reader_list(&s->r, key, &none, 0, out, max_n, 1, max);
}

/* channel_mult times model_channels. */
static int read_levels(section *s, const char *key, const int *fallback, int n_fallback, int base,
                       int *channels) {
    int mult[SD_MAX_LEVELS] = {1};
    int n = sdi_reader_list(&s->r, key, fallback, n_fallback, mult, SD_MAX_LEVELS, 1, 1024);
    for (int i = 0; i < n; i++) {
        channels[i] = base * mult[i]; /* at most 2^14 * 2^10 */
        if (!s->r.status && channels[i] > SD_MAX_CHANNELS)
            s->r.status = sdi_fail(s->r.ctx, SD_ERROR_FORMAT,
                                   "%s: \"%s\" makes %d channels; at most %d were expected",
                                   s->r.path, key, channels[i], SD_MAX_CHANNELS);
    }
    return n;
}

/*
 * Heads at each level, as UNetModel chooses them: num_heads, or as many as there are groups of
 * num_head_channels. With `legacy` (the default) and a SpatialTransformer the head size is then
 * channels / heads, which is the same number. num_heads_upsample only counts for AttentionBlocks.
 */
static void read_heads(section *s, sd_unet_config *c) {
    int heads = sdi_reader_int(&s->r, "num_heads", -1, -1, SD_MAX_CHANNELS);
    int width = sdi_reader_int(&s->r, "num_head_channels", -1, -1, SD_MAX_CHANNELS);
    int up = sdi_reader_int(&s->r, "num_heads_upsample", -1, -1, SD_MAX_CHANNELS);
    sdi_reader_bool(&s->r, "legacy", true);
    if (s->r.status)
        return;
    if (heads < 1 && width < 1)
        s->r.status = sdi_fail(s->r.ctx, SD_ERROR_FORMAT,
                               "%s: \"num_heads\" or \"num_head_channels\" is missing", s->r.path);
    else if (up != -1 && up != heads && width < 1)
        s->r.status = sdi_fail(s->r.ctx, SD_ERROR_UNSUPPORTED,
                               "%s: \"num_heads_upsample\" is %d; libsd knows only num_heads, %d",
                               s->r.path, up, heads);
    for (int i = 0; i < c->n_levels && !s->r.status; i++) {
        c->heads[i] = width > 0 ? c->channels[i] / width : heads;
        if (c->heads[i] < 1 || (width > 0 && c->channels[i] % width != 0))
            s->r.status = sdi_fail(s->r.ctx, SD_ERROR_FORMAT,
                                   "%s: \"num_head_channels\" is %d, which does not divide the %d "
                                   "channels of level %d",
                                   s->r.path, width, c->channels[i], i);
    }
}

/* attention_resolutions are factors of downsampling: 1 is the first level, 8 the fourth. The middle
 * is as deep as the last level, whether that has attention or not. */
static void read_unet_attention(section *s, sd_unet_config *c) {
    int factors[32], depth[SD_MAX_LEVELS];
    int n = read_integers(s, "attention_resolutions", factors, (int)SD_COUNT(factors), 1 << 20);
    sdi_reader_levels(&s->r, "transformer_depth", 1, c->n_levels, depth, 1, 32);
    for (int i = 0; i < c->n_levels; i++)
        for (int j = 0; j < n && !s->r.status; j++)
            if (factors[j] == 1 << i)
                sdi_unet_set_depths(c, i, depth[i]);
    c->mid_blocks = 2;
    c->depth_mid = depth[c->n_levels - 1];
}

static void read_unet(section *s) {
    static const char *const needed[] = {"in_channels", "out_channels", "model_channels",
                                         "num_res_blocks", "attention_resolutions"};
    static const int mult[] = {1, 2, 4, 8};
    sd_unet_config *c = &s->desc->unet;
    int size = c->sample_size; /* LatentDiffusion's image_size */
    sd_reader *r = &s->r;
    sdi_ldm_check(s, unet_read, unet_ignored, unet_fixed, SD_COUNT(unet_fixed));
    for (size_t i = 0; i < SD_COUNT(needed); i++)
        need(s, needed[i]);
    *c = (sd_unet_config){.norm_groups = 32, .norm_eps = 1e-5f, .sample_size = size};
    c->in_channels = sdi_reader_int(r, "in_channels", 4, 1, SD_MAX_CHANNELS);
    c->out_channels = sdi_reader_int(r, "out_channels", 4, 1, SD_MAX_CHANNELS);
    c->model_channels = sdi_reader_int(r, "model_channels", 320, 1, SD_MAX_CHANNELS);
    int blocks = sdi_reader_same(r, "num_res_blocks", 2, 1, SD_MAX_BLOCKS);
    c->n_levels = read_levels(s, "channel_mult", mult, 4, c->model_channels, c->channels);
    if (!r->status && c->channels[0] != c->model_channels)
        r->status = sdi_fail(r->ctx, SD_ERROR_UNSUPPORTED,
                             "%s: \"channel_mult\" begins with another number than 1", r->path);
    for (int i = 0; i < c->n_levels; i++)
        c->res_blocks[i] = blocks;
    read_unet_attention(s, c);
    read_heads(s, c);
    c->plain_attention = !sdi_reader_bool(r, "use_spatial_transformer", false);
    c->whole_qkv = sdi_reader_bool(r, "use_new_attention_order", false);
    c->scale_shift_norm = sdi_reader_bool(r, "use_scale_shift_norm", false);
    c->updown_blocks = sdi_reader_bool(r, "resblock_updown", false);
    c->pooled_resample = !sdi_reader_bool(r, "conv_resample", true);
    c->linear_projection = sdi_reader_bool(r, "use_linear_in_transformer", false);
    c->context_dim = sdi_reader_same(r, "context_dim", 0, 1, SD_MAX_CHANNELS);
    if (!r->status && c->plain_attention != (c->context_dim == 0))
        r->status =
            sdi_fail(r->ctx, SD_ERROR_FORMAT,
                     "%s: \"use_spatial_transformer\" and \"context_dim\" go together", r->path);
    if (!r->status)
        r->status = sdi_check_unet(r->ctx, r->path, c);
}

static const sd_ldm_class unets[] = {
    {"ldm.modules.diffusionmodules.openaimodel.UNetModel", read_unet},
};

/* ------------------------------------------------------------------------- first stages */

static const char *const dd_read[] = {
    "double_z", "z_channels",     "resolution",       "in_channels", "out_ch", "ch",
    "ch_mult",  "num_res_blocks", "attn_resolutions", "attn_type",   NULL};
static const sd_fixed dd_fixed[] = {
    {"resamp_with_conv", SD_FIXED_TRUE, 0, NULL},
    {"use_linear_attn", SD_FIXED_FALSE, 0, NULL},
    {"give_pre_end", SD_FIXED_FALSE, 0, NULL},
    {"tanh_out", SD_FIXED_FALSE, 0, NULL},
};

/* The place of a string in `names`. */
static int read_word(section *s, const char *key, const char *fallback, const char *const *names,
                     int n, const char *expected) {
    const char *word = sdi_reader_string(&s->r, key, fallback);
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], word) == 0)
            return i;
    sdi_reader_unsupported(&s->r, key, sdi_reader_get(&s->r, key), expected);
    return 0;
}

/* Encoder's and Decoder's arguments. */
static void read_ddconfig(section *s) {
    static const char *const needed[] = {
        "z_channels", "resolution", "in_channels",    "out_ch",
        "ch",         "ch_mult",    "num_res_blocks", "attn_resolutions"};
    /* xformers computes the same */
    static const char *const types[] = {"none", "vanilla", "vanilla-xformers"};
    static const int mult[] = {1, 2, 4, 8};
    sd_vae_config *c = &s->desc->vae;
    sd_reader *r = &s->r;
    int sides[32];
    sdi_ldm_ignore_others(s, dd_read, dd_fixed, SD_COUNT(dd_fixed));
    for (size_t i = 0; i < SD_COUNT(needed); i++)
        need(s, needed[i]);
    c->in_channels = sdi_reader_int(r, "in_channels", 3, 1, SD_MAX_CHANNELS);
    c->out_channels = sdi_reader_int(r, "out_ch", 3, 1, SD_MAX_CHANNELS);
    c->z_channels = sdi_reader_int(r, "z_channels", 4, 1, SD_MAX_CHANNELS / 2);
    c->res_blocks = sdi_reader_same(r, "num_res_blocks", 2, 1, SD_MAX_BLOCKS);
    int ch = sdi_reader_int(r, "ch", 128, 1, SD_MAX_CHANNELS);
    c->n_levels = read_levels(s, "ch_mult", mult, 4, ch, c->channels);
    int resolution = sdi_reader_int(r, "resolution", 256, 1, 1 << 20);
    int n = read_integers(s, "attn_resolutions", sides, (int)SD_COUNT(sides), 1 << 20);
    /* make_attn: "none" is nn.Identity, also in the middle */
    c->mid_attention = read_word(s, "attn_type", "vanilla", types, 3,
                                 "\"vanilla\", \"vanilla-xformers\" and \"none\"") > 0;
    for (int i = 0; i < c->n_levels && c->mid_attention; i++)
        for (int j = 0; j < n && !r->status; j++)
            c->attention[i] = c->attention[i] || sides[j] == resolution >> i;
    bool double_z = sdi_reader_bool(r, "double_z", true);
    if (!r->status && double_z != (c->kind == SD_FIRST_STAGE_KL))
        r->status = sdi_fail(r->ctx, SD_ERROR_UNSUPPORTED,
                             "%s: \"double_z\" is %s; an AutoencoderKL has it and a VQ model not",
                             r->path, double_z ? "true" : "false");
    if (s->desc->first_stage_only)
        s->desc->unet.sample_size = resolution >> (c->n_levels - 1);
}

static const char *const vae_read[] = {"ddconfig", "embed_dim", NULL};
static const char *const vq_read[] = {"ddconfig", "embed_dim", "n_embed", NULL};
static const char *const vae_ignored[] = {"lossconfig",
                                          "ckpt_path",
                                          "ignore_keys",
                                          "image_key",
                                          "monitor",
                                          "ema_decay",
                                          "batch_resize_range",
                                          "scheduler_config",
                                          "lr_g_factor",
                                          "sane_index_shape",
                                          "use_ema",
                                          "learn_logvar",
                                          NULL};
static const sd_fixed vae_fixed[] = {
    {"colorize_nlabels", SD_FIXED_UNSET, 0, NULL},
    {"remap", SD_FIXED_UNSET, 0, NULL},
};

static void read_autoencoder(section *s, sd_first_stage kind) {
    sd_vae_config *c = &s->desc->vae;
    double scale = c->scaling_factor;
    sdi_ldm_check(s, kind == SD_FIRST_STAGE_VQ ? vq_read : vae_read, vae_ignored, vae_fixed,
                  SD_COUNT(vae_fixed));
    need(s, "ddconfig");
    need(s, "embed_dim");
    *c = (sd_vae_config){.kind = kind,
                         .norm_groups = 32,
                         .quant_conv = true,
                         .post_quant_conv = true,
                         .scaling_factor = scale};
    c->latent_channels = sdi_reader_int(&s->r, "embed_dim", 4, 1, SD_MAX_CHANNELS / 2);
    if (kind == SD_FIRST_STAGE_VQ) {
        need(s, "n_embed");
        c->n_codes = sdi_reader_int(&s->r, "n_embed", 1, 1, SD_MAX_VOCAB);
    }
    if (s->r.status)
        return;
    section dd;
    sdi_ldm_open(&dd, s, "ddconfig", sdi_reader_get(&s->r, "ddconfig"));
    read_ddconfig(&dd);
    sdi_ldm_keep(s, sdi_ldm_close(&dd));
    if (!s->r.status)
        s->r.status = sdi_check_vae(s->r.ctx, s->r.path, c);
}

static void read_kl(section *s) {
    read_autoencoder(s, SD_FIRST_STAGE_KL);
}

static void read_vq(section *s) {
    read_autoencoder(s, SD_FIRST_STAGE_VQ);
}

/* VQModelInterface's parent, whose encode quantises in place of its decode. */
static void read_vq_model(section *s) {
    read_vq(s);
    s->desc->vae.encode_quantizes = true;
}

static void read_identity(section *s) {
    static const char *const ignored[] = {"vq_interface", NULL};
    sd_vae_config *c = &s->desc->vae;
    sdi_ldm_check(s, NULL, ignored, NULL, 0);
    *c = (sd_vae_config){.kind = SD_FIRST_STAGE_IDENTITY,
                         .in_channels = 3,
                         .out_channels = 3,
                         .latent_channels = 3,
                         .n_levels = 1,
                         .scaling_factor = c->scaling_factor};
}

static const sd_ldm_class first_stages[] = {
    {"ldm.models.autoencoder.AutoencoderKL", read_kl},
    {"ldm.models.autoencoder.VQModelInterface", read_vq},
    {"ldm.models.autoencoder.VQModel", read_vq_model},
    {"ldm.models.autoencoder.IdentityFirstStage", read_identity},
};

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
    need(s, "embed_dim");
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
    int kind = read_word(s, "beta_schedule", "linear", names, 4,
                         "\"linear\", \"cosine\", \"sqrt_linear\" and \"sqrt\"");
    int output = read_word(s, "parameterization", "eps", outputs, 3, "\"eps\", \"x0\" and \"v\"");
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
        (sd_conditioning_key)read_word(s, "conditioning_key", fallback, names, 3,
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
    static const struct {
        const char *key;
        const sd_ldm_class *rows;
        size_t n;
    } parts[] = {{"unet_config", unets, SD_COUNT(unets)},
                 {"first_stage_config", first_stages, SD_COUNT(first_stages)}};
    sdi_ldm_check(s, ldm_read, ldm_ignored, ldm_fixed, SD_COUNT(ldm_fixed));
    need(s, "cond_stage_config");
    read_schedule(s);
    read_condition_key(s, conditioning_key);
    desc->unet.sample_size = sdi_reader_int(&s->r, "image_size", 256, 1, SD_MAX_SAMPLE);
    desc->vae.scaling_factor = sdi_reader_number(&s->r, "scale_factor", 1.0, 1e-6, 1e6);
    desc->scale_by_std = sdi_reader_bool(&s->r, "scale_by_std", false);
    desc->average = !sdi_reader_bool(&s->r, "use_ema", true)   ? SD_AVERAGE_NONE
                    : sdi_reader_get(&s->r, "use_ema") != NULL ? SD_AVERAGE_ASKED
                                                               : SD_AVERAGE_ASSUMED;
    for (size_t i = 0; i < SD_COUNT(parts); i++) {
        need(s, parts[i].key);
        if (!s->r.status)
            s->r.status = sdi_ldm_instantiate(s, parts[i].key, sdi_reader_get(&s->r, parts[i].key),
                                              parts[i].rows, parts[i].n);
    }
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

static void read_first_stage_alone(section *s, void (*read)(section *s)) {
    s->desc->first_stage_only = true;
    s->desc->conditioning = SD_CONDITIONING_NONE;
    s->desc->condition_key = SD_CONDITION_NONE;
    s->desc->vae.scaling_factor = 1.0;
    read(s);
}

static void read_kl_alone(section *s) {
    read_first_stage_alone(s, read_kl);
}

static void read_vq_alone(section *s) {
    read_first_stage_alone(s, read_vq);
}

static void read_vq_model_alone(section *s) {
    read_first_stage_alone(s, read_vq_model);
}

static const sd_ldm_class models[] = {
    {"ldm.models.diffusion.ddpm.LatentDiffusion", read_ldm},
    {"ldm.models.diffusion.ddpm.LatentInpaintDiffusion", read_inpaint},
    {"ldm.models.autoencoder.AutoencoderKL", read_kl_alone},
    {"ldm.models.autoencoder.VQModelInterface", read_vq_alone},
    {"ldm.models.autoencoder.VQModel", read_vq_model_alone},
};

static const char *family_of(const sd_description *d) {
    if (d->first_stage_only)
        return d->vae.kind == SD_FIRST_STAGE_VQ ? "first stage (VQ)" : "first stage (KL)";
    if (d->conditioning != SD_CONDITIONING_TEXT)
        return "latent diffusion";
    return d->text.names.layout == SD_LAYOUT_OPEN_CLIP ? "Stable Diffusion 2.x"
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
