/* Models made of the parts of others. */
#include "../support/cond.h"
#include "api.h"

static sd_context *ctx;
static sd_model *one, *other; /* of the same sizes, with other numbers, and two layouts */

/* With the vocabulary of the folder, which a file alone has not. */
static sd_model *load(const char *path) {
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    char vocab[1024];
    sd_model *model;
    snprintf(vocab, sizeof vocab, "%s/tokenizer", tiny_folder());
    p.vocab = path == getenv("SD_TEST_OTHER_FILE") ? vocab : NULL;
    ck_ok(sd_model_load(ctx, path, &p, &model));
    return model;
}

static void setup(void) {
    ctx = open_context(2);
    one = load(tiny_folder());
    other = load(getenv("SD_TEST_OTHER_FILE"));
}

static void teardown(void) {
    sd_model_free(one);
    sd_model_free(other);
    sd_context_free(ctx);
}

static sd_status combine(const sd_model *model, const char *part, const sd_model *from,
                         sd_model **out) {
    return sd_model_combine(model, &part, &from, 1, out);
}

static sd_model *combined(const sd_model *model, const char *part, const sd_model *from) {
    sd_model *out;
    ck_ok(combine(model, part, from, &out));
    return out;
}

static sd_tensor *decoded(const sd_model *model, const sd_tensor *latent) {
    sd_tensor *pixels;
    ck_ok(sd_vae_decode(model, latent, NULL, &pixels));
    return pixels;
}

static sd_tensor *encoded(const sd_model *model) {
    const char *const text[] = {"a red boat"};
    sd_tensor *context;
    ck_ok(encode_context((sd_model *)model, text, 1, NULL, &context));
    return context;
}

/* Frees both. */
static bool equal(sd_tensor *a, sd_tensor *b) {
    int64_t n = sd_tensor_n_elements(a);
    bool same = n == sd_tensor_n_elements(b) &&
                !memcmp(sd_tensor_data(a), sd_tensor_data(b), (size_t)n * sizeof(float));
    sd_tensor_free(a);
    sd_tensor_free(b);
    return same;
}

static sd_model_info info_of(const sd_model *model) {
    sd_model_info info = SD_MODEL_INFO_INIT;
    ck_ok(sd_model_get_info(model, &info));
    return info;
}

START_TEST(a_vae_is_taken_from_another) {
    sd_model *both = combined(one, "vae", other);
    sd_tensor *latent = sampled(both, 2);
    ck_assert(equal(decoded(both, latent), decoded(other, latent)));
    ck_assert(!equal(decoded(both, latent), decoded(one, latent)));
    ck_assert(equal(latent, sampled(one, 2)));
    sd_model_free(both);
}
END_TEST

START_TEST(each_part_is_where_it_was_taken_from) {
    sd_model *text = combined(one, "text_encoder", other);
    ck_assert(equal(encoded(text), encoded(other)));
    ck_assert(!equal(encoded(text), encoded(one)));
    sd_model *unet = combined(one, "unet", other), *swapped = combined(other, "text_encoder", one);
    ck_assert_str_eq(info_of(text).layout, "diffusers");
    ck_assert_str_eq(info_of(unet).layout, "original");
    ck_assert(equal(sampled(unet, 2), sampled(swapped, 2)));
    ck_assert(!equal(sampled(unet, 2), sampled(one, 2)));
    sd_model_free(text);
    sd_model_free(unet);
    sd_model_free(swapped);
}
END_TEST

START_TEST(all_parts_make_the_other_model) {
    const char *const names[] = {"vae", "text_encoder", "unet"};
    const sd_model *const from[] = {other, other, other};
    sd_model *copy, *whole;
    ck_ok(sd_model_combine(one, names, from, 3, &whole));
    ck_ok(sd_model_combine(other, NULL, NULL, 0, &copy));
    sd_tensor *latent = sampled(whole, 2), *same = sampled(copy, 2);
    ck_assert(equal(decoded(whole, latent), decoded(copy, same)));
    ck_assert_int_eq(info_of(whole).n_parameters, info_of(other).n_parameters);
    ck_assert_uint_eq(info_of(whole).weight_bytes, info_of(other).weight_bytes);
    ck_assert(equal(latent, same));
    sd_model_free(copy);
    sd_model_free(whole);
}
END_TEST

/* What is shared goes with the last that has it. */
START_TEST(models_are_freed_in_any_order) {
    sd_model *both = combined(one, "vae", other), *again = combined(both, "text_encoder", other);
    sd_tensor *context = encoded(other), *latent = sampled(one, 2);
    sd_tensor *pixels = decoded(other, latent);
    sd_model_free(one);
    sd_model_free(both);
    sd_model_free(other);
    ck_assert(equal(decoded(again, latent), pixels));
    ck_assert(equal(encoded(again), context));
    sd_tensor_free(latent);
    sd_model_free(again);
    one = other = NULL;
}
END_TEST

START_TEST(the_unet_brings_how_it_is_sampled) {
    sd_model *inpaint = load(getenv("SD_TEST_INPAINT_FOLDER"));
    sd_model *painting = combined(one, "unet", inpaint);
    ck_assert_int_eq(info_of(painting).unet_channels, 9);
    ck_assert_str_eq(info_of(painting).default_method, info_of(inpaint).default_method);
    ck_assert_int_eq(info_of(painting).train_timesteps, info_of(inpaint).train_timesteps);
    sd_model_free(inpaint);
    sd_model_free(painting);
}
END_TEST

START_TEST(what_does_not_fit_is_refused) {
    sd_model *out, *xl = load(getenv("SD_TEST_XL_FOLDER"));
    const char *const twice[] = {"vae", "vae"}, *const larger[] = {"unet", "text_encoder"};
    const sd_model *const from[] = {other, other};
    ck_status(combine(one, "clip", other, &out), SD_ERROR_ARGUMENT, "\"text_encoder\", ");
    ck_assert_ptr_null(out);
    ck_status(sd_model_combine(one, twice, from, 2, &out), SD_ERROR_ARGUMENT, "named twice");
    ck_status(combine(one, "text_encoder_2", other, &out), SD_ERROR_ARGUMENT, "has no second");
    ck_status(combine(one, "text_encoder_2", xl, &out), SD_ERROR_ARGUMENT, "takes no second");
    ck_status(combine(one, "unet", xl, &out), SD_ERROR_UNSUPPORTED, "last layer but one");
    ck_status(sd_model_combine(one, larger, (const sd_model *[]){xl, xl}, 2, &out),
              SD_ERROR_ARGUMENT, "needs a second text encoder");
    ck_status(combine(xl, "unet", one, &out), SD_ERROR_UNSUPPORTED, "behind its last layer;");
    ck_status(combine(xl, "text_encoder", one, &out), SD_ERROR_UNSUPPORTED, "last layer but one");
    ck_status(combine(one, NULL, other, &out), SD_ERROR_ARGUMENT, "parts[0] is NULL");
    ck_status(combine(one, "vae", NULL, &out), SD_ERROR_ARGUMENT, "from[0] is NULL");
    ck_status(combine(NULL, "vae", one, &out), SD_ERROR_ARGUMENT, "model is NULL");
    ck_status(sd_model_combine(one, twice, NULL, 1, &out), SD_ERROR_ARGUMENT, "is NULL");
    ck_status(sd_model_combine(one, twice, from, -1, &out), SD_ERROR_ARGUMENT, "n is -1");
    ck_status(sd_model_combine(one, twice, from, 99, &out), SD_ERROR_ARGUMENT, "n is 99");
    sd_model_free(xl);
}
END_TEST

START_TEST(models_of_two_contexts_have_no_part_in_common) {
    sd_context *second = open_context(1);
    sd_model *model, *out;
    ck_ok(sd_model_load(second, tiny_file(), NULL, &model));
    ck_status(combine(one, "vae", model, &out), SD_ERROR_ARGUMENT, "another context");
    sd_model_free(model);
    sd_context_free(second);
}
END_TEST

static void tell(void *user, sd_log_level level, const char *message) {
    if (level <= SD_LOG_LEVEL_WARN && strstr(message, "scaling factor"))
        ++*(int *)user;
}

/* SDXL's latents have the channels of the others and another scale. */
START_TEST(a_vae_of_another_scale_is_told) {
    int told = 0;
    sd_context_params p = SD_CONTEXT_PARAMS_INIT;
    p.log = tell;
    p.log_user = &told;
    sd_context *second;
    ck_ok(sd_context_new(&p, &second));
    sd_model *base, *xl, *out;
    ck_ok(sd_model_load(second, tiny_file(), NULL, &base));
    ck_ok(sd_model_load(second, getenv("SD_TEST_XL_FOLDER"), NULL, &xl));
    ck_ok(combine(base, "vae", xl, &out));
    ck_assert_int_eq(told, 1);
    ck_assert_double_eq(info_of(out).latent_scale, info_of(xl).latent_scale);
    sd_model_free(base);
    sd_model_free(xl);
    sd_model_free(out);
    sd_context_free(second);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("parts");
    TCase *tcase = tcase_create("combine");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_vae_is_taken_from_another);
    tcase_add_test(tcase, each_part_is_where_it_was_taken_from);
    tcase_add_test(tcase, all_parts_make_the_other_model);
    tcase_add_test(tcase, models_are_freed_in_any_order);
    tcase_add_test(tcase, the_unet_brings_how_it_is_sampled);
    tcase_add_test(tcase, what_does_not_fit_is_refused);
    tcase_add_test(tcase, models_of_two_contexts_have_no_part_in_common);
    tcase_add_test(tcase, a_vae_of_another_scale_is_told);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
