/* Ending a call early: section 5 of sd.h. */
#include "core/stop.h"

#include "api/check.h"

SD_PUBLIC(sd_stop_new, (ctx, out), (ctx), sd_context *ctx, sd_stop **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, ctx);
    return sdi_stop_new(ctx, out);
}

void sd_stop_free(sd_stop *stop) {
    sdi_handle_free(stop);
}

void sd_stop_set(sd_stop *stop) {
    if (stop)
        atomic_store_explicit(&stop->set, true, memory_order_relaxed);
}

void sd_stop_clear(sd_stop *stop) {
    if (stop)
        atomic_store_explicit(&stop->set, false, memory_order_relaxed);
}

int32_t sd_stop_is_set(const sd_stop *stop) {
    return stop && atomic_load_explicit(&((sd_stop *)stop)->set, memory_order_relaxed);
}
