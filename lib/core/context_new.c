/* Makes the bare context, and takes it down after its last user. */
#include "core/context_new.h"

#include "core/alloc.h"
#include "core/call.h"
#include "core/json.h"
#include "core/os.h"
#include "core/threads.h"

static sd_status check_params(const sd_context_params *p) {
    if (!p->allocate != !p->deallocate)
        return sdi_fail(NULL, SD_ERROR_ARGUMENT,
                        "sd_context_params: allocate and deallocate must both be set, or neither");
    if (p->n_threads < 0 || p->n_threads > SD_MAX_THREADS)
        return sdi_fail(NULL, SD_ERROR_ARGUMENT,
                        "sd_context_params.n_threads is %d; 0 (one per core) to %d was expected",
                        p->n_threads, SD_MAX_THREADS);
    return SD_OK;
}

void sdi_context_release_host(const sd_context_params *host) {
    if (host->alloc_release)
        host->alloc_release(host->alloc_user);
    if (host->log_release)
        host->log_release(host->log_user);
}

/* Frees a context whose device is closed. */
static void free_bare(sd_context *ctx) {
    sd_context last = *ctx;
    sdi_free(&last, ctx);
    sdi_context_release_host(&last.host);
}

static void destroy(void *handle) {
    sd_context *ctx = handle;
    if (ctx->close_device)
        ctx->close_device(ctx->device);
    sdi_threads_free(ctx->threads);
    free_bare(ctx);
}

static sd_status create_bare(const sd_context_params *p, sd_context **out) {
    sd_context bare = {.host = *p};
    if (!p->allocate) {
        bare.host.allocate = sdi_heap_alloc;
        bare.host.deallocate = sdi_heap_free;
    }
    sd_status status = check_params(p);
    if (!status && !sdi_watch_forks(sdi_json_settle))
        status = sdi_fail(NULL, SD_ERROR_MEMORY, "out of memory: no room for a fork handler");
    if (!status && !(*out = sdi_alloc(&bare, sizeof **out)))
        status = sdi_fail(NULL, SD_ERROR_MEMORY, "out of memory: no room for a context");
    if (status)
        sdi_context_release_host(p);
    else
        **out = bare;
    return status;
}

sd_status sdi_context_new(const sd_context_params *p, sd_context **out) {
    *out = NULL;
    sd_context *ctx;
    sd_status status = create_bare(p, &ctx);
    if (status)
        return status;
    sdi_handle_init(&ctx->handle, ctx, destroy);
    atomic_init(&ctx->cancel_epoch, 0);
    atomic_init(&ctx->profiling, false);
    status = sdi_threads_new(ctx, p->n_threads, &ctx->threads);
    if (status)
        free_bare(ctx);
    else
        *out = ctx;
    return status;
}

void sdi_context_on_close(sd_context *ctx, struct sd_device_slot *device,
                          void (*close_device)(struct sd_device_slot *)) {
    ctx->device = device;
    ctx->close_device = close_device;
}
