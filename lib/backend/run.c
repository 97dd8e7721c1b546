/* Runs a program's operations, and records and replays its segments. */
#include "backend/run.h"

#include "backend/profile.h"

/* ------------------------------------------------------------------------------ known programs */

static void drop_graphs(sd_exec *e, sd_known_program *known) {
    for (int i = 0; i < SD_MAX_SEGMENTS; i++) {
        if (known->graphs[i])
            e->api->graph_free(e->queue, known->graphs[i]);
        known->graphs[i] = NULL;
        known->ran[i] = false;
    }
}

static void forget(sd_exec *e, sd_known_program *known) {
    drop_graphs(e, known);
    sdi_program_release(known->program);
    *known = (sd_known_program){0};
}

static void forget_all(sd_exec *e) {
    for (int i = 0; i < SD_MAX_PROGRAMS; i++)
        forget(e, &e->known[i]);
    e->current = NULL;
}

sd_status sdi_exec_new(sd_context *ctx, sdb_type act, sd_exec **out) {
    *out = NULL;
    sd_exec *e = sdi_zalloc(ctx, sizeof *e);
    if (!e)
        return SD_ERROR_MEMORY;
    e->ctx = ctx;
    e->api = ctx->device->api;
    e->dev = ctx->device->dev;
    e->act = act;
    sd_status status = e->api->queue_new(e->dev, &e->queue);
    if (status) {
        sdi_free(ctx, e);
        return status;
    }
    sdi_exec_begin(e);
    *out = e;
    return SD_OK;
}

void sdi_exec_free(sd_exec *e) {
    if (!e)
        return;
    forget_all(e);
    e->api->queue_free(e->queue);
    e->api->buffer_free(e->dev, e->arena);
    sdi_free(e->ctx, e->turning);
    sdi_free(e->ctx, e);
}

static bool find(sd_exec *e, const sd_program *p) {
    e->current = NULL;
    for (int i = 0; i < SD_MAX_PROGRAMS && p; i++)
        if (e->known[i].program == p)
            e->current = &e->known[i];
    if (e->current)
        e->current->used = ++e->n_uses;
    return e->current != NULL;
}

/* In place of the one that was not run for the longest time. */
static void add(sd_exec *e, sd_program *p) {
    sd_known_program *oldest = e->known;
    for (int i = 1; i < SD_MAX_PROGRAMS; i++)
        if (e->known[i].used < oldest->used)
            oldest = &e->known[i];
    forget(e, oldest);
    sdi_program_retain(p);
    *oldest = (sd_known_program){.program = p, .used = ++e->n_uses};
    e->current = oldest;
}

/* ------------------------------------------------------------------------------------ planning */

/* The operation with the addresses of its tensors; of no memory while planning. */
static sdb_op bound(const sd_exec *e, const sdb_op *op) {
    sdb_op copy = *op;
    for (const sd_operand *o = sdi_op_operands(op->kind); o->role; o++) {
        sdb_tensor *t = sdi_operand_tensor(&copy, o);
        if (o->role != SD_ROLE_WEIGHT && t->buffer)
            t->data = e->planning ? NULL : e->arena + (uintptr_t)t->data;
    }
    return copy;
}

static void give_operations(sd_exec *e, int begin, int end) {
    for (int i = begin; i < end && !e->status; i++)
        sdi_exec_op(e, bound(e, &e->current->program->ops[i]));
}

/* Where the caller's own tensors begin. */
static size_t first_free(const sd_exec *e) {
    return e->current ? e->current->program->arena : 0;
}

void sdi_exec_plan(sd_exec *e, sd_program *p) {
    sdi_exec_begin(e);
    e->planning = true;
    sdi_exec_fail(e, e->api->queue_plan(e->queue, true));
    if (!find(e, p) && p) {
        add(e, p);
        give_operations(e, 0, p->n_ops);
    }
    e->top = e->peak = first_free(e);
    e->flops = 0.0;
}

static sd_status grow_arena(sd_exec *e) {
    if (e->peak <= e->capacity)
        return SD_OK;
    void *arena;
    e->api->buffer_free(e->dev, e->arena);
    e->arena = NULL;
    e->capacity = 0;
    sd_status status = e->api->buffer_alloc(e->dev, e->peak, &arena);
    if (status)
        return status;
    e->arena = arena;
    e->capacity = e->peak;
    return SD_OK;
}

sd_status sdi_exec_commit(sd_exec *e) {
    size_t scratch = e->api->queue_scratch(e->queue);
    e->planning = false;
    e->top = first_free(e);
    if (e->peak > e->capacity || scratch > e->scratch) /* graphs name memory that goes */
        for (int i = 0; i < SD_MAX_PROGRAMS; i++)
            drop_graphs(e, &e->known[i]);
    e->scratch = scratch;
    sdi_exec_fail(e, e->api->queue_plan(e->queue, false));
    if (!e->status)
        e->status = grow_arena(e);
    if (e->status)
        forget_all(e);
    return e->status;
}

size_t sdi_exec_abandon(sd_exec *e) {
    e->planning = false;
    return e->peak + e->api->queue_scratch(e->queue);
}

void sdi_exec_use(sd_exec *e, sd_program *p) {
    if (find(e, p)) {
        e->top = first_free(e);
        return;
    }
    sdi_exec_plan(e, p);
    sdi_exec_commit(e);
}

/* ------------------------------------------------------------------------------------- running */

sdb_tensor sdi_exec_io(const sd_exec *e, int index) {
    sdb_tensor t = e->current->program->io[index];
    t.data = e->planning || t.c == 0 ? NULL : e->arena + (uintptr_t)t.data;
    t.buffer = 0;
    return t;
}

/* A segment is to be recorded and replayed now, or to be run as it stands: the backend may have no
 * regions, a profile, which times each operation, cannot use one, and an empty one costs a launch.
 */
static bool can_record(const sd_exec *e, int segment) {
    const sd_program *p = e->current->program;
    return e->api->record_begin && !sdi_profiling(e->ctx) &&
           sdi_segment_begin(p, segment) < p->ends[segment];
}

static void compute(sd_exec *e, int segment) {
    const sd_program *p = e->current->program;
    give_operations(e, sdi_segment_begin(p, segment), p->ends[segment]);
}

static void record(sd_exec *e, int segment) {
    if (e->status)
        return;
    sd_status status = e->api->record_begin(e->queue);
    if (status) {
        sdi_exec_fail(e, status);
        return;
    }
    compute(e, segment);
    if (e->status)
        e->api->record_end(e->queue, NULL);
    else
        sdi_exec_fail(e, e->api->record_end(e->queue, &e->current->graphs[segment]));
}

void sdi_exec_run(sd_exec *e, int segment) {
    sd_known_program *known = e->current;
    if (e->planning)
        e->flops += sdi_program_flops(known->program, segment);
    if (e->planning || !sdi_exec_ready(e))
        return;
    bool regions = can_record(e, segment);
    if (regions && known->graphs[segment]) {
        sdi_exec_fail(e, e->api->graph_replay(e->queue, known->graphs[segment]));
        return;
    }
    compute(e, segment);
    if (regions && known->ran[segment]) /* the device computes meanwhile */
        record(e, segment);
    if (!e->status)
        known->ran[segment] = true;
}
