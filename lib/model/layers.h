/*
 * Layers: each takes tensors and gives a new one, so that a network reads as its equations. They
 * are for executors that build a program (backend/program.h), where memory is no concern.
 */
#ifndef SD_MODEL_LAYERS_H
#define SD_MODEL_LAYERS_H

#include "model/builder.h"

/* GroupNorm of one network. */
typedef struct sd_norm_spec {
    int groups;
    float eps;
} sd_norm_spec;

/* x [n, h, w, c] to [n, h, w, out]; op says the rest, all but x and y. */
sdb_tensor sdi_linear(sd_exec *e, sdb_tensor x, int out, sdb_linear op);
/* x [n, h, w, c] to [n, h / stride, w / stride, out], of an odd size the larger half. */
sdb_tensor sdi_conv3x3(sd_exec *e, sdb_tensor x, int out, sdb_conv2d op);
/* Twice the size by nearest neighbours, cut to h and w, then the convolution: channels stay. */
sdb_tensor sdi_upsample(sd_exec *e, sdb_tensor x, int h, int w, const sdb_weight *conv);
/* To half or twice the size without a convolution. */
sdb_tensor sdi_resample(sd_exec *e, sdb_tensor x, int h, int w);
sdb_tensor sdi_group_norm(sd_exec *e, sdb_tensor x, const sdb_weight *weight, sd_norm_spec spec,
                          sdb_act act);
sdb_tensor sdi_layer_norm(sd_exec *e, sdb_tensor x, const sdb_weight *weight, float eps);
/* softmax(q k^T / sqrt(dim)) v of so many heads */
sdb_tensor sdi_attention(sd_exec *e, sdb_tensor q, sdb_tensor k, sdb_tensor v, int heads,
                         bool causal);
/* sdi_attention of q, k and v that lie side by side: [n, t, 1, 3c] to [n, t, 1, c]. */
sdb_tensor sdi_self_attention(sd_exec *e, sdb_tensor qkv, int heads, bool causal);
/* [n, h, w, all outputs] of x, into y */
void sdi_wide_forward(sd_exec *e, const sd_wide_linear *wide, sdb_tensor y, sdb_tensor x);

/* [n, h, w, c] as tokens [n, h * w, 1, c]. */
static inline sdb_tensor sdi_as_tokens(sdb_tensor x) {
    return sdi_view_shape(x, x.n, x.h * x.w, 1);
}

/* x in the type of activations: itself, or a copy. */
sdb_tensor sdi_as_activations(sd_exec *e, sdb_tensor x);
/* Operations compute in the type of activations; these bring the result into y's type. */
void sdi_conv_to(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w);
void sdi_linear_to(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w);

#endif
