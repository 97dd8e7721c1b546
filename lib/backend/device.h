/* Choosing and opening a backend: linked in, or a module found at run time. */
#ifndef SD_BACKEND_DEVICE_H
#define SD_BACKEND_DEVICE_H

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

/* `name` as in sd_context_params.backend. On success the context owns the slot. */
sd_status sdi_device_open(sd_context *ctx, const char *name, const char *module_dir);

#endif
