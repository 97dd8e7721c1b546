/*
 * A model is a set of parts: networks, each with the weights that it owns, which never change once
 * it is built and which models can share. A kind of part is a row of one table: what its files and
 * its tensors are called, how its description is read, how it is built. The row stands at the end
 * of the network's file. All that is done to every part (finding files, reading descriptions,
 * listing tensors, building, counting, freeing) is a loop over the table.
 */
#ifndef SD_MODEL_PART_H
#define SD_MODEL_PART_H

#include "backend/cache.h"
#include "describe/config.h"
#include "io/folder.h"
#include "model/origin.h"

#include <stdatomic.h>
#include <stddef.h>

/* The order of the table is that in which parts are built, and their tensors listed. */
typedef enum sd_part_kind {
    SD_PART_TEXT,
    SD_PART_TEXT_2,
    SD_PART_CLASSES,
    SD_PART_UNET,
    SD_PART_VAE,
    SD_PART_TINY,
    SD_N_PARTS
} sd_part_kind;

/* How a file may name a part's tensors: after `prefix`, some name goes on with `tells`. */
typedef struct sd_place {
    sd_layout layout;
    const char *prefix, *tells;
} sd_place;

struct sd_builder;

typedef struct sd_part_type {
    const char *what;       /* "text encoder" */
    const char *name;       /* for the host: "text_encoder" */
    const sd_place *places; /* [n_places]; of those of a layout the last is taken where none fits */
    int n_places;
    const char *folder;     /* within a diffusers folder; NULL: none has such a part */
    sd_stems stems;         /* of its files there */
    const char *classes[3]; /* that model_index.json may name; NULL ends them */
    size_t file;            /* its member of sd_model_params: the offset; 0: it has none */
    size_t size;            /* of the network, which begins with an sd_part */
    size_t config;          /* of its description: the offset in sd_description, */
    size_t config_size;     /* and its size */
    bool (*wanted)(const sd_description *d);
    /* Whether float16 is too narrow for it, so that it computes in bfloat16 instead; NULL: never */
    bool (*overflows)(const void *config);
    sd_status (*read)(const sd_context *ctx, const char *path, void *config); /* config.json */
    sd_status (*infer)(const sd_checkpoint *from, void *config); /* the shapes of tensors */
    bool measured;         /* also beside a YAML config, which has no sizes of such a part */
    bool reads_texts;      /* it is a text encoder: its description is an sd_text_config */
    const char *tokenizer; /* the folder of its tokenizer, beside its own */
    unsigned net;          /* by which adapters know it: adapter.h; 0: they do not change it */
    void (*build)(struct sd_builder *b, void *network, const void *config);
} sd_part_type;

extern const sd_part_type *const sdi_part_types[SD_N_PARTS];
extern const sd_part_type sdi_text_part, sdi_text_2_part, sdi_class_part, sdi_unet_part,
    sdi_vae_part, sdi_tiny_part;

/* For rows. */
#define SD_PLACES(rows) .places = (rows), .n_places = (int)SD_COUNT(rows)
#define SD_CONFIG(member)                                                                          \
    .config = offsetof(sd_description, member),                                                    \
    .config_size = sizeof(((sd_description *)NULL)->member)

#define SD_FILE(member) .file = offsetof(sd_model_params, member)

/* A part's own description; it begins with an sd_naming. */
static inline void *sdi_part_config(const sd_part_type *type, const sd_description *d) {
    return (char *)d + type->config;
}

/* The file or folder that a part is to come from; NULL: the model's own. */
static inline const char *sdi_part_file(const sd_part_type *type, const sd_model_params *params) {
    return type->file ? *(const char *const *)((const char *)params + type->file) : NULL;
}

/* Takes over what another model says of a part. */
void sdi_part_copy_config(const sd_part_type *type, sd_description *to, const sd_description *from);
/* The part that the host calls so; -1: none. */
int sdi_part_find(const char *name);
/* Fails with the names that there are. */
sd_status sdi_part_unknown(const sd_context *ctx, const char *call, const char *name);

typedef struct sd_list {
    void **items;
    size_t n, capacity;
} sd_list;

/* The first member of each network. Everything that it owns hangs on it, so that blocks have no
 * destructors, and a half-built network is freed like a whole one. */
typedef struct sd_part {
    atomic_int refs;
    sd_context *ctx;      /* which lives longer */
    sd_origin *origin;    /* that its weights came from; NULL: it is only listed */
    sdb_type act;         /* of its activations, which its weights were prepared for */
    sd_list weights;      /* sd_weight */
    sd_list blocks;       /* memory */
    sd_programs programs; /* of the shapes that it met last */
} sd_part;

/* A part is counted, and may be NULL here. The last release frees. */
sd_part *sdi_part_retain(sd_part *part);
void sdi_part_release(sd_part *part);
/* Numbers of its tensors, and bytes of its weights on the device; of NULL none. */
int64_t sdi_part_parameters(const sd_part *part);
int64_t sdi_part_bytes(const sd_part *part);

#endif
