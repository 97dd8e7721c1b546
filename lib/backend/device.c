/* Opens a backend, and lends it the context's services. */
#include "backend/device.h"
#include "core/context_new.h"

#include "backend/profile.h"
#include "core/os.h"
#include "core/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const sdb_backend *const linked_in[] = {&sdb_cpu_backend, &sdb_reference_backend};

/* --- what the host lends to a backend: the context's services behind plain pointers --- */

static void *host_alloc(void *user, size_t size, size_t alignment) {
    const sd_context *ctx = user;
    if (size > SIZE_MAX - 2 * alignment - sizeof(void *))
        return NULL;
    /* sdi_alloc aligns to 64; for more, the block's own address is kept just below the data. */
    uint8_t *block = sdi_alloc(ctx, size + alignment + sizeof block);
    if (!block)
        return NULL;
    uintptr_t at = ((uintptr_t)block + sizeof block + alignment - 1) / alignment * alignment;
    memcpy((void *)(at - sizeof block), &block, sizeof block);
    return (void *)at;
}

static void host_free(void *user, void *ptr) {
    if (!ptr)
        return;
    uint8_t *block;
    memcpy(&block, (uint8_t *)ptr - sizeof block, sizeof block);
    sdi_free(user, block);
}

static sd_status host_error(void *user, sd_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sdi_vfail(user, status, format, args);
    va_end(args);
    return status;
}

static void host_log(void *user, sd_log_level level, const char *format, ...) {
    va_list args;
    va_start(args, format);
    sdi_vlog(user, level, format, args);
    va_end(args);
}

static void host_parallel_for(void *user, int n_tasks, void (*fn)(void *, int, int), void *arg) {
    sdi_parallel_for(user, n_tasks, fn, arg);
}

static unsigned host_forks(void *user) {
    (void)user;
    return sdi_fork_count();
}

static void *host_find_function(void *user, const char *library, const char *symbol, size_t room) {
    (void)user;
    bool has_room = sdi_has_addresses(room * (size_t)sdi_cpu_count());
    void *handle = has_room ? sdi_library_open(library) : NULL;
    return handle ? sdi_module_symbol(handle, symbol) : NULL;
}

/* --- finding the backend --- */

/* "cuda:1" into "cuda" and 1. */
static sd_status parse_name(const sd_context *ctx, const char *text, char *name, size_t size,
                            int *index) {
    size_t n = strcspn(text, ":");
    char *end = NULL;
    long number = text[n] ? strtol(text + n + 1, &end, 10) : 0;
    bool bad_index = text[n] && (!text[n + 1] || *end || number < 0 || number > 1023);
    if (n == 0 || n >= size || bad_index)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "backend '%s': \"auto\", \"cpu\", \"reference\", \"cuda\" or a name with a "
                        "device number, \"cuda:1\", was expected",
                        text);
    memcpy(name, text, n);
    name[n] = '\0';
    *index = (int)number;
    return SD_OK;
}

/* Opens libsd-NAME.so in `dir` (NULL: where the system looks) and checks its version. */
static sd_status open_module(sd_context *ctx, struct sd_device_slot *slot, const char *name,
                             const char *dir) {
    char *file = sdi_format(ctx, "libsd-%s.so", name);
    char *path = file && dir ? sdi_path_join(ctx, dir, file) : NULL;
    sd_status status = file && (path || !dir) ? SD_OK : SD_ERROR_MEMORY;
    if (!status)
        status = sdi_module_open(ctx, path ? path : file, &slot->module);
    if (!status) {
        sdb_module_entry_fn entry;
        void *symbol = sdi_module_symbol(slot->module, "sdb_module_entry");
        memcpy(&entry, &symbol, sizeof entry);
        slot->api = symbol ? entry() : NULL;
        if (!slot->api || slot->api->api_version != SDB_API_VERSION)
            status = sdi_fail(
                ctx, SD_ERROR_BACKEND, "%s: backend interface version %u was expected, found %u",
                path ? path : file, SDB_API_VERSION, slot->api ? slot->api->api_version : 0u);
    }
    if (status && slot->module) {
        sdi_module_close(slot->module);
        slot->module = NULL;
        slot->api = NULL;
    }
    sdi_free(ctx, path);
    sdi_free(ctx, file);
    return status;
}

/* A module that is there and cannot be opened is the one to complain about. */
static bool has_module(sd_context *ctx, const char *name, const char *dir) {
    char *file = sdi_format(ctx, "libsd-%s.so", name);
    char *path = file ? sdi_path_join(ctx, dir, file) : NULL;
    bool there = path && sdi_os_is_file(path);
    sdi_free(ctx, path);
    sdi_free(ctx, file);
    return there;
}

static sd_status find_backend(sd_context *ctx, struct sd_device_slot *slot, const char *name,
                              const char *module_dir) {
    for (size_t i = 0; i < SD_COUNT(linked_in); i++)
        if (!strcmp(linked_in[i]->name, name)) {
            slot->api = linked_in[i];
            return SD_OK;
        }
    if (strcspn(name, "/\\.") != strlen(name))
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "backend '%s': not a backend's name", name);
    if (module_dir)
        return open_module(ctx, slot, name, module_dir);
    char *beside = sdi_library_directory(ctx);
    sd_status status = beside ? open_module(ctx, slot, name, beside) : SD_ERROR_BACKEND;
    if (status == SD_ERROR_BACKEND && !(beside && has_module(ctx, name, beside)))
        status = open_module(ctx, slot, name, NULL);
    sdi_free(ctx, beside);
    return status;
}

static void close_slot(struct sd_device_slot *slot) {
    if (!slot)
        return;
    sdi_profiler_free(slot);
    if (slot->dev)
        slot->api->device_close(slot->dev);
    sdi_module_close(slot->module);
    sdi_free(slot->ctx, slot);
}

static sd_status open_named(sd_context *ctx, const char *text, const char *module_dir,
                            struct sd_device_slot **out) {
    char name[64];
    int index = 0;
    sd_status status = parse_name(ctx, text, name, sizeof name, &index);
    if (status)
        return status;
    struct sd_device_slot *slot = sdi_zalloc(ctx, sizeof *slot);
    if (!slot)
        return SD_ERROR_MEMORY;
    slot->ctx = ctx;
    slot->host = (sdb_host){ctx,
                            sdi_threads_count(ctx->threads),
                            host_alloc,
                            host_free,
                            host_error,
                            host_log,
                            host_parallel_for,
                            host_find_function,
                            host_forks};
    slot->profiler = sdi_profiler_new(ctx);
    status = slot->profiler ? find_backend(ctx, slot, name, module_dir) : SD_ERROR_MEMORY;
    if (!status)
        status = slot->api->device_open(&slot->host, index, &slot->dev);
    if (status) {
        close_slot(slot);
        return status;
    }
    slot->api->device_info(slot->dev, &slot->info);
    *out = slot;
    return SD_OK;
}

sd_status sdi_device_open(sd_context *ctx, const char *name, const char *module_dir) {
    struct sd_device_slot *slot = NULL;
    sd_status status;
    if (name && strcmp(name, "auto") != 0) {
        status = open_named(ctx, name, module_dir, &slot);
    } else {
        status = open_named(ctx, "cuda", module_dir, &slot);
        if (status && status != SD_ERROR_MEMORY) {
            sdi_log(ctx, SD_LOG_LEVEL_INFO, "computing on the CPU, since: %s", sdi_error_get());
            status = open_named(ctx, "cpu", module_dir, &slot);
        }
    }
    if (status)
        return status;
    sdi_context_on_close(ctx, slot, close_slot);
    sdi_log(ctx, SD_LOG_LEVEL_INFO, "device: %s", slot->info.name);
    return SD_OK;
}
