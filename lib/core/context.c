#include "core/alloc.h"
#include "core/call.h"
#include "core/json.h"
#include "core/os.h"
#include "core/threads.h"

static sd_status check_params(const sd_context_params *p) {
    if (!p->alloc != !p->free)
        return sd_fail(NULL, SD_ERROR_ARGUMENT,
                       "sd_context_params: alloc and free must both be set, or neither");
    if (p->n_threads < 0 || p->n_threads > SD_MAX_THREADS)
        return sd_fail(NULL, SD_ERROR_ARGUMENT,
                       "sd_context_params.n_threads is %d; 0 (one per core) to %d was expected",
                       p->n_threads, SD_MAX_THREADS);
    return SD_OK;
}

static void destroy(void *handle) {
    sd_context *ctx = handle;
    if (ctx->close_device)
        ctx->close_device(ctx->device);
    sd_threads_free(ctx->threads);
    sd_context last = *ctx;
    sd_free(&last, ctx);
}

sd_status sd_context_create(const sd_context_params *p, sd_context **out) {
    *out = NULL;
    sd_status status = check_params(p);
    if (status)
        return status;
    if (!sd_watch_forks(sd_json_settle))
        return sd_fail(NULL, SD_ERROR_MEMORY, "out of memory: no room for a fork handler");
    sd_context bare = {
        .alloc = p->alloc ? p->alloc : sd_heap_alloc,
        .free = p->free ? p->free : sd_heap_free,
        .alloc_user = p->alloc_user,
        .log = p->log,
        .log_user = p->log_user,
        .log_level = p->log_level,
    };
    sd_context *ctx = sd_alloc(&bare, sizeof *ctx);
    if (!ctx)
        return sd_fail(NULL, SD_ERROR_MEMORY, "out of memory: no room for a context");
    *ctx = bare;
    sd_handle_init(&ctx->handle, ctx, destroy);
    atomic_init(&ctx->cancel_epoch, 0);
    atomic_init(&ctx->profiling, false);
    status = sd_threads_new(ctx, p->n_threads, &ctx->threads);
    if (status) {
        sd_free(ctx, ctx);
        return status;
    }
    *out = ctx;
    return SD_OK;
}

void sd_context_retain(sd_context *ctx) {
    sd_handle_retain(ctx);
}

void sd_context_release(sd_context *ctx) {
    sd_handle_release(ctx);
}

void sd_context_on_close(sd_context *ctx, struct sd_device_slot *device,
                         void (*close_device)(struct sd_device_slot *)) {
    ctx->device = device;
    ctx->close_device = close_device;
}
