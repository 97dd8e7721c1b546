/* Choosing and opening a backend: linked in, or a module found at run time. */
#ifndef SD_BACKEND_DEVICE_H
#define SD_BACKEND_DEVICE_H

#include "backend/slot.h"

/* `name` as in sd_context_params.backend. On success the context owns the slot. */
sd_status sdi_device_open(sd_context *ctx, const char *name, const char *module_dir);

#endif
