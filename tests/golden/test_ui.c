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

/* Euler in 20 steps and in 7, which do not divide 1000. */
START_TEST(spacings) {
    static const int steps[] = {20, 7};
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
    s.p.steps = 20;
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

int main(void) {
    const golden_test tests[] = {{spacings, 0, 1}, {given, 0, 2}};
    setvbuf(stdout, NULL, _IOLBF, 0);
    return golden_main("golden ui", tests, sizeof(tests) / sizeof(tests[0]));
}
