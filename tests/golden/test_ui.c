/*
 * The web UIs' spacings and methods against k-diffusion's functions, and times of the caller's own
 * against diffusers' set_timesteps (tests/tools/make_ui_golden.py). The tiny model at a latent of
 * 8 x 8.
 */
#include "../support/params.h"
#include "scene.h"

#include <stdio.h>

#define LIMIT 1e-4

static const golden_setup backends[] = {{"cpu", "cpu", 1, "SD_TINY_FOLDER"},
                                        {"reference", "reference", 1, "SD_TINY_FOLDER"}};

static sd_tensor *sample(scene *s) {
    sd_tensor *latent;
    must(sd_sample(scene_sampler(s), &s->run, &latent));
    return latent;
}

/* Euler in 10 steps and in 7, which do not divide 1000. */
START_TEST(spacings) {
    static const int steps[] = {10, 7};
    scene s = scene_open(&backends[0], "euler");
    for (int i = 0; i < 12; i++) {
        char what[64];
        s.p.spacing = SD_SPACING_SGM_UNIFORM + i / 2;
        s.p.steps = steps[i % 2];
        snprintf(what, sizeof what, "euler         %s, %d steps", sd_sampler_spacing(s.p.spacing),
                 s.p.steps);
        scene_check_row(what, "ui-spacings", i, sample(&s), LIMIT);
    }
    s.p.spacing = SD_SPACING_EXPONENTIAL;
    s.p.steps = 10;
    scene_check_row("euler         exponential, of k-diffusion", "ui-exponential", 0, sample(&s),
                    LIMIT);
    scene_close(&s);
}
END_TEST

static const double timesteps[] = {999, 850, 736, 645, 545, 455, 343, 233, 124, 24};
static const double lcm_timesteps[] = {999, 759, 499, 259};
static const double sigmas[] = {14.6, 5.5, 2.25, 1.0, 0.4, 0.1, 0.0};

/* A run of so many of the caller's timesteps. */
static sd_tensor *sample_at(scene *s, const char *method, const double *times, int n) {
    s->p.method = method;
    s->p.timesteps = times;
    s->p.n_timesteps = n;
    return sample(s);
}

START_TEST(given) {
    scene s = scene_open(&backends[_i], NULL);
    if (!s.g.model)
        return;
    s.p.steps = 0;
    scene_check_row("euler         timesteps", "ui-given", 0, sample_at(&s, "euler", timesteps, 10),
                    LIMIT);
    scene_check_row("dpmpp_2m      timesteps", "ui-given", 1,
                    sample_at(&s, "dpmpp_2m", timesteps, 10), LIMIT);
    scene_check_row("lcm           timesteps", "ui-given", 3,
                    sample_at(&s, "lcm", lcm_timesteps, 4), LIMIT);
    s.p.method = "euler";
    s.p.timesteps = NULL;
    s.p.n_timesteps = 0;
    s.p.sigmas = sigmas;
    s.p.n_sigmas = 7;
    scene_check_row("euler         sigmas", "ui-given", 2, sample(&s), LIMIT);
    scene_close(&s);
}
END_TEST

static const double karras[] = {
    14.614641229333643,  7.094410691754973,   3.168603072959619,   1.274100208978096,
    0.44691820937343973, 0.13030758649055046, 0.02916715815172038, 0};

/* Normal spacing and SGM uniform with eta 0.5 in 9 steps, Karras sigmas in 7. The sigmas of
 * Karras are given, as k-diffusion asks for times between the timesteps; noise is not scaled by
 * them. */
static void check_karras(scene *s, const char *fixture) {
    s->p.spacing = SD_SPACING_AUTO;
    s->p.steps = 0;
    s->p.sigmas = karras;
    s->p.n_sigmas = 8;
    scene_check_row("              Karras sigmas", fixture, 1, sample(s), LIMIT);
}

START_TEST(methods) {
    static const char *const names[] = {"euler_a",   "dpm2_a",       "dpmpp_2s_a",
                                        "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde"};
    const char *name = names[_i];
    scene s = scene_open(&backends[0], name);
    char fixture[32], what[64];
    snprintf(fixture, sizeof fixture, "ui-%s", name);
    snprintf(what, sizeof what, "%-14snormal", name);
    s.p.steps = 9;
    s.p.spacing = SD_SPACING_NORMAL;
    scene_check_row(what, fixture, 0, sample(&s), LIMIT);
    s.p.spacing = SD_SPACING_SGM_UNIFORM;
    s.p.ancestral_eta = 0.5;
    snprintf(what, sizeof what, "%-14ssgm_uniform, eta 0.5", name);
    scene_check_row(what, fixture, 2, sample(&s), LIMIT);
    s.p.ancestral_eta = 1;
    check_karras(&s, fixture);
    scene_close(&s);
}
END_TEST

/* Distilled models' steps: TCD at several gammas, and at one step. */
START_TEST(tcd) {
    static const struct {
        int steps;
        double eta;
    } rows[] = {{4, 0.3}, {8, 0.0}, {4, 1.0}, {1, 0.3}};
    scene s = scene_open(&backends[0], "tcd");
    for (int i = 0; i < 4; i++) {
        char what[64];
        s.p.steps = rows[i].steps;
        s.p.eta = rows[i].eta;
        snprintf(what, sizeof what, "tcd           %d steps, eta %g", s.p.steps, s.p.eta);
        scene_check_row(what, "ui-tcd", i, sample(&s), LIMIT);
    }
    scene_close(&s);
}
END_TEST

/* First noises with a subseed, of another size, and a run with ENSD. */
START_TEST(varied) {
    static const struct {
        double strength;
        int width, height;
    } rows[] = {{0.3, 0, 0}, {0.3, 96, 48}, {0.0, 32, 128}};
    scene s = scene_open(&backends[0], "euler_a");
    sd_tensor *latent;
    s.p.subseed = 777;
    s.p.steps = 7;
    for (int i = 2; i >= 0; i--) {
        char what[64];
        s.p.subseed_strength = rows[i].strength;
        s.p.seed_resize_width = rows[i].width;
        s.p.seed_resize_height = rows[i].height;
        snprintf(what, sizeof what, "noise         subseed %g, of %d x %d", rows[i].strength,
                 rows[i].width, rows[i].height);
        must(sd_sampler_begin(scene_sampler(&s), &s.run));
        must(sd_sampler_latent(s.sampler, &latent));
        scene_check_row(what, "ui-varied", i, latent, 1e-6);
    }
    s.p.spacing = SD_SPACING_NORMAL;
    s.p.eta_noise_seed_delta = 31337;
    scene_check_row("euler_a       subseed, ENSD", "ui-varied", 3, sample(&s), LIMIT);
    scene_check_row("euler_a       and again", "ui-varied", 3, sample(&s), LIMIT);
    scene_close(&s);
}
END_TEST

int main(void) {
    const golden_test tests[] = {
        {spacings, 0, 1}, {given, 0, 2}, {methods, 0, 6}, {tcd, 0, 1}, {varied, 0, 1}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    return golden_main("golden ui", tests, sizeof(tests) / sizeof(tests[0]));
}
