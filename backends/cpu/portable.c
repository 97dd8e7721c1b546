/* Kernels for any processor: four lanes are what SSE2, NEON and their like have at least. */
#define SD_ISA "portable"
#define SD_VL 4
#define SD_MR 4
#define SD_TABLE cpu_kernels_portable
#include "kernels/table.h"
