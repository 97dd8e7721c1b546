/* Whole runs against diffusers: DDIM with and without eta, guidance, image to image, pictures. */
#include "../support/image.h"
#include "../support/params.h"
#include "golden.h"

#include <stdio.h>
#include <string.h>

/* docs/numerics: 1e-3 after 20 steps, 50 dB; what is measured is much nearer. */
#define LATENT_LIMIT 1e-4
#define STEP_LIMIT 1e-5
#define PSNR_LIMIT 50

typedef struct embeddings {
    sd_cond *cond, *uncond;
} embeddings;

static embeddings get_embeddings(const golden *g) {
    return (embeddings){golden_cond(g, "text", 1, 1), golden_cond(g, "text", 0, 1)};
}

static void free_embeddings(embeddings *e) {
    sd_cond_free(e->cond);
    sd_cond_free(e->uncond);
}

static void check_image(const char *setup, const char *fixture, int index, sd_image *image) {
    npy want = golden_array(fixture);
    size_t n = want.n / (size_t)want.dims[0];
    char what[128];
    ck_assert_int_eq(sd_image_height(image), want.dims[1]);
    ck_assert_int_eq(sd_image_width(image), want.dims[2]);
    ck_assert_int_eq(image_channels(image), 3);
    snprintf(what, sizeof(what), "%-20s %s %d", setup, fixture, index);
    bool ok = check_psnr(what, sd_image_pixels(image), want.u8 + n * (size_t)index, n, PSNR_LIMIT);
    ck_assert_msg(ok, "%s: beyond the limit", what);
    npy_free(&want);
    sd_image_free(image);
}

static void check_decoded(const golden *g, const char *setup, const char *fixture,
                          sd_tensor *latent) {
    sd_tensor *pixels;
    sd_image *image;
    must(sd_vae_decode(g->model, latent, NULL, &pixels));
    for (int i = 0; i < sd_tensor_dims(pixels)[0]; i++) {
        must(sd_image_from_tensor(pixels, i, &image));
        check_image(setup, fixture, i, image);
    }
    sd_tensor_free(pixels);
}

/* eta 0 and 1, from the seeds' own noise. */
START_TEST(ddim) {
    const golden_setup *setup = &golden_setups[_i / 2];
    const char *name = _i % 2 ? "ddim-eta1" : "ddim-eta0";
    char image_name[64];
    golden g;
    sd_sampler *sampler;
    sd_tensor *latent;
    if (!golden_open(setup, &g))
        return;
    embeddings e = get_embeddings(&g);
    sd_sampler_params p = golden_params(2);
    p.eta = (float)(_i % 2);
    must(sd_sampler_new(g.model, &p, &sampler));
    must(sd_sample(sampler, RUN(e.cond, e.uncond, NULL, NULL), &latent));
    snprintf(image_name, sizeof(image_name), "%s-image", name);
    check_decoded(&g, setup->name, image_name, latent);
    golden_check(setup->name, name, latent, LATENT_LIMIT);
    sd_sampler_free(sampler);
    free_embeddings(&e);
    golden_close(&g);
}
END_TEST

/* Step by step: the first step against diffusers, the end equal to the whole run's. */
START_TEST(step_by_step) {
    const golden_setup *setup = &golden_setups[_i / 2];
    bool eta = _i % 2;
    golden g;
    sd_sampler *sampler;
    sd_tensor *latent, *whole;
    if (!golden_open(setup, &g))
        return;
    embeddings e = get_embeddings(&g);
    sd_tensor *noise = golden_tensor(&g, "noise", 0, 0);
    sd_sampler_params p = golden_params(2);
    p.eta = eta ? 1.0f : 0.0f;
    must(sd_sampler_new(g.model, &p, &sampler));
    ck_assert_int_eq(sd_sampler_remaining(sampler), 0);
    must(sd_sampler_begin(sampler, RUN(e.cond, e.uncond, NULL, NULL)));
    ck_assert_int_eq(sd_sampler_remaining(sampler), GOLDEN_STEPS);
    must(sd_sampler_step(sampler));
    must(sd_sampler_pred_x0(sampler, &latent));
    golden_check(setup->name, eta ? "ddim-eta1-step1-x0" : "ddim-eta0-step1-x0", latent,
                 STEP_LIMIT);
    must(sd_sampler_latent(sampler, &latent));
    golden_check(setup->name, eta ? "ddim-eta1-step1" : "ddim-eta0-step1", latent, STEP_LIMIT);
    while (sd_sampler_remaining(sampler) > 0)
        must(sd_sampler_step(sampler));
    must(sd_sampler_latent(sampler, &latent));
    must(sd_sample(sampler, RUN(e.cond, e.uncond, NULL, NULL), &whole));
    ck_assert_mem_eq(sd_tensor_data(latent), sd_tensor_data(whole),
                     (size_t)sd_tensor_n_elements(whole) * sizeof(float));
    sd_tensor_free(latent);
    sd_tensor_free(whole);
    if (!eta) { /* and from torch's noise, given */
        must(sd_sample(sampler, RUN(e.cond, e.uncond, NULL, noise), &latent));
        golden_check(setup->name, "ddim-eta0", latent, LATENT_LIMIT);
    }
    sd_tensor_free(noise);
    sd_sampler_free(sampler);
    free_embeddings(&e);
    golden_close(&g);
}
END_TEST

/* Guidance 1 evaluates once and needs no unconditional half; one stream of noise for the batch. */
START_TEST(unguided) {
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    sd_sampler *sampler;
    sd_tensor *latent;
    if (!golden_open(setup, &g))
        return;
    embeddings e = get_embeddings(&g);
    sd_sampler_params p = golden_params(2);
    p.guidance_scale = 1;
    p.steps = 5;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.one_stream = 1;
    must(sd_sampler_new(g.model, &p, &sampler));
    must(sd_sample(sampler, RUN(e.cond, NULL, NULL, NULL), &latent));
    golden_check(setup->name, "ddim-unguided", latent, LATENT_LIMIT);
    sd_sampler_free(sampler);
    free_embeddings(&e);
    golden_close(&g);
}
END_TEST

START_TEST(img2img_stages) {
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    sd_sampler *sampler;
    sd_tensor *latent;
    if (!golden_open(setup, &g))
        return;
    embeddings e = get_embeddings(&g);
    sd_tensor *init = golden_tensor(&g, "img2img-init", 0, 0);
    sd_tensor *noise = golden_tensor(&g, "img2img-noise", 0, 0);
    sd_sampler_params p = golden_params(1);
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.original_encode = 1;
    must(sd_sampler_new(g.model, &p, &sampler));
    must(sd_sample(sampler, RUN(e.cond, e.uncond, init, noise), &latent));
    check_decoded(&g, setup->name, "img2img-image", latent);
    golden_check(setup->name, "img2img", latent, LATENT_LIMIT);
    sd_tensor_free(init);
    sd_tensor_free(noise);
    sd_sampler_free(sampler);
    free_embeddings(&e);
    golden_close(&g);
}
END_TEST

/* The forms of one call: prompt, and picture, to pictures. */
START_TEST(txt2img) {
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    sd_image *images[2];
    if (!golden_open(setup, &g))
        return;
    sd_sampler_params p = golden_params(2);
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.prompt = golden_prompts[1];
    t.sampling = &p;
    must(sd_generate(g.model, &t, images, 2));
    for (int i = 0; i < 2; i++)
        check_image(setup->name, "ddim-eta0-image", i, images[i]);
    golden_close(&g);
}
END_TEST

START_TEST(img2img) {
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    sd_image *init, *image;
    if (!golden_open(setup, &g))
        return;
    npy picture = golden_array("img2img-picture");
    must(new_image(g.ctx, 128, 128, 3, picture.u8, &init));
    sd_sampler_params p = golden_params(1);
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.original_encode = 1;
    p.width = p.height = 0; /* the picture's own */
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.prompt = golden_prompts[1];
    t.init = init;
    t.sampling = &p;
    must(sd_generate(g.model, &t, &image, 1));
    check_image(setup->name, "img2img-image", 0, image);
    npy_free(&picture);
    sd_image_free(init);
    golden_close(&g);
}
END_TEST

/* The latent that image to image decodes: the generator draws for the posterior, then for the run.
 */
static sd_tensor *repaint(const golden *g, const embeddings *e, const sd_tensor *pixels,
                          const sd_sampler_params *p, double strength) {
    const int64_t dims[] = {1, 4, 8, 8};
    sd_tensor *noise, *init, *latent;
    sd_sampler *sampler;
    must(sd_randn(g->ctx, p->rng, p->seed, 4, dims, &noise));
    must(sd_vae_encode(g->model, pixels, NOISE(noise), &init));
    must(sd_sampler_new(g->model, p, &sampler));
    must(sd_sample(sampler, GIVEN(run_at(strength, run_of(e->cond, e->uncond, init, NULL))),
                   &latent));
    sd_tensor_free(noise);
    sd_tensor_free(init);
    sd_sampler_free(sampler);
    return latent;
}

/* StableDiffusionImg2ImgPipeline noises to the first step's own timestep, at any strength
 * (tests/tools/make_img2img_golden.py). */
START_TEST(img2img_as_diffusers) {
    static const struct {
        const char *method;
        double strength;
    } cases[] = {{"ddim", 0.05},    {"ddim", 0.1},   {"ddim", 1.0 / 3},
                 {"ddim", 5.0 / 6}, {"euler", 0.75}, {"dpmpp_2m", 0.75}};
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    sd_image *picture;
    sd_tensor *pixels;
    if (!golden_open(setup, &g))
        return;
    embeddings e = get_embeddings(&g);
    must(new_image(g.ctx, 64, 64, 3, NULL, &picture));
    for (int i = 0; i < 64 * 64; i++) {
        uint8_t *rgb = sd_image_pixels_mut(picture) + 3 * i;
        int x = i % 64, y = i / 64;
        rgb[0] = (uint8_t)(2 * x);
        rgb[1] = (uint8_t)(2 * y);
        rgb[2] = (x / 16 + y / 16) % 2 ? 255 : 0;
    }
    must(sd_image_to_tensor(picture, &pixels));
    npy want = golden_array("img2img-diffusers");
    size_t each = want.n / (size_t)want.dims[0];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char what[64];
        sd_sampler_params p = golden_params(1);
        p.width = p.height = 64;
        sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
        p.original = &original;
        original.skip_draws = 1;
        p.method = cases[i].method;
        sd_tensor *latent = repaint(&g, &e, pixels, &p, cases[i].strength);
        snprintf(what, sizeof(what), "%-20s %s strength %.3f", setup->name, p.method,
                 cases[i].strength);
        ck_assert_msg(
            check_error(what, sd_tensor_data(latent), want.f32 + i * each, each, LATENT_LIMIT),
            "%s: beyond the limit", what);
        sd_tensor_free(latent);
    }
    npy_free(&want);
    sd_tensor_free(pixels);
    sd_image_free(picture);
    free_embeddings(&e);
    golden_close(&g);
}
END_TEST

int main(void) {
    /* On the reference backend the two shortest runs. */
    const golden_test tests[] = {
        {ddim, 2, 2 * n_golden_setups}, {step_by_step, 2, 2 * n_golden_setups},
        {unguided, 0, n_golden_setups}, {img2img_stages, 0, n_golden_setups},
        {txt2img, 1, n_golden_setups},  {img2img, 1, n_golden_setups},
        {img2img_as_diffusers, 1, 2}};
    return golden_main("golden sampling", tests, sizeof(tests) / sizeof(tests[0]));
}
