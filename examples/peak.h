/* What the machine can do at most, measured: the ceilings that benchmarks are quoted against. */
#ifndef SD_EXAMPLES_PEAK_H
#define SD_EXAMPLES_PEAK_H

/* float32 multiply-adds in registers on n_threads threads at once: FLOP/s, two per FMA. Takes about
 * a quarter of a second. *isa (may be NULL) gets "avx512", "avx2" or "portable". */
double peak_fma(int n_threads, const char **isa);

/* Copying memory much larger than the caches, on one thread: bytes read plus bytes written, per
 * second. 0 where the memory cannot be had. */
double peak_copy(void);

/* Monotonic seconds. */
double peak_clock(void);

#endif
