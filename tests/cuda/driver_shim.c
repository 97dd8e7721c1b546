/* The driver's functions: answered here, or handed on to the real one. */
#include "driver_shim.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* CUresult is an int; of the driver's types nothing but their sizes matters here. */
enum { SUCCESS = 0, NOT_FOUND = 500 };

typedef int (*get_proc_address_fn)(const char *, void **, int, uint64_t, int *);

static driver_shim state;

driver_shim *driver_shim_state(void);
driver_shim *driver_shim_state(void) {
    return &state;
}

/* True when this call is to fail. */
static int fails(const char *name, int works) {
    if (state.works != works)
        return 0;
    int at = __atomic_add_fetch(&state.count, 1, __ATOMIC_RELAXED);
    if (!state.fail_at || (state.for_good ? at < state.fail_at : at != state.fail_at))
        return 0;
    if (!state.failed[0])
        snprintf(state.failed, sizeof state.failed, "%s", name);
    return 1;
}

/* X(name, version since which it is so, 0 takes memory or 1 works, parameters, arguments) */
#define FAILING(X)                                                                                 \
    X(cuMemAlloc, 3020, 0, (void *a, size_t b), (a, b))                                            \
    X(cuMemHostAlloc, 2020, 0, (void *a, size_t b, unsigned c), (a, b, c))                         \
    X(cuStreamCreate, 2000, 0, (void *a, unsigned b), (a, b))                                      \
    X(cuStreamCreateWithPriority, 5050, 0, (void *a, unsigned b, int c), (a, b, c))                \
    X(cuEventCreate, 2000, 0, (void *a, unsigned b), (a, b))                                       \
    X(cuGraphInstantiateWithFlags, 11040, 0, (void *a, void *b, uint64_t c), (a, b, c))            \
    X(cuGraphInstantiateWithParams, 12000, 0, (void *a, void *b, void *c), (a, b, c))              \
    X(cuKernelGetFunction, 12000, 0, (void *a, void *b), (a, b))                                   \
    X(cuStreamBeginCapture, 10010, 1, (void *a, int b), (a, b))                                    \
    X(cuGraphLaunch, 10000, 1, (void *a, void *b), (a, b))                                         \
    X(cuLaunchKernelEx, 11060, 1, (void *a, void *b, void *c, void *d), (a, b, c, d))              \
    X(cuLaunchKernel, 4000, 1,                                                                     \
      (void *a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned f, unsigned g,            \
       unsigned h, void *i, void *j, void *k),                                                     \
      (a, b, c, d, e, f, g, h, i, j, k))                                                           \
    X(cuMemcpyAsync, 4000, 1, (uintptr_t a, uintptr_t b, size_t c, void *d), (a, b, c, d))         \
    X(cuMemcpyHtoDAsync, 3020, 1, (uintptr_t a, void *b, size_t c, void *d), (a, b, c, d))         \
    X(cuMemcpyDtoHAsync, 3020, 1, (void *a, uintptr_t b, size_t c, void *d), (a, b, c, d))         \
    X(cuMemsetD8Async, 3020, 1, (uintptr_t a, unsigned char b, size_t c, void *d), (a, b, c, d))   \
    X(cuEventRecord, 2000, 1, (void *a, void *b), (a, b))                                          \
    X(cuStreamWaitEvent, 3020, 1, (void *a, void *b, unsigned c), (a, b, c))                       \
    X(cuStreamSynchronize, 2000, 1, (void *a), (a))

#define DEFINE(name, version, works, parameters, arguments)                                        \
    static int(*real_##name) parameters;                                                           \
    static int shim_##name parameters {                                                            \
        return fails(#name, works) ? state.error : real_##name arguments;                          \
    }
FAILING(DEFINE)
#undef DEFINE

/* Puts the failing function into the place of the real one. */
static void replace(const char *name, int version, uint64_t flags, void **function) {
#define REPLACE(this, since, works, parameters, arguments)                                         \
    if (!strcmp(name, #this) && version >= since && flags == 0) {                                  \
        int(*shim) parameters = shim_##this;                                                       \
        memcpy(&real_##this, function, sizeof *function);                                          \
        memcpy(function, &shim, sizeof *function);                                                 \
    }
    FAILING(REPLACE)
#undef REPLACE
}

static int hand_on(const char *name, void **function, int version, uint64_t flags, int *found) {
    static get_proc_address_fn real;
    if (!real) {
        void *library = dlopen(state.real, RTLD_NOW | RTLD_LOCAL);
        void *symbol = library ? dlsym(library, "cuGetProcAddress_v2") : NULL;
        if (!symbol)
            return NOT_FOUND;
        memcpy(&real, &symbol, sizeof real);
    }
    int result = real(name, function, version, flags, found);
    if (result == SUCCESS && *function)
        replace(name, version, flags, function);
    return result;
}

/* --- the driver that cannot serve --- */

static int answer_init(unsigned flags) {
    (void)flags;
    return state.init;
}

static int answer_version(int *version) {
    *version = state.version;
    return SUCCESS;
}

static int refuse_table(const void **table, const void *id) {
    (void)id;
    *table = NULL;
    return NOT_FOUND;
}

int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *found);

static void *answer(const char *name) {
    int (*init)(unsigned) = answer_init;
    int (*get_version)(int *) = answer_version;
    int (*table)(const void **, const void *) = refuse_table;
    get_proc_address_fn find = cuGetProcAddress_v2;
    void *function = NULL;
    if (!strcmp(name, "cuInit"))
        memcpy(&function, &init, sizeof function);
    else if (!strcmp(name, "cuDriverGetVersion"))
        memcpy(&function, &get_version, sizeof function);
    else if (!strcmp(name, "cuGetExportTable"))
        memcpy(&function, &table, sizeof function);
    else if (!strcmp(name, "cuGetProcAddress"))
        memcpy(&function, &find, sizeof function);
    return function;
}

/* All that the runtime looks up with dlsym; drivers before 11.3 do not have it. */
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                        int *found) {
    if (state.real && strcmp(name, "cuGetProcAddress") != 0)
        return hand_on(name, function, version, flags, found);
    *function = answer(name);
    if (found)
        *found = *function ? 0 : 1;
    return *function ? SUCCESS : NOT_FOUND;
}
