#include "backend/region.h"

#include "backend/profile.h"

bool sd_exec_can_record(const sd_exec *e) {
    return !e->measuring && e->api->record_begin && !sd_profiling(e->ctx);
}

void sd_exec_record(sd_exec *e, sd_region_fn fn, void *arg, sdb_graph **out) {
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

void sd_exec_replay(sd_exec *e, sdb_graph *graph) {
    if (!e->status)
        sd_exec_fail(e, e->api->graph_replay(e->queue, graph));
}
