/*
 * Every convolution and linear layer is one of these: an implicit GEMM over NHWC, never an im2col
 * buffer. Output pixel m = (image, oy, ox) of a logical grid [n, oh, ow] has
 *
 *   sum over taps (ty, tx) and channels i of
 *       x[image][oy * stride + ty - pad_y][ox * stride + tx - pad_x][i] * w[row][ty * kw + tx][i]
 *
 * with zeros outside the image; row is the output channel. Then the epilogue
 *
 *   y = scale * act(sum + bias[row] + emb[image][row]) + residual        (rows)
 *   y = value * gelu(gate)                                              (geglu, see cuda.h)
 *
 * A linear layer is 1x1 with n = h = 1 and w the number of tokens. A convolution of the nearest-2x
 * picture has phases = 4: phase p = 2 py + px computes output pixels (2 oy + py, 2 ox + px) over
 * the source's own grid with a 2x2 kernel, weights w + p * n_rows * taps * k, pad_y = 1 - py,
 * pad_x = 1 - px.
 */
#ifndef SD_CUDA_GEMM_H
#define SD_CUDA_GEMM_H

#include "cuda.h"

typedef struct cuda_gemm {
    /* x: [n, h, w, c], x_ld elements from pixel to pixel */
    const void *x;
    sdb_type type; /* of x, w, y, residual and emb: F16, BF16 or F32 */
    int n, h, w, c;
    int64_t x_ld;

    /* the logical grid and the kernel */
    int oh, ow;
    int kh, kw, stride, pad_y, pad_x;
    int phases; /* 1, or 4 with y_step = 2 */

    /* w: [phases][n_rows][kh * kw][k], k >= c padded with zeros */
    const void *weight;
    int n_rows, k;

    /* y's pixel for (image, oy, ox): (image * y_h + oy * y_step + py) * y_w + ox * y_step + px;
     * residual has the same places (residual_ld apart) and may be y */
    void *y;
    int64_t y_ld;
    int y_h, y_w, y_step;
    int n_out; /* channels written: n_rows, or with geglu the outputs */

    const float *bias; /* [n_rows] or NULL */
    const void *emb;   /* [n], emb_ld apart, or NULL */
    int64_t emb_ld;
    const void *residual; /* or NULL */
    int64_t residual_ld;
    sdb_act act;
    bool geglu;
    float scale;

    /* Statistics of y (backend.h), with parts of CUDA_PART pixels; NULL: not wanted */
    float2 *stats;    /* [n * parts][n_out / 2]: mean, sum of squared differences */
    int stats_pixels; /* of an image of y */
} cuda_gemm;

#define CUDA_PART 64

#ifdef __cplusplus
extern "C" {
#endif

/* Chooses among the kernels below and runs one; called with planning on, too. */
sd_status cuda_gemm_run(sdb_queue *q, const cuda_gemm *g, const char *what);

/* gemm_hopper.cu and gemm_hopper_persistent.cu: wgmma with operands by TMA, F16 and BF16, compute
 * capability 9.0. `_fits` says whether it can take the problem (alignment of x, y, residual: 16
 * bytes and 8 elements), and is the same while planning (pointers NULL). Split products keep
 * float32 partial sums in scratch and use q->counters. */
bool cuda_gemm_hopper_fits(const sdb_device *dev, const cuda_gemm *g);
sd_status cuda_gemm_hopper(sdb_queue *q, const cuda_gemm *g);
/* Whether it makes the statistics, too: images in boxes of whole parts. */
bool cuda_gemm_hopper_has_stats(const sdb_device *dev, const cuda_gemm *g);

/* gemm_mma.cu: mma.sync and cp.async, F16 and BF16, compute capability 8.0 and later. x must be
 * aligned to 16 bytes and x_ld to 8 elements. */
sd_status cuda_gemm_mma(sdb_queue *q, const cuda_gemm *g);

/* gemm_gather.cu: the same with operands gathered element by element and K = taps * c without
 * gaps: any alignment of x, and few channels. */
sd_status cuda_gemm_gather(sdb_queue *q, const cuda_gemm *g);

/* gemm_narrow.cu: 3x3 convolutions with up to 8 outputs, which read x once. */
bool cuda_gemm_narrow_fits(const sdb_device *dev, const cuda_gemm *g);
sd_status cuda_gemm_narrow(sdb_queue *q, const cuda_gemm *g);

/* gemm_few.cu: linear layers of up to 8 tokens. */
bool cuda_gemm_few_fits(const cuda_gemm *g);
sd_status cuda_gemm_few(sdb_queue *q, const cuda_gemm *g);

/* gemm_f32.cu: float32 multiply-adds, no TF32. */
sd_status cuda_gemm_f32(sdb_queue *q, const cuda_gemm *g);

/* norm_stats.cu: the statistics of y, read once more, where the product does not make them. */
sd_status cuda_gemm_stats(sdb_queue *q, const cuda_gemm *g);

/* gemm_reduce.cu: the epilogue over partial sums [phases][splits][n * oh * ow][n_pad] that a split
 * product left, added up in the order of the splits. n_pad is n_rows rounded up to 8. */
sd_status cuda_gemm_reduce(sdb_queue *q, const cuda_gemm *g, const float *partial, int splits);

#ifdef __cplusplus
}
#endif
#endif
