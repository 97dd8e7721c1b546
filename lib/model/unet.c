/*
 * UNetModel of openaimodel.py, with SpatialTransformers (Rombach et al. 2022, section 3.3) or with
 * AttentionBlocks alone (ADM: Dhariwal and Nichol 2021).
 *
 * The way down makes one skip an input block, the way up consumes them last in, first out, each
 * concatenated after the current tensor: [h, skip]. Nothing is copied for that: as an input block
 * begins, the whole concatenated tensor is taken from the executor's stack; the block writes the
 * right channel range of it, and the output block before the one that reads it writes the left.
 */
#include "model/blocks.h"

#include <math.h>

#define MAX_BLOCKS 64 /* input blocks, and as many output blocks */

/* What may follow a ResBlock. */
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
    int partner;  /* of the tensor that the skip is concatenated to */
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
    const sdb_weight *guidance; /* NULL: config.guidance_dim is 0 */
    sd_wide_linear emb;         /* all ResBlocks' projections of the time embedding */
    sd_wide_linear kv;          /* all cross-attentions' keys and values */
    input_block *in;
    output_block *out;
    int n_blocks; /* of each of both */
    sd_res_block mid_res1, mid_res2;
    attention mid_attention;
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
    sd_res_block_build(u->b, block, path, in, out, spec, &u->emb, c->scale_shift_norm);
}

static void build_attention(unet_builder *u, attention *a, sd_path path, int level) {
    const sd_unet_config *c = &u->m->config;
    sd_norm_spec spec = {c->norm_groups, c->norm_eps};
    int channels = c->channels[level], heads = c->heads[level];
    a->kind = c->plain_attention ? PLAIN : TRANSFORMER;
    if (c->plain_attention)
        sd_plain_attention_build(u->b, &a->block, path, channels, heads, c->whole_qkv, spec);
    else
        sd_spatial_transformer_build(u->b, &a->transformer, path, c, level, &u->kv);
}

/* input_blocks before a level: conv_in, and those of the levels above. */
static int blocks_before(const sd_unet_config *c, int level) {
    int n = 0;
    for (int i = 0; i < level; i++)
        n += c->res_blocks[i] + 1;
    return n;
}

static void check_config(sd_builder *b, const sd_unet_config *c) {
    sd_builder_range(b, "the UNet's number of levels", c->n_levels, 1, SD_MAX_LEVELS);
    sd_builder_range(b, "the UNet's input channels", c->in_channels, 1, SD_MAX_WIDTH);
    sd_builder_range(b, "the UNet's output channels", c->out_channels, 1, SD_MAX_WIDTH);
    sd_builder_range(b, "the UNet's model_channels", c->model_channels, 1, SD_MAX_WIDTH);
    if (!c->plain_attention) {
        sd_builder_range(b, "the UNet's context_dim", c->context_dim, 1, SD_MAX_WIDTH);
    }
    for (int i = 0; !b->status && i < c->n_levels; i++) {
        sd_builder_range(b, "the UNet's number of ResBlocks a level", c->res_blocks[i], 1,
                         MAX_BLOCKS);
        if (!c->plain_attention)
            sd_builder_range(b, "the UNet's transformer_depth", c->depth[i], 1, 32);
    }
    for (int i = 0; !b->status && i < c->n_levels; i++)
        sd_builder_range(b, "the UNet's number of channels", c->channels[i], 1, SD_MAX_WIDTH);
    if (!b->status)
        sd_builder_range(b, "the UNet's number of blocks", blocks_before(c, c->n_levels), 1,
                         MAX_BLOCKS);
}

/* What halves the size after a level: `at.flat` is its place in input_blocks. */
static void build_down(unet_builder *u, input_block *block, sd_indices at, int ch) {
    const sd_unet_config *c = &u->m->config;
    sd_path top = sd_path_top();
    *block = (input_block){.kind = POOL, .stride = 2, .channels = ch};
    if (c->updown_blocks) {
        block->kind = RES;
        build_res(u, &block->res, sd_path_at(top, SD_KEY_UNET_DOWN_RES, at), ch, ch);
        block->res.size = SD_RES_DOWN;
    } else if (!c->pooled_resample) {
        block->kind = CONV;
        top.at = at;
        block->conv = sd_get_conv3x3(u->b, &top, SD_KEY_UNET_DOWN, ch, ch);
    }
}

static void build_input_blocks(unet_builder *u) {
    const sd_unet_config *c = &u->m->config;
    input_block *block = u->m->in;
    sd_path top = sd_path_top();
    int ch = c->model_channels;

    *block++ =
        (input_block){.conv = sd_get_conv3x3(u->b, &top, SD_KEY_UNET_CONV_IN, ch, c->in_channels),
                      .stride = 1,
                      .channels = ch};
    for (int level = 0; level < c->n_levels; level++) {
        sd_indices at = {.level = level, .flat = blocks_before(c, level)};
        for (at.block = 0; at.block < c->res_blocks[level]; at.block++, block++) {
            at.flat++;
            build_res(u, &block->res, sd_path_at(top, SD_KEY_UNET_IN_RES, at), ch,
                      c->channels[level]);
            ch = c->channels[level];
            block->channels = ch;
            block->kind = RES;
            block->stride = 1;
            if (c->attention[level])
                build_attention(u, &block->attention, sd_path_at(top, SD_KEY_UNET_IN_ATTENTION, at),
                                level);
        }
        if (level + 1 < c->n_levels) {
            at.flat++;
            build_down(u, block++, at, ch);
        }
    }
}

static void build_middle(unet_builder *u) {
    sd_unet *m = u->m;
    const sd_unet_config *c = &m->config;
    int level = c->n_levels - 1, ch = c->channels[level];
    sd_path top = sd_path_top();
    build_res(u, &m->mid_res1, sd_path_child(top, SD_KEY_UNET_MID_RES1), ch, ch);
    if (c->mid_attention)
        build_attention(u, &m->mid_attention, sd_path_child(top, SD_KEY_UNET_MID_ATTENTION), level);
    build_res(u, &m->mid_res2, sd_path_child(top, SD_KEY_UNET_MID_RES2), ch, ch);
}

/* What doubles the size after a level, in its last output block. */
static void build_up(unet_builder *u, output_block *block, sd_indices at) {
    const sd_unet_config *c = &u->m->config;
    sd_path top = sd_path_top();
    int ch = block->channels;
    block->up_kind = UP_NEAREST;
    if (c->updown_blocks) {
        block->up_kind = UP_RES;
        build_res(u, &block->up_res, sd_path_at(top, SD_KEY_UNET_UP_RES, at), ch, ch);
        block->up_res.size = SD_RES_UP;
    } else if (!c->pooled_resample) {
        block->up_kind = UP_CONV;
        top.at = at;
        block->up = sd_get_conv3x3_up(u->b, &top, SD_KEY_UNET_UP, ch);
    }
}

static void build_output_blocks(unet_builder *u) {
    const sd_unet_config *c = &u->m->config;
    output_block *block = u->m->out;
    input_block *skip = u->m->in + u->m->n_blocks; /* the one that is consumed comes before */
    int ch = c->channels[c->n_levels - 1];
    sd_path top = sd_path_top();

    for (int i = 0; i < c->n_levels; i++) {
        int level = c->n_levels - 1 - i, last = c->res_blocks[level];
        sd_indices at = {.level = i, .slot = c->attention[level] ? 2 : 1};
        for (at.block = 0; at.block <= last; at.block++, block++) {
            at.flat = (int)(block - u->m->out);
            (--skip)->partner = ch;
            build_res(u, &block->res, sd_path_at(top, SD_KEY_UNET_OUT_RES, at), ch + skip->channels,
                      c->channels[level]);
            ch = c->channels[level];
            block->channels = ch;
            if (c->attention[level])
                build_attention(u, &block->attention,
                                sd_path_at(top, SD_KEY_UNET_OUT_ATTENTION, at), level);
            if (at.block == last && level > 0)
                build_up(u, block, at);
        }
    }
}

static void unet_build(sd_builder *b, void *network, const void *config) {
    sd_unet *m = network;
    const sd_unet_config *c = &m->config;
    m->config = *(const sd_unet_config *)config;
    sd_path top = sd_path_top();
    check_config(b, c);
    m->n_blocks = b->status ? 0 : blocks_before(c, c->n_levels);
    m->in = sd_builder_alloc(b, (size_t)m->n_blocks, sizeof *m->in);
    m->out = sd_builder_alloc(b, (size_t)m->n_blocks, sizeof *m->out);
    if (b->status)
        return;
    unet_builder u = {.b = b, .m = m};
    sd_wide_begin(&u.emb, b, &m->emb, time_width(c));
    sd_wide_begin(&u.kv, b, &m->kv, c->context_dim);
    m->time1 = sd_get_linear(b, &top, SD_KEY_UNET_TIME1, time_width(c), c->model_channels);
    m->time2 = sd_get_linear(b, &top, SD_KEY_UNET_TIME2, time_width(c), time_width(c));
    if (c->guidance_dim > 0)
        m->guidance = sd_get_linear_no_bias(b, &top, SD_KEY_UNET_GUIDANCE, c->model_channels,
                                            c->guidance_dim);
    build_input_blocks(&u);
    build_middle(&u);
    build_output_blocks(&u);
    m->norm_out = sd_get_norm(b, &top, SD_KEY_UNET_NORM_OUT, c->channels[0]);
    m->conv_out = sd_get_conv3x3(b, &top, SD_KEY_UNET_CONV_OUT, c->out_channels, c->channels[0]);
    sd_wide_end(&u.emb);
    sd_wide_end(&u.kv);
}

/* ------------------------------------------------------------------------- running */

int sd_unet_kv_width(const sd_unet *m) {
    return m->kv.width;
}

void sd_unet_kv(sd_exec *e, const sd_unet *m, sdb_tensor kv, sdb_tensor context) {
    size_t mark = sd_exec_mark(e);
    sd_wide_forward(e, &m->kv, kv, sd_as_activations(e, context));
    sd_exec_release(e, mark);
}

int sd_unet_guidance_dim(const sd_unet *m) {
    return m->config.guidance_dim;
}

void sd_unet_guidance(const sd_unet *m, double scale, float *embedding) {
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

/* What every block reads besides its input. */
typedef struct unet_run {
    sd_exec *e;
    const sd_unet *m;
    sdb_tensor emb; /* [n, 1, 1, all projections] */
    sdb_tensor kv;
} unet_run;

/* t [n, 1, 1, 1] to the ResBlocks' projections of SiLU(time_embed(t)). */
static void time_embedding(sd_exec *e, const sd_unet *m, sdb_tensor emb, sdb_tensor t,
                           sdb_tensor guidance) {
    size_t mark = sd_exec_mark(e);
    sdb_tensor sinusoids = sd_exec_tensor(e, t.n, 1, 1, m->config.model_channels);
    sdb_tensor h1 = sd_exec_tensor(e, t.n, 1, 1, time_width(&m->config));
    sdb_tensor h2 = sd_exec_tensor(e, t.n, 1, 1, time_width(&m->config));
    sd_op_timestep_embedding(e, (sdb_timestep_embedding){t, sinusoids});
    if (guidance.c > 0)
        sd_op_linear(e, (sdb_linear){.x = sd_as_activations(e, guidance),
                                     .weight = m->guidance,
                                     .residual = sinusoids,
                                     .y = sinusoids});
    sd_op_linear(e, (sdb_linear){.x = sinusoids, .weight = m->time1, .act = SDB_ACT_SILU, .y = h1});
    /* nothing reads it but through a SiLU */
    sd_op_linear(e, (sdb_linear){.x = h1, .weight = m->time2, .act = SDB_ACT_SILU, .y = h2});
    sd_wide_forward(e, &m->emb, emb, h2);
    sd_exec_release(e, mark);
}

/* y = attention(res(x)), the attention where there is one. */
static void res_attention(const unet_run *run, const sd_res_block *res, const attention *a,
                          sd_features y, sd_features x, bool consume) {
    sd_res_block_forward(run->e, res, y, x, run->emb, consume);
    if (a->kind == TRANSFORMER)
        sd_spatial_transformer_forward(run->e, &a->transformer, y, y, run->kv);
    else if (a->kind == PLAIN)
        sd_attention_block_forward(run->e, &a->block, y);
}

static void input_block_forward(const unet_run *run, const input_block *block, sd_features y,
                                sd_features x) {
    switch (block->kind) {
    case RES:
        res_attention(run, &block->res, &block->attention, y, x, false);
        break;
    case CONV:
        sd_op_conv2d(run->e, (sdb_conv2d){.x = x.x,
                                          .weight = block->conv,
                                          .stride = block->stride,
                                          .y = y.x,
                                          .stats = y.stats[0]});
        break;
    case POOL:
        sd_op_resample(run->e, (sdb_resample){x.x, y.x});
        break;
    }
}

/* x is [h, skip], which nothing else reads: its memory may serve as scratch. y is of the size of
 * the skip that it meets: where that is odd, of twice x's less a row or column. */
static void output_block_forward(const unet_run *run, const output_block *block, sd_features y,
                                 sd_features x) {
    sd_exec *e = run->e;
    if (block->up_kind == NO_UP) {
        res_attention(run, &block->res, &block->attention, y, x, true);
        return;
    }
    size_t mark = sd_exec_mark(e);
    sd_features h = sd_exec_features(e, x.x.n, x.x.h, x.x.w, block->channels);
    res_attention(run, &block->res, &block->attention, h, x, true);
    if (block->up_kind == UP_CONV)
        sd_op_conv2d(
            e, (sdb_conv2d){
                   .x = h.x, .weight = block->up, .upsample = true, .y = y.x, .stats = y.stats[0]});
    else if (block->up_kind == UP_RES)
        sd_res_block_forward(e, &block->up_res, y, h, run->emb, true);
    else
        sd_op_resample(e, (sdb_resample){h.x, y.x});
    sd_exec_release(e, mark);
}

static void middle_forward(const unet_run *run, sd_features y, sd_features x) {
    const sd_unet *m = run->m;
    res_attention(run, &m->mid_res1, &m->mid_attention, y, x, false);
    sd_res_block_forward(run->e, &m->mid_res2, y, y, run->emb, false);
}

/* The two halves of [h, skip], whose skip is the input block's result. */
static sd_features partner_of(sd_features joined, const input_block *block) {
    return (sd_features){sd_view_channels(joined.x, 0, block->partner), {joined.stats[0]}};
}

static sd_features skip_of(sd_features joined, const input_block *block) {
    return (sd_features){sd_view_channels(joined.x, block->partner, block->channels),
                         {joined.stats[1]}};
}

/* Room for [h, skip] of the i-th input block, whose input is x. What is merely resampled has no
 * statistics. */
static sd_features join(const unet_run *run, int i, sdb_tensor x) {
    const sd_unet *m = run->m;
    const input_block *block = &m->in[i];
    int last = m->n_blocks - 1, stride = block->stride;
    bool resampled = i < last && m->out[last - i - 1].up_kind == UP_NEAREST;
    int h = (x.h + stride - 1) / stride, w = (x.w + stride - 1) / stride;
    sd_features joined = {.x = sd_exec_tensor(run->e, x.n, h, w, block->partner + block->channels)};
    if (!resampled)
        joined.stats[0] = sd_exec_stats(run->e, partner_of(joined, block).x);
    if (block->kind != POOL)
        joined.stats[1] = sd_exec_stats(run->e, skip_of(joined, block).x);
    return joined;
}

/* input, in the type of activations, to y [n, h, w, channels[0]] before the last norm. */
static void blocks_forward(const unet_run *run, sd_features y, sdb_tensor input) {
    sd_exec *e = run->e;
    const sd_unet *m = run->m;
    sd_features joined[MAX_BLOCKS]; /* [h, skip] */
    sd_features x = {.x = input};
    size_t marks[MAX_BLOCKS];

    for (int i = 0; i < m->n_blocks; i++) {
        marks[i] = sd_exec_mark(e);
        joined[i] = join(run, i, x.x);
        sd_features skip = skip_of(joined[i], &m->in[i]);
        input_block_forward(run, &m->in[i], skip, x);
        x = skip;
    }
    int last = m->n_blocks - 1;
    middle_forward(run, partner_of(joined[last], &m->in[last]), x);
    for (int i = last; i >= 0; i--) {
        sd_features h = i > 0 ? partner_of(joined[i - 1], &m->in[i - 1]) : y;
        output_block_forward(run, &m->out[last - i], h, joined[i]);
        sd_exec_release(e, marks[i]);
    }
}

void sd_unet_forward(sd_exec *e, const sd_unet *m, sdb_tensor y, sdb_tensor x, sdb_tensor t,
                     sdb_tensor kv, sdb_tensor guidance) {
    const sd_unet_config *c = &m->config;
    size_t mark = sd_exec_mark(e);
    unet_run run = {e, m, sd_exec_tensor(e, x.n, 1, 1, m->emb.width), kv};
    sd_features h = sd_exec_features(e, x.n, x.h, x.w, c->channels[0]);

    time_embedding(e, m, run.emb, t, guidance);
    blocks_forward(&run, h, sd_as_activations(e, x));
    sd_features_norm(e, h.x, h, m->norm_out, (sd_norm_spec){c->norm_groups, c->norm_eps},
                     SDB_ACT_SILU);
    sd_conv_to(e, y, h.x, m->conv_out);
    sd_exec_release(e, mark);
}

/* ------------------------------------------------------------------------- the part */

static bool unet_wanted(const sd_description *d) {
    return !d->first_stage_only;
}

static const sd_place unet_places[] = {{SD_LAYOUT_ORIGINAL, "model.diffusion_model.", ""},
                                       {SD_LAYOUT_DIFFUSERS, "", ""}};

const sd_part_type sd_unet_part = {
    .what = "UNet",
    SD_PLACES(unet_places),
    .folder = "unet",
    .stems = {"diffusion_pytorch_model", "diffusion_pytorch_model"},
    .classes = {"UNet2DConditionModel"},
    SD_CONFIG(unet),
    .size = sizeof(sd_unet),
    .wanted = unet_wanted,
    .read = sd_config_unet,
    .infer = sd_infer_unet,
    .build = unet_build,
};
