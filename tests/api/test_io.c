/* Models from the host's own files. */
#include "../tools/files.h"
#include "api.h"

#include <stdatomic.h>

static sd_context *ctx;
static atomic_int released;

static void setup(void) {
    ctx = open_context(2);
    released = 0;
}

static void teardown(void) {
    sd_context_free(ctx);
}

static void SD_CALL on_release(void *user) {
    (void)user;
    released++;
}

/* ------------------------------------------------------------------------- files in memory */

/* The tiny folder as "model/...", the single file and another VAE. */
static const char *const in_folder[] = {"model_index.json",
                                        "scheduler/scheduler_config.json",
                                        "text_encoder/config.json",
                                        "text_encoder/model.safetensors",
                                        "tokenizer/merges.txt",
                                        "tokenizer/special_tokens_map.json",
                                        "tokenizer/tokenizer_config.json",
                                        "tokenizer/vocab.json",
                                        "unet/config.json",
                                        "unet/diffusion_pytorch_model.safetensors",
                                        "vae/config.json",
                                        "vae/diffusion_pytorch_model.safetensors"};
enum { N_FOLDER = sizeof in_folder / sizeof *in_folder, N_FILES = N_FOLDER + 2 };

static char names[N_FILES][128];
static sd_memory_file files[N_FILES];
static sd_memory_files all = {.files = files, .n = N_FILES};

static void take(int i, const char *path, const char *name) {
    snprintf(names[i], sizeof names[i], "%s", name);
    files[i].name = names[i];
    files[i].data = files_read(path, &files[i].size);
}

static void read_files(void) {
    char path[1200], name[128];
    for (int i = 0; i < N_FOLDER; i++) {
        snprintf(path, sizeof path, "%s/%s", tiny_folder(), in_folder[i]);
        snprintf(name, sizeof name, "model/%s", in_folder[i]);
        take(i, path, name);
    }
    take(N_FOLDER, tiny_file(), "tiny.safetensors");
    take(N_FOLDER + 1, getenv("SD_TEST_OTHER_FILE"), "more/other.safetensors");
}

static sd_io memory(void) {
    sd_io io = SD_IO_INIT;
    sd_io_memory(&all, &io);
    io.release = on_release;
    return io;
}

/* What is painted from memory has the bits of what is painted from the file system. */
static void check(const char *name, sd_model_params inside, const char *path,
                  sd_model_params outside) {
    sd_io io = memory();
    sd_model *a, *b;
    inside.io = &io;
    ck_ok(sd_model_load(ctx, name, &inside, &a));
    ck_ok(sd_model_load(ctx, path, &outside, &b));
    sd_tensor *x = painted(a), *y = painted(b);
    ck_assert(!memcmp(sd_tensor_data(x), sd_tensor_data(y),
                      (size_t)sd_tensor_n_elements(y) * sizeof(float)));
    sd_tensor_free(x);
    sd_tensor_free(y);
    sd_model_free(b);
    released = 0;
    sd_model_free(a);
    ck_assert_int_eq(released, 1);
}

START_TEST(a_folder_in_memory_is_the_folder) {
    const sd_model_params none = SD_MODEL_PARAMS_INIT;
    check("model", none, tiny_folder(), none);
    check("./model/", none, tiny_folder(), none);
    check("model/model_index.json", none, tiny_folder(), none);
}
END_TEST

START_TEST(files_in_memory_are_the_files) {
    sd_model_params inside = SD_MODEL_PARAMS_INIT, outside = SD_MODEL_PARAMS_INIT;
    char vocab[1024];
    snprintf(vocab, sizeof vocab, "%s/tokenizer", tiny_folder());
    inside.vocab = "model/tokenizer";
    outside.vocab = vocab;
    check("tiny.safetensors", inside, tiny_file(), outside);
    inside.vae = "more"; /* the only file there */
    outside.vae = getenv("SD_TEST_OTHER_FILE");
    inside.unet = "model/unet";
    outside.unet = tiny_folder();
    check("tiny.safetensors", inside, tiny_file(), outside);
}
END_TEST

/* No file of the system is looked at. */
START_TEST(what_the_host_lacks_is_lacking) {
    sd_io io = memory();
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    sd_model *model;
    p.io = &io;
    ck_status(sd_model_load(ctx, tiny_file(), &p, &model), SD_ERROR_IO, "has no such file");
    ck_assert_ptr_null(model);
    ck_assert_int_eq(released, 1);
    p.vocab = "elsewhere";
    ck_status(sd_model_load(ctx, "tiny.safetensors", &p, &model), SD_ERROR_IO, "elsewhere");
    ck_assert_int_eq(released, 2);
    io.size = NULL;
    ck_status(sd_model_load(ctx, "tiny.safetensors", &p, &model), SD_ERROR_ARGUMENT, "sd_io.size");
    ck_assert_int_eq(released, 3);
    p.precision = 99;
    ck_status(sd_model_load(ctx, "tiny.safetensors", &p, &model), SD_ERROR_ARGUMENT, "sd_io.size");
    ck_assert_int_eq(released, 4);
    io.struct_size = 3;
    ck_status(sd_model_load(ctx, "tiny.safetensors", &p, &model), SD_ERROR_ARGUMENT, "struct_size");
    ck_assert_int_eq(released, 4);
}
END_TEST

/* ------------------------------------------------------------------------- calls that fail */

static sd_io under;
static atomic_int n_calls, fail_at;

static int32_t SD_CALL read_or_fail(void *user, const char *name, uint64_t at, void *to, size_t n) {
    return n_calls++ == fail_at ? 5 : under.read(user, name, at, to, n);
}

static int64_t SD_CALL size_or_fail(void *user, const char *name) {
    return n_calls++ == fail_at ? -1 : under.size(user, name);
}

/* One read after the other fails: loading says of which file, and releases. */
START_TEST(each_failing_call_is_an_error) {
    sd_io io = memory();
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    sd_model *model;
    under = io;
    p.io = &io;
    io.read = read_or_fail;
    fail_at = -1;
    ck_ok(sd_model_load(ctx, "model", &p, &model));
    sd_model_free(model);
    int most = getenv("SD_TEST_BRIEF") ? 30 : 150; /* under sanitizers */
    int n = n_calls, step = n > most ? n / most : 1;
    ck_assert_int_gt(n, 20);
    for (int i = 0; i < n; i += step) {
        released = n_calls = 0;
        fail_at = i;
        ck_status(sd_model_load(ctx, "model", &p, &model), SD_ERROR_IO, "model/");
        ck_assert_int_eq(released, 1);
    }
    io.size = size_or_fail;
    io.read = under.read;
    for (int i = 0; i < 40; i++) { /* a file that is not there may be one that need not be */
        released = n_calls = 0;
        fail_at = i;
        sd_model_free(sd_model_load(ctx, "model", &p, &model) ? NULL : model);
        ck_assert_int_eq(released, 1);
    }
}
END_TEST

int main(void) {
    read_files();
    Suite *suite = suite_create("io");
    TCase *tcase = tcase_create("memory");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_folder_in_memory_is_the_folder);
    tcase_add_test(tcase, files_in_memory_are_the_files);
    tcase_add_test(tcase, what_the_host_lacks_is_lacking);
    tcase_add_test(tcase, each_failing_call_is_an_error);
    suite_add_tcase(suite, tcase);
    int failed = run_suite(suite);
    for (int i = 0; i < N_FILES; i++)
        free((void *)files[i].data);
    return failed;
}
