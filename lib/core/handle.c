/* The begin of every public handle: who uses it, and when it goes. */
#include "core/context.h"

void sdi_handle_init(sd_handle *h, const sd_context *ctx, void (*destroy)(void *handle)) {
    atomic_init(&h->refs, 1);
    atomic_init(&h->freed, false);
    h->ctx = ctx;
    h->destroy = destroy;
}

void sdi_handle_retain(const void *handle) {
    sd_handle *h = (sd_handle *)handle;
    if (h)
        atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
}

void sdi_handle_release(const void *handle) {
    sd_handle *h = (sd_handle *)handle;
    if (h && atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1)
        h->destroy(h);
}
