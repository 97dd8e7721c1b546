/* The file system's files or the host's, as the current call has it. */
#include "core/files.h"

#include "core/call.h"
#include "core/input.h"
#include "core/os.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------- the host's */

sd_status sdi_host_files_new(const sd_context *ctx, const sd_io *io, sd_host_files **out) {
    sd_host_files *files = *out = sdi_alloc(ctx, sizeof *files);
    if (!files) {
        if (io->release)
            io->release(io->user);
        return SD_ERROR_MEMORY;
    }
    atomic_init(&files->refs, 1);
    files->ctx = ctx;
    files->io = *io;
    return SD_OK;
}

sd_host_files *sdi_host_files_retain(sd_host_files *files) {
    if (files)
        atomic_fetch_add_explicit(&files->refs, 1, memory_order_relaxed);
    return files;
}

void sdi_host_files_release(sd_host_files *files) {
    if (!files || atomic_fetch_sub_explicit(&files->refs, 1, memory_order_acq_rel) > 1)
        return;
    if (files->io.release)
        files->io.release(files->io.user);
    sdi_free(files->ctx, files);
}

sd_host_files *sdi_host_files_now(void) {
    const sd_call *call = sdi_call_current();
    return call ? call->files : NULL;
}

sd_host_files *sdi_host_files_enter(sd_host_files *files) {
    sd_call *call = sdi_call_current();
    sd_host_files *before = sdi_host_files_now();
    if (call)
        call->files = files;
    return before;
}

/* Paths are joined with the folder of one that had none, which is ".". */
static const char *plain(const char *path) {
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    return strcmp(path, ".") == 0 ? "" : path;
}

/* -1: there is no such file. */
static int64_t size_of(const sd_host_files *files, const char *path) {
    return files->io.size(files->io.user, plain(path));
}

static bool holds(const char *folder, size_t n, const char *name) {
    return n == 0 || (strncmp(name, folder, n) == 0 && name[n] == '/');
}

/* Length of a folder's name without slashes behind it. */
static size_t folder_length(const char *folder) {
    size_t n = strlen(folder);
    while (n > 0 && folder[n - 1] == '/')
        n--;
    return n;
}

/* The next name in a folder from index *i on; NULL: there is no more. */
static const char *next_name(const sd_host_files *files, const char *folder, int32_t *i) {
    size_t n = folder_length(folder);
    const char *name;
    while (files->io.name && (name = files->io.name(files->io.user, (*i)++)))
        if (holds(folder, n, name))
            return name + n + (n > 0);
    return NULL;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The first part of each name below the folder; a folder within it is there as often as it has
 * files. */
static sd_status list_host(const sd_context *ctx, const sd_host_files *files, const char *folder,
                           char ***names, size_t *n) {
    const char *name;
    size_t room = 0;
    for (int32_t i = 0; next_name(files, folder, &i);)
        room++;
    *names = sdi_alloc_array(ctx, room ? room : 1, sizeof **names);
    if (!*names)
        return SD_ERROR_MEMORY;
    for (int32_t i = 0; *n < room && (name = next_name(files, folder, &i)); ++*n) {
        (*names)[*n] = sdi_strndup(ctx, name, strcspn(name, "/"));
        if (!(*names)[*n])
            return SD_ERROR_MEMORY;
    }
    if (*n > 1)
        qsort(*names, *n, sizeof **names, by_bytes);
    return SD_OK;
}

/* ------------------------------------------------------------------------- an input */

typedef struct host_input {
    sd_host_files *files;
    atomic_bool failed;
    char name[];
} host_input;

static sd_status read_host(void *user, uint64_t offset, void *dst, size_t n) {
    host_input *in = user;
    const sd_io *io = &in->files->io;
    if (io->read(io->user, in->name, offset, dst, n) == 0)
        return SD_OK;
    atomic_store_explicit(&in->failed, true, memory_order_relaxed);
    return SD_ERROR_IO;
}

static sd_status check_host(void *user, const sd_context *ctx, const char *name) {
    const host_input *in = user;
    return atomic_load_explicit(&in->failed, memory_order_relaxed)
               ? sdi_fail(ctx, SD_ERROR_IO, "%s: the host's sd_io could not read it", name)
               : SD_OK;
}

static void close_host(void *user, const sd_context *ctx) {
    host_input *in = user;
    sdi_host_files_release(in->files);
    sdi_free(ctx, in);
}

static sd_status open_host(const sd_context *ctx, sd_host_files *files, const char *path,
                           sd_input *out) {
    const char *name = plain(path);
    int64_t size = size_of(files, path);
    if (size < 0)
        return sdi_fail(ctx, SD_ERROR_IO, "%s: the host's sd_io has no such file", path);
    host_input *in = sdi_alloc(ctx, sizeof *in + strlen(name) + 1);
    if (!in)
        return SD_ERROR_MEMORY;
    in->files = sdi_host_files_retain(files);
    atomic_init(&in->failed, false);
    strcpy(in->name, name);
    *out = (sd_input){.size = (uint64_t)size,
                      .user = in,
                      .read = read_host,
                      .check = check_host,
                      .close = close_host};
    return SD_OK;
}

static sd_status read_whole(const sd_context *ctx, const sd_input *in, const char *path,
                            size_t max_size, uint8_t **data, size_t *size) {
    if (in->size > max_size)
        return sdi_fail(ctx, SD_ERROR_FORMAT, "%s: %llu bytes; at most %zu were expected", path,
                        (unsigned long long)in->size, max_size);
    uint8_t *bytes = sdi_alloc(ctx, (size_t)in->size + 1);
    if (!bytes)
        return SD_ERROR_MEMORY;
    sd_status status = sdi_input_read(ctx, in, path, 0, bytes, (size_t)in->size);
    if (status) {
        sdi_free(ctx, bytes);
        return status;
    }
    bytes[in->size] = 0;
    *data = bytes;
    *size = (size_t)in->size;
    return SD_OK;
}

/* ------------------------------------------------------------------------- either */

sd_status sdi_input_open(const sd_context *ctx, const char *path, sd_input *out) {
    sd_host_files *files = sdi_host_files_now();
    *out = (sd_input){0};
    return files ? open_host(ctx, files, path, out) : sdi_os_input_open(ctx, path, out);
}

bool sdi_is_file(const char *path) {
    const sd_host_files *files = sdi_host_files_now();
    return files ? size_of(files, path) >= 0 : sdi_os_is_file(path);
}

bool sdi_is_directory(const char *path) {
    const sd_host_files *files = sdi_host_files_now();
    int32_t i = 0;
    return files ? next_name(files, plain(path), &i) != NULL : sdi_os_is_directory(path);
}

sd_status sdi_list_names(const sd_context *ctx, const char *dir, char ***names, size_t *n) {
    const sd_host_files *files = sdi_host_files_now();
    *names = NULL;
    *n = 0;
    return files ? list_host(ctx, files, plain(dir), names, n)
                 : sdi_os_list_names(ctx, dir, names, n);
}

sd_status sdi_read_file(const sd_context *ctx, const char *path, size_t max_size, uint8_t **data,
                        size_t *size) {
    sd_host_files *files = sdi_host_files_now();
    *data = NULL;
    *size = 0;
    if (!files)
        return sdi_os_read_file(ctx, path, max_size, data, size);
    sd_input in;
    sd_status status = open_host(ctx, files, path, &in);
    if (status)
        return status;
    status = read_whole(ctx, &in, path, max_size, data, size);
    sdi_input_close(ctx, &in);
    return status;
}
