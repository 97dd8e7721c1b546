/* Makes the bare context: everything but the device, which lib/backend opens. */
#ifndef SD_CORE_CONTEXT_NEW_H
#define SD_CORE_CONTEXT_NEW_H

#include "core/context.h"

/* The host's allocator and log are released with the context, and also where none is made. */
sd_status sdi_context_new(const sd_context_params *params, sd_context **out);
void sdi_context_release_host(const sd_context_params *host);
/* The last release runs `close_device` (may be NULL) and frees the context. */
void sdi_context_on_close(sd_context *ctx, struct sd_device_slot *device,
                          void (*close_device)(struct sd_device_slot *));

#endif
