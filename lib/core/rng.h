/* The noise of PyTorch's generators. */
#ifndef SD_CORE_RNG_H
#define SD_CORE_RNG_H

#include "core/context.h"

typedef struct sd_generator {
    sd_rng kind;
    uint64_t seed;
    uint64_t offset;  /* Philox: counter of draws as torch.cuda counts them */
    uint32_t mt[624]; /* mt19937 */
    int mt_index;
    bool has_next_normal; /* the second value of a pair, as at::CPUGeneratorImpl keeps it */
    double next_normal;
} sd_generator;

/* torch.manual_seed(seed) */
void sdi_generator_init(sd_generator *g, sd_rng kind, uint64_t seed);

/* torch.randn(n) into `out`, advancing the generator as torch does: on the CPU the vectorised path
 * from 16 values upward and the scalar path below; on CUDA the grid-stride order of Philox. */
void sdi_generator_normal(sd_generator *g, float *out, int64_t n);

/* torch.nn.functional.dropout(x, p) in place: a value is kept with probability 1 - p, and divided
 * by it. On the CPU as bernoulli_'s default kernel draws, one double a value (torch built with MKL
 * takes MKL's generator on Intel processors), on CUDA in the order of the fused kernel. */
void sdi_generator_dropout(sd_generator *g, float *x, int64_t n, double p);

/* One block of Philox4x32-10: `x` is the counter and becomes the output. */
void sdi_philox4x32_10(uint32_t x[4], uint64_t key);

#endif
