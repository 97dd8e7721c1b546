/*
 * struct sd_cond: what a network is conditioned on, as tensors by name. It is made whole and never
 * changes, so that runs and threads share it. A family that is conditioned on more adds a row to
 * the table in cond.c.
 */
#ifndef SD_CORE_COND_H
#define SD_CORE_COND_H

#include "core/tensor.h"

typedef enum sd_cond_part {
    SD_COND_CONTEXT, /* [n, tokens, width]: what cross-attention looks at */
    SD_COND_POOLED,  /* [n, width]: a text as one vector */
    SD_COND_SIZES,   /* [n, 6 or 5]: numbers about the picture (SDXL) */
    SD_COND_N_PARTS
} sd_cond_part;

#define SD_COND_MAX_TOKENS 65536

struct sd_cond {
    sd_handle handle;
    sd_context *ctx;                   /* retained */
    sd_tensor *parts[SD_COND_N_PARTS]; /* each of all rows, or of one for all; but for the context
                                          they may be NULL */
};

/* Copies; each of the names and values is there. */
sd_status sdi_cond_new(sd_context *ctx, const char *const *names, const sd_tensor *const *values,
                       int n, sd_cond **out);
/* Takes the tensors over, also where it fails: finite, as a network left them. */
sd_status sdi_cond_take(sd_tensor *const parts[SD_COND_N_PARTS], sd_cond **out);
/* A copy of the part of that name. */
sd_status sdi_cond_copy(const sd_cond *cond, const char *name, sd_tensor **out);
/* Rows first .. first + n - 1 of each part. */
sd_status sdi_cond_cut(const sd_cond *cond, int first, int n, sd_cond **out);
/* Lets go of it. */
void sdi_cond_free(sd_cond *cond);

/* [n, tokens, width]; NULL where `cond` is. */
static inline const sd_tensor *sdi_cond_context(const sd_cond *cond) {
    return cond ? cond->parts[SD_COND_CONTEXT] : NULL;
}

/* What a part has for row i. */
static inline const float *sdi_cond_row(const sd_tensor *part, int64_t i) {
    return part->data + (part->dims[0] == 1 ? 0 : i * (part->n_elements / part->dims[0]));
}

#endif
