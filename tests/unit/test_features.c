/*
 * Statistics that a network hands to its group norms: over the cpu backend, whose products here
 * make them with plain loops, each group norm finds those of just what it reads.
 */
#include "../support/cond.h"
#include "../tools/suite.h"
#include "backend/exec.h"

#include <check.h>
#include <stdlib.h>

static struct {
    const sdb_backend *inner;
    int norms;
} watch;

static sdb_backend watching; /* outlives the context */
static sd_context *ctx;
static sd_model *model;

/* ----------------------------------------------------------------------------------- statistics */

/* Mean and squares of channels c and c + 1 of an image. */
static void measure(const sdb_tensor *x, int image, int c, float *mean, float *squares) {
    int pixels = x->h * x->w;
    const float *from = (const float *)x->data + (int64_t)image * pixels * x->ld + c;
    double sum = 0, all = 0;
    for (int p = 0; p < pixels; p++)
        sum += (double)from[p * x->ld] + (double)from[p * x->ld + 1];
    *mean = (float)(sum / (2.0 * pixels));
    for (int p = 0; p < pixels; p++)
        for (int i = 0; i < 2; i++) {
            double d = (double)from[p * x->ld + i] - sum / (2.0 * pixels);
            all += d * d;
        }
    *squares = (float)all;
}

static int stats_parts(const sdb_device *dev, sdb_type type, int h, int w) {
    (void)dev;
    return type == SDB_F32 && h > 0 && w > 0 ? 1 : 0;
}

static void make_stats(const sdb_tensor *y, const sdb_tensor *stats) {
    float *to = stats->data;
    if (!to)
        return;
    ck_assert_int_eq(stats->n, y->n);
    ck_assert_int_eq(stats->w, y->c / 2);
    for (int n = 0; n < y->n; n++)
        for (int c = 0; c < y->c; c += 2, to += 2)
            measure(y, n, c, &to[0], &to[1]);
}

/* The statistics are those of x's channels from `first` on, as they are now. */
static void check_stats(const sdb_tensor *x, int first, const sdb_tensor *stats) {
    const float *from = stats->data;
    ck_assert_int_eq(stats->n, x->n);
    for (int n = 0; n < x->n; n++)
        for (int c = 0; c < 2 * stats->w; c += 2, from += 2) {
            float mean, squares;
            measure(x, n, first + c, &mean, &squares);
            ck_assert_msg(mean == from[0] && squares == from[1],
                          "group norm %d, channel %d of %d: statistics of something else",
                          watch.norms, first + c, x->c);
        }
}

/* ---------------------------------------------------------------------------------- the backend */

static sd_status conv2d(sdb_queue *q, const sdb_op *op) {
    sd_status status = watch.inner->run[SDB_OP_conv2d](q, op);
    make_stats(&op->conv2d.y, &op->conv2d.stats);
    return status;
}

static sd_status linear(sdb_queue *q, const sdb_op *op) {
    sd_status status = watch.inner->run[SDB_OP_linear](q, op);
    make_stats(&op->linear.y, &op->linear.stats);
    return status;
}

static sd_status group_norm(sdb_queue *q, const sdb_op *op) {
    const sdb_group_norm *norm = &op->group_norm;
    int first = norm->stats[0].c ? 2 * norm->stats[0].w : 0;
    int second = norm->stats[1].c ? 2 * norm->stats[1].w : 0;
    ck_assert_int_eq(first + second, norm->x.c);
    if (norm->x.data) {
        watch.norms++;
        check_stats(&norm->x, 0, &norm->stats[0]);
        if (second)
            check_stats(&norm->x, first, &norm->stats[1]);
    }
    return watch.inner->run[SDB_OP_group_norm](q, op);
}

static void set_up(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    params.n_threads = 2;
    ck_assert_int_eq(sd_context_new(&params, &ctx), SD_OK);
    watch.inner = ctx->device->api;
    watch.norms = 0;
    watching = *watch.inner;
    watching.stats_parts = stats_parts;
    watching.run[SDB_OP_conv2d] = conv2d;
    watching.run[SDB_OP_linear] = linear;
    watching.run[SDB_OP_group_norm] = group_norm;
    ctx->device->api = &watching;
    ck_assert_int_eq(sd_model_load(ctx, getenv("SD_TEST_TINY_FOLDER"), NULL, &model), SD_OK);
}

static void tear_down(void) {
    sd_model_free(model);
    sd_context_free(ctx);
}

/* ---------------------------------------------------------------------------------------- tests */

static sd_tensor *random_tensor(int n_dims, const int64_t *dims) {
    sd_tensor *t;
    ck_assert_int_eq(sd_randn(ctx, SD_RNG_CPU, 1, n_dims, dims, &t), SD_OK);
    return t;
}

START_TEST(unet) {
    sd_model_info info = SD_MODEL_INFO_INIT;
    sd_tensor *out;
    ck_assert_int_eq(sd_model_get_info(model, &info), SD_OK);
    sd_tensor *x = random_tensor(4, (const int64_t[]){2, 4, 16, 8});
    sd_tensor *c = random_tensor(3, (const int64_t[]){2, info.text_tokens, info.text_width});
    sd_cond *cond = cond_of(ctx, c);
    sd_status status = sd_unet_predict(model, x, (const double[]){10, 500}, cond, &out);
    sd_cond_free(cond);
    ck_assert_msg(status == SD_OK, "%s", sd_last_error());
    ck_assert_int_gt(watch.norms, 10);
    sd_tensor_free(x);
    sd_tensor_free(c);
    sd_tensor_free(out);
}
END_TEST

START_TEST(autoencoder) {
    sd_tensor *pixels, *latent;
    sd_tensor *z = random_tensor(4, (const int64_t[]){1, 4, 8, 16});
    ck_assert_int_eq(sd_vae_decode(model, z, NULL, &pixels), SD_OK);
    int norms = watch.norms;
    ck_assert_int_gt(norms, 5);
    ck_assert_int_eq(sd_vae_encode(model, pixels, NULL, &latent), SD_OK);
    ck_assert_int_gt(watch.norms, norms + 5);
    sd_tensor_free(z);
    sd_tensor_free(pixels);
    sd_tensor_free(latent);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("features");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, unet);
    tcase_add_test(tc, autoencoder);
    Suite *suite = suite_create("features");
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
