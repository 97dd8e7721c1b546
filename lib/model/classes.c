/* ClassEmbedder (ldm/modules/encoders/modules.py): an embedding a class, as a context of one token.
 */
#include "model/builder.h"

struct sd_class_model {
    sd_part part;
    const sdb_weight *embedding;
};

static void class_build(sd_builder *b, void *network, const void *config) {
    sd_class_model *m = network;
    const sd_class_config *c = config;
    sd_path top = sdi_path_top();
    sdi_builder_range(b, "the number of classes", c->n, 1, 1 << 24);
    sdi_builder_range(b, "the class embeddings' width", c->width, 1, SD_MAX_WIDTH);
    m->embedding = sdi_get_embedding(b, &top, SD_KEY_CLASS, c->n, c->width);
}

void sdi_class_model_forward(sd_exec *e, const sd_class_model *m, sdb_tensor y, sdb_tensor ids) {
    sdb_tensor x = sdi_exec_tensor(e, y.n, y.h, y.w, y.c);
    sdi_op_embed(e, (sdb_embed){.ids = ids, .y = x, .token = m->embedding});
    sdi_op_copy(e, y, x);
}

static bool class_wanted(const sd_description *d) {
    return !d->first_stage_only && d->conditioning == SD_CONDITIONING_CLASS;
}

static const sd_place class_places[] = {{SD_LAYOUT_ORIGINAL, "cond_stage_model.", ""}};

/* The embedder's sizes are in the YAML config, without which no such checkpoint is loaded. */
const sd_part_type sdi_class_part = {
    .what = "class embedder",
    .name = "class_embedder",
    SD_PLACES(class_places),
    SD_CONFIG(classes),
    .size = sizeof(sd_class_model),
    .wanted = class_wanted,
    .build = class_build,
};
