/* A backend module of an interface version before the first. */
#include "backend/backend.h"

const sdb_backend *sdb_module_entry(void);

const sdb_backend *sdb_module_entry(void) {
    static const sdb_backend backend = {.api_version = 0, .name = "old"};
    return &backend;
}
