/* The weighted prompt syntax, long prompts and clip_skip (tests/tools/make_prompt_golden.py). */
#include "../support/image.h"
#include "../support/params.h"
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 1e-5
#define LATENT_LIMIT 1e-4
#define COLUMNS 16 /* every 16th column is in the fixtures */
#define STEPS 5

#define CASTLE "oil painting of a (castle:1.2) by the lake at sunset"
#define N_TEXTS 4
static const char *const prompts[N_TEXTS] = {
    "a (photograph:1.3) of [an astronaut] riding a ((horse)), [blurry\\:0.5]",
    CASTLE ", " CASTLE ", " CASTLE ", " CASTLE ", " CASTLE ", " CASTLE ", " CASTLE,
    "a castle BREAK by the (lake:0.5) at sunset, \\(detailed\\) BREAK",
    "",
};

static sd_tensor *encode(golden *g, const char *const *texts, int n, int weighted, int clip_skip) {
    sd_text_params params = SD_TEXT_PARAMS_INIT;
    sd_tensor *out;
    params.weighted = weighted;
    params.clip_skip = clip_skip;
    must(encode_context(g->model, texts, n, &params, &out));
    return out;
}

/* Compares the columns that the fixture has. */
static void check_columns(const golden *g, const char *setup, const char *fixture, sd_tensor *got) {
    int64_t dims[3], width = sd_tensor_dims(got)[2], rows = sd_tensor_n_elements(got) / width;
    memcpy(dims, sd_tensor_dims(got), sizeof dims);
    dims[2] = width / COLUMNS;
    sd_tensor *some;
    must(sd_tensor_new(g->ctx, 3, dims, NULL, &some));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < dims[2]; j++)
            sd_tensor_data_mut(some)[i * dims[2] + j] =
                sd_tensor_data(got)[i * width + j * COLUMNS];
    golden_check(setup, fixture, some, LIMIT);
}

START_TEST(text) {
    const golden_setup *setup = &golden_setups[_i];
    golden g;
    if (!golden_open(setup, &g))
        return;
    sd_tensor *all = encode(&g, prompts, N_TEXTS, 1, 0);
    check_columns(&g, setup->name, "prompt-text", all);
    sd_tensor *skipped = encode(&g, prompts, 1, 1, 2);
    check_columns(&g, setup->name, "prompt-skip", skipped);
    /* A prompt alone is what it is in company, but for the empty chunks that fill it up. */
    sd_tensor *alone = encode(&g, prompts, 1, 1, 1);
    size_t n = (size_t)sd_tensor_n_elements(alone);
    ck_assert_int_eq(sd_tensor_dims(alone)[1], 77);
    ck_assert_int_eq(sd_tensor_dims(all)[1], 154);
    ck_assert(check_error("alone", sd_tensor_data(alone), sd_tensor_data(all), n, 1e-6));
    sd_tensor_free(all);
    sd_tensor_free(skipped);
    sd_tensor_free(alone);
    golden_close(&g);
}
END_TEST

/* Off by default: brackets are text. */
START_TEST(plain) {
    golden g;
    sd_tensor *want;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    must(encode_context(g.model, prompts, N_TEXTS, NULL, &want));
    sd_tensor *got = encode(&g, prompts, N_TEXTS, 0, 0);
    size_t n = (size_t)sd_tensor_n_elements(want) * sizeof(float);
    ck_assert_int_eq(sd_tensor_dims(want)[1], 77);
    ck_assert_mem_eq(sd_tensor_data(got), sd_tensor_data(want), n);
    sd_tensor_free(got);
    got = encode(&g, prompts, N_TEXTS, 1, 0);
    ck_assert_mem_ne(sd_tensor_data(got), sd_tensor_data(want), n / N_TEXTS);
    sd_tensor_free(got);
    sd_tensor_free(want);
    golden_close(&g);
}
END_TEST

static sd_sampler_params short_run(void) {
    sd_sampler_params p = golden_params(1);
    p.steps = STEPS;
    return p;
}

START_TEST(sampling) {
    const golden_setup *setup = &golden_setups[_i];
    const char *const texts[] = {prompts[1], prompts[3]};
    golden g;
    sd_sampler *sampler;
    sd_text_params weighted = SD_TEXT_PARAMS_INIT;
    sd_cond *both, *cond, *uncond;
    sd_tensor *latent, *pixels;
    sd_image *staged, *image;
    if (!golden_open(setup, &g))
        return;
    weighted.weighted = 1;
    must(sd_encode_text(g.model, texts, 2, &weighted, &both));
    must(sd_cond_rows(both, 0, 1, &cond));
    must(sd_cond_rows(both, 1, 1, &uncond));
    sd_sampler_params p = short_run();
    must(sd_sampler_new(g.model, &p, &sampler));
    must(sd_sample(sampler, RUN(cond, uncond, NULL, NULL), &latent));
    sd_sampler_free(sampler);
    must(sd_vae_decode(g.model, latent, NULL, &pixels));
    must(sd_image_from_tensor(pixels, 0, &staged));
    golden_check(setup->name, "prompt-ddim", latent, LATENT_LIMIT);

    /* The picture in one call. */
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.prompt = texts[0];
    t.negative_prompt = texts[1];
    t.text = TEXT(.weighted = 1);
    t.sampling = &p;
    must(sd_generate(g.model, &t, &image, 1));
    ck_assert_mem_eq(sd_image_pixels(image), sd_image_pixels(staged), 128 * 128 * 3);
    sd_image_free(image);
    sd_image_free(staged);
    sd_tensor_free(pixels);
    sd_cond_free(both);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    golden_close(&g);
}
END_TEST

/* Image to image reads both fields too: a weighted prompt, and another picture with clip_skip. */
START_TEST(img2img) {
    golden g;
    sd_image *init, *images[3];
    if (!golden_open(&golden_setups[_i], &g))
        return;
    must(new_image(g.ctx, 64, 64, 3, NULL, &init));
    sd_sampler_params p = short_run();
    p.width = p.height = 0;
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.prompt = prompts[1];
    t.init = init;
    t.sampling = &p;
    for (int i = 0; i < 3; i++) {
        t.text = TEXT(.weighted = i > 0, .clip_skip = i > 1 ? 2 : 0);
        must(sd_generate(g.model, &t, &images[i], 1));
    }
    ck_assert_mem_ne(sd_image_pixels(images[0]), sd_image_pixels(images[1]), 64 * 64 * 3);
    ck_assert_mem_ne(sd_image_pixels(images[1]), sd_image_pixels(images[2]), 64 * 64 * 3);
    for (int i = 0; i < 3; i++)
        sd_image_free(images[i]);
    sd_image_free(init);
    golden_close(&g);
}
END_TEST

static const char *const word_prompts[] = {
    "a photograph of a cat by the lake in golden-style, a cat",
    "a (photograph:1.2) of a (cat in golden-style:0.8), a [cat] BREAK golden-style",
    ("1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 "
     "1 "
     "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 golden-style 2"),
};

static void check_words(golden *g, const char *setup, const char *fixture, int n, int weighted) {
    sd_tensor *got = encode(g, word_prompts, n, weighted, 0);
    check_columns(g, setup, fixture, got);
    sd_tensor_free(got);
}

/* Loads the model of a setup once more with adapters; the status is the call's. */
static sd_status load_words(golden *g, const golden_setup *setup, const char *const *paths,
                            const char *const *names, int n, sd_model **out) {
    char vocab[4096];
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    snprintf(vocab, sizeof(vocab), "%s/tokenizer", getenv("SD_TINY_FOLDER"));
    params.vocab = vocab;
    params.precision = SD_PRECISION_FULL;
    sd_adapter_use use[64];
    const sd_adapter_use *uses[64];
    for (int i = 0; i < 64; i++) {
        use[i] = (sd_adapter_use)SD_ADAPTER_USE_INIT;
        use[i].path = i < n ? paths[i] : NULL;
        use[i].word = i < n && names ? names[i] : NULL;
        uses[i] = &use[i];
    }
    params.adapters = uses;
    params.n_adapters = n;
    return sd_model_load(g->ctx, getenv(setup->model), &params, out);
}

static const char *data_path(char path[4096], const char *name) {
    snprintf(path, 4096, "%s/%s", getenv("SD_GOLDEN_DATA"), name);
    return path;
}

/* Textual inversion: two rows from a file of the web UIs, one, in float16, from one of diffusers,
 * and one from an older file of the web UIs. */
START_TEST(words) {
    const golden_setup *setup = &golden_setups[_i];
    char paths[3][4096];
    const char *const files[] = {data_path(paths[0], "golden-style.safetensors"),
                                 data_path(paths[1], "cat.safetensors"),
                                 data_path(paths[2], "lake.pt")};
    golden g;
    if (!golden_open(setup, &g))
        return;
    sd_model_free(g.model);
    must(load_words(&g, setup, files, NULL, 3, &g.model));
    check_words(&g, setup->name, "prompt-words", 3, 1);
    check_words(&g, setup->name, "prompt-words-plain", 1, 1);
    check_words(&g, setup->name, "prompt-words-plain", 1, 0);
    sd_tensor *want = golden_tensor(&g, "text", 1, 1); /* no word in it: as before */
    sd_tensor *same = encode(&g, golden_prompts + 1, 1, 0, 0);
    size_t n = (size_t)sd_tensor_n_elements(want);
    ck_assert(check_error("no word", sd_tensor_data(same), sd_tensor_data(want), n, LIMIT));
    sd_tensor_free(want);
    sd_tensor_free(same);
    golden_close(&g);
}
END_TEST

/* Words of other names than the files'. */
START_TEST(named_words) {
    char path[4096], lake[4096];
    const char *const files[] = {data_path(path, "cat.safetensors"), data_path(lake, "lake.pt")};
    const char *const names[] = {"dog", NULL}, *const twice[] = {"lake", NULL};
    const char *const texts[] = {"a cat by a lake", "a dog by a lake"};
    const golden_setup *setup = &golden_setups[1];
    golden g;
    sd_model *other;
    ck_assert(golden_open(setup, &g));
    sd_model_free(g.model);
    must(load_words(&g, setup, files, NULL, 2, &g.model));
    sd_tensor *want = encode(&g, texts, 1, 0, 0);
    sd_model_free(g.model);
    must(load_words(&g, setup, files, names, 2, &g.model));
    sd_tensor *got = encode(&g, texts + 1, 1, 0, 0), *cat = encode(&g, texts, 1, 0, 0);
    size_t size = (size_t)sd_tensor_n_elements(want) * sizeof(float);
    ck_assert_int_eq(memcmp(sd_tensor_data(got), sd_tensor_data(want), size), 0);
    ck_assert_int_ne(memcmp(sd_tensor_data(cat), sd_tensor_data(want), size), 0);
    sd_status status = load_words(&g, setup, files, twice, 2, &other);
    ck_assert_int_eq(status, SD_ERROR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "same word"));
    sd_tensor_free(want);
    sd_tensor_free(got);
    sd_tensor_free(cat);
    golden_close(&g);
}
END_TEST

static void refused(sd_status status, const char *word) {
    const char *sentence = sd_last_error();
    printf("%s\n", sentence);
    ck_assert_int_eq(status, SD_ERROR_ARGUMENT);
    ck_assert_msg(strstr(sentence, word) != NULL, "\"%s\" does not say %s", sentence, word);
}

/* Any number of them. */
START_TEST(many_words) {
    char path[4096], names[64][16];
    const char *files[64], *called[64];
    const golden_setup *setup = &golden_setups[1];
    const char *const one[] = {"a cat by a lake"}, *const last[] = {"a word 63 by a lake"};
    golden g;
    ck_assert(golden_open(setup, &g));
    for (int i = 0; i < 64; i++) {
        snprintf(names[i], sizeof names[i], "word %d", i);
        files[i] = data_path(path, "cat.safetensors");
        called[i] = names[i];
    }
    sd_model_free(g.model);
    must(load_words(&g, setup, files, NULL, 1, &g.model));
    sd_tensor *want = encode(&g, one, 1, 1, 0);
    sd_model_free(g.model);
    must(load_words(&g, setup, files, called, 64, &g.model));
    sd_tensor *got = encode(&g, last, 1, 1, 0);
    size_t size = (size_t)sd_tensor_n_elements(want) * sizeof(float);
    ck_assert_int_eq(memcmp(sd_tensor_data(got), sd_tensor_data(want), size), 0);
    sd_tensor_free(want);
    sd_tensor_free(got);
    golden_close(&g);
}
END_TEST

START_TEST(bad_words) {
    const golden_setup *setup = &golden_setups[_i];
    char path[4096], *model_file = getenv("SD_TINY_FILE");
    const char *files[64] = {data_path(path, "cat.safetensors")};
    const struct {
        const char *file;
        int n;
        sd_status status;
        const char *word;
    } table[] = {
        {files[0], 2, SD_ERROR_ARGUMENT, "same word"},
        {files[0], -1, SD_ERROR_ARGUMENT, "n_adapters"},
        {NULL, 1, SD_ERROR_ARGUMENT, "sd_adapter_use.path"},
        {"/no/such.safetensors", 1, SD_ERROR_IO, "such"},
        {model_file, 1, SD_ERROR_MODEL, "emb_params"},
    };
    golden g;
    sd_model *model;
    if (!golden_open(setup, &g))
        return;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        for (int k = 0; k < 64; k++)
            files[k] = table[i].file;
        sd_status status = load_words(&g, setup, files, NULL, table[i].n, &model);
        printf("%s\n", sd_last_error());
        ck_assert_int_eq(status, table[i].status);
        ck_assert_ptr_null(model);
        ck_assert_ptr_nonnull(strstr(sd_last_error(), table[i].word));
    }
    golden_close(&g);
}
END_TEST

/* What textual inversion does not know is refused, and so are structs of no size. */
START_TEST(adapter_uses) {
    sd_adapter_use use = SD_ADAPTER_USE_INIT, *uses[] = {&use};
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    const char *folder = getenv("SD_TINY_FOLDER");
    char path[4096];
    golden g;
    sd_model *model;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    params.n_adapters = 1;
    refused(sd_model_load(g.ctx, folder, &params, &model), "adapters is NULL");
    params.adapters = (const sd_adapter_use *const *)uses;
    use.path = data_path(path, "cat.safetensors");
    use.unet_strength = 0.5;
    ck_assert_int_eq(sd_model_load(g.ctx, folder, &params, &model), SD_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "cat.safetensors: its strengths are 0.5 and 1"));
    use.unet_strength = 1;
    use.text_strength = 0;
    ck_assert_int_eq(sd_model_load(g.ctx, folder, &params, &model), SD_ERROR_UNSUPPORTED);
    use.struct_size = 1;
    refused(sd_model_load(g.ctx, folder, &params, &model), "sd_adapter_use.struct_size");
    uses[0] = NULL;
    refused(sd_model_load(g.ctx, folder, &params, &model), "adapters[0] is NULL");
    ck_assert_ptr_null(model);
    golden_close(&g);
}
END_TEST

START_TEST(arguments) {
    golden g;
    sd_cond *out;
    sd_image *image;
    if (!golden_open(&golden_setups[_i], &g))
        return;
    sd_text_params params = SD_TEXT_PARAMS_INIT;
    params.clip_skip = 4; /* of 3 layers */
    refused(sd_encode_text(g.model, prompts, 1, &params, &out), "clip_skip");
    ck_assert_ptr_null(out);
    params.clip_skip = -1;
    refused(sd_encode_text(g.model, prompts, 1, &params, &out), "clip_skip");
    params.clip_skip = 3;
    must(sd_encode_text(g.model, prompts, 1, &params, &out));
    sd_cond_free(out);
    params.struct_size = 3;
    refused(sd_encode_text(g.model, prompts, 1, &params, &out), "struct_size");
    refused(sd_encode_text(g.model, NULL, 1, NULL, &out), "texts");
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.text = TEXT(.clip_skip = 4);
    refused(sd_generate(g.model, &t, &image, 1), "clip_skip");
    golden_close(&g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {{text, 0, n_golden_setups},
                                 {plain, 1, 2},
                                 {sampling, 1, n_golden_setups},
                                 {img2img, 1, 2},
                                 {words, 0, n_golden_setups},
                                 {named_words, 0, 1},
                                 {many_words, 0, 1},
                                 {bad_words, 1, 2},
                                 {adapter_uses, 1, 2},
                                 {arguments, 1, 2}};
    return golden_main("golden prompts", tests, sizeof(tests) / sizeof(tests[0]));
}
