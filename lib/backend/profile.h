/*
 * Where the time goes: each operation is put between two marks of its queue, and the seconds
 * between them are added up by kind when the profile ends (or the list is full), so that the
 * device is not held up meanwhile.
 */
#ifndef SD_BACKEND_PROFILE_H
#define SD_BACKEND_PROFILE_H

#include "backend/ops.h"
#include "core/context.h"
#include <sd/profile.h>

struct sd_profiler;

/* One for each device; NULL: no memory. */
struct sd_profiler *sdi_profiler_new(const sd_context *ctx);
void sdi_profiler_free(struct sd_device_slot *slot);

static inline bool sdi_profiling(const sd_context *ctx) {
    return atomic_load_explicit(&((sd_context *)ctx)->profiling, memory_order_relaxed);
}

/* A point in time of a queue, after all that was given to it. */
typedef struct sd_mark {
    sdb_mark *mark; /* of a backend that has such */
    double seconds; /* of the host's clock otherwise */
} sd_mark;

sd_status sdi_mark_now(struct sd_device_slot *slot, sdb_queue *q, sd_mark *out);
void sdi_mark_free(struct sd_device_slot *slot, sd_mark mark);

/* The operation lies between the two, which belong to the profiler from now on. */
sd_status sdi_profiler_add(struct sd_device_slot *slot, const sdb_op *op, sd_mark begin,
                           sd_mark end);

sd_status sdi_profiler_begin(sd_context *ctx);
sd_status sdi_profiler_end(sd_context *ctx);
/* false: no row of this number. */
bool sdi_profiler_row(sd_context *ctx, int index, sd_profile_row *row);

#endif
