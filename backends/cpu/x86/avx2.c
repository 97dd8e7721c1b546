/* Kernels for AVX2 with FMA and F16C: 6 x 16 sums in 12 of the 16 registers. */
#define SD_ISA "avx2"
#define SD_VL 8
#define SD_MR 6
#define SD_TABLE cpu_kernels_avx2
#include "../kernels/table.h"
