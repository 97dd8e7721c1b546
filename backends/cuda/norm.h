/*
 * Group normalisation: what its ways share. norm_stats.cu does it in one pass where the product
 * that wrote x made its statistics, norm_cluster.cu in one launch where the blocks of a cluster can
 * hold a slab, norm_two.cu in two for any other 16-bit tensor with whole vectors, norm.cu in two
 * for everything else.
 *
 * A slab is a run of groups whose channels are whole vectors of WIDTH elements, and a column one
 * vector of the slab's pixel. A thread reads one column of every lanes-th pixel of its block. A
 * vector has channels of two groups at most: cuda_norm_slab sees to that.
 */
#ifndef SD_CUDA_NORM_H
#define SD_CUDA_NORM_H

#include "cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cuda_norm {
    const void *x;
    void *y;
    int64_t x_ld, y_ld;
    sdb_type x_type, y_type;
    int n, pixels, c; /* images, pixels of one, channels */
    int groups;
    float eps;
    const float *gamma, *beta; /* beta or NULL */
    sdb_act act;
} cuda_norm;

/* The fewest groups that make a slab for vectors of `width`; 0: there is none. */
int cuda_norm_slab(const cuda_norm *g, int width);

/* All three want x and y of one 16-bit type, aligned for vectors of 8, with whole slabs of them. */
/* The one pass that uses x's statistics, as an sdb_group_norm has them. */
bool cuda_norm_stats_fits(const cuda_norm *g, const sdb_tensor *stats);
sd_status cuda_norm_stats(sdb_queue *q, const cuda_norm *g, const sdb_tensor *stats);
bool cuda_norm_cluster_fits(const sdb_device *dev, const cuda_norm *g);
sd_status cuda_norm_cluster(sdb_queue *q, const cuda_norm *g);
bool cuda_norm_two_fits(const cuda_norm *g);
sd_status cuda_norm_two(sdb_queue *q, const cuda_norm *g);

#ifdef __cplusplus
}
#endif
#endif
