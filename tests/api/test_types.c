/*
 * The tiny model in other types: float64 that holds the same numbers gives the same bits, and
 * float8 those of a float16 file with its numbers. Tensors of types that no network reads, and NaN.
 */
#include "api.h"

#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <unistd.h>

/* ------------------------------------------------------------------------- rewriting a file */

typedef struct file {
    json_t *header;
    uint8_t *bytes, *data; /* data: within bytes */
    size_t n;              /* of the data */
} file;

static file read_file(const char *path) {
    file f = {0};
    uint8_t length[8];
    FILE *in = fopen(path, "rb");
    ck_assert(in && fread(length, 1, 8, in) == 8);
    size_t n = (size_t)length[0] | (size_t)length[1] << 8 | (size_t)length[2] << 16;
    ck_assert_int_eq(fseek(in, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(in) - 8;
    f.bytes = malloc(size);
    ck_assert_int_eq(fseek(in, 8, SEEK_SET), 0);
    ck_assert_uint_eq(fread(f.bytes, 1, size, in), size);
    fclose(in);
    f.header = json_loadb((const char *)f.bytes, n, 0, NULL);
    ck_assert_ptr_nonnull(f.header);
    f.data = f.bytes + n;
    f.n = size - n;
    return f;
}

static double half_value(uint16_t h) {
    int exponent = h >> 10 & 31;
    double size = ldexp((exponent ? 1024 : 0) + (h & 1023), (exponent ? exponent : 1) - 25);
    return h & 0x8000 ? -size : size;
}

/* The float8 e4m3 code of a number that is rounded toward zero, and the number as float16: both by
 * cutting, which is exact for what is left. */
static uint8_t code_of(uint16_t h, uint16_t *rounded) {
    int exponent = (h >> 10 & 31) - 15 + 7;
    if (exponent < 1 || exponent > 14) { /* tiny ones become zero; none is so large */
        *rounded = h & 0x8000;
        return (uint8_t)(*rounded >> 8);
    }
    *rounded = h & 0xff80;
    return (uint8_t)((h & 0x8000) >> 8 | exponent << 3 | (h >> 7 & 7));
}

typedef enum form { SAME, DOUBLES, CODES, ROUNDED, SCALED, SCALED_ROUNDED, MIXED } form;

#define SCALE 0.25 /* a power of two: scaled numbers are exact in float16 */

/* One tensor's elements in another form; their bytes. */
static size_t convert(uint8_t *to, const uint8_t *from, size_t n, form kind) {
    size_t size = kind == DOUBLES || kind == MIXED ? 8 : kind == CODES || kind == SCALED ? 1 : 2;
    for (size_t i = 0; i < n; i++) {
        uint16_t h, rounded;
        memcpy(&h, from + 2 * i, 2);
        double x = half_value(h);
        uint8_t code = code_of(h, &rounded);
        if (kind == SCALED_ROUNDED && (rounded & 0x7fff))
            rounded = (uint16_t)(rounded - (2 << 10)); /* by SCALE: e4m3 begins far above 2^-14 */
        const void *element = size == 8      ? (const void *)&x
                              : size == 1    ? (const void *)&code
                              : kind == SAME ? (const void *)&h
                                             : (const void *)&rounded;
        memcpy(to + i * size, element, size);
    }
    return n * size;
}

static void add_tensor(json_t *header, const char *name, const char *type, json_t *shape,
                       size_t *at, size_t size) {
    json_t *t = json_pack("{s:s, s:O, s:[I, I]}", "dtype", type, "shape", shape, "data_offsets",
                          (json_int_t)*at, (json_int_t)(*at + size));
    ck_assert_int_eq(json_object_set_new(header, name, t), 0);
    *at += size;
}

static void write_file(const char *path, json_t *header, const uint8_t *data, size_t n) {
    char *text = json_dumps(header, JSON_COMPACT);
    uint8_t length[8] = {0};
    for (int i = 0; i < 4; i++)
        length[i] = (uint8_t)(strlen(text) >> (8 * i));
    FILE *out = fopen(path, "wb");
    ck_assert(out && fwrite(length, 1, 8, out) == 8);
    ck_assert_uint_eq(fwrite(text, 1, strlen(text), out), strlen(text));
    ck_assert_uint_eq(fwrite(data, 1, n, out), n);
    fclose(out);
    free(text);
}

static bool is_concerned(const char *name, const json_t *t, form kind) {
    if (kind == MIXED && strlen(name) % 2 == 0 && !strstr(name, "to_k") && !strstr(name, "k_proj"))
        return false; /* so that queries, keys and values of one product differ */
    const char *type = json_string_value(json_object_get(t, "dtype"));
    bool matrix = json_array_size(json_object_get(t, "shape")) > 1;
    return strcmp(type, "F16") == 0 &&
           ((kind != SCALED && kind != SCALED_ROUNDED) ||
            (matrix && strncmp(name, "model.diffusion_model.", 22) == 0));
}

/* The tiny file with its float16 tensors in another form; `last` (a type, or NULL) is one more
 * tensor that is read by none. */
static void write_form(const char *path, form kind, const char *last) {
    static const char *const types[] = {"F16", "F64", "F8_E4M3", "F16", "F8_E4M3", "F16", "F64"};
    static const float scale = (float)SCALE;
    file f = read_file(tiny_file());
    json_t *header = json_object(), *t, *one = json_pack("[i]", 8), *none = json_array();
    uint8_t *data = malloc(5 * f.n);
    size_t at = 0, size;
    const char *name;
    json_object_foreach(f.header, name, t) {
        if (strcmp(name, "__metadata__") == 0) {
            json_object_set(header, name, t);
            continue;
        }
        const json_t *offsets = json_object_get(t, "data_offsets");
        size_t begin = (size_t)json_integer_value(json_array_get(offsets, 0));
        size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));
        bool concerned = is_concerned(name, t, kind);
        size = end - begin;
        if (concerned)
            size = convert(data + at, f.data + begin, size / 2, kind);
        else
            memcpy(data + at, f.data + begin, size);
        add_tensor(header, name,
                   concerned ? types[kind] : json_string_value(json_object_get(t, "dtype")),
                   json_object_get(t, "shape"), &at, size);
        if (concerned && kind == SCALED) {
            char beside[256];
            snprintf(beside, sizeof beside, "%.*s.scale_weight", (int)strlen(name) - 7, name);
            memcpy(data + at, &scale, sizeof scale);
            add_tensor(header, beside, "F32", none, &at, sizeof scale);
        }
    }
    if (last) {
        memset(data + at, 0, 64);
        size = strstr(last, "64") ? 64 : strstr(last, "32") ? 32 : strstr(last, "16") ? 16 : 8;
        add_tensor(header, "unknown", last, one, &at, size);
    }
    write_file(path, header, data, at);
    json_decref(header);
    json_decref(one);
    json_decref(none);
    json_decref(f.header);
    free(f.bytes);
    free(data);
}

/* ------------------------------------------------------------------------- tests */

static char path[64];
static char lines[4096];

static void note(void *user, sd_log_level level, const char *text) {
    (void)user;
    if (level == SD_LOG_LEVEL_WARN)
        snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "%s\n", text);
}

static void setup(void) {
    snprintf(path, sizeof path, "/tmp/sd-test-types-XXXXXX");
    close(mkstemp(path));
    lines[0] = 0;
}

static void teardown(void) {
    remove(path);
}

static sd_context *open_logged(const char *backend) {
    sd_context_params p = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    p.backend = backend;
    p.n_threads = 2;
    p.log = note;
    ck_ok(sd_context_new(&p, &ctx));
    return ctx;
}

/* A small picture by the model in `path`. */
static sd_image *paint(const char *backend) {
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    char vocabulary[1024];
    sd_context *ctx = open_logged(backend);
    sd_model *model;
    sd_image *image;
    snprintf(vocabulary, sizeof vocabulary, "%s/tokenizer", tiny_folder());
    mp.vocab = vocabulary;
    ck_ok(sd_model_load(ctx, path, &mp, &model));
    sd_sampler_params sampling = small_run();
    p.prompt = "a red boat";
    p.sampling = &sampling;
    sampling.steps = 2;
    ck_ok(sd_generate(model, &p, &image, 1));
    sd_model_free(model);
    sd_context_free(ctx);
    return image;
}

static void check_same(form kind, form like, const char *backend) {
    write_form(path, kind, NULL);
    sd_image *a = paint(backend);
    write_form(path, like, NULL);
    sd_image *b = paint(backend);
    const uint8_t *x = sd_image_pixels(a), *y = sd_image_pixels(b);
    int most = 0, spread = 0;
    for (int i = 0; i < 64 * 64 * 3; i++) {
        most = abs(x[i] - y[i]) > most ? abs(x[i] - y[i]) : most;
        spread = abs(x[i] - x[0]) > spread ? abs(x[i] - x[0]) : spread;
    }
    printf("form %d like %d on %s: largest difference %d of 255\n", kind, like, backend, most);
    ck_assert_int_eq(most, 0);
    ck_assert_int_gt(spread, 20); /* it is a picture */
    ck_assert_str_eq(lines, "");
    sd_image_free(a);
    sd_image_free(b);
}

START_TEST(float64_is_the_same_picture) {
    check_same(DOUBLES, SAME, "cpu");
    check_same(MIXED, SAME, "cpu");
    check_same(DOUBLES, SAME, "reference");
}
END_TEST

START_TEST(float8_is_its_numbers_picture) {
    check_same(CODES, ROUNDED, "cpu");
    check_same(CODES, ROUNDED, "reference");
    check_same(SCALED, SCALED_ROUNDED, "cpu");
}
END_TEST

static int32_t count(void *user, const sd_checkpoint_tensor *tensor) {
    if (strcmp(tensor->name, "unknown") == 0)
        snprintf(user, 32, "%s", tensor->type);
    return 0;
}

START_TEST(types_of_no_network_are_listed) {
    static const char *const types[] = {"U16", "C64", "F8_E8M0", "X16"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        sd_context *ctx = open_logged("cpu");
        sd_model *model;
        char listed[32] = "";
        lines[0] = 0;
        write_form(path, SAME, types[i]);
        ck_ok(sd_checkpoint_list(ctx, path, count, listed));
        ck_assert_str_eq(listed, types[i]);
        ck_ok(sd_model_load(ctx, path, NULL, &model));
        ck_assert_msg(strstr(lines, "\"unknown\" is used by no network"), "%s", lines);
        sd_model_free(model);
        sd_context_free(ctx);
    }
}
END_TEST

/* ------------------------------------------------------------------------- NaN */

/* Puts a NaN as the last element of a tensor of the file in `path`. */
static void break_tensor(const char *name, const void *code, size_t size) {
    file f = read_file(path);
    const json_t *offsets = json_object_get(json_object_get(f.header, name), "data_offsets");
    ck_assert_ptr_nonnull(offsets);
    size_t end = (size_t)json_integer_value(json_array_get(offsets, 1));
    memcpy(f.data + end - size, code, size);
    write_file(path, f.header, f.data, f.n);
    json_decref(f.header);
    free(f.bytes);
}

static void check_broken(form kind, const char *backend, const void *code, size_t size, int n) {
    static const char *const names[] = {
        "model.diffusion_model.out.2.weight", "model.diffusion_model.out.0.bias",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        "first_stage_model.decoder.conv_out.bias"};
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    sd_context *ctx = open_logged(backend);
    sd_model *model;
    for (int i = 0; i < n; i++) {
        lines[0] = 0;
        p.strict = 0;
        write_form(path, kind, NULL);
        break_tensor(names[i], code, size);
        ck_ok(sd_model_load(ctx, path, &p, &model));
        ck_assert_msg(strstr(lines, names[i]) && strstr(lines, "NaN") && strstr(lines, path), "%s",
                      lines);
        ck_assert_ptr_null(strstr(strstr(lines, "NaN") + 1, "NaN")); /* once */
        sd_model_free(model);
        p.strict = 1;
        ck_status(sd_model_load(ctx, path, &p, &model), SD_ERROR_MODEL, names[i]);
    }
    sd_context_free(ctx);
}

START_TEST(nan_is_named) {
    static const uint16_t half = 0x7e00;
    static const uint64_t infinity = 0x7ff0000000000000u;
    static const uint8_t code = 0x7f;
    check_broken(SAME, "cpu", &half, 2, 4);
    check_broken(SAME, "reference", &half, 2, 1);
    check_broken(DOUBLES, "cpu", &infinity, 8, 1);
    check_broken(CODES, "cpu", &code, 1, 2);
}
END_TEST

START_TEST(nan_in_an_embedding_is_named) {
    static const uint16_t half = 0xfc00;
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    sd_context *ctx = open_logged("cpu");
    sd_model *model;
    sd_adapter_use use = SD_ADAPTER_USE_INIT;
    const sd_adapter_use *uses[] = {&use};
    json_t *header = json_object(), *shape = json_pack("[i, i]", 2, 128);
    uint8_t data[512] = {0};
    size_t at = 0;
    memcpy(data + 510, &half, 2);
    add_tensor(header, "emb_params", "F16", shape, &at, sizeof data);
    write_file(path, header, data, sizeof data);
    json_decref(header);
    json_decref(shape);
    use.path = path;
    use.word = "thing";
    p.adapters = uses;
    p.n_adapters = 1;
    ck_ok(sd_model_load(ctx, tiny_folder(), &p, &model));
    ck_assert_msg(strstr(lines, "'emb_params'") && strstr(lines, path), "%s", lines);
    sd_model_free(model);
    p.strict = 1;
    ck_status(sd_model_load(ctx, tiny_folder(), &p, &model), SD_ERROR_MODEL, path);
    sd_context_free(ctx);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("types");
    TCase *tcase = tcase_create("types");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, float64_is_the_same_picture);
    tcase_add_test(tcase, float8_is_its_numbers_picture);
    tcase_add_test(tcase, types_of_no_network_are_listed);
    tcase_add_test(tcase, nan_is_named);
    tcase_add_test(tcase, nan_in_an_embedding_is_named);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
