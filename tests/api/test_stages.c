/* A stage that ran before may be replayed instead of run anew: its results have the same bits, for
 * any inputs, between other shapes, and in several threads. */
#include "../support/cond.h"
#include "../support/params.h"
#include "api.h"

#include <pthread.h>

static sd_context *ctx;
static const sd_precision precisions[] = {SD_PRECISION_AUTO, SD_PRECISION_FULL};
#define N_PRECISIONS 2

static void open_shared(void) {
    ctx = open_context(2);
}

static void close_shared(void) {
    sd_context_free(ctx);
}

static sd_model *open_precision(sd_precision precision) {
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    sd_model *model;
    params.precision = precision;
    ck_ok(sd_model_load(ctx, tiny_folder(), &params, &model));
    return model;
}

static sd_tensor *values(int seed, int n, int c, int h, int w) {
    const int64_t dims[] = {n, c, h, w};
    sd_tensor *t;
    ck_ok(sd_randn(ctx, SD_RNG_CPU, (uint64_t)seed, w ? 4 : 3, dims, &t));
    return t;
}

/* ------------------------------------------------------------------------------ the stages */

static sd_tensor *text(sd_model *model, int seed) {
    const char *texts[] = {"a lake", "a hill", "", "the sea"};
    sd_text_params params = SD_TEXT_PARAMS_INIT;
    sd_tensor *out;
    ck_ok(encode_context(model, texts + seed % 3, 2, &params, &out));
    return out;
}

static sd_tensor *skipping(sd_model *model, int seed) {
    const char *texts[] = {"a lake", "a hill", "", "the sea"};
    sd_text_params params = SD_TEXT_PARAMS_INIT;
    sd_tensor *out;
    params.clip_skip = 2;
    ck_ok(encode_context(model, texts + seed % 3, 2, &params, &out));
    return out;
}

static sd_tensor *decode(sd_model *model, int seed) {
    sd_tensor *z = values(seed, 2, 4, 8, 8), *out;
    ck_ok(sd_vae_decode(model, z, NULL, &out));
    sd_tensor_free(z);
    return out;
}

static sd_tensor *decode_tiled(sd_model *model, int seed) {
    sd_vae_params tiles = SD_VAE_PARAMS_INIT;
    sd_tensor *z = values(seed, 1, 4, 24, 16), *out;
    tiles.tile = 16;
    tiles.overlap = 8;
    ck_ok(sd_vae_decode(model, z, &tiles, &out));
    sd_tensor_free(z);
    return out;
}

static sd_tensor *encode(sd_model *model, int seed) {
    sd_tensor *x = values(seed, 1, 3, 64, 64), *noise = values(seed + 9, 1, 4, 8, 8), *out;
    ck_ok(sd_vae_encode(model, x, NOISE(noise), &out));
    sd_tensor_free(x);
    sd_tensor_free(noise);
    return out;
}

static sd_tensor *unet(sd_model *model, int seed) {
    const double t[] = {100.0 * seed, 7.0};
    sd_model_info info = SD_MODEL_INFO_INIT;
    ck_ok(sd_model_get_info(model, &info));
    sd_tensor *x = values(seed, 2, 4, 8, 8), *out;
    sd_tensor *c = values(seed, 2, info.text_tokens, info.text_width, 0);
    sd_cond *cond = cond_of(ctx, c);
    ck_ok(sd_unet_predict(model, x, t, cond, &out));
    sd_cond_free(cond);
    sd_tensor_free(x);
    sd_tensor_free(c);
    return out;
}

static sd_tensor *(*const stages[])(sd_model *, int) = {text,         skipping, decode,
                                                        decode_tiled, encode,   unet};
#define N_STAGES ((int)(sizeof stages / sizeof *stages))
#define N_SEEDS 4

/* Each stage as the first work of a model. */
static sd_tensor *expected[N_STAGES][N_SEEDS];

static void compute_expected(sd_precision precision) {
    for (int i = 0; i < N_STAGES; i++)
        for (int seed = 0; seed < N_SEEDS; seed++) {
            sd_model *model = open_precision(precision);
            expected[i][seed] = stages[i](model, seed);
            sd_model_free(model);
        }
}

static void free_expected(void) {
    for (int i = 0; i < N_STAGES; i++)
        for (int seed = 0; seed < N_SEEDS; seed++)
            sd_tensor_free(expected[i][seed]);
}

static bool as_expected(sd_model *model, int stage, int seed) {
    sd_tensor *e = expected[stage][seed];
    sd_tensor *got = stages[stage](model, seed);
    bool same = sd_tensor_n_elements(got) == sd_tensor_n_elements(e) &&
                memcmp(sd_tensor_data(got), sd_tensor_data(e),
                       (size_t)sd_tensor_n_elements(e) * sizeof(float)) == 0;
    sd_tensor_free(got);
    return same;
}

/* ------------------------------------------------------------------------------------ tests */

START_TEST(a_stage_again_and_again) {
    compute_expected(precisions[_i]);
    for (int i = 0; i < N_STAGES; i++) {
        sd_model *model = open_precision(precisions[_i]);
        for (int seed = 0; seed < N_SEEDS; seed++)
            ck_assert_msg(as_expected(model, i, seed), "stage %d, run %d", i, seed + 1);
        sd_model_free(model);
    }
    free_expected();
}
END_TEST

/* Memory grows on the way, and stages take turns in it. */
START_TEST(stages_in_turn) {
    compute_expected(SD_PRECISION_AUTO);
    sd_model *model = open_precision(SD_PRECISION_AUTO);
    for (int seed = 0; seed < N_SEEDS; seed++)
        for (int i = 0; i < N_STAGES; i++)
            ck_assert_msg(as_expected(model, i, seed), "stage %d, run %d", i, seed + 1);
    sd_model_free(model);
    free_expected();
}
END_TEST

typedef struct worker {
    sd_model *model;
    int first, wrong;
} worker;

static void *work(void *arg) {
    worker *w = arg;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < N_STAGES; i++)
            for (int seed = 0; seed < 2; seed++)
                w->wrong += !as_expected(w->model, (w->first + i) % N_STAGES, seed);
    return NULL;
}

START_TEST(threads_share_a_model) {
    compute_expected(SD_PRECISION_AUTO);
    pthread_t threads[3];
    worker workers[3];
    sd_model *model = open_precision(SD_PRECISION_AUTO);
    for (int i = 0; i < 3; i++) {
        workers[i] = (worker){model, 2 * i, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(workers[i].wrong, 0);
    }
    sd_model_free(model);
    free_expected();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("stages");
    TCase *tc = tcase_create("stages");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, open_shared, close_shared);
    tcase_add_loop_test(tc, a_stage_again_and_again, 0, N_PRECISIONS);
    tcase_add_test(tc, stages_in_turn);
    tcase_add_test(tc, threads_share_a_model);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
