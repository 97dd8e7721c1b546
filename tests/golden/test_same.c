/* Things that must not change the picture: threads, layout, type of the weights, company in a
 * batch. */
#include "golden.h"

#include <stdio.h>
#include <string.h>

#define MODEL_FOLDER "SD_TINY_FOLDER"
#define MODEL_FILE "SD_TINY_FILE"
#define N_BYTES (128 * 128 * 3)

/* A few steps with noise in each; a small picture where the backend is slow. */
static sd_sampler_params short_run(const char *backend, int batch) {
    sd_sampler_params p = golden_params(batch);
    bool slow = strcmp(backend, "reference") == 0;
    p.steps = slow ? 2 : 4;
    p.width = p.height = slow ? 64 : 128;
    p.eta = 0.5f;
    return p;
}

/* The final latent and, where `pixels` is not NULL, the first picture. */
static bool run(const golden_setup *setup, sd_sampler_params p, sd_tensor **latent,
                uint8_t *pixels) {
    const char *const prompts[] = {golden_prompts[2], golden_prompts[0]};
    golden g;
    sd_cond *cond, *uncond;
    sd_sampler *sampler;
    sd_image *image;
    if (!golden_open(setup, &g))
        return false;
    must(sd_encode_text(g.model, prompts, 1, NULL, &cond));
    must(sd_encode_text(g.model, prompts + 1, 1, NULL, &uncond));
    must(sd_sampler_new(g.model, &p, &sampler));
    must(sd_sample(sampler, RUN(cond, uncond, NULL, NULL), latent));
    if (pixels) {
        sd_generate_params t = SD_GENERATE_PARAMS_INIT;
        t.prompt = golden_prompts[2];
        t.sampling = &p;
        must(sd_generate(g.model, &t, &image, 1));
        memset(pixels, 0, N_BYTES);
        memcpy(pixels, sd_image_pixels(image),
               (size_t)sd_image_width(image) * (size_t)sd_image_height(image) * 3);
        sd_image_free(image);
    }
    sd_sampler_free(sampler);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    golden_close(&g);
    return true;
}

/* Runs two setups and asks for equal bits of the latent and of the picture. */
static void same_bits(const golden_setup *a, const golden_setup *b) {
    static uint8_t pixels[2][N_BYTES];
    sd_tensor *latents[2];
    sd_sampler_params p = short_run(a->backend, 1);
    if (!run(a, p, &latents[0], pixels[0]) || !run(b, p, &latents[1], pixels[1]))
        return;
    size_t n = (size_t)sd_tensor_n_elements(latents[0]);
    const float *x = sd_tensor_data(latents[0]), *y = sd_tensor_data(latents[1]);
    printf("%-20s and %-20s relative difference %.2e\n", a->name, b->name, relative_error(y, x, n));
    ck_assert_mem_eq(x, y, n * sizeof(float));
    ck_assert_mem_eq(pixels[0], pixels[1], N_BYTES);
    sd_tensor_free(latents[0]);
    sd_tensor_free(latents[1]);
}

static const char *const backends[] = {"reference", "cpu", "cpu:1", "cpu:2"};
#define N_BACKENDS 4

START_TEST(threads) {
    for (int n = 2; n <= 3; n++) {
        golden_setup one = {backends[_i], backends[_i], 1, MODEL_FOLDER};
        golden_setup more = {n == 2 ? "2 threads" : "3 threads", backends[_i], n, MODEL_FOLDER};
        same_bits(&one, &more);
    }
}
END_TEST

START_TEST(layouts) {
    golden_setup folder = {backends[_i], backends[_i], 2, MODEL_FOLDER};
    golden_setup file = {"the original layout", backends[_i], 2, MODEL_FILE};
    same_bits(&folder, &file);
}
END_TEST

START_TEST(torch_files) {
    golden_setup file = {backends[_i], backends[_i], 2, MODEL_FILE};
    golden_setup ckpt = {".ckpt", backends[_i], 2, "SD_TINY_CKPT"};
    golden_setup ema = {".ckpt, use_ema", backends[_i], 2, "SD_TINY_EMA", 1};
    same_bits(&file, &ckpt);
    same_bits(&file, &ema);
}
END_TEST

/* Without use_ema the last weights of training are taken, and the average is not unexpected. */
START_TEST(average_is_chosen) {
    golden_setup setups[] = {{"cpu", "cpu", 2, MODEL_FILE}, {"last", "cpu", 2, "SD_TINY_EMA"}};
    sd_sampler_params p = short_run("cpu", 1);
    sd_tensor *latents[2];
    for (int i = 0; i < 2; i++)
        ck_assert(run(&setups[i], p, &latents[i], NULL));
    double other = relative_error(sd_tensor_data(latents[0]), sd_tensor_data(latents[1]),
                                  (size_t)sd_tensor_n_elements(latents[0]));
    printf("the last weights instead of the average: relative difference %.2e\n", other);
    ck_assert(other > 0.01);
    sd_tensor_free(latents[0]);
    sd_tensor_free(latents[1]);
}
END_TEST

/* With weights of 8 significant bits the three types hold equal numbers. */
START_TEST(types) {
    golden_setup f32 = {backends[_i], backends[_i], 2, "SD_TINY_F32"};
    golden_setup f16 = {"float16 weights", backends[_i], 2, "SD_TINY_F16"};
    golden_setup bf16 = {"bfloat16 weights", backends[_i], 2, "SD_TINY_BF16"};
    same_bits(&f32, &f16);
    same_bits(&f32, &bf16);
}
END_TEST

/* Picture 1 of a batch from seed 42 is the picture of seed 43. */
START_TEST(company) {
    golden_setup setup = {backends[_i], backends[_i], 2, MODEL_FOLDER};
    sd_tensor *both, *alone;
    sd_sampler_params p = short_run(setup.backend, 2);
    if (!run(&setup, p, &both, NULL))
        return;
    p.batch = 1;
    p.seed++;
    ck_assert(run(&setup, p, &alone, NULL));
    size_t n = (size_t)sd_tensor_n_elements(alone);
    ck_assert_int_eq(sd_tensor_n_elements(both), 2 * (int64_t)n);
    bool ok = check_error(setup.name, sd_tensor_data(both) + n, sd_tensor_data(alone), n, 1e-4);
    ck_assert_msg(ok, "%s: another picture in company", setup.name);
    double other = relative_error(sd_tensor_data(both), sd_tensor_data(alone), n);
    ck_assert_msg(other > 0.1, "seeds 42 and 43 gave nearly the same picture (%g)", other);
    sd_tensor_free(both);
    sd_tensor_free(alone);
}
END_TEST

int main(void) {
    const golden_test tests[] = {{threads, 0, N_BACKENDS},     {layouts, 0, N_BACKENDS},
                                 {torch_files, 0, N_BACKENDS}, {average_is_chosen, 0, 1},
                                 {types, 0, N_BACKENDS},       {company, 0, N_BACKENDS}};
    return golden_main("golden same", tests, sizeof(tests) / sizeof(tests[0]));
}
