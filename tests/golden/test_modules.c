/* One call of each network, and the noise, against transformers, diffusers and torch. */
#include "../support/params.h"
#include "golden.h"

#include <stdio.h>
#include <string.h>

/* docs/numerics: 1e-4 is right; what is measured is near 1e-6. */
#define LIMIT 1e-5

START_TEST(tokens) {
    golden g;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    npy want = golden_array("ids");
    for (int i = 0; i < N_PROMPTS; i++) {
        int32_t ids[77];
        int32_t n_used;
        must(sd_tokenize(g.model, 0, golden_prompts[i], ids, 77, &n_used));
        ck_assert_mem_eq(ids, want.i32 + 77 * i, sizeof(ids));
        ck_assert_int_eq(n_used > 77, i == N_PROMPTS - 1);
    }
    npy_free(&want);
    golden_close(&g);
}
END_TEST

START_TEST(text) {
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    sd_cond *cond;
    sd_tensor *embeddings;
    if (!golden_open(setup, &g))
        return;
    must(encode_context(g.model, golden_prompts, N_PROMPTS, NULL, &embeddings));
    golden_check(setup->name, "text", embeddings, LIMIT);
    npy ids = golden_array("ids");
    must(sd_encode_tokens(g.model, (const int32_t *[]){ids.i32}, 1, N_PROMPTS, NULL, &cond));
    must(context_of(SD_OK, cond, &embeddings));
    golden_check(setup->name, "text", embeddings, LIMIT);
    npy_free(&ids);
    golden_close(&g);
}
END_TEST

/* Two time steps in one batch, one of them fractional, and a latent that is not square. */
START_TEST(unet) {
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    sd_tensor *out;
    if (!golden_open(setup, &g))
        return;
    sd_tensor *x = golden_tensor(&g, "unet-in", 0, 0);
    sd_cond *context = golden_cond(&g, "text", 1, 2);
    npy t = golden_array("unet-t");
    const double times[] = {(double)t.f32[0], (double)t.f32[1]};
    must(sd_unet_predict(g.model, x, times, context, &out));
    golden_check(setup->name, "unet", out, LIMIT);
    npy_free(&t);
    sd_tensor_free(x);
    sd_cond_free(context);
    golden_close(&g);
}
END_TEST

START_TEST(vae_encode) {
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    sd_tensor *latent;
    if (!golden_open(setup, &g))
        return;
    sd_tensor *pixels = golden_tensor(&g, "vae-pixels", 0, 0);
    sd_tensor *noise = golden_tensor(&g, "vae-noise", 0, 0);
    must(sd_vae_encode(g.model, pixels, NULL, &latent));
    golden_check(setup->name, "vae-mean", latent, LIMIT);
    must(sd_vae_encode(g.model, pixels, NOISE(noise), &latent));
    golden_check(setup->name, "vae-sample", latent, LIMIT);
    sd_tensor_free(pixels);
    sd_tensor_free(noise);
    golden_close(&g);
}
END_TEST

START_TEST(vae_decode) {
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    sd_tensor *pixels;
    if (!golden_open(setup, &g))
        return;
    sd_tensor *latent = golden_tensor(&g, "vae-latent", 0, 0);
    must(sd_vae_decode(g.model, latent, NULL, &pixels));
    golden_check(setup->name, "vae-decoded", pixels, LIMIT);
    sd_tensor_free(latent);
    golden_close(&g);
}
END_TEST

static const int64_t noise_dims[2][4] = {{1, 4, 16, 16}, {2, 4, 16, 16}};

/* torch.randn after manual_seed: a generator a picture, and one for the batch. */
START_TEST(noise) {
    golden g;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    npy want[2] = {golden_array("noise"), golden_array("noise-stream")};
    for (int i = 0; i < 3; i++) {
        bool stream = i == 2;
        sd_tensor *t;
        must(sd_randn(g.ctx, SD_RNG_CPU, GOLDEN_SEED + (stream ? 0 : (uint64_t)i), 4,
                      noise_dims[stream], &t));
        size_t n = (size_t)sd_tensor_n_elements(t);
        const float *values = want[stream].f32 + (stream ? 0 : n * (size_t)i);
        double difference = largest_difference(sd_tensor_data(t), values, n);
        printf("%-28s largest difference %.2e\n", stream ? "noise-stream" : "noise", difference);
        ck_assert_double_le(difference, 1e-6);
        sd_tensor_free(t);
    }
    npy_free(&want[0]);
    npy_free(&want[1]);
    golden_close(&g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {{tokens, 0, n_golden_setups},     {text, 0, n_golden_setups},
                                 {unet, 0, n_golden_setups},       {vae_encode, 0, n_golden_setups},
                                 {vae_decode, 0, n_golden_setups}, {noise, 0, 1}};
    return golden_main("golden modules", tests, sizeof(tests) / sizeof(tests[0]));
}
