/* Sets the scene of the golden tests of sampling methods. */
#include "scene.h"

scene scene_open(const golden_setup *setup, const char *method) {
    scene s = {0};
    if (!golden_open(setup, &s.g))
        return s; /* left out: s.g.model is NULL */
    s.cond = golden_cond(&s.g, "text", 1, 1);
    s.uncond = golden_cond(&s.g, "text", 0, 1);
    s.init = golden_tensor(&s.g, "sampler-init", 0, 0);
    s.run = run_of(s.cond, s.uncond, NULL, NULL);
    s.o = (sd_original_params)SD_ORIGINAL_PARAMS_INIT;
    s.p = golden_params(1);
    s.p.method = method;
    s.p.width = s.p.height = 64;
    return s;
}

void scene_close(scene *s) {
    sd_sampler_free(s->sampler);
    sd_cond_free(s->cond);
    sd_cond_free(s->uncond);
    sd_tensor_free(s->init);
    golden_close(&s->g);
}

sd_sampler *scene_sampler(scene *s) {
    sd_sampler_free(s->sampler);
    must(sd_sampler_new(s->g.model, &s->p, &s->sampler));
    return s->sampler;
}

void scene_check_row(const char *what, const char *fixture, int row, sd_tensor *got, double limit) {
    npy want = golden_array(fixture);
    ck_assert_int_eq(want.n_dims, 4);
    ck_assert_int_lt(row, want.dims[0]);
    size_t each = want.n / (size_t)want.dims[0];
    ck_assert_int_eq((int64_t)each, sd_tensor_n_elements(got));
    bool ok = check_error(what, sd_tensor_data(got), want.f32 + (size_t)row * each, each, limit);
    ck_assert_msg(ok, "%s: beyond the limit", what);
    npy_free(&want);
    sd_tensor_free(got);
}
