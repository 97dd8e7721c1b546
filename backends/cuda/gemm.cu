/* Which kernel computes a cuda_gemm. */
#include "gemm.h"
#include "launch.cuh"

static bool is_16_bits(sdb_type type) {
    return type == SDB_F16 || type == SDB_BF16;
}

/* Rows of x in whole 16 bytes; while planning x is NULL. */
static bool x_is_aligned(const cuda_gemm *g) {
    return (uintptr_t)g->x % 16 == 0 && g->x_ld % 8 == 0;
}

static sd_status run_portable(sdb_queue *q, const cuda_gemm *g) {
    /* A slice of 64 channels would be nearly empty. */
    bool few_channels = g->kh * g->kw > 1 && g->c <= 8;
    if (!x_is_aligned(g) || few_channels)
        return cuda_gemm_gather(q, g);
    return cuda_gemm_mma(q, g);
}

extern "C" sd_status cuda_gemm_run(sdb_queue *q, const cuda_gemm *g, const char *what) {
    sd_status status = SD_OK;
    bool made = false; /* the statistics */
    if (!is_16_bits(g->type)) {
        status = cuda_gemm_f32(q, g);
    } else if (q->planning) {
        /* Where the tensors will be is not known yet: room for any choice. */
        if (cuda_gemm_hopper_fits(q->dev, g))
            status = cuda_gemm_hopper(q, g);
        if (status == SD_OK)
            status = run_portable(q, g);
    } else if (cuda_gemm_narrow_fits(q->dev, g)) {
        status = cuda_gemm_narrow(q, g);
    } else if (cuda_gemm_hopper_fits(q->dev, g)) {
        status = cuda_gemm_hopper(q, g);
        made = cuda_gemm_hopper_has_stats(q->dev, g);
    } else if (cuda_gemm_few_fits(g)) {
        status = cuda_gemm_few(q, g);
    } else {
        status = run_portable(q, g);
    }
    if (status != SD_OK || q->planning)
        return status;
    status = CUDA_LAUNCHED(q, what);
    return status == SD_OK && g->stats && !made ? cuda_gemm_stats(q, g) : status;
}
