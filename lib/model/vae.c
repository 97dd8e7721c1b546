/*
 * First stages: AutoencoderTiny, which model/tiny.c has; AutoencoderKL, and VQModelInterface
 * (VQ-GAN: Esser et al. 2021), which has a codebook where the other has a posterior (Rombach et al.
 * 2022; model.py and autoencoder.py).
 *
 * Encoder and decoder are the same ladder of levels, walked in opposite directions: conv_in, then
 * for each level its ResnetBlocks, with a Downsample or Upsample before each level but the first.
 * The middle block comes after the encoder's last level and before the decoder's first.
 */
#include "model/blocks.h"
#include "model/tiny.h"

#define VAE_NORM_EPS 1e-6f /* Normalize() in model.py */
#define MAX_RES_BLOCKS 64

typedef struct vae_middle {
    sd_res_block res1, res2;
    bool has_attention;
    sd_attention_block attention;
} vae_middle;

typedef struct vae_level {
    const sdb_weight *resample; /* what brings the level before to this one's size; NULL: first */
    int in, out;                /* channels */
    int n_blocks;
    sd_res_block *blocks;
    sd_attention_block *attention; /* one after each block; NULL: none */
} vae_level;

typedef struct vae_ladder {
    bool decoder;
    const sdb_weight *conv_in, *norm_out, *conv_out;
    vae_middle middle;
    int n_levels;
    vae_level levels[SD_MAX_LEVELS];
} vae_ladder;

struct sd_vae {
    sd_part part;
    sd_vae_config config;
    vae_ladder encoder, decoder;
    const sdb_weight *quant, *post_quant; /* 1x1 convolutions */
    const sdb_weight *codebook;           /* VQ alone */
    sd_tiny tiny_encoder, tiny_decoder;   /* AutoencoderTiny has nothing else */
};

/* ------------------------------------------------------------------------- building */

static int z_channels(const sd_vae_config *c) {
    return c->z_channels ? c->z_channels : c->latent_channels;
}

/* Mean and logvar, where there is a posterior. */
static int moments_per_channel(const sd_vae_config *c) {
    return c->kind == SD_FIRST_STAGE_KL ? 2 : 1;
}

static sd_norm_spec norm_spec(const sd_vae_config *c) {
    return (sd_norm_spec){c->norm_groups, VAE_NORM_EPS};
}

static void build_middle(sd_builder *b, vae_middle *mid, sd_path top, const sd_vae_config *c) {
    int ch = c->channels[c->n_levels - 1];
    sdi_res_block_build(b, &mid->res1, sdi_path_child(top, SD_KEY_VAE_MID_RES1), ch, ch,
                        norm_spec(c), NULL, false);
    mid->has_attention = c->mid_attention;
    if (mid->has_attention)
        sdi_attention_block_build(b, &mid->attention, sdi_path_child(top, SD_KEY_VAE_MID_ATTENTION),
                                  ch, norm_spec(c));
    sdi_res_block_build(b, &mid->res2, sdi_path_child(top, SD_KEY_VAE_MID_RES2), ch, ch,
                        norm_spec(c), NULL, false);
}

/* attn_resolutions: an AttnBlock after each of the level's ResnetBlocks. */
static void build_level_attention(sd_builder *b, vae_ladder *ladder, int i, sd_path top,
                                  const sd_vae_config *c) {
    sd_key key = ladder->decoder ? SD_KEY_VAE_UP_ATTENTION : SD_KEY_VAE_DOWN_ATTENTION;
    vae_level *level = &ladder->levels[i];
    sd_indices at = {.level = i, .from_end = c->n_levels - 1 - i};
    level->attention = sdi_builder_alloc(b, (size_t)level->n_blocks, sizeof *level->attention);
    for (; level->attention && at.block < level->n_blocks; at.block++)
        sdi_attention_block_build(b, &level->attention[at.block], sdi_path_at(top, key, at),
                                  level->out, norm_spec(c));
}

/* The i-th level in the order of the run. The original and diffusers agree to name a Downsample or
 * Upsample after the level before it. */
static void build_level(sd_builder *b, vae_ladder *ladder, int i, sd_path top,
                        const sd_vae_config *c) {
    sd_key res_key = ladder->decoder ? SD_KEY_VAE_UP_RES : SD_KEY_VAE_DOWN_RES;
    sd_key resample_key = ladder->decoder ? SD_KEY_VAE_UP : SD_KEY_VAE_DOWN;
    int last = c->n_levels - 1;
    vae_level *level = &ladder->levels[i];
    int before = i > 0 ? i - 1 : 0;

    level->in = c->channels[ladder->decoder ? last - before : before];
    level->out = c->channels[ladder->decoder ? last - i : i];
    level->n_blocks = c->res_blocks + ladder->decoder; /* one more up than down */
    if (i > 0) {
        top.at = (sd_indices){.level = before, .from_end = last - before};
        level->resample = ladder->decoder
                              ? sdi_get_conv3x3_up(b, &top, resample_key, level->in)
                              : sdi_get_conv3x3(b, &top, resample_key, level->in, level->in);
    }
    level->blocks = sdi_builder_alloc(b, (size_t)level->n_blocks, sizeof *level->blocks);
    sd_indices at = {.level = i, .from_end = last - i};
    for (; level->blocks && at.block < level->n_blocks; at.block++)
        sdi_res_block_build(b, &level->blocks[at.block], sdi_path_at(top, res_key, at),
                            at.block == 0 ? level->in : level->out, level->out, norm_spec(c), NULL,
                            false);
    if (c->attention[ladder->decoder ? last - i : i])
        build_level_attention(b, ladder, i, top, c);
}

static void build_ladder(sd_builder *b, vae_ladder *ladder, const sd_vae_config *c, bool decoder) {
    sd_path top = sdi_path_child(sdi_path_top(), decoder ? SD_KEY_VAE_DECODER : SD_KEY_VAE_ENCODER);
    int first = c->channels[decoder ? c->n_levels - 1 : 0];
    int last = c->channels[decoder ? 0 : c->n_levels - 1];
    int in = decoder ? z_channels(c) : c->in_channels;
    int out = decoder ? c->out_channels : moments_per_channel(c) * z_channels(c);

    ladder->decoder = decoder;
    ladder->n_levels = c->n_levels;
    ladder->conv_in = sdi_get_conv3x3(b, &top, SD_KEY_VAE_CONV_IN, first, in);
    for (int i = 0; i < c->n_levels; i++)
        build_level(b, ladder, i, top, c);
    build_middle(b, &ladder->middle, top, c);
    ladder->norm_out = sdi_get_norm(b, &top, SD_KEY_VAE_NORM_OUT, last);
    ladder->conv_out = sdi_get_conv3x3(b, &top, SD_KEY_VAE_CONV_OUT, out, last);
}

static void check_channels(sd_builder *b, const sd_vae_config *c) {
    sdi_builder_range(b, "the autoencoder's number of levels", c->n_levels, 1, SD_MAX_LEVELS);
    sdi_builder_range(b, "the autoencoder's input channels", c->in_channels, 1, SD_MAX_WIDTH);
    sdi_builder_range(b, "the autoencoder's output channels", c->out_channels, 1, SD_MAX_WIDTH);
    sdi_builder_range(b, "the autoencoder's latent channels", c->latent_channels, 1, SD_MAX_WIDTH);
}

static void check_config(sd_builder *b, const sd_vae_config *c) {
    check_channels(b, c);
    sdi_builder_range(b, "the autoencoder's number of ResnetBlocks a level", c->res_blocks, 1,
                      MAX_RES_BLOCKS);
    sdi_builder_range(b, "the autoencoder's z_channels", z_channels(c), 1, SD_MAX_WIDTH);
    if (c->kind == SD_FIRST_STAGE_VQ)
        sdi_builder_range(b, "the number of codes", c->n_codes, 1, 1 << 24);
    for (int i = 0; !b->status && i < c->n_levels; i++)
        sdi_builder_range(b, "the autoencoder's number of channels", c->channels[i], 1,
                          SD_MAX_WIDTH);
}

static void build_tiny(sd_builder *b, sd_vae *m, const sd_vae_config *c) {
    check_channels(b, c);
    if (b->status)
        return;
    sdi_tiny_build(b, &m->tiny_encoder, c, false);
    sdi_tiny_build(b, &m->tiny_decoder, c, true);
}

static void build_ladders(sd_builder *b, sd_vae *m, const sd_vae_config *c) {
    sd_path top = sdi_path_top();
    int latent = c->latent_channels, z = z_channels(c), n = moments_per_channel(c);
    check_config(b, c);
    if (b->status)
        return;
    build_ladder(b, &m->encoder, c, false);
    if (c->quant_conv)
        m->quant = sdi_get_linear(b, &top, SD_KEY_VAE_QUANT, n * latent, n * z);
    if (c->kind == SD_FIRST_STAGE_VQ)
        m->codebook = sdi_get_embedding(b, &top, SD_KEY_VAE_CODEBOOK, c->n_codes, latent);
    if (c->post_quant_conv)
        m->post_quant = sdi_get_linear(b, &top, SD_KEY_VAE_POST_QUANT, z, latent);
    build_ladder(b, &m->decoder, c, true);
}

static void vae_build(sd_builder *b, void *network, const void *config) {
    sd_vae *m = network;
    m->config = *(const sd_vae_config *)config;
    if (m->config.kind == SD_FIRST_STAGE_TINY)
        build_tiny(b, m, &m->config);
    else if (m->config.kind != SD_FIRST_STAGE_IDENTITY)
        build_ladders(b, m, &m->config);
}

/* ------------------------------------------------------------------------- running */

static sdb_tensor middle_forward(sd_exec *e, const vae_middle *mid, sdb_tensor x) {
    x = sdi_res_block_forward(e, &mid->res1, x, sdi_no_tensor());
    if (mid->has_attention)
        x = sdi_attention_block_forward(e, &mid->attention, x);
    return sdi_res_block_forward(e, &mid->res2, x, sdi_no_tensor());
}

/* x of the level before, or of conv_in, to [n, h, w, level->out] */
static sdb_tensor level_forward(sd_exec *e, const vae_ladder *ladder, const vae_level *level,
                                sdb_tensor x) {
    if (level->resample)
        x = ladder->decoder
                ? sdi_upsample(e, x, x.h * 2, x.w * 2, level->resample)
                : sdi_conv3x3(
                      e, x, level->in,
                      (sdb_conv2d){.weight = level->resample, .stride = 2, .pad_end = true});
    for (int i = 0; i < level->n_blocks; i++) {
        x = sdi_res_block_forward(e, &level->blocks[i], x, sdi_no_tensor());
        if (level->attention)
            x = sdi_attention_block_forward(e, &level->attention[i], x);
    }
    return x;
}

/* All levels and the middle block, then norm_out and SiLU: conv_out's input. */
static sdb_tensor ladder_forward(sd_exec *e, const vae_ladder *ladder, const sd_vae_config *c,
                                 sdb_tensor x) {
    x = sdi_conv3x3(e, x, ladder->levels[0].in, (sdb_conv2d){.weight = ladder->conv_in});
    if (ladder->decoder)
        x = middle_forward(e, &ladder->middle, x);
    for (int i = 0; i < ladder->n_levels; i++)
        x = level_forward(e, ladder, &ladder->levels[i], x);
    if (!ladder->decoder)
        x = middle_forward(e, &ladder->middle, x);
    return sdi_group_norm(e, x, ladder->norm_out, norm_spec(c), SDB_ACT_SILU);
}

bool sdi_vae_has_codebook(const sd_vae *m) {
    return m->codebook != NULL;
}

void sdi_vae_quantize_forward(sd_exec *e, const sd_vae *m, sdb_tensor y, sdb_tensor ids,
                              sdb_tensor x) {
    sdi_op_quantize(e, (sdb_quantize){x, y, ids, m->codebook});
}

void sdi_vae_codes_forward(sd_exec *e, const sd_vae *m, sdb_tensor y, sdb_tensor ids) {
    sdb_tensor x = sdi_exec_tensor(e, y.n, y.h, y.w, y.c);
    sdi_op_embed(e, (sdb_embed){.ids = ids, .y = x, .token = m->codebook});
    sdi_op_copy(e, y, x);
}

/* The latent in the type of activations: quantised, and through post_quant_conv. */
static sdb_tensor decoder_input(sd_exec *e, const sd_vae *m, sdb_tensor z, bool quantize) {
    sdb_tensor latent = sdi_as_activations(e, z);
    if (m->codebook && quantize) {
        sdb_quantize op = {
            .x = latent, .y = sdi_exec_tensor(e, z.n, z.h, z.w, z.c), .codebook = m->codebook};
        sdi_op_quantize(e, op);
        latent = op.y;
    }
    return m->post_quant ? sdi_linear(e, latent, z_channels(&m->config),
                                      (sdb_linear){.weight = m->post_quant})
                         : latent;
}

void sdi_vae_decoder_forward(sd_exec *e, const sd_vae *m, sdb_tensor y, sdb_tensor z,
                             bool quantize) {
    const sd_vae_config *c = &m->config;
    if (c->kind == SD_FIRST_STAGE_IDENTITY)
        sdi_op_copy(e, y, z);
    else if (c->kind == SD_FIRST_STAGE_TINY)
        sdi_tiny_forward(e, &m->tiny_decoder, y, sdi_as_activations(e, z));
    else
        sdi_conv_to(e, y, ladder_forward(e, &m->decoder, c, decoder_input(e, m, z, quantize)),
                    m->decoder.conv_out);
}

int sdi_vae_moments(const sd_vae *m) {
    return moments_per_channel(&m->config) * m->config.latent_channels;
}

void sdi_vae_encoder_forward(sd_exec *e, const sd_vae *m, sdb_tensor moments, sdb_tensor x) {
    const sd_vae_config *c = &m->config;
    if (c->kind == SD_FIRST_STAGE_IDENTITY) {
        sdi_op_copy(e, moments, x);
        return;
    }
    if (c->kind == SD_FIRST_STAGE_TINY) {
        sdi_tiny_forward(e, &m->tiny_encoder, moments, sdi_as_activations(e, x));
        return;
    }
    sdb_tensor h = ladder_forward(e, &m->encoder, c, sdi_as_activations(e, x));
    if (m->quant) {
        h = sdi_conv3x3(e, h, moments_per_channel(c) * z_channels(c),
                        (sdb_conv2d){.weight = m->encoder.conv_out});
        sdi_linear_to(e, moments, h, m->quant);
    } else {
        sdi_conv_to(e, moments, h, m->encoder.conv_out);
    }
}

/* ------------------------------------------------------------------------- the part */

static bool vae_wanted(const sd_description *d) {
    (void)d;
    return true;
}

static bool vae_overflows(const void *config) {
    return sdi_vae_overflows(config);
}

/* A first stage's own checkpoint has no prefix. */
static const sd_place vae_places[] = {{SD_LAYOUT_ORIGINAL, "first_stage_model.", ""},
                                      {SD_LAYOUT_ORIGINAL, "", "encoder.down."},
                                      {SD_LAYOUT_DIFFUSERS, "", "encoder.down_blocks."},
                                      {SD_LAYOUT_DIFFUSERS, "", "decoder.layers."}};

const sd_part_type sdi_vae_part = {
    .what = "VAE",
    .name = "vae",
    SD_PLACES(vae_places),
    .folder = "vae",
    .stems = {"diffusion_pytorch_model", "diffusion_pytorch_model"},
    .classes = {"AutoencoderKL", "AutoencoderTiny"},
    SD_FILE(vae),
    SD_CONFIG(vae),
    .size = sizeof(sd_vae),
    .wanted = vae_wanted,
    .overflows = vae_overflows,
    .read = sdi_config_vae,
    .infer = sdi_infer_vae,
    .build = vae_build,
};

static bool tiny_wanted(const sd_description *d) {
    return d->tiny.n_levels > 0;
}

/* Files of both halves: some writers begin with "taesd_", and diffusers' have "layers". */
static const sd_place tiny_places[] = {{SD_LAYOUT_ORIGINAL, "taesd_", "decoder."},
                                       {SD_LAYOUT_DIFFUSERS, "", "decoder.layers."},
                                       {SD_LAYOUT_ORIGINAL, "", ""}};

/* A small autoencoder beside the model's own: tiny_source.c finds it. */
const sd_part_type sdi_tiny_part = {
    .what = "small autoencoder",
    .name = "taesd",
    SD_PLACES(tiny_places),
    .folder = "taesd",
    .stems = {"diffusion_pytorch_model", "diffusion_pytorch_model"},
    .classes = {"AutoencoderTiny"},
    SD_CONFIG(tiny),
    .size = sizeof(sd_vae),
    .wanted = tiny_wanted,
    .read = sdi_config_tiny,
    .infer = sdi_infer_tiny,
    .build = vae_build,
};
