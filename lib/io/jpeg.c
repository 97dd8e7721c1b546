/*
 * JPEG by libjpeg(-turbo). Its errors leave by longjmp to the setjmp of the same file's function,
 * across libjpeg's frames only; what must be given back lives in a struct of that function's
 * caller. libjpeg takes its work memory from the C library: it has no hook for another allocator.
 */
#include "io/codec.h"

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs FILE */
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#define MAX_SCANS 500         /* of a progressive file, each of which costs a whole pass */
#define MAX_MEMORY (1L << 30) /* coefficients of a progressive file */
#define MAX_COMMENT 65533u    /* bytes in one COM marker */

typedef struct codec {
    struct jpeg_error_mgr base; /* first: libjpeg has a pointer to it */
    const sd_context *ctx;
    const char *name;
    jmp_buf jump;
    sd_status status;
} codec;

static void on_error(j_common_ptr info) {
    codec *c = (codec *)info->err;
    char text[JMSG_LENGTH_MAX];
    c->base.format_message(info, text);
    if (c->base.msg_code == JERR_OUT_OF_MEMORY)
        c->status = sdi_fail(c->ctx, SD_ERROR_MEMORY, "%s: out of memory", c->name);
    else if (c->base.msg_code == JERR_NO_BACKING_STORE)
        c->status = sdi_fail(c->ctx, SD_ERROR_MEMORY,
                             "%s: JPEG: more than %ld bytes of work memory would be needed",
                             c->name, MAX_MEMORY);
    else if (c->base.msg_code == JERR_IMAGE_TOO_BIG && info->is_decompressor)
        c->status = sdi_check_image_file(c->ctx, c->name, ((j_decompress_ptr)info)->image_width,
                                         ((j_decompress_ptr)info)->image_height, SIZE_MAX, 1);
    else
        c->status = sdi_fail(c->ctx, SD_ERROR_FORMAT, "%s: JPEG: %s", c->name, text);
    longjmp(c->jump, 1);
}

/* Damage that libjpeg can live with, and traces. */
static void on_message(j_common_ptr info, int level) {
    codec *c = (codec *)info->err;
    char text[JMSG_LENGTH_MAX];
    if (level >= 0)
        return;
    c->base.format_message(info, text);
    if (c->base.num_warnings++ == 0)
        sdi_log(c->ctx, SD_LOG_LEVEL_WARN, "%s: JPEG: %s", c->name, text);
}

static void on_output(j_common_ptr info) {
    (void)info; /* the default prints */
}

static struct jpeg_error_mgr *init_errors(codec *c) {
    jpeg_std_error(&c->base);
    c->base.error_exit = on_error;
    c->base.emit_message = on_message;
    c->base.output_message = on_output;
    return &c->base;
}

/* ------------------------------------------------------------------------------- reading */

typedef struct reader {
    codec c;
    struct jpeg_decompress_struct info;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    sd_context *ctx;
    size_t size;
    sd_image *image;
    uint8_t *row;
} reader;

static void no_op(j_decompress_ptr info) {
    (void)info;
}

/* All bytes were there from the beginning, so this is the file's early end. */
static boolean at_end(j_decompress_ptr info) {
    ERREXIT(info, JERR_INPUT_EOF);
    return FALSE;
}

static void skip(j_decompress_ptr info, long n) {
    struct jpeg_source_mgr *source = info->src;
    if (n <= 0)
        return;
    if ((unsigned long)n > source->bytes_in_buffer)
        ERREXIT(info, JERR_INPUT_EOF);
    source->next_input_byte += n;
    source->bytes_in_buffer -= (size_t)n;
}

static void count_scans(j_common_ptr info) {
    codec *c = (codec *)info->err;
    if (((j_decompress_ptr)info)->input_scan_number <= MAX_SCANS)
        return;
    c->status =
        sdi_fail(c->ctx, SD_ERROR_UNSUPPORTED, "%s: JPEG: more than %d scans", c->name, MAX_SCANS);
    longjmp(c->jump, 1);
}

/* a * b / 255, rounded: PIL's MULDIV255 */
static int muldiv255(int a, int b) {
    int t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

/* Four-channel files are taken for Adobe's, inverted, as PIL takes them; then PIL's cmyk2rgb. */
static void cmyk_to_rgb(uint8_t *rgb, const uint8_t *cmyk, size_t width) {
    for (size_t x = 0; x < width; x++, rgb += 3, cmyk += 4) {
        int white = cmyk[3];
        for (int i = 0; i < 3; i++)
            rgb[i] = (uint8_t)(white - muldiv255(255 - cmyk[i], white));
    }
}

static void grey_to_rgb(uint8_t *rgb, const uint8_t *grey, size_t width) {
    for (size_t x = 0; x < width; x++)
        memset(rgb + 3 * x, grey[x], 3);
}

/* Checks the header and takes memory. */
static sd_status begin_reading(reader *r) {
    struct jpeg_decompress_struct *info = &r->info;
    jpeg_read_header(info, TRUE);
    /* a block of 64 pixels takes a bit or more, unless it is arithmetically coded */
    sd_status status =
        sdi_check_image_file(r->ctx, r->c.name, info->image_width, info->image_height, r->size,
                             info->arith_code ? SD_MAX_PIXELS : 64 * 64);
    if (status)
        return status;
    int n = info->num_components;
    if (n != 1 && n != 3 && n != 4)
        return sdi_fail(r->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: JPEG: %d components; 1, 3 or 4 were expected", r->c.name, n);
    info->out_color_space = n == 1 ? JCS_GRAYSCALE : n == 3 ? JCS_RGB : JCS_CMYK;
    status = sdi_image_new(r->ctx, (int)info->image_width, (int)info->image_height, 3, &r->image);
    if (!status && !(r->row = sdi_alloc(r->ctx, (size_t)info->image_width * 4)))
        status = SD_ERROR_MEMORY;
    return status;
}

static sd_status read_jpeg(reader *r) {
    struct jpeg_decompress_struct *info = &r->info;
    if (setjmp(r->c.jump))
        return r->c.status;
    jpeg_create_decompress(info);
    info->src = &r->source;
    info->progress = &r->progress;
    info->mem->max_memory_to_use = MAX_MEMORY;
    sd_status status = begin_reading(r);
    if (status)
        return status;
    jpeg_start_decompress(info);
    size_t width = info->output_width;
    while (info->output_scanline < info->output_height) {
        uint8_t *rgb = r->image->pixels + (size_t)info->output_scanline * width * 3;
        JSAMPROW row = info->num_components == 3 ? rgb : r->row;
        jpeg_read_scanlines(info, &row, 1);
        if (info->num_components == 1)
            grey_to_rgb(rgb, row, width);
        else if (info->num_components == 4)
            cmyk_to_rgb(rgb, row, width);
    }
    return SD_OK;
}

sd_status sdi_jpeg_decode(sd_context *ctx, const char *name, const uint8_t *bytes, size_t size,
                          sd_image **out) {
    *out = NULL;
    reader r = {
        .c = {.ctx = ctx, .name = name},
        .source = {.next_input_byte = bytes,
                   .bytes_in_buffer = size,
                   .init_source = no_op,
                   .fill_input_buffer = at_end,
                   .skip_input_data = skip,
                   .resync_to_restart = jpeg_resync_to_restart,
                   .term_source = no_op},
        .progress = {.progress_monitor = count_scans},
        .ctx = ctx,
        .size = size,
    };
    r.info.err = init_errors(&r.c);
    sd_status status = read_jpeg(&r);
    jpeg_destroy_decompress(&r.info);
    sdi_free(ctx, r.row);
    if (status)
        sdi_image_free(r.image);
    else
        *out = r.image;
    return status;
}

/* ------------------------------------------------------------------------------- writing */

typedef struct writer {
    codec c;
    struct jpeg_compress_struct info;
    struct jpeg_destination_mgr destination;
    sd_sink *sink;
    const sd_image *image;
    uint8_t *row; /* [width * 3], for images with alpha */
} writer;

#define FIRST_CAPACITY 16384

/* libjpeg writes into the buffer between size and capacity. */
static void give_room(writer *w, size_t capacity) {
    sd_sink *sink = w->sink;
    if (!sdi_sink_reserve(sink, capacity))
        ERREXIT1(&w->info, JERR_OUT_OF_MEMORY, 0);
    w->destination.next_output_byte = sink->bytes + sink->size;
    w->destination.free_in_buffer = sink->capacity - sink->size;
}

static void init_destination(j_compress_ptr info) {
    give_room(info->client_data, FIRST_CAPACITY);
}

static boolean on_full(j_compress_ptr info) {
    writer *w = info->client_data;
    w->sink->size = w->sink->capacity;
    give_room(w, w->sink->capacity * 2);
    return TRUE;
}

static void end_destination(j_compress_ptr info) {
    writer *w = info->client_data;
    w->sink->size = w->sink->capacity - w->destination.free_in_buffer;
}

/* A long comment becomes several markers. */
static void write_comment(j_compress_ptr info, const char *comment) {
    size_t left = strlen(comment);
    while (left > 0) {
        size_t n = left < MAX_COMMENT ? left : MAX_COMMENT;
        jpeg_write_marker(info, JPEG_COM, (const JOCTET *)comment, (unsigned)n);
        comment += n;
        left -= n;
    }
}

static sd_status write_jpeg(writer *w, int quality, const char *comment) {
    struct jpeg_compress_struct *info = &w->info;
    const sd_image *image = w->image;
    if (setjmp(w->c.jump))
        return w->c.status;
    jpeg_create_compress(info);
    info->client_data = w;
    info->dest = &w->destination;
    info->image_width = (JDIMENSION)image->width;
    info->image_height = (JDIMENSION)image->height;
    info->input_components = image->channels == 1 ? 1 : 3;
    info->in_color_space = image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(info); /* 4:2:0, as PIL's default */
    jpeg_set_quality(info, quality, TRUE);
    jpeg_start_compress(info, TRUE);
    if (comment)
        write_comment(info, comment);
    size_t width = (size_t)image->width, channels = (size_t)image->channels;
    while (info->next_scanline < info->image_height) {
        uint8_t *pixels = image->pixels + info->next_scanline * width * channels;
        JSAMPROW row = channels == 4 ? w->row : pixels;
        for (size_t x = 0; channels == 4 && x < width; x++)
            memcpy(row + 3 * x, pixels + 4 * x, 3);
        jpeg_write_scanlines(info, &row, 1);
    }
    jpeg_finish_compress(info);
    return SD_OK;
}

sd_status sdi_jpeg_encode(const sd_image *image, int quality, const char *comment, sd_sink *sink) {
    sd_context *ctx = image->ctx;
    writer w = {
        .c = {.ctx = ctx, .name = "JPEG image"},
        .destination = {.init_destination = init_destination,
                        .empty_output_buffer = on_full,
                        .term_destination = end_destination},
        .sink = sink,
        .image = image,
    };
    if (image->channels == 4 && !(w.row = sdi_alloc(ctx, (size_t)image->width * 3)))
        return SD_ERROR_MEMORY;
    w.info.err = init_errors(&w.c);
    sd_status status = write_jpeg(&w, quality, comment);
    jpeg_destroy_compress(&w.info);
    sdi_free(ctx, w.row);
    return status;
}
