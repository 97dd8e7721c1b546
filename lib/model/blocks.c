/* Builds and runs ResBlocks and attention blocks. */
#include "model/blocks.h"

#define LAYER_NORM_EPS 1e-5f       /* torch.nn.LayerNorm's default */
#define TRANSFORMER_NORM_EPS 1e-6f /* Normalize() in attention.py */
#define FF_EXPANSION 4             /* FeedForward's mult */

/* ------------------------------------------------------------------------- ResBlock */

void sdi_res_block_build(sd_builder *b, sd_res_block *block, sd_path path, int in, int out,
                         sd_norm_spec spec, sd_wide_builder *emb, bool scale_shift) {
    enum { NORM1, CONV1, NORM2, CONV2, SKIP, N_KEYS };
    static const sd_key of_unet[N_KEYS] = {SD_KEY_RES_NORM1, SD_KEY_RES_CONV1, SD_KEY_RES_NORM2,
                                           SD_KEY_RES_CONV2, SD_KEY_RES_SKIP};
    static const sd_key of_vae[N_KEYS] = {SD_KEY_VAE_RES_NORM1, SD_KEY_VAE_RES_CONV1,
                                          SD_KEY_VAE_RES_NORM2, SD_KEY_VAE_RES_CONV2,
                                          SD_KEY_VAE_RES_SKIP};
    const sd_key *keys = emb ? of_unet : of_vae;

    *block = (sd_res_block){
        .in = in, .out = out, .spec = spec, .has_skip = in != out, .scale_shift = scale_shift};
    int emb_rows = scale_shift ? 2 * out : out;
    sdi_builder_divides(b, "normalisation groups", in, spec.groups);
    sdi_builder_divides(b, "normalisation groups", out, spec.groups);
    block->norm1 = sdi_get_norm(b, &path, keys[NORM1], in);
    block->conv1 = sdi_get_conv3x3(b, &path, keys[CONV1], out, in);
    block->emb_first = emb ? sdi_wide_add(emb, &path, SD_KEY_RES_EMB, emb_rows, true) : -1;
    block->norm2 = sdi_get_norm(b, &path, keys[NORM2], out);
    block->conv2 = sdi_get_conv3x3(b, &path, keys[CONV2], out, out);
    if (block->has_skip)
        block->skip = sdi_get_linear(b, &path, keys[SKIP], out, in);
}

/* x, or where the block changes its size that of half or twice its sides. */
static sdb_tensor resized(sd_exec *e, const sd_res_block *block, sdb_tensor x) {
    return block->size == SD_RES_DOWN ? sdi_resample(e, x, x.h / 2, x.w / 2)
           : block->size == SD_RES_UP ? sdi_resample(e, x, x.h * 2, x.w * 2)
                                      : x;
}

/* norm2 and SiLU, with the time embedding's scale and shift between them where there are such. */
static sdb_tensor second_norm(sd_exec *e, const sd_res_block *block, sdb_tensor h, sdb_tensor emb) {
    if (!block->scale_shift)
        return sdi_group_norm(e, h, block->norm2, block->spec, SDB_ACT_SILU);
    h = sdi_group_norm(e, h, block->norm2, block->spec, SDB_ACT_NONE);
    sdb_modulate op = {.x = h,
                       .scale = sdi_view_channels(emb, block->emb_first, block->out),
                       .shift = sdi_view_channels(emb, block->emb_first + block->out, block->out),
                       .y = sdi_exec_tensor(e, h.n, h.h, h.w, h.c),
                       .act = SDB_ACT_SILU};
    sdi_op_modulate(e, op);
    return op.y;
}

/* The skip goes first: then nothing but the first norm reads x, and the norm can take its memory.
 */
sdb_tensor sdi_res_block_forward(sd_exec *e, const sd_res_block *block, sdb_tensor x,
                                 sdb_tensor emb) {
    bool added = block->emb_first >= 0 && !block->scale_shift;
    sdb_tensor shift =
        added ? sdi_view_channels(emb, block->emb_first, block->out) : sdi_no_tensor();
    sdb_tensor skip = block->has_skip
                          ? sdi_linear(e, x, block->out, (sdb_linear){.weight = block->skip})
                          : resized(e, block, x);
    sdb_tensor h = sdi_group_norm(e, x, block->norm1, block->spec, SDB_ACT_SILU);
    h = resized(e, block, h);
    h = sdi_conv3x3(e, h, block->out, (sdb_conv2d){.weight = block->conv1, .emb = shift});
    h = second_norm(e, block, h, emb);
    return sdi_conv3x3(e, h, block->out, (sdb_conv2d){.weight = block->conv2, .residual = skip});
}

/* ------------------------------------------------------------------------- AttnBlock */

void sdi_attention_block_build(sd_builder *b, sd_attention_block *block, sd_path path, int channels,
                               sd_norm_spec spec) {
    static const sd_key qkv[3] = {SD_KEY_VAE_ATTENTION_Q, SD_KEY_VAE_ATTENTION_K,
                                  SD_KEY_VAE_ATTENTION_V};
    sd_wide_builder w;
    *block = (sd_attention_block){.channels = channels, .heads = 1, .spec = spec};
    block->norm = sdi_get_norm(b, &path, SD_KEY_VAE_ATTENTION_NORM, channels);
    sdi_wide_begin(&w, b, &block->qkv, channels);
    for (int i = 0; i < 3; i++)
        sdi_wide_add(&w, &path, qkv[i], channels, true);
    sdi_wide_end(&w);
    block->out = sdi_get_linear(b, &path, SD_KEY_VAE_ATTENTION_OUT, channels, channels);
}

void sdi_plain_attention_build(sd_builder *b, sd_attention_block *block, sd_path path, int channels,
                               int heads, bool whole, sd_norm_spec spec) {
    sd_wide_builder w;
    *block = (sd_attention_block){.channels = channels, .heads = heads, .spec = spec};
    sdi_builder_divides(b, "attention heads", channels, heads);
    block->norm = sdi_get_norm(b, &path, SD_KEY_PLAIN_NORM, channels);
    sdi_wide_begin(&w, b, &block->qkv, channels);
    if (whole) /* QKVAttention */
        sdi_wide_add(&w, &path, SD_KEY_PLAIN_QKV, 3 * channels, true);
    else /* QKVAttentionLegacy */
        sdi_wide_add_heads(&w, &path, SD_KEY_PLAIN_QKV, channels, heads);
    sdi_wide_end(&w);
    block->out = sdi_get_linear(b, &path, SD_KEY_PLAIN_OUT, channels, channels);
}

sdb_tensor sdi_attention_block_forward(sd_exec *e, const sd_attention_block *block, sdb_tensor x) {
    sdb_tensor a = sdi_as_tokens(sdi_group_norm(e, x, block->norm, block->spec, SDB_ACT_NONE));
    sdb_tensor qkv = sdi_exec_tensor(e, a.n, a.h, 1, 3 * block->channels);
    sdi_wide_forward(e, &block->qkv, qkv, a);
    a = sdi_self_attention(e, qkv, block->heads, false);
    a = sdi_linear(e, a, block->channels,
                   (sdb_linear){.weight = block->out, .residual = sdi_as_tokens(x)});
    return sdi_view_shape(a, x.n, x.h, x.w);
}

/* ------------------------------------------------------------------------- SpatialTransformer */

static void transformer_layer_build(sd_builder *b, sd_transformer_layer *layer, sd_path path, int c,
                                    sd_wide_builder *kv) {
    static const sd_key self_qkv[3] = {SD_KEY_ST_SELF_Q, SD_KEY_ST_SELF_K, SD_KEY_ST_SELF_V};
    layer->norm1 = sdi_get_norm(b, &path, SD_KEY_ST_NORM1, c);
    layer->self_qkv = sdi_get_qkv(b, &path, self_qkv, c, false);
    layer->self_out = sdi_get_linear(b, &path, SD_KEY_ST_SELF_OUT, c, c);
    layer->norm2 = sdi_get_norm(b, &path, SD_KEY_ST_NORM2, c);
    layer->cross_q = sdi_get_linear_no_bias(b, &path, SD_KEY_ST_CROSS_Q, c, c);
    layer->kv_first = sdi_wide_add(kv, &path, SD_KEY_ST_CROSS_K, c, false);
    sdi_wide_add(kv, &path, SD_KEY_ST_CROSS_V, c, false);
    layer->cross_out = sdi_get_linear(b, &path, SD_KEY_ST_CROSS_OUT, c, c);
    layer->norm3 = sdi_get_norm(b, &path, SD_KEY_ST_NORM3, c);
    layer->geglu = sdi_get_geglu(b, &path, SD_KEY_ST_GEGLU, FF_EXPANSION * c, c);
    layer->ff_out = sdi_get_linear(b, &path, SD_KEY_ST_FF_OUT, c, FF_EXPANSION * c);
}

void sdi_spatial_transformer_build(sd_builder *b, sd_spatial_transformer *st, sd_path path,
                                   const sd_unet_config *config, int level, int depth,
                                   sd_wide_builder *kv) {
    int channels = config->channels[level], heads = config->heads[level];
    bool linear = config->linear_projection;
    sd_key proj_in = linear ? SD_KEY_ST_PROJ_IN_LINEAR : SD_KEY_ST_PROJ_IN;
    sd_key proj_out = linear ? SD_KEY_ST_PROJ_OUT_LINEAR : SD_KEY_ST_PROJ_OUT;

    *st = (sd_spatial_transformer){
        .channels = channels, .heads = heads, .depth = depth, .norm_groups = config->norm_groups};
    sdi_builder_divides(b, "attention heads", channels, heads);
    st->layers = sdi_builder_alloc(b, (size_t)st->depth, sizeof *st->layers);
    if (!st->layers)
        return;
    st->norm = sdi_get_norm(b, &path, SD_KEY_ST_NORM, channels);
    st->proj_in = sdi_get_linear(b, &path, proj_in, channels, channels);
    for (int i = 0; i < st->depth; i++) {
        sd_indices at = path.at;
        at.layer = i;
        transformer_layer_build(b, &st->layers[i], sdi_path_at(path, SD_KEY_ST_BLOCK, at), channels,
                                kv);
    }
    st->proj_out = sdi_get_linear(b, &path, proj_out, channels, channels);
}

/* t + to_out(attention of norm1(t) with itself) */
static sdb_tensor self_attention(sd_exec *e, const sd_transformer_layer *layer, sdb_tensor t,
                                 int heads) {
    sdb_tensor a = sdi_layer_norm(e, t, layer->norm1, LAYER_NORM_EPS);
    sdb_tensor qkv = sdi_linear(e, a, 3 * t.c, (sdb_linear){.weight = layer->self_qkv});
    a = sdi_self_attention(e, qkv, heads, false);
    return sdi_linear(e, a, t.c, (sdb_linear){.weight = layer->self_out, .residual = t});
}

/* t + to_out(attention of norm2(t) with the prompt's keys and values) */
static sdb_tensor cross_attention(sd_exec *e, const sd_transformer_layer *layer, sdb_tensor t,
                                  sdb_tensor kv, int heads) {
    sdb_tensor k = sdi_view_channels(kv, layer->kv_first, t.c);
    sdb_tensor v = sdi_view_channels(kv, layer->kv_first + t.c, t.c);
    sdb_tensor a = sdi_layer_norm(e, t, layer->norm2, LAYER_NORM_EPS);
    sdb_tensor q = sdi_linear(e, a, t.c, (sdb_linear){.weight = layer->cross_q});
    a = sdi_attention(e, q, k, v, heads, false);
    return sdi_linear(e, a, t.c, (sdb_linear){.weight = layer->cross_out, .residual = t});
}

/* t + Linear(GEGLU(norm3(t))) */
static sdb_tensor feed_forward(sd_exec *e, const sd_transformer_layer *layer, sdb_tensor t) {
    sdb_tensor a = sdi_layer_norm(e, t, layer->norm3, LAYER_NORM_EPS);
    a = sdi_linear(e, a, FF_EXPANSION * t.c, (sdb_linear){.weight = layer->geglu, .geglu = true});
    return sdi_linear(e, a, t.c, (sdb_linear){.weight = layer->ff_out, .residual = t});
}

sdb_tensor sdi_spatial_transformer_forward(sd_exec *e, const sd_spatial_transformer *st,
                                           sdb_tensor x, sdb_tensor kv) {
    sd_norm_spec spec = {st->norm_groups, TRANSFORMER_NORM_EPS};
    int c = st->channels;
    sdb_tensor t = sdi_as_tokens(sdi_group_norm(e, x, st->norm, spec, SDB_ACT_NONE));
    t = sdi_linear(e, t, c, (sdb_linear){.weight = st->proj_in});
    for (int i = 0; i < st->depth; i++) {
        t = self_attention(e, &st->layers[i], t, st->heads);
        t = cross_attention(e, &st->layers[i], t, kv, st->heads);
        t = feed_forward(e, &st->layers[i], t);
    }
    t = sdi_linear(e, t, c, (sdb_linear){.weight = st->proj_out, .residual = sdi_as_tokens(x)});
    return sdi_view_shape(t, x.n, x.h, x.w);
}
