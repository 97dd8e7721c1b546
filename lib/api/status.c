/* Versions, statuses, errors: section 1 of sd.h. */
#include "api/build_info.h"
#include "core/context.h"

#define TEXT(x) #x
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

uint32_t sd_version(void) {
    return SD_VERSION_MAJOR * 10000 + SD_VERSION_MINOR * 100 + SD_VERSION_PATCH;
}

const char *sd_version_string(void) {
    return VERSION(SD_VERSION_MAJOR, SD_VERSION_MINOR, SD_VERSION_PATCH);
}

const char *sd_build_info(void) {
    return SD_BUILD_INFO;
}

const char *sd_status_string(sd_status status) {
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

const char *sd_last_error(const sd_context *ctx) {
    return sd_error_last(ctx ? ctx->id : 0);
}
