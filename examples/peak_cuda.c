/*
 * The ceilings of an NVIDIA card, through the driver and cuBLAS as they are found at run time: the
 * program links neither.
 */
#include "peak.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 8192 /* of the square product */
#define ROUNDS 5
#define REPEATS 10

/* Values of cuda.h, library_types.h and cublas_api.h. */
enum { R_16F = 2, COMPUTE_32F = 68, OP_N = 0, OP_T = 1, GEMM_DEFAULT = -1 };

typedef uint64_t device_ptr;

typedef struct peak_cuda_api {
    void *driver, *blas;
    int (*init)(unsigned);
    int (*device_get)(int *, int);
    int (*retain)(void **, int);
    int (*release)(int);
    int (*set_current)(void *);
    int (*alloc)(device_ptr *, size_t);
    int (*free)(device_ptr);
    int (*to_device)(device_ptr, const void *, size_t);
    int (*copy)(device_ptr, device_ptr, size_t, void *);
    int (*event_create)(void **, unsigned);
    int (*event_record)(void *, void *);
    int (*event_wait)(void *);
    int (*event_elapsed)(float *, void *, void *);
    int (*event_destroy)(void *);
    int (*blas_create)(void **);
    int (*blas_destroy)(void *);
    int (*blas_gemm)(void *, int, int, int, int, int, const void *, const void *, int, int,
                     const void *, int, int, const void *, void *, int, int, int, int);
} peak_cuda_api;

struct peak_cuda {
    peak_cuda_api api;
    int device;
    void *context, *begin, *end, *blas;
    device_ptr buffers[3];
};

/* false: the library has no such function. ISO C has no cast from object to function. */
static int find(void *library, const char *name, void *function) {
    void *symbol = library ? dlsym(library, name) : NULL;
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

static int find_driver(peak_cuda_api *a) {
    a->driver = dlopen("libcuda.so.1", RTLD_NOW);
    void *d = a->driver;
    return find(d, "cuInit", &a->init) && find(d, "cuDeviceGet", &a->device_get) &&
           find(d, "cuDevicePrimaryCtxRetain", &a->retain) &&
           find(d, "cuDevicePrimaryCtxRelease_v2", &a->release) &&
           find(d, "cuCtxSetCurrent", &a->set_current) && find(d, "cuMemAlloc_v2", &a->alloc) &&
           find(d, "cuMemFree_v2", &a->free) && find(d, "cuMemcpyHtoD_v2", &a->to_device) &&
           find(d, "cuMemcpyDtoDAsync_v2", &a->copy) &&
           find(d, "cuEventCreate", &a->event_create) &&
           find(d, "cuEventRecord", &a->event_record) &&
           find(d, "cuEventSynchronize", &a->event_wait) &&
           find(d, "cuEventElapsedTime", &a->event_elapsed) &&
           find(d, "cuEventDestroy_v2", &a->event_destroy);
}

static void find_blas(peak_cuda_api *a) {
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so"};
    for (size_t i = 0; i < sizeof names / sizeof *names && !a->blas; i++)
        a->blas = dlopen(names[i], RTLD_NOW);
    if (a->blas && !(find(a->blas, "cublasCreate_v2", &a->blas_create) &&
                     find(a->blas, "cublasDestroy_v2", &a->blas_destroy) &&
                     find(a->blas, "cublasGemmEx", &a->blas_gemm))) {
        dlclose(a->blas);
        a->blas = NULL;
    }
}

/* Random float16 between -1 and 1: zeros would run faster than real numbers. */
static int fill(peak_cuda *p, device_ptr buffer, size_t size) {
    size_t n = (size_t)1 << 22, block = n * sizeof(uint16_t);
    uint16_t *values = malloc(block);
    uint64_t state = 88172645463325252u + buffer;
    if (!values)
        return 1;
    for (size_t i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values[i] = (uint16_t)((state & 0x83ff) | (uint64_t)(0x2800 + (state >> 20 & 0x1000)));
    }
    int failed = 0;
    for (size_t at = 0; at < size && !failed; at += block)
        failed = p->api.to_device(buffer + at, values, size - at < block ? size - at : block);
    free(values);
    return failed;
}

peak_cuda *peak_cuda_new(int device) {
    peak_cuda *p = calloc(1, sizeof *p);
    const size_t size = (size_t)SIZE * SIZE * 2;
    if (!p)
        return NULL;
    peak_cuda_api *a = &p->api;
    int failed = !find_driver(a) || a->init(0) || a->device_get(&p->device, device) ||
                 a->retain(&p->context, p->device) || a->set_current(p->context) ||
                 a->event_create(&p->begin, 0) || a->event_create(&p->end, 0);
    for (int i = 0; i < 3 && !failed; i++)
        failed = a->alloc(&p->buffers[i], size) || fill(p, p->buffers[i], size);
    if (failed) {
        peak_cuda_free(p);
        return NULL;
    }
    find_blas(a);
    if (a->blas && a->blas_create(&p->blas))
        p->blas = NULL;
    return p;
}

void peak_cuda_free(peak_cuda *p) {
    if (!p)
        return;
    peak_cuda_api *a = &p->api;
    if (p->blas)
        a->blas_destroy(p->blas);
    for (int i = 0; i < 3; i++)
        if (p->buffers[i])
            a->free(p->buffers[i]);
    if (p->begin)
        a->event_destroy(p->begin);
    if (p->end)
        a->event_destroy(p->end);
    if (p->context)
        a->release(p->device);
    free(p); /* the libraries stay: unloading them is not safe everywhere */
}

static int multiply(peak_cuda *p) {
    const float one = 1, zero = 0;
    const void *x = (const void *)(uintptr_t)p->buffers[0];
    const void *w = (const void *)(uintptr_t)p->buffers[1];
    void *y = (void *)(uintptr_t)p->buffers[2];
    return p->api.blas_gemm(p->blas, OP_T, OP_N, SIZE, SIZE, SIZE, &one, w, R_16F, SIZE, x, R_16F,
                            SIZE, &zero, y, R_16F, SIZE, COMPUTE_32F, GEMM_DEFAULT);
}

static int copy(peak_cuda *p) {
    return p->api.copy(p->buffers[2], p->buffers[0], (size_t)SIZE * SIZE * 2, NULL);
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one, after a round that warms up; 0: it failed. */
static double seconds_of(peak_cuda *p, int (*run)(peak_cuda *)) {
    peak_cuda_api *a = &p->api;
    float times[ROUNDS];
    int failed = a->set_current(p->context);
    for (int round = -1; round < ROUNDS && !failed; round++) {
        float ms = 0;
        failed = a->event_record(p->begin, NULL);
        for (int i = 0; i < REPEATS && !failed; i++)
            failed = run(p);
        failed = failed || a->event_record(p->end, NULL) || a->event_wait(p->end) ||
                 a->event_elapsed(&ms, p->begin, p->end);
        if (round >= 0)
            times[round] = ms;
    }
    if (failed)
        return 0;
    qsort(times, ROUNDS, sizeof *times, compare);
    return (double)times[ROUNDS / 2] / 1000 / REPEATS;
}

double peak_cuda_matrix(peak_cuda *p) {
    double seconds = p->blas ? seconds_of(p, multiply) : 0;
    return seconds > 0 ? 2.0 * SIZE * SIZE * SIZE / seconds : 0;
}

double peak_cuda_copy(peak_cuda *p) {
    double seconds = seconds_of(p, copy);
    return seconds > 0 ? 2.0 * SIZE * SIZE * 2 / seconds : 0;
}
