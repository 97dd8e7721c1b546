/* A row for each kind of operation: its tensors' roles, its arithmetic. */
#include "backend/ops.h"

#include <stddef.h>

/* -------------------------------------------------------------------------------- the roles */

#define OPERAND(role, field)                                                                       \
    { role, offsetof(sdb_op, field) }
#define IN(field) OPERAND(SD_ROLE_IN, field)
#define OVER(field) OPERAND(SD_ROLE_OVER, field)
#define OUT(field) OPERAND(SD_ROLE_OUT, field)
#define WEIGHT(field) OPERAND(SD_ROLE_WEIGHT, field)

static const sd_operand operands[SDB_N_OPS][SD_MAX_OPERANDS + 1] = {
    [SDB_OP_conv2d] = {IN(conv2d.x), WEIGHT(conv2d.weight), IN(conv2d.emb), OVER(conv2d.residual),
                       OUT(conv2d.y), OUT(conv2d.stats)},
    [SDB_OP_linear] = {IN(linear.x), WEIGHT(linear.weight), OVER(linear.residual), OUT(linear.y),
                       OUT(linear.stats)},
    [SDB_OP_attention] = {IN(attention.q), IN(attention.k), IN(attention.v), OUT(attention.y)},
    [SDB_OP_group_norm] = {OVER(group_norm.x), IN(group_norm.stats[0]), IN(group_norm.stats[1]),
                           WEIGHT(group_norm.weight), OUT(group_norm.y)},
    [SDB_OP_layer_norm] = {OVER(layer_norm.x), WEIGHT(layer_norm.weight), OUT(layer_norm.y)},
    [SDB_OP_embed] = {IN(embed.ids), OUT(embed.y)}, /* of the weights, as many rows as y has */
    [SDB_OP_timestep_embedding] = {IN(timestep_embedding.t), OUT(timestep_embedding.y)},
    [SDB_OP_combine] = {OVER(combine.x[0]), OVER(combine.x[1]), OVER(combine.x[2]),
                        OVER(combine.x[3]), OVER(combine.x[4]), OVER(combine.x[5]),
                        OVER(combine.x[6]), OVER(combine.x[7]), IN(combine.coef), OUT(combine.y)},
    [SDB_OP_activation] = {OVER(activation.x), OUT(activation.y)},
    [SDB_OP_posterior] = {IN(posterior.moments), IN(posterior.noise), OUT(posterior.y)},
    [SDB_OP_resample] = {IN(resample.x), OUT(resample.y)},
    [SDB_OP_modulate] = {OVER(modulate.x), IN(modulate.scale), IN(modulate.shift), OUT(modulate.y)},
    [SDB_OP_quantize] = {OVER(quantize.x), WEIGHT(quantize.codebook), OUT(quantize.y),
                         OUT(quantize.ids)},
    [SDB_OP_blend] = {IN(blend.m), OVER(blend.a), OVER(blend.b), OUT(blend.y)},
    [SDB_OP_clamp] = {OVER(clamp.x), OUT(clamp.y)},
    [SDB_OP_rescale] = {OVER(rescale.x), IN(rescale.like), OUT(rescale.y)},
};

const sd_operand *sdi_op_operands(sdb_op_kind kind) {
    return operands[kind];
}

const char *sdi_op_name(sdb_op_kind kind) {
    static const char *const names[SDB_N_OPS] = {
#define X(name) #name,
        SDB_OPERATIONS(X)
#undef X
    };
    return names[kind];
}

static void one_for_zero(float *scale) {
    if (*scale == 0.0f)
        *scale = 1.0f;
}

void sdi_op_complete(sdb_op *op) {
    if (op->kind == SDB_OP_conv2d) {
        one_for_zero(&op->conv2d.scale);
        op->conv2d.stride += op->conv2d.stride == 0;
    } else if (op->kind == SDB_OP_linear) {
        one_for_zero(&op->linear.scale);
    }
}

/* ---------------------------------------------------------------------------------- numbers */

/* Every element of y is a sum of so many products. */
static double products(sdb_tensor y, double depth) {
    return 2.0 * y.n * y.h * y.w * y.c * depth;
}

double sdi_op_flops(const sdb_op *op) {
    const sdb_attention *a = &op->attention;
    switch (op->kind) {
    case SDB_OP_conv2d:
        return products(op->conv2d.y, 9.0 * op->conv2d.x.c);
    case SDB_OP_linear: /* GEGLU: value and gate */
        return products(op->linear.y, op->linear.x.c) * (op->linear.geglu ? 2 : 1);
    case SDB_OP_attention: /* q k^T, and its product with v */
        return products(a->y, 2.0 * a->k.h * a->k.w);
    default:
        return 0.0;
    }
}

double sdi_op_bytes(const sdb_op *op, size_t (*weight_size)(const sdb_weight *weight)) {
    double bytes = 0.0;
    for (const sd_operand *o = operands[op->kind]; o->role; o++) {
        const void *at = (const char *)op + o->offset;
        bytes += (double)(o->role == SD_ROLE_WEIGHT ? weight_size(*(const sdb_weight *const *)at)
                                                    : sdi_packed_size(*(const sdb_tensor *)at));
    }
    return bytes;
}
