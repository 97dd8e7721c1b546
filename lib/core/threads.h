/* A pool of worker threads that runs one parallel region at a time. */
#ifndef SD_CORE_THREADS_H
#define SD_CORE_THREADS_H

#include "core/context.h"

typedef void (*sd_task_fn)(void *arg, int task, int worker);

/* n_threads counts the caller; 0 means one per core. */
sd_status sdi_threads_new(sd_context *ctx, int n_threads, struct sd_threads **out);
void sdi_threads_free(struct sd_threads *threads);
int sdi_threads_count(const struct sd_threads *threads);

/* Once `ended` says so, the tasks that are left are dropped: the caller's results are void then. */
typedef struct sd_watch {
    bool (*ended)(const void *user); /* NULL: nothing ends them */
    const void *user;
} sd_watch;

/* The watch of all regions that the calling thread opens from now on. */
void sdi_threads_watch(sd_watch watch);

/* Runs fn(arg, 0 .. n_tasks - 1, worker) and returns when all are done. Regions of several callers
 * take turns; a task must not open a region itself. */
void sdi_parallel_for(const sd_context *ctx, int n_tasks, sd_task_fn fn, void *arg);

#endif
