/* Files that change while they are loaded, and reads that fail. Nothing is mapped: whatever happens
 * to a file, the worst is SD_ERROR_IO. */
#define _GNU_SOURCE /* syscall */

#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ------------------------------------------------------------------------- reads that fail */

static atomic_int n_reads, fail_at; /* fail_at 0: none fails */
static int fail_with;               /* errno; 0: the end of the file */

/* In the place of the C library's, for this program. */
ssize_t pread(int fd, void *dst, size_t n, off_t offset) {
    if (atomic_fetch_add(&n_reads, 1) + 1 == atomic_load(&fail_at)) {
        errno = fail_with;
        return fail_with ? -1 : 0;
    }
    return syscall(SYS_pread64, fd, dst, n, offset);
}

static const char *environment(const char *name) {
    const char *path = getenv(name);
    ck_assert_msg(path != NULL, "%s is not set; run the tests with meson test", name);
    return path;
}

static sd_status load(const char *path, sd_model_params *params) {
    sd_model *model = NULL;
    sd_status status = sd_model_load(fault_ctx, path, params, &model);
    ck_assert((status == SD_OK) == (model != NULL));
    sd_model_free(model);
    return status;
}

static const char *word_file(void) {
    const char *path = files_path(fault_dir, "word.safetensors");
    safetensors *s = safetensors_new();
    safetensors_add(s, "emb_params", "F16", "[2, 128]");
    safetensors_save(s, path);
    safetensors_free(s);
    return path;
}

/* One of the reads, from the first to the last of what a load does. */
static void fail_reads(const char *path) {
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    sd_adapter_use word = SD_ADAPTER_USE_INIT;
    const sd_adapter_use *words[] = {&word};
    word.path = word_file();
    bool has_vocabulary = strstr(path, "tiny-diffusers") != NULL;
    params.adapters = has_vocabulary ? words : NULL;
    params.n_adapters = has_vocabulary;
    fail_at = 0;
    n_reads = 0;
    ck_assert_msg(load(path, &params) == SD_OK, "%s", sd_last_error());
    int all = n_reads, step = all / 60 + 1, tried = 0;
    ck_assert_int_gt(all, 100);
    for (int i = 1; i <= all; i += i < 20 || i > all - 20 ? 1 : step, tried++) {
        fail_with = i % 3 == 0 ? 0 : i % 3 == 1 ? EIO : ESTALE;
        n_reads = 0;
        fail_at = i;
        sd_status status = load(path, &params);
        fail_at = 0;
        fault_refused("a read", status, SD_ERROR_IO, NULL,
                      fail_with ? strerror(fail_with) : "was written to");
    }
    printf("%s: %d reads, %d of them failed once\n", path, all, tried);
}

START_TEST(each_read_may_fail) {
    fail_reads(environment("SD_TEST_TINY_FILE"));
    fail_reads(environment("SD_TEST_TINY_CKPT"));
    fail_reads(environment("SD_TEST_TINY_FOLDER"));
}
END_TEST

/* ------------------------------------------------------------------------- files that change */

typedef enum change {
    HALF,      /* shortened in the midst of a tensor */
    ONE_BYTE,  /* shortened by one byte */
    EMPTY,     /* shortened to nothing */
    LONGER,    /* by one byte */
    REWRITTEN, /* emptied and written again, as a copy over it does: it has its size again */
    N_CHANGES
} change;

static void apply(const char *path, change kind) {
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    off_t sizes[] = {st.st_size / 2 + 1, st.st_size - 1, 0, st.st_size + 1, 0};
    ck_assert_int_eq(truncate(path, sizes[kind]), 0);
    if (kind == REWRITTEN)
        ck_assert_int_eq(truncate(path, st.st_size), 0);
}

typedef struct plan {
    const char *path; /* that changes */
    int at;           /* tensors that are done then */
    change kind;
} plan;

static int32_t follow(void *user, const sd_progress *progress) {
    const plan *p = user;
    if (progress->step == p->at)
        apply(p->path, p->kind);
    return 0;
}

static void copy_file(const char *from, const char *to) {
    static const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
    size_t n;
    uint8_t *bytes = files_read(from, &n);
    files_write(to, bytes, n);
    free(bytes);
    ck_assert_int_eq(utimensat(AT_FDCWD, to, old, 0), 0); /* a clock may stand still for a while */
}

static int32_t count_tensors(void *user, const sd_progress *progress) {
    *(int *)user = progress->total;
    return 0;
}

/* The file `from`, a copy of which is at `changing` within what is loaded as `path`. */
static void change_file(const char *from, const char *changing, const char *path) {
    int total = 0, tried = 0;
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    params.progress = count_tensors;
    params.progress_user = &total;
    copy_file(from, changing);
    ck_assert_msg(load(path, &params) == SD_OK, "%s", sd_last_error());
    for (int at = 1; at <= total; at += total / 40 + (at < total / 40 * 40 ? 0 : 1), tried++) {
        plan p = {changing, at, (change)(tried % N_CHANGES)};
        params.progress = follow;
        params.progress_user = &p;
        copy_file(from, changing);
        fault_refused("a change", load(path, &params), SD_ERROR_IO, changing, "while it was read");
    }
    copy_file(from, changing);
    printf("%s: changed at %d of %d tensors\n", changing, tried, total);
}

static const char *const folder_files[] = {
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
};

static const char *copy_folder(void) {
    for (size_t i = 0; i < sizeof folder_files / sizeof *folder_files; i++)
        copy_file(files_path(environment("SD_TEST_TINY_FOLDER"), folder_files[i]),
                  files_path(fault_dir, folder_files[i]));
    return fault_dir;
}

START_TEST(changed_while_loading) {
    char copy[2 * FILES_PATH], from[2 * FILES_PATH];
    snprintf(copy, sizeof copy, "%s", files_path(fault_dir, "changing.safetensors"));
    change_file(environment("SD_TEST_TINY_FILE"), copy, copy);
    snprintf(copy, sizeof copy, "%s", files_path(fault_dir, "changing.ckpt"));
    change_file(environment("SD_TEST_TINY_CKPT"), copy, copy);
    const char *folder = copy_folder();
    for (int i = 2; i <= 6; i += 2) {
        snprintf(from, sizeof from, "%s",
                 files_path(environment("SD_TEST_TINY_FOLDER"), folder_files[i]));
        snprintf(copy, sizeof copy, "%s", files_path(folder, folder_files[i]));
        change_file(from, copy, folder);
    }
}
END_TEST

START_TEST(an_embedding_changes_while_loading) {
    const char *folder = environment("SD_TEST_TINY_FOLDER");
    char word[FILES_PATH];
    sd_adapter_use use = SD_ADAPTER_USE_INIT;
    const sd_adapter_use *words[] = {&use};
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    snprintf(word, sizeof word, "%s", word_file());
    use.path = word;
    params.adapters = words;
    params.n_adapters = 1;
    params.progress = follow;
    for (int kind = 0; kind < N_CHANGES; kind++) {
        plan p = {word, kind == 0 ? 1 : 100 * kind, (change)kind};
        params.progress_user = &p;
        word_file();
        copy_file(word, word); /* of an old time */
        fault_refused("a word", load(folder, &params), SD_ERROR_IO, word, "while it was read");
    }
}
END_TEST

/* Who has a file open keeps it, whatever is renamed over it or removed. */
static int32_t replace(void *user, const sd_progress *progress) {
    const plan *p = user;
    char other[FILES_PATH + 16];
    if (progress->step != p->at)
        return 0;
    snprintf(other, sizeof other, "%s.new", p->path);
    files_write_text(other, "no model");
    ck_assert_int_eq(p->kind == EMPTY ? remove(p->path) : rename(other, p->path), 0);
    return 0;
}

START_TEST(replaced_while_loading) {
    char copy[FILES_PATH];
    snprintf(copy, sizeof copy, "%s", files_path(fault_dir, "replaced.safetensors"));
    for (int at = 1; at < 300; at += 60) {
        plan p = {copy, at, at % 120 == 1 ? EMPTY : HALF};
        sd_model_params params = SD_MODEL_PARAMS_INIT;
        params.progress = replace;
        params.progress_user = &p;
        copy_file(environment("SD_TEST_TINY_FILE"), copy);
        ck_assert_msg(load(copy, &params) == SD_OK, "%s", sd_last_error());
    }
}
END_TEST

typedef struct other_process {
    const char *path;
    useconds_t delay;
} other_process;

static void *shorten_soon(void *user) {
    const other_process *other = user;
    usleep(other->delay);
    (void)!truncate(other->path, 100000);
    return NULL;
}

/* At any time, also within a tensor; a load that was done before is none the worse. */
START_TEST(shortened_by_another_thread) {
    char copy[FILES_PATH];
    int refused = 0;
    snprintf(copy, sizeof copy, "%s", files_path(fault_dir, "shortened.safetensors"));
    for (int i = 0; i < 40; i++) {
        pthread_t thread;
        other_process other = {copy, (useconds_t)(i * 1000)};
        copy_file(environment("SD_TEST_TINY_FILE"), copy);
        ck_assert_int_eq(pthread_create(&thread, NULL, shorten_soon, &other), 0);
        sd_status status = load(copy, NULL);
        pthread_join(thread, NULL);
        /* before it was opened it was a file that was cut short */
        if (status)
            fault_refused("a thread", status, status == SD_ERROR_FORMAT ? 0 : SD_ERROR_IO, copy,
                          NULL);
        refused += status != SD_OK;
    }
    printf("%d of 40 loads met a shortened file\n", refused);
}
END_TEST

void fault_add_changes(Suite *suite) {
    TCase *tcase = fault_case(suite, "changes");
    tcase_add_test(tcase, each_read_may_fail);
    tcase_add_test(tcase, changed_while_loading);
    tcase_add_test(tcase, an_embedding_changes_while_loading);
    tcase_add_test(tcase, replaced_while_loading);
    tcase_add_test(tcase, shortened_by_another_thread);
}
