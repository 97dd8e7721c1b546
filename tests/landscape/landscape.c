/* Paints with models/landscape and measures the pictures. */
#include "landscape.h"

#include "../tools/suite.h"

#include <stdlib.h>

sd_context *ctx;
sd_model *model;

const char *from_environment(const char *name) {
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "%s is not set; run the tests with meson test\n", name);
        exit(99);
    }
    return value;
}

void open_landscape(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    ck_ok(sd_context_new(&params, &ctx));
    ck_ok(sd_model_load(ctx, from_environment("SD_LANDSCAPE"), NULL, &model));
}

void close_landscape(void) {
    sd_model_free(model);
    sd_context_free(ctx);
}

sd_sampler_params sampling(int n, float guidance) {
    sd_sampler_params s = SD_SAMPLER_PARAMS_INIT;
    s.steps = STEPS;
    s.guidance_scale = guidance;
    s.batch = n;
    s.seed = 1;
    return s;
}

pictures paint(const char *prompt, const char *negative, int n, float guidance) {
    pictures p = {.n = n};
    sd_sampler_params s = sampling(n, guidance);
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.prompt = prompt;
    t.negative_prompt = negative;
    t.sampling = &s;
    ck_ok(sd_generate(model, &t, p.image, n));
    return p;
}

void free_pictures(pictures *p) {
    for (int i = 0; i < p->n; i++)
        sd_image_free(p->image[i]);
    p->n = 0;
}

double brightness(const pictures *p) {
    double sum = 0.0;
    size_t n = 0;
    for (int i = 0; i < p->n; i++) {
        const uint8_t *c = sd_image_pixels(p->image[i]);
        size_t size = (size_t)sd_image_width(p->image[i]) * (size_t)sd_image_height(p->image[i]);
        for (size_t k = 0; k < size; k++)
            sum += 0.2126 * c[3 * k] + 0.7152 * c[3 * k + 1] + 0.0722 * c[3 * k + 2];
        n += size;
    }
    return sum / (double)n;
}

blob red_blob(const sd_image *image) {
    blob b = {0};
    int w = sd_image_width(image), h = sd_image_height(image);
    const uint8_t *c = sd_image_pixels((sd_image *)image);
    for (int y = 0; y < h * 6 / 10; y++)
        for (int x = 0; x < w; x++) {
            const uint8_t *p = c + 3 * ((size_t)y * (size_t)w + (size_t)x);
            if (p[0] < 170 || p[1] > 80 || p[2] > 80)
                continue;
            b.n++;
            b.x += (x + 0.5) / w;
            b.y += (y + 0.5) / h;
        }
    if (b.n) {
        b.x /= b.n;
        b.y /= b.n;
    }
    return b;
}

int run_tests(const char *name, const TTest *const *tests, int n) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    tcase_add_unchecked_fixture(tcase, open_landscape, close_landscape);
    for (int i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    tcase_set_timeout(tcase, 0);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_NOFORK);
}
