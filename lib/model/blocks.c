#include "model/blocks.h"

#include <math.h>

#define LAYER_NORM_EPS 1e-5f       /* torch.nn.LayerNorm's default */
#define TRANSFORMER_NORM_EPS 1e-6f /* Normalize() in attention.py */
#define FF_EXPANSION 4             /* FeedForward's mult */

sdb_tensor sd_as_activations(sd_exec *e, sdb_tensor x) {
    if (x.type == e->act)
        return x;
    sdb_tensor y = sd_exec_tensor(e, x.n, x.h, x.w, x.c);
    sd_op_copy(e, y, x);
    return y;
}

/* y itself where its type allows, otherwise a tensor on the stack for y to be copied from. */
static sdb_tensor result_for(sd_exec *e, sdb_tensor y) {
    return y.type == e->act ? y : sd_exec_tensor(e, y.n, y.h, y.w, y.c);
}

void sd_conv_to(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w) {
    size_t mark = sd_exec_mark(e);
    sdb_tensor result = result_for(e, y);
    sd_op_conv2d(e, (sdb_conv2d){.x = x, .weight = w, .y = result});
    if (y.type != e->act)
        sd_op_copy(e, y, result);
    sd_exec_release(e, mark);
}

void sd_linear_to(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w) {
    size_t mark = sd_exec_mark(e);
    sdb_tensor result = result_for(e, y);
    sd_op_linear(e, (sdb_linear){.x = x, .weight = w, .y = result});
    if (y.type != e->act)
        sd_op_copy(e, y, result);
    sd_exec_release(e, mark);
}

void sd_features_norm(sd_exec *e, sdb_tensor y, sd_features x, const sdb_weight *w,
                      sd_norm_spec spec, sdb_act act) {
    sd_op_group_norm(e, (sdb_group_norm){.x = x.x,
                                         .y = y,
                                         .weight = w,
                                         .groups = spec.groups,
                                         .eps = spec.eps,
                                         .act = act,
                                         .stats = {x.stats[0], x.stats[1]}});
}

/* ------------------------------------------------------------------------- ResBlock */

void sd_res_block_build(sd_builder *b, sd_res_block *block, sd_path path, int in, int out,
                        sd_norm_spec spec, sd_wide_builder *emb, bool scale_shift) {
    /* the autoencoder's names are in the UNet's order */
    sd_key keys = emb ? SD_KEY_RES_NORM1 : SD_KEY_VAE_RES_NORM1;
    enum { NORM1, CONV1, NORM2, CONV2, SKIP };

    *block = (sd_res_block){
        .in = in, .out = out, .spec = spec, .has_skip = in != out, .scale_shift = scale_shift};
    int emb_rows = scale_shift ? 2 * out : out;
    sd_builder_divides(b, "normalisation groups", in, spec.groups);
    sd_builder_divides(b, "normalisation groups", out, spec.groups);
    block->norm1 = sd_get_norm(b, &path, keys + NORM1, in);
    block->conv1 = sd_get_conv3x3(b, &path, keys + CONV1, out, in);
    block->emb_first = emb ? sd_wide_add(emb, &path, SD_KEY_RES_EMB, emb_rows, true) : -1;
    block->norm2 = sd_get_norm(b, &path, keys + NORM2, out);
    block->conv2 = sd_get_conv3x3(b, &path, keys + CONV2, out, out);
    if (block->has_skip)
        block->skip = sd_get_linear(b, &path, keys + SKIP, out, in);
}

/* norm2 and SiLU, with the time embedding's scale and shift between them where there are such. */
static void second_norm(sd_exec *e, const sd_res_block *block, sd_features h, sdb_tensor emb) {
    sd_norm_spec spec = block->spec;
    bool modulated = block->scale_shift;
    sd_features_norm(e, h.x, h, block->norm2, spec, modulated ? SDB_ACT_NONE : SDB_ACT_SILU);
    if (modulated)
        sd_op_modulate(
            e, (sdb_modulate){.x = h.x,
                              .scale = sd_view_channels(emb, block->emb_first, block->out),
                              .shift =
                                  sd_view_channels(emb, block->emb_first + block->out, block->out),
                              .y = h.x,
                              .act = SDB_ACT_SILU});
}

void sd_res_block_forward(sd_exec *e, const sd_res_block *block, sd_features out, sd_features in,
                          sdb_tensor emb, bool consume) {
    sdb_tensor x = in.x, y = out.x;
    sd_norm_spec spec = block->spec;
    size_t mark = sd_exec_mark(e);
    sd_features h = sd_exec_features(e, y.n, y.h, y.w, block->out);
    sdb_conv2d conv1 = {.weight = block->conv1, .y = h.x, .stats = h.stats[0]};
    sdb_conv2d conv2 = {
        .x = h.x, .weight = block->conv2, .residual = x, .y = y, .stats = out.stats[0]};

    if (block->has_skip) {
        /* the skip goes first, into y; then nothing but the first norm reads x */
        sd_op_linear(e, (sdb_linear){.x = x, .weight = block->skip, .y = y});
        conv2.residual = y;
    } else if (block->size != SD_RES_SAME) {
        sd_op_resample(e, (sdb_resample){x, y});
        conv2.residual = y;
    }
    if (block->emb_first >= 0 && !block->scale_shift)
        conv1.emb = sd_view_channels(emb, block->emb_first, block->out);

    size_t inner = sd_exec_mark(e);
    bool in_place = consume && block->has_skip;
    sdb_tensor normed = in_place ? x : sd_exec_tensor(e, x.n, x.h, x.w, block->in);
    sd_features_norm(e, normed, in, block->norm1, spec, SDB_ACT_SILU);
    if (block->size != SD_RES_SAME) {
        sdb_tensor before = normed;
        normed = sd_exec_tensor(e, y.n, y.h, y.w, block->in);
        sd_op_resample(e, (sdb_resample){before, normed});
    }
    conv1.x = normed;
    sd_op_conv2d(e, conv1);
    sd_exec_release(e, inner);

    second_norm(e, block, h, emb);
    sd_op_conv2d(e, conv2);
    sd_exec_release(e, mark);
}

/* ------------------------------------------------------------------------- AttnBlock */

void sd_attention_block_build(sd_builder *b, sd_attention_block *block, sd_path path, int channels,
                              sd_norm_spec spec) {
    static const sd_key qkv[3] = {SD_KEY_VAE_ATTENTION_Q, SD_KEY_VAE_ATTENTION_K,
                                  SD_KEY_VAE_ATTENTION_V};
    sd_wide_builder w;
    *block = (sd_attention_block){.channels = channels, .heads = 1, .spec = spec};
    block->norm = sd_get_norm(b, &path, SD_KEY_VAE_ATTENTION_NORM, channels);
    sd_wide_begin(&w, b, &block->qkv, channels);
    for (int i = 0; i < 3; i++)
        sd_wide_add(&w, &path, qkv[i], channels, true);
    sd_wide_end(&w);
    block->out = sd_get_linear(b, &path, SD_KEY_VAE_ATTENTION_OUT, channels, channels);
}

void sd_plain_attention_build(sd_builder *b, sd_attention_block *block, sd_path path, int channels,
                              int heads, bool whole, sd_norm_spec spec) {
    sd_wide_builder w;
    *block = (sd_attention_block){.channels = channels, .heads = heads, .spec = spec};
    sd_builder_divides(b, "attention heads", channels, heads);
    block->norm = sd_get_norm(b, &path, SD_KEY_PLAIN_NORM, channels);
    sd_wide_begin(&w, b, &block->qkv, channels);
    if (whole) /* QKVAttention */
        sd_wide_add(&w, &path, SD_KEY_PLAIN_QKV, 3 * channels, true);
    else /* QKVAttentionLegacy */
        sd_wide_add_heads(&w, &path, SD_KEY_PLAIN_QKV, channels, heads);
    sd_wide_end(&w);
    block->out = sd_get_linear(b, &path, SD_KEY_PLAIN_OUT, channels, channels);
}

/* softmax(q k^T / sqrt(dim)) v of a tensor [n, t, 3c] that holds q, k and v side by side. */
static void self_attention(sd_exec *e, sdb_tensor y, sdb_tensor qkv, int heads) {
    int c = y.c;
    sd_op_attention(e, (sdb_attention){.q = sd_view_channels(qkv, 0, c),
                                       .k = sd_view_channels(qkv, c, c),
                                       .v = sd_view_channels(qkv, 2 * c, c),
                                       .y = y,
                                       .heads = heads,
                                       .scale = 1.0f / sqrtf((float)(c / heads))});
}

void sd_attention_block_forward(sd_exec *e, const sd_attention_block *block, sd_features in) {
    int c = block->channels;
    size_t mark = sd_exec_mark(e);
    sdb_tensor x = in.x;
    sdb_tensor tokens = sd_as_tokens(x);
    sdb_tensor a = sd_exec_tensor(e, x.n, x.h, x.w, c);
    sdb_tensor qkv = sd_exec_tensor(e, tokens.n, tokens.h, 1, 3 * c);

    sd_features_norm(e, a, in, block->norm, block->spec, SDB_ACT_NONE);
    a = sd_as_tokens(a);
    sd_wide_forward(e, &block->qkv, qkv, a);
    self_attention(e, a, qkv, block->heads);
    sd_op_linear(
        e,
        (sdb_linear){
            .x = a, .weight = block->out, .residual = tokens, .y = tokens, .stats = in.stats[0]});
    sd_exec_release(e, mark);
}

/* ------------------------------------------------------------------------- SpatialTransformer */

static void transformer_layer_build(sd_builder *b, sd_transformer_layer *layer, sd_path path, int c,
                                    sd_wide_builder *kv) {
    static const sd_key self_qkv[3] = {SD_KEY_ST_SELF_Q, SD_KEY_ST_SELF_K, SD_KEY_ST_SELF_V};
    layer->norm1 = sd_get_norm(b, &path, SD_KEY_ST_NORM1, c);
    layer->self_qkv = sd_get_qkv(b, &path, self_qkv, c, false);
    layer->self_out = sd_get_linear(b, &path, SD_KEY_ST_SELF_OUT, c, c);
    layer->norm2 = sd_get_norm(b, &path, SD_KEY_ST_NORM2, c);
    layer->cross_q = sd_get_linear_no_bias(b, &path, SD_KEY_ST_CROSS_Q, c, c);
    layer->kv_first = sd_wide_add(kv, &path, SD_KEY_ST_CROSS_K, c, false);
    sd_wide_add(kv, &path, SD_KEY_ST_CROSS_V, c, false);
    layer->cross_out = sd_get_linear(b, &path, SD_KEY_ST_CROSS_OUT, c, c);
    layer->norm3 = sd_get_norm(b, &path, SD_KEY_ST_NORM3, c);
    layer->geglu = sd_get_geglu(b, &path, SD_KEY_ST_GEGLU, FF_EXPANSION * c, c);
    layer->ff_out = sd_get_linear(b, &path, SD_KEY_ST_FF_OUT, c, FF_EXPANSION * c);
}

void sd_spatial_transformer_build(sd_builder *b, sd_spatial_transformer *st, sd_path path,
                                  const sd_unet_config *config, int level, sd_wide_builder *kv) {
    int channels = config->channels[level], heads = config->heads[level];
    bool linear = config->linear_projection;
    sd_key proj_in = linear ? SD_KEY_ST_PROJ_IN_LINEAR : SD_KEY_ST_PROJ_IN;
    sd_key proj_out = linear ? SD_KEY_ST_PROJ_OUT_LINEAR : SD_KEY_ST_PROJ_OUT;

    *st = (sd_spatial_transformer){.channels = channels,
                                   .heads = heads,
                                   .depth = config->depth[level],
                                   .norm_groups = config->norm_groups};
    sd_builder_divides(b, "attention heads", channels, heads);
    st->layers = sd_builder_alloc(b, (size_t)st->depth, sizeof *st->layers);
    if (!st->layers)
        return;
    st->norm = sd_get_norm(b, &path, SD_KEY_ST_NORM, channels);
    st->proj_in = sd_get_linear(b, &path, proj_in, channels, channels);
    for (int i = 0; i < st->depth; i++) {
        sd_indices at = path.at;
        at.layer = i;
        transformer_layer_build(b, &st->layers[i], sd_path_at(path, SD_KEY_ST_BLOCK, at), channels,
                                kv);
    }
    st->proj_out = sd_get_linear(b, &path, proj_out, channels, channels);
}

/* t += to_out(attention of norm1(t) with itself) */
static void self_attention_forward(sd_exec *e, const sd_transformer_layer *layer, sdb_tensor t,
                                   int heads) {
    size_t mark = sd_exec_mark(e);
    sdb_tensor a = sd_exec_tensor(e, t.n, t.h, t.w, t.c);
    sdb_tensor qkv = sd_exec_tensor(e, t.n, t.h, t.w, 3 * t.c);
    sd_op_layer_norm(e, (sdb_layer_norm){t, a, layer->norm1, LAYER_NORM_EPS});
    sd_op_linear(e, (sdb_linear){.x = a, .weight = layer->self_qkv, .y = qkv});
    self_attention(e, a, qkv, heads);
    sd_op_linear(e, (sdb_linear){.x = a, .weight = layer->self_out, .residual = t, .y = t});
    sd_exec_release(e, mark);
}

/* t += to_out(attention of norm2(t) with the prompt's keys and values) */
static void cross_attention_forward(sd_exec *e, const sd_transformer_layer *layer, sdb_tensor t,
                                    sdb_tensor kv, int heads) {
    size_t mark = sd_exec_mark(e);
    sdb_tensor k = sd_view_channels(kv, layer->kv_first, t.c);
    sdb_tensor v = sd_view_channels(kv, layer->kv_first + t.c, t.c);
    sdb_tensor a = sd_exec_tensor(e, t.n, t.h, t.w, t.c);
    sdb_tensor q = sd_exec_tensor(e, t.n, t.h, t.w, t.c);
    sd_op_layer_norm(e, (sdb_layer_norm){t, a, layer->norm2, LAYER_NORM_EPS});
    sd_op_linear(e, (sdb_linear){.x = a, .weight = layer->cross_q, .y = q});
    sd_op_attention(e, (sdb_attention){.q = q,
                                       .k = k,
                                       .v = v,
                                       .y = a,
                                       .heads = heads,
                                       .scale = 1.0f / sqrtf((float)(t.c / heads))});
    sd_op_linear(e, (sdb_linear){.x = a, .weight = layer->cross_out, .residual = t, .y = t});
    sd_exec_release(e, mark);
}

/* t += Linear(GEGLU(norm3(t))) */
static void feed_forward(sd_exec *e, const sd_transformer_layer *layer, sdb_tensor t) {
    size_t mark = sd_exec_mark(e);
    sdb_tensor a = sd_exec_tensor(e, t.n, t.h, t.w, t.c);
    sdb_tensor g = sd_exec_tensor(e, t.n, t.h, t.w, FF_EXPANSION * t.c);
    sd_op_layer_norm(e, (sdb_layer_norm){t, a, layer->norm3, LAYER_NORM_EPS});
    sd_op_linear(e, (sdb_linear){.x = a, .weight = layer->geglu, .y = g, .geglu = true});
    sd_op_linear(e, (sdb_linear){.x = g, .weight = layer->ff_out, .residual = t, .y = t});
    sd_exec_release(e, mark);
}

void sd_spatial_transformer_forward(sd_exec *e, const sd_spatial_transformer *st, sd_features y,
                                    sd_features in, sdb_tensor kv) {
    sdb_tensor x = in.x;
    size_t mark = sd_exec_mark(e);
    sdb_tensor t = sd_exec_tensor(e, x.n, x.h * x.w, 1, st->channels); /* the residual stream */

    size_t inner = sd_exec_mark(e);
    sdb_tensor normed = sd_exec_tensor(e, x.n, x.h, x.w, st->channels);
    sd_features_norm(e, normed, in, st->norm, (sd_norm_spec){st->norm_groups, TRANSFORMER_NORM_EPS},
                     SDB_ACT_NONE);
    sd_op_linear(e, (sdb_linear){.x = sd_as_tokens(normed), .weight = st->proj_in, .y = t});
    sd_exec_release(e, inner);

    for (int i = 0; i < st->depth; i++) {
        const sd_transformer_layer *layer = &st->layers[i];
        self_attention_forward(e, layer, t, st->heads);
        cross_attention_forward(e, layer, t, kv, st->heads);
        feed_forward(e, layer, t);
    }
    sd_op_linear(e, (sdb_linear){.x = t,
                                 .weight = st->proj_out,
                                 .residual = sd_as_tokens(x),
                                 .y = sd_as_tokens(y.x),
                                 .stats = y.stats[0]});
    sd_exec_release(e, mark);
}
