/* Pictures in files. */
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
    ck_ok(sd_image_new(ctx, 8, 5, 3, NULL, &image));
    for (int i = 0; i < 8 * 5; i++)
        sd_image_pixels(image)[3 * i] = red;
    return image;
}

static int red_of(const char *path) {
    sd_image *image;
    ck_ok(sd_image_load(ctx, path, &image));
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
    ck_ok(sd_image_save_with(first, path, &params));
    ck_status(sd_image_save_with(second, path, &params), SD_ERROR_STATE, "a.png");
    ck_assert_int_eq(red_of(path), 10);
    ck_ok(sd_image_save_with(second, path, NULL));
    ck_assert_int_eq(red_of(path), 20);
    ck_ok(sd_image_save(first, path, NULL));
    ck_assert_int_eq(red_of(path), 10);
    ck_assert_int_eq(count_files(false), 1);
    params.struct_size = 1;
    ck_status(sd_image_save_with(first, path, &params), SD_ERROR_ARGUMENT, "struct_size");
    ck_status(sd_image_save_with(NULL, path, NULL), SD_ERROR_ARGUMENT, "image is NULL");
    ck_status(sd_image_save_with(first, NULL, NULL), SD_ERROR_ARGUMENT, "path is NULL");
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
        sd_status status = sd_image_save_with(image, path, &params);
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
    ck_ok(sd_image_new(ctx, 8, 5, 4, rgba, &image));
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
            ck_ok(memory ? sd_image_load_memory_with(ctx, file, n, p, &image)
                         : sd_image_load_with(ctx, path, p, &image));
            ck_assert_int_eq(sd_image_channels(image), keep ? 4 : 3);
            ck_assert(!keep || !memcmp(sd_image_pixels(image), rgba, sizeof rgba));
            sd_image_free(image);
        }
    params.struct_size = 3;
    image = (sd_image *)1;
    ck_status(sd_image_load_with(ctx, path, &params, &image), SD_ERROR_ARGUMENT, "struct_size");
    ck_assert_ptr_null(image);
    ck_status(sd_image_load_memory_with(ctx, NULL, n, NULL, &image), SD_ERROR_ARGUMENT,
              "bytes is NULL");
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
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
