/*
 * Every limit of the readers of pictures, at it, below and above: what is within is read or refused
 * for another reason, what is beyond is refused by the limit's own sentence.
 */
#define _POSIX_C_SOURCE 200809L
#include "../support/image.h"
#include "io/codec.h"
#include "io/image.h"

#include "../tools/counting.h"
#include "../tools/files.h"
#include "../tools/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static counting counts;
static sd_context *ctx;

static void setup(void) {
    ctx = counting_context(&counts);
    ck_assert_ptr_nonnull(ctx);
}

static void teardown(void) {
    sdi_context_release(ctx);
    ck_assert_int_eq(counts.live, 0);
}

/* Decodes and frees; the size of what was read into `sides`, which may be NULL. */
static sd_status decode(const uint8_t *bytes, size_t n, int sides[2]) {
    sd_image *image;
    sd_status status = sdi_image_decode(ctx, "file", bytes, n, &image);
    if (!status && sides) {
        sides[0] = image->width;
        sides[1] = image->height;
    }
    sdi_image_free(image);
    return status;
}

static bool said(const char *words) {
    return strstr(sd_last_error(), words) != NULL;
}

#define CANNOT_HOLD "cannot hold an image"
#define SIDES "1 to 32768 a side"

/* ------------------------------------------------------------------------------- PNG */

typedef struct bytes {
    uint8_t *data;
    size_t n;
} bytes;

static void put(bytes *b, const void *data, size_t n) {
    b->data = realloc(b->data, b->n + n + 1);
    ck_assert_ptr_nonnull(b->data);
    memcpy(b->data + b->n, data, n);
    b->n += n;
}

static void put_number(bytes *b, uint32_t v, int n) {
    uint8_t be[4];
    for (int i = 0; i < n; i++)
        be[i] = (uint8_t)(v >> 8 * (n - 1 - i));
    put(b, be, (size_t)n);
}

static void put_chunk(bytes *b, const char *kind, const void *data, size_t n) {
    put_number(b, (uint32_t)n, 4);
    size_t start = b->n;
    put(b, kind, 4);
    put(b, data, n);
    put_number(b, (uint32_t)crc32(0, b->data + start, (uInt)n + 4), 4);
}

/* Black pixels, one bit each; `n_rows` of them are there. `filler` bytes of text come first. */
static bytes make_png(uint32_t width, uint32_t height, size_t n_rows, size_t filler) {
    bytes b = {0}, header = {0};
    size_t row = 1 + ((size_t)width + 7) / 8;
    uLongf n_packed = compressBound(row * n_rows);
    uint8_t *zeros = calloc(row * n_rows + filler + 1, 1), *packed = malloc(n_packed);
    ck_assert(zeros && packed);
    put(&b, "\x89PNG\r\n\x1a\n", 8);
    put_number(&header, width, 4);
    put_number(&header, height, 4);
    put(&header, "\1\0\0\0", 5);
    put_chunk(&b, "IHDR", header.data, header.n);
    if (filler >= 2) {
        memset(zeros, 'k', 1);
        memset(zeros + 2, 't', filler - 2);
        put_chunk(&b, "tEXt", zeros, filler);
        memset(zeros, 0, filler);
    }
    ck_assert_int_eq(compress2(packed, &n_packed, zeros, row * n_rows, 9), Z_OK);
    put_chunk(&b, "IDAT", packed, n_packed);
    put_chunk(&b, "IEND", "", 0);
    free(header.data);
    free(zeros);
    free(packed);
    return b;
}

static sd_status decode_png(uint32_t width, uint32_t height, size_t n_rows, size_t filler,
                            int sides[2]) {
    bytes b = make_png(width, height, n_rows, filler);
    sd_status status = decode(b.data, b.n, sides);
    free(b.data);
    return status;
}

/* A file of n bytes holds at most 1032 * 8 * (n + 1) - 1 pixels: deflate's ratio times the pixels
 * of a byte. Rows are missing in each of these files, so that none is read. */
START_TEST(png_ratio) {
    enum { RATIO = 1032 * 8 };
    size_t plain = 0;
    for (uint32_t n = 120; n < 136; n++) {
        for (int extra = 0; extra < 2; extra++) {
            size_t filler = 20;
            for (int turn = 0; turn < 2; turn++) { /* the text fills the file up to n bytes */
                bytes b = make_png(RATIO, n, 1, filler);
                plain = b.n - filler;
                free(b.data);
                filler = n - plain;
            }
            ck_assert_int_eq(decode_png(RATIO, n + (uint32_t)extra, 1, filler, NULL),
                             SD_ERROR_FORMAT);
            ck_assert_msg(said(CANNOT_HOLD) == (extra == 1), "%u + %d: %s", n, extra,
                          sd_last_error());
        }
    }
    /* one pixel below the next multiple of RATIO, where it is a product of two sides */
    int found = 0;
    for (uint32_t n = 120; n < 200 && found < 3; n++) {
        uint32_t pixels = RATIO * (n + 1) - 1, height = 200;
        while (height < 4000 && pixels % height)
            height++;
        if (pixels % height || pixels / height > 32768)
            continue;
        bytes b = make_png(pixels / height, height, 1, 20);
        bytes full = make_png(pixels / height, height, 1, 20 + n - b.n);
        ck_assert(b.n < n && full.n == n);
        ck_assert_int_eq(decode(full.data, full.n, NULL), SD_ERROR_FORMAT);
        ck_assert_msg(!said(CANNOT_HOLD), "%s", sd_last_error());
        free(full.data);
        free(b.data);
        found++;
    }
    ck_assert_int_eq(found, 3);
}
END_TEST

/* The best that deflate does is read. */
START_TEST(png_of_the_best_ratio) {
    int sides[2];
    bytes b = make_png(4096, 4096, 4096, 0);
    printf("%zu bytes for %d pixels: %.0f each\n", b.n, 4096 * 4096, 4096.0 * 4096 / (double)b.n);
    ck_assert_uint_gt(4096u * 4096 / b.n, 7900);
    ck_assert_int_eq(decode(b.data, b.n, sides), SD_OK);
    ck_assert_int_eq(sides[0], 4096);
    free(b.data);
}
END_TEST

START_TEST(png_sides) {
    static const uint32_t wide[] = {32767, 32768, 32769, 40000, 65536, 1000000, 0x7fffffff};
    int sides[2];
    for (size_t i = 0; i < SD_COUNT(wide); i++)
        for (int tall = 0; tall < 2; tall++) {
            bool fits = wide[i] <= 32768;
            uint32_t w = tall ? 8 : wide[i], h = tall ? wide[i] : 8;
            char size[64];
            snprintf(size, sizeof size, "%u x %u pixels; " SIDES, w, h);
            sd_status status = decode_png(w, h, fits ? h : 1, 0, sides);
            ck_assert_int_eq(status, fits ? SD_OK : SD_ERROR_UNSUPPORTED);
            if (fits)
                ck_assert(sides[0] == (int)w && sides[1] == (int)h);
            else
                ck_assert_msg(said(size), "%s: %s", size, sd_last_error());
        }
}
END_TEST

/* 2^28 pixels; the files are too small for any of these. */
START_TEST(png_pixels) {
    ck_assert_int_eq(decode_png(16384, 16384, 1, 0, NULL), SD_ERROR_FORMAT);
    ck_assert(said(CANNOT_HOLD));
    ck_assert_int_eq(decode_png(16384, 16385, 1, 0, NULL), SD_ERROR_UNSUPPORTED);
    ck_assert(said("at most 268435456"));
    ck_assert_int_eq(decode_png(32768, 8192, 1, 0, NULL), SD_ERROR_FORMAT);
    ck_assert_int_eq(decode_png(32768, 8193, 1, 0, NULL), SD_ERROR_UNSUPPORTED);
}
END_TEST

/* A text chunk is never a reason to refuse the picture. */
START_TEST(png_long_text) {
    int sides[2];
    for (size_t n = (8u << 20) - 2; n <= (8u << 20) + 2; n += 2) {
        ck_assert_int_eq(decode_png(9, 7, 7, n, sides), SD_OK);
        ck_assert_int_eq(sides[0], 9);
    }
}
END_TEST

/* ------------------------------------------------------------------------------- JPEG */

/* A header up to its scan of one component (or `n`), then `filler` zero bytes, and no end. */
static bytes make_jpeg(int frame, uint32_t width, uint32_t height, int n, size_t filler) {
    bytes b = {0};
    put(&b, "\xff\xd8\xff\xdb\0\x43\0", 7);
    for (int i = 0; i < 64; i++)
        put(&b, "\1", 1);
    put(&b, "\xff\xc4\0\x14\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22); /* a code of one bit: 0 */
    put(&b, "\xff\xc4\0\x14\x10\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22);
    put(&b, "\xff", 1);
    put_number(&b, (uint32_t)frame, 1);
    put_number(&b, 8 + 3 * (uint32_t)n, 2);
    put(&b, "\x08", 1);
    put_number(&b, height, 2);
    put_number(&b, width, 2);
    put_number(&b, (uint32_t)n, 1);
    for (int i = 0; i < n; i++) {
        put_number(&b, (uint32_t)i + 1, 1);
        put(&b, "\x11\0", 2);
    }
    put(&b, "\xff\xda", 2);
    put_number(&b, 6 + 2 * (uint32_t)n, 2);
    put_number(&b, (uint32_t)n, 1);
    for (int i = 0; i < n; i++) {
        put_number(&b, (uint32_t)i + 1, 1);
        put(&b, "\0", 1);
    }
    put(&b, frame == 0xc2 ? "\0\0\0" : "\0\x3f\0", 3);
    for (size_t i = 0; i < filler; i++)
        put(&b, "\0", 1);
    return b;
}

static sd_status decode_jpeg(int frame, uint32_t width, uint32_t height, int n, size_t filler) {
    bytes b = make_jpeg(frame, width, height, n, filler);
    sd_status status = decode(b.data, b.n, NULL);
    free(b.data);
    return status;
}

/* 64 * 64 pixels a byte, where the code is Huffman's; arithmetic coding has no such limit. */
START_TEST(jpeg_ratio) {
    bytes b = make_jpeg(0xc0, 4096, 1, 1, 100);
    uint32_t n = (uint32_t)b.n;
    free(b.data);
    for (int more = -1; more < 3; more++)
        for (int frame = 0xc0; frame <= 0xc9; frame += 9) {
            sd_status status = decode_jpeg(frame, 4096, n + (uint32_t)more, 1, 100);
            bool refused = status == SD_ERROR_FORMAT && said(CANNOT_HOLD);
            ck_assert_msg(refused == (more >= 1 && frame == 0xc0), "%d more: %s", more,
                          sd_last_error());
        }
    ck_assert_int_eq(decode_jpeg(0xc0, 4095, n + 1, 1, 100), SD_ERROR_FORMAT);
    ck_assert(!said(CANNOT_HOLD)); /* 4095 (n + 1) < 4096 (n + 1) */
}
END_TEST

/* libjpeg's own limit, 65500, has the same sentence. */
START_TEST(jpeg_sides) {
    static const uint32_t wide[] = {32768, 32769, 65500, 65501, 65535};
    for (size_t i = 0; i < SD_COUNT(wide); i++)
        for (int tall = 0; tall < 2; tall++) {
            bool fits = wide[i] <= 32768;
            uint32_t w = tall ? 8 : wide[i], h = tall ? wide[i] : 8;
            char size[64];
            snprintf(size, sizeof size, "%u x %u pixels; " SIDES, w, h);
            sd_status status = decode_jpeg(0xc0, w, h, 1, 200);
            ck_assert_int_eq(status, fits ? SD_ERROR_FORMAT : SD_ERROR_UNSUPPORTED);
            ck_assert_msg(said(size) == !fits, "%s: %s", size, sd_last_error());
        }
    sd_image *image;
    uint8_t *file;
    size_t n;
    int sides[2];
    ck_assert_int_eq(sdi_image_new(ctx, 32768, 8, 1, &image), SD_OK);
    memset(image->pixels, 9, 32768 * 8);
    ck_assert_int_eq(sdi_image_encode(image, &(sd_image_file){true, 50, NULL}, &file, &n), SD_OK);
    ck_assert_int_eq(decode(file, n, sides), SD_OK);
    ck_assert_int_eq(sides[0], 32768);
    sdi_free(ctx, file);
    sdi_image_free(image);
}
END_TEST

/* Coefficients of a progressive picture, two bytes each: 1 GiB is 2^27 pixels of 4 components. */
START_TEST(jpeg_work_memory) {
    ck_assert_int_eq(decode_jpeg(0xc2, 16384, 8192 + 64, 4, 40000), SD_ERROR_MEMORY);
    ck_assert(said("1073741824 bytes of work memory"));
    ck_assert_int_eq(decode_jpeg(0xc2, 2048, 1024, 4, 40000), SD_ERROR_FORMAT);
}
END_TEST

/* The scans of a progressive file: 500 are read, one more is not. */
START_TEST(jpeg_scans) {
    char path[1024];
    size_t n, last = 0, scans = 0;
    snprintf(path, sizeof path, "%s/jpeg-progressive.jpg", SD_TEST_DATA);
    uint8_t *file = files_read(path, &n);
    for (size_t i = 0; i + 1 < n; i++)
        if (file[i] == 0xff && file[i + 1] == 0xda) {
            last = i;
            scans++;
        }
    ck_assert(scans > 1 && scans < 500);
    for (size_t total = 499; total <= 501; total++) {
        bytes b = {0};
        put(&b, file, n - 2);
        for (size_t i = scans; i < total; i++)
            put(&b, file + last, n - 2 - last);
        put(&b, file + n - 2, 2);
        ck_assert_int_eq(decode(b.data, b.n, NULL), total <= 500 ? SD_OK : SD_ERROR_UNSUPPORTED);
        ck_assert(total <= 500 || said("more than 500 scans"));
        free(b.data);
    }
    free(file);
}
END_TEST

/* A marker has room for 65,533 bytes of a comment. */
START_TEST(jpeg_comments) {
    static char text[65536];
    sd_image *image;
    ck_assert_int_eq(sdi_image_new(ctx, 8, 8, 1, &image), SD_OK);
    memset(image->pixels, 0, 64);
    for (size_t n = 65532; n <= 65534; n++) {
        uint8_t *file;
        size_t size, markers = 0;
        memset(text, 'x', n);
        text[n] = '\0';
        ck_assert_int_eq(sdi_image_encode(image, &(sd_image_file){true, 95, text}, &file, &size),
                         SD_OK);
        for (size_t i = 0; i + 1 < size; i++)
            if (file[i] == 0xff && file[i + 1] == 0xfe) {
                markers++;
                i += 3; /* its length may look like one */
            }
        ck_assert_uint_eq(markers, n <= 65533 ? 1 : 2);
        ck_assert_int_eq(decode(file, size, NULL), SD_OK);
        sdi_free(ctx, file);
    }
    sdi_image_free(image);
}
END_TEST

/* ----------------------------------------------------------------- files and resampling */

/* 1 GiB; the bytes of this file take no room on the disk. */
START_TEST(a_file_too_large) {
    char dir[FILES_PATH];
    sd_image *image;
    files_make_temp(dir);
    const char *path = files_path(dir, "large.png");
    files_write(path, "\x89PNG\r\n\x1a\n", 8);
    ck_assert_int_eq(truncate(path, ((off_t)1 << 30) + 1), 0);
    ck_assert_int_eq(sd_image_load(ctx, path, NULL, &image), SD_ERROR_FORMAT);
    ck_assert(said("1073741825 bytes; at most 1073741824"));
    files_remove_tree(dir);
}
END_TEST

START_TEST(resized_sides) {
    static const int sizes[][4] = {/* from, to */
                                   {3, 2, 32768, 1},     {3, 2, 32768, 2},    {2, 3, 1, 32768},
                                   {2, 3, 2, 32768},     {32768, 2, 1, 1},    {2, 32768, 1, 1},
                                   {32768, 1, 32768, 1}, {32768, 2, 32767, 2}};
    static const int beyond[][2] = {{32769, 1}, {1, 32769}, {0, 1}, {1, 0}, {-1, 1}};
    for (size_t i = 0; i < SD_COUNT(sizes); i++) {
        const int *s = sizes[i];
        sd_image *from, *to;
        ck_assert_int_eq(new_image(ctx, s[0], s[1], 1, NULL, &from), SD_OK);
        memset(from->pixels, 77, (size_t)s[0] * (size_t)s[1]);
        ck_assert_int_eq(sd_image_resize(from, s[2], s[3], &to), SD_OK);
        for (size_t k = 0; k < (size_t)s[2] * (size_t)s[3]; k++)
            ck_assert_int_eq(to->pixels[k], 77);
        sdi_image_free(to);
        for (size_t k = 0; k < SD_COUNT(beyond); k++) {
            ck_assert_int_eq(sd_image_resize(from, beyond[k][0], beyond[k][1], &to),
                             SD_ERROR_ARGUMENT);
            ck_assert(said(SIDES));
        }
        sdi_image_free(from);
    }
    for (size_t k = 0; k < SD_COUNT(beyond); k++) {
        sd_image *image;
        ck_assert_int_eq(new_image(ctx, beyond[k][0], beyond[k][1], 3, NULL, &image),
                         SD_ERROR_ARGUMENT);
        ck_assert_ptr_null(image);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("image limits");
    TCase *tcase = tcase_create("image limits");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, png_ratio);
    tcase_add_test(tcase, png_of_the_best_ratio);
    tcase_add_test(tcase, png_sides);
    tcase_add_test(tcase, png_pixels);
    tcase_add_test(tcase, png_long_text);
    tcase_add_test(tcase, jpeg_ratio);
    tcase_add_test(tcase, jpeg_sides);
    tcase_add_test(tcase, jpeg_work_memory);
    tcase_add_test(tcase, jpeg_scans);
    tcase_add_test(tcase, jpeg_comments);
    tcase_add_test(tcase, a_file_too_large);
    tcase_add_test(tcase, resized_sides);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
