/*
 * A weight of a network: a matrix, kernel or vector on the device, and the tensors that its rows
 * come from. These are known by their paths, so that each layout can spell their names: what is to
 * change a weight finds its own tensors with them. A weight never changes, and parts may share it.
 */
#ifndef SD_MODEL_WEIGHT_H
#define SD_MODEL_WEIGHT_H

#include "backend/backend.h"
#include "core/context.h"
#include "model/names.h"

/* Rows of a tensor: they lie behind those of the params before it. */
typedef struct sd_param {
    sd_path path;    /* of its module */
    int first, rows; /* of the tensor, */
    int of;          /* which has as many */
    bool bias;       /* there is one beside it */
} sd_param;

typedef struct sd_weight_form {
    sdb_weight_kind kind;
    int in; /* this and the next as sdb_weight_desc has them */
    bool upsample;
    bool words; /* the rows of words lie behind those of its tensors: sd_build.words */
} sd_weight_form;

typedef struct sd_weight {
    atomic_int refs;
    sd_context *ctx; /* which lives longer */
    sdb_weight *dev; /* NULL: it is only listed */
    sd_weight_form form;
    int n_params;
    sd_param params[];
} sd_weight;

/* A tensor that a weight is made of, or the bias beside it. */
typedef struct sd_wanted {
    const sd_path *path;
    const char *suffix;
    int n_dims;
    int64_t dims[4];
    bool transposed; /* its columns are the rows of the weight */
} sd_wanted;

sd_weight *sdi_weight_new(sd_context *ctx, const sd_weight_form *form, const sd_param *params,
                          int n_params); /* NULL: no memory */
/* A weight is counted, and may be NULL here. The last release frees. */
sd_weight *sdi_weight_retain(sd_weight *w);
void sdi_weight_release(sd_weight *w);

/* Elements of a row of its tensors. */
size_t sdi_weight_row_size(const sd_weight_form *form);
/* All its numbers but those of words. */
int64_t sdi_weight_count(const sd_weight *w);
sd_wanted sdi_weight_wants(const sd_weight *w, const sd_param *p, sd_layout layout);
sd_wanted sdi_weight_wants_bias(const sd_param *p, sd_layout layout);

#endif
