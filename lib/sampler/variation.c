/*
 * The first noise of a run as A1111's modules/rng.py varies it (ImageRNG.first): that of a subseed
 * is blended in along the sphere, and that of a picture of another size laid in its middle. Noise
 * of steps comes of generators of other seeds then, where eta_noise_seed_delta says so.
 */
#include "sampler/noise.h"

#include <math.h>
#include <string.h>

/* Noise [c, h, w]. */
typedef struct noise_size {
    int c, h, w;
} noise_size;

static int64_t count_of(noise_size s) {
    return (int64_t)s.c * s.h * s.w;
}

/* The first numbers of a seed. */
static void draw_seed(const sd_noise *noise, uint64_t seed, float *out, int64_t count) {
    sd_generator g;
    sdi_generator_init(&g, noise->kind, seed);
    sdi_generator_normal(&g, out, count);
}

/* The cosine between the columns of x and y at `at`, which is over their h values. */
static double cosine(const float *x, const float *y, noise_size s, int64_t at) {
    double xx = 0.0, yy = 0.0, xy = 0.0;
    for (int i = 0; i < s.h; i++) {
        double a = (double)x[at + (int64_t)i * s.w], b = (double)y[at + (int64_t)i * s.w];
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    double c = xy / sqrt(xx * yy);
    return c > 1.0 ? 1.0 : c < -1.0 ? -1.0 : c;
}

/* Place of column `i` of c * w. */
static int64_t column(noise_size s, int64_t i) {
    return i / s.w * s.h * s.w + i % s.w;
}

/* slerp(amount, x, y) of that file, which goes column by column, and into x. Almost equal noises
 * are blended in a line, the other way round, as there. */
static void slerp(double amount, float *x, const float *y, noise_size s) {
    double mean = 0.0;
    int64_t columns = (int64_t)s.c * s.w;
    for (int64_t i = 0; i < columns; i++)
        mean += cosine(x, y, s, column(s, i)) / (double)columns;
    for (int64_t i = 0; i < columns; i++) {
        int64_t at = column(s, i);
        double omega = acos(cosine(x, y, s, at)), so = sin(omega);
        double keep = sin((1.0 - amount) * omega) / so, take = sin(amount * omega) / so;
        if (mean > 0.9995 || !(so > 1e-9)) {
            keep = mean > 0.9995 ? amount : 1.0 - amount;
            take = 1.0 - keep;
        }
        for (int k = 0; k < s.h; k++) {
            float *v = x + at + (int64_t)k * s.w;
            *v = (float)(keep * (double)*v + take * (double)y[at + (int64_t)k * s.w]);
        }
    }
}

static int larger(int a, int b) {
    return a > b ? a : b;
}

/* Lays the middle of `from` over the middle of `to`. */
static void lay(float *to, noise_size t, const float *from, noise_size f) {
    int dx = (t.w - f.w) >> 1, dy = (t.h - f.h) >> 1; /* Python's // rounds down */
    int w = dx >= 0 ? f.w : f.w + 2 * dx, h = dy >= 0 ? f.h : f.h + 2 * dy;
    for (int c = 0; c < t.c; c++)
        for (int y = 0; y < h; y++)
            memcpy(to + ((int64_t)c * t.h + larger(dy, 0) + y) * t.w + larger(dx, 0),
                   from + ((int64_t)c * f.h + larger(-dy, 0) + y) * f.w + larger(-dx, 0),
                   (size_t)w * sizeof *to);
}

/* Picture i's noise `x`, which its generator drew. `scratch` has room for two of size `from`. */
static void vary(const sd_noise *noise, int i, float *x, noise_size size, noise_size from,
                 float *scratch) {
    const sd_variation *v = &noise->variation;
    bool resized = from.h != size.h || from.w != size.w;
    float *own = resized ? scratch : x, *other = scratch + count_of(from);
    if (resized)
        draw_seed(noise, noise->seeds[i], own, count_of(from));
    if (v->strength != 0.0) {
        draw_seed(noise, v->subseed + (uint64_t)i, other, count_of(from));
        slerp(v->strength, own, other, from);
    }
    if (resized)
        lay(x, size, own, from);
}

sd_status sdi_noise_first(sd_noise *noise, const sd_context *ctx, int draws, int c, int h, int w,
                          float *out) {
    const sd_variation *v = &noise->variation;
    noise_size size = {c, h, w}, from = {c, v->h > 0 ? v->h : h, v->h > 0 ? v->w : w};
    sdi_noise_restart(noise);
    for (int i = 0; i < draws; i++)
        sdi_noise_draw(noise, out, count_of(size));
    if (v->strength != 0.0 || v->h > 0) {
        float *scratch = sdi_alloc_array(ctx, 2 * (size_t)count_of(from), sizeof *scratch);
        if (!scratch)
            return SD_ERROR_MEMORY;
        for (int i = 0; i < noise->n_pictures; i++)
            vary(noise, i, out + i * count_of(size), size, from, scratch);
        sdi_free(ctx, scratch);
    }
    for (int i = 0; i < noise->n_generators && v->delta != 0; i++)
        sdi_generator_init(&noise->generators[i], noise->kind, noise->seeds[i] + v->delta);
    return SD_OK;
}
