/*
 * Shared by gemm_hopper.cu and gemm_hopper_persistent.cu on the host's side.
 */
#ifndef SD_CUDA_GEMM_HOPPER_H
#define SD_CUDA_GEMM_HOPPER_H

#include "gemm_hopper.cuh"

/*
 * How blocks share out the tiles. Of gemm_hopper.cuh:
 *   BLOCKS    each has one, or a part of its sum.
 * Of gemm_hopper_persistent.cuh:
 *   TURNS     each makes tile after tile, a warpgroup one while the other finishes another;
 *   TOGETHER  each makes tile after tile, half of one in a warpgroup;
 *   SPLIT     the same with one tile, of which the blocks of a cluster make parts of the sum.
 */
enum hopper_way { HOPPER_BLOCKS, HOPPER_TURNS, HOPPER_TOGETHER, HOPPER_SPLIT };

typedef struct hopper_choice {
    hopper_way way;
    int bn, mt; /* the tile: mt boxes by bn rows */
    int ck;     /* parts of the sum: the cluster */
    int stages; /* BLOCKS only, as the next */
    bool early; /* a place of its own for the residual, which comes in during the products */
} hopper_choice;

typedef struct hopper_boxes {
    int bw, bh, bn;
    int x, y, total; /* boxes in a row, rows of boxes in an image, boxes in all */
} hopper_boxes;

/* A map of a tensor of 16-bit numbers. Boxes are swizzled where their rows are 32, 64 or 128 bytes.
 */
sd_status hopper_encode(sdb_queue *q, CUtensorMap *map, const cuda_gemm *g, const void *data,
                        int rank, const cuuint64_t *dims, const cuuint64_t *strides,
                        const cuuint32_t *box, const cuuint32_t *steps);

hopper_end hopper_end_of(const cuda_gemm *g);

/* How many multiprocessors clusters of `ck` large blocks fill. */
double hopper_reach(const sdb_device *dev, int ck);

/* Whether blocks that stay can take the problem, and their best choice. */
bool hopper_persistent_fits(const sdb_device *dev, const cuda_gemm *g);
hopper_choice hopper_persistent_choose(const sdb_device *dev, const cuda_gemm *g,
                                       const hopper_boxes *boxes);
sd_status hopper_persistent_run(sdb_queue *q, const cuda_gemm *g, const hopper_choice *c,
                                const hopper_boxes *boxes, const hopper_params *p);

#endif
