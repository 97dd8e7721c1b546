/*
 * Public calls, and the handles that they use. The host may give a handle back at any time, also in
 * a callback or from another thread, so a call retains what it was given until it returns, and the
 * memory goes with the last of them.
 *
 * A call also has the failures of what it does. Where it tries something and goes on without it,
 * the sentence of that failure is nobody's: sd_last_error gets that of calls that failed.
 */
#ifndef SD_CORE_CALL_H
#define SD_CORE_CALL_H

#include "core/stop.h"

#define SD_CALL_HANDLES 16
#define SD_CALL_MORE 8 /* of them at most come from sdi_call_use */

/* On the stack of the thread that made the call. */
typedef struct sd_call {
    struct sd_call *outer; /* the call whose callback this one was made from; or NULL */
    const char *name;      /* "sd_sample" */
    const void *uses[SD_CALL_HANDLES];
    int n_uses;
    sd_interrupt interrupt;      /* its context is that of the first handle; or NULL */
    struct sd_host_files *files; /* what it reads: core/files.h */
    atomic_uintptr_t *owner;     /* what sdi_call_claim got; or NULL */
    char sentence[SD_SENTENCE];  /* of what failed last in it; "": nothing did */
} sd_call;

/* `handles` are structs that begin with an sd_handle, or NULL. */
void sdi_call_enter(sd_call *call, const char *name, const void *const *handles, size_t n);
/* Ends the call with `status`, which it returns; the host finds its sentence, "" with SD_OK. */
sd_status sdi_call_leave(sd_call *call, sd_status status);
/* The call that this thread is in, or NULL. */
sd_call *sdi_call_current(void);
/* One more handle that the current call uses, found in its parameters. */
void sdi_call_use(const void *handle);
/* One more token that ends the current call, found in its parameters; or NULL. */
void sdi_call_heed(const sd_stop *stop);

typedef enum sd_claim {
    SD_CLAIM_MINE,   /* until the current call returns */
    SD_CLAIM_NESTED, /* an outer call of this thread has it: this one comes from a callback */
    SD_CLAIM_TAKEN,  /* by another thread */
} sd_claim;

/* Claims a thing that one thread may use at a time: *owner is 0, or names the thread. */
sd_claim sdi_call_claim(atomic_uintptr_t *owner);
/* A number other than 0 that no other thread has. */
uintptr_t sdi_thread_identity(void);

#endif
