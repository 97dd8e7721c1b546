/*
 * All that libsd knows of each kind of operation besides how to compute it: its name, the parts
 * that its tensors play, and its arithmetic. The rows are in ops.c, the kinds come from
 * SDB_OPERATIONS.
 */
#ifndef SD_BACKEND_OPS_H
#define SD_BACKEND_OPS_H

#include "backend/backend.h"

#define SD_MAX_OPERANDS 10

typedef enum sd_role {
    SD_ROLE_NONE = 0, /* after the last */
    SD_ROLE_IN,
    SD_ROLE_OVER, /* an input whose memory the result may take: in place is fine */
    SD_ROLE_OUT,  /* the result; those after the first are by the way */
    SD_ROLE_WEIGHT
} sd_role;

typedef struct sd_operand {
    sd_role role;
    size_t offset; /* in sdb_op: of a tensor, or of a pointer to a weight that is read whole */
} sd_operand;

/* SD_MAX_OPERANDS of them at most, then one of SD_ROLE_NONE. */
const sd_operand *sdi_op_operands(sdb_op_kind kind);
const char *sdi_op_name(sdb_op_kind kind);

static inline sdb_tensor *sdi_operand_tensor(sdb_op *op, const sd_operand *operand) {
    return (sdb_tensor *)((char *)op + operand->offset);
}

/* Numbers that were left 0 become what 0 means. */
void sdi_op_complete(sdb_op *op);

/* Two for each multiply-add; 0 of an operation that is no product. */
double sdi_op_flops(const sdb_op *op);
/* Bytes of inputs, weights and results, each counted once. */
double sdi_op_bytes(const sdb_op *op, size_t (*weight_size)(const sdb_weight *weight));

/* A tensor's bytes, without what lies between pixels. */
static inline size_t sdi_packed_size(sdb_tensor t) {
    return (size_t)t.n * (size_t)t.h * (size_t)t.w * (size_t)t.c * sdb_type_size(t.type);
}

#endif
