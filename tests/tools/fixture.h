/* The fixture of tests that open files: a context that counts its blocks, and a scratch folder. */
#ifndef SD_TESTS_FIXTURE_H
#define SD_TESTS_FIXTURE_H

#include "counting.h"
#include "files.h"

#include <check.h>

static counting counts;
static sd_context *ctx;
static long live_at_start;
static char dir[FILES_PATH];

static void setup(void) {
    ctx = counting_context(&counts);
    ck_assert_ptr_nonnull(ctx);
    live_at_start = counts.live;
    files_make_temp(dir);
}

static void teardown(void) {
    files_remove_tree(dir);
    ck_assert_int_eq(counts.live, live_at_start);
    sdi_context_release(ctx);
}

#endif
