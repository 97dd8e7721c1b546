/* A table of programs under a lock. */
#include "backend/cache.h"

sd_status sdi_programs_init(sd_programs *all, sd_context *ctx) {
    *all = (sd_programs){.ctx = ctx, .mutex = sdi_mutex_new(ctx)};
    return all->mutex ? SD_OK : SD_ERROR_MEMORY;
}

void sdi_programs_free(sd_programs *all) {
    for (int i = 0; i < SD_MAX_CACHED; i++)
        sdi_program_release(all->cached[i].program);
    if (all->mutex)
        sdi_mutex_free(all->ctx, all->mutex);
}

/* All programs are forgotten if a thread was lost at a fork while it changed them. */
static void lock(sd_programs *all) {
    if (sdi_mutex_lock(all->mutex))
        for (int i = 0; i < SD_MAX_CACHED; i++)
            all->cached[i] = (sd_cached_program){0};
}

static bool same(const sd_program_key *a, const sd_program_key *b) {
    return a->builder == b->builder && a->n == b->n && a->h == b->h && a->w == b->w &&
           a->tokens == b->tokens && a->options == b->options;
}

/* Called with the lock. */
static sd_program *find(sd_programs *all, const sd_program_key *key) {
    for (int i = 0; i < SD_MAX_CACHED; i++) {
        sd_cached_program *cached = &all->cached[i];
        if (!cached->program || !same(&cached->key, key))
            continue;
        cached->used = ++all->n_uses;
        sdi_program_retain(cached->program);
        return cached->program;
    }
    return NULL;
}

sd_program *sdi_programs_find(sd_programs *all, const sd_program_key *key) {
    lock(all);
    sd_program *p = find(all, key);
    sdi_mutex_unlock(all->mutex);
    return p;
}

sd_program *sdi_programs_add(sd_programs *all, const sd_program_key *key, sd_program *p) {
    lock(all);
    sd_program *first = find(all, key);
    sd_cached_program *oldest = all->cached;
    for (int i = 1; i < SD_MAX_CACHED; i++)
        if (all->cached[i].used < oldest->used)
            oldest = &all->cached[i];
    sd_program *goes = first ? p : oldest->program;
    if (!first) {
        sdi_program_retain(p);
        *oldest = (sd_cached_program){*key, p, ++all->n_uses};
    }
    sdi_mutex_unlock(all->mutex);
    sdi_program_release(goes);
    return first ? first : p;
}
