/*
 * A stage: a network at one shape, which an executor computes for a call. Its operations are a
 * program, that is built when the model first meets the shape. What the host puts there and gets
 * from it lies in `io`. The executor is the stage's from sdi_stage_begin to sdi_stage_end, and its
 * status is sticky: nothing between needs a check.
 */
#ifndef SD_PIPELINE_STAGE_H
#define SD_PIPELINE_STAGE_H

#include "backend/host.h"
#include "backend/run.h"
#include "pipeline/model.h"

#define SD_STAGE_IO 9

typedef struct sd_stage sd_stage;

/* All three are called to build the program alone, and see of the stage what its key says: the
 * type, the model and the numbers. compute or apart may be NULL. */
typedef struct sd_stage_type {
    sd_part_kind part;            /* whose programs they are */
    void (*hold)(sd_stage *s);    /* takes s->io from s->e */
    void (*compute)(sd_stage *s); /* operations on s->io */
    void (*apart)(sd_stage *s);   /* others that go before or after, as often as wanted */
} sd_stage_type;

struct sd_stage {
    const sd_stage_type *type;
    const sd_model *model;
    int n, h, w, tokens, options; /* as the type needs them */
    sd_exec *e;
    sdb_tensor io[SD_STAGE_IO];
};

/* Takes an executor, whose memory is the stage's from now on. */
sd_status sdi_stage_begin(sd_stage *s);
void sdi_stage_compute(sd_stage *s);
void sdi_stage_compute_apart(sd_stage *s);
/* A result; NULL after a failure, and a failure is the executor's. */
sd_tensor *sdi_stage_tensor(sd_stage *s, int n_dims, const int64_t *dims);
/* The stage's status, also of what the caller looked at since. */
sd_status sdi_stage_end(sd_stage *s);

/* In place of sdi_stage_begin, on an executor of the caller's that takes tensors of its own behind
 * the stage's: the executor plans afterwards (backend/run.h). */
sd_status sdi_stage_plan(sd_stage *s);
/* The caller has planned, and now its tensors are there: s->io, too. */
sd_status sdi_stage_commit(sd_stage *s);

/* Only planned: memory of arena and scratch, and arithmetic (2 for each multiply-add). */
typedef struct sd_cost {
    uint64_t bytes;
    double flops;
} sd_cost;
sd_status sdi_stage_estimate(sd_stage *s, sd_cost *cost);

/* SD_ERROR_MODEL, with a way out, if `stage` ("the UNet") made a number of t that is not finite. */
sd_status sdi_check_computed(const sd_model *model, const char *stage, const sd_tensor *t);
/* The sentence of sdi_check_computed, for element `at`, where the number was found. */
sd_status sdi_fail_computed(const sd_model *model, const char *stage, const sd_tensor *t,
                            int64_t at);

#endif
