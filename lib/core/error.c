/*
 * The sentence of a thread's last public call, in thread-local memory: nothing to allocate, lock or
 * give back, and an error can be told when memory is out. A call that is being made has a place of
 * its own for it (call.h), and files it here when it returns.
 */
#include "core/context.h"

#include <string.h>

static _Thread_local char last[SD_SENTENCE];
static _Thread_local char *place; /* of the current call; NULL: `last` */

const char *sdi_status_text(sd_status status) {
    static const char *const names[] = {
        [SD_OK] = "success",
        [SD_ERROR_ARGUMENT] = "bad argument",
        [SD_ERROR_MEMORY] = "out of memory",
        [SD_ERROR_IO] = "file cannot be opened, read or written",
        [SD_ERROR_FORMAT] = "damaged or unknown file format",
        [SD_ERROR_MODEL] = "tensors do not fit the model",
        [SD_ERROR_UNSUPPORTED] = "not supported",
        [SD_ERROR_BACKEND] = "backend failed",
        [SD_ERROR_STATE] = "call does not fit the handle's state",
        [SD_ERROR_CANCELLED] = "cancelled",
        [SD_ERROR_INTERNAL] = "internal error",
    };
    size_t i = (size_t)status;
    return i < SD_COUNT(names) ? names[i] : "unknown status";
}

void sdi_error_place(char *sentence) {
    place = sentence;
}

void sdi_error_keep(const char *sentence) {
    sdi_print(last, sizeof last, "%s", sentence);
}

sd_status sdi_vfail(const sd_context *ctx, sd_status status, const char *format, va_list args) {
    char text[SD_SENTENCE]; /* apart, since an argument may be the old sentence */
    if (sdi_vprint(text, sizeof text, format, args) < 0)
        sdi_print(text, sizeof text, "%s", sdi_status_text(status));
    memcpy(place ? place : last, text, sizeof text);
    if (ctx)
        sdi_log(ctx, SD_LOG_LEVEL_DEBUG, "%s", text);
    return status;
}

sd_status sdi_fail(const sd_context *ctx, sd_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sdi_vfail(ctx, status, format, args);
    va_end(args);
    return status;
}

const char *sdi_error_last(void) {
    return last;
}

const char *sdi_error_get(void) {
    return place ? place : last;
}
