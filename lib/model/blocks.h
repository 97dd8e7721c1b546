/* The blocks that the UNet and the autoencoder are made of. */
#ifndef SD_MODEL_BLOCKS_H
#define SD_MODEL_BLOCKS_H

#include "model/layers.h"

/* ---- ResBlock (openaimodel.py), ResnetBlock (model.py): norm, SiLU, conv, twice, + skip. */
typedef enum sd_res_size { SD_RES_SAME, SD_RES_DOWN, SD_RES_UP } sd_res_size;

typedef struct sd_res_block {
    int in, out;
    sd_norm_spec spec;
    const sdb_weight *norm1, *conv1, *norm2, *conv2;
    const sdb_weight *skip; /* 1x1; NULL where in == out: the identity */
    bool has_skip;
    int emb_first;    /* its channels in the wide projection of the time embedding, or -1 */
    bool scale_shift; /* the embedding is scale and shift after norm2, not added before it */
    sd_res_size size; /* of y against x: half or twice it (resblock_updown) */
} sd_res_block;

/* `emb` gathers the projections of the time embedding; NULL: there is none (the autoencoder). */
void sdi_res_block_build(sd_builder *b, sd_res_block *block, sd_path path, int in, int out,
                         sd_norm_spec spec, sd_wide_builder *emb, bool scale_shift);

/* x [n, h, w, in] to [n, h, w, out], half or twice as large where the block's size says so; emb
 * [n, 1, 1, all projections] or none. */
sdb_tensor sdi_res_block_forward(sd_exec *e, const sd_res_block *block, sdb_tensor x,
                                 sdb_tensor emb);

/* ---- AttnBlock (model.py) and AttentionBlock (openaimodel.py): self-attention over pixels. */
typedef struct sd_attention_block {
    int channels, heads;
    sd_norm_spec spec;
    const sdb_weight *norm, *out;
    sd_wide_linear qkv; /* q, k and v of all heads */
} sd_attention_block;

void sdi_attention_block_build(sd_builder *b, sd_attention_block *block, sd_path path, int channels,
                               sd_norm_spec spec);
/* AttentionBlock: `whole` is use_new_attention_order. */
void sdi_plain_attention_build(sd_builder *b, sd_attention_block *block, sd_path path, int channels,
                               int heads, bool whole, sd_norm_spec spec);
/* x [n, h, w, c] to the like. */
sdb_tensor sdi_attention_block_forward(sd_exec *e, const sd_attention_block *block, sdb_tensor x);

/* ---- SpatialTransformer (attention.py). */
typedef struct sd_transformer_layer { /* BasicTransformerBlock */
    const sdb_weight *norm1, *self_qkv, *self_out;
    const sdb_weight *norm2, *cross_q, *cross_out;
    const sdb_weight *norm3, *geglu, *ff_out;
    int kv_first; /* its cross-attention's keys, then values, in the prompt's kv tensor */
} sd_transformer_layer;

typedef struct sd_spatial_transformer {
    int channels, heads, depth;
    int norm_groups;
    const sdb_weight *norm, *proj_in, *proj_out;
    sd_transformer_layer *layers;
} sd_spatial_transformer;

/* `kv` gathers the cross-attentions' keys and values. */
void sdi_spatial_transformer_build(sd_builder *b, sd_spatial_transformer *st, sd_path path,
                                   const sd_unet_config *config, int level, int depth,
                                   sd_wide_builder *kv);
/* x [n, h, w, c] to the like; kv [n, tokens, 1, sdi_unet_kv_width]. */
sdb_tensor sdi_spatial_transformer_forward(sd_exec *e, const sd_spatial_transformer *st,
                                           sdb_tensor x, sdb_tensor kv);

#endif
