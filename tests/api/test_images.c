/* Pictures in files, in the host's memory and to its functions. */
#include "../support/image.h"
#include "api.h"

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

static sd_context *ctx;
static char folder[256];

static void setup(void) {
    const char *temporary = getenv("TMPDIR");
    ctx = open_context(1);
    snprintf(folder, sizeof folder, "%s/libsd-images-XXXXXX", temporary ? temporary : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

/* A path in the folder; the last two stay valid. */
static const char *in_folder(const char *name) {
    static char paths[2][600];
    static int at;
    at = !at;
    snprintf(paths[at], sizeof paths[at], "%s/%s", folder, name);
    return paths[at];
}

static int count_files(bool remove_them) {
    int n = 0;
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (remove_them)
            unlink(in_folder(entry->d_name));
        n++;
    }
    closedir(dir);
    return n;
}

static void teardown(void) {
    count_files(true);
    rmdir(folder);
    sd_context_free(ctx);
}

static sd_image *picture(uint8_t red) {
    sd_image *image;
    ck_ok(new_image(ctx, 8, 5, 3, NULL, &image));
    for (int i = 0; i < 8 * 5; i++)
        sd_image_pixels_mut(image)[3 * i] = red;
    return image;
}

static int red_of(const char *path) {
    sd_image *image;
    ck_ok(sd_image_load(ctx, path, NULL, &image));
    ck_assert_int_eq(sd_image_width(image), 8);
    int red = sd_image_pixels(image)[0];
    sd_image_free(image);
    return red;
}

START_TEST(a_new_file_leaves_the_old_one) {
    sd_image_save_params params = SD_IMAGE_SAVE_PARAMS_INIT;
    sd_image *first = picture(10), *second = picture(20);
    params.only_new = 1;
    params.parameters = "Steps: 3";
    const char *path = in_folder("a.png");
    ck_ok(sd_image_save(first, path, &params));
    ck_status(sd_image_save(second, path, &params), SD_ERROR_STATE, "a.png");
    ck_assert_int_eq(red_of(path), 10);
    ck_ok(sd_image_save(second, path, NULL));
    ck_assert_int_eq(red_of(path), 20);
    ck_ok(sd_image_save(first, path, NULL));
    ck_assert_int_eq(red_of(path), 10);
    ck_assert_int_eq(count_files(false), 1);
    params.struct_size = 1;
    ck_status(sd_image_save(first, path, &params), SD_ERROR_ARGUMENT, "struct_size");
    ck_status(sd_image_save(NULL, path, NULL), SD_ERROR_ARGUMENT, "image is NULL");
    ck_status(sd_image_save(first, NULL, NULL), SD_ERROR_ARGUMENT, "path is NULL");
    ck_status(sd_image_save(first, in_folder("no/where.png"), NULL), SD_ERROR_IO, "where.png");
    sd_image_free(first);
    sd_image_free(second);
}
END_TEST

enum { THREADS = 4, EACH = 20 };

/* Takes the next free name EACH times; returns how many were written. */
static void *take_names(void *arg) {
    sd_image_save_params params = SD_IMAGE_SAVE_PARAMS_INIT;
    sd_image *image = arg;
    size_t written = 0;
    params.only_new = 1;
    for (int number = 0; written < EACH && number < THREADS * EACH; number++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%05d.png", folder, number);
        sd_status status = sd_image_save(image, path, &params);
        if (status && status != SD_ERROR_STATE)
            break;
        written += !status;
    }
    return (void *)written;
}

START_TEST(threads_at_once_lose_nothing) {
    pthread_t threads[THREADS];
    sd_image *images[THREADS];
    int seen[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        images[i] = picture((uint8_t)i);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_names, images[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *written;
        ck_assert_int_eq(pthread_join(threads[i], &written), 0);
        ck_assert_uint_eq((size_t)written, EACH);
    }
    for (int i = 0; i < THREADS * EACH; i++) {
        char name[16];
        snprintf(name, sizeof name, "%05d.png", i);
        seen[red_of(in_folder(name))]++;
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(seen[i], EACH);
        sd_image_free(images[i]);
    }
    ck_assert_int_eq(count_files(false), THREADS * EACH);
}
END_TEST

START_TEST(names_say_what_is_written) {
    static const struct {
        const char *name, *signature; /* NULL: refused */
    } cases[] = {
        {"a.png", "\x89PNG"},
        {"a.PNG", "\x89PNG"},
        {"plain", "\x89PNG"},
        {".hidden", "\x89PNG"},
        {"a.b.png", "\x89PNG"},
        {"a.jpg", "\xff\xd8\xff\xe0"},
        {"a.JPEG", "\xff\xd8\xff\xe0"},
        {"a.webp", NULL},
        {"a.WebP", NULL},
        {"a.png.tmp", NULL},
        {"a.jp", NULL},
        {"a.pngx", NULL},
        {"a.gif", NULL},
        {"a.", NULL},
    };
    sd_image *image = picture(1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = in_folder(cases[i].name);
        sd_status status = sd_image_save(image, path, NULL);
        if (!cases[i].signature) {
            ck_status(status, SD_ERROR_UNSUPPORTED, cases[i].name);
            ck_assert_ptr_nonnull(strstr(sd_last_error(), ".png, .jpg or .jpeg"));
            ck_assert_int_ne(access(path, F_OK), 0);
            continue;
        }
        char start[4] = "";
        ck_ok(status);
        FILE *file = fopen(path, "rb");
        ck_assert_ptr_nonnull(file);
        ck_assert_uint_eq(fread(start, 1, 4, file), 4);
        fclose(file);
        ck_assert_int_eq(memcmp(start, cases[i].signature, 4), 0);
    }
    sd_image_free(image);
}
END_TEST

/* Half of it transparent. */
START_TEST(alpha_is_kept_where_it_is_asked_for) {
    sd_image_load_params params = SD_IMAGE_LOAD_PARAMS_INIT;
    const char *path = in_folder("alpha.png");
    static uint8_t rgba[4 * 8 * 5], file[4096];
    sd_image *image;
    for (int i = 0; i < 8 * 5; i++)
        rgba[4 * i + 3] = i % 8 < 4 ? 255 : 9;
    ck_ok(new_image(ctx, 8, 5, 4, rgba, &image));
    ck_ok(sd_image_save(image, path, NULL));
    sd_image_free(image);
    FILE *stream = fopen(path, "rb");
    ck_assert_ptr_nonnull(stream);
    size_t n = fread(file, 1, sizeof file, stream);
    fclose(stream);
    params.keep_alpha = 1;
    for (int memory = 0; memory < 2; memory++)
        for (int keep = 0; keep < 2; keep++) {
            const sd_image_load_params *p = keep ? &params : NULL;
            ck_ok(memory ? sd_image_load_memory(ctx, file, n, p, &image)
                         : sd_image_load(ctx, path, p, &image));
            ck_assert_int_eq(image_channels(image), keep ? 4 : 3);
            ck_assert(!keep || !memcmp(sd_image_pixels(image), rgba, sizeof rgba));
            sd_image_free(image);
        }
    params.struct_size = 3;
    image = (sd_image *)1;
    ck_status(sd_image_load(ctx, path, &params, &image), SD_ERROR_ARGUMENT, "struct_size");
    ck_assert_ptr_null(image);
    ck_status(sd_image_load_memory(ctx, NULL, n, NULL, &image), SD_ERROR_ARGUMENT, "bytes is NULL");
}
END_TEST

/* -------------------------------------------------------------------------- pixels of the host */

enum { W = 3, H = 2 };

/* Two rows of RGB, and what other formats have for them. */
static const uint8_t rgb[H][3 * W] = {{255, 0, 0, 0, 255, 0, 0, 0, 255},
                                      {1, 2, 3, 40, 50, 60, 255, 255, 255}};
static const uint8_t grey[H][W] = {{76, 150, 29}, {2, 48, 255}}; /* PIL's convert("L") */

/* A pixel of `format`, with the alpha 7 where there is one. */
static void put(uint8_t *at, sd_pixel_format format, int x, int y) {
    const uint8_t *p = &rgb[y][3 * x];
    bool blue_first = format == SD_PIXELS_BGRA8;
    if (format == SD_PIXELS_GREY8) {
        at[0] = grey[y][x];
        return;
    }
    at[0] = p[blue_first ? 2 : 0];
    at[1] = p[1];
    at[2] = p[blue_first ? 0 : 2];
    if (format != SD_PIXELS_RGB8)
        at[3] = 7;
}

static int size_of(sd_pixel_format format) {
    return format == SD_PIXELS_GREY8 ? 1 : format == SD_PIXELS_RGB8 ? 3 : 4;
}

/* Host memory of a format with `gap` bytes of 0xee between rows, from the top or from the bottom.
 */
typedef struct host {
    uint8_t bytes[64];
    sd_pixels pixels;
} host;

static void lay_out(host *h, sd_pixel_format format, int gap, bool upward) {
    int row = W * size_of(format) + gap;
    memset(h->bytes, 0xee, sizeof h->bytes);
    h->pixels =
        (sd_pixels){h->bytes + (upward ? (H - 1) * row : 0), upward ? -row : row, W, H, format, 0};
}

static void fill_in(host *h) {
    int size = size_of(h->pixels.format);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            put((uint8_t *)h->pixels.data + y * h->pixels.stride + x * size, h->pixels.format, x,
                y);
}

static const sd_pixel_format formats[] = {SD_PIXELS_RGB8, SD_PIXELS_RGBA8, SD_PIXELS_BGRA8,
                                          SD_PIXELS_GREY8};
enum { N_FORMATS = sizeof formats / sizeof *formats };

/* From one format and stride into another; bytes between rows stay as they are. */
START_TEST(pixels_go_in_and_out_in_any_format) {
    for (int k = 0; k < N_FORMATS * N_FORMATS * 4; k++) {
        sd_pixel_format from = formats[k % N_FORMATS], to = formats[k / N_FORMATS % N_FORMATS];
        int gap = k / N_FORMATS / N_FORMATS % 2 * 5;
        bool upward = k / N_FORMATS / N_FORMATS / 2;
        host in, out, want;
        sd_image *image;
        lay_out(&in, from, gap, upward);
        fill_in(&in);
        ck_ok(sd_image_new(ctx, &in.pixels, &image));
        ck_assert_int_eq(sd_image_format(image), from == SD_PIXELS_BGRA8 ? SD_PIXELS_RGBA8 : from);
        lay_out(&out, to, 5 - gap, !upward);
        lay_out(&want, to, 5 - gap, !upward);
        fill_in(&want);
        for (int i = 0; i < W * H; i++) { /* what the image does not know */
            uint8_t *at =
                (uint8_t *)want.pixels.data + i / W * want.pixels.stride + i % W * size_of(to);
            if (size_of(to) == 4 && size_of(from) < 4)
                at[3] = 255;
            if (from == SD_PIXELS_GREY8)
                memset(at, grey[i / W][i % W], size_of(to) == 1 ? 1 : 3);
        }
        ck_ok(sd_image_read(image, &out.pixels));
        ck_assert_msg(!memcmp(out.bytes, want.bytes, sizeof out.bytes), "%d to %d", from, to);
        sd_image_free(image);
    }
}
END_TEST

START_TEST(pixels_that_do_not_fit_are_refused) {
    static const struct {
        int64_t stride;
        int32_t width, height, format, reserved;
        sd_status status;
        const char *word;
    } bad[] = {
        {8, 3, 2, SD_PIXELS_RGB8, 0, SD_ERROR_ARGUMENT, "sd_pixels.stride is 8"},
        {-8, 3, 2, SD_PIXELS_RGB8, 0, SD_ERROR_ARGUMENT, "sd_pixels.stride is -8"},
        {INT64_MIN, 3, 2, SD_PIXELS_RGB8, 0, SD_ERROR_ARGUMENT, "sd_pixels.stride"},
        {INT64_MAX, 3, 2, SD_PIXELS_RGB8, 0, SD_ERROR_ARGUMENT, "sd_pixels.stride"},
        {0, 0, 2, SD_PIXELS_RGB8, 0, SD_ERROR_ARGUMENT, "0 x 2"},
        {0, 3, 32769, SD_PIXELS_GREY8, 0, SD_ERROR_ARGUMENT, "3 x 32769"},
        {0, 3, 2, 4, 0, SD_ERROR_ARGUMENT, "sd_pixels.format is 4"},
        {0, 3, 2, -1, 0, SD_ERROR_ARGUMENT, "sd_pixels.format is -1"},
        {0, 3, 2, SD_PIXELS_RGB8, 1, SD_ERROR_UNSUPPORTED, "sd_pixels.reserved is 1"},
    };
    uint8_t bytes[64] = {0};
    sd_pixels good = {bytes, 0, W, H, SD_PIXELS_RGB8, 0};
    sd_image *image, *none = (sd_image *)1;
    ck_ok(sd_image_new(ctx, &good, &image));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sd_pixels p = {bytes,         bad[i].stride, bad[i].width,
                       bad[i].height, bad[i].format, bad[i].reserved};
        none = (sd_image *)1;
        ck_status(sd_image_new(ctx, &p, &none), bad[i].status, bad[i].word);
        ck_assert_ptr_null(none);
        ck_status(sd_image_read(image, &p), bad[i].status, bad[i].word);
    }
    ck_status(sd_image_new(ctx, NULL, &none), SD_ERROR_ARGUMENT, "pixels is NULL");
    ck_status(sd_image_read(image, NULL), SD_ERROR_ARGUMENT, "to is NULL");
    good.width++;
    ck_status(sd_image_read(image, &good), SD_ERROR_ARGUMENT, "4 x 2; 3 x 2 was expected");
    good.width--;
    good.data = NULL;
    ck_status(sd_image_read(image, &good), SD_ERROR_ARGUMENT, "data is NULL");
    sd_image_free(image);
}
END_TEST

/* ------------------------------------------------------------------------------ into memory */

typedef struct memory {
    uint8_t bytes[65536];
    size_t n;
    int32_t answer;
} memory;

static int32_t SD_CALL keep(void *user, const void *bytes, size_t n) {
    memory *m = user;
    ck_assert_uint_le(m->n + n, sizeof m->bytes);
    memcpy(m->bytes + m->n, bytes, n);
    m->n += n;
    return m->answer;
}

static size_t bytes_of_file(const char *path, uint8_t *bytes, size_t most) {
    FILE *stream = fopen(path, "rb");
    ck_assert_ptr_nonnull(stream);
    size_t n = fread(bytes, 1, most, stream);
    fclose(stream);
    return n;
}

START_TEST(a_function_gets_the_bytes_of_the_file) {
    sd_image_save_params params = SD_IMAGE_SAVE_PARAMS_INIT;
    static memory m, poor;
    static uint8_t file[65536];
    sd_image *image = picture(200), *again;
    params.parameters = "Steps: 3";
    for (params.format = SD_FORMAT_AUTO; params.format <= SD_FORMAT_JPEG; params.format++) {
        const char *path = in_folder("format.png"); /* what the parameters say counts */
        ck_ok(sd_image_save(image, path, &params));
        m = (memory){.n = 0};
        ck_ok(sd_image_write(image, &params, keep, &m));
        ck_assert_uint_eq(m.n, bytes_of_file(path, file, sizeof file));
        ck_assert_mem_eq(m.bytes, file, m.n);
        ck_assert_int_eq(m.bytes[0], params.format == SD_FORMAT_JPEG ? 0xff : 0x89);
        ck_ok(sd_image_load_memory(ctx, m.bytes, m.n, NULL, &again));
        ck_assert_int_ge(sd_image_pixels(again)[0], 198);
        sd_image_free(again);
    }
    params.format = SD_FORMAT_JPEG;
    params.quality = 5;
    poor = (memory){.n = 0};
    ck_ok(sd_image_write(image, &params, keep, &poor));
    ck_assert(poor.n != m.n || memcmp(poor.bytes, m.bytes, m.n));
    m = (memory){.answer = 12};
    ck_status(sd_image_write(image, NULL, keep, &m), SD_ERROR_IO, "12");
    ck_status(sd_image_write(image, NULL, NULL, &m), SD_ERROR_ARGUMENT, "write is NULL");
    ck_status(sd_image_write(NULL, NULL, keep, &m), SD_ERROR_ARGUMENT, "image is NULL");
    params.quality = 0;
    ck_status(sd_image_write(image, &params, keep, &m), SD_ERROR_ARGUMENT, "quality is 0");
    params.quality = 101;
    ck_status(sd_image_save(image, "x.jpg", &params), SD_ERROR_ARGUMENT, "quality is 101");
    params.quality = 95;
    params.format = 3;
    ck_status(sd_image_write(image, &params, keep, &m), SD_ERROR_ARGUMENT, "format is 3");
    sd_image_free(image);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("images");
    TCase *tcase = tcase_create("images");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_new_file_leaves_the_old_one);
    tcase_add_test(tcase, threads_at_once_lose_nothing);
    tcase_add_test(tcase, names_say_what_is_written);
    tcase_add_test(tcase, alpha_is_kept_where_it_is_asked_for);
    tcase_add_test(tcase, pixels_go_in_and_out_in_any_format);
    tcase_add_test(tcase, pixels_that_do_not_fit_are_refused);
    tcase_add_test(tcase, a_function_gets_the_bytes_of_the_file);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
