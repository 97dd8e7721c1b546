/*
 * A library in the place of NVIDIA's driver, libcuda.so.1: the CUDA runtime that is linked into
 * the backend's module takes it where it is loaded first. It answers alone, as a driver that cannot
 * serve, or hands all calls on to the real one and lets chosen ones fail.
 */
#ifndef SD_TESTS_DRIVER_SHIM_H
#define SD_TESTS_DRIVER_SHIM_H

typedef struct driver_shim {
    const char *real; /* path of the driver that calls go on to; NULL: there is none */
    int version;      /* without one: what cuDriverGetVersion says, 12080 for 12.8 */
    int init;         /* without one: what cuInit returns, no success */
    int error;        /* what a failing call returns */
    int fail_at;      /* this call of those that may fail, from 1; 0: none */
    int for_good;     /* and all after it */
    int works;        /* 0: calls that take memory count; 1: launches and copies do */
    int count;        /* calls that counted */
    char failed[64];  /* the first call that was failed */
} driver_shim;

/* The library's only state, as "driver_shim_state". Set before the runtime's first call, the
 * failures at any time while no other thread computes. */
typedef driver_shim *(*driver_shim_fn)(void);

#endif
