/*
 * An executor: one queue, one arena, one status. Code calls sdi_op_* in a row and needs no check
 * after each: after the first failure (or cancellation) the rest do nothing, and the caller looks
 * at exec->status once at the end.
 *
 * It does one of three things with operations. It builds: a network's tensors are views of a
 * program's buffers, and its operations are noted there (program.h). It plans: tensors have shapes
 * but no memory, and operations note their scratch. Or it computes. Network code only ever builds;
 * programs are planned and computed by run.h, and the few operations around them, a sampler's, are
 * called both to be planned and to be computed.
 *
 * The arena has the memory of the program that is run, and after it that of the tensors which its
 * caller takes for itself.
 */
#ifndef SD_BACKEND_EXEC_H
#define SD_BACKEND_EXEC_H

#include "backend/device.h"
#include "backend/ops.h"
#include "backend/program.h"
#include "core/stop.h"

typedef struct sd_exec sd_exec;

#define SD_MAX_PROGRAMS 8

/* A program that an executor ran: run.h. */
typedef struct sd_known_program {
    sd_program *program; /* retained; NULL: none */
    uint64_t used;       /* count of runs at the last one */
    bool ran[SD_MAX_SEGMENTS];
    sdb_graph *graphs[SD_MAX_SEGMENTS]; /* of segments, after their second run; or NULL */
} sd_known_program;

struct sd_exec {
    sd_context *ctx;
    const sdb_backend *api;
    sdb_device *dev;
    sdb_queue *queue;
    sdb_type act;         /* type of activations */
    sd_status status;     /* sticky */
    sd_program *building; /* NULL: operations are planned or computed */
    bool planning;
    sd_interrupt interrupt;
    const atomic_bool *stop; /* NULL, or what ends this executor's run alone */
    uint8_t *arena;          /* device memory; NULL until committed */
    size_t capacity, top, peak;
    double flops;   /* of what was planned to be run: 2 for each multiply-add */
    size_t scratch; /* of the queue, at the last commit */

    sd_known_program known[SD_MAX_PROGRAMS];
    sd_known_program *current; /* the one whose memory the arena begins with, or NULL */
    uint64_t n_uses;           /* of programs */

    float *turning; /* see host.c: [room] */
    size_t room;

    unsigned fork; /* sdi_fork_count when it was taken */
};

/* A run begins: status SD_OK, the cancellation epoch is now. */
void sdi_exec_begin(sd_exec *e);

/* --- building: into `p` from now on; NULL ends that. --- */
void sdi_exec_build(sd_exec *e, sd_program *p);
/* [a, b] along the channels, without a copy where that can be. */
sdb_tensor sdi_concat(sd_exec *e, sdb_tensor a, sdb_tensor b);

/* A tensor whose rows are packed (ld == c): while building a buffer of the program, at other times
 * memory after the program's, until another is planned or used. Data is NULL while planning. */
sdb_tensor sdi_exec_tensor(sd_exec *e, int n, int h, int w, int c);
sdb_tensor sdi_exec_tensor_typed(sd_exec *e, sdb_type type, int n, int h, int w, int c);

/* Views: a channel range; a range of the batch; the same memory with another n, h, w. */
sdb_tensor sdi_view_channels(sdb_tensor t, int first, int c);
sdb_tensor sdi_view_batch(sdb_tensor t, int first, int n);
sdb_tensor sdi_view_shape(sdb_tensor t, int n, int h, int w);
static inline sdb_tensor sdi_no_tensor(void) {
    return (sdb_tensor){0};
}

/* Host <-> device, float32, packed. Wait until done. No-ops unless computing. */
void sdi_exec_upload(sd_exec *e, sdb_tensor dst, const void *src);
void sdi_exec_download(sd_exec *e, void *dst, sdb_tensor src);

/* True when work is to be done: nothing failed and, when computing, nobody cancelled. */
bool sdi_exec_ready(sd_exec *e);
/* Records a failure of the caller's own. Keeps the first. */
void sdi_exec_fail(sd_exec *e, sd_status status);

/* One operation. Numbers that are left 0 become what sdi_op_complete makes of them. */
void sdi_exec_op(sd_exec *e, sdb_op op);

/* sdi_op_linear(e, (sdb_linear){.x = x, .weight = w, .y = y}) and so on, for each of the list; see
 * backend.h for what each computes. */
#define X(kind_name)                                                                               \
    static inline void sdi_op_##kind_name(sd_exec *e, sdb_##kind_name op) {                        \
        sdi_exec_op(e, (sdb_op){.kind = SDB_OP_##kind_name, .kind_name = op});                     \
    }
SDB_OPERATIONS(X)
#undef X

/* combine of up to SDB_MAX_TERMS terms; of one. */
void sdi_op_sum(sd_exec *e, sdb_tensor y, int n_terms, const sdb_tensor *x, sdb_tensor coef);
void sdi_op_copy(sd_exec *e, sdb_tensor y, sdb_tensor x);

#endif
