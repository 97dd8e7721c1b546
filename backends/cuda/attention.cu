/* Chooses attention's kernel. */
#include "attention.h"

/* Notes the scratch of each kernel that may be chosen: how pointers are aligned is not known yet.
 */
static sd_status plan(sdb_queue *q, const cuda_attention_args *a) {
    sd_status status = SD_OK;
    if (cuda_attention_hopper_fits(q->dev, a))
        status = cuda_attention_hopper(q, a);
    if (status == SD_OK && cuda_attention_wide_fits(q->dev, a))
        status = cuda_attention_wide(q, a);
    return status;
}

static sd_status run(sdb_queue *q, const cuda_attention_args *a) {
    if (cuda_attention_hopper_fits(q->dev, a))
        return cuda_attention_hopper(q, a);
    if (cuda_attention_prompt_fits(q->dev, a))
        return cuda_attention_prompt(q, a);
    if (cuda_attention_mma_fits(q->dev, a))
        return cuda_attention_mma(q, a);
    if (cuda_attention_wide_fits(q->dev, a))
        return cuda_attention_wide(q, a);
    return cuda_attention_simt(q, a);
}

sd_status cuda_attention(sdb_queue *q, const sdb_attention *op) {
    const cuda_attention_args a = {
        .q = op->q.data,
        .k = op->k.data,
        .v = op->v.data,
        .y = op->y.data,
        .q_ld = op->q.ld,
        .k_ld = op->k.ld,
        .v_ld = op->v.ld,
        .y_ld = op->y.ld,
        .n = op->q.n,
        .heads = op->heads,
        .dim = op->q.c / op->heads,
        .tq = op->q.h * op->q.w,
        .tk = op->k.h * op->k.w,
        .causal = op->causal,
        .scale = op->scale,
        .type = op->q.type,
    };
    sdb_type type = op->q.type;
    bool known = type == SDB_F32 || type == SDB_F16 || type == SDB_BF16;
    if (!known || op->k.type != type || op->v.type != type || op->y.type != type)
        return cuda_refuse_types(q, "attention", type, op->y.type);
    return q->planning ? plan(q, &a) : run(q, &a);
}
