#include "backend/region.h"
#include "core/os.h"
#include "pipeline/stage.h"

/* More than this many idle ones are freed: each keeps its arena. */
#define MAX_IDLE 2

struct sd_exec_cache {
    sd_context *ctx; /* not retained: the model does */
    sd_mutex *mutex;
    sd_exec *idle[MAX_IDLE];
    int n_idle;
};

sd_status sd_execs_new(sd_context *ctx, struct sd_exec_cache **out) {
    *out = NULL;
    struct sd_exec_cache *cache = sd_zalloc(ctx, sizeof *cache);
    if (!cache)
        return SD_ERROR_MEMORY;
    cache->ctx = ctx;
    cache->mutex = sd_mutex_new(ctx);
    if (!cache->mutex) {
        sd_free(ctx, cache);
        return SD_ERROR_MEMORY;
    }
    *out = cache;
    return SD_OK;
}

void sd_execs_free(struct sd_exec_cache *cache) {
    if (!cache)
        return;
    for (int i = 0; i < cache->n_idle; i++)
        sd_exec_free(cache->idle[i]);
    sd_mutex_free(cache->ctx, cache->mutex);
    sd_free(cache->ctx, cache);
}

sd_status sd_execs_take(sd_model *model, sd_exec **out) {
    struct sd_exec_cache *cache = model->execs;
    *out = NULL;
    sd_mutex_lock(cache->mutex);
    if (cache->n_idle > 0)
        *out = cache->idle[--cache->n_idle];
    sd_mutex_unlock(cache->mutex);
    return *out ? SD_OK : sd_exec_new(model->ctx, model->act, out);
}

void sd_execs_give(sd_model *model, sd_exec *e) {
    struct sd_exec_cache *cache = model->execs;
    if (!e)
        return;
    e->stop = NULL;
    /* An executor that failed is not trusted again; cancelling is no failure. */
    if (e->status == SD_OK || e->status == SD_ERROR_CANCELLED) {
        sd_mutex_lock(cache->mutex);
        if (cache->n_idle < MAX_IDLE) {
            cache->idle[cache->n_idle++] = e;
            e = NULL;
        }
        sd_mutex_unlock(cache->mutex);
    }
    sd_exec_free(e);
}

sd_status sd_check_cancel(const sd_context *ctx, unsigned epoch) {
    return sd_cancelled(ctx, epoch) ? sd_fail(ctx, SD_ERROR_CANCELLED, "the run was cancelled")
                                    : SD_OK;
}

sd_status sd_execs_run(sd_model *model, const sd_stage_key *key, void *job) {
    sd_exec *e;
    sd_status status = sd_execs_take(model, &e);
    if (status)
        return status;
    /* A cancellation ends the call wherever it comes, also between measuring and running. */
    unsigned epoch = sd_cancel_epoch(model->ctx);
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
        e->epoch = epoch;
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
