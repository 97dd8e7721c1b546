/*
 * All kernels for one instruction set. The including file defines SD_ISA (its name), SD_VL (floats
 * in a vector), SD_MR (rows of the micro-kernel's tile) and SD_TABLE (the table's symbol).
 */
#include "../kernels.h"
#include "../simd.h"

#define SD_NR (2 * SD_VL)

_Static_assert(SD_MR <= SD_VL && SD_MR <= 14, "pack_rows and gemm serve no larger tile");

_Static_assert(SD_NR <= CPU_MAX_NR, "buffers of a panel's width");

#include "vmath.h"

#include "conv_gemm.h"
#include "elementwise.h"
#include "epilogue.h"
#include "gemm.h"
#include "norm.h"
#include "softmax.h"
#include "winograd.h"

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
    .conv_gemm = conv_gemm,
    .winograd_input = winograd_input,
    .winograd_weights = winograd_weights,
    .winograd_output = winograd_output,
    .channel_sums = channel_sums,
    .normalise = normalise,
    .layer_norm = layer_norm,
    .scale_add = scale_add,
    .activate = activate,
    .softmax = softmax,
    .finish_attention = finish_attention,
};
