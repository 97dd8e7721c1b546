/*
 * How adapters change a tensor on its way to the device: between decoding and what is prepared of
 * it, in float32, all adapters at once, rounded once. Rows are changed in small tiles within the
 * read that a device asks for, so that neither the delta nor the changed tensor is whole in memory.
 */
#ifndef SD_MODEL_CHANGE_H
#define SD_MODEL_CHANGE_H

#include "backend/backend.h"
#include "io/decode.h"
#include "model/delta.h"
#include "model/uses.h"

/* DoRA (Liu et al. 2024): W' = m (W + delta) / ||W + delta||, a norm for each output or input. */
typedef struct sd_dora {
    float *factors; /* m / norm; NULL: the term is none */
    bool of_inputs;
    float strength;
} sd_dora;

typedef struct sd_change_term {
    sd_delta delta;
    sd_dora dora;
    int first; /* the row of the tensor that its module begins with */
} sd_change_term;

typedef struct sd_change {
    sd_context *ctx;
    sd_delta_shape shape; /* of the whole tensor */
    sdb_type from, to;    /* of what is decoded, and of what the device gets, in as many bytes */
    int n, n_dora;        /* terms, and those with magnitudes */
    sd_change_term terms[];
} sd_change;

/* The tensor that is asked for: of a path, in a network. */
typedef struct sd_changed_tensor {
    unsigned net;
    const sd_path *path;
    sd_delta_shape shape;
    const sd_weights *weights;
    const sd_entry *entry; /* whose type was checked */
    bool transposed;       /* the file has it with rows and columns exchanged */
    sdb_type compute;
} sd_changed_tensor;

/* Whether some use changes rows of the tensor. */
bool sdi_uses_touch(const sd_uses *uses, unsigned net, const sd_path *path, int rows, bool bias);

/* *out NULL: nothing changes it. */
sd_status sdi_change_new(sd_context *ctx, const sd_uses *uses, const sd_changed_tensor *tensor,
                         sd_change **out);
void sdi_change_free(sd_change *c);
/* All elements of its tensor. */
size_t sdi_change_count(const sd_change *c);
/* Changes elements first .. first + n - 1, which are at x as they were decoded. Any thread. */
void sdi_change_apply(const sd_change *c, size_t first, size_t n, void *x);

#endif
