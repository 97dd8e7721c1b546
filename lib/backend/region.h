/*
 * Recorded regions: on a backend that has them, operations whose inputs and outputs lie in device
 * memory at fixed places are noted once and replayed with one call.
 */
#ifndef SD_BACKEND_REGION_H
#define SD_BACKEND_REGION_H

#include "backend/exec.h"

/* Operations alone: no upload, no download. */
typedef void (*sd_region_fn)(sd_exec *e, void *arg);

/* Whether a region is to be recorded and replayed now, or to be run as it stands: the backend may
 * have no regions, and neither measuring nor a profile, which times each operation, can use one. */
bool sd_exec_can_record(const sd_exec *e);

/* Notes what `fn` does and computes nothing. *out is the caller's, to be freed with
 * api->graph_free before the executor goes, or NULL after a failure, which is in e->status. */
void sd_exec_record(sd_exec *e, sd_region_fn fn, void *arg, sdb_graph **out);
void sd_exec_replay(sd_exec *e, sdb_graph *graph);

#endif
