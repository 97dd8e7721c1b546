/* Small autoencoders against diffusers' AutoencoderTiny, in each layout of their files, beside a
 * model's VAE and in its place (tests/tools/make_taesd_golden.py). */
#include "../support/params.h"
#include "golden.h"

#include <stdio.h>

#define LIMIT 1e-5

static const golden_setup setups[] = {
    {"reference, folder", "reference", 2, "SD_TINY_FOLDER", .taesd = "SD_TAESD_FOLDER"},
    {"cpu, folder", "cpu", 2, "SD_TINY_FILE", .taesd = "SD_TAESD_FOLDER"},
    {"cpu, file", "cpu", 1, "SD_TINY_FOLDER", .taesd = "SD_TAESD_FILE"},
    {"cpu:1, halves", "cpu:1", 2, "SD_TINY_FOLDER", .taesd = "SD_TAESD_DECODER"},
    {"cpu:2, as the VAE", "cpu:2", 2, "SD_TAESD_VAE"},
};
#define N_SETUPS ((int)(sizeof(setups) / sizeof(setups[0])))

/* As make_taesd_golden.py has them. */
static const int64_t sizes[][2] = {{1, 3}, {3, 5}};
enum { LATENT_SEED = 7, PIXEL_SEED = 8, N_SIZES = 2 };

static sd_tensor *noise(const golden *g, uint64_t seed, int64_t c, int64_t h, int64_t w) {
    const int64_t dims[] = {2, c, h, w};
    sd_tensor *t;
    must(sd_randn(g->ctx, SD_RNG_CPU, seed, 4, dims, &t));
    return t;
}

START_TEST(one_call) {
    const golden_setup *setup = &setups[_i];
    const sd_vae_params *how = VAE(.tiny = setup->taesd != NULL);
    golden g;
    if (!golden_open(setup, &g))
        return;
    for (int i = 0; i < N_SIZES; i++) {
        int64_t h = sizes[i][0], w = sizes[i][1];
        sd_tensor *latent = noise(&g, LATENT_SEED, 4, h, w), *got;
        sd_tensor *pixels = noise(&g, PIXEL_SEED, 3, 8 * h, 8 * w);
        char name[32];
        snprintf(name, sizeof(name), "taesd-decode-%dx%d", (int)h, (int)w);
        must(sd_vae_decode(g.model, latent, how, &got));
        golden_check(setup->name, name, got, LIMIT);
        snprintf(name, sizeof(name), "taesd-encode-%dx%d", (int)h, (int)w);
        must(sd_vae_encode(g.model, pixels, how, &got));
        golden_check(setup->name, name, got, LIMIT);
        sd_tensor_free(latent);
        sd_tensor_free(pixels);
    }
    golden_close(&g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {{one_call, 0, N_SETUPS}};
    return golden_main("taesd", tests, sizeof(tests) / sizeof(*tests));
}
