/*
 * The programs of a network, by all that its code can see besides the network itself: which code,
 * and the shape. Thread-safe; programs are built outside of the lock.
 */
#ifndef SD_BACKEND_CACHE_H
#define SD_BACKEND_CACHE_H

#include "backend/program.h"
#include "core/os.h"

typedef struct sd_program_key {
    const void *builder;
    int n, h, w, tokens, options; /* as the builder needs them */
} sd_program_key;

#define SD_MAX_CACHED 8

typedef struct sd_cached_program {
    sd_program_key key;
    sd_program *program; /* NULL: none */
    uint64_t used;
} sd_cached_program;

typedef struct sd_programs {
    sd_context *ctx;
    sd_mutex *mutex;
    sd_cached_program cached[SD_MAX_CACHED];
    uint64_t n_uses;
} sd_programs;

sd_status sdi_programs_init(sd_programs *all,
                            sd_context *ctx); /* sdi_programs_free after a failure */
void sdi_programs_free(sd_programs *all);
/* Retained for the caller; NULL: there is none. */
sd_program *sdi_programs_find(sd_programs *all, const sd_program_key *key);
/* `p` is the caller's, and goes where another thread was first: what counts is returned, retained
 * for the caller. It replaces the one that was not asked for for the longest time. */
sd_program *sdi_programs_add(sd_programs *all, const sd_program_key *key, sd_program *p);

#endif
