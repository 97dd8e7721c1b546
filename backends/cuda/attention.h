/*
 * What attention's kernels share: one problem, and who can solve which.
 *
 *   attention.cu         chooses
 *   attention_hopper.cu  wgmma and TMA, F16 and BF16, compute capability 9.0, long sequences
 *   attention_prompt.cu  mma.sync, F16 and BF16, few keys: a prompt's 77
 *   attention_mma.cu     mma.sync and cp.async, F16 and BF16, the usual head sizes up to 256
 *   attention_wide.cu    mma.sync, head size 512 (the autoencoder's one head)
 *   attention_simt.cu    float32 arithmetic, every type, head size up to 1024 and alignment
 *
 * All compute softmax by one pass over the keys with a running maximum and sum (Milakov and
 * Gimelshein 2018; Dao 2023, "FlashAttention-2"), so scores never reach memory.
 */
#ifndef SD_CUDA_ATTENTION_H
#define SD_CUDA_ATTENTION_H

#include "cuda.h"

/* q, y: [n, tq, heads * dim]; k, v: [n, tk, heads * dim], each with its distance between tokens */
typedef struct cuda_attention_args {
    const void *q, *k, *v;
    void *y;
    int64_t q_ld, k_ld, v_ld, y_ld;
    int n, heads, dim, tq, tk;
    bool causal;
    float scale;
    sdb_type type;
} cuda_attention_args;

#ifdef __cplusplus
extern "C" {
#endif

/* `_fits` says whether a kernel can take the problem; pointers are NULL while planning and then
 * count as aligned. */
bool cuda_attention_hopper_fits(const sdb_device *dev, const cuda_attention_args *a);
sd_status cuda_attention_hopper(sdb_queue *q, const cuda_attention_args *a);

bool cuda_attention_prompt_fits(const sdb_device *dev, const cuda_attention_args *a);
sd_status cuda_attention_prompt(sdb_queue *q, const cuda_attention_args *a);

bool cuda_attention_mma_fits(const sdb_device *dev, const cuda_attention_args *a);
sd_status cuda_attention_mma(sdb_queue *q, const cuda_attention_args *a);

bool cuda_attention_wide_fits(const sdb_device *dev, const cuda_attention_args *a);
sd_status cuda_attention_wide(sdb_queue *q, const cuda_attention_args *a);

sd_status cuda_attention_simt(sdb_queue *q, const cuda_attention_args *a);

#ifdef __cplusplus
}
#endif
#endif
