/* Loading, the stages one by one, and sampling, on the tiny model. */
#include "../support/cond.h"
#include "../support/image.h"
#include "../support/params.h"
#include "api.h"

static sd_context *ctx;
static sd_model *model;

static void setup(void) {
    ctx = open_context(2);
    model = open_model(ctx);
}

static void teardown(void) {
    sd_model_free(model);
    sd_context_free(ctx);
}

static sd_cond *encode(const char *text) {
    sd_cond *cond;
    ck_ok(sd_encode_text(model, &text, 1, NULL, &cond));
    return cond;
}

START_TEST(info_tells_what_was_loaded) {
    sd_model_info info = SD_MODEL_INFO_INIT;
    ck_ok(sd_model_get_info(model, &info));
    ck_assert_str_eq(info.layout, "diffusers");
    ck_assert_int_gt(info.n_parameters, 10000);
    ck_assert_int_eq(info.latent_channels, 4);
    ck_assert_int_eq(info.latent_downscale, 8);
    ck_assert_int_eq(info.n_unexpected, 0);
    ck_assert_int_eq(info.has_vocabulary, 1);
    /* an old, shorter struct gets no byte beyond its end */
    sd_model_info old = SD_MODEL_INFO_INIT;
    old.struct_size = offsetof(sd_model_info, n_parameters);
    ck_ok(sd_model_get_info(model, &old));
    ck_assert_int_eq(old.n_parameters, 0);
    ck_assert_str_eq(old.family, info.family);
    /* and what a newer one has beyond is 0 */
    struct {
        sd_model_info known;
        int64_t more;
    } newer = {SD_MODEL_INFO_INIT, -1};
    newer.known.struct_size = sizeof newer;
    ck_ok(sd_model_get_info(model, &newer.known));
    ck_assert_int_eq(newer.more, 0);
    ck_assert_uint_eq(newer.known.struct_size, sizeof newer);
}
END_TEST

START_TEST(load_failures_name_the_file) {
    sd_model *none;
    ck_status(sd_model_load(ctx, "/nonexistent/model", NULL, &none), SD_ERROR_IO,
              "/nonexistent/model");
    ck_assert_ptr_null(none);
    ck_status(sd_model_load(ctx, NULL, NULL, &none), SD_ERROR_ARGUMENT, "path is NULL");
    ck_status(sd_model_load(NULL, "x", NULL, &none), SD_ERROR_ARGUMENT, "ctx is NULL");
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    p.precision = (sd_precision)(SD_PRECISION_BFLOAT16 + 1);
    ck_status(sd_model_load(ctx, tiny_folder(), &p, &none), SD_ERROR_ARGUMENT, "precision");
    p = (sd_model_params)SD_MODEL_PARAMS_INIT;
    p.vocab = "/nonexistent/vocabulary";
    ck_assert_int_ne(sd_model_load(ctx, tiny_folder(), &p, &none), SD_OK);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "/nonexistent/vocabulary"));
}
END_TEST

/* A device without 16-bit products computes in full, whatever is asked for. */
START_TEST(precisions_are_one_on_the_cpu) {
    const char *prompts[] = {"a lake"};
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_tensor *text[3];
    sd_context *cpu;
    cp.backend = "cpu";
    ck_ok(sd_context_new(&cp, &cpu));
    for (int i = 0; i < 3; i++) {
        sd_model *one;
        p.precision = (sd_precision)(SD_PRECISION_FULL + i);
        ck_ok(sd_model_load(cpu, tiny_folder(), &p, &one));
        ck_ok(encode_context(one, prompts, 1, NULL, &text[i]));
        sd_model_free(one);
        ck_assert_mem_eq(sd_tensor_data(text[i]), sd_tensor_data(text[0]),
                         (size_t)sd_tensor_n_elements(text[0]) * sizeof(float));
    }
    for (int i = 0; i < 3; i++)
        sd_tensor_free(text[i]);
    sd_context_free(cpu);
}
END_TEST

static int32_t stop_at_ten(void *user, const sd_progress *progress) {
    ck_assert_int_eq(progress->stage, SD_STAGE_LOAD);
    ck_assert_ptr_null(progress->sampler);
    ck_assert_int_le(progress->step, progress->total);
    return ++*(int *)user >= 10;
}

START_TEST(loading_can_be_cancelled) {
    sd_model *none;
    int calls = 0;
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    p.progress = stop_at_ten;
    p.progress_user = &calls;
    ck_status(sd_model_load(ctx, tiny_folder(), &p, &none), SD_ERROR_CANCELLED, "cancel");
    ck_assert_int_eq(calls, 10);
}
END_TEST

static int32_t count_tensor(void *user, const sd_checkpoint_tensor *tensor) {
    ck_assert_ptr_nonnull(tensor->name);
    ck_assert_ptr_nonnull(tensor->type);
    ck_assert(tensor->n_dims == 0 || tensor->dims[0] > 0);
    ck_assert_uint_gt(tensor->n_bytes, 0);
    return ++*(int *)user < 0;
}

START_TEST(checkpoints_list_their_tensors) {
    int in_folder = 0, in_file = 0;
    ck_ok(sd_checkpoint_list(ctx, tiny_folder(), count_tensor, &in_folder));
    ck_ok(sd_checkpoint_list(ctx, tiny_file(), count_tensor, &in_file));
    ck_assert_int_gt(in_folder, 300);
    ck_assert_int_ge(in_file, in_folder);
}
END_TEST

START_TEST(tokens_are_framed_and_padded) {
    sd_model_info info = SD_MODEL_INFO_INIT;
    ck_ok(sd_model_get_info(model, &info));
    int32_t ids[512];
    int32_t used;
    ck_ok(sd_tokenize(model, 0, "a cat", ids, 512, &used));
    ck_assert_int_ge(used, 3);
    ck_assert_int_le(used, info.text_tokens);
    ck_assert_int_eq(ids[info.text_tokens - 1], ids[used - 1]);
    char longer[4000];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    for (size_t i = 1; i < sizeof longer - 1; i += 2)
        longer[i] = ' ';
    ck_ok(sd_tokenize(model, 0, longer, ids, 512, &used));
    ck_assert_int_gt(used, info.text_tokens);
    ck_status(sd_tokenize(model, 0, "a", ids, 3, NULL), SD_ERROR_ARGUMENT, "3 ids");
    ck_status(sd_tokenize(model, 0, NULL, ids, 512, NULL), SD_ERROR_ARGUMENT, "text is NULL");
}
END_TEST

START_TEST(texts_in_a_batch_are_as_alone) {
    const char *texts[] = {"a red house", "", "two boats at night"};
    sd_cond *none;
    sd_tensor *all;
    ck_ok(encode_context(model, texts, 3, NULL, &all));
    int64_t each = sd_tensor_n_elements(all) / 3;
    for (int i = 0; i < 3; i++) {
        sd_tensor *one;
        ck_ok(encode_context(model, texts + i, 1, NULL, &one));
        ck_assert_mem_eq(sd_tensor_data(all) + i * each, sd_tensor_data(one),
                         (size_t)each * sizeof(float));
        sd_tensor_free(one);
    }
    sd_tensor_free(all);
    texts[1] = NULL;
    ck_status(sd_encode_text(model, texts, 3, NULL, &none), SD_ERROR_ARGUMENT, "texts[1]");
    ck_status(sd_encode_text(model, texts, 0, NULL, &none), SD_ERROR_ARGUMENT, "n_texts is 0");
    int32_t ids[512] = {0};
    ids[5] = 1 << 30;
    const int32_t *all_ids[] = {ids, NULL};
    ck_status(sd_encode_tokens(model, all_ids, 1, 1, NULL, &none), SD_ERROR_ARGUMENT, "ids[0][5]");
    ck_status(sd_encode_tokens(model, all_ids, 2, 1, NULL, &none), SD_ERROR_ARGUMENT,
              "n_encoders is 2; 1");
    ck_status(sd_encode_tokens(model, all_ids + 1, 1, 1, NULL, &none), SD_ERROR_ARGUMENT,
              "ids[0] is NULL");
    sd_text_params p = SD_TEXT_PARAMS_INIT;
    p.weighted = 1;
    ck_status(sd_encode_tokens(model, all_ids, 1, 1, &p, &none), SD_ERROR_ARGUMENT,
              "weighted is set");
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(misshaped_tensors_are_refused) {
    const int64_t odd[] = {1, 4, 7, 5}, wide[] = {1, 5, 8, 8}, flat[] = {1, 4, 64};
    const int64_t good[] = {1, 4, 8, 8}, pixels[] = {1, 3, 63, 64};
    sd_cond *text = encode("x"), *odd_cond;
    sd_tensor *t, *out, *flat_context;
    const double step = 10;
    ck_ok(sd_tensor_new(ctx, 4, odd, NULL, &t));
    ck_ok(sd_unet_predict(model, t, &step, text, &out)); /* of any size */
    ck_assert_int_eq(sd_tensor_dims(out)[2], 7);
    ck_assert_int_eq(sd_tensor_dims(out)[3], 5);
    sd_tensor_free(out);
    sd_tensor_free(t);
    ck_ok(sd_tensor_new(ctx, 4, wide, NULL, &t));
    ck_status(sd_vae_decode(model, t, NULL, &out), SD_ERROR_ARGUMENT, "5");
    sd_tensor_free(t);
    ck_ok(sd_tensor_new(ctx, 3, flat, NULL, &t));
    ck_status(sd_vae_decode(model, t, NULL, &out), SD_ERROR_ARGUMENT, "[1, 4, 64]");
    sd_tensor_free(t);
    ck_ok(sd_tensor_new(ctx, 4, pixels, NULL, &t));
    ck_status(sd_vae_encode(model, t, NULL, &out), SD_ERROR_ARGUMENT, "63");
    sd_tensor_free(t);
    ck_ok(sd_tensor_new(ctx, 4, good, NULL, &t));
    ck_ok(sd_tensor_new(ctx, 3, flat, NULL, &flat_context));
    ck_assert_ptr_nonnull(odd_cond = cond_of(ctx, flat_context));
    ck_status(sd_unet_predict(model, t, &step, odd_cond, &out), SD_ERROR_ARGUMENT,
              "cond is [1, 4, 64]");
    ck_status(sd_add_noise(model, t, flat_context, 3, &out), SD_ERROR_ARGUMENT, "[1, 4, 8, 8]");
    sd_tensor_free(flat_context);
    sd_cond_free(odd_cond);
    ck_status(sd_add_noise(model, t, t, 1000, &out), SD_ERROR_ARGUMENT, "1000");
    sd_tensor_free(t);
    sd_cond_free(text);
}
END_TEST

START_TEST(bad_sampling_parameters_are_named) {
    static const struct {
        const char *word;
        sd_sampler_params p;
    } bad[] = {
#define BAD(field, value, text)                                                                    \
    {text,                                                                                         \
     {.struct_size = sizeof(sd_sampler_params),                                                    \
      .steps = 3,                                                                                  \
      .guidance_scale = 2,                                                                         \
      .batch = 1,                                                                                  \
      .field = value}}
        {"steps is -1", {.struct_size = sizeof(sd_sampler_params), .steps = -1, .batch = 1}},
        {"batch is 0", {.struct_size = sizeof(sd_sampler_params), .steps = 3}},
        BAD(method, "no such", "\"no such\""),
        BAD(method, "", "near it are"),
        BAD(eta, -1.0, "eta is -1"),
        BAD(ancestral_eta, -0.5, "ancestral_eta is -0.5"),
        BAD(subseed_strength, 1.5, "subseed_strength is 1.5"),
        BAD(seed_resize_width, 512, "seed_resize_height are 512 and 0"),
        BAD(width, 100, "width is 100"),
        BAD(height, -64, "height is -64"),
        BAD(width, 1 << 20, "width is 1048576"),
        BAD(spacing, (sd_timestep_spacing)99, "spacing is 99"),
        BAD(rng, (sd_rng)9, "rng is 9"),
        BAD(guidance_rescale, 1.5, "guidance_rescale is 1.5"),
        BAD(spacing, SD_SPACING_KARRAS, "\"ddim\" goes by timesteps"),
        BAD(spacing, SD_SPACING_BETA, "\"ddim\" goes by timesteps"),
        BAD(spacing, SD_SPACING_AYS, "ays spacing is for methods that go by sigmas"),
        {"guidance_scale is nan",
         {.struct_size = sizeof(sd_sampler_params), .guidance_scale = NAN, .batch = 1}},
#undef BAD
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sd_sampler *s;
        ck_status(sd_sampler_new(model, &bad[i].p, &s), SD_ERROR_ARGUMENT, bad[i].word);
        ck_assert_ptr_null(s);
    }
    sd_sampler_params p = small_run();
    p.steps = 1001;
    sd_sampler *s;
    ck_status(sd_sampler_new(model, &p, &s), SD_ERROR_ARGUMENT, "steps is 1001");
}
END_TEST

static void same_tensor(sd_tensor *a, sd_tensor *b) {
    ck_assert_int_eq(sd_tensor_n_elements(a), sd_tensor_n_elements(b));
    ck_assert_mem_eq(sd_tensor_data(a), sd_tensor_data(b),
                     (size_t)sd_tensor_n_elements(a) * sizeof(float));
}

START_TEST(steps_one_by_one_are_the_whole_run) {
    sd_sampler_params p = small_run();
    p.eta = 0.5f;
    sd_sampler *s;
    sd_cond *cond = encode("a lake"), *uncond = encode("");
    sd_tensor *whole, *stepped;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_status(sd_sampler_step(s), SD_ERROR_STATE, "begin");
    ck_ok(sd_sample(s, RUN(cond, uncond, NULL, NULL), &whole));
    ck_ok(sd_sampler_begin(s, RUN(cond, uncond, NULL, NULL)));
    ck_assert_int_eq(sd_sampler_remaining(s), 4);
    while (sd_sampler_remaining(s) > 0)
        ck_ok(sd_sampler_step(s));
    ck_status(sd_sampler_step(s), SD_ERROR_STATE, "step");
    ck_ok(sd_sampler_latent(s, &stepped));
    same_tensor(whole, stepped);
    sd_tensor *x0;
    ck_ok(sd_sampler_pred_x0(s, &x0));
    sd_image *preview;
    ck_ok(sd_sampler_preview(s, PREVIEW(.method = SD_PREVIEW_VAE), &preview));
    ck_assert_int_eq(sd_image_width(preview), 64);
    sd_image_free(preview);
    ck_status(sd_sampler_preview(s, PREVIEW(.index = 1), &preview), SD_ERROR_ARGUMENT, "1");
    sd_tensor_free(x0);
    sd_tensor_free(whole);
    ck_status(sd_sample(s, RUN(cond, NULL, NULL, NULL), &whole), SD_ERROR_ARGUMENT, "uncond");
    ck_assert_ptr_null(whole);
    sd_tensor_free(stepped);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    sd_sampler_free(s);
}
END_TEST

START_TEST(guidance_of_one_needs_no_uncond) {
    sd_sampler_params p = small_run();
    p.guidance_scale = 1;
    sd_sampler *s;
    sd_cond *cond = encode("a lake");
    sd_tensor *latent;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_ok(sd_sample(s, RUN(cond, NULL, NULL, NULL), &latent));
    sd_tensor_free(latent);
    sd_cond_free(cond);
    sd_sampler_free(s);
}
END_TEST

/* Picture i of a batch is the picture of its own seed, to rounding: a batch may sum in another
 * order only inside an operation, never across pictures. */
START_TEST(a_batch_is_its_pictures) {
    sd_sampler_params p = small_run();
    p.batch = 3;
    p.seed = 7;
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.prompt = "a castle";
    t.sampling = &p;
    sd_image *all[3], *one;
    ck_ok(sd_generate(model, &t, all, 3));
    for (int i = 0; i < 3; i++) {
        p.batch = 1;
        p.seed = 7 + (uint64_t)i;
        ck_ok(sd_generate(model, &t, &one, 1));
        int worst = 0;
        for (int j = 0; j < 64 * 64 * 3; j++) {
            int d = abs(sd_image_pixels(one)[j] - sd_image_pixels(all[i])[j]);
            worst = d > worst ? d : worst;
        }
        printf("picture %d alone and in the batch: largest difference %d of 255\n", i, worst);
        ck_assert_int_le(worst, 1);
        sd_image_free(one);
        sd_image_free(all[i]);
    }
}
END_TEST

static int32_t stop_at_two(void *user, const sd_progress *progress) {
    (void)user;
    ck_assert_int_eq(progress->total, 4);
    return progress->step == 2;
}

START_TEST(a_callback_ends_the_run) {
    sd_sampler_params p = small_run();
    p.progress = stop_at_two;
    sd_generate_params t = SD_GENERATE_PARAMS_INIT;
    t.prompt = "a castle";
    t.sampling = &p;
    sd_image *image = (sd_image *)&image;
    ck_status(sd_generate(model, &t, &image, 1), SD_ERROR_CANCELLED, "step 2 of 4");
    ck_assert_ptr_null(image);
    p.progress = NULL;
    ck_ok(sd_generate(model, &t, &image, 1));
    sd_image_free(image);
}
END_TEST

START_TEST(img2img_follows_its_strength) {
    sd_image *init, *result;
    ck_ok(new_image(ctx, 130, 100, 3, NULL, &init));
    for (int i = 0; i < 130 * 100 * 3; i++)
        sd_image_pixels_mut(init)[i] = (uint8_t)(i * 31 % 251);
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.steps = 4;
    sd_generate_params m = SD_GENERATE_PARAMS_INIT;
    m.prompt = "a lake";
    m.init = init;
    m.sampling = &p;
    static const double strengths[] = {0, 0.5, 1};
    for (int i = 0; i < 3; i++) {
        m.strength = strengths[i];
        ck_ok(sd_generate(model, &m, &result, 1));
        ck_assert_int_eq(sd_image_width(result), 128); /* cut down to a multiple of 64 */
        ck_assert_int_eq(sd_image_height(result), 64);
        sd_image_free(result);
    }
    m.strength = 1.5;
    ck_status(sd_generate(model, &m, &result, 1), SD_ERROR_ARGUMENT, "strength is 1.5");
    m.strength = 0.5;
    m.mask = init;
    m.init = NULL;
    ck_status(sd_generate(model, &m, &result, 1), SD_ERROR_ARGUMENT, "init is NULL");
    sd_image_free(init);
}
END_TEST

/* The original's img2img on a GPU: the posterior's noise is the CPU's, the rest the GPU's; each
 * stream begins at the seed. */
START_TEST(img2img_draws_as_the_original) {
    enum { N = 2, PIXELS = 3 * 64 * 64 };
    const int64_t z_dims[] = {N, 4, 8, 8}, x_dims[] = {N, 3, 64, 64};
    sd_image *init, *got[N], *want;
    sd_tensor *one, *pixels, *noise, *z0, *latent, *decoded;
    sd_sampler *s;
    sd_sampler_params p = small_run();
    sd_generate_params m = SD_GENERATE_PARAMS_INIT;
    ck_ok(new_image(ctx, 64, 64, 3, NULL, &init));
    for (int i = 0; i < PIXELS; i++)
        sd_image_pixels_mut(init)[i] = (uint8_t)(i * 31 % 251);
    p.batch = N;
    p.rng = SD_RNG_CUDA;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.one_stream = 1;
    m.strength = 0.5;
    m.prompt = "a lake";
    m.init = init;
    m.sampling = &p;
    ck_ok(sd_generate(model, &m, got, N));

    ck_ok(sd_image_to_tensor(init, &one));
    ck_ok(sd_tensor_new(ctx, 4, x_dims, NULL, &pixels));
    for (int i = 0; i < N; i++)
        memcpy(sd_tensor_data_mut(pixels) + i * PIXELS, sd_tensor_data(one),
               PIXELS * sizeof(float));
    ck_ok(sd_randn(ctx, SD_RNG_CPU, p.seed, 4, z_dims, &noise));
    ck_ok(sd_vae_encode(model, pixels, NOISE(noise), &z0));
    sd_cond *cond = encode("a lake"), *uncond = encode("");
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_ok(sd_sample(s, GIVEN(run_at(0.5, run_of(cond, uncond, z0, NULL))), &latent));
    ck_ok(sd_vae_decode(model, latent, NULL, &decoded));
    for (int i = 0; i < N; i++) {
        ck_ok(sd_image_from_tensor(decoded, i, &want));
        int worst = 0;
        for (int j = 0; j < PIXELS; j++) {
            int d = abs(sd_image_pixels(want)[j] - sd_image_pixels(got[i])[j]);
            worst = d > worst ? d : worst;
        }
        printf("img2img's picture %d and its stages': largest difference %d of 255\n", i, worst);
        ck_assert_int_le(worst, 1);
        sd_image_free(want);
        sd_image_free(got[i]);
    }
    sd_tensor *const all[] = {one, pixels, noise, z0, latent, decoded};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sd_tensor_free(all[i]);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    sd_sampler_free(s);
    sd_image_free(init);
}
END_TEST

START_TEST(estimates_are_of_what_runs) {
    sd_sampler_params p = small_run();
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    ck_ok(sd_memory_estimate(model, ESTIMATE(&p), &memory));
    ck_assert_uint_gt(memory.unet, 0);
    ck_assert_uint_ge(memory.peak, memory.weights + memory.unet);
    sd_work_info one = SD_WORK_INFO_INIT, two = SD_WORK_INFO_INIT;
    ck_ok(sd_work_estimate(model, ESTIMATE(&p), &two));
    p.guidance_scale = 1;
    ck_ok(sd_work_estimate(model, ESTIMATE(&p), &one));
    ck_assert(one.step > 0 && one.text > 0 && one.encode > 0 && one.decode > 0);
    ck_assert_double_eq(two.step, 2 * one.step);
    p.batch = 3;
    ck_ok(sd_work_estimate(model, ESTIMATE(&p), &two));
    ck_assert_double_eq(two.step, 3 * one.step);
    ck_assert_double_eq(two.decode, 3 * one.decode);
    ck_assert_double_eq(two.encode, one.encode);
}
END_TEST

START_TEST(schedule_is_public) {
    ck_assert_double_eq_tol(sd_alphas_cumprod(model, 0), 0.99915, 1e-12);
    ck_assert_double_eq_tol(sd_alphas_cumprod(model, 999), 0.004660098513077238, 1e-12);
    ck_assert(sd_alphas_cumprod(model, 1000) != sd_alphas_cumprod(model, 1000));
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("model");
    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, setup, teardown);
    tcase_add_test(tests, info_tells_what_was_loaded);
    tcase_add_test(tests, load_failures_name_the_file);
    tcase_add_test(tests, precisions_are_one_on_the_cpu);
    tcase_add_test(tests, loading_can_be_cancelled);
    tcase_add_test(tests, checkpoints_list_their_tensors);
    tcase_add_test(tests, tokens_are_framed_and_padded);
    tcase_add_test(tests, texts_in_a_batch_are_as_alone);
    tcase_add_test(tests, misshaped_tensors_are_refused);
    tcase_add_test(tests, bad_sampling_parameters_are_named);
    tcase_add_test(tests, steps_one_by_one_are_the_whole_run);
    tcase_add_test(tests, guidance_of_one_needs_no_uncond);
    tcase_add_test(tests, a_batch_is_its_pictures);
    tcase_add_test(tests, a_callback_ends_the_run);
    tcase_add_test(tests, img2img_follows_its_strength);
    tcase_add_test(tests, img2img_draws_as_the_original);
    tcase_add_test(tests, estimates_are_of_what_runs);
    tcase_add_test(tests, schedule_is_public);
    Suite *suite = suite_create("model");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
