/*
 * Workers take tasks from a shared counter. A region is announced by a new generation number; a
 * worker spins a little for it before it sleeps, because the regions of one network follow each
 * other within microseconds.
 *
 * `state` holds the generation (upper half) and the tasks not yet taken (lower half) in one word,
 * so that a worker that is late for a region can never take a task of the next one with old
 * arguments: it reads fn and arg only after it took a task of the generation whose fields they are,
 * and these stay until all tasks of that generation are done.
 *
 * The child of a fork has none of the workers. The first region there starts them anew, with no
 * task left of the region that another thread of the parent may have been at.
 */
#include "core/threads.h"

#include "core/os.h"

#define SPINS 2000

typedef struct pool_worker {
    struct sd_threads *threads;
    int index; /* of tasks; the caller is 0 */
    sd_thread *thread;
} pool_worker;

struct sd_threads {
    sd_context *ctx; /* not retained: the context owns the pool */
    int n_threads;   /* with the caller; never changes */
    int n_workers;   /* that run: n_threads - 1, or fewer in a child of a fork */
    unsigned fork;   /* the fork count that they were started at */
    pool_worker workers[SD_MAX_THREADS - 1];
    sd_mutex *region; /* one region at a time, and the two above */
    sd_mutex *lock;   /* for sleeping */
    sd_condvar *wake;
    sd_task_fn fn;
    void *arg;
    int n_tasks;
    sd_watch watch;
    atomic_uint_fast64_t state;
    atomic_int unfinished; /* tasks of this region */
    atomic_int sleepers;
    atomic_bool quit;
};

static _Thread_local sd_watch watched;

void sdi_threads_watch(sd_watch watch) {
    watched = watch;
}

static void run_task(sd_watch watch, sd_task_fn fn, void *arg, int task, int worker) {
    if (!watch.ended || !watch.ended(watch.user))
        fn(arg, task, worker);
}

/* Takes one task of generation `generation`; returns its number or -1 when none is left. */
static int take_task(struct sd_threads *t, uint32_t generation) {
    uint_fast64_t seen = atomic_load_explicit(&t->state, memory_order_acquire);
    while ((uint32_t)(seen >> 32) == generation && (uint32_t)seen > 0) {
        if (atomic_compare_exchange_weak_explicit(&t->state, &seen, seen - 1, memory_order_acq_rel,
                                                  memory_order_acquire))
            return t->n_tasks - (int)(uint32_t)seen;
    }
    return -1;
}

static void work_on(struct sd_threads *t, uint32_t generation, int worker) {
    int task;
    while ((task = take_task(t, generation)) >= 0) {
        run_task(t->watch, t->fn, t->arg, task, worker);
        atomic_fetch_sub_explicit(&t->unfinished, 1, memory_order_release);
    }
}

static uint32_t generation_of(struct sd_threads *t) {
    return (uint32_t)(atomic_load(&t->state) >> 32);
}

/* Waits until the generation is not `old`, or the pool ends. */
static void wait_for_region(struct sd_threads *t, uint32_t old) {
    for (int i = 0; i < SPINS; i++) {
        if (generation_of(t) != old || atomic_load(&t->quit))
            return;
        sdi_cpu_relax();
    }
    sdi_mutex_lock(t->lock);
    atomic_fetch_add(&t->sleepers, 1);
    while (generation_of(t) == old && !atomic_load(&t->quit))
        sdi_condvar_wait(t->wake, t->lock);
    atomic_fetch_sub(&t->sleepers, 1);
    sdi_mutex_unlock(t->lock);
}

static void worker_main(void *arg) {
    pool_worker *self = arg;
    struct sd_threads *t = self->threads;
    uint32_t seen = 0;
    for (;;) {
        wait_for_region(t, seen);
        if (atomic_load(&t->quit))
            return;
        seen = generation_of(t);
        work_on(t, seen, self->index);
    }
}

static void wake_workers(struct sd_threads *t) {
    if (atomic_load(&t->sleepers) == 0)
        return;
    sdi_mutex_lock(t->lock);
    sdi_condvar_broadcast(t->wake);
    sdi_mutex_unlock(t->lock);
}

/* Fewer than are wanted where the system has no more: SD_OK then, too. */
static sd_status start_workers(struct sd_threads *t, int wanted) {
    sd_status status = SD_OK;
    t->fork = sdi_fork_count();
    while (!status && t->n_workers < wanted) {
        pool_worker *w = &t->workers[t->n_workers];
        *w = (pool_worker){t, t->n_workers + 1, NULL};
        status = sdi_thread_start(t->ctx, worker_main, w, &w->thread);
        t->n_workers += !status;
    }
    return status == SD_ERROR_STATE ? SD_OK : status;
}

/* Each is out of the list before it goes, should another thread fork meanwhile. */
static void join_workers(struct sd_threads *t) {
    while (t->n_workers > 0)
        sdi_thread_join(t->ctx, t->workers[--t->n_workers].thread);
}

/* Called with the region locked, in a child of a fork. Memory is no reason to stop either: the
 * caller alone can do it. */
static void restart_workers(struct sd_threads *t) {
    join_workers(t);
    atomic_store(&t->state, (uint_fast64_t)generation_of(t) << 32);
    atomic_store(&t->sleepers, 0);
    (void)start_workers(t, t->n_threads - 1);
}

void sdi_parallel_for(const sd_context *ctx, int n_tasks, sd_task_fn fn, void *arg) {
    struct sd_threads *t = ctx->threads;
    if (n_tasks <= 0)
        return;
    if (t->n_threads == 1 || n_tasks == 1) {
        for (int i = 0; i < n_tasks; i++)
            run_task(watched, fn, arg, i, 0);
        return;
    }
    sdi_mutex_lock(t->region);
    bool child = t->fork != sdi_fork_count();
    if (child)
        restart_workers(t);
    int missing = t->n_threads - 1 - t->n_workers;
    t->fn = fn;
    t->arg = arg;
    t->n_tasks = n_tasks;
    t->watch = watched;
    atomic_store_explicit(&t->unfinished, n_tasks, memory_order_relaxed);
    uint32_t generation = generation_of(t) + 1;
    atomic_store(&t->state, (uint_fast64_t)generation << 32 | (uint32_t)n_tasks);
    wake_workers(t);
    work_on(t, generation, 0);
    for (int i = 0; atomic_load_explicit(&t->unfinished, memory_order_acquire) > 0; i++)
        if (i < SPINS)
            sdi_cpu_relax();
        else
            sdi_cpu_yield();
    sdi_mutex_unlock(t->region);
    if (child && missing)
        sdi_log(ctx, SD_LOG_LEVEL_WARN,
                "after a fork %d of %d threads could not be started: the others compute", missing,
                t->n_threads);
}

sd_status sdi_threads_new(sd_context *ctx, int n_threads, struct sd_threads **out) {
    *out = NULL;
    if (n_threads == 0)
        n_threads = sdi_cpu_count();
    struct sd_threads *t = sdi_zalloc(ctx, sizeof *t);
    if (!t)
        return SD_ERROR_MEMORY;
    t->ctx = ctx;
    t->region = sdi_mutex_new(ctx);
    t->lock = sdi_mutex_new(ctx);
    t->wake = sdi_condvar_new(ctx);
    sd_status status = t->region && t->lock && t->wake ? SD_OK : SD_ERROR_MEMORY;
    if (!status)
        status = start_workers(t, n_threads - 1);
    if (status) {
        sdi_threads_free(t);
        return sdi_fail(ctx, status, "no memory for %d threads", n_threads);
    }
    t->n_threads = t->n_workers + 1;
    if (t->n_threads < n_threads)
        sdi_log(ctx, SD_LOG_LEVEL_WARN,
                "%d of %d threads compute: the system gives no more (its limit of processes, or of "
                "memory)",
                t->n_threads, n_threads);
    *out = t;
    return SD_OK;
}

void sdi_threads_free(struct sd_threads *t) {
    if (!t)
        return;
    atomic_store(&t->quit, true);
    if (t->n_workers) {
        sdi_mutex_lock(t->lock);
        sdi_condvar_broadcast(t->wake);
        sdi_mutex_unlock(t->lock);
    }
    join_workers(t);
    sdi_condvar_free(t->ctx, t->wake);
    sdi_mutex_free(t->ctx, t->lock);
    sdi_mutex_free(t->ctx, t->region);
    sdi_free(t->ctx, t);
}

int sdi_threads_count(const struct sd_threads *t) {
    return t->n_threads;
}
