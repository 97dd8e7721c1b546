/*
 * Prompts that change in the course of a run, and that are combined: against runs that are stepped
 * by hand, and against sums of the network's predictions. Which text stands where is tested in
 * tests/unit/test_prompt_program.c.
 */
#include "../support/params.h"
#include "golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 4
#define LIMIT 1e-5
enum { A, B, C, N_TEXTS };
static const char *const texts[N_TEXTS] = {"a castle by the lake", "a photograph of an astronaut",
                                           "fog, blurry"};

static sd_sampler_params small_run(const char *method) {
    sd_sampler_params p = golden_params(1);
    p.steps = STEPS;
    p.width = p.height = 64;
    p.method = method;
    return p;
}

/* One text with the weighted syntax. */
static sd_cond *encode(const golden *g, const char *text, int steps) {
    sd_cond *cond;
    must(sd_encode_text(g->model, &text, 1, TEXT(.weighted = 1, .steps = steps), &cond));
    return cond;
}

static void encode_all(const golden *g, sd_cond *conds[N_TEXTS]) {
    for (int i = 0; i < N_TEXTS; i++)
        conds[i] = encode(g, texts[i], 0);
}

static void free_all(sd_cond *const *conds, int n) {
    for (int i = 0; i < n; i++)
        sd_cond_free(conds[i]);
}

static sd_tensor *sample(const golden *g, const sd_sampler_params *p, const sd_cond *cond,
                         const sd_cond *uncond) {
    sd_sampler *sampler;
    sd_tensor *latent;
    must(sd_sampler_new(g->model, p, &sampler));
    must(sd_sample(sampler, RUN(cond, uncond, NULL, NULL), &latent));
    sd_sampler_free(sampler);
    return latent;
}

/* Each step is a run of its own, of the last that are left, with conds[order[i]] in step i. */
static sd_tensor *step_by_hand(const golden *g, const sd_sampler_params *p, sd_cond *const *conds,
                               const int *order, const int *unorder) {
    sd_sampler *sampler;
    sd_tensor *latent = NULL;
    must(sd_sampler_new(g->model, p, &sampler));
    for (int i = 0; i < p->steps; i++) {
        sd_run_params run = SD_RUN_PARAMS_INIT;
        run.cond = conds[order[i]];
        run.uncond = conds[unorder ? unorder[i] : C];
        run.init = latent;
        run.last_steps = i > 0 ? p->steps - i : 0;
        must(sd_sampler_begin(sampler, &run));
        sd_tensor_free(latent);
        must(sd_sampler_step(sampler));
        must(sd_sampler_latent(sampler, &latent));
    }
    sd_sampler_free(sampler);
    return latent;
}

static void same_bits(sd_tensor *got, sd_tensor *want) {
    size_t n = (size_t)sd_tensor_n_elements(want) * sizeof(float);
    ck_assert_mem_eq(sd_tensor_data(got), sd_tensor_data(want), n);
    sd_tensor_free(got);
    sd_tensor_free(want);
}

/* What a prompt's program gives, and the steps by hand. */
static void same_as_by_hand(const golden *g, const char *method, const char *prompt,
                            const int *order) {
    sd_cond *conds[N_TEXTS], *cond = encode(g, prompt, STEPS);
    sd_sampler_params p = small_run(method);
    encode_all(g, conds);
    same_bits(sample(g, &p, cond, conds[C]), step_by_hand(g, &p, conds, order, NULL));
    sd_cond_free(cond);
    free_all(conds, N_TEXTS);
}

/* What ends at step n is seen by n + 1 of them, as CFGDenoiser's first is 0. */
START_TEST(prompts_change) {
    golden g;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    same_as_by_hand(&g, "ddim", "[a castle by the lake:a photograph of an astronaut:0.25]",
                    (const int[]){A, A, B, B});
    same_as_by_hand(&g, "ddim", "[a castle by the lake:a photograph of an astronaut:2]",
                    (const int[]){A, A, A, B});
    same_as_by_hand(&g, "euler", "a [castle by the lake|photograph of an astronaut]",
                    (const int[]){A, A, B, A});
    golden_close(&g);
}
END_TEST

/* In one call: the steps are the run's; the negative prompt changes too. */
START_TEST(pictures_in_one_call) {
    golden g;
    sd_cond *conds[N_TEXTS];
    sd_image *image, *want;
    sd_tensor *pixels;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    sd_sampler_params p = small_run("ddim");
    encode_all(&g, conds);
    sd_tensor *latent =
        step_by_hand(&g, &p, conds, (const int[]){A, A, B, B}, (const int[]){C, C, C, A});
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.prompt = "a [castle by the lake:photograph of an astronaut:1]";
    t.negative_prompt = "[fog, blurry:a castle by the lake:0.5]";
    t.text = TEXT(.weighted = 1);
    t.sampling = &p;
    must(sd_generate(g.model, &t, &image, 1));
    must(sd_vae_decode(g.model, latent, NULL, &pixels));
    must(sd_image_from_tensor(pixels, 0, &want));
    ck_assert_mem_eq(sd_image_pixels(image), sd_image_pixels(want), 64 * 64 * 3);
    sd_image_free(image);
    sd_image_free(want);
    sd_tensor_free(pixels);
    sd_tensor_free(latent);
    free_all(conds, N_TEXTS);
    golden_close(&g);
}
END_TEST

/* A host's own shares have no such step more; heun's count two evaluations a step. */
START_TEST(schedules_of_a_host) {
    const char *const methods[] = {"ddim", "heun"};
    const double until[] = {0.25, 0.5, 1.0}, half[] = {0.5, 1.0};
    golden g;
    sd_cond *conds[N_TEXTS], *all, *inner, *nested;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    encode_all(&g, conds);
    must(sd_cond_schedule((const sd_cond *[]){conds[A], conds[B], conds[A]}, until, 3, &all));
    /* Shares of what is within are the whole run's. */
    must(sd_cond_schedule((const sd_cond *[]){conds[C], conds[A]}, half, 2, &inner));
    must(sd_cond_schedule((const sd_cond *[]){all, inner}, half, 2, &nested));
    for (int i = 0; i < 2; i++) {
        sd_sampler_params p = small_run(methods[i]);
        const int order[] = {A, B, A, A};
        same_bits(sample(&g, &p, all, conds[C]), step_by_hand(&g, &p, conds, order, NULL));
        same_bits(sample(&g, &p, nested, conds[C]), step_by_hand(&g, &p, conds, order, NULL));
    }
    sd_sampler_params p = small_run("heun"); /* from A to B between the evaluations of a step */
    sd_cond *between;
    must(sd_cond_schedule((const sd_cond *[]){conds[A], conds[B]},
                          (const double[]){0.5 / STEPS, 1.0}, 2, &between));
    sd_tensor *got = sample(&g, &p, between, conds[C]), *other = sample(&g, &p, conds[B], conds[C]);
    ck_assert_mem_ne(sd_tensor_data(got), sd_tensor_data(other), 64);
    sd_tensor_free(got);
    sd_tensor_free(other);
    sd_cond_free(between);
    sd_cond_free(nested);
    sd_cond_free(inner);
    sd_cond_free(all);
    free_all(conds, N_TEXTS);
    golden_close(&g);
}
END_TEST

/* DDIM's first step from x by e_u + s sum w (e - e_u), of single predictions, in float64. */
static float *first_step(const golden *g, sd_sampler *sampler, const sd_tensor *x,
                         sd_cond *const *conds, const double *weights, double scale) {
    double t = sd_sampler_timestep(sampler, STEPS - 1);
    double a = sd_alphas_cumprod(g->model, (int32_t)t);
    double next = sd_alphas_cumprod(g->model, (int32_t)sd_sampler_timestep(sampler, STEPS - 2));
    size_t n = (size_t)sd_tensor_n_elements(x);
    float *out = malloc(n * sizeof *out);
    sd_tensor *e[N_TEXTS];
    for (int i = 0; i < N_TEXTS; i++)
        must(sd_unet_predict(g->model, x, &t, conds[i], &e[i]));
    for (size_t i = 0; i < n; i++) {
        double u = (double)sd_tensor_data(e[C])[i], sum = u;
        for (int k = A; k <= B; k++)
            sum += scale * weights[k] * ((double)sd_tensor_data(e[k])[i] - u);
        double x0 = ((double)sd_tensor_data(x)[i] - sqrt(1 - a) * sum) / sqrt(a);
        out[i] = (float)(sqrt(next) * x0 + sqrt(1 - next) * sum);
    }
    for (int i = 0; i < N_TEXTS; i++)
        sd_tensor_free(e[i]);
    return out;
}

/* The first step with `cond` against that of `weights`. */
static void check_mixed(const golden *g, const sd_cond *cond, sd_cond *const *conds,
                        const double *weights) {
    sd_sampler_params p = small_run("ddim");
    sd_run_params run = SD_RUN_PARAMS_INIT;
    sd_sampler *sampler;
    sd_tensor *x, *got;
    run.cond = cond;
    run.uncond = conds[C];
    must(sd_sampler_new(g->model, &p, &sampler));
    must(sd_sampler_begin(sampler, &run));
    must(sd_sampler_latent(sampler, &x));
    must(sd_sampler_step(sampler));
    must(sd_sampler_latent(sampler, &got));
    float *want = first_step(g, sampler, x, conds, weights, (double)GOLDEN_SCALE);
    ck_assert(
        check_error("combined", sd_tensor_data(got), want, (size_t)sd_tensor_n_elements(x), LIMIT));
    free(want);
    sd_tensor_free(x);
    sd_tensor_free(got);
    sd_sampler_free(sampler);
}

/* Composable diffusion, of a prompt and of a host; one alone with a weight. */
START_TEST(prompts_are_combined) {
    const double weights[] = {1.0, -0.7}, one[] = {0.6, 0.0};
    golden g;
    sd_cond *conds[N_TEXTS], *cond, *again;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    encode_all(&g, conds);
    cond = encode(&g, "a castle by the lake AND a photograph of an astronaut :-0.7", STEPS);
    check_mixed(&g, cond, conds, weights);
    must(sd_cond_combine((const sd_cond *[]){conds[A], conds[B]}, weights, 2, &again));
    check_mixed(&g, again, conds, weights);
    sd_sampler_params p = small_run("ddim");
    same_bits(sample(&g, &p, cond, conds[C]), sample(&g, &p, again, conds[C]));
    sd_cond_free(cond);
    cond = encode(&g, "a castle by the lake :0.6", STEPS);
    check_mixed(&g, cond, conds, one);
    sd_cond_free(cond);
    sd_cond_free(again);
    free_all(conds, N_TEXTS);
    golden_close(&g);
}
END_TEST

/* Pictures of a batch have their own programs, of different lengths, and are what they are alone.
 */
START_TEST(pictures_have_their_own) {
    const char *const prompts[] = {
        "[a castle by the lake:a photograph of an astronaut:0.25]", "fog, blurry",
        "[fog|a castle] by the lake AND a photograph :0.5 AND fog BREAK [an astronaut]"};
    golden g;
    sd_cond *all, *uncond, *one;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    must(sd_encode_text(g.model, prompts, 3, TEXT(.weighted = 1, .steps = STEPS), &all));
    sd_sampler_params p = small_run("ddim"), alone = p;
    p.batch = 3;
    must(sd_encode_text(g.model, (const char *[]){"fog BREAK blurry"}, 1, TEXT(.weighted = 1),
                        &uncond));
    sd_tensor *context;
    must(sd_cond_get(all, "context", &context));
    ck_assert_int_eq(sd_tensor_dims(context)[0], 3);
    ck_assert_int_eq(sd_tensor_dims(context)[1], 2 * 77);
    sd_tensor *latents = sample(&g, &p, all, uncond);
    size_t n = (size_t)sd_tensor_n_elements(latents) / 3;
    for (int i = 0; i < 3; i++) {
        must(sd_cond_rows(all, i, 1, &one));
        alone.seed = p.seed + (uint64_t)i;
        sd_tensor *got = sample(&g, &alone, one, uncond);
        ck_assert(check_error("alone", sd_tensor_data(got), sd_tensor_data(latents) + (size_t)i * n,
                              n, LIMIT));
        sd_tensor_free(got);
        sd_cond_free(one);
    }
    sd_tensor_free(context);
    sd_tensor_free(latents);
    sd_cond_free(all);
    sd_cond_free(uncond);
    golden_close(&g);
}
END_TEST

/* Fewer steps of a picture's are the first of the whole run's. */
START_TEST(image_to_image_begins_at_0) {
    golden g;
    sd_cond *conds[N_TEXTS], *cond;
    sd_sampler *sampler;
    sd_tensor *latent, *got, *want;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    encode_all(&g, conds);
    sd_sampler_params p = small_run("ddim");
    must(sd_sampler_new(g.model, &p, &sampler));
    must(sd_sample(sampler, RUN(conds[A], conds[C], NULL, NULL), &latent));
    must(sd_cond_schedule((const sd_cond *[]){conds[A], conds[B]}, (const double[]){0.5, 1.0}, 2,
                          &cond));
    sd_run_params run = SD_RUN_PARAMS_INIT;
    run.cond = cond;
    run.uncond = conds[C];
    run.init = latent;
    run.strength = 0.5; /* 2 of 4 steps */
    must(sd_sample(sampler, &run, &got));
    run.cond = conds[A];
    must(sd_sample(sampler, &run, &want));
    same_bits(got, want);
    /* A run that goes on with another's latent goes on in the schedule. */
    run.denoising_start = 0.5;
    run.cond = cond;
    must(sd_sample(sampler, &run, &got));
    run.cond = conds[B];
    must(sd_sample(sampler, &run, &want));
    same_bits(got, want);
    sd_tensor_free(latent);
    sd_sampler_free(sampler);
    sd_cond_free(cond);
    free_all(conds, N_TEXTS);
    golden_close(&g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {
        {prompts_change, 1, 2},          {pictures_in_one_call, 1, 2},
        {schedules_of_a_host, 1, 2},     {prompts_are_combined, 0, 2},
        {pictures_have_their_own, 1, 2}, {image_to_image_begins_at_0, 1, 2}};
    return golden_main("golden programs", tests, sizeof(tests) / sizeof(tests[0]));
}
