/*
 * config.json of diffusers (UNet2DConditionModel, AutoencoderKL, the schedulers) and of
 * transformers (CLIPTextModel). A missing key has the default of the class's constructor.
 */
#include "describe/config.h"

#include "io/reader.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------- UNet */

/* Options that UNetModel of the original does not have. */
static const sd_fixed unet_fixed[] = {
    {"_class_name", SD_FIXED_TEXT, 0, "UNet2DConditionModel"},
    {"act_fn", SD_FIXED_TEXT, 0, "silu"},
    {"addition_embed_type", SD_FIXED_TEXT, 0, "text_time"},
    {"attention_type", SD_FIXED_TEXT, 0, "default"},
    {"center_input_sample", SD_FIXED_FALSE, 0, NULL},
    {"class_embed_type", SD_FIXED_UNSET, 0, NULL},
    {"conv_in_kernel", SD_FIXED_NUMBER, 3, NULL},
    {"conv_out_kernel", SD_FIXED_NUMBER, 3, NULL},
    {"cross_attention_norm", SD_FIXED_UNSET, 0, NULL},
    {"downsample_padding", SD_FIXED_NUMBER, 1, NULL},
    {"dual_cross_attention", SD_FIXED_FALSE, 0, NULL},
    {"encoder_hid_dim", SD_FIXED_UNSET, 0, NULL},
    {"encoder_hid_dim_type", SD_FIXED_UNSET, 0, NULL},
    {"flip_sin_to_cos", SD_FIXED_TRUE, 0, NULL},
    {"freq_shift", SD_FIXED_NUMBER, 0, NULL},
    {"mid_block_only_cross_attention", SD_FIXED_FALSE, 0, NULL},
    {"mid_block_scale_factor", SD_FIXED_NUMBER, 1, NULL},
    {"num_class_embeds", SD_FIXED_UNSET, 0, NULL},
    {"only_cross_attention", SD_FIXED_FALSE, 0, NULL},
    {"resnet_out_scale_factor", SD_FIXED_NUMBER, 1, NULL},
    {"resnet_skip_time_act", SD_FIXED_FALSE, 0, NULL},
    {"resnet_time_scale_shift", SD_FIXED_TEXT, 0, "default"},
    {"time_embedding_act_fn", SD_FIXED_UNSET, 0, NULL},
    {"time_embedding_dim", SD_FIXED_UNSET, 0, NULL},
    {"time_embedding_type", SD_FIXED_TEXT, 0, "positional"},
    {"timestep_post_act", SD_FIXED_UNSET, 0, NULL},
};

/* A list of n block types, each `plain` or `attention`; sets has_attention[i], from the end where
 * `reverse`. Returns false where the key is absent. */
static bool read_blocks(sd_reader *r, const char *key, const char *plain, const char *attention,
                        int n, bool reverse, bool *has_attention) {
    const json_t *v = sdi_reader_get(r, key);
    if (!v)
        return false;
    char expected[96];
    if (!json_is_array(v) || json_array_size(v) != (size_t)n) {
        snprintf(expected, sizeof expected, "a list of %d, one for each of block_out_channels,", n);
        sdi_reader_wrong(r, key, v, expected);
        return true;
    }
    for (int i = 0; i < n && !r->status; i++) {
        const json_t *item = json_array_get(v, (size_t)i);
        const char *text = json_string_value(item);
        bool is_attention = text && attention && strcmp(text, attention) == 0;
        if (!text) {
            sdi_reader_wrong(r, key, item, "a string");
        } else if (!is_attention && strcmp(text, plain) != 0) {
            snprintf(expected, sizeof expected, "%s%s%s", plain, attention ? " and " : "",
                     attention ? attention : "");
            sdi_reader_unsupported(r, key, item, expected);
        }
        has_attention[reverse ? n - 1 - i : i] = is_attention;
    }
    return true;
}

/* Which levels have attention, on the way down and up. diffusers' defaults are those of SD 1.x, for
 * four levels. */
static void read_unet_blocks(sd_reader *r, int n, bool *down, bool *up) {
    for (int i = 0; i < n; i++)
        down[i] = up[i] = n == 4 && i < 3;
    bool given =
        read_blocks(r, "down_block_types", "DownBlock2D", "CrossAttnDownBlock2D", n, false, down);
    given =
        read_blocks(r, "up_block_types", "UpBlock2D", "CrossAttnUpBlock2D", n, true, up) && given;
    if (!r->status && !given && n != 4)
        r->status =
            sdi_fail(r->ctx, SD_ERROR_FORMAT,
                     "%s: \"down_block_types\" and \"up_block_types\" are needed for the %d "
                     "levels of block_out_channels",
                     r->path, n);
}

#define DEPTHS "transformer_layers_per_block"
#define REVERSE "reverse_" DEPTHS

/* What a list has for number i; anything else is for all. */
static const json_t *item_of(sd_reader *r, const char *key, const json_t *v, int i, int n) {
    char expected[64];
    if (!json_is_array(v))
        return v;
    snprintf(expected, sizeof expected, "an integer or a list of %d", n);
    if (json_array_size(v) != (size_t)n)
        sdi_reader_wrong(r, key, v, expected);
    return json_array_get(v, (size_t)i);
}

/* Layers behind each ResBlock of one level; without a value one. */
static void read_depth(sd_reader *r, sd_unet_config *c, const char *key, const json_t *v, bool up,
                       int level) {
    int n = c->res_blocks[level] + up;
    for (int i = 0; i < n && !r->status; i++) {
        const json_t *item = item_of(r, key, v, i, n);
        int depth = item ? sdi_reader_item(r, key, item, 1, SD_MAX_BLOCKS) : 1;
        sdi_unet_set_depth(c, up, level, i, depth);
    }
}

static bool is_nested(const json_t *v) {
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)v, i, item) {
        if (json_is_array(item))
            return true;
    }
    return false;
}

/* One number for all, or one for each level, which may be a list of its blocks'; the way up has a
 * list of its own then, which begins at the innermost level. */
static void read_depths(sd_reader *r, sd_unet_config *c, const bool *down, const bool *up) {
    const json_t *in = sdi_reader_get(r, DEPTHS), *out = sdi_reader_get(r, REVERSE);
    int n = c->n_levels;
    if (!r->status && !out && is_nested(in))
        r->status = sdi_fail(
            r->ctx, SD_ERROR_FORMAT,
            "%s: \"" DEPTHS "\" has lists of blocks, and \"" REVERSE "\" is missing", r->path);
    for (int i = 0; i < n && !r->status; i++) {
        const json_t *of_level = item_of(r, DEPTHS, in, i, n);
        if (down[i])
            read_depth(r, c, DEPTHS, of_level, false, i);
        if (i == n - 1 && c->mid_blocks == 2) {
            const json_t *first = json_is_array(of_level) ? json_array_get(of_level, 0) : of_level;
            c->depth_mid = first ? sdi_reader_item(r, DEPTHS, first, 1, SD_MAX_BLOCKS) : 1;
        }
        if (up[i])
            read_depth(r, c, out ? REVERSE : DEPTHS,
                       out ? item_of(r, REVERSE, out, n - 1 - i, n) : of_level, true, i);
    }
}

/* null is no middle, which is not what no key is. */
static int read_middle(sd_reader *r) {
    const json_t *v = json_object_get(r->root, "mid_block_type");
    const char *type = sdi_reader_string(r, "mid_block_type", "UNetMidBlock2DCrossAttn");
    if (json_is_null(v))
        return 0;
    if (strcmp(type, "UNetMidBlock2D") == 0)
        return 1;
    if (strcmp(type, "UNetMidBlock2DCrossAttn") != 0)
        sdi_reader_unsupported(r, "mid_block_type", v,
                               "UNetMidBlock2DCrossAttn, UNetMidBlock2D and null");
    return 2;
}

/* TextTimeEmbedding: what is told beside the time. */
static void read_label(sd_reader *r, sd_unet_config *c) {
    static const char *const keys[] = {"projection_class_embeddings_input_dim",
                                       "addition_time_embed_dim"};
    if (!sdi_reader_get(r, "addition_embed_type"))
        return;
    for (int i = 0; i < 2 && !r->status; i++)
        if (!sdi_reader_get(r, keys[i]))
            r->status = sdi_fail(r->ctx, SD_ERROR_FORMAT,
                                 "%s: \"%s\" is missing, which \"addition_embed_type\" needs",
                                 r->path, keys[i]);
    c->label_dim = sdi_reader_int(r, keys[0], 0, 1, SD_MAX_CHANNELS);
    c->size_dim = sdi_reader_int(r, keys[1], 0, 1, SD_MAX_CHANNELS);
}

/* 64, or [height, width]. */
static void read_sample_size(sd_reader *r, int fallback, int *height, int *width) {
    int size[2] = {fallback, fallback};
    sdi_reader_levels(r, "sample_size", fallback, 2, size, 1, SD_MAX_SAMPLE);
    *height = size[0];
    *width = size[1] == size[0] ? 0 : size[1];
}

sd_status sdi_config_unet(const sd_context *ctx, const char *path, void *config) {
    sd_unet_config *c = config;
    static const int channels[] = {320, 640, 1280, 1280};
    sd_reader r = sdi_reader_open(ctx, path);
    bool down[SD_MAX_LEVELS] = {0}, up[SD_MAX_LEVELS] = {0};
    *c = (sd_unet_config){.names = c->names};
    sdi_reader_fixed(&r, unet_fixed, SD_COUNT(unet_fixed));
    c->in_channels = sdi_reader_int(&r, "in_channels", 4, 1, SD_MAX_CHANNELS);
    c->out_channels = sdi_reader_int(&r, "out_channels", 4, 1, SD_MAX_CHANNELS);
    c->n_levels = sdi_reader_list(&r, "block_out_channels", channels, 4, c->channels, SD_MAX_LEVELS,
                                  1, SD_MAX_CHANNELS);
    c->model_channels = c->channels[0];
    sdi_reader_levels(&r, "layers_per_block", 2, c->n_levels, c->res_blocks, 1, SD_MAX_BLOCKS);
    read_unet_blocks(&r, c->n_levels, down, up);
    c->mid_blocks = read_middle(&r);
    /* By diffusers' old mistake attention_head_dim is the number of heads. */
    const char *heads =
        sdi_reader_get(&r, "num_attention_heads") ? "num_attention_heads" : "attention_head_dim";
    sdi_reader_levels(&r, heads, 8, c->n_levels, c->heads, 1, SD_MAX_CHANNELS);
    read_depths(&r, c, down, up);
    c->context_dim = sdi_reader_same(&r, "cross_attention_dim", 1280, 1, SD_MAX_CHANNELS);
    c->norm_groups = sdi_reader_int(&r, "norm_num_groups", 32, 1, SD_MAX_CHANNELS);
    c->norm_eps = (float)sdi_reader_number(&r, "norm_eps", 1e-5, 1e-12, 1.0);
    c->linear_projection = sdi_reader_bool(&r, "use_linear_projection", false);
    c->guidance_dim = sdi_reader_int(&r, "time_cond_proj_dim", 0, 4, SD_MAX_CHANNELS);
    read_label(&r, c);
    read_sample_size(&r, 64, &c->sample_size, &c->sample_width);
    sdi_reader_close(&r);
    return r.status ? r.status : sdi_check_unet(ctx, path, c);
}

/* ------------------------------------------------------------------------- VAE */

#define TINY_CLASS "AutoencoderTiny"

static const sd_fixed vae_fixed[] = {
    {"_class_name", SD_FIXED_TEXT, 0, "AutoencoderKL"},
    {"act_fn", SD_FIXED_TEXT, 0, "silu"},
};

/* latents_mean or latents_std: a list of one number for each latent channel. False: absent. */
static bool read_stats(sd_reader *r, const char *key, int n, double min, float *out) {
    const json_t *v = sdi_reader_get(r, key);
    char expected[96];
    if (!v)
        return false;
    if (json_is_array(v) && n > SD_MAX_LATENT_STATS)
        sdi_reader_unsupported(r, key, v, "lists for 64 latent channels at most");
    snprintf(expected, sizeof expected, "a list of %d numbers%s, one for each latent channel,", n,
             min > 0.0 ? " above 0" : "");
    bool ok = json_is_array(v) && json_array_size(v) == (size_t)n;
    for (int i = 0; ok && i < n && !r->status; i++) {
        const json_t *item = json_array_get(v, (size_t)i);
        double x = json_number_value(item);
        ok = json_is_number(item) && x >= min && x <= 1e6;
        out[i] = (float)x;
    }
    if (!ok)
        sdi_reader_wrong(r, key, v, expected);
    return true;
}

/* diffusers' pipelines look at both together. */
static void read_latent_stats(sd_reader *r, sd_vae_config *c) {
    bool mean = read_stats(r, "latents_mean", c->latent_channels, -1e6, c->latents_mean);
    bool std = read_stats(r, "latents_std", c->latent_channels, 1e-6, c->latents_std);
    if (r->status || mean == std)
        return;
    sdi_log(r->ctx, SD_LOG_LEVEL_WARN, "%s: \"%s\" is there without \"%s\" and not followed",
            r->path, mean ? "latents_mean" : "latents_std", mean ? "latents_std" : "latents_mean");
    memset(c->latents_mean, 0, sizeof c->latents_mean);
    memset(c->latents_std, 0, sizeof c->latents_std);
}

/* Channels of all levels, which AutoencoderTiny has no layer to change. */
static int read_width(sd_reader *r, const char *key, int n) {
    static const int channels[] = {64, 64, 64, 64};
    int widths[SD_MAX_LEVELS] = {0};
    int levels = sdi_reader_list(r, key, channels, 4, widths, SD_MAX_LEVELS, 1, SD_MAX_CHANNELS);
    bool same = levels == n;
    for (int i = 1; i < levels && i < n; i++)
        same = same && widths[i] == widths[0];
    if (!r->status && !same)
        r->status =
            sdi_fail(r->ctx, SD_ERROR_UNSUPPORTED,
                     "%s: \"%s\": %d levels of equal channels were expected", r->path, key, n);
    return widths[0];
}

static const sd_fixed tiny_fixed[] = {
    {"_class_name", SD_FIXED_TEXT, 0, TINY_CLASS},
    {"act_fn", SD_FIXED_TEXT, 0, "relu"},
    {"upsample_fn", SD_FIXED_TEXT, 0, "nearest"},
    {"upsampling_scaling_factor", SD_FIXED_NUMBER, 2, NULL},
};

/* Its latent_magnitude and latent_shift are for latents that are stored as pictures: neither
 * encoder nor decoder knows them. */
static void read_tiny(sd_reader *r, sd_vae_config *c) {
    static const int down[] = {1, 3, 3, 3}, up[] = {3, 3, 3, 1};
    *c = (sd_vae_config){.names = c->names, .kind = SD_FIRST_STAGE_TINY};
    sdi_reader_fixed(r, tiny_fixed, SD_COUNT(tiny_fixed));
    c->in_channels = sdi_reader_int(r, "in_channels", 3, 1, SD_MAX_CHANNELS);
    c->out_channels = sdi_reader_int(r, "out_channels", 3, 1, SD_MAX_CHANNELS);
    c->latent_channels = sdi_reader_int(r, "latent_channels", 4, 1, SD_MAX_CHANNELS);
    c->n_levels = sdi_reader_list(r, "num_encoder_blocks", down, 4, c->tiny_encoder.blocks,
                                  SD_MAX_LEVELS, 0, SD_MAX_BLOCKS);
    int n = sdi_reader_list(r, "num_decoder_blocks", up, 4, c->tiny_decoder.blocks, SD_MAX_LEVELS,
                            0, SD_MAX_BLOCKS);
    if (!r->status && n != c->n_levels)
        sdi_reader_wrong(r, "num_decoder_blocks", sdi_reader_get(r, "num_decoder_blocks"),
                         "as many levels as in \"num_encoder_blocks\"");
    c->tiny_encoder.width = read_width(r, "encoder_block_out_channels", c->n_levels);
    c->tiny_decoder.width = read_width(r, "decoder_block_out_channels", c->n_levels);
    c->scaling_factor = sdi_reader_number(r, "scaling_factor", 1.0, 1e-6, 1e6);
    c->shift_factor = sdi_reader_number(r, "shift_factor", 0.0, -1e6, 1e6);
    sdi_read_latent_rgb(r, "_latent_rgb", c);
}

sd_status sdi_config_tiny(const sd_context *ctx, const char *path, void *config) {
    sd_reader r = sdi_reader_open(ctx, path);
    read_tiny(&r, config);
    sdi_reader_close(&r);
    return r.status;
}

static void read_vae(sd_reader *r, sd_vae_config *c) {
    static const int channels[] = {64};
    bool unused[SD_MAX_LEVELS];
    *c = (sd_vae_config){.names = c->names};
    sdi_reader_fixed(r, vae_fixed, SD_COUNT(vae_fixed));
    c->in_channels = sdi_reader_int(r, "in_channels", 3, 1, SD_MAX_CHANNELS);
    c->out_channels = sdi_reader_int(r, "out_channels", 3, 1, SD_MAX_CHANNELS);
    c->n_levels = sdi_reader_list(r, "block_out_channels", channels, 1, c->channels, SD_MAX_LEVELS,
                                  1, SD_MAX_CHANNELS);
    read_blocks(r, "down_block_types", "DownEncoderBlock2D", NULL, c->n_levels, false, unused);
    read_blocks(r, "up_block_types", "UpDecoderBlock2D", NULL, c->n_levels, true, unused);
    c->res_blocks = sdi_reader_same(r, "layers_per_block", 1, 1, SD_MAX_BLOCKS);
    c->latent_channels = sdi_reader_int(r, "latent_channels", 4, 1, SD_MAX_CHANNELS / 2);
    c->norm_groups = sdi_reader_int(r, "norm_num_groups", 32, 1, SD_MAX_CHANNELS);
    c->scaling_factor = sdi_reader_number(r, "scaling_factor", 0.18215, 1e-6, 1e6);
    c->shift_factor = sdi_reader_number(r, "shift_factor", 0.0, -1e6, 1e6);
    read_latent_stats(r, c);
    c->mid_attention = sdi_reader_bool(r, "mid_block_add_attention", true);
    c->quant_conv = sdi_reader_bool(r, "use_quant_conv", true);
    c->post_quant_conv = sdi_reader_bool(r, "use_post_quant_conv", true);
    c->force_upcast = sdi_reader_bool(r, "force_upcast", true);
    sdi_read_latent_rgb(r, "_latent_rgb", c);
}

sd_status sdi_config_vae(const sd_context *ctx, const char *path, void *config) {
    sd_vae_config *c = config;
    sd_reader r = sdi_reader_open(ctx, path);
    if (strcmp(sdi_reader_string(&r, "_class_name", ""), TINY_CLASS) == 0)
        read_tiny(&r, c);
    else
        read_vae(&r, c);
    sdi_reader_close(&r);
    bool checked = r.status || c->kind == SD_FIRST_STAGE_TINY; /* which has no norms */
    return checked ? r.status : sdi_check_vae(ctx, path, c);
}

/* ------------------------------------------------------------------------- text encoder */

static sd_text_act read_act(sd_reader *r) {
    const char *act = sdi_reader_string(r, "hidden_act", "quick_gelu");
    if (strcmp(act, "quick_gelu") != 0 && strcmp(act, "gelu") != 0)
        sdi_reader_unsupported(r, "hidden_act", sdi_reader_get(r, "hidden_act"),
                               "\"quick_gelu\" and \"gelu\"");
    return strcmp(act, "gelu") == 0 ? SD_TEXT_GELU : SD_TEXT_QUICK_GELU;
}

/* Token ids are not read: transformers wrote wrong ones into CLIP's config for years (0 and 2) and
 * does not look at them, and the vocabulary's rows may be more than its words. The tokenizer knows
 * them. */
static sd_status read_text(const sd_context *ctx, const char *path, sd_text_config *c,
                           bool projects) {
    sd_reader r = sdi_reader_open(ctx, path);
    *c = (sd_text_config){.names = c->names};
    const char *type = sdi_reader_string(&r, "model_type", "clip_text_model");
    if (strcmp(type, "clip_text_model") != 0)
        sdi_reader_unsupported(&r, "model_type", sdi_reader_get(&r, "model_type"),
                               "\"clip_text_model\"");
    c->vocab_size = sdi_reader_int(&r, "vocab_size", 49408, 3, SD_MAX_VOCAB);
    c->width = sdi_reader_int(&r, "hidden_size", 512, 1, SD_MAX_CHANNELS);
    c->mlp_width = sdi_reader_int(&r, "intermediate_size", 2048, 1, 8 * SD_MAX_CHANNELS);
    c->layers = sdi_reader_int(&r, "num_hidden_layers", 12, 1, SD_MAX_BLOCKS);
    c->heads = sdi_reader_int(&r, "num_attention_heads", 8, 1, SD_MAX_CHANNELS);
    c->tokens = sdi_reader_int(&r, "max_position_embeddings", 77, 2, SD_MAX_TOKENS);
    c->act = read_act(&r);
    c->eps = (float)sdi_reader_number(&r, "layer_norm_eps", 1e-5, 1e-12, 1.0);
    if (projects)
        c->projection = sdi_reader_int(&r, "projection_dim", 512, 1, SD_MAX_CHANNELS);
    sdi_reader_close(&r);
    return r.status ? r.status : sdi_check_text(ctx, path, c);
}

sd_status sdi_config_text(const sd_context *ctx, const char *path, void *config) {
    return read_text(ctx, path, config, false);
}

/* CLIPTextModelWithProjection */
sd_status sdi_config_text_2(const sd_context *ctx, const char *path, void *config) {
    return read_text(ctx, path, config, true);
}
