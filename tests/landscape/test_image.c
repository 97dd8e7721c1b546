/* Image to image: a little noise keeps the picture, much follows the prompt. */
#include "compare.h"
#include "landscape.h"

static double psnr(const sd_image *a, const sd_image *b) {
    size_t n = (size_t)sd_image_width(a) * (size_t)sd_image_height(a) * 3;
    return psnr_u8(sd_image_pixels((sd_image *)a), sd_image_pixels((sd_image *)b), n);
}

static pictures repaint(const sd_image *init, const char *prompt, float strength) {
    pictures p = {.n = 1};
    sd_sampler_params s = sampling(1, 7.5f);
    s.steps = 20;
    sd_generate_params i = SD_GENERATE_PARAMS_INIT;
    i.prompt = prompt;
    i.init = init;
    i.strength = (double)strength;
    i.sampling = &s;
    ck_ok(sd_generate(model, &i, p.image, 1));
    return p;
}

START_TEST(strength_says_how_much_of_the_picture_stays) {
    pictures day = paint("hills by day with a white sun", "", 1, 7.5f);
    pictures little = repaint(day.image[0], "hills at night", 0.3f);
    pictures night = repaint(day.image[0], "hills at night", 0.8f);
    pictures red = repaint(day.image[0], "hills by day with a red sun", 0.8f);
    double near_psnr = psnr(day.image[0], little.image[0]);
    double far_psnr = psnr(day.image[0], night.image[0]);
    double before = brightness(&day), after = brightness(&night);
    blob no_red = red_blob(day.image[0]), sun = red_blob(red.image[0]);
    printf("strength 0.3: PSNR %.1f dB; 0.8: %.1f dB, brightness %.1f instead of %.1f, red pixels "
           "%d instead of %d\n",
           near_psnr, far_psnr, after, before, sun.n, no_red.n);
    ck_assert_double_gt(near_psnr, 20.0);
    ck_assert_double_gt(near_psnr, far_psnr + 6.0);
    ck_assert_double_gt(before - after, 30.0);
    ck_assert_int_lt(no_red.n, 40);
    ck_assert_int_gt(sun.n, 300);
    free_pictures(&day);
    free_pictures(&little);
    free_pictures(&night);
    free_pictures(&red);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {strength_says_how_much_of_the_picture_stays};
    return run_tests("landscape-image", tests, 1);
}
