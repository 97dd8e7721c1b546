/*
 * All kernels for one instruction set. The including file defines SD_ISA (its name), SD_VL (floats
 * in a vector), SD_MR (rows of the micro-kernel's tile) and SD_TABLE (the table's symbol).
 */
#include "../kernels.h"
#include "../simd.h"

#define SD_NR (2 * SD_VL)

_Static_assert(SD_MR <= SD_VL && SD_MR <= 14, "pack_rows and gemm serve no larger tile");

#include "vmath.h"

#include "epilogue.h"
#include "gemm.h"
#include "softmax.h"

const cpu_kernels SD_TABLE = {
    .name = SD_ISA,
    .vl = SD_VL,
    .mr = SD_MR,
    .nr = SD_NR,
    .gemm = gemm,
    .widen = {[SDB_F32] = widen_f32, [SDB_F16] = widen_f16, [SDB_BF16] = widen_bf16},
    .pack_rows = pack_rows,
    .pack_slices = pack_slices,
    .pack_columns = pack_columns,
    .epilogue = epilogue,
    .softmax = softmax,
    .finish_attention = finish_attention,
};
