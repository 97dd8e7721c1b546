/* Tiles: where they lie, and how they blend. */
#include "pipeline/tiles.h"

#include "core/stop.h"

#include <string.h>

/* All tiles of one picture after another: planes [c_in, h, w] to [c_out, h', w']. */
typedef struct pass {
    const sd_tiling *tiling;
    int c_in, c_out;
    int h, w;          /* latents */
    int in, out;       /* see sd_tiling */
    int tile, overlap; /* latents */
    float *above;      /* the last rows of each tile of the row above: strip j at j * strip */
    size_t strip;
    float *left; /* the last columns of the tile to the left: [c_out, rows, overlap] */
} pass;

/* Tiles along a side of n latents. */
static int count_tiles(const pass *t, int n) {
    int step = t->tile - t->overlap;
    return n <= t->tile ? 1 : 1 + (n - t->tile + step - 1) / step;
}

static int tile_side(const pass *t, int n, int i) {
    int rest = n - i * (t->tile - t->overlap);
    return rest < t->tile ? rest : t->tile;
}

/* Fades `tile` [c, h, w] in over the strip [c, extent, w] of the tile above: h > extent, or there
 * would be no such tile. */
static void fade_down(float *tile, const float *strip, int c, int h, int w, int extent) {
    for (int k = 0; k < c; k++)
        for (int y = 0; y < extent; y++) {
            float *row = tile + ((size_t)k * (size_t)h + (size_t)y) * (size_t)w;
            const float *over = strip + ((size_t)k * (size_t)extent + (size_t)y) * (size_t)w;
            float share = (float)y / (float)extent;
            for (int x = 0; x < w; x++)
                row[x] = over[x] * (1.0f - share) + row[x] * share;
        }
}

/* Fades in to the right over the strip [c, h, extent] of the tile to the left. */
static void fade_right(float *tile, const float *strip, int c, int h, int w, int extent) {
    for (size_t y = 0; y < (size_t)c * (size_t)h; y++) {
        float *row = tile + y * (size_t)w;
        const float *over = strip + y * (size_t)extent;
        for (int x = 0; x < extent; x++) {
            float share = (float)x / (float)extent;
            row[x] = over[x] * (1.0f - share) + row[x] * share;
        }
    }
}

/* The strips that the tiles below and to the right fade in over. A shorter tile has none. */
static void keep_strips(pass *t, const float *tile, int j, int h, int w) {
    int extent = t->overlap * t->out;
    for (int k = 0; k < t->c_out && h >= extent; k++)
        memcpy(t->above + (size_t)j * t->strip + (size_t)k * (size_t)extent * (size_t)w,
               tile + ((size_t)k * (size_t)h + (size_t)(h - extent)) * (size_t)w,
               (size_t)extent * (size_t)w * sizeof *tile);
    for (size_t y = 0; y < (size_t)t->c_out * (size_t)h && w >= extent; y++)
        memcpy(t->left + y * (size_t)extent, tile + y * (size_t)w + (w - extent),
               (size_t)extent * sizeof *tile);
}

/* Tile (i, j) of the planes at `src`, alone. */
static sd_status compute_tile(const pass *t, sd_context *ctx, const float *src, int i, int j,
                              sd_tensor **out) {
    int step = t->tile - t->overlap;
    int rows = tile_side(t, t->h, i) * t->in, columns = tile_side(t, t->w, j) * t->in;
    int64_t dims[] = {1, t->c_in, rows, columns};
    size_t height = (size_t)t->h * (size_t)t->in, width = (size_t)t->w * (size_t)t->in;
    sd_tensor *in;
    sd_status status = sdi_tensor_new_raw(ctx, 4, dims, &in);
    if (status)
        return status;
    for (int k = 0; k < t->c_in; k++)
        for (int y = 0; y < rows; y++) {
            size_t row = (size_t)k * height + (size_t)(i * step * t->in + y);
            memcpy(in->data + ((size_t)k * (size_t)rows + (size_t)y) * (size_t)columns,
                   src + row * width + (size_t)(j * step * t->in), (size_t)columns * sizeof *src);
        }
    status = t->tiling->compute(t->tiling->user, in, out);
    sdi_tensor_free(in);
    return status;
}

/* Blends a tile and puts it into the planes at `dst`: all but what the next ones cover. */
static void place_tile(pass *t, float *tile, int i, int j, float *dst) {
    int step = (t->tile - t->overlap) * t->out, extent = t->overlap * t->out;
    int h = tile_side(t, t->h, i) * t->out, w = tile_side(t, t->w, j) * t->out;
    size_t height = (size_t)t->h * (size_t)t->out, width = (size_t)t->w * (size_t)t->out;
    if (i > 0)
        fade_down(tile, t->above + (size_t)j * t->strip, t->c_out, h, w, extent);
    if (j > 0)
        fade_right(tile, t->left, t->c_out, h, w, extent);
    keep_strips(t, tile, j, h, w);
    int rows = i + 1 < count_tiles(t, t->h) ? step : h;
    int columns = j + 1 < count_tiles(t, t->w) ? step : w;
    for (int k = 0; k < t->c_out; k++)
        for (int y = 0; y < rows; y++)
            memcpy(dst + ((size_t)k * height + (size_t)(i * step + y)) * width + (size_t)(j * step),
                   tile + ((size_t)k * (size_t)h + (size_t)y) * (size_t)w,
                   (size_t)columns * sizeof *tile);
}

/* Between two tiles the call can be cancelled. */
static sd_status run_tile(pass *t, sd_context *ctx, const float *src, int i, int j, float *dst) {
    sd_tensor *tile = NULL;
    sd_status status = compute_tile(t, ctx, src, i, j, &tile);
    if (status)
        return status;
    place_tile(t, tile->data, i, j, dst);
    sdi_tensor_free(tile);
    return sdi_check_interrupt(ctx);
}

static sd_status run_picture(pass *t, sd_context *ctx, const float *src, float *dst) {
    sd_status status = SD_OK;
    int rows = count_tiles(t, t->h), columns = count_tiles(t, t->w);
    for (int k = 0; k < rows * columns && !status; k++)
        status = run_tile(t, ctx, src, k / columns, k % columns, dst);
    return status;
}

sd_status sdi_tiles_run(const sd_tiling *tiling, const sd_tensor *from, int64_t first,
                        sd_tensor *to) {
    sd_context *ctx = from->ctx;
    pass t = {.tiling = tiling,
              .c_in = (int)from->dims[1],
              .c_out = (int)to->dims[1],
              .h = (int)from->dims[2] / tiling->in,
              .w = (int)from->dims[3] / tiling->in,
              .in = tiling->in,
              .out = tiling->out,
              .tile = tiling->tile,
              .overlap = tiling->overlap};
    size_t side = (size_t)t.tile * (size_t)t.out, extent = (size_t)t.overlap * (size_t)t.out;
    t.strip = (size_t)t.c_out * extent * side;
    t.above = sdi_alloc_array(ctx, (size_t)count_tiles(&t, t.w) * t.strip + 1, sizeof *t.above);
    t.left = sdi_alloc_array(ctx, t.strip + 1, sizeof *t.left); /* + 1: an overlap may be 0 */
    sd_status status = t.above && t.left ? SD_OK : SD_ERROR_MEMORY;
    int64_t n = to->dims[0], each = from->n_elements / from->dims[0];
    for (int64_t i = 0; i < n && !status; i++)
        status = run_picture(&t, ctx, from->data + (first + i) * each,
                             to->data + i * (to->n_elements / n));
    sdi_free(ctx, t.above);
    sdi_free(ctx, t.left);
    return status;
}
