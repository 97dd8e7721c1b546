/* An allocator for tests that counts what is out and can fail the Nth request. */
#ifndef SD_TESTS_COUNTING_H
#define SD_TESTS_COUNTING_H

#include "core/context.h"

#include <stdlib.h>
#include <string.h>

typedef struct counting {
    long live, made; /* blocks that are out; requests since the last reset */
    long fail_at;    /* this request gets NULL; 0: none */
    bool and_after;  /* and all after it, too */
} counting;

static inline bool counting_refuses(counting *c) {
    c->made++;
    return c->fail_at && (c->and_after ? c->made >= c->fail_at : c->made == c->fail_at);
}

static inline void *counting_alloc(void *user, size_t size, size_t alignment) {
    counting *c = user;
    void *p = NULL;
    if (counting_refuses(c) || posix_memalign(&p, alignment, size ? size : 1) != 0)
        return NULL;
    memset(p, 0xa5, size < 4096 ? size : 4096); /* what nobody wrote shows */
    c->live++;
    return p;
}

static inline void counting_free(void *user, void *ptr, size_t size) {
    counting *c = user;
    (void)size;
    c->live--;
    free(ptr);
}

/* One thread only, so that the counts need no atomics. NULL on failure. */
static inline sd_context *counting_context(counting *c) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx = NULL;
    *c = (counting){0};
    params.n_threads = 1;
    params.allocate = counting_alloc;
    params.deallocate = counting_free;
    params.alloc_user = c;
    params.backend = "cpu";
    return sd_context_new(&params, &ctx) == SD_OK ? ctx : NULL;
}

#endif
