/* Tokens that end calls, and whether one has. */
#include "core/stop.h"

static void destroy(void *handle) {
    sd_stop *stop = handle;
    sd_context *ctx = stop->ctx;
    sdi_free(ctx, stop);
    sdi_context_release(ctx);
}

sd_status sdi_stop_new(sd_context *ctx, sd_stop **out) {
    sd_stop *stop = *out = sdi_zalloc(ctx, sizeof *stop);
    if (!stop)
        return SD_ERROR_MEMORY;
    stop->ctx = ctx;
    atomic_init(&stop->set, false);
    sdi_handle_init(&stop->handle, ctx, destroy);
    sdi_context_retain(ctx);
    return SD_OK;
}

static unsigned current_epoch(const sd_context *ctx) {
    return atomic_load_explicit(&((sd_context *)ctx)->cancel_epoch, memory_order_relaxed);
}

sd_interrupt sdi_interrupt_begin(const sd_context *ctx) {
    return (sd_interrupt){.ctx = ctx, .epoch = ctx ? current_epoch(ctx) : 0};
}

static bool is_set(const sd_stop *stop) {
    return atomic_load_explicit(&((sd_stop *)stop)->set, memory_order_relaxed);
}

bool sdi_interrupted(const sd_interrupt *interrupt) {
    for (int i = 0; i < SD_CALL_STOPS && interrupt->stops[i]; i++)
        if (is_set(interrupt->stops[i]))
            return true;
    return current_epoch(interrupt->ctx) != interrupt->epoch;
}
