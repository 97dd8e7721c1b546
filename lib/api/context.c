/* The context: section 1 of sd.h. */
#include "api/check.h"
#include "backend/device.h"
#include "core/context_new.h"

static sd_status read_context(sd_context_params *p, const sd_context_params *given,
                              sd_context **out) {
    sd_status status = sdi_read_params(NULL, "sd_context_params", p, sizeof *p, given);
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
        sdi_context_release_host(&p);
        return status;
    }
    status = sdi_context_new(&p, &ctx);
    if (!status)
        status = sdi_device_open(ctx, p.backend, p.module_dir);
    if (!status)
        *out = ctx;
    else if (ctx)
        sdi_context_release(ctx);
    return status;
}

void sd_context_free(sd_context *ctx) {
    sdi_handle_free(ctx);
}

const char *sd_context_device(const sd_context *ctx) {
    return ctx ? ctx->device->info.name : "";
}

void sd_context_cancel(sd_context *ctx) {
    if (ctx)
        atomic_fetch_add_explicit(&ctx->cancel_epoch, 1, memory_order_relaxed);
}
