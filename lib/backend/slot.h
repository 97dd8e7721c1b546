/* The processor that a context has opened. */
#ifndef SD_BACKEND_SLOT_H
#define SD_BACKEND_SLOT_H

#include "backend/backend.h"
#include "core/context.h"

struct sd_device_slot {
    sd_context *ctx; /* not retained: the context owns the slot */
    const sdb_backend *api;
    sdb_device *dev;
    sdb_host host;
    void *module; /* NULL when linked in */
    sdb_device_info info;
    struct sd_profiler *profiler;
};

#endif
