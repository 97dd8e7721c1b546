/* Reads, blurs, cuts out by and shrinks a mask, and lays what was painted over the picture. */
#include "io/mask.h"

#include "io/image.h"
#include "io/pixel_format.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------- reading a mask */

int sdi_image_grey(const sd_image *image, size_t i) {
    const uint8_t *p = image->pixels + i * (size_t)image->channels;
    return image->channels == 1 ? p[0] : sdi_grey(p[0], p[1], p[2]);
}

static size_t area(const sd_image *image) {
    return (size_t)image->width * (size_t)image->height;
}

/*
 * Drawing programs keep a mask in the alpha channel under one colour. Pixels that cannot be seen
 * may have another, unless they are white and the others are not: the colours are a mask then.
 */
static bool is_in_alpha(const sd_image *mask) {
    if (mask->channels != 4)
        return false;
    const uint8_t *p = mask->pixels, *seen = NULL;
    bool thin = false, thick = false, hidden_white = false;
    for (size_t i = 0; i < area(mask); i++, p += 4) {
        thin |= p[3] < SD_MASK_WHITE;
        thick |= p[3] >= SD_MASK_WHITE;
        if (p[3] == 0)
            hidden_white |= sdi_image_grey(mask, i) >= SD_MASK_WHITE;
        else if (!seen)
            seen = p;
        else if (memcmp(p, seen, 3) != 0)
            return false;
    }
    if (!thin || !thick)
        return false;
    return !hidden_white ||
           sdi_image_grey(mask, (size_t)(seen - mask->pixels) / 4) >= SD_MASK_WHITE;
}

/* Gaussian weights of distance 0 to `radius`, of which those on both sides sum to 1. */
static void make_weights(double sigma, int radius, float *weights) {
    double sum = 0;
    for (int i = 0; i <= radius; i++)
        sum += (i ? 2 : 1) * exp(-0.5 * i * i / (sigma * sigma));
    for (int i = 0; i <= radius; i++)
        weights[i] = (float)(exp(-0.5 * i * i / (sigma * sigma)) / sum);
}

static int clamp(int i, int n) {
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* One pass along the rows of `from` [h, w], written as columns: to [w, h]. Edges go on. */
static void blur_rows(const float *from, int h, int w, const float *weights, int radius,
                      float *to) {
    for (int y = 0; y < h; y++, from += w)
        for (int x = 0; x < w; x++) {
            float sum = weights[0] * from[x];
            for (int i = 1; i <= radius; i++)
                sum += weights[i] * (from[clamp(x - i, w)] + from[clamp(x + i, w)]);
            to[(size_t)x * (size_t)h + (size_t)y] = sum;
        }
}

static sd_status blur(sd_image *grey, double sigma) {
    const sd_context *ctx = grey->ctx;
    int radius = (int)ceil(4 * sigma), w = grey->width, h = grey->height;
    float *weights = sdi_alloc_array(ctx, (size_t)radius + 1, sizeof *weights);
    float *a = sdi_alloc_array(ctx, area(grey), sizeof *a);
    float *b = sdi_alloc_array(ctx, area(grey), sizeof *b);
    bool ok = weights && a && b;
    if (ok) {
        make_weights(sigma, radius, weights);
        for (size_t i = 0; i < area(grey); i++)
            a[i] = grey->pixels[i];
        blur_rows(a, h, w, weights, radius, b);
        blur_rows(b, w, h, weights, radius, a);
        for (size_t i = 0; i < area(grey); i++)
            grey->pixels[i] = (uint8_t)clamp((int)(a[i] + 0.5f), 256);
    }
    sdi_free(ctx, weights);
    sdi_free(ctx, a);
    sdi_free(ctx, b);
    return ok ? SD_OK : SD_ERROR_MEMORY;
}

sd_status sdi_mask_prepare(const sd_image *mask, const sd_masking *how, sd_image **grey) {
    bool alpha = is_in_alpha(mask);
    sd_status status = sdi_image_new(mask->ctx, mask->width, mask->height, 1, grey);
    if (status)
        return status;
    if (alpha)
        sdi_log(mask->ctx, SD_LOG_LEVEL_WARN,
                "sd_generate_params.mask has one colour: the mask is its alpha channel");
    for (size_t i = 0; i < area(mask); i++) {
        int v = alpha ? mask->pixels[4 * i + 3] : sdi_image_grey(mask, i);
        (*grey)->pixels[i] = (uint8_t)(how->invert ? 255 - v : v);
    }
    return how->blur > 0 ? blur(*grey, how->blur) : SD_OK;
}

bool sdi_mask_is_soft(const sd_image *grey) {
    for (size_t i = 0; i < area(grey); i++)
        if (grey->pixels[i] != 0 && grey->pixels[i] != 255)
            return true;
    return false;
}

/* --------------------------------------------------------------------- only what is masked */

/* The rectangle of all that is not black; w 0: there is none. */
static sd_rect bounds(const sd_image *grey) {
    int left = grey->width, top = grey->height, right = 0, bottom = 0;
    for (int y = 0; y < grey->height; y++)
        for (int x = 0; x < grey->width; x++) {
            if (!grey->pixels[(size_t)y * (size_t)grey->width + (size_t)x])
                continue;
            left = x < left ? x : left;
            right = x >= right ? x + 1 : right;
            top = y < top ? y : top;
            bottom = y + 1;
        }
    return right ? (sd_rect){left, top, right - left, bottom - top} : (sd_rect){0, 0, 0, 0};
}

/* A stretch of the axis made `wanted` long, or as long as the axis, around its middle where it can.
 */
static void widen(int *begin, int *length, int wanted, int n) {
    wanted = wanted > n ? n : wanted;
    if (wanted <= *length)
        return;
    *begin -= (wanted - *length) / 2;
    *length = wanted;
    *begin = *begin < 0 ? 0 : *begin > n - wanted ? n - wanted : *begin;
}

sd_rect sdi_mask_region(const sd_image *grey, int padding, int width, int height) {
    sd_rect r = bounds(grey);
    if (!r.w)
        return (sd_rect){0, 0, grey->width, grey->height};
    int left = r.x < padding ? 0 : r.x - padding, top = r.y < padding ? 0 : r.y - padding;
    int64_t right = (int64_t)r.x + r.w + padding, bottom = (int64_t)r.y + r.h + padding;
    r.x = left;
    r.y = top;
    r.w = (int)(right > grey->width ? grey->width : right) - left;
    r.h = (int)(bottom > grey->height ? grey->height : bottom) - top;
    widen(&r.x, &r.w, (int)((int64_t)r.h * width / height), grey->width);
    widen(&r.y, &r.h, (int)((int64_t)r.w * height / width), grey->height);
    return r;
}

sd_rect sdi_rect_fit(int w, int h, int width, int height) {
    sd_rect r = {0, 0, width, height};
    if ((int64_t)w * height > (int64_t)h * width)
        r.h = (int)(((int64_t)h * width + w / 2) / w);
    else
        r.w = (int)(((int64_t)w * height + h / 2) / h);
    r.w = r.w < 1 ? 1 : r.w > width ? width : r.w;
    r.h = r.h < 1 ? 1 : r.h > height ? height : r.h;
    r.x = (width - r.w) / 2;
    r.y = (height - r.h) / 2;
    return r;
}

sd_status sdi_image_cut(const sd_image *image, sd_rect rect, sd_image **out) {
    size_t c = (size_t)image->channels, row = (size_t)rect.w * c;
    sd_status status = sdi_image_new(image->ctx, rect.w, rect.h, image->channels, out);
    for (int y = 0; !status && y < rect.h; y++)
        memcpy((*out)->pixels + (size_t)y * row,
               image->pixels + ((size_t)(rect.y + y) * (size_t)image->width + (size_t)rect.x) * c,
               row);
    return status;
}

sd_status sdi_image_lay(const sd_image *image, sd_rect from, sd_rect to, int width, int height,
                        sd_image **out) {
    sd_image *cut = NULL, *fitted = NULL;
    size_t c = (size_t)image->channels;
    *out = NULL;
    sd_status status = sdi_image_cut(image, from, &cut);
    if (!status)
        status = sdi_image_lanczos(cut, to.w, to.h, &fitted);
    if (!status)
        status = sdi_image_new(image->ctx, width, height, image->channels, out);
    for (int y = 0; !status && y < height; y++)
        for (int x = 0; x < width; x++) {
            size_t row = (size_t)clamp(y - to.y, to.h), column = (size_t)clamp(x - to.x, to.w);
            memcpy((*out)->pixels + ((size_t)y * (size_t)width + (size_t)x) * c,
                   fitted->pixels + (row * (size_t)to.w + column) * c, c);
        }
    sdi_image_free(cut);
    sdi_image_free(fitted);
    return status;
}

/* ------------------------------------------------------------------------------- blending */

/* libImaging's BLEND: a number in 255ths, rounded. */
static uint8_t mix(int under, int over, int amount) {
    int t = under * (255 - amount) + over * amount + 128;
    return (uint8_t)(((t >> 8) + t) >> 8);
}

void sdi_image_blend(const sd_image *under, const uint8_t *amount, sd_image *out) {
    size_t channels = (size_t)under->channels;
    for (size_t i = 0; i < area(out); i++)
        for (size_t k = 0; k < 3; k++) {
            uint8_t *p = out->pixels + 3 * i + k;
            *p = mix(under->pixels[channels * i + (channels == 1 ? 0 : k)], *p, amount[i]);
        }
}

/* ------------------------------------------------------------------- what the log is told */

typedef struct parts {
    int n, n_missed;
    sd_rect largest; /* of those that reach no latent */
    int64_t largest_area;
} parts;

/* Pixels that are white and of no part yet, and those of the part that is being filled. */
typedef struct field {
    uint8_t *left;
    int *stack;
    int h, w, scale;
} field;

/* One part, 8-connected, from a pixel of it. */
static void fill_part(field *f, int start, parts *all) {
    int top = 0, left = f->w, right = -1, upper = f->h, lower = -1;
    int64_t n = 0;
    bool reached = false;
    f->stack[top++] = start;
    f->left[start] = 0;
    while (top > 0) {
        int at = f->stack[--top], x = at % f->w, y = at / f->w;
        reached |= x % f->scale == 0 && y % f->scale == 0;
        left = x < left ? x : left;
        right = x > right ? x : right;
        upper = y < upper ? y : upper;
        lower = y > lower ? y : lower;
        n++;
        for (int k = 0; k < 9; k++) {
            int nx = x + k % 3 - 1, ny = y + k / 3 - 1, next = ny * f->w + nx;
            if (nx < 0 || ny < 0 || nx >= f->w || ny >= f->h || !f->left[next])
                continue;
            f->left[next] = 0;
            f->stack[top++] = next;
        }
    }
    all->n++;
    all->n_missed += !reached;
    if (!reached && n > all->largest_area) {
        all->largest_area = n;
        all->largest = (sd_rect){left, upper, right - left + 1, lower - upper + 1};
    }
}

/* False: no memory, and nothing is known. */
static bool find_parts(const sd_context *ctx, const float *white, int h, int w, int scale,
                       parts *all) {
    size_t n = (size_t)h * (size_t)w;
    field f = {sdi_alloc(ctx, n), sdi_alloc_array(ctx, n, sizeof *f.stack), h, w, scale};
    bool ok = f.left && f.stack;
    for (size_t i = 0; ok && i < n; i++)
        f.left[i] = white[i] >= 0.5f;
    for (size_t i = 0; ok && i < n; i++)
        if (f.left[i])
            fill_part(&f, (int)i, all);
    sdi_free(ctx, f.left);
    sdi_free(ctx, f.stack);
    return ok;
}

static void warn_thin(const sd_context *ctx, const parts *p, int h, int w, int scale) {
    if (!p->n)
        sdi_log(
            ctx, SD_LOG_LEVEL_WARN,
            "sd_generate_params.mask: nothing of it is left at %d x %d pixels, where its white is "
            "too thin",
            w, h);
    else if (p->n_missed)
        sdi_log(
            ctx, SD_LOG_LEVEL_WARN,
            "sd_generate_params.mask: %d of its %d white parts reach no latent (the largest has %d "
            "x %d pixels at %d, %d): a latent is painted where the first pixel of its %d x %d is "
            "white, with any_pixel of sd_mask_params where any is",
            p->n_missed, p->n, p->largest.w, p->largest.h, p->largest.x, p->largest.y, scale,
            scale);
}

void sdi_mask_warn(const sd_image *grey, const float *white, int h, int w, int scale,
                   bool any_pixel) {
    const sd_context *ctx = grey->ctx;
    size_t n_white = 0;
    parts found = {0};
    if (!ctx->host.log || ctx->host.log_level < SD_LOG_LEVEL_WARN)
        return;
    for (size_t i = 0; i < area(grey); i++)
        n_white += grey->pixels[i] >= SD_MASK_WHITE;
    if (n_white == 0)
        sdi_log(ctx, SD_LOG_LEVEL_WARN,
                "sd_generate_params.mask has no white pixel (grey from %d on): nothing is painted",
                SD_MASK_WHITE);
    else if (n_white == area(grey))
        sdi_log(ctx, SD_LOG_LEVEL_WARN,
                "sd_generate_params.mask is white everywhere: everything is painted");
    else if (find_parts(ctx, white, h, w, scale, &found) && (!any_pixel || !found.n))
        warn_thin(ctx, &found, h, w, scale);
}

/* ------------------------------------------------------------------------- as latents see it */

/* Whether any pixel of a square is white, or, without `any`, its first. */
static bool is_white(const float *square, size_t stride, int scale, bool any) {
    bool white = square[0] >= 0.5f;
    for (int i = 1; any && !white && i < scale * scale; i++)
        white = square[(size_t)(i / scale) * stride + (size_t)(i % scale)] >= 0.5f;
    return white;
}

/* The mask at the size of latents [h, w] by torch's interpolate, whose default takes the nearest
 * pixel: of each square the first. */
void sdi_shrink_mask(const float *mask, int h, int w, int scale, bool any, float off, float on,
                     float *out) {
    size_t stride = (size_t)(w * scale);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            const float *square = mask + (size_t)(y * scale) * stride + (size_t)(x * scale);
            *out++ = is_white(square, stride, scale, any) ? on : off;
        }
}
