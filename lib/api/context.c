/* The context: section 2 of sd.h. */
#include "api/check.h"
#include "backend/device.h"
#include "backend/profile.h"

static sd_status read_context(sd_context_params *p, const sd_context_params *given,
                              sd_context **out) {
    sd_status status = sd_read_params(NULL, "sd_context_params", p, sizeof *p, given);
    if (status)
        return status;
    SD_REQUIRE_PTR(NULL, out);
    SD_REQUIRE(NULL, p->log_level >= SD_LOG_LEVEL_ERROR && p->log_level <= SD_LOG_LEVEL_DEBUG,
               "sd_context_params.log_level is %d; SD_LOG_LEVEL_ERROR (0) to SD_LOG_LEVEL_DEBUG "
               "(3) was expected",
               (int)p->log_level);
    return SD_OK;
}

SD_PUBLIC(sd_context_new, (params, out), (NULL), const sd_context_params *params,
          sd_context **out) {
    sd_context_params p = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx = NULL;
    if (out)
        *out = NULL;
    sd_status status = read_context(&p, params, out);
    if (status) {
        sd_context_release_host(&p);
        return status;
    }
    status = sd_context_create(&p, &ctx);
    if (!status)
        status = sd_device_open(ctx, p.backend, p.module_dir);
    if (!status)
        *out = ctx;
    else if (ctx)
        sd_context_release(ctx);
    return status;
}

void sd_context_free(sd_context *ctx) {
    sd_handle_free(ctx);
}

const char *sd_context_device(const sd_context *ctx) {
    return ctx ? ctx->device->info.name : "";
}

void sd_context_cancel(sd_context *ctx) {
    if (ctx)
        atomic_fetch_add_explicit(&ctx->cancel_epoch, 1, memory_order_relaxed);
}

SD_PUBLIC(sd_profile_begin, (ctx), (ctx), sd_context *ctx) {
    SD_REQUIRE_PTR(NULL, ctx);
    return sd_profiler_begin(ctx);
}

SD_PUBLIC(sd_profile_end, (ctx), (ctx), sd_context *ctx) {
    SD_REQUIRE_PTR(NULL, ctx);
    return sd_profiler_end(ctx);
}

SD_PUBLIC(sd_profile_get, (ctx, index, row), (ctx), sd_context *ctx, int index,
          sd_profile_row *row) {
    SD_REQUIRE_PTR(NULL, ctx);
    SD_REQUIRE_PTR(ctx, row);
    sd_profile_row full = SD_PROFILE_ROW_INIT;
    SD_REQUIRE(ctx, index >= 0 && sd_profiler_row(ctx, index, &full),
               "sd_profile_get: the profile has no row %d", index);
    return sd_write_struct(ctx, "sd_profile_row", row, &full, sizeof full);
}

SD_PUBLIC(sd_context_device_memory, (ctx, memory), (ctx), sd_context *ctx,
          sd_device_memory_info *memory) {
    SD_REQUIRE_PTR(NULL, ctx);
    SD_REQUIRE_PTR(ctx, memory);
    const struct sd_device_slot *slot = ctx->device;
    sd_device_memory_info full = SD_DEVICE_MEMORY_INFO_INIT;
    full.total = slot->info.memory_total;
    if (slot->api->memory_used)
        slot->api->memory_used(slot->dev, &full.used, &full.peak);
    return sd_write_struct(ctx, "sd_device_memory_info", memory, &full, sizeof full);
}
