/*
 * How a camera was held: EXIF's tag Orientation (0x0112 of the first directory; EXIF 2.32, 4.6.4),
 * in a JPEG's APP1 segment or a PNG's eXIf chunk, and the pixels turned upright by it, as PIL's
 * ImageOps.exif_transpose does.
 */
#include "io/codec.h"

#include <string.h>
#include <zlib.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, TYPE_LONG = 4, ENTRY = 12 };

typedef struct block {
    const uint8_t *bytes; /* NULL: the file has none */
    size_t size;
} block;

static uint32_t read_big(const uint8_t *p, int n) {
    uint32_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static const char signature[] = "Exif\0"; /* and the zero at its end */

static bool has_signature(block b) {
    return b.size >= sizeof signature && memcmp(b.bytes, signature, sizeof signature) == 0;
}

/* The first segment APP1 that holds EXIF (XMP has the same marker). */
static block find_in_jpeg(const uint8_t *bytes, size_t size) {
    size_t at = 2;
    while (at + 4 <= size && bytes[at] == 0xff) {
        uint8_t marker = bytes[at + 1];
        if (marker == 0xff) { /* fill */
            at++;
            continue;
        }
        size_t length = read_big(bytes + at + 2, 2);
        if (marker == 0xda || marker == 0xd9 || length < 2 || length > size - at - 2)
            break;
        block found = {bytes + at + 4, length - 2};
        if (marker == 0xe1 && has_signature(found))
            return found;
        at += 2 + length;
    }
    return (block){NULL, 0};
}

/* The chunk may stand before the pixels or behind them. */
static block find_in_png(const uint8_t *bytes, size_t size) {
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = read_big(bytes + at, 4);
        if (length > size - at - 12 || memcmp(bytes + at + 4, "IEND", 4) == 0)
            break;
        if (memcmp(bytes + at + 4, "eXIf", 4) == 0 &&
            crc32(0, bytes + at + 4, (uInt)length + 4) == read_big(bytes + at + 8 + length, 4))
            return (block){bytes + at + 8, length};
        at += 12 + length;
    }
    return (block){NULL, 0};
}

/* TIFF's order of bytes, "II" or "MM". */
static uint32_t read_number(const uint8_t *p, int n, bool little) {
    uint32_t v = 0;
    for (int i = 0; little && i < n; i++)
        v |= (uint32_t)p[i] << 8 * i;
    return little ? v : read_big(p, n);
}

/* The tag's value; 1, upright, where there is no such tag; -1: damaged. */
static long find_orientation(block b) {
    while (has_signature(b)) /* some writers have it in PNG too, or twice */
        b = (block){b.bytes + sizeof signature, b.size - sizeof signature};
    if (b.size < 8 || (memcmp(b.bytes, "II*\0", 4) != 0 && memcmp(b.bytes, "MM\0*", 4) != 0))
        return -1;
    bool little = b.bytes[0] == 'I';
    uint32_t at = read_number(b.bytes + 4, 4, little);
    if (at > b.size - 2)
        return -1;
    uint32_t n = read_number(b.bytes + at, 2, little);
    for (uint32_t i = 0; i < n; i++) {
        if ((uint64_t)at + 2 + (uint64_t)(i + 1) * ENTRY > b.size)
            return -1;
        const uint8_t *entry = b.bytes + at + 2 + (size_t)i * ENTRY;
        if (read_number(entry, 2, little) != TAG_ORIENTATION)
            continue;
        uint32_t type = read_number(entry + 2, 2, little);
        if ((type != TYPE_SHORT && type != TYPE_LONG) || read_number(entry + 4, 4, little) != 1)
            return -1;
        return (long)read_number(entry + 8, type == TYPE_SHORT ? 2 : 4, little);
    }
    return 1;
}

static int orientation_of(const sd_context *ctx, const char *name, const uint8_t *bytes,
                          size_t size) {
    block exif =
        size > 8 && bytes[0] == 0xff ? find_in_jpeg(bytes, size) : find_in_png(bytes, size);
    long value = exif.bytes ? find_orientation(exif) : 1;
    if (value >= 1 && value <= 8)
        return (int)value;
    if (value) /* 0 is written by programs that do not know it */
        sdi_log(
            ctx, SD_LOG_LEVEL_WARN,
            "%s: its EXIF data say no orientation that is known (damaged?); the picture is taken "
            "as it is stored",
            name);
    return 1;
}

/* Orientations 5 to 8 swap the sides; the last row or column is first in some. */
static void turn(const sd_image *from, int orientation, sd_image *to) {
    bool swap = orientation >= 5;
    bool right = orientation == 2 || orientation == 3 || orientation >= 7; /* comes first */
    bool below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    size_t c = (size_t)from->channels, w = (size_t)from->width, h = (size_t)from->height;
    uint8_t *out = to->pixels;
    for (size_t y = 0; y < (size_t)to->height; y++)
        for (size_t x = 0; x < (size_t)to->width; x++, out += c) {
            size_t column = swap ? y : x, row = swap ? x : y;
            column = right ? w - 1 - column : column;
            row = below ? h - 1 - row : row;
            memcpy(out, from->pixels + (row * w + column) * c, c);
        }
}

sd_status sdi_exif_upright(const char *name, const uint8_t *bytes, size_t size, sd_image **image) {
    sd_image *from = *image, *to;
    int orientation = orientation_of(from->ctx, name, bytes, size);
    if (orientation == 1)
        return SD_OK;
    bool swap = orientation >= 5;
    sd_status status = sdi_image_new(from->ctx, swap ? from->height : from->width,
                                     swap ? from->width : from->height, from->channels, &to);
    if (!status)
        turn(from, orientation, to);
    sdi_image_free(from);
    *image = to;
    return status;
}
