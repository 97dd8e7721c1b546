/*
 * Names and shapes of every tensor of a Stable Diffusion 1.x or XL model, in the original naming
 * (openaimodel.py, diffusionmodules/model.py, FrozenCLIPEmbedder, OpenCLIP) and in diffusers'.
 */
#include "checkpoint.h"

#include <stdlib.h>
#include <string.h>

static const model_size sizes[] = {
    /* All features of the full model at the least width. Heads of 4, 8 and 12 channels. */
    {"tiny", 1000, 128, 3, 2, 512, {32, 64, 96, 96}, 2, 8, {32, 32, 64, 64}, 1, 16, 4},
    {"tiny-inpaint", 1000, 128, 3, 2, 512, {32, 64, 96, 96}, 2, 8, {32, 32, 64, 64}, 1, 16, 9},
    {"tiny-taesd-vae",
     1000,
     128,
     3,
     2,
     512,
     {32, 64, 96, 96},
     2,
     8,
     {32, 32, 64, 64},
     1,
     16,
     4,
     .tiny = "taesd-tiny"},
    /* For quick benchmarks. */
    {"small", 1000, 256, 4, 4, 1024, {96, 192, 384, 384}, 2, 8, {32, 64, 128, 128}, 2, 32, 4},
    {"sd15",
     49408,
     768,
     12,
     12,
     3072,
     {320, 640, 1280, 1280},
     2,
     8,
     {128, 256, 512, 512},
     2,
     64,
     4},
#define TINY_XL                                                                                    \
    .vocab_size = 1000, .unet_res_blocks = 2, .vae_channels = {32, 32, 64, 64},                    \
    .vae_res_blocks = 1, .sample_size = 16, .xl = true, .text_2 = {128, 3, 256, 64}
#define TINY_BASE                                                                                  \
    TINY_XL, .text_width = 64, .text_layers = 3, .text_heads = 1, .text_mlp = 128,                 \
             .unet_channels = {32, 64, 128}, .unet_levels = 3, .unet_depth = {0, 1, 2},            \
             .mid_depth = 2
    {.name = "tiny-xl", TINY_BASE, .unet_in = 4},
    {.name = "tiny-xl-inpaint", TINY_BASE, .unet_in = 9},
    {.name = "tiny-xl-refiner",
     TINY_XL,
     .unet_channels = {32, 64, 64, 64},
     .unet_levels = 4,
     .unet_depth = {0, 2, 1, 0},
     .mid_depth = 2,
     .unet_in = 4},
#define FULL_XL                                                                                    \
    .vocab_size = 49408, .unet_res_blocks = 2, .vae_channels = {128, 256, 512, 512},               \
    .vae_res_blocks = 2, .sample_size = 128, .xl = true, .text_2 = {1280, 32, 5120, 1280}
#define FULL_BASE                                                                                  \
    FULL_XL, .text_width = 768, .text_layers = 12, .text_heads = 12, .text_mlp = 3072,             \
             .unet_channels = {320, 640, 1280}, .unet_levels = 3, .unet_depth = {0, 2, 10},        \
             .mid_depth = 10
    {.name = "sdxl", FULL_BASE, .unet_in = 4},
    {.name = "sdxl-inpaint", FULL_BASE, .unet_in = 9},
    {.name = "sdxl-refiner",
     FULL_XL,
     .unet_channels = {384, 768, 1536, 1536},
     .unet_levels = 4,
     .unet_depth = {0, 4, 4, 0},
     .mid_depth = 4,
     .unet_in = 4},
};

const model_size *model_size_find(const char *name) {
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        if (strcmp(sizes[i].name, name) == 0)
            return &sizes[i];
    return NULL;
}

int64_t tensor_elements(const tensor_spec *t) {
    int64_t n = 1;
    for (int i = 0; i < t->n_dims; i++)
        n *= t->dims[i];
    return n;
}

/* Where tensors are being added: a module's name in both layouts, with the dot at its end. */
typedef struct module {
    tensor_list *list;
    component network;
    char original[NAME_SIZE];
    char diffusers[NAME_SIZE];
} module;

/* a + b + c in `out`; what does not fit makes the list fail. */
static void concatenate(tensor_list *list, char out[NAME_SIZE], const char *a, const char *b,
                        const char *c) {
    size_t n = strlen(a), m = strlen(b), k = strlen(c);
    if (n + m + k >= NAME_SIZE) {
        list->failed = true;
        return;
    }
    memmove(out, a, n);
    memcpy(out + n, b, m);
    memcpy(out + n + m, c, k + 1);
}

static module child(const module *m, const char *original, const char *diffusers) {
    module c = *m;
    concatenate(m->list, c.original, m->original, original, ".");
    concatenate(m->list, c.diffusers, m->diffusers, diffusers, ".");
    return c;
}

static module numbered(const module *m, const char *original, int i, int j, const char *diffusers,
                       int k, int l, const char *part) {
    char o[64], d[64];
    snprintf(o, sizeof(o), "%s.%d.%d", original, i, j);
    snprintf(d, sizeof(d), "%s.%d.%s.%d", diffusers, k, part, l);
    return child(m, o, d);
}

tensor_spec *tensor_list_add(tensor_list *list) {
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256;
        tensor_spec *items = realloc(list->items, capacity * sizeof(*items));
        if (!items) {
            list->failed = true;
            return NULL;
        }
        list->items = items;
        list->capacity = capacity;
    }
    tensor_spec *t = &list->items[list->n++];
    memset(t, 0, sizeof(*t));
    return t;
}

static tensor_spec *put(const module *m, const char *original, const char *diffusers,
                        const char *suffix, tensor_kind kind, int n_dims, const int64_t dims[4]) {
    tensor_spec *t = tensor_list_add(m->list);
    if (!t)
        return NULL;
    t->network = m->network;
    t->kind = kind;
    t->n_dims = n_dims;
    memcpy(t->dims, dims, 4 * sizeof(dims[0]));
    concatenate(m->list, t->original, m->original, original, suffix);
    if (diffusers)
        concatenate(m->list, t->diffusers, m->diffusers, diffusers, suffix);
    return t;
}

static void put_norm(const module *m, const char *original, const char *diffusers, int channels) {
    const int64_t dims[4] = {channels};
    put(m, original, diffusers, ".weight", KIND_GAMMA, 1, dims);
    put(m, original, diffusers, ".bias", KIND_BIAS, 1, dims);
}

static void put_conv(const module *m, const char *original, const char *diffusers, int out, int in,
                     int kernel) {
    const int64_t dims[4] = {out, in, kernel, kernel};
    put(m, original, diffusers, ".weight", KIND_WEIGHT, 4, dims);
    put(m, original, diffusers, ".bias", KIND_BIAS, 1, dims);
}

static void put_linear(const module *m, const char *original, const char *diffusers, int out,
                       int in, bool bias) {
    const int64_t dims[4] = {out, in};
    put(m, original, diffusers, ".weight", KIND_WEIGHT, 2, dims);
    if (bias)
        put(m, original, diffusers, ".bias", KIND_BIAS, 1, dims);
}

/* ---------------------------------------------------------------------------------- text */

static void put_text_layer(const module *m, const model_size *s) {
    static const char *const projections[] = {"self_attn.q_proj", "self_attn.k_proj",
                                              "self_attn.v_proj", "self_attn.out_proj"};
    int width = s->text_width;
    for (int i = 0; i < 4; i++)
        put_linear(m, projections[i], projections[i], width, width, true);
    put_norm(m, "layer_norm1", "layer_norm1", width);
    put_norm(m, "layer_norm2", "layer_norm2", width);
    put_linear(m, "mlp.fc1", "mlp.fc1", s->text_mlp, width, true);
    put_linear(m, "mlp.fc2", "mlp.fc2", width, s->text_mlp, true);
}

static void put_text(tensor_list *list, const model_size *s) {
    module m = {list, TEXT, "cond_stage_model.transformer.text_model.", "text_model."};
    if (s->xl)
        m = (module){list, TEXT, "conditioner.embedders.0.transformer.text_model.", "text_model."};
    const int64_t ids[4] = {1, TEXT_TOKENS};
    const int64_t positions[4] = {TEXT_TOKENS, s->text_width};
    const int64_t tokens[4] = {s->vocab_size, s->text_width};

    put(&m, "embeddings.position_ids", NULL, "", KIND_POSITIONS, 2, ids);
    put(&m, "embeddings.position_embedding", "embeddings.position_embedding", ".weight",
        KIND_EMBEDDING, 2, positions);
    put(&m, "embeddings.token_embedding", "embeddings.token_embedding", ".weight", KIND_EMBEDDING,
        2, tokens);
    for (int i = 0; i < s->text_layers; i++) {
        char name[40];
        snprintf(name, sizeof(name), "encoder.layers.%d", i);
        module layer = child(&m, name, name);
        put_text_layer(&layer, s);
    }
    put_norm(&m, "final_layer_norm", "final_layer_norm", s->text_width);
}

/* ------------------------------------------------------------------------------ OpenCLIP */

/* query, key and value, which are one tensor of OpenCLIP's. */
static void put_in_proj(const module *m, int width) {
    static const char *const diffusers[] = {"self_attn.q_proj", "self_attn.k_proj",
                                            "self_attn.v_proj"};
    const int64_t weight[4] = {width, width}, bias[4] = {width};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 3; i++) {
            tensor_spec *t = put(m, "attn.in_proj", diffusers[i], k ? "_bias" : "_weight",
                                 k ? KIND_BIAS : KIND_WEIGHT, k ? 1 : 2, k ? bias : weight);
            if (!t)
                return;
            concatenate(m->list, t->diffusers, m->diffusers, diffusers[i], k ? ".bias" : ".weight");
            t->stack = i == 0 ? 3 : 1;
        }
}

static void put_open_clip_layer(const module *m, const text_2_size *s) {
    put_in_proj(m, s->width);
    put_linear(m, "attn.out_proj", "self_attn.out_proj", s->width, s->width, true);
    put_norm(m, "ln_1", "layer_norm1", s->width);
    put_norm(m, "ln_2", "layer_norm2", s->width);
    put_linear(m, "mlp.c_fc", "mlp.fc1", s->mlp, s->width, true);
    put_linear(m, "mlp.c_proj", "mlp.fc2", s->width, s->mlp, true);
}

static void put_text_2(tensor_list *list, const model_size *size) {
    const text_2_size *s = &size->text_2;
    module top = {list, TEXT_2, "conditioner.embedders.1.model.", ""};
    if (is_refiner(size))
        top = (module){list, TEXT_2, "conditioner.embedders.0.model.", ""};
    module m = top;
    concatenate(list, m.diffusers, "text_model.", "", "");
    const int64_t positions[4] = {TEXT_TOKENS, s->width};
    const int64_t tokens[4] = {size->vocab_size, s->width};
    const int64_t projection[4] = {s->width, s->projection};
    tensor_spec *t;

    t = put(&m, "positional_embedding", NULL, "", KIND_EMBEDDING, 2, positions);
    if (t)
        concatenate(list, t->diffusers, m.diffusers, "embeddings.position_embedding", ".weight");
    put(&m, "token_embedding", "embeddings.token_embedding", ".weight", KIND_EMBEDDING, 2, tokens);
    for (int i = 0; i < s->layers; i++) {
        char original[40], diffusers[40];
        snprintf(original, sizeof(original), "transformer.resblocks.%d", i);
        snprintf(diffusers, sizeof(diffusers), "encoder.layers.%d", i);
        module layer = child(&m, original, diffusers);
        put_open_clip_layer(&layer, s);
    }
    put_norm(&m, "ln_final", "final_layer_norm", s->width);
    t = put(&top, "text_projection", NULL, "", KIND_WEIGHT, 2, projection);
    if (t) {
        concatenate(list, t->diffusers, "text_projection", ".weight", "");
        t->transposed = true;
    }
}

/* ---------------------------------------------------------------------------------- UNet */

static void put_unet_res(const module *m, int in, int out, int embed) {
    put_norm(m, "in_layers.0", "norm1", in);
    put_conv(m, "in_layers.2", "conv1", out, in, 3);
    put_linear(m, "emb_layers.1", "time_emb_proj", out, embed, true);
    put_norm(m, "out_layers.0", "norm2", out);
    put_conv(m, "out_layers.3", "conv2", out, out, 3);
    if (in != out)
        put_conv(m, "skip_connection", "conv_shortcut", out, in, 1);
}

static void put_attention(const module *m, const char *name, int c, int context) {
    module a = child(m, name, name);
    put_linear(&a, "to_q", "to_q", c, c, false);
    put_linear(&a, "to_k", "to_k", c, context, false);
    put_linear(&a, "to_v", "to_v", c, context, false);
    put_linear(&a, "to_out.0", "to_out.0", c, c, true);
}

static void put_transformer_block(const module *m, int i, int c, int context) {
    char name[40];
    snprintf(name, sizeof(name), "transformer_blocks.%d", i);
    module block = child(m, name, name);
    put_attention(&block, "attn1", c, c);
    put_linear(&block, "ff.net.0.proj", "ff.net.0.proj", 2 * 4 * c, c, true); /* GEGLU */
    put_linear(&block, "ff.net.2", "ff.net.2", c, 4 * c, true);
    put_attention(&block, "attn2", c, context);
    put_norm(&block, "norm1", "norm1", c);
    put_norm(&block, "norm2", "norm2", c);
    put_norm(&block, "norm3", "norm3", c);
}

static void put_projection(const module *m, const char *name, int c, bool linear) {
    if (linear)
        put_linear(m, name, name, c, c, true);
    else
        put_conv(m, name, name, c, c, 1);
}

static void put_transformer(const module *m, const model_size *s, int c, int depth) {
    put_norm(m, "norm", "norm", c);
    put_projection(m, "proj_in", c, s->xl);
    for (int i = 0; i < depth; i++)
        put_transformer_block(m, i, c, context_width(s));
    put_projection(m, "proj_out", c, s->xl);
}

/* Layers of the transformers at a level. */
static int depth_at(const model_size *s, int level) {
    return s->xl ? s->unet_depth[level] : level < N_LEVELS - 1;
}

/* Fills `skips` with the channels of every tensor that the way up will take. Returns their count.
 */
static int put_unet_down(const module *m, const model_size *s, int *skips) {
    int embed = 4 * s->unet_channels[0];
    int channels = s->unet_channels[0];
    int block = 1, n = 0;

    skips[n++] = channels;
    for (int level = 0; level < unet_levels(s); level++) {
        int out = s->unet_channels[level];
        for (int i = 0; i < s->unet_res_blocks; i++, block++) {
            module r = numbered(m, "input_blocks", block, 0, "down_blocks", level, i, "resnets");
            put_unet_res(&r, channels, out, embed);
            if (depth_at(s, level) > 0) {
                module t =
                    numbered(m, "input_blocks", block, 1, "down_blocks", level, i, "attentions");
                put_transformer(&t, s, out, depth_at(s, level));
            }
            channels = skips[n++] = out;
        }
        if (level < unet_levels(s) - 1) {
            module d =
                numbered(m, "input_blocks", block++, 0, "down_blocks", level, 0, "downsamplers");
            put_conv(&d, "op", "conv", channels, channels, 3);
            skips[n++] = channels;
        }
    }
    return n;
}

static void put_unet_up(const module *m, const model_size *s, const int *skips, int n) {
    int embed = 4 * s->unet_channels[0];
    int last = unet_levels(s) - 1, channels = s->unet_channels[last];
    int block = 0;

    for (int level = last; level >= 0; level--) {
        int out = s->unet_channels[level], up = last - level;
        bool attention = depth_at(s, level) > 0;
        for (int i = 0; i <= s->unet_res_blocks; i++, block++) {
            module r = numbered(m, "output_blocks", block, 0, "up_blocks", up, i, "resnets");
            put_unet_res(&r, channels + skips[--n], out, embed);
            channels = out;
            if (attention) {
                module t = numbered(m, "output_blocks", block, 1, "up_blocks", up, i, "attentions");
                put_transformer(&t, s, out, depth_at(s, level));
            }
        }
        if (level > 0) {
            module u = numbered(m, "output_blocks", block - 1, attention ? 2 : 1, "up_blocks", up,
                                0, "upsamplers");
            put_conv(&u, "conv", "conv", out, out, 3);
        }
    }
}

static void put_unet(tensor_list *list, const model_size *s) {
    module m = {list, UNET, "model.diffusion_model.", ""};
    int channels = s->unet_channels[0], widest = s->unet_channels[unet_levels(s) - 1];
    int embed = 4 * channels;
    int skips[64];

    put_linear(&m, "time_embed.0", "time_embedding.linear_1", embed, channels, true);
    put_linear(&m, "time_embed.2", "time_embedding.linear_2", embed, embed, true);
    if (s->xl) {
        put_linear(&m, "label_emb.0.0", "add_embedding.linear_1", embed, label_width(s), true);
        put_linear(&m, "label_emb.0.2", "add_embedding.linear_2", embed, embed, true);
    }
    put_conv(&m, "input_blocks.0.0", "conv_in", channels, s->unet_in, 3);
    int n = put_unet_down(&m, s, skips);
    module first = child(&m, "middle_block.0", "mid_block.resnets.0");
    module middle = child(&m, "middle_block.1", "mid_block.attentions.0");
    module last = child(&m, "middle_block.2", "mid_block.resnets.1");
    put_unet_res(&first, widest, widest, embed);
    put_transformer(&middle, s, widest, s->xl ? s->mid_depth : 1);
    put_unet_res(&last, widest, widest, embed);
    put_unet_up(&m, s, skips, n);
    put_norm(&m, "out.0", "conv_norm_out", channels);
    put_conv(&m, "out.2", "conv_out", LATENT_CHANNELS, channels, 3);
}

/* ----------------------------------------------------------------------------------- VAE */

static void put_vae_res(const module *m, int in, int out) {
    put_norm(m, "norm1", "norm1", in);
    put_conv(m, "conv1", "conv1", out, in, 3);
    put_norm(m, "norm2", "norm2", out);
    put_conv(m, "conv2", "conv2", out, out, 3);
    if (in != out)
        put_conv(m, "nin_shortcut", "conv_shortcut", out, in, 1);
}

/* One weight is a 1x1 convolution [c, c, 1, 1] in the original and linear [c, c] in
 * diffusers; tensor_spec holds the first and safetensors_write drops the ones. */
static void put_vae_middle(const module *m, int c) {
    module first = child(m, "mid.block_1", "mid_block.resnets.0");
    module attention = child(m, "mid.attn_1", "mid_block.attentions.0");
    module last = child(m, "mid.block_2", "mid_block.resnets.1");
    put_vae_res(&first, c, c);
    put_norm(&attention, "norm", "group_norm", c);
    put_conv(&attention, "q", "to_q", c, c, 1);
    put_conv(&attention, "k", "to_k", c, c, 1);
    put_conv(&attention, "v", "to_v", c, c, 1);
    put_conv(&attention, "proj_out", "to_out.0", c, c, 1);
    put_vae_res(&last, c, c);
}

static void put_encoder(const module *m, const model_size *s) {
    int channels = s->vae_channels[0];

    put_conv(m, "conv_in", "conv_in", channels, 3, 3);
    for (int level = 0; level < N_LEVELS; level++) {
        char o[40], d[40];
        for (int i = 0; i < s->vae_res_blocks; i++) {
            snprintf(o, sizeof(o), "down.%d.block.%d", level, i);
            snprintf(d, sizeof(d), "down_blocks.%d.resnets.%d", level, i);
            module r = child(m, o, d);
            put_vae_res(&r, channels, s->vae_channels[level]);
            channels = s->vae_channels[level];
        }
        if (level < N_LEVELS - 1) {
            snprintf(o, sizeof(o), "down.%d.downsample.conv", level);
            snprintf(d, sizeof(d), "down_blocks.%d.downsamplers.0.conv", level);
            put_conv(m, o, d, channels, channels, 3);
        }
    }
    put_vae_middle(m, channels);
    put_norm(m, "norm_out", "conv_norm_out", channels);
    put_conv(m, "conv_out", "conv_out", 2 * LATENT_CHANNELS, channels, 3);
}

static void put_decoder(const module *m, const model_size *s) {
    int channels = s->vae_channels[N_LEVELS - 1];

    put_conv(m, "conv_in", "conv_in", channels, LATENT_CHANNELS, 3);
    put_vae_middle(m, channels);
    for (int level = N_LEVELS - 1; level >= 0; level--) {
        int up = N_LEVELS - 1 - level; /* diffusers counts in the order of use */
        char o[40], d[40];
        for (int i = 0; i <= s->vae_res_blocks; i++) {
            snprintf(o, sizeof(o), "up.%d.block.%d", level, i);
            snprintf(d, sizeof(d), "up_blocks.%d.resnets.%d", up, i);
            module r = child(m, o, d);
            put_vae_res(&r, channels, s->vae_channels[level]);
            channels = s->vae_channels[level];
        }
        if (level > 0) {
            snprintf(o, sizeof(o), "up.%d.upsample.conv", level);
            snprintf(d, sizeof(d), "up_blocks.%d.upsamplers.0.conv", up);
            put_conv(m, o, d, channels, channels, 3);
        }
    }
    put_norm(m, "norm_out", "conv_norm_out", channels);
    put_conv(m, "conv_out", "conv_out", 3, channels, 3);
}

static void put_vae(tensor_list *list, const model_size *s) {
    module m = {list, VAE, "first_stage_model.", ""};
    module encoder = child(&m, "encoder", "encoder");
    module decoder = child(&m, "decoder", "decoder");

    put_encoder(&encoder, s);
    put_decoder(&decoder, s);
    put_conv(&m, "quant_conv", "quant_conv", 2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1);
    put_conv(&m, "post_quant_conv", "post_quant_conv", LATENT_CHANNELS, LATENT_CHANNELS, 1);
}

bool tensor_list_build(const model_size *size, tensor_list *list) {
    memset(list, 0, sizeof(*list));
    if (!is_refiner(size))
        put_text(list, size);
    if (size->xl)
        put_text_2(list, size);
    put_unet(list, size);
    if (size->tiny)
        tensor_list_add_tiny(tiny_size_find(size->tiny), list);
    else
        put_vae(list, size);
    return !list->failed;
}
