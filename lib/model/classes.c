/* ClassEmbedder (ldm/modules/encoders/modules.py): an embedding a class, as a context of one token.
 */
#include "model/blocks.h"

struct sd_class_model {
    sd_net net;
    const sdb_weight *embedding;
};

sd_status sd_class_model_new(sd_build *build, sd_class_model **out) {
    const sd_description *d = build->source->desc;
    const sd_class_config *c = &d->classes;
    *out = NULL;
    if (d->conditioning != SD_CONDITIONING_CLASS || d->first_stage_only)
        return SD_OK;
    sd_class_model *m = sd_zalloc(build->ctx, sizeof *m);
    if (!m)
        return SD_ERROR_MEMORY;
    sd_builder b = sd_builder_init(build, &build->source->class_weights, &m->net);
    sd_path top = sd_path_top();
    sd_builder_range(&b, "the number of classes", c->n, 1, 1 << 24);
    sd_builder_range(&b, "the class embeddings' width", c->width, 1, SD_MAX_WIDTH);
    m->embedding = sd_get_embedding(&b, &top, SD_KEY_CLASS, c->n, c->width);
    if (b.status)
        sd_class_model_free(m);
    else
        *out = m;
    return b.status;
}

void sd_class_model_free(sd_class_model *m) {
    if (!m)
        return;
    sd_context *ctx = m->net.ctx;
    sd_net_free(&m->net);
    sd_free(ctx, m);
}

void sd_class_model_forward(sd_exec *e, const sd_class_model *m, sdb_tensor y, sdb_tensor ids) {
    size_t mark = sd_exec_mark(e);
    sdb_tensor x = sd_exec_tensor(e, y.n, y.h, y.w, y.c);
    sd_op_embed(e, (sdb_embed){.ids = ids, .y = x, .token = m->embedding});
    sd_op_copy(e, y, x);
    sd_exec_release(e, mark);
}
