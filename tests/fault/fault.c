/* Tries broken files and failing allocations, and counts what comes back. */
#include "fault.h"

#include "../tools/suite.h"

sd_context *fault_ctx;
counting fault_counts;
char fault_dir[FILES_PATH];

static long n_refused, n_survived, n_accepted, live_at_start;
static long by_status[SD_ERROR_INTERNAL + 1];

sd_status fault_load(const char *path) {
    sd_model *model = NULL;
    sd_status status = sd_model_load(fault_ctx, path, NULL, &model);
    ck_assert((status == SD_OK) == (model != NULL));
    sd_model_free(model);
    return status;
}

static int32_t look(void *user, const sd_checkpoint_tensor *tensor) {
    (void)user;
    ck_assert(tensor->name && tensor->type && tensor->n_dims >= 0);
    for (int i = 0; i < tensor->n_dims; i++)
        ck_assert(tensor->dims[i] >= 0);
    return 0;
}

sd_status fault_list(const char *path) {
    return sd_checkpoint_list(fault_ctx, path, look, NULL);
}

sd_status fault_image(const char *path) {
    sd_image *image = NULL;
    sd_status status = sd_image_load(fault_ctx, path, NULL, &image);
    ck_assert((status == SD_OK) == (image != NULL));
    sd_image_free(image);
    return status;
}

static void check_sentence(const char *label, sd_status status, const char *path,
                           const char *part) {
    const char *text = sd_last_error();
    ck_assert_msg(status > SD_OK && status < SD_ERROR_INTERNAL, "%s: status %d: %s", label,
                  (int)status, text);
    ck_assert_msg(*text, "%s: no sentence", label);
    ck_assert_msg(!path || strstr(text, path), "%s: the file is not named: %s", label, text);
    ck_assert_msg(!part || strstr(text, part), "%s: '%s' is not in: %s", label, part, text);
    ck_assert_msg(fault_counts.live == live_at_start, "%s: %ld blocks leaked", label,
                  fault_counts.live - live_at_start);
    by_status[status]++;
}

void fault_refused(const char *label, sd_status status, sd_status expected, const char *path,
                   const char *part) {
    ck_assert_msg(status != SD_OK, "%s: was accepted", label);
    ck_assert_msg(!expected || status == expected, "%s: status %d, %d was expected: %s", label,
                  (int)status, (int)expected, sd_last_error());
    check_sentence(label, status, path, part);
    n_refused++;
}

void fault_survived(const char *label, sd_status status, const char *path) {
    n_survived++;
    if (status)
        check_sentence(label, status, path, NULL);
    else
        n_accepted++;
    ck_assert_msg(fault_counts.live == live_at_start, "%s: leaked", label);
}

static void setup(void) {
    fault_ctx = counting_context(&fault_counts);
    ck_assert_ptr_nonnull(fault_ctx);
    live_at_start = fault_counts.live;
    files_make_temp(fault_dir);
}

static void teardown(void) {
    files_remove_tree(fault_dir);
    sd_context_free(fault_ctx);
    ck_assert_int_eq(fault_counts.live, 0);
}

TCase *fault_case(Suite *suite, const char *name) {
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 600);
    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int main(void) {
    Suite *suite = suite_create("fault");
    fault_add_weights(suite);
    fault_add_pickles(suite);
    fault_add_checkpoints(suite);
    fault_add_folders(suite);
    fault_add_images(suite);
    fault_add_memory(suite);
    fault_add_changes(suite);
    fault_add_adapters(suite);
    int failed = suite_run(suite, CK_NOFORK);
    printf("%ld broken inputs refused with a sentence; %ld inputs with random damage survived, "
           "%ld of them readable\n",
           n_refused, n_survived, n_accepted);
    for (int i = 1; i < SD_ERROR_INTERNAL; i++)
        if (by_status[i])
            printf("  %6ld %s\n", by_status[i], sd_status_string((sd_status)i));
    return failed || n_refused < 100 ? 1 : 0;
}
