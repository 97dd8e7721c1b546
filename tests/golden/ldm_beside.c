/* UNets that take more than the latent: what they see beside it, and how pictures are painted. */
#include "ldm.h"

#include "../support/image.h"
#include "../support/params.h"

#include <stdlib.h>
#include <string.h>

#define FIXTURE_METHODS 14 /* that the fixture has, the first; golden-ui has the others */

/* The inpainting model by every method of these. */
START_TEST(wide_methods) {
    subject s;
    sd_tensor *out;
    ck_assert(subject_open(&s, &ldm_cases[3], "cpu", true));
    for (int i = 0; i < FIXTURE_METHODS; i++) {
        sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
        p.method = sd_sampler_method(i);
        p.steps = GOLDEN_STEPS;
        scene v = scene_open(&s, &p);
        bool inverse = strcmp(p.method, "ddim_inverse") == 0;
        sd_tensor *init = inverse ? fixture_tensor(&s, "init", 0, 0) : NULL;
        sd_tensor *want = fixture_tensor(&s, "methods", i, 1);
        must(sd_sample(v.sampler, GIVEN(run_at(1, run_from(&v, init, NULL))), &out));
        ck_assert_msg(check_error(p.method, sd_tensor_data(out), sd_tensor_data(want),
                                  (size_t)sd_tensor_n_elements(out), LIMIT_DDIM),
                      "%s: beyond the limit", p.method);
        sd_tensor_free(init);
        sd_tensor_free(want);
        sd_tensor_free(out);
        scene_close(&v);
    }
    golden_close(&s.g);
}
END_TEST

/* A batch whose pictures have each their own, another between two steps, and none. */
START_TEST(concat_of_a_batch) {
    enum { N = 2, C = 4, MORE = 5, EACH = C * 64 };
    static const int64_t dims[] = {N, MORE, 8, 8}, noise_dims[] = {N, C, 8, 8};
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    subject s;
    sd_tensor *out, *one, *random, *noises;
    p.steps = STEPS;
    ck_assert(subject_open(&s, &ldm_cases[3], "cpu", true));
    scene v = scene_open(&s, &p);
    must(sd_sample(v.sampler, GIVEN(run_from(&v, NULL, v.noise)), &one));
    sd_sampler_free(v.sampler);
    p.batch = N;
    p.guidance_scale = SCALE;
    p.width = p.height = 16;
    must(sd_sampler_new(s.g.model, &p, &v.sampler));
    must(sd_randn(s.g.ctx, SD_RNG_CPU, 8, 4, dims, &random));
    must(sd_tensor_new(s.g.ctx, 4, noise_dims, NULL, &noises));
    for (size_t i = 0; i < N; i++)
        memcpy(sd_tensor_data_mut(noises) + i * EACH, sd_tensor_data(v.noise),
               EACH * sizeof(float));
    memcpy(sd_tensor_data_mut(random) + MORE * 64, sd_tensor_data(v.concat),
           MORE * 64 * sizeof(float));

    sd_run_params run = run_of(v.cond, v.uncond, NULL, noises);
    ck_assert_int_eq(sd_sample(v.sampler, &run, &out), SD_ERROR_ARGUMENT); /* without any */
    run.concat = noises;
    ck_assert_int_eq(sd_sample(v.sampler, &run, &out), SD_ERROR_ARGUMENT);
    ck_assert_int_eq(sd_sampler_set_concat(v.sampler, random), SD_ERROR_STATE);
    run.concat = random;
    must(sd_sample(v.sampler, &run, &out));
    const float *first = sd_tensor_data(out);
    ck_assert(check_error("second of a batch", first + EACH, sd_tensor_data(one), EACH, LIMIT));
    ck_assert_msg(memcmp(first, first + EACH, EACH * sizeof *first) != 0, "one concat for both");
    sd_tensor_free(out);

    must(sd_sampler_begin(v.sampler, &run));
    must(sd_sampler_set_concat(v.sampler, v.concat)); /* for both */
    for (int i = 0; i < STEPS; i++)
        must(sd_sampler_step(v.sampler));
    must(sd_sampler_latent(v.sampler, &out));
    ck_assert(
        check_error("set within a run", sd_tensor_data(out), sd_tensor_data(one), EACH, LIMIT));
    ck_assert_int_eq(sd_sampler_set_concat(v.sampler, NULL), SD_ERROR_ARGUMENT);
    sd_tensor *const all[] = {out, one, random, noises};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        sd_tensor_free(all[i]);
    scene_close(&v);
    golden_close(&s.g);
}
END_TEST

/* The input of inpainting models is made of a picture and its mask. */
START_TEST(beside_the_latent) {
    subject s;
    sd_tensor *out;
    ck_assert(subject_open(&s, &ldm_cases[_i], "cpu", true));
    sd_tensor *pixels = fixture_tensor(&s, "pixels", 0, 0),
              *mask = fixture_tensor(&s, "mask", 0, 0);
    must(sd_inpaint_concat(s.g.model, pixels, mask, NULL, &out));
    check_fixture(&s, "beside", out, LIMIT);
    sd_tensor_free(pixels);
    sd_tensor_free(mask);
    golden_close(&s.g);
}
END_TEST

/* Picture i of `t`, upside down where `flipped`. */
static sd_tensor *picture_of(const subject *s, sd_tensor *t, int64_t i, bool flipped) {
    const int64_t *d = sd_tensor_dims(t), dims[] = {1, d[1], d[2], d[3]}, n = d[1] * d[2] * d[3];
    sd_tensor *one;
    must(sd_tensor_new(s->g.ctx, 4, dims, sd_tensor_data(t) + i * n, &one));
    for (int64_t j = 0; j < n && flipped; j++)
        sd_tensor_data_mut(one)[j] = sd_tensor_data(t)[i * n + n - 1 - j];
    return one;
}

/* Two pictures, as `t` and upside down. */
static sd_tensor *two_of(const subject *s, sd_tensor *t) {
    const int64_t *d = sd_tensor_dims(t), dims[] = {2, d[1], d[2], d[3]}, n = d[1] * d[2] * d[3];
    sd_tensor *both;
    must(sd_tensor_new(s->g.ctx, 4, dims, NULL, &both));
    for (int64_t j = 0; j < n; j++) {
        sd_tensor_data_mut(both)[j] = sd_tensor_data(t)[j];
        sd_tensor_data_mut(both)[n + j] = sd_tensor_data(t)[n - 1 - j];
    }
    return both;
}

/* Each picture of a batch has its own mask, in either order of mask and latent. */
START_TEST(beside_the_latents_of_a_batch) {
    subject s;
    sd_tensor *both, *alone;
    ck_assert(subject_open(&s, &ldm_cases[_i], "cpu", true));
    sd_tensor *pixels = fixture_tensor(&s, "pixels", 0, 1),
              *mask = fixture_tensor(&s, "mask", 0, 1);
    sd_tensor *pictures = two_of(&s, pixels), *masks = two_of(&s, mask);
    must(sd_inpaint_concat(s.g.model, pictures, masks, NULL, &both));
    for (int i = 0; i < 2; i++) {
        sd_tensor *p = picture_of(&s, pixels, 0, i == 1), *m = picture_of(&s, mask, 0, i == 1),
                  *got = picture_of(&s, both, i, false);
        must(sd_inpaint_concat(s.g.model, p, m, NULL, &alone));
        ck_assert_mem_eq(sd_tensor_data(got), sd_tensor_data(alone),
                         (size_t)sd_tensor_n_elements(alone) * sizeof(float));
        sd_tensor *const rows[] = {p, m, got, alone};
        for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
            sd_tensor_free(rows[k]);
    }
    sd_tensor *const all[] = {pixels, mask, pictures, masks, both};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        sd_tensor_free(all[i]);
    golden_close(&s.g);
}
END_TEST

/* scripts/inpaint.py in one call, without a prompt. */
START_TEST(inpaint_script) {
    enum { SIDE = 32, N = 3 * SIDE * SIDE };
    subject s;
    sd_image *init, *mask, *got;
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    ck_assert(subject_open(&s, &ldm_cases[_i], "cpu", true));
    npy picture = golden_array("ldm/masked-picture"), white = golden_array("ldm/masked-white");
    npy want = golden_array("ldm/masked-painted");
    must(new_image(s.g.ctx, SIDE, SIDE, 3, NULL, &init));
    must(new_image(s.g.ctx, SIDE, SIDE, 1, NULL, &mask));
    for (int i = 0; i < N; i++)
        sd_image_pixels_mut(init)[i] = (uint8_t)picture.f32[i];
    for (int i = 0; i < N / 3; i++)
        sd_image_pixels_mut(mask)[i] = white.f32[i] != 0 ? 255 : 0;
    sampling.steps = STEPS;
    sampling.width = sampling.height = SIDE;
    p.init = init;
    p.mask = mask;
    p.sampling = &sampling;
    must(sd_generate(s.g.model, &p, &got, 1));
    int worst = 0;
    for (int i = 0; i < N; i++) {
        int d = abs(sd_image_pixels(got)[i] - (int)want.f32[i]);
        worst = d > worst ? d : worst;
        if (white.f32[i / 3] == 0)
            ck_assert_int_eq(sd_image_pixels(got)[i], sd_image_pixels(init)[i]);
    }
    printf("masked: inpaint.py's picture: largest difference %d of 255\n", worst);
    ck_assert_int_le(worst, 1);
    npy_free(&picture);
    npy_free(&white);
    npy_free(&want);
    sd_image_free(init);
    sd_image_free(mask);
    sd_image_free(got);
    golden_close(&s.g);
}
END_TEST

/* The latent alone is all that most models take. */
START_TEST(no_concat) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    subject s;
    ck_assert(subject_open(&s, &ldm_cases[0], "cpu", true));
    scene v = scene_open(&s, &p);
    sd_tensor *out;
    sd_run_params run = with_concat(v.noise, run_from(&v, NULL, NULL));
    ck_assert_int_eq(sd_sample(v.sampler, &run, &out), SD_ERROR_ARGUMENT);
    printf("%s\n", sd_last_error());
    scene_close(&v);
    golden_close(&s.g);
}
END_TEST

/* Mean squares of y - noise, [c, h, w] each. */
static double mean_square(const float *y, const float *noise, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += ((double)y[i] - (double)noise[i]) * ((double)y[i] - (double)noise[i]);
    return sum / (double)n;
}

/* The training objective of a UNet that takes more than the latent, from the parts of the API. */
START_TEST(loss_with_concat) {
    enum { C = 4, MORE = 5, T = 300 };
    static const int32_t timesteps[2] = {T, T};
    static const double t[2] = {T, T};
    subject s;
    sd_tensor *given, *x0, *noise, *concat, *noisy, *y, *samples;
    sd_loss_params p = SD_LOSS_PARAMS_INIT;
    sd_loss_info loss = SD_LOSS_INFO_INIT;
    ck_assert(subject_open(&s, &ldm_cases[3], "cpu", true));
    given = fixture_tensor(&s, "unet-in", 0, 0);
    sd_cond *context = fixture_cond(&s, 0, 0);
    int64_t dims[4], more[4];
    memcpy(dims, sd_tensor_dims(given), sizeof dims);
    ck_assert_int_eq(dims[0], 2);
    ck_assert_int_eq(dims[1], C + MORE);
    size_t plane = (size_t)(dims[2] * dims[3]), each = C * plane;
    dims[1] = C;
    memcpy(more, dims, sizeof more);
    more[1] = MORE;
    must(sd_randn(s.g.ctx, SD_RNG_CPU, 31, 4, dims, &x0));
    must(sd_randn(s.g.ctx, SD_RNG_CPU, 32, 4, dims, &noise));
    must(sd_randn(s.g.ctx, SD_RNG_CPU, 33, 4, more, &concat));
    must(sd_add_noise(s.g.model, x0, noise, T, &noisy));
    for (size_t i = 0; i < 2; i++) {
        float *row = sd_tensor_data_mut(given) + i * (C + MORE) * plane;
        memcpy(row, sd_tensor_data(noisy) + i * each, each * sizeof *row);
        memcpy(row + each, sd_tensor_data(concat) + i * MORE * plane, MORE * plane * sizeof *row);
    }
    must(sd_unet_predict(s.g.model, given, t, context, &y));
    ck_assert_int_eq(
        sd_training_loss(s.g.model, x0, noise, timesteps, context, NULL, &loss, &samples),
        SD_ERROR_ARGUMENT);
    p.concat = concat;
    must(sd_training_loss(s.g.model, x0, noise, timesteps, context, &p, &loss, &samples));
    for (size_t i = 0; i < 2; i++) {
        double want =
            mean_square(sd_tensor_data(y) + i * each, sd_tensor_data(noise) + i * each, each);
        double got = (double)sd_tensor_data(samples)[3 * i];
        printf("inpaint: loss %.6f, relative error %.2e\n", got, fabs(got / want - 1.0));
        ck_assert_double_le(fabs(got / want - 1.0), LIMIT);
    }
    sd_cond_free(context);
    sd_tensor *const all[] = {given, x0, noise, concat, noisy, y, samples};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        sd_tensor_free(all[i]);
    golden_close(&s.g);
}
END_TEST

int ldm_beside_tests(golden_test tests[MAX_BESIDE]) {
    const golden_test all[] = {{wide_methods, 0, 1},
                               {concat_of_a_batch, 0, 1},
                               {no_concat, 0, 1},
                               {beside_the_latent, 3, 4},
                               {beside_the_latent, 5, 6},
                               {beside_the_latents_of_a_batch, 3, 4},
                               {beside_the_latents_of_a_batch, 5, 6},
                               {inpaint_script, 5, 6},
                               {loss_with_concat, 0, 1}};
    memcpy(tests, all, sizeof all);
    return (int)(sizeof all / sizeof all[0]);
}
