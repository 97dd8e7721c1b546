/* Section 1 of sd/sd.h, the context: processor, threads, memory, log; and ending a call early. */
#ifndef SD_CONTEXT_H
#define SD_CONTEXT_H

#include <sd/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Each is opaque, and has its _free. Only a sampler and a token change once they are made; an
 * image's pixels and a tensor's values are yours to write. */
typedef struct sd_context sd_context;
typedef struct sd_model sd_model;
typedef struct sd_cond sd_cond;
typedef struct sd_sampler sd_sampler;
typedef struct sd_tensor sd_tensor;
typedef struct sd_image sd_image;
typedef struct sd_stop sd_stop;

/* A number that the library is to choose: of strength and guidance_scale. */
#define SD_AUTO (-1e9)

/* Called from any thread that works for the context; `message` has no newline at its end. */
typedef void(SD_CALL *sd_log_fn)(void *user, sd_log_level level, const char *message);

/* Returns `size` bytes at a multiple of `alignment` (a power of two, at most 4096), or NULL. */
typedef void *(SD_CALL *sd_alloc_fn)(void *user, size_t size, size_t alignment);
typedef void(SD_CALL *sd_free_fn)(void *user, void *ptr, size_t size);

/* Told once that `user` will not be used any more: after sd_context_free, when the last memory of
 * the context is gone. Where sd_context_new fails, that is before it returns. */
typedef void(SD_CALL *sd_release_fn)(void *user);

typedef struct sd_context_params {
    size_t struct_size;
    const char *backend;  /* "auto" (default, NULL), "cpu", "reference", "cuda", "cuda:1" */
    sd_alloc_fn allocate; /* both or neither; NULL: the C library. Called from any thread */
    sd_free_fn deallocate;
    void *alloc_user;
    sd_release_fn alloc_release; /* NULL: alloc_user needs none */
    sd_log_fn log;               /* NULL: no log */
    void *log_user;
    sd_release_fn log_release;
    const char *module_dir; /* where backend modules are looked for first; NULL: beside libsd */
    int32_t n_threads;      /* CPU threads, the caller's included; 0: one per core; at most 256 */
    sd_log_level log_level; /* messages above this level are not made; default SD_LOG_LEVEL_WARN */
} sd_context_params;

#define SD_CONTEXT_PARAMS_INIT                                                                     \
    { .struct_size = sizeof(sd_context_params), .log_level = SD_LOG_LEVEL_WARN }
LIBSD_API void sd_context_params_init(sd_context_params *params, size_t struct_size);

/*
 * Opens the processor and starts the threads; where the system gives fewer than n_threads, those
 * compute and the log says so. `params` NULL means all defaults. The pictures do not depend on
 * n_threads: the same build and inputs give the same bits.
 *
 * Thread-safety of sd_context: any thread, at any time. Two threads that compute at once share
 * the context's worker threads.
 *
 * fork(): on the CPU the child goes on with the parent's handles, on worker threads that are
 * started when it first computes, and frees them as ever, whatever other threads were at. What a
 * call of another thread had in hand stays allocated there; of a sampler that was in a call only
 * the _free is left. Contexts on other backends give SD_ERROR_BACKEND in the child.
 */
LIBSD_API sd_status sd_context_new(const sd_context_params *params, sd_context **out);

/* Gives the context back; it goes once the last handle made from it is freed too and the calls that
 * use them have returned. The log and the allocator are called until then, and then released. */
LIBSD_API void sd_context_free(sd_context *ctx);

/* What computes: "cpu (avx512, 2 threads)". Valid as long as the context. */
LIBSD_API const char *sd_context_device(const sd_context *ctx);

/*
 * Ends every call that is computing with `ctx` now; each returns SD_ERROR_CANCELLED within one
 * operation, on the CPU within a part of one, and on a GPU after the step or stage that it was
 * given. Calls that begin later are not affected. Any thread, and also a signal handler.
 */
LIBSD_API void sd_context_cancel(sd_context *ctx);

/* ----------------------------------------------------------------- ending a call early */

/*
 * A token that ends the calls that were given it, in their parameters' `stop`: while it is set,
 * each returns SD_ERROR_CANCELLED within one operation, on the CPU within a part of one, and on a
 * GPU after the step or stage that it was given. It stays set until it is cleared: a call that
 * begins afterwards ends too, so that nothing is lost between the decision and the call. One token
 * may be given to any number of calls, at once or in turn; a call retains it until it returns.
 *
 * Thread-safety of sd_stop: sd_stop_set, _clear and _is_set may be called by any thread at any
 * time, and by a signal handler.
 */
LIBSD_API sd_status sd_stop_new(sd_context *ctx, sd_stop **out);
LIBSD_API void sd_stop_free(sd_stop *stop);
LIBSD_API void sd_stop_set(sd_stop *stop);
LIBSD_API void sd_stop_clear(sd_stop *stop);
LIBSD_API int32_t sd_stop_is_set(const sd_stop *stop);

#ifdef __cplusplus
}
#endif

#endif
