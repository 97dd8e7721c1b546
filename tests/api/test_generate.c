/* sd_generate: what it is given and what it gives back; its pictures are in the other tests. */
#include "../support/image.h"
#include "../support/params.h"
#include "sample.h"

enum { N = 3, PIXELS = 64 * 64 * 3 };

static sd_image *images[N + 1];

/* Numbers where the caller's array was never written. */
static void spoil(void) {
    for (int i = 0; i <= N; i++)
        images[i] = (sd_image *)(uintptr_t)(0xbad + i);
}

/* All `n` entries are NULL, and what lies behind them is as it was. */
static void cleared(int n) {
    for (int i = 0; i < n; i++)
        ck_assert_ptr_null(images[i]);
    ck_assert_ptr_eq(images[n], (sd_image *)(uintptr_t)(0xbad + n));
}

static sd_generate_params request(const sd_sampler_params *sampling) {
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    p.prompt = "a lake";
    p.sampling = sampling;
    return p;
}

/* Whatever is wrong, and however early it shows. */
START_TEST(entries_are_cleared_before_anything_is_looked_at) {
    sd_sampler_params run = small_run();
    run.batch = N;
    sd_generate_params p = request(&run);
    spoil();
    ck_status(sd_generate(NULL, &p, images, N), SD_ERROR_ARGUMENT, "model is NULL");
    cleared(N);
    spoil();
    p.struct_size = 3;
    ck_status(sd_generate(model, &p, images, N), SD_ERROR_ARGUMENT, "struct_size");
    cleared(N);
    p = request(&run);
    spoil();
    run.steps = -1;
    ck_status(sd_generate(model, &p, images, N), SD_ERROR_ARGUMENT, "steps is -1");
    cleared(N);
    run.steps = 1;
    run.batch = 1;
    spoil();
    ck_status(sd_generate(model, &p, images, N), SD_ERROR_ARGUMENT, "n_images is 3; 1");
    cleared(N);
    run.batch = N;
    spoil();
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_ARGUMENT, "n_images is 1; 3");
    cleared(1);
    spoil();
    ck_status(sd_generate(model, &p, images, 0), SD_ERROR_ARGUMENT, "n_images is 0");
    ck_status(sd_generate(model, &p, images, -1), SD_ERROR_ARGUMENT, "n_images is -1");
    cleared(0);
    ck_status(sd_generate(model, &p, NULL, N), SD_ERROR_ARGUMENT, "images is NULL");
}
END_TEST

START_TEST(what_does_not_go_together_is_refused) {
    sd_sampler_params run = small_run();
    const char *const prompts[] = {"a"};
    const int64_t dims[] = {1, 4, 8, 8};
    sd_image *image;
    sd_tensor *noise;
    ck_ok(new_image(ctx, 64, 64, 3, NULL, &image));
    ck_ok(sd_tensor_new(ctx, 4, dims, NULL, &noise));
    sd_generate_params p = request(&run);
    p.cond = cond;
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_ARGUMENT, "cond and prompt;");
    p.prompt = NULL;
    p.prompts = prompts;
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_ARGUMENT, "cond and prompts;");
    p = request(&run);
    p.uncond = uncond;
    p.negative_prompt = "";
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_ARGUMENT, "uncond and negative_prompt");
    p = request(&run);
    p.mask = image;
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_ARGUMENT, "init is NULL");
    p = request(&run);
    p.vae = NOISE(noise);
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_ARGUMENT, "sd_vae_params.noise");
    p.vae = VAE(.tiny = 1);
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_UNSUPPORTED, "no small autoencoder");
    p = request(&run);
    p.text = TEXT(.steps = -1);
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_ARGUMENT, "sd_text_params.steps is -1");
    p = request(&run);
    p.strength = 1.01;
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_ARGUMENT, "strength is 1.01");
    p.strength = -0.5;
    ck_status(sd_generate(model, &p, images, 1), SD_ERROR_ARGUMENT, "strength is -0.5");
    sd_image_free(image);
    sd_tensor_free(noise);
}
END_TEST

static void paint(const sd_generate_params *p, uint8_t *pixels) {
    ck_ok(sd_generate(model, p, images, 1));
    memcpy(pixels, sd_image_pixels(images[0]), PIXELS);
    sd_image_free(images[0]);
}

/* Conditioning in place of prompts, both or one of them, with guidance and without. */
START_TEST(conditioning_takes_the_place_of_prompts) {
    static uint8_t want[PIXELS], got[PIXELS];
    sd_sampler_params run = small_run();
    run.guidance_scale = _i ? 1.0f : 5.0f;
    sd_generate_params p = request(&run);
    paint(&p, want);
    for (int k = 1; k < 4; k++) {
        p = request(&run);
        p.prompt = k & 1 ? NULL : p.prompt;
        p.cond = k & 1 ? cond : NULL;
        p.uncond = k & 2 ? uncond : NULL;
        paint(&p, got);
        int largest = 0; /* rows that are encoded together or alone differ in rounding */
        for (int i = 0; i < PIXELS; i++)
            largest = abs(got[i] - want[i]) > largest ? abs(got[i] - want[i]) : largest;
        ck_assert_int_le(largest, 1);
    }
}
END_TEST

/* SD_AUTO is 0.75 from a picture, and 1 where a mask is painted. */
START_TEST(strength_that_is_not_said) {
    static uint8_t said[PIXELS], unsaid[PIXELS];
    sd_sampler_params run = small_run();
    sd_image *image;
    ck_ok(new_image(ctx, 64, 64, 3, NULL, &image));
    memset(sd_image_pixels_mut(image), 200, PIXELS);
    sd_generate_params p = request(&run);
    p.init = image;
    for (int masked = 0; masked < 2; masked++) {
        p.mask = masked ? image : NULL;
        p.strength = SD_AUTO;
        paint(&p, unsaid);
        p.strength = masked ? 1 : 0.75;
        paint(&p, said);
        ck_assert_mem_eq(said, unsaid, PIXELS);
        p.strength = 0.5;
        paint(&p, said);
        ck_assert_mem_ne(said, unsaid, PIXELS);
    }
    sd_image_free(image);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("generate");
    TCase *tcase = tcase_create("generate");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, entries_are_cleared_before_anything_is_looked_at);
    tcase_add_test(tcase, what_does_not_go_together_is_refused);
    tcase_add_loop_test(tcase, conditioning_takes_the_place_of_prompts, 0, 2);
    tcase_add_test(tcase, strength_that_is_not_said);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
