/* A host with a decimal comma, or a point of two bytes (Pashto): sentences and files have points.
 */
#define _DEFAULT_SOURCE

#include "../support/params.h"
#include "api.h"

#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

/* LC_NUMERIC as glibc's localedef writes it, so that no locale needs to be installed: a number for
 * the category, the count and places of six items, then the point, the separator of thousands,
 * their grouping, both once more as wide characters, and the character set. */
#define ITEMS "\x14\x11\x03\x20\6\0\0\0\x20\0\0\0"
static const char comma[] = ITEMS "\x22\0\0\0\x24\0\0\0\x28\0\0\0\x2c\0\0\0\x30\0\0\0"
                                  ",\0.\0\3\3\0\0,\0\0\0.\0\0\0UTF-8";
static const char two_bytes[] = ITEMS "\x23\0\0\0\x26\0\0\0\x28\0\0\0\x2c\0\0\0\x30\0\0\0"
                                      "\xd9\xab\0\xd9\xac\0\3\0\x6b\6\0\0\x6c\6\0\0UTF-8";

static const struct {
    const char *name, *half;
    const char *file;
    size_t size;
} locales[] = {
    {"comma", "0,5", comma, sizeof comma},
    {"two_bytes",
     "0\xd9\xab"
     "5",
     two_bytes, sizeof two_bytes},
};

static char folder[100];

static void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

/* False where the C library has locales of another kind. */
static bool make_locale(int i) {
    char path[200], half[8];
    snprintf(path, sizeof path, "%s/%s", folder, locales[i].name);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/%s/LC_NUMERIC", folder, locales[i].name);
    write_file(path, locales[i].file, locales[i].size);
    if (!setlocale(LC_NUMERIC, locales[i].name))
        return false;
    snprintf(half, sizeof half, "%g", 0.5);
    return strcmp(half, locales[i].half) == 0;
}

static void collect(void *user, sd_log_level level, const char *message) {
    char *text = user;
    (void)level;
    strncat(text, message, 4000 - strlen(text));
}

static void check_sentences(sd_model *model) {
    sd_sampler *sampler;
    sd_sampler_params p = small_run();
    p.eta = -0.5f;
    ck_status(sd_sampler_new(model, &p, &sampler), SD_ERROR_ARGUMENT, "eta is -0.5;");
    p = small_run();
    p.guidance_rescale = 1.25f;
    ck_status(sd_sampler_new(model, &p, &sampler), SD_ERROR_ARGUMENT, "rescale is 1.25;");
}

/* Decimals in scheduler_config.json and in a YAML config. */
static void check_files(sd_context *ctx) {
    sd_model *model;
    char path[200], text[400];
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    snprintf(path, sizeof path, "%s/config.yaml", folder);
    snprintf(text, sizeof text,
             "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n"
             "    linear_start: 0.5\n    linear_end: 0.25\n");
    write_file(path, text, strlen(text));
    params.config = path;
    sd_status status = sd_model_load(ctx, tiny_file(), &params, &model);
    ck_assert_int_ne(status, SD_OK);
    ck_assert_ptr_null(strchr(sd_last_error(), ','));
}

static void paint(sd_model *model, uint8_t *pixels) {
    sd_sampler_params sampling = small_run();
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    sampling.steps = 1;
    params.prompt = "a (lake:1.35) [boat]";
    params.text = TEXT(.weighted = 1);
    params.sampling = &sampling;
    sd_image *image;
    ck_ok(sd_generate(model, &params, &image, 1));
    memcpy(pixels, sd_image_pixels(image), 64 * 64 * 3);
    sd_image_free(image);
}

START_TEST(decimals_have_points) {
    static uint8_t before[64 * 64 * 3], after[64 * 64 * 3];
    static char log[4096];
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    params.backend = "cpu";
    params.log = collect;
    params.log_user = log;
    params.log_level = SD_LOG_LEVEL_INFO;
    setlocale(LC_NUMERIC, "C");
    ck_ok(sd_context_new(&params, &ctx));
    sd_model *model = open_model(ctx);
    paint(model, before);
    sd_model_free(model);
    if (!make_locale(_i)) {
        printf("skipped: locale %s cannot be made here\n", locales[_i].name);
    } else {
        log[0] = '\0';
        model = open_model(ctx); /* reads the schedule's betas */
        ck_assert_msg(strstr(log, " M parameters") && !strstr(log, locales[_i].half + 1), "%s",
                      log);
        paint(model, after);
        ck_assert_mem_eq(before, after, sizeof before);
        check_sentences(model);
        check_files(ctx);
        sd_model_free(model);
        char half[8]; /* the host's own is as it was */
        snprintf(half, sizeof half, "%g", 0.5);
        ck_assert_str_eq(half, locales[_i].half);
    }
    setlocale(LC_NUMERIC, "C");
    sd_context_free(ctx);
}
END_TEST

static void remove_folder(void) {
    char path[200];
    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++) {
        snprintf(path, sizeof path, "%s/%s/LC_NUMERIC", folder, locales[i].name);
        remove(path);
        snprintf(path, sizeof path, "%s/%s", folder, locales[i].name);
        rmdir(path);
    }
    snprintf(path, sizeof path, "%s/config.yaml", folder);
    remove(path);
    rmdir(folder);
}

static bool make_folder(void) {
    const char *base = getenv("TMPDIR");
    int n =
        snprintf(folder, sizeof folder, "%s/libsd-locale-XXXXXX", base && *base ? base : "/tmp");
    return n < (int)sizeof folder && mkdtemp(folder);
}

int main(void) {
    if (!make_folder())
        return 1;
    setenv("LOCPATH", folder, 1);
    TCase *tests = tcase_create("locale");
    tcase_set_timeout(tests, 0);
    tcase_add_loop_test(tests, decimals_have_points, 0, sizeof locales / sizeof *locales);
    Suite *suite = suite_create("locale");
    suite_add_tcase(suite, tests);
    int code = run_suite(suite);
    remove_folder();
    return code;
}
