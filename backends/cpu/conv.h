/* Inside the convolution: conv.c, winograd.c, direct.c. */
#ifndef SD_CPU_CONV_H
#define SD_CPU_CONV_H

#include "kernels.h"

sd_status conv_winograd(sdb_queue *q, const sdb_conv2d *op);
sd_status conv_direct(sdb_queue *q, const sdb_conv2d *op);

/* A chunk of input channels: at most CPU_KC, cut at multiples of 16. */
static inline int conv_n_chunks(int cin) {
    return cpu_divide_up(cin, CPU_KC);
}
static inline int conv_chunk(int cin, int i) { /* its first channel; chunk n_chunks begins at cin */
    int units = cpu_divide_up(cin, 16), first = (int)((int64_t)units * i / conv_n_chunks(cin)) * 16;
    return first < cin ? first : cin;
}

/* Pixel (y, x) of image n of the input, after upsampling; where it is outside, CPU_KC zeros minus
 * the offset `c`, so that result + c can be read. */
const float *conv_pixel(const sdb_conv2d *op, int n, int y, int x, int c);

/* The epilogue of one panel and image: bias and embedding in `add` [nr], the rest by reference. */
void conv_bias(const sdb_conv2d *op, int nr, int panel, int n, float *add);
/* `rows` pixels of y in one row from (n, y, x): c is [rows][nr]. */
void conv_store(const sdb_conv2d *op, const cpu_kernels *k, int panel, const float *add, int n,
                int y, int x, int rows, const float *c);

#endif
