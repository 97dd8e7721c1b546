/*
 * The process and the processor as POSIX tells of them: nothing here takes memory or tells
 * an error, so that what allocates and what tells errors can ask too.
 */
#define _GNU_SOURCE /* sched_getaffinity, MADV_* */

#include "core/os.h"

#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* --------------------------------------------------------------------------------- memory */

void sdi_prefer_large_pages(void *data, size_t size) {
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

bool sdi_has_addresses(size_t size) {
    void *data = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED)
        return false;
    munmap(data, size);
    return true;
}

/* --------------------------------------------------------------------------------- locale */

void *sdi_c_locale_begin(void) {
    static _Atomic(locale_t) c_locale; /* kept; C libraries have one such object or few bytes */
    locale_t c = atomic_load(&c_locale);
    if (!c) {
        c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        atomic_store(&c_locale, c);
    }
    return c ? uselocale(c) : NULL;
}

void sdi_c_locale_end(void *before) {
    if (before)
        uselocale(before);
}

/* -------------------------------------------------------------------- clock and processor */

double sdi_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int sdi_cpu_count(void) {
    cpu_set_t set;
    int n = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    if (n <= 0)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > SD_MAX_THREADS ? SD_MAX_THREADS : n;
}

/* ---------------------------------------------------------------------------------- forks */

static atomic_uint fork_count; /* even */
static atomic_bool watching;

static void count_fork(void) {
    atomic_fetch_add(&fork_count, 2);
}

/* pthread_atfork and not the process's number: no system call, and a child may have its parent's
 * number in a namespace of its own. Where two threads come here first, a fork counts twice. */
bool sdi_watch_forks(void (*before)(void)) {
    if (!atomic_load(&watching)) {
        if (pthread_atfork(before, NULL, count_fork) != 0)
            return false;
        atomic_store(&watching, true);
    }
    return true;
}

unsigned sdi_fork_count(void) {
    return atomic_load_explicit(&fork_count, memory_order_relaxed);
}
