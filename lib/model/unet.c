/*
 * UNetModel of openaimodel.py, with SpatialTransformers (Rombach et al. 2022, section 3.3) or with
 * AttentionBlocks alone (ADM: Dhariwal and Nichol 2021).
 *
 * The way down makes one skip an input block, the way up consumes them last in, first out, each
 * concatenated after the current tensor: [h, skip].
 */
#include "model/blocks.h"

#include <math.h>

/* The attention that may follow a ResBlock. */
typedef struct attention {
    enum { NO_ATTENTION, TRANSFORMER, PLAIN } kind;
    sd_spatial_transformer transformer;
    sd_attention_block block;
} attention;

/* One of input_blocks: a convolution (the first, or a Downsample), a ResBlock, or a pooling. */
typedef struct input_block {
    enum { CONV, RES, POOL } kind;
    const sdb_weight *conv;
    int stride; /* 2: y is half of x, and of an odd size the larger half */
    sd_res_block res;
    attention attention;
    int channels; /* of its skip */
} input_block;

/* One of output_blocks. */
typedef struct output_block {
    sd_res_block res;
    attention attention;
    enum { NO_UP, UP_CONV, UP_RES, UP_NEAREST } up_kind;
    const sdb_weight *up; /* Upsample's convolution */
    sd_res_block up_res;
    int channels;
} output_block;

struct sd_unet {
    sd_part part;
    sd_unet_config config;
    const sdb_weight *time1, *time2;
    const sdb_weight *guidance;        /* NULL: config.guidance_dim is 0 */
    const sdb_weight *label1, *label2; /* NULL: config.label_dim is 0 */
    sd_wide_linear emb;                /* all ResBlocks' projections of the time embedding */
    sd_wide_linear kv;                 /* all cross-attentions' keys and values */
    input_block *in;
    output_block *out;
    int n_blocks;            /* of each of both */
    sd_res_block mid_res[2]; /* config.mid_blocks of them */
    attention mid_attention; /* between the two */
    const sdb_weight *norm_out, *conv_out;
};

/* ------------------------------------------------------------------------- building */

typedef struct unet_builder {
    sd_builder *b;
    sd_unet *m;
    sd_wide_builder emb, kv;
} unet_builder;

static int time_width(const sd_unet_config *c) {
    return 4 * c->model_channels;
}

static void build_res(unet_builder *u, sd_res_block *block, sd_path path, int in, int out) {
    const sd_unet_config *c = &u->m->config;
    sd_norm_spec spec = {c->norm_groups, c->norm_eps};
    sdi_res_block_build(u->b, block, path, in, out, spec, &u->emb, c->scale_shift_norm);
}

/* `depth` 0: there is none. */
static void build_attention(unet_builder *u, attention *a, sd_path path, int level, int depth) {
    const sd_unet_config *c = &u->m->config;
    sd_norm_spec spec = {c->norm_groups, c->norm_eps};
    int channels = c->channels[level], heads = c->heads[level];
    if (depth == 0)
        return;
    a->kind = c->plain_attention ? PLAIN : TRANSFORMER;
    if (c->plain_attention)
        sdi_plain_attention_build(u->b, &a->block, path, channels, heads, c->whole_qkv, spec);
    else
        sdi_spatial_transformer_build(u->b, &a->transformer, path, c, level, depth, &u->kv);
}

/* Of input_blocks, and of output_blocks. */
static int count_blocks(const sd_unet_config *c) {
    return sdi_unet_out_block(c, -1);
}

static void check_depths(sd_builder *b, const sd_unet_config *c) {
    sdi_builder_range(b, "the UNet's transformer_depth", c->depth_mid, 0, 32);
    for (int i = 0; !b->status && i < count_blocks(c); i++) {
        sdi_builder_range(b, "the UNet's transformer_depth", c->depth_in[i], 0, 32);
        sdi_builder_range(b, "the UNet's transformer_depth", c->depth_out[i], 0, 32);
    }
}

static void check_config(sd_builder *b, const sd_unet_config *c) {
    sdi_builder_range(b, "the UNet's number of levels", c->n_levels, 1, SD_MAX_LEVELS);
    sdi_builder_range(b, "the UNet's input channels", c->in_channels, 1, SD_MAX_WIDTH);
    sdi_builder_range(b, "the UNet's output channels", c->out_channels, 1, SD_MAX_WIDTH);
    sdi_builder_range(b, "the UNet's model_channels", c->model_channels, 1, SD_MAX_WIDTH);
    if (!c->plain_attention) {
        sdi_builder_range(b, "the UNet's context_dim", c->context_dim, 1, SD_MAX_WIDTH);
    }
    for (int i = 0; !b->status && i < c->n_levels; i++)
        sdi_builder_range(b, "the UNet's number of ResBlocks a level", c->res_blocks[i], 1,
                          SD_MAX_UNET_BLOCKS);
    for (int i = 0; !b->status && i < c->n_levels; i++)
        sdi_builder_range(b, "the UNet's number of channels", c->channels[i], 1, SD_MAX_WIDTH);
    if (!b->status)
        sdi_builder_range(b, "the UNet's number of blocks", count_blocks(c), 1, SD_MAX_UNET_BLOCKS);
    if (!b->status)
        check_depths(b, c);
}

/* The block that halves the size after a level: `at.flat` is its place in input_blocks. */
static void build_down(unet_builder *u, input_block *block, sd_indices at, int ch) {
    const sd_unet_config *c = &u->m->config;
    sd_path top = sdi_path_top();
    *block = (input_block){.kind = POOL, .stride = 2, .channels = ch};
    if (c->updown_blocks) {
        block->kind = RES;
        build_res(u, &block->res, sdi_path_at(top, SD_KEY_UNET_DOWN_RES, at), ch, ch);
        block->res.size = SD_RES_DOWN;
    } else if (!c->pooled_resample) {
        block->kind = CONV;
        top.at = at;
        block->conv = sdi_get_conv3x3(u->b, &top, SD_KEY_UNET_DOWN, ch, ch);
    }
}

static void build_input_blocks(unet_builder *u) {
    const sd_unet_config *c = &u->m->config;
    input_block *block = u->m->in;
    sd_path top = sdi_path_top();
    int ch = c->model_channels;

    *block++ =
        (input_block){.conv = sdi_get_conv3x3(u->b, &top, SD_KEY_UNET_CONV_IN, ch, c->in_channels),
                      .stride = 1,
                      .channels = ch};
    for (int level = 0; level < c->n_levels; level++) {
        sd_indices at = {.level = level, .flat = sdi_unet_in_block(c, level)};
        for (at.block = 0; at.block < c->res_blocks[level]; at.block++, at.flat++, block++) {
            build_res(u, &block->res, sdi_path_at(top, SD_KEY_UNET_IN_RES, at), ch,
                      c->channels[level]);
            ch = c->channels[level];
            block->channels = ch;
            block->kind = RES;
            block->stride = 1;
            build_attention(u, &block->attention, sdi_path_at(top, SD_KEY_UNET_IN_ATTENTION, at),
                            level, c->depth_in[at.flat]);
        }
        if (level + 1 < c->n_levels)
            build_down(u, block++, at, ch);
    }
}

static void build_middle(unet_builder *u) {
    sd_unet *m = u->m;
    const sd_unet_config *c = &m->config;
    int level = c->n_levels - 1, ch = c->channels[level];
    sd_path top = sdi_path_top();
    if (c->mid_blocks > 0)
        build_res(u, &m->mid_res[0], sdi_path_child(top, SD_KEY_UNET_MID_RES1), ch, ch);
    build_attention(u, &m->mid_attention, sdi_path_child(top, SD_KEY_UNET_MID_ATTENTION), level,
                    c->depth_mid);
    if (c->mid_blocks > 1)
        build_res(u, &m->mid_res[1], sdi_path_child(top, SD_KEY_UNET_MID_RES2), ch, ch);
}

/* The layers that double the size after a level, in its last output block. */
static void build_up(unet_builder *u, output_block *block, sd_indices at) {
    const sd_unet_config *c = &u->m->config;
    sd_path top = sdi_path_top();
    int ch = block->channels;
    block->up_kind = UP_NEAREST;
    if (c->updown_blocks) {
        block->up_kind = UP_RES;
        build_res(u, &block->up_res, sdi_path_at(top, SD_KEY_UNET_UP_RES, at), ch, ch);
        block->up_res.size = SD_RES_UP;
    } else if (!c->pooled_resample) {
        block->up_kind = UP_CONV;
        top.at = at;
        block->up = sdi_get_conv3x3_up(u->b, &top, SD_KEY_UNET_UP, ch);
    }
}

static void build_output_blocks(unet_builder *u) {
    const sd_unet_config *c = &u->m->config;
    output_block *block = u->m->out;
    input_block *skip = u->m->in + u->m->n_blocks; /* the one that is consumed comes before */
    int ch = c->channels[c->n_levels - 1];
    sd_path top = sdi_path_top();

    for (int i = 0; i < c->n_levels; i++) {
        int level = c->n_levels - 1 - i, last = c->res_blocks[level];
        sd_indices at = {.level = i, .flat = sdi_unet_out_block(c, level)};
        for (at.block = 0; at.block <= last; at.block++, at.flat++, block++) {
            at.slot = c->depth_out[at.flat] > 0 ? 2 : 1;
            build_res(u, &block->res, sdi_path_at(top, SD_KEY_UNET_OUT_RES, at),
                      ch + (--skip)->channels, c->channels[level]);
            ch = c->channels[level];
            block->channels = ch;
            build_attention(u, &block->attention, sdi_path_at(top, SD_KEY_UNET_OUT_ATTENTION, at),
                            level, c->depth_out[at.flat]);
            if (at.block == last && level > 0)
                build_up(u, block, at);
        }
    }
}

static void unet_build(sd_builder *b, void *network, const void *config) {
    sd_unet *m = network;
    const sd_unet_config *c = &m->config;
    m->config = *(const sd_unet_config *)config;
    sd_path top = sdi_path_top();
    check_config(b, c);
    m->n_blocks = b->status ? 0 : count_blocks(c);
    m->in = sdi_builder_alloc(b, (size_t)m->n_blocks, sizeof *m->in);
    m->out = sdi_builder_alloc(b, (size_t)m->n_blocks, sizeof *m->out);
    if (b->status)
        return;
    unet_builder u = {.b = b, .m = m};
    sdi_wide_begin(&u.emb, b, &m->emb, time_width(c));
    sdi_wide_begin(&u.kv, b, &m->kv, c->context_dim);
    m->time1 = sdi_get_linear(b, &top, SD_KEY_UNET_TIME1, time_width(c), c->model_channels);
    m->time2 = sdi_get_linear(b, &top, SD_KEY_UNET_TIME2, time_width(c), time_width(c));
    if (c->guidance_dim > 0)
        m->guidance = sdi_get_linear_no_bias(b, &top, SD_KEY_UNET_GUIDANCE, c->model_channels,
                                             c->guidance_dim);
    if (c->label_dim > 0) {
        m->label1 = sdi_get_linear(b, &top, SD_KEY_UNET_LABEL1, time_width(c), c->label_dim);
        m->label2 = sdi_get_linear(b, &top, SD_KEY_UNET_LABEL2, time_width(c), time_width(c));
    }
    build_input_blocks(&u);
    build_middle(&u);
    build_output_blocks(&u);
    m->norm_out = sdi_get_norm(b, &top, SD_KEY_UNET_NORM_OUT, c->channels[0]);
    m->conv_out = sdi_get_conv3x3(b, &top, SD_KEY_UNET_CONV_OUT, c->out_channels, c->channels[0]);
    sdi_wide_end(&u.emb);
    sdi_wide_end(&u.kv);
}

/* ------------------------------------------------------------------------- running */

int sdi_unet_kv_width(const sd_unet *m) {
    return m->kv.width;
}

void sdi_unet_kv(sd_exec *e, const sd_unet *m, sdb_tensor kv, sdb_tensor context) {
    sdi_wide_forward(e, &m->kv, kv, sdi_as_activations(e, context));
}

int sdi_unet_label_width(const sd_unet *m) {
    return m->config.label_dim > 0 ? time_width(&m->config) : 0;
}

void sdi_unet_label(sd_exec *e, const sd_unet *m, sdb_tensor label, sdb_tensor pooled,
                    sdb_tensor sizes) {
    const sd_unet_config *c = &m->config;
    sdb_tensor vector = sdi_exec_tensor(e, label.n, 1, 1, c->label_dim);
    sdi_op_copy(e, sdi_view_channels(vector, 0, pooled.c), pooled);
    for (int i = 0; i < c->n_sizes; i++) {
        sdb_tensor y = sdi_view_channels(vector, pooled.c + i * c->size_dim, c->size_dim);
        sdi_op_timestep_embedding(e, (sdb_timestep_embedding){sdi_view_channels(sizes, i, 1), y});
    }
    sdb_tensor h = sdi_linear(e, vector, time_width(c),
                              (sdb_linear){.weight = m->label1, .act = SDB_ACT_SILU});
    sdi_linear_to(e, label, h, m->label2);
}

int sdi_unet_guidance_dim(const sd_unet *m) {
    return m->config.guidance_dim;
}

void sdi_unet_guidance(const sd_unet *m, double scale, float *embedding) {
    /* In float32 as there: rounding matters where the angle is many turns. */
    int half = m->config.guidance_dim / 2;
    float w = (float)(scale - 1.0) * 1000.0f;
    float step = (float)log(10000.0) / (float)(half - 1);
    embedding[m->config.guidance_dim - 1] = 0.0f; /* of an odd width */
    for (int i = 0; i < half; i++) {
        float angle = w * (float)exp((double)((float)i * -step));
        embedding[i] = (float)sin((double)angle);
        embedding[half + i] = (float)cos((double)angle);
    }
}

/* The tensors that every block reads besides its input. */
typedef struct unet_run {
    sd_exec *e;
    const sd_unet *m;
    sdb_tensor emb; /* [n, 1, 1, all projections] */
    sdb_tensor kv;
} unet_run;

/* SiLU(a W^T + b + label): nothing reads a sum of embeddings but through a SiLU. */
static sdb_tensor add_label(sd_exec *e, const sd_unet *m, sdb_tensor a, sdb_tensor label) {
    int width = time_width(&m->config);
    if (label.c == 0)
        return sdi_linear(e, a, width, (sdb_linear){.weight = m->time2, .act = SDB_ACT_SILU});
    sdb_tensor sum = sdi_linear(e, a, width, (sdb_linear){.weight = m->time2, .residual = label});
    sdb_activation op = {
        .x = sum, .y = sdi_exec_tensor(e, sum.n, 1, 1, width), .act = SDB_ACT_SILU};
    sdi_op_activation(e, op);
    return op.y;
}

/* t [n, 1, 1, 1] to the ResBlocks' projections of SiLU(time_embed(t) + label). */
static sdb_tensor time_embedding(sd_exec *e, const sd_unet *m, sdb_tensor t, sdb_tensor guidance,
                                 sdb_tensor label) {
    int width = time_width(&m->config);
    sdb_tensor emb = sdi_exec_tensor(e, t.n, 1, 1, m->emb.width);
    sdb_tensor h = sdi_exec_tensor(e, t.n, 1, 1, m->config.model_channels);
    sdi_op_timestep_embedding(e, (sdb_timestep_embedding){t, h});
    if (guidance.c > 0)
        h = sdi_linear(e, sdi_as_activations(e, guidance), h.c,
                       (sdb_linear){.weight = m->guidance, .residual = h});
    h = sdi_linear(e, h, width, (sdb_linear){.weight = m->time1, .act = SDB_ACT_SILU});
    sdi_wide_forward(e, &m->emb, emb, add_label(e, m, h, label));
    return emb;
}

/* attention(res(x)), the attention where there is one */
static sdb_tensor res_attention(const unet_run *run, const sd_res_block *res, const attention *a,
                                sdb_tensor x) {
    x = sdi_res_block_forward(run->e, res, x, run->emb);
    return a->kind == TRANSFORMER
               ? sdi_spatial_transformer_forward(run->e, &a->transformer, x, run->kv)
           : a->kind == PLAIN ? sdi_attention_block_forward(run->e, &a->block, x)
                              : x;
}

static sdb_tensor input_block_forward(const unet_run *run, const input_block *block, sdb_tensor x) {
    switch (block->kind) {
    case RES:
        return res_attention(run, &block->res, &block->attention, x);
    case CONV:
        return sdi_conv3x3(run->e, x, block->channels,
                           (sdb_conv2d){.weight = block->conv, .stride = block->stride});
    default:
        return sdi_resample(run->e, x, x.h / 2, x.w / 2);
    }
}

/* x is [h, skip]. What is doubled becomes of the size of `next`, the skip that it meets: where that
 * is odd, of twice x's less a row or column. */
static sdb_tensor output_block_forward(const unet_run *run, const output_block *block, sdb_tensor x,
                                       sdb_tensor next) {
    sdb_tensor h = res_attention(run, &block->res, &block->attention, x);
    switch (block->up_kind) {
    case UP_CONV:
        return sdi_upsample(run->e, h, next.h, next.w, block->up);
    case UP_RES:
        return sdi_res_block_forward(run->e, &block->up_res, h, run->emb);
    case UP_NEAREST:
        return sdi_resample(run->e, h, next.h, next.w);
    default:
        return h;
    }
}

/* input, in the type of activations, to [n, h, w, channels[0]] before the last norm */
static sdb_tensor blocks_forward(const unet_run *run, sdb_tensor input) {
    const sd_unet *m = run->m;
    sdb_tensor skips[SD_MAX_UNET_BLOCKS], h = input;
    int last = m->n_blocks - 1;

    for (int i = 0; i <= last; i++)
        h = skips[i] = input_block_forward(run, &m->in[i], h);
    if (m->config.mid_blocks > 0)
        h = res_attention(run, &m->mid_res[0], &m->mid_attention, h);
    if (m->config.mid_blocks > 1)
        h = sdi_res_block_forward(run->e, &m->mid_res[1], h, run->emb);
    for (int i = last; i >= 0; i--)
        h = output_block_forward(run, &m->out[last - i], sdi_concat(run->e, h, skips[i]),
                                 skips[i > 0 ? i - 1 : 0]);
    return h;
}

void sdi_unet_forward(sd_exec *e, const sd_unet *m, sdb_tensor y, sdb_tensor x, sdb_tensor t,
                      sdb_tensor kv, sdb_tensor guidance, sdb_tensor label) {
    const sd_unet_config *c = &m->config;
    unet_run run = {e, m, time_embedding(e, m, t, guidance, label), kv};
    sdb_tensor h = blocks_forward(&run, sdi_as_activations(e, x));
    h = sdi_group_norm(e, h, m->norm_out, (sd_norm_spec){c->norm_groups, c->norm_eps},
                       SDB_ACT_SILU);
    sdi_conv_to(e, y, h, m->conv_out);
}

/* ------------------------------------------------------------------------- the part */

static bool unet_wanted(const sd_description *d) {
    return !d->first_stage_only;
}

/* A UNet's own file has no prefix. */
static const sd_place unet_places[] = {{SD_LAYOUT_ORIGINAL, "", "input_blocks."},
                                       {SD_LAYOUT_ORIGINAL, "model.diffusion_model.", ""},
                                       {SD_LAYOUT_DIFFUSERS, "", "down_blocks."}};

const sd_part_type sdi_unet_part = {
    .what = "UNet",
    .name = "unet",
    SD_PLACES(unet_places),
    .folder = "unet",
    .stems = {"diffusion_pytorch_model", "diffusion_pytorch_model"},
    .classes = {"UNet2DConditionModel"},
    SD_FILE(unet),
    SD_CONFIG(unet),
    .size = sizeof(sd_unet),
    .wanted = unet_wanted,
    .read = sdi_config_unet,
    .infer = sdi_infer_unet,
    .net = SD_NET_UNET,
    .build = unet_build,
};
