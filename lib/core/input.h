/*
 * Bytes that are read by offset: a file, or whatever else can give a range of its bytes. All that
 * reads a checkpoint goes through this one door, and none of it is ever mapped: a file that another
 * process shortens is then a failed read, where a mapping would end the process (SIGBUS).
 */
#ifndef SD_CORE_INPUT_H
#define SD_CORE_INPUT_H

#include "core/context.h"

typedef struct sd_input {
    uint64_t size;
    void *user;
    /* All n bytes from `offset`, which lie within the size. Any thread, several at once; a failure
     * records no sentence. */
    sd_status (*read)(void *user, uint64_t offset, void *dst, size_t n);
    /* SD_OK while the bytes are those that were there at the opening and no read has failed;
     * records a sentence that begins with `name`. NULL: they always are. */
    sd_status (*check)(void *user, const sd_context *ctx, const char *name);
    /* The range will be read soon. NULL: it does not matter. */
    void (*will_need)(void *user, uint64_t offset, uint64_t n);
    void (*close)(void *user, const sd_context *ctx); /* NULL: nothing to do */
    uint64_t stamp; /* of what was last written to it: another number then; 0: it is not known */
} sd_input;

/* A regular file, or the host's of that name (core/files.h). */
sd_status sdi_input_open(const sd_context *ctx, const char *path, sd_input *out);
/* A range that the size does not have is a failure too. `name` begins the sentence. */
sd_status sdi_input_read(const sd_context *ctx, const sd_input *in, const char *name,
                         uint64_t offset, void *dst, size_t n);
/* The first bytes, as many as there are up to n; how many is told by *got. */
sd_status sdi_input_peek(const sd_context *ctx, const sd_input *in, const char *name, void *dst,
                         size_t n, size_t *got);
sd_status sdi_input_check(const sd_context *ctx, const sd_input *in, const char *name);
/* The sentence of a `read` that gave `status`. */
sd_status sdi_input_fail(const sd_context *ctx, const sd_input *in, const char *name,
                         sd_status status);
void sdi_input_close(const sd_context *ctx, sd_input *in); /* fine when it is all zeros */

#endif
