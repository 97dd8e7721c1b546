/* Shared by the golden tests of sampling methods: the tiny model at a latent of 8 x 8, with the
 * fixtures that they begin from. */
#ifndef SD_TESTS_SCENE_H
#define SD_TESTS_SCENE_H

#include "golden.h"

typedef struct scene {
    golden g;
    sd_cond *cond, *uncond;
    sd_tensor *init;
    sd_sampler_params p;  /* one picture by `method`; the test may change them */
    sd_original_params o; /* and this, where p.original is set */
    sd_run_params run;    /* on `cond` and `uncond`; and this too */
    sd_sampler *sampler;  /* scene_sampler's */
} scene;

/* `setup` must be one that opens. Fails the test with a sentence otherwise. */
scene scene_open(const golden_setup *setup, const char *method);
void scene_close(scene *s);

/* A sampler with the parameters that the scene has now; it replaces the one before. */
sd_sampler *scene_sampler(scene *s);

/* Fails the test where `got` is not row `row` of the fixture to within `limit`. Takes the tensor
 * over. */
void scene_check_row(const char *what, const char *fixture, int row, sd_tensor *got, double limit);

#endif
