/*
 * Workers take tasks from a shared counter. A region is announced by a new generation number; a
 * worker spins a little for it before it sleeps, because the regions of one network follow each
 * other within microseconds.
 *
 * `state` holds the generation (upper half) and the tasks not yet taken (lower half) in one word,
 * so that a worker that is late for a region can never take a task of the next one with old
 * arguments: it reads fn and arg only after it took a task of the generation whose fields they are,
 * and these stay until all tasks of that generation are done.
 */
#include "core/threads.h"

#include "core/os.h"

#define SPINS 2000

struct sd_threads {
    sd_context *ctx; /* not retained: the context owns the pool */
    int n_workers;   /* without the caller */
    sd_thread *workers[SD_MAX_THREADS];
    sd_mutex *region; /* one region at a time */
    sd_mutex *lock;   /* for sleeping */
    sd_cond *wake;
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

void sd_threads_watch(sd_watch watch) {
    watched = watch;
}

static void run_task(sd_watch watch, sd_task_fn fn, void *arg, int task, int worker) {
    if (!watch.ended || !watch.ended(watch.user))
        fn(arg, task, worker);
}

typedef struct worker_start {
    struct sd_threads *threads;
    int index;
} worker_start;

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
        sd_cpu_relax();
    }
    sd_mutex_lock(t->lock);
    atomic_fetch_add(&t->sleepers, 1);
    while (generation_of(t) == old && !atomic_load(&t->quit))
        sd_cond_wait(t->wake, t->lock);
    atomic_fetch_sub(&t->sleepers, 1);
    sd_mutex_unlock(t->lock);
}

static void worker_main(void *arg) {
    worker_start *start = arg;
    struct sd_threads *t = start->threads;
    int index = start->index;
    sd_free(t->ctx, start);
    uint32_t seen = 0;
    for (;;) {
        wait_for_region(t, seen);
        if (atomic_load(&t->quit))
            return;
        seen = generation_of(t);
        work_on(t, seen, index);
    }
}

static void wake_workers(struct sd_threads *t) {
    if (atomic_load(&t->sleepers) == 0)
        return;
    sd_mutex_lock(t->lock);
    sd_cond_broadcast(t->wake);
    sd_mutex_unlock(t->lock);
}

void sd_parallel_for(const sd_context *ctx, int n_tasks, sd_task_fn fn, void *arg) {
    struct sd_threads *t = ctx->threads;
    if (n_tasks <= 0)
        return;
    if (t->n_workers == 0 || n_tasks == 1) {
        for (int i = 0; i < n_tasks; i++)
            run_task(watched, fn, arg, i, 0);
        return;
    }
    sd_mutex_lock(t->region);
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
        i < SPINS ? sd_cpu_relax() : sd_cpu_yield();
    sd_mutex_unlock(t->region);
}

static bool start_worker(struct sd_threads *t, int index) {
    worker_start *start = sd_alloc(t->ctx, sizeof *start);
    if (!start)
        return false;
    *start = (worker_start){t, index};
    t->workers[t->n_workers] = sd_thread_start(t->ctx, worker_main, start);
    if (!t->workers[t->n_workers]) {
        sd_free(t->ctx, start);
        return false;
    }
    t->n_workers++;
    return true;
}

sd_status sd_threads_new(sd_context *ctx, int n_threads, struct sd_threads **out) {
    *out = NULL;
    if (n_threads == 0)
        n_threads = sd_cpu_count();
    struct sd_threads *t = sd_zalloc(ctx, sizeof *t);
    if (!t)
        return SD_ERROR_MEMORY;
    t->ctx = ctx;
    t->region = sd_mutex_new(ctx);
    t->lock = sd_mutex_new(ctx);
    t->wake = sd_cond_new(ctx);
    bool ok = t->region && t->lock && t->wake;
    for (int i = 1; ok && i < n_threads && i < SD_MAX_THREADS; i++)
        ok = start_worker(t, i);
    if (!ok) {
        sd_threads_free(t);
        return sd_fail(ctx, SD_ERROR_MEMORY, "cannot start %d threads", n_threads);
    }
    *out = t;
    return SD_OK;
}

void sd_threads_free(struct sd_threads *t) {
    if (!t)
        return;
    atomic_store(&t->quit, true);
    if (t->n_workers) {
        sd_mutex_lock(t->lock);
        sd_cond_broadcast(t->wake);
        sd_mutex_unlock(t->lock);
    }
    for (int i = 0; i < t->n_workers; i++)
        sd_thread_join(t->ctx, t->workers[i]);
    sd_cond_free(t->ctx, t->wake);
    sd_mutex_free(t->ctx, t->lock);
    sd_mutex_free(t->ctx, t->region);
    sd_free(t->ctx, t);
}

int sd_threads_count(const struct sd_threads *t) {
    return t->n_workers + 1;
}
