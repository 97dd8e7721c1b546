/*
 * Whole files written under names that may be taken, also where the file system has no hard links
 * or the kernel no rename that refuses to replace: this program's own link and renameat2 take the C
 * library's place in libsd's objects.
 */
#define _GNU_SOURCE /* syscall */

#include "core/context_new.h"
#include "core/os.h"

#include "../tools/files.h"
#include "../tools/suite.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static sd_context *ctx;
static char dir[FILES_PATH];
static int link_errno, rename_errno; /* 0: the system's */
static void (*before_link)(void);

int link(const char *from, const char *to) {
    if (before_link)
        before_link();
    if (!link_errno)
        return (int)syscall(SYS_linkat, -100 /* AT_FDCWD */, from, -100, to, 0);
    errno = link_errno;
    return -1;
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    if (!rename_errno)
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    errno = rename_errno;
    return -1;
}

static void setup(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.n_threads = 1;
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
    files_make_temp(dir);
    link_errno = rename_errno = 0;
    before_link = NULL;
}

static void teardown(void) {
    files_remove_tree(dir);
    sdi_context_release(ctx);
}

static int count_files(void) {
    int n = 0;
    DIR *folder = opendir(dir);
    ck_assert_ptr_nonnull(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(folder);
    return n;
}

static void check_content(const char *path, const char *text) {
    size_t n;
    uint8_t *bytes = files_read(path, &n);
    ck_assert_uint_eq(n, strlen(text));
    ck_assert(memcmp(bytes, text, n) == 0);
    free(bytes);
}

static const struct {
    const char *what;
    int link, rename;
} systems[] = {{"hard links", 0, 0},
               {"no hard links", EPERM, 0},
               {"no links, no refusing rename", ENOTSUP, EINVAL},
               {"an older kernel", ENOSYS, ENOSYS}};

START_TEST(a_new_file_takes_no_other_name) {
    link_errno = systems[_i].link;
    rename_errno = systems[_i].rename;
    const char *path = files_path(dir, "a.png");
    ck_assert_int_eq(sdi_write_new_file(ctx, path, "first", 5), SD_OK);
    check_content(path, "first");
    ck_assert_int_eq(sdi_write_new_file(ctx, path, "second", 6), SD_ERROR_STATE);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), path));
    check_content(path, "first");
    ck_assert_int_eq(sdi_write_file(ctx, path, "third", 5), SD_OK);
    check_content(path, "third");
    ck_assert_int_eq(count_files(), 1);
    struct stat st;
    mode_t mask = umask(0);
    umask(mask);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0666 & ~mask);
}
END_TEST

static void another_is_faster(void) {
    before_link = NULL;
    files_write_text(files_path(dir, "a.png"), "theirs");
}

/* The name is taken after it was looked at. */
START_TEST(a_race_is_lost_without_loss) {
    link_errno = systems[_i].link;
    rename_errno = systems[_i].rename;
    before_link = another_is_faster;
    const char *path = files_path(dir, "a.png");
    ck_assert_int_eq(sdi_write_new_file(ctx, path, "ours", 4), SD_ERROR_STATE);
    check_content(path, "theirs");
    ck_assert_int_eq(count_files(), 1);
}
END_TEST

START_TEST(links_are_names_too) {
    const char *link_path = files_path(dir, "link.png"), *target = files_path(dir, "target.png");
    ck_assert_int_eq(symlink("target.png", link_path), 0);
    ck_assert_int_eq(sdi_write_new_file(ctx, link_path, "x", 1), SD_ERROR_STATE); /* dangles */
    files_write_text(target, "old");
    ck_assert_int_eq(sdi_write_new_file(ctx, link_path, "x", 1), SD_ERROR_STATE);
    ck_assert_int_eq(chmod(target, 0640), 0);
    ck_assert_int_eq(sdi_write_file(ctx, link_path, "new", 3), SD_OK);
    check_content(target, "new");
    struct stat st;
    ck_assert_int_eq(lstat(link_path, &st), 0);
    ck_assert(S_ISLNK(st.st_mode));
    ck_assert_int_eq(stat(target, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0640);
    ck_assert_int_eq(count_files(), 2);
}
END_TEST

/* A full device, and a limit on files, whose signal would end the process. */
START_TEST(a_failing_write_leaves_nothing) {
    static uint8_t bytes[200000];
    const char *path = files_path(dir, "big.png");
    struct rlimit before, small = {100000, 100000};
    struct stat st;
    sigset_t pending;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    files_write_text(files_path(dir, "old.png"), "old");
    for (int i = 0; i < 2; i++) {
        sd_status status = i ? sdi_write_file(ctx, files_path(dir, "old.png"), bytes, sizeof bytes)
                             : sdi_write_new_file(ctx, path, bytes, sizeof bytes);
        ck_assert_int_eq(status, SD_ERROR_IO);
        ck_assert_ptr_nonnull(strstr(sd_last_error(), "cannot write"));
        ck_assert_int_eq(count_files(), 1);
    }
    check_content(files_path(dir, "old.png"), "old");
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    sigpending(&pending);
    ck_assert_int_eq(sigismember(&pending, SIGXFSZ), 0);
    sigprocmask(SIG_BLOCK, NULL, &pending);
    ck_assert_int_eq(sigismember(&pending, SIGXFSZ), 0);
    if (stat("/dev/full", &st) == 0) {
        ck_assert_int_eq(sdi_write_file(ctx, "/dev/full", "x", 1), SD_ERROR_IO);
        ck_assert_int_eq(sdi_write_new_file(ctx, "/dev/full", "x", 1), SD_ERROR_STATE);
        ck_assert_int_eq(stat("/dev/full", &st), 0);
        ck_assert(S_ISCHR(st.st_mode));
    }
}
END_TEST

START_TEST(what_is_no_file_is_written_through) {
    const char *pipe_path = files_path(dir, "pipe");
    char got[8] = "";
    ck_assert_int_eq(mkfifo(pipe_path, 0600), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(sdi_write_file(ctx, pipe_path, "hello", 5) != SD_OK);
    FILE *pipe_end = fopen(pipe_path, "rb");
    ck_assert_ptr_nonnull(pipe_end);
    ck_assert_uint_eq(fread(got, 1, sizeof got, pipe_end), 5);
    fclose(pipe_end);
    int code;
    ck_assert_int_eq(waitpid(child, &code, 0), child);
    ck_assert_int_eq(code, 0);
    ck_assert_str_eq(got, "hello");
    ck_assert_int_eq(sdi_write_file(ctx, dir, "x", 1), SD_ERROR_IO);
    ck_assert_int_eq(sdi_write_new_file(ctx, dir, "x", 1), SD_ERROR_STATE);
    ck_assert_int_eq(sdi_write_new_file(ctx, files_path(dir, "pipe/x"), "x", 1), SD_ERROR_IO);
    ck_assert_int_eq(sdi_write_new_file(ctx, "/nonexistent/x.png", "x", 1), SD_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "/nonexistent/x.png"));
    ck_assert_int_eq(count_files(), 1);
}
END_TEST

/* A name of as many characters as a file system has. */
START_TEST(long_names_have_room) {
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    ck_assert_int_eq(sdi_write_new_file(ctx, files_path(dir, name), "x", 1), SD_OK);
    ck_assert_int_eq(sdi_write_file(ctx, files_path(dir, name), "y", 1), SD_OK);
    ck_assert_int_eq(count_files(), 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("write");
    TCase *tcase = tcase_create("write");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, a_new_file_takes_no_other_name, 0, (int)SD_COUNT(systems));
    tcase_add_loop_test(tcase, a_race_is_lost_without_loss, 0, (int)SD_COUNT(systems));
    tcase_add_test(tcase, links_are_names_too);
    tcase_add_test(tcase, a_failing_write_leaves_nothing);
    tcase_add_test(tcase, what_is_no_file_is_written_through);
    tcase_add_test(tcase, long_names_have_room);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
