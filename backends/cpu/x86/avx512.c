/* Kernels for AVX-512 (F, BW, DQ, VL): 14 x 32 sums in 28 of the 32 registers. */
#define SD_ISA "avx512"
#define SD_VL 16
#define SD_MR 14
#define SD_TABLE cpu_kernels_avx512
#include "../kernels/table.h"
