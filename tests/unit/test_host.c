/* The boundary of the host: host tensors to the device and back, latents and planes. */
#include "backend/host.h"
#include "backend/run.h"

#include "../tools/suite.h"

#include <check.h>
#include <string.h>

static sd_context *ctx;
static sd_exec *e;

static void setup(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    params.n_threads = 1;
    ck_assert_int_eq(sd_context_new(&params, &ctx), SD_OK);
    ck_assert_int_eq(sdi_exec_new(ctx, SDB_F32, &e), SD_OK);
}

static void teardown(void) {
    sdi_exec_free(e);
    sd_context_free(ctx);
}

/* Elements are their own indices. */
static sd_tensor *counted(int n, int c, int h, int w) {
    const int64_t dims[] = {n, c, h, w};
    sd_tensor *t;
    ck_assert_int_eq(sdi_tensor_new(ctx, 4, dims, &t), SD_OK);
    for (int64_t i = 0; i < t->n_elements; i++)
        t->data[i] = (float)i;
    return t;
}

/* A tensor on the device, of which there is one. */
static sdb_tensor held(sdb_type type, int n, int h, int w, int c) {
    sdi_exec_plan(e, NULL);
    sdi_exec_tensor_typed(e, type, n, h, w, c);
    ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
    sdi_exec_begin(e);
    return sdi_exec_tensor_typed(e, type, n, h, w, c);
}

/* The device's numbers, as they lie. */
static float at(sdb_tensor t, int image, int y, int x, int c) {
    return ((const float *)t.data)[((image * t.h + y) * t.w + x) * t.ld + c];
}

/* Rounds as a shape of one piece, of several and a rest, and of a pixel with many channels. */
static const int shapes[][4] = {{2, 3, 4, 5}, {3, 4, 150, 131}, {1, 70000, 1, 2}, {2, 1, 7, 9}};

START_TEST(test_pictures_go_both_ways) {
    const int *s = shapes[_i], n = s[0], c = s[1], h = s[2], w = s[3];
    sd_tensor *from = counted(n, c, h, w), *to = counted(n, c, h, w);
    sdb_tensor dev = held(SDB_F32, n, h, w, c);
    sdi_exec_put(e, dev, from, 0);
    ck_assert_int_eq(e->status, SD_OK);
    for (int64_t i = 0; i < from->n_elements; i++) {
        int x = (int)(i % w), y = (int)(i / w % h), k = (int)(i / w / h % c);
        ck_assert_float_eq(at(dev, (int)(i / w / h / c), y, x, k), (float)i);
    }
    memset(to->data, 0, (size_t)to->n_elements * sizeof *to->data);
    sdi_exec_get(e, to, 0, dev);
    ck_assert_int_eq(e->status, SD_OK);
    ck_assert_mem_eq(from->data, to->data, (size_t)from->n_elements * sizeof *from->data);
    sdi_tensor_free(from);
    sdi_tensor_free(to);
}
END_TEST

START_TEST(test_some_pictures_of_many) {
    sd_tensor *from = counted(4, 2, 3, 3), *to = counted(3, 2, 3, 3);
    sdb_tensor dev = held(SDB_F32, 2, 3, 3, 2);
    sdi_exec_put(e, dev, from, 2);
    ck_assert_float_eq(at(dev, 0, 0, 0, 0), 36); /* of the third picture */
    ck_assert_float_eq(at(dev, 1, 2, 2, 1), 71);
    sdi_exec_get(e, to, 1, dev);
    ck_assert_float_eq(to->data[17], 17); /* the first is left alone */
    ck_assert_mem_eq(to->data + 18, from->data + 36, 36 * sizeof(float));
    sdi_tensor_free(from);
    sdi_tensor_free(to);
}
END_TEST

START_TEST(test_one_picture_is_everyones) {
    sd_tensor *from = counted(1, 2, 3, 3);
    sdb_tensor dev = held(SDB_F32, 3, 3, 3, 2);
    sdi_exec_put(e, dev, from, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_float_eq(at(dev, i, 1, 0, 1), 12);
    sdi_tensor_free(from);
}
END_TEST

/* A picture's planes come and go as they lie, and the device turns them. */
START_TEST(test_the_device_turns_planes) {
    sd_tensor *from = counted(2, 3, 4, 5), *to = counted(1, 3, 4, 5);
    sdi_exec_plan(e, NULL);
    for (int pass = 0; pass < 2; pass++) {
        sdb_tensor planes = sdi_exec_tensor_typed(e, SDB_F32, 3, 4, 5, 1);
        sdb_tensor picture = sdi_exec_tensor_typed(e, SDB_F32, 1, 4, 5, 3);
        sdb_tensor back = sdi_exec_tensor_typed(e, SDB_F32, 3, 4, 5, 1);
        sdi_exec_put(e, planes, from, 1);
        sdi_op_join_planes(e, picture, planes);
        sdi_op_split_planes(e, back, picture);
        sdi_exec_get(e, to, 0, back);
        if (pass == 0)
            ck_assert_int_eq(sdi_exec_commit(e), SD_OK);
        else
            ck_assert_float_eq(at(picture, 0, 2, 3, 1), 60 + 20 + 13);
    }
    ck_assert_int_eq(e->status, SD_OK);
    ck_assert_mem_eq(to->data, from->data + 60, 60 * sizeof(float));
    sdi_tensor_free(from);
    sdi_tensor_free(to);
}
END_TEST

/* After a failure, and while measuring, there may be no host tensor. */
START_TEST(test_nothing_is_done_after_a_failure) {
    sdb_tensor dev = held(SDB_F32, 1, 2, 2, 2);
    sdi_exec_fail(e, SD_ERROR_BACKEND);
    sdi_exec_put(e, dev, NULL, 0);
    sdi_exec_get(e, NULL, 0, dev);
    ck_assert_int_eq(e->status, SD_ERROR_BACKEND);
    sdi_exec_plan(e, NULL);
    sdi_exec_put(e, dev, NULL, 0);
    sdi_exec_get(e, NULL, 0, dev);
    ck_assert_int_eq(e->status, SD_OK);
    sdi_exec_abandon(e);
}
END_TEST

/* The half of a concatenation is not as the host has it. */
START_TEST(test_what_is_not_packed_is_refused) {
    sd_tensor *from = counted(1, 2, 3, 3);
    sdb_tensor dev = held(SDB_F32, 1, 3, 3, 4), half = sdi_view_channels(dev, 0, 2);
    sdi_exec_put(e, half, from, 0);
    ck_assert_int_eq(e->status, SD_ERROR_INTERNAL);
    sdi_tensor_free(from);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("host");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_pictures_go_both_ways, 0, (int)SD_COUNT(shapes));
    tcase_add_test(tc, test_some_pictures_of_many);
    tcase_add_test(tc, test_one_picture_is_everyones);
    tcase_add_test(tc, test_the_device_turns_planes);
    tcase_add_test(tc, test_nothing_is_done_after_a_failure);
    tcase_add_test(tc, test_what_is_not_packed_is_refused);
    Suite *suite = suite_create("host");
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
