/* Image to image: a little noise keeps the picture, much follows the prompt. */
#include "compare.h"
#include "landscape.h"

static double psnr(const sd_image *a, const sd_image *b) {
    size_t n = (size_t)sd_image_width(a) * (size_t)sd_image_height(a) * 3;
    return psnr_u8(sd_image_pixels((sd_image *)a), sd_image_pixels((sd_image *)b), n);
}

static pictures repaint(const sd_image *init, const char *prompt, float strength) {
    pictures p = {.n = 1};
    sd_sampler_params s = sampling(1, 9.0f);
    s.steps = 20;
    s.strength = strength;
    sd_img2img_params i = SD_IMG2IMG_PARAMS_INIT;
    i.prompt = prompt;
    i.init = init;
    i.sampling = &s;
    ck_ok(sd_img2img(model, &i, p.image));
    return p;
}

START_TEST(strength_says_how_much_of_the_picture_stays) {
    const char *prompt = "hills by day with a red sun";
    pictures white = paint("hills by day with a white sun", "", 1, 9.0f);
    pictures little = repaint(white.image[0], prompt, 0.3f);
    pictures much = repaint(white.image[0], prompt, 0.8f);
    double near_psnr = psnr(white.image[0], little.image[0]);
    double far_psnr = psnr(white.image[0], much.image[0]);
    blob before = red_blob(white.image[0]), after = red_blob(much.image[0]);
    printf("strength 0.3: PSNR %.1f dB; 0.8: %.1f dB, %d red pixels instead of %d\n", near_psnr,
           far_psnr, after.n, before.n);
    ck_assert_double_gt(near_psnr, far_psnr + 1.0);
    ck_assert_double_gt(near_psnr, 17.0);
    ck_assert_int_lt(before.n, 40);
    ck_assert_int_gt(after.n, 300);
    free_pictures(&white);
    free_pictures(&little);
    free_pictures(&much);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {strength_says_how_much_of_the_picture_stays};
    return run_tests("landscape-image", tests, 1);
}
