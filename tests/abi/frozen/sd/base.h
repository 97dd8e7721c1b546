/*
 * What every header of libsd needs: how functions are declared, versions, statuses, errors.
 */
#ifndef SD_BASE_H
#define SD_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Only functions are exported, so a program that uses libsd needs no word here on any system. */
#if !defined(SD_BUILDING_LIBRARY)
#define LIBSD_API
#elif defined(_WIN32)
#define LIBSD_API __declspec(dllexport)
#elif defined(__GNUC__)
#define LIBSD_API __attribute__((visibility("default")))
#else
#define LIBSD_API
#endif

/* How libsd calls the functions that it is given: yours have this word too, before their name,
 * where your compiler's own convention is another. */
#ifdef _WIN32
#define SD_CALL __cdecl
#else
#define SD_CALL
#endif

#define SD_VERSION_MAJOR 0
#define SD_VERSION_MINOR 1
#define SD_VERSION_PATCH 0

/* The version of the library that is running: major * 10000 + minor * 100 + patch. */
LIBSD_API uint32_t sd_library_version(void);

/* "0.1.0" */
LIBSD_API const char *sd_library_version_string(void);

/* One line per feature of this build ("openblas: opened at run time\n..."). A static string. */
LIBSD_API const char *sd_build_info(void);

/*
 * Enumerations are int32_t with named values: their size does not depend on a compiler's options,
 * and a value that a newer library gives is a number like any other. The numbers never change.
 */
typedef int32_t sd_status;
enum {
    SD_OK = 0,
    SD_ERROR_ARGUMENT = 1,    /* an argument is NULL, out of range, or does not fit another */
    SD_ERROR_MEMORY = 2,      /* the allocator, or the device, has no memory left */
    SD_ERROR_IO = 3,          /* a file cannot be opened, read or written */
    SD_ERROR_FORMAT = 4,      /* a file's content is damaged or not of the expected format */
    SD_ERROR_MODEL = 5,       /* a tensor is missing, misshaped, or (strict) unexpected or NaN; or
                                 what a network computes is not finite */
    SD_ERROR_UNSUPPORTED = 6, /* a well-formed file or request that this build cannot serve */
    SD_ERROR_BACKEND = 7,     /* the processor backend is absent or failed */
    SD_ERROR_STATE = 8,       /* the call does not fit the handle's state, e.g. step before begin */
    SD_ERROR_CANCELLED = 9,   /* the host ended the call, as a callback can; handles stay usable */
    SD_ERROR_INTERNAL = 10    /* a bug in libsd; please report the sentence */
};

/* A short name of a status: "out of memory". Never NULL, also for unknown numbers. */
LIBSD_API const char *sd_status_string(sd_status status);

/*
 * The sentence that explains how the calling thread's last call of libsd ended, of those that
 * return a status: it names the file, tensor or argument, what was expected and what was found.
 * Never NULL;
 * "" where that call returned SD_OK, and what it tried in vain on its way (a GPU, a vocabulary) is
 * for the log. Calls that return no status, such as those that free, leave the sentence as it is.
 * It is valid until this thread's next call that returns a status. Any thread may ask at any time.
 */
LIBSD_API const char *sd_last_error(void);

typedef int32_t sd_log_level;
enum {
    SD_LOG_LEVEL_ERROR = 0,
    SD_LOG_LEVEL_WARN = 1,
    SD_LOG_LEVEL_INFO = 2,
    SD_LOG_LEVEL_DEBUG = 3
};

#ifdef __cplusplus
}
#endif

#endif
