/* Whatever takes [batch or 1, ...]: a row for each picture is each picture's own, and one row is
 * all pictures'. */
#include "../support/params.h"
#include "sample.h"

#include <math.h>

/* Pictures are not square. */
enum { N = 2, HEIGHT = 64, WIDTH = 128, H = HEIGHT / 8, W = WIDTH / 8 };

static sd_model *wide; /* of 9 channels */

static void set_up_both(void) {
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    const char *folder = getenv("SD_TEST_INPAINT_FOLDER");
    ck_assert_ptr_nonnull(folder);
    set_up();
    ck_ok(sd_model_load(ctx, folder, &params, &wide));
}

static void tear_down_both(void) {
    sd_model_free(wide);
    tear_down();
}

static sd_tensor *randn(uint64_t seed, int64_t n, int64_t c, int64_t h, int64_t w) {
    const int64_t dims[] = {n, c, h, w};
    sd_tensor *t;
    ck_ok(sd_randn(ctx, SD_RNG_CPU, seed, 4, dims, &t));
    return t;
}

/* Masks of 0 and 1. */
static sd_tensor *masks(uint64_t seed, int64_t n, int64_t h, int64_t w) {
    sd_tensor *t = randn(seed, n, 1, h, w);
    for (int64_t i = 0; i < sd_tensor_n_elements(t); i++)
        sd_tensor_data_mut(t)[i] = sd_tensor_data(t)[i] > 0 ? 1.0f : 0.0f;
    return t;
}

/* Embeddings [n, tokens, width], each row another. */
static sd_tensor *embeddings(sd_model *of, int n) {
    static const char *const texts[] = {"a lake", "a red boat"};
    sd_tensor *t;
    ck_ok(encode_context(of, texts, n, NULL, &t));
    return t;
}

static sd_tensor *row(const sd_tensor *t, int64_t i) {
    int64_t dims[SD_MAX_DIMS], n = sd_tensor_n_dims(t), each = 1;
    sd_tensor *one;
    for (int64_t k = 0; k < n; k++) {
        dims[k] = k ? sd_tensor_dims(t)[k] : 1;
        each *= dims[k];
    }
    ck_ok(sd_tensor_new(ctx, (int)n, dims, sd_tensor_data((sd_tensor *)t) + i * each, &one));
    return one;
}

/* Row 0 of `t`, N times. */
static sd_tensor *repeated(const sd_tensor *t) {
    int64_t dims[SD_MAX_DIMS], n = sd_tensor_n_dims(t), each = 1;
    sd_tensor *many;
    for (int64_t k = 0; k < n; k++) {
        dims[k] = k ? sd_tensor_dims(t)[k] : N;
        each *= k ? dims[k] : 1;
    }
    ck_ok(sd_tensor_new(ctx, (int)n, dims, NULL, &many));
    for (int64_t i = 0; i < N; i++)
        memcpy(sd_tensor_data_mut(many) + i * each, sd_tensor_data((sd_tensor *)t),
               (size_t)each * sizeof(float));
    return many;
}

/* --------------------------------------------------------------------- what a model sees */

/* Masks for each picture, and noises for each; the VAE takes pictures one by one, and so a row has
 * the bits that it has alone. */
START_TEST(concat_of_a_batch) {
    sd_tensor *pixels = randn(1, N, 3, HEIGHT, WIDTH), *mask = masks(2, N, HEIGHT, WIDTH);
    sd_tensor *noise = randn(3, N, 4, H, W), *both, *alone, *out;
    for (int one_mask = 0; one_mask < 2; one_mask++) {
        sd_tensor *given = one_mask ? row(mask, 0) : mask;
        ck_ok(sd_inpaint_concat(wide, pixels, given, NOISE(noise), &both));
        for (int i = 0; i < N; i++) {
            sd_tensor *p = row(pixels, i), *m = row(mask, one_mask ? 0 : i), *e = row(noise, i),
                      *got = row(both, i);
            ck_ok(sd_inpaint_concat(wide, p, m, NOISE(e), &alone));
            ck_assert_int_eq(sd_tensor_n_elements(alone), 5 * H * W);
            ck_assert_msg(same(got, alone), "picture %d, %d masks", i, one_mask ? 1 : N);
            sd_tensor *const rows[] = {p, m, e, got, alone};
            for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
                sd_tensor_free(rows[k]);
        }
        if (one_mask)
            sd_tensor_free(given);
        sd_tensor_free(both);
    }
    sd_tensor *three = masks(2, 3, HEIGHT, WIDTH);
    ck_status(sd_inpaint_concat(wide, pixels, three, NOISE(noise), &out), SD_ERROR_ARGUMENT,
              "mask is [3, 1, 64, 128]; [2, 1, 64, 128]");
    sd_tensor *const all[] = {pixels, mask, noise, three};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sd_tensor_free(all[i]);
}
END_TEST

/* Many noises of one picture are as many rows. */
START_TEST(concat_of_one_picture_and_many_noises) {
    sd_tensor *pixels = randn(1, 1, 3, HEIGHT, WIDTH), *mask = masks(2, 1, HEIGHT, WIDTH);
    sd_tensor *noise = randn(3, 3, 4, H, W), *many, *alone;
    ck_ok(sd_inpaint_concat(wide, pixels, mask, NOISE(noise), &many));
    ck_assert_int_eq(sd_tensor_dims(many)[0], 3);
    for (int i = 0; i < 3; i++) {
        sd_tensor *e = row(noise, i), *got = row(many, i);
        ck_ok(sd_inpaint_concat(wide, pixels, mask, NOISE(e), &alone));
        ck_assert(same(got, alone));
        sd_tensor_free(e);
        sd_tensor_free(got);
        sd_tensor_free(alone);
    }
    sd_tensor *const all[] = {pixels, mask, noise, many};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sd_tensor_free(all[i]);
}
END_TEST

/* ------------------------------------------------------------------------------- a run */

/* The inputs of a run: all of it optional but the prompts. */
typedef struct given {
    sd_tensor *context, *uncontext, *init, *noise, *mask, *x0, *concat;
} given;

#define N_GIVEN ((int)(sizeof(given) / sizeof(sd_tensor *)))

static sd_tensor **field(given *g, int k) {
    sd_tensor **fields[] = {&g->context, &g->uncontext, &g->init,  &g->noise,
                            &g->mask,    &g->x0,        &g->concat};
    return fields[k];
}

static given map(given *g, sd_tensor *(*make)(const sd_tensor *, int64_t), int64_t i) {
    given out = {0};
    for (int k = 0; k < N_GIVEN; k++)
        if (*field(g, k))
            *field(&out, k) = make(*field(g, k), i);
    return out;
}

static void free_given(given *g) {
    for (int k = 0; k < N_GIVEN; k++)
        sd_tensor_free(*field(g, k));
}

static sd_tensor *run(sd_model *of, const given *g, int batch, uint64_t seed) {
    sd_sampler_params p = small_run();
    sd_sampler *s;
    sd_tensor *latent;
    p.batch = batch;
    p.width = WIDTH;
    p.seed = seed;
    p.eta = 0.5f;
    ck_ok(sd_sampler_new(of, &p, &s));
    sd_cond *own = cond_of(ctx, g->context), *own_uncond = cond_of(ctx, g->uncontext);
    sd_run_params params = with_mask(g->mask, g->x0, run_of(own, own_uncond, g->init, g->noise));
    ck_ok(sd_sample(s, GIVEN(with_concat(g->concat, params)), &latent));
    sd_sampler_free(s);
    sd_cond_free(own);
    sd_cond_free(own_uncond);
    return latent;
}

/* To float32's rounding: a batch is another matrix product. */
static void near(const sd_tensor *a, const sd_tensor *b, const char *what, int i) {
    double difference = 0, size = 0;
    ck_assert_int_eq(sd_tensor_n_elements(a), sd_tensor_n_elements(b));
    for (int64_t k = 0; k < sd_tensor_n_elements(a); k++) {
        double x = (double)sd_tensor_data((sd_tensor *)a)[k],
               y = (double)sd_tensor_data((sd_tensor *)b)[k];
        difference += (x - y) * (x - y);
        size += y * y;
    }
    ck_assert_msg(sqrt(difference / size) < 1e-4, "%s, picture %d: error %g", what, i,
                  sqrt(difference / size));
}

static void check_rows(sd_model *of, given *g, const char *what) {
    sd_tensor *both = run(of, g, N, 7);
    for (int i = 0; i < N; i++) {
        given own = map(g, row, i);
        sd_tensor *alone = run(of, &own, 1, 7 + (uint64_t)i), *got = row(both, i);
        near(got, alone, what, i);
        free_given(&own);
        sd_tensor_free(alone);
        sd_tensor_free(got);
    }
    sd_tensor_free(both);
}

static sd_tensor *first_repeated(const sd_tensor *t, int64_t i) {
    (void)i;
    return repeated(t);
}

/* One row of all but the noise, which is of each picture. */
static void check_one_for_all(sd_model *of, given *g, const char *what) {
    given one = map(g, row, 0), many = map(g, first_repeated, 0);
    for (int k = 0; k < 2; k++) {
        given *of_noise = k ? &many : &one;
        sd_tensor_free(of_noise->noise);
        of_noise->noise = g->noise ? repeated(g->noise) : NULL;
    }
    sd_tensor *a = run(of, &one, N, 7), *b = run(of, &many, N, 7);
    ck_assert_msg(same(a, b), "%s: one row is not all pictures'", what);
    sd_tensor_free(a);
    sd_tensor_free(b);
    free_given(&one);
    free_given(&many);
}

START_TEST(runs_of_a_batch) {
    static const char *const names[] = {"prompts", "init", "init and noise", "mask", "concat"};
    sd_model *of = _i == 4 ? wide : model;
    given g = {.context = embeddings(of, N), .uncontext = embeddings(of, N)};
    for (int64_t i = 0; i < sd_tensor_n_elements(g.uncontext); i++) /* its rows differ too */
        sd_tensor_data_mut(g.uncontext)[i] *= 0.5f;
    if (_i == 1 || _i == 2)
        g.init = randn(3, N, 4, H, W);
    if (_i == 2)
        g.noise = randn(4, N, 4, H, W);
    if (_i == 3) {
        g.mask = masks(5, N, H, W);
        g.x0 = randn(6, N, 4, H, W);
    }
    if (_i == 4)
        g.concat = randn(8, N, 5, H, W);
    check_rows(of, &g, names[_i]);
    check_one_for_all(of, &g, names[_i]);
    free_given(&g);
}
END_TEST

/* A row too many, or too few, is refused by its name. */
START_TEST(rows_of_another_number_are_refused) {
    sd_sampler_params p = small_run();
    sd_sampler *s, *t;
    sd_tensor *three = randn(1, 3, 4, H, W), *mask = masks(2, 3, H, W), *out;
    sd_tensor *one_mask = masks(2, 1, H, W), *concat = randn(3, 3, 5, H, W), *one = row(three, 0);
    p.batch = N;
    p.width = WIDTH;
    ck_ok(sd_sampler_new(model, &p, &s));
    ck_ok(sd_sampler_new(wide, &p, &t));
    ck_status(sd_sample(s, RUN(cond, uncond, three, NULL), &out), SD_ERROR_ARGUMENT, "init is [3");
    ck_status(sd_sample(s, RUN(cond, uncond, NULL, one), &out), SD_ERROR_ARGUMENT, "noise is [1");
    const sd_run_params plain = run_of(cond, uncond, NULL, NULL);
    ck_status(sd_sample(s, GIVEN(with_mask(mask, one, plain)), &out), SD_ERROR_ARGUMENT,
              "mask is [3");
    ck_status(sd_sample(s, GIVEN(with_mask(one_mask, three, plain)), &out), SD_ERROR_ARGUMENT,
              "mask_x0 is [3");
    ck_status(sd_sample(t, GIVEN(with_concat(concat, plain)), &out), SD_ERROR_ARGUMENT,
              "concat is [3");
    ck_ok(sd_sampler_begin(s, &plain));
    ck_status(sd_sampler_set_mask(s, mask, one), SD_ERROR_ARGUMENT, "mask is [3");
    ck_status(sd_sampler_set_mask(s, one_mask, three), SD_ERROR_ARGUMENT, "x0 is [3");
    ck_status(sd_sample(s, GIVEN(last_of(1, run_of(cond, uncond, three, NULL))), &out),
              SD_ERROR_ARGUMENT, "init is [3");
    ck_status(sd_sampler_stochastic_encode(s, three, 1, NULL, &out), SD_ERROR_ARGUMENT, "x0 is [3");
    sd_tensor *const all[] = {three, mask, one_mask, concat, one};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        sd_tensor_free(all[i]);
    sd_sampler_free(s);
    sd_sampler_free(t);
}
END_TEST

/* stochastic_encode and decode of two latents. */
START_TEST(encoding_and_decoding_of_a_batch) {
    sd_sampler_params p = small_run();
    sd_sampler *both, *single;
    sd_tensor *x0 = randn(1, N, 4, H, W), *z, *x, *own_z, *own_x, *shared;
    p.batch = N;
    p.width = WIDTH;
    ck_ok(sd_sampler_new(model, &p, &both));
    ck_ok(sd_sampler_stochastic_encode(both, x0, 2, NULL, &z));
    ck_ok(sd_sample(both, GIVEN(last_of(2, run_of(cond, uncond, z, NULL))), &x));
    p.batch = 1;
    for (int i = 0; i < N; i++) {
        sd_tensor *own = row(x0, i), *got_z = row(z, i), *got_x = row(x, i);
        p.seed = small_run().seed + (uint64_t)i;
        ck_ok(sd_sampler_new(model, &p, &single));
        ck_ok(sd_sampler_stochastic_encode(single, own, 2, NULL, &own_z));
        ck_assert(same(got_z, own_z));
        ck_ok(sd_sample(single, GIVEN(last_of(2, run_of(cond, uncond, own_z, NULL))), &own_x));
        near(got_x, own_x, "decode", i);
        sd_tensor *const all[] = {own, got_z, got_x, own_z, own_x};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            sd_tensor_free(all[k]);
        sd_sampler_free(single);
    }
    sd_tensor *one = row(x0, 0), *many = repeated(one);
    sd_tensor_free(z);
    ck_ok(sd_sampler_stochastic_encode(both, one, 2, NULL, &z));
    ck_ok(sd_sampler_stochastic_encode(both, many, 2, NULL, &shared));
    ck_assert(same(z, shared));
    sd_tensor_free(shared);
    sd_tensor_free(x);
    ck_ok(sd_sample(both, GIVEN(last_of(2, run_of(cond, uncond, one, NULL))), &x));
    ck_ok(sd_sample(both, GIVEN(last_of(2, run_of(cond, uncond, many, NULL))), &shared));
    ck_assert(same(x, shared));
    sd_tensor *const all[] = {x0, z, x, one, many, shared};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        sd_tensor_free(all[k]);
    sd_sampler_free(both);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("batches");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up_both, tear_down_both);
    tcase_add_test(tests, concat_of_a_batch);
    tcase_add_test(tests, concat_of_one_picture_and_many_noises);
    tcase_add_loop_test(tests, runs_of_a_batch, 0, 5);
    tcase_add_test(tests, rows_of_another_number_are_refused);
    tcase_add_test(tests, encoding_and_decoding_of_a_batch);
    Suite *suite = suite_create("batches");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
