/* Shared by the tools that run whole models: a clock, and the names of precisions. */
#ifndef SD_TOOLS_TOOL_H
#define SD_TOOLS_TOOL_H

#include <sd/sd.h>
#include <string.h>
#include <time.h>

/* Seconds since some fixed point in time. */
static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* full, bfloat16, or anything else for autocast. */
static inline sd_precision precision_of(const char *name) {
    return !strcmp(name, "full")       ? SD_PRECISION_FULL
           : !strcmp(name, "bfloat16") ? SD_PRECISION_BFLOAT16
                                       : SD_PRECISION_AUTOCAST;
}

#endif
