/* Pictures whose latents no power of two divides: upwards the UNet goes to each skip's size. */
#include "../support/image.h"
#include "../support/params.h"
#include "golden.h"

#include <stdio.h>
#include <string.h>

#define LIMIT 1e-5
#define RUN_LIMIT 1e-4
#define PSNR_LIMIT 50
#define RUN_HEIGHT 72
#define RUN_WIDTH 104

/* As SIZES of make_sizes_golden.py, and its inputs. */
START_TEST(one_call) {
    static const int64_t sizes[][2] = {{1, 6}, {2, 3}, {3, 17}, {9, 13}, {10, 7}, {15, 12}};
    static const double t[2] = {951.0, 16.5};
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    if (!golden_open(setup, &g))
        return;
    sd_cond *context = golden_cond(&g, "text", 1, 2);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        const int64_t dims[] = {2, 4, sizes[i][0], sizes[i][1]};
        char name[64];
        sd_tensor *x, *y;
        snprintf(name, sizeof(name), "sizes-unet-%dx%d", (int)dims[2], (int)dims[3]);
        must(sd_randn(g.ctx, SD_RNG_CPU, 5, 4, dims, &x));
        must(sd_unet_predict(g.model, x, t, context, &y));
        golden_check(setup->name, name, y, LIMIT);
        sd_tensor_free(x);
    }
    sd_cond_free(context);
    golden_close(&g);
}
END_TEST

static sd_sampler_params run_params(void) {
    sd_sampler_params p = golden_params(1);
    p.width = RUN_WIDTH;
    p.height = RUN_HEIGHT;
    return p;
}

START_TEST(run) {
    const golden_setup *setup = &golden_setups[_i];
    sd_sampler_params p = run_params();
    golden g;
    sd_sampler *sampler;
    sd_tensor *latent;
    if (!golden_open(setup, &g))
        return;
    sd_cond *uncond = golden_cond(&g, "text", 0, 1), *cond = golden_cond(&g, "text", 1, 1);
    must(sd_sampler_new(g.model, &p, &sampler));
    must(sd_sample(sampler, RUN(cond, uncond, NULL, NULL), &latent));
    golden_check(setup->name, "sizes-ddim", latent, RUN_LIMIT);
    sd_sampler_free(sampler);
    sd_cond_free(uncond);
    sd_cond_free(cond);
    golden_close(&g);
}
END_TEST

/* The picture in one call, and the same by tiles, which are each of any size too. */
START_TEST(picture) {
    const golden_setup *setup = &golden_setups[_i];
    sd_sampler_params p = run_params();
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    char what[128];
    golden g;
    sd_image *image;
    if (!golden_open(setup, &g))
        return;
    params.prompt = golden_prompts[1];
    params.sampling = &p;
    must(sd_generate(g.model, &params, &image, 1));
    npy want = golden_array("sizes-ddim-image");
    ck_assert_int_eq(sd_image_height(image), RUN_HEIGHT);
    ck_assert_int_eq(sd_image_width(image), RUN_WIDTH);
    snprintf(what, sizeof(what), "%-20s sizes-ddim-image", setup->name);
    bool ok = check_psnr(what, sd_image_pixels(image), want.u8, want.n, PSNR_LIMIT);
    ck_assert_msg(ok, "%s: beyond the limit", what);
    npy_free(&want);
    sd_image_free(image);
    golden_close(&g);
}
END_TEST

/* Image to image and inpainting take such sizes too; what is estimated is what is taken. */
START_TEST(other_ways) {
    sd_sampler_params p = run_params();
    sd_generate_params img2img = SD_GENERATE_PARAMS_INIT;
    sd_generate_params inpaint = SD_GENERATE_PARAMS_INIT;
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    golden g;
    sd_image *init, *mask, *out;
    if (!golden_open(&golden_setups[1], &g))
        return;
    must(new_image(g.ctx, RUN_WIDTH, RUN_HEIGHT, 3, NULL, &init));
    must(new_image(g.ctx, RUN_WIDTH, RUN_HEIGHT, 1, NULL, &mask));
    memset(sd_image_pixels_mut(mask), 255, RUN_WIDTH * RUN_HEIGHT / 2);
    p.steps = 3;
    img2img.init = inpaint.init = init;
    inpaint.mask = mask;
    img2img.sampling = inpaint.sampling = &p;
    must(sd_generate(g.model, &img2img, &out, 1));
    ck_assert_int_eq(sd_image_width(out), RUN_WIDTH);
    ck_assert_int_eq(sd_image_height(out), RUN_HEIGHT);
    sd_image_free(out);
    must(sd_generate(g.model, &inpaint, &out, 1));
    ck_assert_int_eq(sd_image_width(out), RUN_WIDTH);
    ck_assert_mem_eq(sd_image_pixels(out) + 3 * RUN_WIDTH * (RUN_HEIGHT - 1),
                     sd_image_pixels(init) + 3 * RUN_WIDTH * (RUN_HEIGHT - 1), 3 * RUN_WIDTH);
    sd_image_free(out);
    must(sd_memory_estimate(g.model, ESTIMATE(&p), &memory));
    ck_assert_uint_gt(memory.unet, 0);
    sd_image_free(init);
    sd_image_free(mask);
    golden_close(&g);
}
END_TEST

/* Other sizes are refused with the nearest that is good. */
START_TEST(refused) {
    static const struct {
        int width, height;
        const char *sentence;
    } rows[] = {
        {100, 64, "width is 100; a multiple of 8 up to 16384 was expected: the nearest is 104"},
        {64, 601, "height is 601; a multiple of 8 up to 16384 was expected: the nearest is 600"},
        {3, 64, "width is 3; a multiple of 8 up to 16384 was expected: the nearest is 8"},
        {-8, 64, "width is -8; a multiple of 8 up to 16384 was expected: the nearest is 8"},
        {64, 20001, "the nearest is 16384"},
    };
    static const int64_t dims[] = {1, 3, 30, 65};
    golden g;
    sd_tensor *pixels, *latent;
    if (!golden_open(&golden_setups[1], &g))
        return;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        sd_sampler_params p = golden_params(1);
        sd_sampler *sampler;
        p.width = rows[i].width;
        p.height = rows[i].height;
        ck_assert_int_eq(sd_sampler_new(g.model, &p, &sampler), SD_ERROR_ARGUMENT);
        ck_assert_ptr_nonnull(strstr(sd_last_error(), rows[i].sentence));
    }
    must(sd_tensor_new(g.ctx, 4, dims, NULL, &pixels));
    ck_assert_int_eq(sd_vae_encode(g.model, pixels, NULL, &latent), SD_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "the nearest are 32 and 64"));
    sd_tensor_free(pixels);
    golden_close(&g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {
        {one_call, 0, n_golden_setups},
        {run, 1, n_golden_setups},
        {picture, 1, n_golden_setups},
        {other_ways, 0, 1},
        {refused, 0, 1},
    };
    return golden_main("sizes", tests, sizeof(tests) / sizeof(*tests));
}
