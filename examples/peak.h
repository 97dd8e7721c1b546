/* The most that the machine can do, measured: the ceilings that benchmarks are quoted against. */
#ifndef SD_EXAMPLES_PEAK_H
#define SD_EXAMPLES_PEAK_H

/* float32 multiply-adds in registers on n_threads threads at once: FLOP/s, two per FMA. Takes about
 * a quarter of a second. *isa (may be NULL) gets "avx512", "avx2" or "portable". */
double peak_fma(int n_threads, const char **isa);

/* Copying memory much larger than the caches, on one thread: bytes read plus bytes written, per
 * second. 0 where the memory cannot be had. */
double peak_copy(void);

/* The ceilings of NVIDIA card number `device`; NULL where there is no driver or no such card. Takes
 * 400 MB of its memory. */
typedef struct peak_cuda peak_cuda;
peak_cuda *peak_cuda_new(int device);
void peak_cuda_free(peak_cuda *p);

/* FLOP/s of cuBLAS multiplying two float16 matrices of 8192 x 8192 random numbers with float32
 * sums; 0 where cuBLAS is not found. */
double peak_cuda_matrix(peak_cuda *p);
/* Copying within the card's memory: bytes read plus bytes written, per second. */
double peak_cuda_copy(peak_cuda *p);

/* Monotonic seconds. */
double peak_clock(void);

#endif
