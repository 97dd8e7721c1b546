/* The LoRA beside models/landscape, which other tools trained: does it change pictures as it was
 * taught to, white lines on blue paper, and those alone that are painted with it? */
#include "landscape.h"

static const char prompt[] =
    "a fantasy landscape with snowy mountains and a red sun over a lake at dusk, blueprint";

/* The colours of paper and lines that train_lora.py drew with, 0 .. 255. */
static const double paper[3] = {18, 56, 128}, line[3] = {237, 245, 255};

/* Whether a colour is a mixture of paper and line, but for 40 of 255 levels; tones of the paper are
 * a little darker than it too. */
static int is_blueprint(const uint8_t *c) {
    double along = 0.0, square = 0.0;
    for (int i = 0; i < 3; i++) {
        along += (c[i] - paper[i]) * (line[i] - paper[i]);
        square += (line[i] - paper[i]) * (line[i] - paper[i]);
    }
    double t = along / square;
    t = t < -0.15 ? -0.15 : t > 1.0 ? 1.0 : t;
    for (int i = 0; i < 3; i++) {
        double far = c[i] - (paper[i] + t * (line[i] - paper[i]));
        if (far > 40.0 || far < -40.0)
            return 0;
    }
    return 1;
}

static double blueprint_share(const pictures *p) {
    size_t n = 0, all = 0;
    for (int i = 0; i < p->n; i++) {
        const uint8_t *c = sd_image_pixels(p->image[i]);
        size_t size = (size_t)sd_image_width(p->image[i]) * (size_t)sd_image_height(p->image[i]);
        for (size_t k = 0; k < size; k++)
            n += (size_t)is_blueprint(c + 3 * k);
        all += size;
    }
    return (double)n / (double)all;
}

/* Paints with `m` in place of the model that the tests share. */
static pictures paint_with(sd_model *m) {
    sd_model *base = model;
    model = m;
    pictures p = paint(prompt, NULL, 1, 5.0f);
    model = base;
    return p;
}

static void ck_same(const pictures *a, const pictures *b) {
    for (int i = 0; i < a->n; i++) {
        size_t size =
            3 * (size_t)sd_image_width(a->image[i]) * (size_t)sd_image_height(a->image[i]);
        ck_assert_mem_eq(sd_image_pixels(a->image[i]), sd_image_pixels(b->image[i]), size);
    }
}

static sd_adapter_use use_of(double strength) {
    sd_adapter_use use = SD_ADAPTER_USE_INIT;
    use.path = from_environment("SD_LANDSCAPE_ADAPTER");
    use.unet_strength = strength;
    return use;
}

START_TEST(paints_blueprints) {
    const sd_adapter_use use = use_of(1.0), *const uses[] = {&use};
    sd_model *adapted;
    pictures before = paint_with(model);
    ck_ok(sd_model_adapt(model, uses, 1, &adapted));
    pictures with = paint_with(adapted), between = paint_with(model);
    sd_model_free(adapted);
    pictures after = paint_with(model);
    printf("blueprint: %.3f of the pixels without the adapter, %.3f with it\n",
           blueprint_share(&before), blueprint_share(&with));
    ck_assert(blueprint_share(&before) < 0.2);
    ck_assert(blueprint_share(&with) > 0.9);
    ck_same(&before, &between);
    ck_same(&before, &after);
    free_pictures(&before), free_pictures(&with), free_pictures(&between), free_pictures(&after);
}
END_TEST

START_TEST(paints_the_same_when_loaded_with_it) {
    const sd_adapter_use use = use_of(0.7), *const uses[] = {&use};
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    sd_model *adapted, *loaded;
    params.adapters = uses;
    params.n_adapters = 1;
    ck_ok(sd_model_adapt(model, uses, 1, &adapted));
    ck_ok(sd_model_load(ctx, from_environment("SD_LANDSCAPE"), &params, &loaded));
    pictures a = paint_with(adapted), b = paint_with(loaded);
    ck_same(&a, &b);
    free_pictures(&a), free_pictures(&b);
    sd_model_free(adapted);
    sd_model_free(loaded);
}
END_TEST

START_TEST(strength_0_changes_nothing) {
    const sd_adapter_use use = use_of(0.0), *const uses[] = {&use};
    sd_model *adapted;
    ck_ok(sd_model_adapt(model, uses, 1, &adapted));
    pictures a = paint_with(model), b = paint_with(adapted);
    ck_same(&a, &b);
    free_pictures(&a), free_pictures(&b);
    sd_model_free(adapted);
}
END_TEST

int main(void) {
    const TTest *const tests[] = {paints_blueprints, paints_the_same_when_loaded_with_it,
                                  strength_0_changes_nothing};
    return run_tests("landscape-adapter", tests, (int)(sizeof tests / sizeof *tests));
}
