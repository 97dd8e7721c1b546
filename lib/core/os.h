/*
 * What the operating system does for libsd: files, mapping, modules, clocks, threads. The
 * implementation for POSIX is os_posix.c; a port is one more file beside it.
 */
#ifndef SD_CORE_OS_H
#define SD_CORE_OS_H

#include "core/context.h"

/* --- files --- */

typedef struct sd_mapping {
    const uint8_t *data; /* read-only; NULL for an empty file */
    size_t size;
    void *os; /* NULL: nothing is mapped */
    int file; /* kept open for sd_map_check */
} sd_mapping;

sd_status sd_map_file(const sd_context *ctx, const char *path, sd_mapping *out);
/* SD_ERROR_IO where another process has shortened the file: pages of the mapping are gone then, and
 * to touch one ends the process (SIGBUS). */
sd_status sd_map_check(const sd_context *ctx, const sd_mapping *mapping, const char *path);
void sd_unmap_file(sd_mapping *mapping);
/* The range will be read soon, front to back / is not needed for now (its pages may be dropped). */
void sd_map_will_need(const sd_mapping *mapping, const void *data, size_t size);
void sd_map_discard(const sd_mapping *mapping, const void *data, size_t size);

/* Advice for a block of the heap: weights and activations are read from end to end, and the
 * processor finds them with fewer look-ups, and they come with fewer faults, in large pages. */
void sd_prefer_large_pages(void *data, size_t size);

bool sd_is_file(const char *path);
bool sd_is_directory(const char *path);
/* The names in a folder, sorted by their bytes, without "." and ".."; none where it is no folder.
 * Also after a failure sd_free_names. */
sd_status sd_list_names(const sd_context *ctx, const char *dir, char ***names, size_t *n);
void sd_free_names(const sd_context *ctx, char **names, size_t n);
/* dir + "/" + name, allocated. */
char *sd_path_join(const sd_context *ctx, const char *dir, const char *name);
/* The directory part of a path ("." where there is none), allocated. */
char *sd_path_dirname(const sd_context *ctx, const char *path);
/* Whole file, with a 0 byte after its end that *size does not count. More than max_size bytes is
 * SD_ERROR_FORMAT. Free with sd_free. */
sd_status sd_read_file(const sd_context *ctx, const char *path, size_t max_size, uint8_t **data,
                       size_t *size);
/* Writes a temporary file beside `path` and renames it, so that no half file is ever seen. */
sd_status sd_write_file(const sd_context *ctx, const char *path, const void *data, size_t size);

/* --- modules --- */
sd_status sd_module_open(const sd_context *ctx, const char *path, void **module);
void *sd_module_symbol(void *module, const char *name);
void sd_module_close(void *module);
/* The directory that libsd itself was loaded from, allocated; NULL where it cannot be told. */
char *sd_library_directory(const sd_context *ctx);

/* --- clock and processor --- */
double sd_clock_seconds(void); /* monotonic */
int sd_cpu_count(void);        /* cores that this process may use */

/* --- threads --- */
typedef struct sd_mutex sd_mutex;
typedef struct sd_cond sd_cond;
typedef struct sd_thread sd_thread;

sd_mutex *sd_mutex_new(const sd_context *ctx); /* NULL: no memory */
void sd_mutex_free(const sd_context *ctx, sd_mutex *mutex);
void sd_mutex_lock(sd_mutex *mutex);
void sd_mutex_unlock(sd_mutex *mutex);
sd_cond *sd_cond_new(const sd_context *ctx);
void sd_cond_free(const sd_context *ctx, sd_cond *cond);
void sd_cond_wait(sd_cond *cond, sd_mutex *mutex);
void sd_cond_broadcast(sd_cond *cond);
sd_thread *sd_thread_start(const sd_context *ctx, void (*fn)(void *), void *arg); /* NULL: failed */
void sd_thread_join(const sd_context *ctx, sd_thread *thread);
void sd_cpu_relax(void); /* inside a short spin loop */
void sd_cpu_yield(void); /* inside a longer one: let another thread run */

#endif
