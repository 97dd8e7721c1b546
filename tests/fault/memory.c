/* Every allocation of opening, decoding, encoding and resizing fails once, alone and with all after
 * it. (jansson and libjpeg take theirs from the C library, where we cannot count them.) */
#include "fault.h"

#include "core/tensor.h"
#include "io/image.h"
#include "model/source.h"

static char target[FILES_PATH];
static uint8_t *image_bytes;
static size_t n_image_bytes;

static sd_status open_weights(void) {
    sd_weights *w;
    sd_status status = sdi_weights_open(fault_ctx, target, &w);
    ck_assert((status == SD_OK) == (w != NULL));
    sdi_weights_close(w);
    return status;
}

static sd_status open_source(void) {
    sd_source *s;
    sd_status status = sdi_source_open(fault_ctx, target, &s);
    ck_assert((status == SD_OK) == (s != NULL));
    sdi_source_close(s);
    return status;
}

/* `target` is the tiny model's file. */
static sd_status open_configured(void) {
    sd_source *s;
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    params.config = SD_TEST_CONFIG;
    sd_status status = sdi_source_open_params(fault_ctx, target, &params, &s);
    ck_assert((status == SD_OK) == (s != NULL));
    sdi_source_close(s);
    return status;
}

/* `target` is a small autoencoder, or one half of it. */
static sd_status add_tiny(void) {
    sd_source *s;
    sd_status status = sdi_source_open(fault_ctx, getenv("SD_TEST_TINY_FILE"), &s);
    if (!status)
        status = sdi_source_add_tiny(s, target);
    sdi_source_close(s);
    return status;
}

static sd_status decode(void) {
    sd_image *image;
    sd_status status = sdi_image_decode(fault_ctx, target, image_bytes, n_image_bytes, &image);
    ck_assert((status == SD_OK) == (image != NULL));
    sdi_image_free(image);
    return status;
}

/* Needs an image first, whose own memory is counted with the rest. */
static sd_status with_image(sd_status (*fn)(const sd_image *)) {
    sd_image *image;
    sd_status status = sdi_image_new(fault_ctx, 70, 50, 4, &image);
    if (status)
        return status;
    uint32_t noise = 1;
    for (int i = 0; i < 70 * 50 * 4; i++)
        image->pixels[i] = (uint8_t)((noise = noise * 1664525u + 1013904223u) >> 24);
    status = fn(image);
    sdi_image_free(image);
    return status;
}

static sd_status to_png(const sd_image *image) {
    uint8_t *bytes;
    size_t n;
    sd_status status =
        sdi_image_encode(image, &(sd_image_file){.parameters = "caf\xc3\xa9"}, &bytes, &n);
    ck_assert((status == SD_OK) == (bytes != NULL));
    sdi_free(fault_ctx, bytes);
    return status;
}

static sd_status to_jpeg(const sd_image *image) {
    uint8_t *bytes;
    size_t n;
    sd_status status =
        sdi_image_encode(image, &(sd_image_file){true, 100, "a comment"}, &bytes, &n);
    ck_assert((status == SD_OK) == (bytes != NULL));
    sdi_free(fault_ctx, bytes);
    return status;
}

static sd_status resize(const sd_image *image) {
    sd_image *out;
    sd_status status = sdi_image_lanczos(image, 31, 91, &out);
    ck_assert((status == SD_OK) == (out != NULL));
    sdi_image_free(out);
    return status;
}

static sd_status encode_png(void) {
    return with_image(to_png);
}

static sd_status encode_jpeg(void) {
    return with_image(to_jpeg);
}

static sd_status resample(void) {
    return with_image(resize);
}

/* The next request: every one of the first hundred, then some hundreds of a long run. */
static long after(long i, long n) {
    return i + (i < 100 ? 1 : 1 + n / 200);
}

static void fail_each(const char *label, sd_status (*run)(void)) {
    fault_counts.made = fault_counts.fail_at = 0;
    ck_assert_msg(run() == SD_OK, "%s: %s", label, sd_last_error());
    long n = fault_counts.made, tried = 0;
    ck_assert_int_gt(n, 0);
    for (int and_after = 0; and_after < 2; and_after++) {
        for (long i = 1; i <= n; i = after(i, n), tried++) {
            fault_counts.made = 0;
            fault_counts.fail_at = i;
            fault_counts.and_after = and_after;
            sd_status status = run();
            fault_counts.fail_at = 0;
            fault_refused(label, status, SD_ERROR_MEMORY, NULL, "out of memory");
        }
    }
    printf("%-28s %5ld allocations, %ld failures\n", label, n, tried);
}

static void read_fixture(const char *name) {
    free(image_bytes);
    snprintf(target, sizeof target, "%s", name);
    image_bytes = files_read(files_path(SD_TEST_DATA, name), &n_image_bytes);
}

START_TEST(no_memory_for_files) {
    const char *path = files_path(fault_dir, "model.safetensors");
    safetensors *s = safetensors_tiny_original();
    safetensors_metadata(s, "sd.unet_heads", "[4, 4, 4]");
    safetensors_save(s, path);
    safetensors_free(s);
    snprintf(target, sizeof target, "%s", path);
    fail_each("sdi_weights_open", open_weights);
    fail_each("sdi_source_open, a file", open_source);
    snprintf(target, sizeof target, "%s", files_path(fault_dir, "index.json"));
    files_write_text(target, "{\"weight_map\": {\"model.diffusion_model.out.2.weight\": "
                             "\"model.safetensors\"}}");
    fail_each("sdi_weights_open, an index", open_weights);
    snprintf(target, sizeof target, "%s", SD_TEST_DATA "/ckpt/lightning.ckpt");
    fail_each("sdi_weights_open, .ckpt", open_weights);
    snprintf(target, sizeof target, "%s", SD_TEST_DATA "/ckpt/deflated.ckpt");
    fail_each("sdi_weights_open, deflated", open_weights);
    snprintf(target, sizeof target, "%s", getenv("SD_TEST_TINY_FILE"));
    fail_each("sdi_source_open_params", open_configured);
    snprintf(target, sizeof target, "%s", getenv("SD_TEST_TAESD_FOLDER"));
    fail_each("sdi_source_add_tiny, a folder", add_tiny);
    snprintf(target, sizeof target, "%s/taesd_decoder.safetensors", getenv("SD_TEST_TAESD_HALVES"));
    fail_each("sdi_source_add_tiny, halves", add_tiny);
    files_make_tiny_diffusers(fault_dir);
    files_write_text(files_path(fault_dir, "tokenizer/special_tokens_map.json"),
                     "{\"pad_token\": \"x\"}");
    files_write_text(files_path(fault_dir, "tokenizer/vocab.json"), "{\"x\": 1}");
    snprintf(target, sizeof target, "%s", fault_dir);
    fail_each("sdi_source_open, a folder", open_source);
}
END_TEST

START_TEST(no_memory_for_images) {
    static const char *const names[] = {"rgb8-interlaced.png", "palette8-trns.png",
                                        "jpeg-progressive.jpg", "upright-6.png", "held-5.jpg"};
    for (size_t i = 0; i < SD_COUNT(names); i++) {
        read_fixture(names[i]);
        fail_each(names[i], decode);
    }
    free(image_bytes);
    image_bytes = NULL;
    fail_each("sdi_png_encode", encode_png);
    fail_each("sdi_jpeg_encode", encode_jpeg);
    fail_each("sdi_image_lanczos", resample);
}
END_TEST

void fault_add_memory(Suite *suite) {
    TCase *tcase = fault_case(suite, "memory");
    tcase_add_test(tcase, no_memory_for_files);
    tcase_add_test(tcase, no_memory_for_images);
}
