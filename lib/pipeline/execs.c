/* Executors that wait for a stage. */
#include "pipeline/execs.h"

#include "backend/run.h"
#include "core/os.h"

#include <stdatomic.h>

/* More than this many idle ones are freed: each keeps its arena. */
#define MAX_IDLE 2

/* Places, each NULL or an executor that nobody has. There is no lock that a thread could hold at a
 * fork. */
struct sd_exec_cache {
    atomic_int refs;
    sd_context *ctx; /* not retained: the model does */
    sdb_type act;    /* of what its executors compute */
    _Atomic(sd_exec *) idle[MAX_IDLE];
};

sd_status sdi_execs_new(sd_context *ctx, sdb_type act, sd_exec_cache **out) {
    *out = NULL;
    sd_exec_cache *cache = sdi_zalloc(ctx, sizeof *cache);
    if (!cache)
        return SD_ERROR_MEMORY;
    atomic_init(&cache->refs, 1);
    cache->ctx = ctx;
    cache->act = act;
    for (int i = 0; i < MAX_IDLE; i++)
        atomic_init(&cache->idle[i], NULL);
    *out = cache;
    return SD_OK;
}

sd_exec_cache *sdi_execs_retain(sd_exec_cache *cache) {
    if (cache)
        atomic_fetch_add_explicit(&cache->refs, 1, memory_order_relaxed);
    return cache;
}

void sdi_execs_release(sd_exec_cache *cache) {
    if (!cache || atomic_fetch_sub_explicit(&cache->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (int i = 0; i < MAX_IDLE; i++)
        sdi_exec_free(atomic_load(&cache->idle[i]));
    sdi_free(cache->ctx, cache);
}

sd_status sdi_execs_take(sd_exec_cache *cache, sd_exec **out) {
    *out = NULL;
    for (int i = 0; i < MAX_IDLE && !*out; i++)
        *out = atomic_exchange(&cache->idle[i], NULL);
    sd_status status = *out ? SD_OK : sdi_exec_new(cache->ctx, cache->act, out);
    if (!status)
        (*out)->fork = sdi_fork_count();
    return status;
}

/* An executor that failed is not trusted again; cancelling is no failure. Nor is one that was taken
 * before a fork: another thread of the parent may have been at it. */
static bool is_sound(const sd_exec *e) {
    return (e->status == SD_OK || e->status == SD_ERROR_CANCELLED) && e->fork == sdi_fork_count();
}

void sdi_execs_give(sd_exec_cache *cache, sd_exec *e) {
    if (!e)
        return;
    e->stop = NULL;
    for (int i = MAX_IDLE; i-- > 0 && e && is_sound(e);) {
        sd_exec *none = NULL;
        if (atomic_compare_exchange_strong(&cache->idle[i], &none, e))
            e = NULL;
    }
    sdi_exec_free(e);
}
