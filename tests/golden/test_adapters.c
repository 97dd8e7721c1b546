/* Adapters against PEFT and LyCORIS (tests/tools/make_adapter_golden.py). */
#include "../support/params.h"
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 1e-5
#define COLUMNS 16 /* every 16th column of an embedding is in the fixtures */

/* In float32, as the fixtures are; seed 2. */
static const golden_setup setups[] = {
    {"reference", "reference", 0, "SD_TINY_F32", SD_EMA_AUTO, NULL},
    {"cpu", "cpu", 0, "SD_TINY_F32", SD_EMA_AUTO, NULL},
};
#define N_SETUPS ((int)(sizeof setups / sizeof setups[0]))

static const char *adapter_path(char path[4096], const char *name) {
    snprintf(path, 4096, "%s/adapters/%s", getenv("SD_GOLDEN_DATA"), name);
    return path;
}

/* The model of a setup with adapters from files, each of a strength. */
static sd_status load_with(const golden *g, const golden_setup *setup, const char *const *names,
                           double strength, int n, sd_model **out) {
    char paths[4][4096], vocab[4096];
    sd_adapter_use use[4];
    const sd_adapter_use *uses[4];
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    params.adapters = uses;
    snprintf(vocab, sizeof vocab, "%s/tokenizer", getenv("SD_TINY_FOLDER"));
    for (int i = 0; i < n; i++) {
        use[i] = (sd_adapter_use)SD_ADAPTER_USE_INIT;
        use[i].path = adapter_path(paths[i], names[i]);
        use[i].unet_strength = use[i].text_strength = strength;
        uses[i] = &use[i];
    }
    params.vocab = vocab;
    params.precision = SD_PRECISION_FULL;
    params.n_adapters = n;
    return sd_model_load(g->ctx, getenv(setup->model), &params, out);
}

/* One call of the UNet on the corner of the fixture's latent. */
static sd_tensor *call_unet(const golden *g, const sd_model *model) {
    const int64_t dims[4] = {1, 4, 8, 8};
    const double t = 500;
    float corner[4 * 8 * 8];
    npy all = golden_array("unet-in"); /* [2, 4, 16, 24] */
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < 8; i++)
            memcpy(corner + (c * 8 + i) * 8, all.f32 + (c * 16 + i) * 24, 8 * sizeof(float));
    npy_free(&all);
    sd_tensor *x, *y;
    sd_cond *cond = golden_cond(g, "text", 1, 1);
    must(sd_tensor_new(g->ctx, 4, dims, corner, &x));
    must(sd_unet_predict(model, x, &t, cond, &y));
    sd_tensor_free(x);
    sd_cond_free(cond);
    return y;
}

static sd_tensor *call_text(const golden *g, sd_model *model) {
    const int64_t dims[3] = {1, 77, 128 / COLUMNS};
    sd_tensor *all, *some;
    must(encode_context(model, golden_prompts + 1, 1, NULL, &all));
    must(sd_tensor_new(g->ctx, 3, dims, NULL, &some));
    for (int64_t i = 0; i < 77 * dims[2]; i++)
        sd_tensor_data_mut(some)[i] = sd_tensor_data(all)[i * COLUMNS];
    sd_tensor_free(all);
    return some;
}

static const struct {
    const char *file, *fixture;
    int text;
    const char *kind;
} files[] = {
    {"lora-tucker.safetensors", "lora-tucker", 0, "LoRA"},
    {"loha.safetensors", "loha", 0, "LoHa"},
    {"lokr.safetensors", "lokr", 0, "LoKr"},
    {"dora-out.safetensors", "dora-out", 0, "several kinds + DoRA"},
    {"dora-in.safetensors", "dora-in", 0, "LoRA + DoRA"},
    {"dora-peft.safetensors", "dora-peft", 0, "LoRA + DoRA"},
    {"full.safetensors", "full", 0, "full difference"},
    {"lora-peft.safetensors", "lora", 1, "LoRA"},
    {"lora-kohya.safetensors", "lora", 1, "LoRA"},
    {"lora-diffusers.safetensors", "lora", 1, "LoRA"},
    {"peft", "peft/lora", 0, "LoRA"},
};
#define N_FILES ((int)(sizeof files / sizeof files[0]))

static void check_file(const golden *g, const golden_setup *setup, int i) {
    char fixture[64];
    sd_model *model;
    sd_model_info info = SD_MODEL_INFO_INIT;
    must(load_with(g, setup, &files[i].file, 1, 1, &model));
    snprintf(fixture, sizeof fixture, "adapters/%s-unet", files[i].fixture);
    golden_check(setup->name, fixture, call_unet(g, model), LIMIT);
    snprintf(fixture, sizeof fixture, "adapters/%s-text", files[i].fixture);
    if (files[i].text)
        golden_check(setup->name, fixture, call_text(g, model), LIMIT);
    must(sd_model_get_info(model, &info));
    ck_assert_int_eq(info.n_adapters, 1);
    ck_assert_int_eq(info.n_unmatched, 0);
    sd_model_free(model);
}

START_TEST(kinds) {
    golden g;
    if (!golden_open(&setups[_i], &g))
        return;
    for (int i = 0; i < N_FILES; i++)
        check_file(&g, &setups[_i], i);
    golden_close(&g);
}
END_TEST

static void check_same(sd_tensor *a, sd_tensor *b) {
    size_t size = (size_t)sd_tensor_n_elements(a) * sizeof(float);
    ck_assert_int_eq(memcmp(sd_tensor_data(a), sd_tensor_data(b), size), 0);
    sd_tensor_free(a);
    sd_tensor_free(b);
}

/* The same numbers in each naming are the same bits, and a strength of 0 is none. */
START_TEST(namings) {
    static const char *const names[] = {"lora-peft.safetensors", "lora-kohya.safetensors",
                                        "lora-diffusers.safetensors"};
    golden g;
    sd_model *model, *other;
    ck_assert(golden_open(&golden_setups[1], &g));
    must(load_with(&g, &golden_setups[1], names, 1, 1, &model));
    for (int i = 1; i < 3; i++) {
        must(load_with(&g, &golden_setups[1], names + i, 1, 1, &other));
        check_same(call_unet(&g, model), call_unet(&g, other));
        check_same(call_text(&g, model), call_text(&g, other));
        sd_model_free(other);
    }
    must(load_with(&g, &golden_setups[1], names, 0, 1, &other));
    check_same(call_unet(&g, g.model), call_unet(&g, other));
    sd_model_free(other);
    sd_model_free(model);
    golden_close(&g);
}
END_TEST

/* Twice half of one is the whole; each on its own is what both are with the other at 0. */
START_TEST(several) {
    static const char *const twice[] = {"lora-peft.safetensors", "lora-kohya.safetensors"};
    golden g;
    sd_model *model;
    ck_assert(golden_open(&setups[1], &g));
    must(load_with(&g, &setups[1], twice, 0.5, 2, &model));
    golden_check("two halves", "adapters/lora-unet", call_unet(&g, model), LIMIT);
    golden_check("two halves", "adapters/lora-text", call_text(&g, model), LIMIT);
    sd_model_free(model);
    golden_close(&g);
}
END_TEST

/* A model that is adapted is what loading with the adapter gives, and the base stays as it is. */
START_TEST(adapted) {
    static const char *const names[] = {"lora-peft.safetensors", "loha.safetensors"};
    char path[4096], other_path[4096];
    golden g;
    sd_model *want, *model, *both;
    sd_adapter_use use = SD_ADAPTER_USE_INIT, more = SD_ADAPTER_USE_INIT;
    const sd_adapter_use *uses[] = {&use}, *next[] = {&more};
    sd_adapter *adapter;
    sd_model_info info = SD_MODEL_INFO_INIT;
    ck_assert(golden_open(&setups[1], &g));
    sd_model_free(g.model);
    must(load_with(&g, &setups[1], NULL, 1, 0, &g.model));
    sd_tensor *before = call_unet(&g, g.model), *text = call_text(&g, g.model);
    must(sd_adapter_load(g.ctx, adapter_path(path, names[0]), NULL, &adapter));
    use.adapter = adapter;
    must(sd_model_adapt(g.model, uses, 1, &model));
    sd_adapter_free(adapter);
    must(load_with(&g, &setups[1], names, 1, 1, &want));
    check_same(call_unet(&g, want), call_unet(&g, model));
    check_same(call_text(&g, want), call_text(&g, model));
    check_same(before, call_unet(&g, g.model));
    more.path = adapter_path(other_path, names[1]);
    must(sd_model_adapt(model, next, 1, &both));
    sd_model_free(want);
    sd_model_free(model);
    must(load_with(&g, &setups[1], names, 1, 2, &want));
    check_same(call_unet(&g, want), call_unet(&g, both));
    check_same(call_text(&g, want), call_text(&g, both));
    must(sd_model_get_info(both, &info));
    ck_assert_int_eq(info.n_adapters, 2);
    sd_model_free(both);
    sd_model_free(want);
    check_same(text, call_text(&g, g.model));
    golden_close(&g);
}
END_TEST

/* What SDXL makes of a text, and its UNet of that: with an adapter, which may be NULL. */
static sd_tensor *call_xl(const golden *g, const char *suffix, const char *adapter,
                          sd_tensor **context) {
    static const char *const texts[] = {"a red boat on a lake"};
    const int64_t dims[4] = {1, 4, 16, 16};
    const double t = 500;
    char path[4096], vocab[4096], file[4096];
    sd_adapter_use use = SD_ADAPTER_USE_INIT;
    const sd_adapter_use *uses[] = {&use};
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    sd_model_info info = SD_MODEL_INFO_INIT;
    sd_model *model;
    sd_cond *cond;
    sd_tensor *x, *y;
    snprintf(path, sizeof path, "%s/tiny-xl%s", getenv("SD_XL_MODELS"), suffix);
    snprintf(vocab, sizeof vocab, "%s/tokenizer", getenv("SD_TINY_FOLDER"));
    params.vocab = *suffix ? vocab : NULL;
    params.precision = SD_PRECISION_FULL;
    use.path = adapter ? adapter_path(file, adapter) : NULL;
    params.adapters = uses;
    params.n_adapters = adapter != NULL;
    must(sd_model_load(g->ctx, path, &params, &model));
    must(sd_model_get_info(model, &info));
    ck_assert_int_eq(info.n_unmatched, 0);
    must(sd_encode_text(model, texts, 1, NULL, &cond));
    must(sd_cond_get(cond, "context", context));
    must(sd_randn(g->ctx, SD_RNG_CPU, 1, 4, dims, &x));
    must(sd_unet_predict(model, x, &t, cond, &y));
    sd_tensor_free(x);
    sd_cond_free(cond);
    sd_model_free(model);
    return y;
}

static bool are_equal(const sd_tensor *a, const sd_tensor *b) {
    size_t size = (size_t)sd_tensor_n_elements(a) * sizeof(float);
    return memcmp(sd_tensor_data(a), sd_tensor_data(b), size) == 0;
}

/* Both namings, in a folder and in a single file, whose second text encoder has OpenCLIP's in_proj:
 * all the same bits, and other ones than without. */
START_TEST(xl) {
    static const struct {
        const char *suffix, *adapter;
    } rows[] = {{"", "xl-peft.safetensors"},
                {"", "xl-kohya.safetensors"},
                {".safetensors", "xl-peft.safetensors"},
                {".safetensors", "xl-kohya.safetensors"},
                {"", NULL}};
    golden g;
    sd_tensor *text[5], *unet[5];
    ck_assert(golden_open(&setups[1], &g));
    for (int i = 0; i < 5; i++)
        unet[i] = call_xl(&g, rows[i].suffix, rows[i].adapter, &text[i]);
    for (int i = 1; i < 5; i++) {
        ck_assert_int_eq(are_equal(text[0], text[i]), i < 4);
        ck_assert_int_eq(are_equal(unet[0], unet[i]), i < 4);
    }
    for (int i = 0; i < 5; i++) {
        sd_tensor_free(text[i]);
        sd_tensor_free(unet[i]);
    }
    golden_close(&g);
}
END_TEST

START_TEST(told) {
    char path[4096];
    golden g;
    sd_adapter *adapter;
    ck_assert(golden_open(&setups[1], &g));
    for (int i = 0; i < N_FILES; i++) {
        sd_adapter_info info = SD_ADAPTER_INFO_INIT;
        must(sd_adapter_load(g.ctx, adapter_path(path, files[i].file), NULL, &adapter));
        must(sd_adapter_get_info(adapter, &info));
        ck_assert_str_eq(info.kind, files[i].kind);
        ck_assert_int_eq(info.n_unknown, 0);
        if (!strcmp(files[i].file, "lora-kohya.safetensors")) {
            ck_assert_str_eq(info.title, "Golden");
            ck_assert_str_eq(info.base_model, "tiny");
            ck_assert_str_eq(info.trigger_words, "golden style");
            ck_assert_int_eq(info.n_unet, 5);
            ck_assert_int_eq(info.n_text, 3);
            ck_assert_int_eq(info.max_rank, 2);
            ck_assert_double_eq(info.alpha, 4);
        }
        sd_adapter_free(adapter);
    }
    golden_close(&g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {{kinds, 0, N_SETUPS}, {namings, 0, 1}, {several, 0, 1},
                                 {adapted, 0, 1},      {xl, 0, 1},      {told, 0, 1}};
    return golden_main("golden adapters", tests, sizeof(tests) / sizeof(tests[0]));
}
