/* Marks around operations, and the seconds between them. */
#include "backend/profile.h"

#include "backend/slot.h"
#include "core/os.h"

#include <string.h>

#define MAX_ENTRIES 4096 /* operations whose marks are kept; more are added up at once */

typedef struct profile_entry {
    sdb_op_kind kind;
    double flops, bytes;
    sd_mark begin, end;
} profile_entry;

typedef struct profile_sum {
    uint64_t calls;
    double seconds, flops, bytes;
} profile_sum;

struct sd_profiler {
    sd_mutex *mutex;
    profile_entry *entries; /* [MAX_ENTRIES] from the first profile on */
    int n_entries;
    profile_sum sums[SDB_N_OPS];
};

/* Times are not counted if their thread was lost at a fork while it added them, nor what waited. */
static void lock(struct sd_profiler *p) {
    if (sdi_mutex_lock(p->mutex))
        p->n_entries = 0;
}

struct sd_profiler *sdi_profiler_new(const sd_context *ctx) {
    struct sd_profiler *p = sdi_zalloc(ctx, sizeof *p);
    if (p)
        p->mutex = sdi_mutex_new(ctx);
    if (p && !p->mutex) {
        sdi_free(ctx, p);
        p = NULL;
    }
    return p;
}

void sdi_mark_free(struct sd_device_slot *slot, sd_mark mark) {
    if (mark.mark)
        slot->api->mark_free(slot->dev, mark.mark);
}

sd_status sdi_mark_now(struct sd_device_slot *slot, sdb_queue *q, sd_mark *out) {
    *out = (sd_mark){0};
    if (slot->api->mark_new)
        return slot->api->mark_new(q, &out->mark);
    sd_status status = slot->api->sync(q);
    out->seconds = sdi_clock_seconds();
    return status;
}

/* Under the mutex: the entries are added up, and their marks go. */
static sd_status resolve(struct sd_device_slot *slot) {
    struct sd_profiler *p = slot->profiler;
    sd_status status = SD_OK;
    for (int i = 0; i < p->n_entries; i++) {
        const profile_entry *e = &p->entries[i];
        double seconds = e->end.seconds - e->begin.seconds;
        if (e->end.mark && !status)
            status = slot->api->mark_seconds(slot->dev, e->begin.mark, e->end.mark, &seconds);
        sdi_mark_free(slot, e->begin);
        sdi_mark_free(slot, e->end);
        profile_sum *sum = &p->sums[e->kind];
        sum->calls++;
        sum->seconds += seconds;
        sum->flops += e->flops;
        sum->bytes += e->bytes;
    }
    p->n_entries = 0;
    return status;
}

void sdi_profiler_free(struct sd_device_slot *slot) {
    struct sd_profiler *p = slot->profiler;
    if (!p)
        return;
    lock(p);
    if (slot->dev)
        resolve(slot);
    sdi_mutex_unlock(p->mutex);
    sdi_mutex_free(slot->ctx, p->mutex);
    sdi_free(slot->ctx, p->entries);
    sdi_free(slot->ctx, p);
}

sd_status sdi_profiler_add(struct sd_device_slot *slot, const sdb_op *op, sd_mark begin,
                           sd_mark end) {
    struct sd_profiler *p = slot->profiler;
    lock(p);
    sd_status status = p->n_entries == MAX_ENTRIES ? resolve(slot) : SD_OK;
    p->entries[p->n_entries++] = (profile_entry){
        op->kind, sdi_op_flops(op), sdi_op_bytes(op, slot->api->weight_size), begin, end};
    sdi_mutex_unlock(p->mutex);
    return status;
}

sd_status sdi_profiler_begin(sd_context *ctx) {
    struct sd_device_slot *slot = ctx->device;
    struct sd_profiler *p = slot->profiler;
    lock(p);
    if (!p->entries)
        p->entries = sdi_alloc_array(ctx, MAX_ENTRIES, sizeof *p->entries);
    bool there = p->entries != NULL;
    sd_status status = there ? resolve(slot) : SD_ERROR_MEMORY;
    memset(p->sums, 0, sizeof p->sums);
    atomic_store(&ctx->profiling, there);
    sdi_mutex_unlock(p->mutex);
    return status;
}

sd_status sdi_profiler_end(sd_context *ctx) {
    struct sd_profiler *p = ctx->device->profiler;
    lock(p);
    atomic_store(&ctx->profiling, false);
    sd_status status = resolve(ctx->device);
    sdi_mutex_unlock(p->mutex);
    return status;
}

bool sdi_profiler_row(sd_context *ctx, int index, sd_profile_row *row) {
    struct sd_profiler *p = ctx->device->profiler;
    bool found = false;
    lock(p);
    for (int kind = 0; kind < SDB_N_OPS && !found; kind++) {
        const profile_sum *sum = &p->sums[kind];
        found = sum->calls > 0 && index-- == 0;
        if (found)
            *row = (sd_profile_row){sizeof *row, sdi_op_name((sdb_op_kind)kind),
                                    sum->calls,  sum->seconds,
                                    sum->flops,  sum->bytes};
    }
    sdi_mutex_unlock(p->mutex);
    return found;
}
