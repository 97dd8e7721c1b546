/* Stages and the executors that compute them. */
#include "pipeline/stage.h"

#include "core/expect.h"
#include "core/os.h"

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

sd_status sd_execs_take(const sd_model *model, sd_exec **out) {
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

void sd_execs_give(const sd_model *model, sd_exec *e) {
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

/* ----------------------------------------------------------------------------------- a stage */

static void compute(sd_exec *e, void *stage) {
    sd_stage *s = stage;
    size_t top = sd_exec_mark(e);
    sd_exec_release(e, s->workspace);
    if (s->type->compute)
        s->type->compute(s);
    sd_exec_release(e, top);
}

void sd_stage_compute(sd_stage *s) {
    sd_exec_region(s->e, compute, s);
}

void sd_stage_compute_apart(sd_stage *s) {
    size_t top = sd_exec_mark(s->e);
    sd_exec_release(s->e, s->workspace);
    s->type->apart(s);
    sd_exec_release(s->e, top);
}

static void hold(sd_stage *s) {
    s->type->hold(s);
    s->workspace = sd_exec_mark(s->e);
}

static sd_stage_key key_of(const sd_stage *s) {
    return (sd_stage_key){s->type, s->n, s->h, s->w, s->tokens, s->options};
}

void sd_stage_measure(sd_stage *s) {
    sd_exec_measure(s->e);
    hold(s);
    sd_stage_compute(s);
    if (s->type->apart)
        sd_stage_compute_apart(s);
    s->above = s->e->peak;
    sd_exec_release(s->e, s->above);
}

sd_status sd_stage_commit(sd_stage *s) {
    sd_stage_key key = key_of(s);
    sd_exec_fail(s->e, sd_exec_commit(s->e));
    if (s->e->status)
        return s->e->status;
    if (!sd_exec_find_stage(s->e, &key))
        sd_exec_add_stage(s->e, &key);
    hold(s);
    sd_exec_release(s->e, s->above);
    return SD_OK;
}

sd_status sd_stage_begin(sd_stage *s) {
    sd_stage_key key = key_of(s);
    sd_status status = sd_execs_take(s->model, &s->e);
    if (status)
        return status;
    sd_exec_begin(s->e);
    if (sd_exec_find_stage(s->e, &key)) {
        hold(s);
        return SD_OK;
    }
    sd_stage_measure(s);
    status = sd_stage_commit(s);
    return status ? sd_stage_end(s) : SD_OK;
}

sd_tensor *sd_stage_tensor(sd_stage *s, int n_dims, const int64_t *dims) {
    sd_tensor *t = NULL;
    if (!s->e->status)
        sd_exec_fail(s->e, sd_tensor_create_raw(s->model->ctx, n_dims, dims, &t));
    return t;
}

sd_status sd_stage_end(sd_stage *s) {
    sd_status status = s->e->status;
    sd_execs_give(s->model, s->e);
    s->e = NULL;
    return status;
}

sd_status sd_stage_estimate(sd_stage *s, sd_cost *cost) {
    sd_status status = sd_exec_new(s->model->ctx, s->model->act, &s->e);
    if (status)
        return status;
    sd_stage_measure(s);
    cost->flops = s->e->flops;
    cost->bytes = sd_exec_abandon(s->e);
    status = s->e->status;
    sd_exec_free(s->e);
    return status;
}

/* ------------------------------------------------------------------------------ its numbers */

sd_status sd_fail_computed(const sd_model *model, const char *stage, const sd_tensor *t,
                           int64_t at) {
    char text[160];
    const char *advice =
        model->act == SDB_F32
            ? "the weights may be damaged, or what is given too large"
            : "the 16 bits of its numbers may not suffice; SD_PRECISION_FULL (--precision full) "
              "has 32";
    return sd_fail(model->ctx, SD_ERROR_MODEL, "%s: what %s computed is not finite (%s): %s",
                   model->desc->path, stage, sd_element_text(text, sizeof text, t, at), advice);
}

sd_status sd_check_computed(const sd_model *model, const char *stage, const sd_tensor *t) {
    int64_t at = sd_find_not_finite(t->data, t->n_elements);
    return at < 0 ? SD_OK : sd_fail_computed(model, stage, t, at);
}
