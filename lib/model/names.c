/* The table of names. Original: CompVis' openaimodel.py, attention.py and model.py. */
#include "model/names.h"

#include <stdio.h>
#include <string.h>

typedef struct name_row {
    const char *original;
    const char *diffusers; /* NULL: the same */
    const char *old;       /* diffusers' former name; NULL: the same */
    unsigned conv1x1;      /* the layouts that store this Linear as [out, in, 1, 1]; or CONV1D */
    const char *open_clip; /* in OpenCLIP's text tower */
    const char *processor; /* in LoRA files of diffusers before 0.20, where attention's processors
                              had the matrices; NULL: as in diffusers */
} name_row;

enum { CONV_ORIGINAL = 1u << SD_LAYOUT_ORIGINAL, CONV_DIFFUSERS = 1u << SD_LAYOUT_DIFFUSERS };
#define CONV_BOTH (CONV_ORIGINAL | CONV_DIFFUSERS)
#define CONV1D 8u /* [out, in, 1] in all layouts */
#define TEXT(name, open_clip)                                                                      \
    { name, NULL, NULL, 0, open_clip }
#define ATTENTION(module, name, old)                                                               \
    { module "." name, .processor = module ".processor." old }

static const name_row rows[SD_N_KEYS] = {
    [SD_KEY_TEXT_TOKEN] = TEXT("embeddings.token_embedding", "token_embedding"),
    [SD_KEY_TEXT_POSITION] = TEXT("embeddings.position_embedding", "positional_embedding"),
    [SD_KEY_TEXT_LAYER] = TEXT("encoder.layers.{layer}", "transformer.resblocks.{layer}"),
    [SD_KEY_TEXT_NORM1] = TEXT("layer_norm1", "ln_1"),
    [SD_KEY_TEXT_Q] = {"self_attn.q_proj", .processor = "self_attn.to_q"},
    [SD_KEY_TEXT_K] = {"self_attn.k_proj", .processor = "self_attn.to_k"},
    [SD_KEY_TEXT_V] = {"self_attn.v_proj", .processor = "self_attn.to_v"},
    [SD_KEY_TEXT_OUT] = {"self_attn.out_proj", NULL, NULL, 0, "attn.out_proj", "self_attn.to_out"},
    [SD_KEY_TEXT_NORM2] = TEXT("layer_norm2", "ln_2"),
    [SD_KEY_TEXT_FC1] = TEXT("mlp.fc1", "mlp.c_fc"),
    [SD_KEY_TEXT_FC2] = TEXT("mlp.fc2", "mlp.c_proj"),
    [SD_KEY_TEXT_FINAL_NORM] = TEXT("final_layer_norm", "ln_final"),
    [SD_KEY_TEXT_QKV] = TEXT("attn.in_proj", "attn.in_proj"),
    [SD_KEY_TEXT_PROJECTION] = TEXT("text_projection", "text_projection"),

    [SD_KEY_CLASS] = {"embedding"},

    [SD_KEY_UNET_TIME1] = {"time_embed.0", "time_embedding.linear_1"},
    [SD_KEY_UNET_TIME2] = {"time_embed.2", "time_embedding.linear_2"},
    [SD_KEY_UNET_GUIDANCE] = {"time_embed.cond_proj", "time_embedding.cond_proj"},
    [SD_KEY_UNET_LABEL1] = {"label_emb.0.0", "add_embedding.linear_1"},
    [SD_KEY_UNET_LABEL2] = {"label_emb.0.2", "add_embedding.linear_2"},
    [SD_KEY_UNET_CONV_IN] = {"input_blocks.0.0", "conv_in"},
    [SD_KEY_UNET_IN_RES] = {"input_blocks.{flat}.0", "down_blocks.{level}.resnets.{block}"},
    [SD_KEY_UNET_IN_ATTENTION] = {"input_blocks.{flat}.1",
                                  "down_blocks.{level}.attentions.{block}"},
    [SD_KEY_UNET_DOWN] = {"input_blocks.{flat}.0.op", "down_blocks.{level}.downsamplers.0.conv"},
    [SD_KEY_UNET_DOWN_RES] = {"input_blocks.{flat}.0", "down_blocks.{level}.downsamplers.0"},
    [SD_KEY_UNET_MID_RES1] = {"middle_block.0", "mid_block.resnets.0"},
    [SD_KEY_UNET_MID_ATTENTION] = {"middle_block.1", "mid_block.attentions.0"},
    [SD_KEY_UNET_MID_RES2] = {"middle_block.2", "mid_block.resnets.1"},
    [SD_KEY_UNET_OUT_RES] = {"output_blocks.{flat}.0", "up_blocks.{level}.resnets.{block}"},
    [SD_KEY_UNET_OUT_ATTENTION] = {"output_blocks.{flat}.1",
                                   "up_blocks.{level}.attentions.{block}"},
    [SD_KEY_UNET_UP] = {"output_blocks.{flat}.{slot}.conv", "up_blocks.{level}.upsamplers.0.conv"},
    [SD_KEY_UNET_UP_RES] = {"output_blocks.{flat}.{slot}", "up_blocks.{level}.upsamplers.0"},
    [SD_KEY_UNET_NORM_OUT] = {"out.0", "conv_norm_out"},
    [SD_KEY_UNET_CONV_OUT] = {"out.2", "conv_out"},

    [SD_KEY_RES_NORM1] = {"in_layers.0", "norm1"},
    [SD_KEY_RES_CONV1] = {"in_layers.2", "conv1"},
    [SD_KEY_RES_NORM2] = {"out_layers.0", "norm2"},
    [SD_KEY_RES_CONV2] = {"out_layers.3", "conv2"},
    [SD_KEY_RES_SKIP] = {"skip_connection", "conv_shortcut", NULL, CONV_BOTH},
    [SD_KEY_RES_EMB] = {"emb_layers.1", "time_emb_proj"},

    [SD_KEY_PLAIN_NORM] = {"norm"},
    [SD_KEY_PLAIN_QKV] = {"qkv", NULL, NULL, CONV1D},
    [SD_KEY_PLAIN_OUT] = {"proj_out", NULL, NULL, CONV1D},

    [SD_KEY_ST_NORM] = {"norm"},
    [SD_KEY_ST_PROJ_IN] = {"proj_in", NULL, NULL, CONV_BOTH},
    [SD_KEY_ST_PROJ_OUT] = {"proj_out", NULL, NULL, CONV_BOTH},
    [SD_KEY_ST_PROJ_IN_LINEAR] = {"proj_in"},
    [SD_KEY_ST_PROJ_OUT_LINEAR] = {"proj_out"},
    [SD_KEY_ST_BLOCK] = {"transformer_blocks.{layer}"},
    [SD_KEY_ST_NORM1] = {"norm1"},
    [SD_KEY_ST_SELF_Q] = ATTENTION("attn1", "to_q", "to_q"),
    [SD_KEY_ST_SELF_K] = ATTENTION("attn1", "to_k", "to_k"),
    [SD_KEY_ST_SELF_V] = ATTENTION("attn1", "to_v", "to_v"),
    [SD_KEY_ST_SELF_OUT] = ATTENTION("attn1", "to_out.0", "to_out"),
    [SD_KEY_ST_NORM2] = {"norm2"},
    [SD_KEY_ST_CROSS_Q] = ATTENTION("attn2", "to_q", "to_q"),
    [SD_KEY_ST_CROSS_K] = ATTENTION("attn2", "to_k", "to_k"),
    [SD_KEY_ST_CROSS_V] = ATTENTION("attn2", "to_v", "to_v"),
    [SD_KEY_ST_CROSS_OUT] = ATTENTION("attn2", "to_out.0", "to_out"),
    [SD_KEY_ST_NORM3] = {"norm3"},
    [SD_KEY_ST_GEGLU] = {"ff.net.0.proj"},
    [SD_KEY_ST_FF_OUT] = {"ff.net.2"},

    [SD_KEY_VAE_ENCODER] = {"encoder"},
    [SD_KEY_VAE_DECODER] = {"decoder"},
    [SD_KEY_VAE_CONV_IN] = {"conv_in"},
    [SD_KEY_VAE_DOWN_RES] = {"down.{level}.block.{block}", "down_blocks.{level}.resnets.{block}"},
    [SD_KEY_VAE_DOWN_ATTENTION] = {"down.{level}.attn.{block}",
                                   "down_blocks.{level}.attentions.{block}"},
    [SD_KEY_VAE_DOWN] = {"down.{level}.downsample.conv", "down_blocks.{level}.downsamplers.0.conv"},
    [SD_KEY_VAE_UP_RES] = {"up.{from_end}.block.{block}", "up_blocks.{level}.resnets.{block}"},
    [SD_KEY_VAE_UP_ATTENTION] = {"up.{from_end}.attn.{block}",
                                 "up_blocks.{level}.attentions.{block}"},
    [SD_KEY_VAE_UP] = {"up.{from_end}.upsample.conv", "up_blocks.{level}.upsamplers.0.conv"},
    [SD_KEY_VAE_MID_RES1] = {"mid.block_1", "mid_block.resnets.0"},
    [SD_KEY_VAE_MID_ATTENTION] = {"mid.attn_1", "mid_block.attentions.0"},
    [SD_KEY_VAE_MID_RES2] = {"mid.block_2", "mid_block.resnets.1"},
    [SD_KEY_VAE_NORM_OUT] = {"norm_out", "conv_norm_out"},
    [SD_KEY_VAE_CONV_OUT] = {"conv_out"},
    [SD_KEY_VAE_QUANT] = {"quant_conv", NULL, NULL, CONV_BOTH},
    [SD_KEY_VAE_POST_QUANT] = {"post_quant_conv", NULL, NULL, CONV_BOTH},
    [SD_KEY_VAE_CODEBOOK] = {"quantize.embedding"},

    [SD_KEY_VAE_RES_NORM1] = {"norm1"},
    [SD_KEY_VAE_RES_CONV1] = {"conv1"},
    [SD_KEY_VAE_RES_NORM2] = {"norm2"},
    [SD_KEY_VAE_RES_CONV2] = {"conv2"},
    [SD_KEY_VAE_RES_SKIP] = {"nin_shortcut", "conv_shortcut", NULL, CONV_BOTH},
    /* diffusers before 0.18 had AttentionBlock with its own names */
    [SD_KEY_VAE_ATTENTION_NORM] = {"norm", "group_norm"},
    [SD_KEY_VAE_ATTENTION_Q] = {"q", "to_q", "query", CONV_ORIGINAL},
    [SD_KEY_VAE_ATTENTION_K] = {"k", "to_k", "key", CONV_ORIGINAL},
    [SD_KEY_VAE_ATTENTION_V] = {"v", "to_v", "value", CONV_ORIGINAL},
    [SD_KEY_VAE_ATTENTION_OUT] = {"proj_out", "to_out.0", "proj_attn", CONV_ORIGINAL},

    [SD_KEY_TINY_LAYER] = {"{flat}", "layers.{layer}"},
    [SD_KEY_TINY_CONV1] = {"conv.0"},
    [SD_KEY_TINY_CONV2] = {"conv.2"},
    [SD_KEY_TINY_CONV3] = {"conv.4"},
};

typedef struct harmless_row {
    const char *text;
    enum { WHOLE, AT_START, AT_END } where;
} harmless_row;

static const harmless_row harmless[] = {
    {"embeddings.position_ids", AT_END},     /* 0 .. 76, a buffer of older transformers */
    {"model_ema.", AT_START},                /* the averaged copy that training keeps */
    {"cond_stage_model.logit_scale", WHOLE}, /* CLIP's other half and its head */
    {"cond_stage_model.transformer.vision_model.", AT_START},
    {"cond_stage_model.model.visual.", AT_START},
    {"cond_stage_model.model.logit_scale", WHOLE},
    {"cond_stage_model.model.text_projection", WHOLE},
    {"cond_stage_model.model.attn_mask", WHOLE},
    {"text_projection", WHOLE},
    {"text_projection.weight", WHOLE},
    {"cond_stage_model.transformer.text_projection.weight", WHOLE},
    {"logit_scale", WHOLE},
    {".logit_scale", AT_END},
    {"conditioner.embedders.0.model.attn_mask", WHOLE},
    {"conditioner.embedders.1.model.attn_mask", WHOLE},
    {"denoiser.sigmas", WHOLE},            /* generative-models' schedule */
    {"first_stage_model.loss.", AT_START}, /* the autoencoder's discriminator */
    {"loss.", AT_START},
    {"betas", WHOLE}, /* the schedule, which is computed anew */
    {"alphas_cumprod", WHOLE},
    {"alphas_cumprod_prev", WHOLE},
    {"sqrt_alphas_cumprod", WHOLE},
    {"sqrt_one_minus_alphas_cumprod", WHOLE},
    {"log_one_minus_alphas_cumprod", WHOLE},
    {"sqrt_recip_alphas_cumprod", WHOLE},
    {"sqrt_recipm1_alphas_cumprod", WHOLE},
    {"posterior_variance", WHOLE},
    {"posterior_log_variance_clipped", WHOLE},
    {"posterior_mean_coef1", WHOLE},
    {"posterior_mean_coef2", WHOLE},
    {"lvlb_weights", WHOLE},
    {"logvar", WHOLE},
    {"scale_factor", WHOLE},
    {"v_pred", WHOLE},          /* tells that the UNet predicts v (describe/infer.c) */
    {"ztsnr", WHOLE},           /* and that its schedule ends at no signal */
    {"depth_model.", AT_START}, /* MiDaS, in depth-to-image checkpoints */
    {"scaled_fp8", AT_END},     /* says that float8 weights have scales beside them: io/float8.c */
    {".scale_weight", AT_END},
    {"weight_scale", AT_END},
    {".scale_input", AT_END},
    {".input_scale", AT_END},
    {".comfy_quant", AT_END},
};

sd_path sdi_path_top(void) {
    return (sd_path){.depth = 0};
}

sd_path sdi_path_at(sd_path parent, sd_key key, sd_indices at) {
    if (parent.depth < SD_MAX_PATH)
        parent.keys[parent.depth++] = key;
    parent.at = at;
    return parent;
}

sd_path sdi_path_child(sd_path parent, sd_key key) {
    return sdi_path_at(parent, key, parent.at);
}

bool sdi_path_equal(const sd_path *a, const sd_path *b) {
    const sd_indices *x = &a->at, *y = &b->at;
    for (int i = 0; i < a->depth && i < b->depth; i++)
        if (a->keys[i] != b->keys[i])
            return false;
    return a->depth == b->depth && x->level == y->level && x->from_end == y->from_end &&
           x->block == y->block && x->flat == y->flat && x->slot == y->slot && x->layer == y->layer;
}

/* Text that grows to the right and is cut at the end of its memory. */
typedef struct name_text {
    char *data;
    size_t length;
} name_text;

static void append(name_text *t, const char *s, size_t n) {
    size_t room = SD_MAX_NAME - 1 - t->length;
    if (n > room)
        n = room;
    memcpy(t->data + t->length, s, n);
    t->length += n;
    t->data[t->length] = 0;
}

/* The value of the placeholder {word}. */
static int placeholder(const sd_indices *at, const char *word, size_t n) {
    const struct {
        const char *word;
        int value;
    } values[] = {{"level", at->level}, {"from_end", at->from_end}, {"block", at->block},
                  {"flat", at->flat},   {"slot", at->slot},         {"layer", at->layer}};
    for (size_t i = 0; i < SD_COUNT(values); i++)
        if (strlen(values[i].word) == n && memcmp(values[i].word, word, n) == 0)
            return values[i].value;
    return -1; /* a misspelled row: tests/unit/test_names.c would see it */
}

static void append_pattern(name_text *t, const char *pattern, const sd_indices *at) {
    while (*pattern) {
        size_t plain = strcspn(pattern, "{");
        append(t, pattern, plain);
        pattern += plain;
        if (*pattern == '{') {
            size_t n = strcspn(pattern, "}");
            char digits[16];
            snprintf(digits, sizeof digits, "%d", placeholder(at, pattern + 1, n - 1));
            append(t, digits, strlen(digits));
            pattern += n + 1;
        }
    }
}

static const char *row_pattern(const name_row *row, sd_layout layout, int spelling) {
    if (layout == SD_LAYOUT_OPEN_CLIP)
        return row->open_clip ? row->open_clip : row->original;
    if (layout == SD_LAYOUT_ORIGINAL || !row->diffusers)
        return row->original;
    return spelling > 0 && row->old ? row->old : row->diffusers;
}

/* transformers' CLIPTextModelWithProjection has its projection beside "text_model.". */
static bool is_outside(const sd_path *path, sd_layout layout) {
    return layout == SD_LAYOUT_DIFFUSERS && path->depth == 1 &&
           path->keys[0] == SD_KEY_TEXT_PROJECTION;
}

const char *sdi_path_name(char name[SD_MAX_NAME], const sd_path *path, sd_layout layout,
                          int spelling, const char *prefix, const char *suffix) {
    name_text t = {name, 0};
    name[0] = 0;
    append(&t, prefix, is_outside(path, layout) ? 0 : strlen(prefix));
    for (int i = 0; i < path->depth; i++) {
        append_pattern(&t, row_pattern(&rows[path->keys[i]], layout, spelling), &path->at);
        append(&t, ".", i + 1 < path->depth);
    }
    append(&t, suffix, strlen(suffix));
    return name;
}

static const char *key_pattern(const name_row *row, int naming) {
    return naming == 1 && row->processor ? row->processor
           : naming == 2                 ? row->original
           : naming == 3                 ? row_pattern(row, SD_LAYOUT_OPEN_CLIP, 0)
                                         : row_pattern(row, SD_LAYOUT_DIFFUSERS, 0);
}

const char *sdi_path_key(char key[SD_MAX_NAME], const sd_path *path, int naming) {
    name_text t = {key, 0};
    key[0] = 0;
    for (int i = 0; i < path->depth; i++) {
        append_pattern(&t, key_pattern(&rows[path->keys[i]], naming), &path->at);
        append(&t, "_", i + 1 < path->depth);
    }
    for (char *dot = strchr(key, '.'); dot; dot = strchr(dot, '.'))
        *dot = '_';
    return key;
}

int sdi_path_modules(const sd_path *path, int outputs, sd_module_rows modules[3]) {
    static const sd_key thirds[3] = {SD_KEY_TEXT_Q, SD_KEY_TEXT_K, SD_KEY_TEXT_V};
    modules[0] = (sd_module_rows){*path, 0, outputs};
    if (path->depth == 0 || path->keys[path->depth - 1] != SD_KEY_TEXT_QKV)
        return 1;
    for (int i = 0; i < 3; i++) {
        modules[i] = (sd_module_rows){*path, i * (outputs / 3), outputs / 3};
        modules[i].path.keys[path->depth - 1] = thirds[i];
    }
    return 3;
}

int sdi_key_matrix_dims(sd_key key, sd_layout layout) {
    unsigned conv = rows[key].conv1x1;
    return conv & CONV1D ? 3 : conv >> layout & 1 ? 4 : 2;
}

bool sdi_key_is_transposed(sd_key key, sd_layout layout) {
    return key == SD_KEY_TEXT_PROJECTION && layout == SD_LAYOUT_OPEN_CLIP;
}

/* nn.MultiheadAttention's in_proj_weight, and bare nn.Parameters. */
const char *sdi_key_weight_suffix(sd_key key, sd_layout layout) {
    if (key == SD_KEY_TEXT_QKV)
        return "_weight";
    bool bare = key == SD_KEY_TEXT_POSITION || key == SD_KEY_TEXT_PROJECTION;
    return bare && layout == SD_LAYOUT_OPEN_CLIP ? "" : ".weight";
}

const char *sdi_key_bias_suffix(sd_key key, sd_layout layout) {
    (void)layout;
    return key == SD_KEY_TEXT_QKV ? "_bias" : ".bias";
}

static bool matches(const harmless_row *row, const char *name) {
    switch (row->where) {
    case AT_START:
        return strncmp(name, row->text, strlen(row->text)) == 0;
    case AT_END:
        return sdi_ends_with(name, strlen(name), row->text);
    case WHOLE:
        break;
    }
    return strcmp(name, row->text) == 0;
}

bool sdi_name_is_harmless(const char *name) {
    for (size_t i = 0; i < SD_COUNT(harmless); i++)
        if (matches(&harmless[i], name))
            return true;
    return false;
}
