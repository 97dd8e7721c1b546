/* Image to image: a little noise keeps the picture, much follows the prompt. */
#include "compare.h"
#include "landscape.h"

#include <math.h>

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

/* Previews of a run's last step. */
typedef struct seen {
    sd_image *tiny, *matrix;
} seen;

static sd_image *preview(sd_sampler *sampler, sd_preview_method method) {
    sd_preview_params params = SD_PREVIEW_PARAMS_INIT;
    sd_image *image;
    params.method = method;
    ck_ok(sd_sampler_preview(sampler, &params, &image));
    return image;
}

static int32_t look(void *user, const sd_progress *at) {
    seen *s = user;
    if (at->stage == SD_STAGE_SAMPLE && at->step == at->total) {
        s->tiny = preview(at->sampler, SD_PREVIEW_AUTO); /* the model has a taesd/ */
        s->matrix = preview(at->sampler, SD_PREVIEW_MATRIX);
    }
    return 0;
}

/* The root of the mean square difference of a picture's squares of 8 x 8 from pixels, of 255. */
static double difference(sd_image *small, const sd_image *whole) {
    int n = sd_image_width(small), width = sd_image_width(whole);
    const uint8_t *pixels = sd_image_pixels(whole);
    double all = 0;
    for (int i = 0; i < 3 * n * n; i++) {
        int x = i / 3 % n * 8, y = i / 3 / n * 8;
        double mean = 0;
        for (int k = 0; k < 64; k++)
            mean += pixels[((y + k / 8) * width + x + k % 8) * 3 + i % 3] / 64.0;
        all += (mean - sd_image_pixels(small)[i]) * (mean - sd_image_pixels(small)[i]);
    }
    return sqrt(all / (3 * n * n));
}

START_TEST(previews_show_what_comes) {
    seen s = {NULL, NULL};
    sd_sampler_params run = sampling(1, 5.0f);
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    sd_image *image;
    run.progress = look;
    run.progress_user = &s;
    params.prompt = "a desert at day with a yellow sun, clear sky";
    params.sampling = &run;
    ck_ok(sd_generate(model, &params, &image, 1));
    double tiny = psnr(s.tiny, image), matrix = difference(s.matrix, image);
    printf("previews: PSNR %.1f dB by the small autoencoder; %.1f of 255 off by factors\n", tiny,
           matrix);
    ck_assert_double_gt(tiny, 27.0);
    ck_assert_double_lt(matrix, 40.0);
    sd_image_free(s.tiny);
    sd_image_free(s.matrix);
    sd_image_free(image);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {strength_says_how_much_of_the_picture_stays,
                                  previews_show_what_comes};
    return run_tests("landscape-image", tests, 2);
}
