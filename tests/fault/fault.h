/*
 * Broken files: each must be refused with a status and a sentence that names the file, and must
 * leave no memory behind. All tests run in one process, so that the leak check of AddressSanitizer
 * sees everything.
 */
#ifndef SD_TESTS_FAULT_H
#define SD_TESTS_FAULT_H

#include "../tools/counting.h"
#include "../tools/files.h"

#include <check.h>
#include <sd/sd.h>
#include <stdio.h>

extern sd_context *fault_ctx;
extern counting fault_counts;
extern char fault_dir[FILES_PATH]; /* of this test, empty at its start */

/* Loads, lists or decodes `path` by the public API. */
sd_status fault_load(const char *path);
sd_status fault_list(const char *path);
sd_status fault_image(const char *path);

/* `status` came from reading `path`: it must be a failure other than SD_ERROR_INTERNAL, equal to
 * `expected` (0: any), with a sentence that has the path (where it is one) and `part` in it. */
void fault_refused(const char *label, sd_status status, sd_status expected, const char *path,
                   const char *part);
/* Either SD_OK, or as fault_refused. */
void fault_survived(const char *label, sd_status status, const char *path);

void fault_add_weights(Suite *suite);
void fault_add_pickles(Suite *suite);
void fault_add_checkpoints(Suite *suite);
void fault_add_folders(Suite *suite);
void fault_add_images(Suite *suite);
void fault_add_memory(Suite *suite);
void fault_add_changes(Suite *suite);
void fault_add_adapters(Suite *suite);
/* A case whose tests have fault_dir and the leak check around them. */
TCase *fault_case(Suite *suite, const char *name);

#endif
