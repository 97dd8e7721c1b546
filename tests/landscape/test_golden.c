/* The picture that diffusers makes from the same noise: models/landscape/train/golden.py. */
#include "../support/image.h"
#include "compare.h"
#include "landscape.h"

START_TEST(the_picture_is_that_of_diffusers) {
    char path[4096];
    snprintf(path, sizeof path, "%s/picture.png", from_environment("SD_LANDSCAPE_DATA"));
    sd_image *want, *got = NULL;
    ck_ok(sd_image_load(ctx, path, NULL, &want));
    sd_sampler_params s = SD_SAMPLER_PARAMS_INIT;
    s.steps = 20;
    s.guidance_scale = 5.0f;
    s.seed = 42;
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.prompt = "a red boat on the sea at dawn";
    t.sampling = &s;
    ck_ok(sd_generate(model, &t, &got, 1));
    ck_assert_int_eq(sd_image_width(got), sd_image_width(want));
    ck_assert_int_eq(sd_image_height(got), sd_image_height(want));
    ck_assert_int_eq(image_channels(want), 3);
    size_t n = (size_t)sd_image_width(got) * (size_t)sd_image_height(got) * 3;
    ck_assert(check_psnr("20 guided DDIM steps against diffusers", sd_image_pixels(got),
                         sd_image_pixels(want), n, 50.0));
    sd_image_free(got);
    sd_image_free(want);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {the_picture_is_that_of_diffusers};
    return run_tests("landscape-golden", tests, 1);
}
