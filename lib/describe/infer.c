/*
 * A checkpoint in the naming of the original repositories (CompVis, runwayml) has no sizes written
 * down: they are read off the tensors' shapes. Names: ldm/modules/diffusionmodules/openaimodel.py
 * and model.py, and transformers' CLIPTextModel inside cond_stage_model.
 */
#include "describe/config.h"

#include "describe/family.h"
#include "io/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define UNET "model.diffusion_model."
#define SIZE_DIM 256 /* ConcatTimestepEmbedderND's outdim in SDXL's configs */

/* -------------------------------------------------------------------- what kind of file */

/* Checkpoints are pruned by people, too. */
static sd_status check_whole(const sd_checkpoint *from, const sd_description *d) {
    bool text = d->conditioning == SD_CONDITIONING_TEXT;
    if (d->vae.kind != SD_FIRST_STAGE_IDENTITY && !from->given.vae &&
        !sdi_weights_has_prefix(from->weights, "first_stage_model."))
        return sdi_fail(from->ctx, SD_ERROR_MODEL,
                        "%s: the checkpoint has no VAE (pruned): no tensor is named "
                        "'first_stage_model...'; give the whole checkpoint, or a file of the "
                        "VAE beside it (vae, --vae)",
                        from->path);
    if (text && d->texts == SD_TEXTS_FIRST && !from->given.text &&
        !sdi_weights_has_prefix(from->weights, "cond_stage_model."))
        return sdi_fail(from->ctx, SD_ERROR_MODEL,
                        "%s: the checkpoint has no text encoder (pruned): no tensor is named "
                        "'cond_stage_model...'; give the whole checkpoint, or a file of the text "
                        "encoder beside it (text_encoder, --text_encoder)",
                        from->path);
    return SD_OK;
}

/* generative-models' conditioner: SDXL's second text encoder is its last. */
static sd_texts which_texts(const sd_checkpoint *from) {
    const sd_weights *w = from->weights;
    bool first =
        from->given.text || sdi_weights_has_prefix(w, "conditioner.embedders.0.transformer.");
    return sdi_weights_has_prefix(w, "conditioner.embedders.1.model.")   ? SD_TEXTS_BOTH
           : sdi_weights_has_prefix(w, "conditioner.embedders.0.model.") ? SD_TEXTS_SECOND
           : !from->given.text_2                                         ? SD_TEXTS_FIRST
           : first                                                       ? SD_TEXTS_BOTH
                                                                         : SD_TEXTS_SECOND;
}

/* A checkpoint that lacks what is given is no less one. */
static bool is_known(const sd_checkpoint *from) {
    const sd_weights *w = from->weights;
    if (sdi_weights_has_prefix(w, UNET))
        return from->configured || from->given.text_2;
    return from->given.unet && (sdi_weights_has_prefix(w, "first_stage_model.") ||
                                sdi_weights_has_prefix(w, "cond_stage_model.") ||
                                sdi_weights_has_prefix(w, "conditioner."));
}

/* A checkpoint with a config may be of a kind that needs one, but not a LoRA or a VAE alone. */
sd_status sdi_infer_kind(const sd_checkpoint *from, sd_description *d) {
    if (from->configured && d->first_stage_only)
        return SD_OK;
    if (!from->configured)
        d->texts = which_texts(from);
    sd_status status =
        is_known(from) ? SD_OK : sdi_family_check(from->ctx, from->path, from->weights);
    return status ? status : check_whole(from, d);
}

/* -------------------------------------------------------------------- shapes */

/* The reading of one network. */
typedef struct infer {
    const sd_weights *weights;
    const char *prefix;
    sd_reader r; /* of what the metadata says, as far as it was asked for; its status is sticky */
} infer;

#define NAME_SIZE 256

static void make_name(const infer *in, char *name, const char *format, va_list args) {
    size_t n = (size_t)snprintf(name, NAME_SIZE, "%s", in->prefix);
    sdi_vprint(name + n, NAME_SIZE - n, format, args);
}

static bool has(const infer *in, const char *format, ...) SD_PRINTF(2, 3);
static int dim(infer *in, int n_dims, int which, int max, const char *format, ...) SD_PRINTF(5, 6);

static bool has(const infer *in, const char *format, ...) {
    char name[NAME_SIZE];
    va_list args;
    va_start(args, format);
    make_name(in, name, format, args);
    va_end(args);
    return !in->r.status && sdi_weights_find(in->weights, name) != NULL;
}

/* How many dimensions a tensor has; 0: it is not there. */
static int rank(const infer *in, const char *suffix) {
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%s%s", in->prefix, suffix);
    const sd_entry *entry = in->r.status ? NULL : sdi_weights_find(in->weights, name);
    return entry ? entry->n_dims : 0;
}

/* Dimension `which` of a tensor that must be there with n_dims dimensions; 1 after a failure. */
static int dim(infer *in, int n_dims, int which, int max, const char *format, ...) {
    char name[NAME_SIZE];
    va_list args;
    va_start(args, format);
    make_name(in, name, format, args);
    va_end(args);
    if (in->r.status)
        return 1;
    const sd_context *ctx = in->r.ctx;
    const char *path = in->r.path;
    const sd_entry *entry = sdi_weights_find(in->weights, name);
    if (!entry)
        in->r.status = sdi_fail(ctx, SD_ERROR_MODEL, "%s: tensor '%s' is missing", path, name);
    else if (entry->n_dims != n_dims)
        in->r.status =
            sdi_fail(ctx, SD_ERROR_MODEL, "%s: tensor '%s' has %d dimensions; %d were expected",
                     path, name, entry->n_dims, n_dims);
    else if (entry->dims[which] < 1 || entry->dims[which] > max)
        in->r.status = sdi_fail(ctx, SD_ERROR_MODEL,
                                "%s: tensor '%s': its dimension %d is %lld; 1 to %d was expected",
                                path, name, which, (long long)entry->dims[which], max);
    return in->r.status ? 1 : (int)entry->dims[which];
}

static void fail(infer *in, sd_status status, const char *what) {
    if (!in->r.status)
        in->r.status = sdi_fail(in->r.ctx, status, "%s: %s", in->r.path, what);
}

/* -------------------------------------------------------------------- __metadata__ */

/* The reader of a key of the metadata, whose value is a JSON text. */
static sd_reader *said(infer *in, const char *key) {
    sd_reader *r = &in->r;
    const char *text = sdi_weights_metadata(in->weights, key);
    if (!text || r->status)
        return r;
    json_error_t error;
    json_t *value = sdi_json_load(text, strlen(text), JSON_DECODE_ANY, &error);
    if (!value)
        r->status = sdi_fail(r->ctx, SD_ERROR_FORMAT,
                             "%s: __metadata__ '%s' is \"%.60s\"; a number or a list was "
                             "expected",
                             r->path, key, text);
    else if (json_object_set_new(r->root, key, value) != 0)
        r->status = sdi_fail(r->ctx, SD_ERROR_MEMORY, "%s: out of memory", r->path);
    return r;
}

static infer begin(const sd_checkpoint *from, const char *prefix) {
    infer in = {.weights = from->weights,
                .prefix = prefix,
                .r = {.ctx = from->ctx, .path = from->path, .root = json_object()}};
    if (!in.r.root)
        in.r.status = sdi_fail(from->ctx, SD_ERROR_MEMORY, "%s: out of memory", from->path);
    return in;
}

/* Ends a reading with its first failure. */
static sd_status end(infer *in) {
    sdi_reader_close(&in->r);
    return in->r.status;
}

/* -------------------------------------------------------------------- UNet */

/* transformer_blocks in the SpatialTransformer of that name; 0: there is none. It says how wide the
 * context is, and whether its projections are Linear. */
static int count_depth(infer *in, const char *block, sd_unet_config *c) {
    char name[64];
    int depth = 0;
    while (depth < SD_MAX_BLOCKS &&
           has(in, "%s.transformer_blocks.%d.attn2.to_k.weight", block, depth))
        depth++;
    if (depth == 0)
        return 0;
    int context =
        dim(in, 2, 1, SD_MAX_CHANNELS, "%s.transformer_blocks.0.attn2.to_k.weight", block);
    if (c->context_dim == 0)
        c->context_dim = context;
    snprintf(name, sizeof name, "%s.proj_in.weight", block);
    c->linear_projection = c->linear_projection || rank(in, name) == 2;
    if (c->context_dim != context)
        fail(in, SD_ERROR_MODEL, "its cross-attention layers expect contexts of different widths");
    return depth;
}

/* One ResBlock, perhaps with a SpatialTransformer, as number `block` of its level. */
static void read_block(infer *in, int i, int level, int block, sd_unet_config *c) {
    char name[32];
    snprintf(name, sizeof name, "input_blocks.%d", i);
    int channels = dim(in, 4, 0, SD_MAX_CHANNELS, "%s.0.in_layers.2.weight", name);
    if (has(in, "%s.1.qkv.weight", name))
        fail(in, SD_ERROR_UNSUPPORTED,
             "its UNet has no cross-attention (an unconditional model, which needs its YAML "
             "config)");
    if (block > 0 && channels != c->channels[level])
        fail(in, SD_ERROR_UNSUPPORTED, "the blocks of one level of its UNet differ in kind");
    c->channels[level] = channels;
    snprintf(name, sizeof name, "input_blocks.%d.1", i);
    if (i < SD_MAX_UNET_BLOCKS)
        c->depth_in[i] = count_depth(in, name, c);
}

/* input_blocks: 0 is conv_in, then res_blocks ResBlocks a level with a Downsample between. */
static void read_levels(infer *in, sd_unet_config *c) {
    int level = 0, block = 0, blocks = 0; /* this level's, and the first's */
    for (int i = 1; i < SD_MAX_LEVELS * (SD_MAX_BLOCKS + 1) && !in->r.status; i++) {
        if (has(in, "input_blocks.%d.0.op.weight", i)) {
            if (block == 0 || (level > 0 && block != blocks))
                fail(in, SD_ERROR_UNSUPPORTED, "the levels of its UNet have different depths");
            blocks = block;
            block = 0;
            if (++level == SD_MAX_LEVELS)
                fail(in, SD_ERROR_UNSUPPORTED, "its UNet has more than 8 levels");
        } else if (has(in, "input_blocks.%d.0.in_layers.2.weight", i)) {
            read_block(in, i, level, block++, c);
        } else {
            break;
        }
    }
    if (level == 0)
        blocks = block;
    if (block == 0 || block != blocks)
        fail(in, SD_ERROR_MODEL, "blocks of its UNet are missing (input_blocks)");
    c->n_levels = level + 1;
    for (int i = 0; i < c->n_levels && i < SD_MAX_LEVELS; i++)
        c->res_blocks[i] = blocks;
}

/* SSD-1B, Vega and KOALA are pruned in the middle too. */
static void read_middle(infer *in, sd_unet_config *c) {
    c->depth_mid = count_depth(in, "middle_block.1", c);
    c->mid_blocks = has(in, "middle_block.2.in_layers.2.weight") || c->depth_mid > 0 ? 2
                    : has(in, "middle_block.0.in_layers.2.weight")                   ? 1
                                                                                     : 0;
    if (c->mid_blocks == 2 && c->depth_mid == 0)
        fail(in, SD_ERROR_MODEL,
             "tensor 'model.diffusion_model.middle_block.1.transformer_blocks."
             "0.attn2.to_k.weight' is missing");
}

/* output_blocks, whose attention need not be that of input_blocks. */
static void read_up(infer *in, sd_unet_config *c) {
    char name[32];
    int n = sdi_unet_out_block(c, -1);
    for (int i = 0; i < n && i < SD_MAX_UNET_BLOCKS; i++) {
        snprintf(name, sizeof name, "output_blocks.%d.1", i);
        c->depth_out[i] = count_depth(in, name, c);
    }
}

static void read_original_unet(infer *in, sd_unet_config *c) {
    c->model_channels = dim(in, 4, 0, SD_MAX_CHANNELS, "input_blocks.0.0.weight");
    c->in_channels = dim(in, 4, 1, SD_MAX_CHANNELS, "input_blocks.0.0.weight");
    c->out_channels = dim(in, 4, 0, SD_MAX_CHANNELS, "out.2.weight");
    if (has(in, "label_emb.0.0.weight")) {
        c->label_dim = dim(in, 2, 1, SD_MAX_CHANNELS, "label_emb.0.0.weight");
        c->size_dim = SIZE_DIM;
    }
    read_levels(in, c);
    read_middle(in, c);
    read_up(in, c);
}

/* Blocks of one level on one way in diffusers' naming. `i` counts as the file does, upwards from
 * the last level. */
static int count_blocks(infer *in, const char *way, int i) {
    int n = 0;
    while (n < SD_MAX_BLOCKS && has(in, "%s_blocks.%d.resnets.%d.conv1.weight", way, i, n))
        n++;
    return n;
}

static void read_depths(infer *in, sd_unet_config *c, int level, bool up) {
    char name[64];
    for (int i = 0; i < c->res_blocks[level] + up; i++) {
        snprintf(name, sizeof name, "%s_blocks.%d.attentions.%d", up ? "up" : "down",
                 up ? c->n_levels - 1 - level : level, i);
        sdi_unet_set_depth(c, up, level, i, count_depth(in, name, c));
    }
}

static void read_diffusers_levels(infer *in, sd_unet_config *c) {
    int n = 0;
    for (int blocks; n < SD_MAX_LEVELS && (blocks = count_blocks(in, "down", n)) > 0; n++) {
        c->res_blocks[n] = blocks;
        c->channels[n] = dim(in, 4, 0, SD_MAX_CHANNELS, "down_blocks.%d.resnets.0.conv1.weight", n);
    }
    c->n_levels = n;
    if (n == 0)
        dim(in, 4, 0, SD_MAX_CHANNELS, "down_blocks.0.resnets.0.conv1.weight"); /* is missing */
    for (int i = 0; i < n; i++)
        for (int up = 0; up < 2; up++)
            read_depths(in, c, i, up);
}

static void read_diffusers_unet(infer *in, sd_unet_config *c) {
    c->model_channels = dim(in, 4, 0, SD_MAX_CHANNELS, "conv_in.weight");
    c->in_channels = dim(in, 4, 1, SD_MAX_CHANNELS, "conv_in.weight");
    c->out_channels = dim(in, 4, 0, SD_MAX_CHANNELS, "conv_out.weight");
    if (has(in, "add_embedding.linear_1.weight")) {
        c->label_dim = dim(in, 2, 1, SD_MAX_CHANNELS, "add_embedding.linear_1.weight");
        c->size_dim = SIZE_DIM;
    }
    if (has(in, "time_embedding.cond_proj.weight"))
        c->guidance_dim = dim(in, 2, 1, SD_MAX_CHANNELS, "time_embedding.cond_proj.weight");
    read_diffusers_levels(in, c);
    c->depth_mid = count_depth(in, "mid_block.attentions.0", c);
    c->mid_blocks = has(in, "mid_block.resnets.1.conv1.weight")   ? 2
                    : has(in, "mid_block.resnets.0.conv1.weight") ? 1
                                                                  : 0;
}

/* Heads of the network that this takes the place of, where it has its channels; else 2.x has those
 * of 64 channels. */
static void guess_heads(const sd_unet_config *base, sd_unet_config *c) {
    bool same = base && base->n_levels == c->n_levels &&
                base->linear_projection == c->linear_projection &&
                !memcmp(base->channels, c->channels, sizeof c->channels);
    for (int i = 0; i < c->n_levels; i++)
        c->heads[i] = same                    ? base->heads[i]
                      : !c->linear_projection ? 8
                      : c->channels[i] >= 64  ? c->channels[i] / 64
                                              : 1;
}

sd_status sdi_infer_unet(const sd_checkpoint *from, void *config) {
    sd_unet_config *c = config;
    const sd_unet_config *base = from->base;
    infer shapes = begin(from, c->names.prefix), *in = &shapes;
    *c = (sd_unet_config){.names = c->names,
                          .norm_groups = base ? base->norm_groups : 32,
                          .norm_eps = base ? base->norm_eps : 1e-5f};
    if (c->names.layout == SD_LAYOUT_DIFFUSERS)
        read_diffusers_unet(in, c);
    else
        read_original_unet(in, c);
    guess_heads(base, c);
    if (sdi_reader_get(said(in, "sd.unet_heads"), "sd.unet_heads"))
        sdi_reader_levels(&in->r, "sd.unet_heads", 8, c->n_levels, c->heads, 1, SD_MAX_CHANNELS);
    c->sample_size = sdi_reader_int(said(in, "sd.sample_size"), "sd.sample_size",
                                    base ? base->sample_size : 0, 1, SD_MAX_SAMPLE);
    sd_status status = end(in);
    return status ? status : sdi_check_unet(from->ctx, from->path, c);
}

/* -------------------------------------------------------------------- VAE */

static void read_original_vae(infer *in, sd_vae_config *c) {
    int n = 0, block = 0;
    while (n < SD_MAX_LEVELS && has(in, "encoder.down.%d.block.0.conv1.weight", n)) {
        c->channels[n] = dim(in, 4, 0, SD_MAX_CHANNELS, "encoder.down.%d.block.0.conv1.weight", n);
        for (block = 0;
             block < SD_MAX_BLOCKS && has(in, "encoder.down.%d.block.%d.conv1.weight", n, block);
             block++)
            ;
        if (n > 0 && block != c->res_blocks)
            fail(in, SD_ERROR_UNSUPPORTED, "the levels of its VAE have different depths");
        if (has(in, "encoder.down.%d.attn.0.q.weight", n))
            fail(in, SD_ERROR_UNSUPPORTED,
                 "its VAE has attention outside its middle; libsd knows only attention there");
        c->res_blocks = block;
        n++;
    }
    if (n == 0)
        dim(in, 4, 0, SD_MAX_CHANNELS, "encoder.down.0.block.0.conv1.weight"); /* is missing */
    c->n_levels = n;
    c->quant_conv = c->post_quant_conv = true;
    if (dim(in, 4, 0, SD_MAX_CHANNELS, "quant_conv.weight") != 2 * c->latent_channels)
        fail(in, SD_ERROR_UNSUPPORTED, "the latent of its VAE and z_channels differ in width");
    c->mid_attention = has(in, "encoder.mid.attn_1.q.weight");
}

static int count_vae_blocks(infer *in, int level) {
    int n = 0;
    while (n < SD_MAX_BLOCKS && has(in, "encoder.down_blocks.%d.resnets.%d.conv1.weight", level, n))
        n++;
    return n;
}

static void read_diffusers_vae(infer *in, sd_vae_config *c) {
    int n = 0;
    for (int blocks; n < SD_MAX_LEVELS && (blocks = count_vae_blocks(in, n)) > 0; n++) {
        if (n > 0 && blocks != c->res_blocks)
            fail(in, SD_ERROR_UNSUPPORTED, "the levels of its VAE have different depths");
        c->res_blocks = blocks;
        c->channels[n] =
            dim(in, 4, 0, SD_MAX_CHANNELS, "encoder.down_blocks.%d.resnets.0.conv1.weight", n);
    }
    c->n_levels = n;
    c->quant_conv = has(in, "quant_conv.weight");
    c->post_quant_conv = has(in, "post_quant_conv.weight");
    c->mid_attention = has(in, "encoder.mid_block.attentions.0.group_norm.weight");
}

sd_status sdi_infer_vae(const sd_checkpoint *from, void *config) {
    sd_vae_config *c = config;
    const sd_vae_config *base = from->base;
    double scale = base ? base->scaling_factor : from->scale;
    infer shapes = begin(from, c->names.prefix), *in = &shapes;
    *c = (sd_vae_config){.names = c->names,
                         .norm_groups = base ? base->norm_groups : 32,
                         .force_upcast = !base || base->force_upcast};
    c->in_channels = dim(in, 4, 1, SD_MAX_CHANNELS, "encoder.conv_in.weight");
    c->out_channels = dim(in, 4, 0, SD_MAX_CHANNELS, "decoder.conv_out.weight");
    c->latent_channels = dim(in, 4, 1, SD_MAX_CHANNELS / 2, "decoder.conv_in.weight");
    if (c->names.layout == SD_LAYOUT_DIFFUSERS)
        read_diffusers_vae(in, c);
    else
        read_original_vae(in, c);
    c->scaling_factor =
        sdi_reader_number(said(in, "sd.scaling_factor"), "sd.scaling_factor", scale, 1e-6, 1e6);
    sdi_read_latent_rgb(said(in, "sd.latent_rgb"), "sd.latent_rgb", c);
    sd_status status = end(in);
    return status ? status : sdi_check_vae(from->ctx, from->path, c);
}

/* -------------------------------------------------------------------- AutoencoderTiny */

/* A layer of one half: a convolution, or a block of three. The original's decoder begins with a
 * Clamp, which diffusers does not count. */
typedef struct tiny_layers {
    infer *in;
    bool decoder;
    const char *path; /* "encoder." or "encoder.layers." */
    int first;        /* the number of conv_in */
} tiny_layers;

static bool tiny_has(const tiny_layers *l, int i, const char *what) {
    return has(l->in, "%s%d.%s", l->path, i, what);
}

/* The convolution that begins the next level, which alone has no bias; its number is *at then. */
static bool tiny_next_level(const tiny_layers *l, int *at) {
    int conv = *at + l->decoder; /* behind Upsample */
    if (!tiny_has(l, conv, "weight") || tiny_has(l, conv, "bias"))
        return false;
    *at = conv;
    return true;
}

/* Returns how many levels there are; *last is the number of conv_out. */
static int tiny_levels(const tiny_layers *l, sd_tiny_half *half, int *last) {
    int at = l->first + 1 + l->decoder, level = 0; /* ReLU */
    for (;; at++) {
        if (tiny_has(l, at, "conv.0.weight") && half->blocks[level] < SD_MAX_BLOCKS)
            half->blocks[level]++;
        else if (level + 1 < SD_MAX_LEVELS && tiny_next_level(l, &at))
            level++;
        else
            break;
    }
    *last = at;
    return level + 1;
}

/* What is outside of a half in its first convolution, and in its last. */
static void infer_half(infer *in, sd_layout layout, bool decoder, sd_vae_config *c) {
    bool diffusers = layout == SD_LAYOUT_DIFFUSERS;
    const tiny_layers l = {in, decoder,
                           decoder     ? diffusers ? "decoder.layers." : "decoder."
                           : diffusers ? "encoder.layers."
                                       : "encoder.",
                           decoder && !diffusers};
    sd_tiny_half *half = decoder ? &c->tiny_decoder : &c->tiny_encoder;
    int last;
    if (!decoder && !tiny_has(&l, l.first, "weight"))
        return; /* a decoder alone, for previews */
    half->width = dim(in, 4, 0, SD_MAX_CHANNELS, "%s%d.weight", l.path, l.first);
    int first = dim(in, 4, 1, SD_MAX_CHANNELS, "%s%d.weight", l.path, l.first);
    int levels = tiny_levels(&l, half, &last);
    int end = dim(in, 4, 0, SD_MAX_CHANNELS, "%s%d.weight", l.path, last);
    bool differs = c->n_levels &&
                   (c->n_levels != levels || c->out_channels != first || c->latent_channels != end);
    if (differs)
        fail(in, SD_ERROR_MODEL, "its encoder and its decoder differ in levels or channels");
    c->n_levels = levels;
    c->latent_channels = decoder ? first : end;
    c->in_channels = c->out_channels = decoder ? end : first;
}

sd_status sdi_infer_tiny(const sd_checkpoint *from, void *config) {
    sd_vae_config *c = config;
    infer shapes = begin(from, c->names.prefix), *in = &shapes;
    *c = (sd_vae_config){.names = c->names, .kind = SD_FIRST_STAGE_TINY, .scaling_factor = 1.0};
    infer_half(in, c->names.layout, true, c);
    infer_half(in, c->names.layout, false, c);
    return end(in);
}

/* -------------------------------------------------------------------- text encoder */

static void infer_clip(infer *in, sd_text_config *c) {
    c->vocab_size = dim(in, 2, 0, SD_MAX_VOCAB, "embeddings.token_embedding.weight");
    c->width = dim(in, 2, 1, SD_MAX_CHANNELS, "embeddings.token_embedding.weight");
    c->tokens = dim(in, 2, 0, SD_MAX_TOKENS, "embeddings.position_embedding.weight");
    c->mlp_width = dim(in, 2, 0, 8 * SD_MAX_CHANNELS, "encoder.layers.0.mlp.fc1.weight");
    while (c->layers < SD_MAX_BLOCKS && has(in, "encoder.layers.%d.mlp.fc1.weight", c->layers))
        c->layers++;
}

/* open_clip's text tower. */
static void infer_open_clip(infer *in, sd_text_config *c) {
    c->vocab_size = dim(in, 2, 0, SD_MAX_VOCAB, "token_embedding.weight");
    c->width = dim(in, 2, 1, SD_MAX_CHANNELS, "token_embedding.weight");
    c->tokens = dim(in, 2, 0, SD_MAX_TOKENS, "positional_embedding");
    c->mlp_width = dim(in, 2, 0, 8 * SD_MAX_CHANNELS, "transformer.resblocks.0.mlp.c_fc.weight");
    while (c->layers < SD_MAX_BLOCKS &&
           has(in, "transformer.resblocks.%d.mlp.c_fc.weight", c->layers))
        c->layers++;
    c->layers -= c->skip;
    if (c->layers < 1)
        fail(in, SD_ERROR_MODEL, "its text encoder has too few layers for the penultimate");
}

/* Rows of a matrix whose name stands beside the part's prefix. */
static int dim_at_top(infer *in, const char *name) {
    infer top = *in;
    top.prefix = "";
    int rows = dim(&top, 2, 0, SD_MAX_CHANNELS, "%s", name);
    in->r.status = top.r.status;
    return rows;
}

/* The last `skip` layers are left out. */
static sd_status infer_text(const sd_checkpoint *from, sd_text_config *c, int skip, bool projects) {
    infer shapes = begin(from, c->names.prefix), *in = &shapes;
    bool open_clip = c->names.layout == SD_LAYOUT_OPEN_CLIP;
    bool diffusers = c->names.layout == SD_LAYOUT_DIFFUSERS;
    const sd_text_config *base = from->base;
    *c = (sd_text_config){.names = c->names,
                          .eps = base ? base->eps : 1e-5f,
                          .act = open_clip || (diffusers && projects) ? SD_TEXT_GELU
                                 : diffusers && base                  ? base->act
                                                                      : SD_TEXT_QUICK_GELU,
                          .hidden = c->hidden,
                          .skip = skip};
    if (projects)
        c->projection = diffusers ? dim_at_top(in, "text_projection.weight")
                                  : dim(in, 2, 1, SD_MAX_CHANNELS, "text_projection");
    if (open_clip)
        infer_open_clip(in, c);
    else
        infer_clip(in, c);
    if (c->vocab_size < 3 || c->tokens < 2)
        fail(in, SD_ERROR_MODEL, "its text encoder has too few tokens or positions to be CLIP's");
    c->heads = base && base->width == c->width ? base->heads
               : c->width / 64 > 0             ? c->width / 64 /* every CLIP has heads of 64 */
                                               : 1;
    c->heads =
        sdi_reader_int(said(in, "sd.text_heads"), "sd.text_heads", c->heads, 1, SD_MAX_CHANNELS);
    sd_status status = end(in);
    return status ? status : sdi_check_text(from->ctx, from->path, c);
}

/* What a YAML config said of skip; without one, that FrozenOpenCLIPEmbedder has layer
 * "penultimate". */
sd_status sdi_infer_text(const sd_checkpoint *from, void *config) {
    sd_text_config *c = config;
    return infer_text(from, c, from->configured ? c->skip : c->names.layout == SD_LAYOUT_OPEN_CLIP,
                      false);
}

/* FrozenOpenCLIPEmbedder2, whose last layer makes the pooled vector. */
sd_status sdi_infer_text_2(const sd_checkpoint *from, void *config) {
    return infer_text(from, config, 0, true);
}

/* -------------------------------------------------------------------- the rest */

/*
 * No shape tells the v-prediction of the 768-v models from the epsilon of the 512-base ones. What
 * others wrote into the file does: ModelSpec's words in __metadata__, or the empty tensor "v_pred"
 * of some trainers, beside which "ztsnr" means zero terminal SNR. Else the network itself is asked
 * once it is there (pipeline/probe.c), where it is one of 2.x and not for inpainting, of which none
 * predicts v.
 */
static void infer_prediction(infer *in, sd_description *d) {
    const sd_weights *w = in->weights;
    static const struct {
        const char *key, *begins;
        sd_prediction prediction;
    } words[] = {{"modelspec.prediction_type", "v", SD_PREDICT_V},
                 {"modelspec.prediction_type", "epsilon", SD_PREDICT_EPSILON},
                 {"modelspec.architecture", "stable-diffusion-v2-768-v", SD_PREDICT_V},
                 {"modelspec.architecture", "stable-diffusion-v2-512", SD_PREDICT_EPSILON}};
    d->schedule.zero_snr = sdi_weights_find(w, "ztsnr") != NULL;
    for (size_t i = 0; i < SD_COUNT(words); i++) {
        const char *text = sdi_weights_metadata(w, words[i].key);
        if (text && strncmp(text, words[i].begins, strlen(words[i].begins)) == 0) {
            d->schedule.prediction = words[i].prediction;
            return;
        }
    }
    if (sdi_weights_find(w, "v_pred"))
        d->schedule.prediction = SD_PREDICT_V;
    else if (d->unet.linear_projection && d->unet.in_channels == d->vae.latent_channels &&
             d->texts == SD_TEXTS_FIRST)
        d->schedule.prediction = SD_PREDICT_UNKNOWN;
}

static void override_prediction(infer *in, sd_description *d) {
    sd_reader *r = said(in, "sd.prediction");
    const char *word = sdi_reader_string(r, "sd.prediction", NULL);
    if (word && strcmp(word, "epsilon") != 0 && strcmp(word, "v") != 0)
        sdi_reader_unsupported(r, "sd.prediction", sdi_reader_get(r, "sd.prediction"),
                               "\"epsilon\" and \"v\"");
    if (word && !r->status)
        d->schedule.prediction = strcmp(word, "v") == 0 ? SD_PREDICT_V : SD_PREDICT_EPSILON;
}

/* LatentDiffusion's buffer, which training with scale_by_std filled. */
static void read_scale(infer *in, sd_description *d) {
    const sd_entry *entry = sdi_weights_find(in->weights, "scale_factor");
    double scale = d->vae.scaling_factor, number;
    bool there = false;
    if (entry)
        in->r.status = sdi_weights_number(in->weights, entry, &number, &there);
    if (in->r.status)
        return;
    if (there)
        scale = number;
    if (!(scale >= 1e-6 && scale <= 1e6))
        fail(in, SD_ERROR_MODEL, "its scale_factor is no number from 1e-6 to 1e6");
    else
        d->vae.scaling_factor = scale;
}

sd_status sdi_infer_rest(const sd_checkpoint *from, sd_description *d) {
    infer in = begin(from, "");
    if (d->texts != SD_TEXTS_FIRST) {
        d->scheduler = sdi_scheduler_xl(d->unet.in_channels > d->vae.latent_channels);
        d->zeros_for_empty = d->texts == SD_TEXTS_BOTH;
    }
    if (from->configured && d->scale_by_std)
        read_scale(&in, d);
    if (from->configured)
        return end(&in);
    d->schedule = sdi_schedule_default();
    infer_prediction(&in, d);
    override_prediction(&in, d);
    if (d->schedule.prediction != SD_PREDICT_UNKNOWN)
        sdi_description_predicts(d, d->schedule.prediction);
    return end(&in);
}
