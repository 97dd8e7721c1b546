/*
 * The arguments of the original's samplers that diffusers does not know, against their formulas in
 * float64 (tests/tools/make_original_golden.py). The tiny model at a latent of 8 x 8, on the cpu
 * backend.
 */
#include "scene.h"

#include <stdio.h>
#include <string.h>

#define LIMIT 1e-4
#define LIMIT_ENCODED 1e-6
#define LIMIT_SOLVER 1e-5 /* as near as the original in float32 is to itself in float64 */

/* As in make_original_golden.py. */
#define DROPOUT 0.3f
#define TEMPERATURE 0.8f
#define LOG_EVERY_T 6
#define T_ENC 12
#define ETA 0.5f

static const golden_setup setup = {"cpu", "cpu", 1, "SD_TINY_FOLDER"};

static sd_tensor *sample(scene *s) {
    sd_tensor *latent;
    must(sd_sample(scene_sampler(s), RUN(s->cond, s->uncond, NULL, NULL), &latent));
    return latent;
}

/* Both lists, from entry `first` on, in the rows of their fixtures from `row` on. */
static void check_lists(const scene *s, const char *fixture_x, const char *fixture_x0, int row_x0,
                        int first_x0, int n) {
    char what[64];
    sd_tensor *latent;
    ck_assert_int_eq(sd_sampler_n_intermediates(s->sampler), n);
    for (int i = 0; i < n; i++) {
        must(sd_sampler_x_inter(s->sampler, i, &latent));
        snprintf(what, sizeof what, "%s x %d of %d", s->p.method, i, n);
        scene_check_row(what, fixture_x, i, latent, LIMIT);
    }
    for (int i = first_x0; i < n; i++) {
        must(sd_sampler_pred_x0_inter(s->sampler, i, &latent));
        snprintf(what, sizeof what, "%s pred_x0 %d of %d", s->p.method, i, n);
        scene_check_row(what, fixture_x0, row_x0 + i - first_x0, latent, LIMIT);
    }
}

START_TEST(noise_dropout) {
    scene s = scene_open(&setup, "ddim");
    s.p.eta = 1;
    s.p.original = &s.o;
    s.o.temperature = TEMPERATURE;
    s.o.noise_dropout = DROPOUT;
    scene_check_row("ddim noise_dropout, temperature", "original-dropout", 0, sample(&s), LIMIT);
    scene_close(&s);
}
END_TEST

static int32_t correct(void *user, const sd_score_info *score) {
    int area = score->height * score->width;
    (void)user;
    for (int i = 0; i < score->batch * score->channels * area; i++) {
        float channel = (float)(i / area % score->channels + 1);
        score->e_t[i] += 0.05f * channel * score->x[i] * (float)score->timestep / 1000.0f;
    }
    return 0;
}

START_TEST(score_corrector) {
    static const char *const methods[] = {"ddim", "plms"};
    for (int i = 0; i < 2; i++) {
        scene s = scene_open(&setup, methods[i]);
        char what[64];
        s.p.original = &s.o;
        s.o.score_corrector = correct;
        snprintf(what, sizeof what, "%s score_corrector", methods[i]);
        scene_check_row(what, "original-corrected", i, sample(&s), LIMIT);
        scene_close(&s);
    }
}
END_TEST

START_TEST(intermediates) {
    scene s = scene_open(&setup, "ddim");
    s.p.eta = 1;
    s.p.original = &s.o;
    s.o.log_every_t = LOG_EVERY_T;
    sd_tensor_free(sample(&s));
    check_lists(&s, "original-x-inter", "original-pred-x0", 0, 0, 6);
    scene_close(&s);
}
END_TEST

/* stochastic_encode, then decode, as scripts/img2img.py calls them. */
START_TEST(encode_and_decode) {
    static const struct {
        int original, t, t_start;
        float eta;
        const char *name;
    } cases[] = {{0, T_ENC, T_ENC, ETA, "ddim"}, {1, 30, 6, 1.0f, "ddim use_original_steps"}};
    scene s = scene_open(&setup, "ddim");
    for (int i = 0; i < 2; i++) {
        char what[64];
        sd_tensor *noise, *latent, *given, *decoded;
        s.p.eta = cases[i].eta;
        s.p.original = &s.o;
        s.o.use_original_steps = cases[i].original;
        scene_sampler(&s);
        must(sd_sampler_stochastic_encode(s.sampler, s.init, cases[i].t, NULL, &latent));
        must(sd_randn(s.g.ctx, s.p.rng, s.p.seed, 4, sd_tensor_dims(latent), &noise));
        must(sd_sampler_stochastic_encode(s.sampler, s.init, cases[i].t, noise, &given));
        must(sd_sample(s.sampler,
                       GIVEN(last_of(cases[i].t_start, run_of(s.cond, s.uncond, latent, NULL))),
                       &decoded));
        snprintf(what, sizeof what, "%s stochastic_encode", cases[i].name);
        scene_check_row(what, "original-decode", 2 * i, latent, LIMIT_ENCODED);
        scene_check_row(what, "original-decode", 2 * i, given, LIMIT_ENCODED);
        snprintf(what, sizeof what, "%s decode", cases[i].name);
        scene_check_row(what, "original-decode", 2 * i + 1, decoded, LIMIT);
        sd_tensor_free(noise);
    }
    ck_assert_double_eq(sd_sampler_timestep(s.sampler, 999), 999.0);
    scene_close(&s);
}
END_TEST

/* The end of the original's loop over all train timesteps, with its lists. */
START_TEST(p_sample_loop) {
    const int64_t dims[] = {1, 4, 8, 8};
    scene s = scene_open(&setup, "ddpm");
    sd_tensor *x, *latent;
    s.p.original = &s.o;
    s.o.use_original_steps = 1;
    s.p.steps = 7; /* not looked at */
    s.o.temperature = TEMPERATURE;
    s.o.noise_dropout = DROPOUT;
    s.o.log_every_t = 3;
    scene_sampler(&s);
    must(sd_randn(s.g.ctx, s.p.rng, s.p.seed, 4, dims, &x));
    must(sd_sample(s.sampler, GIVEN(last_of(7, run_of(s.cond, s.uncond, x, NULL))), &latent));
    scene_check_row("ddpm p_sample_loop", "original-p-sample", 3, latent, LIMIT);
    check_lists(&s, "original-p-sample", "original-p-sample", 4, 1, 4);
    sd_tensor_free(x);
    scene_close(&s);
}
END_TEST

static sd_tensor *sample_masked(scene *s) {
    sd_tensor *mask = golden_tensor(&s->g, "sampler-mask", 0, 0), *latent;
    must(sd_sample(s->sampler, GIVEN(with_mask(mask, s->init, s->run)), &latent));
    sd_tensor_free(mask);
    return latent;
}

/* With a mask the noises that are multiplied by 0 come from the stream too. */
START_TEST(masked_streams) {
    static const struct {
        const char *method;
        float eta, dropout;
    } cases[] = {{"ddim", 0.0f, 0.0f},
                 {"plms", 0.0f, 0.0f},
                 {"ddim", 0.0f, DROPOUT},
                 {"plms", 0.0f, DROPOUT},
                 {"ddim", ETA, 0.0f}};
    for (int i = 0; i < 5; i++) {
        scene s = scene_open(&setup, cases[i].method);
        char what[64];
        s.p.eta = cases[i].eta;
        s.p.original = &s.o;
        s.o.noise_dropout = cases[i].dropout;
        s.o.one_stream = i % 2; /* the same for one picture */
        scene_sampler(&s);
        sd_tensor *latent = sample_masked(&s);
        snprintf(what, sizeof what, "%s masked, eta %g, dropout %g", cases[i].method,
                 (double)cases[i].eta, (double)cases[i].dropout);
        scene_check_row(what, "original-masked", i, latent, LIMIT);
        scene_close(&s);
    }
}
END_TEST

/* Each picture of a batch draws from its own seed, as it does alone. */
START_TEST(masked_streams_of_a_batch) {
    static const char *const methods[] = {"ddim", "plms"};
    for (int m = 0; m < 2; m++) {
        scene s = scene_open(&setup, methods[m]);
        char what[64];
        s.p.batch = 2;
        s.p.seed = GOLDEN_SEED - 1;
        scene_sampler(&s);
        sd_tensor *both = sample_masked(&s);
        npy want = golden_array("original-masked");
        size_t each = want.n / (size_t)want.dims[0];
        snprintf(what, sizeof what, "%s masked, second of two", methods[m]);
        bool ok = check_error(what, sd_tensor_data(both) + each, want.f32 + (size_t)m * each, each,
                              LIMIT);
        ck_assert_msg(ok, "%s: beyond the limit", what);
        npy_free(&want);
        sd_tensor_free(both);
        scene_close(&s);
    }
}
END_TEST

/* DPMSolverSampler: its times, orders and last alpha. */
START_TEST(dpm_solver) {
    static const int steps[] = {10, 15, 20, 50};
    static const golden_setup folder = {"cpu, folder", "cpu", 1, "SD_TINY_FOLDER"};
    static const sd_timestep_spacing spacings[] = {SD_SPACING_UNIFORM, SD_SPACING_LINSPACE,
                                                   SD_SPACING_AUTO, SD_SPACING_AUTO};
    scene s = scene_open(&folder, "dpm_solver");
    char what[64];
    for (int i = 0; i < 4; i++) {
        s.p.steps = steps[i];
        s.p.eta = (float)(i % 2); /* not looked at */
        s.p.spacing = spacings[i];
        snprintf(what, sizeof what, "dpm_solver %d steps", steps[i]);
        scene_check_row(what, "original-dpm_solver", i, sample(&s), LIMIT_SOLVER);
        ck_assert_double_eq_tol(sd_sampler_timestep(s.sampler, steps[i] - 1), 999.0, 1e-9);
        ck_assert_double_eq_tol(sd_sampler_timestep(s.sampler, 0), 999.0 / steps[i], 1e-9);
    }
    s.p.steps = 20;
    s.p.spacing = SD_SPACING_UNIFORM;
    scene_sampler(&s);
    sd_tensor *latent = sample_masked(&s);
    scene_check_row("dpm_solver masked", "original-dpm_solver", 4, latent, LIMIT_SOLVER);
    must(sd_sample(scene_sampler(&s), RUN(s.cond, s.uncond, s.init, NULL), &latent));
    scene_check_row("dpm_solver image to image", "original-dpm_solver", 5, latent, LIMIT_SOLVER);
    scene_close(&s);
}
END_TEST

START_TEST(dpm_solver_of_v) {
    static const golden_setup model = {"cpu, v", "cpu", 1, "SD_TINY_FILE", .config = "tiny-v.yaml"};
    scene s = scene_open(&model, "dpm_solver");
    s.p.guidance_scale = 1;
    for (int i = 0; i < 2; i++) {
        char what[64];
        s.p.steps = 10 + 10 * i;
        snprintf(what, sizeof what, "dpm_solver %d steps, v", s.p.steps);
        scene_check_row(what, "original-dpm_solver", 6 + i, sample(&s), LIMIT_SOLVER);
    }
    scene_close(&s);
}
END_TEST

/* Noised one step above the first, and to the first's own timestep. */
START_TEST(rules_of_image_to_image) {
    static const char *const methods[] = {"ddim", "plms"};
    static const double strengths[] = {0.05, 0.1, 0.3}; /* 1, 2 and 6 of 20 */
    int row = 0;
    for (int m = 0; m < 2; m++) {
        scene s = scene_open(&setup, methods[m]);
        for (int i = 0; i < 6; i++) {
            char what[64];
            sd_tensor *latent;
            s.run.strength = strengths[i / 2];
            s.p.original = &s.o;
            s.o.original_encode = i % 2 == 0;
            must(sd_sample(scene_sampler(&s),
                           GIVEN(run_at(s.run.strength, run_of(s.cond, s.uncond, s.init, NULL))),
                           &latent));
            snprintf(what, sizeof what, "%s strength %g, %s", methods[m], s.run.strength,
                     i % 2 ? "diffusers" : "original");
            scene_check_row(what, "original-img2img", row++, latent, LIMIT);
        }
        scene_close(&s);
    }
}
END_TEST

int main(void) {
    const golden_test tests[] = {{noise_dropout, 0, 1},
                                 {score_corrector, 0, 1},
                                 {intermediates, 0, 1},
                                 {encode_and_decode, 0, 1},
                                 {p_sample_loop, 0, 1},
                                 {masked_streams, 0, 1},
                                 {masked_streams_of_a_batch, 0, 1},
                                 {dpm_solver, 0, 1},
                                 {dpm_solver_of_v, 0, 1},
                                 {rules_of_image_to_image, 0, 1}};
    return golden_main("golden original", tests, sizeof(tests) / sizeof(tests[0]));
}
