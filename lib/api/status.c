/* Versions, statuses, errors: base.h. */
#include "api/build_info.h"
#include "core/context.h"

#define TEXT(x) #x
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

uint32_t sd_library_version(void) {
    return SD_VERSION_MAJOR * 10000 + SD_VERSION_MINOR * 100 + SD_VERSION_PATCH;
}

const char *sd_library_version_string(void) {
    return VERSION(SD_VERSION_MAJOR, SD_VERSION_MINOR, SD_VERSION_PATCH);
}

const char *sd_build_info(void) {
    return SD_BUILD_INFO;
}

const char *sd_status_string(sd_status status) {
    return sdi_status_text(status);
}

const char *sd_last_error(void) {
    return sdi_error_last();
}
