/*
 * An executor: one queue, one arena, one status. Network code calls sd_op_* in a row and needs no
 * check after each: after the first failure (or cancellation) the rest do nothing, and the
 * caller looks at exec->status once at the end.
 *
 * Memory comes from a stack of known size. A network runs twice: first measured (sd_exec_measure),
 * when tensors get shapes but no memory and operations only plan their scratch, then for real.
 * The pattern inside a network:
 *
 *     size_t mark = sd_exec_mark(e);
 *     sdb_tensor h = sd_exec_tensor(e, n, height, width, c);
 *     sd_op_group_norm(e, h, x, norm, SDB_ACT_SILU);
 *     ...
 *     sd_exec_release(e, mark);        // frees everything taken since the mark
 */
#ifndef SD_BACKEND_EXEC_H
#define SD_BACKEND_EXEC_H

#include "backend/device.h"
#include "backend/ops.h"
#include "backend/program.h"
#include "core/stop.h"

typedef struct sd_exec sd_exec;
typedef void (*sd_exec_fn)(sd_exec *e, void *arg);

/* All that the operations of a stage depend on, besides the model: runs with equal keys give the
 * same operations at the same places of the arena. See region.h. */
typedef struct sd_stage_key {
    const void *type;             /* of the stage: not NULL */
    int n, h, w, tokens, options; /* as the stage needs them */
} sd_stage_key;

#define SD_MAX_STAGES 8

typedef struct sd_known_stage {
    sd_stage_key key; /* type NULL: none */
    bool ran;         /* once at least */
    sdb_graph *graph; /* its region, after the second run; or NULL */
    uint64_t used;    /* count of runs at the last one */
} sd_known_stage;

struct sd_exec {
    sd_context *ctx;
    const sdb_backend *api;
    sdb_device *dev;
    sdb_queue *queue;
    sdb_type act;         /* type of activations */
    sd_status status;     /* sticky */
    sd_program *building; /* NULL: operations are measured or computed */
    bool measuring;
    sd_interrupt interrupt;
    const atomic_bool *stop; /* NULL, or what ends this executor's run alone */
    uint8_t *arena;          /* device memory; NULL until committed */
    size_t capacity, top, peak;
    double flops;   /* counted while measuring: 2 per multiply-add */
    size_t scratch; /* of the queue, at the last commit */

    sd_known_stage stages[SD_MAX_STAGES];
    sd_known_stage *stage; /* the one that runs, or NULL */
    uint64_t n_runs;       /* of stages */

    float *turning; /* see host.c: [room] */
    size_t room;

    unsigned fork; /* sd_fork_count when it was taken */
};

sd_status sd_exec_new(sd_context *ctx, sdb_type act, sd_exec **out);
void sd_exec_free(sd_exec *e);

/* Begin measuring; run the network; then commit allocates the arena (growing it where it is too
 * small) and the queue's scratch, and leaves measuring. Both reset top to 0. */
void sd_exec_measure(sd_exec *e);
sd_status sd_exec_commit(sd_exec *e);
/* Ends measuring and allocates nothing: for estimates. Bytes of arena and scratch. */
size_t sd_exec_abandon(sd_exec *e);

/* A run begins: status SD_OK, it ends where the current call does, the stack is empty. */
void sd_exec_begin(sd_exec *e);

/* Into `p` from now on; NULL ends that. */
void sd_exec_build(sd_exec *e, sd_program *p);
/* While building: [a, b] along the channels. */
sdb_tensor sd_concat(sd_exec *e, sdb_tensor a, sdb_tensor b);

/* Stack of tensors; buffers while building. Rows are packed (ld == c). Data is NULL while
 * measuring. */
sdb_tensor sd_exec_tensor(sd_exec *e, int n, int h, int w, int c);
sdb_tensor sd_exec_tensor_typed(sd_exec *e, sdb_type type, int n, int h, int w, int c);
size_t sd_exec_mark(const sd_exec *e);
void sd_exec_release(sd_exec *e, size_t mark);

/* Views: a channel range; a range of the batch; the same memory with another n, h, w. */
sdb_tensor sd_view_channels(sdb_tensor t, int first, int c);
sdb_tensor sd_view_batch(sdb_tensor t, int first, int n);
sdb_tensor sd_view_shape(sdb_tensor t, int n, int h, int w);
static inline sdb_tensor sd_no_tensor(void) {
    return (sdb_tensor){0};
}

/* What a group norm reads: a tensor, and where the backend makes them the statistics that came
 * with it, for all channels or for the two halves of a concatenation. */
typedef struct sd_features {
    sdb_tensor x;
    sdb_tensor stats[2]; /* c 0: none */
} sd_features;

/* A tensor in the type of activations, and room for its statistics. */
sd_features sd_exec_features(sd_exec *e, int n, int h, int w, int c);
/* Room for the statistics of x on the stack; no tensor where the backend makes none. */
sdb_tensor sd_exec_stats(sd_exec *e, sdb_tensor x);

/* Host <-> device, float32, packed. Wait until done. No-ops while measuring. */
void sd_exec_upload(sd_exec *e, sdb_tensor dst, const void *src);
void sd_exec_download(sd_exec *e, void *dst, sdb_tensor src);

/* True when work is to be done: nothing failed and, unless measuring, nobody cancelled. */
bool sd_exec_ready(sd_exec *e);
/* Records a failure of the caller's own. Keeps the first. */
void sd_exec_fail(sd_exec *e, sd_status status);

/* One operation. Numbers that are left 0 become what sd_op_complete makes of them. */
void sd_exec_op(sd_exec *e, sdb_op op);

/* sd_op_linear(e, (sdb_linear){.x = x, .weight = w, .y = y}) and so on, for each of the list; see
 * backend.h for what each computes. */
#define X(kind_name)                                                                               \
    static inline void sd_op_##kind_name(sd_exec *e, sdb_##kind_name op) {                         \
        sd_exec_op(e, (sdb_op){.kind = SDB_OP_##kind_name, .kind_name = op});                      \
    }
SDB_OPERATIONS(X)
#undef X

/* combine of up to SDB_MAX_TERMS terms; of one. */
void sd_op_sum(sd_exec *e, sdb_tensor y, int n_terms, const sdb_tensor *x, sdb_tensor coef);
void sd_op_copy(sd_exec *e, sdb_tensor y, sdb_tensor x);

#endif
