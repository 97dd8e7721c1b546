/* A public call from its begin to its end, and what its thread is in. */
#include "core/call.h"

#include <stdio.h>

static _Thread_local struct {
    sd_call *call;
    uintptr_t identity; /* 0: not asked for yet */
} thread;

/* The call that this thread is in from now on, or NULL. */
static void enter(sd_call *call) {
    thread.call = call;
    sdi_error_place(call ? call->sentence : NULL);
}

static void release_uses(sd_call *call) {
    if (call->owner)
        atomic_store_explicit(call->owner, 0, memory_order_release);
    for (int i = 0; i < call->n_uses; i++)
        sdi_handle_release(call->uses[i]);
    enter(call->outer);
}

void sdi_handle_free(void *handle) {
    sd_handle *h = handle;
    sd_call call;
    if (!h || atomic_exchange(&h->freed, true))
        return;
    sdi_call_enter(&call, "_free", NULL, 0); /* what fails in here is nobody's either */
    sdi_handle_release(h);
    release_uses(&call); /* and the host may free before it asks for a sentence */
}

/* ------------------------------------------------------------------------------------ calls */

sd_call *sdi_call_current(void) {
    return thread.call;
}

/* A count and no address, which a thread of a child may have in its turn after one that the fork
 * lost. */
uintptr_t sdi_thread_identity(void) {
    static atomic_uintptr_t last;
    if (!thread.identity)
        thread.identity = atomic_fetch_add(&last, 1) + 1;
    return thread.identity;
}

void sdi_call_use(const void *handle) {
    sd_call *call = thread.call;
    if (!handle || !call || call->n_uses == SD_CALL_HANDLES)
        return;
    sdi_handle_retain(handle);
    call->uses[call->n_uses++] = handle;
}

void sdi_call_heed(const sd_stop *stop) {
    sd_call *call = thread.call;
    for (int i = 0; stop && call && i < SD_CALL_STOPS; i++)
        if (!call->interrupt.stops[i]) {
            sdi_call_use(stop);
            call->interrupt.stops[i] = stop;
            return;
        }
}

void sdi_call_enter(sd_call *call, const char *name, const void *const *handles, size_t n) {
    call->outer = thread.call;
    call->name = name;
    call->n_uses = 0;
    call->owner = NULL;
    call->files = NULL;
    call->sentence[0] = '\0';
    const sd_context *ctx = n > 0 && handles[0] ? ((const sd_handle *)handles[0])->ctx : NULL;
    call->interrupt = sdi_interrupt_begin(ctx);
    enter(call);
    for (size_t i = 0; i < n; i++)
        sdi_call_use(handles[i]);
}

sd_status sdi_call_leave(sd_call *call, sd_status status) {
    if (status && !call->sentence[0])
        snprintf(call->sentence, sizeof call->sentence, "%s: %s", call->name,
                 sdi_status_text(status));
    release_uses(call);
    sdi_error_keep(status ? call->sentence : "");
    return status;
}

sd_claim sdi_call_claim(atomic_uintptr_t *owner) {
    uintptr_t me = sdi_thread_identity(), found = 0;
    if (atomic_compare_exchange_strong_explicit(owner, &found, me, memory_order_acquire,
                                                memory_order_relaxed)) {
        thread.call->owner = owner;
        return SD_CLAIM_MINE;
    }
    return found == me ? SD_CLAIM_NESTED : SD_CLAIM_TAKEN;
}

sd_interrupt sdi_interrupt_now(const sd_context *ctx) {
    const sd_call *call = sdi_call_current();
    return call && call->interrupt.ctx == ctx ? call->interrupt : sdi_interrupt_begin(ctx);
}

sd_status sdi_check_interrupt(const sd_context *ctx) {
    sd_interrupt interrupt = sdi_interrupt_now(ctx);
    return sdi_interrupted(&interrupt) ? sdi_fail(ctx, SD_ERROR_CANCELLED, "the run was cancelled")
                                       : SD_OK;
}
