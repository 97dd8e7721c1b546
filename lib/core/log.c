/* Messages for the host's log, made where it wants them. */
#include "core/context.h"

void sdi_vlog(const sd_context *ctx, sd_log_level level, const char *format, va_list args) {
    if (!ctx->host.log || level > ctx->host.log_level)
        return;
    char text[1024];
    if (sdi_vprint(text, sizeof text, format, args) >= 0)
        ctx->host.log(ctx->host.log_user, level, text);
}

void sdi_log(const sd_context *ctx, sd_log_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sdi_vlog(ctx, level, format, args);
    va_end(args);
}
