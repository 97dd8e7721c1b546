/* Broken PNG and JPEG files: classics by hand, and the fixtures of tests/unit cut and damaged.
 * SD_TEST_DATA is their folder. */
#include "../support/image.h"
#include "fault.h"

#include <zlib.h>

/* ------------------------------------------------------------------------------- by hand */

typedef struct bytes {
    uint8_t data[65536];
    size_t n;
} bytes;

static void put(bytes *b, const void *data, size_t n) {
    ck_assert(b->n + n <= sizeof b->data);
    memcpy(b->data + b->n, data, n);
    b->n += n;
}

static void put_u32(bytes *b, uint32_t v) {
    const uint8_t be[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    put(b, be, 4);
}

static void put_chunk(bytes *b, const char *kind, const void *data, size_t n) {
    put_u32(b, (uint32_t)n);
    size_t start = b->n;
    put(b, kind, 4);
    put(b, data, n);
    put_u32(b, (uint32_t)crc32(0, b->data + start, (uInt)(n + 4)));
}

/* A PNG of grey pixels as its header says, with `n_data` zero bytes of rows. */
static void make_png(bytes *b, uint32_t width, uint32_t height, int depth, int type, int interlace,
                     size_t n_data) {
    bytes header = {.n = 0};
    static uint8_t zeros[65536], packed[65536];
    uLongf n_packed = sizeof packed;
    const uint8_t rest[] = {(uint8_t)depth, (uint8_t)type, 0, 0, (uint8_t)interlace};
    put_u32(&header, width);
    put_u32(&header, height);
    put(&header, rest, sizeof rest);
    b->n = 0;
    put(b, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(b, "IHDR", header.data, header.n);
    ck_assert_int_eq(compress2(packed, &n_packed, zeros, n_data, 9), Z_OK);
    put_chunk(b, "IDAT", packed, n_packed);
    put_chunk(b, "IEND", "", 0);
}

static const struct {
    const char *label;
    uint32_t width, height;
    int depth, type, interlace;
    size_t n_data;
    sd_status status;
} pngs[] = {
    {"no width", 0, 4, 8, 0, 0, 20, SD_ERROR_FORMAT},
    {"no height", 4, 0, 8, 0, 0, 20, SD_ERROR_FORMAT},
    {"huge width", 0x7fffffff, 1, 8, 0, 0, 20, SD_ERROR_UNSUPPORTED},
    {"negative width", 0xffffffff, 1, 8, 0, 0, 20, SD_ERROR_FORMAT},
    {"over the limit", 32769, 1, 8, 0, 0, 32770, SD_ERROR_UNSUPPORTED},
    {"too many pixels", 32768, 32768, 1, 0, 0, 65536, SD_ERROR_UNSUPPORTED},
    {"a bomb's promise", 16384, 16384, 8, 2, 0, 100, SD_ERROR_FORMAT},
    {"depth 0", 4, 4, 0, 0, 0, 20, SD_ERROR_FORMAT},
    {"depth 3", 4, 4, 3, 0, 0, 20, SD_ERROR_FORMAT},
    {"depth 32", 4, 4, 32, 0, 0, 20, SD_ERROR_FORMAT},
    {"RGB of 4 bits", 4, 4, 4, 2, 0, 20, SD_ERROR_FORMAT},
    {"palette of 16 bits", 4, 4, 16, 3, 0, 40, SD_ERROR_FORMAT},
    {"palette without one", 4, 4, 8, 3, 0, 20, SD_ERROR_FORMAT},
    {"colour type 5", 4, 4, 8, 5, 0, 20, SD_ERROR_FORMAT},
    {"interlace 2", 4, 4, 8, 0, 2, 20, SD_ERROR_FORMAT},
    {"rows missing", 4, 4, 8, 0, 0, 10, SD_ERROR_FORMAT},
    {"no rows", 4, 4, 8, 0, 0, 0, SD_ERROR_FORMAT},
    {"interlaced rows missing", 4, 4, 8, 0, 1, 10, SD_ERROR_FORMAT},
};

START_TEST(broken_pngs) {
    const char *path = files_path(fault_dir, "broken.png");
    static bytes b;
    make_png(&b, 4, 4, 8, 0, 0, 20);
    files_write(path, b.data, b.n);
    ck_assert_int_eq(fault_image(path), SD_OK);
    for (size_t i = 0; i < SD_COUNT(pngs); i++) {
        make_png(&b, pngs[i].width, pngs[i].height, pngs[i].depth, pngs[i].type, pngs[i].interlace,
                 pngs[i].n_data);
        files_write(path, b.data, b.n);
        fault_refused(pngs[i].label, fault_image(path), pngs[i].status, path, NULL);
    }
}
END_TEST

static const struct {
    const char *label, *data;
    size_t n;
    sd_status status;
} others[] = {
#define BYTES(text) text, sizeof(text) - 1
    {"empty", BYTES(""), SD_ERROR_FORMAT},
    {"one byte", BYTES("\x89"), SD_ERROR_FORMAT},
    {"half a signature", BYTES("\x89PNG\r\n"), SD_ERROR_FORMAT},
    {"a signature", BYTES("\x89PNG\r\n\x1a\n"), SD_ERROR_FORMAT},
    {"signature as text", BYTES("\x89PNG\n\x1a\n\0\0\0\rIHDR\0\0\0\1"), SD_ERROR_FORMAT},
    {"huge chunk", BYTES("\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR"), SD_ERROR_FORMAT},
    {"data first", BYTES("\x89PNG\r\n\x1a\n\0\0\0\0IDAT\x35\xaf\x06\x1e"), SD_ERROR_FORMAT},
    {"start of a JPEG", BYTES("\xff\xd8\xff"), SD_ERROR_FORMAT},
    {"JPEG that ends", BYTES("\xff\xd8\xff\xd9"), SD_ERROR_FORMAT},
    {"JPEG, zero length", BYTES("\xff\xd8\xff\xe0\0\0"), SD_ERROR_FORMAT},
    {"JPEG, no frame", BYTES("\xff\xd8\xff\xda\0\x08\1\1\0\0\x3f\0\0\0"), SD_ERROR_FORMAT},
    {"JPEG of 12 bits", BYTES("\xff\xd8\xff\xc1\0\x0b\x0c\0\1\0\1\1\1\x11\0"), SD_ERROR_FORMAT},
    {"JPEG of no size", BYTES("\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\0\1\1\x11\0"), SD_ERROR_FORMAT},
    {"JPEG of 65,535 a side", BYTES("\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xda"),
     SD_ERROR_FORMAT},
    {"GIF", BYTES("GIF89a\1\0\1\0\0\0\0;"), SD_ERROR_FORMAT},
    {"WebP", BYTES("RIFF\x10\0\0\0WEBPVP8 "), SD_ERROR_FORMAT},
    {"BMP", BYTES("BM\x3a\0\0\0\0\0\0\0\x36\0\0\0"), SD_ERROR_FORMAT},
    {"web page", BYTES("<html>404"), SD_ERROR_FORMAT},
    {"text", BYTES("not an image"), SD_ERROR_FORMAT},
};

START_TEST(no_images) {
    const char *path = files_path(fault_dir, "image.png");
    for (size_t i = 0; i < SD_COUNT(others); i++) {
        sd_image *image = (sd_image *)1;
        files_write(path, others[i].data, others[i].n);
        fault_refused(others[i].label, fault_image(path), others[i].status, path, NULL);
        if (others[i].n == 0)
            continue;
        fault_refused(others[i].label,
                      sd_image_load_memory(fault_ctx, others[i].data, others[i].n, NULL, &image),
                      others[i].status, "image in memory", NULL);
        ck_assert_ptr_null(image);
    }
    const char *missing = files_path(fault_dir, "missing.png");
    fault_refused("missing", fault_image(missing), SD_ERROR_IO, missing, NULL);
    fault_refused("a folder", fault_image(fault_dir), SD_ERROR_IO, fault_dir, NULL);
}
END_TEST

/* The format of a file is named whatever the file is called, here and where weights were expected.
 */
static const struct {
    const char *data;
    size_t n;
    const char *name;
} formats[] = {
    {BYTES("\0\0\0\x1c"
           "ftypheic\0\0\0\0mif1heic"),
     "HEIC"},
    {BYTES("\0\0\0\x1c"
           "ftypmif1\0\0\0\0mif1heic\0\0"),
     "HEIC"},
    {BYTES("\0\0\0\x1c"
           "ftypmif1\0\0\0\0mif1avif\0\0"),
     "AVIF"},
    {BYTES("\0\0\0\x18"
           "ftypmif1\0\0\0\0mif1miaf"),
     "HEIF"},
    {BYTES("\0\0\0\x20"
           "ftypavif\0\0\0\0avifmif1"),
     "AVIF"},
    {BYTES("\0\0\0\x10"
           "ftypcrx \0\0\0\1"),
     "CR3"},
    {BYTES("\0\0\0\x14"
           "ftypisom\0\0\2\0isom"),
     "video"},
    {BYTES("\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14"
           "ftypjxl "),
     "JPEG XL"},
    {BYTES("\xff\x0a\xfa\x7f\x01\x90"), "JPEG XL"},
    {BYTES("\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14"
           "ftypjp2 "),
     "JPEG 2000"},
    {BYTES("\xff\x4f\xff\x51\0\x29\0\0"), "JPEG 2000"},
    {BYTES("II*\0\x08\0\0\0\1\0"), "TIFF"},
    {BYTES("MM\0*\0\0\0\x08\0\1"), "TIFF"},
    {BYTES("II+\0\x08\0\0\0\0\0"), "BigTIFF"},
    {BYTES("II*\0\x10\0\0\0CR\2\0"), "CR2"},
    {BYTES("GIF87a\1\0\1\0"), "GIF"},
    {BYTES("RIFF\x24\0\0\0WEBPVP8X"), "WebP"},
    {BYTES("RIFF\x24\0\0\0AVI LIST"), "AVI"},
    {BYTES("BM\x3a\x10\0\0\0\0\0\0\x36\0\0\0"), "BMP"},
    {BYTES("8BPS\0\1\0\0\0\0\0\0"), "Photoshop"},
    {BYTES("gimp xcf v011\0"), "GIMP"},
    {BYTES("PK\3\4\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x08\0\0\0mimetypeapplication/"
           "x-krita"),
     "Krita"},
    {BYTES("\x76\x2f\x31\x01\2\0\0\0"), "OpenEXR"},
    {BYTES("#?RADIANCE\nFORMAT"), "Radiance"},
    {BYTES("qoif\0\0\0\1"), "QOI"},
    {BYTES("DDS \x7c\0\0\0"), "DDS"},
    {BYTES("P6\n2 2\n255\n"), "PPM"},
    {BYTES("\0\0\1\0\1\0\x10\x10"), "ICO"},
    {BYTES("<svg xmlns=\"http://www.w3.org/2000/svg\">"), "SVG"},
    {BYTES("\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- made by hand -->\n<svg width=\"8\">"), "SVG"},
    {BYTES("%PDF-1.7\n"), "PDF"},
    {BYTES("%!PS-Adobe-3.0 EPSF-3.0\n"), "PostScript"},
    {BYTES("\x1a\x45\xdf\xa3\x01\0\0\0"), "WebM"},
    {BYTES("<!DOCTYPE html><html><body><svg>"), "web page"},
};

START_TEST(other_formats_have_names) {
    static const char *const names[] = {"photo.jpg", "picture.png", "weights.safetensors"};
    for (size_t i = 0; i < SD_COUNT(formats); i++)
        for (size_t k = 0; k < SD_COUNT(names); k++) {
            const char *path = files_path(fault_dir, names[k]);
            files_write(path, formats[i].data, formats[i].n);
            if (k < 2) {
                fault_refused(formats[i].name, fault_image(path), SD_ERROR_FORMAT, path,
                              formats[i].name);
                ck_assert_ptr_nonnull(strstr(sd_last_error(), "PNG or JPEG"));
            } else if (memcmp(formats[i].data, "PK", 2) != 0) {
                fault_refused(formats[i].name, fault_load(path), 0, path, formats[i].name);
            }
        }
    /* the length before a header that was cut short is no signature */
    const char *path = files_path(fault_dir, "cut.safetensors");
    files_write(path, "\0\0\1\0\0\0\0\0{\"a\":", 13);
    fault_refused("cut", fault_load(path), SD_ERROR_FORMAT, path, NULL);
    ck_assert_ptr_null(strstr(sd_last_error(), "ICO"));
}
END_TEST

/* EXIF data and the sides of the picture that they come with, 4 x 3 as it is stored. */
static const struct {
    const char *label, *data;
    size_t n;
    bool turned, warned;
} tags[] = {
    {"little-endian", BYTES("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"), true, false},
    {"big-endian", BYTES("MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0"), true, false},
    {"a long", BYTES("MM\0*\0\0\0\x08\0\1\1\x12\0\4\0\0\0\1\0\0\0\6"), true, false},
    {"after others", BYTES("II*\0\x08\0\0\0\2\0\0\1\3\0\1\0\0\0\2\0\0\0\x12\1\3\0\1\0\0\0\5\0\0\0"),
     true, false},
    {"far away", BYTES("II*\0\x0a\0\0\0\xff\xff\1\0\x12\1\3\0\1\0\0\0\x08\0\0\0"), true, false},
    {"JPEG's signature", BYTES("Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\7\0\0\0"), true,
     false},
    {"upright", BYTES("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\1\0\0\0"), false, false},
    {"unknown", BYTES("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\0\0\0\0"), false, false},
    {"no tags", BYTES("II*\0\x08\0\0\0\0\0\0\0\0\0"), false, false},
    {"9", BYTES("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x09\0\0\0"), false, true},
    {"65535", BYTES("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\xff\xff\0\0"), false, true},
    {"a huge long", BYTES("II*\0\x08\0\0\0\1\0\x12\1\4\0\1\0\0\0\6\0\0\x80"), false, true},
    {"a text", BYTES("II*\0\x08\0\0\0\1\0\x12\1\2\0\1\0\0\0\6\0\0\0"), false, true},
    {"two numbers", BYTES("II*\0\x08\0\0\0\1\0\x12\1\3\0\2\0\0\0\6\0\6\0"), false, true},
    {"orders mixed", BYTES("MM*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"), false, true},
    {"no order", BYTES("XX*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"), false, true},
    {"cut in its header", BYTES("II*\0\x08\0\0"), false, true},
    {"cut before its tags", BYTES("II*\0\x08\0\0\0\1"), false, true},
    {"cut in a tag", BYTES("II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0"), false, true},
    {"tags beyond the end", BYTES("II*\0\xf0\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"), false, true},
    {"tags at 2^32 - 1", BYTES("II*\0\xff\xff\xff\xff\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"), false, true},
    {"more tags than there are", BYTES("II*\0\x08\0\0\0\xff\xff\0\1\3\0\1\0\0\0\6\0\0\0"), false,
     true},
    {"nothing", BYTES(""), false, true},
};

static int n_warnings;

static void count_warnings(void *user, sd_log_level level, const char *message) {
    (void)user;
    n_warnings += level == SD_LOG_LEVEL_WARN && strstr(message, "EXIF") != NULL;
}

/* A picture of 4 x 3 with the data as a PNG's chunk or a JPEG's segment. */
static void put_tags(bytes *b, const bytes *plain, bool png, const char *data, size_t n) {
    size_t at = png ? 33 : 2; /* behind IHDR, behind SOI */
    b->n = 0;
    put(b, plain->data, at);
    if (png) {
        put_chunk(b, "eXIf", data, n);
    } else {
        const uint8_t head[] = {0xff, 0xe1, (uint8_t)((n + 8) >> 8), (uint8_t)(n + 8)};
        put(b, head, sizeof head);
        put(b, "Exif\0\0", 6);
        put(b, data, n);
    }
    put(b, plain->data + at, plain->n - at);
}

static void make_plain(bytes *b, bool png) {
    if (png) {
        make_png(b, 4, 3, 8, 0, 0, 15);
        return;
    }
    const char *path = files_path(fault_dir, "plain.jpg");
    sd_image *image;
    size_t n;
    ck_assert_int_eq(new_image(fault_ctx, 4, 3, 3, NULL, &image), SD_OK);
    ck_assert_int_eq(sd_image_save(image, path, NULL), SD_OK);
    uint8_t *data = files_read(path, &n);
    b->n = 0;
    put(b, data, n);
    free(data);
    sd_image_free(image);
}

static bool is_turned(sd_context *ctx, const bytes *b) {
    sd_image *image;
    ck_assert_msg(sd_image_load_memory(ctx, b->data, b->n, NULL, &image) == SD_OK, "%s",
                  sd_last_error());
    int width = sd_image_width(image), height = sd_image_height(image);
    sd_image_free(image);
    ck_assert(width + height == 7);
    return width == 3;
}

START_TEST(orientations) {
    static bytes plain, b;
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    params.n_threads = 1;
    params.log = count_warnings;
    ck_assert_int_eq(sd_context_new(&params, &ctx), SD_OK);
    for (int png = 0; png < 2; png++) {
        make_plain(&plain, png);
        for (size_t i = 0; i < SD_COUNT(tags); i++) {
            n_warnings = 0;
            put_tags(&b, &plain, png, tags[i].data, tags[i].n);
            ck_assert_msg(is_turned(ctx, &b) == tags[i].turned, "%s", tags[i].label);
            ck_assert_msg(n_warnings == tags[i].warned, "%s: %d warnings", tags[i].label,
                          n_warnings);
        }
        put_tags(&b, &plain, png, tags[0].data, tags[0].n);
        if (png) { /* a chunk that was damaged is none */
            b.data[33 + 8 + tags[0].n] ^= 1;
            ck_assert(!is_turned(ctx, &b));
        }
    }
    sd_context_free(ctx);
}
END_TEST

/* Every byte of the data, and every length. */
START_TEST(damaged_orientations) {
    static bytes plain, b;
    char data[64];
    for (int png = 0; png < 2; png++) {
        make_plain(&plain, png);
        for (size_t i = 0; i < 4; i++)
            for (size_t k = 0; k < tags[i].n; k++)
                for (int flip = 1; flip < 256; flip *= 2) {
                    memcpy(data, tags[i].data, tags[i].n);
                    data[k] = (char)(data[k] ^ flip);
                    put_tags(&b, &plain, png, data, tags[i].n);
                    is_turned(fault_ctx, &b);
                    put_tags(&b, &plain, png, data, k);
                    is_turned(fault_ctx, &b);
                }
    }
}
END_TEST

/* A small file may ask for a pass over all pixels again and again. */
START_TEST(endless_scans) {
    const char *path = files_path(fault_dir, "scans.jpg");
    size_t n, last = 0;
    uint8_t *jpeg = files_read(files_path(SD_TEST_DATA, "jpeg-progressive.jpg"), &n);
    for (size_t i = 0; i + 1 < n; i++)
        if (jpeg[i] == 0xff && jpeg[i + 1] == 0xda)
            last = i; /* the last scan, up to the end marker of two bytes */
    ck_assert_uint_gt(last, 0);
    size_t scan = n - 2 - last, times = 600;
    uint8_t *many = malloc(n + scan * times);
    memcpy(many, jpeg, n - 2);
    for (size_t i = 0; i < times; i++)
        memcpy(many + n - 2 + i * scan, jpeg + last, scan);
    memcpy(many + n - 2 + times * scan, jpeg + n - 2, 2);
    files_write(path, many, n + scan * times);
    fault_refused("endless scans", fault_image(path), SD_ERROR_UNSUPPORTED, path, "scans");
    free(many);
    free(jpeg);
}
END_TEST

/* ------------------------------------------------------------------------------- damage */

static const char *const fixtures[] = {
    "grey1.png",         "grey16-interlaced.png", "palette4.png",
    "palette8-trns.png", "rgb8-interlaced.png",   "rgba16.png",
    "jpeg-grey.jpg",     "jpeg-420.jpg",          "jpeg-progressive.jpg",
    "jpeg-cmyk.jpg",     "upright-6.png",         "held-5.jpg",
};

static sd_status decode(const uint8_t *data, size_t n) {
    sd_image *image;
    sd_status status = sd_image_load_memory(fault_ctx, data, n, NULL, &image);
    sd_image_free(image);
    return status;
}

/* Every length, from a buffer of just that size, so that AddressSanitizer sees each byte too far.
 */
START_TEST(cut_short) {
    size_t n;
    uint8_t *whole = files_read(files_path(SD_TEST_DATA, fixtures[_i]), &n);
    bool png = strstr(fixtures[_i], ".png") != NULL;
    for (size_t k = 1; k < n; k++) {
        uint8_t *part = malloc(k);
        memcpy(part, whole, k);
        sd_status status = decode(part, k);
        if (png || k < n * 3 / 4) /* the end of a JPEG may be padding */
            fault_refused(fixtures[_i], status, SD_ERROR_FORMAT, "image in memory", NULL);
        else
            fault_survived(fixtures[_i], status, "image in memory");
        free(part);
    }
    free(whole);
}
END_TEST

START_TEST(damaged) {
    size_t n;
    uint8_t *data = files_read(files_path(SD_TEST_DATA, fixtures[_i]), &n);
    for (size_t k = 0; k < n; k++) {
        static const uint8_t masks[] = {0x01, 0x80, 0xff};
        for (size_t m = 0; m < SD_COUNT(masks); m++) {
            data[k] ^= masks[m];
            fault_survived(fixtures[_i], decode(data, n), "image in memory");
            data[k] ^= masks[m];
        }
    }
    free(data);
}
END_TEST

void fault_add_images(Suite *suite) {
    TCase *tcase = fault_case(suite, "images");
    tcase_add_test(tcase, broken_pngs);
    tcase_add_test(tcase, no_images);
    tcase_add_test(tcase, other_formats_have_names);
    tcase_add_test(tcase, orientations);
    tcase_add_test(tcase, damaged_orientations);
    tcase_add_test(tcase, endless_scans);
    tcase_add_loop_test(tcase, cut_short, 0, (int)SD_COUNT(fixtures));
    tcase_add_loop_test(tcase, damaged, 0, (int)SD_COUNT(fixtures));
}
