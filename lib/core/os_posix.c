/* Files, modules and threads on POSIX. */
#define _GNU_SOURCE /* dladdr */

#include "core/os.h"

#include "core/input.h"

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
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------- files */

/* The sentence of errno; strerror_r because strerror is not thread-safe. */
static sd_status fail_errno(const sd_context *ctx, const char *what, const char *path) {
    int code = errno;
    char buffer[128];
    const char *reason = strerror_r(code, buffer, sizeof buffer);
    return sdi_fail(ctx, code == ENOMEM ? SD_ERROR_MEMORY : SD_ERROR_IO, "%s: cannot %s: %s", path,
                    what, reason);
}

sd_status sdi_fail_errno(const sd_context *ctx, const char *what, const char *path) {
    return fail_errno(ctx, what, path);
}

/* Opens a regular file for reading and tells its size; -1 with the sentence recorded. */
static int open_regular(const sd_context *ctx, const char *path, size_t *size, sd_status *status) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0) {
        *status = fail_errno(ctx, "open", path);
    } else if (!S_ISREG(st.st_mode)) {
        *status = sdi_fail(ctx, SD_ERROR_IO, "%s: a file was expected, this is %s", path,
                           S_ISDIR(st.st_mode) ? "a directory" : "something else");
    } else {
        *size = (size_t)st.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* --- a file as an input --- */

typedef struct file_input {
    int fd;
    uint64_t size;
    struct timespec changed;
    atomic_int error; /* errno of the first read that failed; SHORT: it met the end of the file */
} file_input;

#define SHORT (-1)

/* For any thread: pread has no position that threads would share. */
static sd_status read_input(void *user, uint64_t offset, void *dst, size_t n) {
    file_input *f = user;
    uint8_t *to = dst;
    while (n > 0) {
        ssize_t got = pread(f->fd, to, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            int none = 0;
            atomic_compare_exchange_strong(&f->error, &none, got < 0 ? errno : SHORT);
            return SD_ERROR_IO;
        }
        to += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return SD_OK;
}

static sd_status fail_shortened(const sd_context *ctx, const char *name, const file_input *f,
                                const struct stat *st) {
    return sdi_fail(ctx, SD_ERROR_IO,
                    "%s: the file was shortened while it was read: it has %llu bytes, and had %llu",
                    name, (unsigned long long)st->st_size, (unsigned long long)f->size);
}

/* A file that was written to perhaps has some bytes of before and some of after. */
static sd_status check_input(void *user, const sd_context *ctx, const char *name) {
    file_input *f = user;
    struct stat st;
    int error = atomic_load(&f->error);
    if (error > 0) {
        errno = error;
        return fail_errno(ctx, "read", name);
    }
    if (fstat(f->fd, &st) != 0)
        return fail_errno(ctx, "look at", name);
    if ((uint64_t)st.st_size < f->size)
        return fail_shortened(ctx, name, f, &st);
    if (error == SHORT || (uint64_t)st.st_size != f->size ||
        st.st_mtim.tv_sec != f->changed.tv_sec || st.st_mtim.tv_nsec != f->changed.tv_nsec)
        return sdi_fail(ctx, SD_ERROR_IO, "%s: the file was written to while it was read", name);
    return SD_OK;
}

static void will_need_input(void *user, uint64_t offset, uint64_t n) {
    file_input *f = user;
    (void)posix_fadvise(f->fd, (off_t)offset, (off_t)n, POSIX_FADV_WILLNEED); /* advice */
}

static void close_input(void *user, const sd_context *ctx) {
    file_input *f = user;
    close(f->fd);
    sdi_free(ctx, f);
}

sd_status sdi_os_input_open(const sd_context *ctx, const char *path, sd_input *out) {
    *out = (sd_input){0};
    size_t size;
    sd_status status;
    struct stat st;
    int fd = open_regular(ctx, path, &size, &status);
    if (fd < 0)
        return status;
    file_input *f = sdi_alloc(ctx, sizeof *f);
    if (!f)
        status = SD_ERROR_MEMORY;
    else
        status = fstat(fd, &st) == 0 ? SD_OK : fail_errno(ctx, "look at", path);
    if (status) {
        sdi_free(ctx, f);
        close(fd);
        return status;
    }
    *f = (file_input){.fd = fd, .size = (uint64_t)st.st_size, .changed = st.st_mtim};
    atomic_init(&f->error, 0);
    uint64_t stamp = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
    *out = (sd_input){f->size, f, read_input, check_input, will_need_input, close_input, stamp};
    return SD_OK;
}

bool sdi_os_is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool sdi_os_is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool add_name(const sd_context *ctx, char ***names, size_t *n, size_t *room,
                     const char *name) {
    if (*n == *room) {
        size_t larger = *room ? 2 * *room : 16;
        char **grown = sdi_alloc_array(ctx, larger, sizeof *grown);
        if (!grown)
            return false;
        if (*n)
            memcpy(grown, *names, *n * sizeof *grown);
        sdi_free(ctx, *names);
        *names = grown;
        *room = larger;
    }
    (*names)[*n] = sdi_strdup(ctx, name);
    return (*names)[*n] && ++*n;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

sd_status sdi_os_list_names(const sd_context *ctx, const char *dir, char ***names, size_t *n) {
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

void sdi_free_names(const sd_context *ctx, char **names, size_t n) {
    for (size_t i = 0; i < n; i++)
        sdi_free(ctx, names[i]);
    sdi_free(ctx, names);
}

char *sdi_path_join(const sd_context *ctx, const char *dir, const char *name) {
    size_t n = strlen(dir);
    return sdi_format(ctx, n && dir[n - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

char *sdi_path_dirname(const sd_context *ctx, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return sdi_strdup(ctx, ".");
    return sdi_strndup(ctx, path, slash == path ? 1 : (size_t)(slash - path));
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

sd_status sdi_os_read_file(const sd_context *ctx, const char *path, size_t max_size, uint8_t **data,
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
        status = sdi_fail(ctx, SD_ERROR_FORMAT, "%s: %zu bytes; at most %zu were expected", path,
                          file_size, max_size);
    else if (!(bytes = sdi_alloc(ctx, file_size + 1)))
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
        sdi_free(ctx, bytes);
    close(fd);
    return status;
}

/* -------------------------------------------------------------------------------- modules */

sd_status sdi_module_open(const sd_context *ctx, const char *path, void **module) {
    *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (*module)
        return SD_OK;
    const char *reason = dlerror();
    return sdi_fail(ctx, SD_ERROR_BACKEND, "%s: cannot open the module: %s", path,
                    reason ? reason : "unknown reason");
}

void *sdi_library_open(const char *name) {
    return dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

void *sdi_module_symbol(void *module, const char *name) {
    return dlsym(module, name);
}

void sdi_module_close(void *module) {
    if (module)
        dlclose(module);
}

char *sdi_library_directory(const sd_context *ctx) {
    Dl_info info;
    static const char anchor; /* an address within this library */
    if (!dladdr(&anchor, &info) || !info.dli_fname)
        return NULL;
    return sdi_path_dirname(ctx, info.dli_fname);
}

/* -------------------------------------------------------------------------------- threads */

struct sd_mutex {
    pthread_mutex_t os;
    atomic_uint fork; /* the count that `os` was made at; odd while it is made anew for fork - 1 */
    atomic_bool held;
};
struct sd_condvar {
    pthread_cond_t os;
    unsigned fork;
};
struct sd_thread {
    pthread_t os;
    unsigned fork;
    void (*fn)(void *);
    void *arg;
};

sd_mutex *sdi_mutex_new(const sd_context *ctx) {
    sd_mutex *mutex = sdi_alloc(ctx, sizeof *mutex);
    if (mutex && pthread_mutex_init(&mutex->os, NULL) != 0) {
        sdi_free(ctx, mutex);
        return NULL;
    }
    if (mutex) {
        atomic_init(&mutex->fork, sdi_fork_count());
        atomic_init(&mutex->held, false);
    }
    return mutex;
}

void sdi_mutex_free(const sd_context *ctx, sd_mutex *mutex) {
    if (mutex && atomic_load(&mutex->fork) == sdi_fork_count())
        pthread_mutex_destroy(&mutex->os);
    sdi_free(ctx, mutex);
}

/* One thread makes it anew, and others of this process wait; a thread that was at it when the
 * process forked once more left a count that is not this process's. */
static void adopt(sd_mutex *mutex) {
    unsigned now = sdi_fork_count();
    unsigned seen = atomic_load_explicit(&mutex->fork, memory_order_acquire);
    while (seen != now) {
        if (seen == now + 1) {
            sched_yield();
        } else if (atomic_compare_exchange_strong(&mutex->fork, &seen, now + 1)) {
            pthread_mutex_init(&mutex->os, NULL);
            atomic_store_explicit(&mutex->fork, now, memory_order_release);
        }
        seen = atomic_load_explicit(&mutex->fork, memory_order_acquire);
    }
}

bool sdi_mutex_lock(sd_mutex *mutex) {
    adopt(mutex);
    pthread_mutex_lock(&mutex->os);
    bool lost = atomic_load_explicit(&mutex->held, memory_order_relaxed);
    atomic_store_explicit(&mutex->held, true, memory_order_relaxed);
    return lost;
}

void sdi_mutex_unlock(sd_mutex *mutex) {
    atomic_store_explicit(&mutex->held, false, memory_order_relaxed);
    pthread_mutex_unlock(&mutex->os);
}

sd_condvar *sdi_condvar_new(const sd_context *ctx) {
    sd_condvar *cond = sdi_alloc(ctx, sizeof *cond);
    if (cond && pthread_cond_init(&cond->os, NULL) != 0) {
        sdi_free(ctx, cond);
        return NULL;
    }
    if (cond)
        cond->fork = sdi_fork_count();
    return cond;
}

/* To destroy a condition waits for its waiters, and those of the parent are not here. */
void sdi_condvar_free(const sd_context *ctx, sd_condvar *cond) {
    if (cond && cond->fork == sdi_fork_count())
        pthread_cond_destroy(&cond->os);
    sdi_free(ctx, cond);
}

static void adopt_cond(sd_condvar *cond) {
    if (cond->fork != sdi_fork_count()) {
        pthread_cond_init(&cond->os, NULL);
        cond->fork = sdi_fork_count();
    }
}

void sdi_condvar_wait(sd_condvar *cond, sd_mutex *mutex) {
    adopt_cond(cond);
    atomic_store_explicit(&mutex->held, false, memory_order_relaxed);
    pthread_cond_wait(&cond->os, &mutex->os);
    atomic_store_explicit(&mutex->held, true, memory_order_relaxed);
}

void sdi_condvar_broadcast(sd_condvar *cond) {
    adopt_cond(cond);
    pthread_cond_broadcast(&cond->os);
}

static void *thread_main(void *arg) {
    sd_thread *thread = arg;
    thread->fn(thread->arg);
    return NULL;
}

/* The C library takes thread-local memory out of the stack, so that a host with much of it needs
 * more than we know of: then the default, which the C library sees to. */
static int create_thread(sd_thread *thread) {
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error)
        return error;
    error = pthread_attr_setstacksize(&attr, SD_THREAD_STACK);
    if (!error)
        error = pthread_create(&thread->os, &attr, thread_main, thread);
    if (error == EINVAL)
        error = pthread_create(&thread->os, NULL, thread_main, thread);
    pthread_attr_destroy(&attr);
    return error;
}

/* Workers take no signals: those are the host's threads' business. */
sd_status sdi_thread_start(const sd_context *ctx, void (*fn)(void *), void *arg, sd_thread **out) {
    *out = NULL;
    sd_thread *thread = sdi_alloc(ctx, sizeof *thread);
    if (!thread)
        return SD_ERROR_MEMORY;
    thread->fork = sdi_fork_count();
    thread->fn = fn;
    thread->arg = arg;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = create_thread(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error) {
        sdi_free(ctx, thread);
        return SD_ERROR_STATE;
    }
    *out = thread;
    return SD_OK;
}

void sdi_thread_join(const sd_context *ctx, sd_thread *thread) {
    if (thread->fork == sdi_fork_count())
        pthread_join(thread->os, NULL);
    sdi_free(ctx, thread);
}

void sdi_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void sdi_cpu_yield(void) {
    sched_yield();
}
