/*
 * PNG by libpng. Its errors leave by longjmp to the setjmp of read_png or write_png; everything
 * that must be given back lives in a struct of their caller. The jump crosses libpng's frames only.
 * (Creating libpng's structs reports failures by NULL and never jumps.)
 */
#include "io/codec.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

#define MAX_CHUNK (8u << 20) /* text and profiles beyond this are not looked at */

typedef struct codec {
    const sd_context *ctx;
    const char *name;
    png_structp png;
    png_infop info;
    jmp_buf jump;
    bool no_memory;
    sd_status status;
} codec;

static PNG_NORETURN void on_error(png_structp png, png_const_charp message) {
    codec *c = png_get_error_ptr(png);
    c->status = c->no_memory ? sdi_fail(c->ctx, SD_ERROR_MEMORY, "%s: out of memory", c->name)
                             : sdi_fail(c->ctx, SD_ERROR_FORMAT, "%s: PNG: %s", c->name, message);
    longjmp(c->jump, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    const codec *c = png_get_error_ptr(png);
    sdi_log(c->ctx, SD_LOG_LEVEL_DEBUG, "%s: PNG: %s", c->name, message);
}

static png_voidp allocate(png_structp png, png_alloc_size_t size) {
    codec *c = png_get_mem_ptr(png);
    void *p = sdi_alloc(c->ctx, size);
    c->no_memory = c->no_memory || !p;
    return p;
}

static void release(png_structp png, png_voidp ptr) {
    codec *c = png_get_mem_ptr(png);
    sdi_free(c->ctx, ptr);
}

/* ------------------------------------------------------------------------------- reading */

typedef struct reader {
    codec c;
    const uint8_t *bytes;
    size_t size, at;
    sd_context *ctx;
    bool keep_alpha;
    sd_image *image;
} reader;

static void read_bytes(png_structp png, png_bytep out, size_t n) {
    reader *r = png_get_io_ptr(png);
    if (n > r->size - r->at)
        png_error(png, "the file ends too early");
    memcpy(out, r->bytes + r->at, n);
    r->at += n;
}

/* Asks libpng for RGB as PIL has it: gamma ignored, 16 bits cut to 8, and alpha and tRNS dropped or
 * kept. */
static void set_transforms(png_structp png, int type, int depth, bool alpha) {
    if (alpha || type == PNG_COLOR_TYPE_PALETTE)
        png_set_expand(png);
    else if (type == PNG_COLOR_TYPE_GRAY && depth < 8)
        png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16)
        png_set_strip_16(png);
    if (type == PNG_COLOR_TYPE_GRAY || type == PNG_COLOR_TYPE_GRAY_ALPHA)
        png_set_gray_to_rgb(png);
    if (!alpha)
        png_set_strip_alpha(png);
}

static sd_status read_png(reader *r) {
    png_structp png = r->c.png;
    if (setjmp(r->c.jump))
        return r->c.status;
    png_uint_32 width, height;
    int depth, type;
    png_set_read_fn(png, r, read_bytes);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* sdi_check_image_file has ours */
    png_set_chunk_malloc_max(png, MAX_CHUNK);
    png_read_info(png, r->c.info);
    png_get_IHDR(png, r->c.info, &width, &height, &depth, &type, NULL, NULL, NULL);
    bool transparent =
        type & PNG_COLOR_MASK_ALPHA || png_get_valid(png, r->c.info, PNG_INFO_tRNS) != 0;
    bool alpha = r->keep_alpha && transparent;
    /* deflate makes at most 1,032 bytes of one, a byte holds at most 8 pixels */
    sd_status status = sdi_check_image_file(r->ctx, r->c.name, width, height, r->size, 1032 * 8);
    if (!status)
        status = sdi_image_new(r->ctx, (int)width, (int)height, alpha ? 4 : 3, &r->image);
    if (status)
        return status;
    set_transforms(png, type, depth, alpha);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, r->c.info);
    size_t stride = (size_t)width * (alpha ? 4 : 3);
    if (png_get_rowbytes(png, r->c.info) != stride)
        png_error(png, "rows of an unexpected size");
    for (int pass = 0; pass < passes; pass++)
        for (size_t y = 0; y < height; y++)
            png_read_row(png, r->image->pixels + y * stride, NULL);
    png_read_end(png, NULL);
    return SD_OK;
}

sd_status sdi_png_decode(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                         bool keep_alpha, sd_image **out) {
    *out = NULL;
    reader r = {.c = {.ctx = ctx, .name = name},
                .bytes = bytes,
                .size = size,
                .ctx = ctx,
                .keep_alpha = keep_alpha};
    codec *c = &r.c;
    c->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, c, on_error, on_warning, c, allocate,
                                      release);
    c->info = c->png ? png_create_info_struct(c->png) : NULL;
    c->status = c->info ? read_png(&r) : sdi_fail(ctx, SD_ERROR_MEMORY, "%s: out of memory", name);
    png_destroy_read_struct(&c->png, &c->info, NULL);
    if (c->status)
        sdi_image_free(r.image);
    else
        *out = r.image;
    return c->status;
}

/* ------------------------------------------------------------------------------- writing */

typedef struct writer {
    codec c;
    sd_sink *sink;
    const sd_image *image;
    const char *parameters;
    char *latin1; /* parameters in Latin-1, or NULL */
} writer;

static void write_bytes(png_structp png, png_bytep bytes, size_t n) {
    writer *w = png_get_io_ptr(png);
    if (!sdi_sink_write(w->sink, bytes, n)) {
        w->c.no_memory = true;
        png_error(png, "out of memory");
    }
}

static void flush(png_structp png) {
    (void)png;
}

/*
 * UTF-8 to Latin-1, which a tEXt chunk holds. *out stays NULL where a character has no place there
 * and iTXt is needed. Bytes that are not UTF-8 are kept as they are.
 */
static sd_status to_latin1(const sd_context *ctx, const char *text, char **out) {
    const uint8_t *p = (const uint8_t *)text;
    size_t n = 0;
    char *copy = sdi_alloc(ctx, strlen(text) + 1);
    if (!copy)
        return SD_ERROR_MEMORY;
    bool fits = true;
    while (*p && fits) {
        bool continued = (p[1] & 0xc0) == 0x80;
        bool two = (*p == 0xc2 || *p == 0xc3) && continued; /* U+0080 to U+00FF */
        fits = !(*p >= 0xc4 && *p < 0xf8 && continued);
        copy[n++] = (char)(two ? (*p & 3) << 6 | (p[1] & 0x3f) : *p);
        p += two ? 2 : 1;
    }
    copy[n] = '\0';
    if (!fits) {
        sdi_free(ctx, copy);
        copy = NULL;
    }
    *out = copy;
    return SD_OK;
}

static void set_parameters(writer *w) {
    char key[] = "parameters", none[] = "";
    png_text text = {.key = key};
    if (w->latin1) {
        text.compression = PNG_TEXT_COMPRESSION_NONE;
        text.text = w->latin1;
        text.text_length = strlen(w->latin1);
    } else {
        text.compression = PNG_ITXT_COMPRESSION_NONE;
        text.text = (char *)w->parameters;
        text.itxt_length = strlen(w->parameters);
        text.lang = none;
        text.lang_key = none;
    }
    png_set_text(w->c.png, w->c.info, &text, 1);
}

static sd_status write_png(writer *w) {
    png_structp png = w->c.png;
    const sd_image *image = w->image;
    if (setjmp(w->c.jump))
        return w->c.status;
    int type = image->channels == 1   ? PNG_COLOR_TYPE_GRAY
               : image->channels == 3 ? PNG_COLOR_TYPE_RGB
                                      : PNG_COLOR_TYPE_RGB_ALPHA;
    png_set_write_fn(png, w, write_bytes, flush);
    png_set_user_limits(png, SD_MAX_IMAGE_SIDE, SD_MAX_IMAGE_SIDE);
    png_set_IHDR(png, w->c.info, (png_uint_32)image->width, (png_uint_32)image->height, 8, type,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (w->parameters)
        set_parameters(w);
    png_write_info(png, w->c.info);
    size_t stride = (size_t)image->width * (size_t)image->channels;
    for (size_t y = 0; y < (size_t)image->height; y++)
        png_write_row(png, image->pixels + y * stride);
    png_write_end(png, NULL);
    return SD_OK;
}

sd_status sdi_png_encode(const sd_image *image, const char *parameters, sd_sink *sink) {
    sd_context *ctx = image->ctx;
    writer w = {.c = {.ctx = ctx, .name = "PNG image"},
                .sink = sink,
                .image = image,
                .parameters = parameters};
    codec *c = &w.c;
    if (parameters && to_latin1(ctx, parameters, &w.latin1))
        return SD_ERROR_MEMORY;
    c->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, c, on_error, on_warning, c, allocate,
                                       release);
    c->info = c->png ? png_create_info_struct(c->png) : NULL;
    c->status =
        c->info ? write_png(&w) : sdi_fail(ctx, SD_ERROR_MEMORY, "PNG image: out of memory");
    png_destroy_write_struct(&c->png, &c->info);
    sdi_free(ctx, w.latin1);
    return c->status;
}
