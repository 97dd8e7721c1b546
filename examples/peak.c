/* Measures the ceilings of the CPU and of its memory. */
#include "peak.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAVE_X86 1
#endif

#define MAX_THREADS 256
#define CHAINS 12 /* independent sums: more than latency times width, fewer than registers */

double peak_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Each runs `rounds` rounds of CHAINS FMAs and returns something that depends on all of them. */
typedef float (*fma_fn)(long rounds);

#ifdef HAVE_X86
__attribute__((target("avx512f"))) static float fma_avx512(long rounds) {
    __m512 sums[CHAINS], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        sums[i] = _mm512_set1_ps((float)i);
    for (long r = 0; r < rounds; r++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            sums[i] = _mm512_fmadd_ps(sums[i], a, b);
    for (int i = 1; i < CHAINS; i++)
        sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return _mm512_cvtss_f32(sums[0]);
}

__attribute__((target("avx2,fma"))) static float fma_avx2(long rounds) {
    __m256 sums[CHAINS], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (int i = 0; i < CHAINS; i++)
        sums[i] = _mm256_set1_ps((float)i);
    for (long r = 0; r < rounds; r++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            sums[i] = _mm256_fmadd_ps(sums[i], a, b);
    for (int i = 1; i < CHAINS; i++)
        sums[0] = _mm256_add_ps(sums[0], sums[i]);
    return _mm256_cvtss_f32(sums[0]);
}
#endif

/* Four lanes that the compiler may put into whatever vectors it knows. */
static float fma_portable(long rounds) {
    float sums[CHAINS][4];
    for (int i = 0; i < CHAINS; i++)
        for (int j = 0; j < 4; j++)
            sums[i][j] = (float)(i + j);
    for (long r = 0; r < rounds; r++)
        for (int i = 0; i < CHAINS; i++)
            for (int j = 0; j < 4; j++)
                sums[i][j] = sums[i][j] * 0.999f + 0.001f;
    float all = 0;
    for (int i = 0; i < CHAINS; i++)
        for (int j = 0; j < 4; j++)
            all += sums[i][j];
    return all;
}

typedef struct peak_isa {
    const char *name;
    int lanes;
    fma_fn run;
} peak_isa;

static peak_isa best_isa(void) {
#ifdef HAVE_X86
    if (__builtin_cpu_supports("avx512f"))
        return (peak_isa){"avx512", 16, fma_avx512};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (peak_isa){"avx2", 8, fma_avx2};
#endif
    return (peak_isa){"portable", 4, fma_portable};
}

typedef struct peak_job {
    fma_fn run;
    long rounds;
    float sink;
} peak_job;

static void *run_job(void *arg) {
    peak_job *job = arg;
    job->sink = job->run(job->rounds);
    return NULL;
}

static double run_threads(fma_fn run, long rounds, int n) {
    pthread_t threads[MAX_THREADS];
    peak_job jobs[MAX_THREADS];
    int started = 0;
    double begin = peak_clock();
    for (int i = 0; i < n; i++)
        jobs[i] = (peak_job){run, rounds, 0};
    while (started + 1 < n && !pthread_create(&threads[started], NULL, run_job, &jobs[started + 1]))
        started++;
    run_job(&jobs[0]);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return (started + 1) / (peak_clock() - begin);
}

double peak_fma(int n_threads, const char **isa) {
    peak_isa best = best_isa();
    int n = n_threads < 1 ? 1 : n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
    if (isa)
        *isa = best.name;
    long rounds = 1 << 16;
    double rate = run_threads(best.run, rounds, n); /* also lets the clock rise */
    for (int i = 0; i < 5; i++) {
        double seconds = n / rate;
        rounds = (long)((double)rounds * (0.05 / seconds)) + 1;
        double once = run_threads(best.run, rounds, n);
        double flops = 2.0 * CHAINS * best.lanes * (double)rounds;
        rate = once;
        if (i == 4)
            return once * flops;
    }
    return 0;
}

double peak_copy(void) {
    size_t size = (size_t)256 << 20;
    char *from = malloc(size), *to = malloc(size);
    double best = 0;
    if (from && to) {
        memset(from, 1, size);
        memset(to, 2, size);
        for (int i = 0; i < 5; i++) {
            double begin = peak_clock();
            memcpy(to, from, size);
            double rate = 2.0 * (double)size / (peak_clock() - begin);
            best = rate > best ? rate : best;
            from[i] = to[size - 1 - (size_t)i]; /* the copy is used */
        }
    }
    free(from);
    free(to);
    return best;
}
