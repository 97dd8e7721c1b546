/* The checks that every exported function does first. */
#ifndef SD_API_CHECK_H
#define SD_API_CHECK_H

#include "core/call.h"

/*
 * Reads a size-first struct of the caller into `full`, which holds the defaults: as many bytes as
 * the caller's struct_size says, and no more than the library knows: the rest of a newer struct
 * must be 0, or is SD_ERROR_UNSUPPORTED once the known part is read. `given` NULL keeps the
 * defaults.
 */
sd_status sdi_read_params(const sd_context *ctx, const char *what, void *full, size_t full_size,
                          const void *given);

/* Non-zero is of a newer library: SD_ERROR_UNSUPPORTED. */
sd_status sdi_check_reserved(const sd_context *ctx, const char *what, int32_t reserved);

/* The caller's with defaults filled in and checked: the overlap is 0 .. tile - 1. The call uses its
 * noise, of `encoding` alone, and heeds its token. */
sd_status sdi_read_vae(const sd_context *ctx, const sd_vae_params *given, bool encoding,
                       sd_vae_params *full);

/* The caller's with defaults filled in and every range checked; sides that were not named are 0,
 * and full->original is `original`. */
sd_status sdi_read_sampling(const sd_model *model, const sd_sampler_params *given,
                            sd_sampler_params *full, sd_original_params *original);

/* The caller's, checked. The call heeds its token. */
sd_status sdi_read_text(const sd_model *model, const sd_text_params *given, sd_text_params *full);

/* Copies as much of `full` as fits the caller's size-first struct, keeping its struct_size. What
 * a newer struct has beyond is set to 0. */
sd_status sdi_write_struct(const sd_context *ctx, const char *what, void *given, const void *full,
                           size_t full_size);

/* Returns from the calling function with SD_ERROR_ARGUMENT and a sentence unless `condition`. */
#define SD_REQUIRE(ctx, condition, ...)                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return sdi_fail((ctx), SD_ERROR_ARGUMENT, __VA_ARGS__);                                \
    } while (0)

/* SD_REQUIRE of a pointer, which may not be NULL. */
#define SD_REQUIRE_PTR(ctx, pointer)                                                               \
    SD_REQUIRE(ctx, (pointer) != NULL, "%s: %s is NULL", sdi_call_current()->name, #pointer)

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
        sdi_call_enter(&call, #name, used, SD_COUNT(used));                                        \
        return sdi_call_leave(&call, name##_body arguments);                                       \
    }                                                                                              \
    static sd_status name##_body(__VA_ARGS__)
#define SD_LIST(...) __VA_ARGS__

#endif
