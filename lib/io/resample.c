/*
 * PIL's Image.resize with LANCZOS, bit for bit (libImaging/Resample.c): weights in double, rounded
 * to 22 bits, a horizontal pass to 8 bits and then a vertical one. With alpha, colours are
 * multiplied by it first and divided afterwards, as PIL does for RGBA.
 */
#include "io/image.h"

#include "io/codec.h"

#include <math.h>
#include <string.h>

#define PRECISION_BITS (32 - 8 - 2)
#define SUPPORT 3.0
#define PI 3.14159265358979323846

/* The weights of one axis: output i is sum_j weights[i * width + j] input[first[i] + j]. */
typedef struct axis {
    int width;    /* weights kept for each output */
    int *first;   /* [n_out] */
    int *count;   /* [n_out] */
    int *weights; /* [n_out, width], times 2^PRECISION_BITS */
} axis;

static double sinc(double x) {
    if (x == 0.0)
        return 1.0;
    x *= PI;
    return sin(x) / x;
}

static double lanczos(double x) {
    return -SUPPORT <= x && x < SUPPORT ? sinc(x) * sinc(x / SUPPORT) : 0.0;
}

/* Adding 0.5 towards the sign and cutting: half away from zero. */
static int to_fixed(double w) {
    return (int)((w < 0 ? -0.5 : 0.5) + w * (1 << PRECISION_BITS));
}

/* One output's weights: normalised in double before they are rounded. */
static void make_weights(axis *a, int out, int n_in, double scale, double *row) {
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = SUPPORT * stretch, center = (out + 0.5) * scale, sum = 0.0;
    double step = 1.0 / stretch;
    int first = (int)(center - support + 0.5), last = (int)(center + support + 0.5);
    first = first < 0 ? 0 : first;
    last = last > n_in ? n_in : last;
    a->first[out] = first;
    a->count[out] = last - first;
    for (int j = 0; j < last - first; j++) {
        row[j] = lanczos((j + first - center + 0.5) * step);
        sum += row[j];
    }
    for (int j = 0; j < last - first; j++) {
        if (sum != 0.0)
            row[j] /= sum;
        a->weights[(size_t)out * (size_t)a->width + (size_t)j] = to_fixed(row[j]);
    }
}

static void axis_free(const sd_context *ctx, axis *a) {
    sdi_free(ctx, a->first);
    sdi_free(ctx, a->count);
    sdi_free(ctx, a->weights);
}

static sd_status axis_init(const sd_context *ctx, axis *a, int n_in, int n_out) {
    double scale = (double)n_in / n_out;
    a->width = (int)ceil(SUPPORT * (scale < 1.0 ? 1.0 : scale)) * 2 + 1;
    a->first = sdi_alloc_array(ctx, (size_t)n_out, sizeof *a->first);
    a->count = sdi_alloc_array(ctx, (size_t)n_out, sizeof *a->count);
    a->weights = sdi_alloc_array(ctx, (size_t)n_out * (size_t)a->width, sizeof *a->weights);
    double *row = sdi_alloc_array(ctx, (size_t)a->width, sizeof *row);
    bool ok = a->first && a->count && a->weights && row;
    for (int i = 0; ok && i < n_out; i++)
        make_weights(a, i, n_in, scale, row);
    sdi_free(ctx, row);
    return ok ? SD_OK : SD_ERROR_MEMORY;
}

static uint8_t clip8(int sum) {
    int v = sum >> PRECISION_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* src [h, w, c] to dst [h, n_out, c] */
static void resample_rows(uint8_t *dst, const uint8_t *src, int w, int h, int c, const axis *a,
                          int n_out) {
    for (int y = 0; y < h; y++, src += (size_t)w * (size_t)c) {
        for (int x = 0; x < n_out; x++) {
            const int *weights = a->weights + (size_t)x * (size_t)a->width;
            const uint8_t *p = src + (size_t)a->first[x] * (size_t)c;
            for (int i = 0; i < c; i++) {
                int sum = 1 << (PRECISION_BITS - 1);
                for (int j = 0; j < a->count[x]; j++)
                    sum += p[j * c + i] * weights[j];
                *dst++ = clip8(sum);
            }
        }
    }
}

/* src [h, stride] to dst [n_out, stride], where a row has `stride` bytes; `sums` is of that size.
 */
static void resample_columns(uint8_t *dst, const uint8_t *src, size_t stride, const axis *a,
                             int n_out, int *sums) {
    for (int y = 0; y < n_out; y++, dst += stride) {
        const int *weights = a->weights + (size_t)y * (size_t)a->width;
        const uint8_t *p = src + (size_t)a->first[y] * stride;
        for (size_t x = 0; x < stride; x++)
            sums[x] = 1 << (PRECISION_BITS - 1);
        for (int j = 0; j < a->count[y]; j++, p += stride)
            for (size_t x = 0; x < stride; x++)
                sums[x] += p[x] * weights[j];
        for (size_t x = 0; x < stride; x++)
            dst[x] = clip8(sums[x]);
    }
}

/* PIL's RGBA to RGBa and back. */
static void multiply_alpha(uint8_t *out, const uint8_t *in, size_t n) {
    for (size_t i = 0; i < n; i++, in += 4, out += 4) {
        for (int c = 0; c < 3; c++) {
            int t = in[c] * in[3] + 128;
            out[c] = (uint8_t)(((t >> 8) + t) >> 8);
        }
        out[3] = in[3];
    }
}

static void divide_alpha(uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++, p += 4) {
        for (int c = 0; c < 3 && p[3] != 0 && p[3] != 255; c++) {
            int v = 255 * p[c] / p[3];
            p[c] = (uint8_t)(v > 255 ? 255 : v);
        }
    }
}

/* Source rows -> [height, out width] -> [out height, out width]; a side that stays is not touched.
 */
static sd_status resample(const sd_context *ctx, const uint8_t *src, int w, int h, sd_image *out) {
    axis ax = {0}, ay = {0};
    uint8_t *rows = NULL;
    int *sums = NULL;
    int c = out->channels;
    size_t stride = (size_t)out->width * (size_t)c;
    sd_status status = SD_OK;
    if (out->width != w) {
        status = axis_init(ctx, &ax, w, out->width);
        if (!status && out->height != h && !(rows = sdi_alloc_array(ctx, (size_t)h, stride)))
            status = SD_ERROR_MEMORY;
        if (!status)
            resample_rows(rows ? rows : out->pixels, src, w, h, c, &ax, out->width);
    }
    if (!status && out->height != h) {
        status = axis_init(ctx, &ay, h, out->height);
        if (!status && !(sums = sdi_alloc_array(ctx, stride, sizeof *sums)))
            status = SD_ERROR_MEMORY;
        if (!status)
            resample_columns(out->pixels, rows ? rows : src, stride, &ay, out->height, sums);
    }
    sdi_free(ctx, rows);
    sdi_free(ctx, sums);
    axis_free(ctx, &ax);
    axis_free(ctx, &ay);
    return status;
}

sd_status sdi_image_lanczos(const sd_image *image, int width, int height, sd_image **out) {
    const sd_context *ctx = image->ctx;
    size_t n_in = (size_t)image->width * (size_t)image->height;
    size_t n_out = (size_t)width * (size_t)height;
    uint8_t *premultiplied = NULL;
    sd_status status = sdi_image_new(image->ctx, width, height, image->channels, out);
    if (status)
        return status;
    if (width == image->width && height == image->height) {
        memcpy((*out)->pixels, image->pixels, n_in * (size_t)image->channels);
        return SD_OK;
    }
    if (image->channels == 4) {
        premultiplied = sdi_alloc_array(ctx, n_in, 4);
        if (!premultiplied)
            status = SD_ERROR_MEMORY;
        else
            multiply_alpha(premultiplied, image->pixels, n_in);
    }
    if (!status)
        status = resample(ctx, premultiplied ? premultiplied : image->pixels, image->width,
                          image->height, *out);
    if (!status && image->channels == 4)
        divide_alpha((*out)->pixels, n_out);
    sdi_free(ctx, premultiplied);
    if (status) {
        sdi_image_free(*out);
        *out = NULL;
    }
    return status;
}
