/* Shared by the tests of the public API, which use <sd/sd.h> alone. */
#ifndef SD_TESTS_API_H
#define SD_TESTS_API_H

#include <check.h>
#include <sd/original.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tiny random model that the build made (environment SD_TEST_TINY_FOLDER, SD_TEST_TINY_FILE).
 */
const char *tiny_folder(void);
const char *tiny_file(void);

/* A context on the CPU backend (SD_TEST_BACKEND may name another) and the tiny model. */
sd_context *open_context(int n_threads);
sd_model *open_model(sd_context *ctx);

/* Small runs: 64 x 64 pixels, few steps. */
sd_sampler_params small_run(void);

/* What the text encoder and the UNet make of a prompt in so many steps, and the picture of one. */
sd_tensor *sampled(const sd_model *model, int steps);
sd_tensor *painted(const sd_model *model);

/* `status` is as expected, and on failure the sentence has `word` in it. */
#define ck_status(call, expected, word)                                                            \
    do {                                                                                           \
        sd_status status_ = (call);                                                                \
        ck_assert_msg(status_ == (expected), "%s gave %s (%s), expected %s", #call,                \
                      sd_status_string(status_), sd_last_error(), sd_status_string(expected));     \
        if (status_)                                                                               \
            ck_assert_msg(strstr(sd_last_error(), (word)) != NULL, "'%s' is not in '%s'", (word),  \
                          sd_last_error());                                                        \
    } while (0)

#define ck_ok(call) ck_status(call, SD_OK, "")

/* Runs a suite; returns main's exit code. */
int run_suite(Suite *suite);

#endif
