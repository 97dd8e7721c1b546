/*
 * Decoding, encoding and resampling against files that PIL read and made: see
 * tests/tools/make_image_fixtures.py. SD_TEST_DATA is the folder of the fixtures.
 */
#include "io/image.h"

#include "../tools/counting.h"
#include "../tools/suite.h"
#include "core/files.h"
#include "core/os.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static counting counts;
static sd_context *ctx;
static long live_at_start;

static void setup(void) {
    ctx = counting_context(&counts);
    ck_assert_ptr_nonnull(ctx);
    live_at_start = counts.live;
}

static void teardown(void) {
    ck_assert_int_eq(counts.live, live_at_start);
    sdi_context_release(ctx);
    ck_assert_int_eq(counts.live, 0);
}

static uint8_t *read_fixture(const char *name, size_t *size) {
    char path[1024];
    uint8_t *bytes;
    snprintf(path, sizeof path, "%s/%s", SD_TEST_DATA, name);
    ck_assert_msg(sdi_read_file(ctx, path, 1 << 24, &bytes, size) == SD_OK, "%s", sdi_error_get());
    return bytes;
}

static int read_u32(const uint8_t *p) {
    return (int)(p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24);
}

/* An image of the raw fixtures: width, height, pixels. */
static sd_image *read_raw(const char *name, int channels) {
    size_t size;
    uint8_t *bytes = read_fixture(name, &size);
    sd_image *image;
    int w = read_u32(bytes), h = read_u32(bytes + 4);
    ck_assert_uint_eq(size, 8 + (size_t)w * (size_t)h * (size_t)channels);
    ck_assert_int_eq(sdi_image_new(ctx, w, h, channels, &image), SD_OK);
    memcpy(image->pixels, bytes + 8, size - 8);
    sdi_free(ctx, bytes);
    return image;
}

/* Largest difference of a byte; fails where the shapes differ. */
static int max_difference(const sd_image *a, const sd_image *b) {
    ck_assert_int_eq(a->width, b->width);
    ck_assert_int_eq(a->height, b->height);
    ck_assert_int_eq(a->channels, b->channels);
    int worst = 0;
    size_t n = (size_t)a->width * (size_t)a->height * (size_t)a->channels;
    for (size_t i = 0; i < n; i++) {
        int d = abs(a->pixels[i] - b->pixels[i]);
        worst = d > worst ? d : worst;
    }
    return worst;
}

static const char *const files[] = {
    "grey1.png",
    "grey2.png",
    "grey4.png",
    "grey8.png",
    "grey16.png",
    "grey16-interlaced.png",
    "grey2-trns.png",
    "greyalpha8.png",
    "greyalpha16.png",
    "palette1.png",
    "palette2.png",
    "palette4.png",
    "palette8.png",
    "palette8-trns.png",
    "rgb8.png",
    "rgb16.png",
    "rgb8-interlaced.png",
    "rgb8-trns-gamma.png",
    "rgba8.png",
    "rgba16.png",
    "jpeg-grey.jpg",
    "jpeg-444.jpg",
    "jpeg-422.jpg",
    "jpeg-420.jpg",
    "jpeg-progressive.jpg",
    "jpeg-rgb.jpg",
    "jpeg-cmyk.jpg",
    "jpeg-exif.jpg",
    "grey1-trns.png",
    "grey4-trns.png",
    "grey8-trns.png",
    "grey16-trns.png",
    "grey16-near.png",
    "upright-1.png",
    "upright-2.png",
    "upright-3.png",
    "upright-4.png",
    "upright-5.png",
    "upright-6.png",
    "upright-7.png",
    "upright-8.png",
    "held-1.jpg",
    "held-2.jpg",
    "held-3.jpg",
    "held-4.jpg",
    "held-5.jpg",
    "held-6.jpg",
    "held-7.jpg",
    "held-8.jpg",
};

START_TEST(decodes_as_pil) {
    const char *name = files[_i];
    char raw[64];
    size_t size;
    uint8_t *bytes = read_fixture(name, &size);
    sd_image *image, *expected;
    ck_assert_msg(sdi_image_decode(ctx, name, bytes, size, &image) == SD_OK, "%s", sdi_error_get());
    snprintf(raw, sizeof raw, "%.*s.rgb", (int)(strrchr(name, '.') - name), name);
    expected = read_raw(raw, 3);
    int worst = max_difference(image, expected);
    printf("%-24s %2d x %2d, largest difference from PIL %d\n", name, image->width, image->height,
           worst);
    ck_assert_int_eq(worst, 0);
    sdi_image_free(image);
    sdi_image_free(expected);
    sdi_free(ctx, bytes);
}
END_TEST

/* With their transparency; a file that has none stays RGB. */
static const char *const transparent[] = {
    "grey1-trns", "grey2-trns", "grey4-trns",    "grey8-trns",      "grey16-trns", "grey16-near",
    "greyalpha8", "rgba8",      "palette8-trns", "rgb8-trns-gamma", "rgba16",      "greyalpha16",
    "palette8",   "rgb16",      "grey16",        "upright-6",
};

START_TEST(keeps_alpha) {
    sd_image_load_params params = SD_IMAGE_LOAD_PARAMS_INIT;
    char name[64];
    size_t size;
    sd_image *image, *expected;
    bool opaque = _i >= (int)SD_COUNT(transparent) - 4;
    params.keep_alpha = 1;
    snprintf(name, sizeof name, "%s.png", transparent[_i]);
    uint8_t *bytes = read_fixture(name, &size);
    ck_assert_int_eq(sdi_image_decode_with(ctx, name, bytes, size, &params, &image), SD_OK);
    snprintf(name, sizeof name, "%s.%s", transparent[_i], opaque ? "rgb" : "rgba");
    expected = read_raw(name, opaque ? 3 : 4);
    ck_assert_int_eq(max_difference(image, expected), 0);
    sdi_image_free(image);
    sdi_image_free(expected);
    sdi_free(ctx, bytes);
}
END_TEST

START_TEST(as_it_is_stored) {
    static const char *const names[] = {"upright-6.png", "held-6.jpg"};
    static const int sides[][2] = {{13, 7}, {21, 10}};
    sd_image_load_params params = SD_IMAGE_LOAD_PARAMS_INIT;
    for (int i = 0; i < 2; i++)
        for (int stored = 0; stored < 2; stored++) {
            size_t size;
            sd_image *image;
            uint8_t *bytes = read_fixture(names[i], &size);
            params.as_stored = stored;
            ck_assert_int_eq(sdi_image_decode_with(ctx, "file", bytes, size, &params, &image),
                             SD_OK);
            ck_assert_int_eq(image->width, sides[i][!stored]);
            ck_assert_int_eq(image->height, sides[i][stored]);
            sdi_image_free(image);
            sdi_free(ctx, bytes);
        }
}
END_TEST

static const struct {
    const char *in;
    int channels, width, height;
} resizes[] = {
    {"lanczos-l", 1, 17, 40},   {"lanczos-l", 1, 64, 29},    {"lanczos-l", 1, 1, 1},
    {"lanczos-rgb", 3, 16, 16}, {"lanczos-rgb", 3, 37, 12},  {"lanczos-rgb", 3, 80, 50},
    {"lanczos-rgb", 3, 5, 29},  {"lanczos-rgb", 3, 36, 28},  {"lanczos-rgb", 3, 1, 90},
    {"lanczos-rgba", 4, 21, 9}, {"lanczos-rgba", 4, 50, 47},
};

START_TEST(resizes_as_pil) {
    char name[64];
    snprintf(name, sizeof name, "%s.in", resizes[_i].in);
    sd_image *in = read_raw(name, resizes[_i].channels), *out;
    snprintf(name, sizeof name, "%s-%dx%d.out", resizes[_i].in, resizes[_i].width,
             resizes[_i].height);
    sd_image *expected = read_raw(name, resizes[_i].channels);
    ck_assert_int_eq(sdi_image_lanczos(in, resizes[_i].width, resizes[_i].height, &out), SD_OK);
    int worst = max_difference(out, expected);
    printf("%-24s largest difference from PIL %d\n", name, worst);
    ck_assert_int_eq(worst, 0);
    sdi_image_free(in);
    sdi_image_free(out);
    sdi_image_free(expected);
}
END_TEST

START_TEST(resizing_to_the_same_size_copies) {
    sd_image *in = read_raw("lanczos-rgba.in", 4), *out;
    ck_assert_int_eq(sdi_image_lanczos(in, in->width, in->height, &out), SD_OK);
    ck_assert_int_eq(max_difference(in, out), 0);
    sdi_image_free(in);
    sdi_image_free(out);
}
END_TEST

START_TEST(resizing_refuses_bad_sizes) {
    static const int sizes[][2] = {{0, 5}, {5, 0}, {-1, 5}, {5, -7}, {1 << 30, 1}, {1, 32769}};
    sd_image *in = read_raw("lanczos-l.in", 1);
    for (size_t i = 0; i < SD_COUNT(sizes); i++) {
        sd_image *out = in;
        ck_assert_int_eq(sdi_image_lanczos(in, sizes[i][0], sizes[i][1], &out), SD_ERROR_ARGUMENT);
        ck_assert_ptr_null(out);
    }
    sdi_image_free(in);
}
END_TEST

static bool contains(const uint8_t *bytes, size_t size, const void *part, size_t n) {
    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(bytes + i, part, n) == 0)
            return true;
    return false;
}

#define CONTAINS(bytes, size, part) contains(bytes, size, part, sizeof(part) - 1)

START_TEST(png_comes_back) {
    static const char *const names[] = {"lanczos-l.in", "lanczos-rgb.in", "lanczos-rgba.in"};
    static const int channels[] = {1, 3, 4};
    sd_image *in = read_raw(names[_i], channels[_i]), *out;
    uint8_t *bytes;
    size_t size;
    ck_assert_int_eq(sdi_image_encode(in, &(sd_image_file){.parameters = NULL}, &bytes, &size),
                     SD_OK);
    ck_assert(!CONTAINS(bytes, size, "parameters"));
    ck_assert_int_eq(sdi_image_decode(ctx, "own png", bytes, size, &out), SD_OK);
    ck_assert_int_eq(out->channels, 3);
    for (size_t i = 0; i < (size_t)in->width * (size_t)in->height; i++)
        for (int c = 0; c < 3; c++)
            ck_assert_int_eq(
                out->pixels[3 * i + (size_t)c],
                in->pixels[(size_t)in->channels * i + (size_t)(in->channels == 1 ? 0 : c)]);
    sdi_free(ctx, bytes);
    sdi_image_free(in);
    sdi_image_free(out);
}
END_TEST

START_TEST(png_keeps_parameters) {
    sd_image *image = read_raw("lanczos-rgb.in", 3);
    uint8_t *bytes;
    size_t size;
    ck_assert_int_eq(
        sdi_image_encode(image, &(sd_image_file){.parameters = "a cat\nSteps: 20"}, &bytes, &size),
        SD_OK);
    ck_assert(CONTAINS(bytes, size, "tEXtparameters\0a cat\nSteps: 20"));
    sdi_free(ctx, bytes);
    ck_assert_int_eq(sdi_image_encode(image, &(sd_image_file){.parameters = "caf\xc3\xa9 \xc2\xb0"},
                                      &bytes, &size),
                     SD_OK);
    ck_assert(CONTAINS(bytes, size, "tEXtparameters\0caf\xe9 \xb0")); /* Latin-1 */
    sdi_free(ctx, bytes);
    ck_assert_int_eq(
        sdi_image_encode(image, &(sd_image_file){.parameters = "\xe7\x8c\xab"}, &bytes, &size),
        SD_OK);
    ck_assert(CONTAINS(bytes, size, "iTXtparameters\0\0\0\0\0\xe7\x8c\xab")); /* UTF-8 */
    sdi_free(ctx, bytes);
    sdi_image_free(image);
}
END_TEST

START_TEST(jpeg_comes_back) {
    static const char *const names[] = {"lanczos-l.in", "lanczos-rgb.in", "lanczos-rgba.in"};
    static const int channels[] = {1, 3, 4};
    sd_image *in = read_raw(names[_i], channels[_i]), *out;
    uint8_t *bytes;
    size_t size;
    ck_assert_int_eq(sdi_image_encode(in, &(sd_image_file){true, 95, "Steps: 20"}, &bytes, &size),
                     SD_OK);
    ck_assert(CONTAINS(bytes, size, "\xff\xfe\0\x0bSteps: 20"));
    if (in->channels > 1) /* SOF0: three components, luma sampled 2 x 2: 4:2:0 */
        ck_assert(CONTAINS(bytes, size, "\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"));
    ck_assert_int_eq(sdi_image_decode(ctx, "own jpeg", bytes, size, &out), SD_OK);
    double sum = 0;
    for (size_t i = 0; i < (size_t)in->width * (size_t)in->height; i++)
        for (int c = 0; c < 3; c++) {
            int d = out->pixels[3 * i + (size_t)c] -
                    in->pixels[(size_t)in->channels * i + (size_t)(in->channels == 1 ? 0 : c)];
            sum += d * d;
        }
    double mse = sum / (3.0 * in->width * in->height);
    printf("JPEG of %d channels: mean squared error %.1f\n", in->channels, mse);
    ck_assert(mse < (in->channels == 1 ? 10 : 1500)); /* this noise is hard on 4:2:0 */
    sdi_free(ctx, bytes);
    sdi_image_free(in);
    sdi_image_free(out);
}
END_TEST

START_TEST(jpeg_splits_a_long_comment) {
    static char text[70001];
    sd_image *image = read_raw("lanczos-l.in", 1), *out;
    uint8_t *bytes;
    size_t size;
    memset(text, 'x', sizeof text - 1);
    ck_assert_int_eq(sdi_image_encode(image, &(sd_image_file){true, 95, text}, &bytes, &size),
                     SD_OK);
    ck_assert(CONTAINS(bytes, size, "\xff\xfe\xff\xffx"));
    ck_assert(CONTAINS(bytes, size, "\xff\xfe\x11\x75x")); /* 70,000 - 65,533 + 2 */
    ck_assert_int_eq(sdi_image_decode(ctx, "own jpeg", bytes, size, &out), SD_OK);
    sdi_free(ctx, bytes);
    sdi_image_free(image);
    sdi_image_free(out);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("image");
    TCase *tcase = tcase_create("image");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, decodes_as_pil, 0, (int)SD_COUNT(files));
    tcase_add_loop_test(tcase, keeps_alpha, 0, (int)SD_COUNT(transparent));
    tcase_add_test(tcase, as_it_is_stored);
    tcase_add_loop_test(tcase, resizes_as_pil, 0, (int)SD_COUNT(resizes));
    tcase_add_test(tcase, resizing_to_the_same_size_copies);
    tcase_add_test(tcase, resizing_refuses_bad_sizes);
    tcase_add_loop_test(tcase, png_comes_back, 0, 3);
    tcase_add_test(tcase, png_keeps_parameters);
    tcase_add_loop_test(tcase, jpeg_comes_back, 0, 3);
    tcase_add_test(tcase, jpeg_splits_a_long_comment);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
