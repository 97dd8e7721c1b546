/*
 * Every sampling method against its judge (tests/tools/make_sampler_golden.py): diffusers'
 * schedulers, or the formulas in float64. The tiny model at a latent of 8 x 8, on the cpu backend.
 */
#include "../support/params.h"
#include "scene.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 1e-4

static const golden_setup setup = {"cpu", "cpu", 1, "SD_TINY_FOLDER"};

static const char *const spacing_names[] = {
    "auto", "uniform", "quad", "linspace", "trailing", "karras", "leading", "exponential", "beta"};

enum {
    UNI = 1 << SD_SPACING_UNIFORM,
    TIMES = UNI | 1 << SD_SPACING_LINSPACE | 1 << SD_SPACING_TRAILING,
    ALL = TIMES | 1 << SD_SPACING_KARRAS
};

/* A row of the fixture for each spacing, then one of image to image. */
static const struct method_case {
    const char *method;
    unsigned spacings;
    bool img2img;
} cases[] = {
    {"ddim", TIMES, false},      {"plms", UNI, true},      {"ddpm", TIMES, true},
    {"euler", ALL, true},        {"euler_a", TIMES, true}, {"heun", ALL, true},
    {"dpm2", ALL, true},         {"lms", ALL, true},       {"dpmpp_2m", ALL, true},
    {"dpmpp_2m_sde", ALL, true}, {"unipc", ALL, true},     {"lcm", UNI, true},
};
#define N_CASES ((int)(sizeof(cases) / sizeof(cases[0])))

static sd_tensor *sample(scene *s, const sd_tensor *init) {
    sd_sampler *sampler;
    sd_tensor *latent;
    must(sd_sampler_new(s->g.model, &s->p, &sampler));
    s->run.init = init;
    must(sd_sample(sampler, &s->run, &latent));
    sd_sampler_free(sampler);
    return latent;
}

/* A sanitizer looks at the code, which each method and each spacing run through once: not at every
 * pair of them. */
static bool is_left_out(int i, int spacing) {
    return getenv("SD_TEST_BRIEF") && (i + spacing) % 4 != 0;
}

/* Each spacing in 20 steps, then image to image. */
START_TEST(methods) {
    const struct method_case *c = &cases[_i];
    scene s = scene_open(&setup, c->method);
    char what[64], fixture[64];
    int row = 0;
    snprintf(fixture, sizeof(fixture), "sampler-%s", c->method);
    for (int spacing = SD_SPACING_UNIFORM; spacing <= SD_SPACING_KARRAS; spacing++) {
        if (!(c->spacings >> spacing & 1))
            continue;
        s.p.spacing = (sd_timestep_spacing)spacing;
        snprintf(what, sizeof(what), "%-14s%s", c->method, spacing_names[spacing]);
        if (!is_left_out(_i, spacing))
            scene_check_row(what, fixture, row, sample(&s, NULL), LIMIT);
        row++;
    }
    if (c->img2img) {
        s.p.spacing = SD_SPACING_UNIFORM;
        s.p.original = &s.o;
        s.o.original_encode = 1; /* plms as the original's img2img.py */
        snprintf(what, sizeof(what), "%-14simage to image", c->method);
        scene_check_row(what, fixture, row, sample(&s, s.init), LIMIT);
    }
    scene_close(&s);
}
END_TEST

/* As in make_sampler_golden.py. */
#define PREDICTED_SCALE 1.0f
#define PREDICTED                                                                                  \
    "euler", "euler_a", "heun", "dpm2", "lms", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "lcm", "ddpm"

/* One network's output taken as v and as x_0. */
START_TEST(predicted) {
    static const golden_setup models[] = {
        {"cpu, v", "cpu", 1, "SD_TINY_FILE", .config = "tiny-v.yaml"},
        {"cpu, x0", "cpu", 1, "SD_TINY_FILE", .config = "tiny-x0.yaml"}};
    static const char *const fixtures[] = {"sampler-v", "sampler-x0"};
    static const char *const names[] = {PREDICTED};
    scene s = scene_open(&models[_i], NULL);
    s.p.guidance_scale = PREDICTED_SCALE;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char what[64];
        s.p.method = names[i];
        snprintf(what, sizeof(what), "%-14s%s", names[i], fixtures[_i] + strlen("sampler-"));
        scene_check_row(what, fixtures[_i], (int)i, sample(&s, NULL), LIMIT);
    }
    scene_close(&s);
}
END_TEST

START_TEST(quad) {
    static const char *const names[] = {"ddim", "plms", PREDICTED};
    scene s = scene_open(&setup, NULL);
    s.p.spacing = SD_SPACING_QUAD;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char what[64];
        s.p.method = names[i];
        snprintf(what, sizeof(what), "%-14squad", names[i]);
        scene_check_row(what, "sampler-quad", (int)i, sample(&s, NULL), LIMIT);
    }
    scene_close(&s);
}
END_TEST

START_TEST(few_steps) {
    scene s = scene_open(&setup, "lcm");
    s.p.steps = 4;
    scene_check_row("lcm           4 steps", "sampler-lcm-4", 0, sample(&s, NULL), LIMIT);
    s.p.method = "dpmpp_2m";
    s.p.steps = 7; /* does not divide 1000 */
    scene_check_row("dpmpp_2m      7 steps", "sampler-dpmpp_2m-7", 0, sample(&s, NULL), LIMIT);
    scene_close(&s);
}
END_TEST

START_TEST(options) {
    scene s = scene_open(&setup, "euler");
    s.p.guidance_rescale = 0.7f;
    scene_check_row("euler         guidance rescale 0.7", "sampler-rescaled", 0, sample(&s, NULL),
                    LIMIT);
    s.p.guidance_rescale = 0;
    s.p.method = "euler_a";
    s.p.spacing = SD_SPACING_KARRAS;
    scene_check_row("euler_a       karras", "sampler-euler_a-karras", 0, sample(&s, NULL), LIMIT);
    s.p.spacing = SD_SPACING_UNIFORM;
    s.p.method = "ddpm";
    s.p.original = &s.o;
    s.o.clip_denoised = 1;
    scene_check_row("ddpm          clip_denoised", "sampler-ddpm-clipped", 0, sample(&s, NULL),
                    LIMIT);
    scene_close(&s);
}
END_TEST

/* The first steps of the original's loop over all train timesteps. */
START_TEST(ddpm_original) {
    scene s = scene_open(&setup, "ddpm");
    sd_sampler *sampler;
    sd_tensor *latent;
    s.p.steps = 1000;
    must(sd_sampler_new(s.g.model, &s.p, &sampler));
    must(sd_sampler_begin(sampler, RUN(s.cond, s.uncond, NULL, NULL)));
    ck_assert_int_eq(sd_sampler_remaining(sampler), 1000);
    for (int i = 0; i < 5; i++)
        must(sd_sampler_step(sampler));
    must(sd_sampler_latent(sampler, &latent));
    scene_check_row("ddpm          5 of 1000 steps", "sampler-ddpm-original", 0, latent, LIMIT);
    sd_sampler_free(sampler);
    scene_close(&s);
}
END_TEST

START_TEST(inversion) {
    scene s = scene_open(&setup, "ddim_inverse");
    sd_sampler *sampler;
    s.run.strength = 1;
    scene_check_row("ddim_inverse  all steps", "sampler-ddim_inverse", 0, sample(&s, s.init),
                    LIMIT);
    s.run.strength = GOLDEN_STRENGTH;
    scene_check_row("ddim_inverse  3/4 of the steps", "sampler-ddim_inverse", 1, sample(&s, s.init),
                    LIMIT);
    must(sd_sampler_new(s.g.model, &s.p, &sampler));
    sd_status status = sd_sampler_begin(sampler, RUN(s.cond, s.uncond, NULL, NULL));
    ck_assert_int_eq(status, SD_ERROR_ARGUMENT); /* nothing to invert */
    ck_assert_int_eq(sd_sampler_remaining(sampler), 0);
    sd_sampler_free(sampler);
    scene_close(&s);
}
END_TEST

/* DDIMSampler's mask; taken away again, the run is as without. */
START_TEST(masked) {
    scene s = scene_open(&setup, "ddim");
    sd_tensor *mask = golden_tensor(&s.g, "sampler-mask", 0, 0), *latent;
    sd_sampler *sampler;
    s.p.eta = 1;
    must(sd_sampler_new(s.g.model, &s.p, &sampler));
    s.run = with_mask(mask, s.init, s.run);
    for (int i = 0; i < 2; i++) {
        must(sd_sample(sampler, &s.run, &latent));
        scene_check_row("ddim          masked, eta 1", "sampler-masked", 0, latent, LIMIT);
    }
    sd_sampler_free(sampler);
    s.p.eta = 0;
    must(sd_sampler_new(s.g.model, &s.p, &sampler));
    ck_assert_int_eq(sd_sampler_set_mask(sampler, mask, s.init), SD_ERROR_STATE);
    must(sd_sampler_begin(sampler, &s.run));
    ck_assert_int_eq(sd_sampler_set_mask(sampler, mask, NULL), SD_ERROR_ARGUMENT);
    ck_assert_int_eq(sd_sampler_set_mask(sampler, s.init, s.init), SD_ERROR_ARGUMENT);
    must(sd_sampler_set_mask(sampler, NULL, NULL));
    while (sd_sampler_remaining(sampler) > 0)
        must(sd_sampler_step(sampler));
    must(sd_sampler_latent(sampler, &latent));
    scene_check_row("ddim          unmasked", "sampler-ddim", 0, latent, LIMIT);
    sd_sampler_free(sampler);
    sd_tensor_free(mask);
    scene_close(&s);
}
END_TEST

/* The known part that a mask put into x stays there: UniPC does not correct it away. Its predictor
 * is then DPM-Solver++ 2M's step. */
START_TEST(masked_unipc) {
    static const char *const both[] = {"unipc", "dpmpp_2m"};
    scene s = scene_open(&setup, NULL);
    sd_tensor *mask = golden_tensor(&s.g, "sampler-mask", 0, 0), *latents[2];
    sd_sampler *sampler;
    for (int i = 0; i < 64; i++)
        sd_tensor_data_mut(mask)[i] = 1.0f;
    for (int m = 0; m < 2; m++) {
        s.p.method = both[m];
        must(sd_sampler_new(s.g.model, &s.p, &sampler));
        s.run = with_mask(mask, s.init, s.run);
        must(sd_sampler_begin(sampler, &s.run));
        for (int i = 0; i < 3; i++)
            must(sd_sampler_step(sampler));
        must(sd_sampler_latent(sampler, &latents[m]));
        sd_sampler_free(sampler);
    }
    bool ok =
        check_error("unipc         masked", sd_tensor_data(latents[0]), sd_tensor_data(latents[1]),
                    (size_t)sd_tensor_n_elements(latents[0]), 1e-6);
    ck_assert_msg(ok, "UniPC corrected a masked latent");
    sd_tensor_free(latents[0]);
    sd_tensor_free(latents[1]);
    sd_tensor_free(mask);
    scene_close(&s);
}
END_TEST

static bool goes(scene *s) {
    sd_sampler *sampler;
    sd_tensor *latent;
    sd_status status = sd_sampler_new(s->g.model, &s->p, &sampler);
    if (status) {
        ck_assert_int_eq(status, SD_ERROR_ARGUMENT);
        return false;
    }
    must(sd_sample(sampler,
                   GIVEN(run_at(s->run.strength, run_of(s->cond, s->uncond, s->init, NULL))),
                   &latent));
    for (int64_t i = 0; i < sd_tensor_n_elements(latent); i++)
        ck_assert_msg(isfinite(sd_tensor_data(latent)[i]), "%s, spacing %d, %d steps: not finite",
                      s->p.method, (int)s->p.spacing, s->p.steps);
    sd_tensor_free(latent);
    sd_sampler_free(sampler);
    return true;
}

static bool is_curve(sd_timestep_spacing spacing) {
    return spacing == SD_SPACING_KARRAS || spacing == SD_SPACING_EXPONENTIAL ||
           spacing == SD_SPACING_BETA || spacing == SD_SPACING_AYS ||
           spacing == SD_SPACING_KL_OPTIMAL;
}

/* One step, quad's equal timesteps, and a number of steps that leaves no room: all stay finite. */
START_TEST(corners) {
    const char *method = sd_sampler_method(_i);
    bool distilled = !strcmp(method, "lcm") || !strcmp(method, "tcd");
    bool on_sigmas = _i >= 4 && !distilled && strcmp(method, "dpm_solver") != 0;
    scene s = scene_open(&setup, method);
    for (int spacing = SD_SPACING_AUTO; sd_sampler_spacing(spacing); spacing++) {
        bool curve = is_curve((sd_timestep_spacing)spacing);
        if (is_left_out(_i, spacing))
            continue;
        s.p.spacing = (sd_timestep_spacing)spacing;
        s.p.steps = 1;
        s.run.strength = 1;
        ck_assert_int_eq(goes(&s), !curve || on_sigmas);
    }
    const struct {
        int steps;
        sd_timestep_spacing spacing;
        double strength;
    } many[] = {{300, SD_SPACING_QUAD, 0.02},
                {1000, SD_SPACING_UNIFORM, 0.005},
                {999, SD_SPACING_LINSPACE, 0.005}};
    for (int i = 0; i < 3; i++) {
        s.p.steps = many[i].steps;
        s.p.spacing = many[i].spacing;
        s.run.strength = many[i].strength;
        ck_assert_int_eq(goes(&s), i != 1 || !distilled);
    }
    s.p.steps = 5;
    s.p.spacing = SD_SPACING_UNIFORM;
    s.run.strength = 1;
    s.p.eta = 0.5f;
    ck_assert_int_eq(goes(&s), strcmp(method, "plms") != 0);
    scene_close(&s);
}
END_TEST

/* A run whose steps are launched operation by operation, as a profile wants: all, or each second
 * one. */
static sd_tensor *launch(scene *s, sd_sampler *sampler, int each) {
    sd_tensor *latent;
    must(sd_sampler_begin(sampler, &s->run));
    for (int i = 0; sd_sampler_remaining(sampler) > 0; i++) {
        if (i % each == 0)
            must(sd_profile_begin(s->g.ctx));
        must(sd_sampler_step(sampler));
        must(sd_profile_end(s->g.ctx));
    }
    must(sd_sampler_latent(sampler, &latent));
    return latent;
}

/* Equal bits from a step that is replayed and from one that is launched. */
static void check_recorded(scene *s, bool inverse, bool mask) {
    sd_tensor *keep = golden_tensor(&s->g, "sampler-mask", 0, 0), *latents[4];
    sd_sampler *sampler = scene_sampler(s);
    size_t size = (size_t)sd_tensor_n_elements(s->init) * sizeof(float);
    bool holds = mask && !inverse;
    s->run = with_mask(holds ? keep : NULL, holds ? s->init : NULL, s->run);
    s->run.init = inverse ? s->init : NULL;
    for (int i = 0; i < 4; i++) {
        if (i < 2)
            must(sd_sample(sampler, &s->run, &latents[i]));
        else
            latents[i] = launch(s, sampler, i - 1);
        ck_assert_msg(!memcmp(sd_tensor_data(latents[i]), sd_tensor_data(latents[0]), size),
                      "%s, run %d%s", s->p.method, i, mask ? ", masked" : "");
    }
    for (int i = 0; i < 4; i++)
        sd_tensor_free(latents[i]);
    sd_tensor_free(keep);
}

START_TEST(recorded) {
    static const golden_setup models[] = {
        {"cpu", "cpu", 1, "SD_TINY_FILE"},
        {"cpu, v", "cpu", 1, "SD_TINY_FILE", .config = "tiny-v.yaml"}};
    scene s = scene_open(&models[_i], NULL);
    s.p.steps = 6;
    s.run.strength = 1;
    s.p.original = &s.o;
    s.o.clip_denoised = 1;
    for (int m = 0; (s.p.method = sd_sampler_method(m)) != NULL; m++) {
        bool inverse = !strcmp(s.p.method, "ddim_inverse");
        s.p.eta = strcmp(s.p.method, "plms") ? 0.5f : 0.0f;
        s.p.guidance_rescale = 0.0f;
        if (_i == 0)
            check_recorded(&s, inverse, false);
        s.p.guidance_rescale = 0.7f;
        check_recorded(&s, inverse, true);
    }
    scene_close(&s);
}
END_TEST

int main(void) {
    int n_methods = 0;
    while (sd_sampler_method(n_methods))
        n_methods++;
    const golden_test tests[] = {{methods, 0, N_CASES},   {predicted, 0, 2}, {quad, 0, 1},
                                 {few_steps, 0, 1},       {options, 0, 1},   {ddpm_original, 0, 1},
                                 {inversion, 0, 1},       {masked, 0, 1},    {masked_unipc, 0, 1},
                                 {corners, 0, n_methods}, {recorded, 0, 2}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    return golden_main("golden methods", tests, sizeof(tests) / sizeof(tests[0]));
}
