/* sd_generate with masks of each kind: alpha, inverted, blurred, thin, and only the masked part. */
#include "../support/image.h"
#include "../support/params.h"
#include "api.h"

enum { SIDE = 64, AREA = SIDE * SIDE };

static sd_context *ctx;
static sd_model *models[2]; /* that know no masks, and that do */
static sd_image *init;
static char said[4096];

static void listen(void *user, sd_log_level level, const char *message) {
    (void)user, (void)level;
    strncat(said, message, sizeof said - strlen(said) - 1);
}

static void set_up(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    params.n_threads = 2;
    params.log = listen;
    ck_ok(sd_context_new(&params, &ctx));
    ck_ok(sd_model_load(ctx, tiny_folder(), NULL, &models[0]));
    ck_ok(sd_model_load(ctx, getenv("SD_TEST_INPAINT_FOLDER"), NULL, &models[1]));
    ck_ok(new_image(ctx, SIDE, SIDE, 3, NULL, &init));
    for (int i = 0; i < 3 * AREA; i++)
        sd_image_pixels_mut(init)[i] = (uint8_t)(i * 7 % 251);
}

static void tear_down(void) {
    sd_image_free(init);
    sd_model_free(models[0]);
    sd_model_free(models[1]);
    sd_context_free(ctx);
}

/* Whether pixel (x, y) is white. */
typedef bool (*shape)(int x, int y);

static bool block(int x, int y) {
    return x >= 20 && x < 52 && y >= 12 && y < 44;
}
static bool line(int x, int y) {
    (void)x;
    return y >= 33 && y < 36; /* no row of first pixels */
}
static bool all(int x, int y) {
    return x >= 0 && y >= 0;
}
static bool none(int x, int y) {
    return x < 0 && y < 0;
}

static sd_image *draw(shape white, int channels, const char *on, const char *off) {
    sd_image *mask;
    ck_ok(new_image(ctx, SIDE, SIDE, channels, NULL, &mask));
    for (int i = 0; i < AREA; i++)
        memcpy(sd_image_pixels_mut(mask) + i * channels, white(i % SIDE, i / SIDE) ? on : off,
               (size_t)channels);
    return mask;
}

static sd_image *paint(int model, sd_generate_params params, sd_image *mask, int side) {
    sd_sampler_params sampling = small_run();
    sd_image *image;
    sampling.steps = 2;
    sampling.width = sampling.height = side;
    params.prompt = "a cat";
    params.init = params.init ? params.init : init;
    params.mask = mask;
    params.sampling = &sampling;
    said[0] = '\0';
    ck_ok(sd_generate(models[model], &params, &image, 1));
    return image;
}

static const sd_generate_params plain = SD_GENERATE_PARAMS_INIT;

static bool same_pixels(sd_image *a, sd_image *b) {
    size_t n = (size_t)sd_image_width(a) * (size_t)sd_image_height(a) * 3;
    return sd_image_width(a) == sd_image_width(b) && sd_image_height(a) == sd_image_height(b) &&
           memcmp(sd_image_pixels(a), sd_image_pixels(b), n) == 0;
}

/* Pixels that differ, where the shape is white or where it is black. */
static int count_changed(const sd_image *image, shape white, bool where) {
    int n = 0;
    for (int i = 0; i < AREA; i++)
        n += white(i % SIDE, i / SIDE) == where &&
             memcmp(sd_image_pixels((sd_image *)image) + 3 * i, sd_image_pixels(init) + 3 * i, 3);
    return n;
}

START_TEST(the_same_mask_in_other_forms) {
    sd_image *mask = draw(block, 1, "\xff", "\0"), *want = paint(_i, plain, mask, SIDE);
    ck_assert_str_eq(said, "");
    ck_assert_int_eq(count_changed(want, block, false), 0);
    ck_assert_int_gt(count_changed(want, block, true), 32 * 30);
    sd_generate_params inverted = plain;
    inverted.masking = MASKING(.invert = 1);
    sd_image *const forms[] = {
        draw(block, 3, "\xff\xff\xff", "\0\0\0"),
        draw(block, 4, "\0\0\0\xff", "\0\0\0\0"),
        draw(block, 4, "\xff\xff\xff\xff", "\xff\xff\xff\0"),
        draw(block, 4, "\xff\xff\xff\xff", "\0\0\0\xff"),
        draw(block, 1, "\0", "\xff"),
        draw(block, 4, "\0\0\0\0", "\0\0\0\xff"),
    };
    for (int i = 0; i < 6; i++) {
        sd_image *got = paint(_i, i < 4 ? plain : inverted, forms[i], SIDE);
        ck_assert_msg(same_pixels(got, want), "form %d", i);
        ck_assert((strstr(said, "alpha channel") != NULL) == (i == 1 || i == 2 || i == 5));
        sd_image_free(got);
        sd_image_free(forms[i]);
    }
    sd_image_free(mask);
    sd_image_free(want);
}
END_TEST

/* Far from the edge nothing changes; the latents of a model that does not see the corners' rounding
 * are the same. */
START_TEST(a_blurred_edge) {
    sd_image *mask = draw(block, 1, "\xff", "\0");
    sd_generate_params params = plain;
    sd_image *hard = paint(_i, plain, mask, SIDE);
    params.masking = MASKING(.blur = 2);
    sd_image *soft = paint(_i, params, mask, SIDE);
    int outside = count_changed(soft, block, false), differ = 0;
    ck_assert_int_gt(outside, 100);
    for (int i = 0; i < AREA; i++) {
        int x = i % SIDE, y = i / SIDE;
        bool near = x >= 10 && x < 62 && y >= 2 && y < 54;
        if (!near)
            ck_assert(!memcmp(sd_image_pixels(soft) + 3 * i, sd_image_pixels(init) + 3 * i, 3));
        if (x >= 30 && x < 42 && y >= 22 && y < 34)
            differ += memcmp(sd_image_pixels(soft) + 3 * i, sd_image_pixels(hard) + 3 * i, 3) != 0;
    }
    ck_assert(differ == 0 || _i == 1);
    sd_image_free(mask);
    sd_image_free(hard);
    sd_image_free(soft);
}
END_TEST

START_TEST(what_a_mask_says) {
    static const struct {
        shape white;
        const char *words;
    } cases[] = {{none, "nothing is painted"},
                 {all, "everything is painted"},
                 {line, "1 of its 1 white parts"},
                 {block, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sd_image *mask = draw(cases[i].white, 1, "\xff", "\0");
        sd_image *image = paint(_i, plain, mask, SIDE);
        if (cases[i].words)
            ck_assert_msg(strstr(said, cases[i].words) != NULL, "'%s' is not in '%s'",
                          cases[i].words, said);
        else
            ck_assert_str_eq(said, "");
        ck_assert_int_eq(count_changed(image, cases[i].white, false), 0);
        sd_image_free(image);
        sd_image_free(mask);
    }
}
END_TEST

/* A line between first pixels is painted like the squares that it lies in. */
START_TEST(thin_strokes_reach_latents) {
    sd_image *mask = draw(line, 1, "\xff", "\0");
    sd_generate_params any = plain;
    any.masking = MASKING(.any_pixel = 1);
    sd_image *first = paint(_i, plain, mask, SIDE), *painted = paint(_i, any, mask, SIDE);
    ck_assert_str_eq(said, "");
    ck_assert(!same_pixels(first, painted));
    ck_assert_int_eq(count_changed(painted, line, false), 0);
    ck_assert_int_gt(count_changed(painted, line, true), 150);
    sd_image_free(mask);
    sd_image_free(first);
    sd_image_free(painted);
}
END_TEST

static sd_image *cut(sd_image *image, int x, int y, int w, int h) {
    int c = image_channels(image), width = sd_image_width(image);
    sd_image *out;
    ck_ok(new_image(ctx, w, h, c, NULL, &out));
    for (int row = 0; row < h; row++)
        memcpy(sd_image_pixels_mut(out) + row * w * c,
               sd_image_pixels(image) + ((y + row) * width + x) * c, (size_t)(w * c));
    return out;
}

/* The block is cut out, painted at 128 x 128, and put back: as by hand. */
START_TEST(only_the_masked_part) {
    sd_image *mask = draw(block, 1, "\xff", "\0"), *part = cut(init, 20, 12, 32, 32);
    sd_image *white = cut(mask, 20, 12, 32, 32), *small;
    sd_generate_params params = plain, by_hand = plain;
    sd_mask_params masking = SD_MASK_PARAMS_INIT;
    masking.only_masked = 1;
    masking.padding = 0;
    params.masking = &masking;
    sd_image *got = paint(_i, params, mask, 128);
    ck_assert_int_eq(sd_image_width(got), SIDE);
    ck_assert_int_eq(count_changed(got, block, false), 0);
    by_hand.init = part;
    sd_image *large = paint(_i, by_hand, white, 128);
    ck_ok(sd_image_resize(large, 32, 32, &small));
    sd_image *hole = cut(got, 20, 12, 32, 32);
    ck_assert(same_pixels(hole, small));
    masking.padding = 8;
    sd_image *padded = paint(_i, params, mask, 128);
    ck_assert(!same_pixels(padded, got));
    ck_assert_int_eq(count_changed(padded, block, false), 0);
    sd_image *const images[] = {mask, part, white, got, large, small, hole, padded};
    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        sd_image_free(images[i]);
}
END_TEST

/* Pictures of any size and mode, where the part does not have the proportion of what is painted. */
START_TEST(only_the_masked_part_of_any_picture) {
    sd_image *picture, *mask, *got;
    sd_generate_params params = plain;
    ck_ok(new_image(ctx, 211, 37, 1, NULL, &picture));
    ck_ok(new_image(ctx, 211, 37, 1, NULL, &mask));
    for (int i = 0; i < 211 * 37; i++) {
        sd_image_pixels_mut(picture)[i] = (uint8_t)(i % 211);
        sd_image_pixels_mut(mask)[i] = i % 211 >= 30 && i % 211 < 180 && i / 211 >= 9 ? 255 : 0;
    }
    params.init = picture;
    params.masking = MASKING(.only_masked = 1, .blur = 1.5);
    got = paint(_i, params, mask, SIDE);
    ck_assert_int_eq(sd_image_width(got), 211);
    ck_assert_int_eq(sd_image_height(got), 37);
    int changed = 0;
    for (int i = 0; i < 211 * 37; i++)
        for (int k = 0; k < 3; k++) {
            int x = i % 211, y = i / 211, d = sd_image_pixels(got)[3 * i + k] != x;
            changed += d;
            if (x < 23 || x > 187 || y < 2)
                ck_assert_int_eq(d, 0);
        }
    ck_assert_int_gt(changed, 150 * 27 * 2);
    sd_image_free(got);
    memset(sd_image_pixels_mut(mask), 0, 211 * 37);
    got = paint(_i, params, mask, SIDE); /* nothing: the picture itself */
    ck_assert_ptr_nonnull(strstr(said, "nothing is painted"));
    for (int i = 0; i < 211 * 37; i++)
        ck_assert_int_eq(sd_image_pixels(got)[3 * i], i % 211);
    sd_image_free(got);
    sd_image_free(picture);
    sd_image_free(mask);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("masks");
    TCase *tests = tcase_create("masks");
    tcase_set_timeout(tests, 240);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, the_same_mask_in_other_forms, 0, 2);
    tcase_add_loop_test(tests, a_blurred_edge, 0, 2);
    tcase_add_loop_test(tests, what_a_mask_says, 0, 2);
    tcase_add_loop_test(tests, thin_strokes_reach_latents, 0, 2);
    tcase_add_loop_test(tests, only_the_masked_part, 0, 2);
    tcase_add_loop_test(tests, only_the_masked_part_of_any_picture, 0, 2);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
