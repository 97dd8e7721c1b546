/* A host for backends under test: malloc that counts, threads that take turns. */
#include "kernels.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_THREADS 64

struct kt_host {
    sdb_host api;
    atomic_long live, allocations;
    char error[512];
    bool reverse;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t threads[MAX_THREADS];
    int n_started;
    unsigned job; /* grows with each parallel_for */
    bool open;    /* the job still takes threads: one that wakes up late is not waited for */
    int busy;     /* threads that work on the job */
    bool quit;
    void (*fn)(void *, int, int);
    void *arg;
    int n_tasks;
    atomic_int next;
};

static void *host_alloc(void *user, size_t size, size_t alignment) {
    kt_host *host = user;
    void *ptr = NULL;
    if (posix_memalign(&ptr, alignment < sizeof(void *) ? sizeof(void *) : alignment,
                       size ? size : 1) != 0)
        return NULL;
    memset(ptr, 0xff, size); /* NaN in every float type */
    atomic_fetch_add(&host->live, 1);
    atomic_fetch_add(&host->allocations, 1);
    return ptr;
}

static void host_free(void *user, void *ptr) {
    kt_host *host = user;
    if (!ptr)
        return;
    free(ptr);
    atomic_fetch_sub(&host->live, 1);
}

static sd_status host_error(void *user, sd_status status, const char *format, ...) {
    kt_host *host = user;
    va_list args;
    va_start(args, format);
    vsnprintf(host->error, sizeof host->error, format, args);
    va_end(args);
    return status;
}

static void host_log(void *user, sd_log_level level, const char *format, ...) {
    (void)user;
    (void)level;
    (void)format;
}

static void work(kt_host *host, int worker) {
    for (;;) {
        int task = atomic_fetch_add(&host->next, 1);
        if (task >= host->n_tasks)
            return;
        host->fn(host->arg, host->reverse ? host->n_tasks - 1 - task : task, worker);
    }
}

typedef struct thread_start {
    kt_host *host;
    int worker;
} thread_start;

static void *thread_main(void *arg) {
    thread_start start = *(thread_start *)arg;
    kt_host *host = start.host;
    unsigned seen = 0;
    free(arg);
    pthread_mutex_lock(&host->mutex);
    for (;;) {
        while ((host->job == seen || !host->open) && !host->quit)
            pthread_cond_wait(&host->changed, &host->mutex);
        if (host->quit)
            break;
        seen = host->job;
        host->busy++;
        pthread_mutex_unlock(&host->mutex);
        work(host, start.worker);
        pthread_mutex_lock(&host->mutex);
        if (--host->busy == 0)
            pthread_cond_broadcast(&host->changed);
    }
    pthread_mutex_unlock(&host->mutex);
    return NULL;
}

static void host_parallel_for(void *user, int n_tasks, void (*fn)(void *, int, int), void *arg) {
    kt_host *host = user;
    pthread_mutex_lock(&host->mutex);
    host->fn = fn;
    host->arg = arg;
    host->n_tasks = n_tasks;
    atomic_store(&host->next, 0);
    host->job++;
    host->open = true;
    if (n_tasks > 1)
        pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->mutex);
    work(host, 0);
    pthread_mutex_lock(&host->mutex);
    host->open = false;
    while (host->busy > 0)
        pthread_cond_wait(&host->changed, &host->mutex);
    pthread_mutex_unlock(&host->mutex);
}

static unsigned host_forks(void *user) {
    (void)user;
    return 0; /* it never forks */
}

static void *host_find_function(void *user, const char *library, const char *symbol, size_t room) {
    (void)user;
    (void)room;
    void *handle = getenv("SD_TEST_NO_OPENBLAS") ? NULL : dlopen(library, RTLD_NOW);
    return handle ? dlsym(handle, symbol) : NULL;
}

kt_host *kt_host_new(int n_threads) {
    kt_host *host = calloc(1, sizeof *host);
    if (n_threads > MAX_THREADS)
        n_threads = MAX_THREADS;
    pthread_mutex_init(&host->mutex, NULL);
    pthread_cond_init(&host->changed, NULL);
    host->api = (sdb_host){
        .user = host,
        .n_threads = n_threads,
        .alloc = host_alloc,
        .free = host_free,
        .error = host_error,
        .log = host_log,
        .parallel_for = host_parallel_for,
        .find_function = host_find_function,
        .forks = host_forks,
    };
    for (int i = 1; i < n_threads; i++) {
        thread_start *start = malloc(sizeof *start);
        *start = (thread_start){host, i};
        int error = pthread_create(&host->threads[host->n_started], NULL, thread_main, start);
        KT_REQUIRE(error == 0, "cannot start a thread");
        host->n_started++;
    }
    return host;
}

void kt_host_free(kt_host *host) {
    pthread_mutex_lock(&host->mutex);
    host->quit = true;
    pthread_cond_broadcast(&host->changed);
    pthread_mutex_unlock(&host->mutex);
    for (int i = 0; i < host->n_started; i++)
        pthread_join(host->threads[i], NULL);
    pthread_cond_destroy(&host->changed);
    pthread_mutex_destroy(&host->mutex);
    free(host);
}

const sdb_host *kt_host_api(kt_host *host) {
    return &host->api;
}

const char *kt_host_error(const kt_host *host) {
    return host->error;
}

long kt_host_live(const kt_host *host) {
    return atomic_load(&((kt_host *)host)->live);
}

long kt_host_allocations(const kt_host *host) {
    return atomic_load(&((kt_host *)host)->allocations);
}

void kt_host_reverse(kt_host *host, bool reverse) {
    host->reverse = reverse;
}

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

kt_time kt_now(int n_threads) {
    return (kt_time){seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID) / n_threads};
}

/* --------------------------------------------------------------------- the processor's ceiling */

#define CHAINS 12 /* independent sums, enough to hide an FMA's latency on two pipes */
#define ROUNDS 2000000

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static float fma_avx512(void) {
    __m512 sum[CHAINS], a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1.0f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_fmadd_ps(sum[i], a, b);
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    return _mm512_cvtss_f32(sum[0]);
}

__attribute__((target("avx2,fma"))) static float fma_avx2(void) {
    __m256 sum[CHAINS], a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1.0f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_set1_ps((float)i);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], a, b);
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm256_add_ps(sum[0], sum[i]);
    return _mm256_cvtss_f32(sum[0]);
}

static float (*fma_kernel(int *lanes))(void) {
    *lanes = __builtin_cpu_supports("avx512f") ? 16 : 8;
    if (*lanes == 16)
        return fma_avx512;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? fma_avx2 : NULL;
}
#elif defined(__aarch64__)
#include <arm_neon.h>

static float fma_neon(void) {
    float32x4_t sum[CHAINS], a = vdupq_n_f32(0.5f), b = vdupq_n_f32(1.0f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = vdupq_n_f32((float)i);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = vfmaq_f32(b, sum[i], a);
    for (int i = 1; i < CHAINS; i++)
        sum[0] = vaddq_f32(sum[0], sum[i]);
    return vgetq_lane_f32(sum[0], 0);
}

static float (*fma_kernel(int *lanes))(void) {
    *lanes = 4;
    return fma_neon;
}
#else
static float (*fma_kernel(int *lanes))(void) {
    *lanes = 0;
    return NULL;
}
#endif

typedef struct peak_task {
    float (*kernel)(void);
    float sink[MAX_THREADS];
} peak_task;

static void peak_run(void *arg, int task, int worker) {
    peak_task *peak = arg;
    (void)worker;
    peak->sink[task] = peak->kernel();
}

kt_time kt_fma_peak(int n_threads) {
    int lanes = 0;
    peak_task peak = {.kernel = fma_kernel(&lanes)};
    kt_time best = {0, 0};
    if (!peak.kernel)
        return best;
    kt_host *host = kt_host_new(n_threads);
    double work = 2.0 * lanes * CHAINS * ROUNDS * n_threads * 1e-9;
    for (int rep = 0; rep < 8; rep++) {
        kt_time begin = kt_now(n_threads);
        host_parallel_for(host, n_threads, peak_run, &peak);
        kt_time end = kt_now(n_threads);
        double wall = work / (end.wall - begin.wall), cpu = work / (end.cpu - begin.cpu);
        best.wall = wall > best.wall ? wall : best.wall;
        best.cpu = cpu > best.cpu ? cpu : best.cpu;
    }
    kt_host_free(host);
    return best;
}
