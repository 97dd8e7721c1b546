/* Layers as operations of the executor. */
#include "model/layers.h"

#include <math.h>

/* A tensor of the type of activations, and of x's size but for its channels. */
static sdb_tensor like(sd_exec *e, sdb_tensor x, int c) {
    return sdi_exec_tensor(e, x.n, x.h, x.w, c);
}

sdb_tensor sdi_linear(sd_exec *e, sdb_tensor x, int out, sdb_linear op) {
    op.x = x;
    op.y = like(e, x, out);
    sdi_op_linear(e, op);
    return op.y;
}

sdb_tensor sdi_conv3x3(sd_exec *e, sdb_tensor x, int out, sdb_conv2d op) {
    bool halves = op.stride == 2;
    op.x = x;
    op.y = halves ? sdi_exec_tensor(e, x.n, (x.h + 1) / 2, (x.w + 1) / 2, out) : like(e, x, out);
    sdi_op_conv2d(e, op);
    return op.y;
}

sdb_tensor sdi_upsample(sd_exec *e, sdb_tensor x, int h, int w, const sdb_weight *conv) {
    sdb_tensor y = sdi_exec_tensor(e, x.n, h, w, x.c);
    sdi_op_conv2d(e, (sdb_conv2d){.x = x, .weight = conv, .upsample = true, .y = y});
    return y;
}

sdb_tensor sdi_resample(sd_exec *e, sdb_tensor x, int h, int w) {
    sdb_tensor y = sdi_exec_tensor(e, x.n, h, w, x.c);
    sdi_op_resample(e, (sdb_resample){x, y});
    return y;
}

sdb_tensor sdi_group_norm(sd_exec *e, sdb_tensor x, const sdb_weight *weight, sd_norm_spec spec,
                          sdb_act act) {
    sdb_tensor y = like(e, x, x.c);
    sdi_op_group_norm(
        e,
        (sdb_group_norm){
            .x = x, .y = y, .weight = weight, .groups = spec.groups, .eps = spec.eps, .act = act});
    return y;
}

sdb_tensor sdi_layer_norm(sd_exec *e, sdb_tensor x, const sdb_weight *weight, float eps) {
    sdb_tensor y = like(e, x, x.c);
    sdi_op_layer_norm(e, (sdb_layer_norm){x, y, weight, eps});
    return y;
}

sdb_tensor sdi_attention(sd_exec *e, sdb_tensor q, sdb_tensor k, sdb_tensor v, int heads,
                         bool causal) {
    sdb_tensor y = like(e, q, q.c);
    float scale = 1.0f / sqrtf((float)(q.c / heads));
    sdi_op_attention(e, (sdb_attention){q, k, v, y, heads, causal, scale});
    return y;
}

sdb_tensor sdi_self_attention(sd_exec *e, sdb_tensor qkv, int heads, bool causal) {
    int c = qkv.c / 3;
    return sdi_attention(e, sdi_view_channels(qkv, 0, c), sdi_view_channels(qkv, c, c),
                         sdi_view_channels(qkv, 2 * c, c), heads, causal);
}

void sdi_wide_forward(sd_exec *e, const sd_wide_linear *wide, sdb_tensor y, sdb_tensor x) {
    for (int i = 0; i < wide->n_slices; i++) {
        const sd_wide_slice *s = &wide->slices[i];
        sdi_op_linear(e, (sdb_linear){.x = x,
                                      .weight = s->weight,
                                      .y = sdi_view_channels(y, s->first, s->width)});
    }
}

sdb_tensor sdi_as_activations(sd_exec *e, sdb_tensor x) {
    if (x.type == e->act)
        return x;
    sdb_tensor y = like(e, x, x.c);
    sdi_op_copy(e, y, x);
    return y;
}

/* y itself where its type allows, otherwise a tensor for y to be copied from. */
static sdb_tensor result_for(sd_exec *e, sdb_tensor y) {
    return y.type == e->act ? y : like(e, y, y.c);
}

void sdi_conv_to(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w) {
    sdb_tensor result = result_for(e, y);
    sdi_op_conv2d(e, (sdb_conv2d){.x = x, .weight = w, .y = result});
    if (y.type != e->act)
        sdi_op_copy(e, y, result);
}

void sdi_linear_to(sd_exec *e, sdb_tensor y, sdb_tensor x, const sdb_weight *w) {
    sdb_tensor result = result_for(e, y);
    sdi_op_linear(e, (sdb_linear){.x = x, .weight = w, .y = result});
    if (y.type != e->act)
        sdi_op_copy(e, y, result);
}
