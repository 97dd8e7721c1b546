/* What every exported function does first. */
#ifndef SD_API_CHECK_H
#define SD_API_CHECK_H

#include "core/call.h"

/*
 * Reads a size-first struct of the caller into `full`, which holds the defaults: as many bytes as
 * the caller's struct_size says, and no more than the library knows. `given` NULL keeps the
 * defaults.
 */
sd_status sd_read_params(const sd_context *ctx, const char *what, void *full, size_t full_size,
                         const void *given);

/* The caller's tiles with defaults filled in and checked. */
sd_status sd_read_tiles(const sd_context *ctx, const sd_tile_params *given, sd_tile_params *full);

/* Copies as much of `full` as fits the caller's size-first struct, keeping its struct_size. */
sd_status sd_write_struct(const sd_context *ctx, const char *what, void *given, const void *full,
                          size_t full_size);

/* Any text encoder has its own range of sd_text_params.clip_skip. */
sd_status sd_check_clip_skip(const sd_model *model, const char *what, int clip_skip);

/* Returns from the calling function with SD_ERROR_ARGUMENT and a sentence unless `condition`. */
#define SD_REQUIRE(ctx, condition, ...)                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return sd_fail((ctx), SD_ERROR_ARGUMENT, __VA_ARGS__);                                 \
    } while (0)

/* The same for a pointer that may not be NULL. */
#define SD_REQUIRE_PTR(ctx, pointer)                                                               \
    SD_REQUIRE(ctx, (pointer) != NULL, "%s: %s is NULL", sd_call_current()->name, #pointer)

/*
 * Begins the definition of a public call that returns a status: its name, its arguments, those of
 * them that are handles, which it retains until it returns, and the parameters as they are
 * declared. The body follows, and returns as it likes.
 */
#define SD_PUBLIC(name, arguments, handles, ...)                                                   \
    static sd_status name##_body(__VA_ARGS__);                                                     \
    sd_status name(__VA_ARGS__) {                                                                  \
        const void *const used[] = {SD_LIST handles};                                              \
        _Static_assert(SD_COUNT(used) + SD_CALL_MORE <= SD_CALL_HANDLES, "room for handles");      \
        sd_call call;                                                                              \
        sd_call_enter(&call, #name, used, SD_COUNT(used));                                         \
        return sd_call_leave(&call, name##_body arguments);                                        \
    }                                                                                              \
    static sd_status name##_body(__VA_ARGS__)
#define SD_LIST(...) __VA_ARGS__

#endif
