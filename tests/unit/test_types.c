/*
 * Which type a part computes in, over a device that would take float16: the reference backend,
 * which rounds as such a device does, and says here that it prefers that.
 */
#include "../tools/suite.h"
#include "backend/device.h"
#include "pipeline/model.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char told[1024];

static void keep_log(void *user, sd_log_level level, const char *message) {
    (void)user, (void)level;
    if (strstr(message, "bfloat16"))
        snprintf(told, sizeof told, "%s", message);
}

static sd_context *open_narrow(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    params.backend = "reference";
    params.n_threads = 2;
    params.log = keep_log;
    params.log_level = SD_LOG_LEVEL_INFO;
    ck_assert_int_eq(sd_context_new(&params, &ctx), SD_OK);
    ctx->device->info.autocast_type = SDB_F16;
    told[0] = 0;
    return ctx;
}

static sd_model *load(sd_context *ctx, const char *path, sd_precision precision) {
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    sd_model *model;
    params.precision = precision;
    sd_status status = sd_model_load(ctx, path, &params, &model);
    ck_assert_msg(status == SD_OK, "%s", sd_last_error());
    return model;
}

static sd_tensor *decode(sd_context *ctx, const sd_model *model, float scale) {
    const int64_t dims[] = {1, 4, 2, 3};
    sd_tensor *z, *pixels;
    ck_assert_int_eq(sd_randn(ctx, SD_RNG_CPU, 1, 4, dims, &z), SD_OK);
    for (int i = 0; i < 4 * 2 * 3; i++)
        sd_tensor_data_mut(z)[i] *= scale;
    sd_status status = sd_vae_decode(model, z, NULL, &pixels);
    ck_assert_msg(status == SD_OK, "%s", sd_last_error());
    sd_tensor_free(z);
    return pixels;
}

static double relative_error(const sd_tensor *got, const sd_tensor *want) {
    double error = 0, norm = 0;
    for (int64_t i = 0; i < sd_tensor_n_elements(want); i++) {
        double w = (double)sd_tensor_data(want)[i], d = (double)sd_tensor_data(got)[i] - w;
        error += d * d;
        norm += w * w;
    }
    return sqrt(error / norm);
}

/* A latent whose numbers float16 does not hold makes a picture all the same. */
START_TEST(sdxl_decodes_in_bfloat16) {
    sd_context *ctx = open_narrow();
    sd_model *model = load(ctx, getenv("SD_TEST_TINY_XL"), SD_PRECISION_AUTO);
    ck_assert_int_eq(model->parts[SD_PART_UNET]->act, SDB_F16);
    ck_assert_int_eq(model->parts[SD_PART_TEXT_2]->act, SDB_F16);
    ck_assert_int_eq(model->parts[SD_PART_VAE]->act, SDB_BF16);
    ck_assert_msg(strstr(told, "the VAE computes in bfloat16") != NULL, "%s", told);
    sd_model *full = load(ctx, getenv("SD_TEST_TINY_XL"), SD_PRECISION_FULL);
    ck_assert_int_eq(full->parts[SD_PART_VAE]->act, SDB_F32);
    for (int i = 0; i < 2; i++) {
        sd_tensor *got = decode(ctx, model, i ? 1e5f : 1.0f);
        sd_tensor *want = decode(ctx, full, i ? 1e5f : 1.0f);
        double error = relative_error(got, want);
        printf("a latent times %g: relative error %.2e\n", i ? 1e5 : 1.0, error);
        ck_assert(error <= 2e-2);
        sd_tensor_free(got);
        sd_tensor_free(want);
    }
    sd_model_free(model);
    sd_model_free(full);
    sd_context_free(ctx);
}
END_TEST

/* Neither does SD 1.x compute in another type than it did, nor what asks for one. */
START_TEST(others_keep_their_type) {
    sd_context *ctx = open_narrow();
    sd_model *model = load(ctx, getenv("SD_TEST_TINY_FOLDER"), SD_PRECISION_AUTO);
    ck_assert_int_eq(model->parts[SD_PART_VAE]->act, SDB_F16);
    ck_assert_str_eq(told, "");
    sd_model_free(model);
    model = load(ctx, getenv("SD_TEST_TINY_XL"), SD_PRECISION_BFLOAT16);
    ck_assert_int_eq(model->parts[SD_PART_UNET]->act, SDB_BF16);
    ck_assert_str_eq(told, "");
    sd_model_free(model);
    sd_context_free(ctx);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("types");
    TCase *tcase = tcase_create("types");
    tcase_add_test(tcase, sdxl_decodes_in_bfloat16);
    tcase_add_test(tcase, others_keep_their_type);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
