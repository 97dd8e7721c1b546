/*
 * struct sd_cond: what a network is conditioned on, as tensors by name. It is made whole and never
 * changes, so that runs and threads share it. A family that is conditioned on more adds a row to
 * the table in cond.c.
 *
 * Which rows of its tensors a run looks at may change from evaluation to evaluation of the network,
 * and several may be combined: a program says so. Schedules of schedules and of combinations are
 * one program, made flat when they are made (cond_make.c).
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
/* The unconditional prediction and these are terms of one sum: SDB_MAX_TERMS. */
#define SD_COND_MAX_TERMS 7

/* A row of the parts, and its weight in a combination. */
typedef struct sd_cond_pick {
    int row;
    double weight;
} sd_cond_pick;

/* Entry i is what is looked at while the share of the run that is done is below until[i], which
 * ascend to 1. */
typedef struct sd_cond_program {
    int rows;  /* of the conditioning, as its user counts them */
    int terms; /* that are combined, 1 .. SD_COND_MAX_TERMS */
    int n;     /* entries */
    double *until;
    sd_cond_pick *picks; /* [n, terms, rows] */
} sd_cond_program;

struct sd_cond {
    sd_handle handle;
    sd_context *ctx;                   /* retained */
    sd_tensor *parts[SD_COND_N_PARTS]; /* each of all rows, or of one for all; but for the context
                                          they may be NULL */
    sd_cond_program *program;          /* NULL: row i is row i, all through the run */
};

/* Copies; each of the names and values is there. */
sd_status sdi_cond_new(sd_context *ctx, const char *const *names, const sd_tensor *const *values,
                       int n, sd_cond **out);
/* Takes the tensors over, also where it fails: finite, as a network left them. */
sd_status sdi_cond_take(sd_tensor *const parts[SD_COND_N_PARTS], sd_cond **out);
/* Without parts yet. */
sd_status sdi_cond_begin(sd_context *ctx, sd_cond **out);
/* Rows of a part as a tensor of their own; a part of one row for all is shared. NULL stays so. */
sd_status sdi_cond_gather(const sd_cond *cond, int part, const int *rows, int n, sd_tensor **out);
const char *sdi_cond_part_name(int part);
/* A copy of the part of that name; of a program what is looked at first. */
sd_status sdi_cond_copy(const sd_cond *cond, const char *name, sd_tensor **out);
/* Rows first .. first + n - 1, which there are, without a program. */
sd_status sdi_cond_cut_plain(const sd_cond *cond, int first, int n, sd_cond **out);
/* Lets go of it. */
void sdi_cond_free(sd_cond *cond);
/* Rows, as its user counts them. */
int64_t sdi_cond_count(const sd_cond *cond);
/* Rows that its parts have, of which a program picks. */
int64_t sdi_cond_stock_rows(const sd_cond *cond);

/* --- cond_program.c --- */
/* For the maker of a program: zeros. */
sd_status sdi_cond_program_new(sd_context *ctx, int rows, int terms, int n, sd_cond_program **out);
void sdi_cond_program_free(sd_context *ctx, sd_cond_program *program); /* NULL is fine */
sd_cond_pick *sdi_cond_pick_at(const sd_cond_program *program, int entry, int term, int row);
/* Leaves out entries that change nothing, and last terms without weight. */
void sdi_cond_program_shorten(sd_cond_program *program);
/* Whether a weight is not 1, or terms are more than one. */
bool sdi_cond_program_is_mixed(const sd_cond_program *program);
bool sdi_cond_is_mixed(const sd_cond *cond);
/* What a run looks at when `share` of it is done: an entry; and its picks for row i. Conditioning
 * without a program has one entry of one term. */
int sdi_cond_entry(const sd_cond *cond, double share);
int sdi_cond_terms(const sd_cond *cond);
sd_cond_pick sdi_cond_pick(const sd_cond *cond, int entry, int term, int i);

/* --- cond_make.c --- */
/* Takes the program, also where it fails; its rows are those of the parts of `stock`. What is the
 * same all through the run is conditioning without one. */
sd_status sdi_cond_take_program(const sd_cond *stock, sd_cond_program *program, sd_cond **out);
/* Rows first .. first + n - 1. */
sd_status sdi_cond_cut(const sd_cond *cond, int first, int n, sd_cond **out);
/* conds[i] up to until[i], ascending to 1; the weighted sum. Numbers are checked. */
sd_status sdi_cond_schedule(const sd_cond *const *conds, const double *until, int n, sd_cond **out);
sd_status sdi_cond_combine(const sd_cond *const *conds, const double *weights, int n,
                           sd_cond **out);

/* [n, tokens, width]; NULL where `cond` is. */
static inline const sd_tensor *sdi_cond_context(const sd_cond *cond) {
    return cond ? cond->parts[SD_COND_CONTEXT] : NULL;
}

/* What a part has for row i. */
static inline const float *sdi_cond_row(const sd_tensor *part, int64_t i) {
    return part->data + (part->dims[0] == 1 ? 0 : i * (part->n_elements / part->dims[0]));
}

#endif
