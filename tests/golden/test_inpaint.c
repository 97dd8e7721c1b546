/* Inpainting, with a tiny model of 9 channels against diffusers' StableDiffusionInpaintPipeline
 * (tests/tools/make_inpaint_golden.py), and by the mask of DDIMSampler. */
#include "../support/image.h"
#include "../support/params.h"
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 1e-4
enum { SIDE = 64, AREA = SIDE * SIDE, Z = 4 * 8 * 8 };

static const golden_setup setups[] = {{.name = "reference", "reference", 1, "SD_TINY_INPAINT"},
                                      {.name = "cpu", "cpu", 2, "SD_TINY_INPAINT"},
                                      {.name = "cpu, 4 channels", "cpu", 2, "SD_TINY_FOLDER"}};

typedef struct scene {
    golden g;
    sd_image *picture, *white; /* white: what is painted, grey: how much of it */
    sd_tensor *pixels, *mask;
    sd_cond *cond, *uncond;
    sd_sampler_params p;
} scene;

static sd_cond *encode(const golden *g, const char *text) {
    sd_cond *cond;
    must(sd_encode_text(g->model, &text, 1, NULL, &cond));
    return cond;
}

static sd_tensor *randn(const golden *g, uint64_t seed, int64_t n) {
    const int64_t dims[] = {n, 4, 8, 8};
    sd_tensor *t;
    must(sd_randn(g->ctx, SD_RNG_CPU, seed, 4, dims, &t));
    return t;
}

/* False: this processor does not have the backend. */
static bool open_scene(scene *s, const golden_setup *setup) {
    if (!golden_open(setup, &s->g))
        return false;
    npy picture = golden_array("inpaint-picture");
    ck_assert_int_eq((int)picture.n, 3 * AREA);
    must(new_image(s->g.ctx, SIDE, SIDE, 3, NULL, &s->picture));
    for (int i = 0; i < 3 * AREA; i++)
        sd_image_pixels_mut(s->picture)[i] = picture.u8[i];
    npy_free(&picture);
    s->mask = golden_tensor(&s->g, "inpaint-mask", 0, 0);
    must(new_image(s->g.ctx, SIDE, SIDE, 1, NULL, &s->white));
    for (int i = 0; i < AREA; i++)
        sd_image_pixels_mut(s->white)[i] = sd_tensor_data(s->mask)[i] > 0.5f ? 255 : 0;
    must(sd_image_to_tensor(s->picture, &s->pixels));
    s->cond = encode(&s->g, golden_prompts[1]);
    s->uncond = encode(&s->g, "");
    s->p = golden_params(1);
    s->p.width = s->p.height = SIDE;
    return true;
}

static void close_scene(scene *s) {
    sd_tensor_free(s->pixels);
    sd_tensor_free(s->mask);
    sd_cond_free(s->cond);
    sd_cond_free(s->uncond);
    sd_image_free(s->picture);
    sd_image_free(s->white);
    golden_close(&s->g);
}

static sd_generate_params call_of(const scene *s) {
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    p.prompt = golden_prompts[1];
    p.init = s->picture;
    p.mask = s->white;
    p.sampling = &s->p;
    return p;
}

/* A feathered mask: rings around a point, of which greys from 128 on are latents to paint. */
static void feather(scene *s) {
    for (int i = 0; i < AREA; i++) {
        int x = i % SIDE - 37, y = i / SIDE - 26, grey = 300 - (x * x + y * y) / 2;
        grey = grey < 0 ? 0 : grey > 255 ? 255 : grey;
        sd_image_pixels_mut(s->white)[i] = (uint8_t)grey;
        sd_tensor_data_mut(s->mask)[i] = grey >= 128 ? 1.0f : 0.0f;
    }
}

/* The picture that stages make of a latent, laid over the given one by the mask's grey. */
static void paint(const scene *s, const sd_tensor *latent, uint8_t rgb[3 * AREA]) {
    sd_tensor *decoded;
    sd_image *image;
    must(sd_vae_decode(s->g.model, latent, NULL, &decoded));
    must(sd_image_from_tensor(decoded, 0, &image));
    for (int i = 0; i < 3 * AREA; i++) {
        int grey = sd_image_pixels(s->white)[i / 3];
        rgb[i] = (uint8_t)((sd_image_pixels(s->picture)[i] * (255 - grey) +
                            sd_image_pixels(image)[i] * grey + 127) /
                           255);
    }
    sd_image_free(image);
    sd_tensor_free(decoded);
}

static void check_bytes(const char *what, const uint8_t *got, const uint8_t *want) {
    int worst = 0;
    for (int i = 0; i < 3 * AREA; i++) {
        int d = abs(got[i] - want[i]);
        worst = d > worst ? d : worst;
    }
    printf("%-36s largest difference %d of 255\n", what, worst);
    ck_assert_int_le(worst, 1);
}

START_TEST(as_diffusers) {
    static const char *const methods[] = {"ddim", "euler", "dpmpp_2m"};
    scene s;
    if (!open_scene(&s, &setups[_i]))
        return;
    sd_tensor *posterior = randn(&s.g, GOLDEN_SEED, 1), *concat, *latent;
    sd_tensor *noise = golden_tensor(&s.g, "inpaint-noise", 0, 0);
    must(sd_inpaint_concat(s.g.model, s.pixels, s.mask, NOISE(posterior), &concat));
    ck_assert_int_eq(sd_tensor_dims(concat)[1], 5);
    for (int i = 0; i < (_i == 0 ? 1 : 3); i++) {
        char what[64];
        sd_sampler *sampler;
        sd_tensor *want = golden_tensor(&s.g, "inpaint-latents", i, 1);
        s.p.method = methods[i];
        must(sd_sampler_new(s.g.model, &s.p, &sampler));
        must(sd_sample(sampler, GIVEN(with_concat(concat, run_of(s.cond, s.uncond, NULL, noise))),
                       &latent));
        snprintf(what, sizeof(what), "%s, %s", setups[_i].name, methods[i]);
        ck_assert(check_error(what, sd_tensor_data(latent), sd_tensor_data(want), Z, LIMIT));
        if (i == 0) {
            static uint8_t rgb[3 * AREA];
            npy image = golden_array("inpaint-image");
            paint(&s, latent, rgb);
            check_bytes(setups[_i].name, rgb, image.u8);
            npy_free(&image);
        }
        sd_tensor_free(latent);
        sd_tensor_free(want);
        sd_sampler_free(sampler);
    }
    sd_tensor_free(posterior);
    sd_tensor_free(noise);
    sd_tensor_free(concat);
    close_scene(&s);
}
END_TEST

/* Row `row` of a [2, 4, 8, 8] tensor. */
static sd_tensor *row_of(const golden *g, sd_tensor *t, int row) {
    const int64_t dims[] = {1, 4, 8, 8};
    sd_tensor *one;
    must(sd_tensor_new(g->ctx, 4, dims, sd_tensor_data(t) + row * Z, &one));
    return one;
}

/* Inpainting draws for the posterior, then x_T. */
static void by_stages_with_concat(const scene *s, float strength, uint8_t rgb[3 * AREA]) {
    sd_tensor *draws = randn(&s->g, s->p.seed, 2), *known, *concat, *latent;
    sd_tensor *posterior = row_of(&s->g, draws, 0), *noise = row_of(&s->g, draws, 1);
    sd_sampler *sampler;
    must(sd_inpaint_concat(s->g.model, s->pixels, s->mask, NOISE(posterior), &concat));
    must(sd_vae_encode(s->g.model, s->pixels, NULL, &known));
    must(sd_sampler_new(s->g.model, &s->p, &sampler));
    sd_run_params run = run_of(s->cond, s->uncond, strength < 1 ? known : NULL, noise);
    run.strength = (double)strength;
    run.concat = concat;
    must(sd_sample(sampler, &run, &latent));
    paint(s, latent, rgb);
    sd_tensor *const all[] = {draws, posterior, noise, known, concat, latent};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        sd_tensor_free(all[i]);
    sd_sampler_free(sampler);
}

static void by_stages_with_mask(const scene *s, float strength, uint8_t rgb[3 * AREA]) {
    const int64_t dims[] = {1, 1, 8, 8};
    sd_tensor *keep, *known, *latent;
    sd_sampler *sampler;
    must(sd_tensor_new(s->g.ctx, 4, dims, NULL, &keep));
    for (int i = 0; i < 64; i++)
        sd_tensor_data_mut(keep)[i] = 1 - sd_tensor_data(s->mask)[i / 8 * 8 * SIDE + i % 8 * 8];
    must(sd_vae_encode(s->g.model, s->pixels, NULL, &known));
    must(sd_sampler_new(s->g.model, &s->p, &sampler));
    sd_run_params run = run_of(s->cond, s->uncond, strength < 1 ? known : NULL, NULL);
    run.strength = (double)strength;
    run = with_mask(keep, known, run);
    must(sd_sample(sampler, &run, &latent));
    paint(s, latent, rgb);
    sd_tensor_free(keep);
    sd_tensor_free(known);
    sd_tensor_free(latent);
    sd_sampler_free(sampler);
}

/* Each kind of model, from nothing and from the picture, by a hard mask and by a feathered one. */
START_TEST(in_one_call) {
    static const float strengths[] = {1.0f, 0.5f};
    static uint8_t want[2][3 * AREA];
    const golden_setup *setup = &setups[1 + _i / 2 % 2];
    float strength = strengths[_i % 2];
    char what[64];
    scene s;
    ck_assert(open_scene(&s, setup));
    if (_i >= 4)
        feather(&s);
    s.p.steps = 4;
    for (int i = 0; i < 2; i++) {
        s.p.seed = GOLDEN_SEED + (uint64_t)i;
        if (_i / 2 % 2 == 0)
            by_stages_with_concat(&s, strength, want[i]);
        else
            by_stages_with_mask(&s, strength, want[i]);
    }
    sd_generate_params call = call_of(&s);
    sd_image *got[2];
    s.p.seed = GOLDEN_SEED;
    s.p.batch = 2;
    call.strength = strength;
    must(sd_generate(s.g.model, &call, got, 2));
    for (int i = 0; i < 2; i++) {
        snprintf(what, sizeof(what), "%s, strength %g, picture %d", setup->name, (double)strength,
                 i);
        check_bytes(what, sd_image_pixels(got[i]), want[i]);
        sd_image_free(got[i]);
    }
    call.vae = TILES(4, 1);
    must(sd_generate(s.g.model, &call, got, 2));
    for (int i = 0; i < 2; i++) {
        bool differs = false;
        for (int j = 0; j < 3 * AREA; j++) {
            differs |= sd_image_pixels(got[i])[j] != want[i][j];
            if (sd_image_pixels(s.white)[j / 3] == 0)
                ck_assert_int_eq(sd_image_pixels(got[i])[j], sd_image_pixels(s.picture)[j]);
        }
        ck_assert(differs); /* tiles of 4 are not the whole */
        sd_image_free(got[i]);
    }
    close_scene(&s);
}
END_TEST

/* Pictures with alpha, of one channel, and of a size that is cut down. */
START_TEST(other_pictures) {
    scene s;
    sd_image *wide, *mask, *got;
    ck_assert(open_scene(&s, &setups[1]));
    sd_generate_params call = call_of(&s);
    s.p.steps = 1;
    s.p.width = s.p.height = 0;
    for (int channels = 1; channels <= 4; channels += 3) {
        must(new_image(s.g.ctx, SIDE, SIDE, channels, NULL, &wide));
        memset(sd_image_pixels_mut(wide), 77, (size_t)(AREA * channels));
        call.init = wide;
        must(sd_generate(s.g.model, &call, &got, 1));
        ck_assert_int_eq(image_channels(got), 3);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(sd_image_pixels(got)[i], 77);
        sd_image_free(got);
        sd_image_free(wide);
    }
    must(new_image(s.g.ctx, 130, 70, 3, NULL, &wide));
    must(new_image(s.g.ctx, 130, 70, 3, NULL, &mask));
    call.init = wide;
    call.mask = mask;
    must(sd_generate(s.g.model, &call, &got, 1));
    ck_assert_int_eq(sd_image_width(got), 128);
    ck_assert_int_eq(sd_image_height(got), 64);
    for (int i = 0; i < 3 * 128 * 64; i++) /* nothing is white */
        ck_assert_int_eq(sd_image_pixels(got)[i], 0);
    sd_image_free(got);
    sd_image_free(wide);
    sd_image_free(mask);
    close_scene(&s);
}
END_TEST

static void refused(sd_status status, sd_status expected, const char *word) {
    printf("%s\n", sd_last_error());
    ck_assert_int_eq(status, expected);
    ck_assert_msg(strstr(sd_last_error(), word) != NULL, "%s is not said", word);
}

START_TEST(refusals) {
    scene s;
    sd_image *small, *got;
    sd_tensor *out, *three;
    const int64_t dims[] = {3, 1, SIDE, SIDE};
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    ck_assert(open_scene(&s, &setups[1]));
    sd_generate_params call = call_of(&s);
    must(new_image(s.g.ctx, 32, SIDE, 3, NULL, &small));
    call.mask = small;
    refused(sd_generate(s.g.model, &call, &got, 1), SD_ERROR_ARGUMENT, "32x64; 64x64");
    ck_assert_ptr_null(got);
    call = call_of(&s);
    call.init = NULL;
    refused(sd_generate(s.g.model, &call, &got, 1), SD_ERROR_ARGUMENT, "init is NULL");
    call = call_of(&s);
    call.strength = 1.5f;
    refused(sd_generate(s.g.model, &call, &got, 1), SD_ERROR_ARGUMENT, "strength is 1.5");
    call = call_of(&s);
    call.masking = MASKING(.blur = -1);
    refused(sd_generate(s.g.model, &call, &got, 1), SD_ERROR_ARGUMENT, "sd_mask_params.blur is -1");
    call.masking = MASKING(.blur = 513);
    refused(sd_generate(s.g.model, &call, &got, 1), SD_ERROR_ARGUMENT, "0 to 512");
    call = call_of(&s);
    sd_mask_params masking = SD_MASK_PARAMS_INIT;
    masking.padding = -1;
    call.masking = &masking;
    refused(sd_generate(s.g.model, &call, &got, 1), SD_ERROR_ARGUMENT,
            "sd_mask_params.padding is -1");
    t.prompt = "a cat";
    t.sampling = &s.p;
    refused(sd_generate(s.g.model, &t, &got, 1), SD_ERROR_ARGUMENT, "sd_generate");
    must(sd_tensor_new(s.g.ctx, 4, dims, NULL, &three));
    refused(sd_inpaint_concat(s.g.model, s.pixels, three, NULL, &out), SD_ERROR_ARGUMENT,
            "mask is [3, 1, 64, 64]");
    refused(sd_inpaint_concat(s.g.model, three, s.mask, NULL, &out), SD_ERROR_ARGUMENT,
            "pixels is");
    refused(sd_inpaint_concat(s.g.model, s.pixels, s.mask, NOISE(three), &out), SD_ERROR_ARGUMENT,
            "noise is");
    ck_assert_ptr_null(out);
    sd_tensor_free(three);
    sd_image_free(small);
    close_scene(&s);
    ck_assert(open_scene(&s, &setups[2]));
    refused(sd_inpaint_concat(s.g.model, s.pixels, s.mask, NULL, &out), SD_ERROR_UNSUPPORTED,
            "no inpainting model");
    close_scene(&s);
}
END_TEST

int main(void) {
    const golden_test tests[] = {
        {as_diffusers, 0, 2}, {in_one_call, 0, 8}, {other_pictures, 0, 1}, {refusals, 0, 1}};
    return golden_main("inpaint", tests, sizeof(tests) / sizeof(tests[0]));
}
