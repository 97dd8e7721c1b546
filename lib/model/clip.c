/*
 * CLIP's text tower (Radford et al. 2021), as FrozenCLIPEmbedder uses it: a causal pre-norm
 * transformer whose last hidden state, after the final norm, is the conditioning.
 */
#include "model/layers.h"

typedef struct text_layer {
    const sdb_weight *norm1, *qkv, *out;
    const sdb_weight *norm2, *fc1, *fc2;
} text_layer;

struct sd_text_model {
    sd_part part;
    sd_text_config config;
    const sdb_weight *token, *position, *final_norm;
    const sdb_weight *projection; /* NULL: config.projection is 0 */
    text_layer *layers;
};

static void text_layer_build(sd_builder *b, text_layer *layer, sd_path path,
                             const sd_text_config *config) {
    static const sd_key qkv[3] = {SD_KEY_TEXT_Q, SD_KEY_TEXT_K, SD_KEY_TEXT_V};
    int width = config->width, mlp_width = config->mlp_width;
    layer->norm1 = sdi_get_norm(b, &path, SD_KEY_TEXT_NORM1, width);
    layer->qkv = b->names.layout == SD_LAYOUT_OPEN_CLIP
                     ? sdi_get_linear(b, &path, SD_KEY_TEXT_QKV, 3 * width, width)
                     : sdi_get_qkv(b, &path, qkv, width, true);
    layer->out = sdi_get_linear(b, &path, SD_KEY_TEXT_OUT, width, width);
    layer->norm2 = sdi_get_norm(b, &path, SD_KEY_TEXT_NORM2, width);
    layer->fc1 = sdi_get_linear(b, &path, SD_KEY_TEXT_FC1, mlp_width, width);
    layer->fc2 = sdi_get_linear(b, &path, SD_KEY_TEXT_FC2, width, mlp_width);
}

static void text_build(sd_builder *b, void *network, const void *config) {
    sd_text_model *m = network;
    const sd_text_config *c = &m->config;
    m->config = *(const sd_text_config *)config;
    sd_path top = sdi_path_top();
    sdi_builder_range(b, "the text encoder's vocabulary", c->vocab_size, 1, 1 << 24);
    sdi_builder_range(b, "the text encoder's number of positions", c->tokens, 1, SD_MAX_WIDTH);
    sdi_builder_range(b, "the text encoder's number of layers", c->layers, 1, 1024);
    sdi_builder_range(b, "the text encoder's width", c->width, 1, SD_MAX_WIDTH);
    sdi_builder_range(b, "the text encoder's MLP width", c->mlp_width, 1, SD_MAX_WIDTH);
    sdi_builder_divides(b, "attention heads", c->width, c->heads);
    m->layers = sdi_builder_alloc(b, (size_t)c->layers, sizeof *m->layers);
    if (!m->layers)
        return;
    m->token = sdi_get_token_embedding(b, &top, SD_KEY_TEXT_TOKEN, c->vocab_size, c->width);
    m->position = sdi_get_embedding(b, &top, SD_KEY_TEXT_POSITION, c->tokens, c->width);
    for (int i = 0; i < c->layers; i++)
        text_layer_build(b, &m->layers[i],
                         sdi_path_at(top, SD_KEY_TEXT_LAYER, (sd_indices){.layer = i}), c);
    m->final_norm = sdi_get_norm(b, &top, SD_KEY_TEXT_FINAL_NORM, c->width);
    if (c->projection > 0)
        m->projection =
            sdi_get_linear_no_bias(b, &top, SD_KEY_TEXT_PROJECTION, c->projection, c->width);
    for (int i = 0; i < c->skip; i++) {
        sd_path unused = sdi_path_at(top, SD_KEY_TEXT_LAYER, (sd_indices){.layer = c->layers + i});
        sdi_builder_pass_over(b, &unused);
    }
}

/* x + attention(norm1(x)), then that plus mlp(norm2(..)) */
static sdb_tensor text_layer_forward(sd_exec *e, const text_layer *layer, sdb_tensor x,
                                     const sd_text_config *config) {
    sdb_act act = config->act == SD_TEXT_QUICK_GELU ? SDB_ACT_QUICK_GELU : SDB_ACT_GELU;
    sdb_tensor a = sdi_layer_norm(e, x, layer->norm1, config->eps);
    sdb_tensor qkv = sdi_linear(e, a, 3 * x.c, (sdb_linear){.weight = layer->qkv});
    a = sdi_self_attention(e, qkv, config->heads, true);
    x = sdi_linear(e, a, x.c, (sdb_linear){.weight = layer->out, .residual = x});

    a = sdi_layer_norm(e, x, layer->norm2, config->eps);
    a = sdi_linear(e, a, config->mlp_width, (sdb_linear){.weight = layer->fc1, .act = act});
    return sdi_linear(e, a, x.c, (sdb_linear){.weight = layer->fc2, .residual = x});
}

void sdi_text_model_forward(sd_exec *e, const sd_text_model *m, sdb_tensor y, sdb_tensor pooled,
                            sdb_tensor ids, int skip) {
    const sd_text_config *c = &m->config;
    int last = c->layers - c->penultimate - skip;
    sdb_tensor x = sdi_exec_tensor(e, ids.n, ids.h, 1, c->width);
    sdi_op_embed(e, (sdb_embed){ids, x, m->token, m->position});
    for (int i = 0; i < last; i++)
        x = text_layer_forward(e, &m->layers[i], x, c);
    sdi_op_copy(e, y, c->penultimate ? x : sdi_layer_norm(e, x, m->final_norm, c->eps));
    if (pooled.c == 0)
        return;
    for (int i = last; i < c->layers; i++)
        x = text_layer_forward(e, &m->layers[i], x, c);
    sdi_linear_to(e, pooled, sdi_layer_norm(e, x, m->final_norm, c->eps), m->projection);
}

/* ------------------------------------------------------------------------- the part */

static bool is_on_text(const sd_description *d) {
    return !d->first_stage_only && d->conditioning == SD_CONDITIONING_TEXT;
}

static bool text_wanted(const sd_description *d) {
    return is_on_text(d) && d->texts != SD_TEXTS_SECOND;
}

static bool text_2_wanted(const sd_description *d) {
    return is_on_text(d) && d->texts != SD_TEXTS_FIRST;
}

/* Some writers (transformers 5 among them) leave "text_model." out; a tower's own file in
 * OpenCLIP's naming has no prefix. */
static const sd_place text_places[] = {
    {SD_LAYOUT_OPEN_CLIP, "", "transformer.resblocks."},
    {SD_LAYOUT_OPEN_CLIP, "cond_stage_model.model.", ""},
    {SD_LAYOUT_ORIGINAL, "conditioner.embedders.0.transformer.", "embeddings."},
    {SD_LAYOUT_ORIGINAL, "conditioner.embedders.0.transformer.text_model.", ""},
    {SD_LAYOUT_ORIGINAL, "cond_stage_model.transformer.", "embeddings."},
    {SD_LAYOUT_ORIGINAL, "cond_stage_model.transformer.text_model.", ""},
    {SD_LAYOUT_DIFFUSERS, "text_model.", ""},
    {SD_LAYOUT_DIFFUSERS, "", "embeddings."},
};

static const sd_place text_2_places[] = {
    {SD_LAYOUT_OPEN_CLIP, "", "transformer.resblocks."},
    {SD_LAYOUT_OPEN_CLIP, "conditioner.embedders.1.model.", ""},
    {SD_LAYOUT_OPEN_CLIP, "conditioner.embedders.0.model.", ""},
    {SD_LAYOUT_DIFFUSERS, "text_model.", ""},
    {SD_LAYOUT_DIFFUSERS, "", "embeddings."},
};

const sd_part_type sdi_text_part = {
    .what = "text encoder",
    .name = "text_encoder",
    SD_PLACES(text_places),
    .folder = "text_encoder",
    .stems = {"model", "pytorch_model"},
    .classes = {"CLIPTextModel", "CLIPTextModelWithProjection"},
    SD_FILE(text_encoder),
    SD_CONFIG(text),
    .size = sizeof(sd_text_model),
    .wanted = text_wanted,
    .read = sdi_config_text,
    .infer = sdi_infer_text,
    .measured = true,
    .net = SD_NET_TEXT,
    .reads_texts = true,
    .tokenizer = "tokenizer",
    .build = text_build,
};

/* SDXL's larger one, whose end token is the text as one vector. */
const sd_part_type sdi_text_2_part = {
    .what = "second text encoder",
    .name = "text_encoder_2",
    SD_PLACES(text_2_places),
    .folder = "text_encoder_2",
    .stems = {"model", "pytorch_model"},
    .classes = {"CLIPTextModelWithProjection"},
    SD_FILE(text_encoder_2),
    SD_CONFIG(text_2),
    .size = sizeof(sd_text_model),
    .wanted = text_2_wanted,
    .read = sdi_config_text_2,
    .infer = sdi_infer_text_2,
    .measured = true,
    .net = SD_NET_TEXT_2,
    .reads_texts = true,
    .tokenizer = "tokenizer_2",
    .build = text_build,
};
