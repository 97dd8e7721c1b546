/* The context that every layer carries: memory, errors, log, threads, cancellation. */
#ifndef SD_CORE_CONTEXT_H
#define SD_CORE_CONTEXT_H

#include <sd/original.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>

struct sd_threads;
struct sd_device_slot; /* lib/backend: the opened processor */

/* The begin of every public handle. */
typedef struct sd_handle {
    atomic_int refs;   /* the host's, and one for each call and each handle that uses it */
    atomic_bool freed; /* the host gave it back, or never had it */
    const struct sd_context *ctx;
    void (*destroy)(void *handle);
} sd_handle;

struct sd_context {
    sd_handle handle;         /* models, tensors and images use it */
    sd_context_params host;   /* its allocator and its log */
    atomic_uint cancel_epoch; /* grows with each sd_context_cancel: core/stop.h */
    atomic_bool profiling;    /* lib/backend/profile.h */
    struct sd_threads *threads;
    struct sd_device_slot *device;
    void (*close_device)(struct sd_device_slot *device);
};

#define SD_MAX_THREADS 256

#ifdef __GNUC__
#define SD_PRINTF(text, args) __attribute__((format(printf, text, args)))
#else
#define SD_PRINTF(text, args)
#endif

#define SD_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- alloc.c: all heap use. Memory is aligned to 64 bytes; NULL when there is none (the error
 * sentence is recorded then, so that callers can return SD_ERROR_MEMORY as it is). --- */
void *sdi_alloc(const sd_context *ctx, size_t size);                 /* not initialised */
void *sdi_zalloc(const sd_context *ctx, size_t size);                /* zeros */
void *sdi_alloc_array(const sd_context *ctx, size_t n, size_t size); /* zeros; checks overflow */
void *sdi_realloc(const sd_context *ctx, void *ptr, size_t size); /* ptr stays valid on failure */
void sdi_free(const sd_context *ctx, void *ptr);
char *sdi_strdup(const sd_context *ctx, const char *s);
char *sdi_strndup(const sd_context *ctx, const char *s, size_t n);
char *sdi_format(const sd_context *ctx, const char *format, ...) SD_PRINTF(2, 3);
bool sdi_ends_with(const char *text, size_t size, const char *end); /* its first `size` bytes */

/* --- print.c: vsnprintf and snprintf, whose decimals have a point under every locale. --- */
int sdi_vprint(char *text, size_t size, const char *format, va_list args);
int sdi_print(char *text, size_t size, const char *format, ...) SD_PRINTF(3, 4);

/* --- error.c: one sentence a thread. --- */
#define SD_SENTENCE 1024
/* A few words, "out of memory". */
const char *sdi_status_text(sd_status status);
/* Records the sentence and returns `status`, so that `return sdi_fail(...)` reads well. */
sd_status sdi_fail(const sd_context *ctx, sd_status status, const char *format, ...)
    SD_PRINTF(3, 4);
sd_status sdi_vfail(const sd_context *ctx, sd_status status, const char *format, va_list args);
/* The sentence of what failed last, for the library itself: that of the call that is being made. */
const char *sdi_error_get(void);
/* For the host: that of the thread's last call; "" where it succeeded. */
const char *sdi_error_last(void);
/* For call.c: where this thread's sentences go from now on, SD_SENTENCE bytes; NULL: to the one
 * that sdi_error_last gives, which sdi_error_keep sets. */
void sdi_error_place(char *sentence);
void sdi_error_keep(const char *sentence);

/* --- log.c --- */
void sdi_log(const sd_context *ctx, sd_log_level level, const char *format, ...) SD_PRINTF(3, 4);
void sdi_vlog(const sd_context *ctx, sd_log_level level, const char *format, va_list args);

/* --- handle.c --- */
void sdi_handle_init(sd_handle *h, const sd_context *ctx, void (*destroy)(void *handle));
/* `handle` is a struct that begins with an sd_handle, or NULL. The last release destroys it. */
void sdi_handle_retain(const void *handle);
void sdi_handle_release(const void *handle);
/* call.c. The host gives its own back; a second time, while something uses it, does nothing. */
void sdi_handle_free(void *handle);

/* A context is retained as any handle is. */
static inline void sdi_context_retain(sd_context *ctx) {
    sdi_handle_retain(ctx);
}
static inline void sdi_context_release(sd_context *ctx) {
    sdi_handle_release(ctx);
}

#endif
