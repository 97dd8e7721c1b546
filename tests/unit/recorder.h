/*
 * Recorded regions over any backend, as a GPU's graphs are: operations are noted and run when the
 * region is replayed. Tests count regions, and make them fail and be cancelled. One program
 * includes this once; it has one recorder.
 */
#ifndef SD_TESTS_RECORDER_H
#define SD_TESTS_RECORDER_H

#include "backend/exec.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

struct sdb_graph {
    sdb_queue *queue;
    sdb_op *ops;
    int n;
};

static struct {
    const sdb_backend *inner;
    sdb_graph *open; /* the region that is recorded */
    int begun, ended, replays, live;
    int plans;          /* measuring passes */
    int n_ops;          /* operations noted in the open region */
    int fail_at;        /* the operation of a region that fails, counted from 1; 0: none */
    sd_context *cancel; /* cancelled by the operation `cancel_at` of a region */
    int cancel_at;
    bool fail_begin, fail_end, fail_replay, cancel_replay;
} recorder;

static sd_status run_op(sdb_queue *q, const sdb_op *op) {
    sdb_graph *g = recorder.open;
    if (!g)
        return recorder.inner->run[op->kind](q, op);
    recorder.n_ops++;
    if (recorder.n_ops == recorder.fail_at)
        return SD_ERROR_BACKEND;
    if (recorder.n_ops == recorder.cancel_at)
        sd_context_cancel(recorder.cancel);
    g->ops = realloc(g->ops, (size_t)(g->n + 1) * sizeof *g->ops);
    g->ops[g->n++] = *op;
    return SD_OK;
}

static void free_graph(sdb_graph *g) {
    free(g->ops);
    free(g);
}

static sd_status record_begin(sdb_queue *q) {
    ck_assert_msg(!recorder.open, "a region is begun within a region");
    if (recorder.fail_begin)
        return SD_ERROR_BACKEND;
    recorder.open = calloc(1, sizeof *recorder.open);
    recorder.open->queue = q;
    recorder.n_ops = 0;
    recorder.begun++;
    return SD_OK;
}

static sd_status record_end(sdb_queue *q, sdb_graph **out) {
    sdb_graph *g = recorder.open;
    ck_assert_msg(g && g->queue == q, "a region is ended that was not begun");
    recorder.open = NULL;
    recorder.ended++;
    if (!out || recorder.fail_end) {
        free_graph(g);
        return recorder.fail_end ? SD_ERROR_BACKEND : SD_OK;
    }
    recorder.live++;
    *out = g;
    return SD_OK;
}

static sd_status graph_replay(sdb_queue *q, sdb_graph *graph) {
    ck_assert_msg(!recorder.open, "a region is replayed within a region");
    ck_assert_ptr_eq(graph->queue, q);
    recorder.replays++;
    if (recorder.cancel_replay)
        sd_context_cancel(recorder.cancel);
    sd_status status = recorder.fail_replay ? SD_ERROR_BACKEND : SD_OK;
    for (int i = 0; i < graph->n && !status; i++)
        status = recorder.inner->run[graph->ops[i].kind](q, &graph->ops[i]);
    return status;
}

static void graph_free(sdb_queue *q, sdb_graph *graph) {
    ck_assert_ptr_eq(graph->queue, q);
    recorder.live--;
    free_graph(graph);
}

static sd_status queue_plan(sdb_queue *q, bool planning) {
    recorder.plans += planning;
    return recorder.inner->queue_plan(q, planning);
}

static sd_status upload(sdb_queue *q, void *dst, const void *src, size_t size) {
    ck_assert_msg(!recorder.open, "an upload within a region");
    return recorder.inner->upload(q, dst, src, size);
}

static sd_status download(sdb_queue *q, void *dst, const void *src, size_t size) {
    ck_assert_msg(!recorder.open, "a download within a region");
    return recorder.inner->download(q, dst, src, size);
}

static sdb_backend recording_backend(const sdb_backend *inner) {
    sdb_backend api = *inner;
    api.record_begin = record_begin;
    api.record_end = record_end;
    api.graph_replay = graph_replay;
    api.graph_free = graph_free;
    api.queue_plan = queue_plan;
    api.upload = upload;
    api.download = download;
    for (int i = 0; i < SDB_N_OPS; i++)
        api.run[i] = inner->run[i] ? run_op : NULL;
    return api;
}

/* `ctx` computes with regions from now on, which `api` has: it outlives the context. */
static void record_regions(sd_context *ctx, sdb_backend *api) {
    recorder.inner = ctx->device->api;
    *api = recording_backend(recorder.inner);
    ctx->device->api = api;
}

#endif
