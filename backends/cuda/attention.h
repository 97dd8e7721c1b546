/*
 * Shared by attention's kernels: one problem, and who can solve which.
 *
 *   attention.cu         chooses
 *   attention_split.cu   joins the parts where several blocks share a query's keys
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

#include <vector_types.h>

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

/* Is each token aligned to so many two-byte elements? */
static inline bool aligned_to(const void *p, int64_t ld, int elements) {
    return (uintptr_t)p % (size_t)(2 * elements) == 0 && ld % elements == 0;
}

/*
 * Where blocks are few and keys many, several blocks share a query's keys (n > 1). Each leaves its
 * sums, not divided by their weights' sum, its maximum of q . k and its sum of weights, which the
 * join puts together: [n][image][head][query][dim] and the same without dim.
 */
typedef struct attention_splits {
    int n, tiles_each;
    float *o;
    float2 *max_sum;
} attention_splits;

#ifdef __cplusplus
extern "C" {
#endif

/* For blocks of so many queries and tiles of so many keys; head size 512, others are not split.
 * While planning it notes the scratch. */
sd_status cuda_attention_split(sdb_queue *q, const cuda_attention_args *a, int rows, int keys,
                               attention_splits *s);
/* Nothing to do for one. */
sd_status cuda_attention_join(sdb_queue *q, const cuda_attention_args *a,
                              const attention_splits *s);

/* `_fits` says whether a kernel can take the problem; pointers are NULL while planning and then
 * count as aligned. Only hopper and wide want scratch, and are called while planning. */
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
