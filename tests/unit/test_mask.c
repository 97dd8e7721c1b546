/* The mask of inpainting before and after the model: reading, blurring, cutting, laying
 * over, and what it says of it. */
#include "core/context_new.h"
#include "io/mask.h"

#include "../tools/counting.h"
#include "../tools/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sd_context *ctx;
static char said[4096]; /* all warnings */

static void listen(void *user, sd_log_level level, const char *message) {
    (void)user;
    if (level == SD_LOG_LEVEL_WARN)
        strncat(said, message, sizeof said - strlen(said) - 1);
}

static void setup(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.n_threads = 1;
    params.log = listen;
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
    said[0] = '\0';
}

static void teardown(void) {
    sdi_context_release(ctx);
}

static sd_image *new_image(int w, int h, int channels) {
    sd_image *image;
    ck_assert_int_eq(sdi_image_new(ctx, w, h, channels, &image), SD_OK);
    memset(image->pixels, 0, (size_t)w * (size_t)h * (size_t)channels);
    return image;
}

static void fill(sd_image *image, sd_rect r, const char *pixel) {
    for (int y = r.y; y < r.y + r.h; y++)
        for (int x = r.x; x < r.x + r.w; x++)
            memcpy(image->pixels + (y * image->width + x) * image->channels, pixel,
                   (size_t)image->channels);
}

static sd_image *prepare(sd_image *mask, double blur, bool invert) {
    const sd_masking how = {.blur = blur, .invert = invert};
    sd_image *grey;
    ck_assert_int_eq(sdi_mask_prepare(mask, &how, &grey), SD_OK);
    ck_assert_int_eq(grey->channels, 1);
    return grey;
}

/* A mask of two kinds of pixels, RGBA, and what its grey is for each. */
static const struct {
    const char *label, *in, *out; /* RGBA in the hole, around it */
    int grey_in, grey_out;
    bool told;
} alphas[] = {
    {"black, opaque where to paint", "\0\0\0\xff", "\0\0\0\0", 255, 0, true},
    {"white, opaque where to paint", "\xff\xff\xff\xff", "\xff\xff\xff\0", 255, 0, true},
    {"white on nothing", "\xff\xff\xff\xff", "\0\0\0\0", 255, 0, true},
    {"red on nothing", "\xff\0\0\xff", "\0\0\0\0", 255, 0, true},
    {"half transparent", "\7\7\7\x90", "\7\7\7\x10", 0x90, 0x10, true},
    {"colours are the mask", "\xff\xff\xff\xff", "\0\0\0\xff", 255, 0, false},
    {"colours, and alpha besides", "\xff\xff\xff\x80", "\0\0\0\xff", 255, 0, false},
    {"black seen, white hidden", "\xff\xff\xff\0", "\0\0\0\xff", 255, 0, false},
    {"one colour, opaque", "\0\0\0\xff", "\0\0\0\xff", 0, 0, false},
    {"one colour, nearly opaque", "\0\0\0\xff", "\0\0\0\xfe", 0, 0, false},
    {"one colour, nothing seen", "\xff\xff\xff\0", "\xff\xff\xff\0", 255, 255, false},
    {"one colour, faint", "\0\0\0\x40", "\0\0\0\0", 0, 0, false},
};

START_TEST(alpha_is_the_mask_where_colour_is_none) {
    for (size_t i = 0; i < SD_COUNT(alphas); i++)
        for (int invert = 0; invert < 2; invert++) {
            sd_image *mask = new_image(8, 6, 4);
            fill(mask, (sd_rect){0, 0, 8, 6}, alphas[i].out);
            fill(mask, (sd_rect){2, 1, 3, 4}, alphas[i].in);
            said[0] = '\0';
            sd_image *grey = prepare(mask, 0, invert);
            int in = grey->pixels[8 + 2], out = grey->pixels[0];
            ck_assert_msg(in == (invert ? 255 - alphas[i].grey_in : alphas[i].grey_in) &&
                              out == (invert ? 255 - alphas[i].grey_out : alphas[i].grey_out),
                          "%s: %d, %d", alphas[i].label, in, out);
            ck_assert_msg((strstr(said, "alpha channel") != NULL) == alphas[i].told, "%s: '%s'",
                          alphas[i].label, said);
            sdi_image_free(mask);
            sdi_image_free(grey);
        }
}
END_TEST

/* The sum over all pixels in double, edges going on without end. */
static double blurred(const sd_image *image, int x, int y, double sigma) {
    double sum = 0, weights = 0;
    int radius = (int)ceil(6 * sigma);
    for (int dy = -radius; dy <= radius; dy++)
        for (int dx = -radius; dx <= radius; dx++) {
            int px = x + dx < 0 ? 0 : x + dx >= image->width ? image->width - 1 : x + dx;
            int py = y + dy < 0 ? 0 : y + dy >= image->height ? image->height - 1 : y + dy;
            double w = exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma));
            sum += w * image->pixels[py * image->width + px];
            weights += w;
        }
    return sum / weights;
}

START_TEST(a_blur_is_gaussian) {
    static const double sigmas[] = {0.05, 0.5, 1, 2.5, 6};
    sd_image *mask = new_image(41, 23, 1);
    fill(mask, (sd_rect){0, 5, 12, 9}, "\xff"); /* at the edge */
    fill(mask, (sd_rect){20, 3, 14, 14}, "\xc8");
    for (size_t i = 0; i < SD_COUNT(sigmas); i++) {
        sd_image *grey = prepare(mask, sigmas[i], false);
        double worst = 0;
        for (int k = 0; k < 41 * 23; k++) {
            double d = fabs(grey->pixels[k] - blurred(mask, k % 41, k / 41, sigmas[i]));
            worst = d > worst ? d : worst;
        }
        printf("blur %g: largest difference %.3f of 255\n", sigmas[i], worst);
        ck_assert(worst < 0.6); /* half of it by rounding */
        sdi_image_free(grey);
    }
    sd_image *grey = prepare(mask, 512, true);
    ck_assert(sdi_mask_is_soft(grey));
    sdi_image_free(grey);
    sdi_image_free(mask);
}
END_TEST

/* Rectangles as the popular web UIs' "only masked" and diffusers' padding_mask_crop have them. */
static const struct {
    int w, h;
    sd_rect white;
    int padding, width, height;
    sd_rect region;
} regions[] = {
    {200, 100, {50, 40, 20, 20}, 0, 64, 64, {50, 40, 20, 20}},
    {200, 100, {50, 40, 20, 20}, 10, 64, 64, {40, 30, 40, 40}},
    {200, 100, {50, 40, 20, 10}, 0, 64, 64, {50, 35, 20, 20}},
    {200, 100, {50, 40, 10, 20}, 0, 64, 64, {45, 40, 20, 20}},
    {200, 100, {50, 40, 20, 20}, 0, 128, 64, {40, 40, 40, 20}},
    {200, 100, {0, 0, 20, 10}, 4, 64, 64, {0, 0, 24, 24}},
    {200, 100, {190, 90, 10, 5}, 2, 64, 64, {188, 87, 12, 12}},
    {200, 100, {0, 0, 200, 10}, 0, 64, 64, {0, 0, 200, 100}},
    {200, 100, {10, 10, 150, 20}, 5, 64, 64, {5, 0, 160, 100}},
    {200, 100, {0, 0, 0, 0}, 5, 64, 64, {0, 0, 200, 100}},
    {200, 100, {7, 9, 1, 1}, 0, 64, 64, {7, 9, 1, 1}},
    {200, 100, {7, 9, 1, 1}, 32768, 64, 64, {0, 0, 200, 100}},
};

START_TEST(only_the_masked_part) {
    for (size_t i = 0; i < SD_COUNT(regions); i++) {
        sd_image *grey = new_image(regions[i].w, regions[i].h, 1);
        fill(grey, regions[i].white, "\1"); /* any grey */
        sd_rect r = sdi_mask_region(grey, regions[i].padding, regions[i].width, regions[i].height);
        sd_rect want = regions[i].region;
        ck_assert_msg(memcmp(&r, &want, sizeof r) == 0, "%zu: %d, %d, %d x %d", i, r.x, r.y, r.w,
                      r.h);
        sdi_image_free(grey);
    }
    sd_rect wide = sdi_rect_fit(200, 100, 64, 64), tall = sdi_rect_fit(3, 300, 64, 32);
    sd_rect same = sdi_rect_fit(20, 10, 128, 64), thin = sdi_rect_fit(1, 32768, 64, 64);
    ck_assert(wide.x == 0 && wide.y == 16 && wide.w == 64 && wide.h == 32);
    ck_assert(tall.y == 0 && tall.h == 32 && tall.w == 1);
    ck_assert(same.x == 0 && same.y == 0 && same.w == 128 && same.h == 64);
    ck_assert(thin.w == 1 && thin.h == 64);
}
END_TEST

/* The surroundings of a part that does not fill the canvas goes on from its edges. */
START_TEST(laid_into_a_canvas) {
    sd_image *image = new_image(10, 8, 3), *out;
    for (int i = 0; i < 10 * 8; i++)
        image->pixels[3 * i + 1] = (uint8_t)i;
    sd_rect from = {2, 3, 4, 2}, to = {0, 1, 4, 2};
    ck_assert_int_eq(sdi_image_lay(image, from, to, 4, 4, &out), SD_OK);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 4; x++)
            ck_assert_int_eq(out->pixels[3 * (4 * y + x) + 1], 10 * (y < 2 ? 3 : 4) + 2 + x);
    sdi_image_free(out);
    sdi_image_free(image);
}
END_TEST

/* Every pair of values and amount, against the fraction: black and white keep their bits. */
START_TEST(blending_is_exact) {
    sd_image *under = new_image(256, 256, 1), *out = new_image(256, 256, 3);
    static uint8_t amount[256 * 256];
    for (int g = 0; g < 256; g++) {
        for (int i = 0; i < 256 * 256; i++) {
            under->pixels[i] = (uint8_t)(i % 256);
            memset(out->pixels + 3 * i, i / 256, 3);
            amount[i] = (uint8_t)g;
        }
        sdi_image_blend(under, amount, out);
        int wrong = 0;
        for (int i = 0; i < 256 * 256; i++) {
            int sum = i % 256 * (255 - g) + i / 256 * g,
                twice = 2 * (out->pixels[3 * i] * 255 - sum);
            wrong += twice > 255 || twice < -255 || out->pixels[3 * i] != out->pixels[3 * i + 2];
        }
        ck_assert_int_eq(wrong, 0);
    }
    sdi_image_free(under);
    sdi_image_free(out);
}
END_TEST

static const struct {
    const char *label;
    sd_rect white[3];
    const char *words; /* NULL: nothing is said */
} thin[] = {
    {"nothing", {{0, 0, 0, 0}}, "no white pixel"},
    {"everything", {{0, 0, 64, 48}}, "white everywhere"},
    {"a square", {{10, 10, 20, 20}}, NULL},
    {"a line over first pixels", {{0, 16, 64, 1}}, NULL},
    {"a line between them", {{0, 17, 64, 1}}, "1 of its 1 white parts"},
    {"a line and a square", {{0, 17, 64, 1}, {30, 30, 9, 9}}, "1 of its 2 white parts"},
    {"two dots and a square",
     {{1, 1, 2, 2}, {50, 3, 5, 4}, {30, 30, 9, 9}},
     "the largest has 5 x 4 pixels at 50, 3"},
    {"joined by a corner", {{7, 7, 1, 1}, {8, 8, 1, 1}}, NULL},
    {"a dot on a first pixel", {{8, 8, 1, 1}}, NULL},
};

START_TEST(thin_strokes_are_told) {
    for (size_t i = 0; i < SD_COUNT(thin); i++)
        for (int any = 0; any < 2; any++) {
            sd_image *grey = new_image(64, 48, 1);
            static float white[64 * 48];
            for (int k = 0; k < 3; k++)
                fill(grey, thin[i].white[k], "\xff");
            for (int k = 0; k < 64 * 48; k++)
                white[k] = grey->pixels[k] >= 128 ? 1.0f : 0.0f;
            said[0] = '\0';
            sdi_mask_warn(grey, white, 48, 64, 8, any);
            bool expected = thin[i].words && (!any || i < 2);
            ck_assert_msg(expected ? strstr(said, thin[i].words) != NULL : !*said, "%s: '%s'",
                          thin[i].label, said);
            sdi_image_free(grey);
        }
    sd_image *grey = new_image(640, 480, 1); /* what is lost when the mask is made smaller */
    static const float black[64 * 48];
    fill(grey, (sd_rect){5, 5, 1, 1}, "\xff");
    said[0] = '\0';
    sdi_mask_warn(grey, black, 48, 64, 8, true);
    ck_assert_ptr_nonnull(strstr(said, "nothing of it is left at 64 x 48"));
    sdi_image_free(grey);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("mask");
    TCase *tcase = tcase_create("mask");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, alpha_is_the_mask_where_colour_is_none);
    tcase_add_test(tcase, a_blur_is_gaussian);
    tcase_add_test(tcase, only_the_masked_part);
    tcase_add_test(tcase, laid_into_a_canvas);
    tcase_add_test(tcase, blending_is_exact);
    tcase_add_test(tcase, thin_strokes_are_told);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
