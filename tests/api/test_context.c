/* Contexts, errors, tensors, images: what needs no model. */
#include "../support/image.h"
#include "api.h"

#include <stddef.h>

START_TEST(versions_agree) {
    ck_assert_uint_eq(sd_library_version(),
                      SD_VERSION_MAJOR * 10000 + SD_VERSION_MINOR * 100 + SD_VERSION_PATCH);
    ck_assert_str_eq(sd_library_version_string(), "0.1.0");
    ck_assert_ptr_nonnull(strstr(sd_build_info(), "openblas: "));
    ck_assert_ptr_nonnull(strchr(sd_build_info(), '\n'));
}
END_TEST

START_TEST(every_status_has_a_name) {
    for (int i = 0; i <= SD_ERROR_INTERNAL; i++)
        ck_assert_str_ne(sd_status_string((sd_status)i), "unknown status");
    ck_assert_str_eq(sd_status_string((sd_status)-1), "unknown status");
    ck_assert_str_eq(sd_status_string((sd_status)1000), "unknown status");
}
END_TEST

START_TEST(free_of_null_does_nothing) {
    sd_context_free(NULL);
    sd_model_free(NULL);
    sd_sampler_free(NULL);
    sd_tensor_free(NULL);
    sd_image_free(NULL);
    sd_context_cancel(NULL);
}
END_TEST

START_TEST(null_handles_are_answered) {
    ck_assert_str_eq(sd_context_device(NULL), "");
    ck_assert_int_eq(sd_tensor_n_dims(NULL), 0);
    ck_assert_ptr_null(sd_tensor_dims(NULL));
    ck_assert_ptr_null(sd_tensor_data(NULL));
    ck_assert_int_eq(sd_image_width(NULL), 0);
    ck_assert_ptr_null(sd_image_pixels(NULL));
    ck_assert_int_eq(sd_sampler_remaining(NULL), 0);
    ck_assert_ptr_null(sd_model_unexpected(NULL, 0));
    ck_assert_ptr_null(sd_token_text(NULL, 0, 0));
    ck_assert(sd_alphas_cumprod(NULL, 0) != sd_alphas_cumprod(NULL, 0));
    ck_status(sd_context_new(NULL, NULL), SD_ERROR_ARGUMENT, "out is NULL");
    ck_status(sd_image_save(NULL, "x.png", NULL), SD_ERROR_ARGUMENT, "image is NULL");
}
END_TEST

START_TEST(bad_context_parameters_are_named) {
    sd_context *ctx = (sd_context *)&ctx;
    sd_context_params p = SD_CONTEXT_PARAMS_INIT;
    p.n_threads = -1;
    ck_status(sd_context_new(&p, &ctx), SD_ERROR_ARGUMENT, "n_threads is -1");
    ck_assert_ptr_null(ctx);
    p = (sd_context_params)SD_CONTEXT_PARAMS_INIT;
    p.struct_size = 3;
    ck_status(sd_context_new(&p, &ctx), SD_ERROR_ARGUMENT, "struct_size is 3");
    p = (sd_context_params)SD_CONTEXT_PARAMS_INIT;
    p.log_level = (sd_log_level)9;
    ck_status(sd_context_new(&p, &ctx), SD_ERROR_ARGUMENT, "log_level is 9");
    p = (sd_context_params)SD_CONTEXT_PARAMS_INIT;
    p.deallocate = (sd_free_fn)(void (*)(void))abort;
    ck_status(sd_context_new(&p, &ctx), SD_ERROR_ARGUMENT, "allocate and deallocate");
    static const char *const bad_names[] = {"",       ":1",      "cpu:", "cpu:x",
                                            "cpu:-1", "../evil", "a/b",  "no.such"};
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        p = (sd_context_params)SD_CONTEXT_PARAMS_INIT;
        p.backend = bad_names[i];
        ck_status(sd_context_new(&p, &ctx), SD_ERROR_ARGUMENT, "backend '");
    }
    p.backend = "nosuch";
    ck_status(sd_context_new(&p, &ctx), SD_ERROR_BACKEND, "libsd-nosuch.so");
    p.backend = "cpu:99";
    ck_assert_int_ne(sd_context_new(&p, &ctx), SD_OK);
}
END_TEST

typedef struct owned {
    long live;      /* blocks */
    int n_released; /* times that it was let go */
} owned;

static void *owned_alloc(void *user, size_t size, size_t alignment) {
    owned *o = user;
    ck_assert_int_eq(o->n_released, 0);
    o->live++;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void owned_free(void *user, void *ptr, size_t size) {
    (void)size;
    owned *o = user;
    ck_assert_int_eq(o->n_released, 0);
    o->live--;
    free(ptr);
}

static void owned_release(void *user) {
    owned *o = user;
    ck_assert_int_eq((int)o->live, 0);
    o->n_released++;
}

static void owned_log(void *user, sd_log_level level, const char *message) {
    (void)level, (void)message;
    ck_assert_int_eq(((owned *)user)->n_released, 0);
}

/* The host's objects are let go once, after their last use, also where no context is made. */
START_TEST(the_host_is_released) {
    owned memory = {0}, log = {0};
    sd_context_params p = SD_CONTEXT_PARAMS_INIT;
    p.backend = "cpu";
    p.n_threads = 2;
    p.allocate = owned_alloc;
    p.deallocate = owned_free;
    p.alloc_user = &memory;
    p.alloc_release = owned_release;
    p.log = owned_log;
    p.log_level = SD_LOG_LEVEL_DEBUG;
    p.log_user = &log;
    p.log_release = owned_release;
    sd_context *ctx;
    sd_image *image;
    ck_ok(sd_context_new(&p, &ctx));
    ck_ok(new_image(ctx, 8, 8, 3, NULL, &image));
    sd_context_free(ctx);
    ck_assert_int_eq(memory.n_released + log.n_released, 0); /* the image is still there */
    sd_image_free(image);
    ck_assert(memory.n_released == 1 && log.n_released == 1);
    sd_context_params bad[4] = {p, p, p, p};
    bad[0].log_level = 9;
    bad[1].n_threads = -1;
    bad[2].backend = "nosuch";
    for (int i = 0; i < 4; i++) { /* the last has nowhere to put it */
        memory.n_released = log.n_released = 0;
        ck_assert_int_ne(sd_context_new(&bad[i], i < 3 ? &ctx : NULL), SD_OK);
        ck_assert(memory.n_released == 1 && log.n_released == 1 && memory.live == 0);
    }
}
END_TEST

/* A program that was compiled when a struct had more asks for nothing that is passed over. */
START_TEST(a_newer_struct_asks_for_nothing_new) {
    struct {
        sd_context_params known;
        int32_t more[2];
    } p = {SD_CONTEXT_PARAMS_INIT, {0, 0}};
    owned log = {0};
    sd_context *ctx;
    p.known.struct_size = sizeof p;
    p.known.backend = "reference";
    p.known.n_threads = 1;
    ck_ok(sd_context_new(&p.known, &ctx));
    sd_context_free(ctx);
    p.more[1] = 1;
    p.known.log_user = &log;
    p.known.log_release = owned_release;
    ck_status(sd_context_new(&p.known, &ctx), SD_ERROR_UNSUPPORTED, "of a newer header");
    ck_assert_ptr_null(ctx);
    ck_assert_int_eq(log.n_released, 1); /* what is known is the library's also then */
}
END_TEST

START_TEST(an_older_struct_is_enough) {
    /* as a program that was compiled when the struct ended after n_threads */
    sd_context_params p = SD_CONTEXT_PARAMS_INIT;
    p.backend = "reference";
    p.n_threads = 1;
    p.struct_size = offsetof(sd_context_params, log_level);
    p.log_level = (sd_log_level)77; /* beyond the end: must not be read */
    sd_context *ctx;
    ck_ok(sd_context_new(&p, &ctx));
    ck_assert_ptr_nonnull(strstr(sd_context_device(ctx), "reference"));
    sd_context_free(ctx);
}
END_TEST

/* One sentence a thread, of its last call: wherever that failed, and on what. */
/* For a newer program's larger struct as for an older one's smaller, and for nothing at all. */
START_TEST(functions_give_the_defaults) {
    struct {
        sd_sampler_params known;
        int64_t later[2], beyond;
    } newer;
    sd_sampler_params defaults = SD_SAMPLER_PARAMS_INIT;
    size_t size = offsetof(sd_sampler_params, seed) + sizeof newer.known.seed;
    memset(&newer, 0x55, sizeof newer);
    sd_sampler_params_init(&newer.known, sizeof newer - sizeof newer.beyond);
    ck_assert_uint_eq(newer.known.struct_size, sizeof newer - sizeof newer.beyond);
    newer.known.struct_size = sizeof defaults;
    ck_assert_mem_eq(&newer.known, &defaults, sizeof defaults);
    ck_assert(newer.later[0] == 0 && newer.later[1] == 0 && newer.beyond == 0x5555555555555555);

    memset(&newer, 0x55, sizeof newer);
    sd_sampler_params_init(&newer.known, size);
    ck_assert_uint_eq(newer.known.struct_size, size);
    ck_assert_uint_eq(newer.known.seed, 42);
    ck_assert_int_eq(newer.known.batch, 0x55555555);
    sd_sampler_params_init(NULL, size);
    sd_sampler_params_init(&newer.known, 0);
    ck_assert_uint_eq(newer.known.struct_size, size);
}
END_TEST

START_TEST(a_thread_has_one_sentence) {
    sd_context *a = open_context(1), *b = open_context(1);
    sd_image *image;
    sd_model *model;
    ck_assert_str_eq(sd_last_error(), "");
    ck_status(sd_image_load(a, "/nonexistent/a.png", NULL, &image), SD_ERROR_IO,
              "/nonexistent/a.png");
    ck_status(sd_image_load(b, "/nonexistent/b.png", NULL, &image), SD_ERROR_IO,
              "/nonexistent/b.png");
    ck_assert_ptr_null(strstr(sd_last_error(), "a.png"));
    ck_status(sd_model_load(NULL, "x", NULL, &model), SD_ERROR_ARGUMENT, "ctx is NULL");
    sd_context_free(a); /* a program may free before it tells */
    sd_context_free(b);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "ctx is NULL"));
}
END_TEST

START_TEST(success_leaves_no_sentence) {
    sd_context *ctx = open_context(1);
    const int64_t dims[SD_MAX_DIMS + 4] = {2};
    sd_tensor *t;
    ck_status(sd_tensor_new(ctx, 9, dims, NULL, &t), SD_ERROR_ARGUMENT, "9 dimensions");
    ck_assert_ptr_null(sd_model_unexpected(NULL, 0)); /* no status, and the sentence stays */
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "9 dimensions"));
    ck_ok(sd_tensor_new(ctx, 1, dims, NULL, &t));
    ck_assert_str_eq(sd_last_error(), "");
    sd_tensor_free(t);
    sd_context_free(ctx);
}
END_TEST

static void count_line(void *user, sd_log_level level, const char *message) {
    if (level == SD_LOG_LEVEL_INFO && strstr(message, "computing on the CPU, since: "))
        ++*(int *)user;
}

/* "auto" tries a GPU; where there is none that is for the log, not a failure. */
START_TEST(success_has_no_error) {
    sd_context_params p = SD_CONTEXT_PARAMS_INIT;
    int lines = 0;
    sd_context *ctx;
    p.n_threads = 1;
    p.log = count_line;
    p.log_user = &lines;
    p.log_level = SD_LOG_LEVEL_INFO;
    ck_ok(sd_context_new(&p, &ctx));
    ck_assert_int_eq(lines, strncmp(sd_context_device(ctx), "cpu", 3) == 0);
    ck_assert_str_eq(sd_last_error(), "");
    sd_model *model = open_model(ctx);
    ck_assert_str_eq(sd_last_error(), "");
    sd_model_free(model);
    ck_ok(sd_model_load(ctx, tiny_file(), NULL, &model));
    ck_assert_str_eq(sd_last_error(), "");
    sd_model_free(model);
    ck_assert_str_eq(sd_last_error(), "");
    sd_context_free(ctx);
}
END_TEST

START_TEST(handles_keep_their_context) {
    sd_context *ctx = open_context(2);
    const int64_t dims[] = {2, 3};
    const float values[] = {1, 2, 3, 4, 5, 6};
    sd_tensor *t;
    ck_ok(sd_tensor_new(ctx, 2, dims, values, &t));
    sd_image *image;
    ck_ok(new_image(ctx, 4, 5, 3, NULL, &image));
    sd_context_free(ctx);
    ck_assert_int_eq(sd_tensor_n_elements(t), 6);
    ck_assert_mem_eq(sd_tensor_data(t), values, sizeof values);
    ck_assert_int_eq(sd_image_pixels(image)[59], 0);
    sd_tensor_free(t);
    sd_image_free(image);
}
END_TEST

START_TEST(bad_shapes_are_refused) {
    sd_context *ctx = open_context(1);
    sd_tensor *t;
    const int64_t zero[] = {2, 0}, negative[] = {-1}, huge[] = {1 << 30, 1 << 30, 1 << 30};
    ck_status(sd_tensor_new(ctx, 2, zero, NULL, &t), SD_ERROR_ARGUMENT, "[2, 0]");
    ck_assert_ptr_null(t);
    ck_status(sd_tensor_new(ctx, 1, negative, NULL, &t), SD_ERROR_ARGUMENT, "[-1]");
    ck_status(sd_tensor_new(ctx, 3, huge, NULL, &t), SD_ERROR_ARGUMENT, "dimensions");
    ck_status(sd_tensor_new(ctx, 0, zero, NULL, &t), SD_ERROR_ARGUMENT, "0 dimensions");
    ck_status(sd_tensor_new(ctx, 1, NULL, NULL, &t), SD_ERROR_ARGUMENT, "dims is NULL");
    sd_image *image;
    ck_status(new_image(ctx, 0, 5, 3, NULL, &image), SD_ERROR_ARGUMENT, "0 x 5");
    sd_context_free(ctx);
}
END_TEST

START_TEST(images_go_to_tensors_and_back) {
    sd_context *ctx = open_context(1);
    uint8_t pixels[4 * 3 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 7);
    sd_image *image, *back, *saved;
    sd_tensor *t;
    ck_ok(new_image(ctx, 4, 3, 3, pixels, &image));
    ck_ok(sd_image_to_tensor(image, &t));
    ck_assert_int_eq(sd_tensor_n_dims(t), 4);
    ck_assert_int_eq(sd_tensor_dims(t)[2], 3);
    ck_assert_int_eq(sd_tensor_dims(t)[3], 4);
    ck_ok(sd_image_from_tensor(t, 0, &back));
    ck_assert_mem_eq(sd_image_pixels(back), pixels, sizeof pixels);
    ck_status(sd_image_from_tensor(t, 1, &saved), SD_ERROR_ARGUMENT, "1");
    const char *dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char path[512];
    snprintf(path, sizeof path, "%s/libsd-test-%p.png", dir, (void *)image);
    sd_image_save_params save = SD_IMAGE_SAVE_PARAMS_INIT;
    save.parameters = "a prompt\nSteps: 20";
    ck_ok(sd_image_save(image, path, &save));
    ck_ok(sd_image_load(ctx, path, NULL, &saved));
    ck_assert_mem_eq(sd_image_pixels(saved), pixels, sizeof pixels);
    remove(path);
    ck_status(sd_image_save(image, "/nonexistent/dir/x.png", NULL), SD_ERROR_IO,
              "/nonexistent/dir/x.png");
    sd_image_free(image);
    sd_image_free(back);
    sd_image_free(saved);
    sd_tensor_free(t);
    sd_context_free(ctx);
}
END_TEST

START_TEST(hostile_floats_become_pixels) {
    sd_context *ctx = open_context(1);
    const int64_t dims[] = {1, 3, 1, 2};
    const float values[] = {-0.0f, 1e30f, -1e30f, 3e38f, -3e38f, 0};
    sd_tensor *t;
    ck_ok(sd_tensor_new(ctx, 4, dims, values, &t));
    sd_image *image;
    ck_ok(sd_image_from_tensor(t, 0, &image));
    const uint8_t expected[] = {128, 0, 0, 255, 255, 128};
    ck_assert_mem_eq(sd_image_pixels(image), expected, sizeof expected);
    sd_image_free(image);
    sd_tensor_data_mut(t)[3] = (float)(1e308 * 10); /* no picture, and never a black one */
    ck_status(sd_image_from_tensor(t, 0, &image), SD_ERROR_ARGUMENT, "[0, 1, 0, 1]");
    ck_assert_ptr_null(image);
    sd_tensor_data_mut(t)[3] -= sd_tensor_data(t)[3]; /* inf - inf is NaN */
    ck_status(sd_image_from_tensor(t, 0, &image), SD_ERROR_ARGUMENT, "nan");
    sd_tensor_free(t);
    sd_context_free(ctx);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("context");
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, versions_agree);
    tcase_add_test(tests, every_status_has_a_name);
    tcase_add_test(tests, free_of_null_does_nothing);
    tcase_add_test(tests, null_handles_are_answered);
    tcase_add_test(tests, bad_context_parameters_are_named);
    tcase_add_test(tests, the_host_is_released);
    tcase_add_test(tests, a_newer_struct_asks_for_nothing_new);
    tcase_add_test(tests, an_older_struct_is_enough);
    tcase_add_test(tests, functions_give_the_defaults);
    tcase_add_test(tests, a_thread_has_one_sentence);
    tcase_add_test(tests, success_leaves_no_sentence);
    tcase_add_test(tests, success_has_no_error);
    tcase_add_test(tests, handles_keep_their_context);
    tcase_add_test(tests, bad_shapes_are_refused);
    tcase_add_test(tests, images_go_to_tensors_and_back);
    tcase_add_test(tests, hostile_floats_become_pixels);
    Suite *suite = suite_create("context");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
