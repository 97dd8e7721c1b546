#include "backend/region.h"
#include "core/os.h"
#include "pipeline/stage.h"

/* More than this many idle ones are freed: each keeps its arena. */
#define MAX_IDLE 2

/* Places, each NULL or an executor that nobody has. There is no lock that a thread could hold at a
 * fork. */
struct sd_exec_cache {
    sd_context *ctx; /* not retained: the model does */
    _Atomic(sd_exec *) idle[MAX_IDLE];
};

sd_status sd_execs_new(sd_context *ctx, struct sd_exec_cache **out) {
    *out = NULL;
    struct sd_exec_cache *cache = sd_zalloc(ctx, sizeof *cache);
    if (!cache)
        return SD_ERROR_MEMORY;
    cache->ctx = ctx;
    for (int i = 0; i < MAX_IDLE; i++)
        atomic_init(&cache->idle[i], NULL);
    *out = cache;
    return SD_OK;
}

void sd_execs_free(struct sd_exec_cache *cache) {
    if (!cache)
        return;
    for (int i = 0; i < MAX_IDLE; i++)
        sd_exec_free(atomic_load(&cache->idle[i]));
    sd_free(cache->ctx, cache);
}

sd_status sd_execs_take(sd_model *model, sd_exec **out) {
    struct sd_exec_cache *cache = model->execs;
    *out = NULL;
    for (int i = 0; i < MAX_IDLE && !*out; i++)
        *out = atomic_exchange(&cache->idle[i], NULL);
    sd_status status = *out ? SD_OK : sd_exec_new(model->ctx, model->act, out);
    if (!status)
        (*out)->fork = sd_fork_count();
    return status;
}

/* An executor that failed is not trusted again; cancelling is no failure. Nor is one that was taken
 * before a fork: another thread of the parent may have been at it. */
static bool is_sound(const sd_exec *e) {
    return (e->status == SD_OK || e->status == SD_ERROR_CANCELLED) && e->fork == sd_fork_count();
}

void sd_execs_give(sd_model *model, sd_exec *e) {
    struct sd_exec_cache *cache = model->execs;
    if (!e)
        return;
    e->stop = NULL;
    for (int i = MAX_IDLE; i-- > 0 && e && is_sound(e);) {
        sd_exec *none = NULL;
        if (atomic_compare_exchange_strong(&cache->idle[i], &none, e))
            e = NULL;
    }
    sd_exec_free(e);
}

sd_status sd_execs_run(sd_model *model, const sd_stage_key *key, void *job) {
    sd_exec *e;
    sd_status status = sd_execs_take(model, &e);
    if (status)
        return status;
    sd_exec_begin(e);
    if (!sd_exec_find_stage(e, key)) {
        sd_exec_measure(e);
        key->fn(e, job);
        sd_exec_fail(e, sd_exec_commit(e));
        if (!e->status)
            sd_exec_add_stage(e, key);
    }
    if (!e->status) {
        sd_exec_begin(e);
        key->fn(e, job);
    }
    status = e->status;
    sd_execs_give(model, e);
    return status;
}

sd_status sd_execs_estimate(sd_model *model, sd_exec_fn fn, void *job, sd_cost *cost) {
    sd_exec *e;
    sd_status status = sd_exec_new(model->ctx, model->act, &e);
    if (status)
        return status;
    sd_exec_measure(e);
    fn(e, job);
    cost->flops = e->flops;
    cost->bytes = sd_exec_abandon(e);
    status = e->status;
    sd_exec_free(e);
    return status;
}
