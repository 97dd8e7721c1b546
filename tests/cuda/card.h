/*
 * Shared by the tests of the CUDA backend's failures: NVIDIA's driver, which plays the part of the
 * host's own CUDA code, and the tiny model's stages one by one. They use <sd/sd.h> and the driver's
 * library, opened at run time; each test is a process of its own, as an error may end CUDA for
 * good.
 */
#ifndef SD_TESTS_CARD_H
#define SD_TESTS_CARD_H

#include "../support/cond.h"
#include "driver_shim.h"

#include <check.h>
#include <sd/sd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------- the driver */

/* Types of cuda.h; the tests build without CUDA's headers. A cu_result 0 is success. */
typedef int cu_result, cu_device;
typedef uint64_t cu_deviceptr;
typedef void *cu_handle; /* context, stream, module, function, graph */

enum { CU_OUT_OF_MEMORY = 2, CU_ILLEGAL_ADDRESS = 700, CU_LAUNCH_FAILED = 719 };

#define DRIVER_CALLS(X)                                                                            \
    X(init, "cuInit", (unsigned flags))                                                            \
    X(device_count, "cuDeviceGetCount", (int *n))                                                  \
    X(device_get, "cuDeviceGet", (cu_device * device, int ordinal))                                \
    X(primary_retain, "cuDevicePrimaryCtxRetain", (cu_handle * context, cu_device device))         \
    X(primary_release, "cuDevicePrimaryCtxRelease_v2", (cu_device device))                         \
    X(primary_reset, "cuDevicePrimaryCtxReset_v2", (cu_device device))                             \
    X(context_new, "cuCtxCreate_v2", (cu_handle * context, unsigned flags, cu_device device))      \
    X(context_free, "cuCtxDestroy_v2", (cu_handle context))                                        \
    X(get_current, "cuCtxGetCurrent", (cu_handle * context))                                       \
    X(set_current, "cuCtxSetCurrent", (cu_handle context))                                         \
    X(push, "cuCtxPushCurrent_v2", (cu_handle context))                                            \
    X(pop, "cuCtxPopCurrent_v2", (cu_handle * context))                                            \
    X(synchronize, "cuCtxSynchronize", (void))                                                     \
    X(memory_info, "cuMemGetInfo_v2", (size_t * available, size_t * total))                        \
    X(alloc, "cuMemAlloc_v2", (cu_deviceptr * ptr, size_t size))                                   \
    X(free, "cuMemFree_v2", (cu_deviceptr ptr))                                                    \
    X(memset8, "cuMemsetD8Async",                                                                  \
      (cu_deviceptr ptr, unsigned char value, size_t size, cu_handle stream))                      \
    X(copy_out, "cuMemcpyDtoH_v2", (void *to, cu_deviceptr from, size_t size))                     \
    X(stream_new, "cuStreamCreate", (cu_handle * stream, unsigned flags))                          \
    X(capture_begin, "cuStreamBeginCapture_v2", (cu_handle stream, int mode))                      \
    X(capture_end, "cuStreamEndCapture", (cu_handle stream, cu_handle * graph))                    \
    X(module_load, "cuModuleLoadData", (cu_handle * module, const void *image))                    \
    X(module_function, "cuModuleGetFunction",                                                      \
      (cu_handle * function, cu_handle module, const char *name))                                  \
    X(launch, "cuLaunchKernel",                                                                    \
      (cu_handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,        \
       unsigned bz, unsigned shared, cu_handle stream, void **parameters, void **extra))

#define DRIVER_MEMBER(member, symbol, parameters) cu_result(*member) parameters;
typedef struct driver {
    DRIVER_CALLS(DRIVER_MEMBER)
} driver;
#undef DRIVER_MEMBER

/* How many cards there are, found out in another process. `path` (4096 bytes, or NULL) gets the
 * file of the driver. */
int card_count(char *path);

/* The driver, initialised; the test fails without one. */
driver card_driver(void);

/* The primary context of a device, kept until the process ends. Nothing is made current. */
cu_handle card_primary(const driver *d, int ordinal);

/* Loads the shim in the driver's place; before anything of CUDA. `real` is kept. */
driver_shim *card_shim(const char *real);

/* All the memory of a device but about `keep` bytes, as the host's own use of it: no other
 * program can compute there meanwhile. hog_give frees some 2 GiB, which is quickly done, hog_end
 * all. */
#define CARD_HOGS 512
typedef struct hog {
    const driver *driver;
    cu_handle context;
    cu_deviceptr blocks[CARD_HOGS];
    int n, n_large;
} hog;
void hog_take(hog *h, size_t keep);
void hog_give(hog *h);
void hog_end(hog *h);
size_t card_free(const driver *d, cu_handle context);

/* ----------------------------------------------------------------------------------- the model */

/* Opens `backend`, the module from the build, logging into card_log at level INFO. */
sd_status card_open(const char *backend, sd_context **ctx);
extern char card_log[4096];

/* A model through all of its stages. */
enum { STAGE_LOAD, STAGE_TEXT, STAGE_SAMPLER, STAGE_SAMPLE, STAGE_DECODE, STAGE_ENCODE, N_STAGES };
extern const char *const stage_names[N_STAGES];

typedef struct scene {
    sd_context *ctx;
    int size; /* pixels */
    sd_model *model;
    sd_sampler *sampler;
    sd_cond *cond, *uncond;
    sd_tensor *latent, *pixels, *again;
} scene;

/* The stages before must be done; what the stage made before is freed first. */
sd_status scene_stage(scene *s, int stage);
/* All of them, which must succeed. */
void scene_all(scene *s);
/* Frees all but the context. */
void scene_clear(scene *s);
/* Equal bits in every result. */
void scene_same(const scene *a, const scene *b);

/* The call gave `status`, and a sentence with `word`, which is printed. */
void expect_failure(const char *what, sd_status status, sd_status expected, const char *word);
void must(sd_status status, const char *what);

/* -------------------------------------------------------------------------------------- running */

/* main's exit code: 77, a skip, with fewer than `cards` cards. */
typedef struct card_test {
    const TTest *test;
    int cards; /* that it needs */
    int end;   /* of its loop, from 0; 0: once */
} card_test;
int card_main(const char *name, const card_test *tests, int n_tests);

/* The number of cards that card_count gave to card_main. */
extern char card_path[4096];

#endif
