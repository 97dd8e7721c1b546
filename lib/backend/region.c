#include "backend/region.h"

#include "backend/profile.h"

/* Whether a region is to be recorded and replayed now, or to be run as it stands: the backend may
 * have no regions, and neither measuring nor a profile, which times each operation, can use one. */
static bool can_record(const sd_exec *e) {
    return !e->measuring && e->api->record_begin && !sd_profiling(e->ctx);
}

/* Notes what `fn` does, operations alone, and computes nothing. */
static void record(sd_exec *e, sd_exec_fn fn, void *arg, sdb_graph **out) {
    *out = NULL;
    if (e->status)
        return;
    sd_status status = e->api->record_begin(e->queue);
    if (status) {
        sd_exec_fail(e, status);
        return;
    }
    fn(e, arg);
    if (e->status)
        e->api->record_end(e->queue, NULL);
    else
        sd_exec_fail(e, e->api->record_end(e->queue, out));
}

static void replay(sd_exec *e, sdb_graph *graph) {
    if (sd_exec_ready(e))
        sd_exec_fail(e, e->api->graph_replay(e->queue, graph));
}

static bool same_stage(const sd_stage_key *a, const sd_stage_key *b) {
    return a->type == b->type && a->n == b->n && a->h == b->h && a->w == b->w &&
           a->tokens == b->tokens && a->options == b->options;
}

static void forget(sd_exec *e, sd_known_stage *stage) {
    if (stage->graph)
        e->api->graph_free(e->queue, stage->graph);
    *stage = (sd_known_stage){0};
}

static void enter(sd_exec *e, sd_known_stage *stage) {
    e->stage = stage;
    stage->used = ++e->n_runs;
}

bool sd_exec_find_stage(sd_exec *e, const sd_stage_key *key) {
    e->stage = NULL;
    for (int i = 0; i < SD_MAX_STAGES && !e->stage; i++)
        if (same_stage(&e->stages[i].key, key))
            enter(e, &e->stages[i]);
    return e->stage != NULL;
}

void sd_exec_add_stage(sd_exec *e, const sd_stage_key *key) {
    sd_known_stage *oldest = e->stages;
    for (int i = 1; i < SD_MAX_STAGES; i++)
        if (e->stages[i].used < oldest->used)
            oldest = &e->stages[i];
    forget(e, oldest);
    oldest->key = *key;
    enter(e, oldest);
}

void sd_exec_forget_stages(sd_exec *e) {
    for (int i = 0; i < SD_MAX_STAGES; i++)
        forget(e, &e->stages[i]);
    e->stage = NULL;
}

void sd_exec_region(sd_exec *e, sd_exec_fn fn, void *arg) {
    sd_known_stage *stage = e->stage;
    bool regions = stage && can_record(e);
    if (regions && stage->graph) {
        replay(e, stage->graph);
        return;
    }
    fn(e, arg);
    if (regions && stage->ran) /* the device computes meanwhile */
        record(e, fn, arg, &stage->graph);
    if (stage && !e->status)
        stage->ran = true;
}
