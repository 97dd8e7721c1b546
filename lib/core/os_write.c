/*
 * Whole files written on POSIX, so that nobody sees half a file and nobody's file is lost: a
 * temporary file beside it is filled, and then takes the name.
 */
#define _GNU_SOURCE /* renameat2 */

#include "core/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

static bool write_full(int fd, const uint8_t *data, size_t size) {
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return true;
}

/* Beyond RLIMIT_FSIZE, and where a pipe has no reader, write fails with an errno, but the signal
 * that comes with it would end the host: it is held back in this thread, and taken. */
static bool write_quietly(int fd, const void *data, size_t size) {
    static const struct timespec at_once = {0, 0};
    sigset_t set, before, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    sigpending(&pending);
    bool ok = write_full(fd, data, size);
    int code = errno;
    if (sigismember(&pending, SIGXFSZ))
        sigdelset(&set, SIGXFSZ);
    if (sigismember(&pending, SIGPIPE))
        sigdelset(&set, SIGPIPE);
    while (!ok && sigtimedwait(&set, NULL, &at_once) < 0 && errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = code;
    return ok;
}

/* A file that nobody else has, in the folder of `path` and under a short name of its own, with the
 * mode that open gives any file. mkstemp's would be for its owner alone. */
static int open_temporary(const sd_context *ctx, const char *path, char **name) {
    static atomic_uint count;
    char *dir = sdi_path_dirname(ctx, path);
    int fd = -1, tries = 0;
    *name = NULL;
    errno = ENOMEM;
    do {
        unsigned mark = atomic_fetch_add(&count, 1) ^ (unsigned)(1e9 * sdi_clock_seconds());
        sdi_free(ctx, *name);
        *name = dir ? sdi_format(ctx, "%s/.libsd-%ld-%08x", dir, (long)getpid(), mark) : NULL;
        if (*name)
            fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (*name && fd < 0 && errno == EEXIST && tries++ < 100);
    sdi_free(ctx, dir);
    return fd;
}

/*
 * The temporary file gets its name unless that is taken (EEXIST). Where the file system has no hard
 * links, the kernel's own rename may refuse to replace; where there is neither, an empty file holds
 * the name until the whole one takes it.
 */
static bool give_new_name(const char *temporary, const char *path) {
    if (link(temporary, path) == 0) {
        unlink(temporary);
        return true;
    }
    if (errno == EEXIST)
        return false;
#ifdef RENAME_NOREPLACE
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return true;
    if (errno == EEXIST)
        return false;
#endif
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return false;
    close(fd);
    if (rename(temporary, path) == 0)
        return true;
    int code = errno;
    unlink(path);
    errno = code;
    return false;
}

static sd_status taken(const sd_context *ctx, const char *path) {
    return sdi_fail(ctx, SD_ERROR_STATE,
                    "%s: a file of that name is there already; it was left as it is", path);
}

/* A regular file by way of a temporary one. `mode` 0: what open gives. */
static sd_status write_whole(const sd_context *ctx, const char *path, const void *data, size_t size,
                             bool only_new, mode_t mode) {
    char *temporary;
    int fd = open_temporary(ctx, path, &temporary);
    sd_status status = SD_OK;
    if (fd < 0) {
        status = sdi_fail_errno(ctx, "write", path);
    } else {
        if (mode && fchmod(fd, mode) != 0)
            sdi_log(ctx, SD_LOG_LEVEL_DEBUG, "%s: cannot set the file mode", path);
        bool ok = write_quietly(fd, data, size);
        int code = errno;
        if (close(fd) != 0 && ok) {
            ok = false;
            code = errno;
        }
        errno = code;
        if (ok)
            ok = only_new ? give_new_name(temporary, path) : rename(temporary, path) == 0;
        if (!ok) {
            status =
                only_new && errno == EEXIST ? taken(ctx, path) : sdi_fail_errno(ctx, "write", path);
            unlink(temporary);
        }
    }
    sdi_free(ctx, temporary);
    return status;
}

/* A path that is no regular file (a device, a pipe) is written to and not replaced. */
static sd_status write_through(const sd_context *ctx, const char *path, const void *data,
                               size_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write_quietly(fd, data, size);
    sd_status status = ok ? SD_OK : sdi_fail_errno(ctx, "write", path);
    if (fd >= 0 && close(fd) != 0 && ok)
        status = sdi_fail_errno(ctx, "write", path);
    return status;
}

sd_status sdi_write_new_file(const sd_context *ctx, const char *path, const void *data,
                             size_t size) {
    struct stat st;
    if (lstat(path, &st) == 0)
        return taken(ctx, path);
    return write_whole(ctx, path, data, size, true, 0);
}

sd_status sdi_write_file(const sd_context *ctx, const char *path, const void *data, size_t size) {
    struct stat st;
    char target[PATH_MAX];
    mode_t mode = 0;
    if (stat(path, &st) == 0) { /* what a link leads to, if it is one */
        if (!S_ISREG(st.st_mode))
            return write_through(ctx, path, data, size);
        mode = st.st_mode & 07777;
        if (realpath(path, target))
            path = target; /* a link stays one */
    }
    return write_whole(ctx, path, data, size, false, mode);
}
