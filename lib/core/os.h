/*
 * The operating system's services: files (and core/input.h's), modules, clocks, threads.
 * The implementation for POSIX is os_*.c; a port is other files beside them.
 */
#ifndef SD_CORE_OS_H
#define SD_CORE_OS_H

#include "core/context.h"

/* --- files --- */

/* Advice for a block of the heap: weights and activations are read from end to end, and the
 * processor finds them with fewer look-ups, and they come with fewer faults, in large pages. */
void sdi_prefer_large_pages(void *data, size_t size);

/* The file system's own, for core/files.h: what reads files that a host may have asks that. */
bool sdi_os_is_file(const char *path);
bool sdi_os_is_directory(const char *path);
sd_status sdi_os_list_names(const sd_context *ctx, const char *dir, char ***names, size_t *n);
sd_status sdi_os_read_file(const sd_context *ctx, const char *path, size_t max_size, uint8_t **data,
                           size_t *size);
struct sd_input;
sd_status sdi_os_input_open(const sd_context *ctx, const char *path, struct sd_input *out);
void sdi_free_names(const sd_context *ctx, char **names, size_t n);
/* dir + "/" + name, allocated. */
char *sdi_path_join(const sd_context *ctx, const char *dir, const char *name);
/* The directory part of a path ("." where there is none), allocated. */
char *sdi_path_dirname(const sd_context *ctx, const char *path);
/* os_write.c: a temporary file beside `path` takes the name once it is whole, so that no half file
 * is ever seen and none is left. What is no regular file, a pipe or a device, is written to. */
sd_status sdi_write_file(const sd_context *ctx, const char *path, const void *data, size_t size);
/* sdi_write_file where no file of that name is there, else SD_ERROR_STATE; of two that write at
 * once one has it. */
sd_status sdi_write_new_file(const sd_context *ctx, const char *path, const void *data,
                             size_t size);
/* "path: cannot WHAT: reason" of errno: SD_ERROR_IO, or SD_ERROR_MEMORY. */
sd_status sdi_fail_errno(const sd_context *ctx, const char *what, const char *path);

/* --- modules --- */
sd_status sdi_module_open(const sd_context *ctx, const char *path, void **module);
void *sdi_module_symbol(void *module, const char *name);
void sdi_module_close(void *module);
/* Whether the process may still take so many bytes of addresses (ulimit -v). */
bool sdi_has_addresses(size_t size);
/* A library of the system, for the rest of the process; NULL, without a sentence: there is none. */
void *sdi_library_open(const char *name);
/* The directory that libsd itself was loaded from, allocated; NULL where it cannot be told. */
char *sdi_library_directory(const sd_context *ctx);

/* --- locale --- */
/* Between the two the calling thread's locale is "C", whatever the host has set: what formats and
 * reads numbers (printf, strtod, jansson) takes a point for their decimals. They may nest. */
void *sdi_c_locale_begin(void);
void sdi_c_locale_end(void *before);

/* --- clock and processor --- */
double sdi_clock_seconds(void); /* monotonic */
int sdi_cpu_count(void);        /* cores that this process may use */

/* --- threads --- */
#define SD_THREAD_STACK ((size_t)256 << 10) /* kernels take less than 16 KB: docs/threading.md */

typedef struct sd_mutex sd_mutex;
typedef struct sd_condvar sd_condvar;
typedef struct sd_thread sd_thread;

/*
 * The child of a fork() has one thread, and a copy of all else. What is made here knows at which
 * count it was made: a mutex of another count is made anew when it is next locked, and a condition
 * when it is next used, since the threads that held them or waited are not there; a thread of
 * another count is not joined. The count grows in an atfork handler of the child, so it covers the
 * same forks that the C library's own malloc covers.
 */
/* Before the first of these calls; false: no memory. `before` runs in the parent ahead of a fork.
 */
bool sdi_watch_forks(void (*before)(void));
unsigned sdi_fork_count(void);

sd_mutex *sdi_mutex_new(const sd_context *ctx); /* NULL: no memory */
void sdi_mutex_free(const sd_context *ctx, sd_mutex *mutex);
/* True where the thread that had it was lost at a fork: what the mutex guards may be half made. */
bool sdi_mutex_lock(sd_mutex *mutex);
void sdi_mutex_unlock(sd_mutex *mutex);
/* To be waited for, and told of, with the mutex locked. */
sd_condvar *sdi_condvar_new(const sd_context *ctx);
void sdi_condvar_free(const sd_context *ctx, sd_condvar *cond);
void sdi_condvar_wait(sd_condvar *cond, sd_mutex *mutex);
void sdi_condvar_broadcast(sd_condvar *cond);
/* SD_ERROR_STATE, without a sentence: the system gives no more threads. Its stack is of
 * SD_THREAD_STACK bytes, or more where the process needs that. */
sd_status sdi_thread_start(const sd_context *ctx, void (*fn)(void *), void *arg, sd_thread **out);
void sdi_thread_join(const sd_context *ctx, sd_thread *thread);
void sdi_cpu_relax(void); /* inside a short spin loop */
void sdi_cpu_yield(void); /* inside a longer one: let another thread run */

#endif
