/*
 * AutoencoderTiny: 3x3 convolutions of one width and ReLU. A half is a ladder of levels: conv_in,
 * then each level's blocks, with a convolution that halves or doubles before each level but the
 * first; conv_out.
 */
#include "model/tiny.h"

#include "model/layers.h"

/* ------------------------------------------------------------------------- building */

/* The layer of that number, counted as diffusers does: the original's decoder begins with a Clamp
 * (here pipeline/latents.c). */
static sd_path layer_path(const sd_tiny *m, int layer) {
    sd_key half = m->decoder ? SD_KEY_VAE_DECODER : SD_KEY_VAE_ENCODER;
    sd_path path = sdi_path_child(sdi_path_top(), half);
    path.at = (sd_indices){.layer = layer, .flat = layer + m->decoder};
    return path;
}

static void build_block(sd_builder *b, const sd_tiny *m, sd_tiny_block *block, int layer) {
    static const sd_key keys[] = {SD_KEY_TINY_CONV1, SD_KEY_TINY_CONV2, SD_KEY_TINY_CONV3};
    sd_path path = layer_path(m, layer);
    path = sdi_path_child(path, SD_KEY_TINY_LAYER);
    for (int i = 0; i < 3; i++)
        block->convs[i] = sdi_get_conv3x3(b, &path, keys[i], m->width, m->width);
}

static const sdb_weight *get_resample(sd_builder *b, const sd_tiny *m, int layer) {
    sd_path path = layer_path(m, layer);
    return m->decoder ? sdi_get_conv3x3_up_no_bias(b, &path, SD_KEY_TINY_LAYER, m->width)
                      : sdi_get_conv3x3_no_bias(b, &path, SD_KEY_TINY_LAYER, m->width, m->width);
}

static const sdb_weight *get_conv(sd_builder *b, const sd_tiny *m, int layer, int out, int in) {
    sd_path path = layer_path(m, layer);
    return sdi_get_conv3x3(b, &path, SD_KEY_TINY_LAYER, out, in);
}

/* Returns the number of the layer after it. */
static int build_level(sd_builder *b, const sd_tiny *m, sd_tiny_level *level, int n_blocks,
                       int layer) {
    level->n_blocks = n_blocks;
    if (n_blocks > 0)
        level->blocks = sdi_builder_alloc(b, (size_t)n_blocks, sizeof *level->blocks);
    for (int i = 0; level->blocks && i < n_blocks; i++)
        build_block(b, m, &level->blocks[i], layer + i);
    return layer + n_blocks;
}

void sdi_tiny_build(sd_builder *b, sd_tiny *m, const sd_vae_config *c, bool decoder) {
    const sd_tiny_half *half = decoder ? &c->tiny_decoder : &c->tiny_encoder;
    if (half->width == 0)
        return;
    *m = (sd_tiny){.decoder = decoder, .width = half->width, .n_levels = c->n_levels};
    m->conv_in = get_conv(b, m, 0, m->width, decoder ? c->latent_channels : c->in_channels);
    int layer = 1 + decoder; /* ReLU */
    for (int i = 0; i < m->n_levels; i++) {
        if (i > 0) {
            layer += decoder; /* Upsample */
            m->levels[i].resample = get_resample(b, m, layer++);
        }
        layer = build_level(b, m, &m->levels[i], half->blocks[i], layer);
    }
    m->conv_out = get_conv(b, m, layer, decoder ? c->out_channels : c->latent_channels, m->width);
}

/* ------------------------------------------------------------------------- running */

/* relu(x + conv3(relu(conv2(relu(conv1(x)))))) */
static sdb_tensor block_forward(sd_exec *e, const sd_tiny_block *block, sdb_tensor x) {
    sdb_tensor h = x;
    for (int i = 0; i < 2; i++)
        h = sdi_conv3x3(e, h, x.c, (sdb_conv2d){.weight = block->convs[i], .act = SDB_ACT_RELU});
    h = sdi_conv3x3(e, h, x.c, (sdb_conv2d){.weight = block->convs[2], .residual = x});
    sdb_tensor y = sdi_exec_tensor(e, h.n, h.h, h.w, h.c);
    sdi_op_activation(e, (sdb_activation){.x = h, .y = y, .act = SDB_ACT_RELU});
    return y;
}

static sdb_tensor level_forward(sd_exec *e, const sd_tiny *m, const sd_tiny_level *level,
                                sdb_tensor x) {
    if (level->resample)
        x = m->decoder
                ? sdi_upsample(e, x, x.h * 2, x.w * 2, level->resample)
                : sdi_conv3x3(e, x, m->width, (sdb_conv2d){.weight = level->resample, .stride = 2});
    for (int i = 0; i < level->n_blocks; i++)
        x = block_forward(e, &level->blocks[i], x);
    return x;
}

void sdi_tiny_forward(sd_exec *e, const sd_tiny *m, sdb_tensor y, sdb_tensor x) {
    sdb_act act = m->decoder ? SDB_ACT_RELU : SDB_ACT_NONE;
    x = sdi_conv3x3(e, x, m->width, (sdb_conv2d){.weight = m->conv_in, .act = act});
    for (int i = 0; i < m->n_levels; i++)
        x = level_forward(e, m, &m->levels[i], x);
    sdi_conv_to(e, y, x, m->conv_out);
}
