/*
 * The networks of YAML configs: UNetModel and the first stages, as the original repositories and
 * Stability's generative-models have them.
 */
#include "describe/config.h"

#include "describe/ldm_section.h"

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
                                        "num_classes",
                                        "adm_in_channels",
                                        "context_dim",
                                        "legacy",
                                        "use_linear_in_transformer",
                                        NULL};

static const char *const unet_ignored[] = {
    "image_size", "dropout",  "use_checkpoint",
    "use_fp16",   "use_bf16", "spatial_transformer_attn_type",
    NULL};

static const sd_fixed unet_fixed[] = {
    {"dims", SD_FIXED_NUMBER, 2, NULL},
    {"num_classes", SD_FIXED_TEXT, 0, "sequential"},
    {"n_embed", SD_FIXED_UNSET, 0, NULL},
    {"disable_self_attentions", SD_FIXED_UNSET, 0, NULL},
    {"num_attention_blocks", SD_FIXED_UNSET, 0, NULL},
    {"disable_middle_self_attn", SD_FIXED_FALSE, 0, NULL},
    {"disable_middle_transformer", SD_FIXED_FALSE, 0, NULL},
};

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
        if (!sdi_unet_has_attention(c, i))
            continue;
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

/* label_emb is of a vector; generative-models' class knows no other attention. */
static void read_label(section *s, sd_unet_config *c) {
    if (!sdi_reader_get(&s->r, "num_classes"))
        return;
    sdi_ldm_need(s, "adm_in_channels");
    c->label_dim = sdi_reader_int(&s->r, "adm_in_channels", 0, 1, SD_MAX_CHANNELS);
}

static bool is_sgm(const section *s) {
    return strncmp(s->target, "sgm.", 4) == 0;
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
        sdi_ldm_need(s, needed[i]);
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
    c->plain_attention = !sdi_reader_bool(r, "use_spatial_transformer", is_sgm(s));
    c->whole_qkv = sdi_reader_bool(r, "use_new_attention_order", false);
    c->scale_shift_norm = sdi_reader_bool(r, "use_scale_shift_norm", false);
    c->updown_blocks = sdi_reader_bool(r, "resblock_updown", false);
    c->pooled_resample = !sdi_reader_bool(r, "conv_resample", true);
    c->linear_projection = sdi_reader_bool(r, "use_linear_in_transformer", false);
    c->context_dim = sdi_reader_same(r, "context_dim", 0, 1, SD_MAX_CHANNELS);
    read_label(s, c);
    if (!r->status && c->plain_attention != (c->context_dim == 0))
        r->status =
            sdi_fail(r->ctx, SD_ERROR_FORMAT,
                     "%s: \"use_spatial_transformer\" and \"context_dim\" go together", r->path);
    if (!r->status)
        r->status = sdi_check_unet(r->ctx, r->path, c);
}

static const sd_ldm_class unets[] = {
    {"ldm.modules.diffusionmodules.openaimodel.UNetModel", read_unet},
    {"sgm.modules.diffusionmodules.openaimodel.UNetModel", read_unet},
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
        sdi_ldm_need(s, needed[i]);
    c->in_channels = sdi_reader_int(r, "in_channels", 3, 1, SD_MAX_CHANNELS);
    c->out_channels = sdi_reader_int(r, "out_ch", 3, 1, SD_MAX_CHANNELS);
    c->z_channels = sdi_reader_int(r, "z_channels", 4, 1, SD_MAX_CHANNELS / 2);
    c->res_blocks = sdi_reader_same(r, "num_res_blocks", 2, 1, SD_MAX_BLOCKS);
    int ch = sdi_reader_int(r, "ch", 128, 1, SD_MAX_CHANNELS);
    c->n_levels = read_levels(s, "ch_mult", mult, 4, ch, c->channels);
    int resolution = sdi_reader_int(r, "resolution", 256, 1, 1 << 20);
    int n = read_integers(s, "attn_resolutions", sides, (int)SD_COUNT(sides), 1 << 20);
    /* make_attn: "none" is nn.Identity, also in the middle */
    c->mid_attention = sdi_ldm_word(s, "attn_type", "vanilla", types, 3,
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
    sdi_ldm_need(s, "ddconfig");
    sdi_ldm_need(s, "embed_dim");
    *c = (sd_vae_config){.kind = kind,
                         .norm_groups = 32,
                         .quant_conv = true,
                         .post_quant_conv = true,
                         .force_upcast = true,
                         .scaling_factor = scale};
    c->latent_channels = sdi_reader_int(&s->r, "embed_dim", 4, 1, SD_MAX_CHANNELS / 2);
    if (kind == SD_FIRST_STAGE_VQ) {
        sdi_ldm_need(s, "n_embed");
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
    {"ldm.models.autoencoder.AutoencoderKLInferenceWrapper", read_kl},
    {"sgm.models.autoencoder.AutoencoderKL", read_kl},
    {"sgm.models.autoencoder.AutoencoderKLInferenceWrapper", read_kl},
    {"ldm.models.autoencoder.VQModelInterface", read_vq},
    {"ldm.models.autoencoder.VQModel", read_vq_model},
    {"ldm.models.autoencoder.IdentityFirstStage", read_identity},
};

void sdi_ldm_first_stage_alone(section *s) {
    for (size_t i = 0; i < SD_COUNT(first_stages); i++)
        if (strcmp(first_stages[i].target, s->target) == 0)
            first_stages[i].read(s);
}

void sdi_ldm_unet(section *s, const char *key) {
    sdi_ldm_instantiate_key(s, key, unets, SD_COUNT(unets));
}

void sdi_ldm_first_stage(section *s, const char *key) {
    sdi_ldm_instantiate_key(s, key, first_stages, SD_COUNT(first_stages));
}
