#define _GNU_SOURCE /* dladdr, sched_getaffinity, MADV_*: the one file that asks for them */

#include "core/os.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------- files */

/* The sentence of errno; strerror_r because strerror is not thread-safe. */
static sd_status fail_errno(const sd_context *ctx, const char *what, const char *path) {
    int code = errno;
    char buffer[128];
    const char *reason = strerror_r(code, buffer, sizeof buffer);
    return sd_fail(ctx, code == ENOMEM ? SD_ERROR_MEMORY : SD_ERROR_IO, "%s: cannot %s: %s", path,
                   what, reason);
}

/* Opens a regular file for reading and tells its size; -1 with the sentence recorded. */
static int open_regular(const sd_context *ctx, const char *path, size_t *size, sd_status *status) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        *status = fail_errno(ctx, "open", path);
    } else if (!S_ISREG(st.st_mode)) {
        *status = sd_fail(ctx, SD_ERROR_IO, "%s: a file was expected, this is %s", path,
                          S_ISDIR(st.st_mode) ? "a directory" : "something else");
    } else {
        *size = (size_t)st.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

sd_status sd_map_file(const sd_context *ctx, const char *path, sd_mapping *out) {
    *out = (sd_mapping){0};
    size_t size;
    sd_status status;
    int fd = open_regular(ctx, path, &size, &status);
    if (fd < 0)
        return status;
    if (size > 0) {
        void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            status = fail_errno(ctx, "map", path);
            close(fd);
            return status;
        }
        *out = (sd_mapping){data, size, data, fd};
    } else {
        close(fd);
    }
    return SD_OK;
}

sd_status sd_map_check(const sd_context *ctx, const sd_mapping *mapping, const char *path) {
    struct stat st;
    if (!mapping->os)
        return SD_OK;
    if (fstat(mapping->file, &st) != 0)
        return fail_errno(ctx, "look at", path);
    if ((size_t)st.st_size >= mapping->size)
        return SD_OK;
    return sd_fail(ctx, SD_ERROR_IO,
                   "%s: the file was shortened while it was read: it has %llu bytes, and had %zu",
                   path, (unsigned long long)st.st_size, mapping->size);
}

void sd_unmap_file(sd_mapping *mapping) {
    if (mapping->os) {
        munmap(mapping->os, mapping->size);
        close(mapping->file);
    }
    *mapping = (sd_mapping){0};
}

/* The pages that lie within [data, data + size), widened or narrowed to page borders. */
static void advise(const sd_mapping *mapping, const void *data, size_t size, bool widen,
                   int advice) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)data, end = begin + size;
    begin = (widen ? begin : begin + page - 1) / page * page;
    end = (widen ? end + page - 1 : end) / page * page;
    if (mapping->os && end > begin)
        madvise((void *)begin, end - begin, advice);
}

void sd_map_will_need(const sd_mapping *mapping, const void *data, size_t size) {
    advise(mapping, data, size, true, MADV_WILLNEED);
}

void sd_map_discard(const sd_mapping *mapping, const void *data, size_t size) {
    advise(mapping, data, size, false, MADV_DONTNEED);
}

void sd_prefer_large_pages(void *data, size_t size) {
#ifdef MADV_HUGEPAGE
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + size) / page * page;
    if (end > begin)
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE); /* advice: may well fail */
#else
    (void)data;
    (void)size;
#endif
}

bool sd_is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool sd_is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool add_name(const sd_context *ctx, char ***names, size_t *n, size_t *room,
                     const char *name) {
    if (*n == *room) {
        size_t larger = *room ? 2 * *room : 16;
        char **grown = sd_alloc_array(ctx, larger, sizeof *grown);
        if (!grown)
            return false;
        if (*n)
            memcpy(grown, *names, *n * sizeof *grown);
        sd_free(ctx, *names);
        *names = grown;
        *room = larger;
    }
    (*names)[*n] = sd_strdup(ctx, name);
    return (*names)[*n] && ++*n;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

sd_status sd_list_names(const sd_context *ctx, const char *dir, char ***names, size_t *n) {
    size_t room = 0;
    bool ok = true;
    *names = NULL;
    *n = 0;
    DIR *stream = opendir(dir);
    if (!stream)
        return SD_OK;
    const struct dirent *entry;
    while (ok && (entry = readdir(stream)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            ok = add_name(ctx, names, n, &room, entry->d_name);
    closedir(stream);
    if (*n > 1)
        qsort(*names, *n, sizeof **names, by_bytes);
    return ok ? SD_OK : SD_ERROR_MEMORY;
}

void sd_free_names(const sd_context *ctx, char **names, size_t n) {
    for (size_t i = 0; i < n; i++)
        sd_free(ctx, names[i]);
    sd_free(ctx, names);
}

char *sd_path_join(const sd_context *ctx, const char *dir, const char *name) {
    size_t n = strlen(dir);
    return sd_format(ctx, n && dir[n - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

char *sd_path_dirname(const sd_context *ctx, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return sd_strdup(ctx, ".");
    return sd_strndup(ctx, path, slash == path ? 1 : (size_t)(slash - path));
}

/* Reads up to `size` bytes; fewer only at the end of the file. -1 on error. */
static ssize_t read_full(int fd, uint8_t *data, size_t size) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, data + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

sd_status sd_read_file(const sd_context *ctx, const char *path, size_t max_size, uint8_t **data,
                       size_t *size) {
    *data = NULL;
    *size = 0;
    size_t file_size;
    sd_status status;
    int fd = open_regular(ctx, path, &file_size, &status);
    if (fd < 0)
        return status;
    uint8_t *bytes = NULL;
    if (file_size > max_size)
        status = sd_fail(ctx, SD_ERROR_FORMAT, "%s: %zu bytes; at most %zu were expected", path,
                         file_size, max_size);
    else if (!(bytes = sd_alloc(ctx, file_size + 1)))
        status = SD_ERROR_MEMORY;
    else {
        ssize_t n = read_full(fd, bytes, file_size);
        status = n < 0 ? fail_errno(ctx, "read", path) : SD_OK;
        if (!status) {
            bytes[n] = 0;
            *data = bytes;
            *size = (size_t)n;
        }
    }
    if (status)
        sd_free(ctx, bytes);
    close(fd);
    return status;
}

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

/* mkstemp makes files that only the owner reads; give the mode that open would have given. */
static void set_default_mode(const sd_context *ctx, int fd, const char *path) {
    struct stat st;
    mode_t mode = S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH;
    if (stat(path, &st) == 0)
        mode = st.st_mode & 0777;
    if (fchmod(fd, mode) != 0)
        sd_log(ctx, SD_LOG_DEBUG, "%s: cannot set the file mode", path);
}

sd_status sd_write_file(const sd_context *ctx, const char *path, const void *data, size_t size) {
    char *temporary = sd_format(ctx, "%s.XXXXXX", path);
    if (!temporary)
        return SD_ERROR_MEMORY;
    sd_status status = SD_OK;
    int fd = mkstemp(temporary);
    if (fd < 0) {
        status = fail_errno(ctx, "write", path);
    } else {
        set_default_mode(ctx, fd, path);
        bool ok = write_full(fd, data, size);
        ok = close(fd) == 0 && ok;
        if (!ok || rename(temporary, path) != 0) {
            status = fail_errno(ctx, "write", path);
            unlink(temporary);
        }
    }
    sd_free(ctx, temporary);
    return status;
}

/* -------------------------------------------------------------------------------- modules */

sd_status sd_module_open(const sd_context *ctx, const char *path, void **module) {
    *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (*module)
        return SD_OK;
    const char *reason = dlerror();
    return sd_fail(ctx, SD_ERROR_BACKEND, "%s: cannot open the module: %s", path,
                   reason ? reason : "unknown reason");
}

void *sd_module_symbol(void *module, const char *name) {
    return dlsym(module, name);
}

void sd_module_close(void *module) {
    if (module)
        dlclose(module);
}

char *sd_library_directory(const sd_context *ctx) {
    Dl_info info;
    static const char anchor; /* an address within this library */
    if (!dladdr(&anchor, &info) || !info.dli_fname)
        return NULL;
    return sd_path_dirname(ctx, info.dli_fname);
}

/* -------------------------------------------------------------------- clock and processor */

double sd_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int sd_cpu_count(void) {
    cpu_set_t set;
    int n = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    if (n <= 0)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > SD_MAX_THREADS ? SD_MAX_THREADS : n;
}

/* -------------------------------------------------------------------------------- threads */

struct sd_mutex {
    pthread_mutex_t os;
};
struct sd_cond {
    pthread_cond_t os;
};
struct sd_thread {
    pthread_t os;
    void (*fn)(void *);
    void *arg;
};

sd_mutex *sd_mutex_new(const sd_context *ctx) {
    sd_mutex *mutex = sd_alloc(ctx, sizeof *mutex);
    if (mutex && pthread_mutex_init(&mutex->os, NULL) != 0) {
        sd_free(ctx, mutex);
        return NULL;
    }
    return mutex;
}

void sd_mutex_free(const sd_context *ctx, sd_mutex *mutex) {
    if (mutex)
        pthread_mutex_destroy(&mutex->os);
    sd_free(ctx, mutex);
}

void sd_mutex_lock(sd_mutex *mutex) {
    pthread_mutex_lock(&mutex->os);
}

void sd_mutex_unlock(sd_mutex *mutex) {
    pthread_mutex_unlock(&mutex->os);
}

sd_cond *sd_cond_new(const sd_context *ctx) {
    sd_cond *cond = sd_alloc(ctx, sizeof *cond);
    if (cond && pthread_cond_init(&cond->os, NULL) != 0) {
        sd_free(ctx, cond);
        return NULL;
    }
    return cond;
}

void sd_cond_free(const sd_context *ctx, sd_cond *cond) {
    if (cond)
        pthread_cond_destroy(&cond->os);
    sd_free(ctx, cond);
}

void sd_cond_wait(sd_cond *cond, sd_mutex *mutex) {
    pthread_cond_wait(&cond->os, &mutex->os);
}

void sd_cond_broadcast(sd_cond *cond) {
    pthread_cond_broadcast(&cond->os);
}

static void *thread_main(void *arg) {
    sd_thread *thread = arg;
    thread->fn(thread->arg);
    return NULL;
}

/* Workers take no signals: those are the host's threads' business. */
sd_thread *sd_thread_start(const sd_context *ctx, void (*fn)(void *), void *arg) {
    sd_thread *thread = sd_alloc(ctx, sizeof *thread);
    if (!thread)
        return NULL;
    thread->fn = fn;
    thread->arg = arg;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread->os, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        sd_free(ctx, thread);
        return NULL;
    }
    return thread;
}

void sd_thread_join(const sd_context *ctx, sd_thread *thread) {
    pthread_join(thread->os, NULL);
    sd_free(ctx, thread);
}

void sd_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void sd_cpu_yield(void) {
    sched_yield();
}
