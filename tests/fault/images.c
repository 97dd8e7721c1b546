/* Broken PNG and JPEG files: classics by hand, and the fixtures of tests/unit cut and damaged.
 * SD_TEST_DATA is their folder. */
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
    {"huge width", 0x7fffffff, 1, 8, 0, 0, 20, SD_ERROR_FORMAT},
    {"negative width", 0xffffffff, 1, 8, 0, 0, 20, SD_ERROR_FORMAT},
    {"over the limit", 32769, 1, 8, 0, 0, 32770, SD_ERROR_FORMAT},
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
                      sd_image_load_memory(fault_ctx, others[i].data, others[i].n, &image),
                      others[i].status, "image in memory", NULL);
        ck_assert_ptr_null(image);
    }
    const char *missing = files_path(fault_dir, "missing.png");
    fault_refused("missing", fault_image(missing), SD_ERROR_IO, missing, NULL);
    fault_refused("a folder", fault_image(fault_dir), SD_ERROR_IO, fault_dir, NULL);
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
    "jpeg-cmyk.jpg",
};

static sd_status decode(const uint8_t *data, size_t n) {
    sd_image *image;
    sd_status status = sd_image_load_memory(fault_ctx, data, n, &image);
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
    tcase_add_test(tcase, endless_scans);
    tcase_add_loop_test(tcase, cut_short, 0, (int)SD_COUNT(fixtures));
    tcase_add_loop_test(tcase, damaged, 0, (int)SD_COUNT(fixtures));
}
